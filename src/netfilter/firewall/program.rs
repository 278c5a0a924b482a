//! The programs of the host's firewall, run with what they say kept, and never for long.

use super::fate::FirewallError;
use crate::netfilter::programs::{die_with_us, find};
use nix::sys::signal::Signal;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longer than this none of them takes.
const TIME_LIMIT: Duration = Duration::from_secs(30);

fn command(name: &str, arguments: &[&str]) -> Result<Command, FirewallError> {
    let program =
        find(name).ok_or_else(|| FirewallError::Program(format!("{name} is not installed")))?;
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    die_with_us(&mut command);
    Ok(command)
}

/// Runs a program to its end with this input. Returns what it printed.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Result<String, FirewallError> {
    let failed = |why: String| FirewallError::Program(format!("{name}: {why}"));
    let mut child = command(name, arguments)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // A program that fails early closes its input; its message says more than the broken pipe.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let (done, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            if ended.recv_timeout(TIME_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            }
        });
        let output = child.wait_with_output();
        let _ = done.send(());
        let output = output.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let first = said.lines().find(|line| !line.trim().is_empty());
        Err(failed(first.unwrap_or("it failed").trim().to_owned()))
    })
}

/// Starts a program whose output is read as it comes.
pub fn start(name: &str, arguments: &[&str]) -> Result<Child, FirewallError> {
    let child = command(name, arguments)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.map_err(|error| FirewallError::Program(format!("{name}: {error}")))
}
