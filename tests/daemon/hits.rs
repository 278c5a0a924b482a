//! Hits: as many as packets were sent, through reloads, restarts and kills; and where they are told, `status`, `--watch` and
//! `/metrics`. `SECGROUPD_FULL=1` reloads 100 times under the flood.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::process::Daemon;
use super::site::{Ran, Site, opening, until};
use crate::support::{Flood, Port, Side, exposition, is_full, kernel_test};

const ALLOWED: Port = Port::Tcp(2002);
const REFUSED: Port = Port::Udp(1001);

pub fn tests() -> Vec<Trial> {
    let nft = &["nft"];
    vec![
        kernel_test("hits_equal_packets_over_reloads", nft, || {
            over_reloads(flooded, if is_full() { 100 } else { 20 })
        }),
        kernel_test("hits_equal_packets_of_pairs_over_reloads", nft, || {
            over_reloads(flooded_pairs, if is_full() { 100 } else { 8 })
        }),
        kernel_test("hits_outlive_restarts_and_kills", nft, over_restarts),
        kernel_test("hits_are_kept_every_10_s", nft, every_10_s),
        kernel_test("hits_follow_their_rule", nft, follow_their_rule),
        kernel_test("hits_damaged_are_begun_anew", nft, damaged),
        kernel_test("hits_watched", &["nft", "script"], watched),
        kernel_test("metrics_on_a_socket_and_a_port", nft, metrics),
        kernel_test("metrics_only_for_this_host", &[], only_for_this_host),
    ]
}

/// Packets of a rule or layer.
pub fn packets(site: &Site, reason: &str) -> u64 {
    hit(site, reason)["packets"].as_u64().unwrap_or(0)
}

fn hit(site: &Site, reason: &str) -> Value {
    let status = site.status();
    let hits = status["hits"].as_array().unwrap();
    let found = hits.iter().find(|hit| hit["reason"] == reason);
    found.cloned().unwrap_or_default()
}

/// The measured rules, with this many of no matter before them, and another one after.
fn flooded(before: u16, last: u16) -> String {
    let rules: String = (0..before)
        .map(|n| {
            format!(
                "      - {{ action: allow, protocol: tcp, port: {}, source: any }}\n",
                100 + n
            )
        })
        .collect();
    format!(
        "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n{rules}\
         \x20     - {{ action: allow, protocol: tcp, port: 2002, source: any }}\n\
         \x20     - {{ action: refuse, protocol: udp, port: 1001, source: any }}\n\
         \x20     - {{ action: allow, protocol: tcp, port: {last}, source: any }}\n\
         instances: {{ ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }} }}\n"
    )
}

/// The same, each rule of a network and a port of its own, and so many that they are asked as pairs.
fn flooded_pairs(before: u16, last: u16) -> String {
    let rule = |action: &str, protocol: &str, port: u16, sources: String| {
        format!(
            "      - {{ action: {action}, protocol: {protocol}, port: {port}, source: [{sources}] }}\n"
        )
    };
    let own = || "10.0.0.0/24, \"2001:db8::/64\"".to_owned();
    let other = |at: u16| format!("10.9.{at}.0/24, \"2001:db8:9:{at}::/64\"");
    let mut rules: String = (0..before)
        .map(|at| rule("allow", "tcp", 100 + at, other(at)))
        .collect();
    rules += &rule("allow", "tcp", 2002, own());
    rules += &rule("refuse", "udp", 1001, own());
    rules += &rule("allow", "tcp", last, other(255));
    rules.extend((10..210).map(|at| rule("allow", "tcp", 3000 + at, other(at))));
    format!(
        "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n{rules}\
         instances: {{ ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }} }}\n"
    )
}

/// Every packet of the flood opens a flow, since the gauge eats what came through: an allowed one is a hit as well.
fn over_reloads(flooded: fn(u16, u16) -> String, reloads: u16) {
    let site = Site::quiet();
    site.write("groups.yaml", &flooded(0, 9000));
    let mut daemon = site.start();
    let flood = Flood {
        rate: 10_000,
        at_most: u64::MAX,
        at_longest: Duration::from_secs(300),
        ..Flood::new(Side::Inbound, &[ALLOWED, REFUSED])
    };
    let flood = flood.start(&site.wire);
    let mut before = 0;
    let enforced = |daemon: &Daemon| daemon.log().matches(" enforced for ").count();
    for round in 1..=reloads {
        let known = enforced(&daemon);
        if round.is_multiple_of(3) {
            // Followed at once, and changed in place.
            site.save("groups.yaml", &flooded(before, 9000 + round));
            until("it is enforced", || enforced(&daemon) > known);
        } else {
            // Loaded whole. Each second time the measured rules move down or up.
            if round.is_multiple_of(2) {
                assert_eq!(site.run("reload --hold").code, 0);
                before = (before + 2) % 6;
                site.write("groups.yaml", &flooded(before, 9000));
            }
            assert_eq!(site.run("reload").code, 0);
        }
        if round == reloads / 2 {
            daemon.end(Signal::SIGTERM);
            daemon = site.start();
        }
    }
    assert!(flood.is_running());
    let report = flood.stop();
    let [allowed, refused] = [ALLOWED, REFUSED].map(|port| report.port(port).seen_before);
    let hits = [before, before + 1].map(|index| packets(&site, &format!("sg-a/in/{index}")));
    println!(
        "{reloads} reloads in {:.1} s: of {allowed} allowed packets {} are hits, of {refused} refused ones {}",
        report.elapsed.as_secs_f64(),
        hits[0],
        hits[1]
    );
    assert!(allowed > 1000 && refused > 1000);
    assert_eq!(hits, [allowed, refused], "{}", daemon.log());
    for index in (0..before).chain([before + 2]) {
        assert_eq!(
            packets(&site, &format!("sg-a/in/{index}")),
            0,
            "rule {index}"
        );
    }
}

fn over_restarts() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22, 443]));
    let mut daemon = site.start();
    let counts = || ["sg-web/in/0", "sg-web/in/1", "default"].map(|reason| packets(&site, reason));
    let send = |ports: &[u16]| {
        for port in ports {
            site.lets_in(*port);
        }
    };
    send(&[22, 443, 443, 80]);
    assert_eq!(counts(), [1, 2, 1]);
    // What is met while no daemon runs counts too.
    daemon.end(Signal::SIGTERM);
    send(&[443]);
    daemon = site.start();
    assert_eq!(counts(), [1, 3, 1], "the same generation is taken up");
    assert_eq!(site.run("reload").code, 0);
    send(&[22]);
    assert_eq!(counts(), [2, 3, 1], "another generation counts on");
    daemon.end(Signal::SIGTERM);
    daemon = site.start();
    daemon.end(Signal::SIGKILL);
    send(&[80]);
    daemon = site.start();
    assert_eq!(
        counts(),
        [2, 3, 2],
        "a kill is no loss while the generation stands"
    );
    // Killed with a reload that was not written yet: what is missing was met since the last writing, and nothing is there twice.
    send(&[80]);
    assert_eq!(site.run("reload").code, 0);
    send(&[443]);
    daemon.end(Signal::SIGKILL);
    daemon = site.start();
    let after = counts();
    assert!(
        after == [2, 4, 3] || after == [2, 4, 2] || after == [2, 4, 1],
        "{after:?}"
    );
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(counts(), after);
    // The kernel forgets all: what was written holds.
    daemon.end(Signal::SIGTERM);
    site.host.nft("delete table inet secgroupd");
    daemon = site.start();
    assert_eq!(counts(), after);
    send(&[22]);
    assert_eq!(counts(), [after[0] + 1, after[1], after[2]]);
    // Taken off on request, nothing is left of them.
    assert_eq!(site.run("remove").code, 0);
    assert!(!site.path("state/hits").exists());
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(counts(), [0, 0, 0]);
    drop(daemon);
}

fn every_10_s() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let kept = site.path("state/hits");
    until("they are written after the change", || kept.exists());
    let before = fs::read(&kept).unwrap();
    site.lets_in(22);
    until("the hits are written", || {
        fs::read(&kept).is_ok_and(|bytes| bytes != before)
    });
    daemon.end(Signal::SIGKILL);
    site.host.nft("delete table inet secgroupd");
    let _daemon = site.start();
    assert_eq!(packets(&site, "sg-web/in/0"), 1);
    assert!(hit(&site, "sg-web/in/0")["last"].as_u64().unwrap() > 1_000_000_000);
}

fn follow_their_rule() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22, 443]));
    let daemon = site.start();
    for port in [22, 443, 443] {
        site.lets_in(port);
    }
    site.save("groups.yaml", &opening(&[8080, 22, 443]));
    daemon.until_logged("generation 2 enforced");
    let counts = || [0, 1, 2].map(|index| packets(&site, &format!("sg-web/in/{index}")));
    assert_eq!(counts(), [0, 1, 2]);
    for port in [8080, 22, 443, 443] {
        site.lets_in(port);
    }
    assert_eq!(counts(), [1, 2, 4]);
    let page = site.run("status").out;
    let line = |rule: &str| {
        page.lines()
            .find(|line| line.contains(rule))
            .unwrap()
            .to_owned()
    };
    assert!(line("sg-web/in/2").contains(" s ago"), "{page}");
    assert!(line("sg-web/in/3").contains(" never"), "{page}");
    assert!(page.contains("2 of 5 rules never hit."), "{page}");
    assert!(line("Flows").contains(" tracked ("), "{page}");
    let tracked = &site.status()["tracked_flows"];
    assert!(
        tracked["max"].as_u64().unwrap() > tracked["count"].as_u64().unwrap(),
        "{tracked}"
    );
    // While no daemon runs, too.
    daemon.end(Signal::SIGTERM);
    site.write("groups.yaml", &opening(&[22, 8080, 443]));
    let _daemon = site.start();
    assert_eq!(counts(), [2, 1, 4]);
}

fn damaged() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    site.lets_in(22);
    daemon.end(Signal::SIGTERM);
    let kept = site.path("state/hits");
    let mut bytes = fs::read(&kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [bytes.as_slice(), &bytes[..middle], b""] {
        fs::write(&kept, damaged).unwrap();
        let daemon = site.start();
        daemon.until_logged("the hits of before in");
        assert_eq!(
            packets(&site, "sg-web/in/0"),
            1,
            "the kernel's counter is still there"
        );
        daemon.end(Signal::SIGTERM);
    }
    let daemon = site.start();
    assert!(
        !daemon.log().contains("the hits of before"),
        "{}",
        daemon.log()
    );
}

fn watched() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    // No terminal: a page a second, until it is interrupted.
    let mut command = site.command("status --watch");
    let mut watch = command
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..25 {
        site.lets_in(22);
        thread::sleep(Duration::from_millis(100));
    }
    let pid = nix::unistd::Pid::from_raw(watch.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
    assert!(watch.wait().unwrap().success());
    let mut out = String::new();
    watch
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    let rates: Vec<u64> = out
        .lines()
        .filter(|line| line.contains("sg-web/in/0") && line.split_whitespace().count() == 9)
        .filter_map(|line| line.split_whitespace().nth(4)?.parse().ok())
        .collect();
    assert!(
        !rates.is_empty() && rates.iter().all(|rate| (1..50).contains(rate)),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "{out}");

    // A terminal is given back as it was.
    let socket = site.path("control.sock");
    let line = format!(
        "timeout --foreground --preserve-status -s INT 2.5 {} status --watch --socket {}",
        super::site::PROGRAM,
        socket.display()
    );
    let mut script = site.host.command("script");
    let ran = Ran::of(script.args(["-qec", &line, "/dev/null"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let (enter, leave) = ("\u{1b}[?1049h", "\u{1b}[?1049l");
    let drawn = ran
        .out
        .split_once(enter)
        .and_then(|(_, rest)| rest.split_once(leave));
    let (drawn, after) = drawn.unwrap_or_else(|| panic!("{ran:?}"));
    assert!(
        drawn.matches("\u{1b}[H").count() >= 2 && drawn.contains("Generation"),
        "{ran:?}"
    );
    // This one says that it has no columns: words stay whole all the same.
    assert!(drawn.contains("Decided by"), "{ran:?}");
    assert_eq!(after.trim(), "", "{ran:?}");
    // Nobody to watch is an error as ever.
    let ran = site.run("status --watch --socket nowhere.sock");
    ran.failed(2, &["no secgroupd runs here"]);
}

fn get(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

fn metrics() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let socket = site.path("metrics.sock");
    let daemon = site.launch(&format!("run --metrics unix:{}", socket.display()));
    daemon.until_logged(" enforced for ");
    for port in [22, 22, 80, 445] {
        site.lets_in(port);
    }
    site.write("wrong.yaml", super::site::WRONG);
    site.save("groups.yaml", super::site::WRONG);
    daemon.until_logged("stays enforced");
    let page = get(UnixStream::connect(&socket).unwrap(), GET);
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    for line in [
        "secgroupd_enforced 1",
        "secgroupd_generation 1",
        "secgroupd_degraded 1",
        "secgroupd_reloads_total 1",
        "secgroupd_failures_total 1",
        "secgroupd_restorations_total 0",
        "secgroupd_ended_flows_total 0",
        "secgroupd_reload_duration_seconds_count 2",
        "secgroupd_rule_packets_total{rule=\"sg-web/in/0\",group=\"sg-web\",action=\"allow\"} 2",
        "secgroupd_rule_packets_total{rule=\"sg-web/in/1\",group=\"sg-web\",action=\"refuse\"} 0",
        "secgroupd_layer_packets_total{layer=\"group\"} 2",
        "secgroupd_refused_packets_total{layer=\"default\"} 1",
        "secgroupd_refused_packets_total{layer=\"blocked-ports\"} 1",
    ] {
        assert!(
            page.lines().any(|each| each == line),
            "{line} is not in\n{page}"
        );
    }
    assert!(page.contains("\nsecgroupd_tracked_flows_limit "), "{page}");
    let samples = exposition::samples(page.split_once("\r\n\r\n").unwrap().1);
    assert!(!samples.keys().any(|series| series.contains("observed")));
    // Who connects and says nothing keeps nobody from asking, nor the daemon from its work.
    let silent: Vec<UnixStream> = (0..5)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    assert!(get(UnixStream::connect(&socket).unwrap(), GET).contains(" 200 OK"));
    // What observes has a series of its own, and what was refused before stays where it was.
    let observes = opening(&[22, 80]) + "platform: { mode: observe }\n";
    site.save("groups.yaml", &observes);
    daemon.until_logged("generation 2 enforced");
    for port in [81, 81, 81, 445] {
        assert!(site.lets_in(port), "{port}");
    }
    let fresh = || get(UnixStream::connect(&socket).unwrap(), GET);
    until("the page is made anew", || {
        fresh().contains("secgroupd_observes 1")
    });
    until("the hits are there", || {
        let samples = exposition::samples(fresh().split_once("\r\n\r\n").unwrap().1);
        let of = |kind: &str, layer: &str| {
            let series = format!("secgroupd_{kind}_packets_total{{layer=\"{layer}\"}}");
            samples.get(&series).copied().unwrap_or(0.0)
        };
        let counts = ["default", "blocked-ports"]
            .map(|layer| ["refused", "observed"].map(|kind| of(kind, layer)));
        counts == [[1.0, 3.0], [1.0, 1.0]]
    });
    let page = site.run("status").out;
    let rows = |action: &str| {
        let of_default = page
            .lines()
            .filter(|line| line.trim_start().starts_with("default "));
        of_default
            .filter(|line| line.contains("would refuse") == (action == "observe"))
            .count()
    };
    assert_eq!((rows("observe"), rows("refuse")), (1, 1), "{page}");
    assert!(
        get(
            UnixStream::connect(&socket).unwrap(),
            "GET / HTTP/1.1\r\n\r\n"
        )
        .contains(" 404 ")
    );
    drop(silent);
    daemon.end(Signal::SIGTERM);
    assert!(!socket.exists());

    let daemon = site.launch("run --metrics 127.0.0.1:9101");
    daemon.until_logged(" enforced for ");
    let port = || {
        site.host
            .enter(|| TcpStream::connect("127.0.0.1:9101").unwrap())
    };
    assert!(get(port(), GET).contains("\nsecgroupd_generation "));
    assert!(get(port(), "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    // A crowd of silent ones makes place for who asks, the first of it at once and without a word.
    let mut silent: Vec<TcpStream> = (0..300).map(|_| port()).collect();
    assert!(get(port(), GET).contains(" 200 OK"));
    let mut said = String::new();
    silent[0].read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    daemon.until_logged("connections for metrics");
}

fn only_for_this_host() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    for (place, word) in [
        ("0.0.0.0:9101", "0.0.0.0 is no loopback address"),
        ("[::]:9101", "no loopback address"),
        ("metrics.sock", "neither a unix socket nor"),
    ] {
        site.run(&format!("run --metrics {place}"))
            .failed(2, &[word]);
    }
    // A name that is somebody's file is left alone, and what is asked for beside keeps nobody from being protected.
    site.write("mine", "text");
    let daemon = site.launch(&format!(
        "run --metrics unix:{}",
        site.path("mine").display()
    ));
    daemon.until_logged("mine is not a socket");
    daemon.until_logged(" enforced for ");
    assert_eq!(fs::read(site.path("mine")).unwrap(), b"text");
}
