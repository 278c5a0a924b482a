//! The bits that flows keep from one policy to the next.

use crate::policy::InterfaceName;
use crate::ruleset::marks::{Bits, Mark, Slot};
use crate::ruleset::table::DIRECTIONS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bits that say across which interface a flow was opened, inbound and outbound.
///
/// They keep their meaning over changes of the policy, restarts and boots: a binding says nothing about flows that its
/// interface let pass before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Slot, [u8; 2])>", into = "Vec<(Slot, [u8; 2])>")]
pub struct Slots(pub(super) BTreeMap<Slot, [u8; 2]>);

impl From<Vec<(Slot, [u8; 2])>> for Slots {
    fn from(slots: Vec<(Slot, [u8; 2])>) -> Self {
        Slots(slots.into_iter().collect())
    }
}

impl From<Slots> for Vec<(Slot, [u8; 2])> {
    fn from(slots: Slots) -> Self {
        slots.0.into_iter().collect()
    }
}

impl Slots {
    /// All bits, as labels.
    pub(super) fn mask(&self) -> u128 {
        self.0.values().flatten().fold(0, |all, bit| all | 1 << bit)
    }

    /// The bits of the marks of these; of a slot that has none those of unbound interfaces, so that its flows count as opened
    /// elsewhere: one without any mark passes where an answer does.
    pub(super) fn bits<'m>(&self, marks: impl IntoIterator<Item = &'m Mark>) -> Bits {
        let mut bits = Bits::default();
        if let Some(others) = self.0.get(&Slot::Others) {
            for mark in marks {
                if let Mark::Opened(direction, _) = mark {
                    let of = DIRECTIONS.into_iter().zip(others);
                    let same = of.into_iter().find(|(each, _)| each == direction);
                    bits.insert(mark.clone(), same.map_or(others[0], |(_, bit)| *bit));
                }
            }
        }
        for (slot, of) in &self.0 {
            for (direction, bit) in DIRECTIONS.into_iter().zip(of) {
                bits.insert(Mark::Opened(direction, slot.clone()), *bit);
            }
        }
        bits
    }

    /// The interfaces and globs that have bits.
    pub fn interfaces(&self) -> impl Iterator<Item = &InterfaceName> {
        self.0.keys().filter_map(|slot| match slot {
            Slot::Interface(name) => Some(name),
            Slot::Elsewhere | Slot::Others | Slot::Rest => None,
        })
    }

    /// Whether each bit is one of ours, and means one thing.
    pub fn is_plain(&self) -> bool {
        let bits = || self.0.values().flatten();
        bits().all(|bit| (Bits::FIRST..Bits::FIRST + Bits::COUNT).contains(bit))
            && self.mask().count_ones() as usize == bits().count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn a_slot_without_labels_shares_those_of_unbound_interfaces() {
        let slot = |name| Slot::Interface(InterfaceName::parse(name).unwrap());
        let assigned = [
            (Slot::Elsewhere, [64, 65]),
            (Slot::Others, [66, 67]),
            (slot("eth0"), [68, 69]),
        ];
        let slots = Slots(assigned.into());
        let both = |name| DIRECTIONS.map(|direction| Mark::Opened(direction, slot(name)));
        let marks = [both("eth0"), both("eth1")].concat();
        let bits = slots.bits(&marks);
        assert_eq!(bits.of(&both("eth0")), [68, 69]);
        assert_eq!(
            DIRECTIONS.map(|of| bits.get(&Mark::Opened(of, slot("eth1")))),
            [Some(66), Some(67)]
        );
        assert_eq!(
            bits.asked(&crate::ruleset::ir::Match::OpenedSomewhere)
                .unwrap()
                .len(),
            6
        );
    }
}
