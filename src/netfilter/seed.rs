//! The host's established TCP connections, put into connection tracking before the first table is loaded.
//!
//! Connection tracking begins with the first rule that asks for a state. A flow older than that is judged by the first packet
//! then seen: a server that only sends, to a client that only listens, looks like a new outbound flow from its well-known port
//! and is cut. The sockets know better who opened what, so they are asked first (spec 3, first enforcement).
//!
//! UDP has no such knowledge, and flows that this host only forwards have no socket here: both are judged when first seen.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use netlink_bindings::conntrack::{
    NfCtStatus, NfCtTcpFlags, NfCtTcpFlagsMask, NfCtTcpState, PushConntrackAttrs, PushTupleAttrs,
};
use netlink_bindings::inet_diag::{IterableReplyAttrs, Msg, ReqV2, Request, TcpState};
use netlink_bindings::traits::Pusher;
use netlink_socket2::NetlinkSocket;
use nix::errno::Errno;
use nix::libc;

use super::flows::Write;
use super::listeners::{address, is_ipv6_only};
use super::netlink::{NetlinkError, dump, of_family};

/// How long an idle seeded flow is remembered, in seconds: the kernel's own `nf_conntrack_tcp_timeout_established`. The first
/// packet puts the host's setting in its place.
const TIMEOUT_SECONDS: u32 = 432_000;

/// The states in which data or acknowledgements may still pass. `LastAck` and `Closing` are among them: a server that has
/// closed may have megabytes left to send.
const LIVE: [TcpState; 6] = [
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Closing,
];

/// One TCP connection of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpSocket {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Whether the other end opened it. The kernel does not keep this: it is true when something still listens on the local
    /// port, so a connection whose listener has gone (`nc -l`, say) is taken for one that this host opened.
    pub opened_by_remote: bool,
}

/// Why the sockets could not be read or not be tracked.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The kernel did not list the sockets.
    #[error("cannot list the TCP sockets: {0}{hint}", hint = without_diag(.0))]
    Sockets(NetlinkError),
    /// The kernel did not take a flow; `tracked` others had been taken before it.
    #[error(
        "cannot put {local} - {remote} into connection tracking ({tracked} flows are in): {error}{}",
        without_ctnetlink(.error)
    )]
    Track {
        /// This host's end of the flow.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
        /// The flows that were taken before.
        tracked: usize,
        /// What the kernel said: `EPERM` without CAP_NET_ADMIN, `EOPNOTSUPP` or `EPROTONOSUPPORT` without the module
        /// `nf_conntrack_netlink`, `ENOMEM` when the table of flows is full.
        error: io::Error,
    },
}

/// What a kernel lacks that does not know the question.
fn without_diag(error: &NetlinkError) -> &'static str {
    use nix::errno::Errno::{EINVAL, ENOENT, EOPNOTSUPP, EPROTONOSUPPORT};
    match error {
        NetlinkError::Refused(ENOENT | EINVAL | EOPNOTSUPP)
        | NetlinkError::Socket(EPROTONOSUPPORT) => {
            "; this kernel may lack the modules inet_diag and tcp_diag (CONFIG_INET_DIAG)"
        }
        _ => "",
    }
}

fn without_ctnetlink(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL) => {
            "; this kernel may lack the module nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)"
        }
        _ => "",
    }
}

/// The live TCP connections of this network namespace, both families, without loopback.
///
/// A connection of a dual-stack socket (`::ffff:192.0.2.1`) is given as what it is on the wire, IPv4.
///
/// # Errors
///
/// [`SeedError::Sockets`].
pub fn established_tcp() -> Result<Vec<TcpSocket>, SeedError> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        sockets.extend(sockets_of(family).map_err(SeedError::Sockets)?);
    }

    let listeners: HashSet<(IpAddr, u16)> = sockets
        .iter()
        .filter(|socket| socket.listens)
        .flat_map(Socket::listens_on)
        .collect();
    let opened_by_remote = |local: SocketAddr| {
        let wildcard = match local {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        [local.ip(), wildcard]
            .iter()
            .any(|address| listeners.contains(&(*address, local.port())))
    };
    Ok(sockets
        .iter()
        .filter(|socket| !socket.listens && !socket.is_loopback())
        .map(|&Socket { local, remote, .. }| TcpSocket {
            local,
            remote,
            opened_by_remote: opened_by_remote(local),
        })
        .collect())
}

/// Puts `sockets` into connection tracking and says how many flows are new there; those that it knew already stay as they are.
///
/// A flow that is put in before any rule of this network namespace sets a label never has room for one: `ct label set` passes it
/// by without a word, as it does any flow tracked before the first such rule.
///
/// Windows are unknown to both sides' records, so both are marked liberal: no packet of a seeded flow is invalid for its sequence
/// number. (The window scale would only serve that check, so it is left out.)
///
/// # Errors
///
/// [`SeedError::Track`] at the first flow that the kernel refuses for another reason than knowing it.
pub fn track(sockets: &[TcpSocket]) -> Result<usize, SeedError> {
    let mut netlink = NetlinkSocket::new();
    let mut tracked = 0;
    for socket in sockets {
        match insert(&mut netlink, &new_flow(socket)) {
            Ok(()) => tracked += 1,
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
            Err(error) => {
                return Err(SeedError::Track {
                    local: socket.local,
                    remote: socket.remote,
                    tracked,
                    error,
                });
            }
        }
    }
    Ok(tracked)
}

fn insert(netlink: &mut NetlinkSocket, message: &[u8]) -> io::Result<()> {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let mut answer = netlink.request(&Write { flags, message })?;
    answer.recv_ack().map_err(io::Error::from)
}

/// A socket as the kernel lists it, a listening one or a connection.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    listens: bool,
    /// A listener on `::` takes IPv4 as well, unless it was told not to.
    ipv6_only: bool,
}

impl Socket {
    fn decode((message, attributes): (Msg, IterableReplyAttrs<'_>)) -> Option<Self> {
        let id = &message.sockid;
        let end = |bytes: &[u8; 16], port| {
            let address = address(message.family, bytes)?;
            Some(SocketAddr::new(address, port))
        };
        Some(Self {
            local: end(&id.src, id.sport())?,
            remote: end(&id.dst, id.dport())?,
            listens: message.state == TcpState::Listen as u8,
            ipv6_only: is_ipv6_only(&attributes),
        })
    }

    fn is_loopback(&self) -> bool {
        self.local.ip().is_loopback() || self.remote.ip().is_loopback()
    }

    fn listens_on(&self) -> Vec<(IpAddr, u16)> {
        let own = (self.local.ip(), self.local.port());
        if own.0 == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !self.ipv6_only {
            vec![own, (IpAddr::from([0; 4]), own.1)]
        } else {
            vec![own]
        }
    }
}

fn sockets_of(family: i32) -> Result<Vec<Socket>, NetlinkError> {
    let states =
        LIVE.iter().map(|state| 1 << *state as u32).sum::<u32>() | 1 << TcpState::Listen as u32;
    let header = ReqV2 {
        family: family as u8,
        protocol: libc::IPPROTO_TCP as u8,
        states,
        ..Default::default()
    };
    dump(&Request::new().op_tcp_diag_dump(&header), Socket::decode)
}

/// The kernel wants what a flow in both directions would have: answered, assured, and a state of the protocol.
fn new_flow(socket: &TcpSocket) -> Vec<u8> {
    let (opener, answerer) = if socket.opened_by_remote {
        (socket.remote, socket.local)
    } else {
        (socket.local, socket.remote)
    };
    let family = match opener {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let liberal = NfCtTcpFlags::BeLiberal as u8;
    let liberal = || NfCtTcpFlagsMask {
        flags: liberal,
        mask: liberal,
    };
    let status =
        NfCtStatus::SeenReply as u32 | NfCtStatus::Assured as u32 | NfCtStatus::Confirmed as u32;

    let mut message = of_family(family as u8).as_slice().to_vec();
    let attributes = PushConntrackAttrs::new(&mut message);
    let attributes = tuple(attributes.nested_tuple_orig(), opener, answerer).end_nested();
    let attributes = tuple(attributes.nested_tuple_reply(), answerer, opener).end_nested();
    attributes
        .push_status(status)
        .push_timeout(TIMEOUT_SECONDS)
        .nested_protoinfo()
        .nested_protoinfo_tcp()
        .push_tcp_state(NfCtTcpState::Established as u8)
        .push_tcp_flags_original(liberal())
        .push_tcp_flags_reply(liberal())
        .end_nested()
        .end_nested();
    message
}

fn tuple<P: Pusher>(
    tuple: PushTupleAttrs<P>,
    from: SocketAddr,
    to: SocketAddr,
) -> PushTupleAttrs<P> {
    let addresses = tuple.nested_tuple_ip();
    let addresses = match from.ip() {
        IpAddr::V4(address) => addresses.push_ip_v4_src(address),
        IpAddr::V6(address) => addresses.push_ip_v6_src(address),
    };
    let addresses = match to.ip() {
        IpAddr::V4(address) => addresses.push_ip_v4_dst(address),
        IpAddr::V6(address) => addresses.push_ip_v6_dst(address),
    };
    addresses
        .end_nested()
        .nested_tuple_proto()
        .push_proto_num(libc::IPPROTO_TCP as u8)
        .push_proto_src_port(from.port())
        .push_proto_dst_port(to.port())
        .end_nested()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_named() {
        let sockets = SeedError::Sockets(NetlinkError::Refused(Errno::ENOENT));
        assert!(sockets.to_string().contains("tcp_diag"), "{sockets}");
        let denied = SeedError::Sockets(NetlinkError::Denied);
        assert!(!denied.to_string().contains("tcp_diag"), "{denied}");
        let track = |error: i32| {
            let (local, remote) = (([10, 0, 0, 5], 22).into(), ([10, 0, 0, 9], 1).into());
            let error = io::Error::from_raw_os_error(error);
            SeedError::Track {
                local,
                remote,
                tracked: 0,
                error,
            }
            .to_string()
        };
        assert!(track(libc::EOPNOTSUPP).contains("nf_conntrack_netlink"));
        assert!(!track(libc::ENOMEM).contains("nf_conntrack_netlink"));
    }
}
