//! What the kernel holds of our table, as it says it itself over netlink.

use netlink_bindings::nftables::{Nfgenmsg, Request};
use netlink_bindings::utils::{IterateAttrs, nla_type};
use nix::errno::Errno;
use nix::libc;
use secgroupd::netfilter::netlink::{NetlinkError, dump};
use secgroupd::ruleset::TABLE;
use std::ffi::CString;

/// Attributes by number, of `linux/netfilter/nf_tables.h`, that say when an object was made and not what it is.
const CHAIN_HANDLE: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_POSITION: u16 = 6;
const SET_HANDLE: u16 = 16;

/// Chains, sets, elements and rules of the table on this host, each as one line of hexadecimal digits, in an order that does
/// not depend on the order of their making; the rules of a chain keep theirs.
pub fn table() -> Vec<String> {
    let header = Nfgenmsg {
        nfgen_family: libc::NFPROTO_INET as u8,
        ..Default::default()
    };
    let table = CString::new(TABLE).unwrap();
    let mut chains = dump(&Request::new().op_getchain_dump(&header), |(_, chain)| {
        let name = chain.get_name().unwrap().to_string_lossy().into_owned();
        Some(line("chain", &name, chain.get_buf(), &[CHAIN_HANDLE]))
    })
    .unwrap();
    chains.sort();

    let mut request = Request::new().op_getset_dump(&header);
    request.encode().push_table(&table);
    let sets = dump(&request, |(_, set)| {
        let name = set.get_name().unwrap().to_owned();
        Some((name, line("set", "", set.get_buf(), &[SET_HANDLE])))
    });
    let sets = match sets {
        // There is no such table.
        Err(NetlinkError::Refused(Errno::ENOENT)) => return Vec::new(),
        sets => sets.unwrap(),
    };
    let mut lists = Vec::new();
    for (name, set) in sets {
        let mut request = Request::new().op_getsetelem_dump(&header);
        request.encode().push_table(&table).push_set(&name);
        let parts = dump(&request, |(_, list)| {
            let elements = list.get_elements().unwrap();
            Some(
                IterateAttrs::new(elements.get_buf())
                    .map(hex)
                    .collect::<Vec<_>>(),
            )
        });
        let mut elements = parts.unwrap().concat();
        elements.sort();
        lists.push(format!("{set}\n{}", elements.join("\n")));
    }
    lists.sort();

    let mut request = Request::new().op_getrule_dump(&header);
    request.encode().push_table(&table);
    let mut rules = dump(&request, |(_, rule)| {
        let chain = rule.get_chain().unwrap().to_string_lossy().into_owned();
        let skip = [RULE_HANDLE, RULE_POSITION];
        Some((chain.clone(), line("rule", &chain, rule.get_buf(), &skip)))
    })
    .unwrap();
    // A stable sort: within a chain the order is the kernel's.
    rules.sort_by(|(a, _), (b, _)| a.cmp(b));

    let rules = rules.into_iter().map(|(_, rule)| rule);
    chains.into_iter().chain(lists).chain(rules).collect()
}

fn line(kind: &str, name: &str, attributes: &[u8], skip: &[u16]) -> String {
    let kept: Vec<String> = IterateAttrs::new(attributes)
        .filter(|attribute| {
            let number = nla_type(u16::from_ne_bytes([attribute[2], attribute[3]]));
            !skip.contains(&number)
        })
        .map(hex)
        .collect();
    format!("{kind} {name} {}", kept.join(" "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
