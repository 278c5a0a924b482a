//! `secgroupd diff`: which flows does a new definition change?

use super::options::{DefinitionOptions, plan};
use super::outcome::{ERROR, Result, yes};
use super::print;
use crate::flows::count::{Ended, ended};
use crate::host::choose;
use crate::insight::diff::{FlowChange, diff};
use crate::insight::space::Work;
use crate::policy::{Account, InstanceId, Policy};
use crate::ruleset::compile;
use crate::source::load::{Loaded, load};
use crate::source::read::Trust;
use crate::source::shown::shown;
use crate::state::last_enforced::last_enforced;
use crate::words::count;
use anyhow::{Context, Error, bail};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Shows what a new definition changes, as flows and not as lines: exactly which turn from refused to allowed and back,
/// and, as root on the host that it is about, how many live flows it would end. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd diff candidate.yaml             against what is enforced on this host
  sudo secgroupd diff                            the definition of --definition against what is enforced, after `reload --hold`
  secgroupd diff groups.yaml candidate.yaml      one file against another, for every instance
  secgroupd diff groups.yaml candidate.yaml --instance ins-web1 --json

With one path the old policy is the one that is enforced on this host, or, where none is kept or it may not be read, the definition
of --definition; without a path that definition is the new one. `+` opens what was refused, `-` closes what was allowed; `*` stands for the interfaces that neither binds.

Exit status: 0 if nothing changes, 1 if something does, 2 on an error.")]
pub struct Arguments {
    /// The old definition, or the new one if there is no other
    #[arg(value_name = "[OLD] NEW", num_args = 0..=2)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    definition: DefinitionOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is compared about one instance.
struct Compared {
    instance: InstanceId,
    old: Policy,
    new: Policy,
    /// Whether it is this host.
    here: bool,
}

/// What came of it.
struct InstanceDiff {
    compared: Compared,
    changes: Vec<FlowChange>,
    /// How many live flows end, or why that is not known; `None` for another host.
    ends: Option<std::result::Result<Ended, String>>,
}

pub fn run(arguments: Arguments) -> Result {
    let new_path = arguments
        .paths
        .last()
        .unwrap_or(&arguments.definition.definition);
    let Some(new) = read(new_path) else {
        return Ok(ExitCode::from(ERROR));
    };
    let old = match arguments.paths.as_slice() {
        [old, _] => Old::Definition(old.clone()),
        _ => Old::of_this_host(&arguments)?,
    };
    let old_name = old.name();
    let (compared, alone) = match old {
        Old::Enforced(policy) => (vec![against_enforced(*policy, &new, &arguments)?], vec![]),
        Old::Definition(path) => match read(&path) {
            Some(old) => all(&old, &new, &arguments)?,
            None => return Ok(ExitCode::from(ERROR)),
        },
    };
    let mut found = Vec::new();
    for compared in compared {
        let changes = diff(&compared.old, &compared.new, &mut Work::default())
            .with_context(|| format!("{} cannot be compared", compared.instance))?;
        let ends = compared.here.then(|| live(&compared)).flatten();
        found.push(InstanceDiff {
            compared,
            changes,
            ends,
        });
    }
    let same = alone.is_empty() && found.iter().all(|each| each.changes.is_empty());
    match arguments.json {
        true => print::json(&as_json(&old_name, new_path, &found, &alone))?,
        false => print::page(&page(&old_name, new_path, &found, &alone)),
    }
    Ok(yes(same))
}

/// What the new definition is compared with.
enum Old {
    Enforced(Box<Policy>),
    Definition(PathBuf),
}

impl Old {
    fn of_this_host(arguments: &Arguments) -> anyhow::Result<Self> {
        Ok(match last_enforced(&arguments.definition.state.state) {
            Ok(policy) => Old::Enforced(Box::new(policy)),
            Err(error) if arguments.paths.is_empty() => {
                bail!(
                    "what is enforced is not known ({error}), and no other definition is named: `secgroupd diff OLD NEW`"
                )
            }
            Err(error) => {
                let path = &arguments.definition.definition;
                print::note(&format!(
                    "note: compared with {}, for what is enforced is not known: {error}",
                    shown(path)
                ));
                Old::Definition(path.clone())
            }
        })
    }

    fn name(&self) -> String {
        match self {
            Old::Enforced(_) => "what is enforced".to_owned(),
            Old::Definition(path) => shown(path),
        }
    }
}

/// A definition that is valid; of another everything wrong was printed.
fn read(path: &Path) -> Option<Account> {
    let loaded: Loaded = load(&path.into(), Trust::Any);
    if loaded.account.is_none() {
        print::diagnostics(&loaded);
    }
    loaded.account
}

fn against_enforced(old: Policy, new: &Account, arguments: &Arguments) -> anyhow::Result<Compared> {
    let asked = arguments.definition.instance.as_deref();
    let instance = choose(new, asked.or(Some(old.instance.as_str()))).map_err(Error::msg)?;
    let instance = instance.id.clone();
    let unblocked = plan(new, &arguments.definition.state.state)?
        .ledger
        .unblocked;
    let new = new.policy(&instance, &unblocked);
    let mut new = new.context("the instance has gone")?;
    new.end_rules(arguments.definition.state.time());
    Ok(Compared {
        new,
        instance,
        old,
        here: true,
    })
}

/// Every instance that both have, and a word about each that one of them has alone.
fn all(
    old: &Account,
    new: &Account,
    arguments: &Arguments,
) -> anyhow::Result<(Vec<Compared>, Vec<String>)> {
    let asked = arguments.definition.instance.as_deref();
    let here = choose(new, None).ok().map(|instance| instance.id.clone());
    let state = &arguments.definition.state.state;
    let unblocked = [plan(old, state)?, plan(new, state)?].map(|plan| plan.ledger.unblocked);
    let wanted = |id: &InstanceId| asked.is_none_or(|asked| asked == id.as_str());
    let (mut compared, mut alone) = (Vec::new(), Vec::new());
    for instance in new.instances.iter().filter(|each| wanted(&each.id)) {
        let policies = [old, new].map(|account| account.policy(&instance.id, &Default::default()));
        if policies[0].is_none() {
            alone.push(format!("{} is new", instance.id));
            continue;
        }
        let old = old.policy(&instance.id, &unblocked[0]);
        let new = new.policy(&instance.id, &unblocked[1]);
        compared.push(Compared {
            old: old.context("the instance has gone")?,
            new: new.context("the instance has gone")?,
            here: here.as_ref() == Some(&instance.id),
            instance: instance.id.clone(),
        });
    }
    let gone = old.instances.iter().filter(|each| wanted(&each.id));
    let gone = gone.filter(|each| new.instance(&each.id).is_none());
    alone.extend(gone.map(|each| format!("{} is gone", each.id)));
    match (asked, compared.is_empty() && alone.is_empty()) {
        (Some(asked), true) => bail!("neither definition has an instance `{asked}`"),
        _ => Ok((compared, alone)),
    }
}

/// How many live flows end, where root asks on the host that it is about.
fn live(compared: &Compared) -> Option<std::result::Result<Ended, String>> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    if !compared.new.platform.recheck {
        return Some(Ok(Ended::default()));
    }
    let ruleset = compile(&compared.new);
    Some(ended(&compared.old, &compared.new, &ruleset).map_err(|error| error.to_string()))
}

fn as_json(old: &str, new: &Path, found: &[InstanceDiff], alone: &[String]) -> serde_json::Value {
    let instances = found.iter().map(|each| {
        let changes: Vec<_> = each.changes.iter().map(FlowChange::to_json).collect();
        let live = each.ends.as_ref().map(|ends| match ends {
            Ok(ends) => {
                json!({ "looked_at": ends.looked_at, "end": ends.count(), "by": ends.by_reason })
            }
            Err(error) => json!({ "error": error }),
        });
        json!({ "instance": each.compared.instance, "changes": changes, "live_flows": live })
    });
    json!({
        "old": old, "new": new, "instances": instances.collect::<Vec<_>>(), "only_in_one": alone,
        "same": alone.is_empty() && found.iter().all(|each| each.changes.is_empty()),
    })
}

fn page(old: &str, new: &Path, found: &[InstanceDiff], alone: &[String]) -> String {
    let mut page = String::new();
    for each in found {
        let instance = &each.compared.instance;
        if each.changes.is_empty() {
            page += &format!("{instance}: every flow fares the same\n");
        } else {
            let number = count(each.changes.len(), "change");
            page += &format!("{instance}: {number} from {old} to {}\n", shown(new));
            page += &table(&each.changes);
            page.push('\n');
        }
        match &each.ends {
            Some(Ok(ends)) => page += &format!("{ends}\n"),
            Some(Err(error)) => {
                page += &format!("it is not known how many live flows end: {error}\n")
            }
            None => {}
        }
    }
    alone.iter().for_each(|line| page += &format!("{line}\n"));
    page
}

/// Changes as a table.
pub fn table(changes: &[FlowChange]) -> String {
    let mut table = print::table();
    table.set_header(["", "Interface", "Direction", "Protocol", "Ports", "Remotes"]);
    for change in changes {
        let sign = if change.opens { "+" } else { "-" };
        table.add_row([sign.to_owned()].into_iter().chain(change.cells()));
    }
    table.to_string()
}
