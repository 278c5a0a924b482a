//! What it costs to compile, check, load and switch the five rule sets, beside the same list as plain nft rules
//! and through `iptables-restore`: one table, everything measured in one run, in a namespace.
//!
//! `cargo bench --bench load`
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;
mod workloads;

use secgroupd::policy::{Action, AddressRange, Direction, Policy, Service};
use secgroupd::ruleset::{Generation, check, compile};
use std::fmt::Write;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::Host;

/// Counted runs of each figure, after one to warm up; the median is printed.
const RUNS: usize = 5;

fn main() -> std::process::ExitCode {
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return std::process::ExitCode::FAILURE;
    }
    measure();
    std::process::ExitCode::SUCCESS
}

fn measure() {
    let host = Host::new("host");
    let kernel = host.enter(support::kernel);
    println!(
        "times in ms, medians of {RUNS}; `plain nft`: one rule a line, one transaction; `interval map`: one nft map of as many elements"
    );
    println!(
        "| | rules | compile | check | load and switch | maps | elements | chains | nft rules | plain nft | iptables-nft-restore | iptables-legacy-restore | interval map |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for workload in workloads::all() {
        let policy = workload.policy();
        let compiling = median(|| timed(|| compile(&policy)));
        let ruleset = compile(&policy);
        let checking = median(|| timed(|| check(&policy, &ruleset).expect("right")));
        let loading = median(|| {
            host.enter(|| kernel.enforce(&ruleset, Generation(1)))
                .expect("enforced")
                .switched_after
        });
        host.enter(|| kernel.remove()).expect("removed");
        // Plain rules over a long list would be a rule for each of its lines and ports.
        let plain = plain(&policy).map(|text| {
            feed(
                &host,
                &["nft", "-f", "-"],
                &text,
                &["nft", "delete", "table", "inet", "plain"],
            )
        });
        let iptables = iptables(&policy);
        let restore = |program: &str, save: &str| {
            let text = iptables.as_ref()?;
            Some(feed(&host, &[program], text, &[save, "-F"]))
        };
        let elements = ruleset.element_count();
        let map = (elements > 0).then(|| {
            feed(
                &host,
                &["nft", "-f", "-"],
                &interval_map(elements),
                &["nft", "delete", "table", "inet", "one"],
            )
        });
        println!(
            "| {} | {} | {} | {} | {} | {} | {elements} | {} | {} | {} | {} | {} | {} |",
            workload.name,
            workload.rules,
            ms(Some(compiling)),
            ms(Some(checking)),
            ms(Some(loading)),
            ruleset.maps.len(),
            ruleset.chains.len(),
            ruleset.rule_count(),
            ms(plain),
            ms(restore("iptables-nft-restore", "iptables-nft")),
            ms(restore("iptables-legacy-restore", "iptables-legacy")),
            ms(map),
        );
    }
}

fn ms(time: Option<Duration>) -> String {
    time.map_or_else(
        || "-".into(),
        |time| format!("{:.1}", time.as_secs_f64() * 1000.0),
    )
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    run();
    let mut times: Vec<_> = (0..RUNS).map(|_| run()).collect();
    times.sort();
    times[RUNS / 2]
}

/// How long a program takes to read a text; `undo` runs after each, unmeasured.
fn feed(host: &Host, program: &[&str], text: &str, undo: &[&str]) -> Duration {
    median(|| {
        let time = timed(|| {
            let mut child = host
                .command(program[0])
                .args(&program[1..])
                .stdin(Stdio::piped())
                .spawn()
                .expect("started");
            child
                .stdin
                .take()
                .expect("a pipe")
                .write_all(text.as_bytes())
                .expect("written");
            assert!(child.wait().expect("ended").success(), "{program:?}");
        });
        assert!(
            host.command(undo[0])
                .args(&undo[1..])
                .status()
                .expect("ended")
                .success()
        );
        time
    })
}

/// Every rule as text by `write`; nothing for lists of more than a few addresses.
fn lines(
    policy: &Policy,
    write: impl Fn(&AddressRange, &Service, Action) -> Option<String>,
) -> Option<String> {
    let mut out = String::new();
    for group in policy.groups() {
        for rule in group.rules(Direction::Inbound) {
            let ranges: Vec<AddressRange> = rule
                .remote
                .iter()
                .flat_map(|remote| remote.ranges())
                .collect();
            if ranges.len() > 8 {
                return None;
            }
            for range in ranges {
                for line in rule
                    .services
                    .iter()
                    .filter_map(|service| write(&range, service, rule.action))
                {
                    let _ = writeln!(out, "{line}");
                }
            }
        }
    }
    Some(out)
}

fn plain(policy: &Policy) -> Option<String> {
    let rules = lines(policy, |range, service, action| {
        let family = if range.is_v4() { "ip" } else { "ip6" };
        let source = if range.to_string() == "::/0" {
            "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".into()
        } else {
            range.to_string()
        };
        let service = match service {
            Service::Tcp(ports) => format!("tcp dport {{ {ports} }}"),
            Service::Udp(ports) => format!("udp dport {{ {ports} }}"),
            _ => String::new(),
        };
        Some(format!(
            "{family} saddr {source} {service} counter {}",
            if action == Action::Allow {
                "accept"
            } else {
                "drop"
            }
        ))
    })?;
    Some(format!(
        "table inet plain {{\nchain c {{\ntype filter hook prerouting priority -160; policy accept;\n{rules}}}\n}}\n"
    ))
}

fn iptables(policy: &Policy) -> Option<String> {
    let rules = lines(policy, |range, service, action| {
        let source = match (range.is_v4(), range.to_string()) {
            (false, _) => return None,
            (true, text) if text.contains('-') => format!("-m iprange --src-range {text}"),
            (true, text) => format!("-s {text}"),
        };
        let service = match service {
            Service::Tcp(ports) => format!(
                "-p tcp -m multiport --dports {}",
                ports.to_string().replace('-', ":")
            ),
            Service::Udp(ports) => format!(
                "-p udp -m multiport --dports {}",
                ports.to_string().replace('-', ":")
            ),
            _ => String::new(),
        };
        Some(format!(
            "-A INPUT {source} {service} -j {}",
            if action == Action::Allow {
                "ACCEPT"
            } else {
                "DROP"
            }
        ))
    })?;
    Some(format!("*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"))
}

fn interval_map(elements: usize) -> String {
    let list: Vec<String> = (0..elements)
        .map(|at| {
            let first = 0x0b00_0000 + at as u32 * 16;
            format!(
                "{}-{} : accept",
                std::net::Ipv4Addr::from(first),
                std::net::Ipv4Addr::from(first + 7)
            )
        })
        .collect();
    format!(
        "table inet one {{\nmap m {{ type ipv4_addr : verdict; flags interval; elements = {{ {} }}; }}\n}}\n",
        list.join(", ")
    )
}
