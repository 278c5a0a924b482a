//! Which rule or chain has refused a packet, or sent it elsewhere: iptables' by a counter that has grown, nftables' by the kernel's
//! trace.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

/// What refused the flow, or sent it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blame {
    /// `iptables-legacy`, `iptables-nft`, `ip6tables-…`, `nftables`.
    pub program: String,
    /// `filter`, `inet fw`.
    pub table: String,
    /// `INPUT`.
    pub chain: String,
    /// The rule as the program lists it; `None` for the chain's policy.
    pub rule: Option<String>,
}

/// Targets that refuse.
pub const REFUSING: &[&str] = &["DROP", "REJECT", "TARPIT", "STEAL"];
/// Targets that send a packet elsewhere.
pub const TURNING: &[&str] = &["DNAT", "REDIRECT", "NETMAP"];

/// The packets that each line of `iptables-save -c` has seen, by table and line.
pub fn counts(saved: &str) -> HashMap<(String, String), u64> {
    let mut table = "";
    let mut found = HashMap::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some((packets, rest)) = counted(line) {
            *found.entry((table.to_owned(), rest)).or_default() += packets;
        }
    }
    found
}

/// `[1:60] -A INPUT -p tcp -j DROP`, or `:INPUT DROP [1:60]`.
fn counted(line: &str) -> Option<(u64, String)> {
    let (counter, rest) = match line.strip_prefix(':') {
        Some(policy) => {
            let (rest, counter) = policy.rsplit_once(" [")?;
            (counter, format!(":{rest}"))
        }
        None => {
            let (counter, rest) = line.strip_prefix('[')?.split_once("] ")?;
            (counter, rest.to_owned())
        }
    };
    let (packets, _) = counter.split_once(':')?;
    Some((packets.parse().ok()?, rest))
}

/// The rules and policies with one of these targets, and the packets that each has met.
pub fn of_targets(program: &str, saved: &str, targets: &[&str]) -> BTreeMap<Blame, u64> {
    let lines = counts(saved).into_iter();
    let found = lines.filter_map(|((table, line), packets)| {
        let words: Vec<&str> = line.split(' ').collect();
        let blame = |chain: &str, rule| Blame {
            program: program.to_owned(),
            table,
            chain: chain.to_owned(),
            rule,
        };
        let blamed = match words.as_slice() {
            [chain, policy] if chain.starts_with(':') => targets
                .contains(policy)
                .then(|| blame(chain.trim_start_matches(':'), None)),
            ["-A", chain, ..] => {
                let target = words.iter().position(|word| *word == "-j");
                let target = target.and_then(|at| words.get(at + 1));
                target
                    .is_some_and(|target| targets.contains(target))
                    .then(|| blame(chain, Some(line.clone())))
            }
            _ => None,
        };
        Some((blamed?, packets))
    });
    found.collect()
}

/// Those that have met more since.
pub fn grown(program: &str, before: &str, after: &str, targets: &[&str]) -> Vec<Blame> {
    let before = of_targets(program, before, targets);
    let after = of_targets(program, after, targets).into_iter();
    after
        .filter(|(blame, packets)| packets > before.get(blame).unwrap_or(&0))
        .map(|(blame, _)| blame)
        .collect()
}

/// What `nft monitor trace` says has dropped a packet, of tables that are not iptables' own.
pub fn traced(output: &str, covered: impl Fn(&str) -> bool) -> Vec<Blame> {
    told(output, covered, |said| match said.strip_prefix("rule ") {
        Some(rule) => Some(Some(rule.strip_suffix("(verdict drop)")?.trim())),
        None => (said == "policy drop").then_some(None),
    })
}

/// What it says has sent a packet elsewhere.
pub fn turned(output: &str, covered: impl Fn(&str) -> bool) -> Vec<Blame> {
    told(output, covered, |said| {
        let rule = said
            .strip_prefix("rule ")?
            .strip_suffix("(verdict accept)")?;
        let turns = rule
            .split(' ')
            .any(|word| word == "dnat" || word == "redirect");
        turns.then_some(Some(rule.trim()))
    })
}

/// Where the packet goes when this chain of this table sees it first: `… packet: … ip daddr 172.17.0.2 … tcp dport 80 …`
pub fn arrives_as(output: &str, table: &str, chain: &str) -> Option<SocketAddr> {
    output.lines().find_map(|line| {
        let (_, of, in_chain, rest) = trace(line)?;
        let words: Vec<&str> = rest.strip_prefix("packet: ")?.split(' ').collect();
        let after = |words: &[&str], name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).map(|word| (*word).to_owned())
        };
        let ip = words
            .iter()
            .position(|word| *word == "ip" || *word == "ip6")?;
        let address: IpAddr = after(&words[ip..], "daddr")?.parse().ok()?;
        let port: u16 = after(&words, "dport")?.parse().ok()?;
        (of == table && in_chain == chain).then(|| SocketAddr::new(address, port))
    })
}

/// Whether a packet has come by this chain of this table.
pub fn names(output: &str, table: &str, chain: &str) -> bool {
    let mut traces = output.lines().filter_map(trace);
    traces.any(|(_, of, in_chain, _)| of == table && in_chain == chain)
}

/// The rules and policies that a trace names and that are wanted: `wanted` gets what is said behind the chain's name.
fn told<'o>(
    output: &'o str,
    covered: impl Fn(&str) -> bool,
    wanted: impl Fn(&'o str) -> Option<Option<&'o str>>,
) -> Vec<Blame> {
    let mut found = Vec::new();
    for line in output.lines() {
        let Some((family, table, chain, said)) = trace(line) else {
            continue;
        };
        let table = format!("{family} {table}");
        let Some(rule) = wanted(said) else { continue };
        let rule = rule.map(str::to_owned);
        let blame = Blame {
            program: "nftables".to_owned(),
            table,
            chain: chain.to_owned(),
            rule,
        };
        if !covered(&blame.table) && !found.contains(&blame) {
            found.push(blame);
        }
    }
    found
}

/// `trace id 2d6a2a45 inet fw input rule tcp dport 80 drop (verdict drop)`
fn trace(line: &str) -> Option<(&str, &str, &str, &str)> {
    let mut words = line.strip_prefix("trace id ")?.splitn(5, ' ').skip(1);
    Some((
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?.trim_end(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [7:420]\n:own - [0:0]\n[0:0] -A INPUT -j own\n[2:80] -A own -p tcp -m tcp --dport 80 -j DROP\nCOMMIT\n";

    #[test]
    fn what_has_grown_and_refuses() {
        let after = BEFORE
            .replace("[2:80]", "[3:140]")
            .replace("[7:420]", "[9:500]")
            .replace("[0:0] -A INPUT", "[1:60] -A INPUT");
        let blamed = grown("iptables-legacy", BEFORE, &after, REFUSING);
        assert_eq!(blamed.len(), 1, "{blamed:?}");
        assert_eq!((&*blamed[0].table, &*blamed[0].chain), ("filter", "own"));
        assert_eq!(
            blamed[0].rule.as_deref(),
            Some("-A own -p tcp -m tcp --dport 80 -j DROP")
        );
        let after = BEFORE.replace(":INPUT DROP [0:0]", ":INPUT DROP [1:60]");
        let blamed = grown("iptables-nft", BEFORE, &after, REFUSING);
        assert_eq!((&*blamed[0].chain, &blamed[0].rule), ("INPUT", &None));
        assert!(grown("iptables-nft", BEFORE, BEFORE, REFUSING).is_empty());
        let nat = "*nat\n[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n";
        let after = nat.replace("[0:0]", "[1:60]");
        let blamed = grown("iptables-nft", nat, &after, TURNING);
        assert_eq!((&*blamed[0].table, &*blamed[0].chain), ("nat", "DOCKER"));
        assert!(grown("iptables-nft", nat, &after, REFUSING).is_empty());
    }

    #[test]
    fn where_a_trace_says_a_packet_goes() {
        let output = "trace id 5 inet probe in packet: iif \"eth0\" ether daddr 02:00:00:00:00:01 ip saddr 192.0.2.1 ip daddr 10.0.0.5 ip ttl 64 tcp sport 4 tcp dport 8080 tcp flags == syn\n\
                      trace id 5 ip nat pre rule tcp dport 8080 redirect to :80 (verdict accept)\n\
                      trace id 5 inet probe turned packet: iif \"eth0\" ether daddr 02:00:00:00:00:01 ip saddr 192.0.2.1 ip daddr 10.0.0.5 ip ttl 64 tcp sport 4 tcp dport 80 tcp flags == syn\n\
                      trace id 6 inet probe six packet: iif \"eth0\" ether daddr 02:00:00:00:00:01 ip6 saddr 2001:db8::9 ip6 daddr 2001:db8::5 udp sport 4 udp dport 53\n";
        let at = |chain| arrives_as(output, "probe", chain).map(|at| at.to_string());
        assert_eq!(at("turned").as_deref(), Some("10.0.0.5:80"));
        assert_eq!(at("six").as_deref(), Some("[2001:db8::5]:53"));
        assert_eq!(at("none"), None);
        let by = turned(output, |_| false);
        assert_eq!(by.len(), 1, "{by:?}");
        assert_eq!(
            by[0].rule.as_deref(),
            Some("tcp dport 8080 redirect to :80")
        );
    }

    #[test]
    fn what_a_trace_says() {
        let output = "trace id 2d6a2a45 inet fw input packet: iif \"eth0\" ip saddr 192.0.2.1\n\
                      trace id 2d6a2a45 inet fw input rule tcp dport 81 accept (verdict accept)\n\
                      trace id 2d6a2a45 inet fw input rule tcp dport 80 drop (verdict drop)\n\
                      trace id 2d6a2a45 ip filter INPUT rule tcp dport 80 drop (verdict drop)\n\
                      trace id 2d6a2a46 inet other in verdict continue \n\
                      trace id 2d6a2a46 inet other in policy drop \n";
        let blamed = traced(output, |table| table == "ip filter");
        let words: Vec<_> = blamed
            .iter()
            .map(|blame| (&*blame.table, &*blame.chain, blame.rule.as_deref()))
            .collect();
        assert_eq!(
            words,
            [
                ("inet fw", "input", Some("tcp dport 80 drop")),
                ("inet other", "in", None)
            ]
        );
    }
}
