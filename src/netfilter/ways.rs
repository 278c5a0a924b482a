//! By which interface an address is reached, as the kernel routes it.

use super::links::{LinkError, links};
use netlink_bindings::rt_route::{Request, Rtmsg};
use netlink_socket2::NetlinkSocket;
use nix::libc;
use std::collections::HashMap;
use std::net::IpAddr;

/// The interfaces of this network namespace, and a socket to ask for routes.
pub struct Ways {
    socket: NetlinkSocket,
    names: HashMap<u32, String>,
}

impl Ways {
    /// Reads the interfaces.
    pub fn look() -> Result<Self, LinkError> {
        let names = links()?.into_iter().map(|link| (link.index, link.name));
        Ok(Ways {
            socket: NetlinkSocket::new(),
            names: names.collect(),
        })
    }

    /// The interface by which a packet to this address would leave; none for an address of this host's own, or where no route
    /// leads.
    pub fn to(&mut self, address: IpAddr) -> Option<&str> {
        let (family, bits) = match address {
            IpAddr::V4(_) => (libc::AF_INET, 32),
            IpAddr::V6(_) => (libc::AF_INET6, 128),
        };
        let header = Rtmsg {
            rtm_family: family as u8,
            rtm_dst_len: bits,
            ..Default::default()
        };
        let mut request = Request::new().op_getroute_do(&header);
        request.encode().push_dst(address);
        let mut answer = self.socket.request(&request).ok()?;
        let (route, attributes) = answer.recv_one().ok()?;
        if route.rtm_type != libc::RTN_UNICAST {
            return None;
        }
        let index = attributes.get_oif().ok()?;
        self.names.get(&index).map(String::as_str)
    }
}
