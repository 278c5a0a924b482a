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
pub struct Listener {
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
///
/// # Errors
///
/// When the kernel does not list them (the modules `tcp_diag` and `udp_diag` may be missing).
pub fn listeners() -> Result<Vec<Listener>, NetlinkError> {
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

fn listener(tcp: bool, (message, attributes): (Msg, IterableReplyAttrs<'_>)) -> Option<Listener> {
    let id = &message.sockid;
    let ip = match i32::from(message.family) {
        libc::AF_INET => IpAddr::from(*id.src.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(id.src).to_canonical(),
        _ => return None,
    };
    let six_only = find_attr(attributes.get_buf(), INET_DIAG_SKV6ONLY)
        .is_some_and(|value| value.first() == Some(&1));
    Some(Listener {
        tcp,
        local: SocketAddr::new(ip, id.sport()),
        both: ip.is_ipv6() && ip.is_unspecified() && !six_only,
        inode: message.inode,
    })
}

/// The processes that have sockets open, as far as this process may look: `nginx (1234)` by the number of the socket.
pub fn processes() -> HashMap<u32, String> {
    let mut found = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let path = process.path();
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let descriptors = fs::read_dir(path.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        for descriptor in descriptors {
            let Some(inode) = fs::read_link(descriptor.path())
                .ok()
                .and_then(|target| socket(target.to_str()?))
            else {
                continue;
            };
            found.entry(inode).or_insert_with(|| {
                let name = fs::read_to_string(path.join("comm"));
                let name = name.map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned());
                // A process names itself.
                format!("{} ({pid})", printable(&name))
            });
        }
    }
    found
}

/// The number in `socket:[18231]`.
fn socket(target: &str) -> Option<u32> {
    let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}
