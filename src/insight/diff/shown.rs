//! A change as people read it, and as programs do.

use super::FlowChange;
use crate::insight::listed::FlowKind;
use crate::policy::interval::without;
use crate::policy::{AddressRange, AddressSet, Interval, PortSet};
use serde_json::{Value, json};

/// So many addresses of a row are shown to people.
const SHOWN: usize = 4;

impl FlowChange {
    /// `inbound`, `tcp,udp`, `all but 22`, `0.0.0.0/0 but 10.0.0.0/8`: what a table shows.
    pub fn cells(&self) -> [String; 5] {
        [
            self.interfaces.join(", "),
            self.direction.to_string(),
            self.protocols().join(", "),
            self.ports_in_words(),
            self.remotes_in_words(),
        ]
    }

    /// The protocols by name; `all` if it is about every one.
    pub fn protocols(&self) -> Vec<&'static str> {
        if self.kinds.len() == FlowKind::ALL.len() {
            return vec!["all"];
        }
        let v4 = self.remotes.iter().any(AddressRange::is_v4);
        let v6 = self.remotes.iter().any(|range| !range.is_v4());
        let names = self.kinds.iter().flat_map(|kind| match kind {
            FlowKind::Tcp => vec!["tcp"],
            FlowKind::Udp => vec!["udp"],
            FlowKind::Icmp if v4 && v6 => vec!["icmp", "icmpv6"],
            FlowKind::Icmp if v6 => vec!["icmpv6"],
            FlowKind::Icmp => vec!["icmp"],
            FlowKind::Bare(protocol) => protocol.name().into_iter().collect(),
            FlowKind::Other => vec!["others"],
        });
        names.collect()
    }

    fn ports_in_words(&self) -> String {
        if !self.kinds.iter().any(|kind| kind.has_ports()) {
            return "-".to_owned();
        }
        let Some(ports) = PortSet::new(self.ports.clone()) else {
            return String::new();
        };
        let others = PortSet::all().without(&ports);
        match others {
            Some(others) if others.intervals().len() < ports.intervals().len() => {
                format!("all but {others}")
            }
            _ => ports.to_string(),
        }
    }

    fn remotes_in_words(&self) -> String {
        let Some(set) = AddressSet::new(self.remotes.iter().copied()) else {
            return String::new();
        };
        if set == AddressSet::any() {
            return "any".to_owned();
        }
        let any = AddressSet::any();
        let families = [
            family(set.v4(), without(any.v4(), set.v4()), AddressRange::V4),
            family(set.v6(), without(any.v6(), set.v6()), AddressRange::V6),
        ];
        families
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The whole of it.
    pub fn to_json(&self) -> Value {
        let ports = self.kinds.iter().any(|kind| kind.has_ports());
        let ports = ports.then(|| PortSet::new(self.ports.clone()).map(|ports| ports.to_string()));
        let remotes: Vec<String> = self.remotes.iter().map(ToString::to_string).collect();
        json!({
            "change": if self.opens { "opens" } else { "closes" },
            "interfaces": self.interfaces,
            "direction": self.direction,
            "protocols": self.protocols(),
            "ports": ports,
            "remotes": remotes,
        })
    }
}

/// One family in words: what is in it, or what is not, whichever is shorter.
fn family<T: Copy>(
    own: &[Interval<T>],
    others: Vec<Interval<T>>,
    range: impl Fn(Interval<T>) -> AddressRange,
) -> Option<String> {
    if own.is_empty() {
        return None;
    }
    let words = |list: &[Interval<T>]| {
        let shown = list.iter().take(SHOWN).map(|each| range(*each).to_string());
        let more = list.len().saturating_sub(SHOWN);
        let more = (more > 0).then(|| format!("{more} more"));
        shown.chain(more).collect::<Vec<_>>().join(", ")
    };
    let whole = match range(own[0]).is_v4() {
        true => "0.0.0.0/0",
        false => "::/0",
    };
    Some(match others.len() {
        0 => whole.to_owned(),
        fewer if fewer < own.len() || (fewer == 1 && range(own[0]).prefix_length().is_none()) => {
            format!("{whole} but {}", words(&others))
        }
        _ => words(own),
    })
}
