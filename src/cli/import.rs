//! `secgroupd import`: files of other programs to a definition.

use super::outcome::{NO, Result};
use super::print;
use crate::cloud::formats::{Format, Imported, Input, Note, NoteKind, import};
use crate::definition::LARGEST_FILE;
use crate::source::load::judge;
use crate::words::count;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Prints a definition made of files of the cloud, of Terraform, of AWS or of iptables.
///
/// Several files make one definition: groups, their rules, templates and instances come in files of their own. What
/// cannot be kept, and what was assumed, is listed on standard error with its place.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tccli vpc DescribeSecurityGroups > groups.json
  tccli vpc DescribeSecurityGroupPolicies --SecurityGroupId sg-ab12cd34 > sg-ab12cd34.json
  secgroupd import groups.json sg-ab12cd34.json          the cloud's groups and rules
  terraform show -json | secgroupd import -              Terraform, of tencentcloud or aws
  aws ec2 describe-security-groups | secgroupd import - --output groups.yaml
  secgroupd import rules.csv --group sg-web              the rules that the console saves
  sudo iptables-save | secgroupd import - --strict       end with 1 if a line is not kept

Exit status: 0 also when something could not be kept; with --strict that is 1.")]
pub struct Arguments {
    /// The files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format of all files, where their content does not say it
    #[arg(long, value_name = "FORMAT")]
    from: Option<From>,
    /// The group of rules that come without one; by default the name of a file called sg-….json or sg-….csv
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    #[command(flatten)]
    result: ResultOptions,
}

/// What becomes of the result.
#[derive(Debug, Args)]
pub struct ResultOptions {
    /// Write the result into a new file instead of printing it
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// End with 1 if something could not be kept
    #[arg(long)]
    strict: bool,
    /// Print one JSON object: the result, and the notes
    #[arg(long)]
    json: bool,
}

/// A format that is read.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// What tccli prints, or takes as a request
    Tencent,
    /// The console's rules, as CSV
    Console,
    /// A state, `terraform show -json`, or configuration in JSON
    Terraform,
    /// What aws ec2 describe-… prints
    Aws,
    /// What iptables-save and ip6tables-save print
    Iptables,
}

pub fn run(arguments: Arguments) -> Result {
    let inputs = arguments.files.iter().map(|file| input(file));
    let inputs = inputs.collect::<anyhow::Result<Vec<Input>>>()?;
    let from = arguments.from.map(|from| match from {
        From::Tencent => Format::Tencent,
        From::Console => Format::Console,
        From::Terraform => Format::Terraform,
        From::Aws => Format::Aws,
        From::Iptables => Format::Iptables,
    });
    let Imported { definition, notes } = import(&inputs, from, arguments.group.as_deref())?;
    // What is too large to be a definition is said by those who judge it.
    let no_file = |_: &Path| Err("an imported definition names no file".to_owned());
    let loaded = judge([("imported", definition.as_str())], no_file, Vec::new());
    if loaded.account.is_none() {
        print::diagnostics(&loaded);
        return Ok(ExitCode::from(NO));
    }
    arguments.result.put("definition", definition, &notes)
}

fn input(file: &Path) -> anyhow::Result<Input> {
    let (name, bytes) = match file == Path::new("-") {
        true => (
            "standard input".to_owned(),
            bounded(std::io::stdin().lock()),
        ),
        false => {
            let name = file.display().to_string();
            let opened = File::open(file).with_context(|| format!("{name} cannot be read"))?;
            (name, bounded(opened))
        }
    };
    let bytes = bytes.with_context(|| format!("{name} cannot be read"))?;
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("{name} is not UTF-8: save it in the UTF-8 encoding");
    };
    Ok(Input { name, text })
}

/// One byte more than is read at most says that there are too many.
fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl ResultOptions {
    /// Prints or writes the result, then the notes.
    pub fn put(&self, what: &str, text: String, notes: &[Note]) -> Result {
        if let Some(path) = &self.output {
            new_file(path, &text)?;
        }
        let of_kind = |kind| notes.iter().filter(move |note| note.kind == kind).count();
        let (lost, assumed) = (of_kind(NoteKind::NotKept), of_kind(NoteKind::Assumed));
        if self.json {
            let mut object = json!({ "notes": notes, "not_kept": lost, "assumed": assumed });
            match &self.output {
                Some(path) => object["output"] = json!(path.display().to_string()),
                None => object[what] = json!(text),
            }
            print::json(&object)?;
        } else {
            if self.output.is_none() {
                print::out(&text);
            }
            for note in notes {
                let word = match note.kind {
                    NoteKind::NotKept => "not kept",
                    NoteKind::Assumed => "assumed",
                };
                print::note(&format!("{word}: {}: {}", note.place, note.message));
            }
            if lost > 0 {
                print::note(&format!("{} could not be kept", count(lost, "thing")));
            }
        }
        Ok(match self.strict && lost > 0 {
            true => ExitCode::from(NO),
            false => ExitCode::SUCCESS,
        })
    }
}

/// What is there already may be a definition that is enforced: it is not overwritten.
fn new_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let failed = || {
        format!(
            "{} cannot be written: name a file that does not exist, in a directory that does",
            path.display()
        )
    };
    let mut file = file.with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.sync_all().with_context(failed)
}
