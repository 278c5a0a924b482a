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

use crate::cli::outcome::Result;
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

// What stands behind the empty line is what `--help` says beside it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up the lab of a definition, and follow its changes
    ///
    /// What is saved is enforced at once, until Ctrl-C or `lab down` ends it. It needs no root, and leaves nothing behind, however it ends.
    Up(up::Arguments),
    /// Who reaches whom on which port, found out with packets
    ///
    /// Each instance and host outside tries each service at everybody. A cell is reached, closed (the host answered that nothing listens) or
    /// silent, beside what explain predicts. A difference that an instance's own iptables was seen to make is shown as such; any other is an
    /// error.
    Reach(reach::Arguments),
    /// One try from one to another, and which rules decide
    ///
    /// Each end is an instance, a host outside, or an address; any address outside can be played.
    Probe(probe::Arguments),
    /// Run a command in an instance or a host
    ///
    /// It runs in an instance, a host outside or the `router`, as root of the lab, with the programs and files of this machine, and is
    /// killed when the lab ends.
    Exec(enter::ExecArguments),
    /// A shell in an instance or a host
    Shell(enter::ShellArguments),
    /// What is up
    ///
    /// Instances and hosts with their addresses, groups, services and generations, and why the last save was refused.
    Status(status::Arguments),
    /// Bring up a lab, compare it with what is expected, and take it down
    ///
    /// For the CI of those who write groups. It needs no root.
    Test(test::Arguments),
    /// End a lab
    ///
    /// Everything that runs in it ends, too, and has gone when this returns.
    Down(down::Arguments),
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
