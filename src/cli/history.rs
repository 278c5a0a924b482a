//! `secgroupd history`: the definitions that were enforced, who changed them, and what that did to flows.

use super::options::StateOptions;
use super::outcome::{NO, Result};
use super::print;
use crate::insight::diff::{FlowChange, diff};
use crate::insight::space::Work;
use crate::policy::{Policy, Until};
use crate::source::shown::shown;
use crate::state::author::Author;
use crate::state::directory::State;
use crate::state::history::entry::Entry;
use crate::state::history::{self, numbers};
use crate::words::count;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// In the list, definitions of more bytes than these are not compared: `history N` compares them.
const LONGEST_IN_THE_LIST: usize = 200_000;

/// Lists the last 50 definitions that were enforced on this host: when, who changed them and how, and which flows that
/// opened (+) and closed (-). With a number, shows one of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd history                   the newest comes first
  sudo secgroupd history 12                what number 12 changed, as flows
  sudo secgroupd history 12 --text         what it was
  sudo secgroupd rollback 12               back to it

A change by hand is the owner's of the file that was saved last. Only root and the daemon may read the history.

Exit status: 0, 1 if there is none of this number, 2 on an error.")]
pub struct Arguments {
    /// One of them
    number: Option<u64>,
    /// Print its files as they were
    #[arg(long, requires = "number")]
    text: bool,
    #[command(flatten)]
    state: StateOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let state = open(&arguments.state)?;
    let Some(number) = arguments.number else {
        return list(&state, arguments.json);
    };
    let Some(entry) = history::read(&state, number)? else {
        print::error(&format!(
            "the history has no {number}: `secgroupd history` lists what it has"
        ));
        return Ok(ExitCode::from(NO));
    };
    if arguments.text {
        return text(&entry, arguments.json);
    }
    let before = before(&state, number);
    let flows = flows(before.as_ref(), &entry);
    if arguments.json {
        print::json(&as_json(&entry, &flows))?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = &entry.head;
    let mut page = format!(
        "{number}: generation {} of {}, enforced at {}, of {}\n{}\n",
        head.generation,
        head.instance,
        time(head.at),
        shown(&head.definition),
        words(&head.author)
    );
    page += &match &flows {
        Flows::First => "nothing older is kept to compare it with".to_owned(),
        Flows::NotKnown(why) => format!("what it changed is not known: {why}"),
        Flows::Changed(changes) if changes.is_empty() => "every flow fares the same".to_owned(),
        Flows::Changed(changes) => {
            let number = count(changes.len(), "change");
            format!("{number} of flows:\n{}", super::diff::table(changes))
        }
    };
    print::page(&page);
    Ok(ExitCode::SUCCESS)
}

/// The state directory of this host, to read.
pub fn open(options: &StateOptions) -> anyhow::Result<State> {
    let state = State::look(&options.state)?;
    state.with_context(|| {
        let directory = shown(&options.state);
        format!("{directory} does not exist: nothing was enforced, or name it with --state")
    })
}

fn list(state: &State, in_json: bool) -> Result {
    let mut entries = Vec::new();
    let mut lost = Vec::new();
    for number in numbers(state) {
        match history::read(state, number) {
            Ok(entry) => entries.extend(entry),
            Err(error) => lost.push(error.to_string()),
        }
    }
    if entries.is_empty() && lost.is_empty() {
        // Other files of the directory may be root's alone.
        if std::fs::read_dir(state.directory()).is_err() {
            bail!(
                "{} may not be read: run it as root",
                shown(state.directory())
            );
        }
    }
    lost.iter().for_each(|error| print::note(error));
    let compared = entries.iter().enumerate().map(|(place, entry)| {
        let before = place.checked_sub(1).and_then(|place| entries.get(place));
        let long = |entry: &Entry| entry.length() > LONGEST_IN_THE_LIST;
        match long(entry) || before.is_some_and(long) {
            true => Flows::NotKnown(format!("see `secgroupd history {}`", entry.head.number)),
            false => flows(before, entry),
        }
    });
    let compared: Vec<Flows> = compared.collect();
    let rows = || entries.iter().zip(&compared).rev();
    if in_json {
        let rows: Vec<Value> = rows().map(|(entry, flows)| as_json(entry, flows)).collect();
        print::json(&json!({ "entries": rows, "lost": lost }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        print::page("nothing is kept: no definition was enforced on this host");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = print::table();
    table.set_header(["", "Enforced", "Instance", "Flows", "By"]);
    for (entry, flows) in rows() {
        let head = &entry.head;
        let flows = match flows {
            Flows::First => "first".to_owned(),
            Flows::NotKnown(why) => why.clone(),
            Flows::Changed(changes) => {
                let opens = changes.iter().filter(|change| change.opens).count();
                format!("+{opens} -{}", changes.len() - opens)
            }
        };
        table.add_row([
            head.number.to_string(),
            time(head.at),
            head.instance.to_string(),
            flows,
            words(&head.author),
        ]);
    }
    print::page(&table.to_string());
    Ok(ExitCode::SUCCESS)
}

fn text(entry: &Entry, in_json: bool) -> Result {
    let files: Vec<_> = entry
        .definition_files()
        .chain(entry.template_files())
        .collect();
    if in_json {
        let files = files
            .iter()
            .map(|(path, text)| json!({ "file": path, "text": text }));
        print::json(&json!({ "files": files.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in files {
        print::page(&format!("# ── {path}\n{text}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What an entry has changed.
enum Flows {
    /// There is nothing to compare it with.
    First,
    NotKnown(String),
    Changed(Vec<FlowChange>),
}

/// The newest entry that is older.
fn before(state: &State, number: u64) -> Option<Entry> {
    let older = numbers(state).into_iter().rev().find(|each| *each < number);
    history::read(state, older?).ok().flatten()
}

fn flows(before: Option<&Entry>, entry: &Entry) -> Flows {
    let Some(before) = before else {
        return Flows::First;
    };
    if before.head.instance != entry.head.instance {
        return Flows::NotKnown(format!("the one before is of {}", before.head.instance));
    }
    let policies = policy(before).and_then(|old| Ok((old, policy(entry)?)));
    let changes = policies.and_then(|(old, new)| {
        diff(&old, &new, &mut Work::default()).map_err(|error| error.to_string())
    });
    changes.map_or_else(Flows::NotKnown, Flows::Changed)
}

/// What an entry meant when it was enforced.
fn policy(entry: &Entry) -> std::result::Result<Policy, String> {
    let head = &entry.head;
    let account = entry.loaded().account;
    let policy = account.and_then(|account| account.policy(&head.instance, &head.unblocked));
    policy.ok_or_else(|| format!("this version refuses the definition {}", head.number))
}

fn as_json(entry: &Entry, flows: &Flows) -> Value {
    let head = &entry.head;
    let (changes, why) = match flows {
        Flows::First => (None, None),
        Flows::NotKnown(why) => (None, Some(why)),
        Flows::Changed(changes) => {
            let changes: Vec<Value> = changes.iter().map(FlowChange::to_json).collect();
            (Some(changes), None)
        }
    };
    let files: Vec<&str> = entry.definition_files().map(|(path, _)| path).collect();
    json!({
        "number": head.number, "at": head.at, "time": time(head.at), "generation": head.generation,
        "instance": head.instance, "definition": head.definition, "files": files,
        "user": head.author.user, "command": head.author.command, "client": head.author.client,
        "flows": changes, "flows_not_known": why,
    })
}

/// `alice: secgroupd rule add …, from 203.0.113.9`, or `alice, saved by hand`.
fn words(author: &Author) -> String {
    let user = &author.user;
    let from = match &author.client {
        Some(client) => format!(", from {client}"),
        None => String::new(),
    };
    match &author.command {
        Some(command) => format!("{user}: {command}{from}"),
        None => format!("{user}, saved by hand{from}"),
    }
}

/// Seconds since 1970, as RFC 3339 in UTC.
fn time(seconds: u64) -> String {
    Until::at(seconds).map_or_else(|| seconds.to_string(), |time| time.to_string())
}
