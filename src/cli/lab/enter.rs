//! `secgroupd lab exec` and `secgroupd lab shell`.

use crate::cli::options::LabOptions;
use crate::cli::outcome::Result;
use crate::lab::control::LabRequest;
use crate::lab::control::client::Client;
use crate::lab::exec;
use clap::Args;
use std::process::ExitCode;

/// Runs a command in an instance, a host outside or the `router`, as root of the lab, with the programs and files of
/// this machine. It is killed when the lab ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab exec ins-web1 -- ping -c 1 10.0.0.12
  secgroupd lab exec ins-db -- iptables -A INPUT -p tcp --dport 3306 -j DROP
  secgroupd lab exec router -- tcpdump -n -i any

A container port that is published, imitated by a second namespace and DNAT:
  secgroupd lab exec ins-web1 -- sh -c '
    ip netns add box; ip link add c0 type veth peer name eth0 netns box
    ip addr add 172.30.0.1/24 dev c0; ip link set c0 up; echo 1 >/proc/sys/net/ipv4/ip_forward
    ip -n box addr add 172.30.0.2/24 dev eth0; ip -n box link set eth0 up
    ip -n box route add default via 172.30.0.1
    iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80'

Exit status: that of the command.")]
pub struct ExecArguments {
    /// The instance, host, or `router`
    node: String,
    /// The command and its arguments, after `--`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    #[command(flatten)]
    lab: LabOptions,
}

/// A shell in an instance, a host outside or the `router`, as root of the lab.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab shell ins-web1
  secgroupd lab shell internet")]
pub struct ShellArguments {
    /// The instance, host, or `router`
    node: String,
    #[command(flatten)]
    lab: LabOptions,
}

pub fn exec(arguments: &ExecArguments) -> Result {
    enter(&arguments.lab, &arguments.node, &arguments.command)
}

pub fn shell(arguments: &ShellArguments) -> Result {
    let shell = std::env::var("SHELL").ok().filter(|shell| {
        // What a service's user has is no shell to work in.
        !shell.is_empty() && !shell.ends_with("nologin") && !shell.ends_with("/false")
    });
    let shell = shell.unwrap_or_else(|| "/bin/sh".to_owned());
    enter(&arguments.lab, &arguments.node, &[shell])
}

fn enter(lab: &LabOptions, node: &str, command: &[String]) -> Result {
    let mut client = Client::connect(lab.name.as_deref())?;
    let node = node.to_owned();
    let door = client.ask(&LabRequest::Enter { node: node.clone() }, |_, _| {})?;
    drop(client);
    Ok(ExitCode::from(exec::exec(
        &node,
        &door.descriptors,
        command,
    )?))
}
