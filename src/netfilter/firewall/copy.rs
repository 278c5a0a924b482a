//! The host's rulesets as its own programs list them, to be loaded elsewhere.

use super::program::run;
use crate::netfilter::links::{Link, links};
use crate::netfilter::programs::{LEGACY, find};
use crate::ruleset::TABLE;
use std::fs;

/// One ruleset of one program.
#[derive(Debug, Clone)]
pub struct CopiedRuleset {
    /// How it is called: `iptables-legacy`, `table inet filter`.
    pub name: String,
    /// The program that reads it back, and its arguments.
    pub restore: (String, Vec<&'static str>),
    /// What it reads.
    pub text: String,
}

/// All that the host has.
#[derive(Debug, Default)]
pub struct Copy {
    pub links: Vec<Link>,
    /// The rulesets, in the order in which they are loaded.
    pub parts: Vec<CopiedRuleset>,
    /// What is known not to be copied.
    pub missing: Vec<String>,
}

impl Copy {
    /// Reads everything; what cannot be read is named.
    pub fn of_this_host() -> Self {
        let mut copy = Copy::default();
        match links() {
            Ok(links) => copy.links = links,
            Err(error) => copy.missing.push(error.to_string()),
        }
        copy.sets();
        for (program, tables) in LEGACY {
            copy.legacy(program, tables);
        }
        let mut covered = Vec::new();
        for (program, family) in [("iptables-nft", "ip"), ("ip6tables-nft", "ip6")] {
            covered.extend(copy.iptables_nft(program, family));
        }
        copy.tables(&covered);
        copy
    }

    fn sets(&mut self) {
        if find("ipset").is_none() {
            return;
        }
        match run("ipset", &["save"], "") {
            Ok(text) if !text.trim().is_empty() => self.parts.push(CopiedRuleset {
                name: "ipset".into(),
                restore: ("ipset".into(), vec!["restore", "-exist"]),
                text,
            }),
            Ok(_) => {}
            Err(error) => self.missing.push(error.to_string()),
        }
    }

    fn legacy(&mut self, program: &str, tables: &str) {
        match fs::read_to_string(tables) {
            Ok(text) if text.trim().is_empty() => return,
            // A kernel without iptables-legacy has no such list.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Ok(_) => {}
            Err(error) => {
                let what = format!("{program}: {tables}: {error}");
                return self.missing.push(what);
            }
        }
        self.iptables(program);
    }

    /// Returns the tables that nftables shows too.
    fn iptables_nft(&mut self, program: &str, family: &str) -> Vec<String> {
        if find(&format!("{program}-save")).is_none() {
            return Vec::new();
        }
        let text = self.iptables(program);
        let tables = text.iter().flat_map(|text| text.lines());
        tables
            .filter_map(|line| Some(format!("{family} {}", line.strip_prefix('*')?)))
            .collect()
    }

    fn iptables(&mut self, program: &str) -> Option<String> {
        match run(&format!("{program}-save"), &[], "") {
            Ok(text) if text.lines().any(|line| line.starts_with('*')) => {
                self.parts.push(CopiedRuleset {
                    name: program.to_owned(),
                    restore: (format!("{program}-restore"), vec![]),
                    text: text.clone(),
                });
                Some(text)
            }
            Ok(_) => None,
            Err(error) => {
                self.missing.push(error.to_string());
                None
            }
        }
    }

    /// Tables of nftables, but our own, and those that iptables shows better.
    fn tables(&mut self, covered: &[String]) {
        if find("nft").is_none() {
            self.missing
                .push("tables of nftables: the program nft is not installed".into());
            return;
        }
        let names = match run("nft", &["list", "tables"], "") {
            Ok(names) => names,
            Err(error) => return self.missing.push(format!("tables of nftables: {error}")),
        };
        for name in names.lines().filter_map(|line| line.strip_prefix("table ")) {
            if name == format!("inet {TABLE}") || covered.iter().any(|each| each == name) {
                continue;
            }
            let words: Vec<&str> = ["-s", "list", "table"]
                .into_iter()
                .chain(name.split(' '))
                .collect();
            match run("nft", &words, "") {
                Ok(text) => self.parts.push(CopiedRuleset {
                    name: format!("table {name}"),
                    restore: ("nft".into(), vec!["-f", "-"]),
                    text: loadable(&text),
                }),
                Err(error) => self.missing.push(format!("table {name}: {error}")),
            }
        }
    }
}

/// Without whom it belongs to: a copy belongs to us.
fn loadable(listing: &str) -> String {
    let lines = listing
        .lines()
        .filter(|line| !line.trim_start().starts_with("flags owner"));
    lines.map(|line| format!("{line}\n")).collect()
}
