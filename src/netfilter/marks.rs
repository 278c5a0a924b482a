//! Which bits the marks of flows have on this host: see [`crate::ruleset::marks`].

use super::enforce::Kernel;
use super::netlink::NetlinkError;
use super::objects::labels_set_over;
use crate::policy::{Direction, InterfaceName};
use crate::ruleset::batch::Names;
use crate::ruleset::change::Change;
use crate::ruleset::flows::elsewhere as elsewhere_chain;
use crate::ruleset::marks::{Bits, Mark, Slot};
use crate::ruleset::table::DIRECTIONS;
use crate::ruleset::{Generation, Ruleset};
use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Marks that only save time have bits where so many policies in a row find bits that no flow carries, and none else.
const GENERATIONS: usize = 3;

/// The bits that say across which interface a flow was opened, inbound and outbound.
///
/// They keep their meaning over changes of the policy, restarts and boots: a binding says nothing about flows that its
/// interface let pass before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Slot, [u8; 2])>", into = "Vec<(Slot, [u8; 2])>")]
pub struct Slots(BTreeMap<Slot, [u8; 2]>);

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
    fn mask(&self) -> u128 {
        self.0.values().flatten().fold(0, |all, bit| all | 1 << bit)
    }

    /// The bits of the marks of these; of a slot that has none those of unbound interfaces, so that its flows count as opened
    /// elsewhere: one without any mark passes where an answer does.
    fn bits<'m>(&self, marks: impl IntoIterator<Item = &'m Mark>) -> Bits {
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

impl Kernel {
    /// Takes over what an earlier process has assigned, which is plain.
    pub fn know_slots(&self, slots: Slots) {
        self.labels.reserve(slots.mask());
        *self.lock_slots() = slots;
    }

    /// Returns all that are assigned.
    pub fn slots(&self) -> Slots {
        self.lock_slots().clone()
    }

    /// Assigns bits to the slots of a ruleset that have none. Write them down before the ruleset is enforced.
    ///
    /// Where no bit is left an interface shares those of unbound ones.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked which bits flows carry.
    pub fn assign_slots(&self, ruleset: &Ruleset) -> Result<(), NetlinkError> {
        self.know_labels()?;
        let wanted: Vec<Slot> = ruleset
            .marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Opened(Direction::Inbound, slot) => Some(slot.clone()),
                _ => None,
            })
            .collect();
        let mut slots = self.lock_slots();
        for slot in &wanted {
            if slots.0.contains_key(slot) {
                continue;
            }
            let taken = self.labels.take_at_first(2)?;
            let [inbound, outbound] = taken.as_slice() else {
                self.labels.give_back(&taken);
                self.release_unused(&mut slots, &wanted);
                tracing::warn!(
                    "no label of connection tracking is free for flows that are opened across {slot}: they count as those of \
                     unbound interfaces until the next change"
                );
                continue;
            };
            self.labels.reserve(1 << inbound | 1 << outbound);
            slots.0.insert(slot.clone(), [*inbound, *outbound]);
        }
        Ok(())
    }

    /// Releases all slots: the policy has gone for good.
    pub fn forget_slots(&self) {
        let slots = std::mem::take(&mut *self.lock_slots());
        self.labels.release(slots.mask());
    }

    /// Releases the bits of interfaces that the ruleset does not know. What is in force may set them until it is replaced.
    fn release_unused(&self, slots: &mut Slots, wanted: &[Slot]) {
        let unused: Vec<Slot> = slots
            .0
            .keys()
            .filter(|slot| !wanted.contains(slot))
            .cloned()
            .collect();
        for slot in unused {
            if let Some(bits) = slots.0.remove(&slot) {
                self.labels
                    .retire(bits.iter().fold(0, |all, bit| all | 1 << bit));
            }
        }
    }

    /// Assigns bits to the marks of a change. They are others than before, so that all flows are judged again.
    pub(super) fn marked(&self, change: Change, ruleset: &Ruleset) -> Change {
        if change.is_empty() {
            return change;
        }
        if let Err(error) = self.assign_slots(ruleset) {
            tracing::error!(
                "tracked flows are judged packet by packet, since their labels cannot be read: {error}"
            );
            return change.marked(Bits::default());
        }
        let mut bits = self.slots().bits(&ruleset.marks);
        let marks = ruleset.marks.iter();
        let mut wanted: Vec<&Mark> = marks.filter(|mark| mark.is_of_a_generation()).collect();
        if !ruleset.recheck {
            // What passes goes on, whatever the rules say by now.
            let before = change.names.bits();
            wanted.retain(|mark| match before.get(mark) {
                Some(bit) => {
                    bits.insert((*mark).clone(), bit);
                    false
                }
                None => true,
            });
        }
        let free =
            usize::from(Bits::COUNT).saturating_sub(self.slots().mask().count_ones() as usize);
        let needed = wanted.iter().filter(|mark| !mark.is_optional()).count();
        let count = match wanted.len() * GENERATIONS <= free {
            true => wanted.len(),
            false => needed,
        };
        let taken = self.labels.take_at_first(count).unwrap_or_default();
        if taken.len() < needed {
            tracing::warn!(
                "{} of {needed} marks for flows that pass have no label of connection tracking: packets of those flows are judged one by \
                 one until the next change",
                needed - taken.len()
            );
        }
        for (mark, bit) in wanted.into_iter().zip(taken) {
            bits.insert(mark.clone(), bit);
        }
        change.marked(bits)
    }

    /// Records that these names are in force now.
    pub(super) fn marks_in_force(&self, names: &Names) {
        self.labels.switched(names.bits().of_the_generation());
    }

    /// Finds out once which labels the rules of an earlier process set: these are not handed out.
    fn know_labels(&self) -> Result<(), NetlinkError> {
        let mut known = self.known_labels.lock();
        if !*known {
            let set = labels_set_over(&self.reader)?;
            self.distrust(&set);
            let all = set.iter().fold(0, |all, (_, labels)| all | labels);
            self.labels.switched(all);
            *known = true;
        }
        Ok(())
    }

    /// What has enforced another table since the slots were written down has set labels that mean something else: an earlier version
    /// of this program, or one with another state directory.
    fn distrust(&self, set: &[(String, u128)]) {
        let mut slots = self.lock_slots();
        let elsewhere = slots
            .0
            .get(&Slot::Elsewhere)
            .map(|[inbound, _]| 1 << inbound);
        let chain = elsewhere_chain(Direction::Inbound);
        let is_ours = |(name, labels): &(String, u128)| {
            let of = Generation::of(name).is_some_and(|(_, name)| name == chain);
            of && Some(*labels) == elsewhere
        };
        if set.is_empty() || set.iter().any(is_ours) {
            return;
        }
        let assigned = std::mem::take(&mut *slots);
        self.labels.release(assigned.mask());
        tracing::info!(
            "the table in force sets labels of flows that this state directory knows nothing of, as an earlier version does: no label is \
             trusted, and all are taken off"
        );
    }

    fn lock_slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock()
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
