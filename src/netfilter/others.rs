//! Who else has rules in this network namespace.

use super::netlink::{NetlinkError, dump};
use crate::ruleset::TABLE;
use netlink_bindings::nftables::{Nfgenmsg, Request};

/// The kernel's lists of the legacy tables in use.
const LEGACY: [(&str, &str); 2] = [
    ("/proc/thread-self/net/ip_tables_names", "iptables-legacy"),
    ("/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy"),
];

/// Each other program whose tables stand here, once: iptables, ip6tables, their legacy kind, nftables. A table without a rule counts too.
///
/// # Errors
///
/// When the kernel does not list the tables.
pub fn beside_us() -> Result<Vec<String>, NetlinkError> {
    let request = Request::new().op_gettable_dump(&Nfgenmsg::new());
    let tables = dump(&request, |(header, table)| {
        let name = table.get_name().ok()?.to_string_lossy().into_owned();
        Some((i32::from(header.nfgen_family), name))
    })?;
    let mut found: Vec<String> = tables
        .into_iter()
        .filter(|(_, name)| name != TABLE)
        .map(|(family, name)| {
            // What iptables-nft names its tables.
            let by_iptables = ["raw", "mangle", "nat", "filter", "security"].contains(&&*name);
            match family {
                nix::libc::NFPROTO_IPV4 if by_iptables => "iptables".to_owned(),
                nix::libc::NFPROTO_IPV6 if by_iptables => "ip6tables".to_owned(),
                _ => format!("the nftables table {name}"),
            }
        })
        .collect();
    for (path, name) in LEGACY {
        let tables = std::fs::read_to_string(path).unwrap_or_default();
        if !tables.trim().is_empty() {
            found.push(name.to_owned());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
