//! What a person probably meant: words that are nearly right, and words of other clouds and tools.

/// Words that other clouds and tools use for ours. A pair is used only where ours can stand.
const WORDS: &[(&str, &str)] = &[
    ("ingress", "inbound"),
    ("egress", "outbound"),
    ("destination", "source"),
    ("source", "destination"),
    ("src", "source"),
    ("dst", "destination"),
    ("from", "source"),
    ("to", "destination"),
    ("source", "from"),
    ("destination", "to"),
    ("src", "from"),
    ("dst", "to"),
    ("remote", "source"),
    ("remote", "destination"),
    ("proto", "protocol"),
    ("dport", "port"),
    ("policy", "action"),
    ("accept", "allow"),
    ("permit", "allow"),
    ("pass", "allow"),
    ("drop", "refuse"),
    ("deny", "refuse"),
    ("reject", "refuse"),
    ("block", "refuse"),
    ("all", "any"),
    ("any", "all"),
    ("*", "any"),
    ("*", "all"),
    ("ipv6-icmp", "icmpv6"),
    ("icmp6", "icmpv6"),
    ("1", "icmp"),
    ("6", "tcp"),
    ("17", "udp"),
    ("47", "gre"),
    ("58", "icmpv6"),
    ("host", "hostname"),
    ("groups", "security_groups"),
    ("postpaid", "pay-as-you-go"),
    ("yes", "true"),
    ("on", "true"),
    ("no", "false"),
    ("off", "false"),
];

/// The longest word that is compared letter by letter, in bytes; ids have 64.
const LONGEST: usize = 80;
/// So many names are compared: it takes a microsecond for each.
const MOST_NAMES: usize = 2000;

/// The name that was probably meant.
pub fn closest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    if written.len() > LONGEST {
        return None;
    }
    let lower = written.to_lowercase();
    let word = WORDS.iter().filter(|(theirs, _)| *theirs == lower);
    let known = word.filter_map(|(_, ours)| names.iter().find(|name| *name == ours).copied());
    known.into_iter().next().or_else(|| {
        names
            .iter()
            .filter(|name| name.len() <= LONGEST)
            .take(MOST_NAMES)
            .map(|name| (strsim::damerau_levenshtein(&lower, name), *name))
            .filter(|(distance, name)| near(&lower, name, *distance))
            .min()
            .map(|(_, name)| name)
    })
}

/// Few letters differ, and not those that make the word. The prefix of an id makes nothing nearer.
fn near(written: &str, name: &str, distance: usize) -> bool {
    let own = name.split_once('-').map_or(name, |(_, own)| own).len();
    let same_start = written.chars().next() == name.chars().next();
    distance < own && distance <= if same_start { 1 + own / 4 } else { 1 }
}

/// Names that people write for a port, as /etc/services and other clouds have them.
const PORTS: &[(&str, u16)] = &[
    ("ftp", 21),
    ("ssh", 22),
    ("sftp", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("dns", 53),
    ("domain", 53),
    ("dhcp", 67),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("smb", 445),
    ("submissions", 465),
    ("smtps", 465),
    ("syslog", 514),
    ("submission", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("mssql", 1433),
    ("nfs", 2049),
    ("mysql", 3306),
    ("rdp", 3389),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("vnc", 5900),
    ("redis", 6379),
    ("etcd", 2379),
    ("http-alt", 8080),
    ("elasticsearch", 9200),
    ("memcached", 11211),
    ("mongodb", 27017),
    ("wireguard", 51820),
];

/// The port that the name of a service stands for. A rule has numbers, so that what it says hangs on no file of a host.
pub fn port_of(name: &str) -> Option<u16> {
    let name = name.to_lowercase();
    let named = PORTS.iter().find(|(known, _)| *known == name);
    named.map(|(_, port)| *port)
}

/// What to write for a required key.
pub fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "action" => "write `action: allow` or `action: refuse`",
        "source" => "write `source: any` if every address is meant",
        "destination" => "write `destination: any` if every address is meant",
        "interfaces" => "name at least one: `interfaces: { eth0: { security_groups: [sg-web] } }`",
        "security_groups" => {
            "name the bound groups; `security_groups: []` binds none and refuses everything"
        }
        "cidr" => "write `cidr: 10.0.0.0/24`, or a list with one for each family",
        "file" => "write `{ file: blocklist.txt }`, or a list of addresses",
        "direction" => "write `direction: inbound` or `direction: outbound`",
        "protocol" => "write `protocol: all` if every protocol is meant",
        "from" => "write `from: 198.51.100.7` or `from: ins-web1`",
        "to" => "write `to: ins-web1` or `to: 203.0.113.9`",
        "expect" => "write `expect: allow` or `expect: refuse`",
        "code" => "write the code of the warning, which stands in brackets behind it",
        "reason" => "write why it is meant so: `reason: the jump host is the only way in`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_and_foreign_ones() {
        assert_eq!(closest("sorce", &["source", "port"]), Some("source"));
        assert_eq!(
            closest("ingress", &["inbound", "outbound"]),
            Some("inbound")
        );
        assert_eq!(closest("DROP", &["allow", "refuse"]), Some("refuse"));
        assert_eq!(closest("icmp6", &["icmp", "icmpv6"]), Some("icmpv6"));
        assert_eq!(closest("any", &["tcp", "all"]), Some("all"));
        assert_eq!(closest("x", &["a", "bb"]), None);
        assert_eq!(closest("internal", &["any", "external"]), None);
        assert_eq!(closest("sg-lb", &["sg-web"]), None);
        assert_eq!(closest("sg-wbe", &["sg-web"]), Some("sg-web"));
    }
}
