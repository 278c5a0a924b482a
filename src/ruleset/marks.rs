//! What the labels of connection tracking say about a flow, and which bit says it.
//!
//! | mark | meaning | lasts |
//! |---|---|---|
//! | `Opened(Inbound, eth0)` | a packet that opens the flow came in by `eth0`, and `eth0` let it pass | as long as the flow |
//! | `Passes(Inbound, list)` | the inbound rules of this list of groups allow the flow | until the next change of the policy |
//! | `Answers(list)` | the flow was opened elsewhere, and its answers may leave by the interfaces of this list | the same |
//!
//! `nft` sets bits of a label and cannot clear one. A bit that was in force is therefore used again only after
//! `netfilter::labels` has cleared it in all flows.

use crate::policy::{Direction, InterfaceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where a flow was opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// `lo`, and what an exemption let pass.
    Elsewhere,
    /// An interface that is not bound, and has no slot of its own.
    Others,
    /// A bound interface beyond those that have one of their own: where a flow was opened, they count as one.
    Rest,
    /// An interface, or all interfaces of a glob.
    Interface(InterfaceName),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Elsewhere => f.write_str("lo"),
            Slot::Others => f.write_str("*"),
            Slot::Rest => f.write_str("**"),
            Slot::Interface(name) => name.fmt(f),
        }
    }
}

/// The groups of a list, highest priority first: `sg-base,sg-web`. Interfaces that are bound to equal lists share their marks.
pub type ListKey = Arc<str>;

/// One bit of a flow's labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mark {
    /// The flow was opened across this interface, in this direction.
    Opened(Direction, Slot),
    /// The rules of this list allow the flow, opened in this direction.
    Passes(Direction, ListKey),
    /// Answers of this flow may leave by the interfaces of this list, though it was opened elsewhere.
    Answers(ListKey),
}

impl Mark {
    /// Whether the mark is void after the next change of the policy.
    pub fn is_of_a_generation(&self) -> bool {
        !matches!(self, Mark::Opened(..))
    }

    /// Whether the mark only saves time. Without it each packet is judged, with the same verdict.
    pub fn is_optional(&self) -> bool {
        matches!(self, Mark::Answers(_))
    }
}

/// The bits of the marks of a ruleset, from 64 to 127.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bits(BTreeMap<Mark, u8>);

impl Bits {
    /// The first label that is ours; the lower ones are left to other programs.
    pub const FIRST: u8 = 64;
    /// How many are ours.
    pub const COUNT: u8 = 64;

    /// Bits that are all different, in the order of the marks: what `compile` prints, which enforces nothing.
    pub fn example<'m>(marks: impl IntoIterator<Item = &'m Mark>) -> Self {
        let bits = marks.into_iter().cloned().zip(Self::FIRST..=u8::MAX / 2);
        Bits(bits.collect())
    }

    /// Assigns a bit to a mark.
    pub fn insert(&mut self, mark: Mark, bit: u8) {
        self.0.insert(mark, bit);
    }

    /// The bit of a mark, if there was one free for it.
    pub fn get(&self, mark: &Mark) -> Option<u8> {
        self.0.get(mark).copied()
    }

    /// All marks that have a bit.
    pub fn iter(&self) -> impl Iterator<Item = (&Mark, u8)> {
        self.0.iter().map(|(mark, bit)| (mark, *bit))
    }

    /// The bits of these marks, as labels.
    pub fn of(&self, marks: &[Mark]) -> Vec<u8> {
        let mut bits: Vec<u8> = marks.iter().filter_map(|mark| self.get(mark)).collect();
        bits.sort_unstable();
        bits.dedup();
        bits
    }

    /// The bits of all marks that are void after the next change.
    pub fn of_the_generation(&self) -> u128 {
        let marks = self.0.iter().filter(|(mark, _)| mark.is_of_a_generation());
        marks.fold(0, |all, (_, bit)| all | 1 << bit)
    }
}

/// Labels as a number, label 0 the lowest bit.
pub fn mask(bits: &[u8]) -> u128 {
    bits.iter().fold(0, |all, bit| all | 1 << bit)
}
