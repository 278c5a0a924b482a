//! What a lab asks of rtnetlink: links, addresses, routes and neighbours.

use crate::netfilter::netlink::{NetlinkError, Reader};
use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_link::{self, Ifinfomsg, PushLinkAttrs};
use netlink_bindings::rt_neigh::{self, Ndmsg};
use netlink_bindings::rt_route::{self, Rtmsg};
use netlink_bindings::rt_rule::{self, FibRuleHdr};
use netlink_bindings::traits::{NetlinkRequest, Pusher};
use netlink_bindings::utils::{finalize_nested_header, push_nested_header};
use nix::libc;
use std::net::IpAddr;

/// Of `linux/veth.h`, `linux/if_addr.h`, `linux/rtnetlink.h` and `linux/fib_rules.h`.
const VETH_INFO_PEER: u16 = 1;
const IFA_F_NODAD: u8 = 2;
const RTNH_F_ONLINK: u32 = 4;
const FR_ACT_TO_TBL: u8 = 1;

/// A hardware address.
pub type Mac = [u8; 6];

/// One end of a cable that is to be made.
#[derive(Debug, Clone)]
pub struct CableEnd {
    /// The interface's name.
    pub name: String,
    /// Its hardware address.
    pub mac: Mac,
}

/// A socket of rtnetlink, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Route(Reader);

impl Route {
    /// Opens it.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Route(Reader::route()?))
    }

    fn send<R: NetlinkRequest>(&self, request: &R) -> Result<(), NetlinkError> {
        self.0.ask(request, |_| None::<()>).map(drop)
    }

    /// Makes a cable with one end here and the other in the network namespace `there`, a descriptor of this process.
    pub fn cable(&self, here: &CableEnd, far: &CableEnd, there: i32) -> Result<(), NetlinkError> {
        let request = rt_link::Request::new().set_create().set_excl();
        let mut request = request.op_newlink_do(&Ifinfomsg::default());
        let mut kind = request
            .encode()
            .push_ifname_bytes(here.name.as_bytes())
            .push_address(&here.mac)
            .nested_linkinfo()
            .push_kind(c"veth");
        // The bindings do not have what a veth is made of.
        let buffer = kind.as_vec_mut();
        let data = push_nested_header(buffer, libc::IFLA_INFO_DATA);
        let peer = push_nested_header(buffer, VETH_INFO_PEER);
        buffer.extend(Ifinfomsg::default().as_slice());
        PushLinkAttrs::new(&mut *buffer)
            .push_ifname_bytes(far.name.as_bytes())
            .push_address(&far.mac)
            .push_net_ns_fd(there as u32);
        finalize_nested_header(buffer, peer);
        finalize_nested_header(buffer, data);
        drop(kind);
        self.send(&request)
    }

    /// Deletes a link; of a cable both ends.
    pub fn cut(&self, index: u32) -> Result<(), NetlinkError> {
        self.send(&rt_link::Request::new().op_dellink_do(&link(index, 0)))
    }

    /// Switches a link on.
    pub fn up(&self, index: u32) -> Result<(), NetlinkError> {
        let header = link(index, libc::IFF_UP as u32);
        self.send(&rt_link::Request::new().op_newlink_do(&header))
    }

    /// Adds an address to a link. It is on no network, and counts at once.
    pub fn address(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let request = rt_addr::Request::new().set_change();
        let mut request = request.op_newaddr_do(&own_address(index, address));
        request.encode().push_local(address).push_address(address);
        self.send(&request)
    }

    /// Deletes an address of a link.
    pub fn no_address(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let mut request = rt_addr::Request::new().op_deladdr_do(&own_address(index, address));
        request.encode().push_local(address).push_address(address);
        self.send(&request)
    }

    /// Adds a route to one address that is on a link.
    pub fn to(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let request = rt_route::Request::new().set_change();
        let mut request = request.op_newroute_do(&single(address));
        request.encode().push_dst(address).push_oif(index);
        self.send(&request)
    }

    /// Deletes that route, if it still leads to this link.
    pub fn not_to(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let mut request = rt_route::Request::new().op_delroute_do(&single(address));
        request.encode().push_dst(address).push_oif(index);
        self.send(&request)
    }

    /// Leads the default route of this family to a neighbour on a link.
    pub fn default(&self, index: u32, gateway: IpAddr, table: u32) -> Result<(), NetlinkError> {
        let header = Rtmsg {
            rtm_dst_len: 0,
            rtm_scope: libc::RT_SCOPE_UNIVERSE,
            rtm_flags: RTNH_F_ONLINK,
            ..single(gateway)
        };
        let request = rt_route::Request::new().set_change();
        let mut request = request.op_newroute_do(&header);
        let attributes = request.encode().push_gateway(gateway);
        attributes.push_oif(index).push_table(table);
        self.send(&request)
    }

    /// Has what is sent from this address ask another table of routes.
    pub fn from(&self, address: IpAddr, table: u32) -> Result<(), NetlinkError> {
        let header = FibRuleHdr {
            family: family(address),
            src_len: whole(address),
            action: FR_ACT_TO_TBL,
            ..FibRuleHdr::default()
        };
        let request = rt_rule::Request::new().set_create().set_excl();
        let mut request = request.op_newrule_do(&header);
        request.encode().push_src(address).push_table(table);
        self.send(&request)
    }

    /// Adds a neighbour that need not be asked for.
    pub fn neighbour(&self, index: u32, address: IpAddr, mac: Mac) -> Result<(), NetlinkError> {
        let request = rt_neigh::Request::new().set_change();
        let mut request = request.op_newneigh_do(&neighbour(index, address));
        request.encode().push_dst(address).push_lladdr(&mac);
        self.send(&request)
    }

    /// Deletes a neighbour.
    pub fn no_neighbour(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let mut request = rt_neigh::Request::new().op_delneigh_do(&neighbour(index, address));
        request.encode().push_dst(address);
        self.send(&request)
    }
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

/// The length of a prefix that is one address.
fn whole(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A link with these flags; no others are changed.
fn link(index: u32, flags: u32) -> Ifinfomsg {
    Ifinfomsg {
        ifi_index: index.cast_signed(),
        ifi_flags: flags,
        ifi_change: flags,
        ..Ifinfomsg::default()
    }
}

/// An address of a link.
fn own_address(index: u32, address: IpAddr) -> Ifaddrmsg {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    Ifaddrmsg {
        ifa_family: family(address),
        ifa_prefixlen: if link_local { 64 } else { whole(address) },
        ifa_flags: IFA_F_NODAD,
        ifa_index: index,
        ..Ifaddrmsg::default()
    }
}

/// A unicast route to a single address, by a link. It stays, in the main table if no attribute says otherwise.
fn single(address: IpAddr) -> Rtmsg {
    Rtmsg {
        rtm_family: family(address),
        rtm_dst_len: whole(address),
        rtm_table: libc::RT_TABLE_MAIN,
        rtm_protocol: libc::RTPROT_STATIC,
        rtm_scope: match address {
            IpAddr::V4(_) => libc::RT_SCOPE_LINK,
            IpAddr::V6(_) => libc::RT_SCOPE_UNIVERSE,
        },
        rtm_type: libc::RTN_UNICAST,
        ..Rtmsg::default()
    }
}

/// A neighbour that stays.
fn neighbour(index: u32, address: IpAddr) -> Ndmsg {
    Ndmsg {
        ndm_family: family(address),
        ndm_ifindex: index.cast_signed(),
        ndm_state: libc::NUD_PERMANENT,
        ..Ndmsg::default()
    }
}
