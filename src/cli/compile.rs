//! `secgroupd compile`: the ruleset, changing nothing.

use super::options::DefinitionOptions;
use super::outcome::{NO, Result};
use super::print;
use crate::policy::Policy;
use crate::ruleset::{Generation, Ruleset, check, compile, json, text};
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints the nftables ruleset that a definition compiles to, as nft text or as JSON. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd compile groups.yaml --instance ins-web1
  secgroupd compile groups.yaml | sudo nft -c -f -        would the kernel take it?
  secgroupd compile groups.yaml --json | sudo nft -j -c -f -")]
pub struct Arguments {
    /// The definition; by default that of --definition
    path: Option<PathBuf>,
    #[command(flatten)]
    definition: DefinitionOptions,
    /// Print nft's JSON instead of its text
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    let path = arguments.definition.path(&arguments.path);
    let Some((policy, loaded)) = arguments.definition.policy(path)? else {
        return Ok(ExitCode::from(NO));
    };
    print::diagnostics(&loaded);
    let ruleset = checked(&policy)?;
    match arguments.json {
        true => print::json(&json::table(&ruleset, Generation(1)))?,
        false => print::out(&text::table(&ruleset, Generation(1))),
    }
    Ok(ExitCode::SUCCESS)
}

/// The ruleset of a policy, after the check.
pub fn checked(policy: &Policy) -> anyhow::Result<Ruleset> {
    let ruleset = compile(policy);
    for cut in &ruleset.cuts {
        anstream::eprintln!("note: {cut}");
    }
    if let Err(difference) = check(policy, &ruleset) {
        bail!("this is a fault of secgroupd: {difference}");
    }
    Ok(ruleset)
}
