//! Single values of other formats in the words of a definition: addresses, ports, protocols, ids.

use crate::policy::address::AddressError;
use crate::policy::{AddressRange, Interval, PortSet, Protocol};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest id of a definition, less the longest prefix.
const LONGEST_NAME: usize = 64 - "ipmg-".len();

/// A value, and what was assumed about it.
pub type Read<T> = Result<(T, Option<String>), String>;

/// An address, a CIDR or a range, written in one way. Host bits are cleared, as every cloud does.
pub fn address(text: &str) -> Read<String> {
    match AddressRange::parse(text.trim()) {
        Ok(range) => Ok((range_text(&range), None)),
        Err(AddressError::HostBits { written, meant }) => {
            let assumed = format!("`{written}` is read as {meant}");
            Ok((meant, Some(assumed)))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The same as the cloud reads it in a rule: `0.0.0.0/n` is the whole of IPv4.
pub fn address_in_cloud_rule(text: &str) -> Read<String> {
    let text = text.trim();
    match text.strip_prefix("0.0.0.0/") {
        Some(length) if length != "0" && length.parse::<u8>().is_ok_and(|n| n <= 32) => Ok((
            "0.0.0.0/0".to_owned(),
            Some(format!("`{text}` is read as 0.0.0.0/0, as the cloud does")),
        )),
        _ => address(text),
    }
}

/// A range as a definition writes it: an address, a CIDR, or `a-b`.
pub fn range_text(range: &AddressRange) -> String {
    let (first, last) = match range {
        AddressRange::V4(i) => (
            Ipv4Addr::from(i.first).to_string(),
            Ipv4Addr::from(i.last).to_string(),
        ),
        AddressRange::V6(i) => (
            Ipv6Addr::from(i.first).to_string(),
            Ipv6Addr::from(i.last).to_string(),
        ),
    };
    match range.prefix_length() {
        _ if first == last => first,
        Some(length) => format!("{first}/{length}"),
        None => format!("{first}-{last}"),
    }
}

/// Ports as `80`, `80,443`, `8000-8100`, or all of them, which is no interval.
pub fn ports(text: &str) -> Result<Vec<Interval<u16>>, String> {
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("all") || text == "-1" || text == "0-65535" {
        return Ok(Vec::new());
    }
    let parsed = PortSet::parse(text).map_err(|error| error.to_string())?;
    Ok(parsed)
}

/// Ports as a definition writes them: `80,8000-8100`; `all` where there are none.
pub fn ports_text(ports: &[Interval<u16>]) -> String {
    if ports.is_empty() {
        return "all".to_owned();
    }
    let each: Vec<String> = ports.iter().map(port_text).collect();
    each.join(",")
}

/// One port or range.
pub fn port_text(ports: &Interval<u16>) -> String {
    match ports.first == ports.last {
        true => ports.first.to_string(),
        false => format!("{}-{}", ports.first, ports.last),
    }
}

/// The name of a protocol in a definition, from its name in any case or its number.
pub fn protocol(text: &str) -> Option<&'static str> {
    let name = text.trim().to_lowercase();
    match name.as_str() {
        "all" | "-1" | "any" => return Some("all"),
        "ipv6-icmp" | "icmp6" => return Some("icmpv6"),
        _ => {}
    }
    let number = name.parse().ok().map(Protocol);
    let of =
        |(known, protocol): &&(&'static str, Protocol)| *known == name || number == Some(*protocol);
    Protocol::NAMES.iter().find(of).map(|(known, _)| *known)
}

/// Whether ports belong to a protocol.
pub fn has_ports(protocol: &str) -> bool {
    matches!(protocol, "tcp" | "udp")
}

/// An entry of a service template: `tcp:80,443`, `udp:53`, `tcp:all`, or a protocol without ports.
pub fn service_entry(text: &str) -> Result<String, String> {
    let (name, written) = text.split_once(':').unwrap_or((text, ""));
    let name = protocol(name).filter(|name| *name != "all");
    let name = name.ok_or_else(|| format!("`{}` is not a service", text.trim()))?;
    let ports = ports(written)?;
    match (has_ports(name), ports.is_empty()) {
        (true, _) => Ok(format!("{name}:{}", ports_text(&ports))),
        (false, true) => Ok(name.to_owned()),
        (false, false) => Err(format!(
            "{name} has no ports, and `{}` names some",
            text.trim()
        )),
    }
}

/// The action of a rule, from the words that clouds and their consoles use.
pub fn allows(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "accept" | "allow" | "permit" | "允许" | "放通" => Some(true),
        "drop" | "refuse" | "reject" | "deny" | "拒绝" => Some(false),
        _ => None,
    }
}

/// An id made of a name: what is no letter, digit or `-` becomes a `-`.
pub fn made_id(prefix: &str, name: &str) -> String {
    let mut id = prefix.to_owned();
    for c in name.chars().take(LONGEST_NAME) {
        match c.is_ascii_alphanumeric() {
            true => id.push(c.to_ascii_lowercase()),
            false if id.ends_with('-') => {}
            false => id.push('-'),
        }
    }
    let id = id.trim_end_matches('-');
    match id.len() < prefix.len() {
        true => format!("{prefix}1"),
        false => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_one_way() {
        assert_eq!(address("0::0/0"), Ok(("::/0".into(), None)));
        assert_eq!(address(" 10.0.0.7/32"), Ok(("10.0.0.7".into(), None)));
        assert_eq!(
            address("10.0.0.4-10.0.0.7"),
            Ok(("10.0.0.4/30".into(), None))
        );
        let (meant, assumed) = address("192.128.8.8/17").unwrap();
        assert_eq!(meant, "192.128.0.0/17");
        assert!(assumed.is_some());
        assert!(address("MY_PUBLIC_IP").is_err());
        assert_eq!(address_in_cloud_rule("0.0.0.0/8").unwrap().0, "0.0.0.0/0");
        assert_eq!(address("0.0.0.0/8").unwrap().0, "0.0.0.0/8");
    }

    #[test]
    fn ports_and_protocols() {
        assert_eq!(ports("ALL"), Ok(Vec::new()));
        assert_eq!(
            ports_text(&ports("443,80,8000-8100").unwrap()),
            "443,80,8000-8100"
        );
        assert!(ports("0").is_err());
        assert_eq!(protocol("TCP"), Some("tcp"));
        assert_eq!(protocol("58"), Some("icmpv6"));
        assert_eq!(protocol("50"), None);
    }

    #[test]
    fn ids_are_made_of_names() {
        assert_eq!(made_id("sg-", "Web Servers (prod)"), "sg-web-servers-prod");
        assert_eq!(made_id("sg-", "默认"), "sg-1");
        assert!(made_id("ipmg-", &"a".repeat(100)).len() <= 64);
    }
}
