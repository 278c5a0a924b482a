//! The cloud's own format: what its API answers and takes, as `tccli` prints it.
//!
//! | file | subject |
//! |---|---|
//! | [`policy`] | one rule, both ways |
//! | [`read`] | documents into an inventory |
//! | [`instances`] | instances and interfaces, read apart and put together |
//! | [`network_acls`] | subnets and network ACLs, both ways |
//! | [`mod@write`] | an inventory as one document |

pub mod instances;
pub mod network_acls;
pub mod policy;
pub mod read;
pub mod write;
