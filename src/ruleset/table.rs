//! The one table, its base chains, and the transactions that replace a generation without a gap.
//!
//! ```text
//! load    the new generation's sets and chains, which nothing refers to yet
//! switch  flush both base chains and add the jumps to the new generation: one transaction, so that no packet meets half a policy
//! delete  the old generation
//! ```
//!
//! One transaction for all of it loses packets: a set that is created and used in the same transaction misses
//! for a moment, and a base chain that is deleted leaves a hole.

use super::ir::{INBOUND, OUTBOUND};
use crate::policy::Direction;
use std::fmt;

/// The table that this program owns, in the family `inet`. No other is ever touched.
pub const TABLE: &str = "secgroupd";

/// The group of NFLOG by which refusals are sent. Others take the first ones, 0 above all.
pub const EVENTS_GROUP: u16 = 25443;

/// What an enforced ruleset is made of and means, as a number: counted up with each change of the base chains, of what
/// the generation's chains are asked for, or of how [`super::ir`] is written down. A ruleset that was kept under
/// another number is not loaded; the definition it came from is compiled anew.
pub const LAYOUT: u32 = 7;

/// A base chain: created once, never deleted while a policy is enforced.
#[derive(Debug, Clone, Copy)]
pub struct BaseChain {
    /// Its name, and the name of the generation's chain that it jumps to.
    pub name: &'static str,
    /// Its hook.
    pub hook: Hook,
    /// Its priority.
    pub priority: i32,
}

/// Where in a packet's way a base chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `prerouting`
    Prerouting,
    /// `input`
    Input,
    /// `postrouting`
    Postrouting,
}

/// nft's word.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Postrouting => "postrouting",
        })
    }
}

/// Inbound stands after raw (-300) and connection tracking (-200) and before iptables' mangle (-150), nat and
/// filter: it sees the port before any DNAT. Outbound stands after iptables' filter (0) and nat (100).
pub const BASE_CHAINS: [BaseChain; 2] = [
    BaseChain {
        name: INBOUND,
        hook: Hook::Prerouting,
        priority: -160,
    },
    BaseChain {
        name: OUTBOUND,
        hook: Hook::Postrouting,
        priority: 250,
    },
];

/// Both.
pub const DIRECTIONS: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

/// Whether a chain of our table belongs to no generation and stays.
pub fn is_lasting(name: &str) -> bool {
    BASE_CHAINS.iter().any(|base| base.name == name)
}

/// The number of an enforced policy; each load has a new one. Objects of generation 7 are named `g7_…`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Generation(pub u64);

impl Generation {
    /// The name in the kernel of one of this generation's chains or sets.
    pub fn object(self, name: &str) -> String {
        format!("g{}_{name}", self.0)
    }

    /// The generation that an object's name holds, and the name within it.
    pub fn of(object: &str) -> Option<(Self, &str)> {
        let (number, name) = object.strip_prefix('g')?.split_once('_')?;
        // A name that another program has made up may hold any number.
        let number = number
            .parse()
            .ok()
            .filter(|number| *number < u64::from(u32::MAX))?;
        Some((Generation(number), name))
    }

    /// The next one.
    pub fn next(self) -> Self {
        Generation(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_generation() {
        let name = Generation(12).object("sg_web_in");
        assert_eq!(name, "g12_sg_web_in");
        assert_eq!(Generation::of(&name), Some((Generation(12), "sg_web_in")));
        assert_eq!(Generation::of("inbound"), None);
        assert_eq!(Generation::of("gx_in"), None);
    }
}
