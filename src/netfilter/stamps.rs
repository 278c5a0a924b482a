//! Which stamp is in force, and which may be used next: see [`crate::ruleset::table::Stamp`].

use super::flows::clear_labels;
use super::netlink::{NetlinkError, Reader};
use super::objects::stamp_in_force_over;
use crate::ruleset::table::Stamp;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A packet that was on its way at a switch may still set the stamp that has gone; by then it has passed.
const ON_THEIR_WAY: Duration = Duration::from_millis(20);

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
    /// A stamp that no flow carries. Every 31st costs a reading of all flows.
    ///
    /// # Errors
    ///
    /// When the flows cannot be read, or their labels not be taken off.
    pub fn next(&mut self, reader: &Reader) -> Result<Stamp, NetlinkError> {
        if let Some(stamp) = self.clean.first() {
            return Ok(*stamp);
        }
        if let Some((_, at)) = self.retired {
            std::thread::sleep(ON_THEIR_WAY.saturating_sub(at.elapsed()));
        }
        // An earlier process may have left one in force.
        if self.in_force.is_none() {
            self.in_force = stamp_in_force_over(reader)?;
        }
        let free: Vec<Stamp> = Stamp::all()
            .filter(|stamp| Some(*stamp) != self.in_force)
            .collect();
        let bits = free.iter().map(|stamp| stamp.bits()).sum();
        clear_labels(reader, bits)?;
        self.clean = free.into_iter().collect();
        Ok(self.clean.first().copied().unwrap_or_default())
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

    /// What flows are stamped with, as far as it is known.
    pub fn in_force(&self) -> Option<Stamp> {
        self.in_force
    }
}
