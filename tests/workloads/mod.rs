//! The five rule sets that are measured, made by seeded generators. Tests prove their smaller versions.
//!
//! | name | what it is |
//! |---|---|
//! | W1 | ten rules of a web server |
//! | W2 | five groups of 100 mixed rules |
//! | W3 | 10,000 rules, distinct network × port, actions alternating at random |
//! | W4 | ten rules over one 100,000-line template, different ports |
//! | W5 | the staircase: 2,000 nested port ranges over distinct and nested networks, alternating action |
#![allow(dead_code)]

use fastrand::Rng;
use secgroupd::definition::parse;
use secgroupd::policy::{Policy, validate};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

/// A rule set, as an operator would write it.
pub struct Workload {
    /// `W1` to `W5`.
    pub name: &'static str,
    /// The definition.
    pub definition: String,
    /// The file `addresses.txt` that it names, if it does.
    pub template: String,
    /// Rules inbound.
    pub rules: usize,
}

/// All five.
pub fn all() -> Vec<Workload> {
    vec![
        web_server(),
        mixed(500),
        distinct(10_000),
        template(100_000),
        staircase(2_000),
    ]
}

impl Workload {
    /// Its policy.
    pub fn policy(&self) -> Policy {
        let mut parsed = parse([("w.yaml", self.definition.as_str())]);
        let files: HashMap<PathBuf, Result<String, String>> = parsed
            .definition
            .template_files()
            .into_iter()
            .map(|path| (path, Ok(self.template.clone())))
            .collect();
        parsed.definition.attach(&files);
        let sources = parsed.definition.sources.clone();
        let validated = validate(&parsed.definition, parsed.diagnostics);
        let Some(account) = validated.account else {
            panic!(
                "{}: {}",
                self.name,
                validated.diagnostics[0].render(&sources, false)
            );
        };
        let instance = &account.instances[0].id;
        account
            .policy(instance, &Default::default())
            .unwrap_or_else(|| panic!("{} has no instance", self.name))
    }
}

fn workload(name: &'static str, templates: &str, groups: &[Vec<String>]) -> Workload {
    let mut definition = format!(
        "version: 1\n{templates}platform: {{ blocked_ports: {{ profile: none }} }}\nsecurity_groups:\n"
    );
    let mut bound = Vec::new();
    for (at, rules) in groups.iter().enumerate() {
        let _ = writeln!(definition, "  sg-{at}:\n    inbound:");
        for rule in rules {
            let _ = writeln!(definition, "      - {rule}");
        }
        bound.push(format!("sg-{at}"));
    }
    let _ = writeln!(
        definition,
        "instances:\n  ins-a:\n    interfaces:\n      eth0: {{ addresses: [198.18.0.5], security_groups: [{}] }}",
        bound.join(", ")
    );
    Workload {
        name,
        definition,
        template: String::new(),
        rules: groups.iter().map(Vec::len).sum(),
    }
}

fn rule(allow: bool, rest: &str) -> String {
    format!(
        "{{ action: {}, {rest} }}",
        if allow { "allow" } else { "refuse" }
    )
}

/// W1.
pub fn web_server() -> Workload {
    let rules = [
        rule(true, "protocol: tcp, port: 22, source: 203.0.113.0/24"),
        rule(false, "protocol: tcp, port: 22, source: any"),
        rule(true, "protocol: tcp, port: \"80,443\", source: any"),
        rule(true, "protocol: udp, port: 443, source: any"),
        rule(true, "protocol: icmp, source: 0.0.0.0/0"),
        rule(true, "protocol: icmpv6, source: \"::/0\""),
        rule(true, "protocol: tcp, port: 9100, source: 10.0.0.0/8"),
        rule(false, "protocol: all, source: 192.0.2.0/24"),
        rule(true, "protocol: all, source: 10.1.0.0/16"),
        rule(
            true,
            "protocol: tcp, port: \"8000-8100\", source: [172.16.0.0/12, 192.168.0.0/16]",
        ),
    ];
    workload("W1", "", &[rules.to_vec()])
}

/// W2: groups of 100 rules, as people write them.
pub fn mixed(rules: usize) -> Workload {
    let mut rng = Rng::with_seed(2);
    let ports = [
        "22",
        "80",
        "443",
        "3306",
        "5432",
        "6379",
        "8080",
        "9000-9100",
        "\"80,443\"",
        "\"8000-8100,9200\"",
        "53",
        "123",
    ];
    let groups: Vec<Vec<String>> = (0..rules.div_ceil(100))
        .map(|_| {
            let one = |rng: &mut Rng| {
                let network = match rng.u8(0..4) {
                    0 => format!("10.{}.0.0/16", rng.u8(..)),
                    1 => format!("10.{}.{}.0/24", rng.u8(0..8), rng.u8(..)),
                    2 => format!("203.0.{}.{}", rng.u8(..), rng.u8(..)),
                    _ => "any".to_owned(),
                };
                let protocol = if rng.u8(0..4) == 0 { "udp" } else { "tcp" };
                rule(
                    rng.u8(0..4) > 0,
                    &format!(
                        "protocol: {protocol}, port: {}, source: {network}",
                        ports[rng.usize(..ports.len())]
                    ),
                )
            };
            (0..100.min(rules)).map(|_| one(&mut rng)).collect()
        })
        .collect();
    workload("W2", "", &groups)
}

/// W3: each rule has a network and a port of its own.
pub fn distinct(rules: usize) -> Workload {
    let mut rng = Rng::with_seed(3);
    let mut ports: Vec<u16> = (1024..=65_000).collect();
    rng.shuffle(&mut ports);
    let list = (0..rules).map(|at| {
        let network = format!(
            "{}.{}.{}.0/24",
            11 + at / 65_536,
            (at / 256) % 256,
            at % 256
        );
        rule(
            rng.bool(),
            &format!(
                "protocol: tcp, port: {}, source: {network}",
                ports[at % ports.len()]
            ),
        )
    });
    workload("W3", "", &[list.collect()])
}

/// W4: one long list of addresses, ten ports.
pub fn template(lines: usize) -> Workload {
    let mut rng = Rng::with_seed(4);
    let rules = (0..10).map(|at| {
        rule(
            at % 2 == 0,
            &format!("protocol: tcp, port: {}, source: ipm-list", 1000 + at * 100),
        )
    });
    let mut workload = workload(
        "W4",
        "address_templates:\n  ipm-list: { file: addresses.txt }\n",
        &[rules.collect()],
    );
    // Every second address at most, so that no two lines merge.
    let mut seen = std::collections::HashSet::new();
    while seen.len() < lines {
        let number = (rng.u32(0x0b00_0000..0xdf00_0000)) & !1;
        if seen.insert(number) {
            let _ = writeln!(workload.template, "{}", std::net::Ipv4Addr::from(number));
        }
    }
    workload
}

/// W5: half of the rules over networks of their own, half over nested ones, the innermost first.
pub fn staircase(rules: usize) -> Workload {
    let list = (0..rules).map(|at| {
        let ports = format!("{}-{}", 30_000 - at * 10, 30_000 + at * 10 + 5);
        let source = match at % 2 {
            0 => format!("20.{}.{}.0/24", at / 512, (at / 2) % 256),
            _ => {
                let reach = at as u32 * 16;
                let (first, last) = (0x3200_0000 - reach, 0x3200_0000 + reach);
                format!(
                    "{}-{}",
                    std::net::Ipv4Addr::from(first),
                    std::net::Ipv4Addr::from(last)
                )
            }
        };
        rule(
            at % 4 < 2,
            &format!("protocol: tcp, port: {ports}, source: {source}"),
        )
    });
    workload("W5", "", &[list.collect()])
}
