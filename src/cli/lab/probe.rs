//! `secgroupd lab probe`.

use super::matrix;
use crate::cli::options::{LabOptions, port};
use crate::cli::outcome::{Result, yes};
use crate::cli::print;
use crate::lab::cell::{Agreement, Cell};
use crate::lab::control::LabRequest;
use crate::lab::control::client::Client;
use crate::lab::probe::Found;
use crate::lab::service::LabService;
use anyhow::bail;
use clap::{Args, ValueEnum};

/// Tries one thing from one to another, and says which rules decide. Each end is an instance, a host outside, or an
/// address; any address outside can be played.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab probe ins-web1 ins-db tcp 3306
  secgroupd lab probe 192.0.2.77 ins-web1 tcp 22          as somebody outside
  secgroupd lab probe office ins-web1 icmp

Exit status: 0 if it was reached, 1 if it is closed or silent, or is not as predicted, 2 on an error.")]
pub struct Arguments {
    /// Who tries
    from: String,
    /// Where
    to: String,
    /// What
    protocol: TriedProtocol,
    /// The destination port, with tcp and udp
    #[arg(value_parser = port)]
    port: Option<u16>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    lab: LabOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TriedProtocol {
    Tcp,
    Udp,
    /// An echo request
    Icmp,
    /// The same
    Icmpv6,
}

pub fn run(arguments: &Arguments) -> Result {
    let service = match (arguments.protocol, arguments.port) {
        (TriedProtocol::Tcp, Some(port)) => LabService::Tcp(port),
        (TriedProtocol::Udp, Some(port)) => LabService::Udp(port),
        (TriedProtocol::Icmp | TriedProtocol::Icmpv6, None) => LabService::Ping,
        (TriedProtocol::Tcp | TriedProtocol::Udp, None) => bail!("name the port: tcp 22, udp 53"),
        (TriedProtocol::Icmp | TriedProtocol::Icmpv6, Some(_)) => bail!("icmp has no ports"),
    };
    let mut client = Client::connect(arguments.lab.name.as_deref())?;
    let request = LabRequest::Probe {
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        service,
    };
    let asked = client.ask(&request, |_, _| {})?;
    let cells: Vec<Cell> = serde_json::from_value(asked.payload)?;
    if arguments.json {
        print::json(&cells)?;
    } else {
        for cell in &cells {
            print::out(&said(cell));
        }
    }
    let good = |cell: &Cell| {
        cell.found == Found::Reached && !matches!(cell.agreement, Agreement::Different(_))
    };
    Ok(yes(cells.iter().all(good)))
}

fn said(cell: &Cell) -> String {
    let mut out = format!(
        "{} ({} to {})\n{}",
        matrix::one(cell),
        cell.source,
        cell.target,
        matrix::judgements(cell)
    );
    match &cell.agreement {
        Agreement::Equal => {}
        Agreement::Explained(why) => {
            out += &format!("  not as the groups alone would have it: {why}\n");
        }
        Agreement::Different(why) => {
            out += &format!("  not as predicted, and nothing explains it: {why}\n");
        }
    }
    out
}
