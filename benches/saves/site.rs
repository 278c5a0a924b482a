//! A host with many flows, and the daemon that filters it.

use crate::packets::burst::{Burst, overflows};
use crate::packets::lanes::{EATER, EMPTY, Lane};
use crate::packets::rounds::{Budget, Cell, run};
use crate::packets::traffic::{Ends, of_established_flows};
use crate::process::{Daemon, SOON};
use crate::support::{Host, Probe, Sent};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test: the release, where it was built before.
const PROGRAM: &str = match option_env!("SECGROUPD_RELEASE") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_secgroupd"),
};

/// Where the many flows go: a port that all may reach.
const OPEN: u16 = 443;
/// Flows made at once.
const AT_ONCE: usize = 10_000;
/// What is sent at once: less than a processor's queue holds.
const PART: usize = 250;
/// Packets of tracked flows in a measurement, and how long it may take.
const PACKETS: usize = 512;
const BUDGET: Budget = Budget {
    burst: Duration::from_millis(2),
    total: Duration::from_millis(60),
    rounds: 60,
};
/// Between two packets that ask whether a save is in force.
const STEP: Duration = Duration::from_micros(200);

/// What the daemon says of a policy that got no labels for some of its marks.
const WITHOUT: &str = "have no label of connection tracking";

/// A host with interfaces, each bound to a list of its own.
pub struct Site {
    lanes: Vec<Lane>,
    /// An empty hook on another host, to compare with.
    nothing: Lane,
    daemon: Daemon,
    folder: TempDir,
}

/// What became of a save.
pub struct Saved {
    /// From the rename to the first packet that was judged by it.
    pub took: Duration,
    /// Whether each mark that saves judging had a label.
    pub all_marks: bool,
}

impl Site {
    /// So many interfaces, and flows that the first of them has let in.
    pub fn new(interfaces: u8, flows: usize) -> Self {
        let world = Host::new("world");
        let nothing = Lane::new(&world);
        nothing.host.nft(EMPTY);
        let lanes = Lane::several(&world, interfaces);
        let host = &lanes[0].host;
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("groups.yaml"), definition(interfaces, None)).unwrap();
        let mut command = host.command(PROGRAM);
        command
            .arg("run")
            .args(["--definition".into(), path("groups.yaml")])
            .args(["--state".into(), path("state")])
            .args(["--socket".into(), path("control.sock")])
            .env_remove("NOTIFY_SOCKET")
            .env("NO_COLOR", "1");
        let daemon = Daemon::start(command);
        daemon.until_logged(" enforced for ");
        let site = Site {
            lanes,
            nothing,
            daemon,
            folder,
        };
        site.open(flows);
        site.lanes.iter().for_each(Lane::speak);
        site
    }

    /// Opens flows across the first interface, from addresses and ports of their own.
    fn open(&self, flows: usize) {
        let lane = &self.lanes[0];
        let host = &lane.host;
        // What is let in must reach the host, or its flow is never tracked.
        host.nft("delete table inet eater");
        let own = SocketAddr::from((Ends::of(0).own, OPEN));
        let numbers: Vec<u32> = (0..flows as u32).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let frames: Vec<Vec<u8>> = numbers
                .iter()
                .map(|number| {
                    let address = Ipv4Addr::from(0x0b00_0000 + number / 8);
                    let from = SocketAddr::from((address, 2_000 + (number % 8) as u16));
                    lane.frame(&Probe::udp(from, own))
                })
                .collect();
            let mut burst = Burst::new(&frames);
            for start in (0..burst.len()).step_by(PART) {
                let end = (start + PART).min(burst.len());
                loop {
                    let before = overflows();
                    burst.send(&lane.wire, start..end);
                    if lane.is_quiet() && overflows() == before {
                        break;
                    }
                }
            }
        }
        host.nft(EATER);
        let tracked = self.tracked();
        assert!(
            tracked >= flows,
            "only {tracked} of {flows} flows are tracked: is net.netfilter.nf_conntrack_max too low?"
        );
    }

    /// How many flows the host tracks.
    pub fn tracked(&self) -> usize {
        let count = self.lanes[0].host.get("net/netfilter/nf_conntrack_count");
        count.trim().parse().expect("a number")
    }

    /// Saves a definition that lets UDP 4000 out by an interface or not, and waits until packets are judged by it.
    pub fn save(&self, interface: u8, open: bool) -> Saved {
        let logged = self.without();
        let path = |name: &str| self.folder.path().join(name);
        let definition = definition(self.lanes.len() as u8, open.then_some(interface));
        fs::write(path("new"), definition).unwrap();
        let wanted = if open { Sent::Passed } else { Sent::Dropped };
        let lane = &self.lanes[usize::from(interface)];
        let ends = Ends::of(interface);
        let mut port = 1_024;
        let start = Instant::now();
        fs::rename(path("new"), path("groups.yaml")).unwrap();
        let took = loop {
            // Each opens a flow of its own.
            port = if port == 40_000 { 1_024 } else { port + 1 };
            let probe = Probe::udp(
                SocketAddr::from((ends.own, port)),
                SocketAddr::from((ends.peer, 4_000)),
            );
            if lane.send(&probe) == wanted {
                break start.elapsed();
            }
            assert!(
                start.elapsed() < SOON,
                "what was saved was never enforced:\n{}",
                self.daemon.log()
            );
            sleep(STEP);
        };
        Saved {
            took,
            all_marks: self.without() == logged,
        }
    }

    /// The most memory that the daemon had, in MB.
    pub fn peak_mb(&self) -> u64 {
        self.daemon.peak_mb()
    }

    /// How many policies got no labels for some of their marks. The daemon says so before it switches.
    fn without(&self) -> usize {
        // The line may still be on its way.
        sleep(Duration::from_millis(5));
        self.daemon.log().matches(WITHOUT).count()
    }

    /// What a packet of a flow costs that the host has opened, at the cheapest interface and at the dearest: nanoseconds above an empty
    /// hook.
    pub fn established(&self) -> [f64; 2] {
        // Whoever opens a flow has it judged again.
        self.lanes.iter().for_each(Lane::speak);
        let all = sched_getaffinity(Pid::from_raw(0)).expect("the processors");
        let mut only = CpuSet::new();
        only.set(sched_getcpu().expect("a processor"))
            .expect("its number");
        sched_setaffinity(Pid::from_raw(0), &only).expect("on one processor");
        let lanes = (0..).zip(&self.lanes);
        let mut cells: Vec<Cell> = [(0, &self.nothing)]
            .into_iter()
            .chain(lanes)
            .map(|(interface, lane)| {
                let flows = Ends::of(interface).opened_here();
                let samples = of_established_flows(flows, PACKETS);
                Cell::new(lane, lane.burst(&samples), BUDGET)
            })
            .collect();
        run(&mut cells);
        sched_setaffinity(Pid::from_raw(0), &all).expect("on all processors");
        let costs: Vec<f64> = cells.iter().map(Cell::nanoseconds).collect();
        let above = costs[1..].iter().map(|cost| cost - costs[0]);
        above.fold([f64::MAX, f64::MIN], |[least, most], cost| {
            [cost.min(least), cost.max(most)]
        })
    }
}

/// Groups that differ, one for each interface; `open` says whose lets UDP 4000 out.
fn definition(interfaces: u8, open: Option<u8>) -> String {
    let mut out =
        "version: 1\nplatform: { blocked_ports: { profile: none } }\nsecurity_groups:\n".to_owned();
    for number in 0..interfaces {
        let action = if open == Some(number) {
            "allow"
        } else {
            "refuse"
        };
        let _ = write!(
            out,
            "  sg-{number}:\n    inbound:\n      - {{ action: allow, protocol: udp, port: {OPEN}, source: any }}\n\
             \x20     - {{ action: allow, protocol: tcp, port: {}, source: any }}\n    outbound:\n\
             \x20     - {{ action: {action}, protocol: udp, port: 4000, destination: any }}\n\
             \x20     - {{ action: allow, protocol: udp, port: 5300-5399, destination: any }}\n",
            7_000 + u16::from(number)
        );
    }
    out += "instances:\n  ins-a:\n    interfaces:\n";
    for number in 0..interfaces {
        let _ = writeln!(
            out,
            "      eth{number}: {{ security_groups: [sg-{number}] }}"
        );
    }
    out
}
