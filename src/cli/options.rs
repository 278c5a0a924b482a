//! Options that several subcommands share.

use super::print;
use crate::cloud::Ledger;
use crate::cloud::ledger::LedgerPlan;
use crate::daemon::control::{DEFAULT_SOCKET, Request, Response, ask};
use crate::host::choose;
use crate::host::start::{CLOSED, close};
use crate::netfilter::enforce::Kernel;
use crate::netfilter::native::Native;
use crate::netfilter::nft::Nft;
use crate::policy::{Account, Policy, PortSet};
use crate::source::clock::now;
use crate::source::load::{Loaded, load};
use crate::source::location::Location;
use crate::source::read::Trust;
use crate::state::directory::{DEFAULT_DIRECTORY, State};
use crate::state::{latest_time, unblocks};
use anyhow::{Context, Error, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reads a port of the command line, in words that help where it is none.
pub fn port(text: &str) -> Result<u16, String> {
    PortSet::parse_single(text).map_err(|error| format!("{error}: {}", error.help()))
}

/// Where the definition is when nobody says otherwise.
pub const DEFAULT_DEFINITION: &str = "/etc/secgroupd";

/// Which definition and which instance.
#[derive(Debug, Args)]
pub struct DefinitionOptions {
    /// The definition: a file, or a directory with *.yaml files
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DEFINITION)]
    pub definition: PathBuf,
    /// The instance that this host is; by default the one with this host's name, or the only one if it has no hostname
    #[arg(long, value_name = "ID")]
    pub instance: Option<String>,
    #[command(flatten)]
    pub state: StateOptions,
}

impl Default for DefinitionOptions {
    fn default() -> Self {
        DefinitionOptions {
            definition: DEFAULT_DEFINITION.into(),
            instance: None,
            state: StateOptions {
                state: DEFAULT_DIRECTORY.into(),
            },
        }
    }
}

/// Where the state directory is.
#[derive(Debug, Args)]
pub struct StateOptions {
    /// The state directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    pub state: PathBuf,
}

impl StateOptions {
    /// The time by which rules end on this host, as far as its state directory may be read.
    pub fn time(&self) -> u64 {
        let state = State::look(&self.state).ok().flatten();
        let latest = state.and_then(|state| latest_time::read(&state).ok());
        latest.unwrap_or(0).max(now())
    }
}

/// Where the daemon is asked.
#[derive(Debug, Args)]
pub struct SocketOptions {
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// Which lab is meant.
#[derive(Debug, Args)]
pub struct LabOptions {
    /// The lab's name; may be left out where only one is up
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// What a host without a policy does.
#[derive(Debug, Args)]
pub struct ClosedOptions {
    /// Where no policy was ever enforced, or the kept one cannot be used: refuse new inbound flows to this host until
    /// one is enforced. Replies, outbound and forwarded flows pass, and so does lo
    #[arg(long, env = "SECGROUPD_FAIL_CLOSED", value_parser = BoolishValueParser::new())]
    pub fail_closed: bool,
}

impl SocketOptions {
    /// Asks the daemon, which must not refuse.
    pub fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        limit: Duration,
    ) -> anyhow::Result<T> {
        match ask(&self.socket, request, limit)? {
            Response::Ok { payload } => Ok(serde_json::from_value(payload)?),
            Response::Refused { message, .. } | Response::Error { message } => bail!(message),
        }
    }
}

impl ClosedOptions {
    /// Of a host whose state cannot be had nothing is known: it is closed as well, where that is wanted.
    pub fn without_state(&self, transport: &TransportOptions) {
        if !self.fail_closed {
            return;
        }
        match transport.kernel().and_then(|kernel| Ok(close(&kernel)?)) {
            Ok(true) => tracing::warn!("{CLOSED}"),
            Ok(false) => {}
            Err(error) => tracing::error!("this host could not be closed: {error:#}"),
        }
    }
}

/// How the kernel is reached.
#[derive(Debug, Default, Args)]
pub struct TransportOptions {
    /// Speak to the kernel through the nft program instead of directly
    #[arg(long, value_name = "PROGRAM")]
    pub through: Option<Program>,
}

/// A program that the kernel can be reached through.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Program {
    /// The package nftables.
    Nft,
}

impl TransportOptions {
    /// This host's kernel.
    pub fn kernel(&self) -> anyhow::Result<Kernel> {
        Ok(match self.through {
            None => Kernel::new(Native::open()?)?,
            Some(Program::Nft) => Kernel::new(Nft::find()?)?,
        })
    }
}

impl DefinitionOptions {
    /// Where the definition is: as the command names it, else `--definition`.
    pub fn location(&self, named: &Option<Location>) -> Location {
        let default = || Location::from(self.definition.as_path());
        named.clone().unwrap_or_else(default)
    }

    /// The positional path if there is one, else `--definition`.
    pub fn path<'a>(&'a self, positional: &'a Option<PathBuf>) -> &'a Path {
        positional.as_deref().unwrap_or(&self.definition)
    }

    /// The policy of this host's instance, as it would be enforced; `None` if the definition is refused, which
    /// was printed then. The unblocks that were spent are read from the state directory if it lets us.
    pub fn policy(&self, path: &Path) -> anyhow::Result<Option<(Policy, Loaded)>> {
        let loaded = load(&Location::from(path), Trust::Any);
        let Some(account) = &loaded.account else {
            print::diagnostics(&loaded);
            return Ok(None);
        };
        let instance = choose(account, self.instance.as_deref()).map_err(Error::msg)?;
        let unblocked = plan(account, &self.state.state)?.ledger.unblocked;
        let mut policy = account
            .policy(&instance.id, &unblocked)
            .context("the instance has gone")?;
        policy.end_rules(self.state.time());
        Ok(Some((policy, loaded)))
    }
}

/// What enforcing this account would do to the ledger of this host. Nothing is spent. Where the ledger may not be read,
/// as by an ordinary user, none counts as spent, and that is said if it matters.
pub fn plan(account: &Account, state: &Path) -> anyhow::Result<LedgerPlan> {
    let path = state.join(unblocks::FILE);
    let looked = State::look(state).and_then(|state| match state {
        Some(state) => state.read(unblocks::FILE),
        None => Ok(None),
    });
    let bytes = looked.unwrap_or_else(|error| {
        let mut instances = account.instances.iter();
        if instances.any(|instance| instance.smtp_request) {
            print::note(&format!(
                "note: the unblock ledger is not read: {error}; as if none was spent"
            ));
        }
        None
    });
    Ok(Ledger::kept(bytes, &path)?.plan(account))
}

/// The policy of the instance that is this host, if one is.
pub fn policy_of_this_host(
    account: &Account,
    asked: Option<&str>,
) -> anyhow::Result<Option<Policy>> {
    match (choose(account, asked), asked) {
        (Ok(instance), _) => Ok(account.policy(&instance.id, &Default::default())),
        (Err(error), Some(_)) => Err(Error::msg(error)),
        // A definition of other hosts can be checked here as well.
        (Err(_), None) => Ok(None),
    }
}
