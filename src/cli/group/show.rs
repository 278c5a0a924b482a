//! `secgroupd group show`.

use super::ids::group_id;
use crate::cli::options::DEFAULT_DEFINITION;
use crate::cli::outcome::{ERROR, NO, Result};
use crate::cli::print;
use crate::cloud::text::list_keys;
use crate::cloud::users::users;
use crate::definition::model::{GroupEntry, RuleEntry, RuleService};
use crate::definition::reader::{Text, Texts};
use crate::definition::{Sources, closest};
use crate::policy::Direction;
use crate::policy::id::GroupId;
use crate::source::load::load_with_text;
use crate::source::read::Trust;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The group
    #[arg(value_name = "GROUP", value_parser = group_id)]
    group: GroupId,
    /// The definition: a file, or a directory with *.yaml files
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DEFINITION)]
    definition: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let (loaded, definition) = load_with_text(&arguments.definition.as_path().into(), Trust::Any);
    if loaded.account.is_none() {
        print::diagnostics(&loaded);
        return Ok(ExitCode::from(ERROR));
    }
    let id = &arguments.group;
    let mut groups = definition.security_groups.iter();
    let Some(entry) = groups.find(|group| group.id.text == id.as_str()) else {
        let known = definition.security_groups.iter();
        let known: Vec<&str> = known.map(|group| group.id.text.as_str()).collect();
        let help = match closest(id.as_str(), &known) {
            Some(name) => format!("did you mean {name}?"),
            None => "`secgroupd group list` prints them".to_owned(),
        };
        print::error(&format!("there is no security group {id}: {help}"));
        return Ok(ExitCode::from(NO));
    };
    let sources = &loaded.sources;
    let users: Vec<_> = users(&definition, id)
        .into_iter()
        .map(|(span, user)| (sources.place(span).to_string(), user.to_string()))
        .collect();
    if arguments.json {
        let [inbound, outbound] = lists(entry).map(|(direction, rules)| {
            let rules = rules.iter().flatten().enumerate();
            let rules = rules.map(|(n, rule)| as_json(id, direction, n, rule, sources));
            rules.collect::<Vec<_>>()
        });
        print::json(&json!({
            "id": id, "name": text(&entry.name), "region": text(&entry.region), "project": text(&entry.project),
            "place": sources.place(entry.id.span).to_string(), "inbound": inbound, "outbound": outbound,
            "users": users.iter().map(|(place, user)| json!({ "place": place, "user": user })).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let details = [
        ("", &entry.name),
        ("region ", &entry.region),
        ("project ", &entry.project),
    ];
    let details = details
        .iter()
        .filter_map(|(word, text)| Some(format!(", {word}{}", text.as_ref()?.text)));
    let mut page = format!(
        "{id}{}, {}\n",
        details.collect::<String>(),
        sources.place(entry.id.span)
    );
    for (direction, rules) in lists(entry) {
        if rules.is_empty() {
            page += &format!(
                "\n{}: no rule, which refuses everything\n",
                list_keys(direction).0
            );
            continue;
        }
        let mut table = print::table();
        let remote = match direction {
            Direction::Inbound => "Source",
            Direction::Outbound => "Destination",
        };
        let ends = rules.iter().flatten().any(|rule| rule.until.is_some());
        let mut header = vec!["Rule", "Action", "Service", remote, "Description", "Place"];
        header.extend(ends.then_some("Until"));
        table.set_header(header);
        for (n, rule) in rules.iter().flatten().enumerate() {
            let mut row = vec![
                name(id, direction, n),
                action(rule).to_owned(),
                service(rule),
                remotes(rule).join(", "),
                text(&rule.description).unwrap_or_default(),
                sources.place(rule.span).to_string(),
            ];
            row.extend(ends.then(|| text(&rule.until).unwrap_or_default()));
            table.add_row(row);
        }
        page += &format!("\n{table}\n");
    }
    page += match users.is_empty() {
        true => "\nnothing uses it\n",
        false => "\n",
    };
    for (place, user) in users {
        page += &format!("{user}, {place}\n");
    }
    print::page(page.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn lists(group: &GroupEntry) -> [(Direction, &Vec<Option<RuleEntry>>); 2] {
    [
        (Direction::Inbound, &group.inbound),
        (Direction::Outbound, &group.outbound),
    ]
}

fn as_json(
    id: &GroupId,
    direction: Direction,
    n: usize,
    rule: &RuleEntry,
    sources: &Sources,
) -> Value {
    json!({
        "rule": name(id, direction, n), "action": action(rule), "service": service(rule), list_keys(direction).1: remotes(rule),
        "description": text(&rule.description), "until": text(&rule.until), "place": sources.place(rule.span).to_string(),
    })
}

fn name(id: &GroupId, direction: Direction, n: usize) -> String {
    let list = match direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    };
    format!("{id}/{list}/{n}")
}

fn action(rule: &RuleEntry) -> &'static str {
    match rule.allow {
        Some(true) => "allow",
        _ => "refuse",
    }
}

/// `tcp:80,443`, as --allow takes it.
fn service(rule: &RuleEntry) -> String {
    let ports = |ports: &Option<Texts>| {
        ports
            .as_ref()
            .map(|ports| format!(":{}", words(ports).join(",")))
            .unwrap_or_default()
    };
    match &rule.service {
        Some(RuleService::Template(id)) => id.text.clone(),
        Some(RuleService::Protocol(Some(protocol), port)) => {
            format!("{}{}", protocol.text, ports(port))
        }
        _ => String::new(),
    }
}

fn remotes(rule: &RuleEntry) -> Vec<String> {
    rule.remote.as_ref().map(words).unwrap_or_default()
}

fn words(texts: &Texts) -> Vec<String> {
    texts.items.iter().map(|text| text.text.clone()).collect()
}

fn text(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|text| text.text.clone())
}
