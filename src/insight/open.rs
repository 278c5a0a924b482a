//! To whom a port is open: all remotes that a list lets pass.

use super::listed::Kind;
use crate::policy::interval::{contains, merged, without};
use crate::policy::listed::Entry;
use crate::policy::{AddressSet, Interval};

/// The remotes that may open a flow of this kind to this port; `None`: nobody.
pub fn open_to(list: &[Entry], kind: Kind, port: u16) -> Option<AddressSet> {
    let any = AddressSet::any();
    let (mut left4, mut left6) = (any.v4().to_vec(), any.v6().to_vec());
    let (mut open4, mut open6): (Vec<Interval<u32>>, Vec<Interval<u128>>) = (vec![], vec![]);
    for entry in list {
        let Some(remote) = &entry.remote else {
            continue;
        };
        let about = |v4| contains(&kind.ports_of(&entry.services, v4), port);
        if about(true) && !remote.v4().is_empty() {
            let rest = without(&left4, remote.v4());
            if entry.allows {
                open4.extend(without(&left4, &rest));
            }
            left4 = rest;
        }
        if about(false) && !remote.v6().is_empty() {
            let rest = without(&left6, remote.v6());
            if entry.allows {
                open6.extend(without(&left6, &rest));
            }
            left6 = rest;
        }
        if left4.is_empty() && left6.is_empty() {
            break;
        }
    }
    AddressSet::of(merged(open4), merged(open6))
}
