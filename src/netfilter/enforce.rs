//! Replaces what is enforced: load, switch, delete. See [`crate::ruleset::table`] for why three.

use super::hits::{HitsError, RuleHits, rule_hits_over};
use super::netlink::{NetlinkError, Reader};
use super::objects::{Objects, in_force_over, objects_over};
use super::transport::{ApplyError, Transport};
use crate::ruleset::batch::{self, Command, Names};
use crate::ruleset::{Generation, Ruleset, TABLE};
use std::time::{Duration, Instant};

/// Why a policy could not be enforced. What was enforced before still is.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The kernel was not told, or refused.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The kernel did not list our table.
    #[error("cannot read the table inet {TABLE}: {0}")]
    Read(#[from] NetlinkError),
}

/// What was done.
#[derive(Debug)]
pub struct Enforced {
    /// The generation that is enforced now.
    pub generation: Generation,
    /// What the rules of the replaced generations met, read after the switch.
    pub replaced_hits: Vec<RuleHits>,
    /// Why the old generation could not be deleted or its counters not be read; it no longer matters to any packet.
    pub left_behind: Option<String>,
    /// From the beginning of the load to the end of the switch.
    pub switched_after: Duration,
}

/// The kernel's nftables, in the network namespace in which this was made.
#[derive(Debug)]
pub struct Kernel {
    transport: Transport,
    reader: Reader,
}

impl Kernel {
    /// Through [`super::native::Native`] or [`super::nft::Nft`].
    ///
    /// # Errors
    ///
    /// When there is no netlink socket to be had.
    pub fn new(transport: impl Into<Transport>) -> Result<Self, NetlinkError> {
        Ok(Kernel {
            transport: transport.into(),
            reader: Reader::netfilter()?,
        })
    }

    /// Enforces a ruleset as a generation of at least `at_least`, in place of whatever stands in our table.
    ///
    /// # Errors
    ///
    /// See [`Self::enforce_with`].
    pub fn enforce(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
    ) -> Result<Enforced, EnforceError> {
        self.enforce_with(ruleset, at_least, || {})
    }

    /// The same; `before_switch` runs when all is loaded and connection tracking is on, and nothing is enforced yet.
    ///
    /// # Errors
    ///
    /// See [`EnforceError`]. Until the switch nothing takes effect, and what was loaded in vain is deleted.
    pub fn enforce_with(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
        before_switch: impl FnOnce(),
    ) -> Result<Enforced, EnforceError> {
        let start = Instant::now();
        let before = objects_over(&self.reader)?;
        let newest = before.generations().last().copied();
        let generation = newest.map_or(at_least, |newest| newest.next().max(at_least));
        let names = Names::new(generation);
        let switched = self
            .transport
            .apply_in_parts(&batch::load(ruleset, &names), &names)
            .and_then(|()| {
                before_switch();
                self.transport.apply(&batch::switch(), &names)
            });
        if let Err(error) = switched {
            // An nft that was stopped may have switched all the same, and so may a kernel that did not answer: it knows.
            if self.in_force()? != Some(generation) {
                self.clean_up(generation);
                return Err(error.into());
            }
        }
        let switched_after = start.elapsed();
        let hits = self.hits();
        let deleted = match before.generations().is_empty() {
            true => Ok(()),
            false => self.delete(|each| each != generation),
        };
        Ok(Enforced {
            generation,
            left_behind: left_behind(&hits, &deleted),
            replaced_hits: replaced(hits.unwrap_or_default(), generation),
            switched_after,
        })
    }

    /// The generation that is enforced, by whomever.
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    pub fn in_force(&self) -> Result<Option<Generation>, NetlinkError> {
        in_force_over(&self.reader)
    }

    /// The counters of our rules.
    ///
    /// # Errors
    ///
    /// See [`HitsError`].
    pub fn hits(&self) -> Result<Vec<RuleHits>, HitsError> {
        rule_hits_over(&self.reader, TABLE)
    }

    /// Takes our table away. Gives whether a policy was in force.
    ///
    /// # Errors
    ///
    /// See [`EnforceError`].
    pub fn remove(&self) -> Result<bool, EnforceError> {
        let enforced = self.in_force()?.is_some();
        if !objects_over(&self.reader)?.chains.is_empty() {
            self.transport
                .apply(&[Command::DeleteTable], &Names::none())?;
        }
        Ok(enforced)
    }

    /// Deletes what was loaded in vain; the whole table, if there was none before. What cannot be deleted is
    /// deleted by the next reload.
    fn clean_up(&self, generation: Generation) {
        let _ = match self.in_force() {
            Ok(None) => self.remove().map(|_| ()),
            _ => self.delete(|each| each == generation),
        };
    }

    fn delete(&self, which: impl Fn(Generation) -> bool) -> Result<(), EnforceError> {
        let objects = objects_over(&self.reader)?.of(which);
        if objects == Objects::default() {
            return Ok(());
        }
        let commands = batch::delete(&objects.chains, &objects.maps, &objects.sets);
        Ok(self.transport.apply_in_parts(&commands, &Names::none())?)
    }
}

/// The counters of every generation but the new one.
fn replaced(hits: Vec<RuleHits>, new: Generation) -> Vec<RuleHits> {
    let is_old = |hits: &RuleHits| {
        Generation::of(&hits.chain).is_some_and(|(generation, _)| generation != new)
    };
    hits.into_iter().filter(is_old).collect()
}

fn left_behind(
    hits: &Result<Vec<RuleHits>, HitsError>,
    deleted: &Result<(), EnforceError>,
) -> Option<String> {
    let hits = hits.as_ref().err().map(ToString::to_string);
    let deleted = deleted.as_ref().err().map(ToString::to_string);
    hits.or(deleted)
}
