//! What the kernel alone takes: the messages of a load and a switch, made beforehand, sent from memory.

use super::ways::{Cost, measure};
use crate::programs::undo;
use crate::support::Host;
use nix::sys::socket::sockopt::SndBufForce;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket,
};
use secgroupd::netfilter::native::Native;
use secgroupd::ruleset::batch::{self, Names};
use secgroupd::ruleset::{Generation, Ruleset, TABLE};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// Where the number of an error stands in an answer, after the header.
const ERROR: std::ops::Range<usize> = 16..20;

/// Loads and switches so often.
pub fn measured(host: &Host, ruleset: &Ruleset, runs: usize) -> Cost {
    let names = Names::new(Generation(1));
    let of =
        |commands: &[batch::Command]| Native::transactions(commands, &names).expect("messages");
    let mut transactions = of(&batch::load(ruleset, &names));
    transactions.extend(of(&batch::switch()));
    let socket = host.enter(|| {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        );
        let socket = socket.expect("a netlink socket");
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0)).expect("bound");
        setsockopt(&socket, SndBufForce, &(4 << 20)).expect("room");
        socket
    });
    let replay = || {
        let start = Instant::now();
        for bytes in &transactions {
            let sent = send(socket.as_raw_fd(), bytes, MsgFlags::empty());
            assert_eq!(sent, Ok(bytes.len()));
            // One answer: that to the last message.
            let mut answer = [0; 4096];
            let length =
                recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("an answer");
            assert!(length >= ERROR.end && answer[ERROR] == [0; 4], "refused");
        }
        start.elapsed()
    };
    measure(runs, replay, || {
        undo(host, &["nft", "delete", "table", "inet", TABLE]);
    })
}
