//! One dump of the tracked flows, and labels taken off those that carry them while it goes on.
//!
//! The kernel filters a dump by mark, status and tuple, and not by label (`ctnetlink_alloc_filter` in
//! `net/netfilter/nf_conntrack_netlink.c`), so all flows are read. The dump and the changes have a socket each, so that
//! memory holds one part of the dump, however many flows there are. A changed flow does not restart the dump.

use crate::netfilter::flows::{Write, number};
use crate::netfilter::netlink::{NetlinkError, Reader, of_family};
use netlink_bindings::conntrack::{Nfgenmsg, Request};
use parking_lot::MutexGuard;

/// Whether labels may still be taken off, which holds while the guard lives.
pub(super) type Permit<'a> = dyn Fn() -> Option<MutexGuard<'a, ()>> + 'a;

/// The flows, and what takes labels off them.
pub(super) trait Carriers: Send {
    /// Looks at all flows once, and takes these labels off those that carry any, as long as there is a permit.
    fn sweep(&mut self, bits: u128, permit: &Permit<'_>) -> Result<Swept, NetlinkError>;
}

/// What one look at all flows has shown.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// The labels that some flow carried.
    pub(super) found: u128,
    /// How many flows carried any.
    pub(super) flows: usize,
    /// Why the kernel did not take labels off: its first refusal.
    pub(super) refusal: Option<NetlinkError>,
}

/// The kernel's, of the network namespace of the thread that sweeps first.
#[derive(Default)]
pub(super) struct KernelFlows(Option<Sockets>);

struct Sockets {
    reads: Reader,
    writes: Reader,
}

/// About how many bytes are sent at once, some 290 flows.
const PART_BYTES: usize = 32 * 1024;

/// `CTA_TUPLE_ORIG`, `CTA_ZONE`, `CTA_LABELS` and `CTA_LABELS_MASK` of `linux/netfilter/nfnetlink_conntrack.h`.
const TUPLE_ORIG: u16 = 1;
const ZONE: u16 = 18;
const LABELS: u16 = 22;
const LABELS_MASK: u16 = 23;

/// The kind without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND: u16 = 0x3fff;

impl Carriers for KernelFlows {
    fn sweep(&mut self, bits: u128, permit: &Permit<'_>) -> Result<Swept, NetlinkError> {
        let Sockets { reads, writes } = match &mut self.0 {
            Some(sockets) => sockets,
            none => none.insert(Sockets {
                reads: Reader::netfilter()?,
                writes: Reader::netfilter()?,
            }),
        };
        let mut swept = Swept::default();
        let mut part = Vec::with_capacity(PART_BYTES + 1024);
        let mut message = Vec::new();
        let send = |part: &mut Vec<u8>, swept: &mut Swept| {
            if !part.is_empty()
                && let Some(_permitted) = permit()
                && let Err(error) = writes.tell(part)
            {
                swept.refusal.get_or_insert(error);
            }
            part.clear();
        };
        let request = Request::new().op_get_dump(&Nfgenmsg::default());
        let every: Vec<()> = reads.dump(&request, |(header, flow)| {
            let carried = bits & without(&mut message, header.nfgen_family, flow.get_buf(), bits);
            if carried != 0 {
                swept.found |= carried;
                swept.flows += 1;
                if let Err(error) = writes.append(
                    &mut part,
                    &Write {
                        flags: 0,
                        message: &message,
                    },
                ) {
                    swept.refusal.get_or_insert(error);
                }
                if part.len() >= PART_BYTES {
                    send(&mut part, &mut swept);
                }
            }
            None
        })?;
        drop(every);
        send(&mut part, &mut swept);
        Ok(swept)
    }
}

/// The labels of a flow with these attributes. If any are of `bits`, the message that takes those off; the flow is
/// named exactly as the kernel named it.
fn without(message: &mut Vec<u8>, family: u8, attributes: &[u8], bits: u128) -> u128 {
    let (mut tuple, mut zone, mut labels) = (&[][..], &[][..], 0);
    let mut rest = attributes;
    while let Some((&[length, high, kind, flags], _)) = rest.split_first_chunk() {
        let whole = usize::from(u16::from_ne_bytes([length, high]));
        let Some(attribute) = rest.get(..whole).filter(|_| whole >= 4) else {
            break;
        };
        match u16::from_ne_bytes([kind, flags]) & KIND {
            TUPLE_ORIG => tuple = attribute,
            ZONE => zone = attribute,
            LABELS => labels = number(&attribute[4..]),
            _ => {}
        }
        rest = rest.get(whole.next_multiple_of(4)..).unwrap_or_default();
    }
    if labels & bits != 0 {
        message.clear();
        message.extend(of_family(family).as_slice());
        for attribute in [tuple, zone] {
            message.extend(attribute);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        for (kind, value) in [(LABELS, 0), (LABELS_MASK, bits)] {
            message.extend(20_u16.to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend(value.to_ne_bytes());
        }
    }
    labels
}
