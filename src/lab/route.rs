//! Messages of rtnetlink that make links, addresses, routes and neighbours. Attributes are in `linux/if_link.h`,
//! `linux/if_addr.h`, `linux/rtnetlink.h`, `linux/neighbour.h` and `linux/fib_rules.h`.

use crate::netfilter::netlink::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkError, Reader};
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use netlink_bindings::utils::{align, finalize_nested_header, push_header, write_header};
use nix::libc::{
    self, IFA_ADDRESS, IFA_LOCAL, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_LINKINFO, IFLA_NET_NS_FD, NDA_DST, NDA_LLADDR, NUD_PERMANENT, RTA_DST, RTA_GATEWAY,
    RTA_OIF, RTA_TABLE,
};
use std::net::{IpAddr, Ipv6Addr};

const VETH_INFO_PEER: u16 = 1;
const IFA_F_NODAD: u8 = 2;
const RTNH_F_ONLINK: u32 = 4;
const FRA_SRC: u16 = 2;
const FRA_TABLE: u16 = 15;
const FR_ACT_TO_TBL: u8 = 1;

/// A hardware address.
pub type Mac = [u8; 6];

/// One end of a cable that is to be made.
#[derive(Debug, Clone)]
pub struct End {
    /// The interface's name.
    pub name: String,
    /// Its hardware address.
    pub mac: Mac,
}

/// One message: a fixed header and its attributes.
struct Message {
    kind: u16,
    flags: u16,
    payload: Vec<u8>,
}

impl NetlinkRequest for Message {
    fn protocol(&self) -> Protocol {
        Protocol::Raw {
            protonum: libc::NETLINK_ROUTE as u16,
            request_type: self.kind,
        }
    }

    fn flags(&self) -> u16 {
        self.flags
    }

    fn payload(&self) -> &[u8] {
        &self.payload
    }

    type ReplyType<'buf> = ();
    fn decode_reply(_: &[u8]) {}
}

impl Message {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        Message {
            kind,
            flags,
            payload: header.to_vec(),
        }
    }

    /// A value is some dozens of bytes long.
    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        push_header(&mut self.payload, kind, value.len() as u16);
        self.payload.extend(value);
        align(&mut self.payload);
        self
    }

    /// An attribute that holds what `fill` adds.
    fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = write_header(&mut self.payload, kind);
        let mut filled = fill(self);
        finalize_nested_header(&mut filled.payload, start);
        filled
    }
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    // Only these flags are changed.
    header.extend(flags.to_ne_bytes());
    header
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
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

/// A socket of rtnetlink, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Route(Reader);

impl Route {
    /// Opens it.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Route(Reader::route()?))
    }

    fn tell(&self, message: &Message) -> Result<(), NetlinkError> {
        self.0.ask(message, |()| None::<()>).map(drop)
    }

    /// A cable with one end here and the other in the network namespace `there`, a descriptor of this process.
    pub fn cable(&self, here: &End, far: &End, there: i32) -> Result<(), NetlinkError> {
        let name = |end: &End| [end.name.as_bytes(), &[0]].concat();
        let message = Message::new(
            libc::RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            &link_header(0, 0),
        )
        .with(IFLA_IFNAME, &name(here))
        .with(IFLA_ADDRESS, &here.mac)
        .nested(IFLA_LINKINFO, |info| {
            info.with(IFLA_INFO_KIND, b"veth")
                .nested(IFLA_INFO_DATA, |data| {
                    data.nested(VETH_INFO_PEER, |mut peer| {
                        peer.payload.extend(link_header(0, 0));
                        peer.with(IFLA_IFNAME, &name(far))
                            .with(IFLA_ADDRESS, &far.mac)
                            .with(IFLA_NET_NS_FD, &there.to_ne_bytes())
                    })
                })
        });
        self.tell(&message)
    }

    /// Takes a link away; of a cable both ends.
    pub fn cut(&self, index: u32) -> Result<(), NetlinkError> {
        self.tell(&Message::new(libc::RTM_DELLINK, 0, &link_header(index, 0)))
    }

    /// Switches a link on.
    pub fn up(&self, index: u32) -> Result<(), NetlinkError> {
        let header = link_header(index, libc::IFF_UP as u32);
        self.tell(&Message::new(libc::RTM_NEWLINK, 0, &header))
    }

    /// Gives a link one address that is on no network, and counts at once.
    pub fn address(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.tell(&own_address(libc::RTM_NEWADDR, flags, index, address))
    }

    /// Takes an address of a link away.
    pub fn no_address(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        self.tell(&own_address(libc::RTM_DELADDR, 0, index, address))
    }

    /// A route to one address that is on a link.
    pub fn to(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.tell(&single(libc::RTM_NEWROUTE, flags, index, address))
    }

    /// Takes that route away, if it still leads to this link.
    pub fn not_to(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        self.tell(&single(libc::RTM_DELROUTE, 0, index, address))
    }

    /// The default route of this family leads to a neighbour on a link.
    pub fn default(&self, index: u32, gateway: IpAddr, table: u32) -> Result<(), NetlinkError> {
        let header = route_header(gateway, 0, libc::RT_SCOPE_UNIVERSE, RTNH_F_ONLINK);
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let message = Message::new(libc::RTM_NEWROUTE, flags, &header)
            .with(RTA_GATEWAY, &octets(gateway))
            .with(RTA_OIF, &index.to_ne_bytes())
            .with(RTA_TABLE, &table.to_ne_bytes());
        self.tell(&message)
    }

    /// What is sent from this address asks another table of routes.
    pub fn from(&self, address: IpAddr, table: u32) -> Result<(), NetlinkError> {
        // `struct fib_rule_hdr`: family, length of destination and source, tos, table (an attribute says it), two reserved, action, flags.
        let mut header = vec![family(address), 0, whole(address), 0, 0, 0, 0];
        header.push(FR_ACT_TO_TBL);
        header.extend(0u32.to_ne_bytes());
        self.tell(
            &Message::new(libc::RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &header)
                .with(FRA_SRC, &octets(address))
                .with(FRA_TABLE, &table.to_ne_bytes()),
        )
    }

    /// A neighbour that need not be asked for.
    pub fn neighbour(&self, index: u32, address: IpAddr, mac: Mac) -> Result<(), NetlinkError> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        let message = neighbour(libc::RTM_NEWNEIGH, flags, index, address);
        self.tell(&message.with(NDA_LLADDR, &mac))
    }

    /// Nothing is known of a neighbour any more.
    pub fn no_neighbour(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        self.tell(&neighbour(libc::RTM_DELNEIGH, 0, index, address))
    }
}

/// An address of a link.
fn own_address(kind: u16, flags: u16, index: u32, address: IpAddr) -> Message {
    let link_local =
        matches!(address, IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address));
    let length = if link_local { 64 } else { whole(address) };
    let mut header = vec![family(address), length, IFA_F_NODAD, 0];
    header.extend(index.to_ne_bytes());
    let octets = octets(address);
    Message::new(kind, flags, &header)
        .with(IFA_LOCAL, &octets)
        .with(IFA_ADDRESS, &octets)
}

/// A route to a single address, by a link.
fn single(kind: u16, flags: u16, index: u32, address: IpAddr) -> Message {
    let scope = match address {
        IpAddr::V4(_) => libc::RT_SCOPE_LINK,
        IpAddr::V6(_) => libc::RT_SCOPE_UNIVERSE,
    };
    Message::new(
        kind,
        flags,
        &route_header(address, whole(address), scope, 0),
    )
    .with(RTA_DST, &octets(address))
    .with(RTA_OIF, &index.to_ne_bytes())
}

/// `struct rtmsg` of a unicast route that stays, in the main table if no attribute says otherwise.
fn route_header(like: IpAddr, length: u8, scope: u8, flags: u32) -> Vec<u8> {
    let (table, protocol) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC);
    let kind = libc::RTN_UNICAST;
    let mut header = vec![family(like), length, 0, 0, table, protocol, scope, kind];
    header.extend(flags.to_ne_bytes());
    header
}

/// `struct ndmsg`: family, padding, index, state, flags, type.
fn neighbour(kind: u16, flags: u16, index: u32, address: IpAddr) -> Message {
    let mut header = vec![family(address), 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(NUD_PERMANENT.to_ne_bytes());
    header.extend([0, 0]);
    Message::new(kind, flags, &header).with(NDA_DST, &octets(address))
}
