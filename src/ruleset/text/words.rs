//! The words that nft has for the parts of a rule.

use crate::policy::Direction;
use crate::ruleset::ir::*;

impl CtState {
    /// nft's word.
    pub fn name(self) -> &'static str {
        match self {
            CtState::Established => "established",
            CtState::Related => "related",
            CtState::Invalid => "invalid",
            CtState::New => "new",
        }
    }
}

impl FlowSide {
    /// nft's word.
    pub fn name(self) -> &'static str {
        match self {
            FlowSide::Original => "original",
            FlowSide::Reply => "reply",
        }
    }
}

impl Direction {
    /// Where connection tracking keeps the remote of a flow of this direction, and its port beside the remote: an inbound flow's
    /// remote has opened it; an outbound flow's is whoever answers, which is also right behind DNAT.
    pub fn of_flow(self) -> (&'static str, &'static str) {
        match self {
            Direction::Inbound => ("original", "proto-dst"),
            Direction::Outbound => ("reply", "proto-src"),
        }
    }
}

impl Family {
    /// nft's word after `meta nfproto`.
    pub fn nfproto(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }
}

impl Family {
    /// nft's name of its header.
    pub fn header(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }
}

impl Side {
    /// nft's name of its address.
    pub fn address(self) -> &'static str {
        match self {
            Side::Source => "saddr",
            Side::Destination => "daddr",
        }
    }
}

impl Transport {
    /// nft's word.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}
