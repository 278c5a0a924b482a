//! What this host needs: its resolvers, time servers and gateways, and what listens on it. What cannot be read is not
//! there.

use crate::insight::lint::host::{HostNeeds, Listening, Server};
use crate::netfilter::links::{Link, default_gateways, links};
use crate::netfilter::listeners::{listeners, processes};
use crate::netfilter::ways::Ways;
use crate::policy::{Account, InstanceId};
use std::fs;
use std::net::IpAddr;

/// Where resolvers are written; systemd-resolved keeps those that it asks itself in the second.
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Where time servers are written, and whether in chrony's and ntpd's words.
const TIME_CONF: [(&str, bool); 5] = [
    ("/etc/chrony/chrony.conf", true),
    ("/etc/chrony.conf", true),
    ("/etc/ntp.conf", true),
    ("/etc/ntpsec/ntp.conf", true),
    ("/etc/systemd/timesyncd.conf", false),
];

/// Looks around on this host.
pub fn look() -> HostNeeds {
    let mut ways = Ways::look().ok();
    let mut server = |written: &str, place: &str| {
        let address: Option<IpAddr> = written.split('%').next().unwrap_or_default().parse().ok();
        let interface = address.and_then(|address| {
            let way = ways.as_mut().and_then(|ways| ways.to(address))?;
            Some(way.to_owned())
        });
        Server {
            address,
            written: format!("{written} ({place})"),
            interface,
        }
    };
    let mut host = HostNeeds::default();
    for place in RESOLV_CONF {
        let text = fs::read_to_string(place).unwrap_or_default();
        let names = resolvers(&text)
            .into_iter()
            .map(|name| server(&name, place));
        host.resolvers.extend(
            names.filter(|each| each.address.is_some_and(|address| !address.is_loopback())),
        );
    }
    for (place, words) in TIME_CONF {
        let text = fs::read_to_string(place).unwrap_or_default();
        let names = match words {
            true => chrony_servers(&text),
            false => timesyncd_servers(&text),
        };
        host.time_servers
            .extend(names.into_iter().map(|name| server(&name, place)));
    }
    let links = links().unwrap_or_default();
    for (gateway, index) in default_gateways().unwrap_or_default() {
        let link = links.iter().find(|link| Some(link.index) == index);
        host.gateways.push(Server {
            address: Some(gateway),
            written: gateway.to_string(),
            interface: link.map(|link| link.name.clone()),
        });
    }
    host.listening = listening(&links);
    host
}

/// Whether this host has an address that the account lists under this instance.
pub fn has_address_of(account: &Account, instance: &InstanceId) -> bool {
    let links = links().unwrap_or_default();
    let own: Vec<&IpAddr> = links.iter().flat_map(|link| &link.addresses).collect();
    account.instance(instance).is_some_and(|instance| {
        let mut listed = instance.interfaces.iter().flat_map(|each| &each.addresses);
        listed.any(|address| own.contains(&address))
    })
}

/// What listens, with the processes as far as they can be seen.
pub fn listening(links: &[Link]) -> Vec<Listening> {
    let found = listeners().unwrap_or_default();
    let processes = match found.is_empty() {
        true => Default::default(),
        false => processes(),
    };
    let all = found.into_iter().map(|each| {
        let link = links
            .iter()
            .find(|link| link.addresses.contains(&each.local.ip()));
        Listening {
            tcp: each.tcp,
            local: each.local,
            both: each.both,
            process: processes.get(&each.inode).cloned(),
            interface: link.map(|link| link.name.clone()),
        }
    });
    let mut all: Vec<Listening> = all.collect();
    all.sort_by_key(|each| (!each.tcp, each.local.port(), each.local.ip()));
    all
}

/// `nameserver 10.0.0.2`
fn resolvers(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let names = lines.filter_map(|rest| rest.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// `server 10.0.0.123 iburst`, `pool ntp.example.com`
fn chrony_servers(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = matches!(words.next()?, "server" | "pool" | "peer");
        is_server.then(|| words.next()).flatten()
    });
    lines.map(str::to_owned).collect()
}

/// `NTP=10.0.0.123 ntp.example.com`
fn timesyncd_servers(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("NTP="));
    lines
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_as_they_are_written() {
        assert_eq!(
            resolvers(
                "# x\nnameserver 10.0.0.2\n  nameserver fe80::1%eth0 # y\nsearch example.com\n"
            ),
            ["10.0.0.2", "fe80::1%eth0"]
        );
        assert_eq!(
            chrony_servers(
                "# server no\nserver 10.0.0.123 iburst\npool ntp.example.com\nmakestep 1 3\nserver\n"
            ),
            ["10.0.0.123", "ntp.example.com"]
        );
        assert_eq!(
            timesyncd_servers("[Time]\n#NTP=no\nNTP=10.0.0.123 ntp.example.com\nFallbackNTP=x\n"),
            ["10.0.0.123", "ntp.example.com"]
        );
    }
}
