//! Rules that end: at their time by the daemon, and at every start; what has ended does not come back.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use secgroupd::policy::Until;
use serde_json::{Value, json};

use super::kept::until_kept;
use super::site::{Site, until};
use super::talk::Talk;
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("a_rule_ends_at_its_time", &["nft"], at_its_time),
        kernel_test(
            "a_rule_that_has_ended_stays_so_over_starts",
            &["nft"],
            over_starts,
        ),
        kernel_test(
            "a_rule_ends_while_no_daemon_runs",
            &["nft"],
            without_a_daemon,
        ),
        kernel_test("a_candidate_s_rule_ends", &["nft"], of_a_candidate),
    ]
}

/// 2100-01-01T00:00:00Z, which no test sees.
const FAR: u64 = 4_102_444_800;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// So many seconds since 1970, as a definition writes it.
fn written(seconds: u64) -> String {
    let ran = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap().trim().to_owned();
    assert_eq!(Until::parse(&text).unwrap().seconds(), seconds);
    text
}

/// TCP 22 until then, and TCP 80.
fn definition(seconds: u64) -> String {
    format!(
        "version: 1
security_groups:
  sg-web:
    inbound:
      - {{ action: allow, protocol: tcp, port: 22, source: any, until: {} }}
      - {{ action: allow, protocol: tcp, port: 80, source: any }}
    outbound:
      - {{ action: allow, protocol: all, destination: any }}
instances:
  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}
",
        written(seconds)
    )
}

fn generation(site: &Site) -> u64 {
    site.status()["enforced"]["generation"].as_u64().unwrap()
}

/// What the status says of the rule's end.
fn ending(site: &Site) -> Value {
    site.status()["enforced"]["ending"][0].clone()
}

fn explained(site: &Site, port: u16) -> Value {
    let line = format!("explain --enforced --json inbound tcp 10.0.0.9 {port}");
    serde_json::from_str(&site.run(&line).out).unwrap()
}

/// A live flow of the rule ends with it in both directions, and another goes on. The rule after it keeps its number,
/// and the next daemon finds all of it standing.
fn at_its_time() {
    let site = Site::quiet();
    let end = now() + 4;
    site.write("groups.yaml", &definition(end));
    let daemon = site.start();
    let [ssh, web] = [22, 80].map(|port| {
        let to = format!("10.0.0.5:{port}");
        Talk::tcp(&site.peer, &to, &site.host, &to)
    });
    assert!(ssh.carries() && web.carries());
    let expected = json!({ "rule": "sg-web/in/0", "until": written(end), "ended": false });
    assert_eq!(ending(&site), expected);
    let page = site.run("status").out;
    let line = format!("sg-web/in/0 at {}", written(end));
    assert!(page.contains(&line), "{page}");
    daemon.until_logged("generation 2 enforced for ins-web1");
    assert!(now() >= end, "not before its time");
    daemon.until_logged("(ended: sg-web/in/0)");
    assert!(ssh.has_ended() && web.carries(), "{}", daemon.log());
    assert_eq!(ending(&site)["ended"], true);
    let refused = explained(&site, 22);
    assert_eq!(refused["verdict"], "refuse");
    assert_eq!(refused["ended"]["rule"], "sg-web/in/0", "{refused}");
    assert_eq!(explained(&site, 80)["rule"], "sg-web/in/1");
    let check: Value = serde_json::from_str(&site.run("check --json").out).unwrap();
    let codes: Vec<&str> = check["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|each| each["code"].as_str())
        .collect();
    assert!(codes.contains(&"ended"), "{check}");
    // A save that changes nothing does not bring it back.
    site.save("groups.yaml", &definition(end));
    daemon.until_logged("the definition says what it said");
    assert!(!ssh.carries() && web.carries());
    until("it is kept", || {
        fs::read(site.path("state/latest-time")).is_ok_and(|text| !text.is_empty())
            && site.status()["not_kept"].is_null()
    });
    daemon.end(Signal::SIGTERM);
    let again = site.start();
    again.until_logged("generation 2 of an earlier secgroupd is in force, and stays");
    assert!(!ssh.carries() && web.carries(), "{}", again.log());
}

/// The state has seen a later time than the clock shows: as after a battery is empty, or where a machine has no clock.
fn over_starts() {
    let site = Site::new();
    site.write("groups.yaml", &definition(FAR - 1));
    let daemon = site.start();
    site.until_open(&[22, 80], &[]);
    until_kept(&site, "port: 22");
    daemon.end(Signal::SIGKILL);
    site.write("state/latest-time", &format!("{FAR}\n"));
    // The definition is wrong by now: the kept policy alone says what is enforced.
    site.write("groups.yaml", "version: 1\nwrong: 1\n");
    let daemon = site.launch("run");
    daemon.until_logged("these rules of the kept policy have ended: sg-web/in/0");
    daemon.until_logged("behind the latest time that this host has seen");
    site.until_open(&[80], &[22]);
    daemon.end(Signal::SIGKILL);
    // Of the start of a machine, with the file of before.
    site.host.nft("delete table inet secgroupd");
    let boot = site.run("boot");
    assert_eq!(boot.code, 0, "{boot:?}");
    assert!(site.lets_in(80) && !site.lets_in(22));
    // And by the definition, when it is right again.
    site.write("groups.yaml", &definition(FAR - 1));
    let daemon = site.start();
    site.until_open(&[80], &[22]);
    // The way out: a later time.
    site.save("groups.yaml", &definition(FAR + 60));
    site.until_open(&[22, 80], &[]);
    // Or, where the clock was wrong, to take the file away.
    site.save("groups.yaml", &definition(FAR - 1));
    site.until_open(&[80], &[22]);
    daemon.end(Signal::SIGTERM);
    fs::remove_file(site.path("state/latest-time")).unwrap();
    let _daemon = site.start();
    site.until_open(&[22, 80], &[]);
}

/// What `apply` has enforced holds until something starts: it says so.
fn without_a_daemon() {
    let site = Site::new();
    let end = now() + 2;
    site.write("groups.yaml", &definition(end));
    let applied = site.run("apply");
    assert_eq!(applied.code, 0, "{applied:?}");
    assert!(applied.err.contains("no daemon runs"), "{applied:?}");
    assert!(site.lets_in(80));
    until("its time has come", || now() > end);
    // The table still stands, and the saved policy is not what is enforced then.
    let boot = site.run("boot");
    assert_eq!(boot.code, 0, "{boot:?}");
    assert!(
        boot.err
            .contains("rules of the kept policy have ended: sg-web/in/0"),
        "{boot:?}"
    );
    assert!(site.lets_in(80) && !site.lets_in(22));
    let _daemon = site.start();
    assert!(generation(&site) >= 2);
    assert!(site.lets_in(80) && !site.lets_in(22));
}

/// A rule of a candidate ends during its trial. What comes back has lost its own by then.
fn of_a_candidate() {
    let site = Site::new();
    let end = now() + 5;
    site.write("groups.yaml", &definition(end));
    let daemon = site.start();
    let candidate = definition(end).replace("port: 80", "port: 8080");
    site.write("new.yaml", &candidate);
    let candidate = site.path("new.yaml");
    let tried = site.run(&format!("apply --confirm 8 {}", candidate.display()));
    assert_eq!(tried.code, 0, "{tried:?}");
    assert!(site.lets_in(8080));
    daemon.until_logged("(ended: sg-web/in/0)");
    assert!(!site.lets_in(22) && site.lets_in(8080));
    daemon.until_logged("was not confirmed in time: the old policy is back");
    assert!(!site.lets_in(22) && site.lets_in(80) && !site.lets_in(8080));
}
