//! Lists of rules as groups: one for each interface that rules name, and one for all others.

use super::chains::Flat;
use super::condition::InterfaceMatch;
use crate::cloud::formats::error::ImportError;
use crate::cloud::formats::inventory::{
    InstanceRecord, InterfaceRecord, Inventory, RuleRecord, ServiceRecord,
};
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::values::{made_id, range_text};
use crate::policy::{AddressRange, AddressSet, Direction, InterfaceName};
use std::collections::BTreeSet;

/// The group of the interfaces that no rule names.
const GROUP: &str = "sg-iptables";
/// The host that the tables are of.
const INSTANCE: &str = "ins-host";
/// More interfaces are a mistake, or meant to harm.
const MOST_INTERFACES: usize = 200;
/// Rules of all groups together.
const MOST_RULES: usize = 100_000;

/// The lists of all tables.
#[derive(Debug, Default)]
pub struct Lists {
    lists: Vec<List>,
}

/// The list of a direction, of one text.
#[derive(Debug)]
pub struct List {
    /// What the text is called.
    pub name: String,
    /// Whether it is of IPv6.
    pub v6: bool,
    /// Its direction.
    pub direction: Direction,
    /// Its rules.
    pub rules: Vec<Flat>,
}

impl Lists {
    /// Adds one.
    pub fn add(&mut self, list: List) {
        self.lists.push(list);
    }

    /// Makes the groups.
    pub fn finish(self, inventory: &mut Inventory, notes: &mut Notes) -> Result<(), ImportError> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let failed = |why: String| ImportError::Chains {
            name: "iptables".to_owned(),
            why,
        };
        let names = self.names();
        if names.len() > MOST_INTERFACES {
            return Err(failed(format!(
                "rules name more than {MOST_INTERFACES} interfaces: import a part"
            )));
        }
        let rules: usize = self.lists.iter().map(|list| list.rules.len()).sum();
        if rules * (names.len() + 1) > MOST_RULES {
            return Err(failed(format!(
                "{rules} rules for {} interfaces are more than {MOST_RULES}: import a part",
                names.len() + 1
            )));
        }
        self.say(&names, notes);
        self.group(inventory, GROUP, None, notes);
        let mut instance = InstanceRecord {
            id: INSTANCE.to_owned(),
            place: "iptables".to_owned(),
            ..InstanceRecord::default()
        };
        let mut taken = BTreeSet::new();
        for name in &names {
            let mut id = made_id(&format!("{GROUP}-"), name);
            while !taken.insert(id.clone()) {
                id.push('x');
            }
            self.group(inventory, &id, Some(name), notes);
            instance.interfaces.push(InterfaceRecord {
                name: name.clone(),
                groups: vec![id],
                ..InterfaceRecord::default()
            });
        }
        if !names.is_empty() {
            inventory.instances.push(instance);
        }
        self.name_the_rest(&names, notes);
        Ok(())
    }

    /// Names rules that hold on no interface that a definition can bind.
    fn name_the_rest(&self, names: &BTreeSet<String>, notes: &mut Notes) {
        for list in &self.lists {
            for rule in &list.rules {
                let own = own(rule, list.direction);
                let on = |name: &String| own.iter().all(|each| each.covers(name));
                if !own.iter().all(|each| each.others) && !names.iter().any(on) {
                    let line = rule.lines.last().copied().unwrap_or_default();
                    let message =
                        "the rule is left out: it holds on no interface that can be bound";
                    notes.not_kept(format!("{}:{line}", list.name), message);
                }
            }
        }
    }

    fn say(&self, names: &BTreeSet<String>, notes: &mut Notes) {
        match names.is_empty() {
            true => notes.assumed(
                "iptables",
                format!("no rule names an interface: bind {GROUP} to those of this host"),
            ),
            false => notes.assumed(
                "iptables",
                format!("{GROUP} is for the interfaces that no rule names: bind it to those of this host"),
            ),
        }
        for (v6, missing) in [(false, "IPv4"), (true, "IPv6")] {
            if !self.lists.iter().any(|list| list.v6 == v6) {
                let message = format!("{missing} is refused: no table of it is in the input");
                notes.assumed("iptables", message);
            }
        }
    }

    /// The interfaces that rules name, as a definition can bind them.
    fn names(&self) -> BTreeSet<String> {
        let interfaces = self.lists.iter().flat_map(|list| {
            let rules = list.rules.iter();
            rules.flat_map(|rule| own(rule, list.direction))
        });
        let names = interfaces.map(|each| each.name.clone());
        names
            .filter(|name| InterfaceName::parse(name).is_ok())
            .collect()
    }

    /// The rules that hold on an interface, or on those that no rule names.
    fn group(
        &self,
        inventory: &mut Inventory,
        id: &str,
        interface: Option<&str>,
        notes: &mut Notes,
    ) {
        for list in &self.lists {
            let holds = |rule: &&Flat| {
                own(rule, list.direction)
                    .iter()
                    .all(|each| match interface {
                        Some(name) => each.covers(name),
                        None => each.others,
                    })
            };
            let rules = list.rules.iter().filter(holds);
            let records: Vec<RuleRecord> =
                rules.filter_map(|rule| record(rule, list, notes)).collect();
            let known = inventory.group(id).rules_mut(list.direction);
            known.extend(records);
        }
    }
}

fn own(rule: &Flat, direction: Direction) -> &[InterfaceMatch] {
    match direction {
        Direction::Inbound => &rule.condition.incoming,
        Direction::Outbound => &rule.condition.outgoing,
    }
}

fn record(rule: &Flat, list: &List, notes: &mut Notes) -> Option<RuleRecord> {
    let condition = &rule.condition;
    let remote = match list.direction {
        Direction::Inbound => &condition.source,
        Direction::Outbound => &condition.destination,
    };
    let all = AddressSet::any();
    let ranges = remote.as_ref().unwrap_or(&all).ranges();
    let own_family = ranges.filter(|range: &AddressRange| range.is_v4() != list.v6);
    let remote: Vec<String> = own_family.map(|range| range_text(&range)).collect();
    let last = rule.lines.last().copied().unwrap_or_default();
    let place = format!("{}:{last}", list.name);
    if remote.is_empty() {
        notes.not_kept(
            place,
            "the rule is left out: its address is of the other family",
        );
        return None;
    }
    let ports = condition.destination_ports.as_ref();
    let ports = ports
        .map(|ports| ports.intervals().to_vec())
        .unwrap_or_default();
    let program = if list.v6 { "ip6tables" } else { "iptables" };
    // A chain whose policy is not in the input has no line.
    let lines = rule.lines.iter().filter(|line| **line > 0);
    let lines: Vec<String> = lines.map(ToString::to_string).collect();
    let comment = match lines.as_slice() {
        [] => format!("{program}: a chain without a policy accepts"),
        [line] => format!("{program} line {line}"),
        lines => format!("{program} lines {}", lines.join(", ")),
    };
    Some(RuleRecord {
        allow: rule.allow,
        service: ServiceRecord::Protocol(condition.protocol.unwrap_or("all").to_owned(), ports),
        remote,
        description: rule.comment.clone(),
        comment: Some(comment),
        place,
    })
}
