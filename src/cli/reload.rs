//! `secgroupd reload`: read the definition again.

use super::Result;
use super::apply::{TIME_LIMIT, answered};
use super::options::SocketOptions;
use crate::daemon::control::{Request, ask};
use clap::Args;

/// Has the running daemon read its definition again. Fails when the definition is refused, and then nothing
/// has changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd reload
  sudo systemctl reload secgroupd          the same

Exit status: 0 if it is enforced, 1 if the definition was refused, 2 on another error, as no daemon.")]
pub struct Arguments {
    #[command(flatten)]
    socket: SocketOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    answered(
        ask(&arguments.socket.socket, &Request::Reload, TIME_LIMIT)?,
        arguments.json,
    )
}
