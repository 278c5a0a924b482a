//! The account: makes, copies, binds and deletes groups. Pure: definitions in, changes of their text out.
//!
//! | file | subject |
//! |---|---|
//! | [`edit`] | what the cloud's console does to groups, as the smallest change of a definition |
//! | [`copy`] | a group taken out of a definition, for another one |
//! | [`users`] | who uses a group |
//! | [`formats`] | the formats of the cloud, of Terraform, AWS and iptables, in and out |
//! | [`text`] | a rule as it is written |
//! | [`ledger`] | the unblocks of TCP 25 |

pub mod copy;
pub mod edit;
pub mod formats;
pub mod ledger;
pub mod text;
pub mod users;

pub use ledger::Ledger;
