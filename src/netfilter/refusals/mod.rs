//! What the kernel sends of refused packets: the group of NFLOG that every refusing rule logs to.
//!
//! | file | subject |
//! |---|---|
//! | `socket` | the only listener of the group, and its datagrams |
//! | [`message`] | one packet as the kernel sends it |
//! | [`flow`] | the packet's own headers |
//!
//! The kernel gathers packets, up to [`socket::GATHERED`] or for a tenth of a second, and sends them as one datagram.
//! It numbers them, so what it had no room for shows as a gap. Nothing here can change what becomes of a packet: that
//! is dropped, or passes, whether or not somebody listens.

pub mod flow;
pub mod message;
pub mod socket;

pub use flow::Flow;
pub use message::{Told, messages};
pub use socket::Listener;
