//! What is wrong with the interfaces that a definition binds, on this host (spec 1, Interfaces). Pure.

use super::links::Link;
use std::net::IpAddr;

/// An interface as a definition binds it.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// Its name, or a glob ending in `*`.
    pub name: &'a str,
    /// Its own addresses, as far as they are listed.
    pub addresses: &'a [IpAddr],
}

/// Why what is written may not be what this host needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// A sentence for people.
    pub text: String,
    /// Whether something is not filtered as it is written: the service is degraded.
    pub degrades: bool,
}

impl Doubt {
    /// Something is not filtered as it is written.
    #[must_use]
    pub fn degrading(text: String) -> Self {
        Doubt {
            text,
            degrades: true,
        }
    }

    fn note(text: String) -> Self {
        Doubt {
            text,
            degrades: false,
        }
    }
}

/// A doubt for each thing that makes a binding useless or incomplete:
///
/// - a name that matches no interface; a glob may wait for one, which degrades nothing;
/// - an interface of the default route (`default_route`, indexes) that no name matches;
/// - a bound interface that is a port of a bridge, bond or team, unless only a glob binds it and its master is bound too;
/// - an interface on a bound one (macvlan, ipvlan, VLAN) that is not bound itself;
/// - an address that is not listed, where others of its family are: groups that name this interface's groups as a source
///   miss it. That degrades nothing here.
///
/// Children that were moved into another network namespace cannot be seen from here.
#[must_use]
pub fn doubts(bound: &[Bound], links: &[Link], default_route: &[u32]) -> Vec<Doubt> {
    let names: Vec<&str> = bound.iter().map(|bound| bound.name).collect();
    let mut doubts: Vec<Doubt> = names
        .iter()
        .filter_map(|name| unmatched(name, links))
        .collect();
    let mut degrading = Vec::new();
    for link in links {
        // The most specific name comes first.
        if let Some(binding) = bound.iter().find(|bound| matches(bound.name, &link.name)) {
            degrading.extend(port(&names, link, links));
            degrading.extend(children(&names, link, links));
            doubts.extend(unlisted(binding, link).map(Doubt::note));
        } else if default_route.contains(&link.index) {
            degrading.push(format!(
                "the default route leaves by {}, which no security group is bound to",
                link.name
            ));
        }
    }
    doubts.extend(degrading.into_iter().map(Doubt::degrading));
    doubts
}

/// Addresses of an interface beside those that the definition lists.
fn unlisted(bound: &Bound, link: &Link) -> Option<String> {
    let listed = bound.addresses;
    let is_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let is_asked = |address: &&IpAddr| {
        let alike = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
        !is_local(address) && listed.iter().any(alike) && !listed.contains(address)
    };
    let unlisted: Vec<String> = link
        .addresses
        .iter()
        .filter(is_asked)
        .map(ToString::to_string)
        .collect();
    if unlisted.is_empty() {
        return None;
    }
    let (name, addresses) = (&link.name, unlisted.join(", "));
    let has_one = listed.iter().any(|each| link.addresses.contains(each));
    let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
    Some(match has_one {
        true => format!(
            "{name} has {addresses}, which the definition does not list: groups that name its groups as a source miss it"
        ),
        false => format!(
            "{name} has {addresses}, and none of those that the definition lists ({}): is it the definition of another host?",
            listed.join(", ")
        ),
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start) && name != "lo",
        None => pattern == name,
    }
}

fn is_bound(bound: &[&str], link: &Link) -> bool {
    bound.iter().any(|pattern| matches(pattern, &link.name))
}

fn unmatched(name: &str, links: &[Link]) -> Option<Doubt> {
    if links.iter().any(|link| matches(name, &link.name)) {
        return None;
    }
    if name.ends_with('*') {
        return Some(Doubt::note(format!(
            "no interface of this host matches {name}"
        )));
    }
    let has_name = |link: &&Link| link.other_names.iter().any(|other| other == name);
    let hint = links.iter().find(has_name).map(|link| {
        format!(
            ": {name} is another name of {0}, bind {0} instead",
            link.name
        )
    });
    Some(Doubt::degrading(format!(
        "this host has no interface {name}{}",
        hint.unwrap_or_default()
    )))
}

fn port(bound: &[&str], link: &Link, links: &[Link]) -> Option<String> {
    let master = links
        .iter()
        .find(|other| Some(other.index) == link.master)?;
    let kind = master
        .kind
        .as_deref()
        .filter(|kind| ["bridge", "bond", "team"].contains(kind))?;
    // A glob such as `e*` takes the ports along; nothing is missing when it takes the master too.
    if !bound.contains(&link.name.as_str()) && is_bound(bound, master) {
        return None;
    }
    Some(format!(
        "{0} is a port of the {kind} {1}: its packets do not pass {0}, bind {1} instead",
        link.name, master.name
    ))
}

fn children<'a>(bound: &[&str], link: &'a Link, links: &'a [Link]) -> Vec<String> {
    links
        .iter()
        .filter(|child| {
            child.is_child() && child.parent == Some(link.index) && !is_bound(bound, child)
        })
        .map(|child| {
            let kind = child.kind.as_deref().unwrap_or_default();
            format!(
                "{0} ({kind}) stands on {1}: its packets do not pass {1}, bind {0}",
                child.name, link.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Bound, Doubt, doubts};
    use crate::netfilter::links::Link;
    use std::net::IpAddr;

    /// The sentences; behind `note: ` what degrades nothing.
    fn warnings(bound: &[&str], links: &[Link], default_route: &[u32]) -> Vec<String> {
        let addresses = &[];
        let bound: Vec<Bound> = bound.iter().map(|name| Bound { name, addresses }).collect();
        said(doubts(&bound, links, default_route))
    }

    fn said(doubts: Vec<Doubt>) -> Vec<String> {
        let said = |doubt: Doubt| match doubt.degrades {
            true => doubt.text,
            false => format!("note: {}", doubt.text),
        };
        doubts.into_iter().map(said).collect()
    }

    const NONE: [&str; 0] = [];

    fn link(index: u32, name: &str, kind: &str) -> Link {
        Link {
            index,
            name: name.into(),
            kind: (!kind.is_empty()).then(|| kind.into()),
            ..Link::default()
        }
    }

    fn port_of(master: u32, link: Link) -> Link {
        Link {
            master: Some(master),
            ..link
        }
    }

    fn on(parent: u32, link: Link) -> Link {
        Link {
            parent: Some(parent),
            ..link
        }
    }

    #[test]
    fn all_is_well() {
        let links = [
            link(1, "lo", ""),
            link(2, "eth0", ""),
            on(5, link(4, "veth0", "veth")),
            on(4, link(5, "veth1", "veth")),
        ];
        assert_eq!(warnings(&["eth0", "veth*"], &links, &[2]), NONE);
    }

    #[test]
    fn names_that_match_nothing() {
        let links = [link(1, "lo", ""), link(2, "eth0", "")];
        assert_eq!(
            warnings(&["eth0", "eth1", "wg*", "l*"], &links, &[]),
            [
                "this host has no interface eth1",
                "note: no interface of this host matches wg*",
                "note: no interface of this host matches l*"
            ]
        );
    }

    #[test]
    fn another_name_of_an_interface() {
        let mut eth0 = link(2, "eth0", "");
        eth0.other_names = vec!["enp3s0".into()];
        assert_eq!(
            warnings(&["enp3s0"], &[eth0], &[]),
            [
                "this host has no interface enp3s0: enp3s0 is another name of eth0, bind eth0 instead"
            ]
        );
    }

    #[test]
    fn addresses_that_are_not_listed() {
        let mut eth0 = link(2, "eth0", "");
        let parsed = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        eth0.addresses = parsed(&["10.0.0.5", "10.0.0.6", "2001:db8::5", "fe80::5"]);
        let about = |listed: &[&str]| {
            let addresses = parsed(listed);
            let bound = Bound {
                name: "eth0",
                addresses: &addresses,
            };
            said(doubts(&[bound], std::slice::from_ref(&eth0), &[]))
        };
        assert_eq!(about(&[]), NONE);
        assert_eq!(about(&["10.0.0.5", "10.0.0.6"]), NONE, "no word on IPv6");
        assert_eq!(
            about(&["10.0.0.5"]),
            [
                "note: eth0 has 10.0.0.6, which the definition does not list: groups that name its groups as a source miss it"
            ]
        );
        assert_eq!(
            about(&["10.9.0.1", "2001:db8::5"]).len(),
            1,
            "one of the addresses is this host's"
        );
        assert_eq!(
            about(&["10.9.0.1"]),
            [
                "note: eth0 has 10.0.0.5, 10.0.0.6, and none of those that the definition lists (10.9.0.1): is it the definition of another host?"
            ]
        );
    }

    #[test]
    fn the_default_route_is_unbound() {
        let links = [link(1, "lo", ""), link(2, "eth0", ""), link(3, "eth1", "")];
        assert_eq!(
            warnings(&["eth0"], &links, &[3]),
            ["the default route leaves by eth1, which no security group is bound to"]
        );
        assert_eq!(warnings(&["eth*"], &links, &[2, 3]), NONE);
    }

    #[test]
    fn ports() {
        let links = [
            link(2, "br0", "bridge"),
            port_of(2, link(3, "eth0", "")),
            link(4, "red", "vrf"),
            port_of(4, link(5, "eth1", "")),
        ];
        let warning =
            "eth0 is a port of the bridge br0: its packets do not pass eth0, bind br0 instead";
        assert_eq!(warnings(&["eth0"], &links, &[]), [warning]);
        assert_eq!(warnings(&["eth0", "br0"], &links, &[]), [warning]);
        assert_eq!(warnings(&["eth*"], &links, &[]), [warning]);
        assert_eq!(warnings(&["eth*", "br0"], &links, &[]), NONE);
        // Packets of a VRF's port do pass it.
        assert_eq!(warnings(&["eth1"], &links, &[]), NONE);
    }

    #[test]
    fn children() {
        let links = [
            link(2, "eth0", ""),
            on(2, link(3, "eth0.7", "vlan")),
            on(2, link(4, "mac0", "macvlan")),
            on(2, link(5, "gre1", "gre")),
        ];
        assert_eq!(
            warnings(&["eth0"], &links, &[]),
            [
                "eth0.7 (vlan) stands on eth0: its packets do not pass eth0, bind eth0.7",
                "mac0 (macvlan) stands on eth0: its packets do not pass eth0, bind mac0"
            ]
        );
        // They are bound as well.
        assert_eq!(warnings(&["eth*", "mac0"], &links, &[]), NONE);
    }
}
