//! One packet at a time: from outside the host ([`Injector`]), or from the host itself ([`Outbound`]).

use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
            SockaddrIn6, recv, sendto, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
    unistd::Pid,
};

use super::{End, Probe, SOON};

/// The ethernet type of the marker frames of [`Injector::wait`]: "local experimental", which no IP hook sees.
const MARKER: u16 = 0x88b5;

/// No two markers are alike, whoever sends them.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Puts frames on a cable, as if the far machine (or anything behind it) had sent them.
///
/// `send` returns when the receiving host has judged the packet, unless that processor's queue was busy (a flood, an
/// interrupt): call [`Injector::wait`] before counters are read.
pub struct Injector {
    wire: OwnedFd,
    address: LinkAddr,
    header: [u8; 12],
    markers: OwnedFd,
}

impl Injector {
    /// Sends from one end of a cable to the other.
    pub fn new(from: &End, to: &End) -> Self {
        let packets = |kind| {
            socket(AddressFamily::Packet, kind, SockFlag::SOCK_CLOEXEC, None)
                .expect("a packet socket")
        };
        let mut header = [0; 12];
        header[..6].copy_from_slice(&to.mac);
        header[6..].copy_from_slice(&from.mac);
        Self {
            wire: from.host.enter(|| packets(SockType::Raw)),
            address: from.link_address(),
            header,
            markers: to.host.enter(marker_socket),
        }
    }

    /// Sends a datagram, all its fragments in order.
    pub fn send(&self, probe: &Probe) {
        for frame in self.frames(probe) {
            self.send_frame(&frame).expect("sending a frame");
        }
    }

    /// The ethernet frames of a datagram, for one who sends them often.
    pub fn frames(&self, probe: &Probe) -> Vec<Vec<u8>> {
        let kind = if probe.source.is_ipv4() {
            0x0800
        } else {
            0x86dd
        };
        probe
            .packets()
            .iter()
            .map(|packet| self.frame(probe.destination, kind, packet))
            .collect()
    }

    /// Sends one frame as it is.
    pub fn send_frame(&self, frame: &[u8]) -> io::Result<()> {
        sendto(
            self.wire.as_raw_fd(),
            frame,
            &self.address,
            MsgFlags::empty(),
        )?;
        Ok(())
    }

    /// Returns when the receiving host has judged every packet sent so far, from whichever thread: a marker frame goes
    /// through each processor's queue behind them.
    pub fn wait(&self) {
        let this_thread = Pid::from_raw(0);
        let allowed = sched_getaffinity(this_thread).expect("the processors of this thread");
        for processor in (0..CpuSet::count()).filter(|&number| allowed.is_set(number) == Ok(true)) {
            let mut only = CpuSet::new();
            only.set(processor).unwrap();
            // A processor that has gone away holds no packets.
            if sched_setaffinity(this_thread, &only).is_ok() {
                self.pass_marker();
            }
        }
        sched_setaffinity(this_thread, &allowed).expect("the processors of this thread");
    }

    /// Sends a marker frame and says whether it had gone through the receiving host when `send` returned.
    pub fn is_judged_at_once(&self) -> bool {
        let serial = self.send_marker();
        let at_once = self.receives_marker(serial, MsgFlags::MSG_DONTWAIT);
        if !at_once {
            self.await_marker(serial);
        }
        at_once
    }

    fn pass_marker(&self) {
        let serial = self.send_marker();
        self.await_marker(serial);
    }

    fn send_marker(&self) -> [u8; 8] {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut marker = self.frame_to(self.header, MARKER, &serial);
        marker.resize(60, 0);
        self.send_frame(&marker).expect("sending a marker");
        serial
    }

    fn await_marker(&self, serial: [u8; 8]) {
        let start = Instant::now();
        while !self.receives_marker(serial, MsgFlags::empty()) {
            assert!(
                start.elapsed() < SOON,
                "a marker frame is lost: is the cable up?"
            );
        }
    }

    /// Reads one frame, if there is one: is it this marker? Another injector's markers arrive here too.
    fn receives_marker(&self, serial: [u8; 8], flags: MsgFlags) -> bool {
        let mut bytes = [0; 60];
        match recv(self.markers.as_raw_fd(), &mut bytes, flags) {
            Ok(_) => bytes[14..22] == serial,
            Err(Errno::EINTR | Errno::EAGAIN) => false,
            Err(error) => panic!("receiving a marker: {error}"),
        }
    }

    /// A multicast or broadcast destination has its own hardware address.
    fn frame(&self, destination: IpAddr, kind: u16, packet: &[u8]) -> Vec<u8> {
        let mut header = self.header;
        match destination {
            IpAddr::V4(address) if address.is_multicast() => {
                let [_, b, c, d] = address.octets();
                header[..6].copy_from_slice(&[0x01, 0x00, 0x5e, b & 0x7f, c, d]);
            }
            IpAddr::V4(address) if address.is_broadcast() => {
                header[..6].copy_from_slice(&[0xff; 6])
            }
            IpAddr::V6(address) if address.is_multicast() => {
                let [.., a, b, c, d] = address.octets();
                header[..6].copy_from_slice(&[0x33, 0x33, a, b, c, d]);
            }
            _ => {}
        }
        self.frame_to(header, kind, packet)
    }

    fn frame_to(&self, header: [u8; 12], kind: u16, packet: &[u8]) -> Vec<u8> {
        [&header[..], &kind.to_be_bytes(), packet].concat()
    }
}

/// A socket that receives marker frames, and only those.
fn marker_socket() -> OwnedFd {
    // SAFETY: a system call without pointers; its result is a descriptor that nobody else has. nix names only a few
    // ethernet types, and receiving all frames instead would lose markers under a flood.
    #[allow(unsafe_code)]
    let socket = unsafe {
        let protocol = i32::from(MARKER.to_be());
        let number = Errno::result(libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol,
        ));
        OwnedFd::from_raw_fd(number.expect("a packet socket"))
    };
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 100_000)).expect("a time limit");
    socket
}

/// What became of a packet that the host itself sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It left the host.
    Passed,
    /// The host's own rules dropped it.
    Dropped,
}

/// Sends packets from the host itself, IP header included, through its output and postrouting hooks. The kernel judges
/// before `send` returns.
pub struct Outbound {
    four: OwnedFd,
    six: OwnedFd,
    index: u32,
}

impl Outbound {
    /// Sends through this interface of its host, by the host's routes.
    pub fn new(through: &End) -> Self {
        let raw = |family| {
            let protocol = SockProtocol::Raw;
            let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
                .expect("a raw socket");
            setsockopt(
                &socket,
                sockopt::BindToDevice,
                &through.interface.clone().into(),
            )
            .expect("the interface");
            setsockopt(&socket, sockopt::Broadcast, &true).expect("broadcasts");
            socket
        };
        let (four, six) = through
            .host
            .enter(|| (raw(AddressFamily::Inet), raw(AddressFamily::Inet6)));
        Self {
            four,
            six,
            index: through.index,
        }
    }

    /// Sends a datagram, all its fragments in order. Fragments are judged when the last one completes the datagram.
    pub fn send(&self, probe: &Probe) -> Sent {
        let mut last = Sent::Passed;
        for packet in probe.packets() {
            last = self
                .send_packet(probe.destination, &packet)
                .expect("sending a packet");
        }
        last
    }

    /// Sends one IP packet as it is.
    pub fn send_packet(&self, destination: IpAddr, packet: &[u8]) -> io::Result<Sent> {
        let none = MsgFlags::empty();
        let sent = match destination {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                sendto(
                    self.four.as_raw_fd(),
                    packet,
                    &SockaddrIn::new(a, b, c, d, 0),
                    none,
                )
            }
            IpAddr::V6(address) => {
                let address = std::net::SocketAddrV6::new(address, 0, 0, self.index);
                sendto(
                    self.six.as_raw_fd(),
                    packet,
                    &SockaddrIn6::from(address),
                    none,
                )
            }
        };
        match sent {
            Ok(_) => Ok(Sent::Passed),
            Err(Errno::EPERM) => Ok(Sent::Dropped),
            Err(error) => Err(error.into()),
        }
    }
}
