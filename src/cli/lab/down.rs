//! `secgroupd lab down`.

use crate::cli::options::LabOptions;
use crate::cli::outcome::Result;
use crate::cli::print;
use crate::lab::control::LabRequest;
use crate::lab::control::client::Client;
use clap::Args;
use std::process::ExitCode;

/// Ends a lab, with everything that runs in it, and waits until it has gone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab down
  secgroupd lab down --name groups")]
pub struct Arguments {
    #[command(flatten)]
    lab: LabOptions,
}

pub fn run(arguments: &Arguments) -> Result {
    let mut client = Client::connect(arguments.lab.name.as_deref())?;
    let asked = client.ask(&LabRequest::Down, |_, _| {})?;
    client.until_it_ends(asked.payload["pid"].as_u64().unwrap_or(0));
    print::out("the lab has ended\n");
    Ok(ExitCode::SUCCESS)
}
