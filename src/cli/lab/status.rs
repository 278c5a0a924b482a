//! `secgroupd lab status`.

use crate::cli::options::LabOptions;
use crate::cli::outcome::Result;
use crate::cli::print;
use crate::host::report::now;
use crate::lab::control::LabRequest;
use crate::lab::control::client::{Client, labs};
use crate::lab::service::LabService;
use crate::lab::status::{LabStatus, NodeStatus};
use crate::source::shown::shown;
use crate::words::count;
use clap::Args;
use std::fmt::Write;
use std::process::ExitCode;

/// Shows what is up: instances and hosts with their addresses, groups, services and generations, and why the last save
/// was refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab status
  secgroupd lab status --json | jq '.nodes[].enforced.generation'")]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    lab: LabOptions,
}

pub fn run(arguments: &Arguments) -> Result {
    let up = labs();
    if arguments.lab.name.is_none() && up.len() > 1 && !arguments.json {
        print::out(&format!(
            "{} are up: {}. Name one with --name.\n",
            count(up.len(), "lab"),
            up.join(", ")
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let mut client = Client::connect(arguments.lab.name.as_deref())?;
    let payload = client.ask(&LabRequest::Status, |_, _| {})?.payload;
    match arguments.json {
        true => print::json(&payload)?,
        false => {
            let status: LabStatus = serde_json::from_value(payload)?;
            let mut page = format!(
                "lab {} of {}, up for {} s (pid {}); {} followed\n",
                status.name,
                shown(&status.definition),
                now().saturating_sub(status.since),
                status.pid,
                count(status.changes as usize, "save")
            );
            page += &nodes(&status.nodes);
            if let Some(error) = &status.last_error {
                let _ = writeln!(page, "\n{error}");
            }
            print::page(&page);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for each interface.
pub fn nodes(nodes: &[NodeStatus]) -> String {
    let mut rows: Vec<[String; 5]> = Vec::new();
    for node in nodes {
        for (place, interface) in node.interfaces.iter().enumerate() {
            let addresses: Vec<String> = interface
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect();
            let groups = match (node.is_instance, interface.groups.as_slice()) {
                (false, _) => "outside".to_owned(),
                (true, []) => "no group".to_owned(),
                (true, groups) => groups.join(", "),
            };
            let generation = match &node.enforced {
                Some(enforced) => format!("generation {}", enforced.generation),
                None => String::new(),
            };
            let first = |text: String| if place == 0 { text } else { String::new() };
            let mut more = vec![first(generation)];
            if place == 0 && !node.services.is_empty() {
                more.push(format!("listens on {}", LabService::list(&node.services)));
            }
            more.retain(|text| !text.is_empty());
            rows.push([
                first(node.name.clone()),
                interface.name.clone(),
                addresses.join(", "),
                groups,
                more.join("; "),
            ]);
        }
    }
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut out = String::new();
    for row in &rows {
        let mut line = String::from("  ");
        for (text, width) in row.iter().zip(widths.iter().chain([&0])) {
            let _ = write!(line, "{text:width$}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}
