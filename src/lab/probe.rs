//! Real packets, to see what they meet: many at once from one namespace, none of which is waited for alone.

use super::service::LabService;
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::sockopt::{Linger, SocketError};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect,
    getsockopt, recv, send, setsockopt, socket,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a datagram says.
const QUESTION: &[u8] = b"secgroupd lab\n";

/// How often there may be no descriptor in a row.
const MOST_STARVING: usize = 2000;

/// How long to wait for descriptors where nothing flies.
const STARVED: Duration = Duration::from_millis(20);
/// The longest wait for an answer: progress is shown in between.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// What epoll counts time in: a wait that is rounded down would end too early, and spin.
const TICK: Duration = Duration::from_millis(1);

/// One thing to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// From this address of the namespace.
    pub source: IpAddr,
    /// To this one.
    pub target: IpAddr,
    /// What is tried there.
    pub service: LabService,
}

/// What a shot met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// Something answered.
    Reached,
    /// The host answered that nothing listens.
    Closed,
    /// Nothing came back in time.
    Silent,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Found::Reached => "reached",
            Found::Closed => "closed",
            Found::Silent => "silent",
        })
    }
}

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many at once.
    pub at_once: usize,
    /// What has not answered by then is silent.
    pub patience: Duration,
    /// Whether a datagram is sent a second time, half way: TCP does it by itself, after a second.
    pub again: bool,
}

/// A shot that is on its way.
struct Flying {
    shot: usize,
    socket: OwnedFd,
    until: Instant,
    again_at: Option<Instant>,
}

/// Tries all of them, and reports how many are done now and then. What was found stands in the order of the shots; a
/// sentence for what could not be tried.
pub fn probe(
    shots: &[Shot],
    limits: Limits,
    mut done: impl FnMut(usize),
) -> Vec<Result<Found, String>> {
    let mut found: Vec<Option<Result<Found, String>>> = vec![None; shots.len()];
    let epoll = match Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) {
        Ok(epoll) => epoll,
        Err(error) => return vec![Err(error.to_string()); shots.len()],
    };
    // In the order in which they were sent, which is that of their ends.
    let mut flying: BTreeMap<u64, Flying> = BTreeMap::new();
    let (mut next, mut counted, mut starving) = (0, 0, 0);
    let mut events = vec![EpollEvent::empty(); 256];
    while next < shots.len() || !flying.is_empty() {
        let mut closed_at_once = 0;
        while let Some(shot) = shots.get(next)
            && flying.len() < limits.at_once
        {
            match launch(shot) {
                Ok((socket, None)) => {
                    let event = EpollEvent::new(
                        EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET,
                        next as u64,
                    );
                    if let Err(error) = epoll.add(&socket, event) {
                        found[next] = Some(Err(error.to_string()));
                    } else {
                        let now = Instant::now();
                        let datagram = !matches!(shot.service, LabService::Tcp(_));
                        let flight = Flying {
                            shot: next,
                            socket,
                            until: now + limits.patience,
                            again_at: (limits.again && datagram).then(|| now + limits.patience / 2),
                        };
                        flying.insert(next as u64, flight);
                    }
                }
                Ok((_, Some(outcome))) => {
                    found[next] = Some(Ok(outcome));
                    closed_at_once += 1;
                }
                // There are no more descriptors: those that fly give some back, or the other nodes do.
                Err(Errno::EMFILE | Errno::ENFILE) if starving < MOST_STARVING => {
                    starving += 1;
                    break;
                }
                Err(error) => found[next] = Some(Err(error.to_string())),
            }
            next += 1;
            starving = 0;
        }
        let soonest = flying
            .values()
            .next()
            .map(|flight| flight.again_at.unwrap_or(flight.until));
        let wait = soonest.map_or(STARVED, |at| {
            at.saturating_duration_since(Instant::now())
                .min(LONGEST_WAIT)
        });
        let wait = match closed_at_once {
            0 => EpollTimeout::try_from(wait + TICK),
            _ => Ok(EpollTimeout::ZERO),
        };
        let ready = epoll.wait(&mut events, wait.unwrap_or(EpollTimeout::ZERO));
        let ready = match ready {
            Ok(count) => events.get(..count).unwrap_or_default(),
            Err(_) => &[],
        };
        for event in ready {
            let Some(flight) = flying.get(&event.data()) else {
                continue;
            };
            let shot = &shots[flight.shot];
            if let Some(outcome) = outcome(shot, &flight.socket, event.events()) {
                found[flight.shot] = Some(Ok(outcome));
                flying.remove(&event.data());
            }
        }
        let now = Instant::now();
        for flight in flying.values_mut() {
            if flight.again_at.is_some_and(|at| at <= now) {
                flight.again_at = None;
                let _ = ask(&shots[flight.shot], &flight.socket);
            }
        }
        flying.retain(|_, flight| {
            let over = flight.until <= now;
            if over {
                found[flight.shot] = Some(Ok(Found::Silent));
            }
            !over
        });
        let finished = next - flying.len();
        if finished > counted {
            done(finished - counted);
            counted = finished;
        }
    }
    found
        .into_iter()
        .map(|found| found.unwrap_or(Ok(Found::Silent)))
        .collect()
}

/// A socket whose first packet is on its way, or what is known at once.
fn launch(shot: &Shot) -> nix::Result<(OwnedFd, Option<Found>)> {
    let v4 = shot.target.is_ipv4();
    let family = match v4 {
        true => AddressFamily::Inet,
        false => AddressFamily::Inet6,
    };
    let (kind, protocol) = match shot.service {
        LabService::Tcp(_) => (SockType::Stream, None),
        LabService::Udp(_) => (SockType::Datagram, None),
        LabService::Ping if v4 => (SockType::Datagram, Some(SockProtocol::Icmp)),
        LabService::Ping => (SockType::Datagram, Some(SockProtocol::IcmpV6)),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, kind, flags, protocol)?;
    if kind == SockType::Stream {
        // It ends by a reset: nothing is kept of it.
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&socket, Linger, &at_once)?;
    }
    let from = SockaddrStorage::from(SocketAddr::new(shot.source, 0));
    bind(socket.as_raw_fd(), &from)?;
    let port = shot.service.port().unwrap_or(0);
    let to = SockaddrStorage::from(SocketAddr::new(shot.target, port));
    let sent = match connect(socket.as_raw_fd(), &to) {
        Ok(()) if kind == SockType::Stream => return Ok((socket, Some(Found::Reached))),
        connected => connected.and_then(|()| ask(shot, &socket)),
    };
    match sent {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok((socket, None)),
        Err(error) => Ok((socket, Some(refused(error).ok_or(error)?))),
    }
}

/// Sends the datagram or the echo request.
fn ask(shot: &Shot, socket: &OwnedFd) -> nix::Result<()> {
    let echo = |kind: u8| [&[kind, 0, 0, 0, 0, 0, 0, 1], QUESTION].concat();
    let bytes = match shot.service {
        LabService::Tcp(_) => return Ok(()),
        LabService::Udp(_) => QUESTION.to_vec(),
        // The kernel fills in the number and the checksum.
        LabService::Ping if shot.target.is_ipv4() => echo(8),
        LabService::Ping => echo(128),
    };
    send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// What an event means, if it decides anything.
fn outcome(shot: &Shot, socket: &OwnedFd, events: EpollFlags) -> Option<Found> {
    if events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
        return match getsockopt(socket, SocketError) {
            Ok(0) => None,
            Ok(code) => refused(Errno::from_raw(code)).or(Some(Found::Silent)),
            Err(_) => Some(Found::Silent),
        };
    }
    match shot.service {
        LabService::Tcp(_) if events.contains(EpollFlags::EPOLLOUT) => Some(Found::Reached),
        LabService::Tcp(_) => None,
        _ if events.contains(EpollFlags::EPOLLIN) => {
            let mut byte = [0; 64];
            match recv(socket.as_raw_fd(), &mut byte, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => Some(Found::Reached),
                Err(Errno::EAGAIN | Errno::EINTR) => None,
                Err(error) => refused(error),
            }
        }
        _ => None,
    }
}

/// What an error says of the other host. Nothing listens; or there is no way to it, or somebody forbids it (this host's
/// own rules with EPERM): then it was not reached, and has not said that nothing listens.
fn refused(error: Errno) -> Option<Found> {
    match error {
        Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOPROTOOPT => Some(Found::Closed),
        Errno::EPERM | Errno::EACCES | Errno::EHOSTUNREACH | Errno::ENETUNREACH => {
            Some(Found::Silent)
        }
        _ => None,
    }
}
