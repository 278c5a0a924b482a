//! Sets of addresses as conditions: short lists stand in the rule, long ones in a named set that is stored once.

use super::ir::*;
use rustc_hash::FxHashMap;

/// From this many elements on a list becomes a named set. Shorter ones cost less in the rule: a named
/// interval set takes 16 KB of kernel memory, however small.
const NAMED_FROM: usize = 16;

/// The named sets of a generation, by content.
#[derive(Debug, Default)]
pub struct Remotes {
    sets: Vec<Set>,
    by_content: FxHashMap<Addresses, usize>,
}

impl Remotes {
    /// The sets that were named.
    pub fn into_sets(self) -> Vec<Set> {
        self.sets
    }

    /// `ip saddr { … }` or `ip saddr @set`.
    pub fn address(&mut self, addresses: Addresses, side: Side) -> Match {
        if addresses.len() < NAMED_FROM {
            return Match::Address {
                side,
                with: AddressMatch::Inline(addresses),
                negated: false,
            };
        }
        let family = addresses.family();
        Match::Address {
            side,
            with: AddressMatch::Set(self.set(addresses), family),
            negated: false,
        }
    }

    /// The name of the set of these addresses.
    pub fn set(&mut self, addresses: Addresses) -> String {
        let family = addresses.family();
        let index = *self
            .by_content
            .entry(addresses)
            .or_insert_with_key(|addresses| {
                let kind = match family {
                    Family::V4 => "v4",
                    Family::V6 => "v6",
                };
                self.sets.push(Set {
                    name: format!("{kind}_{}", self.sets.len()),
                    elements: addresses.clone(),
                });
                self.sets.len() - 1
            });
        self.sets[index].name.clone()
    }
}
