//! The matrix as people read it.

use crate::lab::cell::{Agreement, Cell, Judgement};
use crate::lab::probe::Found;
use crate::lab::reach::Reach;
use crate::policy::Direction;
use crate::words::count;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

/// One row: a sender's cells of one receiver's address, or of all that are alike.
struct MatrixRow<'r> {
    label: String,
    cells: Vec<Option<&'r Cell>>,
}

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const GREY: &str = "\u{1b}[90m";
const MAGENTA: &str = "\u{1b}[35m";
const RED: &str = "\u{1b}[1;31m";
const BOLD: &str = "\u{1b}[1m";
const END: &str = "\u{1b}[0m";

/// The whole: a block for each receiver, a row for each sender, a column for each service, and what it all means.
pub fn matrix(reach: &Reach, colour: bool) -> String {
    let mut out = String::new();
    let paint = |code: &str, text: &str| match colour {
        true => format!("{code}{text}{END}"),
        false => text.to_owned(),
    };
    let mut by_pair: BTreeMap<(&str, &str), Vec<&Cell>> = BTreeMap::new();
    for cell in &reach.cells {
        let pair = (cell.to.as_str(), cell.from.as_str());
        by_pair.entry(pair).or_default().push(cell);
    }
    for node in &reach.nodes {
        let rows = rows(reach, &node.name, &by_pair);
        if rows.is_empty() {
            continue;
        }
        let groups = match node.groups.as_slice() {
            [] => String::new(),
            groups => format!("  {}", groups.join(", ")),
        };
        let title = paint(BOLD, &format!("to {}", node.name));
        let _ = writeln!(out, "{title} ({}){groups}", node.addresses.join(", "));
        let label = rows.iter().map(|row| row.label.len()).max().unwrap_or(0);
        let _ = write!(out, "  {:label$}", "");
        for service in &reach.services {
            let _ = write!(out, "  {:width$}", service.to_string(), width = WIDTH);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        for row in rows {
            let _ = write!(out, "  {:label$}", row.label);
            for cell in row.cells {
                let (text, code) = cell.map_or((String::new(), ""), shown);
                let _ = write!(out, "  {}", paint(code, &format!("{text:WIDTH$}")));
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out.push('\n');
    }
    out += LEGEND;
    out += &summary(reach, &paint);
    out
}

/// `reached ++ !`.
const WIDTH: usize = 10;

const LEGEND: &str = "\
reached: something answered. closed: the host answered that nothing listens. silent: nothing came back.
The marks are what explain predicts for the sender's outbound and the receiver's inbound: + allow, - refuse,
. no group (a host outside).
";

fn shown(cell: &Cell) -> (String, &'static str) {
    let text = format!(
        "{} {}{}",
        cell.found,
        mark(&cell.outbound),
        mark(&cell.inbound)
    );
    match (&cell.agreement, cell.found) {
        (Agreement::Different(_), _) => (format!("{text}!"), RED),
        (Agreement::Explained(_), _) => (format!("{text}*"), MAGENTA),
        (_, Found::Reached) => (text, GREEN),
        (_, Found::Closed) => (text, YELLOW),
        (_, Found::Silent) => (text, GREY),
    }
}

fn mark(side: &Option<Judgement>) -> char {
    match side {
        None => '.',
        Some(side) if side.allows => '+',
        Some(_) => '-',
    }
}

/// The rows of one receiver. Ways between the same two that are alike in all are one row.
fn rows<'r>(
    reach: &'r Reach,
    to: &'r str,
    by_pair: &BTreeMap<(&'r str, &'r str), Vec<&'r Cell>>,
) -> Vec<MatrixRow<'r>> {
    let mut rows = Vec::new();
    for from in &reach.nodes {
        let mut ways: BTreeMap<(IpAddr, IpAddr), Vec<Option<&Cell>>> = BTreeMap::new();
        let mine = by_pair.get(&(to, from.name.as_str()));
        for cell in mine.into_iter().flatten().copied() {
            let column = reach
                .services
                .iter()
                .position(|service| *service == cell.service);
            let row = ways
                .entry((cell.source, cell.target))
                .or_insert_with(|| vec![None; reach.services.len()]);
            if let Some(place) = column.and_then(|column| row.get_mut(column)) {
                *place = Some(cell);
            }
        }
        let look = |cells: &Vec<Option<&Cell>>| -> Vec<String> {
            cells
                .iter()
                .map(|cell| cell.map_or(String::new(), |cell| shown(cell).0))
                .collect()
        };
        let mut looks = ways.values().map(look);
        let first = looks.next();
        let alike = looks.all(|other| Some(&other) == first.as_ref());
        // An interface is named by its address, where there is more than one way to the same target.
        let sources: BTreeSet<IpAddr> = ways.keys().map(|(source, _)| *source).collect();
        let targets: BTreeSet<IpAddr> = ways.keys().map(|(_, target)| *target).collect();
        let several = sources.len()
            > usize::from(ways.keys().any(|(source, _)| source.is_ipv4()))
                + usize::from(ways.keys().any(|(source, _)| source.is_ipv6()));
        for ((source, target), cells) in ways {
            let mut label = format!("from {}", from.name);
            if !alike && several {
                let _ = write!(label, " {source}");
            }
            if !alike && targets.len() > 1 {
                let _ = write!(label, " at {target}");
            }
            rows.push(MatrixRow { label, cells });
            if alike {
                break;
            }
        }
    }
    rows
}

fn summary(reach: &Reach, paint: &dyn Fn(&str, &str) -> String) -> String {
    let mut out = format!(
        "\n{} in {:.1} s: {} reached, {} closed, {} silent.",
        count(reach.cells.len(), "cell"),
        reach.seconds,
        reach.count(Found::Reached),
        reach.count(Found::Closed),
        reach.count(Found::Silent)
    );
    let explained: Vec<(&Cell, &str)> = reach
        .cells
        .iter()
        .filter_map(|cell| match &cell.agreement {
            Agreement::Explained(why) => Some((cell, why.as_str())),
            _ => None,
        })
        .collect();
    let different: Vec<(&Cell, &str)> = reach.differences().collect();
    if explained.is_empty() && different.is_empty() {
        out += " Every cell equals its prediction.\n";
    } else {
        out.push('\n');
    }
    for (title, list, code) in [
        (
            "Not as the groups alone would have it (*):",
            explained,
            MAGENTA,
        ),
        (
            "Not as predicted, and nothing explains it (!):",
            different,
            RED,
        ),
    ] {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", paint(code, title));
        for (cell, why) in list.iter().take(MOST_LISTED) {
            let _ = writeln!(out, "  {}: {why}", one(cell));
        }
        if list.len() > MOST_LISTED {
            let _ = writeln!(out, "  and {} more", list.len() - MOST_LISTED);
        }
    }
    for error in &reach.errors {
        let _ = writeln!(out, "{} {error}", paint(RED, "not tried:"));
    }
    if let Some(error) = &reach.last_error {
        let _ = writeln!(out, "\n{error}");
    }
    out
}

/// The most differences that are listed.
const MOST_LISTED: usize = 20;

/// `office -> ins-db tcp:22: silent`.
pub fn one(cell: &Cell) -> String {
    format!(
        "{} -> {} {}: {}",
        cell.from, cell.to, cell.service, cell.found
    )
}

/// What both sides' rules say, each with its place.
pub fn judgements(cell: &Cell) -> String {
    let mut out = String::new();
    let sides = [
        ("outbound of", &cell.from, &cell.outbound),
        ("inbound of", &cell.to, &cell.inbound),
    ];
    for (direction, node, side) in sides {
        let said = match side {
            None => "no group, a host outside".to_owned(),
            Some(side) => {
                let action = if side.allows { "allow" } else { "refuse" };
                let by = match side.layer.as_str() {
                    "group" => format!("rule {}", side.with_place()),
                    "default" => "no rule of the bound groups matches".to_owned(),
                    _ => side.with_place(),
                };
                format!("{action}: {by}")
            }
        };
        let _ = writeln!(out, "  {direction} {node}: {said}");
    }
    out
}

/// A refusal by a rule of a group that alone keeps somebody from something; of several such rules the one that refuses
/// least, whose edit is seen best.
pub fn refusal_to_edit(reach: &Reach) -> Option<(&Cell, &Judgement)> {
    let mut refusals: BTreeMap<&str, Vec<(&Cell, &Judgement)>> = BTreeMap::new();
    for cell in &reach.cells {
        let Some((direction, side)) = cell.refused_by() else {
            continue;
        };
        let other = match direction {
            Direction::Outbound => &cell.inbound,
            Direction::Inbound => &cell.outbound,
        };
        let alone = other.as_ref().is_none_or(|other| other.allows);
        if let Some(place) = &side.place
            && alone
            && side.layer == "group"
            && reach
                .lines
                .get(place)
                .is_some_and(|line| line.contains("action: refuse"))
        {
            refusals.entry(place).or_default().push((cell, side));
        }
    }
    let least = refusals.into_values().min_by_key(Vec::len)?;
    least.into_iter().next()
}
