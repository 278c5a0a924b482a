//! What passes this host without meeting our hooks, for `status` (spec 2, what is not seen).
//!
//! | file | what it looks at |
//! |---|---|
//! | `packet_sockets` | programs that read and write below IP |
//! | `ruleset` | nftables: flow offload, and rules that take state away, those of iptables-nft among them |
//! | `legacy` | the same rules of iptables-legacy |
//!
//! Not looked at at all: tc redirects, and children of an interface that live in another network namespace.

mod legacy;
mod packet_sockets;
mod ruleset;
mod spot;

pub use legacy::{find as legacy_spots, is_for_root as legacy_is_for_root};
pub use spot::BlindSpot;

use super::links::Link;
use std::fs;
use std::io::ErrorKind;

/// Everything found but what [`legacy_spots`] finds, in a fixed order. Never fails: what could not be looked at is an entry of its own, so an empty answer means that
/// all of it was looked at.
#[must_use]
pub fn blind_spots(links: &[Link]) -> Vec<BlindSpot> {
    let mut spots = packet_sockets::find();
    spots.extend(below_ip(links));
    spots.extend(bridges(links));
    spots.extend(ruleset::find());
    spots
}

/// XDP programs and interfaces that stand on others.
fn below_ip(links: &[Link]) -> Vec<BlindSpot> {
    let programs = links.iter().filter(|link| link.has_xdp);
    let programs = programs.map(|link| BlindSpot::Xdp {
        interface: link.name.clone(),
    });
    let children = links
        .iter()
        .filter(|link| link.is_child())
        .filter_map(|child| {
            let parent = links
                .iter()
                .find(|other| Some(other.index) == child.parent)?;
            Some(BlindSpot::Child {
                parent: parent.name.clone(),
                child: child.name.clone(),
                link_kind: child.kind.clone()?,
            })
        });
    programs.chain(children).collect()
}

fn bridges(links: &[Link]) -> Vec<BlindSpot> {
    let mut spots = Vec::new();
    for bridge in links
        .iter()
        .filter(|link| link.kind.as_deref() == Some("bridge"))
    {
        let ports: Vec<String> = links
            .iter()
            .filter(|link| link.master == Some(bridge.index))
            .map(|link| link.name.clone())
            .collect();
        if ports.is_empty() {
            continue;
        }
        match unfiltered_families() {
            Ok(families) if families.is_empty() => {}
            Ok(families) => spots.push(BlindSpot::Bridge {
                bridge: bridge.name.clone(),
                ports,
                families,
            }),
            Err(why) => spots.push(BlindSpot::Unknown {
                what: "whether bridged frames are filtered",
                why,
            }),
        }
    }
    spots
}

/// The families for which br_netfilter is off in this network namespace. Without the module the files are missing.
fn unfiltered_families() -> Result<Vec<&'static str>, String> {
    let mut families = Vec::new();
    for (family, key) in [
        ("IPv4", "bridge-nf-call-iptables"),
        ("IPv6", "bridge-nf-call-ip6tables"),
    ] {
        match fs::read_to_string(format!("/proc/sys/net/bridge/{key}")) {
            Ok(value) if value.trim() != "0" => {}
            Ok(_) => families.push(family),
            Err(error) if error.kind() == ErrorKind::NotFound => families.push(family),
            Err(error) => return Err(format!("net.bridge.{key}: {error}")),
        }
    }
    Ok(families)
}

#[cfg(test)]
mod tests {
    use super::{BlindSpot, below_ip};
    use crate::netfilter::links::Link;

    #[test]
    fn programs_and_children() {
        let link = |index, name: &str, kind: Option<&str>, parent| Link {
            index,
            name: name.into(),
            kind: kind.map(str::to_owned),
            parent,
            has_xdp: name == "eth1",
            ..Link::default()
        };
        let links = [
            link(1, "eth0", None, None),
            link(2, "eth1", None, None),
            link(3, "mac0", Some("macvlan"), Some(1)),
            link(4, "veth0", Some("veth"), Some(5)),
            link(5, "veth1", Some("veth"), Some(4)),
        ];
        let sentences: Vec<String> = below_ip(&links).iter().map(BlindSpot::to_string).collect();
        assert_eq!(
            sentences,
            [
                "an XDP program on eth1 handles packets before the rules see them",
                "packets of mac0 (macvlan) do not meet the rules of eth0, which it stands on"
            ]
        );
    }

    #[test]
    fn one_and_many() {
        let sockets = |count| {
            BlindSpot::PacketSockets {
                count,
                processes: vec![],
            }
            .to_string()
        };
        assert_eq!(
            sockets(1),
            "1 packet socket reads and writes past the rules"
        );
        assert_eq!(sockets(2), "2 packet sockets read and write past the rules");
    }

    #[test]
    fn as_json() {
        let spot = BlindSpot::Flowtable {
            table: "inet filter".into(),
            name: "fast".into(),
        };
        let json = serde_json::to_value(spot).ok();
        assert_eq!(
            json,
            Some(
                serde_json::json!({ "kind": "flowtable", "table": "inet filter", "name": "fast" })
            )
        );
    }
}
