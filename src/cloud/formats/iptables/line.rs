//! One line of `iptables-save`: the chain, what it matches, and where it leads.

use super::condition::{Condition, ESTABLISHED, INVALID, InterfaceMatch, NEW, RELATED, UNTRACKED};
use crate::cloud::formats::values::{address, protocol};
use crate::policy::{AddressRange, AddressSet, PortSet};

/// Interfaces that one line may name: iptables itself takes one each way.
const MOST_INTERFACES: usize = 2;

/// A rule of a chain.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its number in the text.
    pub number: usize,
    /// Its chain.
    pub chain: String,
    /// What it matches, as far as it is known.
    pub condition: Condition,
    /// Why the condition is not known in full.
    pub unknown: Option<String>,
    /// Where it leads.
    pub target: Target,
    /// Its comment.
    pub comment: Option<String>,
}

/// Where a rule leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The packet passes.
    Accept,
    /// It is dropped.
    Drop,
    /// It is dropped, and the sender is answered.
    Reject,
    /// Back to the calling chain.
    Return,
    /// To another chain, or to a program of the kernel.
    Chain(String),
    /// To another chain without return.
    Goto(String),
    /// Nowhere: the rule counts.
    None,
}

/// Words of a line: apart by blanks, and those in double quotes with `\` before a quote.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        match c {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            '\\' if quoted => word.extend(letters.next()),
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// Reads the words behind `-A CHAIN`.
pub fn read(number: usize, chain: &str, words: &[String]) -> Line {
    let mut reader = Reader {
        line: Line {
            number,
            chain: chain.to_owned(),
            condition: Condition::default(),
            unknown: None,
            target: Target::None,
            comment: None,
        },
        words: words.iter(),
    };
    reader.all();
    reader.line
}

struct Reader<'w> {
    line: Line,
    words: std::slice::Iter<'w, String>,
}

impl Reader<'_> {
    fn next(&mut self) -> String {
        self.words.next().cloned().unwrap_or_default()
    }

    fn unknown(&mut self, why: impl Into<String>) {
        self.line.unknown.get_or_insert(why.into());
    }

    fn all(&mut self) {
        let mut negated = false;
        while let Some(word) = self.words.next() {
            if word == "!" {
                negated = true;
                continue;
            }
            match word.as_str() {
                "-j" | "--jump" => {
                    let name = self.next();
                    self.line.target = target(name);
                    // What follows are options of the target.
                    return;
                }
                "-g" | "--goto" => {
                    self.line.target = Target::Goto(self.next());
                    return;
                }
                _ => self.option(word, negated),
            }
            negated = false;
        }
    }

    fn option(&mut self, word: &str, negated: bool) {
        match word {
            "-p" | "--protocol" => self.protocol(negated),
            "-s" | "--source" | "--src-range" => {
                let set = self.addresses(negated);
                self.line.condition.source = set;
            }
            "-d" | "--destination" | "--dst-range" => {
                let set = self.addresses(negated);
                self.line.condition.destination = set;
            }
            "-i" | "--in-interface" => {
                let interface = self.interface(negated);
                self.line.condition.incoming.extend(interface);
            }
            "-o" | "--out-interface" => {
                let interface = self.interface(negated);
                self.line.condition.outgoing.extend(interface);
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                let ports = self.ports(negated);
                self.line.condition.destination_ports = ports;
            }
            "--sport" | "--sports" | "--source-port" | "--source-ports" => {
                let ports = self.ports(negated);
                self.line.condition.source_ports = ports;
            }
            "--ctstate" | "--state" => self.states(negated),
            "--syn" if !negated => self.openings(),
            "--tcp-flags" => {
                let flags = (self.next(), self.next());
                match (flags.0.as_str(), flags.1.as_str(), negated) {
                    ("FIN,SYN,RST,ACK", "SYN", false) => self.openings(),
                    (mask, set, _) => self.unknown(format!("a rule has no flags: {mask} {set}")),
                }
            }
            "--icmp-type" | "--icmpv6-type" => {
                let kind = self.next();
                if negated || kind != "any" {
                    self.unknown(format!(
                        "a rule names no type of ICMP, and this is type {kind}"
                    ));
                }
            }
            "--dst-type" => {
                let kind = self.next();
                match kind == "LOCAL" && !negated {
                    true => self.line.condition.to_this_host = true,
                    false => self.unknown(format!("a rule has no type of address: {kind}")),
                }
            }
            "--comment" => self.line.comment = Some(self.next()).filter(|text| !text.is_empty()),
            "-m" | "--match" => {
                let module = self.next();
                let known = [
                    "tcp",
                    "udp",
                    "icmp",
                    "icmp6",
                    "multiport",
                    "conntrack",
                    "state",
                    "comment",
                    "iprange",
                    "addrtype",
                ];
                if !known.contains(&module.as_str()) {
                    self.unknown(format!("a rule has nothing like `-m {module}`"));
                }
            }
            word if word.starts_with('-') => {
                let sign = if negated { "! " } else { "" };
                self.unknown(format!("a rule has nothing like `{sign}{word}`"));
            }
            // The value of an option that was named.
            _ => {}
        }
    }

    fn protocol(&mut self, negated: bool) {
        let written = self.next();
        match protocol(&written) {
            Some("all") if !negated => {}
            Some(name) if !negated => self.line.condition.protocol = Some(name),
            _ => {
                let sign = if negated { "! " } else { "" };
                self.unknown(format!("a definition has no protocol `{sign}{written}`"));
            }
        }
    }

    fn addresses(&mut self, negated: bool) -> Option<AddressSet> {
        let written = self.next();
        let read = address(&written)
            .and_then(|(text, _)| AddressRange::parse(&text).map_err(|error| error.to_string()));
        match read {
            Ok(range) => {
                let set = AddressSet::new([range])?;
                if !negated {
                    return Some(set);
                }
                let others = set.complement();
                if others.is_none() {
                    self.unknown("it matches no address");
                }
                others
            }
            Err(why) => {
                self.unknown(why);
                None
            }
        }
    }

    fn interface(&mut self, negated: bool) -> Option<InterfaceMatch> {
        let written = self.next();
        let condition = &self.line.condition;
        if condition.incoming.len() + condition.outgoing.len() >= MOST_INTERFACES {
            self.unknown("it names too many interfaces");
            return None;
        }
        let name = match written.strip_suffix('+') {
            Some("") if !negated => return None,
            Some(prefix) => format!("{prefix}*"),
            None => written,
        };
        Some(InterfaceMatch {
            name,
            others: negated,
        })
    }

    fn ports(&mut self, negated: bool) -> Option<PortSet> {
        let written = self.next();
        let mut intervals = Vec::new();
        for part in written.split(',') {
            // Port 0, where a range begins with it, is in no packet that a rule could name.
            let text = match part.split_once(':') {
                Some(("0" | "", last)) => format!("1-{last}"),
                Some((first, "")) => format!("{first}-65535"),
                Some((first, last)) => format!("{first}-{last}"),
                None => part.to_owned(),
            };
            match PortSet::parse(&text) {
                Ok(parsed) => intervals.extend(parsed),
                Err(error) => self.unknown(error.to_string()),
            }
        }
        let set = PortSet::new(intervals)?;
        match negated {
            true => PortSet::new(PortSet::parse("1-65535").ok()?)?.without(&set),
            false => Some(set),
        }
    }

    fn states(&mut self, negated: bool) {
        let written = self.next();
        let mut states = 0;
        for word in written.split(',') {
            states |= match word {
                "NEW" => NEW,
                "ESTABLISHED" => ESTABLISHED,
                "RELATED" => RELATED,
                "INVALID" => INVALID,
                "UNTRACKED" => UNTRACKED,
                other => {
                    self.unknown(format!("a rule has no state {other}"));
                    0
                }
            };
        }
        if negated {
            states = (NEW | ESTABLISHED | RELATED | INVALID | UNTRACKED) & !states;
        }
        let before = self.line.condition.states;
        self.line.condition.states = Some(before.map_or(states, |before| before & states));
    }

    /// A packet with SYN and without ACK opens a flow.
    fn openings(&mut self) {
        let before = self.line.condition.states;
        self.line.condition.states = Some(before.map_or(NEW, |before| before & NEW));
    }
}

fn target(name: String) -> Target {
    match name.as_str() {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "REJECT" => Target::Reject,
        "RETURN" => Target::Return,
        _ => Target::Chain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_quotes() {
        let line = r#"-m comment --comment "it's a \"test\" of words" -j ACCEPT"#;
        let words = words(line);
        assert_eq!(words.len(), 6);
        assert_eq!(words[3], "it's a \"test\" of words");
        assert!(super::words("   ").is_empty());
    }

    #[test]
    fn a_rule_is_read_or_its_reason_is() {
        let line = |text: &str| read(1, "INPUT", &words(text));
        let web =
            line("-s 10.0.0.0/8 -i eth0 -p tcp -m multiport --dports 80,443,8000:8100 -j ACCEPT");
        assert_eq!(web.unknown, None);
        assert_eq!(web.condition.protocol, Some("tcp"));
        assert_eq!(
            web.condition.destination_ports.unwrap().intervals().len(),
            3
        );
        assert_eq!(web.target, Target::Accept);
        let limited = line("-m limit --limit 3/min -j LOG --log-prefix \"[x] \"");
        assert!(limited.unknown.unwrap().contains("-m limit"));
        assert_eq!(limited.target, Target::Chain("LOG".into()));
        let ping = line("-p icmp -m icmp --icmp-type 8 -j ACCEPT");
        assert!(ping.unknown.unwrap().contains("type 8"));
        let glob = line("-i veth+ ! -s 10.0.0.1 -j DROP").condition;
        assert_eq!(glob.incoming[0].name, "veth*");
        assert_eq!(glob.source.unwrap().v4().len(), 2);
    }
}
