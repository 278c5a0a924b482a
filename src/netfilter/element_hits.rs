//! The counters of the elements of maps, read without the nft program: where a map's element decides, it counts too.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use netlink_bindings::nftables::{
    DataAttrs, IterableSetelemAttrs, Nfgenmsg, Request, SetAttrs, SetelemAttrs,
    SetelemListElemAttrs,
};
use nix::errno::Errno;

use super::hits::{RuleHits, comment, counter, drops};
use super::netlink::{NetlinkError, Reader};

/// What the elements of these maps have met, of those that count; of all maps of the table without a list.
pub(super) fn element_hits_over(
    reader: &Reader,
    table: &CStr,
    header: &Nfgenmsg,
    maps: Option<&[String]>,
) -> Result<Vec<RuleHits>, NetlinkError> {
    let mut hits = Vec::new();
    for map in counting_maps(reader, table, header)? {
        let name = map.to_string_lossy();
        if maps.is_none_or(|maps| maps.iter().any(|each| *each == name)) {
            hits.extend(elements(reader, table, header, &map)?);
        }
    }
    Ok(hits)
}

/// The maps whose elements have counters.
fn counting_maps(
    reader: &Reader,
    table: &CStr,
    header: &Nfgenmsg,
) -> Result<Vec<CString>, NetlinkError> {
    let mut request = Request::new().op_getset_dump(header);
    request.encode().push_table(table);
    let maps = reader.dump(&request, |(_, set)| {
        let (mut name, mut counts) = (None, false);
        for attribute in set.flatten() {
            match attribute {
                SetAttrs::Name(text) => name = Some(text.to_owned()),
                SetAttrs::Expr(_) | SetAttrs::Expressions(_) => counts = true,
                _ => {}
            }
        }
        name.filter(|_| counts)
    });
    match maps {
        // The kernel answers so for the sets of a table that does not exist.
        Err(NetlinkError::Refused(Errno::ENOENT)) => Ok(Vec::new()),
        maps => maps,
    }
}

fn elements(
    reader: &Reader,
    table: &CStr,
    header: &Nfgenmsg,
    map: &CStr,
) -> Result<Vec<RuleHits>, NetlinkError> {
    let mut request = Request::new().op_getsetelem_dump(header);
    request.encode().push_table(table).push_set(map);
    let chain = map.to_string_lossy();
    // A hash that grows while it is read may show an element twice.
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let lists = reader.dump(&request, |(_, list)| {
        let elements = list.get_elements().ok()?.flatten();
        let hits = elements.filter_map(|SetelemListElemAttrs::Elem(element)| {
            let (key, hits) = element_hits(&chain, element)?;
            seen.insert(key).then_some(hits)
        });
        Some(hits.collect::<Vec<_>>())
    });
    match lists {
        // It has gone meanwhile.
        Err(NetlinkError::Refused(Errno::ENOENT)) => Ok(Vec::new()),
        lists => Ok(lists?.into_iter().flatten().collect()),
    }
}

/// An element's key and its hits; nothing for one that counts for nobody: without a counter, or without a comment, as those
/// are where flows pass again.
fn element_hits(map: &str, element: IterableSetelemAttrs<'_>) -> Option<(Vec<u8>, RuleHits)> {
    let mut found = RuleHits {
        chain: map.to_owned(),
        comment: None,
        packets: 0,
        bytes: 0,
        drops: false,
    };
    let (mut key, mut counts) = (None, None);
    for attribute in element.flatten() {
        match attribute {
            SetelemAttrs::Key(data) => {
                key = data.flatten().find_map(|data| match data {
                    DataAttrs::Value(bytes) => Some(bytes.to_vec()),
                    DataAttrs::Verdict(_) => None,
                });
            }
            SetelemAttrs::Data(data) => found.drops = drops(&data),
            SetelemAttrs::Userdata(notes) => found.comment = comment(notes),
            SetelemAttrs::Expr(expression) => counts = counter(expression),
            _ => {}
        }
    }
    (found.packets, found.bytes) = counts?;
    found.comment.as_ref()?;
    Some((key?, found))
}
