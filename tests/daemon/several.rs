//! A host with several interfaces, each cabled to the same peer, and flows that cross one or the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;

use super::site::{Daemon, Site};
use super::talk::Talk;
use crate::support::{Host, Injector, Link, join};

/// Everything, as a rule of [`Groups`].
pub const ALL: &[&str] = &["protocol: all"];
pub const BOTH: [&str; 2] = ["recheck", "keep"];

/// The addresses of one family.
pub struct Family {
    /// On `eth0`, `eth1` and `eth2`.
    pub host: [&'static str; 3],
    /// At the other ends.
    pub peer: [&'static str; 3],
    /// What the peer has besides: to be reached by any interface. None of them is internal.
    pub far: [&'static str; 2],
    /// What the host has on `lo`.
    pub service: &'static str,
}

pub const V4: Family = Family {
    host: ["10.0.0.5", "10.1.0.5", "10.2.0.5"],
    peer: ["10.0.0.9", "10.1.0.9", "10.2.0.9"],
    far: ["203.0.113.7", "203.0.113.8"],
    service: "192.0.2.80",
};

pub const V6: Family = Family {
    host: ["2001:db8::5", "2001:db8:1::5", "2001:db8:2::5"],
    peer: ["2001:db8::9", "2001:db8:1::9", "2001:db8:2::9"],
    far: ["2001:db8:f::7", "2001:db8:f::8"],
    service: "2001:db8:80::80",
};

pub const FAMILIES: [&Family; 2] = [&V4, &V6];

/// An address and a port as text.
pub fn at(address: &str, port: u16) -> String {
    SocketAddr::new(address.parse().unwrap(), port).to_string()
}

/// Group, inbound rules, outbound rules.
pub type Groups<'a> = &'a [(&'a str, &'a [&'a str], &'a [&'a str])];

/// The groups, and the interfaces with their lists: `("eth0", "sg-a, sg-b")`.
pub fn definition(groups: Groups, bound: &[(&str, &str)], established: &str) -> String {
    let rules = |rules: &[&str], remote: &str| -> String {
        let rules = rules.iter();
        let rules = rules.map(|rule| format!("{{ action: allow, {rule}, {remote}: any }}"));
        rules.collect::<Vec<_>>().join(", ")
    };
    let mut out = String::from("version: 1\nsecurity_groups:\n");
    for (name, inbound, outbound) in groups {
        let (inbound, outbound) = (rules(inbound, "source"), rules(outbound, "destination"));
        let mut keys = Vec::new();
        if !inbound.is_empty() {
            keys.push(format!("inbound: [{inbound}]"));
        }
        if !outbound.is_empty() {
            keys.push(format!("outbound: [{outbound}]"));
        }
        out += &format!("  {name}: {{ {} }}\n", keys.join(", "));
    }
    let bound = bound.iter();
    let bound = bound.map(|(name, list)| format!("{name}: {{ security_groups: [{list}] }}"));
    let bound: Vec<_> = bound.collect();
    out + &format!(
        "instances:\n  ins-web1: {{ interfaces: {{ {} }} }}\nplatform: {{ established: {established} }}\n",
        bound.join(", ")
    )
}

/// A site whose host has these interfaces, the first of which is `eth0`. No machine minds by which way a packet comes.
pub fn several(names: &[&str]) -> (Site, Vec<Link>) {
    INJECTORS.with_borrow_mut(BTreeMap::clear);
    let site = Site::quiet();
    let mut wires = vec![site.wire.clone()];
    for (number, name) in names.iter().enumerate().skip(1) {
        let of = |addresses: [&str; 2]| addresses.map(|each| each.to_owned());
        let host = of([V4.host[number], V6.host[number]]);
        let peer = of([V4.peer[number], V6.peer[number]]);
        let lengths = |[v4, v6]: [String; 2]| [v4 + "/24", v6 + "/64"];
        let (host, peer) = (lengths(host), lengths(peer));
        wires.push(join(
            &site.host,
            name,
            &[&host[0], &host[1]],
            &site.peer,
            &format!("wire{number}"),
            &[&peer[0], &peer[1]],
        ));
    }
    for family in FAMILIES {
        let length = if family.far[0].contains(':') { 128 } else { 32 };
        for far in family.far {
            site.peer.ip(&format!("addr add {far}/{length} dev lo"));
        }
        site.host
            .ip(&format!("addr add {}/{length} dev lo", family.service));
    }
    for host in [&site.host, &site.peer] {
        for_each_interface(host, "rp_filter", "0");
    }
    (site, wires)
}

/// Sets `net/ipv4/conf/*/KNOB`.
pub fn for_each_interface(host: &Host, knob: &str, value: &str) {
    let names = host.enter(|| {
        let folder = fs::read_dir("/proc/sys/net/ipv4/conf").unwrap();
        folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    });
    for name in names {
        host.set(&format!("net/ipv4/conf/{name}/{knob}"), value);
    }
}

/// The host reaches the peer's far addresses through the interface of this number.
pub fn far_by(site: &Site, number: usize, wire: &Link) {
    site.host.ip(&format!(
        "route replace 203.0.113.0/24 via {} dev {name}\nroute replace 2001:db8:f::/64 via {} dev {name}",
        V4.peer[number],
        V6.peer[number],
        name = wire.a.interface
    ));
}

/// The peer reaches these addresses of the host through the interface of this number, from its first far address.
pub fn from_far_by(site: &Site, to: [&str; 2], number: usize, wire: &Link) {
    let name = &wire.b.interface;
    for (to, family) in to.into_iter().zip(FAMILIES) {
        let (via, far) = (family.host[number], family.far[0]);
        site.peer.ip(&format!(
            "route replace {to} via {via} dev {name} src {far}"
        ));
    }
}

/// Starts the daemon on this definition.
pub fn enforce(site: &Site, definition: &str) -> Daemon {
    site.write("groups.yaml", definition);
    let daemon = site.start();
    daemon.until_logged("generation 1 enforced");
    daemon
}

thread_local! {
    /// By the hardware addresses that each sends from and to, no two of which are alike. Closing a packet socket takes
    /// long, so those of a test are closed together.
    static INJECTORS: RefCell<BTreeMap<[[u8; 6]; 2], Injector>> = const { RefCell::new(BTreeMap::new()) };
}

/// Returns when everything that was sent on these cables, by either end, has arrived.
pub fn settle(wires: &[&Link]) {
    INJECTORS.with_borrow_mut(|injectors| {
        // What is forwarded from one to another has arrived the second time.
        for wire in wires.iter().chain(wires) {
            for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
                let new = || Injector::new(from, to);
                let injector = injectors.entry([from.mac, to.mac]).or_insert_with(new);
                injector.wait();
            }
        }
    });
}

/// Sends a word from one side, without asking what became of it.
pub fn say(talk: &Talk, by_client: bool) {
    match (talk, by_client) {
        (Talk::Tcp(from, _), true) | (Talk::Tcp(_, from), false) => {
            let mut from = from;
            let _ = from.write(b"word");
        }
        (Talk::Udp(from, _), true) | (Talk::Udp(_, from), false) => {
            let _ = from.send(b"word");
        }
    }
}

/// How often each side, the client first, finds something that has arrived. It does not wait.
pub fn arrived(talk: &Talk) -> [usize; 2] {
    let blocking = |blocking: bool| match talk {
        Talk::Tcp(a, b) => [a, b].map(|each| each.set_nonblocking(!blocking).unwrap()),
        Talk::Udp(a, b) => [a, b].map(|each| each.set_nonblocking(!blocking).unwrap()),
    };
    blocking(false);
    let mut buffer = [0; 2048];
    let counts = match talk {
        Talk::Tcp(a, b) => [a, b].map(|mut side| {
            let mut read = || side.read(&mut buffer).is_ok_and(|length| length > 0);
            std::iter::from_fn(|| read().then_some(())).count()
        }),
        Talk::Udp(a, b) => [a, b].map(|side| {
            // An ICMP error about what was sent is no datagram.
            let mut read = || side.recv(&mut buffer).is_ok() || side.recv(&mut buffer).is_ok();
            std::iter::from_fn(|| read().then_some(())).count()
        }),
    };
    blocking(true);
    counts
}

/// Both sides speak, the server first, and neither is heard.
pub fn is_cut(talk: &Talk, wires: &[&Link]) -> bool {
    settle(wires);
    arrived(talk);
    [false, true].into_iter().all(|by_client| {
        say(talk, by_client);
        settle(wires);
        arrived(talk) == [0, 0]
    })
}

/// Each side is heard now, the server first: its packet is an answer.
pub fn goes_on(talk: &Talk) -> bool {
    arrived(talk);
    talk.limit(super::site::SOON);
    talk.hears(false) && talk.hears(true)
}
