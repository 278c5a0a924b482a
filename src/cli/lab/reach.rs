//! `secgroupd lab reach`.

use super::progress::Progress;
use super::{matrix, page};
use crate::cli::options::LabOptions;
use crate::cli::outcome::{Result, yes};
use crate::cli::print;
use crate::lab::control::LabRequest;
use crate::lab::control::client::Client;
use crate::lab::reach::{Reach, Wanted};
use crate::lab::service::LabService;
use anyhow::Context;
use clap::Args;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Tries who reaches whom, with real packets: each instance and host outside, each service. A cell is reached, closed
/// (the host answered that nothing listens) or silent, beside what explain predicts. A difference that an instance's
/// own iptables explains is shown as such.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab reach                                     every service, at everybody
  secgroupd lab reach --ports tcp:22,3306 --to ins-db     these ports of one
  secgroupd lab reach --json | jq '.cells[] | select(.found == \"reached\") | [.from, .to, .service]'
  secgroupd lab reach --html reach.html                   a page to click through

Exit status: 0 if every cell is as predicted or explained, 1 if not, 2 on an error.")]
pub struct Arguments {
    /// What to try: tcp:80, tcp:80,443, udp:53, icmp; may be given again. By default all services of the definition
    #[arg(long, value_name = "SERVICES", value_parser = services)]
    ports: Vec<Tried>,
    /// From these alone; may be given again
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    from: Vec<String>,
    /// To these alone; may be given again
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    to: Vec<String>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Write a self-contained page: the map, and what refuses each flow
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    lab: LabOptions,
}

pub type Tried = BTreeSet<LabService>;

/// Reads what is to be tried: `tcp:80,443`, `icmp`, or several of these: `tcp:22,udp:53`.
pub fn services(text: &str) -> std::result::Result<Tried, String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        // A bare port belongs to the protocol before it.
        match parts.last_mut() {
            Some(last) if part.starts_with(|c: char| c.is_ascii_digit()) => {
                *last += &format!(",{part}");
            }
            _ => parts.push(part.to_owned()),
        }
    }
    let mut all = BTreeSet::new();
    for part in parts {
        all.extend(LabService::parse_tried(&part).map_err(|error| error.to_string())?);
    }
    Ok(all)
}

pub fn run(arguments: &Arguments) -> Result {
    let wanted = Wanted {
        services: arguments.ports.iter().flatten().copied().collect(),
        from: arguments.from.iter().cloned().collect(),
        to: arguments.to.iter().cloned().collect(),
    };
    let mut client = Client::connect(arguments.lab.name.as_deref())?;
    let mut progress = Progress::new();
    let asked = client.ask(&LabRequest::Reach { wanted }, |done, total| {
        progress.show(done, total);
    })?;
    drop(progress);
    let reach: Reach = serde_json::from_value(asked.payload)?;
    if arguments.json {
        print::json(&reach)?;
    } else if let Some(file) = &arguments.html {
        std::fs::write(file, page::page(&reach)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        print::out(&format!(
            "{} is written\n",
            crate::source::shown::shown(file)
        ));
    } else {
        print::out(&matrix::matrix(&reach, print::colour(&std::io::stdout())));
    }
    if !reach.is_right() && (arguments.json || arguments.html.is_some()) {
        let different = reach.differences().count() + reach.errors.len();
        let what = crate::words::count(different, "cell");
        print::error(&format!("{what} not as predicted, and nothing explains it"));
    }
    Ok(yes(reach.is_right()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried() {
        let all = services("tcp:22,80-81,udp:53,icmp").unwrap();
        assert_eq!(all.len(), 5);
        assert!(all.contains(&LabService::Ping) && all.contains(&LabService::Tcp(81)));
        assert!(services("tcp").is_err() && services("22").is_err());
    }
}
