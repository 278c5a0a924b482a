//! How long it takes from save to enforced. One file of a test and a bench.

#![allow(dead_code, reason = "the bench uses a part of it")]

use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::site::{SOON, Site};
use super::support::{Outbound, Probe, Sent};

/// Rules of the one group.
const RULES: usize = 500;
/// The pause between two questions to the kernel.
const STEP: Duration = Duration::from_micros(300);

/// What the rules say about ports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ports {
    Single,
    Lists,
}

/// The times of some saves.
pub struct Times {
    ports: Ports,
    /// From the rename to the first packet that the kernel judges by the new policy; sorted.
    enforced: Vec<Duration>,
    /// What nft took to load and to switch, by the daemon's count, its exit included; sorted.
    switched: Vec<Duration>,
}

impl Ports {
    pub const ALL: [Self; 2] = [Self::Single, Self::Lists];

    /// What the issue allows, at the median, in a release build.
    pub fn target(self) -> Duration {
        match self {
            Self::Single => Duration::from_millis(80),
            Self::Lists => Duration::from_millis(150),
        }
    }

    fn of(self, rule: usize) -> String {
        let port = 10_000 + 20 * rule;
        match self {
            Self::Single => port.to_string(),
            Self::Lists => format!("\"{port},{},{}-{}\"", port + 2, port + 4, port + 9),
        }
    }
}

impl Times {
    pub fn least(&self) -> Duration {
        self.enforced[0]
    }

    /// The row of a table: what the ports are, the median, the least and the most, the target, and the switch, in ms.
    pub fn row(&self) -> String {
        let ports = match self.ports {
            Ports::Single => "single ports",
            Ports::Lists => "port lists",
        };
        let middle = |times: &[Duration]| times[times.len() / 2];
        let cells = [
            middle(&self.enforced),
            self.enforced[0],
            self.enforced[self.enforced.len() - 1],
            self.ports.target(),
            middle(&self.switched),
        ]
        .map(|time| format!("{:.0}", time.as_secs_f64() * 1000.0));
        format!("| {ports} | {} |", cells.join(" | "))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
        let median = |times: &[Duration]| ms(&times[times.len() / 2]);
        write!(
            f,
            "save to enforced, {RULES} rules, {:?} ports, {} saves: median {:.1} ms, least {:.1}, most {:.1} \
             (target {:.0}); nft's two runs took {:.1}",
            self.ports,
            self.enforced.len(),
            median(&self.enforced),
            ms(&self.enforced[0]),
            ms(&self.enforced[self.enforced.len() - 1]),
            ms(&self.ports.target()),
            median(&self.switched),
        )
    }
}

/// 499 inbound rules, and an outbound one that lets UDP 4000 out or not.
fn definition(ports: Ports, action: &str) -> String {
    let mut text = "version: 1\nsecurity_groups:\n  sg-web:\n    inbound:\n".to_owned();
    for rule in 0..RULES - 1 {
        text += &format!(
            "      - {{ action: allow, protocol: tcp, port: {}, source: 198.{}.{}.0/24 }}\n",
            ports.of(rule),
            18 + rule / 256,
            rule % 256
        );
    }
    text += &format!(
        "    outbound:\n      - {{ action: {action}, protocol: udp, port: 4000, destination: any }}\n\
         instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}\n"
    );
    text
}

/// Saves so often, each time with the other action, and waits until a packet is judged by it.
pub fn measure(ports: Ports, saves: usize) -> Times {
    let site = Site::quiet();
    // Nobody hears the probes: each is an opening one, and none makes noise.
    site.peer.nft("table inet deaf { chain in { type filter hook prerouting priority -400; udp dport 4000 drop; }; }");
    site.write("groups.yaml", &definition(ports, "refuse"));
    let _daemon = site.start();
    let outbound = Outbound::new(&site.wire.a);
    let mut source = 1024_u16;
    let mut judged = || {
        source = source.checked_add(1).unwrap_or(1025);
        outbound.send(&Probe::udp(&*format!("10.0.0.5:{source}"), "10.0.0.9:4000"))
    };
    let mut times = Times {
        ports,
        enforced: Vec::new(),
        switched: Vec::new(),
    };
    for save in 0..saves {
        let (action, wanted) = match save % 2 {
            0 => ("allow", Sent::Passed),
            _ => ("refuse", Sent::Dropped),
        };
        // At rest: the daemon has deleted the old generation, and no event is on its way.
        site.until_at_rest();
        thread::sleep(Duration::from_millis(60));
        fs::write(site.path("new.yaml"), definition(ports, action)).unwrap();
        let start = Instant::now();
        fs::rename(site.path("new.yaml"), site.definition()).unwrap();
        while judged() != wanted {
            assert!(start.elapsed() < SOON, "{action} was never enforced");
            thread::sleep(STEP);
        }
        let enforced = start.elapsed();
        // The summary is written after the switch; `status` waits for it.
        let switched = site.status()["enforced"]["switched_after_ms"].as_f64();
        let switched = Duration::from_secs_f64(switched.unwrap() / 1000.0);
        times.enforced.push(enforced);
        times.switched.push(switched);
    }
    times.enforced.sort();
    times.switched.sort();
    times
}
