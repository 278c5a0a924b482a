//! `secgroupd apply`: enforce once.

use super::options::{DefinitionOptions, SocketOptions, StateOptions, TransportOptions};
use super::{ERROR, NO, Result, print};
use crate::daemon::control::{ControlError, Request, Response, ask};
use crate::daemon::host::Host;
use crate::daemon::load::load;
use crate::daemon::read::Trust;
use crate::daemon::report::{Failure, Summary};
use crate::daemon::run::{absolute, sentence};
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a daemon may take to read, compile and load.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Enforces a definition once. With a running daemon it goes through it, and holds until the daemon's own
/// definition is saved again or reloaded.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd apply                                  enforce /etc/secgroupd now
  sudo secgroupd apply candidate.yaml --instance ins-web1

Exit status: 0 if it is enforced, 1 if the definition was refused, 2 on another error; then nothing has changed.")]
pub struct Arguments {
    /// The definition; by default that of --definition
    path: Option<PathBuf>,
    #[command(flatten)]
    definition: DefinitionOptions,
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
    let path = absolute(arguments.definition.path(&arguments.path))?;
    let request = Request::Apply {
        path: path.clone(),
        instance: arguments.definition.instance.clone(),
    };
    match ask(&arguments.socket.socket, &request, TIME_LIMIT) {
        Ok(response) => return answered(response, arguments.json),
        Err(ControlError::NotRunning { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut host = Host::open(
        &arguments.state.state,
        arguments.transport.kernel()?,
        arguments.definition.instance,
    )?;
    let loaded = load(&path, Trust::Checked);
    let result = host.reconcile(&loaded, &path, None);
    host.keep();
    if result.is_err() && loaded.account.is_none() && !arguments.json {
        // With colours, where the answer of a daemon has none.
        print::diagnostics(&loaded);
        return Ok(ExitCode::from(NO));
    }
    finish(result, arguments.json)
}

/// What a daemon answered to `apply` or `reload`.
pub fn answered(response: Response, as_json: bool) -> Result {
    match response {
        Response::Ok { payload } => finish(Ok(serde_json::from_value(payload)?), as_json),
        Response::Error { message } => bail!(message),
        // Refused was the definition, or whoever asked.
        Response::Refused { message, details } => match serde_json::from_value(details) {
            Ok(failure) => finish(Err(failure), as_json),
            Err(_) => bail!(message),
        },
    }
}

/// Prints what became of it.
fn finish(result: std::result::Result<Summary, Failure>, as_json: bool) -> Result {
    let code = match &result {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) if failure.diagnostics.is_empty() => ExitCode::from(ERROR),
        Err(_) => ExitCode::from(NO),
    };
    match (&result, as_json) {
        (Ok(summary), true) => print::json(&json!({ "enforced": summary }))?,
        (Err(failure), true) => print::json(&json!({ "refused": failure }))?,
        (Ok(summary), false) => {
            summary
                .remarks
                .iter()
                .for_each(|remark| remark.lines().for_each(print::note));
            print::out(&format!("{}\n", sentence(summary)));
        }
        (Err(failure), false) => {
            if failure.text != failure.message {
                failure.text.lines().for_each(print::note);
            }
            print::error(&failure.message);
        }
    }
    Ok(code)
}
