//! A saved definition changes what it names, and nothing else.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use super::site::{Site, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("an_edit_touches_the_touched_alone", &[], touched_alone),
        kernel_test("a_wrong_save_changes_nothing", &[], wrong_save),
        kernel_test("instances_come_and_go", &[], come_and_go),
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
    // The strict figure is the benchmark's; this machine may be busy.
    assert!(least < Duration::from_secs(1), "{least:?}");
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
