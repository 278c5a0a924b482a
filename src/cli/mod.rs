//! One file per subcommand; prints, and nothing else.
//!
//! Exit status: 0 success (warnings alone are success), 1 the answer is no, 2 a usage or run-time error.
//!
//! A subcommand has a file of its name. Shared by several:
//!
//! | file | subject |
//! |---|---|
//! | `options`, `outcome` | arguments, exit status |
//! | `print`, `status_page` | tables, colours, JSON |
//! | `changed` | changes of the definition |
//! | `host_view`, `ssh` | what this host needs; the session that calls |

mod apply;
mod boot;
mod changed;
mod check;
mod compile;
mod confirm;
mod diagnose;
mod diff;
mod events;
mod explain;
mod export;
mod group;
mod history;
mod host_view;
mod import;
mod lab;
mod options;
mod outcome;
mod print;
mod reload;
mod remove;
mod reset;
mod rollback;
mod rule;
mod run;
mod ssh;
mod status;
mod status_page;
mod watch;

use clap::{Parser, Subcommand};
use outcome::ERROR;
use std::process::ExitCode;

/// Security groups of a public cloud, enforced on this host by nftables.
#[derive(Debug, Parser)]
#[command(name = "secgroupd", version, about, long_about = LONG_ABOUT, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Security groups of a public cloud, enforced on this host by nftables.

A definition says which groups are bound to which interfaces; the daemon compiles it, enforces it and follows its \
changes. It can only restrict: what iptables, ufw, firewalld or Docker refuse stays refused.";

const EXAMPLES: &str = "Examples:
  secgroupd check groups.yaml                  is the definition right?
  secgroupd explain inbound tcp 203.0.113.9 443 --interface eth0
                                               what decides about this flow?
  sudo secgroupd diagnose 443                  why is this port not reached?
  secgroupd diff groups.yaml candidate.yaml    which flows would change?
  secgroupd rule add sg-web/in --allow tcp:8080 --from 198.51.100.7
                                               open a port
  secgroupd group show sg-web                  its rules, what it is bound to, who names it
  sudo secgroupd history                       who has changed what, and `rollback` to it
  secgroupd import groups.json sg-web.json     what tccli, Terraform, aws or iptables-save print
  secgroupd compile groups.yaml                the nftables ruleset, changing nothing
  sudo secgroupd run                           enforce /etc/secgroupd and follow it
  secgroupd status                             what is enforced, and what it met
  secgroupd events --follow                    what is refused, as it happens
  secgroupd lab up --demo                      a cloud on this machine, to try groups in

Exit status: 0 success, 1 the answer is no (errors found, a flow refused), 2 a usage or run-time error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: enforce, watch, reload
    Run(run::Arguments),
    /// Enforce the kept policy, as secgroupd-boot.service does before the network is up
    Boot(boot::Arguments),
    /// Validate a definition, run its tests and lint it; errors and warnings with line and column
    Check(check::Arguments),
    /// Print the nftables ruleset, changing nothing
    Compile(compile::Arguments),
    /// Enforce once; with a running daemon, through it
    Apply(apply::Arguments),
    /// Confirm the candidate of `apply --confirm`: it becomes the definition
    Confirm(confirm::Arguments),
    /// Why a port of this host is not reached: groups, platform, the host's own firewall, the process
    Diagnose(diagnose::Arguments),
    /// Which flows a new definition changes, and how many live ones it ends
    Diff(diff::Arguments),
    /// Which layer, group and rule decides about a flow
    Explain(explain::Arguments),
    /// Files of the cloud, Terraform, AWS or iptables to a definition
    Import(import::Arguments),
    /// A definition as objects of the cloud, Terraform configuration or an nftables ruleset
    Export(export::Arguments),
    /// What is enforced: generation, interfaces, groups, hits, last error
    Status(status::Arguments),
    /// Refusals as they happen
    Events(events::Arguments),
    /// Have the running daemon read its definition again
    Reload(reload::Arguments),
    /// Groups: list, show, create, clone, bind, unbind, order, delete
    Group(group::Arguments),
    /// Single rules of a group: add, replace, move, delete
    Rule(rule::Arguments),
    /// Bind an instance to an all-pass group only, on trial
    Reset(reset::Arguments),
    History(history::Arguments),
    Rollback(rollback::Arguments),
    /// Take the policy off this host
    Remove(remove::Arguments),
    /// A local cloud in network namespaces
    ///
    /// Every instance becomes a network namespace that enforces its groups, joined by a router that plays the VPC and
    /// the internet. Real packets, no root, and nothing is left behind.
    Lab(lab::Arguments),
}

/// Runs the command line and returns its exit status.
pub fn main() -> ExitCode {
    // A reader that has seen enough closes the pipe; that ends us as it ends every other command.
    print::end_with_the_pipe();
    let result = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Boot(arguments) => boot::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Compile(arguments) => compile::run(arguments),
        Command::Apply(arguments) => apply::run(arguments),
        Command::Confirm(arguments) => confirm::run(arguments),
        Command::Diagnose(arguments) => diagnose::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Events(arguments) => events::run(arguments),
        Command::Reload(arguments) => reload::run(arguments),
        Command::Group(arguments) => group::run(arguments),
        Command::Rule(arguments) => rule::run(arguments),
        Command::Reset(arguments) => reset::run(arguments),
        Command::History(arguments) => history::run(arguments),
        Command::Rollback(arguments) => rollback::run(arguments),
        Command::Remove(arguments) => remove::run(arguments),
        Command::Lab(arguments) => lab::run(arguments),
    };
    result.unwrap_or_else(|error| {
        print::error(&with_causes(&error));
        ExitCode::from(ERROR)
    })
}

/// An error and what it came from, each thing said once: many of ours quote their cause.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cause_that_was_quoted_is_not_said_again() {
        let quoted = anyhow::anyhow!("denied").context("cannot open x: denied");
        assert_eq!(super::with_causes(&quoted), "cannot open x: denied");
        let bare = anyhow::anyhow!("denied").context("cannot open x");
        assert_eq!(super::with_causes(&bare), "cannot open x: denied");
    }

    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_subcommand_has_an_example() {
        let mut command = super::Cli::command();
        command.build();
        command.clone().debug_assert();
        let of = ["lab", "group", "rule"].map(|name| command.find_subcommand(name).unwrap());
        for subcommand in command
            .get_subcommands()
            .chain(of.into_iter().flat_map(|command| command.get_subcommands()))
            .filter(|subcommand| subcommand.get_name() != "help")
        {
            let help = subcommand
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("secgroupd "),
                "{} has no example",
                subcommand.get_name()
            );
        }
    }
}
