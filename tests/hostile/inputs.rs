//! Definitions of so many bytes that were made to cost as much as they can.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// A definition, and the file that its templates name.
pub struct Input {
    pub name: &'static str,
    pub text: String,
    pub template: String,
}

/// Repeats what `next` gives until it is so long.
fn filled(
    bytes: usize,
    before: &str,
    mut next: impl FnMut(usize) -> String,
    after: &str,
) -> String {
    let mut text = String::with_capacity(bytes + 100);
    text += before;
    for number in 0.. {
        let part = next(number);
        if text.len() + part.len() + after.len() > bytes {
            break;
        }
        text += &part;
    }
    text + after
}

fn repeated(bytes: usize, before: &str, part: &str, after: &str) -> String {
    filled(bytes, before, |_| part.to_owned(), after)
}

fn input(name: &'static str, text: String) -> Input {
    Input {
        name,
        text,
        template: String::new(),
    }
}

const BIND: &str = "instances: { ins-a: { interfaces: { eth0: { security_groups: [sg-a] } } } }\n";
const OPEN: &str = "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n";

fn network(number: usize) -> String {
    format!(
        "{}.{}.{}.0/24",
        11 + number / 65_536,
        (number / 256) % 256,
        number % 256
    )
}

/// Bytes that are hardly a definition.
pub fn texts(bytes: usize) -> Vec<Input> {
    let nested = |levels: usize| {
        let mut text = String::from("version: 1\nx: ");
        for level in 0..levels {
            let _ = write!(text, "&a{level} [");
        }
        let inner = repeated(bytes - 2 * levels - text.len(), "", "x,", "");
        text + &inner + &"]".repeat(levels)
    };
    let big = format!("version: 1\na: &a '{}'\nb: [", "x".repeat(bytes / 2));
    vec![
        input("one word", "a".repeat(bytes)),
        input("open brackets", "[".repeat(bytes)),
        input("open braces", repeated(bytes, "", "{a: ", "")),
        input("dashes", repeated(bytes, "", "- ", "")),
        input("question marks", repeated(bytes, "", "? ", "")),
        input("colons", repeated(bytes, "", ": ", "")),
        input("anchors", repeated(bytes, "", "&a ", "")),
        input("tags", repeated(bytes, "", "!a ", "")),
        input("an open quote", repeated(bytes, "a: \"", "x y ", "")),
        input("escapes", repeated(bytes, "a: \"", "\\u202e", "\"\n")),
        input("blank lines", repeated(bytes, "a: b", "\n", "c")),
        input("a folded word", repeated(bytes, "a: b", "\n b", "\n")),
        input(
            "a block of text",
            repeated(bytes, "version: 1\na: |\n", "  x\n", ""),
        ),
        input("comments", repeated(bytes, "version: 1\n", "# x\n", "")),
        input(
            "a long list in one line",
            repeated(bytes, "version: 1\nx: [", "a,", "]\n"),
        ),
        input(
            "unknown keys",
            filled(bytes, "version: 1\n", |n| format!("k{n}: v\n"), ""),
        ),
        input(
            "unknown keys in one line",
            filled(bytes, "{ version: 1", |n| format!(",k{n}"), "}"),
        ),
        input(
            "the same key",
            repeated(bytes, "version: 1\n", "a: b\n", ""),
        ),
        input(
            "keys that are lists",
            repeated(bytes, "version: 1\n", "[a]: b\n", ""),
        ),
        input("nested anchors", nested(60)),
        input(
            "a long text named often",
            repeated(bytes, &big, "*a,", "]\n"),
        ),
        input(
            "control characters",
            repeated(bytes, "version: 1\na: '", "\u{202e}", "'\n"),
        ),
        input(
            "one long key",
            format!("version: 1\n{}: x\n", "k".repeat(1000.min(bytes))),
        ),
        input(
            "a long value",
            format!(
                "version: 1\nplatform: {{ unbound_interfaces: '{}' }}\n",
                "k".repeat(bytes - 60)
            ),
        ),
        input("documents", repeated(bytes, "", "---\na\n", "")),
        input(
            "aliases in one line",
            repeated(bytes, "version: 1\na: &a x\nb: [", "*a,", "]\n"),
        ),
    ]
}

/// Definitions with very many faults.
pub fn faults(bytes: usize) -> Vec<Input> {
    let rule = |n: usize| {
        format!("      - {{ action: alow{n}, protocol: tpc, port: 0, sorce: nobody }}\n")
    };
    let undefined =
        |n: usize| format!("      - {{ action: allow, protocol: tcp, source: sg-x{n} }}\n");
    let same = "      - { action: allow, protocol: tcp, source: sg-x }\n";
    let templates = filled(
        bytes / 2,
        "version: 1\naddress_templates:\n",
        |n| format!("  ipm-t{n}: [192.0.2.1]\n"),
        "",
    );
    let words = repeated(
        bytes / 2,
        "security_groups:\n  sg-a:\n    inbound:\n      - { action: allow, protocol: all, source: [",
        "ipm-tt,",
        "] }\n",
    );
    let host = |n: usize| {
        format!(
            "  ins-{n}: {{ hostname: a.b{n}, interfaces: {{ e: {{ security_groups: [] }} }} }}\n"
        )
    };
    let flow = |n: usize| format!("{{action: alow, protocol: tcp, source: 10.0.0.1/{n}}},");
    vec![
        input("wrong rules", filled(bytes, OPEN, rule, "")),
        input(
            "wrong rules in one line",
            filled(
                bytes,
                "{version: 1, security_groups: {sg-a: {inbound: [",
                flow,
                "]}}}",
            ),
        ),
        input(
            "groups that are missing",
            filled(bytes, OPEN, undefined, BIND),
        ),
        input(
            "one group that is missing",
            repeated(bytes, OPEN, same, BIND),
        ),
        input("templates that are nearly named", templates + &words),
        input(
            "hosts of one short name",
            filled(bytes, "version: 1\ninstances:\n", host, ""),
        ),
        input(
            "wrong ports",
            repeated(
                bytes,
                &format!("{OPEN}      - {{ action: allow, protocol: tcp, source: any, port: \""),
                "0x,",
                "\" }\n",
            ),
        ),
        input(
            "wrong interfaces",
            filled(
                bytes,
                "version: 1\ninstances: { ins-a: { interfaces: {",
                |n| format!("\"/{n}\": {{}},"),
                "} } }",
            ),
        ),
        Input {
            name: "wrong lines of a file",
            text: "version: 1\naddress_templates: { ipm-a: { file: t.txt } }\n".into(),
            template: repeated(bytes, "", "x\n", ""),
        },
    ]
}

/// Definitions of which nothing is wrong but their size.
pub fn large(bytes: usize) -> Vec<Input> {
    let alone = |n: usize| {
        let action = if n.is_multiple_of(3) {
            "refuse"
        } else {
            "allow"
        };
        format!(
            "      - {{ action: {action}, protocol: tcp, port: {}, source: {} }}\n",
            1 + n % 65_000,
            network(n)
        )
    };
    let flow = |n: usize| {
        format!(
            "{{action: allow, protocol: tcp, port: {}, source: {}}},",
            1 + n % 65_000,
            network(n)
        )
    };
    let stairs = |n: usize| {
        let (low, high) = (30_000 - (n % 29_000), 30_000 + (n % 29_000));
        let action = if n % 4 < 2 { "allow" } else { "refuse" };
        format!(
            "      - {{ action: {action}, protocol: tcp, port: {low}-{high}, source: {} }}\n",
            network(n)
        )
    };
    let both = |n: usize| {
        let action = if n % 4 < 2 { "allow" } else { "refuse" };
        let reach = n as u32 * 16;
        let (first, last) = (0x6000_0000 - reach, 0x6000_0000 + reach);
        let (first, last) = (Ipv4Addr::from(first), Ipv4Addr::from(last));
        let (low, high) = (30_000 - (n % 29_000), 30_000 + (n % 29_000));
        format!(
            "      - {{ action: {action}, protocol: tcp, port: {low}-{high}, source: {first}-{last} }}\n"
        )
    };
    let odd = |n: u32| format!("{}\n", Ipv4Addr::from(0x0b00_0000 + n * 2));
    let two = |n: usize| {
        format!(
            "      - {{ action: allow, protocol: tcp, port: {}, source: [ipm-a, ipm-b] }}\n",
            1 + n % 65_000
        )
    };
    let chain = |n: usize| match n {
        0 => "  ipmg-0: [ipm-a]\n".to_owned(),
        _ => format!(
            "  ipm-x{n}: [{}]\n  ipmg-{n}: [ipmg-{}, ipm-x{n}, ipm-a]\n",
            network(n),
            n / 33 * 33
        ),
    };
    let templates = format!(
        "version: 1\n{BIND}security_groups: {{ sg-a: {{}} }}\naddress_templates:\n  ipm-a: {{ file: t.txt }}\n  ipm-b: [192.0.2.1]\n"
    );
    let members = |half: usize| {
        let addresses = filled(
            half,
            "version: 1\ninstances: { ins-a: { interfaces: { eth0: { addresses: [",
            |n| format!("{},", Ipv4Addr::from(0x0b00_0000 + n as u32)),
            "], security_groups: [",
        );
        let groups = filled(
            half / 2,
            "",
            |n| format!("sg-{n},"),
            "] } } } }\nsecurity_groups: {",
        );
        addresses + &groups + &filled(half / 2, "", |n| format!("sg-{n}: {{}},"), "}\n")
    };
    let roles = {
        let groups = filled(
            bytes / 2,
            "",
            |n| {
                let head = if n.is_multiple_of(2000) {
                    format!("  sg-{}:\n    inbound:\n", n / 2000)
                } else {
                    String::new()
                };
                head + &alone(n)
            },
            "",
        );
        let count = groups.matches("sg-").count().max(2);
        let bound = filled(
            bytes / 4,
            "instances:\n  ins-a:\n    interfaces:\n",
            |n| {
                format!(
                    "      e{n}: {{ security_groups: [sg-{}, sg-{}] }}\n",
                    n % count,
                    (n / count + n + 1) % count
                )
            },
            "",
        );
        format!("version: 1\nsecurity_groups:\n{groups}{bound}")
    };
    vec![
        input("rules with a network and a port each", filled(bytes, OPEN, alone, BIND)),
        input("the same in one line", filled(bytes, "{version: 1, instances: {ins-a: {interfaces: {eth0: {security_groups: [sg-a]}}}}, security_groups: {sg-a: {inbound: [", flow, "]}}}")),
        input("a staircase of ports", filled(bytes, OPEN, stairs, BIND)),
        input("a staircase of ports and addresses", filled(bytes, OPEN, both, BIND)),
        input("rules over two lists", format!("{}address_templates:\n  ipm-a: {{ file: t.txt }}\n  ipm-b: [192.0.2.1]\n", filled(bytes, OPEN, two, BIND))).with(&filled(bytes / 16, "", |n| odd(n as u32), "")),
        input("groups of templates in each other", filled(bytes, &templates, chain, "")).with(&filled(bytes / 16, "", |n| odd(n as u32), "")),
        input("members of many groups", members(bytes / 2)),
        input("many lists of groups", roles),
        input("a list of addresses", filled(bytes, &format!("version: 1\n{BIND}security_groups: {{ sg-a: {{ inbound: [{{ action: allow, protocol: all, source: ["), |n| format!("{},", Ipv4Addr::from(0x0b00_0000 + n as u32 * 2)), "] }] } }\n")),
        input("ports of one rule", filled(bytes, &format!("{OPEN}      - {{ action: allow, protocol: tcp, source: any, port: \"22"), |n| format!(",{}", 1 + n * 2 % 65_000), &format!("\" }}\n{BIND}"))),
        input("a file of addresses", format!("{OPEN}      - {{ action: allow, protocol: all, source: ipm-a }}\n{BIND}address_templates: {{ ipm-a: {{ file: t.txt }} }}\n")).with(&filled(bytes, "", |n| odd(n as u32), "")),
        input("a file of ranges over each other", format!("{OPEN}      - {{ action: allow, protocol: all, source: ipm-a }}\n{BIND}address_templates: {{ ipm-a: {{ file: t.txt }} }}\n")).with(&filled(bytes, "", |n| format!("{}-{}\n", Ipv4Addr::from(0x5000_0000 - n as u32), Ipv4Addr::from(0x5000_0000 + n as u32)), "")),
        input("empty groups", filled(bytes, &format!("version: 1\n{BIND}security_groups:\n  sg-a: {{}}\n"), |n| format!("  sg-{n}: {{}}\n"), "")),
    ]
}

impl Input {
    fn with(mut self, template: &str) -> Self {
        self.template = template.to_owned();
        self
    }
}
