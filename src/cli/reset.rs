//! `secgroupd reset`: the way out of an improper group.

use super::apply::{self, TIME_LIMIT};
use super::changed::ChangeOptions;
use super::group::new_id;
use super::outcome::Result;
use super::print;
use crate::cloud::edit::{Change, Draft, edit};
use crate::daemon::control::Request;
use crate::daemon::report::Status;
use crate::policy::id::InstanceId;
use crate::source::change::{candidate, discard, plan};
use anyhow::Context;
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// Binds an instance to an all-pass group only, on trial: what was bound comes back unless `secgroupd confirm` comes in
/// time.
///
/// What was bound stays in a comment of the definition, and --undo binds it again. Where the instance is another host, or
/// no daemon follows this definition here, the definition is changed at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd reset ins-web1 --all-pass     then, if that was the fault: sudo secgroupd confirm
  sudo secgroupd reset ins-web1 --undo         bind again what was bound before
  secgroupd reset ins-web1 --all-pass --dry-run

Exit status: 0 if it is done, 1 if it is refused, 2 on an error.")]
pub struct Arguments {
    /// The instance
    #[arg(value_name = "INSTANCE", value_parser = instance_id)]
    instance: InstanceId,
    /// Bind only an all-pass group, which is made where there is none
    #[arg(long, required_unless_present = "undo", conflicts_with = "undo")]
    all_pass: bool,
    /// Bind again what a reset took away
    #[arg(long)]
    undo: bool,
    /// Take it back after so many seconds, unless `secgroupd confirm` comes first
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    confirm: u32,
    #[command(flatten)]
    options: ChangeOptions,
}

fn instance_id(text: &str) -> std::result::Result<InstanceId, String> {
    InstanceId::parse(text).map_err(|error| error.to_string())
}

pub fn run(arguments: Arguments) -> Result {
    let instance = arguments.instance.clone();
    let change = match arguments.undo {
        true => Change::UndoReset { instance },
        false => Change::Reset {
            instance,
            id: new_id()?,
        },
    };
    let edit = |draft: &Draft| edit(draft, &change);
    if arguments.options.dry_run {
        return arguments.options.run(&edit);
    }
    if !is_followed_here(&arguments) {
        print::note(&format!(
            "note: no daemon of this host enforces this definition as {0}: the change is no trial, and nothing takes it back but `secgroupd reset {0} --undo`",
            arguments.instance
        ));
        return arguments.options.run(&edit);
    }
    let definition = &arguments.options.definition;
    let changed = match plan(definition, &edit) {
        Ok(changed) => changed,
        Err(error) => return arguments.options.refuse(error),
    };
    let candidate = candidate(definition, &changed)
        .with_context(|| format!("cannot write a candidate beside {}", definition.display()))?;
    let trial = apply::Arguments::trial(
        candidate.as_path().into(),
        arguments.confirm,
        arguments.options.socket,
        arguments.options.json,
    );
    match apply::run(trial) {
        Ok(code) if code == ExitCode::SUCCESS => {
            if !arguments.options.json {
                print::page(&changed.done.join("\n"));
            }
            Ok(code)
        }
        refused => {
            discard(&candidate);
            refused
        }
    }
}

/// Whether a daemon of this host enforces this definition as this instance.
fn is_followed_here(arguments: &Arguments) -> bool {
    let status: anyhow::Result<Status> = arguments.options.socket.ask(&Request::Status, TIME_LIMIT);
    let Ok(status) = status else {
        return false;
    };
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b || a.parent() == Some(&b),
        _ => false,
    };
    let is_it =
        |enforced: &crate::host::report::Summary| enforced.instance == arguments.instance.as_str();
    same(&arguments.options.definition, &status.definition)
        && status.enforced.as_ref().is_some_and(is_it)
}
