//! A change of the definition on the command line: planned, written, and shown as what it does to flows.

use super::options::SocketOptions;
use super::outcome::{NO, Result};
use super::print;
use super::ssh::Session;
use crate::cloud::edit::{Draft, Edit, Refusal};
use crate::daemon::control::announce;
use crate::definition::{Definition, Diagnostic, Sources};
use crate::insight::diff::{FlowChange, diff};
use crate::insight::lint::lint_within;
use crate::insight::space::Work;
use crate::policy::{Account, InstanceId};
use crate::source::change::{ChangeError, Changed, change, plan};
use crate::source::load::Loaded;
use crate::source::shown::shown;
use crate::words::count;
use clap::Args;
use serde_json::{Value, json};
use similar::TextDiff;
use std::path::PathBuf;
use std::process::ExitCode;

/// Instances whose flows are compared; of more it is said that there are.
const MOST_INSTANCES: usize = 50;

/// The work of a lint that a person at a prompt waits for, twice: a few hundredths of a second. `check` takes its time.
const LINT: u64 = 5_000_000;
/// The same of a comparison of flows.
const DIFF: u64 = 50_000_000;

/// Which definition changes, and how it is shown.
#[derive(Debug, Args)]
pub struct ChangeOptions {
    /// The definition: a file, or a directory with *.yaml files
    #[arg(long, value_name = "PATH", default_value = super::options::DEFAULT_DEFINITION)]
    pub definition: PathBuf,
    /// Write nothing: print the edit as a diff, and what it does to flows
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: SocketOptions,
}

impl ChangeOptions {
    /// Carries a change out, or with --dry-run only plans it, and prints it.
    pub fn run(&self, edit: &dyn Fn(&Draft) -> std::result::Result<Edit, Refusal>) -> Result {
        let changed = match self.dry_run {
            true => plan(&self.definition, edit),
            false => change(&self.definition, edit, &|changed| self.announce(changed)),
        };
        match changed {
            Ok(changed) => self.print(&changed),
            Err(error) => self.refuse(error),
        }
    }

    /// Says to the daemon who is about to write this, for its history.
    pub fn announce(&self, changed: &Changed) {
        let client = Session::of_this_process().map(|session| session.client().to_string());
        announce(&self.socket.socket, &changed.after.0.sources, client);
    }

    /// Prints a change that was carried out, or with --dry-run only planned.
    pub fn print(&self, changed: &Changed) -> Result {
        let warnings = new_warnings(changed);
        let effects = effects(&changed.before.0, &changed.after.0);
        if self.json {
            let sources = &changed.after.0.sources;
            let files = changed.files.iter();
            let files = files.map(|file| json!({ "file": file.path, "diff": unified(&file.path.to_string_lossy(), &file.before, &file.after) }));
            let warnings = warnings.iter().map(|warning| warning.to_json(sources));
            print::json(&json!({
                "changed": !changed.files.is_empty(),
                "dry_run": self.dry_run,
                "done": if changed.files.is_empty() { &[][..] } else { &changed.done },
                "files": files.collect::<Vec<_>>(),
                "flows": effects.iter().map(Effect::to_json).collect::<Vec<_>>(),
                "warnings": warnings.collect::<Vec<_>>(),
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        print::rendered(&mut std::io::stderr(), &warnings, &changed.after.0.sources);
        if changed.files.is_empty() {
            print::page("nothing changes: it is so already");
            return Ok(ExitCode::SUCCESS);
        }
        let mut page = String::new();
        for file in &changed.files {
            let name = shown(&file.path);
            match self.dry_run {
                true => page += &unified(&name, &file.before, &file.after),
                false => page += &format!("wrote {name}\n"),
            }
        }
        let word = if self.dry_run { "would have " } else { "" };
        let done = changed.done.iter();
        page.extend(done.map(|line| format!("{word}{line}\n")));
        effects.iter().for_each(|effect| page += &effect.page());
        if changed.before.0.account.is_none() {
            page += "the definition was refused before: what changes for flows is not known\n";
        } else if effects.is_empty() {
            page += "no flow of any instance fares otherwise\n";
        }
        if self.dry_run {
            page += "nothing was written\n";
        }
        print::page(page.trim_end());
        Ok(ExitCode::SUCCESS)
    }

    /// Prints why a change is refused.
    pub fn refuse(&self, error: ChangeError) -> Result {
        let none = Sources::default();
        let (reasons, sources): (&[Diagnostic], &Sources) = match &error {
            ChangeError::Refused { reasons, sources } => (reasons, sources),
            ChangeError::Faults(loaded) | ChangeError::Wrong(loaded) => {
                (&loaded.diagnostics, &loaded.sources)
            }
            ChangeError::Unreadable(_) | ChangeError::Busy(_) | ChangeError::Write { .. } => {
                (&[], &none)
            }
        };
        if reasons.is_empty() {
            return Err(error.into());
        }
        if self.json {
            let reasons = reasons.iter().map(|reason| reason.to_json(sources));
            print::json(&json!({
                "changed": false, "refused": error.to_string(), "reasons": reasons.collect::<Vec<_>>(),
            }))?;
            return Ok(ExitCode::from(NO));
        }
        if matches!(error, ChangeError::Wrong(_)) {
            print::note(
                "nothing was written. With this change the definition would be refused; its lines as they would be:\n",
            );
        }
        print::rendered(&mut std::io::stderr(), reasons, sources);
        print::error(&format!("{error}: no byte was changed"));
        Ok(ExitCode::from(NO))
    }
}

/// What a change does to the flows of an instance.
struct Effect {
    instance: InstanceId,
    /// The flows, or why they are not known.
    flows: std::result::Result<Vec<FlowChange>, String>,
}

impl Effect {
    fn to_json(&self) -> Value {
        match &self.flows {
            Ok(flows) => {
                let flows: Vec<_> = flows.iter().map(FlowChange::to_json).collect();
                json!({ "instance": self.instance, "changes": flows })
            }
            Err(error) => json!({ "instance": self.instance, "error": error }),
        }
    }

    fn page(&self) -> String {
        let instance = &self.instance;
        match &self.flows {
            Ok(flows) => format!(
                "{instance}: {}\n{}\n",
                count(flows.len(), "change"),
                super::diff::table(flows)
            ),
            Err(error) => format!("{instance}: what changes is not known: {error}\n"),
        }
    }
}

/// What becomes of the flows of each instance that both have, those left out that fare the same.
fn effects(before: &Loaded, after: &Loaded) -> Vec<Effect> {
    let (Some(old), Some(new)) = (&before.account, &after.account) else {
        return Vec::new();
    };
    let mut effects = Vec::new();
    for instance in &new.instances {
        if effects.len() == MOST_INSTANCES {
            let flows = Err(format!(
                "only the first {MOST_INSTANCES} that change are compared; `secgroupd diff` compares all"
            ));
            effects.push(Effect {
                instance: instance.id.clone(),
                flows,
            });
            break;
        }
        match changes(old, new, &instance.id) {
            Some(Ok(flows)) if flows.is_empty() => {}
            Some(flows) => effects.push(Effect {
                instance: instance.id.clone(),
                flows,
            }),
            None => {}
        }
    }
    effects
}

fn changes(
    old: &Account,
    new: &Account,
    id: &InstanceId,
) -> Option<std::result::Result<Vec<FlowChange>, String>> {
    let [old, new] = [old, new].map(|account| account.policy(id, &Default::default()));
    let changes = diff(&old?, &new?, &mut Work::of(DIFF));
    Some(changes.map_err(|error| error.to_string()))
}

/// The warnings that the definition did not have before.
fn new_warnings(changed: &Changed) -> Vec<Diagnostic> {
    let mut known: Vec<String> = warnings(&changed.before)
        .iter()
        .map(|each| each.message.clone())
        .collect();
    let mut new = warnings(&changed.after);
    new.retain(
        |warning| match known.iter().position(|message| *message == warning.message) {
            Some(at) => {
                known.swap_remove(at);
                false
            }
            None => true,
        },
    );
    new
}

fn warnings((loaded, definition): &(Loaded, Definition)) -> Vec<Diagnostic> {
    let mut all = loaded.diagnostics.clone();
    if let Some(account) = &loaded.account {
        all.extend(lint_within(definition, account, Vec::new(), Work::of(LINT)));
    }
    all
}

/// A unified diff of one file.
fn unified(name: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let mut unified = diff.unified_diff();
    unified.header(name, name).to_string()
}
