//! The first enforcement: the established TCP flows that the policy allows are made known to connection tracking, so
//! that it cuts none of them.

use crate::netfilter::kernel::Kernel;
use crate::netfilter::links;
use crate::netfilter::seed::TcpSocket;
use crate::policy::{Direction, Packet, Protocol};
use crate::words::count;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use tracing::{info, warn};

/// The ports that the kernel gives to a socket that asks for none.
const OWN_PORTS: RangeInclusive<u16> = 32_768..=60_999;

/// Puts the host's established TCP sockets that are allowed into connection tracking, each judged by the packet that
/// opened it. What is tracked already stays as it is.
pub fn seed(kernel: &Kernel, allows: impl Fn(&Packet) -> bool) {
    let result = kernel.established_tcp().and_then(|sockets| {
        let addresses = Addresses::of_this_host();
        let allowed: Vec<_> = sockets
            .into_iter()
            .filter_map(|socket| addresses.allowed(&allows, socket))
            .collect();
        kernel.track(&allowed)
    });
    match result {
        Ok(0) => {}
        Ok(flows) => info!(
            "{} put into connection tracking",
            count(flows, "established TCP flow")
        ),
        Err(error) => {
            warn!("established TCP flows are not all known to connection tracking: {error}")
        }
    }
}

/// What is known of this host beside its sockets.
struct Addresses {
    /// The names of the interfaces, by address.
    names: BTreeMap<IpAddr, String>,
    own_ports: RangeInclusive<u16>,
}

impl Addresses {
    fn of_this_host() -> Self {
        let links = links::links().unwrap_or_default();
        let names = links.into_iter().flat_map(|link| {
            link.addresses
                .into_iter()
                .map(move |address| (address, link.name.clone()))
        });
        Addresses {
            names: names.collect(),
            own_ports: own_ports().unwrap_or(OWN_PORTS),
        }
    }

    /// The flow as it is allowed. The kernel does not keep who opened it: where nothing listens on the local port
    /// any more, this host is taken for the opener; but such a flow from a port that the kernel would not have chosen
    /// may as well be one of a listener that has gone (`nc -l`, a server being restarted), so that reading counts too.
    fn allowed(&self, allows: &impl Fn(&Packet) -> bool, socket: TcpSocket) -> Option<TcpSocket> {
        let other = TcpSocket {
            opened_by_remote: true,
            ..socket
        };
        let doubtful = !socket.opened_by_remote && !self.own_ports.contains(&socket.local.port());
        let readings = [Some(socket), doubtful.then_some(other)];
        readings
            .into_iter()
            .flatten()
            .find(|socket| self.is_allowed(allows, socket))
    }

    /// Judged at the interface of its local address; at any one if no interface has that address.
    fn is_allowed(&self, allows: &impl Fn(&Packet) -> bool, socket: &TcpSocket) -> bool {
        let (own, other) = (socket.local.port(), socket.remote.port());
        let (direction, [source_port, port]) = match socket.opened_by_remote {
            true => (Direction::Inbound, [other, own]),
            false => (Direction::Outbound, [own, other]),
        };
        let at = |interface: &str| {
            let remote = socket.remote.ip();
            allows(&Packet {
                source_port,
                local: socket.local.ip(),
                ..Packet::opening(direction, interface, Protocol::TCP, remote, port)
            })
        };
        match self.names.get(&socket.local.ip()) {
            Some(interface) => at(interface),
            None => self.names.values().any(|interface| at(interface)),
        }
    }
}

fn own_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}
