//! `secgroupd group list`.

use crate::cli::options::DEFAULT_DEFINITION;
use crate::cli::outcome::{ERROR, Result};
use crate::cli::print;
use crate::cloud::users::{GroupUser, users};
use crate::definition::reader::Text;
use crate::policy::id::GroupId;
use crate::source::load::load_with_text;
use crate::source::read::Trust;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The definition: a file, or a directory with *.yaml files
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DEFINITION)]
    definition: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let (loaded, definition) = load_with_text(&arguments.definition.as_path().into(), Trust::Any);
    let Some(account) = &loaded.account else {
        print::diagnostics(&loaded);
        return Ok(ExitCode::from(ERROR));
    };
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.text.clone());
    let mut table = print::table();
    table.set_header([
        "Id", "Name", "Region", "Project", "Inbound", "Outbound", "Bound to", "Named by",
    ]);
    let mut groups = Vec::new();
    for entry in &definition.security_groups {
        let Ok(id) = GroupId::parse(&entry.id.text) else {
            continue;
        };
        let Some(group) = account.groups.get(&id) else {
            continue;
        };
        let users = users(&definition, &id);
        let (bound, naming): (Vec<_>, Vec<_>) = users
            .iter()
            .map(|(_, user)| user)
            .partition(|user| matches!(user, GroupUser::Bound { .. }));
        let bound: Vec<String> = bound.into_iter().map(GroupUser::name).collect();
        let naming: Vec<String> = naming.into_iter().map(GroupUser::name).collect();
        let [name, region, project] = [&entry.name, &entry.region, &entry.project].map(text);
        let (inbound, outbound) = (group.inbound.len(), group.outbound.len());
        table.add_row([
            id.to_string(),
            name.clone().unwrap_or_default(),
            region.clone().unwrap_or_default(),
            project.clone().unwrap_or_default(),
            inbound.to_string(),
            outbound.to_string(),
            few(&bound),
            few(&naming),
        ]);
        groups.push(json!({
            "id": id, "name": name, "region": region, "project": project, "inbound": inbound, "outbound": outbound,
            "bound_to": bound, "named_by": naming,
        }));
    }
    match arguments.json {
        true => print::json(&json!({ "groups": groups }))?,
        false if groups.is_empty() => print::page("no groups: `secgroupd group create` makes one"),
        false => print::page(&table.to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The first few names.
fn few(names: &[String]) -> String {
    const FEW: usize = 4;
    match names.len() {
        0..=FEW => names.join(", "),
        many => format!("{} and {} more", names[..FEW].join(", "), many - FEW),
    }
}
