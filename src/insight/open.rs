//! To whom a port is open: all remotes that a list lets pass.

use super::listed::FlowKind;
use crate::policy::address::AddressNumber;
use crate::policy::interval::{contains, merged, without};
use crate::policy::listed::ListEntry;
use crate::policy::{AddressSet, Interval};

/// The remotes that may open a flow of this kind to this port; `None`: nobody.
pub fn open_to(list: &[ListEntry], kind: FlowKind, port: u16) -> Option<AddressSet> {
    AddressSet::of(open(list, kind, port), open(list, kind, port))
}

fn open<T: AddressNumber>(list: &[ListEntry], kind: FlowKind, port: u16) -> Vec<Interval<T>> {
    let (mut left, mut open) = (vec![T::WHOLE], Vec::new());
    for entry in list {
        let about = contains(&kind.ports_of(&entry.services, T::V4), port);
        let Some(remote) = entry.remote.as_deref().filter(|_| about) else {
            continue;
        };
        let rest = without(&left, &T::in_set(remote));
        if entry.allows {
            open.extend(without(&left, &rest));
        }
        left = rest;
    }
    merged(open)
}
