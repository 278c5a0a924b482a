//! `secgroupd rule`: single rules of a group.

use super::changed::ChangeOptions;
use super::outcome::Result;
use super::ssh::Session;
use crate::cloud::edit::{Change, Position, RuleChange, edit};
use crate::cloud::text::{RuleText, ServiceText};
use crate::policy::{Direction, RuleId};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};

/// Adds, replaces, moves and deletes single rules.
///
/// A rule is named as everywhere, sg-web/in/3: its group, its list, and its number counted from 0. The definition's text
/// changes by that rule alone; it is judged whole before it is written, and a refused change changes no byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd rule add sg-web/in --allow tcp:8080 --from 198.51.100.7
                                              behind the other inbound rules of sg-web
  secgroupd rule add sg-web/in/0 --refuse all --from ipm-blocklist
                                              above them
  secgroupd rule add sg-web/in/0 --allow tcp:22 --my-ip
                                              for the address that this SSH session comes from
  secgroupd rule replace sg-web/in/3 --from 10.0.0.0/8
  secgroupd rule move sg-web/in/3 0
  secgroupd rule delete sg-web/in/3 sg-web/out/0 --dry-run

Exit status: 0 if it is done, 1 if it is refused, 2 on an error.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a rule: before the one of this number, or behind the last
    #[command(after_help = "Example:
  secgroupd rule add sg-web/in --allow tcp:8080 --from 198.51.100.7 --description 'the office'")]
    Add {
        /// sg-web/in, sg-web/out, or sg-web/in/3
        #[arg(value_name = "GROUP/in[/N]")]
        position: Position,
        #[command(flatten)]
        written: Written,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Change what a rule says; what is not named stays
    #[command(after_help = "Example:
  secgroupd rule replace sg-web/in/3 --from 10.0.0.0/8")]
    Replace {
        /// The rule
        #[arg(value_name = "GROUP/in/N", value_parser = rule_id)]
        rule: RuleId,
        #[command(flatten)]
        written: Written,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Move a rule to another number of its list
    #[command(after_help = "Example:
  secgroupd rule move sg-web/in/3 0           it is asked first then")]
    Move {
        /// The rule
        #[arg(value_name = "GROUP/in/N", value_parser = rule_id)]
        rule: RuleId,
        /// Its number afterwards
        #[arg(value_name = "TO")]
        to: u32,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Delete rules
    #[command(after_help = "Example:
  secgroupd rule delete sg-web/in/3 sg-web/in/4")]
    Delete {
        /// The rules
        #[arg(value_name = "GROUP/in/N", value_parser = rule_id, required = true)]
        rules: Vec<RuleId>,
        #[command(flatten)]
        options: ChangeOptions,
    },
}

/// What a rule says.
#[derive(Debug, Args)]
struct Written {
    /// Allow this: tcp:443, udp:8000-8100, tcp:80,443, tcp, icmp, icmpv6, gre, all, or a service template
    #[arg(long, value_name = "SERVICE", conflicts_with = "refuse")]
    allow: Option<ServiceText>,
    /// Refuse this
    #[arg(long, value_name = "SERVICE", aliases = ["deny", "drop", "reject"])]
    refuse: Option<ServiceText>,
    /// The source of an inbound rule: an address, a CIDR, a-b, any, a group or a template; several with commas
    #[arg(
        long,
        value_name = "REMOTE",
        value_delimiter = ',',
        conflicts_with = "to"
    )]
    from: Vec<String>,
    /// The destination of an outbound rule
    #[arg(
        long,
        value_name = "REMOTE",
        value_delimiter = ',',
        alias = "destination"
    )]
    to: Vec<String>,
    /// The remote is the address that the SSH session of this terminal comes from
    #[arg(long, conflicts_with_all = ["from", "to"])]
    my_ip: bool,
    /// Free text; an empty one takes it away
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// When the rule ends: 2026-12-31T18:00Z; an empty text is never
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

fn rule_id(text: &str) -> std::result::Result<RuleId, String> {
    RuleId::parse(text)
        .ok_or_else(|| format!("`{text}` is no rule: write sg-web/in/3 or sg-web/out/0"))
}

impl Written {
    fn action(&self) -> Option<(bool, &ServiceText)> {
        let allow = self.allow.as_ref().map(|service| (true, service));
        allow.or(self.refuse.as_ref().map(|service| (false, service)))
    }

    /// The remotes that are named, in the word of the rule's direction.
    fn remotes(&self, direction: Direction) -> anyhow::Result<Option<Vec<String>>> {
        if self.my_ip {
            let session = Session::of_this_process();
            let session = session.context(
                "this is no SSH session, so that --my-ip names no address: write it behind --from",
            )?;
            return Ok(Some(vec![session.client().to_string()]));
        }
        let (named, other, words) = match direction {
            Direction::Inbound => (
                &self.from,
                &self.to,
                "an inbound rule takes --from, not --to",
            ),
            Direction::Outbound => (
                &self.to,
                &self.from,
                "an outbound rule takes --to, not --from",
            ),
        };
        if !other.is_empty() {
            bail!("{words}");
        }
        let named: Vec<String> = named.iter().map(|each| each.trim().to_owned()).collect();
        Ok((!named.is_empty()).then_some(named))
    }

    fn rule(&self, direction: Direction) -> anyhow::Result<RuleText> {
        let (allow, service) = self.action().context(
            "say what the rule does: --allow SERVICE or --refuse SERVICE, such as --allow tcp:443",
        )?;
        let word = match direction {
            Direction::Inbound => {
                "from where: --from any, --from 10.0.0.0/8, --from sg-web, or --my-ip"
            }
            Direction::Outbound => "to where: --to any, --to 10.0.0.0/8 or --to sg-web",
        };
        Ok(RuleText {
            allow,
            service: service.clone(),
            remotes: self
                .remotes(direction)?
                .with_context(|| format!("say {word}"))?,
            description: self.description.clone().filter(|text| !text.is_empty()),
            until: self.until.clone().filter(|text| !text.is_empty()),
        })
    }

    fn change(&self, direction: Direction) -> anyhow::Result<RuleChange> {
        let action = self.action();
        let change = RuleChange {
            allow: action.map(|(allow, _)| allow),
            service: action.map(|(_, service)| service.clone()),
            remotes: self.remotes(direction)?,
            description: self.description.clone(),
            until: self.until.clone(),
        };
        match change == RuleChange::default() {
            true => bail!(
                "say what changes: --allow, --refuse, --from, --to, --my-ip, --description or --until"
            ),
            false => Ok(change),
        }
    }
}

pub fn run(arguments: Arguments) -> Result {
    let (change, options) = match arguments.command {
        Command::Add {
            position,
            written,
            options,
        } => {
            let rules = vec![written.rule(position.direction)?];
            (Change::AddRules { position, rules }, options)
        }
        Command::Replace {
            rule,
            written,
            options,
        } => {
            let change = written.change(rule.direction)?;
            (Change::ReplaceRule { rule, change }, options)
        }
        Command::Move { rule, to, options } => (Change::MoveRule { rule, to }, options),
        Command::Delete { rules, options } => (Change::DeleteRules(rules), options),
    };
    options.run(&|draft| edit(draft, &change))
}
