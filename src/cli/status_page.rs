//! The page that `secgroupd status` prints.

use super::print;
use crate::daemon::report::Status;
use crate::definition::printable as in_one_line;
use crate::host::report::{Hits, RuleEnd, Summary, now};
use crate::policy::Reason;
use crate::source::shown::shown;
use crate::words::count;
use comfy_table::CellAlignment;
use std::collections::HashMap;
use std::fmt::Write;

/// Packets a second, by what decided.
pub type Rates = HashMap<Counted, f64>;

/// What a count is of: a layer may have one of what it refused, and one of what it only observed.
pub type Counted = (String, bool);

/// What these hits are of.
pub fn counted(hit: &Hits) -> Counted {
    let observes = hit.action.as_deref() == Some("observe");
    (hit.reason.clone(), observes)
}

/// The page that a person reads.
pub fn page(status: &Status, rates: Option<&Rates>) -> String {
    let mut page = String::new();
    match &status.enforced {
        Some(summary) => page += &enforced(status, summary),
        None => {
            let what = match status.inherited {
                Some(generation) => {
                    format!("Generation {generation} of an earlier daemon is enforced, and nothing")
                }
                None if status.closed => {
                    "This host is closed: it refuses new inbound flows until a policy is enforced. Nothing is enforced".to_owned()
                }
                None => match &status.unseen {
                    Some(why) => format!(
                        "Whether anything is enforced on this host is not known: {}. Nothing is",
                        in_one_line(why)
                    ),
                    None => "Nothing is enforced".to_owned(),
                },
            };
            let _ = writeln!(
                page,
                "{what} by this daemon (secgroupd {}, pid {}).",
                status.version, status.pid
            );
        }
    }
    if let Some(failure) = &status.last_error {
        let what = match failure.diagnostics.is_empty() {
            true => "The last attempt to enforce failed",
            false => "The definition was refused",
        };
        let _ = writeln!(
            page,
            "\n{what} {} ago, and nothing was changed:\n{}",
            ago(failure.at),
            indented(&failure.text)
        );
    }
    let remarks = status.enforced.iter().flat_map(|summary| &summary.remarks);
    for (number, remark) in remarks.enumerate() {
        let title = if number == 0 {
            "\nRemarks on the definition:\n"
        } else {
            ""
        };
        let _ = writeln!(page, "{title}{}", indented(remark));
    }
    for (title, lines) in [
        ("Warnings", &status.warnings),
        ("Notes", &status.notes),
        ("Not seen by secgroupd on this host", &status.blind_spots),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(page, "\n{title}:");
            lines
                .iter()
                .for_each(|line| page += &format!("  - {}\n", in_one_line(line)));
        }
    }
    if !status.hits.is_empty() {
        let _ = writeln!(page, "\n{}", hits(&status.hits, rates));
        page += &never_hit(&status.hits);
    }
    page
}

fn enforced(status: &Status, summary: &Summary) -> String {
    let [inbound, outbound] = summary.rules;
    let state = match (&status.last_error, status.warnings.is_empty()) {
        (None, true) if status.not_kept.is_none() => "enforced",
        _ => "enforced, but DEGRADED",
    };
    let mut page = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(page, "{name:>12}  {value}");
    };
    line("State", format!("{state}, for {}", ago(summary.since)));
    line(
        "Generation",
        format!(
            "{} (switched in {:.0} ms); {}, {} since the daemon started",
            summary.generation,
            summary.switched_after_ms,
            count(status.reloads as usize, "load"),
            count(status.failures as usize, "failure")
        ),
    );
    line("Protection", status.protection.clone());
    if let Some(last) = &status.last_restoration {
        line(
            "Restored",
            format!(
                "{}, last {} ago: {}",
                count(status.restorations as usize, "time"),
                ago(last.at),
                in_one_line(&last.what)
            ),
        );
    }
    if let Some(trial) = &status.trial {
        line(
            "On trial",
            format!(
                "{}: `secgroupd confirm` within {:.0} s, or the policy of before comes back",
                in_one_line(&trial.candidate.display().to_string()),
                trial.seconds_left
            ),
        );
    }
    if status.held {
        line(
            "Held",
            "saves of the definition are not followed until `secgroupd reload`".into(),
        );
    }
    if status.from_kept {
        line(
            "Origin",
            match &status.taken_back {
                Some(candidate) => format!(
                    "the policy that was kept: the candidate {} was tried and not confirmed",
                    shown(candidate)
                ),
                None => "the policy that was kept; no definition was enforced since".into(),
            },
        );
    }
    if let Some(why) = &status.not_kept {
        line(
            "Not kept",
            format!(
                "{}: the next start does not know this policy",
                in_one_line(why)
            ),
        );
    }
    line("Instance", summary.instance.clone());
    line("Definition", shown(&summary.definition));
    if summary.definition != status.definition {
        line(
            "Watched",
            match status.trial.is_some() || status.held {
                true => shown(&status.definition),
                false => format!(
                    "{} (saving it replaces what is enforced)",
                    shown(&status.definition)
                ),
            },
        );
    }
    if summary.observe {
        line(
            "Mode",
            "observe: nothing is refused; what would be is counted below".into(),
        );
    }
    line("Rules", format!("{inbound} inbound, {outbound} outbound"));
    let (ended, ending): (Vec<&RuleEnd>, Vec<&RuleEnd>) =
        summary.ending.iter().partition(|end| end.ended);
    if let Some(next) = ending.iter().min_by_key(|end| &end.until) {
        let later = match ending.len() - 1 {
            0 => String::new(),
            later => format!("; {} later", count(later, "rule")),
        };
        line("Ends", format!("{} at {}{later}", next.rule, next.until));
    }
    if !ended.is_empty() {
        line("Ended", some_of(&ended));
    }
    line("Flows", flows(status));
    let smtp = if summary.smtp_blocked {
        "blocked"
    } else {
        "not blocked"
    };
    line(
        "TCP 25",
        format!(
            "{smtp} to external addresses; {} of {} unblocks spent",
            summary.unblocks[0], summary.unblocks[1]
        ),
    );
    for interface in &summary.interfaces {
        let groups: Vec<String> = interface
            .groups
            .iter()
            .map(|group| {
                let observes = if group.observe { ", observes" } else { "" };
                match &group.name {
                    Some(name) => format!("{} ({}){observes}", group.id, in_one_line(name)),
                    None => format!("{}{observes}", group.id),
                }
            })
            .collect();
        let groups = if groups.is_empty() {
            match summary.observe {
                true => "no group: everything would be refused".into(),
                false => "no group: everything is refused".into(),
            }
        } else {
            groups.join(", ")
        };
        let acl = match &interface.network_acl {
            Some(acl) => format!("; behind the network ACL {acl}"),
            None => String::new(),
        };
        line("Interface", format!("{}: {groups}{acl}", interface.name));
    }
    page
}

/// `sg-web/in/2, sg-web/in/3`, and how many more.
fn some_of(ended: &[&RuleEnd]) -> String {
    const NAMED: usize = 5;
    let named: Vec<&str> = ended
        .iter()
        .take(NAMED)
        .map(|end| end.rule.as_str())
        .collect();
    match ended.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn flows(status: &Status) -> String {
    let ended = format!(
        "{} judged again by changes of the policy since the daemon started, {} of them ended",
        status.judged_again_flows, status.ended_flows
    );
    match &status.tracked_flows {
        Some(tracked) if tracked.max > 0 => format!(
            "{} of {} tracked ({} %); {ended}",
            tracked.count,
            tracked.max,
            tracked.percent()
        ),
        Some(tracked) => format!("{} tracked; {ended}", tracked.count),
        None => ended,
    }
}

fn never_hit(hits: &[Hits]) -> String {
    let rules = || hits.iter().filter(|hit| hit.reason.starts_with("sg-"));
    let never = rules().filter(|hit| hit.packets == 0).count();
    match (never, rules().count()) {
        (0, _) => String::new(),
        (never, all) => format!("{never} of {} never hit.\n", count(all, "rule")),
    }
}

/// What becomes of the packets.
fn action(hit: &Hits) -> &str {
    match (hit.action.as_deref(), hit.reason.as_str()) {
        (Some("observe"), _) => "would refuse",
        (Some(action), _) => action,
        (None, layer) if Reason::is_refusing_layer(layer) => "refuse",
        (None, _) => "allow",
    }
}

fn hits(hits: &[Hits], rates: Option<&Rates>) -> String {
    let mut table = print::table();
    let mut header = vec![
        "Decided by",
        "Action",
        "Packets",
        "Bytes",
        "Last hit",
        "Place",
    ];
    if rates.is_some() {
        header.insert(4, "Packets/s");
    }
    table.set_header(header);
    for hit in hits {
        let last = match hit.last {
            Some(last) => format!("{} ago", ago(last)),
            None => "never".to_owned(),
        };
        let mut row = vec![
            hit.reason.clone(),
            action(hit).to_owned(),
            hit.packets.to_string(),
            hit.bytes.to_string(),
            last,
            hit.place.clone().unwrap_or_default(),
        ];
        if let Some(rates) = rates {
            let rate = rates.get(&counted(hit)).copied().unwrap_or(0.0);
            row.insert(4, format!("{rate:.0}"));
        }
        table.add_row(row);
    }
    let right: &[usize] = if rates.is_some() { &[2, 3, 4] } else { &[2, 3] };
    for column in right.iter().copied() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `12 s`, `3 min`, `5 h`, `2 days`.
fn ago(at: u64) -> String {
    match now().saturating_sub(at) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
