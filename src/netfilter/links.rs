//! The interfaces of this network namespace: what they are, what stands on them, and where the default route goes.

use std::collections::HashMap;
use std::net::IpAddr;

use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_link::{self, Ifinfomsg, IterableLinkAttrs};
use netlink_bindings::rt_route::{self, IterableRouteAttrs, Rtmsg};
use nix::libc;

use super::netlink::{NetlinkError, dump};

/// `RTEXT_FILTER_SKIP_STATS` of `linux/rtnetlink.h`: counters are most of a link's message and nobody here reads them.
const SKIP_STATISTICS: u32 = 1 << 3;

/// One network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number, unique in this network namespace.
    pub index: u32,
    /// `eth0`.
    pub name: String,
    /// What else `ip` calls it. The packet path knows its name only.
    pub other_names: Vec<String>,
    /// What a virtual interface is: `vlan`, `bridge`, `veth`, … None for a physical one and for `lo`.
    pub kind: Option<String>,
    /// The index of the bridge, bond or VRF that this is a port of.
    pub master: Option<u32>,
    /// The index of the interface that this one stands on (`IFLA_LINK`), if that is in the same network namespace. For
    /// a `veth` it is the other end.
    pub parent: Option<u32>,
    /// Whether an XDP program sees packets before the kernel does.
    pub has_xdp: bool,
    /// Its own addresses, in the kernel's order.
    pub addresses: Vec<IpAddr>,
}

impl Link {
    /// Whether packets of this interface enter and leave through its parent without passing the parent's IP hooks.
    #[must_use]
    pub fn is_child(&self) -> bool {
        const KINDS: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];
        let kind = self.kind.as_deref();
        self.parent.is_some() && kind.is_some_and(|kind| KINDS.contains(&kind))
    }
}

/// Why the interfaces or routes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The interfaces.
    #[error("cannot list the network interfaces: {0}")]
    Links(NetlinkError),
    /// Their addresses.
    #[error("cannot list the addresses of the network interfaces: {0}")]
    Addresses(NetlinkError),
    /// The routes.
    #[error("cannot list the routes: {0}")]
    Routes(NetlinkError),
}

/// All interfaces of this network namespace, by index as the kernel lists them.
pub fn links() -> Result<Vec<Link>, LinkError> {
    let mut addresses = addresses().map_err(LinkError::Addresses)?;
    let mut request = rt_link::Request::new().op_getlink_dump(&Ifinfomsg::new());
    request.encode().push_ext_mask(SKIP_STATISTICS);
    dump(&request, |(header, attributes)| {
        let index = header.ifi_index as u32;
        let own = addresses.remove(&index).unwrap_or_default();
        link(index, attributes, own)
    })
    .map_err(LinkError::Links)
}

/// The indexes of the interfaces by which default routes of the main table leave, both families and every path of a
/// multipath route, each once. A route by nexthop object counts through the paths that the kernel copies into it
/// (`net.ipv4.nexthop_compat_mode`, on by default).
pub fn default_route_links() -> Result<Vec<u32>, LinkError> {
    let mut found = Vec::new();
    for index in default_routes(|route| Some(leaves_by(route)))?
        .into_iter()
        .flatten()
    {
        if !found.contains(&index) {
            found.push(index);
        }
    }
    Ok(found)
}

/// The gateways of the default routes of the main table, both families, each with the index of its interface.
pub fn default_gateways() -> Result<Vec<(IpAddr, Option<u32>)>, LinkError> {
    default_routes(|route| Some((route.get_gateway().ok()?, route.get_oif().ok())))
}

/// What `of` finds in the default routes of the main table, both families.
fn default_routes<R>(
    of: impl Fn(&IterableRouteAttrs<'_>) -> Option<R>,
) -> Result<Vec<R>, LinkError> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = Rtmsg {
            rtm_family: family as u8,
            rtm_table: libc::RT_TABLE_MAIN,
            ..Default::default()
        };
        let request = rt_route::Request::new().op_getroute_dump(&header);
        let routes = dump(&request, |(header, route)| {
            is_default(&header, &route).then(|| of(&route)).flatten()
        });
        found.extend(routes.map_err(LinkError::Routes)?);
    }
    Ok(found)
}

fn addresses() -> Result<HashMap<u32, Vec<IpAddr>>, NetlinkError> {
    let request = rt_addr::Request::new().op_getaddr_dump(&Ifaddrmsg::new());
    let listed = dump(&request, |(header, attributes)| {
        // On a point-to-point interface IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 usually has only the former.
        let own = attributes.get_local().or_else(|_| attributes.get_address());
        own.ok().map(|address| (header.ifa_index, address))
    })?;
    let mut by_index: HashMap<u32, Vec<IpAddr>> = HashMap::new();
    for (index, address) in listed {
        by_index.entry(index).or_default().push(address);
    }
    Ok(by_index)
}

fn link(index: u32, attributes: IterableLinkAttrs<'_>, addresses: Vec<IpAddr>) -> Option<Link> {
    let kind = attributes.get_linkinfo().and_then(|info| info.get_kind());
    // With IFLA_LINK_NETNSID the parent's index counts in another network namespace and means nothing here.
    let is_elsewhere = attributes.get_link_netnsid().is_ok();
    let parent = attributes
        .get_link()
        .ok()
        .filter(|&parent| parent != 0 && parent != index && !is_elsewhere);
    Some(Link {
        index,
        name: attributes.get_ifname().ok()?.to_string_lossy().into_owned(),
        other_names: other_names(&attributes),
        kind: kind.ok().map(|kind| kind.to_string_lossy().into_owned()),
        master: attributes.get_master().ok(),
        parent,
        has_xdp: attributes
            .get_xdp()
            .and_then(|xdp| xdp.get_attached())
            .is_ok_and(|mode| mode != 0),
        addresses,
    })
}

fn other_names(attributes: &IterableLinkAttrs<'_>) -> Vec<String> {
    let Ok(list) = attributes.get_prop_list() else {
        return Vec::new();
    };
    let names = list.get_alt_ifname();
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The kernel lists all tables unless a socket option asks for strictness, so the table is looked at here again.
fn is_default(header: &Rtmsg, attributes: &IterableRouteAttrs<'_>) -> bool {
    let table = attributes
        .get_table()
        .unwrap_or(u32::from(header.rtm_table));
    header.rtm_dst_len == 0
        && header.rtm_type == libc::RTN_UNICAST
        && table == u32::from(libc::RT_TABLE_MAIN)
}

fn leaves_by(attributes: &IterableRouteAttrs<'_>) -> Vec<u32> {
    let hops = next_hops(attributes.get_multipath().unwrap_or_default());
    attributes.get_oif().into_iter().chain(hops).collect()
}

/// The interface of each `struct rtnexthop` (`linux/rtnetlink.h`): length u16, flags u8, hops u8, interface i32,
/// attributes.
fn next_hops(mut bytes: &[u8]) -> Vec<u32> {
    let mut indexes = Vec::new();
    while let Some((&[low, high, _, _, a, b, c, d], _)) = bytes.split_first_chunk::<8>() {
        indexes.push(u32::from_ne_bytes([a, b, c, d]));
        let length = usize::from(u16::from_ne_bytes([low, high])).next_multiple_of(4);
        if length < 8 {
            break;
        }
        bytes = bytes.get(length..).unwrap_or_default();
    }
    indexes
}

#[cfg(test)]
mod tests {
    use super::next_hops;

    #[test]
    fn next_hops_of_a_multipath_route() {
        let hop = |length: u16, interface: u32, attributes: usize| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([0, 0]);
            bytes.extend(interface.to_ne_bytes());
            bytes.resize(8 + attributes, 0);
            bytes
        };
        assert_eq!(next_hops(&[hop(16, 3, 8), hop(8, 7, 0)].concat()), [3, 7]);
        assert_eq!(next_hops(&[]), [] as [u32; 0]);
        assert_eq!(
            next_hops(&hop(0, 5, 0)),
            [5],
            "a length of nothing ends the walk"
        );
        assert_eq!(
            next_hops(&hop(200, 5, 0)),
            [5],
            "a length past the end ends the walk"
        );
    }
}
