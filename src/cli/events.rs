//! `secgroupd events`: refusals as they happen.

use super::options::SocketOptions;
use super::outcome::Result;
use super::print;
use crate::daemon::control::Request;
use crate::daemon::packet_log::{Answer, Event};
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

/// Shows refused packets: time, interface, direction, flow, and the layer or rule that refused them, with file and
/// line.
///
/// The definition must ask for it: `platform: { events: refusals }`. Each remote's first packets are shown one by one;
/// of the others it is said how many they were.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd events                       the last refusals that the daemon knows
  secgroupd events --follow              those that come, until Ctrl-C
  secgroupd events --follow --json | jq -r 'select(.event == \"refused\") | .rule'

With --json, one object a line:
  {\"event\":\"refused\",\"time\":\"2026-11-23T06:00:00.123456Z\",\"interface\":\"eth0\",\"direction\":\"inbound\",…}
  {\"event\":\"left-out\",\"time\":\"2026-11-23T06:00:01.000000Z\",\"limited\":120,\"lost\":0}")]
pub struct Arguments {
    #[command(flatten)]
    socket: SocketOptions,
    /// Show what comes from now on
    #[arg(long, short)]
    follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// How often the daemon is asked. It keeps the events of some seconds.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long an answer may take: the daemon may be loading a long policy.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(arguments: Arguments) -> Result {
    let socket = &arguments.socket;
    let mut answer = after(socket, None)?;
    if let Some(hint) = hint(&answer) {
        print::note(&hint);
    }
    if !arguments.follow {
        show(&answer, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(INTERVAL);
        let before = hint(&answer);
        answer = after(socket, Some(answer.next))?;
        show(&answer, arguments.json)?;
        match hint(&answer) {
            Some(hint) if Some(&hint) != before.as_ref() => print::note(&hint),
            _ => {}
        }
    }
}

fn after(socket: &SocketOptions, number: Option<u64>) -> anyhow::Result<Answer> {
    let request = Request::Events { after: number };
    socket.ask(&request, PATIENCE)
}

/// Why nothing is shown.
fn hint(answer: &Answer) -> Option<String> {
    match (&answer.failed, answer.told) {
        (_, false) => Some(
            "the enforced policy has no refusals told: write `platform: { events: refusals }` into the definition".into(),
        ),
        (Some(why), true) => Some(format!("refused packets are not told: {why}")),
        (None, true) => None,
    }
}

fn show(answer: &Answer, json: bool) -> anyhow::Result<()> {
    if answer.missed > 0 {
        print::note(&format!("{} events were missed", answer.missed));
    }
    let mut out = String::new();
    for event in &answer.events {
        out += &line(event, json)?;
        out.push('\n');
    }
    print::out(&out);
    Ok(())
}

fn line(event: &Event, json: bool) -> anyhow::Result<String> {
    Ok(match json {
        true => print::in_json(event)?,
        false => event.to_string(),
    })
}
