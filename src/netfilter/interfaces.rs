//! What is wrong with the interfaces that a definition binds, on this host (spec 1, Interfaces). Pure.

use super::links::Link;

/// A sentence for each thing that makes a binding of the names `bound` (exact, or globs ending in `*`) useless or incomplete:
///
/// - a name that matches no interface;
/// - an interface of the default route (`default_route`, indexes) that no name matches;
/// - a bound interface that is a port of a bridge, bond or team, unless only a glob binds it and its master is bound too;
/// - an interface on a bound one (macvlan, ipvlan, VLAN) that is not bound itself.
///
/// Children that were moved into another network namespace cannot be seen from here.
#[must_use]
pub fn interface_warnings(bound: &[&str], links: &[Link], default_route: &[u32]) -> Vec<String> {
    let mut warnings: Vec<String> = bound
        .iter()
        .filter_map(|name| unmatched(name, links))
        .collect();
    for link in links {
        if is_bound(bound, link) {
            warnings.extend(port(bound, link, links));
            warnings.extend(children(bound, link, links));
        } else if default_route.contains(&link.index) {
            warnings.push(format!(
                "the default route leaves by {}, which no security group is bound to",
                link.name
            ));
        }
    }
    warnings
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

fn unmatched(name: &str, links: &[Link]) -> Option<String> {
    if links.iter().any(|link| matches(name, &link.name)) {
        return None;
    }
    Some(match name.strip_suffix('*') {
        Some(_) => format!("no interface of this host matches {name}"),
        None => format!("this host has no interface {name}"),
    })
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
    use super::interface_warnings as warnings;
    use crate::netfilter::links::Link;

    const NONE: [&str; 0] = [];

    fn link(index: u32, name: &str, kind: &str) -> Link {
        Link {
            index,
            name: name.into(),
            kind: (!kind.is_empty()).then(|| kind.into()),
            master: None,
            parent: None,
            has_xdp: false,
            addresses: vec![],
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
                "no interface of this host matches wg*",
                "no interface of this host matches l*"
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
