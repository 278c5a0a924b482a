//! `secgroupd export`: a definition to the format of another program.

use super::compile::checked;
use super::import::ResultOptions;
use super::options::DefinitionOptions;
use super::outcome::{NO, Result};
use super::print;
use crate::cloud::formats::export::{Exported, Target, export};
use crate::cloud::formats::{Note, NoteKind};
use crate::ruleset::{Generation, text};
use crate::source::load::load_with_text;
use crate::source::location::Location;
use crate::source::read::Trust;
use anyhow::bail;
use clap::{Args, ValueEnum};
use std::process::ExitCode;

/// Prints a definition as objects of the cloud's API, as Terraform configuration, or as an nftables ruleset.
///
/// `import` reads the first two back. What cannot be kept is listed on standard error with its place.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd export groups.yaml --to tencent > groups.json
  secgroupd export groups.yaml --to terraform --output groups.tf.json
  secgroupd export groups.yaml --to tencent | secgroupd import -     the way back
  secgroupd export groups.yaml --to nft --instance ins-web1 | sudo nft -f -

Each item of SecurityGroupPolicies in the document of the cloud is a body of ModifySecurityGroupPolicies.

Exit status: 0 also when something could not be kept; with --strict that is 1.")]
pub struct Arguments {
    /// The definition, or - for standard input; by default that of --definition
    path: Option<Location>,
    #[command(flatten)]
    definition: DefinitionOptions,
    /// The format
    #[arg(long, value_name = "FORMAT")]
    to: To,
    #[command(flatten)]
    result: ResultOptions,
}

/// A format that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// One document of objects of the cloud's API
    Tencent,
    /// Resources of the tencentcloud provider, in Terraform's JSON syntax (.tf.json)
    Terraform,
    /// The nftables ruleset of one instance, as compile prints it
    Nft,
}

pub fn run(arguments: Arguments) -> Result {
    let location = arguments.definition.location(&arguments.path);
    let target = match arguments.to {
        To::Nft => return nft(&arguments, &location),
        To::Tencent => Target::Tencent,
        To::Terraform => Target::Terraform,
    };
    let (mut loaded, mut definition) = load_with_text(&location, Trust::Any);
    if loaded.account.is_none() {
        print::diagnostics(&loaded);
        return Ok(ExitCode::from(NO));
    }
    definition.sources = std::mem::take(&mut loaded.sources);
    let Exported { document, notes } = export(&definition, target);
    let text = serde_json::to_string_pretty(&document)? + "\n";
    arguments.result.put("document", text, &notes)
}

/// The ruleset of one instance: what the others enforce is not part of it.
fn nft(arguments: &Arguments, location: &Location) -> Result {
    let Location::Path(path) = location else {
        bail!("a ruleset is compiled from a file: name it instead of `-`");
    };
    let Some((policy, loaded)) = arguments.definition.policy(path)? else {
        return Ok(ExitCode::from(NO));
    };
    let ruleset = checked(&policy)?;
    let others = loaded.account.iter().flat_map(|account| &account.instances);
    let others = others.filter(|instance| instance.id != policy.instance);
    let notes: Vec<Note> = others
        .map(|instance| Note {
            kind: NoteKind::NotKept,
            place: instance.place.to_string(),
            message: format!("{} is left out: a ruleset is of one instance", instance.id),
        })
        .collect();
    let text = text::table(&ruleset, Generation(1));
    arguments.result.put("ruleset", text, &notes)
}
