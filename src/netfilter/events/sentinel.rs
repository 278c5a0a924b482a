//! A thread that waits for nothing but that another program deletes our table, and answers before that program has
//! ended.
//!
//! The kernel reports a deletion when it is committed. When the program's socket closes, some 50 µs later, the kernel
//! waits with the lock of all transactions held until what was deleted is really gone, a grace period of 10 to 20 ms
//! (`nft_rcv_nl_event` in `net/netfilter/nf_tables_api.c`). Whoever asks for that lock before restores in a
//! millisecond; to read all messages of the deletion first, or to wake an event loop, takes too long for that. So does
//! a processor's wait for other programs, before it begins and in the midst of it: the thread goes before them where it
//! may. It is seldom awake, and never for longer than one answer.

use super::socket::{
    EventSocket, LEAVE, NFTABLES, TYPE_AT, if_is, is_of_our_table, load, not_from,
};
use crate::netfilter::netlink::of_netfilter;
use crate::netfilter::priority::set_niceness;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::SockProtocol;
use std::os::fd::AsFd;
use std::sync::Arc;

/// So many deletions in one datagram, of about a page, are of the whole table: nobody takes single rules away so fast.
const WHOLESALE: usize = 8;
/// What reports one.
const DELETED_RULE: i32 = libc::NFNL_SUBSYS_NFTABLES << 8 | libc::NFT_MSG_DELRULE;

/// Answers deletions of our table until it is dropped.
#[derive(Debug)]
pub(in crate::netfilter) struct Sentinel {
    stop: Arc<EventFd>,
}

impl Sentinel {
    /// Waits for what others than the socket with this port delete. `answer` may be called several times for one
    /// deletion.
    pub fn post(port: u32, answer: impl Fn() + Send + 'static) -> Result<Self, Errno> {
        let filter = filter(port);
        let socket = EventSocket::join(SockProtocol::NetlinkNetFilter, NFTABLES, &filter)?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("sentinel".into())
            .spawn(move || {
                go_first();
                wait(&socket, &stopped, answer);
            })
            .map_err(|error| error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw))?;
        Ok(Sentinel { stop })
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // A counter that holds 1 cannot be full.
        let _ = self.stop.write(1);
    }
}

/// Before all other programs of ordinary priority: as root, or where the service manager lets it (`LimitNICE=`).
/// Elsewhere it is one of them.
fn go_first() {
    const FIRST: i32 = -20;
    if let Err(error) = set_niceness(FIRST) {
        tracing::debug!("the sentinel is as any other thread: {error}");
    }
}

fn wait(socket: &EventSocket, stop: &EventFd, answer: impl Fn()) {
    let mut buffer = vec![0; 8192];
    loop {
        let mut waiting = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        if waiting[1].any().unwrap_or(true) {
            return;
        }
        // What does not fit shows enough. Lost words, too: the event loop hears of everything.
        if let Ok(length) = socket.receive(&mut buffer)
            && is_wholesale(buffer.get(..length).unwrap_or(&buffer))
        {
            answer();
            // The rest of the same deletion: all of it was here before the lock was to be had.
            while socket.receive(&mut buffer).is_ok() {}
        }
    }
}

/// Passes over our own changes, and datagrams that do not begin with the deletion of a rule: of a chain's rules a
/// deletion of the table begins.
fn filter(port: u32) -> Vec<libc::sock_filter> {
    let mut filter = not_from(Some(port));
    let take = filter.pop();
    filter.extend([
        load(libc::BPF_H, TYPE_AT),
        if_is(u32::from((DELETED_RULE as u16).to_be()), 1, 0),
        LEAVE,
    ]);
    filter.extend(take);
    filter
}

fn is_wholesale(datagram: &[u8]) -> bool {
    let is_deletion = |(kind, family, attributes): &(u16, u8, &[u8])| {
        i32::from(*kind) == DELETED_RULE && is_of_our_table(*family, attributes)
    };
    of_netfilter(datagram).filter(is_deletion).count() >= WHOLESALE
}
