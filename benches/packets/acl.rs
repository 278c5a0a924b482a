//! What the network ACL of a subnet costs a packet of a tracked flow: W1 without one, and behind some.

use super::contestants::answered;
use super::lanes::Lane;
use super::rounds::run;
use super::stage::Bench;
use super::traffic::{Ends, OWN, of_established_flows};
use crate::workloads::{Workload, web_server};
use secgroupd::ruleset::compile;
use std::fmt::Write;

/// What is in front of the interface, and nanoseconds above an empty hook of a packet of a flow that the host has opened:
/// W1 lets no UDP in that the peer opens.
pub struct BehindAcl {
    /// In words.
    pub name: &'static str,
    /// Nanoseconds.
    pub nanoseconds: f64,
}

impl Bench {
    /// W1 without an ACL first.
    pub fn acl(&self) -> Vec<BehindAcl> {
        let cases = [
            ("no network ACL", None),
            ("4 entries of three parts", Some(entries(3, ""))),
            ("20 entries of three parts", Some(entries(19, ""))),
            (
                "20 entries of five parts",
                Some(entries(19, ", source_port: 1024-65535")),
            ),
        ];
        let samples = of_established_flows(Ends::of(0).opened_here(), self.frames);
        let lanes = cases.map(|(name, entries)| {
            let lane = Lane::new(&self.world);
            let workload = behind(entries.as_deref());
            lane.host.enforce_ruleset(&compile(&workload.policy()));
            lane.speak();
            lane.verify(name, &samples[..256]);
            (name, lane)
        });
        let empty = std::iter::once(&self.empty[0]);
        let all = empty.chain(lanes.iter().map(|(_, lane)| lane));
        let mut cells: Vec<_> = all.map(|lane| self.cell(lane, &samples)).collect();
        run(&mut cells);
        let taken: Vec<f64> = cells.iter().map(|cell| cell.nanoseconds()).collect();
        let rows = lanes.iter().zip(1..).map(|((name, _), at)| BehindAcl {
            name,
            nanoseconds: taken[at] - taken[0],
        });
        rows.collect()
    }
}

/// Entries about a port each, alternating, and one that lets pass what is left.
fn entries(count: u16, more: &str) -> String {
    let mut out = String::new();
    for (list, remote) in [("inbound", "source"), ("outbound", "destination")] {
        let _ = writeln!(out, "    {list}:");
        for number in 0..count {
            let action = if number % 3 == 0 { "refuse" } else { "allow" };
            let protocol = if number % 2 == 0 { "tcp" } else { "udp" };
            let port = 2000 + 10 * number;
            let _ = writeln!(
                out,
                "      - {{ action: {action}, protocol: {protocol}, port: {port}, {remote}: 203.0.113.0/24{more} }}"
            );
        }
        let _ = writeln!(
            out,
            "      - {{ action: allow, protocol: all, {remote}: any }}"
        );
    }
    out
}

/// W1, in a subnet of its own.
fn behind(entries: Option<&str>) -> Workload {
    let mut workload = answered(&web_server());
    if let Some(entries) = entries {
        let _ = write!(
            workload.definition,
            "\nsubnets: {{ subnet-a: {{ cidr: {OWN}/32, network_acl: acl-a }} }}\nnetwork_acls:\n  acl-a:\n{entries}"
        );
    }
    workload
}

/// As a table.
pub fn table(rows: &[BehindAcl]) -> String {
    let mut out = String::from(
        "A packet of a tracked flow under W1, by what is in front of the interface:\n\n\
         | | nanoseconds |\n|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(out, "| {} | {:.0} |", row.name, row.nanoseconds);
    }
    out
}
