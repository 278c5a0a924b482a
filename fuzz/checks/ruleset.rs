//! A definition that is made of any bytes, and all that becomes of it: what the policy decides is what the compiled ruleset decides,
//! and the kernel takes it, at once and in place of another.

use super::generate::Edges;
use secgroupd::definition::parse;
use secgroupd::netfilter::enforce::Kernel;
use secgroupd::netfilter::objects::objects;
use secgroupd::policy::{Policy, Reason, validate};
use secgroupd::ruleset::{Generation, Ruleset, Walker, compile, json, text};
use std::collections::BTreeSet;
use std::fmt::Write;

const PACKETS: usize = 150;

/// What the bytes say: two definitions, the second enforced in place of the first.
pub fn check(data: &[u8], kernel: Option<&Kernel>) {
    let mut draw = Draw { bytes: data };
    let definitions = [definition(&mut draw), definition(&mut draw)];
    let rulesets: Vec<Ruleset> = definitions
        .iter()
        .filter_map(|text| compiled(text))
        .collect();
    let Some(kernel) = kernel else { return };
    kernel.remove().expect("the table goes");
    for (at, ruleset) in rulesets.iter().enumerate() {
        let enforced = match kernel.enforce(ruleset, Generation(1)) {
            Ok(enforced) => enforced,
            Err(error) => panic!("{}\n{error}", definitions.join("\n")),
        };
        assert_eq!(enforced.left_behind, None, "{}", definitions.join("\n"));
        if at == 0 {
            let there = objects().expect("a listing");
            assert_eq!(there.generations().len(), 1, "{}", definitions.join("\n"));
        }
    }
}

/// The ruleset, judged; nothing if the definition is refused.
fn compiled(definition: &str) -> Option<Ruleset> {
    let policy = policy(definition)?;
    let ruleset = compile(&policy);
    if let Err(difference) = secgroupd::ruleset::check(&policy, &ruleset) {
        panic!("{definition}\n{difference}");
    }
    let walker = Walker::new(&ruleset);
    let edges = Edges::of(&policy);
    let mut rng = fastrand::Rng::with_seed(definition.len() as u64);
    for _ in 0..PACKETS {
        let packet = edges.any(&mut rng);
        let decided = policy.decide(&packet);
        let (verdict, reason) = walker.walk(&packet);
        let reason = reason.cloned().unwrap_or(Reason::Unmanaged);
        assert_eq!(
            (decided.verdict, &decided.reason),
            (verdict, &reason),
            "{packet:?}\n{definition}"
        );
    }
    // Both texts of it are made, and neither has a line that a name has broken.
    let lines = text::table(&ruleset, Generation(1));
    assert!(
        lines.chars().all(|c| matches!(c, '\n' | '\t' | ' '..='~')),
        "{definition}\n{lines}"
    );
    drop(json::table(&ruleset, Generation(1)));
    Some(ruleset)
}

fn policy(definition: &str) -> Option<Policy> {
    let parsed = parse([("fuzz.yaml", definition)]);
    let account = validate(&parsed.definition, parsed.diagnostics).account?;
    let first = account.instances.first()?;
    let unblocked: BTreeSet<_> = first
        .smtp_request
        .then(|| first.id.clone())
        .into_iter()
        .collect();
    account.policy(&first.id, &unblocked)
}

/// Choices out of bytes; when there are no more, the first of each.
struct Draw<'a> {
    bytes: &'a [u8],
}

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        *first
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn port(&mut self) -> u16 {
        // Near each other, so that they meet: and now and then anywhere.
        match self.byte() {
            byte @ 0..=199 => u16::from(byte / 4) + 1,
            byte @ 200..=239 => [
                22, 25, 53, 67, 68, 80, 135, 136, 443, 546, 547, 1433, 65_534, 65_535,
            ][usize::from(byte) % 14],
            _ => u16::from_be_bytes([self.byte(), self.byte()]).max(1),
        }
    }

    /// Letters that an id may have, and what is allowed beside.
    fn word(&mut self, first: &str, letters: &[u8], longest: usize) -> String {
        let mut word = String::from(first);
        for _ in 0..=self.below(longest) {
            word.push(char::from(letters[self.below(letters.len())]));
        }
        word
    }
}

fn definition(draw: &mut Draw) -> String {
    let groups: Vec<String> = (0..=draw.below(4))
        .map(|at| draw.word(&format!("sg-{at}"), b"a-Z9", 3))
        .collect();
    let mut out = String::from("version: 1\n");
    templates(draw, &mut out);
    out += "security_groups:\n";
    for group in &groups {
        let _ = writeln!(
            out,
            "  {group}:\n    name: \"{}\"",
            draw.one(&["a", "\\e[2J", "\\u202e b", "x\\ny"])
        );
        for (list, remote) in [("inbound", "source"), ("outbound", "destination")] {
            let rules: Vec<String> = (0..draw.below(10))
                .map(|_| rule(draw, remote, &groups))
                .collect();
            let _ = writeln!(out, "    {list}: [{}]", rules.join(",\n      "));
        }
    }
    instances(draw, &groups, &mut out);
    platform(draw, &mut out);
    out
}

fn templates(draw: &mut Draw, out: &mut String) {
    let (a, b) = (addresses(draw, 4), addresses(draw, 40));
    let _ = writeln!(
        out,
        "address_templates:\n  ipm-a: [{a}]\n  ipm-b: [{b}]\n  ipmg-c: [ipm-b, ipm-a]"
    );
    let (tcp, udp) = (ports(draw), ports(draw));
    let _ = writeln!(
        out,
        "service_templates:\n  ppm-a: [\"tcp:{tcp}\"]\n  ppm-b: [\"udp:{udp}\", {}]\n  ppmg-c: [ppm-a, ppm-b]",
        draw.one(&["icmp", "icmpv6", "gre", "\"tcp:all\""])
    );
}

fn addresses(draw: &mut Draw, most: usize) -> String {
    let list: Vec<String> = (0..=draw.below(most)).map(|_| address(draw)).collect();
    list.join(", ")
}

/// An address, a network or a range, most of them near to others.
fn address(draw: &mut Draw) -> String {
    let v6 = draw.below(3) == 0;
    let bits: u8 = if v6 { 128 } else { 32 };
    let number = |draw: &mut Draw| -> u128 {
        let low = u128::from(u16::from_be_bytes([draw.byte(), draw.byte()]));
        let high = [0x0a00_0000, 0xc000_0200, 0xffff_0000, 0][draw.below(4)];
        match v6 {
            true => (0x2001_0db8 << 96) | (u128::from(draw.byte()) << 64) | low,
            false => (high | low) & 0xffff_ffff,
        }
    };
    let shown = |number: u128| match v6 {
        true => std::net::Ipv6Addr::from(number).to_string(),
        false => std::net::Ipv4Addr::from(number as u32).to_string(),
    };
    match draw.below(4) {
        0 => format!("\"{}\"", shown(number(draw))),
        1 => {
            let (a, b) = (number(draw), number(draw));
            format!("\"{}-{}\"", shown(a.min(b)), shown(a.max(b)))
        }
        2 => draw
            .one(&[
                "\"0.0.0.0/0\"",
                "\"::/0\"",
                "\"0.0.0.0/1\"",
                "\"fe80::/10\"",
                "\"ff02::1:2\"",
            ])
            .into(),
        _ => {
            let length = draw.byte() % (bits + 1);
            let host = u32::from(bits - length);
            let network = number(draw)
                .checked_shr(host)
                .and_then(|high| high.checked_shl(host))
                .unwrap_or(0);
            format!("\"{}/{length}\"", shown(network))
        }
    }
}

fn ports(draw: &mut Draw) -> String {
    if draw.below(12) == 0 {
        return "all".into();
    }
    let one = |draw: &mut Draw| {
        let (a, b) = (draw.port(), draw.port());
        match draw.below(2) {
            0 => a.to_string(),
            _ => format!("{}-{}", a.min(b), a.max(b)),
        }
    };
    let list: Vec<String> = (0..=draw.below(5)).map(|_| one(draw)).collect();
    list.join(",")
}

fn rule(draw: &mut Draw, remote_key: &str, groups: &[String]) -> String {
    let action = draw.one(&["allow", "refuse"]);
    let what = match draw.below(8) {
        0..4 => format!(
            "protocol: {}, port: \"{}\"",
            draw.one(&["tcp", "udp"]),
            ports(draw)
        ),
        4 => format!("service: {}", draw.one(&["ppm-a", "ppm-b", "ppmg-c"])),
        _ => format!(
            "protocol: {}",
            draw.one(&["all", "icmp", "icmpv6", "gre", "tcp", "udp"])
        ),
    };
    let one = |draw: &mut Draw| match draw.below(8) {
        0 => groups[draw.below(groups.len())].clone(),
        1..3 => draw.one(&["ipm-a", "ipm-b", "ipmg-c"]).to_owned(),
        3 => "any".to_owned(),
        _ => address(draw),
    };
    let list: Vec<String> = (0..=draw.below(3)).map(|_| one(draw)).collect();
    format!(
        "{{ action: {action}, {what}, {remote_key}: [{}] }}",
        list.join(", ")
    )
}

fn instances(draw: &mut Draw, groups: &[String], out: &mut String) {
    let _ = writeln!(
        out,
        "instances:\n  ins-a:\n    kind: {}\n    billing: prepaid\n    smtp: {}\n    interfaces:",
        draw.one(&["cvm", "clb"]),
        draw.one(&["blocked", "unblocked"])
    );
    for at in 0..=draw.below(4) {
        let bound: Vec<&str> = (0..draw.below(4))
            .map(|_| groups[draw.below(groups.len())].as_str())
            .collect();
        // Everything that a name of an interface may hold.
        let first = format!("{}{at}", draw.one(&["eth", "e", "a"]));
        let name = draw.word(&first, b"0'$;#{}(),.&|!~-_%@=", 8);
        let glob = if draw.below(4) == 0 { "*" } else { "" };
        let addresses = match (at, glob) {
            (0, "") => format!(
                "addresses: [10.0.0.{}, \"2001:db8::{}\"], ",
                draw.byte(),
                draw.byte()
            ),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "      \"{name}{glob}\": {{ {addresses}security_groups: [{}] }}",
            bound.join(", ")
        );
    }
}

fn platform(draw: &mut Draw, out: &mut String) {
    let _ = writeln!(
        out,
        "platform:\n  blocked_ports: {{ profile: {}, direction: {}, peers: {}, add: {{ tcp: \"{}\" }} }}\n  smtp: {{ block: {} }}\n  unbound_interfaces: {}",
        draw.one(&["tencent", "none"]),
        draw.one(&["both", "inbound", "outbound"]),
        draw.one(&["any", "external"]),
        ports(draw).replace("all", "9"),
        draw.one(&["true", "false"]),
        draw.one(&["ignore", "refuse"]),
    );
    if draw.below(2) == 1 {
        let _ = writeln!(out, "  internal_networks: [{}]", addresses(draw, 4));
    }
    if draw.below(2) == 1 {
        let name = draw.word("a", b"0._-z", 20);
        let _ = writeln!(
            out,
            "  approved_services:\n    {name}: {{ direction: inbound, protocol: {}, source: {} }}",
            draw.one(&["tcp", "[udp, icmp]", "all"]),
            draw.one(&["any", "ipm-a", "[ipmg-c, 192.0.2.1]"])
        );
    }
}
