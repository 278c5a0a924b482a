//! Network namespaces of their own: the host again, with the names and addresses of its interfaces and its rulesets,
//! whoever opens the flow, and whoever the host sends it on to. They belong to the calling thread, and go with it.

use super::blame::{
    Blame, REFUSING, TURNING, arrives_as, grown, names, traced, turned as turned_by,
};
use super::copy::{CopiedRuleset, Copy};
use super::fate::{AskedFlow, Fate, FirewallError, FirewallSeen, Turned};
use super::monitor::{AFTER_NAT, ENTERS, NftMonitor, TRACE};
use super::program::run as run_program;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, connect, listen,
    recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// The ends of the cables: nobody has to ask for them.
const MACS: [&str; 4] = [
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    "02:00:00:00:00:03",
    "02:00:00:00:00:04",
];
/// The other end of the cable by which the flow comes.
const FAR: &str = "secgroupd-far";
/// The other end of the cable by which it is sent on.
const BEHIND: &str = "secgroupd-next";
/// So many interfaces are copied.
const MOST_LINKS: usize = 200;
/// How long an answer may take between two namespaces of one machine, in milliseconds: at first, where nothing came of
/// that, and where nothing has even arrived.
const PATIENCE_MS: [i64; 4] = [600, 3000, 10_000, 30_000];

/// The namespaces.
struct Scratch {
    host: File,
    far: File,
    behind: File,
}

/// Makes the namespaces, loads the copy and opens the flow. It is answered where it was meant to go, or where it is
/// known to be sent on to.
pub fn run(
    asked: &AskedFlow,
    copy: &Copy,
    known: Option<&Turned>,
) -> Result<FirewallSeen, FirewallError> {
    let scratch = Scratch::new()?;
    scratch.cables(asked, copy)?;
    if let Some((to, interface)) =
        known.and_then(|turned| Some((turned.to, turned.leaves_by.as_ref()?)))
    {
        scratch.cable_behind(asked, to.ip(), interface)?;
    }
    let mut seen = FirewallSeen {
        fate: Fate::Lost,
        turned: None,
        copied: Vec::new(),
        not_copied: copy.missing.clone(),
        ufw: copy.parts.iter().any(|part| part.text.contains(":ufw")),
    };
    if copy.links.len() > MOST_LINKS {
        let more = copy.links.len() - MOST_LINKS;
        seen.not_copied.push(format!("{more} interfaces"));
    }
    for part in &copy.parts {
        let (program, arguments) = &part.restore;
        match run_program(program, arguments, &part.text) {
            Ok(_) => seen.copied.push(part.name.clone()),
            Err(error) => seen.not_copied.push(format!("{}: {error}", part.name)),
        }
    }
    let of_iptables = |table: &str| {
        let families = [("ip ", "iptables-nft"), ("ip6 ", "ip6tables-nft")];
        families.iter().any(|(family, name)| {
            let own = table.strip_prefix(family);
            own.is_some_and(|own| {
                let part = copy.parts.iter().find(|part| part.name == *name);
                part.is_some_and(|part| part.text.lines().any(|line| line == format!("*{own}")))
            })
        })
    };
    let covered = |table: &str| of_iptables(table) || table == format!("inet {TRACE}");
    // A cable carries nothing until the kernel has noticed that it is plugged in, which takes a while on a busy
    // machine.
    for (number, patience) in PATIENCE_MS.into_iter().enumerate() {
        let before = counters(&copy.parts);
        let trace = NftMonitor::begin(asked, known);
        let arrived = scratch.open(asked, known, patience);
        scratch.at_host()?;
        let said = trace.map(NftMonitor::end);
        // Without a trace nobody sees whether it has.
        let came = (said.as_ref()).is_none_or(|said| names(said, TRACE, ENTERS));
        let said = said.unwrap_or_default();
        let (mut blamed, mut turning): (Vec<Blame>, Vec<Blame>) = (Vec::new(), Vec::new());
        for ((program, before), (_, after)) in before.iter().zip(counters(&copy.parts)) {
            blamed.extend(grown(program, before, &after, REFUSING));
            turning.extend(grown(program, before, &after, TURNING));
        }
        blamed.extend(traced(&said, covered));
        turning.extend(turned_by(&said, covered));
        let meant = SocketAddr::new(asked.local, asked.port);
        let goes_to = arrives_as(&said, TRACE, AFTER_NAT).filter(|to| *to != meant);
        seen.turned = goes_to.map(|to| Turned {
            to,
            leaves_by: None,
            by: turning.into_iter().next(),
        });
        seen.fate = match (arrived?, blamed.is_empty()) {
            (true, _) => Fate::Passed,
            (false, false) => Fate::Refused(blamed),
            (false, true) => Fate::Lost,
        };
        if seen.fate != Fate::Lost || (known.is_none() && seen.turned.is_some()) {
            return Ok(seen);
        }
        if came && number > 0 {
            return Ok(seen);
        }
    }
    // No rule of the copy has met it: nothing can be said of them.
    Err(FirewallError::NotTried)
}

impl Scratch {
    fn new() -> Result<Self, FirewallError> {
        let own = || File::open("/proc/thread-self/ns/net").map_err(FirewallError::Socket);
        let new = || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(FirewallError::Namespace)?;
            quiet();
            own()
        };
        Ok(Scratch {
            host: new()?,
            far: new()?,
            behind: new()?,
        })
    }

    fn at_host(&self) -> Result<(), FirewallError> {
        enter(&self.host)
    }

    fn at_far(&self) -> Result<(), FirewallError> {
        enter(&self.far)
    }

    /// Interfaces of the host's names and addresses; the one that is asked about leads to the far side.
    fn cables(&self, asked: &AskedFlow, copy: &Copy) -> Result<(), FirewallError> {
        let (remote, interface) = (asked.remote, &asked.interface);
        self.at_host()?;
        let far = path(&self.far);
        let mut lines = String::from("link set lo up\n");
        let links = copy.links.iter().filter(|link| link.name != "lo");
        for (number, link) in links.clone().take(MOST_LINKS).enumerate() {
            let name = &link.name;
            let there = match name == interface {
                true => FAR.to_owned(),
                false => format!("secgroupd-{number}"),
            };
            lines += &format!("link add {name} type veth peer name {there} netns {far}\n");
            for address in &link.addresses {
                let (bits, quickly) = alone(*address);
                lines += &format!("address add {address}/{bits} dev {name}{quickly}\n");
            }
        }
        let [near_mac, far_mac, ..] = MACS;
        lines += &format!("link set {interface} address {near_mac} up\n");
        lines += &leads_to(remote, far_mac, interface);
        // An address that cannot be given twice, or a name that is taken, is no reason to stop.
        run_program("ip", &["-force", "-batch", "-"], &lines).or_else(|error| {
            let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
            match links.contains(&format!("{interface}:")) {
                true => Ok(String::new()),
                false => Err(error),
            }
        })?;
        self.at_far()?;
        other_end(FAR, (remote, far_mac), (asked.local, near_mac))?;
        self.at_host()
    }

    /// Whoever the host sends the flow on to, behind this interface: it has been made, and leads nowhere yet.
    fn cable_behind(
        &self,
        asked: &AskedFlow,
        to: IpAddr,
        interface: &str,
    ) -> Result<(), FirewallError> {
        let [.., near_mac, behind_mac] = MACS;
        self.at_host()?;
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            // A kernel without IPv6 has no such switch.
            let _ = fs::write(format!("/proc/sys/net/{switch}"), "1");
        }
        let behind = path(&self.behind);
        // A cable of its own under the same name: that of before leads to the far side.
        let addresses = run_program("ip", &["-o", "address", "show", "dev", interface], "")?;
        let mut lines = format!(
            "link del {interface}\nlink add {interface} type veth peer name {BEHIND} netns {behind}\n\
             link set {interface} address {near_mac} up\n"
        );
        let own = addresses
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3));
        for address in own.filter(|address| !address.starts_with("fe80:")) {
            let quickly = if address.contains(':') { " nodad" } else { "" };
            lines += &format!("address add {address} dev {interface}{quickly}\n");
        }
        lines += &leads_to(to, behind_mac, interface);
        run_program("ip", &["-batch", "-"], &lines)?;
        enter(&self.behind)?;
        other_end(BEHIND, (to, behind_mac), (asked.remote, near_mac))?;
        self.at_host()
    }

    /// Opens the flow from the far side. Returns whether it was answered, or, with UDP, arrived.
    fn open(
        &self,
        asked: &AskedFlow,
        known: Option<&Turned>,
        patience: i64,
    ) -> Result<bool, FirewallError> {
        let kind = if asked.tcp {
            SockType::Stream
        } else {
            SockType::Datagram
        };
        let failed = |error: Errno| FirewallError::Socket(error.into());
        let local = SockaddrStorage::from(SocketAddr::new(asked.local, asked.port));
        let answers = known.map_or(local, |turned| SockaddrStorage::from(turned.to));
        match known.and_then(|turned| turned.leaves_by.as_ref()) {
            Some(_) => enter(&self.behind)?,
            None => self.at_host()?,
        }
        let server = endpoint(asked, kind, patience).map_err(failed)?;
        bind(server.as_raw_fd(), &answers).map_err(failed)?;
        if asked.tcp {
            listen(&server, Backlog::new(1).unwrap_or(Backlog::MAXCONN)).map_err(failed)?;
        }
        self.at_far()?;
        let client = endpoint(asked, kind, patience).map_err(failed)?;
        let remote = SockaddrStorage::from(SocketAddr::new(asked.remote, 0));
        bind(client.as_raw_fd(), &remote).map_err(failed)?;
        let connected = connect(client.as_raw_fd(), &local);
        let arrived = match (asked.tcp, connected) {
            (true, connected) => connected.is_ok(),
            (false, Err(_)) => false,
            (false, Ok(())) => {
                // Refused at home already, as with an error of the far side's own.
                let sent = send(client.as_raw_fd(), b"secgroupd", MsgFlags::empty());
                sent.is_ok() && recv(server.as_raw_fd(), &mut [0; 16], MsgFlags::empty()).is_ok()
            }
        };
        self.at_host()?;
        Ok(arrived)
    }
}

/// Where a program of this process finds a namespace.
fn path(namespace: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

/// The length of a prefix that is one address, and what spares such an address of an interface the search for its like.
fn alone(address: IpAddr) -> (u8, &'static str) {
    match address {
        IpAddr::V4(_) => (32, ""),
        IpAddr::V6(_) => (128, " nodad"),
    }
}

/// The way to whoever is at the other end of a cable.
fn leads_to(address: IpAddr, mac: &str, interface: &str) -> String {
    let (bits, _) = alone(address);
    format!(
        "route add {address}/{bits} dev {interface}\nneighbour replace {address} lladdr {mac} dev {interface} nud permanent\n"
    )
}

/// Switches on the other end of a cable, with the address there, and the way to what is at the host's end.
fn other_end(
    name: &str,
    (own, own_mac): (IpAddr, &str),
    (peer, peer_mac): (IpAddr, &str),
) -> Result<String, FirewallError> {
    let (bits, quickly) = alone(own);
    let lines = format!(
        "link set lo up\nlink set {name} address {own_mac} up\naddress add {own}/{bits} dev {name}{quickly}\n{}",
        leads_to(peer, peer_mac, name)
    );
    run_program("ip", &["-batch", "-"], &lines)
}

fn enter(namespace: &File) -> Result<(), FirewallError> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(FirewallError::Namespace)
}

/// A socket that does not wait for long.
fn endpoint(asked: &AskedFlow, kind: SockType, patience: i64) -> Result<OwnedFd, Errno> {
    let family = match asked.local {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let made = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let wait = TimeVal::new(patience / 1000, patience % 1000 * 1000);
    setsockopt(&made, sockopt::SendTimeout, &wait)?;
    setsockopt(&made, sockopt::ReceiveTimeout, &wait)?;
    Ok(made)
}

/// Nothing is sent by itself: every packet would be counted.
fn quiet() {
    for (key, value) in [
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
        ("ipv6/conf/default/addr_gen_mode", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ] {
        // A kernel without IPv6 has no such switch.
        let _ = fs::write(format!("/proc/sys/net/{key}"), value);
    }
}

/// What iptables has counted so far.
fn counters(parts: &[CopiedRuleset]) -> Vec<(String, String)> {
    let iptables = parts.iter().filter(|part| part.name.contains("tables-"));
    iptables
        .map(|part| {
            let saved = run_program(&format!("{}-save", part.name), &["-c"], "");
            (part.name.clone(), saved.unwrap_or_default())
        })
        .collect()
}
