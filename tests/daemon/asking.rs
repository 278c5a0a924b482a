//! What the command tells: explain, check, compile, and the hits of status.

use std::path::Path;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::site::{Ran, Site, WRONG, opening, whoever_owns_it};
use crate::support::{kernel_test, namespace::feed};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("explain_names_rule_and_place", &[], explain),
        kernel_test("explain_judges_a_batch", &[], batch),
        kernel_test("check_as_data", &[], check),
        kernel_test("compile_prints_what_nft_loads", &["nft"], compile),
        kernel_test("hits_are_counted_and_kept", &["nft"], hits),
    ]
}

fn explain() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22, 443]));
    let file = site.definition().display().to_string();
    for (flow, code, said, answer) in [
        (
            "inbound tcp 203.0.113.9 443",
            0,
            format!("allow: rule sg-web/in/1 ({file}:6)\n"),
            json!({ "verdict": "allow", "layer": "group", "rule": "sg-web/in/1", "place": format!("{file}:6") }),
        ),
        (
            "inbound udp 2001:db8::77 5000 --interface eth0",
            1,
            format!("refuse: rule sg-web/in/2 ({file}:7)\n"),
            json!({ "verdict": "refuse", "layer": "group", "rule": "sg-web/in/2", "place": format!("{file}:7") }),
        ),
        (
            "inbound tcp 203.0.113.9 80",
            1,
            "refuse: no rule of the bound groups matches\n".into(),
            json!({ "verdict": "refuse", "layer": "default" }),
        ),
        (
            "inbound tcp 203.0.113.9 445",
            1,
            "refuse: the platform blocks this port; no rule of a group can open it\n".into(),
            json!({ "verdict": "refuse", "layer": "blocked-ports" }),
        ),
        (
            "outbound tcp 198.51.100.1 25",
            1,
            "refuse: the platform blocks TCP 25 to external addresses\n".into(),
            json!({ "verdict": "refuse", "layer": "smtp" }),
        ),
        (
            "outbound udp 183.60.83.19 53",
            0,
            "allow: approved service vpc-dns\n".into(),
            json!({ "verdict": "allow", "layer": "approved-service", "service": "vpc-dns" }),
        ),
        (
            "inbound tcp 203.0.113.9 80 --interface lo",
            0,
            "allow: the interface is not bound, and left alone\n".into(),
            json!({ "verdict": "allow", "layer": "unmanaged" }),
        ),
    ] {
        let ran = site.run(&format!("explain {flow}"));
        assert_eq!(ran.code, code, "{flow}: {ran:?}");
        assert!(ran.out.starts_with(&said), "{flow}: {ran:?}");
        let ran = site.run(&format!("explain --json {flow}"));
        let mut found: Value = serde_json::from_str(&ran.out).unwrap();
        let found = found.as_object_mut().unwrap();
        // How it came about is told as well: see `tests/insight/layers.rs`.
        found.retain(|key, _| key != "layers" && key != "otherwise");
        let found = Value::Object(found.clone());
        assert_eq!((ran.code, found), (code, answer), "{flow}: {ran:?}");
    }
    for (flow, words) in [
        ("inbound tcp 203.0.113.9", "tcp needs a port"),
        ("inbound icmp 203.0.113.9 8", "icmp has no ports"),
        ("inbound icmp 2001:db8::1", "icmp is IPv4 only"),
        ("inbound sctp 203.0.113.9", "`sctp` is not a protocol"),
        ("inbound tcp 203.0.113.900 22", "203.0.113.900"),
        ("sideways tcp 203.0.113.9 22", "sideways"),
        ("inbound tcp 203.0.113.9 70000", "70000"),
        ("inbound tcp", "<REMOTE>"),
        (
            "inbound tcp 203.0.113.9 ssh",
            "a port is a number: write 22",
        ),
        ("inbound tcp 203.0.113.9 080", "write 80"),
        (
            "inbound tcp 203.0.113.9 22 --interface eht0",
            "no interface `eht0` is bound, and this host has none: did you mean `eth0`?",
        ),
        (
            "inbound tcp 203.0.113.9 22 --interface wlan7",
            "no interface `wlan7` is bound, and this host has none: bound are eth0",
        ),
    ] {
        site.run(&format!("explain {flow}")).failed(2, &[words]);
    }
    site.write("groups.yaml", WRONG);
    site.run("explain inbound tcp 203.0.113.9 22")
        .failed(2, &["groups.yaml:5:19"]);
}

fn ask(site: &Site, lines: &str) -> Ran {
    site.write("questions", lines);
    let mut command = site.host.command("sh");
    command
        .args(["-c", "exec \"$0\" \"$@\" <questions", super::site::PROGRAM])
        .current_dir(site.path(""));
    site.arguments(&mut command, "explain --batch");
    Ran::of(&mut command)
}

fn batch() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let file = site.definition().display().to_string();
    let question = |port: usize| {
        format!(
            "{}\n",
            json!({ "direction": "inbound", "interface": "eth0", "protocol": "tcp", "remote": "203.0.113.9", "port": port })
        )
    };
    let questions: String = (1..=1000).map(question).collect();
    let ran = ask(&site, &questions);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let answers: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 1000);
    assert_eq!(
        answers[21],
        json!({ "verdict": "allow", "layer": "group", "rule": "sg-web/in/0", "place": format!("{file}:5") })
    );
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer["verdict"] == "allow")
            .count(),
        1
    );
    assert!(ran.err.is_empty(), "{}", ran.err);

    // A line that cannot be judged gets its error in its place; the others are judged.
    let lines = [
        question(22).trim(),
        "not json",
        r#"{"direction":"inbound","protocol":"icmp","remote":"203.0.113.9"}"#,
        r#"{"direction":"inbound","protocol":"tcp","remote":"203.0.113.9"}"#,
        r#"{"direction":"inbound","protocol":"tcp","remote":"203.0.113.9","port":22,"colour":"red"}"#,
        r#"{"direction":"inbound","protocol":6,"remote":"::ffff:203.0.113.9","port":22}"#,
        r#"{"direction":"outbound","protocol":47,"remote":"203.0.113.9"}"#,
        r#"{"direction":"inbound","protocol":"tcp","remote":"203.0.113.9","port":"ssh"}"#,
        r#"{"direction":"inbound","protocol":"tcp","remote":"203.0.113.9","port":22,"interface":"eht0"}"#,
    ]
    .join("\n");
    let ran = ask(&site, &lines);
    assert_eq!(ran.code, 2);
    let answers: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 9, "{ran:?}");
    assert_eq!(answers[0]["verdict"], "allow");
    assert_eq!(answers[2]["layer"], "default");
    assert_eq!(answers[6]["rule"], "sg-web/out/0");
    for (at, words) in [
        (1, "line 2: column "),
        (7, "line 8: column "),
        (7, "write 22"),
        (8, "line 9: no interface `eht0` is bound"),
        (3, "line 4: tcp needs a port"),
        (4, "colour"),
    ] {
        assert!(
            answers[at]["error"].as_str().unwrap().contains(words),
            "{}",
            answers[at]
        );
        assert_eq!(answers[at]["line"], at + 1);
        // A line of the input is meant, and it has one of its own.
        let said = answers[at]["error"].as_str().unwrap();
        assert!(!said.contains("at line 1"), "{said}");
    }
    assert_eq!(ask(&site, "").code, 0, "nothing was asked");
    site.run("explain --batch inbound")
        .failed(2, &["cannot be used with"]);
}

fn check() {
    let site = Site::new();
    // What lint says of it, and why it is meant so.
    let silence = ["admin-port", "changes-nothing"]
        .map(|code| format!("  - {{ code: {code}, reason: a test }}\n"))
        .concat();
    let quiet = format!("{}silence:\n{silence}", opening(&[22, 443]));
    site.write("groups.yaml", &quiet);
    let ran = site.run("check");
    let said = format!(
        "{}: 1 group, 4 rules, 1 instance (this host is ins-web1); 0 errors, 0 warnings\n",
        site.definition().display()
    );
    assert_eq!((ran.code, &ran.out), (0, &said), "{ran:?}");
    let ran = site.run("check --json");
    let data: Value = serde_json::from_str(&ran.out).unwrap();
    let expected = json!({ "definition": site.definition(), "ok": true, "errors": 0, "warnings": 0, "diagnostics": [] });
    assert_eq!((ran.code, data), (0, expected));

    site.write("groups.yaml", WRONG);
    let ran = site.run("check");
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("groups.yaml:5:19") && ran.out.contains("^^^^"),
        "{}",
        ran.out
    );
    let ran = site.run("check --json");
    let data: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &data["ok"]), (1, &json!(false)));
    assert_eq!(
        data["diagnostics"].as_array().unwrap().len(),
        usize::try_from(data["errors"].as_u64().unwrap()).unwrap()
    );
    let first = &data["diagnostics"][0];
    let at = &first["at"];
    assert_eq!(
        (&first["severity"], &at["line"], &at["column"]),
        (&json!("error"), &json!(5), &json!(19)),
        "{first}"
    );
}

fn compile() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22, 443]));
    let before = site.listing();
    let text = site.run("compile");
    let data = site.run("compile --json");
    assert_eq!((text.code, data.code), (0, 0), "{text:?} {data:?}");
    let nft = |arguments: &[&str], ruleset: &str| {
        feed(site.host.command("nft").args(arguments), ruleset).unwrap();
    };
    nft(&["-c", "-f", "-"], &text.out);
    nft(&["-j", "-c", "-f", "-"], &data.out);
    site.unchanged_by(&before, "nothing is changed");
    // What it prints is what `apply` enforces, by either way.
    let table = || {
        let table = ["-s", "list", "table", "inet", "secgroupd"];
        whoever_owns_it(&site.host.output("nft", &table))
    };
    let order = |listing: String| {
        let mut lines: Vec<String> = listing.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    nft(&["-f", "-"], &text.out);
    let by_text = table();
    site.host.nft("delete table inet secgroupd");
    nft(&["-j", "-f", "-"], &data.out);
    let by_json = table();
    site.host.nft("delete table inet secgroupd");
    assert_eq!(site.run("apply").code, 0);
    assert_eq!(order(by_text), order(table()));
    assert_eq!(order(by_json), order(table()));
    site.write("groups.yaml", WRONG);
    site.run("compile").failed(1, &["groups.yaml:5:19"]);
}

fn hits() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22, 443]));
    let _daemon = site.start();
    let of = |reason: &str| -> (u64, u64) {
        let status = site.status();
        let hits = status["hits"].as_array().unwrap();
        let found = hits.iter().find(|hit| hit["reason"] == reason);
        let number = |key| found.and_then(|hit| hit[key].as_u64()).unwrap_or(0);
        (number("packets"), number("bytes"))
    };
    for port in [22, 443, 443, 443, 80, 80, 445] {
        site.lets_in(port);
    }
    let counts = || {
        [
            "sg-web/in/0",
            "sg-web/in/1",
            "default",
            "blocked-ports",
            "sg-web/out/0",
        ]
        .map(|reason| of(reason).0)
    };
    assert_eq!(counts(), [1, 3, 2, 1, 0], "{}", site.run("status").out);
    assert_eq!(of("sg-web/in/1").1, 3 * 64, "bytes with the IP header");
    let place = |index: usize| site.status()["hits"][index]["place"].clone();
    assert!(
        Path::new(place(1).as_str().unwrap()).ends_with("groups.yaml:6"),
        "{}",
        place(1)
    );

    // Kept over reloads, and counted on.
    for _ in 0..3 {
        assert_eq!(site.run("reload").code, 0);
    }
    site.lets_in(443);
    assert_eq!(counts(), [1, 4, 2, 1, 0]);
    assert!(site.lets_out("10.0.0.9:8080"));
    assert_eq!(of("sg-web/out/0").0, 1);
    let page = site.run("status").out;
    let line = page
        .lines()
        .find(|line| line.contains("sg-web/in/1"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().take(4).collect();
    assert_eq!(words, ["sg-web/in/1", "allow", "4", "256"], "{page}");
}
