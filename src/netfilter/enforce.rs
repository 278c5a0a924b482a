//! Replaces what is enforced: load, switch, delete. See [`crate::ruleset::table`] for why three.

mod owned;

pub use super::kernel::Kernel;

use super::backend::ApplyError;
use super::hits::{HitsError, RuleHits};
use super::native::NativeError;
use super::netlink::NetlinkError;
use super::nft::NftError;
use super::objects::{Objects, in_force_of};
use super::ownership::{Owner, Table};
use crate::ruleset::batch::{self, Command, Names};
use crate::ruleset::change::{Change, Loaded};
use crate::ruleset::table::BASE_CHAINS;
use crate::ruleset::{Generation, Ruleset, TABLE};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Why a policy could not be enforced. What was enforced before still is.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The kernel was not told, or refused.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Another process owns our table.
    #[error(
        "the nftables table inet {TABLE} belongs to {0}, which alone can change it: end that first, or have it do this"
    )]
    Owned(Owner),
    /// The kernel did not list our table.
    #[error("cannot read the table inet {TABLE}: {0}")]
    Read(#[from] NetlinkError),
    /// It was loaded, and must not take effect.
    #[error("{0}")]
    Withheld(String),
}

impl EnforceError {
    /// Whether it is known that what is enforced has not changed. An nft that fails may have told the kernel all the
    /// same: of a switch the kernel was asked.
    fn changed_nothing(&self, switch: bool) -> bool {
        match self {
            EnforceError::Apply(ApplyError::Native(NativeError::Refused(_))) => true,
            EnforceError::Apply(ApplyError::Nft(NftError::Refused { .. })) => switch,
            EnforceError::Withheld(_) => true,
            _ => false,
        }
    }
}

/// What was done.
#[derive(Debug)]
pub struct Switched {
    /// The generation that is enforced now.
    pub generation: Generation,
    /// What the rules of the replaced generations met, read after the switch.
    pub replaced_hits: Vec<RuleHits>,
    /// Why the old generation could not be deleted or its counters not be read; it no longer matters to any packet.
    pub left_behind: Option<String>,
    /// From the beginning of the load to the end of the switch.
    pub switched_after: Duration,
}

impl Kernel {
    /// Enforces a ruleset as a generation of at least `at_least`, in place of whatever stands in our table.
    ///
    /// # Errors
    ///
    /// See [`Self::enforce_with`].
    pub fn enforce(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
    ) -> Result<Switched, EnforceError> {
        self.enforce_with(ruleset, at_least, || {})
    }

    /// The same; `before_switch` runs when all is loaded and connection tracking is on, and nothing is enforced yet.
    ///
    /// What this `Kernel` has enforced before, and is still in force, is changed as far as it differs. Else all is
    /// loaded; the table goes first only where another base chain has the place of ours.
    ///
    /// # Errors
    ///
    /// See [`EnforceError`]. Until the switch nothing takes effect, and what was loaded in vain is deleted.
    pub fn enforce_with(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
        mut before_switch: impl FnMut(),
    ) -> Result<Switched, EnforceError> {
        self.enforce_if(ruleset, at_least, || {
            before_switch();
            Ok(())
        })
    }

    /// The same; what was loaded takes effect only where `may_switch` gives no reason why it must not.
    ///
    /// # Errors
    ///
    /// See [`Self::enforce_with`], and [`EnforceError::Withheld`] with that reason.
    pub fn enforce_if(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
        mut may_switch: impl FnMut() -> Result<(), String>,
    ) -> Result<Switched, EnforceError> {
        let start = Instant::now();
        self.take_note();
        let mut table = self.changeable()?;
        let mut loaded = self.loaded.lock();
        // Taken: after any failure it is not known what the kernel has.
        let known = loaded
            .take()
            .filter(|old| self.is_entered(&old.names).unwrap_or(false));
        // What is still so if all else is refused.
        let mut unchanged = None;
        let mut by_change = None;
        if let Some(old) = known {
            let generation = old.names.generation().next().max(at_least);
            let change = self.marked(Change::between(&old, ruleset, generation), ruleset);
            match self.carry_out(&change, table, ruleset, &mut may_switch) {
                Ok(()) => by_change = Some((change, start.elapsed())),
                Err(error @ EnforceError::Withheld(_)) => {
                    *loaded = Some(old);
                    return Err(error);
                }
                // Where something else has changed our table, all is loaded anew.
                Err(error) => {
                    tracing::warn!(
                        "the policy could not be changed in place, and is loaded whole: {error}"
                    );
                    unchanged = error.changed_nothing(change.switch).then_some(old);
                }
            }
        }
        let (change, switched_after, others) = match by_change {
            Some((change, switched_after)) => (change, switched_after, None),
            None => {
                // As another version may have left it, or another program.
                if !self.view.base_chains_stand()? {
                    // What stands goes only for what may take its place.
                    may_switch().map_err(EnforceError::Withheld)?;
                    self.delete_table()?;
                    table = None;
                }
                let before = self.view.objects()?;
                let newest = before.generations().last().copied();
                let generation = newest.map_or(at_least, |newest| newest.next().max(at_least));
                let change = self.marked(Change::all(generation), ruleset);
                if let Err(error) = self.carry_out(&change, table, ruleset, &mut may_switch) {
                    *loaded = unchanged.filter(|_| error.changed_nothing(true));
                    return Err(error);
                }
                let others = before.but(generation);
                (change, start.elapsed(), Some(others))
            }
        };
        let generation = change.names.generation();
        let known = others.is_none();
        let left_over = others.unwrap_or_else(|| {
            let [chains, maps, sets] = change.left_over();
            Objects { chains, maps, sets }
        });
        let maps = match known {
            true => change.counting_maps(),
            false => &left_over.maps,
        };
        // Old counters are read when nothing counts there any more, and before they go.
        let hits = self.view.hits_of(&left_over.chains, maps);
        let deleted = self.delete(&left_over);
        let left_behind = left_behind(&hits, &deleted);
        // What could not be deleted still counts, and goes with the next load, which is then whole.
        let replaced_hits = match deleted {
            Ok(()) => of_objects(hits.unwrap_or_default(), &left_over),
            Err(_) => Vec::new(),
        };
        *loaded = left_behind.is_none().then(|| Loaded {
            ruleset: ruleset.clone(),
            names: change.names,
        });
        Ok(Switched {
            generation,
            left_behind,
            replaced_hits,
            switched_after,
        })
    }

    /// The next ruleset is loaded whole, whatever this `Kernel` has loaded before: something else may have changed it.
    /// Gives what that was.
    pub fn forget(&self) -> Option<Ruleset> {
        self.take_note();
        let loaded = &mut *self.loaded.lock();
        loaded.take().map(|loaded| loaded.ruleset)
    }

    /// Loads what is new, and edits or switches.
    fn carry_out(
        &self,
        change: &Change,
        table: Option<Table>,
        ruleset: &Ruleset,
        may_switch: &mut impl FnMut() -> Result<(), String>,
    ) -> Result<(), EnforceError> {
        let names = &change.names;
        if change.is_empty() {
            return may_switch().map_err(EnforceError::Withheld);
        }
        let load = batch::load(ruleset, names);
        let mut commands = match change.switch {
            true => batch::switch(),
            false => change.edits(),
        };
        commands.extend(batch::mark_again(ruleset, names));
        let loaded = self
            .backend
            .prepare(table, &load)
            .and_then(|load| self.backend.apply_in_parts(load, names));
        if loaded.is_ok()
            && let Err(why) = may_switch()
        {
            self.clean_up(table, names.generation());
            self.give_back(names);
            return Err(EnforceError::Withheld(why));
        }
        let Err(error) = loaded.and_then(|()| self.backend.apply(&commands, names)) else {
            self.marks_in_force(names);
            return Ok(());
        };
        // An nft that was stopped may have switched all the same, and so may a kernel that did not answer: it knows.
        if change.switch && self.is_entered(names)? {
            self.marks_in_force(names);
            return Ok(());
        }
        let is_told = error.batch().is_some();
        let error = EnforceError::from(error);
        match error.changed_nothing(change.switch) {
            true => self.give_back(names),
            // Flows may be marked with anything now.
            false => self.labels.hold(names.bits().of_the_generation()),
        }
        // Edits of which it is not known whether they were made may lead to what was loaded.
        if change.switch || is_told {
            self.clean_up(table, names.generation());
        }
        Err(error)
    }

    /// Gives back the bits of a ruleset that did not come into force.
    fn give_back(&self, names: &Names) {
        let bits = names.bits().iter();
        let bits = bits.filter(|(mark, _)| mark.is_of_a_generation());
        self.labels
            .give_back(&bits.map(|(_, bit)| bit).collect::<Vec<_>>());
    }

    /// Whether each base chain leads to this ruleset, and has no other rule.
    pub(super) fn is_entered(&self, names: &Names) -> Result<bool, NetlinkError> {
        let entries = self.view.entries()?;
        Ok(BASE_CHAINS.iter().zip(&entries).all(|(base, rules)| {
            matches!(rules.as_slice(), [Some(target)] if **target == *names.of(base.name))
        }))
    }

    /// The generation that is enforced, by whomever.
    pub fn in_force(&self) -> Result<Option<Generation>, NetlinkError> {
        self.view.entries().map(in_force_of)
    }

    /// The counters of our rules.
    pub fn hits(&self) -> Result<Vec<RuleHits>, HitsError> {
        self.view.hits()
    }

    /// Takes our table away. Gives whether a policy was in force.
    pub fn remove(&self) -> Result<bool, EnforceError> {
        self.forget();
        self.delete_table()
    }

    fn delete_table(&self) -> Result<bool, EnforceError> {
        let enforced = self.in_force()?.is_some();
        if self.changeable()?.is_some() {
            self.backend
                .apply(&[Command::DeleteTable], &Names::none())?;
            self.labels.forget();
        }
        Ok(enforced)
    }

    /// Deletes what was loaded in vain; the whole table, if there was none `before`: one without a policy may be what
    /// closes this host. What cannot be deleted is deleted by the next reload.
    fn clean_up(&self, before: Option<Table>, generation: Generation) {
        let _ = match (before, self.in_force()) {
            (None, Ok(None)) => self.delete_table().map(|_| ()),
            _ => self
                .view
                .objects()
                .map_err(EnforceError::from)
                .and_then(|objects| self.delete(&objects.of(generation))),
        };
    }

    pub(super) fn delete(&self, objects: &Objects) -> Result<(), EnforceError> {
        if *objects == Objects::default() {
            return Ok(());
        }
        let commands = batch::delete(&objects.chains, &objects.maps, &objects.sets);
        Ok(self.backend.apply_in_parts(&commands, &Names::none())?)
    }
}

/// The counters of these chains and maps.
fn of_objects(mut hits: Vec<RuleHits>, objects: &Objects) -> Vec<RuleHits> {
    let names = objects.chains.iter().chain(&objects.maps);
    let names: HashSet<&str> = names.map(String::as_str).collect();
    hits.retain(|hits| names.contains(hits.chain.as_str()));
    hits
}

fn left_behind(
    hits: &Result<Vec<RuleHits>, HitsError>,
    deleted: &Result<(), EnforceError>,
) -> Option<String> {
    let hits = hits.as_ref().err().map(ToString::to_string);
    let deleted = deleted.as_ref().err().map(ToString::to_string);
    hits.or(deleted)
}
