//! One rule as a message, behind the sets in its braces.

use super::batch::{Batch, NLM_F_APPEND, NLM_F_CREATE};
use super::conditions::Writer;
use super::elements::Key;
use super::sets::{Compared, constant_address_types, constant_set};
use crate::policy::Interval;
use crate::ruleset::TABLE;
use crate::ruleset::batch::Names;
use crate::ruleset::ir::*;
use netlink_bindings::nftables::{FibFlags, PushRuleAttrs};
use netlink_bindings::utils::{finalize_nested_header, push_nested_header};
use nix::libc;

/// The list of a rule's expressions: the bindings' own would lend the buffer away for all of them.
const NFTA_RULE_EXPRESSIONS: u16 = 4;
/// `NFTNL_UDATA_RULE_COMMENT` and `NFTNL_UDATA_SET_ELEM_COMMENT` of libnftnl's `udata.h`.
const UDATA_COMMENT: u8 = 0;
/// The longest comment in nft's user data, whose lengths are a byte, NUL included.
const COMMENT_BYTES: usize = 254;

/// `RTN_…` of `linux/rtnetlink.h`.
pub(super) const LOCAL: u32 = 2;
const BROADCAST: u32 = 3;
const ANYCAST: u32 = 4;
const MULTICAST: u32 = 5;

/// Where `::` and `fe80::/10` lie.
pub(super) const FROM_LINK: [Interval<u128>; 2] = [
    Interval { first: 0, last: 0 },
    Interval {
        first: 0xfe80 << 112,
        last: (0xfe80 << 112) | ((1 << 118) - 1),
    },
];
/// `fe80::/10`.
pub(super) const LINK_LOCAL: [Interval<u128>; 1] = [FROM_LINK[1]];
/// `224.0.0.0/4`.
pub(super) const TO_MANY_V4: [Interval<u32>; 1] = [Interval {
    first: 0xe000_0000,
    last: 0xefff_ffff,
}];
/// `ff00::/8`.
pub(super) const TO_MANY: [Interval<u128>; 1] = [Interval {
    first: 0xff << 120,
    last: u128::MAX,
}];

/// `add rule inet secgroupd g7_in_0 …`
pub(super) fn add_rule(batch: &mut Batch, chain: &str, rule: &NftRule, names: &Names) {
    let sets = constant_sets(batch, rule, names);
    batch.message(
        libc::NFT_MSG_NEWRULE,
        NLM_F_CREATE | NLM_F_APPEND,
        |buffer| {
            PushRuleAttrs::new(&mut *buffer)
                .push_table_bytes(TABLE.as_bytes())
                .push_chain_bytes(chain.as_bytes());
            let list = push_nested_header(buffer, NFTA_RULE_EXPRESSIONS);
            Writer::new(buffer, sets, names).rule(rule);
            finalize_nested_header(buffer, list);
            if let Some(reason) = rule.named() {
                PushRuleAttrs::new(buffer).push_userdata(&comment(&reason.to_string()));
            }
        },
    );
}

/// nft's note of a comment, of rules and of elements: its type, its length, and the text with NUL.
pub(super) fn comment(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(COMMENT_BYTES)];
    [&[UDATA_COMMENT, text.len() as u8 + 1], text, &[0]].concat()
}

/// Writes the sets and maps in a rule's braces. Gives their numbers, in the order in which the rule asks them.
fn constant_sets(batch: &mut Batch, rule: &NftRule, names: &Names) -> Vec<u32> {
    let mut sets = Vec::new();
    for each in &rule.matches {
        match each {
            Match::Port(transport, side, ports) => {
                let compared = Compared::Port(*transport, *side);
                sets.extend(several(batch, compared, ports.intervals(), names));
            }
            Match::FlowPort(key, _, ports) => {
                let compared = Compared::FlowPort(*key);
                sets.extend(several(batch, compared, ports.intervals(), names));
            }
            Match::Address {
                side,
                with: AddressMatch::Inline(addresses),
                ..
            } => {
                let compared = Compared::Address(*side, addresses.family());
                sets.extend(several_addresses(batch, compared, addresses, names));
            }
            Match::FlowAddress {
                key,
                with: AddressMatch::Inline(addresses),
                ..
            } => {
                let compared = Compared::FlowAddress(*key, addresses.family());
                sets.extend(several_addresses(batch, compared, addresses, names));
            }
            Match::IcmpType(types) => {
                sets.extend(several(batch, Compared::IcmpType, &intervals(types), names));
            }
            Match::Icmpv6Type(types) => {
                let list = intervals(types);
                sets.extend(several(batch, Compared::Icmpv6Type, &list, names));
            }
            Match::ToThisHost => {
                let types = [LOCAL, BROADCAST, ANYCAST, MULTICAST];
                sets.push(constant_address_types(
                    batch,
                    FibFlags::Daddr,
                    &types,
                    names,
                ));
            }
            Match::FromLinkToMany => {
                let compared = Compared::Address(Side::Source, Family::V6);
                sets.push(constant_set(batch, compared, &FROM_LINK, names));
            }
            Match::LoopedBack => {
                let types = [BROADCAST, MULTICAST];
                sets.push(constant_address_types(
                    batch,
                    FibFlags::Daddr,
                    &types,
                    names,
                ));
            }
            Match::ToOwnOrBroadcast => {
                let types = [LOCAL, BROADCAST];
                sets.push(constant_address_types(
                    batch,
                    FibFlags::Daddr,
                    &types,
                    names,
                ));
            }
            Match::Interface(..)
            | Match::Loopback(_)
            | Match::FromOwnAddress
            | Match::FromUnspecified
            | Match::ToOwnLinkLocal
            | Match::LinkIgmp
            | Match::HasLinkHeader
            | Match::EnteredByEthernet
            | Match::EnteredByKind(_)
            | Match::State(_)
            | Match::FlowSide(_)
            | Match::NotEstablished
            | Match::Marked(_)
            | Match::MarkedOr(..)
            | Match::OpenedSomewhere
            | Match::SetMarks(_)
            | Match::OwnOfAnother(_)
            | Match::WithoutSyn
            | Match::PortOutside(_)
            | Match::Family(_)
            | Match::Protocol(_)
            | Match::Address { .. }
            | Match::FlowAddress { .. }
            | Match::HopLimit(_)
            | Match::FromProcess
            | Match::Decrypted
            | Match::WillEncrypt
            | Match::Told(_) => {}
        }
    }
    sets
}

/// A single element stands in the rule itself.
fn several<K: Key>(
    batch: &mut Batch,
    compared: Compared,
    list: &[Interval<K>],
    names: &Names,
) -> Option<u32> {
    (list.len() != 1).then(|| constant_set(batch, compared, list, names))
}

fn several_addresses(
    batch: &mut Batch,
    compared: Compared,
    addresses: &Addresses,
    names: &Names,
) -> Option<u32> {
    match addresses {
        Addresses::V4(list) => several(batch, compared, list, names),
        Addresses::V6(list) => several(batch, compared, list, names),
    }
}

pub(super) fn intervals(types: &[(u8, u8)]) -> Vec<Interval<u8>> {
    types
        .iter()
        .map(|&(first, last)| Interval { first, last })
        .collect()
}
