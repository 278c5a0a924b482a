//! One row of a list, from the first entry to the last and back: what each rule decides, and what would change without
//! it.

use super::fact::{ADMIN_PORTS, Claimed, Facts};
use crate::insight::listed::{FlowKind, PortRow};
use crate::insight::space::{PartSet, TooLarge, Work};
use crate::policy::interval::contains;
use crate::policy::listed::ListEntry;
use crate::policy::{Interval, Service};
use std::collections::BTreeMap;

/// So many of the rules that overrule one are named.
const NAMED: usize = 4;

/// One row on its way through the list.
pub struct Walk<'w, 'a, 'l, 'p> {
    /// What is known of each rule.
    pub facts: &'w mut Facts<'a>,
    pub list: &'l [ListEntry<'p>],
    /// The remotes of each entry.
    pub bits: &'w [Option<&'w PartSet>],
    /// The rule that each entry is.
    pub numbers: &'w [Option<usize>],
    pub kind: FlowKind,
    pub row: &'w PortRow,
    pub v4: bool,
}

impl Walk<'_, '_, '_, '_> {
    /// Marks the rules that decide something.
    pub fn decides(&mut self, mut left: Vec<u64>, work: &mut Work) -> Result<(), TooLarge> {
        let admin =
            ADMIN_PORTS.map(|port| self.kind == FlowKind::Tcp && contains(&self.row.ports, port));
        for entry in &self.row.entries {
            let index = *entry as usize;
            let Some(bits) = self.bits[index] else {
                continue;
            };
            work.spend(bits.len() + 2)?;
            let mut some = 0;
            for (at, word) in bits.words() {
                some |= word & left[at];
                left[at] &= !word;
            }
            if let (true, Some(number)) = (some != 0, self.numbers[index]) {
                let fact = &mut self.facts.of[number].1;
                fact.decides = true;
                (0..admin.len()).for_each(|which| fact.admin[which] |= admin[which]);
            }
        }
        Ok(())
    }

    /// Marks the rules without which something would change, be it with those that never decide (they would, once it is
    /// gone) or without them (they are reported as such: of two that repeat each other only one is).
    pub fn needed(&mut self, whole: Vec<u64>, work: &mut Work) -> Result<(), TooLarge> {
        let width = whole.len();
        let mut left = whole.clone();
        // What groups of higher priority have allowed and refused, and what the group itself has not decided yet.
        let (mut allowed, mut refused) = (vec![0; width], vec![0; width]);
        let (mut before, mut own) = ([allowed.clone(), refused.clone()], whole);
        let mut group = None;
        // What each live entry decides, one after the other.
        let mut decided: Vec<u64> = Vec::new();
        let mut starts: Vec<(usize, usize)> = Vec::new();
        // All entries, and where the decisions of the live ones begin.
        let mut all: Vec<(usize, Option<usize>)> = Vec::new();
        for entry in &self.row.entries {
            let index = *entry as usize;
            let Some(bits) = self.bits[index] else {
                continue;
            };
            let number = self.numbers[index];
            if number.is_some_and(|number| !self.facts.of[number].1.decides) {
                work.spend(bits.len() + 1)?;
                all.push((index, None));
                continue;
            }
            work.spend(5 * bits.len() + 4)?;
            all.push((index, Some(decided.len())));
            if let Some((place, _)) = self.list[index].rule
                && group != Some(place)
            {
                work.spend(3 * width)?;
                if group.is_some() {
                    before = [allowed.clone(), refused.clone()];
                }
                own = vec![u64::MAX; width];
                group = Some(place);
            }
            starts.push((index, decided.len()));
            let mut claims = Claims::default();
            let allows = self.list[index].allows;
            for (at, word) in bits.words() {
                let hit = word & left[at];
                decided.push(hit);
                left[at] &= !word;
                match (number.is_some(), allows) {
                    (true, true) => allowed[at] |= hit,
                    (true, false) => refused[at] |= hit,
                    // What the platform decides contradicts nobody.
                    (false, _) => {}
                }
                let claim = word & own[at];
                own[at] &= !word;
                claims.some |= claim;
                claims.elsewhere |= claim & !before[usize::from(allows)][at];
            }
            let below = self.list[index].rule.is_some_and(|(place, _)| place > 0);
            if let (Some(number), true) = (number, below && claims.some != 0) {
                // What is kept of long lists of ports takes its place.
                work.spend(50 * self.row.ports.len())?;
                match claims.elsewhere {
                    0 => self.overruled(number, index, &starts, &decided, work)?,
                    _ => self.claims(number, index, |claimed| &mut claimed.free),
                }
            }
        }
        // From the end: what is allowed by what follows, of the live entries and of all.
        let (mut after, mut after_all) = (vec![0; width], vec![0; width]);
        for (index, start) in all.into_iter().rev() {
            let (Some(bits), allows) = (self.bits[index], self.list[index].allows) else {
                continue;
            };
            let mut changes = 0;
            if let Some(start) = start {
                for ((at, word), hit) in bits.words().zip(&decided[start..]) {
                    changes |= match allows {
                        true => hit & !(after[at] & after_all[at]),
                        false => hit & (after[at] | after_all[at]),
                    };
                    match allows {
                        true => after[at] |= word,
                        false => after[at] &= !word,
                    }
                }
            }
            for (at, word) in bits.words() {
                match allows {
                    true => after_all[at] |= word,
                    false => after_all[at] &= !word,
                }
            }
            if let (true, Some(number)) = (changes != 0, self.numbers[index]) {
                self.facts.of[number].1.needed = true;
            }
        }
        Ok(())
    }

    /// Keeps that a rule would decide something about this row. A rule about all ports, or all protocols, has
    /// exceptions and no contradictions.
    fn claims(
        &mut self,
        number: usize,
        index: usize,
        which: impl Fn(&mut Claimed) -> &mut BTreeMap<FlowKind, Vec<Interval<u16>>>,
    ) {
        let all = self.kind.ports(&Service::All, self.v4);
        let named = self.list[index].services.iter().any(|service| {
            let ports = self.kind.ports(service, self.v4);
            let names = !self.kind.has_ports() || ports != all;
            *service != Service::All && !ports.is_empty() && names
        });
        if named {
            let claimed = self.facts.claimed.entry(number).or_default();
            let ports = which(claimed).entry(self.kind).or_default();
            ports.extend(&self.row.ports);
        }
    }

    /// Keeps that all that a rule says about this row is decided the opposite before, and by whom.
    fn overruled(
        &mut self,
        number: usize,
        index: usize,
        starts: &[(usize, usize)],
        decided: &[u64],
        work: &mut Work,
    ) -> Result<(), TooLarge> {
        self.claims(number, index, |claimed| &mut claimed.lost);
        let entry = &self.list[index];
        let Some(known) = self.facts.claimed.get_mut(&number) else {
            return Ok(());
        };
        if known.by.len() >= NAMED {
            return Ok(());
        }
        let Some(own) = self.bits[index] else {
            return Ok(());
        };
        for (other, start) in starts {
            let (Some(bits), Some(by)) = (self.bits[*other], self.numbers[*other]) else {
                continue;
            };
            work.spend(bits.len())?;
            let place = |entry: &ListEntry| entry.rule.map(|(place, _)| place);
            let earlier = place(&self.list[*other]) < place(entry);
            let meets = bits
                .words()
                .zip(&decided[*start..])
                .any(|((at, _), hit)| hit & own.word(at) != 0);
            if earlier
                && self.list[*other].allows != entry.allows
                && meets
                && known.by.len() < NAMED
            {
                known.by.insert(by);
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Claims {
    /// What the rule would decide if its group were asked alone.
    some: u64,
    /// What of it no group of higher priority decides the opposite.
    elsewhere: u64,
}
