//! The netlink socket that transactions go through: how much it takes at once, and what the kernel answers.

use super::error::NativeError;
use crate::netfilter::netlink::{NLMSG_ERROR, messages, raw_socket};
use netlink_bindings::builtin::{NlmsgerrAttrs, Nlmsghdr};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{SndBuf, SndBufForce};
use nix::sys::socket::{
    MsgFlags, NetlinkAddr, SockFlag, SockProtocol, bind, getsockname, getsockopt, recv, send,
    setsockopt,
};
use nix::{libc, setsockopt_impl, sockopt_impl};
use parking_lot::Mutex;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

// Both are missing in nix. Without the first a refusal has neither place nor words; with the second it does not carry
// the refused message.
sockopt_impl!(
    NetlinkExtAck,
    SetOnly,
    libc::SOL_NETLINK,
    libc::NETLINK_EXT_ACK,
    bool
);
sockopt_impl!(
    NetlinkCapAck,
    SetOnly,
    libc::SOL_NETLINK,
    libc::NETLINK_CAP_ACK,
    bool
);

/// What the kernel keeps of a socket's buffer for itself (`netlink_sendmsg` in `net/netlink/af_netlink.c`).
const OWN_BYTES: usize = 32;
/// An answer without words is 36 bytes long.
const ANSWER_BYTES: usize = 4096;

const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// An open socket of nf_tables, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct TransactionSocket {
    descriptor: OwnedFd,
    port: u32,
    /// Held from a transaction to the last answer to it.
    exchanging: Mutex<()>,
}

/// What the kernel said about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelAnswer {
    pub sequence: u32,
    /// Why it was refused; nothing if it was not.
    pub error: Option<Errno>,
    /// The kernel's words, if it had any.
    pub words: Option<String>,
    /// Where in the message the offending attribute stands.
    pub offset: Option<u32>,
}

/// All answers to a transaction.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub answers: Vec<KernelAnswer>,
    /// Whether there were more than the socket could hold.
    pub overrun: bool,
}

impl TransactionSocket {
    pub fn open() -> Result<Self, NativeError> {
        let descriptor = raw_socket(SockProtocol::NetlinkNetFilter, SockFlag::empty())
            .map_err(NativeError::Socket)?;
        // The kernel gives it a port, by which it is known as an owner.
        bind(descriptor.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(NativeError::Socket)?;
        Self::of(descriptor)
    }

    /// A socket that was opened before, perhaps by another process.
    pub fn of(descriptor: OwnedFd) -> Result<Self, NativeError> {
        setsockopt(&descriptor, NetlinkExtAck, &true).map_err(NativeError::Socket)?;
        setsockopt(&descriptor, NetlinkCapAck, &true).map_err(NativeError::Socket)?;
        let address: NetlinkAddr =
            getsockname(descriptor.as_raw_fd()).map_err(NativeError::Socket)?;
        Ok(TransactionSocket {
            descriptor,
            port: address.pid(),
            exchanging: Mutex::default(),
        })
    }

    /// Its port: the kernel's name of it, unique in its network namespace.
    pub fn port(&self) -> u32 {
        self.port
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Makes room for a transaction of so many bytes, if it may, and says how many it can take.
    pub fn room(&self, wanted: usize) -> usize {
        let limit = || {
            let buffer = getsockopt(&self.descriptor, SndBuf).unwrap_or(0);
            buffer.saturating_sub(OWN_BYTES)
        };
        if limit() < wanted {
            // The kernel doubles what is set. Force wants CAP_NET_ADMIN in the first user namespace; without it the
            // limit is twice `net.core.wmem_max`.
            let half = wanted.div_ceil(2) + OWN_BYTES;
            if setsockopt(&self.descriptor, SndBufForce, &half).is_err() {
                let _ = setsockopt(&self.descriptor, SndBuf, &half);
            }
        }
        limit()
    }

    /// Sends a transaction, which the kernel commits or refuses before this returns, and reads all answers to it.
    pub fn exchange(&self, transaction: &[u8]) -> Result<Answers, NativeError> {
        let _alone = self.exchanging.lock();
        // What a process before us was killed before it read.
        self.answers()?;
        loop {
            match send(self.descriptor.as_raw_fd(), transaction, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(NativeError::Socket(error)),
                Ok(_) => return self.answers(),
            }
        }
    }

    /// All answers that are here. The kernel works on a transaction within `send`: others will not come.
    fn answers(&self) -> Result<Answers, NativeError> {
        let mut answers = Answers::default();
        let mut buffer = [0; ANSWER_BYTES];
        loop {
            match recv(
                self.descriptor.as_raw_fd(),
                &mut buffer,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(length) => answers.read(buffer.get(..length).unwrap_or_default()),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(answers),
                Err(Errno::ENOBUFS) => answers.overrun = true,
                Err(error) => return Err(NativeError::Socket(error)),
            }
        }
    }
}

impl Answers {
    fn read(&mut self, datagram: &[u8]) {
        let errors = messages(datagram).filter(|(header, _)| header.r#type == NLMSG_ERROR);
        self.answers
            .extend(errors.filter_map(|(header, body)| answer(&header, body)));
    }
}

/// A negative errno or 0, the header of the message it is about, and then what more the kernel has to say.
fn answer(header: &Nlmsghdr, body: &[u8]) -> Option<KernelAnswer> {
    let (code, rest) = body.split_first_chunk()?;
    let code = i32::from_ne_bytes(*code);
    let about = rest
        .get(..Nlmsghdr::len())
        .and_then(Nlmsghdr::new_from_slice)?;
    let mut answer = KernelAnswer {
        sequence: about.seq,
        error: (code != 0).then(|| Errno::from_raw(code.saturating_neg())),
        words: None,
        offset: None,
    };
    if header.flags & NLM_F_ACK_TLVS != 0 {
        let message = match header.flags & NLM_F_CAPPED {
            0 => (about.len as usize).next_multiple_of(4),
            _ => Nlmsghdr::len(),
        };
        let attributes = NlmsgerrAttrs::new(rest.get(message..).unwrap_or_default());
        answer.words = attributes
            .get_msg()
            .ok()
            .map(|words| words.to_string_lossy().into_owned());
        answer.offset = attributes.get_offset().ok();
    }
    Some(answer)
}
