//! The rules of the account beside the groups: the ledger of unblocks of TCP 25.

pub mod ledger;

pub use ledger::Ledger;
