//! `secgroupd apply`: enforce once.

use super::options::{DefinitionOptions, SocketOptions, TransportOptions};
use super::outcome::{ERROR, NO, Result};
use super::print;
use super::ssh::{Session, not_known};
use crate::daemon::control::{ControlError, Request, Response, announce, ask};
use crate::daemon::machine::state_line::sentence;
use crate::daemon::report::Status;
use crate::flows::ended::LONGEST_COUNT;
use crate::host::Attempt;
use crate::host::report::{Failure, Summary};
use crate::host::{Host, choose};
use crate::policy::Account;
use crate::source::load::{Loaded, load_with_text};
use crate::source::location::Location;
use crate::source::read::Trust;
use crate::source::replace::Move;
use crate::source::texts::Texts;
use anyhow::{Error, bail};
use clap::Args;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long a daemon may take to read, compile and load.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Enforces a definition once. With a running daemon it goes through it, and holds until the daemon's own
/// definition is saved again or reloaded; with --confirm it is taken back unless it is confirmed in time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd apply                                  enforce /etc/secgroupd now
  sudo secgroupd apply candidate.yaml --instance ins-web1
  render-groups | sudo secgroupd apply -                what another program writes
  sudo secgroupd apply --confirm 60 candidate.yaml      then, if you still reach this host: sudo secgroupd confirm

Not confirmed, the policy of before comes back, also if this session is lost or the daemon is restarted; and that content is \
not enforced again until it changes, or `secgroupd reload --force`.

Exit status: 0 if it is enforced, 1 if the definition was refused or you said no, 2 on another error; then nothing has changed.")]
pub struct Arguments {
    /// The definition, `-` for standard input; by default that of --definition
    path: Option<Location>,
    /// Take it back after so many seconds, unless `secgroupd confirm` comes first; needs the running daemon
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    confirm: Option<u32>,
    /// Do not ask before a policy is enforced that refuses the SSH session that this is called from
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    definition: DefinitionOptions,
    #[command(flatten)]
    socket: SocketOptions,
    #[command(flatten)]
    transport: TransportOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// A candidate on trial, which asks nothing.
    pub fn trial(candidate: Location, seconds: u32, socket: SocketOptions, json: bool) -> Self {
        Arguments {
            path: Some(candidate),
            confirm: Some(seconds),
            yes: true,
            definition: DefinitionOptions::default(),
            socket,
            transport: TransportOptions::default(),
            json,
        }
    }
}

pub fn run(arguments: Arguments) -> Result {
    let location = arguments.definition.location(&arguments.path).absolute()?;
    if location == Location::StandardInput && arguments.confirm.is_some() {
        bail!(
            "standard input cannot take the place of the definition: write it to a file, and try that one"
        );
    }
    // Read here, with this user's eyes: the daemon's unit hides /root, /home and /tmp from it.
    let (loaded, definition) = load_with_text(&location, Trust::Checked);
    let Some(account) = &loaded.account else {
        return refused(&loaded, arguments.json);
    };
    match would_refuse_this_session(account, &arguments) {
        Ok(None) => {}
        Ok(Some(warning)) => {
            print::note(&format!("warning: {warning}"));
            if !arguments.yes && arguments.confirm.is_none() && !goes_on()? {
                return Ok(ExitCode::from(NO));
            }
        }
        Err(why) => print::note(&format!("warning: {}", not_known(&why))),
    }
    let path = location.name().to_owned();
    // Template files with a whole name stay where they are when the candidate is confirmed: the daemon must read them.
    let stays = |file: &Path| {
        let mut names = definition.template_names();
        arguments.confirm.is_some() && names.any(|name| Path::new(name) == file)
    };
    if arguments.confirm.is_some() {
        // A candidate that could never take the definition's place is not tried.
        let definition = status(&arguments.socket)?.definition;
        Move::of(&path, &definition)?.try_out(&path)?;
    }
    let request = Request::Apply {
        path: path.clone(),
        texts: Texts::of(&loaded, stays),
        instance: arguments.definition.instance.clone(),
        confirm: arguments.confirm,
    };
    let client = Session::of_this_process().map(|session| session.client().to_string());
    announce(&arguments.socket.socket, &loaded.sources, client);
    match ask(&arguments.socket.socket, &request, TIME_LIMIT) {
        Ok(response) => return said(response, &arguments),
        Err(ControlError::NotRunning { .. }) if arguments.confirm.is_none() => {}
        Err(error) => return Err(error.into()),
    }
    let mut host = Host::open(
        &arguments.definition.state.state,
        arguments.transport.kernel()?,
        arguments.definition.instance,
    )?;
    let result = host.reconcile(&loaded, &path, None, Attempt::Plain);
    host.ended.finish(LONGEST_COUNT);
    host.save();
    if host.next_end().is_some() {
        print::note(
            "note: rules of this definition have an end, and no daemon runs that takes them out then: they hold until the next \
             `apply`, or start of the machine or of the daemon",
        );
    }
    finish(result, arguments.json)
}

/// Prints what is wrong with a definition.
fn refused(loaded: &Loaded, as_json: bool) -> Result {
    if !as_json {
        // With colours, where the answer of a daemon has none.
        print::diagnostics(loaded);
        return Ok(ExitCode::from(NO));
    }
    finish(Err(Failure::of_loaded(loaded)), true)
}

fn status(socket: &SocketOptions) -> anyhow::Result<Status> {
    socket.ask(&Request::Status, TIME_LIMIT)
}

/// A sentence, if this command is called from an SSH session that the definition would refuse.
fn would_refuse_this_session(
    account: &Account,
    arguments: &Arguments,
) -> anyhow::Result<Option<String>> {
    let Some(session) = Session::of_this_process() else {
        return Ok(None);
    };
    let instance = match &arguments.definition.instance {
        Some(instance) => Some(instance.clone()),
        // Who a daemon was told to be.
        None => match status(&arguments.socket) {
            Ok(status) => status.instance,
            Err(error) if is_not_running(&error) => None,
            Err(error) => return Err(error),
        },
    };
    let instance = choose(account, instance.as_deref()).map_err(Error::msg)?;
    match account.policy(&instance.id, &Default::default()) {
        Some(policy) => session.refused_by(&policy),
        None => Ok(None),
    }
}

fn is_not_running(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(ControlError::NotRunning { .. }))
}

/// Asks, where there is somebody to ask.
fn goes_on() -> anyhow::Result<bool> {
    let (mut stderr, stdin) = (std::io::stderr(), std::io::stdin());
    if !stderr.is_terminal() || !stdin.is_terminal() {
        return Ok(true);
    }
    write!(
        stderr,
        "Enforce it all the same? `apply --confirm 60` would take it back by itself. [y/N] "
    )?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What the daemon answered, and what to do about a candidate.
fn said(response: Response, arguments: &Arguments) -> Result {
    let tried = matches!(response, Response::Ok { .. });
    let code = answered(response, arguments.json)?;
    if let (Some(seconds), true, false) = (arguments.confirm, tried, arguments.json) {
        print::out(&format!(
            "on trial: `secgroupd confirm` within {seconds} s, or the policy of before comes back\n"
        ));
    }
    Ok(code)
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
