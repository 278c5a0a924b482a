//! Whom our table belongs to, and what that lets others do.

use super::EnforceError;
use crate::netfilter::events::tables::TableEvents;
use crate::netfilter::kernel::Kernel;
use crate::netfilter::ownership::{Protection, Table, table_over};
use crate::netfilter::transport::{ApplyError, Transport};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

impl Kernel {
    /// Makes what an earlier process has left enforced ours, if there is such. Gives whether it is now.
    pub fn adopt(&self) -> Result<bool, EnforceError> {
        let table = table_over(&self.reader)?;
        if table.is_some_and(|table| table.is_orphan()) {
            self.transport.prepare(table, &[])?;
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
        let Some(table) = table_over(&self.reader)? else {
            return Ok(Protection::NoTable);
        };
        let native = match (&self.transport, table.owner) {
            (_, Some(owner)) if self.transport.port() == Some(owner) => {
                return Ok(Protection::Owned);
            }
            (_, Some(owner)) => return Ok(Protection::OwnedBy(owner)),
            (Transport::Nft(_), None) => return Ok(Protection::ThroughNft),
            (Transport::Native(native), None) => native,
        };
        if table.is_orphan() {
            return Ok(Protection::Orphan);
        }
        let known = native.knows_ownership().map_err(ApplyError::from)?;
        Ok(match known {
            true => Protection::MadeWithout,
            false => Protection::OldKernel,
        })
    }

    /// The socket that owns our table, if it is ours.
    pub fn owning_socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.transport {
            Transport::Native(native) if self.owns() => Some(native.descriptor()),
            _ => None,
        }
    }

    /// Our table, if there is one that we may change.
    pub(in crate::netfilter) fn changeable(&self) -> Result<Option<Table>, EnforceError> {
        let table = table_over(&self.reader)?;
        match table.and_then(|table| table.owner) {
            Some(owner) if self.transport.port() != Some(owner) => Err(EnforceError::Owned(owner)),
            _ => Ok(table),
        }
    }

    /// Listens to what other programs change in our table; within the runtime.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    pub fn listen(&self) -> Result<TableEvents, Errno> {
        self.transport.listen(&self.standby)
    }

    /// Whether our table, once there is a policy, will belong to us, so that there is nothing to listen to.
    pub fn will_own(&self) -> bool {
        let Transport::Native(native) = &self.transport else {
            return false;
        };
        match table_over(&self.reader) {
            Ok(None) => native.knows_ownership().unwrap_or(false),
            Ok(Some(table)) => table.is_orphan() || self.transport.port() == table.owner,
            Err(_) => false,
        }
    }
}
