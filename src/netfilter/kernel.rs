//! Our nftables in the kernel: what takes commands, what answers, and what is known of what the kernel has.

use super::backend::Backend;
use super::labels::Labels;
use super::netlink::{NetlinkError, Reader};
use super::seed::{SeedError, TcpSocket};
use super::slots::Slots;
use super::standby::Standby;
use super::view::View;
use crate::ruleset::change::Loaded;
use parking_lot::Mutex;
use std::sync::Arc;

/// The kernel's nftables, in the network namespace in which this was made.
#[derive(Debug)]
pub struct Kernel {
    pub(super) backend: Box<dyn Backend>,
    pub(super) view: Box<dyn View>,
    /// What was enforced last, unless that failed.
    pub(super) loaded: Mutex<Option<Loaded>>,
    pub(super) labels: Labels,
    /// Whether it is known what an earlier process has left in force.
    pub(super) known_labels: Mutex<bool>,
    pub(super) slots: Mutex<Slots>,
    /// What is enforced, written down for the case that another program deletes it.
    pub(super) standby: Arc<Standby>,
}

impl Kernel {
    /// Through [`super::native::Native`] or [`super::nft::Nft`].
    ///
    /// # Errors
    ///
    /// When there is no netlink socket to be had, or no nf_tables in this kernel.
    pub fn new(backend: impl Into<Box<dyn Backend>>) -> Result<Self, NetlinkError> {
        let reader = Reader::netfilter().map_err(NetlinkError::about_nf_tables)?;
        // Any other failure may pass, and is returned by whatever meets it.
        if let Err(error) = reader.table()
            && let error @ NetlinkError::NoNfTables = error.about_nf_tables()
        {
            return Err(error);
        }
        Ok(Self::with(backend.into(), Box::new(reader)))
    }

    /// Over any backend, and what answers about the same table.
    pub fn with(backend: Box<dyn Backend>, view: Box<dyn View>) -> Self {
        Kernel {
            labels: view.labels(),
            backend,
            view,
            loaded: Mutex::new(None),
            known_labels: Mutex::default(),
            slots: Mutex::default(),
            standby: Arc::default(),
        }
    }

    /// The live TCP connections of this host.
    ///
    /// # Errors
    ///
    /// See [`SeedError`].
    pub fn established_tcp(&self) -> Result<Vec<TcpSocket>, SeedError> {
        self.view.established_tcp()
    }

    /// Puts connections into connection tracking. Returns how many were new there.
    ///
    /// # Errors
    ///
    /// See [`SeedError`].
    pub fn track(&self, sockets: &[TcpSocket]) -> Result<usize, SeedError> {
        self.view.track(sockets)
    }
}
