//! Interfaces, their addresses and default routes that come, change and go.

use super::socket::{Datagrams, EventSocket, LEAVE, Received, TAKE, TYPE_AT, if_is, load};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockProtocol;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_IFADDR` and `RTNLGRP_IPV6_ROUTE` of
/// `linux/rtnetlink.h`, as bits.
const GROUPS: u32 = 1 | 1 << (5 - 1) | 1 << (7 - 1) | 1 << (9 - 1) | 1 << (11 - 1);

/// Where `rtm_dst_len` stands: the second byte after the message's header.
const PREFIX_LENGTH_AT: u32 = 17;

/// One `ip link add` is reported in several messages, and the start of a container in dozens: they are gathered for so
/// long.
const GATHER: Duration = Duration::from_millis(50);

/// Reports when the interfaces, their addresses or the default routes of this network namespace have changed.
#[derive(Debug)]
pub struct LinkEvents {
    inbox: Datagrams,
    /// Until when is gathered, if there is something.
    until: Option<Instant>,
}

impl LinkEvents {
    /// Listens from now on; within the runtime.
    pub fn listen() -> Result<Self, Errno> {
        let socket = EventSocket::join(SockProtocol::NetlinkRoute, GROUPS, &of_interest())?;
        Ok(LinkEvents {
            inbox: Datagrams::of(Arc::new(socket))?,
            until: None,
        })
    }

    /// Waits until something has changed, whatever it is, also if the kernel's word of it was lost. Nothing is lost
    /// when the future is dropped before it is ready.
    pub async fn changed(&mut self) -> Result<(), Errno> {
        let until = match self.until {
            Some(until) => until,
            None => {
                self.inbox.receive().await?;
                *self.until.insert(Instant::now() + GATHER)
            }
        };
        loop {
            tokio::select! {
                _ = sleep_until(until) => break,
                more = self.inbox.receive() => match more? {
                    Received::Datagram(_) | Received::Lost => {}
                },
            }
        }
        self.until = None;
        Ok(())
    }
}

/// Of routes the default ones alone: a router may learn a million others. All that is said of interfaces and addresses.
fn of_interest() -> [libc::sock_filter; 7] {
    // The type is a number of this machine's order, and the filter reads it as a big-endian one.
    let route = |message: u16| u32::from(message.to_be());
    [
        load(libc::BPF_H, TYPE_AT),
        if_is(route(libc::RTM_NEWROUTE), 1, 0),
        if_is(route(libc::RTM_DELROUTE), 0, 3),
        load(libc::BPF_B, PREFIX_LENGTH_AT),
        if_is(0, 1, 0),
        LEAVE,
        TAKE,
    ]
}
