//! What we hold of the kernel's nftables: the ways to it, and what we have told it.

use super::labels::Labels;
use super::netlink::{NetlinkError, Reader};
use super::ownership::table_over;
use super::slots::Slots;
use super::standby::Standby;
use super::transport::Transport;
use crate::ruleset::change::Loaded;
use parking_lot::Mutex;
use std::sync::Arc;

/// The kernel's nftables, in the network namespace in which this was made.
#[derive(Debug)]
pub struct Kernel {
    pub(super) transport: Transport,
    pub(super) reader: Reader,
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
    pub fn new(transport: impl Into<Transport>) -> Result<Self, NetlinkError> {
        let reader = Reader::netfilter().map_err(NetlinkError::about_nf_tables)?;
        // Any other failure may pass, and is told by whatever meets it.
        if let Err(error) = table_over(&reader)
            && let error @ NetlinkError::NoNfTables = error.about_nf_tables()
        {
            return Err(error);
        }
        Ok(Kernel {
            transport: transport.into(),
            reader,
            loaded: Mutex::new(None),
            labels: Labels::new(),
            known_labels: Mutex::default(),
            slots: Mutex::default(),
            standby: Arc::default(),
        })
    }
}
