//! The sockets of this network namespace that wait for somebody: TCP that listens, UDP that is not connected.

use super::netlink::{NetlinkError, dump};
use crate::definition::printable;
use netlink_bindings::inet_diag::{IterableReplyAttrs, Msg, ReqV2, Request, TcpState};
use netlink_bindings::utils::find_attr;
use nix::libc;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// `INET_DIAG_SKV6ONLY` of `linux/inet_diag.h`: one byte, not the flag that the bindings take it for.
const INET_DIAG_SKV6ONLY: u16 = 11;

/// A socket that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningSocket {
    /// `true` for TCP, `false` for UDP.
    pub tcp: bool,
    /// Where it waits.
    pub local: SocketAddr,
    /// Whether it waits on `::` and takes IPv4 as well.
    pub both: bool,
    /// The kernel's number of the socket.
    pub inode: u32,
}

/// All of them, both families.
/// Fails where the modules `tcp_diag` and `udp_diag` are missing.
pub fn listeners() -> Result<Vec<ListeningSocket>, NetlinkError> {
    let mut all = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = |protocol, state: TcpState| ReqV2 {
            family: family as u8,
            protocol: protocol as u8,
            states: 1 << state as u32,
            ..Default::default()
        };
        let tcp = header(libc::IPPROTO_TCP, TcpState::Listen);
        // A UDP socket that is not connected is in the state that TCP calls closed.
        let udp = header(libc::IPPROTO_UDP, TcpState::Close);
        all.extend(dump(&Request::new().op_tcp_diag_dump(&tcp), |found| {
            listener(true, found)
        })?);
        all.extend(dump(&Request::new().op_udp_diag_dump(&udp), |found| {
            listener(false, found)
        })?);
    }
    Ok(all)
}

fn listener(
    tcp: bool,
    (message, attributes): (Msg, IterableReplyAttrs<'_>),
) -> Option<ListeningSocket> {
    let ip = address(message.family, &message.sockid.src)?;
    Some(ListeningSocket {
        tcp,
        local: SocketAddr::new(ip, message.sockid.sport()),
        both: ip.is_ipv6() && ip.is_unspecified() && !is_ipv6_only(&attributes),
        inode: message.inode,
    })
}

/// An end of a socket, as it is on the wire.
pub(super) fn address(family: u8, bytes: &[u8; 16]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => bytes.first_chunk::<4>().map(|four| IpAddr::from(*four)),
        libc::AF_INET6 => Some(IpAddr::from(*bytes).to_canonical()),
        _ => None,
    }
}

/// Whether a socket of IPv6 was told not to take IPv4.
pub(super) fn is_ipv6_only(attributes: &IterableReplyAttrs<'_>) -> bool {
    let value = find_attr(attributes.get_buf(), INET_DIAG_SKV6ONLY);
    value.is_some_and(|value| value.first() == Some(&1))
}

/// The processes that have sockets open, as far as this process may look: `nginx (1234)` by the number of the socket.
pub fn processes() -> HashMap<u32, String> {
    let mut found = HashMap::new();
    for (name, pid, sockets) in holders() {
        for inode in sockets {
            // A process names itself.
            let text = || format!("{} ({pid})", printable(&name));
            found.entry(inode).or_insert_with(text);
        }
    }
    found
}

/// The name and the number of each process that may be looked at, and the numbers of the sockets that it has open.
pub(super) fn holders() -> impl Iterator<Item = (String, u32, Vec<u32>)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let path = process.path();
        let descriptors = fs::read_dir(path.join("fd")).ok()?.flatten();
        let targets = descriptors.filter_map(|each| fs::read_link(each.path()).ok());
        let sockets: Vec<u32> = targets
            .filter_map(|target| socket(target.to_str()?))
            .collect();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_else(|_| "?".to_owned());
        (!sockets.is_empty()).then(|| (name.trim_end().to_owned(), pid, sockets))
    })
}

/// The number in `socket:[18231]`.
fn socket(target: &str) -> Option<u32> {
    let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}
