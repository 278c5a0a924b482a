//! A cable between two hosts: a veth pair with addresses, up, and with its neighbours already known.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    net::if_::InterfaceFlags,
    sys::socket::{LinkAddr, SockaddrLike},
};

use super::{Host, SOON};

/// The two ends of a cable.
#[derive(Clone, Debug)]
pub struct Link {
    /// The first host's end.
    pub a: End,
    /// The second host's end.
    pub b: End,
}

/// One end of a cable: an interface of a host.
#[derive(Clone, Debug)]
pub struct End {
    /// The host it belongs to.
    pub host: Host,
    /// Its name there.
    pub interface: String,
    /// Its number there.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its IPv6 link-local address.
    pub link_local: Ipv6Addr,
    /// The addresses it was given, without prefix lengths.
    pub addresses: Vec<IpAddr>,
}

/// Joins two hosts by a cable and gives each end its addresses (`10.0.0.5/24`). No ARP and no neighbour discovery
/// delays the first packet; an address that only a route leads to needs the route alone.
pub fn join(
    a: &Host,
    a_name: &str,
    a_addresses: &[&str],
    b: &Host,
    b_name: &str,
    b_addresses: &[&str],
) -> Link {
    let (a_mac, b_mac) = (next_mac(), next_mac());
    a.ip(&format!(
        "link add {a_name} address {} type veth peer name {b_name} address {} netns {}",
        written(a_mac),
        written(b_mac),
        b.path()
    ));
    let raise = |name: &str, addresses: &[&str], far: &[&str], far_mac: [u8; 6]| {
        let mut lines = format!("link set {name} up\n");
        for address in addresses {
            let nodad = if address.contains(':') {
                " nodad"
            } else {
                " brd +"
            };
            writeln!(lines, "addr add {address} dev {name}{nodad}").unwrap();
        }
        let far_local = link_local(far_mac).to_string();
        for address in far.iter().copied().chain([far_local.as_str()]) {
            let address = address.split('/').next().unwrap();
            writeln!(
                lines,
                "neigh replace {address} lladdr {} dev {name} nud permanent",
                written(far_mac)
            )
            .unwrap();
        }
        lines
    };
    a.ip(&raise(a_name, a_addresses, b_addresses, b_mac));
    b.ip(&raise(b_name, b_addresses, a_addresses, a_mac));
    Link {
        a: end(a, a_name, a_addresses),
        b: end(b, b_name, b_addresses),
    }
}

impl End {
    /// The interface's address of the packet layer, as a socket wants it.
    pub fn link_address(&self) -> LinkAddr {
        self.host
            .enter(|| link_address(&self.interface))
            .expect("the interface exists")
            .0
    }
}

/// Waits until the interface runs, and notes what it is called by the kernel.
fn end(host: &Host, interface: &str, addresses: &[&str]) -> End {
    let start = Instant::now();
    let address = host.enter(|| {
        loop {
            match link_address(interface) {
                Some((address, true)) => break address,
                _ if start.elapsed() > SOON => {
                    panic!("{interface} of {} stays down", host.name())
                }
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
    });
    let mac = address.addr().expect("an ethernet address");
    End {
        host: host.clone(),
        interface: interface.into(),
        index: u32::try_from(address.ifindex()).unwrap(),
        mac,
        link_local: link_local(mac),
        addresses: addresses
            .iter()
            .map(|text| text.split('/').next().unwrap().parse().unwrap())
            .collect(),
    }
}

/// An interface of the current namespace, and whether it runs.
fn link_address(interface: &str) -> Option<(LinkAddr, bool)> {
    getifaddrs()
        .ok()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| {
            let running = entry
                .flags
                .contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
            Some((*entry.address?.as_link_addr()?, running))
        })
}

fn next_mac() -> [u8; 6] {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    [0x02, 0, 0, 0, high, low]
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The address that the kernel makes of a hardware address (EUI-64).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let pair = |a: u8, b: u8| u16::from_be_bytes([a, b]);
    let first = pair(mac[0] ^ 0x02, mac[1]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        first,
        pair(mac[2], 0xff),
        pair(0xfe, mac[3]),
        pair(mac[4], mac[5]),
    )
}
