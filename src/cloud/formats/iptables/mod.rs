//! `iptables-save` and `ip6tables-save`, of both kinds of iptables: the table `filter`, INPUT and OUTPUT.
//!
//! A packet's way through the chains becomes one list, in which first match decides as there. Rules of certain
//! interfaces become groups of these. Every line is part of a rule, or named with the reason.
//!
//! | file | subject |
//! |---|---|
//! | [`mod@line`] | one line |
//! | [`condition`] | what lines match, put together |
//! | [`chains`] | the way through the chains as one list |
//! | `interfaces` | lists as groups, and what they are bound to |

pub mod chains;
pub mod condition;
mod interfaces;
pub mod line;

use super::error::ImportError;
use super::inventory::Inventory;
use super::notes::Notes;
use crate::policy::{AddressSet, Direction};
use chains::{Chains, Walk};
use interfaces::{List, Lists};
use line::Line;
use std::collections::HashSet;

/// Lines that are looked at to recognize the format.
const HEAD: usize = 50;

/// Whether a text is of iptables.
pub fn is_one(text: &str) -> bool {
    let head = text.lines().take(HEAD);
    head.map(str::trim).any(|line| {
        let table = ["*filter", "*nat", "*mangle", "*raw", "*security"].contains(&line);
        let rule = ["-A INPUT", "-A OUTPUT", "-A FORWARD", "-P INPUT", "-N "];
        table || rule.iter().any(|start| line.starts_with(start))
    })
}

/// The lists of all texts, which make groups together: those of IPv4 and those of IPv6 match no packet of the other.
#[derive(Debug, Default)]
pub struct Tables {
    lists: Lists,
}

impl Tables {
    /// Reads one text.
    ///
    /// # Errors
    /// When its chains call each other too deep or too often.
    pub fn read(&mut self, name: &str, text: &str, notes: &mut Notes) -> Result<(), ImportError> {
        let chains = chains(name, text, notes);
        let failed = |why| ImportError::Chains {
            name: name.to_owned(),
            why,
        };
        if chains.lines.is_empty() {
            return Ok(());
        }
        let mut kept = HashSet::new();
        for direction in [Direction::Inbound, Direction::Outbound] {
            let walk = Walk::of(&chains, direction, notes).map_err(failed)?;
            kept.extend(walk.kept);
            self.lists.add(List {
                name: name.to_owned(),
                v6: chains.v6,
                direction,
                rules: walk.rules,
            });
        }
        let mut lines: Vec<_> = chains.lines.values().flatten().collect();
        lines.sort_by_key(|line| line.number);
        let forwarding = "forwarded packets are judged by the rules of the interfaces that they cross: INPUT and OUTPUT \
                          alone are read";
        if let Some((false, line)) = chains.policies.get("FORWARD") {
            notes.not_kept(format!("{name}:{line}"), forwarding);
        }
        let named = notes.places();
        for line in lines {
            let place = format!("{name}:{}", line.number);
            if kept.contains(&line.number) || named.contains(&place) {
                continue;
            }
            match line.chain == "FORWARD" {
                true => notes.not_kept(place, forwarding),
                false => notes.not_kept(place, "no rule of INPUT or OUTPUT leads here"),
            }
        }
        Ok(())
    }

    /// Makes groups of them.
    ///
    /// # Errors
    /// When more interfaces are named than a definition can have.
    pub fn finish(self, inventory: &mut Inventory, notes: &mut Notes) -> Result<(), ImportError> {
        self.lists.finish(inventory, notes)
    }
}

/// The table `filter`. Lines of the other tables are named: they stay where they are.
fn chains(name: &str, text: &str, notes: &mut Notes) -> Chains {
    let mut chains = Chains {
        name: name.to_owned(),
        v6: text
            .lines()
            .take(HEAD)
            .any(|line| line.contains("ip6tables")),
        ..Chains::default()
    };
    // Rules without a table, as `iptables -S` prints them, are of this one.
    let mut table = "filter".to_owned();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let place = || format!("{name}:{number}");
        let mut words = line::words(line);
        // Counters, with `-c`.
        if words.first().is_some_and(|word| word.starts_with('[')) {
            words.remove(0);
        }
        let Some(first) = words.first().cloned() else {
            continue;
        };
        if let Some(named) = first.strip_prefix('*') {
            table = named.to_owned();
            continue;
        }
        if first.starts_with('#') || first == "COMMIT" {
            continue;
        }
        let second = words.get(1).cloned().unwrap_or_default();
        let (chain, policy) = match first.strip_prefix(':') {
            Some(chain) => (Some(chain.to_owned()), second.clone()),
            None if first == "-P" || first == "-N" => {
                let policy = words.get(2).cloned().unwrap_or_else(|| "-".to_owned());
                (Some(second.clone()), policy)
            }
            None => (None, String::new()),
        };
        match chain {
            Some(_) if table != "filter" => {
                if policy == "DROP" {
                    notes.not_kept(place(), format!("the table {table} stays as it is"));
                }
            }
            Some(chain) => {
                chains.lines.entry(chain.clone()).or_default();
                if policy != "-" {
                    chains.policies.insert(chain, (policy == "ACCEPT", number));
                }
            }
            None if first != "-A" => notes.not_kept(place(), "it is no line of iptables-save"),
            None if table != "filter" => {
                let message = format!("the table {table} stays as it is: groups do not replace it");
                notes.not_kept(place(), message);
            }
            None => {
                let line = line::read(number, &second, words.get(2..).unwrap_or_default());
                chains.v6 |= is_of_ipv6(&line);
                chains.lines.entry(second).or_default().push(line);
            }
        }
    }
    chains
}

/// Whether a line can only be of IPv6.
fn is_of_ipv6(line: &Line) -> bool {
    let addresses = [&line.condition.source, &line.condition.destination];
    let only_v6 = |set: &AddressSet| set.v4().is_empty();
    line.condition.protocol == Some("icmpv6") || addresses.into_iter().flatten().any(only_v6)
}
