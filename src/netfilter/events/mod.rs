//! What the kernel sends unasked: sockets that are members of its multicast groups.
//!
//! | file | subject |
//! |---|---|
//! | `socket` | a member of groups, its filter, and its datagrams |
//! | [`tables`] | other programs' changes of our table |
//! | `sentinel` | our table deleted by another program, answered before that one has ended |
//! | [`links`] | interfaces and default routes that come and go |
//!
//! The kernel drops what a socket has no room for and says so once (ENOBUFS). What is of no interest is therefore kept
//! from the sockets by filters, which the kernel runs before it queues anything: above all the thousands of messages
//! about what this program loads itself.

pub mod links;
mod sentinel;
mod socket;
pub mod tables;

pub(super) use sentinel::Sentinel;
pub(super) use socket::EventSocket;
