//! Which rule or chain has refused a packet: iptables' by a counter that has grown, nftables' by the kernel's trace.

use std::collections::{BTreeMap, HashMap};

/// What refused the flow.
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
const REFUSING: [&str; 4] = ["DROP", "REJECT", "TARPIT", "STEAL"];

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

/// The rules and policies that refuse, and the packets that each has refused.
pub fn refusing(program: &str, saved: &str) -> BTreeMap<Blame, u64> {
    let lines = counts(saved).into_iter();
    let refusing = lines.filter_map(|((table, line), packets)| {
        let words: Vec<&str> = line.split(' ').collect();
        let blame = |chain: &str, rule| Blame {
            program: program.to_owned(),
            table,
            chain: chain.to_owned(),
            rule,
        };
        let blamed = match words.as_slice() {
            [chain, policy] if chain.starts_with(':') => REFUSING
                .contains(policy)
                .then(|| blame(chain.trim_start_matches(':'), None)),
            ["-A", chain, ..] => {
                let target = words.iter().position(|word| *word == "-j");
                let target = target.and_then(|at| words.get(at + 1));
                target
                    .is_some_and(|target| REFUSING.contains(target))
                    .then(|| blame(chain, Some(line.clone())))
            }
            _ => None,
        };
        Some((blamed?, packets))
    });
    refusing.collect()
}

/// Those that have refused more since.
pub fn grown(program: &str, before: &str, after: &str) -> Vec<Blame> {
    let before = refusing(program, before);
    let after = refusing(program, after).into_iter();
    after
        .filter(|(blame, packets)| packets > before.get(blame).unwrap_or(&0))
        .map(|(blame, _)| blame)
        .collect()
}

/// What `nft monitor trace` says has dropped a packet, of tables that are not iptables' own.
pub fn traced(output: &str, covered: impl Fn(&str) -> bool) -> Vec<Blame> {
    let mut found = Vec::new();
    for line in output.lines() {
        let Some((family, table, chain, rest)) = trace(line) else {
            continue;
        };
        let table = format!("{family} {table}");
        let rule = match rest.strip_prefix("rule ") {
            Some(rule) => match rule.strip_suffix("(verdict drop)") {
                Some(rule) => Some(rule.trim().to_owned()),
                None => continue,
            },
            None if rest.trim_end() == "policy drop" => None,
            None => continue,
        };
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
        let blamed = grown("iptables-legacy", BEFORE, &after);
        assert_eq!(blamed.len(), 1, "{blamed:?}");
        assert_eq!((&*blamed[0].table, &*blamed[0].chain), ("filter", "own"));
        assert_eq!(
            blamed[0].rule.as_deref(),
            Some("-A own -p tcp -m tcp --dport 80 -j DROP")
        );
        let after = BEFORE.replace(":INPUT DROP [0:0]", ":INPUT DROP [1:60]");
        let blamed = grown("iptables-nft", BEFORE, &after);
        assert_eq!((&*blamed[0].chain, &blamed[0].rule), ("INPUT", &None));
        assert!(grown("iptables-nft", BEFORE, BEFORE).is_empty());
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
