//! `ufw reload` with the same rules, on a copy of its files that only this process and its children see.

use crate::support::{Host, namespace::run};
use nix::mount::{MsFlags, mount};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// Where ufw keeps its rules.
const FOLDER: &str = "/etc/ufw";

/// ufw, with files of its own and enabled.
pub struct Ufw {
    _copy: TempDir,
}

impl Ufw {
    /// Mounts a copy over ufw's folder, in the private mount namespace that [`crate::support::namespace::isolate`] made;
    /// `None` where ufw is not installed or may not be read.
    pub fn new() -> Option<Self> {
        run(Command::new("ufw").arg("version")).ok()?;
        let copy = TempDir::new().ok()?;
        run(Command::new("cp")
            .args(["-a", &format!("{FOLDER}/.")])
            .arg(copy.path()))
        .ok()?;
        let none = None::<&str>;
        mount(Some(copy.path()), FOLDER, none, MsFlags::MS_BIND, none).ok()?;
        fs::write(format!("{FOLDER}/ufw.conf"), "ENABLED=yes\nLOGLEVEL=off\n").ok()?;
        Some(Ufw { _copy: copy })
    }

    /// Gives it lines for `iptables-restore` as its user's rules.
    pub fn rules(&self, lines: &str) {
        let text = format!(
            "*filter\n:ufw-user-input - [0:0]\n:ufw-user-output - [0:0]\n:ufw-user-forward - [0:0]\n\
             :ufw-user-limit - [0:0]\n:ufw-user-limit-accept - [0:0]\n### RULES ###\n\n{lines}\n### END RULES ###\nCOMMIT\n"
        );
        fs::write(format!("{FOLDER}/user.rules"), text).expect("the user's rules");
    }

    /// The command, on this host.
    pub fn reload(&self, host: &Host) -> Command {
        let mut command = host.command("ufw");
        command.arg("reload");
        command
    }
}

/// A list of rules for the table `mangle` as ufw writes such rules: a tuple that it reads itself, and the line.
pub fn user_rules(iptables: &str) -> String {
    let mut out = String::new();
    for line in iptables.lines() {
        let Some(rule) = line.strip_prefix("-A PREROUTING ") else {
            continue;
        };
        let words: Vec<&str> = rule.split_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|each| *each == word)?;
            words.get(at + 1).copied()
        };
        let (Some(port), Some(protocol)) = (after("--dport").or(after("--dports")), after("-p"))
        else {
            // What ufw has no words for stands in its files without a tuple.
            out += &format!("-A ufw-user-input {rule}\n");
            continue;
        };
        let action = match rule.ends_with("-j ACCEPT") {
            true => "allow",
            false => "deny",
        };
        let source = after("-s").unwrap_or("0.0.0.0/0");
        out += &format!(
            "### tuple ### {action} {protocol} {port} 0.0.0.0/0 any {source} in\n-A ufw-user-input {rule}\n\n"
        );
    }
    out
}
