//! Who else has rules in this network namespace.

use super::native::tracer::TRACER;
use super::netlink::{NetlinkError, dump};
use super::programs::LEGACY;
use crate::ruleset::TABLE;
use netlink_bindings::nftables::{Nfgenmsg, Request};
use std::collections::BTreeSet;
use std::ffi::CStr;

/// `NF_DROP`, the policy of a base chain that needs no rule to drop.
const DROP: u32 = 0;

/// Each other program whose rules stand here, once: iptables, ip6tables, their legacy kind, nftables. A table that
/// neither has a rule nor drops what no rule meets does not count; of the legacy kind every table in use does.
pub fn beside_us() -> Result<Vec<String>, NetlinkError> {
    let name = |text: &CStr| text.to_string_lossy().into_owned();
    let request = Request::new().op_getrule_dump(&Nfgenmsg::new());
    let mut tables: BTreeSet<(i32, String)> = dump(&request, |(header, rule)| {
        Some((i32::from(header.nfgen_family), name(rule.get_table().ok()?)))
    })?
    .into_iter()
    .collect();
    let request = Request::new().op_getchain_dump(&Nfgenmsg::new());
    tables.extend(dump(&request, |(header, chain)| {
        let table = chain.get_table().ok()?;
        let drops = chain.get_policy().is_ok_and(|policy| policy == DROP);
        drops.then(|| (i32::from(header.nfgen_family), name(table)))
    })?);
    let mut found: Vec<String> = tables
        .into_iter()
        .filter(|(_, name)| name != TABLE && name != TRACER)
        .map(|(family, name)| owner_of(family, &name))
        .collect();
    for (name, path) in LEGACY {
        let tables = std::fs::read_to_string(path).unwrap_or_default();
        if !tables.trim().is_empty() {
            found.push(name.to_owned());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Whose a table of this family is: what iptables-nft names so belongs to iptables.
pub fn owner_of(family: i32, table: &str) -> String {
    let by_iptables = ["raw", "mangle", "nat", "filter", "security"].contains(&table);
    match family {
        nix::libc::NFPROTO_IPV4 if by_iptables => "iptables".to_owned(),
        nix::libc::NFPROTO_IPV6 if by_iptables => "ip6tables".to_owned(),
        _ => format!("the nftables table {table}"),
    }
}
