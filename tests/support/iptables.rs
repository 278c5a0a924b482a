//! The four iptables programs: two variants, two families.

use std::collections::BTreeMap;

use super::{Host, namespace::feed};

/// One of the programs.
#[derive(Clone, Copy, Debug)]
pub struct Iptables {
    /// Its name without the variant.
    pub program: &'static str,
    /// `legacy` or `nft`.
    pub variant: &'static str,
}

/// All of them.
pub const IPTABLES: [Iptables; 4] = [
    Iptables {
        program: "iptables",
        variant: "legacy",
    },
    Iptables {
        program: "ip6tables",
        variant: "legacy",
    },
    Iptables {
        program: "iptables",
        variant: "nft",
    },
    Iptables {
        program: "ip6tables",
        variant: "nft",
    },
];

/// The tables that every kernel has.
const TABLES: [&str; 4] = ["raw", "mangle", "nat", "filter"];

impl Iptables {
    /// The programs of a variant, IPv4 first.
    pub fn of(variant: &str) -> impl Iterator<Item = Self> {
        IPTABLES
            .into_iter()
            .filter(move |each| each.variant == variant)
    }

    /// Whether it is about IPv4.
    pub fn is_ipv4(self) -> bool {
        self.program == "iptables"
    }

    /// Adds what `iptables-save` might have printed to what is there.
    pub fn restore(self, host: &Host, text: &str) {
        let program = format!("{}-{}-restore", self.program, self.variant);
        let fed = feed(host.command(program).arg("--noflush"), text);
        fed.unwrap_or_else(|error| panic!("on {}: {error}\n{text}", host.name()));
    }

    /// Everything it knows, table by table, with counters if `counted`; without comments, which hold the time.
    pub fn save(self, host: &Host, counted: bool) -> String {
        let program = format!("{}-{}-save", self.program, self.variant);
        let counters: &[&str] = if counted { &["-c"] } else { &[] };
        let tables =
            TABLES.map(|table| host.output(&program, &[&["-t", table], counters].concat()));
        let lines: Vec<_> = tables
            .iter()
            .flat_map(|table| table.lines())
            .filter(|line| !line.starts_with('#'))
            .collect();
        lines.join("\n")
    }

    /// The packets that each rule with a comment has seen, by its comment. Those without any are left out.
    pub fn counts(self, host: &Host) -> BTreeMap<String, u64> {
        let saved = self.save(host, true);
        let counts = saved.lines().filter_map(|line| {
            let (packets, _) = line.strip_prefix('[')?.split_once(':')?;
            let (_, comment) = line.split_once("--comment ")?;
            let comment = comment.split(' ').next()?.trim_matches('"');
            Some((comment.to_owned(), packets.parse().expect("a count")))
        });
        counts.filter(|(_, packets)| *packets > 0).collect()
    }
}
