//! What an earlier process has left in force, taken up; and a host without a policy, closed.

use super::enforce::EnforceError;
use super::kernel::Kernel;
use super::netlink::NetlinkError;
use crate::ruleset::Ruleset;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::change::Loaded;
use crate::ruleset::closed::{self, CLOSED};

impl Kernel {
    /// The number of the kernel's last transaction of nf_tables: as long as it is the same, no program has changed any
    /// table of this network namespace.
    pub fn transaction(&self) -> Result<u32, NetlinkError> {
        self.view.transaction()
    }

    /// Goes on with a ruleset that an earlier process has loaded under these names, if the base chains lead to it: the
    /// next one is loaded as far as it differs. That nothing has changed in it since is for the caller to know; see
    /// [`Self::transaction`].
    pub fn take_up(&self, ruleset: Ruleset, names: Names) -> Result<bool, NetlinkError> {
        let stands = self.is_entered(&names)?;
        if stands {
            self.marks_in_force(&names);
        }
        let mut loaded = self.loaded.lock();
        *loaded = stands.then_some(Loaded { ruleset, names });
        Ok(stands)
    }

    /// Whether packets go on into a ruleset of these names.
    pub fn enters(&self, names: &Names) -> bool {
        self.is_entered(names).unwrap_or(false)
    }

    /// Looks at what was enforced last, unless that failed.
    pub fn look<R>(&self, look: impl FnOnce(Option<&Loaded>) -> R) -> R {
        let loaded = self.loaded.lock();
        look(loaded.as_ref())
    }

    /// Closes a host that has no policy, see [`closed`]. `seed` runs once before anything is tracked, and once when all
    /// is.
    pub fn close(&self, mut seed: impl FnMut()) -> Result<(), EnforceError> {
        seed();
        let table = self.changeable()?;
        let commands = closed::close();
        let commands = self.backend.prepare(table, &commands)?;
        let names = closed::names();
        if self.is_closed()? {
            return Ok(self.backend.apply(commands, &names)?);
        }
        // The last rule refuses: it comes when those that pass are there, and flows of now are known.
        let (last, first) = commands.split_last().unwrap_or((&Command::AddTable, &[]));
        self.backend.apply(first, &names)?;
        seed();
        Ok(self.backend.apply(std::slice::from_ref(last), &names)?)
    }

    /// Whether this host was closed and has had no policy since.
    pub fn is_closed(&self) -> Result<bool, NetlinkError> {
        if self.view.table()?.is_none() {
            return Ok(false);
        }
        let objects = self.view.objects()?;
        Ok(objects.chains.iter().any(|chain| chain == CLOSED.name))
    }
}
