//! A host with a cable to the world at each of several interfaces.

use crate::flow_model::Talk;
use crate::support::policy::policy;
use crate::support::{Host, Injector, Link, Outbound, Probe, TcpFlags, join, kernel};
use crate::three_ways::Case;
use secgroupd::netfilter::enforce::Kernel;
use secgroupd::netfilter::hits::rule_hits_over;
use secgroupd::netfilter::netlink::Reader;
use secgroupd::policy::{InterfaceName, Policy, Protocol};
use secgroupd::ruleset::{Generation, TABLE};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// The names that the cables begin with, and those that they may take.
pub const CABLES: [&str; 5] = ["eth0", "eth1", "veth7", "veth8", "wlan0"];
const OTHER_NAMES: [&str; 3] = ["eth2", "veth9", "tun0"];

/// A host with a cable to the world at each interface. Routes follow the device of a socket, and for what is forwarded the hop limit:
/// 101 leaves by the second cable.
pub struct Several {
    pub host: Host,
    pub names: Vec<String>,
    injectors: Vec<Injector>,
    outbound: Vec<Outbound>,
    pub kernel: Kernel,
    reader: Reader,
    pub seen: BTreeMap<String, u64>,
}

impl Several {
    pub fn new() -> Self {
        let (host, world) = (Host::new("host"), Host::new("world"));
        host.forwards();
        host.nft(&tracking());
        // What is sent has no windows.
        host.set("net/netfilter/nf_conntrack_tcp_be_liberal", "1");
        // Nothing but what the test sends.
        world.nft("table inet silent { chain out { type filter hook output priority 0; drop; }; }");
        let mut links = Vec::new();
        for (at, name) in CABLES.into_iter().enumerate() {
            let own = own_addresses(at, 5);
            let far = own_addresses(at, 9);
            links.push(join(
                &host,
                name,
                &[&format!("{}/24", own[0]), &format!("{}/64", own[1])],
                &world,
                &format!("wire{at}"),
                &[&format!("{}/24", far[0]), &format!("{}/64", far[1])],
            ));
            host.set(&format!("net/ipv4/conf/{name}/rp_filter"), "0");
            routes(&host, at, name, &links[at]);
            for family in ["-4", "-6"] {
                let table = (101 + at).to_string();
                host.output(
                    "ip",
                    &[family, "rule", "add", "fwmark", &table, "table", &table],
                );
            }
        }
        host.set("net/ipv4/conf/all/rp_filter", "0");
        host.nft(&sink());
        Several {
            injectors: links
                .iter()
                .map(|link| Injector::new(&link.b, &link.a))
                .collect(),
            outbound: links.iter().map(|link| Outbound::new(&link.a)).collect(),
            kernel: host.enter(kernel),
            reader: host.enter(Reader::netfilter).expect("a socket"),
            seen: BTreeMap::new(),
            names: CABLES.map(str::to_owned).into(),
            host,
        }
    }

    /// What the definition says on this host, as the daemon has it.
    pub fn policy(&self, text: &str) -> Policy {
        let mut policy = policy(text);
        let named = |name: &String| InterfaceName::parse(name).unwrap();
        let unbound = self
            .names
            .iter()
            .filter(|name| policy.binding(name).is_none());
        policy.host.unbound = unbound.map(named).collect();
        policy.host.unbound.sort_unstable();
        let bound: BTreeSet<InterfaceName> = policy
            .bindings
            .iter()
            .map(|binding| binding.interface.clone())
            .collect();
        let slots = self.kernel.slots();
        let known = slots
            .interfaces()
            .filter(|name| !bound.contains(name) && !policy.host.unbound.contains(name));
        policy.host.known = known.cloned().collect();
        policy
    }

    pub fn enforce(&mut self, case: &Case) {
        let kernel = &self.kernel;
        self.host
            .enter(|| kernel.enforce(case.ruleset, Generation(1)))
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        self.seen = self.counters();
    }

    /// Packets by comment, over our table and the sink, but for what the kernel itself sends.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = BTreeMap::new();
        for table in [TABLE, "sink"] {
            for hits in rule_hits_over(&self.reader, table).expect("a table") {
                let comment = hits.comment.filter(|comment| comment != "essential");
                if let Some(comment) = comment {
                    *counters.entry(comment).or_default() += hits.packets;
                }
            }
        }
        counters
    }

    fn rename(&mut self, at: usize, name: &str) {
        let old = &self.names[at];
        self.host.ip(&format!("link set {old} name {name}"));
        self.names[at] = name.to_owned();
    }

    pub fn put(&self, talk: &Talk, from: usize, cables: [usize; 2]) {
        let probe = probe(talk, from, cables[1]);
        match talk.comes_in(from) {
            true => {
                self.injectors[cables[0]].send(&probe);
                self.injectors[cables[0]].wait();
            }
            false => drop(self.outbound[cables[1]].send(&probe)),
        }
    }

    pub fn rename_one(&mut self, rng: &mut fastrand::Rng) -> String {
        let names = CABLES.into_iter().chain(OTHER_NAMES);
        let free: Vec<&str> = names
            .filter(|name| !self.names.iter().any(|other| other == name))
            .collect();
        let (at, name) = (rng.usize(..CABLES.len()), free[rng.usize(..free.len())]);
        let renamed = format!("{} became {name}", self.names[at]);
        self.rename(at, name);
        renamed
    }

    /// Another process takes over, which knows the slots that were written down.
    pub fn restart(&mut self) {
        let slots = self.kernel.slots();
        self.kernel = self.host.enter(kernel);
        self.kernel.know_slots(slots);
    }
}

fn probe(talk: &Talk, from: usize, leaves: usize) -> Probe {
    let [source, destination] =
        [from, 1 - from].map(|end| SocketAddr::new(talk.ends[end].0, talk.ends[end].1));
    let tracked = talk.tracked.as_ref();
    let accepts = tracked.is_some_and(|tracked| tracked.with_syn && !tracked.answered);
    let flags = match (talk.opens(from), accepts) {
        (true, _) => TcpFlags::Syn,
        (false, true) => TcpFlags::SynAck,
        (false, false) => TcpFlags::Ack,
    };
    let probe = match talk.protocol {
        Protocol::TCP => Probe::tcp_with(flags, source, destination),
        _ => Probe::udp(source, destination),
    };
    probe.hop_limit(100 + leaves as u8)
}

pub fn own_addresses(cable: usize, end: u8) -> [IpAddr; 2] {
    [
        format!("198.18.{cable}.{end}").parse().unwrap(),
        format!("2001:db8:ffff:{cable}::{end}").parse().unwrap(),
    ]
}

/// The world is behind each cable.
fn routes(host: &Host, cable: usize, name: &str, link: &Link) {
    let (table, metric) = (101 + cable, 10 + cable);
    let mut lines = String::new();
    for via in &link.b.addresses {
        let any = if via.is_ipv6() { "::/0" } else { "0.0.0.0/0" };
        for place in [format!("metric {metric}"), format!("table {table}")] {
            let _ = writeln!(lines, "route replace {any} via {via} dev {name} {place}");
        }
    }
    host.ip(&lines);
}

/// Connection tracking is on without us, and its flows can take labels.
fn tracking() -> String {
    "table inet tracking { chain in { type filter hook input priority 0; ct state invalid ct label set 1; }; }".into()
}

/// Counts what our hooks let pass, sends what is forwarded by the cable that its hop limit names, and has the host itself say nothing.
fn sink() -> String {
    let (mut inbound, mut outbound, mut ways) = (String::new(), String::new(), String::new());
    for (at, name) in CABLES.into_iter().enumerate() {
        let _ = writeln!(
            inbound,
            "iif {name} meta l4proto {{ tcp, udp }} counter comment \"Inbound {at}\""
        );
        let _ = writeln!(
            outbound,
            "oif {name} meta l4proto {{ tcp, udp }} counter comment \"Outbound {at}\""
        );
        let (limit, mark) = (100 + at, 101 + at);
        let _ = writeln!(
            ways,
            "ip ttl {limit} meta mark set {mark}\nip6 hoplimit {limit} meta mark set {mark}"
        );
    }
    format!(
        "table inet sink {{
            chain inbound {{ type filter hook prerouting priority -150; {inbound} {ways} }}
            chain outbound {{ type filter hook postrouting priority 260; {outbound} }}
            chain silent {{ type filter hook output priority -300; tcp flags rst drop; meta l4proto {{ icmp, ipv6-icmp }} drop; }}
        }}"
    )
}
