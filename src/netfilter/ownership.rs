//! Who may change our table.
//!
//! From Linux 6.9 on a table can be made `owner,persist`: while the netlink socket that made it is open, every other
//! program's change is answered with EPERM, and `nft flush ruleset` passes it by. When the socket closes the table
//! stays in force, without that protection, until somebody asks for it with the same flags and so adopts it. What was
//! made without the flags can never be owned.

use super::netlink::{NetlinkError, Reader, inet};
use crate::ruleset::TABLE;
use netlink_bindings::nftables::{Request, TableFlags};
use std::fmt;

/// The flags that we ask for.
pub(super) const OWNED: u32 = TableFlags::Owner as u32 | TableFlags::Persist as u32;

/// Our table as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its flags.
    flags: u32,
    /// Who owns it.
    pub owner: Option<Owner>,
}

/// The netlink socket that owns a table, by its port: mostly the number of the process that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub u32);

/// What keeps other programs from changing our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It is ours: nobody else can.
    Owned,
    /// It is another's, and we cannot change it either.
    OwnedBy(Owner),
    /// Nothing: it is loaded through nft, whose runs each end at once.
    ThroughNft,
    /// Nothing: the kernel knows no ownership that outlives its owner.
    OldKernel,
    /// Nothing: it was made without the flags.
    MadeWithout,
    /// Nothing: its owner has gone, and nobody has adopted it.
    Orphan,
    /// There is no table.
    NoTable,
}

/// Our table; none if there is none.
pub fn table_over(reader: &Reader) -> Result<Option<Table>, NetlinkError> {
    let tables = reader.dump(&Request::new().op_gettable_dump(&inet()), |(_, table)| {
        (table.get_name().ok()?.to_str() == Ok(TABLE)).then_some(())?;
        Some(Table {
            flags: table.get_flags().unwrap_or(0),
            owner: table.get_owner().ok().map(Owner),
        })
    })?;
    Ok(tables.first().copied())
}

impl Table {
    /// One that was made as one that persists, or not.
    #[cfg(test)]
    pub(super) fn new(persists: bool, owner: Option<Owner>) -> Self {
        let flags = match (persists, owner) {
            (_, Some(_)) => OWNED,
            (true, None) => TableFlags::Persist as u32,
            (false, None) => 0,
        };
        Table { flags, owner }
    }

    /// Whether asking for it as an owned one makes it ours.
    pub fn is_orphan(&self) -> bool {
        self.owner.is_none() && self.flags & OWNED == TableFlags::Persist as u32
    }

    /// Its other flags, if its chains are switched off (`dormant`).
    pub(super) fn before_sleep(&self) -> Option<u32> {
        let flags = self.flags & !(TableFlags::Dormant as u32);
        (flags != self.flags).then_some(flags)
    }

    /// Whether it can be owned at all.
    pub fn persists(&self) -> bool {
        self.flags & TableFlags::Persist as u32 != 0
    }
}

impl Owner {
    /// The name of the process that opened the socket, if it still runs.
    fn program(self) -> Option<String> {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.0)).ok()?;
        Some(name.trim_end().to_owned())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.program() {
            Some(program) => write!(f, "process {} ({program})", self.0),
            // As one whose daemon was killed: the service manager keeps its descriptor.
            None => write!(f, "a netlink socket that process {} opened", self.0),
        }
    }
}

impl Protection {
    /// The same where other programs' changes are put right as soon as the kernel reports them.
    pub fn where_restored(self) -> String {
        const RESTORED: &str =
            "restored: what another program changes or flushes is put right at once";
        match self {
            Protection::ThroughNft => {
                format!("{RESTORED}; it is not forbidden, since the table is told through nft")
            }
            Protection::OldKernel => format!("{RESTORED}; Linux 6.9 and newer can forbid it"),
            Protection::MadeWithout => format!(
                "{RESTORED}; it is not forbidden, since the table was first made without an owner: \
                 `secgroupd remove` and `secgroupd reload` make it anew"
            ),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protection::Owned => f.write_str("owned: no other program can change or flush it"),
            Protection::OwnedBy(owner) => {
                write!(f, "owned by {owner}, which alone can change it")
            }
            Protection::ThroughNft => {
                f.write_str("none: any program can change or flush it, since it is told through nft")
            }
            Protection::OldKernel => f.write_str(
                "none: any program can change or flush it; Linux 6.9 and newer can forbid that",
            ),
            Protection::MadeWithout => f.write_str(
                "none: any program can change or flush it, since it was first made without an owner; \
                 `secgroupd remove` and `secgroupd reload` make it anew",
            ),
            Protection::Orphan => f.write_str(
                "none: any program can change or flush it, until a secgroupd is started",
            ),
            Protection::NoTable => f.write_str("none: there is nothing to protect"),
        }
    }
}
