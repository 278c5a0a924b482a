//! One rule as a message, behind the sets in its braces.

use super::batch::Batch;
use super::elements::{KeyNumber, comment};
use super::fields::*;
use super::sets::{KeySource, constant_address_types, constant_set};
use super::writer::Writer;
use crate::netfilter::netlink::{NLM_F_APPEND, NLM_F_CREATE};
use crate::policy::Interval;
use crate::ruleset::TABLE;
use crate::ruleset::batch::Names;
use crate::ruleset::ir::*;
use netlink_bindings::nftables::PushRuleAttrs;
use netlink_bindings::utils::{finalize_nested_header, push_nested_header};
use nix::libc;

/// The list of a rule's expressions: the bindings' own would lend the buffer away for all of them.
const NFTA_RULE_EXPRESSIONS: u16 = 4;
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

/// Writes the sets in a rule's braces. Returns their numbers, in the order in which the rule asks them.
fn constant_sets(batch: &mut Batch, rule: &NftRule, names: &Names) -> Vec<u32> {
    let mut sets = Vec::new();
    for each in &rule.matches {
        match each {
            Match::Port(transport, side, ports) => {
                let compared = KeySource::Port(*transport, *side);
                sets.extend(several(batch, compared, ports.intervals(), names));
            }
            Match::FlowPort(key, _, ports) => {
                let compared = KeySource::FlowPort(*key);
                sets.extend(several(batch, compared, ports.intervals(), names));
            }
            Match::Address {
                side,
                with: AddressMatch::Inline(addresses),
                ..
            } => {
                let compared = KeySource::Address(*side, addresses.family());
                sets.extend(several_addresses(batch, compared, addresses, names));
            }
            Match::FlowAddress {
                key,
                with: AddressMatch::Inline(addresses),
                ..
            } => {
                let compared = KeySource::FlowAddress(*key, addresses.family());
                sets.extend(several_addresses(batch, compared, addresses, names));
            }
            Match::IcmpType(types) => {
                sets.extend(several(
                    batch,
                    KeySource::IcmpType,
                    &intervals(types),
                    names,
                ));
            }
            Match::Icmpv6Type(types) => {
                let list = intervals(types);
                sets.extend(several(batch, KeySource::Icmpv6Type, &list, names));
            }
            Match::ToThisHost => {
                let types = [LOCAL, BROADCAST, ANYCAST, MULTICAST];
                sets.push(constant_address_types(batch, &types, names));
            }
            Match::FromLinkToMany => {
                let compared = KeySource::Address(Side::Source, Family::V6);
                sets.push(constant_set(batch, compared, &FROM_LINK, names));
            }
            Match::LoopedBack => {
                let types = [BROADCAST, MULTICAST];
                sets.push(constant_address_types(batch, &types, names));
            }
            Match::ToOwnOrBroadcast => {
                let types = [LOCAL, BROADCAST];
                sets.push(constant_address_types(batch, &types, names));
            }
            // The writer asks for no set of another condition; `tests/encoder.rs` holds it against nft.
            _ => {}
        }
    }
    sets
}

/// A single element stands in the rule itself.
fn several<K: KeyNumber>(
    batch: &mut Batch,
    compared: KeySource,
    list: &[Interval<K>],
    names: &Names,
) -> Option<u32> {
    (list.len() != 1).then(|| constant_set(batch, compared, list, names))
}

fn several_addresses(
    batch: &mut Batch,
    compared: KeySource,
    addresses: &Addresses,
    names: &Names,
) -> Option<u32> {
    match addresses {
        Addresses::V4(list) => several(batch, compared, list, names),
        Addresses::V6(list) => several(batch, compared, list, names),
    }
}
