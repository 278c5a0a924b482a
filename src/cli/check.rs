//! `secgroupd check`: is the definition right?

use super::options::{DefinitionOptions, plan, policy_of_this_host};
use super::outcome::{Result, yes};
use super::ssh::{Session, not_known};
use super::{host_view, print};
use crate::definition::{Definition, Diagnostic, Severity, printable};
use crate::host::{choose, hostname, interface_doubts};
use crate::insight::lint::{host, lint};
use crate::lab::{self, addresses::Given};
use crate::policy::Account;
use crate::source::load::load_with_text;
use crate::source::location::Location;
use crate::source::read::Trust;
use crate::source::shown::shown;
use crate::words::count;
use clap::Args;
use serde_json::json;

/// Validates a definition and prints every error and warning of one run, with file, line and column.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd check                          check /etc/secgroupd
  secgroupd check groups.yaml              check a file before it goes live
  render-groups | secgroupd check -        check what another program writes
  secgroupd check groups.yaml --json       for a program

Exit status: 0 if it is right, for whichever host; 1 if an error was found.")]
pub struct Arguments {
    /// The definition, `-` for standard input; by default that of --definition
    path: Option<Location>,
    #[command(flatten)]
    definition: DefinitionOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let location = arguments.definition.location(&arguments.path);
    let path = location.name();
    let (mut loaded, definition) = load_with_text(&location, Trust::Any);
    let mut summary = String::new();
    if let Some(account) = &loaded.account {
        let here = policy_of_this_host(account, arguments.definition.instance.as_deref())?;
        // An instance that was asked for by name may be another host.
        let on_host = here
            .as_ref()
            .filter(|policy| {
                arguments.definition.instance.is_none()
                    || host_view::has_address_of(account, &policy.instance)
            })
            .map(|policy| host::findings(policy, &host_view::look()))
            .unwrap_or_default();
        let mut more = lint(&definition, account, on_host);
        more.extend(plan(account, &arguments.definition.state.state)?.refused);
        more.extend(no_lab(&definition, account, &loaded.diagnostics));
        if let Some(policy) = here {
            let refused = Session::of_this_process().and_then(|ssh| {
                let refused = ssh.refused_by(&policy);
                refused.unwrap_or_else(|why| Some(not_known(&why)))
            });
            let warning = |text| Diagnostic::new(Severity::Warning, "ssh-session", None, text);
            more.extend(refused.map(warning));
            let doubts = interface_doubts(&policy).into_iter();
            more.extend(
                doubts
                    .map(|doubt| Diagnostic::new(Severity::Warning, "interface", None, doubt.text)),
            );
        }
        let rules: usize = account
            .groups
            .values()
            .map(|group| group.inbound.len() + group.outbound.len())
            .sum();
        let here = match choose(account, arguments.definition.instance.as_deref()) {
            Ok(instance) => format!("this host is {}", instance.id),
            Err(_) => format!("none is this host ({})", printable(&hostname())),
        };
        summary = format!(
            "{}, {}, {} ({here})",
            count(account.groups.len(), "group"),
            count(rules, "rule"),
            count(account.instances.len(), "instance")
        );
        loaded.diagnostics.extend(more);
    }
    let (errors, warnings) = loaded.counts();
    if arguments.json {
        let diagnostics: Vec<_> = loaded
            .diagnostics
            .iter()
            .map(|d| d.to_json(&loaded.sources))
            .collect();
        print::json(
            &json!({ "definition": path, "ok": errors == 0, "errors": errors, "warnings": warnings, "diagnostics": diagnostics }),
        )?;
    } else {
        print::rendered(&mut std::io::stdout(), &loaded.diagnostics, &loaded.sources);
        let found = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
        match loaded.account {
            Some(_) => print::out(&format!("{}: {summary}; {found}\n", shown(path))),
            None => print::out(&format!("{}: refused; {found}\n", shown(path))),
        }
    }
    Ok(yes(errors == 0))
}

/// What `lab up` would refuse of a definition that says something for a lab. On a host it means nothing.
fn no_lab(definition: &Definition, account: &Account, said: &[Diagnostic]) -> Vec<Diagnostic> {
    if definition.lab.hosts.is_empty() && definition.lab.services.is_empty() {
        return Vec::new();
    }
    let outline = Given::default().complete(definition);
    let refused = lab::plan::plan(&outline, account).err().unwrap_or_default();
    let new = refused
        .into_iter()
        .filter(|each| !said.iter().any(|other| other.span == each.span));
    new.map(|each| Diagnostic {
        severity: Severity::Warning,
        message: format!("`lab up` would refuse this: {}", each.message),
        ..each
    })
    .collect()
}
