//! `lab test`: what a file expects is compared with what is found.

use libtest_mimic::Trial;

use super::site::Site;
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("expectations_that_hold", &["setpriv"], hold),
        kernel_test("expectations_that_do_not_hold", &[], do_not_hold),
        kernel_test("expectations_that_are_none", &[], are_none),
        kernel_test("expectations_of_several_addresses", &[], several_addresses),
    ]
}

const GROUPS: &str = r#"version: 1
security_groups:
  sg-a: { inbound: [{ action: allow, protocol: tcp, port: "80,81", source: any }, { action: refuse, protocol: udp, source: any }] }
instances: { ins-a: { interfaces: { eth0: { addresses: [10.0.0.1], security_groups: [sg-a] } } } }
lab: { hosts: { office: [198.51.100.7] }, services: { ins-a: [tcp:80, udp:53] } }
"#;

fn hold() {
    let site = Site::of_ordinary_user(GROUPS);
    site.write(
        "groups.expect",
        "# of the web server\noffice -> ins-a tcp:80 reached\n* -> ins-a tcp:81 closed\n* -> ins-a tcp:22,udp:53 silent\n",
    );
    // A list of one protocol each.
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("groups.expect:4:"), "{ran:?}");
    site.write(
        "groups.expect",
        "# of the web server\noffice -> ins-a tcp:80 reached\n* -> ins-a tcp:81 closed\n* -> ins-a tcp:22 silent\n* -> ins-a udp:53 silent\n",
    );
    let ran = site.run("lab test groups.yaml").good();
    assert!(
        ran.out.contains("groups.expect: 4 expectations, "),
        "{ran:?}"
    );
    assert!(ran.out.contains("all of it holds"), "{ran:?}");
    // Two of a kind do not disturb each other, and a written file holds.
    site.run("lab test groups.yaml --write --expect all.expect")
        .good();
    let ran = site
        .run("lab test groups.yaml --expect all.expect --json")
        .good();
    assert_eq!(ran.json()["holds"], true, "{ran:?}");
}

fn do_not_hold() {
    let site = Site::new(GROUPS);
    site.write(
        "other.txt",
        "office -> ins-a tcp:80 silent\n* -> ins-a tcp:80 reached\n* -> ins-a udp:53 reached\n",
    );
    let ran = site.run("lab test groups.yaml --expect other.txt");
    assert_eq!(ran.code, 1, "{ran:?}");
    for words in [
        "- office -> ins-a tcp:80 silent (line 1)\n+ office -> ins-a tcp:80 reached (198.51.100.7 to 10.0.0.1; inbound allow by sg-a/in/0 (groups.yaml:3))",
        "- internet -> ins-a udp:53 reached (line 3)\n+ internet -> ins-a udp:53 silent (203.0.113.10 to 10.0.0.1; inbound refuse by sg-a/in/1 (groups.yaml:3))",
        "3 of 4 cells not as expected",
    ] {
        assert!(ran.out.contains(words), "{words:?} is not in {}", ran.out);
    }
    let ran = site.run("lab test groups.yaml --expect other.txt --json");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.json()["differences"].as_array().unwrap().len(), 3);
}

fn are_none() {
    let site = Site::new(GROUPS);
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("name them with --expect, or write them with --write"),
        "{ran:?}"
    );
    site.write(
        "groups.expect",
        "office -> ins-a tcp:80 open\noffice ins-a tcp:80 silent\n",
    );
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("groups.expect:1: `open` is no outcome"),
        "{ran:?}"
    );
    assert!(ran.err.contains("groups.expect:2: "), "{ran:?}");
    site.write("groups.expect", "office -> ins-z tcp:80 silent\n");
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("groups.expect:1: the lab has no `ins-z`"),
        "{ran:?}"
    );
    site.write("groups.yaml", &GROUPS.replace("allow", "alow"));
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("did you mean `allow`?"), "{ran:?}");
}

/// What differs between the families, and between the interfaces of a sender.
fn several_addresses() {
    let site = Site::new(
        r#"version: 1
security_groups:
  sg-v4: { inbound: [{ action: allow, protocol: tcp, port: 80, source: 0.0.0.0/0 }] }
  sg-out: { outbound: [{ action: allow, protocol: all, destination: any }] }
  sg-mute: {}
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-v4] } } }
  ins-b:
    interfaces:
      eth0: { addresses: [10.0.0.2, "2001:db8::2"], security_groups: [sg-out] }
      eth1: { addresses: [10.0.0.3], security_groups: [sg-mute] }
lab: { services: { ins-a: [tcp:80] } }
"#,
    );
    site.run("lab test groups.yaml --write").good();
    let written = std::fs::read_to_string(site.path("groups.expect")).unwrap();
    for line in [
        "10.0.0.2 -> ins-a tcp:80 reached",
        "10.0.0.3 -> ins-a tcp:80 silent",
        "2001:db8::2 -> ins-a tcp:80 silent",
        "internet -> 10.0.0.1 tcp:80 reached",
        "internet -> 2001:db8::1 tcp:80 silent",
        "ins-a -> ins-b tcp:80 silent",
    ] {
        assert!(written.lines().any(|own| own == line), "{line}: {written}");
    }
    let ran = site.run("lab test groups.yaml").good();
    assert!(ran.out.contains("all of it holds"), "{ran:?}");
    let wrong = written.replace(
        "10.0.0.3 -> ins-a tcp:80 silent",
        "10.0.0.3 -> ins-a tcp:80 reached",
    );
    site.write("groups.expect", &wrong);
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out
            .contains("+ ins-b -> ins-a tcp:80 silent (10.0.0.3 to 10.0.0.1"),
        "{ran:?}"
    );
    site.write("groups.expect", "# one\n10.0.0.9 -> ins-a tcp:80 silent\n");
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err
            .contains("groups.expect:2: nobody in the lab has the address 10.0.0.9"),
        "{ran:?}"
    );
    // Names too, all at once, and before anything is tried.
    let text =
        "* -> ins-q tcp:80 silent\nins-c -> ins-a tcp:80 silent\nins-a -> ins-b tcp:ssh silent\n";
    site.write("groups.expect", text);
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("groups.expect:3: "), "{ran:?}");
    assert!(ran.err.contains("write `tcp:22`"), "{ran:?}");
    site.write("groups.expect", text.rsplit_once("ins-a ->").unwrap().0);
    let ran = site.run("lab test groups.yaml");
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in [
        "groups.expect:1: the lab has no `ins-q`",
        "groups.expect:2: the lab has no `ins-c`",
    ] {
        assert!(ran.err.contains(words), "{ran:?}");
    }
}
