//! A saved definition changes what it names, and nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use super::site::{Site, until};
use crate::support::{bounded, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("an_edit_touches_the_touched_alone", &[], touched_alone),
        kernel_test("an_edit_touches_no_rule_of_others", &["nft"], no_other),
        kernel_test("an_edit_does_not_wait_for_a_reach", &[], while_reaching),
        kernel_test("an_address_that_was_given_is_written", &[], written),
        kernel_test("a_cable_that_cannot_be_laid", &[], no_cable),
        kernel_test("a_wrong_save_changes_nothing", &[], wrong_save),
        kernel_test("instances_come_and_go", &[], come_and_go),
        kernel_test("a_rule_ends_in_a_lab", &[], rule_ends),
    ]
}

/// Ten instances, five of each group.
fn ten(port: u16, comment: &str) -> String {
    let mut text = format!(
        "version: 1 {comment}\nsecurity_groups:\n\
         \x20 sg-a: {{ inbound: [{{ action: allow, protocol: tcp, port: {port}, source: any }}] }}\n\
         \x20 sg-b: {{ inbound: [{{ action: allow, protocol: tcp, port: 80, source: any }}] }}\ninstances:\n"
    );
    for number in 0..10 {
        let group = if number < 5 { "a" } else { "b" };
        text += &format!(
            "  ins-{group}{number}: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.{}], security_groups: [sg-{group}] }} }} }}\n",
            number + 1
        );
    }
    text + "lab: { services: { ins-a0: [\"tcp:80-99\"] } }\n"
}

/// At its time, at the instances that enforce it, and without a save.
fn rule_ends() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let end = format!("@{}", now.as_secs() + 8);
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &end, "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    let until_then = String::from_utf8(date.stdout).unwrap();
    let until_then = format!("until: {} }}", until_then.trim());
    let text = ten(80, "").replacen(" }] }", &format!(", {until_then}] }}"), 1);
    let site = Site::new(&text);
    let _up = site.up();
    let before = site.generations();
    assert_eq!(site.found("internet ins-a0 tcp 80"), "reached");
    until("the rule has ended", || {
        site.generations().get("ins-a0") > before.get("ins-a0")
    });
    assert_eq!(site.found("internet ins-a0 tcp 80"), "silent");
    assert_eq!(site.generations()["ins-b5"], before["ins-b5"]);
}

fn touched_alone() {
    let site = Site::new(&ten(80, ""));
    let _up = site.up();
    let mut before = site.generations();
    assert_eq!(before.len(), 10);
    let mut least = Duration::MAX;
    for port in 81..84 {
        let start = SystemTime::now();
        site.save(&ten(port, ""));
        let changed = |before: &BTreeMap<String, u64>| -> Vec<String> {
            let now = site.generations();
            let changed = now.iter().filter(|(name, now)| before[*name] != **now);
            changed.map(|(name, _)| name.clone()).collect()
        };
        until("five are changed", || changed(&before).len() >= 5);
        assert_eq!(
            changed(&before),
            ["ins-a0", "ins-a1", "ins-a2", "ins-a3", "ins-a4"]
        );
        let status = site.lab("status --json").good().json();
        let last = status["nodes"].as_array().unwrap().iter();
        let last = last.filter_map(|node| node["enforced"]["since_ms"].as_u64());
        let last = UNIX_EPOCH + Duration::from_millis(last.max().unwrap());
        least = least.min(last.duration_since(start).unwrap_or_default());
        assert_eq!(
            site.found(&format!("internet ins-a0 tcp {port}")),
            "reached"
        );
        assert_eq!(
            site.found(&format!("internet ins-a0 tcp {}", port - 1)),
            "silent"
        );
        before = site.generations();
    }
    bounded("an edit", least, Duration::from_secs(1));
    // What changes no rule gives nobody a new generation.
    let saves = site.lab("status --json").good().json()["changes"].clone();
    site.save(&ten(83, "# only a word"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.generations(), before);
    assert_eq!(site.lab("status --json").good().json()["changes"], saves);
}

fn wrong_save() {
    let site = Site::new(&ten(80, ""));
    let up = site.up();
    let before = site.generations();
    site.save(&ten(81, "").replace("action: allow", "action: alow"));
    up.until_said("did you mean `allow`?");
    up.until_said("the lab stays as it was");
    assert_eq!(site.generations(), before);
    assert_eq!(site.found("internet ins-a0 tcp 80"), "reached");
    let status = site.lab("status").good();
    assert!(
        status.out.contains("The last save was refused"),
        "{status:?}"
    );
    // What is wrong with it as a lab is no different.
    site.save(&ten(81, "").replace("10.0.0.2]", "10.0.0.1]"));
    up.until_said("the address 10.0.0.1 is used twice");
    assert_eq!(site.generations(), before);
    site.save(&ten(82, ""));
    up.until_said("another policy: ins-a0, ins-a1");
    assert_eq!(site.found("internet ins-a0 tcp 82"), "reached");
    let status = site.lab("status").good();
    assert!(!status.out.contains("refused"), "{status:?}");
}

fn come_and_go() {
    let text = ten(80, "");
    let site = Site::new(&text);
    let up = site.up();
    site.shell("ins-a0", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        .good();
    let less: String = text
        .lines()
        .filter(|line| !line.contains("ins-b9"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    site.save(&less);
    up.until_said("gone: ins-b9");
    let unknown = site.lab("probe internet ins-b9 tcp 80");
    assert_eq!(unknown.code, 2, "{unknown:?}");
    site.save(&text.replace("10.0.0.10]", "10.0.0.77]"));
    up.until_said("new: ins-b9");
    assert_eq!(
        site.found("ins-b9 10.0.0.1 tcp 80"),
        "silent",
        "no outbound rule"
    );
    // Another address is another wire; whoever keeps his keeps all.
    site.save(&text.replace("10.0.0.10]", "10.0.0.78]"));
    up.until_said("made anew: ins-b9");
    assert_eq!(site.found("internet 10.0.0.78 tcp 81"), "silent");
    assert_eq!(site.found("internet 10.0.0.78 tcp 80"), "closed");
    let kept = site
        .shell("ins-a0", "cat /proc/sys/net/ipv4/ip_forward")
        .good();
    assert_eq!(kept.out, "1\n");
    // What listens changes without a new wire.
    site.save(
        &text
            .replace("10.0.0.10]", "10.0.0.78]")
            .replace("tcp:80-99", "tcp:81"),
    );
    until("80 is closed", || {
        site.found("internet ins-a0 tcp 80") == "closed"
    });
}

/// Not even the number of a rule is another where nothing was touched. Counters are left out: the kernel's own multicast reports are
/// counted in the first seconds of an interface.
fn no_other() {
    let site = Site::new(&ten(80, ""));
    let up = site.up();
    let listed = |node: &str| site.shell(node, "nft -s -a list ruleset").good().out;
    let before: Vec<(String, String)> = site
        .generations()
        .into_keys()
        .map(|name| (name.clone(), listed(&name)))
        .collect();
    // A rule, an instance more, and a line that moves all others.
    let edited = ten(81, "\n# a line").replace(
        "instances:\n",
        "instances:\n  ins-c: { interfaces: { eth0: { addresses: [10.0.0.77], security_groups: [sg-a] } } }\n",
    );
    site.save(&edited);
    up.until_said("new: ins-c; another policy: 6 instances");
    for (name, before) in before {
        let is_touched = name.starts_with("ins-a");
        assert_eq!(listed(&name) != before, is_touched, "{name}");
    }
    // Where it stands is told all the same.
    let probe = site.lab("probe internet ins-b5 tcp 80");
    assert!(probe.out.contains("sg-b/in/0 (groups.yaml:5)"), "{probe:?}");
}

/// A reach of mostly silent cells takes more than a second. What is saved meanwhile is enforced at once, and tried.
fn while_reaching() {
    let site = Site::new(&ten(80, ""));
    let mut up = site.up_with("up groups.yaml --reach");
    let mut reach = site.command(&format!("lab reach --json --name {}", site.name()));
    let reaching = std::thread::spawn(move || reach.output().unwrap());
    std::thread::sleep(Duration::from_millis(400));
    let before = site.generations();
    site.save(&ten(81, ""));
    until("it is enforced", || site.generations() != before);
    assert!(!reaching.is_finished(), "it is under way, and begins anew");
    let output = reaching.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let reach: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for cell in reach["cells"].as_array().unwrap() {
        assert_eq!(cell["agreement"], "equal", "{cell}");
        if cell["to"] == "ins-a0" && cell["from"] == "internet" {
            let open = cell["service"] == "tcp:81";
            assert_eq!(cell["found"] == "reached", open, "{cell}");
        }
    }
    up.until_said("internet -> ins-a0 tcp:81: silent -> reached");
    // Nor does the end wait.
    let before = up.said().len();
    site.save(&ten(82, ""));
    until("it is said", || {
        up.said()[before..].contains("another policy")
    });
    let asked = std::time::Instant::now();
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.end(), Some(0));
    let took = asked.elapsed();
    bounded("the end", took, Duration::from_secs(1));
}

/// Who writes an address down has it, and who was given it gets another.
fn written() {
    let text = |more: &str| {
        format!(
            "version: 1\nsecurity_groups: {{ sg-a: {{ inbound: [{{ action: allow, protocol: tcp, port: 80, source: any }}] }} }}\n\
             instances:\n  ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }}\n{more}\
             lab: {{ services: {{ ins-a: [tcp:80] }} }}\n"
        )
    };
    let site = Site::new(&text(""));
    let up = site.up();
    assert_eq!(site.found("internet 10.0.0.2 tcp 80"), "reached");
    site.save(&text(
        "  ins-b: { interfaces: { eth0: { addresses: [10.0.0.2], security_groups: [sg-a] } } }\n",
    ));
    up.until_said("new: ins-b; made anew: ins-a");
    assert_eq!(site.found("internet 10.0.0.2 tcp 80"), "closed");
    assert_eq!(site.found("internet 10.0.0.3 tcp 80"), "reached");
    assert_eq!(site.found("internet ins-a tcp 80"), "reached");
}

/// The instance is left out, and laid again by the next save that can be.
fn no_cable() {
    let text = ten(80, "");
    let site = Site::new(&text);
    let up = site.up();
    // The kernel takes this for a number that it is to choose.
    let wrong = text.replace(
        "ins-b9: { interfaces: { eth0:",
        "ins-b9: { interfaces: { \"eth%d\":",
    );
    assert_ne!(wrong, text);
    site.save(&wrong);
    up.until_said("error: ins-b9: cannot set up its interface");
    assert_eq!(site.found("internet ins-a0 tcp 80"), "reached");
    let gone = site.lab("probe internet ins-b9 tcp 80");
    assert_eq!(gone.code, 2, "{gone:?}");
    let status = site.lab("status").good();
    assert!(
        status
            .out
            .contains("The last save could not be followed in full"),
        "{status:?}"
    );
    site.save(&text);
    up.until_said("new: ins-b9");
    assert_eq!(site.found("internet ins-b9 tcp 80"), "closed");
}
