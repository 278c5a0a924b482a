//! Which flows are looked at when a port is named: by which interface, from whom, and to which of its addresses.

use crate::cli::options::port;
use crate::definition::closest;
use crate::insight::diagnose::AskedPort;
use crate::insight::lint::host::reached_by;
use crate::insight::listed::FlowKind;
use crate::netfilter::links::{Link, default_route_links};
use crate::netfilter::ways::Ways;
use crate::policy::{AddressSet, Interval, Policy};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked about.
#[derive(Debug, Args)]
pub struct FlowOptions {
    /// The destination port
    #[arg(value_parser = port)]
    port: u16,
    /// tcp or udp
    #[arg(long, value_enum, default_value = "tcp")]
    protocol: PortProtocol,
    /// Who should reach it; by default somebody whom the groups let in, if there is one
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The address of this host that they ask for; by default the first one of the interface
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// The interface; by default the one by which that address, or everybody, is reached
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PortProtocol {
    Tcp,
    Udp,
}

/// The interface that is meant: the one that is named, the one by which that address is reached, or that of the default
/// route.
pub fn interface<'l>(
    arguments: &FlowOptions,
    policy: &Policy,
    links: &'l [Link],
) -> anyhow::Result<&'l Link> {
    let named = |name: &str| links.iter().find(|link| link.name == name);
    if let Some(name) = &arguments.interface {
        return named(name).with_context(|| {
            let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
            let meant = closest(name, &names).map(|meant| format!(": did you mean `{meant}`?"));
            format!(
                "this host has no interface {name}{}",
                meant.unwrap_or_default()
            )
        });
    }
    if let Some(from) = arguments.from {
        let mut ways = Ways::look()?;
        let way = ways.to(from).and_then(named);
        return way.with_context(|| {
            format!("no route of this host leads to {from}: name the interface with --interface")
        });
    }
    if let Some(to) = arguments.to {
        let has = |link: &&Link| link.addresses.contains(&to);
        let link = links.iter().find(has);
        return link.with_context(|| format!("{to} is no address of this host"));
    }
    let default = default_route_links().unwrap_or_default();
    let bound = |link: &&Link| policy.binding(&link.name).is_some();
    let mut of_default = links.iter().filter(|link| default.contains(&link.index));
    let any = || links.iter().find(|link| bound(link));
    of_default
        .find(bound)
        .or_else(any)
        .context("no interface of this host is bound: name one with --interface")
}

/// One flow for each family that can be meant.
pub fn flows(
    arguments: &FlowOptions,
    policy: &Policy,
    link: &Link,
    links: &[Link],
) -> anyhow::Result<Vec<AskedPort>> {
    let (name, kind) = match arguments.protocol {
        PortProtocol::Tcp => ("tcp", FlowKind::Tcp),
        PortProtocol::Udp => ("udp", FlowKind::Udp),
    };
    let open = match policy.binding(&link.name) {
        Some(binding) => reached_by(policy, binding, kind, arguments.port),
        None => Some(AddressSet::any()),
    };
    let own: Vec<IpAddr> = links
        .iter()
        .flat_map(|link| link.addresses.clone())
        .collect();
    if let Some(to) = arguments.to.filter(|to| !own.contains(to)) {
        bail!("{to} is no address of this host");
    }
    let local = |v4: bool| {
        if let Some(to) = arguments.to {
            return Some(to).filter(|to| to.is_ipv4() == v4);
        }
        let usable = |address: &&IpAddr| match address {
            IpAddr::V4(_) => v4,
            IpAddr::V6(address) => !v4 && !address.is_unicast_link_local(),
        };
        link.addresses.iter().find(usable).copied()
    };
    let flow = |remote: IpAddr| {
        Some(AskedPort {
            interface: link.name.clone(),
            protocol: name.to_owned(),
            port: arguments.port,
            remote,
            local: local(remote.is_ipv4())?,
        })
    };
    let flows: Vec<AskedPort> = match arguments.from {
        Some(from) => flow(from).into_iter().collect(),
        None => {
            let families = [true, false].into_iter();
            let someone = families
                .filter_map(|v4| somebody(open.as_ref(), v4, &own))
                .filter_map(flow);
            let someone: Vec<AskedPort> = someone.collect();
            let anybody = || [true, false].into_iter().map(stranger).filter_map(flow);
            if someone.is_empty() {
                anybody().collect()
            } else {
                someone
            }
        }
    };
    if flows.is_empty() {
        match arguments.to.zip(arguments.from) {
            Some((to, from)) => bail!("{from} and {to} are not of one family"),
            None => bail!("{} has no address of that family", link.name),
        }
    }
    Ok(flows)
}

/// An address of the world that is nobody's.
fn stranger(v4: bool) -> IpAddr {
    match v4 {
        true => Ipv4Addr::new(198, 51, 100, 1).into(),
        false => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(),
    }
}

/// Somebody whom the groups let in.
fn somebody(open: Option<&AddressSet>, v4: bool, own: &[IpAddr]) -> Option<IpAddr> {
    let open = open?;
    if open.contains(stranger(v4)) {
        return Some(stranger(v4));
    }
    let usable = |address: &IpAddr| {
        let special = address.is_multicast() || address.is_loopback() || address.is_unspecified();
        !special && !own.contains(address)
    };
    // The first few of each range are enough: an interface has few addresses of its own. A network's own first address
    // is nobody's.
    let skipped = usize::from;
    let v4s = open
        .v4()
        .iter()
        .filter(|_| v4)
        .flat_map(|Interval { first, last }| {
            (*first..=*last)
                .skip(skipped(last - first > 1))
                .take(4)
                .map(|number| IpAddr::from(Ipv4Addr::from(number)))
        });
    let v6s = open
        .v6()
        .iter()
        .filter(|_| !v4)
        .flat_map(|Interval { first, last }| {
            (*first..=*last)
                .skip(skipped(last - first > 1))
                .take(4)
                .map(|number| IpAddr::from(Ipv6Addr::from(number)))
        });
    v4s.chain(v6s).find(usable)
}
