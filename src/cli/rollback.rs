//! `secgroupd rollback`: an older definition comes back, as a new change.

use super::changed::ChangeOptions;
use super::history::open;
use super::options::StateOptions;
use super::outcome::{NO, Result};
use super::print;
use crate::source::change::rollback::{Older, plan_rollback, rollback};
use crate::source::content::content;
use crate::source::load::{Loaded, load};
use crate::source::location::Location;
use crate::source::read::Trust;
use crate::state::directory::State;
use crate::state::history::entry::Entry;
use crate::state::history::{self, numbers};
use crate::state::unblocks;
use anyhow::{Error, bail};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes an older definition back in the place of the present one: each file as it was, template files included. That is
/// a new change, which whoever follows the definition enforces; the history goes on.
///
/// The older definition must be right as of now. What is not in the history, as comments in a file that was never
/// enforced, is lost: --dry-run shows it. A rollback spends no unblock of TCP 25.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd rollback                  to what was enforced before what is there now
  sudo secgroupd rollback 12               to number 12 of `secgroupd history`
  sudo secgroupd rollback 12 --dry-run     what that would write, and do to flows

Exit status: 0 if it is written, 1 if it is refused or there is none of this number, 2 on an error.")]
pub struct Arguments {
    /// The number of `secgroupd history`
    number: Option<u64>,
    #[command(flatten)]
    options: ChangeOptions,
    #[command(flatten)]
    state: StateOptions,
}

pub fn run(arguments: Arguments) -> Result {
    let state = open(&arguments.state)?;
    let options = &arguments.options;
    let entry = match arguments.number {
        Some(number) => history::read(&state, number)?,
        None => last_other(&state, options),
    };
    let Some(entry) = entry else {
        let message = match arguments.number {
            Some(number) => {
                format!("the history has no {number}: `secgroupd history` lists what it has")
            }
            None => "the history has nothing else than what is there now".to_owned(),
        };
        print::error(&message);
        return Ok(ExitCode::from(NO));
    };
    let texts = |files: &mut dyn Iterator<Item = (&str, &str)>| -> Vec<(PathBuf, String)> {
        let owned = |(path, text): (&str, &str)| (PathBuf::from(path), text.to_owned());
        files.map(owned).collect()
    };
    let older = Older {
        files: texts(&mut entry.definition_files()),
        templates: texts(&mut entry.template_files()),
    };
    let mut changed = match plan_rollback(&options.definition, &older) {
        Ok(changed) => changed,
        Err(error) => return options.refuse(error),
    };
    spends_nothing(&state, &changed.after.0)?;
    let number = entry.head.number;
    changed.done = vec![format!("the definition is that of {number} again")];
    if !options.dry_run {
        if !changed.files.is_empty() {
            options.announce(&changed);
        }
        if let Err(error) = rollback(&options.definition, &changed) {
            return options.refuse(error);
        }
    }
    options.print(&changed)
}

/// The newest entry that says something else than what is there now.
fn last_other(state: &State, options: &ChangeOptions) -> Option<Entry> {
    let location = Location::from(options.definition.as_path());
    let present = load(&location, Trust::Any);
    let present = content(&present.sources);
    let entries = numbers(state).into_iter().rev();
    let mut entries = entries.filter_map(|number| history::read(state, number).ok().flatten());
    entries.find(|entry| entry.head.content != present)
}

/// An unblock that was given up since is not asked for again: that would spend another.
fn spends_nothing(state: &State, loaded: &Loaded) -> anyhow::Result<()> {
    let Some(account) = &loaded.account else {
        return Ok(());
    };
    let ledger = unblocks::read(state).map_err(Error::msg)?;
    let plan = ledger.plan(account);
    if plan.ledger.spent > ledger.spent || !plan.refused.is_empty() {
        let ask = plan.ledger.unblocked.difference(&ledger.unblocked);
        let asking: Vec<String> = ask.map(ToString::to_string).collect();
        bail!(
            "that definition asks for TCP 25 to be unblocked where it is blocked now ({}), which spends an unblock, and a rollback spends \
             none: nothing was written. Write `smtp: unblocked` by hand if it is meant",
            asking.join(", ")
        );
    }
    Ok(())
}
