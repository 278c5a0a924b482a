//! What the kernel remembers of ended flows: see [`crate::ruleset::ended`].

use super::enforce::{EnforceError, Kernel};
use super::netlink::{NetlinkError, Reader};
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Names, forget, remember};
use crate::ruleset::ended::{EndedFlow, FAMILIES, ended_set, remembered_for};
use crate::ruleset::ir::Family;
use netlink_bindings::nftables::{
    DataAttrs, Nfgenmsg, Request, SetelemAttrs, SetelemListElemAttrs,
};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::time::Duration;

/// How many are forgotten in one transaction: about 100 kB.
const AT_ONCE: usize = 1000;

/// All that is remembered, and for how long still; nothing if there is no such table.
///
/// # Errors
///
/// See [`NetlinkError`].
pub fn remembered_over(reader: &Reader) -> Result<Vec<(EndedFlow, Duration)>, NetlinkError> {
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
                let (mut flow, mut left) = (None, None);
                for attribute in element.flatten() {
                    match attribute {
                        SetelemAttrs::Key(key) => {
                            flow = key.flatten().find_map(|data| match data {
                                DataAttrs::Value(bytes) => EndedFlow::of_key(family, bytes),
                                DataAttrs::Verdict(_) => None,
                            });
                        }
                        // The bindings take the network's order for the host's.
                        SetelemAttrs::Expiration(milliseconds) => {
                            left = Some(Duration::from_millis(u64::from_be(milliseconds)));
                        }
                        _ => {}
                    }
                }
                let flow: EndedFlow = flow?;
                // Another program may have said no time.
                Some((flow, left.unwrap_or(remembered_for(flow.transport))))
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
        let table = self.changeable()?;
        for family in FAMILIES {
            let of = |flows: &[EndedFlow]| -> Vec<EndedFlow> {
                let of = flows.iter().filter(|flow| flow.family() == family);
                of.copied().collect()
            };
            // Where there is no table, nothing is remembered.
            if table.is_some() {
                let on = of(on);
                on.chunks(AT_ONCE)
                    .for_each(|on| self.forget_ended(family, on));
            }
            let ended = of(ended);
            if !ended.is_empty() {
                let commands = remember(family, &ended);
                self.transport.apply_in_parts(&commands, &Names::none())?;
            }
        }
        Ok(())
    }

    /// Forgets flows of one family. The time of some may have been up since they were listed, and for one of them the kernel refuses
    /// all: then each half is tried.
    fn forget_ended(&self, family: Family, on: &[EndedFlow]) {
        let Err(error) = self.transport.apply(&forget(family, on), &Names::none()) else {
            return;
        };
        if !error.is_about_what_is_gone() {
            let number = on.len();
            tracing::warn!(
                "{number} flows that are allowed again stay refused where connection tracking loses them: {error}"
            );
        } else if on.len() > 1 {
            let (first, second) = on.split_at(on.len() / 2);
            self.forget_ended(family, first);
            self.forget_ended(family, second);
        }
    }
}
