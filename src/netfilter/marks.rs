//! Which bits the marks of flows have on this host: see [`crate::ruleset::marks`].

use super::kernel::Kernel;
use super::netlink::NetlinkError;
use super::slots::Slots;
use crate::policy::Direction;
use crate::ruleset::batch::Names;
use crate::ruleset::change::Change;
use crate::ruleset::flows::elsewhere as elsewhere_chain;
use crate::ruleset::marks::{Bits, Mark, Slot};
use crate::ruleset::{Generation, Ruleset};
use parking_lot::MutexGuard;

/// Marks that only save time have bits where so many policies in a row find bits that no flow carries, and none else.
const GENERATIONS: usize = 3;

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
    /// Fails where the kernel cannot list which bits flows carry.
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

    /// Releases the bits of interfaces that the ruleset does not know. What is in force may set them until it is
    /// replaced.
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
            let set = self.view.labels_set()?;
            self.distrust(&set);
            let all = set.iter().fold(0, |all, (_, labels)| all | labels);
            self.labels.switched(all);
            *known = true;
        }
        Ok(())
    }

    /// What has enforced another table since the slots were written down has set labels that mean something else: an
    /// earlier version of this program, or one with another state directory.
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
