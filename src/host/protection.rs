//! Who may change what is enforced.

use super::base::Host;
use crate::netfilter::events::tables::TableEvents;
use nix::errno::Errno;
use std::os::fd::BorrowedFd;
use tracing::warn;

impl Host {
    /// Listens to what other programs change in our table; within the runtime.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    pub fn listen(&self) -> Result<TableEvents, Errno> {
        self.kernel.listen()
    }

    /// Whether nobody but us can change our table.
    pub fn owns(&self) -> bool {
        self.kernel.owns()
    }

    /// Whether that will be so once there is a policy.
    pub fn will_own(&self) -> bool {
        self.kernel.will_own()
    }

    /// Lets the next definition be loaded whole, and not as far as it differs.
    pub fn forget_loaded(&self) {
        self.kernel.forget();
    }

    /// Makes the table that an earlier process has left ours, so that nobody else can change it.
    pub fn adopt(&mut self) {
        let before = self.kernel.owns();
        match self.kernel.adopt() {
            Ok(owned) => self.adopted = owned && !before,
            Err(error) => warn!("what is enforced is not protected: {error}"),
        }
    }

    /// What keeps other programs from changing what is enforced, in one line; `restored` if their changes are put
    /// right.
    pub fn protection(&self, restored: bool) -> String {
        match self.kernel.protection() {
            Ok(protection) if restored => protection.where_restored(),
            Ok(protection) => protection.to_string(),
            Err(error) => format!("unknown: {error}"),
        }
    }

    /// The socket that owns our table, so that no other program can change it.
    pub fn owning_socket(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.owning_socket()
    }
}
