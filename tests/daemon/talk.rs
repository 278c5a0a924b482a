//! Flows between a host and its peer that a policy may end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::process::until;
use super::site::{Daemon, SOON, Site, WHILE};
use crate::support::Host;

pub use crate::support::CUT;

/// A TCP connection or a UDP conversation between the two.
pub enum Talk {
    Tcp(TcpStream, TcpStream),
    Udp(UdpSocket, UdpSocket),
}

impl Talk {
    /// `client` connects to `to`, where `server` listens at `at`.
    pub fn tcp(client: &Host, to: &str, server: &Host, at: &str) -> Self {
        let listener = server.enter(|| TcpListener::bind(at).unwrap());
        let to: SocketAddr = to.parse().unwrap();
        let client = client.enter(|| TcpStream::connect_timeout(&to, SOON).unwrap());
        let server = listener.accept().unwrap().0;
        let talk = Talk::Tcp(client, server);
        talk.limit(SOON);
        assert!(talk.carries(), "the connection carries nothing");
        talk
    }

    /// The same; the client speaks first, so that connection tracking knows who opened it.
    pub fn udp(client: &Host, from: &str, to: &str, server: &Host, at: &str) -> Self {
        let server = server.enter(|| UdpSocket::bind(at).unwrap());
        let client = client.enter(|| UdpSocket::bind(from).unwrap());
        client.connect(to).unwrap();
        client.send(b"hello").unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        let mut buffer = [0; 64];
        let (_, peer) = server.recv_from(&mut buffer).unwrap();
        server.connect(peer).unwrap();
        let talk = Talk::Udp(client, server);
        talk.limit(SOON);
        assert!(talk.carries(), "the conversation carries nothing");
        talk
    }

    pub fn limit(&self, time: Duration) {
        let time = Some(time);
        match self {
            Talk::Tcp(a, b) => {
                a.set_read_timeout(time).unwrap();
                b.set_read_timeout(time).unwrap();
            }
            Talk::Udp(a, b) => {
                a.set_read_timeout(time).unwrap();
                b.set_read_timeout(time).unwrap();
            }
        }
    }

    /// Whether what either side says is heard.
    pub fn carries(&self) -> bool {
        self.hears(true) && self.hears(false)
    }

    /// Whether the server hears the client, or the other way round.
    pub fn hears(&self, by_client: bool) -> bool {
        fn said(mut from: impl Write, mut to: impl Read) -> bool {
            let mut heard = [0; 4];
            from.write_all(b"word").is_ok() && to.read_exact(&mut heard).is_ok()
        }
        match (self, by_client) {
            (Talk::Tcp(client, server), true) => said(client, server),
            (Talk::Tcp(client, server), false) => said(server, client),
            (Talk::Udp(client, server), _) => {
                let (from, to) = if by_client {
                    (client, server)
                } else {
                    (server, client)
                };
                let mut buffer = [0; 64];
                from.send(b"word").is_ok() && to.recv(&mut buffer).is_ok()
            }
        }
    }

    /// Neither side hears the other any more, and the server speaks first: its packets are answers. What is sent is sent again for
    /// a while.
    pub fn has_ended(&self) -> bool {
        [(false, WHILE), (true, WHILE), (false, CUT), (true, WHILE)]
            .into_iter()
            .all(|(by_client, time)| {
                self.limit(time);
                !self.hears(by_client)
            })
    }
}

/// What is listened to, a rule each; everything may go out, so an ended flow can be mistaken for one that the host opens.
pub fn open(rules: &[&str]) -> String {
    with_outbound(rules, "{ action: allow, protocol: all, destination: any }")
}

pub fn with_outbound(inbound: &[&str], outbound: &str) -> String {
    let inbound: String = inbound
        .iter()
        .map(|rule| format!("      - {{ action: allow, {rule}, source: any }}\n"))
        .collect();
    format!(
        "version: 1\nsecurity_groups:\n  sg-web:\n    inbound:\n{inbound}      - {{ action: refuse, protocol: gre, source: any }}\n    \
         outbound:\n      - {outbound}\n\
         instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}\n"
    )
}

pub const SSH: &str = "protocol: tcp, port: 22";
pub const WEB: &str = "protocol: tcp, port: 80";
pub const DNS: &str = "protocol: udp, port: 53";
pub const PING: &str = "protocol: icmp";
pub const PING6: &str = "protocol: icmpv6";

pub fn start(definition: &str) -> (Site, Daemon) {
    let site = Site::quiet();
    site.write("groups.yaml", definition);
    let daemon = site.start();
    daemon.until_logged("generation 1 enforced");
    (site, daemon)
}

/// Saves, and waits until that is enforced: at least as this generation, since a repair in between takes one too.
pub fn change(site: &Site, daemon: &Daemon, definition: &str, generation: u32) {
    let enforced = || {
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("was saved"));
        let numbers = lines.filter_map(|line| line.split_once("generation ")?.1.split(' ').next());
        let numbers = numbers.filter_map(|number| number.parse::<u32>().ok());
        numbers.collect::<Vec<_>>()
    };
    let before = enforced().len();
    site.save("groups.yaml", definition);
    until("what was saved is enforced", || {
        let numbers = enforced();
        numbers.len() > before && numbers.last() >= Some(&generation)
    });
}

/// Both families of SSH, DNS.
pub fn inbound_talks(site: &Site) -> [Talk; 4] {
    [
        Talk::tcp(&site.peer, "10.0.0.5:22", &site.host, "10.0.0.5:22"),
        Talk::tcp(
            &site.peer,
            "[2001:db8::5]:22",
            &site.host,
            "[2001:db8::5]:22",
        ),
        Talk::udp(
            &site.peer,
            "10.0.0.9:5000",
            "10.0.0.5:53",
            &site.host,
            "10.0.0.5:53",
        ),
        Talk::udp(
            &site.peer,
            "[2001:db8::9]:5000",
            "[2001:db8::5]:53",
            &site.host,
            "[2001:db8::5]:53",
        ),
    ]
}

pub fn pings(site: &Site, to: &str) -> bool {
    let mut ping = site.peer.command("ping");
    ping.args(["-c1", "-W1", "-q", to]);
    // The same identifier, and so the same flow.
    ping.args(["-e", "77"]);
    ping.output().unwrap().status.success()
}

/// A guest behind the host, on a second wire.
pub fn guest(site: &Site) -> (Host, crate::support::Link) {
    let guest = Host::new("guest");
    let wire = crate::support::join(
        &site.host,
        "eth1",
        &["10.1.0.1/24", "2001:db8:1::1/64"],
        &guest,
        "wire",
        &["10.1.0.2/24", "2001:db8:1::2/64"],
    );
    guest.ip("route add default via 10.1.0.1");
    guest.ip("route add default via 2001:db8:1::1");
    site.host.forwards();
    (guest, wire)
}

/// The guest's flows leave with the host's address.
pub fn masqueraded_guest(site: &Site) -> (Host, crate::support::Link) {
    let guest = guest(site);
    site.host.nft(
        "table ip nat { chain post { type nat hook postrouting priority 100; ip saddr 10.1.0.0/24 oifname eth0 masquerade; }; }",
    );
    guest
}

/// One port may be gone out to, of TCP.
pub fn out_to(inbound: &[&str], port: u16) -> String {
    with_outbound(
        inbound,
        &format!("{{ action: allow, protocol: tcp, port: {port}, destination: any }}"),
    )
}

/// TCP and UDP that the host has opened.
pub fn outbound_talks(site: &Site) -> [Talk; 2] {
    [
        Talk::tcp(&site.host, "10.0.0.9:443", &site.peer, "10.0.0.9:443"),
        Talk::udp(
            &site.host,
            "10.0.0.5:5000",
            "10.0.0.9:123",
            &site.peer,
            "10.0.0.9:123",
        ),
    ]
}

/// What [`translated_talks`] come in by.
pub const WEB_8080: &str = "protocol: tcp, port: 8080";
pub const DNS_8053: &str = "protocol: udp, port: 8053";

/// TCP and UDP to ports that the host translates to others of its own, 8888 and 5353.
pub fn translated_talks(site: &Site) -> [Talk; 2] {
    site.host.nft(
        "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.0.0.5:8888; \
         udp dport 8053 redirect to :5353; }; }",
    );
    [
        Talk::tcp(&site.peer, "10.0.0.5:8080", &site.host, "10.0.0.5:8888"),
        Talk::udp(
            &site.peer,
            "10.0.0.9:5000",
            "10.0.0.5:8053",
            &site.host,
            "10.0.0.5:5353",
        ),
    ]
}

/// Two interfaces: everything is allowed but what leaves by the inner one, which is `inner`.
pub fn two_interfaces(inner: &str) -> String {
    format!(
        "version: 1\nsecurity_groups:\n  sg-all: {{ inbound: [{{ action: allow, protocol: all, source: any }}], outbound: [{{ action: allow, protocol: all, destination: any }}] }}\n  \
         sg-inner: {{ inbound: [{{ action: allow, protocol: all, source: any }}], outbound: [{{ {inner}, destination: any }}] }}\n\
         instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-all] }}, eth1: {{ security_groups: [sg-inner] }} }} }}\n"
    )
}

/// SSH and web from the peer to the guest, through both interfaces of the host.
pub fn forwarded_talks(site: &Site, guest: &Host) -> [Talk; 2] {
    site.peer.ip("route add 10.1.0.0/24 via 10.0.0.5");
    [
        Talk::tcp(&site.peer, "10.1.0.2:22", guest, "10.1.0.2:22"),
        Talk::tcp(&site.peer, "10.1.0.2:80", guest, "10.1.0.2:80"),
    ]
}
