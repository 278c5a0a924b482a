//! The table of keys, the page made from it, and the example: all as the parser has it.

use crate::cases::{expect, judge_texts};
use crate::values::VALUES;
use secgroupd::definition::keys::{KEYS, markdown};
use secgroupd::definition::model::InstanceKind;
use secgroupd::policy::address::AddressRange;
use secgroupd::policy::{AddressSet, Policy, PortSet, blocked_ports, platform};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn the_page_of_keys_is_the_table() {
    expect(&config().join("keys.md"), &markdown());
}

#[test]
fn the_example_is_right_and_has_every_key() {
    let text = fs::read_to_string(config().join("example.yaml")).unwrap();
    let judged = judge_texts([("example.yaml", &*text)], &config());
    assert!(judged.diagnostics.is_empty(), "{}", judged.rendered());
    // What is written, without what a comment says.
    let words: BTreeSet<&str> = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default())
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split([' ', '{', ',']))
        .collect();
    for key in KEYS {
        let name = key.path.rsplit(['.', ']']).next().unwrap();
        let written = match name.strip_prefix('<') {
            Some("sg-id>") => words.iter().any(|word| word.starts_with("sg-")),
            Some("ipm-id>") => words.contains("ipm-office:"),
            Some("ipmg-id>") => words.contains("ipmg-trusted:"),
            Some("ppm-id>") => words.contains("ppm-web:"),
            Some("ppmg-id>") => words.contains("ppmg-monitoring:"),
            Some("subnet-id>") => words.contains("subnet-db:"),
            Some("acl-id>") => words.contains("acl-db:"),
            Some("ins-id>") => words.contains("ins-web1:"),
            Some(_) => words.contains("eth0:") && words.contains("ntp:"),
            None => words.contains(&*format!("{name}:")),
        };
        assert!(written, "config/example.yaml does not use {}", key.path);
    }
}

/// A definition of one group, one instance and a platform, with these lines in it.
struct Draft<'t> {
    group: &'t str,
    rule: &'t str,
    acl_entry: &'t str,
    instance: &'t str,
    interface: &'t str,
    platform: &'t str,
    top: &'t str,
}

const DRAFT: Draft = Draft {
    group: "",
    rule: "action: allow, protocol: tcp, source: any",
    acl_entry: "",
    instance: "",
    interface: "security_groups: [sg-a]",
    platform: "",
    top: "version: 1",
};

impl Draft<'_> {
    fn text(&self) -> String {
        format!(
            "{}\nsecurity_groups:\n  sg-a:\n    inbound: [{{ {} }}]\n    {}\n\
             address_templates: {{ ipm-a: [192.0.2.7], ipmg-a: [ipm-a] }}\n\
             service_templates: {{ ppm-a: [\"tcp:80\"], ppmg-a: [ppm-a] }}\n{}\
             instances:\n  ins-a:\n    interfaces: {{ eth0: {{ {} }} }}\n    {}\n\
             platform: {{ {} }}\n",
            self.top,
            self.rule,
            self.group,
            self.network_acls(),
            self.interface,
            self.instance,
            self.platform
        )
    }

    fn network_acls(&self) -> String {
        match self.acl_entry {
            "" => String::new(),
            entry => format!("network_acls: {{ acl-x: {{ inbound: [{{ {entry} }}] }} }}\n"),
        }
    }

    fn policy(&self) -> Result<Policy, String> {
        let text = self.text();
        let judged = judge_texts([("draft.yaml", &*text)], Path::new("/nonexistent"));
        match judged.account {
            Some(_) => Ok(judged.policy()),
            None => Err(judged.rendered() + &text),
        }
    }
}

/// The draft in which a key of the table has a value.
fn draft<'t>(path: &str, line: &'t str) -> Draft<'t> {
    let mut draft = DRAFT;
    let part = [
        ("security_groups.<sg-id>.inbound[]", 1),
        ("security_groups.<sg-id>", 0),
        ("network_acls.<acl-id>.inbound[]", 6),
        ("instances.<ins-id>.interfaces.<name>", 3),
        ("instances.<ins-id>", 2),
        ("platform", 4),
        ("", 5),
    ];
    let part = part.iter().find(|(prefix, _)| path.starts_with(prefix));
    match part.unwrap().1 {
        0 => draft.group = line,
        1 => draft.rule = line,
        2 => draft.instance = line,
        3 => draft.interface = line,
        4 => draft.platform = line,
        6 => draft.acl_entry = line,
        _ => draft.top = line,
    }
    draft
}

#[test]
fn each_key_takes_the_values_of_the_table_and_no_others() {
    for (path, accepted, refused) in VALUES {
        for line in *accepted {
            let mut draft = draft(path, line);
            // Two keys at once stand on lines of their own.
            let lines = line
                .strip_prefix("{ ")
                .map(|l| l.trim_end_matches(" }").replace(", ", "\n    "));
            if let Some(lines) = &lines {
                draft.instance = lines;
            }
            draft
                .policy()
                .unwrap_or_else(|e| panic!("{path}: `{line}` is refused: {e}"));
        }
        for line in *refused {
            assert!(
                draft(path, line).policy().is_err(),
                "{path}: `{line}` is accepted"
            );
        }
        assert!(KEYS.iter().any(|key| key.path == *path), "{path} is no key");
    }
}

/// Every leaf of the table is tried above, or is the outbound twin of one that is, or a template, which
/// the reject cases try.
#[test]
fn no_key_is_left_untried() {
    for key in KEYS {
        let inbound = key.path.replace(".outbound[]", ".inbound[]");
        let twin = inbound.replace("destination", "source");
        let leaf = !KEYS
            .iter()
            .any(|other| other.path.starts_with(&format!("{}.", key.path)));
        let is_list = key.values == "list of rules"
            || key.values == "list of entries"
            || key.values == "list of mappings"
            || key.path.contains("_templates.");
        let tried = VALUES
            .iter()
            .any(|(path, ..)| [key.path, &inbound, &twin].contains(path));
        assert!(!leaf || is_list || tried, "{} is not tried", key.path);
    }
}

#[test]
fn the_stated_values_and_defaults_are_those_of_the_parser() {
    let stated = |path: &str| {
        KEYS.iter()
            .find(|key| key.path == path)
            .unwrap_or_else(|| panic!("{path}"))
    };
    // Words of the table are all accepted; one of them is the default.
    for key in KEYS {
        let words: Vec<&str> = key.values.split(", ").collect();
        let is_choice = words
            .iter()
            .all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        if !is_choice || words.len() < 2 {
            continue;
        }
        let accepted = VALUES
            .iter()
            .filter(|(path, ..)| *path == key.path)
            .flat_map(|(_, accepted, _)| *accepted);
        let tried: String = accepted.copied().collect();
        for word in &words {
            let outbound = key.path.contains(".outbound[]");
            assert!(
                outbound || tried.contains(word),
                "{}: `{word}` is not tried",
                key.path
            );
        }
        let default = key.default;
        assert!(
            default.starts_with("required") || words.contains(&default),
            "{}",
            key.path
        );
    }
    let policy = DRAFT.policy().unwrap();
    let is = |path: &str, value: &str| assert_eq!(stated(path).default, value, "{path}");
    let networks = stated("platform.internal_networks").default.split(", ");
    let ranges = networks.map(|text| AddressRange::parse(text).unwrap());
    assert_eq!(policy.platform.internal, AddressSet::new(ranges));
    let blocked = &policy.platform.blocked_ports;
    is("platform.blocked_ports.profile", "tencent");
    assert_eq!(blocked.tcp, blocked_ports::port_set(blocked_ports::TCP));
    assert_eq!(blocked.udp, blocked_ports::port_set(blocked_ports::UDP));
    is("platform.blocked_ports.direction", "both");
    assert!(blocked.inbound && blocked.outbound);
    is("platform.blocked_ports.peers", "any");
    assert!(!blocked.external_only);
    is("platform.smtp.block", "true");
    assert!(policy.platform.smtp_block && policy.smtp_blocked);
    let unblocks = policy.platform.unblocks_per_account.to_string();
    is("platform.smtp.unblocks_per_account", &unblocks);
    let names: Vec<&str> = policy
        .platform
        .approved_services
        .iter()
        .map(|s| &*s.name)
        .collect();
    let default = stated("platform.approved_services").default;
    assert!(
        names.iter().all(|name| default.contains(name))
            && names.len() == platform::APPROVED_SERVICES.len()
    );
    is("platform.unbound_interfaces", "ignore");
    assert!(!policy.platform.unbound_refuse);
    is("platform.established", "recheck");
    assert!(policy.platform.recheck);
    is("platform.events", "none");
    assert!(!policy.platform.events);
    is("platform.mode", "enforce");
    assert!(!policy.platform.observe);
    is("security_groups.<sg-id>.mode", "enforce");
    assert!(!policy.bindings[0].groups[0].observe);
    is("security_groups.<sg-id>.inbound[].port", "all");
    let rule = &policy.bindings[0].groups[0].inbound[0];
    assert_eq!(
        rule.services,
        [secgroupd::policy::Service::Tcp(PortSet::all())]
    );
    let text = DRAFT.text();
    let judged = judge_texts([("draft.yaml", &*text)], Path::new(""));
    let account = judged.account.unwrap();
    let instance = &account.instances[0];
    is("instances.<ins-id>.kind", "cvm");
    assert_eq!(instance.kind, InstanceKind::Cvm);
    is("instances.<ins-id>.smtp", "blocked");
    assert!(!instance.smtp_request);
    is("instances.<ins-id>.hostname", "the id");
    assert!(account.choose(None, "INS-A.example.com").is_ok());
    is("instances.<ins-id>.billing", "pay-as-you-go");
    assert!(
        draft("instances.<ins-id>.smtp", "smtp: unblocked")
            .policy()
            .is_err()
    );
}
