//! Flowtables and NOTRACK rules in the tables of others, read over netlink: no nft program and no text of anyone's.

use std::collections::BTreeMap;
use std::ffi::CString;

use netlink_bindings::nftables::{
    ExprAttrs, ExprListAttrs, ExprOps, IterableExprAttrs, IterableExprTargetAttrs,
    IterableRuleAttrs, Nfgenmsg, Request,
};
use nix::libc;

use super::spot::BlindSpot;
use crate::netfilter::netlink::{NetlinkError, dump, of_family};

/// Ours holds no such rules, and may hold very many others.
const OWN_TABLE: (u8, &std::ffi::CStr) = (libc::NFPROTO_INET as u8, c"secgroupd");

/// `XT_CT_NOTRACK | XT_CT_NOTRACK_ALIAS` of `linux/netfilter/xt_CT.h`: the low bits of the target's first u16.
const XT_CT_NOTRACK: u16 = 1 | 2;

pub(super) fn find() -> Vec<BlindSpot> {
    let unknown = |what| {
        move |error: NetlinkError| {
            vec![BlindSpot::Unknown {
                what,
                why: error.to_string(),
            }]
        }
    };
    let mut spots = flowtables().unwrap_or_else(unknown("the flowtables of nftables"));
    spots.extend(notrack().unwrap_or_else(unknown(
        "whether nftables rules take away the state of packets",
    )));
    spots
}

fn flowtables() -> Result<Vec<BlindSpot>, NetlinkError> {
    dump(
        &Request::new().op_getflowtable_dump(&Nfgenmsg::new()),
        |(header, flowtable)| {
            Some(BlindSpot::Flowtable {
                table: format!(
                    "{} {}",
                    family(header.nfgen_family),
                    flowtable.get_table().ok()?.to_string_lossy()
                ),
                name: flowtable.get_name().ok()?.to_string_lossy().into_owned(),
            })
        },
    )
}

fn notrack() -> Result<Vec<BlindSpot>, NetlinkError> {
    let tables = dump(
        &Request::new().op_gettable_dump(&Nfgenmsg::new()),
        |(header, table)| Some((header.nfgen_family, CString::from(table.get_name().ok()?))),
    )?;
    let mut spots = Vec::new();
    for (number, table) in tables {
        if (number, table.as_c_str()) == OWN_TABLE {
            continue;
        }
        for (chain, rules) in stateless_rules(number, &table)? {
            let table = format!("{} {}", family(number), table.to_string_lossy());
            spots.push(BlindSpot::Notrack {
                program: "nftables",
                table,
                chain,
                rules,
            });
        }
    }
    Ok(spots)
}

/// How many rules of each chain of the table say `notrack`.
fn stateless_rules(family: u8, table: &CString) -> Result<BTreeMap<String, usize>, NetlinkError> {
    let mut request = Request::new().op_getrule_dump(&of_family(family));
    request.encode().push_table(table);
    let chains = dump(&request, |(_, rule)| {
        is_notrack(&rule)
            .then(|| {
                rule.get_chain()
                    .map(|chain| chain.to_string_lossy().into_owned())
                    .ok()
            })
            .flatten()
    })?;
    let mut counts = BTreeMap::new();
    for chain in chains {
        *counts.entry(chain).or_default() += 1;
    }
    Ok(counts)
}

fn is_notrack(rule: &IterableRuleAttrs<'_>) -> bool {
    let expressions = rule.get_expressions().into_iter().flatten().flatten();
    expressions
        .into_iter()
        .any(|ExprListAttrs::Elem(expression)| takes_state(expression))
}

/// nftables' own expression, or the xtables target that iptables-nft writes.
fn takes_state(expression: IterableExprAttrs<'_>) -> bool {
    expression.flatten().any(|attribute| match attribute {
        ExprAttrs::Name(name) => name == c"notrack",
        ExprAttrs::Data(ExprOps::Target(target)) => is_notrack_target(&target),
        ExprAttrs::Data(_) => false,
    })
}

fn is_notrack_target(target: &IterableExprTargetAttrs<'_>) -> bool {
    let info = target.get_info().unwrap_or_default();
    let flags = info
        .first_chunk()
        .map_or(0, |bytes| u16::from_ne_bytes(*bytes));
    match target.get_name() {
        Ok(name) if name == c"NOTRACK" => true,
        Ok(name) if name == c"CT" => flags & XT_CT_NOTRACK != 0,
        _ => false,
    }
}

/// The word that nft uses for a family (`NFPROTO_*` of `linux/netfilter.h`).
fn family(number: u8) -> &'static str {
    match i32::from(number) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        libc::NFPROTO_ARP => "arp",
        libc::NFPROTO_NETDEV => "netdev",
        libc::NFPROTO_BRIDGE => "bridge",
        _ => "unknown",
    }
}
