//! The control socket: how the command asks a running daemon.
//!
//! One JSON object on a line each way, then the connection ends. Whoever the socket's group lets connect may ask; only
//! root may change anything.

mod announce;
mod client;
mod messages;
mod server;
#[cfg(test)]
mod tests;

pub use super::socket::SocketError as ControlError;
pub use announce::{announce, announce_content};
pub use client::ask;
pub use messages::{Request, Response};
pub use server::{Call, ControlSocket, Peer};

/// Where the socket is when the command line does not say otherwise.
pub const DEFAULT_SOCKET: &str = "/run/secgroupd/control.sock";
