//! Whom our table belongs to, and what that lets others do.

use super::EnforceError;
use crate::netfilter::events::tables::TableEvents;
use crate::netfilter::kernel::Kernel;
use crate::netfilter::ownership::{Protection, Table};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

impl Kernel {
    /// Makes what an earlier process has left enforced ours, if there is such. Gives whether it is now.
    pub fn adopt(&self) -> Result<bool, EnforceError> {
        let table = self.view.table()?;
        if table.is_some_and(|table| table.is_orphan()) {
            self.backend.prepare(table, &[])?;
        }
        Ok(self.owns())
    }

    /// Whether nobody but us can change our table.
    pub fn owns(&self) -> bool {
        self.protection()
            .is_ok_and(|protection| protection == Protection::Owned)
    }

    /// Whether another socket than ours owns our table.
    pub fn is_owned_by_another(&self) -> bool {
        matches!(self.protection(), Ok(Protection::OwnedBy(_)))
    }

    /// What keeps other programs from changing our table.
    pub fn protection(&self) -> Result<Protection, EnforceError> {
        let Some(table) = self.view.table()? else {
            return Ok(Protection::NoTable);
        };
        let port = self.backend.port();
        Ok(match table.owner {
            Some(owner) if port == Some(owner) => Protection::Owned,
            Some(owner) => Protection::OwnedBy(owner),
            None if port.is_none() => Protection::ThroughNft,
            None if table.is_orphan() => Protection::Orphan,
            None if self.backend.can_own()? => Protection::MadeWithout,
            None => Protection::OldKernel,
        })
    }

    /// The socket that owns our table, if it is ours.
    pub fn owning_socket(&self) -> Option<BorrowedFd<'_>> {
        self.backend.socket().filter(|_| self.owns())
    }

    /// Our table, if there is one that we may change.
    pub(in crate::netfilter) fn changeable(&self) -> Result<Option<Table>, EnforceError> {
        let table = self.view.table()?;
        match table.and_then(|table| table.owner) {
            Some(owner) if self.backend.port() != Some(owner) => Err(EnforceError::Owned(owner)),
            _ => Ok(table),
        }
    }

    /// Listens to what other programs change in our table; within the runtime.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    pub fn listen(&self) -> Result<TableEvents, Errno> {
        self.backend.listen(&self.standby)
    }

    /// Whether our table, once there is a policy, will belong to us, so that there is nothing to listen to.
    pub fn will_own(&self) -> bool {
        let Some(port) = self.backend.port() else {
            return false;
        };
        match self.view.table() {
            Ok(None) => self.backend.can_own().unwrap_or(false),
            Ok(Some(table)) => table.is_orphan() || table.owner == Some(port),
            Err(_) => false,
        }
    }
}
