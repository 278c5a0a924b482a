//! What only observes refuses nothing, and counts what it would refuse; once it enforces, it refuses that and what was begun meanwhile.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use super::site::{SOON, Site, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    let nft = &["nft"];
    vec![
        kernel_test("a_host_that_observes_refuses_nothing", nft, host),
        kernel_test("a_group_that_observes_refuses_nothing_itself", nft, group),
        kernel_test(
            "a_flow_that_was_observed_ends_when_it_is_refused",
            nft,
            flow,
        ),
    ]
}

/// One group that opens 22, refuses 23, and mentions nothing else; `group` and `platform` have more keys.
fn definition(group: &str, platform: &str) -> String {
    format!(
        "version: 1\nsecurity_groups:\n  sg-web:\n{group}    inbound:\n\
         \x20     - {{ action: allow, protocol: tcp, port: 22, source: any }}\n\
         \x20     - {{ action: refuse, protocol: tcp, port: 23, source: any }}\n\
         instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}\n{platform}"
    )
}

/// Packets that this rule or layer has met, and what it does.
fn hits(site: &Site, reason: &str) -> (u64, String) {
    let status = site.status();
    let list = status["hits"].as_array().unwrap();
    let of = |hit: &&Value| hit["reason"] == reason;
    list.iter().find(of).map_or((0, String::new()), |hit| {
        let action = hit["action"].as_str().unwrap_or_default();
        (hit["packets"].as_u64().unwrap(), action.to_owned())
    })
}

fn host() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &definition("", "platform: { mode: observe }\n"),
    );
    let _daemon = site.start();
    // Allowed, refused by a rule, by the platform, and by nothing.
    for port in [22, 23, 445, 8080] {
        assert!(site.lets_in(port), "{port}");
    }
    assert!(site.lets_out("10.0.0.9:25"), "nothing allows it");
    let would = |packets| (packets, "observe".to_owned());
    assert_eq!(hits(&site, "sg-web/in/0"), (1, "allow".into()));
    assert_eq!(hits(&site, "sg-web/in/1"), would(1));
    assert_eq!(hits(&site, "blocked-ports"), would(1));
    assert_eq!(hits(&site, "default"), would(2));
    let page = site.run("status").out;
    assert!(page.contains("observe: nothing is refused"), "{page}");
    assert!(page.contains("would refuse"), "{page}");
    let asked = site.run("explain inbound tcp 10.0.0.9 23");
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(
        asked
            .out
            .starts_with("allow, would be refused: rule sg-web/in/1"),
        "{asked:?}"
    );
    let asked = site.run("explain inbound tcp 10.0.0.9 8080 --json");
    let asked: Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!(asked["verdict"], "allow");
    assert_eq!(asked["would_be_refused"], true);
    site.save("groups.yaml", &definition("", ""));
    site.until_open(&[22], &[23, 445, 8080]);
    assert!(!site.lets_out("10.0.0.9:25"));
}

fn group() {
    let site = Site::new();
    let observes = definition("    mode: observe\n", "");
    site.write("groups.yaml", &observes);
    let _daemon = site.start();
    // The platform enforces; the one group of the interface lets pass what it refuses and what it does not mention.
    site.until_open(&[22, 23, 8080], &[445]);
    assert_eq!(hits(&site, "sg-web/in/1").1, "observe");
    assert_eq!(hits(&site, "blocked-ports").1, "");
    let page = site.run("status").out;
    assert!(page.contains("eth0: sg-web, observes"), "{page}");
    // A second one that enforces refuses what neither mentions, and not what the first has decided.
    let second = observes
        .replace("instances:", "  sg-b: { inbound: [{ action: refuse, protocol: tcp, port: [22, 23], source: any }] }\ninstances:")
        .replace("[sg-web]", "[sg-web, sg-b]");
    site.save("groups.yaml", &second);
    site.until_open(&[22, 23], &[445, 8080]);
}

fn flow() {
    let site = Site::quiet();
    let observes = definition("", "platform: { mode: observe }\n");
    site.write("groups.yaml", &observes);
    let daemon = site.start();
    let listener = site
        .host
        .enter(|| TcpListener::bind("10.0.0.5:23").unwrap());
    let mut client = site
        .peer
        .enter(|| TcpStream::connect_timeout(&"10.0.0.5:23".parse().unwrap(), SOON).unwrap());
    let mut server = listener.accept().unwrap().0;
    let mut says = |time: Duration| {
        let mut heard = [0; 4];
        server.set_read_timeout(Some(time)).unwrap();
        client.write_all(b"word").is_ok() && server.read_exact(&mut heard).is_ok()
    };
    assert!(says(SOON));
    assert_eq!(hits(&site, "sg-web/in/1").0, 1, "once for the flow");
    site.save("groups.yaml", &definition("", ""));
    daemon.until_logged("generation 2 enforced");
    until("the flow has ended", || !says(Duration::from_millis(200)));
    assert!(hits(&site, "sg-web/in/1").0 > 1);
}
