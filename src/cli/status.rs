//! `secgroupd status`: what is enforced.

use super::options::SocketOptions;
use super::outcome::{ERROR, Result, yes};
use super::print;
use super::status_page::page;
use super::watch::watch;
use crate::daemon::control::Request;
use crate::daemon::report::Status;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

/// Shows what the running daemon enforces: generation, instance, interfaces, groups, hits per rule, last error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd status
  secgroupd status --watch                 every second, with packets a second; Ctrl-C ends it
  secgroupd status --watch | grep sg-web/in/3
  secgroupd status --json | jq '.hits[] | select(.packets == 0)'

Exit status: 0 if the definition is enforced, 1 if the service is degraded or enforces nothing, 2 if no daemon answers,
or if it may not look.")]
pub struct Arguments {
    #[command(flatten)]
    socket: SocketOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show it anew every second, until Ctrl-C; not on a terminal one after the other
    #[arg(long)]
    watch: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let socket = &arguments.socket;
    if arguments.watch {
        return watch(socket, arguments.json);
    }
    let payload: Value = socket.ask(&Request::Status, Duration::from_secs(30))?;
    let status: Status = serde_json::from_value(payload.clone())?;
    match arguments.json {
        true => print::json(&payload)?,
        false => print::page(&page(&status, None)),
    }
    // Whether anything is enforced cannot be read.
    if status.unseen.is_some() && status.inherited.is_none() {
        return Ok(ExitCode::from(ERROR));
    }
    Ok(yes(status.is_well()))
}
