//! What the check covers: from where packets are followed, of which protocols, and how much was compared.

use super::regions::Regions;
use super::regions::run::at_interface;
use crate::policy::{Direction, Protocol};
use crate::ruleset::ir::{INBOUND, NftVerdict, OUTBOUND};

/// How much was compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Boxes of packets.
    pub boxes: usize,
    /// Single packets.
    pub packets: usize,
}

/// The port from which flows are opened, where that does not matter.
pub const EPHEMERAL: u16 = 49152;

/// The chain of an interface's list: `in_0`.
pub fn entry_of<'r>(
    regions: &Regions<'r>,
    direction: Direction,
    interface: &str,
) -> Option<&'r str> {
    let mut chain = enter(direction);
    // A chain of its own may ask for the interface.
    for _ in 0..2 {
        let rules = &regions.chain(chain)?.rules;
        let rule = rules.iter().find(|rule| {
            rule.matches
                .iter()
                .all(|each| at_interface(each, direction, interface))
        })?;
        chain = match &rule.verdict {
            NftVerdict::Goto(chain) | NftVerdict::Jump(chain) => chain,
            _ => return None,
        };
        if !rule.matches.is_empty() {
            return Some(chain);
        }
    }
    None
}

/// Where packets of a direction enter.
pub fn enter(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => INBOUND,
        Direction::Outbound => OUTBOUND,
    }
}

/// The protocols of the boxes: those that have rules, and one that has none.
pub fn protocols() -> impl Iterator<Item = Protocol> {
    let named = Protocol::NAMES.into_iter().map(|(_, protocol)| protocol);
    named.chain([Protocol::UNNAMED])
}
