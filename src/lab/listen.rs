//! What `lab: services:` names really listens: TCP says where one is and closes, UDP answers each datagram.

use super::service::LabService;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, bind, listen, recvmsg, sendmsg,
    setsockopt, socket,
};
use nix::unistd::pipe2;
use std::collections::{BTreeSet, VecDeque};
use std::io::{IoSlice, IoSliceMut, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddrV4, SocketAddrV6, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a connection that was answered stays open, so that the other side reads the answer before a reset overtakes
/// it.
const LINGER: Duration = Duration::from_millis(500);
/// The most connections of one node that linger.
pub const MOST_LINGERING: usize = 32;
/// The most that is taken from one socket before the others have their turn.
const TURN: usize = 64;

/// Open sockets, and the thread that answers on them until this is dropped.
#[derive(Debug)]
pub struct Servers {
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Option<OwnedFd>,
}

/// One open socket.
enum Open {
    Tcp(TcpListener, String),
    Udp(OwnedFd, String),
}

impl Open {
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Open::Tcp(listener, _) => listener.as_fd(),
            Open::Udp(socket, _) => socket.as_fd(),
        }
    }
}

impl Servers {
    /// Opens all of them, of both families, in the namespace of this thread.
    pub fn open(name: &str, services: &BTreeSet<LabService>) -> Result<Self, String> {
        let mut open = Vec::new();
        for service in services {
            let says = format!("{name} {service}\n");
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                match one(*service, family, &says) {
                    Ok(socket) => open.extend(socket),
                    // A kernel without IPv6.
                    Err(Errno::EAFNOSUPPORT) if family == AddressFamily::Inet6 => {}
                    Err(Errno::EADDRINUSE) => {
                        return Err(format!(
                            "{service} is in use already: end what listens there"
                        ));
                    }
                    Err(error) => return Err(format!("cannot listen on {service}: {error}")),
                }
            }
        }
        if open.is_empty() {
            return Ok(Servers {
                thread: None,
                stop: None,
            });
        }
        let (stopped, stop) =
            pipe2(OFlag::O_CLOEXEC).map_err(|error| format!("cannot listen: {error}"))?;
        let thread = std::thread::Builder::new()
            .name(format!("{name} serves"))
            .spawn(move || serve(&open, &stopped))
            .map_err(|error| format!("cannot listen: {error}"))?;
        Ok(Servers {
            thread: Some(thread),
            stop: Some(stop),
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn one(service: LabService, family: AddressFamily, says: &str) -> nix::Result<Option<Open>> {
    let (kind, port) = match service {
        LabService::Tcp(port) => (SockType::Stream, port),
        LabService::Udp(port) => (SockType::Datagram, port),
        // The kernel itself answers.
        LabService::Ping => return Ok(None),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let descriptor = socket(family, kind, flags, None)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&descriptor, Ipv6V6Only, &true)?;
    }
    let raw = descriptor.as_raw_fd();
    if kind == SockType::Stream {
        setsockopt(&descriptor, ReuseAddr, &true)?;
    } else if family == AddressFamily::Inet6 {
        setsockopt(&descriptor, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&descriptor, Ipv4PacketInfo, &true)?;
    }
    if family == AddressFamily::Inet6 {
        let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0);
        bind(raw, &SockaddrIn6::from(any))?;
    } else {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        bind(raw, &SockaddrIn::from(any))?;
    }
    Ok(Some(match kind {
        SockType::Stream => {
            listen(&descriptor, Backlog::MAXCONN)?;
            Open::Tcp(descriptor.into(), says.to_owned())
        }
        _ => Open::Udp(descriptor, says.to_owned()),
    }))
}

/// Answers until the other end of `stopped` is closed.
fn serve(open: &[Open], stopped: &OwnedFd) {
    let mut lingering = VecDeque::new();
    loop {
        let mut watched = vec![PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        watched.extend(
            open.iter()
                .map(|open| PollFd::new(open.descriptor(), PollFlags::POLLIN)),
        );
        let timeout = match lingering.is_empty() {
            true => PollTimeout::NONE,
            false => PollTimeout::from(100u8),
        };
        match poll(&mut watched, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let is_ready =
            |watched: &PollFd| watched.revents().is_some_and(|events| !events.is_empty());
        if watched.first().is_some_and(is_ready) {
            return;
        }
        for (open, _) in open
            .iter()
            .zip(watched.iter().skip(1))
            .filter(|(_, watched)| is_ready(watched))
        {
            match open {
                Open::Tcp(listener, says) => accept(listener, says, &mut lingering),
                Open::Udp(socket, says) => answer(socket, says),
            }
        }
        while lingering
            .front()
            .is_some_and(|(since, _): &(Instant, _)| since.elapsed() > LINGER)
        {
            lingering.pop_front();
        }
    }
}

fn accept(
    listener: &TcpListener,
    says: &str,
    lingering: &mut VecDeque<(Instant, std::net::TcpStream)>,
) {
    for _ in 0..TURN {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let _ = stream.set_nonblocking(true);
        let _ = stream.write(says.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        lingering.push_back((Instant::now(), stream));
        if lingering.len() > MOST_LINGERING {
            lingering.pop_front();
        }
    }
}

/// Answers from the address that was asked.
fn answer(socket: &OwnedFd, says: &str) {
    let raw = socket.as_raw_fd();
    for _ in 0..TURN {
        let mut bytes = [0; 2048];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::in_pktinfo);
        let Ok(message) =
            recvmsg::<SockaddrStorage>(raw, &mut parts, Some(&mut space), MsgFlags::empty())
        else {
            return;
        };
        let (mut v4, mut v6) = (None, None);
        for control in message.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    v4 = Some(nix::libc::in_pktinfo {
                        ipi_ifindex: 0,
                        ipi_spec_dst: info.ipi_addr,
                        ..info
                    });
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => v6 = Some(info),
                _ => {}
            }
        }
        let from = message.address.filter(|address| address.family().is_some());
        let controls: Vec<ControlMessage> = v4
            .iter()
            .map(ControlMessage::Ipv4PacketInfo)
            .chain(v6.iter().map(ControlMessage::Ipv6PacketInfo))
            .collect();
        let says = [IoSlice::new(says.as_bytes())];
        let _ = sendmsg(raw, &says, &controls, MsgFlags::empty(), from.as_ref());
    }
}
