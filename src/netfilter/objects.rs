//! The chains and sets of our table, read without the nft program.

use super::netlink::{NetlinkError, Reader, inet};
use crate::ruleset::table::{BASE_CHAINS, Hook, is_lasting};
use crate::ruleset::{Generation, TABLE};
use netlink_bindings::nftables::{
    ExprAttrs, ExprListAttrs, ExprOps, IterableDataAttrs, IterableExprListAttrs, Request,
};
use nix::libc;
use std::collections::BTreeSet;
use std::ffi::CString;

/// The flag of a set that is a map, of `linux/netfilter/nf_tables.h`.
const NFT_SET_MAP: u32 = 0x8;

/// What stands in our table beside the base chains: all of it belongs to some generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Names of chains.
    pub chains: Vec<String>,
    /// Names of sets; the kernel's own for anonymous ones belong to no generation.
    pub sets: Vec<String>,
    /// Names of maps.
    pub maps: Vec<String>,
}

/// Lists the objects of our table; none if there is no such table.
pub fn objects() -> Result<Objects, NetlinkError> {
    objects_over(&Reader::netfilter()?)
}

/// The same over a socket that is kept.
pub fn objects_over(reader: &Reader) -> Result<Objects, NetlinkError> {
    let table = table();
    let chains = reader.dump(&Request::new().op_getchain_dump(&inet()), |(_, chain)| {
        // Chains cannot be asked for by table.
        (chain.get_table().ok()? == table.as_c_str()).then_some(())?;
        Some(chain.get_name().ok()?.to_string_lossy().into_owned())
    })?;
    let mut request = Request::new().op_getset_dump(&inet());
    request.encode().push_table(&table);
    let sets = reader.dump_if_there(&request, |(_, set)| {
        let name = set.get_name().ok()?.to_string_lossy().into_owned();
        Some((name, set.get_flags().unwrap_or(0) & NFT_SET_MAP != 0))
    })?;
    let (maps, sets): (Vec<_>, Vec<_>) = sets.into_iter().partition(|(_, is_map)| *is_map);
    let names = |list: Vec<(String, bool)>| list.into_iter().map(|(name, _)| name).collect();
    Ok(Objects {
        chains,
        sets: names(sets),
        maps: names(maps),
    })
}

/// Whether our base chains, as far as they are there, stand where they must, and no chain has a name that cannot be
/// said: a chain's hook and priority cannot be changed, so one that another program has put in its place can only go
/// with the table.
pub fn base_chains_stand_over(reader: &Reader) -> Result<bool, NetlinkError> {
    let table = table();
    let stand = reader.dump(&Request::new().op_getchain_dump(&inet()), |(_, chain)| {
        (chain.get_table().ok()? == table.as_c_str()).then_some(())?;
        let name = chain.get_name().ok()?.to_string_lossy().into_owned();
        if !is_plain(&name) {
            return Some(false);
        }
        let base = BASE_CHAINS.into_iter().find(|base| base.name == name)?;
        let stands = || {
            let hook = chain.get_hook().ok()?;
            let filters = chain.get_type().ok()? == c"filter";
            let here = hook.get_num().ok()? == base.hook.number();
            Some(filters && here && hook.get_priority().ok()? == base.priority)
        };
        Some(stands().unwrap_or(false))
    })?;
    Ok(stand.into_iter().all(|stands| stands))
}

/// The generation that the base chains jump to: what is really enforced, whatever else is loaded.
pub fn in_force() -> Result<Option<Generation>, NetlinkError> {
    in_force_over(&Reader::netfilter()?)
}

/// The same over a socket that is kept.
pub fn in_force_over(reader: &Reader) -> Result<Option<Generation>, NetlinkError> {
    entries_over(reader).map(in_force_of)
}

/// The newest generation that rules of the base chains jump to.
pub(super) fn in_force_of(entries: [Vec<Option<String>>; 2]) -> Option<Generation> {
    let targets = entries.iter().flatten().flatten();
    targets
        .filter_map(|target| Some(Generation::of(target)?.0))
        .max()
}

/// For each base chain its rules, as the chain that each jumps to, if it does.
pub fn entries_over(reader: &Reader) -> Result<[Vec<Option<String>>; 2], NetlinkError> {
    let mut entries = [Vec::new(), Vec::new()];
    for (base, rules) in BASE_CHAINS.iter().zip(&mut entries) {
        let mut request = Request::new().op_getrule_dump(&inet());
        request
            .encode()
            .push_table(&table())
            .push_chain(&name(base.name));
        *rules = reader.dump_if_there(&request, |(_, rule)| {
            // Of a chain that does not exist the kernel lists nothing, and so it does of other tables' rules.
            (rule.get_chain().ok()?.to_str() == Ok(base.name)).then_some(())?;
            Some(rule.get_expressions().ok().and_then(target))
        })?;
    }
    Ok(entries)
}

/// The labels of connection tracking that rules of our table set, whoever has written them, each with its chain.
pub fn labels_set_over(reader: &Reader) -> Result<Vec<(String, u128)>, NetlinkError> {
    let mut request = Request::new().op_getrule_dump(&inet());
    request.encode().push_table(&table());
    reader.dump_if_there(&request, |(_, rule)| {
        // Of a table that does not exist the kernel lists those of all others.
        (rule.get_table().ok()? == table().as_c_str()).then_some(())?;
        let labels = rule.get_expressions().ok().and_then(set_labels)?;
        let chain = rule.get_chain().ok()?.to_string_lossy();
        Some((chain.into_owned(), labels))
    })
}

/// What `of` finds in the data of an `immediate` expression of a rule.
fn immediate<T>(
    expressions: IterableExprListAttrs<'_>,
    of: impl Fn(&IterableDataAttrs<'_>) -> Option<T>,
) -> Option<T> {
    let mut expressions = expressions.flatten();
    expressions.find_map(|ExprListAttrs::Elem(mut expression)| {
        expression.find_map(|attribute| match attribute {
            Ok(ExprAttrs::Data(ExprOps::Immediate(immediate))) => of(&immediate.get_data().ok()?),
            _ => None,
        })
    })
}

/// The labels that a rule sets: an `immediate` expression that holds the 16 bytes of all labels.
fn set_labels(expressions: IterableExprListAttrs<'_>) -> Option<u128> {
    immediate(expressions, |data| {
        let bytes = data.get_value().ok()?;
        Some(u128::from_ne_bytes(bytes.try_into().ok()?))
    })
}

/// The chain that a rule jumps to: an `immediate` expression that holds a verdict with a chain.
fn target(expressions: IterableExprListAttrs<'_>) -> Option<String> {
    immediate(expressions, |data| {
        let verdict = data.get_verdict().ok()?;
        Some(verdict.get_chain().ok()?.to_string_lossy().into_owned())
    })
}

impl Hook {
    /// `NF_INET_…` of `linux/netfilter.h`.
    pub(super) fn number(self) -> u32 {
        let number = match self {
            Hook::Prerouting => libc::NF_INET_PRE_ROUTING,
            Hook::Input => libc::NF_INET_LOCAL_IN,
            Hook::Postrouting => libc::NF_INET_POST_ROUTING,
        };
        number as u32
    }
}

/// Our table's name as netlink wants it.
fn table() -> CString {
    name(TABLE)
}

fn name(text: &str) -> CString {
    // No name of ours holds a NUL.
    CString::new(text).unwrap_or_default()
}

/// Whether a name can be told to nft. The kernel takes any bytes as one, so that another program could have our
/// commands say something else.
fn is_plain(name: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/');
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(plain)
}

impl Objects {
    /// The generations that have objects.
    pub fn generations(&self) -> BTreeSet<Generation> {
        let names = self.chains.iter().chain(&self.sets).chain(&self.maps);
        names
            .filter_map(|name| Some(Generation::of(name)?.0))
            .collect()
    }

    /// The objects of this generation.
    pub fn of(&self, generation: Generation) -> Objects {
        self.select(|name| Generation::of(name).is_some_and(|(of, _)| of == generation))
    }

    /// All but the base chains, what belongs to this generation, and what comes and goes with a rule: objects of other
    /// generations, and those that another program has put into our table.
    pub fn but(&self, generation: Generation) -> Objects {
        self.select(|name| match Generation::of(name) {
            Some((of, _)) => of != generation,
            None => !name.starts_with("__") && !is_lasting(name),
        })
    }

    fn select(&self, which: impl Fn(&str) -> bool) -> Objects {
        let select = |names: &[String]| -> Vec<String> {
            names
                .iter()
                .filter(|name| is_plain(name) && which(name))
                .cloned()
                .collect()
        };
        Objects {
            chains: select(&self.chains),
            sets: select(&self.sets),
            maps: select(&self.maps),
        }
    }
}
