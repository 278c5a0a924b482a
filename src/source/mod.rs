//! Where a definition comes from and goes back to: files today. Nothing here knows the daemon.
//!
//! | file | subject |
//! |---|---|
//! | [`path_walk`] | walks a path as the kernel does |
//! | [`read`] | the only file that reads a definition, and who else may write it |
//! | [`load`] | reads, parses and validates; collects everything that is wrong |
//! | [`watch`] | when to read again |
//! | [`replace`] | replaces the definition by a confirmed candidate |
//! | [`content`] | the hash of a definition's texts |
//! | [`shown`] | paths in messages |

pub mod content;
pub mod load;
pub mod path_walk;
pub mod read;
pub mod replace;
pub mod shown;
pub mod watch;
