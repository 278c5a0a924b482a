//! A host with four interfaces, each bound to a list of its own: what a packet of a tracked flow costs at each of them.

use super::before;
use super::lanes::Lane;
use super::rounds::run;
use super::stage::Bench;
use super::traffic::{Ends, of_established_flows};
use crate::workloads::{Workload, web_server};
use secgroupd::ruleset::compile;
use std::fmt::Write;

/// The interfaces.
const INTERFACES: u8 = 4;

/// What a packet costs at an interface.
pub struct At {
    /// `eth0`
    pub interface: String,
    /// Whether the peer has opened the flow; else the host has.
    pub opened_there: bool,
    /// Nanoseconds above an empty hook, by the program of before.
    pub before: Option<f64>,
    /// By this one.
    pub now: f64,
}

impl Bench {
    /// All interfaces, flows of both sides.
    pub fn wide(&self) -> Vec<At> {
        let workload = four_lists();
        let now = Lane::several(&self.world, INTERFACES);
        now[0].host.enforce_ruleset(&compile(&workload.policy()));
        let before = before::program().map(|_| {
            let lanes = Lane::several(&self.world, INTERFACES);
            before::enforce(&lanes[0].host, &workload);
            lanes
        });
        let before = before.unwrap_or_default();
        now.iter().chain(&before).for_each(Lane::speak);
        let samples = |interface: u8, opened_there: bool| match opened_there {
            true => of_established_flows(Ends::of(interface).opened_there(), self.frames),
            false => of_established_flows(Ends::of(interface).opened_here(), self.frames),
        };
        let rows: Vec<(usize, bool)> = [false, true]
            .into_iter()
            .flat_map(|opened_there| (0..now.len()).map(move |at| (at, opened_there)))
            .collect();
        let nothing = [false, true].map(|there| self.cell(&self.empty[0], &samples(0, there)));
        let mut cells = Vec::from(nothing);
        for (at, opened_there) in &rows {
            let samples = samples(*at as u8, *opened_there);
            for lane in [now.get(*at), before.get(*at)].into_iter().flatten() {
                lane.verify(
                    &format!("four lists, {}", lane.interface()),
                    &samples[..256],
                );
                cells.push(self.cell(lane, &samples));
            }
        }
        run(&mut cells);
        let mut cells = cells.iter().map(|cell| cell.nanoseconds());
        let [here, there] = [0, 1].map(|_| cells.next().expect("the empty hook's"));
        rows.into_iter()
            .map(|(at, opened_there)| {
                let nothing = if opened_there { there } else { here };
                let mut above = || cells.next().expect("one for each lane") - nothing;
                At {
                    interface: now[at].interface(),
                    opened_there,
                    now: above(),
                    before: before.get(at).map(|_| above()),
                }
            })
            .collect()
    }
}

/// W1 for each interface, with a rule that the others have not; and what lets out the flows that the host opens.
pub fn four_lists() -> Workload {
    let single = web_server();
    let rules: String = single
        .definition
        .lines()
        .filter(|line| line.starts_with("      - "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut definition =
        "version: 1\nplatform: { blocked_ports: { profile: none } }\nsecurity_groups:\n".to_owned();
    for number in 0..INTERFACES {
        let _ = write!(
            definition,
            "  sg-{number}:\n    inbound:\n{rules}      - {{ action: allow, protocol: tcp, port: 700{number}, source: any }}\n\
             \x20   outbound:\n      - {{ action: allow, protocol: udp, port: 5300-5399, destination: any }}\n"
        );
    }
    definition += "instances:\n  ins-a:\n    interfaces:\n";
    for number in 0..INTERFACES {
        let own = Ends::of(number).own;
        let _ = writeln!(
            definition,
            "      eth{number}: {{ addresses: [{own}], security_groups: [sg-{number}] }}"
        );
    }
    Workload {
        name: "four lists",
        definition,
        template: String::new(),
        rules: 11,
    }
}
