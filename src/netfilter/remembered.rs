//! What the kernel remembers of ended flows: see [`crate::ruleset::ended`].

use super::enforce::{EnforceError, Kernel};
use super::netlink::{NetlinkError, Reader};
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Names, forget, remember};
use crate::ruleset::ended::{EndedFlow, FAMILIES, ended_set};
use netlink_bindings::nftables::{
    DataAttrs, Nfgenmsg, Request, SetelemAttrs, SetelemListElemAttrs,
};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;

/// All that is remembered; nothing if there is no such table.
///
/// # Errors
///
/// See [`NetlinkError`].
pub fn remembered_over(reader: &Reader) -> Result<Vec<EndedFlow>, NetlinkError> {
    let header = Nfgenmsg {
        nfgen_family: libc::NFPROTO_INET as u8,
        ..Default::default()
    };
    // Our own names, without NUL.
    let name = |name: &str| CString::new(name).unwrap_or_default();
    let mut all = Vec::new();
    for family in FAMILIES {
        let mut request = Request::new().op_getsetelem_dump(&header);
        request
            .encode()
            .push_table(&name(TABLE))
            .push_set(&name(ended_set(family)));
        let lists = reader.dump(&request, |(_, list)| {
            let elements = list.get_elements().ok()?.flatten();
            let flows = elements.filter_map(|SetelemListElemAttrs::Elem(element)| {
                let key = element.flatten().find_map(|attribute| match attribute {
                    SetelemAttrs::Key(key) => key.flatten().find_map(|data| match data {
                        DataAttrs::Value(bytes) => Some(bytes),
                        DataAttrs::Verdict(_) => None,
                    }),
                    _ => None,
                })?;
                EndedFlow::of_key(family, key)
            });
            Some(flows.collect::<Vec<_>>())
        });
        match lists {
            Err(NetlinkError::Refused(Errno::ENOENT)) => {}
            lists => all.extend(lists?.into_iter().flatten()),
        }
    }
    Ok(all)
}

impl Kernel {
    /// Remembers that flows have ended, and forgets those that go `on`.
    ///
    /// # Errors
    ///
    /// See [`EnforceError`]. Some may have been remembered then.
    pub fn remember(&self, ended: &[EndedFlow], on: &[EndedFlow]) -> Result<(), EnforceError> {
        self.changeable()?;
        for family in FAMILIES {
            let of = |flows: &[EndedFlow]| -> Vec<EndedFlow> {
                let of = flows.iter().filter(|flow| flow.family() == family);
                of.copied().collect()
            };
            let (ended, on) = (of(ended), of(on));
            let names = Names::none();
            if !on.is_empty()
                && let Err(error) = self.transport.apply_in_parts(&forget(family, &on), &names)
            {
                // The time of one was up meanwhile: the others are forgotten after the next change, or when theirs is.
                tracing::debug!("{error}");
            }
            if !ended.is_empty() {
                let commands = remember(family, &ended);
                self.transport.apply_in_parts(&commands, &names)?;
            }
        }
        Ok(())
    }
}
