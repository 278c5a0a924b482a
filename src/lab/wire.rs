//! Cables between the nodes and the router. Each is a network of its own: every address is a single one, and the router
//! leads to it.

use super::node::{Inside, Node, NodeError};
use super::plan::{GATEWAYS, InterfacePlan};
use super::route::{CableEnd, Mac};
use crate::netfilter::netlink::NetlinkError;
use nix::libc;
use nix::net::if_::if_nametoindex;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The table of routes of a node's second interface; the third's is the next. Those below 256 are the system's own.
const FIRST_TABLE: u32 = 1000;

/// A cable that lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cable {
    /// The index of the router's end.
    index: u32,
    /// The hardware address of the other.
    far: Mac,
}

/// Lays the cable with this number, unique in the lab, from the router to an interface of a node; `place` counts its
/// interfaces.
pub fn lay(
    router: &Node,
    node: &Node,
    interface: &InterfacePlan,
    place: usize,
    number: u16,
) -> Result<Cable, NodeError> {
    let [high, low] = number.to_be_bytes();
    let near = CableEnd {
        name: format!("to{number}"),
        mac: [0x02, 0x5e, 0, high, low, 1],
    };
    let far = CableEnd {
        name: interface.name.clone(),
        mac: [0x02, 0x5e, 0, high, low, 2],
    };
    let there = node
        .namespace()
        .try_clone_to_owned()
        .map_err(|error| node.error(error.to_string()))?;
    let (near_mac, far_mac, addresses) = (near.mac, far.mac, interface.addresses.clone());
    let made = router.call(move |inside| router_end(inside, &near, &far, &there, &addresses))?;
    let index = made.map_err(|error| {
        node.error(format!("cannot lay a cable to {}: {error}", interface.name))
    })?;
    let interface = interface.clone();
    let done = node.call(move |inside| node_end(inside, &interface, place, near_mac))?;
    done.map_err(|error| node.error(format!("cannot set up its interface: {error}")))?;
    Ok(Cable {
        index,
        far: far_mac,
    })
}

/// Takes a cable away.
/// That it has gone already is no error.
pub fn take(router: &Node, cable: Cable) -> Result<(), NodeError> {
    router.call(move |inside| {
        let _ = inside.route.cut(cable.index);
    })
}

fn router_end(
    inside: &mut Inside,
    near: &CableEnd,
    far: &CableEnd,
    there: &OwnedFd,
    addresses: &[IpAddr],
) -> Result<u32, NetlinkError> {
    let route = &inside.route;
    route.cable(near, far, there.as_raw_fd())?;
    let index = index(&near.name)?;
    route.up(index)?;
    for gateway in GATEWAYS {
        route.address(index, gateway)?;
    }
    for address in addresses {
        route.to(index, *address)?;
        route.neighbour(index, *address, far.mac)?;
    }
    Ok(index)
}

fn node_end(
    inside: &mut Inside,
    interface: &InterfacePlan,
    place: usize,
    router: Mac,
) -> Result<(), NetlinkError> {
    let route = &inside.route;
    let index = index(&interface.name)?;
    route.up(index)?;
    for address in &interface.addresses {
        route.address(index, *address)?;
    }
    // What comes by an interface is answered by it.
    let table = match u32::try_from(place) {
        Ok(0) | Err(_) => u32::from(libc::RT_TABLE_MAIN),
        Ok(place) => FIRST_TABLE.saturating_add(place),
    };
    for gateway in GATEWAYS {
        let mut same_family = interface
            .addresses
            .iter()
            .filter(|address| address.is_ipv4() == gateway.is_ipv4())
            .peekable();
        route.neighbour(index, gateway, router)?;
        if same_family.peek().is_none() {
            continue;
        }
        route.default(index, gateway, table)?;
        if place > 0 {
            for address in same_family {
                route.from(*address, table)?;
            }
        }
    }
    Ok(())
}

fn index(name: &str) -> Result<u32, NetlinkError> {
    if_nametoindex(name).map_err(NetlinkError::Socket)
}

/// Adds an address to the first interface of a node.
pub fn add(router: &Node, node: &Node, cable: Cable, address: IpAddr) -> Result<(), NodeError> {
    let index = cable.index;
    let led = router.call(move |inside| {
        inside.route.to(index, address)?;
        inside.route.neighbour(index, address, cable.far)
    })?;
    led.map_err(|error| node.error(format!("no route to {address}: {error}")))?;
    let name = first_interface(node)?;
    let given = node.call(move |inside| inside.route.address(self::index(&name)?, address))?;
    given.map_err(|error| node.error(format!("cannot have the address {address}: {error}")))
}

/// Takes it away again. What has gone with its cable is no matter.
pub fn remove(router: &Node, node: &Node, cable: Cable, address: IpAddr) {
    let _ = router.call(move |inside| {
        let _ = inside.route.not_to(cable.index, address);
        let _ = inside.route.no_neighbour(cable.index, address);
    });
    if let Ok(name) = first_interface(node) {
        let _ = node.call(move |inside| inside.route.no_address(self::index(&name)?, address));
    }
}

fn first_interface(node: &Node) -> Result<String, NodeError> {
    let plan = node.plan();
    let first = plan.interfaces.into_iter().next();
    let first = first.ok_or_else(|| node.error("it has no interface"))?;
    Ok(first.name)
}
