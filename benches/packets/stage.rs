//! A stage measures together what is compared with one another: all contestants under one workload, and the empty hook.

use super::contestants::{Contestant, all_and_before};
use super::lanes::{EMPTY, EMPTY_DROPS, ESTABLISHED, Lane};
use super::rounds::{Budget, Cell, run};
use super::traffic::{
    Ends, Sample, of_any_rule, of_established_flows, of_last_rules, of_port, refused_share,
};
use crate::support::Host;
use crate::workloads::Workload;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::time::Duration;

/// What stays the same over all stages.
pub struct Bench {
    pub world: Host,
    /// The empty hook: the packet passes, the packet is dropped.
    pub empty: [Lane; 2],
    budget: Budget,
    pub frames: usize,
}

/// Nanoseconds of a packet where nothing is enforced.
pub struct Floor {
    /// Through a veth, an empty hook and connection tracking, to the drop.
    pub packet: f64,
    /// What connection tracking takes of it, for a new flow and for a tracked one.
    pub tracking: [f64; 2],
    /// What `ct state established accept` alone adds, for a new flow and for a tracked one.
    pub established: [f64; 2],
}

/// A workload's figures.
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Its rules.
    pub rules: usize,
    /// Each kind of packets, and a figure for each contestant, last the program of before if there is one.
    pub rows: Vec<(&'static str, Vec<Option<f64>>)>,
    /// How those by hand work.
    pub says: Vec<(&'static str, &'static str)>,
}

/// The kinds of packets.
pub const LAST: &str = "new, last rules";
pub const ANY: &str = "new, any rule";
pub const TRACKED: &str = "established";
/// Of W1 alone: who opens a flow makes no difference to what its packets meet otherwise.
pub const TRACKED_THERE: &str = "established, opened by the peer";
pub const PORT_80: &str = "new, TCP port 80";

impl Bench {
    /// One processor does it all.
    pub fn new(quick: bool) -> Self {
        let mut only = CpuSet::new();
        only.set(nix::sched::sched_getcpu().expect("a processor"))
            .expect("its number");
        sched_setaffinity(Pid::from_raw(0), &only).expect("on one processor");
        let world = Host::new("world");
        let empty = [EMPTY, EMPTY_DROPS].map(|table| {
            let lane = Lane::new(&world);
            lane.host.nft(table);
            lane
        });
        let ms = Duration::from_millis;
        let (burst, total, rounds) = match quick {
            true => (ms(20), ms(120), 60),
            false => (ms(80), ms(700), 200),
        };
        Bench {
            world,
            empty,
            budget: Budget {
                burst,
                total,
                rounds,
            },
            frames: if quick { 1024 } else { 2048 },
        }
    }

    /// What there is before anybody judges.
    pub fn floor(&self) -> Floor {
        let untracked = Lane::untracked(&self.world);
        untracked.host.nft(EMPTY);
        let bare = Lane::new(&self.world);
        bare.host.nft(ESTABLISHED);
        let workload = crate::workloads::web_server();
        let kinds = [
            of_any_rule(&workload.policy(), self.frames),
            of_established_flows(Ends::of(0).opened_here(), self.frames),
        ];
        let mut cells: Vec<Cell> = kinds
            .iter()
            .flat_map(|samples| {
                [&self.empty[0], &untracked, &bare].map(|lane| self.cell(lane, samples))
            })
            .collect();
        run(&mut cells);
        let [new, new_untracked, new_bare, old, old_untracked, old_bare] =
            [0, 1, 2, 3, 4, 5].map(|at: usize| cells[at].nanoseconds());
        Floor {
            packet: new,
            tracking: [new - new_untracked, old - old_untracked],
            established: [new_bare - new, old_bare - old],
        }
    }

    /// All contestants with all kinds of packets.
    pub fn workload(&self, workload: &Workload) -> Measured {
        match workload.name {
            "W1" => self.measure(workload, &[LAST, ANY, PORT_80, TRACKED, TRACKED_THERE]),
            _ => self.measure(workload, &[LAST, ANY, TRACKED]),
        }
    }

    /// All contestants with the packets of the last rules.
    pub fn sweep(&self, workload: &Workload) -> Vec<Option<f64>> {
        self.measure(workload, &[LAST]).rows.swap_remove(0).1
    }

    fn measure(&self, workload: &Workload, kinds: &[&'static str]) -> Measured {
        let policy = workload.policy();
        let mut says = Vec::new();
        let lanes: Vec<(Contestant, Option<Lane>)> = all_and_before()
            .map(|contestant| {
                let lane = Lane::new(&self.world);
                let installed = contestant.install(&lane.host, workload, &policy);
                lane.speak();
                says.extend(installed.flatten().map(|says| (contestant.name(), says)));
                (contestant, installed.map(|_| lane))
            })
            .collect();
        let samples: Vec<Vec<Sample>> = kinds
            .iter()
            .map(|kind| match *kind {
                LAST => of_last_rules(&policy, self.frames),
                ANY => of_any_rule(&policy, self.frames),
                PORT_80 => of_port(&policy, 80, self.frames),
                TRACKED_THERE => of_established_flows(Ends::of(0).opened_there(), self.frames),
                _ => of_established_flows(Ends::of(0).opened_here(), self.frames),
            })
            .collect();
        let mut cells = Vec::new();
        for samples in &samples {
            cells.extend(self.empty.iter().map(|lane| self.cell(lane, samples)));
            for (contestant, lane) in &lanes {
                let Some(lane) = lane else { continue };
                lane.verify(
                    &format!("{} of {}", contestant.name(), workload.name),
                    &samples[..256],
                );
                cells.push(self.cell(lane, samples));
            }
        }
        run(&mut cells);
        let mut cells = cells.iter();
        let rows = kinds.iter().zip(&samples).map(|(kind, samples)| {
            let [passes, drops] =
                [0, 1].map(|_| cells.next().expect("the empty hooks").nanoseconds());
            let figures = lanes.iter().map(|(_, lane)| {
                lane.as_ref()?;
                let cell = cells.next().expect("the lane's cell");
                // What is refused is dropped at once and not behind: so is the empty hook's packet that it is compared with.
                let refused = refused_share(samples, cell.packets());
                Some(cell.nanoseconds() - refused * drops - (1.0 - refused) * passes)
            });
            (*kind, figures.collect())
        });
        Measured {
            name: workload.name,
            rules: workload.rules,
            rows: rows.collect(),
            says,
        }
    }

    pub fn cell<'l>(&self, lane: &'l Lane, samples: &[Sample]) -> Cell<'l> {
        Cell::new(lane, lane.burst(samples), self.budget)
    }
}
