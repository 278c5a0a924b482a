//! `secgroupd explain`: what decides about a flow?

use super::options::{DefinitionOptions, port};
use super::outcome::{ERROR, NO, Result};
use super::print;
use crate::definition::Place;
use crate::definition::keys::protocol_names;
use crate::insight::explain::{Answer, Question, explain, known_interface};
use crate::insight::layers::{Explanation, explained};
use crate::netfilter::links::links;
use crate::policy::{Direction, Policy, Reason, Verdict};
use crate::state::last_enforced::last_enforced;
use anyhow::{Context, Error, anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::io::{BufRead, BufWriter, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;

/// Says which layer, group and rule decides about a flow, what each layer said, and what would have decided otherwise.
/// It judges the packet that opens the flow, and needs no privilege and no kernel.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd explain inbound tcp 203.0.113.9 443 --interface eth0
  secgroupd explain outbound icmp 198.51.100.7 --definition groups.yaml --instance ins-web1
  secgroupd explain inbound tcp 203.0.113.9 443 --expect-group sg-web
                                                 why is it allowed, when sg-web does not allow it?
  secgroupd explain --batch < flows.jsonl
  sudo secgroupd explain --enforced inbound tcp 203.0.113.9 443

With --batch, standard input has one JSON object a line, and so has standard output:
  {\"direction\":\"inbound\",\"interface\":\"eth0\",\"protocol\":\"tcp\",\"remote\":\"203.0.113.9\",\"port\":443}
  {\"verdict\":\"refuse\",\"layer\":\"group\",\"rule\":\"sg-web/in/3\",\"place\":\"groups.yaml:14\"}
A line that is no question is answered by {\"line\":7,\"error\":\"…\"}.

Exit status: 0 if the flow is allowed (with --batch: if every line was judged), 1 if it is refused, 2 on an error.")]
pub struct Arguments {
    /// Who opens the flow, seen from this host
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    direction: Option<WayArgument>,
    #[arg(required_unless_present = "batch", help = concat!(protocol_names!(), ", or a protocol number"))]
    protocol: Option<String>,
    /// The source of an inbound, the destination of an outbound flow
    #[arg(required_unless_present = "batch", value_parser = one_address)]
    remote: Option<IpAddr>,
    /// The destination port, with tcp and udp
    #[arg(value_parser = port)]
    port: Option<u16>,
    /// The interface; may be left out where only one is bound
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// A group that was expected to decide: says what it makes of the flow, and which other group or approved service
    /// decides
    #[arg(long, value_name = "ID", conflicts_with = "batch")]
    expect_group: Option<String>,
    /// Judge one JSON object a line from standard input
    #[arg(long)]
    batch: bool,
    /// Judge by what was enforced last on this host, whatever the definition says now; needs root
    #[arg(long, conflicts_with_all = ["definition", "instance"])]
    enforced: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    definition: DefinitionOptions,
}

/// A question takes some hundred bytes.
const LONGEST_LINE: u64 = 65_536;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WayArgument {
    Inbound,
    Outbound,
}

fn one_address(text: &str) -> std::result::Result<IpAddr, String> {
    let help = "write one address, as 203.0.113.9 or 2001:db8::9, without port or prefix length";
    text.parse().map_err(|_| help.to_owned())
}

pub fn run(arguments: Arguments) -> Result {
    let options = &arguments.definition;
    let policy = match arguments.enforced {
        true => last_enforced(&options.state.state).map_err(Error::msg)?,
        false => match options.policy(&options.definition)? {
            Some((policy, _)) => policy,
            None => return Ok(ExitCode::from(ERROR)),
        },
    };
    // An interface that no instance names may be any of this host's.
    let own = links().unwrap_or_default().into_iter();
    let own: Vec<String> = own.map(|link| link.name).collect();
    if arguments.batch {
        return batch(&policy, arguments.interface.as_deref(), &own);
    }
    known_interface(&policy, arguments.interface.as_deref(), &own)?;
    let question = Question {
        direction: match arguments.direction.context("a direction")? {
            WayArgument::Inbound => Direction::Inbound,
            WayArgument::Outbound => Direction::Outbound,
        },
        interface: arguments.interface,
        protocol: arguments.protocol.context("a protocol")?,
        remote: arguments.remote.context("a remote")?,
        port: arguments.port,
        local: None,
    };
    let explanation = explained(&policy, &question, arguments.expect_group.as_deref())?;
    match arguments.json {
        true => print::json(&explanation)?,
        false => print::out(&page(&explanation)),
    }
    Ok(match explanation.answer.verdict {
        Verdict::Allow | Verdict::Observe => ExitCode::SUCCESS,
        Verdict::Refuse => ExitCode::from(NO),
    })
}

/// The answer, then every layer and what would have decided otherwise.
fn page(explanation: &Explanation) -> String {
    let mut page = sentence(&explanation.answer);
    if let Some(expected) = &explanation.expected {
        page += &format!("{}\n", expected.said);
    }
    if let Some(ended) = &explanation.ended {
        page += &format!(
            "until {} it was otherwise: {} by {} ({})\n",
            ended.until, ended.verdict, ended.rule, ended.place
        );
    }
    page.push('\n');
    let at = |place: &Option<Place>| match place {
        Some(place) => format!(" ({place})"),
        None => String::new(),
    };
    for layer in &explanation.layers {
        let name = match &layer.group {
            Some(group) => format!("{} {group}", layer.layer),
            None => layer.layer.to_owned(),
        };
        let mark = if layer.decided { '>' } else { ' ' };
        page += &format!("{mark} {name:<20} {}{}\n", layer.said, at(&layer.place));
    }
    let after = |rules: &[String]| match rules.len() {
        0 => String::new(),
        1..=5 => format!(", after {} that decide the same", rules.join(", ")),
        more => format!(", after {more} rules that decide the same"),
    };
    let next = match &explanation.otherwise {
        Some(other) => match &other.rule {
            Some(rule) => format!(
                "the next to decide otherwise: {} by {rule}{}{}",
                other.verdict,
                at(&other.place),
                after(&other.after)
            ),
            None => format!(
                "the next to decide otherwise: {} by default, for no rule matches then{}",
                other.verdict,
                after(&other.after)
            ),
        },
        None => return page,
    };
    page + &format!("\n{next}\n")
}

/// `refuse: rule sg-web/in/3 (groups.yaml:14)`; `allow, would be refused: …` where that only observes.
fn sentence(answer: &Answer) -> String {
    let decided = match &answer.reason {
        Reason::Default => "no rule of the bound groups matches".into(),
        Reason::Unmanaged => match answer.verdict {
            Verdict::Allow => "the interface is not bound, and left alone".into(),
            Verdict::Refuse | Verdict::Observe => {
                "the interface is not bound, and unbound interfaces refuse new inbound flows".into()
            }
        },
        Reason::BlockedPorts => {
            "the platform blocks this port; no rule of a group can open it".into()
        }
        Reason::Smtp => "the platform blocks TCP 25 to external addresses".into(),
        reason => reason.words().trim_start_matches("the ").to_owned(),
    };
    format!("{}: {decided}{}\n", answer.verdict, answer.at())
}

/// One decision a line out for one question a line in. A line that is none gets `{"error":…}`.
fn batch(policy: &Policy, interface: Option<&str>, own: &[String]) -> Result {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut all_judged = true;
    let mut input = std::io::stdin().lock();
    let mut number = 0;
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut input).take(LONGEST_LINE);
        let read = limited.read_until(b'\n', &mut line);
        if read.context("cannot read standard input")? == 0 {
            break;
        }
        number += 1;
        if line.len() as u64 == LONGEST_LINE {
            bail!("line {number} of standard input is longer than {LONGEST_LINE} bytes");
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match judge(policy, line, interface, own) {
            Ok(answer) => writeln!(out, "{}", print::in_json(&answer)?)?,
            Err(error) => {
                all_judged = false;
                let error = json!({ "line": number, "error": format!("line {number}: {error}") });
                writeln!(out, "{}", print::in_json(&error)?)?;
            }
        }
    }
    out.flush()?;
    Ok(if all_judged {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ERROR)
    })
}

fn judge(
    policy: &Policy,
    line: &[u8],
    interface: Option<&str>,
    own: &[String],
) -> anyhow::Result<Answer> {
    let mut question: Question = serde_json::from_slice(line).map_err(|error| {
        // The line is that of the input: of its own lines there is one.
        let at = format!(" at line {} column {}", error.line(), error.column());
        let said = error.to_string();
        let what = said.strip_suffix(&at).unwrap_or(&said);
        anyhow!("column {}: {what}", error.column())
    })?;
    question.interface = question.interface.or_else(|| interface.map(str::to_owned));
    known_interface(policy, question.interface.as_deref(), own)?;
    Ok(explain(policy, &question)?)
}
