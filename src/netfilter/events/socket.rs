//! A member of multicast groups, what it is spared, and its datagrams.

use crate::netfilter::netlink::raw_socket;
use crate::ruleset::TABLE;
use netlink_bindings::nftables::TableAttrs;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{MsgFlags, NetlinkAddr, SockFlag, SockProtocol, bind, recv, setsockopt};
use nix::{libc, setsockopt_impl, sockopt_impl};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

sockopt_impl!(
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);

/// Room for what other programs change at once, if the kernel grants it. It is used only while something waits there.
const ROOM_BYTES: usize = 4 << 20;
/// The kernel gathers notes in datagrams of up to a page; one about an interface can be longer.
const DATAGRAM_BYTES: usize = 32 * 1024;

/// Where `nlmsg_type` and `nlmsg_pid` stand in a message's header.
pub(super) const TYPE_AT: u32 = 4;
const PORT_AT: u32 = 12;

/// The group `NFNLGRP_NFTABLES`, as a bit.
pub(super) const NFTABLES: u32 = 1 << (libc::NFNLGRP_NFTABLES - 1);

/// A member of multicast groups.
#[derive(Debug)]
pub(in crate::netfilter) struct EventSocket(OwnedFd);

impl AsRawFd for EventSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for EventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl EventSocket {
    /// Joins the groups whose bits are set in `groups`; `filter` decides from the first datagram on.
    pub fn join(
        protocol: SockProtocol,
        groups: u32,
        filter: &[libc::sock_filter],
    ) -> Result<Self, Errno> {
        let descriptor = raw_socket(protocol, SockFlag::SOCK_NONBLOCK)?;
        // Inside a user namespace it may not; then events are lost sooner, and noticed.
        if setsockopt(&descriptor, RcvBufForce, &ROOM_BYTES).is_err() {
            let _ = setsockopt(&descriptor, RcvBuf, &ROOM_BYTES);
        }
        let joined = EventSocket(descriptor);
        joined.filter(filter)?;
        bind(joined.0.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(joined)
    }

    /// Has the kernel judge each datagram by this classic BPF program from now on.
    fn filter(&self, program: &[libc::sock_filter]) -> Result<(), Errno> {
        let program = libc::sock_fprog {
            len: program.len() as u16,
            // The kernel copies it, and writes nothing.
            filter: program.as_ptr().cast_mut(),
        };
        setsockopt(&self.0, AttachFilter, &program)
    }

    /// A datagram that is here, and the length of it that fits.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
    }

    /// Passes over what the socket with this port does; with none it hears of everybody.
    pub fn pass_over(&self, port: Option<u32>) -> Result<(), Errno> {
        self.filter(&not_from(port))
    }
}

/// Datagrams of a socket, one after the other.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: AsyncFd<Arc<EventSocket>>,
    buffer: Vec<u8>,
}

/// What was in the inbox.
pub(super) enum Received<'a> {
    /// Messages.
    Datagram(&'a [u8]),
    /// Some were dropped before this.
    Lost,
}

impl Datagrams {
    /// Within the runtime.
    pub fn of(socket: Arc<EventSocket>) -> Result<Self, Errno> {
        // SAFETY: the descriptor is the socket's own from its making to its drop, which waits for this.
        #[allow(unsafe_code)]
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Datagrams {
            socket: registered.map_err(|error| errno(error.into()))?,
            buffer: vec![0; DATAGRAM_BYTES],
        })
    }

    /// The next datagram. Nothing is lost when the future is dropped before it is ready.
    pub async fn receive(&mut self) -> Result<Received<'_>, Errno> {
        let buffer = &mut self.buffer;
        let read = self.socket.async_io(Interest::READABLE, |socket| {
            // With MSG_TRUNC the length is the datagram's own, so one that did not fit shows.
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
            Ok(recv(socket.0.as_raw_fd(), buffer, flags)?)
        });
        match read.await.map_err(errno) {
            Ok(length) => Ok(match self.buffer.get(..length) {
                Some(datagram) => Received::Datagram(datagram),
                None => Received::Lost,
            }),
            Err(Errno::ENOBUFS) => Ok(Received::Lost),
            Err(error) => Err(error),
        }
    }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Whether a message of nf_tables is about a thing of our table, whose name is the first attribute of every kind, by
/// the same number.
pub(super) fn is_of_our_table(family: u8, attributes: &[u8]) -> bool {
    let table = TableAttrs::new(attributes).get_name();
    i32::from(family) == libc::NFPROTO_INET
        && table.is_ok_and(|name| name.to_bytes() == TABLE.as_bytes())
}

const fn step(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

pub(super) const TAKE: libc::sock_filter = step(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0);
pub(super) const LEAVE: libc::sock_filter = step(libc::BPF_RET | libc::BPF_K, 0, 0, 0);

/// Loads a field of the datagram of `libc::BPF_W`, `BPF_H` or `BPF_B` bytes.
pub(super) const fn load(size: u32, at: u32) -> libc::sock_filter {
    step(libc::BPF_LD | size | libc::BPF_ABS, at, 0, 0)
}

/// If what was loaded is `value`, `jt` steps are passed over, else `jf`.
pub(super) const fn if_is(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, jt, jf)
}

/// All messages of a datagram are of one transaction, and so of one port. A filter reads numbers as big-endian ones.
pub(super) fn not_from(port: Option<u32>) -> Vec<libc::sock_filter> {
    match port {
        Some(port) => vec![
            load(libc::BPF_W, PORT_AT),
            if_is(port.to_be(), 0, 1),
            LEAVE,
            TAKE,
        ],
        None => vec![TAKE],
    }
}
