//! Which stamp is in force, and which may be used next: see [`crate::ruleset::table::Stamp`].

use super::flows::clear_labels;
use super::netlink::{NetlinkError, Reader};
use super::objects::stamp_in_force_over;
use crate::ruleset::table::Stamp;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A packet that was on its way at a switch may still set the stamp that has gone; by then it has passed.
const ON_THEIR_WAY: Duration = Duration::from_millis(20);

/// With fewer than these left, flows are looked at for more.
const FEW: usize = 8;

/// The stamps of one network namespace.
#[derive(Debug, Default)]
pub struct Stamps {
    /// What flows are stamped with now.
    in_force: Option<Stamp>,
    /// What no flow carries.
    clean: BTreeSet<Stamp>,
    /// What the last switch has taken out of force, and when.
    retired: Option<(Stamp, Instant)>,
}

impl Stamps {
    /// A stamp that no flow carries. All flows are read for it only where [`Self::tidy`] could not do it in time.
    ///
    /// # Errors
    ///
    /// When the flows cannot be read, or their labels not be taken off.
    pub fn next(&mut self, reader: &Reader) -> Result<Stamp, NetlinkError> {
        if self.clean.is_empty() {
            if let Some((_, at)) = self.retired {
                std::thread::sleep(ON_THEIR_WAY.saturating_sub(at.elapsed()));
            }
            // An earlier process may have left one in force.
            if self.in_force.is_none() {
                self.in_force = stamp_in_force_over(reader)?;
            }
            self.clean(reader, self.in_force)?;
        }
        Ok(self.clean.first().copied().unwrap_or_default())
    }

    /// Takes what is out of force off all flows, once few are left that no flow carries: after a change, when nothing waits.
    pub fn tidy(&mut self, reader: &Reader) {
        if self.in_force.is_none() || self.clean.len() >= FEW {
            return;
        }
        let still = self.retired.filter(|(_, at)| at.elapsed() < ON_THEIR_WAY);
        let kept = self
            .in_force
            .into_iter()
            .chain(still.map(|(stamp, _)| stamp));
        // What fails is tried again by `next`, which says so.
        let _ = self.clean(reader, kept.collect::<Vec<_>>());
    }

    fn clean(
        &mut self,
        reader: &Reader,
        kept: impl IntoIterator<Item = Stamp>,
    ) -> Result<(), NetlinkError> {
        let kept: BTreeSet<Stamp> = kept.into_iter().collect();
        let free: BTreeSet<Stamp> = Stamp::all().filter(|stamp| !kept.contains(stamp)).collect();
        let bits = free.iter().map(|stamp| stamp.bits()).sum();
        clear_labels(reader, bits)?;
        self.clean = free;
        Ok(())
    }

    /// The stamp is in force now.
    pub fn switched(&mut self, stamp: Stamp) {
        self.clean.remove(&stamp);
        let before = self.in_force.replace(stamp);
        self.retired = before.map(|before| (before, Instant::now()));
    }

    /// Nothing is known any more: the table has gone, or somebody else had it.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The stamp that was not in force for the longest time: where flows cannot be read, only one that has been idle since may still carry
    /// it.
    pub fn oldest(&self) -> Stamp {
        self.in_force.unwrap_or_default().next()
    }

    /// What flows are stamped with, as far as it is known.
    pub fn in_force(&self) -> Option<Stamp> {
        self.in_force
    }
}
