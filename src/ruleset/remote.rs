//! Sets of addresses as conditions: short lists stand in the rule, long ones in a named set that is stored once.

use super::ir::*;
use crate::policy::{AddressSet, Interval};
use std::collections::HashMap;

/// From this many elements on a list becomes a named set. Shorter ones cost less in the rule: a named
/// interval set takes 16 KB of kernel memory, however small.
const NAMED_FROM: usize = 16;

/// The named sets of a generation, by content.
#[derive(Debug, Default)]
pub struct Remotes {
    sets: Vec<Set>,
    by_content: HashMap<Addresses, usize>,
}

impl Remotes {
    /// Conditions for an address inside the set: one list for each family that is left. A family that the
    /// set covers whole needs no address: `meta nfproto ipv4`; both families need nothing at all.
    pub fn inside(
        &mut self,
        set: &AddressSet,
        limit: Option<Family>,
        side: Side,
    ) -> Vec<Vec<Match>> {
        if *set == AddressSet::any() && limit.is_none() {
            return vec![vec![]];
        }
        let mut lists = Vec::new();
        if !set.v4().is_empty() && limit != Some(Family::V6) {
            let whole = set.v4()
                == [Interval {
                    first: 0,
                    last: u32::MAX,
                }];
            lists.push(vec![if whole {
                Match::Family(Family::V4)
            } else {
                self.address(Addresses::V4(set.v4().into()), side, false)
            }]);
        }
        if !set.v6().is_empty() && limit != Some(Family::V4) {
            let whole = set.v6()
                == [Interval {
                    first: 0,
                    last: u128::MAX,
                }];
            lists.push(vec![if whole {
                Match::Family(Family::V6)
            } else {
                self.address(Addresses::V6(set.v6().into()), side, false)
            }]);
        }
        lists
    }

    /// Conditions for an address outside the set, one list for each family.
    pub fn outside(&mut self, set: &AddressSet, side: Side) -> Vec<Vec<Match>> {
        let v4 = match set.v4().is_empty() {
            true => Match::Family(Family::V4),
            false => self.address(Addresses::V4(set.v4().into()), side, true),
        };
        let v6 = match set.v6().is_empty() {
            true => Match::Family(Family::V6),
            false => self.address(Addresses::V6(set.v6().into()), side, true),
        };
        vec![vec![v4], vec![v6]]
    }

    /// The sets that were named.
    pub fn into_sets(self) -> Vec<Set> {
        self.sets
    }

    fn address(&mut self, addresses: Addresses, side: Side, negated: bool) -> Match {
        if addresses.len() < NAMED_FROM {
            return Match::Address {
                side,
                with: AddressMatch::Inline(addresses),
                negated,
            };
        }
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
        Match::Address {
            side,
            with: AddressMatch::Set(self.sets[index].name.clone(), family),
            negated,
        }
    }
}
