//! `secgroupd reload`: read the definition again.

use super::apply::{TIME_LIMIT, answered};
use super::options::SocketOptions;
use super::outcome::Result;
use super::print;
use crate::daemon::control::{Request, ask};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Has the running daemon read its definition again. Fails when the definition is refused, and then nothing
/// has changed. It ends a hold, and the trial of a candidate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd reload
  sudo systemctl reload secgroupd          the same
  sudo secgroupd reload --hold             edit in peace, then `secgroupd reload`

Exit status: 0 if it is enforced, 1 if the definition was refused, 2 on another error, as no daemon.")]
pub struct Arguments {
    #[command(flatten)]
    socket: SocketOptions,
    /// Enforce it also if it was tried as a candidate and not confirmed
    #[arg(long)]
    force: bool,
    /// Read nothing now, and follow no save of the definition until the next reload
    #[arg(long, conflicts_with = "force")]
    hold: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    if !arguments.hold {
        let force = arguments.force;
        let response = ask(
            &arguments.socket.socket,
            &Request::Reload { force },
            TIME_LIMIT,
        )?;
        return answered(response, arguments.json);
    }
    let payload: Value = arguments.socket.ask(&Request::Hold, TIME_LIMIT)?;
    match arguments.json {
        true => print::json(&payload)?,
        false => {
            print::out("held: saves of the definition are not followed until `secgroupd reload`\n")
        }
    }
    Ok(ExitCode::SUCCESS)
}
