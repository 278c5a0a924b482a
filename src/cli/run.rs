//! `secgroupd run`: the daemon.

use super::options::{ClosedOptions, DefinitionOptions, SocketOptions, TransportOptions};
use super::outcome::Result;
use crate::daemon::metrics::MetricsAddress;
use crate::daemon::{logging, run as daemon, store};
use crate::host::Host;
use crate::state::directory::StateError;
use anyhow::Context;
use clap::Args;
use std::process::ExitCode;

/// Enforces a definition and follows its changes until it is stopped. The policy stays enforced then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd run                                     enforce /etc/secgroupd
  sudo secgroupd run --definition groups.yaml --instance ins-web1
  sudo secgroupd run --metrics 127.0.0.1:9101            and curl http://127.0.0.1:9101/metrics
  sudo secgroupd run --metrics unix:/run/secgroupd/metrics.sock

A saved change is enforced without a command; SIGHUP and `secgroupd reload` do the same. A definition that is \
not valid changes nothing. Under systemd: systemctl enable --now secgroupd.")]
pub struct Arguments {
    #[command(flatten)]
    definition: DefinitionOptions,
    #[command(flatten)]
    socket: SocketOptions,
    #[command(flatten)]
    transport: TransportOptions,
    /// Look at the files every 5 s, for mounts without events that are not recognised as such
    #[arg(long)]
    poll: bool,
    #[command(flatten)]
    closed: ClosedOptions,
    /// Answer `GET /metrics` (Prometheus) on a unix socket, as unix:/run/secgroupd/metrics.sock, or on a loopback port,
    /// as 127.0.0.1:9101
    #[arg(long, value_name = "WHERE", env = "SECGROUPD_METRICS")]
    metrics: Option<MetricsAddress>,
    /// What to log: error, warn, info, debug, trace; SECGROUPD_LOG does the same
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// So many pools of memory for all threads. Of its own, each thread would keep what it has freed.
#[cfg(target_env = "gnu")]
const POOLS: nix::libc::c_int = 2;

fn share_memory() {
    // SAFETY: it sets a number of the C library, before there is a second thread.
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, POOLS);
    }
}

pub fn run(arguments: Arguments) -> Result {
    share_memory();
    logging::init(arguments.log_level.as_deref())?;
    let resumed = match arguments.transport.through {
        None => store::resume(),
        Some(_) => None,
    };
    let socket_is_kept = resumed.is_some();
    let kernel = match resumed {
        Some(kernel) => kernel,
        None => arguments.transport.kernel()?,
    };
    if arguments.transport.through.is_some() {
        store::release(&kernel);
    }
    let host = Host::open(
        &arguments.definition.state.state,
        kernel,
        arguments.definition.instance,
    );
    let host = match host {
        Err(error @ StateError::Locked { .. }) => return Err(error.into()),
        host => host.inspect_err(|_| arguments.closed.without_state(&arguments.transport))?,
    };
    let options = daemon::Options {
        definition: std::path::absolute(&arguments.definition.definition)
            .context("the definition's path")?,
        socket: arguments.socket.socket,
        poll: arguments.poll,
        socket_is_kept,
        fail_closed: arguments.closed.fail_closed,
        metrics: arguments.metrics,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(daemon::run(host, options))?;
    Ok(ExitCode::SUCCESS)
}
