//! What other programs change in our table.
//!
//! The kernel reports a transaction as a message for each thing it changes, and ends it with one that names the program
//! (`nf_tables_commit` in `net/netfilter/nf_tables_api.c`). What this program changes is kept from the socket.

use super::sentinel::Sentinel;
use super::socket::{Datagrams, EventSocket, NFTABLES, Received, is_of_our_table, not_from};
use crate::netfilter::netlink::of_netfilter;
use netlink_bindings::nftables::GenAttrs;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockProtocol;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Reports what other programs change in our table.
#[derive(Debug)]
pub struct TableEvents {
    inbox: Datagrams,
    reading: TransactionReading,
    /// Waits as long as this listens.
    sentinel: Option<Sentinel>,
}

/// A change that another program has made in our table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignChange {
    /// How many things of which kind were added or removed.
    counts: BTreeMap<(TablePart, Verb), usize>,
    /// Whether messages were lost: anything may have changed.
    lost: bool,
    /// Whether it is of several transactions.
    merged: bool,
    /// Who did it, the last of several.
    by: Option<Committer>,
}

/// A program, as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Committer {
    name: String,
    pid: u32,
}

/// What our table is made of. Counters, quotas and flow tables without a rule do nothing to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TablePart {
    Table,
    Chain,
    Rule,
    Set,
    Element,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Removed,
    /// Of a table or a chain also: changed.
    Added,
}

impl TableEvents {
    /// Listens from now on, but not to what the socket with this port does; within the runtime.
    pub(in crate::netfilter) fn listen(
        but: Option<u32>,
    ) -> Result<(Self, Arc<EventSocket>), Errno> {
        let filter = not_from(but);
        let socket = EventSocket::join(SockProtocol::NetlinkNetFilter, NFTABLES, &filter)?;
        let socket = Arc::new(socket);
        let events = TableEvents {
            inbox: Datagrams::of(socket.clone())?,
            reading: TransactionReading::default(),
            sentinel: None,
        };
        Ok((events, socket))
    }

    /// Has a deletion answered by this sentinel before it is reported here.
    pub(in crate::netfilter) fn with(mut self, sentinel: Sentinel) -> Self {
        self.sentinel = Some(sentinel);
        self
    }

    /// Waits for the next change. Nothing is lost when the future is dropped before it is ready.
    pub async fn changed(&mut self) -> Result<ForeignChange, Errno> {
        loop {
            if let Some(change) = self.reading.whole.take() {
                return Ok(change);
            }
            match self.inbox.receive().await? {
                Received::Datagram(datagram) => self.reading.read(datagram),
                Received::Lost => self.reading.lose(),
            }
        }
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct TransactionReading {
    /// Of the transaction whose end has not come yet.
    open: ForeignChange,
    whole: Option<ForeignChange>,
}

impl TransactionReading {
    fn read(&mut self, datagram: &[u8]) {
        for (kind, family, attributes) in of_netfilter(datagram) {
            self.message(kind, family, attributes);
        }
    }

    fn message(&mut self, kind: u16, family: u8, attributes: &[u8]) {
        let [subsystem, message] = kind.to_be_bytes();
        if i32::from(subsystem) != libc::NFNL_SUBSYS_NFTABLES {
            return;
        }
        if i32::from(message) == libc::NFT_MSG_NEWGEN {
            return self.end(program(attributes));
        }
        let Some(what) = what(message) else { return };
        if is_of_our_table(family, attributes) {
            *self.open.counts.entry(what).or_default() += 1;
        }
    }

    /// The transaction is whole.
    fn end(&mut self, by: Option<Committer>) {
        if self.open != ForeignChange::default() {
            self.open.by = by;
            let change = std::mem::take(&mut self.open);
            match &mut self.whole {
                Some(whole) => whole.merge(change),
                None => self.whole = Some(change),
            }
        }
    }

    fn lose(&mut self) {
        self.open.lost = true;
        self.end(None);
    }
}

impl ForeignChange {
    /// Anything may have changed: nobody has listened.
    #[must_use]
    pub fn unknown() -> Self {
        ForeignChange {
            lost: true,
            ..Self::default()
        }
    }

    /// Whether our table was deleted.
    #[must_use]
    pub fn deletes_the_table(&self) -> bool {
        self.counts.contains_key(&(TablePart::Table, Verb::Removed))
    }

    /// Whether it is gone: deleted, and not made again by whom it was deleted.
    pub fn leaves_no_table(&self) -> bool {
        self.deletes_the_table() && !self.counts.contains_key(&(TablePart::Table, Verb::Added))
    }

    /// Whether our table was deleted, in one transaction, and nothing more is known to have happened to it.
    pub fn is_one_deletion(&self) -> bool {
        self.deletes_the_table() && !self.lost && !self.merged
    }

    /// Takes in a later one.
    pub fn merge(&mut self, later: ForeignChange) {
        for (what, count) in later.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.lost |= later.lost;
        self.merged = true;
        self.by = later.by.or(self.by.take());
    }
}

/// `the table was deleted by another program (nft, pid 123)`.
impl fmt::Display for ForeignChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deletes_the_table() {
            f.write_str("the table was deleted")?;
        } else if self.counts.is_empty() {
            return f
                .write_str("the table may have been changed: the kernel's word of it was lost");
        } else {
            let parts = self.counts.iter().map(|(what, count)| part(*what, *count));
            f.write_str(&parts.collect::<Vec<_>>().join(", "))?;
        }
        f.write_str(" by another program")?;
        if let Some(Committer { name, pid }) = &self.by {
            write!(f, " ({name}, pid {pid})")?;
        }
        match self.lost {
            true => f.write_str(", and perhaps more: the kernel's word of it was lost"),
            false => Ok(()),
        }
    }
}

/// `2 rules were added`.
fn part((kind, verb): (TablePart, Verb), count: usize) -> String {
    let thing = match kind {
        TablePart::Table => return "the table was changed".into(),
        TablePart::Chain => "chain",
        TablePart::Rule => "rule",
        TablePart::Set => "set",
        TablePart::Element => "element",
    };
    let verb = match (verb, kind) {
        (Verb::Removed, _) => "removed",
        (Verb::Added, TablePart::Chain) => "added or changed",
        (Verb::Added, _) => "added",
    };
    match count {
        1 => format!("1 {thing} was {verb}"),
        _ => format!("{count} {thing}s were {verb}"),
    }
}

/// What a message reports. Newer kernels report a `destroy` under a number of its own (`linux/netfilter/nf_tables.h`).
fn what(message: u8) -> Option<(TablePart, Verb)> {
    const DESTROY_TABLE: i32 = 26;
    const DESTROY_CHAIN: i32 = 27;
    const DESTROY_RULE: i32 = 28;
    const DESTROY_SET: i32 = 29;
    const DESTROY_ELEMENT: i32 = 30;
    Some(match i32::from(message) {
        libc::NFT_MSG_NEWTABLE => (TablePart::Table, Verb::Added),
        libc::NFT_MSG_DELTABLE | DESTROY_TABLE => (TablePart::Table, Verb::Removed),
        libc::NFT_MSG_NEWCHAIN => (TablePart::Chain, Verb::Added),
        libc::NFT_MSG_DELCHAIN | DESTROY_CHAIN => (TablePart::Chain, Verb::Removed),
        libc::NFT_MSG_NEWRULE => (TablePart::Rule, Verb::Added),
        libc::NFT_MSG_DELRULE | DESTROY_RULE => (TablePart::Rule, Verb::Removed),
        libc::NFT_MSG_NEWSET => (TablePart::Set, Verb::Added),
        libc::NFT_MSG_DELSET | DESTROY_SET => (TablePart::Set, Verb::Removed),
        libc::NFT_MSG_NEWSETELEM => (TablePart::Element, Verb::Added),
        libc::NFT_MSG_DELSETELEM | DESTROY_ELEMENT => (TablePart::Element, Verb::Removed),
        _ => return None,
    })
}

/// Who has committed.
fn program(attributes: &[u8]) -> Option<Committer> {
    let attributes = GenAttrs::new(attributes);
    let name = attributes.get_proc_name().ok()?;
    Some(Committer {
        name: name.to_string_lossy().into_owned(),
        pid: attributes.get_proc_pid().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::TABLE;
    use netlink_bindings::utils::{align, push_header};

    /// A message of nf_tables about a thing of `table`.
    fn message(number: i32, family: i32, table: &str) -> Vec<u8> {
        let mut attribute = table.as_bytes().to_vec();
        attribute.push(0);
        with(number, family, &[(1, attribute)])
    }

    fn with(number: i32, family: i32, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut payload = vec![family as u8, 0, 0, 0];
        for (kind, value) in attributes {
            push_header(&mut payload, *kind, value.len() as u16);
            payload.extend(value);
            align(&mut payload);
        }
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(((libc::NFNL_SUBSYS_NFTABLES << 8 | number) as u16).to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend(payload);
        bytes
    }

    fn end() -> Vec<u8> {
        let pid = 123_u32.to_be_bytes().to_vec();
        with(libc::NFT_MSG_NEWGEN, 0, &[(2, pid), (3, b"nft\0".into())])
    }

    fn told(datagrams: &[Vec<u8>]) -> Option<String> {
        let mut reading = TransactionReading::default();
        for datagram in datagrams {
            reading.read(datagram);
        }
        reading.whole.map(|change| change.to_string())
    }

    #[test]
    fn a_transaction_in_words() {
        let inet = |number| message(number, libc::NFPROTO_INET, TABLE);
        let rules = [inet(libc::NFT_MSG_NEWRULE), inet(libc::NFT_MSG_NEWRULE)].concat();
        let element = inet(libc::NFT_MSG_DELSETELEM);
        assert_eq!(
            told(&[rules.clone(), element, end()]).as_deref(),
            Some("2 rules were added, 1 element was removed by another program (nft, pid 123)")
        );
        let table = inet(libc::NFT_MSG_DELTABLE);
        assert_eq!(
            told(&[rules.clone(), table, end()]).as_deref(),
            Some("the table was deleted by another program (nft, pid 123)")
        );
        assert_eq!(told(&[rules]), None, "its end has not come");
    }

    #[test]
    fn other_tables_are_passed_over() {
        let delete = libc::NFT_MSG_DELTABLE;
        let others = [
            message(delete, libc::NFPROTO_IPV4, TABLE),
            message(delete, libc::NFPROTO_INET, "secgroupd2"),
            message(delete, libc::NFPROTO_INET, "filter"),
            message(libc::NFT_MSG_NEWOBJ, libc::NFPROTO_INET, TABLE),
            end(),
        ];
        assert_eq!(told(&others), None);
        assert_eq!(told(&[vec![], vec![0; 7], vec![255; 40], end()]), None);
    }

    #[test]
    fn what_was_lost_may_be_anything() {
        let mut reading = TransactionReading::default();
        reading.lose();
        assert_eq!(reading.whole, Some(ForeignChange::unknown()));
    }
}
