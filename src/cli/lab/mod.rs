//! `secgroupd lab`: a cloud on one machine.

mod down;
mod enter;
mod matrix;
mod names;
mod page;
mod probe;
mod progress;
mod reach;
mod status;
mod test;
mod up;

use super::{Result, print};
use clap::{Args, Subcommand};

/// A local cloud: every instance of a definition becomes a network namespace that enforces its groups, joined by a router that plays the
/// VPC and the internet. Real packets, no root, and nothing is left behind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab up --demo                                 see what a lab is
  secgroupd lab up groups.yaml                            bring one up, and follow what is saved
  secgroupd lab reach                                     who reaches whom
  secgroupd lab exec ins-db -- iptables -A INPUT -p tcp --dport 3306 -j DROP
  secgroupd lab probe ins-web1 ins-db tcp 3306            one try, and which rules decide
  secgroupd lab test groups.yaml                          for CI: is it as groups.expect says?
  secgroupd lab down")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up the lab of a definition, and follow its changes
    Up(up::Arguments),
    /// Who reaches whom on which port, found out with packets
    Reach(reach::Arguments),
    /// One try from one to another, and which rules decide
    Probe(probe::Arguments),
    /// Run a command in an instance or a host
    Exec(enter::ExecArguments),
    /// A shell in an instance or a host
    Shell(enter::ShellArguments),
    /// What is up
    Status(status::Arguments),
    /// Bring up a lab, compare it with what is expected, and take it down
    Test(test::Arguments),
    /// End a lab
    Down(down::Arguments),
}

/// Which lab is meant.
#[derive(Debug, Args)]
struct LabOptions {
    /// The lab's name; may be left out where only one is up
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub fn run(arguments: Arguments) -> Result {
    match arguments.command {
        Command::Up(arguments) => up::run(arguments),
        Command::Reach(arguments) => reach::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Exec(arguments) => enter::exec(&arguments),
        Command::Shell(arguments) => enter::shell(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Down(arguments) => down::run(&arguments),
    }
}
