//! A family of addresses, as diagrams are over one.

use super::clause::Clause;
use crate::policy::{AddressRange, Interval, Point, Service};
use crate::ruleset::map::Prefixed;
use std::sync::Arc;

/// A family: which addresses of a clause are meant, and which ICMP.
pub trait DiagramFamily: Point + Prefixed {
    /// The clause's addresses of this family.
    fn addresses(clause: &Clause) -> &Arc<[Interval<Self>]>;
    /// The length of the prefix that an interval is, if it is one network.
    fn prefix_length(interval: Interval<Self>) -> Option<u8>;
    /// Its ICMP.
    const ICMP: Service;
}

macro_rules! family {
    ($number:ty, $family:ident, $addresses:ident, $icmp:ident) => {
        impl DiagramFamily for $number {
            fn addresses(clause: &Clause) -> &Arc<[Interval<Self>]> {
                &clause.$addresses
            }
            fn prefix_length(interval: Interval<Self>) -> Option<u8> {
                AddressRange::$family(interval).prefix_length()
            }
            const ICMP: Service = Service::$icmp;
        }
    };
}
family!(u32, V4, v4, Icmp);
family!(u128, V6, v6, Icmpv6);
