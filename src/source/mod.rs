//! Where a definition comes from and goes back to. Nothing here knows the daemon.
//!
//! | file | subject |
//! |---|---|
//! | [`location`] | where a definition is: the one type that another kind of source joins |
//! | [`path_walk`] | walks a path as the kernel does |
//! | [`read`] | the only file that reads a definition, and who else may write it |
//! | [`texts`] | what was read, as it is handed to the daemon |
//! | [`load`] | reads, parses and validates; collects everything that is wrong |
//! | [`watch`] | when to read again |
//! | [`change`] | changes a definition's files, if they are still what was read |
//! | [`replace`] | replaces the definition by a confirmed candidate |
//! | `write` | writes a file whole or not at all |
//! | [`clock`] | the time of day |
//! | [`content`] | the hash of a definition's texts |
//! | [`shown`] | paths in messages |

pub mod change;
pub mod clock;
pub mod content;
pub mod load;
pub mod location;
pub mod path_walk;
pub mod read;
pub mod replace;
pub mod shown;
pub mod texts;
pub mod watch;
mod write;
