//! A file that says who is to reach whom, and what differs from it. Pure.
//!
//! ```text
//! # FROM -> TO SERVICE OUTCOME; * stands for every other one
//! ins-web1 -> ins-db tcp:3306 reached
//! * -> ins-db tcp:22,445 silent
//! ```

use super::cell::Cell;
use super::probe::Found;
use super::service::Service;
use std::collections::BTreeSet;
use std::fmt::Write;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The line's number, counted from 1.
    pub line: usize,
    /// Who tries; `*` is everybody.
    pub from: String,
    /// Where; `*` is everywhere.
    pub to: String,
    /// What.
    pub services: BTreeSet<Service>,
    /// What is to be found.
    pub found: Found,
}

/// Everybody.
const ALL: &str = "*";

/// Reads a file.
///
/// # Errors
///
/// A line for each line that is none.
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
        services: Service::parse_tried(services)?,
        found,
    })
}

impl Expectation {
    fn is_about(&self, cell: &Cell) -> bool {
        let named = |name: &str, own: &str| name == ALL || name == own;
        named(&self.from, &cell.from)
            && named(&self.to, &cell.to)
            && self.services.contains(&cell.service)
    }
}

/// What has to be tried: services, senders and receivers; none is all.
pub fn wanted(all: &[Expectation]) -> super::reach::Wanted {
    let names = |of: fn(&Expectation) -> &String| -> BTreeSet<String> {
        match all.iter().any(|each| of(each) == ALL) {
            true => BTreeSet::new(),
            false => all.iter().map(|each| of(each).clone()).collect(),
        }
    };
    super::reach::Wanted {
        services: all.iter().flat_map(|each| each.services.clone()).collect(),
        from: names(|each| &each.from),
        to: names(|each| &each.to),
    }
}

/// What does not hold, as people read it: a line for what was expected, and one for what was found. Where several lines are about a
/// cell, the one that names more holds; of two that name as much, the later one.
pub fn differences(all: &[Expectation], cells: &[Cell]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut used = BTreeSet::new();
    for cell in cells {
        let about = all.iter().filter(|each| each.is_about(cell));
        let names =
            |each: &&Expectation| usize::from(each.from != ALL) + usize::from(each.to != ALL);
        let about: Vec<&Expectation> = about.collect();
        used.extend(about.iter().map(|each| each.line));
        let Some(expected) = about.into_iter().max_by_key(names) else {
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

/// A file that holds for these cells: a line for each pair and outcome. Addresses that differ are left to the reader, as a comment.
pub fn write(cells: &[Cell]) -> String {
    let mut out = String::from("# FROM -> TO SERVICE OUTCOME; * stands for every other one\n");
    let mut seen = BTreeSet::new();
    for cell in cells {
        let key = (cell.to.clone(), cell.from.clone(), cell.service);
        if seen.insert(key) {
            let _ = writeln!(
                out,
                "{} -> {} {} {}",
                cell.from, cell.to, cell.service, cell.found
            );
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
            service: Service::Tcp(port),
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
