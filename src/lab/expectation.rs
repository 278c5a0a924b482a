//! A file that says who is to reach whom, and what differs from it. Pure.
//!
//! ```text
//! # FROM -> TO SERVICE OUTCOME; * stands for every other one
//! ins-web1 -> ins-db tcp:3306 reached
//! * -> ins-db tcp:22,445 silent
//! * -> 2001:db8::20 tcp:3306 silent
//! ```

use super::cell::Cell;
use super::plan::NodePlan;
use super::probe::Found;
use super::reach::Wanted;
use super::service::LabService;
use crate::definition::closest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The line's number, counted from 1.
    pub line: usize,
    /// Who tries, by name or address; `*` is everybody.
    pub from: String,
    /// Where, by name or address; `*` is everywhere.
    pub to: String,
    /// What.
    pub services: BTreeSet<LabService>,
    /// What is to be found.
    pub found: Found,
}

/// Everybody.
const ALL: &str = "*";

/// Reads a file.
pub fn parse(text: &str) -> Result<Vec<Expectation>, Vec<String>> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match one(number, line) {
            Ok(expectation) => all.push(expectation),
            Err(error) => errors.push(format!("{number}: {error}")),
        }
    }
    if all.is_empty() && errors.is_empty() {
        errors.push(
            "1: it expects nothing: write lines such as `ins-web1 -> ins-db tcp:3306 reached`"
                .into(),
        );
    }
    match errors.is_empty() {
        true => Ok(all),
        false => Err(errors),
    }
}

fn one(line: usize, text: &str) -> Result<Expectation, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [from, "->", to, services, found] = words.as_slice() else {
        return Err(format!(
            "`{text}` is no expectation: write `ins-web1 -> ins-db tcp:3306 reached`"
        ));
    };
    let found = match *found {
        "reached" => Found::Reached,
        "closed" => Found::Closed,
        "silent" => Found::Silent,
        other => {
            return Err(format!(
                "`{other}` is no outcome: it is reached, closed or silent"
            ));
        }
    };
    Ok(Expectation {
        line,
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        services: LabService::parse_tried(services).map_err(|error| error.to_string())?,
        found,
    })
}

impl Expectation {
    fn is_about(&self, cell: &Cell) -> bool {
        let named = |asked: &str, own: &str, address: IpAddr| {
            asked == ALL || asked == own || asked.parse() == Ok(address)
        };
        named(&self.from, &cell.from, cell.source)
            && named(&self.to, &cell.to, cell.target)
            && self.services.contains(&cell.service)
    }

    /// How closely it names its ends: an address more than a name, a name more than everybody.
    fn closeness(&self) -> usize {
        let of = |asked: &str| match asked {
            ALL => 0,
            name => 1 + usize::from(name.parse::<IpAddr>().is_ok()),
        };
        of(&self.from) + of(&self.to)
    }
}

/// What has to be tried: services, senders and receivers; none is all.
///
/// # Errors
/// A line for each name and address that nobody in the lab has, with its number.
pub fn wanted(all: &[Expectation], nodes: &[NodePlan]) -> Result<Wanted, Vec<String>> {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let mut errors = Vec::new();
    let mut named = |of: fn(&Expectation) -> &String| -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for each in all.iter().filter(|each| of(each) != ALL) {
            match node_of(of(each), nodes) {
                Some(node) => drop(found.insert(node.name.clone())),
                None => errors.push(nobody(each.line, of(each), &names)),
            }
        }
        match all.iter().any(|each| of(each) == ALL) {
            true => BTreeSet::new(),
            false => found,
        }
    };
    let (from, to) = (named(|each| &each.from), named(|each| &each.to));
    match errors.is_empty() {
        true => Ok(Wanted {
            services: all.iter().flat_map(|each| each.services.clone()).collect(),
            from,
            to,
        }),
        false => Err(errors),
    }
}

/// Who has this name or address.
fn node_of<'n>(asked: &str, nodes: &'n [NodePlan]) -> Option<&'n NodePlan> {
    let address = asked.parse::<IpAddr>();
    let has = |node: &&NodePlan| match &address {
        Ok(address) => node.addresses().any(|(_, own)| own == *address),
        Err(_) => node.name == asked,
    };
    nodes.iter().find(has)
}

fn nobody(line: usize, asked: &str, names: &[&str]) -> String {
    if asked.parse::<IpAddr>().is_ok() {
        return format!("{line}: nobody in the lab has the address {asked}");
    }
    let help = match closest(asked, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write an instance of the definition, a host of its `lab`, or `*`".to_owned(),
    };
    format!("{line}: the lab has no `{asked}`: {help}")
}

/// What does not hold, as people read it: a line for what was expected, and one for what was found. Where several lines
/// are about a cell, the one that names its ends more closely holds; of two that do so alike, the later one.
pub fn differences(all: &[Expectation], cells: &[Cell]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut used = BTreeSet::new();
    for cell in cells {
        let about = all.iter().filter(|each| each.is_about(cell));
        let about: Vec<&Expectation> = about.collect();
        used.extend(about.iter().map(|each| each.line));
        let Some(expected) = about.into_iter().max_by_key(|each| each.closeness()) else {
            continue;
        };
        if expected.found == cell.found {
            continue;
        }
        let what = format!("{} -> {} {}", cell.from, cell.to, cell.service);
        let mut text = String::new();
        let _ = writeln!(text, "- {what} {} (line {})", expected.found, expected.line);
        let _ = write!(
            text,
            "+ {what} {} ({} to {}",
            cell.found, cell.source, cell.target
        );
        for (name, side) in [("outbound", &cell.outbound), ("inbound", &cell.inbound)] {
            if let Some(side) = side {
                let action = if side.allows { "allow" } else { "refuse" };
                let _ = write!(text, "; {name} {action} by {}", side.with_place());
            }
        }
        text += ")";
        texts.push(text);
    }
    for each in all.iter().filter(|each| !used.contains(&each.line)) {
        texts.push(format!(
            "- line {}: nothing was tried from {} to {}: they are the same, or have no addresses of one family",
            each.line, each.from, each.to
        ));
    }
    texts
}

/// How the ends of a cell are called.
type Naming = fn(&Cell) -> (String, String);

/// A file that holds for these cells: a line for each pair and service, and one for each address where those differ.
pub fn write(cells: &[Cell]) -> String {
    let mut out = String::from("# FROM -> TO SERVICE OUTCOME; * stands for every other one\n");
    let mut pairs: Vec<Vec<&Cell>> = Vec::new();
    let mut places: BTreeMap<(&str, &str, LabService), usize> = BTreeMap::new();
    for cell in cells {
        let place = places.entry((&cell.to, &cell.from, cell.service));
        let place = *place.or_insert_with(|| {
            pairs.push(Vec::new());
            pairs.len() - 1
        });
        pairs[place].push(cell);
    }
    for pair in pairs {
        // As few addresses as say it.
        let ways: [Naming; 4] = [
            |cell| (cell.from.clone(), cell.to.clone()),
            |cell| (cell.from.clone(), cell.target.to_string()),
            |cell| (cell.source.to_string(), cell.to.clone()),
            |cell| (cell.source.to_string(), cell.target.to_string()),
        ];
        let lines = |way: &Naming| {
            let mut lines: BTreeMap<(String, String), Found> = BTreeMap::new();
            for cell in &pair {
                if *lines.entry(way(cell)).or_insert(cell.found) != cell.found {
                    return None;
                }
            }
            Some(lines)
        };
        for ((from, to), found) in ways.iter().find_map(lines).unwrap_or_default() {
            let _ = writeln!(out, "{from} -> {to} {} {found}", pair[0].service);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cell::{Agreement, Expected};

    fn cell(from: &str, to: &str, port: u16, found: Found) -> Cell {
        Cell {
            from: from.into(),
            source: [10, 0, 0, 1].into(),
            to: to.into(),
            target: [10, 0, 0, 2].into(),
            service: LabService::Tcp(port),
            found,
            expected: Expected::Silent,
            outbound: None,
            inbound: None,
            agreement: Agreement::Equal,
        }
    }

    #[test]
    fn what_names_more_holds() {
        let all =
            parse("* -> ins-db tcp:22 silent # nobody\nins-a -> ins-db tcp:22 reached\n").unwrap();
        let right = [
            cell("ins-a", "ins-db", 22, Found::Reached),
            cell("ins-b", "ins-db", 22, Found::Silent),
        ];
        assert_eq!(differences(&all, &right), [] as [&str; 0]);
        let wrong = [
            cell("ins-a", "ins-db", 22, Found::Silent),
            cell("ins-b", "ins-db", 22, Found::Closed),
        ];
        let found = differences(&all, &wrong);
        assert!(found[0].starts_with("- ins-a -> ins-db tcp:22 reached (line 2)\n+ ins-a -> ins-db tcp:22 silent (10.0.0.1 to 10.0.0.2"), "{found:?}");
        assert!(found[1].contains("line 1"), "{found:?}");
    }

    #[test]
    fn what_was_never_tried_does_not_hold() {
        let all = parse("ins-a -> ins-db tcp:22 reached").unwrap();
        assert_eq!(differences(&all, &[]).len(), 1);
    }

    #[test]
    fn wrong_lines_are_all_named() {
        let errors = parse("ins-a ins-b tcp:22 silent\na -> b tcp:22 open\na -> b tcp:0 silent")
            .unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(parse("# nothing").is_err());
    }

    /// Of two families, and of a sender with two interfaces.
    #[test]
    fn what_is_written_of_several_addresses_holds() {
        let at = |source: &str, target: &str, found| Cell {
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
            ..cell("ins-a", "ins-db", 22, found)
        };
        use Found::{Closed, Reached, Silent};
        for (outcomes, lines) in [
            ([Reached, Reached, Reached], 1),
            ([Reached, Reached, Silent], 2),
            ([Reached, Silent, Silent], 3),
            ([Reached, Silent, Closed], 3),
        ] {
            let cells = [
                at("10.0.0.1", "10.0.0.2", outcomes[0]),
                at("10.1.0.1", "10.0.0.2", outcomes[1]),
                at("2001:db8::1", "2001:db8::2", outcomes[2]),
            ];
            let text = write(&cells);
            assert_eq!(text.lines().count(), 1 + lines, "{text}");
            let all = parse(&text).unwrap();
            assert_eq!(differences(&all, &cells), [] as [&str; 0], "{text}");
            // Each of them is looked at.
            for place in 0..3 {
                let mut wrong = cells.clone();
                wrong[place].found = match outcomes[place] {
                    Silent => Reached,
                    _ => Silent,
                };
                assert_eq!(differences(&all, &wrong).len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn addresses_are_those_of_nodes() {
        let node = |name: &str, address: &str| NodePlan {
            name: name.into(),
            instance: None,
            interfaces: vec![crate::lab::plan::InterfacePlan {
                name: "eth0".into(),
                addresses: vec![address.parse().unwrap()],
            }],
            services: BTreeSet::new(),
        };
        let nodes = [node("ins-a", "10.0.0.1"), node("ins-db", "2001:db8::2")];
        let all = parse("10.0.0.1 -> 2001:db8::2 tcp:22 silent").unwrap();
        let wanted = super::wanted(&all, &nodes).unwrap();
        assert_eq!(wanted.from, ["ins-a".to_owned()].into());
        assert_eq!(wanted.to, ["ins-db".to_owned()].into());
        let all = parse("\n10.0.0.9 -> ins-db tcp:22 silent").unwrap();
        let error = super::wanted(&all, &nodes).unwrap_err();
        assert_eq!(error, ["2: nobody in the lab has the address 10.0.0.9"]);
        // All at once, beside `*` too.
        let all = parse("ins-dbb -> ins-bd tcp:22 silent\n* -> office tcp:22 silent").unwrap();
        assert_eq!(
            super::wanted(&all, &nodes).unwrap_err(),
            [
                "1: the lab has no `ins-dbb`: did you mean `ins-db`?",
                "1: the lab has no `ins-bd`: did you mean `ins-db`?",
                "2: the lab has no `office`: write an instance of the definition, a host of its `lab`, or `*`",
            ]
        );
    }

    #[test]
    fn what_is_written_holds() {
        let cells = [
            cell("ins-a", "ins-db", 22, Found::Reached),
            cell("ins-b", "ins-db", 23, Found::Silent),
        ];
        let all = parse(&write(&cells)).unwrap();
        assert_eq!(differences(&all, &cells), [] as [&str; 0]);
    }
}
