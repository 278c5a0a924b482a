//! One packet as the kernel sends it.

use crate::netfilter::netlink::of_netfilter;
use nix::libc;

/// `linux/netfilter/nfnetlink_log.h`.
const NFULNL_MSG_PACKET: u16 = 0;
const NFULA_PACKET_HDR: u16 = 1;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_IFINDEX_OUTDEV: u16 = 5;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
const NFULA_SEQ: u16 = 12;

/// A packet that was refused, or would have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told<'d> {
    /// What the rule logs: `sg-web/in/3`, `observe default`.
    pub prefix: &'d str,
    /// The hook, `NF_INET_…`.
    pub hook: u8,
    /// The number of the interface that it came by, where it came by one.
    pub entered: Option<u32>,
    /// The number of the interface that it leaves by.
    pub leaves: Option<u32>,
    /// The beginning of the packet, from its IP header.
    pub packet: &'d [u8],
    /// Its number: one more than that of the packet before.
    pub number: Option<u32>,
}

/// The packets of a datagram. What is damaged ends it.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Told<'_>> {
    const PACKET: u16 = (libc::NFNL_SUBSYS_ULOG as u16) << 8 | NFULNL_MSG_PACKET;
    let packets = of_netfilter(datagram).filter(|(kind, ..)| *kind == PACKET);
    packets.map(|(_, _, attributes)| told(attributes))
}

/// A number in the network's order.
pub(in crate::netfilter) fn network(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn told(attributes: &[u8]) -> Told<'_> {
    let mut told = Told::default();
    for (kind, value) in self::attributes(attributes) {
        match kind {
            NFULA_PREFIX => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                told.prefix = text.trim_end_matches('\0');
            }
            NFULA_PACKET_HDR => told.hook = value.get(2).copied().unwrap_or_default(),
            NFULA_IFINDEX_INDEV => told.entered = network(value),
            NFULA_IFINDEX_OUTDEV => told.leaves = network(value),
            NFULA_PAYLOAD => told.packet = value,
            NFULA_SEQ => told.number = network(value),
            _ => {}
        }
    }
    told
}

/// The attributes of a message, each with its kind. What is damaged ends it.
pub(in crate::netfilter) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_bindings::utils::{align, push_header};

    /// A netlink header, and that of nfnetlink behind it.
    const HEADERS: usize = 16 + 4;

    fn with(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS];
        for (number, value) in attributes {
            push_header(&mut bytes, *number, value.len() as u16);
            bytes.extend(*value);
            align(&mut bytes);
        }
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&(kind | 4 << 8).to_ne_bytes());
        bytes
    }

    fn datagram() -> Vec<u8> {
        let packet = [
            (NFULA_PACKET_HDR, &[8, 0, 0, 0][..]),
            (NFULA_PREFIX, b"sg-web/in/3\0"),
            (NFULA_IFINDEX_INDEV, &[0, 0, 0, 7]),
            (NFULA_PAYLOAD, &[0x45, 1, 2]),
            (NFULA_SEQ, &[0, 0, 1, 0]),
        ];
        let other = with(1, &[]);
        let last = with(NFULNL_MSG_PACKET, &[(NFULA_PREFIX, b"observe default\0")]);
        [with(NFULNL_MSG_PACKET, &packet), other, last].concat()
    }

    #[test]
    fn packets_of_a_datagram() {
        let datagram = datagram();
        let told: Vec<Told> = messages(&datagram).collect();
        let first = Told {
            prefix: "sg-web/in/3",
            hook: 0,
            entered: Some(7),
            leaves: None,
            packet: &[0x45, 1, 2],
            number: Some(256),
        };
        assert_eq!(told.len(), 2, "what is no packet is passed over");
        assert_eq!(told[0], first);
        assert_eq!(told[1].prefix, "observe default");
    }

    #[test]
    fn damaged_datagrams_are_read_without_panic() {
        let whole = datagram();
        for at in 0..whole.len() {
            assert!(messages(&whole[..at]).count() < 2 || at == whole.len());
            for value in [0, 1, 3, 255] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                assert!(messages(&damaged).count() <= 3);
            }
        }
    }
}
