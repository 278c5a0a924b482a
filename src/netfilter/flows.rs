//! The tracked flows, one after the other.

use super::netlink::{NetlinkError, Reader};
use netlink_bindings::conntrack::{
    ConntrackAttrs, IterableConntrackAttrs, IterableTupleAttrs, Nfgenmsg, Request, TupleAttrs,
    TupleIpAttrs, TupleProtoAttrs,
};
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use nix::libc;
use std::net::IpAddr;

/// One side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The protocol's number.
    pub protocol: u8,
    /// Source and destination port; 0 where the protocol has none.
    pub ports: [u16; 2],
}

/// A tracked flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// What the packet looked like that opened it.
    pub original: Tuple,
    /// What an answer looks like when it arrives.
    pub reply: Tuple,
    /// Its labels, label 0 the lowest bit.
    pub labels: u128,
}

/// Takes each tracked flow of the network namespace; see [`Reader::each`]. Reading 100,000 takes about 150 ms.
///
/// # Errors
///
/// A kernel without connection tracking over netlink refuses.
pub fn each_flow(reader: &Reader, mut take: impl FnMut(Option<Flow>)) -> Result<(), NetlinkError> {
    let request = Request::new().op_get_dump(&Nfgenmsg::default());
    reader.each(&request, |reply| match reply {
        None => take(None),
        Some((_, flow)) => {
            if let Some(flow) = Flow::read(&flow) {
                take(Some(flow));
            }
        }
    })
}

impl Flow {
    fn read(attributes: &IterableConntrackAttrs<'_>) -> Option<Self> {
        let (mut original, mut reply, mut labels) = (None, None, 0);
        for attribute in (*attributes).flatten() {
            match attribute {
                ConntrackAttrs::TupleOrig(of) => original = Tuple::read(of),
                ConntrackAttrs::TupleReply(of) => reply = Tuple::read(of),
                ConntrackAttrs::Labels(bytes) => labels = number(bytes),
                _ => {}
            }
        }
        Some(Flow {
            original: original?,
            reply: reply?,
            labels,
        })
    }
}

impl Tuple {
    fn read(attributes: IterableTupleAttrs<'_>) -> Option<Self> {
        let (mut source, mut destination, mut protocol, mut ports) = (None, None, None, [0, 0]);
        for attribute in attributes.flatten() {
            match attribute {
                TupleAttrs::TupleIp(addresses) => {
                    for address in addresses.flatten() {
                        match address {
                            TupleIpAttrs::IpV4Src(address) => source = Some(address.into()),
                            TupleIpAttrs::IpV4Dst(address) => destination = Some(address.into()),
                            TupleIpAttrs::IpV6Src(address) => source = Some(address.into()),
                            TupleIpAttrs::IpV6Dst(address) => destination = Some(address.into()),
                        }
                    }
                }
                TupleAttrs::TupleProto(fields) => {
                    for field in fields.flatten() {
                        match field {
                            TupleProtoAttrs::ProtoNum(number) => protocol = Some(number),
                            TupleProtoAttrs::ProtoSrcPort(port) => ports[0] = port,
                            TupleProtoAttrs::ProtoDstPort(port) => ports[1] = port,
                            _ => {}
                        }
                    }
                }
                TupleAttrs::TupleZone(_) => {}
            }
        }
        Some(Tuple {
            source: source?,
            destination: destination?,
            protocol: protocol?,
            ports,
        })
    }
}

/// `IPCTNL_MSG_CT_NEW`, which the kernel's specification of the family does not have yet: a flow to be made, or
/// changed.
pub(super) struct Write<'m> {
    /// What may be there before.
    pub flags: u16,
    /// Header and attributes.
    pub message: &'m [u8],
}

impl NetlinkRequest for Write<'_> {
    type ReplyType<'buffer> = ();

    fn protocol(&self) -> Protocol {
        // NFNL_SUBSYS_CTNETLINK in the high byte, IPCTNL_MSG_CT_NEW in the low one.
        Protocol::Raw {
            protonum: libc::NETLINK_NETFILTER as u16,
            request_type: 0x0100,
        }
    }

    fn flags(&self) -> u16 {
        self.flags
    }

    fn payload(&self) -> &[u8] {
        self.message
    }

    fn decode_reply(_: &[u8]) {}
}

pub(super) fn number(bytes: &[u8]) -> u128 {
    let mut all = [0; 16];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u128::from_ne_bytes(all)
}
