//! Frames sent as fast as one processor can, and how long it took.
//!
//! Sender and judge are one thread: a frame that is put on a veth is judged in the softirq of the system call that
//! sends it, on the same processor. So time per frame = what the frame costs, from the call to the drop.

use crate::support::End;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What the kernel takes in one call.
const AT_ONCE: usize = 1024;

/// One end of a cable, to send from.
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Frames go from this end to the other.
    pub fn new(from: &End) -> Self {
        // Protocol 0: it receives nothing.
        let socket = from
            .host
            .enter(|| {
                socket(
                    AddressFamily::Packet,
                    SockType::Raw,
                    SockFlag::SOCK_CLOEXEC,
                    None,
                )
            })
            .expect("a packet socket");
        bind(socket.as_raw_fd(), &from.link_address()).expect("bound to the cable");
        let bypass: libc::c_int = 1;
        // SAFETY: the value is an int that outlives the call, and its size is given.
        #[allow(unsafe_code)]
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const bypass).cast(),
                size_of::<libc::c_int>() as u32,
            )
        };
        Errno::result(set).expect("no queue between the socket and the cable");
        Wire { socket }
    }
}

/// Frames for one wire, laid out for the kernel.
pub struct Burst {
    messages: Vec<libc::mmsghdr>,
    // The messages point into these, which therefore never change.
    _vectors: Vec<libc::iovec>,
    _bytes: Vec<u8>,
}

impl Burst {
    /// One frame after the other.
    pub fn new(frames: &[Vec<u8>]) -> Self {
        let mut bytes: Vec<u8> = frames.concat();
        let mut start = bytes.as_mut_ptr();
        let mut vectors = Vec::with_capacity(frames.len());
        for frame in frames {
            vectors.push(libc::iovec {
                iov_base: start.cast(),
                iov_len: frame.len(),
            });
            start = start.wrapping_add(frame.len());
        }
        let messages = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: a message header is plain data, and all zero is one without anything.
                #[allow(unsafe_code)]
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        Burst {
            messages,
            _vectors: vectors,
            _bytes: bytes,
        }
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Sends some of them, and says how long that took.
    pub fn send(&mut self, wire: &Wire, which: std::ops::Range<usize>) -> Duration {
        let start = Instant::now();
        for messages in self.messages[which].chunks_mut(AT_ONCE) {
            let mut rest = messages;
            while !rest.is_empty() {
                // SAFETY: the headers point to buffers that this struct owns, and their number is given.
                #[allow(unsafe_code)]
                let sent = unsafe {
                    libc::sendmmsg(
                        wire.socket.as_raw_fd(),
                        rest.as_mut_ptr(),
                        rest.len() as u32,
                        0,
                    )
                };
                match Errno::result(sent) {
                    Ok(sent) => rest = &mut rest[sent as usize..],
                    Err(Errno::EINTR) => {}
                    Err(error) => panic!("sending a burst: {error}"),
                }
            }
        }
        start.elapsed()
    }
}

/// Packets that some processor has thrown away because its queue was full: they were sent and not judged.
pub fn overflows() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").expect("the queues' statistics");
    let dropped = |line: &str| {
        let field = line.split_whitespace().nth(1).expect("the second column");
        u64::from_str_radix(field, 16).expect("a number")
    };
    text.lines().map(dropped).sum()
}
