//! What it costs to compile, check, load and switch the five rule sets, in time and memory, beside the same policy as plain
//! nft rules, through both `iptables-restore` and through `ufw reload`: one table, everything measured in one run, in
//! namespaces.
//!
//! `cargo bench --bench load`
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[path = "common/lists.rs"]
mod lists;
#[path = "common/processor.rs"]
mod processor;
#[path = "common/programs.rs"]
mod programs;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "common/ufw.rs"]
mod ufw;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

mod load {
    pub mod memory;
    pub mod ours;
    #[path = "../../tests/daemon/process.rs"]
    pub mod process;
    pub mod replay;
    #[path = "../../tests/daemon/site.rs"]
    pub mod site;
    pub mod table;
    pub mod ways;

    use super::support;
}

use load::ours::Through;
use load::table::{Row, heads, promises};
use load::ways::measure;
use load::{ours, replay, table};
use programs::{feed, undo};
use std::time::Duration;
use support::Host;
use ufw::{Ufw, user_rules};
use workloads::Workload;

/// Counted runs of each figure, after one to warm up; the median is printed.
const RUNS: usize = 5;
/// Of ufw, which takes long.
const UFW_RUNS: usize = 3;

fn main() -> std::process::ExitCode {
    // An ordinary user's namespaces take no transaction as long as some of the others' are.
    if !nix::unistd::geteuid().is_root() {
        eprintln!("cannot measure here: only root may load all that is compared");
        return std::process::ExitCode::FAILURE;
    }
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return std::process::ExitCode::FAILURE;
    }
    let ufw = Ufw::new();
    println!("{}", heads(RUNS));
    let mut promised = Vec::new();
    for workload in workloads::all() {
        let rows = rows(&workload, ufw.as_ref());
        for row in &rows {
            println!("{row}");
        }
        promised.extend(promises(workload.name, &rows));
    }
    promised.push(table::program());
    println!("\n{}", figures::table(&promised));
    std::process::ExitCode::SUCCESS
}

/// Everyone's cost of one workload.
fn rows(workload: &Workload, ufw: Option<&Ufw>) -> Vec<Row> {
    let policy = workload.policy();
    let host = Host::new("host");
    let pure = ours::pure(&policy, RUNS);
    let elements = pure.ruleset.element_count();
    let steps = |through| ours::steps(&host, &pure.ruleset, through, RUNS);
    let daemon = ours::daemon(workload);
    let mut rows = vec![
        Row::ours(workload, &pure, &steps(Through::Netlink), &daemon),
        Row::through_nft(&pure, &steps(Through::Nft)),
        Row::of(
            "secgroupd's messages, from memory",
            pure.ruleset.rule_count(),
            replay::measured(&host, &pure.ruleset, RUNS),
        ),
    ];

    let nft = |text: &str, table: &str| {
        measure(
            RUNS,
            || feed(host.command("nft").args(["-f", "-"]), text),
            || undo(&host, &["nft", "delete", "table", "inet", table]),
        )
    };
    let text = lists::nft(&policy);
    rows.push(Row::of(
        "nft -f, a rule each",
        lines(&text),
        nft(&text, "plain"),
    ));
    // Also of a workload whose elements are few: what the same number costs in one piece.
    if elements > 0 {
        let map = nft(&table::interval_map(elements), "one");
        rows.push(Row::of("nft -f, one interval map of as many", 0, map).elements(elements));
    }

    let list = lists::iptables(&policy);
    for variant in ["nft", "legacy"] {
        let (restore, program) = (
            format!("iptables-{variant}-restore"),
            format!("iptables-{variant}"),
        );
        let load = || {
            // A long list first, as a set that the rules ask.
            let sets = match list.sets.is_empty() {
                true => Duration::ZERO,
                false => feed(host.command("ipset").arg("restore"), &list.sets),
            };
            sets + feed(&mut host.command(&restore), &list.rules)
        };
        let cost = measure(RUNS, load, || {
            undo(&host, &[&program, "-t", "mangle", "-F"]);
            undo(&host, &["ipset", "destroy"]);
        });
        let way = match list.sets.is_empty() {
            true => restore.clone(),
            false => format!("ipset restore, {restore}"),
        };
        rows.push(Row::of(&way, lines(&list.rules), cost));
    }
    // ufw cannot ask a set.
    if let Some(ufw) = ufw.filter(|_| list.sets.is_empty()) {
        let own = Host::new("ufw");
        ufw.rules(&user_rules(&list.rules));
        let cost = measure(UFW_RUNS, || feed(&mut ufw.reload(&own), ""), || {});
        rows.push(Row::of("ufw reload", lines(&list.rules), cost).no_kernel());
    }
    rows
}

/// The rules of a text.
fn lines(text: &str) -> usize {
    let is_rule =
        |line: &&str| line.ends_with("accept") || line.ends_with("drop") || line.starts_with("-A ");
    text.lines().filter(is_rule).count()
}
