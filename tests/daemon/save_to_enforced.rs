//! How long it takes from save to enforced. One file of a test and a bench.

#![allow(dead_code, reason = "the bench uses a part of it")]

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use super::site::{SOON, Site};
use super::support::{Outbound, Probe, Sent};
use super::workloads::{self, Workload};

/// Rules of the one group.
const RULES: usize = 500;
/// The pause between two questions to the kernel.
const STEP: Duration = Duration::from_micros(300);

/// Where the packets go by which it is seen what is enforced.
const PROBED: &str = "198.51.100.9";

/// Addresses of the long list.
const ADDRESSES: u32 = 100_000;

/// What is saved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Saved {
    /// A definition whose rules each have a port.
    SinglePorts,
    /// A definition whose rules each have a list of ports.
    PortLists,
    /// A definition of 10,000 rules, each with a network and a port of its own.
    TenThousand,
    /// A file of 100,000 addresses that ten rules use, one line changed.
    OneAddress,
}

/// The times of some saves.
pub struct Times {
    saved: Saved,
    /// From the rename to the first packet that the kernel judges by the new policy; sorted.
    enforced: Vec<Duration>,
    /// Of it load, check and switch, by the daemon's count; sorted.
    switched: Vec<Duration>,
}

impl Saved {
    pub const ALL: [Self; 4] = [
        Self::SinglePorts,
        Self::PortLists,
        Self::TenThousand,
        Self::OneAddress,
    ];

    /// What is promised at the median, in a release build.
    pub fn target(self) -> Option<Duration> {
        match self {
            Self::SinglePorts | Self::PortLists => Some(Duration::from_millis(10)),
            Self::TenThousand => None,
            Self::OneAddress => Some(Duration::from_millis(30)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SinglePorts => "500 rules, single ports: one rule changes",
            Self::PortLists => "500 rules, port lists: one rule changes",
            Self::TenThousand => "10,000 rules (W3): one rule changes",
            Self::OneAddress => "10 rules over 100,000 addresses: one address changes",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::SinglePorts | Self::PortLists | Self::TenThousand => "groups.yaml",
            Self::OneAddress => "addresses.txt",
        }
    }

    /// What the file says when UDP 4000 may go out, and when not.
    fn text(self, open: bool) -> String {
        match self {
            Self::SinglePorts | Self::PortLists | Self::TenThousand => self.definition(open),
            Self::OneAddress => (0..ADDRESSES)
                // In no order, and no two of them next to each other.
                .map(
                    |number| match u64::from(number) * 61_803 % u64::from(ADDRESSES) {
                        0 if open => format!("{PROBED}\n"),
                        place => format!("{}\n", Ipv4Addr::from(0x1400_0000 + place as u32 * 2)),
                    },
                )
                .collect(),
        }
    }

    fn port(self, rule: usize) -> String {
        let port = 10_000 + 20 * rule;
        match self {
            Self::PortLists => format!("\"{port},{},{}-{}\"", port + 2, port + 4, port + 9),
            _ => port.to_string(),
        }
    }

    /// 499 or 10,000 inbound rules, and an outbound one that lets UDP 4000 out or not; or ten outbound ones over the list.
    fn definition(self, open: bool) -> String {
        let action = if open { "allow" } else { "refuse" };
        let outbound = format!(
            "    outbound:\n      - {{ action: {action}, protocol: udp, port: 4000, destination: any }}\n"
        );
        if self == Self::TenThousand {
            let rules = workloads::distinct(10_000).definition;
            return rules.replace("instances:\n", &format!("{outbound}instances:\n"));
        }
        let mut text = "version: 1\n".to_owned();
        if self == Self::OneAddress {
            text += "platform: { blocked_ports: { profile: none } }\n\
                     address_templates: { ipm-list: { file: addresses.txt } }\n";
        }
        text += "security_groups:\n  sg-web:\n";
        if self == Self::OneAddress {
            text += "    outbound:\n";
            for port in 3991..4001 {
                text += &format!(
                    "      - {{ action: allow, protocol: udp, port: {port}, destination: ipm-list }}\n"
                );
            }
        } else {
            text += "    inbound:\n";
            for rule in 0..RULES - 1 {
                text += &format!(
                    "      - {{ action: allow, protocol: tcp, port: {}, source: 198.{}.{}.0/24 }}\n",
                    self.port(rule),
                    18 + rule / 256,
                    rule % 256
                );
            }
            text += &outbound;
        }
        text + "instances:\n  ins-web1: { interfaces: { eth0: { security_groups: [sg-web] } } }\n"
    }

    /// The same or its like as a workload, for programs that know inbound rules alone.
    pub fn workload(self) -> Workload {
        match self {
            Self::OneAddress => workloads::template(ADDRESSES as usize),
            _ => Workload {
                name: self.name(),
                definition: self.definition(false),
                template: String::new(),
                rules: RULES,
            },
        }
    }
}

impl Times {
    /// The row of a table: what is saved, the median, the least and the most, the target, and the switch, in ms.
    pub fn row(&self) -> String {
        let middle = |times: &[Duration]| times[times.len() / 2];
        let cells = [
            Some(middle(&self.enforced)),
            Some(self.enforced[0]),
            Some(self.enforced[self.enforced.len() - 1]),
            self.saved.target(),
            Some(middle(&self.switched)),
        ]
        .map(|time| time.map_or("-".to_owned(), milliseconds));
        format!("| {} | {} |", self.saved.name(), cells.join(" | "))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
        let median = |times: &[Duration]| ms(&times[times.len() / 2]);
        write!(
            f,
            "save to enforced, {}, {} saves: median {:.1} ms, least {:.1}, most {:.1} (target {}); \
             of it load, check and switch {:.1}",
            self.saved.name(),
            self.enforced.len(),
            median(&self.enforced),
            ms(&self.enforced[0]),
            ms(&self.enforced[self.enforced.len() - 1]),
            self.saved.target().map_or("-".to_owned(), milliseconds),
            median(&self.switched),
        )
    }
}

/// With a digit where that matters.
fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms < 100.0 {
        true => format!("{ms:.1}"),
        false => format!("{ms:.0}"),
    }
}

/// Saves so often, each time with the other action, and waits until a packet is judged by it.
pub fn measure(saved: Saved, saves: usize) -> Times {
    let site = Site::quiet();
    // Nobody hears the probes: each is an opening one, and none makes noise.
    site.peer.nft("table inet deaf { chain in { type filter hook prerouting priority -400; udp dport 4000 drop; }; }");
    site.write(saved.file(), &saved.text(false));
    if saved == Saved::OneAddress {
        site.write("groups.yaml", &saved.definition(false));
    }
    let _daemon = site.start();
    let outbound = Outbound::new(&site.wire.a);
    let mut source = 1024_u16;
    let mut judged = || {
        source = source.checked_add(1).unwrap_or(1025);
        outbound.send(&Probe::udp(
            &*format!("10.0.0.5:{source}"),
            &*format!("{PROBED}:4000"),
        ))
    };
    let mut times = Times {
        saved,
        enforced: Vec::new(),
        switched: Vec::new(),
    };
    for save in 0..saves {
        let (open, wanted) = match save % 2 {
            0 => (true, Sent::Passed),
            _ => (false, Sent::Dropped),
        };
        // At rest: the daemon has deleted the old generation, and no event is on its way.
        site.until_at_rest();
        thread::sleep(Duration::from_millis(60));
        fs::write(site.path("new"), saved.text(open)).unwrap();
        let start = Instant::now();
        fs::rename(site.path("new"), site.path(saved.file())).unwrap();
        while judged() != wanted {
            assert!(start.elapsed() < SOON, "what was saved was never enforced");
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
