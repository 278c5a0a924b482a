//! The counters of one table's rules and elements, read without the nft program.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use netlink_bindings::nftables::{
    DataAttrs, ExprAttrs, ExprCounterAttrs, ExprListAttrs, ExprOps, IterableDataAttrs,
    IterableExprAttrs, IterableExprListAttrs, IterableRuleAttrs, IterableSetelemAttrs, Request,
    RuleAttrs, SetAttrs, SetelemAttrs, SetelemListElemAttrs, VerdictCode,
};

use super::netlink::{ATTEMPTS, NetlinkError, Reader, inet};

/// `NFTNL_UDATA_RULE_COMMENT` and `NFTNL_UDATA_SET_ELEM_COMMENT` of libnftnl's `udata.h`.
const UDATA_COMMENT: u8 = 0;

/// What a rule has met, or an element of a map that decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleHits {
    /// The chain that the rule stands in, or the map that the element does.
    pub chain: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Packets since it was loaded; 0 if it does not count.
    pub packets: u64,
    /// Bytes since it was loaded, IP headers included; 0 if it does not count.
    pub bytes: u64,
    /// Whether it drops what it meets.
    pub drops: bool,
}

/// Why the counters could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HitsError {
    /// The kernel did not list the rules.
    #[error("cannot read the rules of the nftables table inet {table}: {error}")]
    Rules {
        /// The table asked for.
        table: String,
        /// What the kernel said.
        error: NetlinkError,
    },
    /// No table can have this name.
    #[error("`{0}` cannot be the name of a table")]
    Name(String),
}

/// Every rule of the table `inet` `table` in the kernel's order, chain by chain, and every element that counts. A table that does not
/// exist has none.
///
/// The counters of one answer are not of one instant, but the set of rules is: the reading begins anew when a transaction of
/// anyone was committed meanwhile, or was seen half-way. One case the kernel hides: of a table that someone is about to change,
/// and then is refused, a rule may be missing. Who changes the table should not read it at the same time.
pub fn rule_hits(table: &str) -> Result<Vec<RuleHits>, HitsError> {
    let reader = Reader::netfilter().map_err(|error| unread(table, error))?;
    rule_hits_over(&reader, table)
}

/// The same over a socket that is kept.
pub fn rule_hits_over(reader: &Reader, table: &str) -> Result<Vec<RuleHits>, HitsError> {
    let mut hits = read(reader, table, None)?;
    hits.extend(of_elements(reader, table, None)?);
    Ok(hits)
}

/// Above so many chains reading all rules of the table costs less than asking for each.
const CHAINS_AT_ONCE: usize = 100;

/// The rules of these chains, of many more perhaps all rules of the table, and the elements of these maps.
pub fn hits_of_over(
    reader: &Reader,
    table: &str,
    chains: &[String],
    maps: &[String],
) -> Result<Vec<RuleHits>, HitsError> {
    let mut hits = Vec::new();
    if chains.len() > CHAINS_AT_ONCE {
        hits = read(reader, table, None)?;
    } else {
        for chain in chains {
            hits.extend(read(reader, table, Some(chain))?);
        }
    }
    if !maps.is_empty() {
        hits.extend(of_elements(reader, table, Some(maps))?);
    }
    Ok(hits)
}

fn unread(table: &str, error: NetlinkError) -> HitsError {
    let table = table.to_owned();
    HitsError::Rules { table, error }
}

fn c_string(text: &str) -> Result<CString, HitsError> {
    CString::new(text).map_err(|_| HitsError::Name(text.to_owned()))
}

fn read(reader: &Reader, table: &str, chain: Option<&str>) -> Result<Vec<RuleHits>, HitsError> {
    let name = c_string(table)?;
    let mut request = Request::new().op_getrule_dump(&inet());
    request.encode().push_table(&name);
    if let Some(chain) = chain {
        request.encode().push_chain(&c_string(chain)?);
    }
    let failed = |error| unread(table, error);
    for _ in 0..ATTEMPTS {
        let rules = reader
            .dump(&request, |(_, rule)| hits(rule))
            .map_err(failed)?;
        // The kernel resumes a dump by counting rules, those included that a transaction has added and not yet committed. Such a
        // one in front shifts the count: a rule comes twice, and as nothing was committed the dump does not count as interrupted.
        let mut seen = HashSet::with_capacity(rules.len());
        if rules.iter().all(|(handle, _)| seen.insert(*handle)) {
            return Ok(rules.into_iter().map(|(_, hits)| hits).collect());
        }
    }
    Err(failed(NetlinkError::Restless))
}

/// A rule's handle, unique in its table, and its hits.
fn hits(rule: IterableRuleAttrs<'_>) -> Option<(u64, RuleHits)> {
    let (mut chain, mut handle) = (None, None);
    let mut found = RuleHits::default();
    // One pass over the attributes: the bindings' getters each search from the beginning.
    for attribute in rule.flatten() {
        match attribute {
            RuleAttrs::Chain(name) => chain = Some(name.to_string_lossy().into_owned()),
            RuleAttrs::Handle(number) => handle = Some(number),
            RuleAttrs::Expressions(list) => {
                (found.packets, found.bytes, found.drops) = counted(list);
            }
            RuleAttrs::Userdata(data) => found.comment = comment(data),
            _ => {}
        }
    }
    found.chain = chain?;
    Some((handle?, found))
}

/// Packets and bytes of the first counter among the expressions, and whether they end in a drop.
fn counted(list: IterableExprListAttrs<'_>) -> (u64, u64, bool) {
    let (mut count, mut is_dropped) = (None, false);
    for ExprListAttrs::Elem(expression) in list.flatten() {
        count = count.or_else(|| counter(expression));
        for attribute in expression.flatten() {
            if let ExprAttrs::Data(ExprOps::Immediate(immediate)) = attribute {
                is_dropped |= immediate.get_data().is_ok_and(|data| drops(&data));
            }
        }
    }
    let (packets, bytes) = count.unwrap_or_default();
    (packets, bytes, is_dropped)
}

/// Packets and bytes of an expression that is a counter.
fn counter(expression: IterableExprAttrs<'_>) -> Option<(u64, u64)> {
    let counter = expression.flatten().find_map(|attribute| match attribute {
        ExprAttrs::Data(ExprOps::Counter(counter)) => Some(counter),
        _ => None,
    })?;
    let (mut packets, mut bytes) = (0, 0);
    for attribute in counter.flatten() {
        match attribute {
            ExprCounterAttrs::Packets(count) => packets = count,
            ExprCounterAttrs::Bytes(count) => bytes = count,
            ExprCounterAttrs::Pad(_) => {}
        }
    }
    Some((packets, bytes))
}

/// Whether data of a rule or an element is the verdict `drop`.
fn drops(data: &IterableDataAttrs<'_>) -> bool {
    let code = data.get_verdict().and_then(|verdict| verdict.get_code());
    code.is_ok_and(|code| code == VerdictCode::Drop as u32)
}

/// The comment in the user data of a rule or an element: entries of type u8, length u8 and value, as libnftnl writes them. The value ends in NUL.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == UDATA_COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        data = rest.get(value.len()..)?;
    }
    None
}

/// What the elements of these maps have met, of those that count; of all maps of the table without a list.
fn of_elements(
    reader: &Reader,
    table: &str,
    maps: Option<&[String]>,
) -> Result<Vec<RuleHits>, HitsError> {
    let failed = |error| unread(table, error);
    let name = c_string(table)?;
    let mut hits = Vec::new();
    for map in counting_maps(reader, &name).map_err(failed)? {
        let text = map.to_string_lossy();
        if maps.is_none_or(|maps| maps.iter().any(|each| *each == text)) {
            hits.extend(elements(reader, &name, &map).map_err(failed)?);
        }
    }
    Ok(hits)
}

/// The maps whose elements have counters.
fn counting_maps(reader: &Reader, table: &CStr) -> Result<Vec<CString>, NetlinkError> {
    let mut request = Request::new().op_getset_dump(&inet());
    request.encode().push_table(table);
    reader.dump_if_there(&request, |(_, set)| {
        let (mut name, mut counts) = (None, false);
        for attribute in set.flatten() {
            match attribute {
                SetAttrs::Name(text) => name = Some(text.to_owned()),
                SetAttrs::Expr(_) | SetAttrs::Expressions(_) => counts = true,
                _ => {}
            }
        }
        name.filter(|_| counts)
    })
}

fn elements(reader: &Reader, table: &CStr, map: &CStr) -> Result<Vec<RuleHits>, NetlinkError> {
    let mut request = Request::new().op_getsetelem_dump(&inet());
    request.encode().push_table(table).push_set(map);
    let chain = map.to_string_lossy();
    // A hash that grows while it is read may show an element twice.
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    // None if it has gone meanwhile.
    let lists = reader.dump_if_there(&request, |(_, list)| {
        let elements = list.get_elements().ok()?.flatten();
        let hits = elements.filter_map(|SetelemListElemAttrs::Elem(element)| {
            let (key, hits) = element_hits(&chain, element)?;
            seen.insert(key).then_some(hits)
        });
        Some(hits.collect::<Vec<_>>())
    })?;
    Ok(lists.into_iter().flatten().collect())
}

/// An element's key and its hits; nothing for one that counts for nobody: without a counter, or without a comment, as those
/// are where flows pass again.
fn element_hits(map: &str, element: IterableSetelemAttrs<'_>) -> Option<(Vec<u8>, RuleHits)> {
    let mut found = RuleHits {
        chain: map.to_owned(),
        ..RuleHits::default()
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

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn comments_in_user_data() {
        assert_eq!(comment(b"\x00\x03ab\x00").as_deref(), Some("ab"));
        assert_eq!(
            comment(b"\x01\x02xy\x00\x02z\x00").as_deref(),
            Some("z"),
            "another entry stands before"
        );
        assert_eq!(comment(b"\x00\x00").as_deref(), Some(""));
        assert_eq!(comment(b"\x00\x09ab\x00"), None, "a length past the end");
        assert_eq!(comment(b""), None);
    }
}
