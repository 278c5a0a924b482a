//! `secgroupd boot`: the kept policy, before the network is up.

use super::options::{ClosedOptions, StateOptions, TransportOptions};
use super::outcome::{ERROR, Result};
use crate::daemon::logging;
use crate::host::Host;
use crate::host::resume::Resumed;
use crate::host::start;
use crate::state::directory::StateError;
use clap::Args;
use std::process::ExitCode;
use tracing::info;

/// Enforces the policy that was enforced last on this host, and ends. No definition is read. It is what
/// secgroupd-boot.service runs before the network is up; the daemon takes over what it left.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd boot
  sudo secgroupd boot --fail-closed            closed until a policy is enforced, if there is none

Exit status: 0 if the kept policy is in force, or there is none; 2 if it cannot be used.")]
pub struct Arguments {
    #[command(flatten)]
    state: StateOptions,
    #[command(flatten)]
    transport: TransportOptions,
    #[command(flatten)]
    closed: ClosedOptions,
}

pub fn run(arguments: Arguments) -> Result {
    logging::init(None)?;
    let kernel = arguments.transport.kernel()?;
    let mut host = match Host::open(&arguments.state.state, kernel, None) {
        Err(error @ StateError::Locked { .. }) => {
            info!("nothing to do: {error}");
            return Ok(ExitCode::SUCCESS);
        }
        host => host.inspect_err(|_| arguments.closed.without_state(&arguments.transport))?,
    };
    match start::resume(&mut host, arguments.closed.fail_closed) {
        Ok(Resumed::Nothing) if !host.is_closed() => {
            info!("no policy was kept on this host: nothing to do");
        }
        Ok(_) => {
            host.keep_time();
            host.save();
        }
        // It was said.
        Err(_) => return Ok(ExitCode::from(ERROR)),
    }
    Ok(ExitCode::SUCCESS)
}
