//! The listener of our group of NFLOG.

use crate::netfilter::netlink::raw_socket;
use crate::ruleset::table::EVENTS_GROUP;
use netlink_bindings::utils::{align, push_header};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{
    MsgFlags, NetlinkAddr, SockFlag, SockProtocol, bind, recv, send, setsockopt,
};
use nix::sys::time::TimeVal;
use std::os::fd::{AsRawFd, OwnedFd};

/// `linux/netfilter/nfnetlink_log.h`.
const NFULNL_MSG_CONFIG: u16 = 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULA_CFG_FLAGS: u16 = 6;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULNL_CFG_F_SEQ: u16 = 1;

/// So much of a packet is sent: an IPv6 header, some extension headers, and ports.
const COPIED: u32 = 96;
/// The most that the kernel gathers in a datagram (`NFULNL_NLBUFSIZ_MAX`).
const DATAGRAM_BYTES: u32 = 128 << 10;
/// So many packets are gathered before they are sent.
pub const GATHERED: u32 = 400;
/// For so long at most, in hundredths of a second.
const GATHERED_FOR: u32 = 10;
/// Room for what is not yet read, if the kernel grants it: some 40,000 packets.
const ROOM_BYTES: usize = 8 << 20;

/// Listens to our group.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// Begins to listen, in the network namespace of the calling thread. A wait for a datagram ends after a second.
    /// Fails with `EBUSY` where another program listens to this group, and with `EINVAL` or `EOPNOTSUPP` on a kernel
    /// without NFLOG.
    pub fn open() -> Result<Self, Errno> {
        let socket = raw_socket(SockProtocol::NetlinkNetFilter, SockFlag::empty())?;
        // Inside a user namespace it may not; then packets are lost sooner, and counted.
        if setsockopt(&socket, RcvBufForce, &ROOM_BYTES).is_err() {
            let _ = setsockopt(&socket, RcvBuf, &ROOM_BYTES);
        }
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(1, 0))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let mut listener = Listener {
            socket,
            buffer: vec![0; 2 * DATAGRAM_BYTES as usize],
        };
        listener.configure(&[(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND])])?;
        let mode = [&COPIED.to_be_bytes()[..], &[NFULNL_COPY_PACKET, 0]].concat();
        listener.configure(&[
            (NFULA_CFG_MODE, &mode),
            (NFULA_CFG_NLBUFSIZ, &DATAGRAM_BYTES.to_be_bytes()),
            (NFULA_CFG_TIMEOUT, &GATHERED_FOR.to_be_bytes()),
            (NFULA_CFG_QTHRESH, &GATHERED.to_be_bytes()),
            (NFULA_CFG_FLAGS, &NFULNL_CFG_F_SEQ.to_be_bytes()),
        ])?;
        Ok(listener)
    }

    /// Asks something of the kernel, and waits for its word.
    fn configure(&mut self, attributes: &[(u16, &[u8])]) -> Result<(), Errno> {
        let mut message = vec![0; 4];
        let kind = (libc::NFNL_SUBSYS_ULOG as u16) << 8 | NFULNL_MSG_CONFIG;
        message.extend(kind.to_ne_bytes());
        message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
        // Neither a sequence nor a port is needed: each question is answered before the next.
        message.extend([0; 8]);
        message.extend([libc::AF_UNSPEC as u8, 0]);
        message.extend(EVENTS_GROUP.to_be_bytes());
        for (number, value) in attributes {
            push_header(&mut message, *number, value.len() as u16);
            message.extend(*value);
            align(&mut message);
        }
        let length = (message.len() as u32).to_ne_bytes();
        message[..4].copy_from_slice(&length);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            let answer = self.buffer.get(..length).unwrap_or_default();
            let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
            let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
            let (Some(kind), Some(code)) = (kind, code) else {
                return Err(Errno::EPROTO);
            };
            // Packets may be told before the answer.
            if i32::from(u16::from_ne_bytes(kind)) == libc::NLMSG_ERROR {
                return match i32::from_ne_bytes(code) {
                    0 => Ok(()),
                    code => Err(Errno::from_raw(-code)),
                };
            }
        }
    }

    /// Waits for the next datagram, see [`super::messages`]; `None` after a second without one, or where some were
    /// lost.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, Errno> {
        match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(length) => Ok(self.buffer.get(..length)),
            // Of what was lost the numbers tell.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
