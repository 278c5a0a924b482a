//! `secgroupd confirm`: the candidate on trial is right.

use super::apply::{TIME_LIMIT, answered};
use super::options::{SocketOptions, StateOptions};
use super::outcome::{NO, Result};
use super::print;
use super::ssh::Session;
use crate::daemon::control::{Request, Response, announce_content, ask};
use crate::daemon::report::Status;
use crate::host::is_of_another_host;
use crate::source::content::content;
use crate::source::load::load;
use crate::source::read::Trust;
use crate::source::replace::{Move, copy_beside};
use crate::source::shown::shown;
use crate::state::directory::State;
use crate::state::history;
use anyhow::bail;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Confirms the candidate that `apply --confirm` has handed to the daemon: it takes the place of the definition, in one step,
/// and stays. A file replaces a file, with the owner and the permissions of the old one; a directory and a directory exchange
/// their names.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd apply --confirm 60 new.yaml && sudo secgroupd confirm

Exit status: 0 if it is the definition now, 1 if no candidate is on trial, 2 on another error; then nothing was moved.")]
pub struct Arguments {
    #[command(flatten)]
    socket: SocketOptions,
    #[command(flatten)]
    state: StateOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Keeps what the candidate overwrites, where the history does not have it: it may never have been enforced.
fn keep_a_copy(
    way: &Move,
    options: &StateOptions,
    definition: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let Move::Over { file, .. } = way else {
        // A folder that is exchanged is where the candidate was.
        return Ok(None);
    };
    let present = load(&definition.into(), Trust::Any);
    let content = content(&present.sources);
    let state = State::look(&options.state).ok().flatten();
    if !file.exists() || state.is_some_and(|state| history::has(&state, &content)) {
        return Ok(None);
    }
    Ok(Some(copy_beside(file)?))
}

pub fn run(arguments: Arguments) -> Result {
    let status: Status = arguments.socket.ask(&Request::Status, TIME_LIMIT)?;
    let Some(trial) = status.trial else {
        let message = "no candidate is on trial: its time was up, or there was none. `secgroupd status` shows what is enforced";
        match arguments.json {
            true => print::json(&json!({ "refused": message }))?,
            false => print::error(message),
        }
        return Ok(ExitCode::from(NO));
    };
    if !nix::unistd::geteuid().is_root() {
        bail!("only root may confirm a candidate");
    }
    if let Some(other) = status.enforced.as_ref().and_then(is_of_another_host) {
        bail!(
            "{other}: what would be enforced was never tried. Let the trial end, and try the candidate again"
        );
    }
    let client = Session::of_this_process().map(|session| session.client().to_string());
    announce_content(&arguments.socket.socket, trial.content.clone(), client);
    let way = Move::of(&trial.candidate, &status.definition)?;
    if let Some(copy) = keep_a_copy(&way, &arguments.state, &status.definition)? {
        print::note(&format!(
            "note: the history does not have the definition of before: it is kept in {}",
            shown(&copy)
        ));
    }
    way.carry_out(&trial.candidate, &trial.content)?;
    let confirm = Request::Confirm {
        content: trial.content,
    };
    match ask(&arguments.socket.socket, &confirm, TIME_LIMIT)? {
        // Its time was up in this very moment.
        Response::Refused { message, details } if details.is_null() => bail!(
            "{message}. The definition {} holds the candidate by now, which is not enforced: change it, or enforce it with \
             `secgroupd reload --force`",
            status.definition.display()
        ),
        response => answered(response, arguments.json),
    }
}
