//! `secgroupd status`: what is enforced.

use super::options::SocketOptions;
use super::outcome::{ERROR, Result, yes};
use super::print;
use super::status_page::page;
use super::watch::watch;
use crate::daemon::control::Request;
use crate::daemon::report::Status;
use crate::netfilter::blind;
use clap::Args;
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
    let mut status: Status = socket.ask(&Request::Status, Duration::from_secs(30))?;
    look_for_legacy(&mut status);
    match arguments.json {
        true => print::json(&serde_json::to_value(&status)?)?,
        false => print::page(&page(&status, None)),
    }
    // Whether anything is enforced cannot be read.
    if status.unseen.is_some() && status.inherited.is_none() {
        return Ok(ExitCode::from(ERROR));
    }
    Ok(yes(status.is_well()))
}

/// Looks at what the daemon, which is not root, may not.
fn look_for_legacy(status: &mut Status) {
    if !std::mem::take(&mut status.legacy_is_for_root) {
        return;
    }
    let found = match nix::unistd::geteuid().is_root() {
        true => blind::legacy_spots().iter().map(ToString::to_string).collect(),
        false => vec![
            "whether rules of iptables-legacy take state away: only root may look, and `sudo secgroupd status` does"
                .to_owned(),
        ],
    };
    status.blind_spots.extend(found);
}
