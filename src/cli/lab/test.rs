//! `secgroupd lab test`.

use super::progress::Progress;
use crate::cli::outcome::{ERROR, NO, Result, yes};
use crate::cli::print;
use crate::daemon::logging;
use crate::lab::addresses::Given;
use crate::lab::expectation::{self, Expectation};
use crate::lab::ground::Ground;
use crate::lab::live::Lab;
use crate::lab::plan::NodePlan;
use crate::lab::reach::{Reach, Wanted};
use crate::lab::read::read;
use crate::source::shown::shown;
use crate::words::count;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Brings up the lab of a definition, tries what a file expects, says what differs, and takes the lab down: for the CI
/// of those who write groups. It needs no root.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab test groups.yaml                      with groups.expect beside it
  secgroupd lab test groups/ --expect reach.txt
  secgroupd lab test groups.yaml --write              write what is found, to begin with

Lines of the file (* stands for everybody else, an address for itself; # begins a comment):
  ins-web1 -> ins-db tcp:3306 reached
  office   -> ins-db tcp:22   closed
  *        -> ins-db tcp:22   silent
  *        -> 2001:db8::20 tcp:3306 silent

Exit status: 0 if all of it holds, 1 if not or the definition is refused, 2 on an error.")]
pub struct Arguments {
    /// The definition: a file, or a directory with *.yaml files
    path: PathBuf,
    /// What is expected; by default the definition's path with the ending .expect
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write the file from what is found: every service of the definition, at everybody
    #[arg(long)]
    write: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "write")]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result {
    logging::init(Some("warn"))?;
    let file = arguments
        .expect
        .clone()
        .unwrap_or_else(|| arguments.path.with_extension("expect"));
    let expected = match arguments.write {
        true => None,
        false => Some(expected(&file)?),
    };
    let mut given = Given::default();
    let reading = read(&arguments.path, &mut given);
    print::diagnostics(&reading.loaded);
    let Some(nodes) = reading.nodes.clone() else {
        return Ok(ExitCode::from(NO));
    };
    let wanted = match &expected {
        Some(expected) => wanted(&file, expected, &nodes)?,
        None => Wanted::default(),
    };
    reading.refused.iter().for_each(|what| print::error(what));
    let ground = Ground::leave(None)?;
    let lab = match Lab::raise("test", &arguments.path, reading, given, ground) {
        Ok(lab) => lab,
        Err(errors) => {
            errors.iter().for_each(|error| print::error(error));
            return Ok(ExitCode::from(ERROR));
        }
    };
    let mut progress = Progress::new();
    let reach = lab.reach(&wanted, &mut |done, total| progress.show(done, total));
    drop(progress);
    let reach = reach?;
    drop(lab);
    let Some(expected) = expected else {
        std::fs::write(&file, expectation::write(&reach.cells))
            .with_context(|| format!("cannot write {}", file.display()))?;
        print::out(&format!("{} is written\n", shown(&file)));
        return Ok(judged(&reach, &[]));
    };
    let differences = expectation::differences(&expected, &reach.cells);
    match arguments.json {
        true => print::json(&json!({
            "expected": file, "holds": differences.is_empty() && reach.is_right(),
            "differences": differences, "cells": reach.cells, "errors": reach.errors,
        }))?,
        false => {
            for difference in &differences {
                print::page(difference);
            }
            let what = match differences.len() {
                0 => "all of it holds".to_owned(),
                some => format!(
                    "{} of {} not as expected",
                    some,
                    count(reach.cells.len(), "cell")
                ),
            };
            print::out(&format!(
                "{}: {}, {} tried: {what}\n",
                shown(&file),
                count(expected.len(), "expectation"),
                count(reach.cells.len(), "cell")
            ));
        }
    }
    Ok(judged(&reach, &differences))
}

fn wanted(file: &Path, expected: &[Expectation], nodes: &[NodePlan]) -> anyhow::Result<Wanted> {
    expectation::wanted(expected, nodes).or_else(|errors| wrong_lines(file, &errors))
}

fn wrong_lines<T>(file: &Path, errors: &[String]) -> anyhow::Result<T> {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("{}:{error}", shown(file)))
        .collect();
    bail!(lines.join("\n"))
}

fn judged(reach: &Reach, differences: &[String]) -> ExitCode {
    for (cell, why) in reach.differences() {
        print::error(&format!(
            "{}: not as predicted, and nothing explains it: {why}",
            super::matrix::one(cell)
        ));
    }
    for error in &reach.errors {
        print::error(error);
    }
    yes(differences.is_empty() && reach.is_right())
}

fn expected(file: &Path) -> anyhow::Result<Vec<Expectation>> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read the expectations {}: name them with --expect, or write them with --write",
            shown(file)
        )
    })?;
    expectation::parse(&text).or_else(|errors| wrong_lines(file, &errors))
}
