//! What a [`Kernel`](super::kernel::Kernel) asks of the kernel: our table, and what it knows of flows.

use super::hits::{HitsError, RuleHits, hits_of_over, rule_hits_over};
use super::labels::Labels;
use super::netlink::{NetlinkError, Reader};
use super::objects::{
    Objects, base_chains_stand_over, entries_over, labels_set_over, objects_over,
};
use super::ownership::{Table, table_over};
use super::seed::{SeedError, TcpSocket, established_tcp, track};
use crate::ruleset::TABLE;
use netlink_bindings::nftables::{Nfgenmsg, Request};
use std::fmt::Debug;

/// Answers what is asked of the kernel.
pub trait View: Debug + Send + Sync {
    /// Our table; `None` if there is none.
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    fn table(&self) -> Result<Option<Table>, NetlinkError>;

    /// Whether our base chains, as far as they are there, stand where they must; see [`base_chains_stand_over`].
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    fn base_chains_stand(&self) -> Result<bool, NetlinkError>;

    /// The chains, sets and maps of our table.
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    fn objects(&self) -> Result<Objects, NetlinkError>;

    /// For each base chain its rules, as the chain that each jumps to, if it does.
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    fn entries(&self) -> Result<[Vec<Option<String>>; 2], NetlinkError>;

    /// The labels that rules of our table set, each with its chain.
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    fn labels_set(&self) -> Result<Vec<(String, u128)>, NetlinkError>;

    /// The counters of all rules and elements of our table.
    ///
    /// # Errors
    ///
    /// See [`HitsError`].
    fn hits(&self) -> Result<Vec<RuleHits>, HitsError>;

    /// The counters of these chains and maps, and perhaps of others.
    ///
    /// # Errors
    ///
    /// See [`HitsError`].
    fn hits_of(&self, chains: &[String], maps: &[String]) -> Result<Vec<RuleHits>, HitsError>;

    /// The number of the kernel's last transaction.
    ///
    /// # Errors
    ///
    /// See [`NetlinkError`].
    fn transaction(&self) -> Result<u32, NetlinkError>;

    /// The labels of its tracked flows.
    fn labels(&self) -> Labels;

    /// The live TCP connections of this host.
    ///
    /// # Errors
    ///
    /// See [`SeedError`].
    fn established_tcp(&self) -> Result<Vec<TcpSocket>, SeedError>;

    /// Puts connections into connection tracking. Returns how many were new there.
    ///
    /// # Errors
    ///
    /// See [`SeedError`].
    fn track(&self, sockets: &[TcpSocket]) -> Result<usize, SeedError>;
}

impl View for Reader {
    fn table(&self) -> Result<Option<Table>, NetlinkError> {
        table_over(self)
    }

    fn base_chains_stand(&self) -> Result<bool, NetlinkError> {
        base_chains_stand_over(self)
    }

    fn objects(&self) -> Result<Objects, NetlinkError> {
        objects_over(self)
    }

    fn entries(&self) -> Result<[Vec<Option<String>>; 2], NetlinkError> {
        entries_over(self)
    }

    fn labels_set(&self) -> Result<Vec<(String, u128)>, NetlinkError> {
        labels_set_over(self)
    }

    fn hits(&self) -> Result<Vec<RuleHits>, HitsError> {
        rule_hits_over(self, TABLE)
    }

    fn hits_of(&self, chains: &[String], maps: &[String]) -> Result<Vec<RuleHits>, HitsError> {
        hits_of_over(self, TABLE, chains, maps)
    }

    fn transaction(&self) -> Result<u32, NetlinkError> {
        let request = Request::new().op_getgen_do(&Nfgenmsg::default());
        let number = self.ask(&request, |(_, generation)| generation.get_id().ok())?;
        let none = NetlinkError::Malformed("no number of a transaction");
        number.into_iter().next().ok_or(none)
    }

    fn labels(&self) -> Labels {
        Labels::new()
    }

    fn established_tcp(&self) -> Result<Vec<TcpSocket>, SeedError> {
        established_tcp()
    }

    fn track(&self, sockets: &[TcpSocket]) -> Result<usize, SeedError> {
        track(sockets)
    }
}
