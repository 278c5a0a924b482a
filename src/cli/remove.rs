//! `secgroupd remove`: take the policy off this host.

use super::apply::TIME_LIMIT;
use super::options::{SocketOptions, StateOptions, TransportOptions};
use super::outcome::Result;
use super::print;
use crate::daemon::control::{ControlError, Request, Response, ask};
use crate::host::Host;
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// Takes the policy off this host, through the daemon if one runs. Afterwards nothing is filtered by secgroupd,
/// until the definition is saved or reloaded; other tables are never touched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd remove
  sudo systemctl disable --now secgroupd && sudo secgroupd remove      for good")]
pub struct Arguments {
    #[command(flatten)]
    state: StateOptions,
    #[command(flatten)]
    socket: SocketOptions,
    #[command(flatten)]
    transport: TransportOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let removed = match ask(&arguments.socket.socket, &Request::Remove, TIME_LIMIT) {
        Ok(Response::Ok { payload }) => payload["removed"] == true,
        Ok(Response::Refused { message, .. } | Response::Error { message }) => bail!(message),
        Err(ControlError::NotRunning { .. }) => {
            Host::open(&arguments.state.state, arguments.transport.kernel()?, None)?.remove()?
        }
        Err(error) => return Err(error.into()),
    };
    match (arguments.json, removed) {
        (true, removed) => print::json(&json!({ "removed": removed }))?,
        (false, true) => print::out("the policy is off this host: secgroupd filters nothing now\n"),
        (false, false) => print::out("there was no policy on this host\n"),
    }
    Ok(ExitCode::SUCCESS)
}
