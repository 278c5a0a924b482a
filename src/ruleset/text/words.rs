//! The words that nft has for the parts of a rule.

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

impl FlowKey {
    /// `ct original proto-dst`
    pub fn port_field(self) -> String {
        let (tuple, word) = self.port_words();
        format!("ct {tuple} {word}")
    }

    /// nft's words for the tuple and for the port.
    pub fn port_words(self) -> (&'static str, &'static str) {
        let (tuple, side) = self.port();
        let word = match side {
            Side::Source => "proto-src",
            Side::Destination => "proto-dst",
        };
        (tuple.name(), word)
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

    /// nft's type of its addresses.
    pub fn address_type(self) -> &'static str {
        match self {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        }
    }

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
