//! Whole dumps over netlink.
//!
//! `netlink-socket2` reads dumps too, but hides the header of each message, and with it `NLM_F_DUMP_INTR`: the kernel's
//! word that the table changed while it was read and entries may be missing or doubled. It also reads 8 KiB at a time,
//! and the kernel makes its messages as large as the reader's buffer (up to 32 KiB). Hence these lines of our own.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_bindings::builtin::Nlmsghdr;
use netlink_bindings::nftables::Nfgenmsg;
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// What the kernel makes use of is 32 KiB (`netlink_recvmsg` in `net/netlink/af_netlink.c`); more is room to notice
/// truncation.
const BUFFER_BYTES: usize = 64 * 1024;

/// How often a dump is begun before giving up on a table that never holds still. A dump of 10,000 rules takes about 35
/// ms.
pub(super) const ATTEMPTS: u32 = 20;

const NETLINK_NETFILTER: u16 = 12;
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
/// Refused if it exists: nothing of a generation is mixed with what somebody else left.
pub(super) const NLM_F_EXCL: u16 = 0x200;
/// Make it if it is not there.
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// At the end of the chain.
pub(super) const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// The header of a message of nf_tables about the family `inet`.
pub(super) fn inet() -> Nfgenmsg {
    of_family(nix::libc::NFPROTO_INET as u8)
}

/// The same about any family.
pub(super) fn of_family(family: u8) -> Nfgenmsg {
    Nfgenmsg {
        nfgen_family: family,
        ..Default::default()
    }
}

/// Why a dump failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened, written or read.
    #[error("cannot talk to the kernel over netlink: {0}")]
    Socket(Errno),
    /// It is no part of this kernel, or not of this container's.
    #[error(
        "this kernel has no nf_tables for both families, which secgroupd needs: load it (`modprobe nf_tables`), or use a kernel \
         with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"
    )]
    NoNfTables,
    /// CAP_NET_ADMIN is missing.
    #[error("permission denied by the kernel: be root, or have CAP_NET_ADMIN")]
    Denied,
    /// The kernel understood and refused.
    #[error("the kernel refused to list it: {0}")]
    Refused(Errno),
    /// The answer is not netlink as we know it.
    #[error("cannot read the kernel's answer: {0}")]
    Malformed(&'static str),
    /// Each attempt was overtaken by a change.
    #[error("it changed while it was read, {ATTEMPTS} times in a row")]
    Restless,
}

impl NetlinkError {
    /// What an answer to a question about nf_tables means. Without the subsystem nfnetlink answers EINVAL or EOPNOTSUPP
    /// (`net/netfilter/nfnetlink.c`); without nfnetlink there is no such socket.
    #[must_use]
    pub(super) fn about_nf_tables(self) -> Self {
        use Errno::{EAFNOSUPPORT, EINVAL, EOPNOTSUPP, EPROTONOSUPPORT, ESOCKTNOSUPPORT};
        match self {
            NetlinkError::Refused(EINVAL | EOPNOTSUPP)
            | NetlinkError::Socket(EPROTONOSUPPORT | EAFNOSUPPORT | ESOCKTNOSUPPORT) => {
                NetlinkError::NoNfTables
            }
            other => other,
        }
    }
}

/// A socket for dumps, in the network namespace in which it was opened.
///
/// Whoever dumps more than once keeps one: at each close of a socket of netfilter the kernel waits until what the
/// last transactions have deleted is really gone (`nft_rcv_nl_event` in `net/netfilter/nf_tables_api.c`), some 15 ms.
#[derive(Debug)]
pub struct Reader {
    socket: OwnedFd,
    protocol: u16,
    sequence: AtomicU32,
}

impl Reader {
    /// A socket for netfilter.
    pub fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(NETLINK_NETFILTER)
    }

    /// A socket for links, addresses and routes.
    pub fn route() -> Result<Self, NetlinkError> {
        Self::open(nix::libc::NETLINK_ROUTE as u16)
    }

    fn open(protocol: u16) -> Result<Self, NetlinkError> {
        Ok(Reader {
            socket: open(protocol)?,
            protocol,
            sequence: AtomicU32::new(1),
        })
    }

    /// Sends `request`, a dump, and collects what `keep` makes of each reply, in the kernel's order.
    ///
    /// When the kernel says that the dump was interrupted by a change, what was collected is thrown away and the dump
    /// begun again, so the answer is of one moment.
    pub fn dump<R: NetlinkRequest, T>(
        &self,
        request: &R,
        keep: impl FnMut(R::ReplyType<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.exchange(request, 0, keep)
    }

    /// The same; none of what the kernel does not have (ENOENT), as it answers for the sets of a table that does not
    /// exist.
    pub fn dump_if_there<R: NetlinkRequest, T>(
        &self,
        request: &R,
        keep: impl FnMut(R::ReplyType<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        match self.dump(request, keep) {
            Err(NetlinkError::Refused(Errno::ENOENT)) => Ok(Vec::new()),
            found => found,
        }
    }

    /// The same for a request that has one reply.
    pub fn ask<R: NetlinkRequest, T>(
        &self,
        request: &R,
        keep: impl FnMut(R::ReplyType<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.exchange(request, NLM_F_ACK, keep)
    }

    /// Sends `request`, a dump, and takes each reply as it comes: a list that outsiders make long is never in memory.
    /// `None` says that the dump begins, or is begun again, and that what was taken before does not count.
    pub fn each<R: NetlinkRequest>(
        &self,
        request: &R,
        take: impl FnMut(Option<R::ReplyType<'_>>),
    ) -> Result<(), NetlinkError> {
        self.converse(request, 0, take)
    }

    fn exchange<R: NetlinkRequest, T>(
        &self,
        request: &R,
        flags: u16,
        mut keep: impl FnMut(R::ReplyType<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut kept = Vec::new();
        self.converse(request, flags, |reply| match reply {
            None => kept.clear(),
            Some(reply) => kept.extend(keep(reply)),
        })?;
        Ok(kept)
    }

    fn converse<R: NetlinkRequest>(
        &self,
        request: &R,
        flags: u16,
        mut take: impl FnMut(Option<R::ReplyType<'_>>),
    ) -> Result<(), NetlinkError> {
        let (protocol, request_type) = protocol(request)?;
        if protocol != self.protocol {
            return Err(NetlinkError::Malformed(
                "asked of another protocol's socket",
            ));
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        for _ in 0..ATTEMPTS {
            let header = self.header(request, request_type, flags);
            let sequence = header.seq;
            let message = [header.as_slice(), request.payload()].concat();
            send(self.socket.as_raw_fd(), &message, MsgFlags::empty())
                .map_err(NetlinkError::Socket)?;

            take(None);
            let end = receive(&self.socket, &mut buffer, sequence, |payload| {
                take(Some(R::decode_reply(payload)))
            });
            match end {
                Ok(DumpEnd::Whole) => return Ok(()),
                Ok(DumpEnd::Interrupted) => continue,
                // Some of it was lost, or the rest of a dump that was is still to come, and stands in the way of this
                // one.
                Err(NetlinkError::Socket(Errno::ENOBUFS) | NetlinkError::Refused(Errno::EBUSY)) => {
                    drain(&self.socket, &mut buffer)
                }
                Err(error) => {
                    drain(&self.socket, &mut buffer);
                    return Err(error);
                }
            }
        }
        Err(NetlinkError::Restless)
    }

    fn header(&self, request: &impl NetlinkRequest, kind: u16, flags: u16) -> Nlmsghdr {
        Nlmsghdr {
            len: (Nlmsghdr::len() + request.payload().len()) as u32,
            r#type: kind,
            flags: request.flags() | NLM_F_REQUEST | flags,
            seq: self.sequence.fetch_add(1, Ordering::Relaxed),
            pid: 0,
        }
    }

    /// Appends a request that is no dump to `messages`, to be told with others.
    pub fn append(
        &self,
        messages: &mut Vec<u8>,
        request: &impl NetlinkRequest,
    ) -> Result<(), NetlinkError> {
        let (_, request_type) = protocol(request)?;
        let header = self.header(request, request_type, 0);
        messages.extend_from_slice(header.as_slice());
        messages.extend_from_slice(request.payload());
        messages.resize(messages.len().next_multiple_of(4), 0);
        Ok(())
    }

    /// Sends what was appended. The kernel has done it, or refused it, when this returns; that something has gone
    /// meanwhile is no error. The first refusal is the error.
    pub fn tell(&self, messages: &[u8]) -> Result<(), NetlinkError> {
        send(self.socket.as_raw_fd(), messages, MsgFlags::empty()).map_err(NetlinkError::Socket)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut refused = Ok(());
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => return refused,
                // More refusals than fit: the first ones were read.
                Err(Errno::EINTR | Errno::ENOBUFS) => continue,
                other => other.map_err(NetlinkError::Socket)?,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let (header, payload, next) = split(rest)?;
                rest = next;
                if header.r#type != NLMSG_ERROR || refused.is_err() {
                    continue;
                }
                refused = match finish(payload, false) {
                    Err(NetlinkError::Refused(Errno::ENOENT)) => Ok(()),
                    other => other.map(|_| ()),
                };
            }
        }
    }
}

/// One dump through a socket of its own, in the network namespace of the calling thread; see [`Reader::dump`].
pub fn dump<R: NetlinkRequest, T>(
    request: &R,
    keep: impl FnMut(R::ReplyType<'_>) -> Option<T>,
) -> Result<Vec<T>, NetlinkError> {
    Reader::open(protocol(request)?.0)?.dump(request, keep)
}

/// Which netlink protocol a request is of, and its type.
fn protocol(request: &impl NetlinkRequest) -> Result<(u16, u16), NetlinkError> {
    match request.protocol() {
        Protocol::Raw {
            protonum,
            request_type,
        } => Ok((protonum, request_type)),
        Protocol::Generic(_) => Err(NetlinkError::Malformed(
            "generic netlink is not spoken here",
        )),
    }
}

enum DumpEnd {
    Whole,
    Interrupted,
}

fn open(protonum: u16) -> Result<OwnedFd, NetlinkError> {
    let protocol = match protonum {
        0 => SockProtocol::NetlinkRoute,
        4 => SockProtocol::NetlinkSockDiag,
        NETLINK_NETFILTER => SockProtocol::NetlinkNetFilter,
        _ => {
            return Err(NetlinkError::Malformed(
                "no such netlink protocol is used here",
            ));
        }
    };
    raw_socket(protocol, SockFlag::empty()).map_err(NetlinkError::Socket)
}

/// A socket of netlink, closed in programs that this one starts.
pub(super) fn raw_socket(protocol: SockProtocol, flags: SockFlag) -> Result<OwnedFd, Errno> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
}

/// Reads away what nobody waits for: with it the kernel ends a dump of which not all was read.
fn drain(socket: &OwnedFd, buffer: &mut [u8]) {
    loop {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(_) => return,
        }
    }
}

/// Reads to the end of the dump, giving the payload of each of its messages to `each`.
fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
    sequence: u32,
    mut each: impl FnMut(&[u8]),
) -> Result<DumpEnd, NetlinkError> {
    let mut interrupted = false;
    loop {
        // With MSG_TRUNC the length is the datagram's own, so a message that did not fit shows.
        let length = match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(NetlinkError::Socket)?,
        };
        let mut rest = buffer
            .get(..length)
            .ok_or(NetlinkError::Malformed("a message is longer than 64 KiB"))?;
        while !rest.is_empty() {
            let (header, payload, next) = split(rest)?;
            rest = next;
            if header.seq != sequence {
                continue;
            }
            interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
            match header.r#type {
                NLMSG_NOOP => {}
                NLMSG_ERROR | NLMSG_DONE => return finish(payload, interrupted),
                _ => each(payload),
            }
        }
    }
}

/// The messages of a datagram, each with its header. What is damaged ends it.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (Nlmsghdr, &[u8])> {
    std::iter::from_fn(move || {
        let (header, payload, next) = split(datagram).ok()?;
        datagram = next;
        Some((header, payload))
    })
}

/// The messages of netfilter in a datagram: the kind, the family and the attributes of each.
pub(super) fn of_netfilter(datagram: &[u8]) -> impl Iterator<Item = (u16, u8, &[u8])> {
    messages(datagram).filter_map(|(header, payload)| {
        let (own, attributes) = payload.split_first_chunk::<{ Nfgenmsg::len() }>()?;
        Some((header.r#type, own[0], attributes))
    })
}

/// The first message of `bytes`: its header, its payload, and what follows.
fn split(bytes: &[u8]) -> Result<(Nlmsghdr, &[u8], &[u8]), NetlinkError> {
    const SHORT: NetlinkError = NetlinkError::Malformed("a message is cut short");
    let header = bytes
        .get(..Nlmsghdr::len())
        .and_then(Nlmsghdr::new_from_slice)
        .ok_or(SHORT)?;
    let length = header.len as usize;
    let payload = bytes.get(Nlmsghdr::len()..length).ok_or(SHORT)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok((header, payload, next))
}

/// Judges the last message, which carries 0 or a negative errno.
fn finish(payload: &[u8], interrupted: bool) -> Result<DumpEnd, NetlinkError> {
    let code = payload
        .first_chunk()
        .map(|bytes| i32::from_ne_bytes(*bytes))
        .unwrap_or(0);
    // A change may also end a dump with EINTR (nf_tables does, when its generation moves on).
    match Errno::from_raw(code.saturating_neg()) {
        Errno::EINTR | Errno::EAGAIN => Ok(DumpEnd::Interrupted),
        Errno::EPERM => Err(NetlinkError::Denied),
        refusal if code != 0 => Err(NetlinkError::Refused(refusal)),
        _ if interrupted => Ok(DumpEnd::Interrupted),
        _ => Ok(DumpEnd::Whole),
    }
}
