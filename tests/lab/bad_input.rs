//! What cannot be a lab: one clear line that says what to do, and nothing is left.

use std::fs;
use std::process::Command;

use libtest_mimic::Trial;

use super::site::{Ran, Site};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("an_address_used_twice", &[], address_twice),
        kernel_test("an_interface_without_an_address", &[], no_address),
        kernel_test("a_host_outside_inside_the_vpc", &[], host_inside),
        kernel_test("a_missing_program", &[], missing_program),
        kernel_test(
            "a_kernel_that_forbids_user_namespaces",
            &["unshare"],
            forbidden,
        ),
        kernel_test("a_router_that_cannot_forward", &["unshare"], cannot_forward),
        kernel_test("a_kernel_without_ipv6", &["strace"], without_ipv6),
        kernel_test("more_interfaces_than_tables_of_old", &[], many_interfaces),
        kernel_test("names_and_services_that_are_none", &[], names),
        kernel_test("questions_that_are_none", &[], questions),
        kernel_test("more_than_a_lab_holds", &[], too_many),
    ]
}

/// A lab of two instances and an office.
const GOOD: &str = r#"version: 1
security_groups: { sg-a: { inbound: [{ action: allow, protocol: tcp, port: 80, source: any }] } }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.1], security_groups: [sg-a] } } }
  ins-b: { interfaces: { eth0: { addresses: [10.0.0.2], security_groups: [sg-a] } } }
lab:
  hosts: { office: [198.51.100.7] }
  services: { ins-a: [tcp:80] }
"#;

/// Refused with these words, and gone.
#[track_caller]
fn refused(definition: &str, words: &[&str]) {
    let site = Site::new(definition);
    for subcommand in ["up groups.yaml", "up groups.yaml --detach"] {
        let ran = site.lab(subcommand);
        assert_eq!(ran.code, 1, "{ran:?}");
        for word in words {
            assert!(ran.err.contains(word), "{word:?} is not in {}", ran.err);
        }
        nothing_is_left(&site, &ran);
    }
}

#[track_caller]
fn nothing_is_left(site: &Site, ran: &Ran) {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    assert!(!sockets.contains(&format!("/{}\n", site.name())), "{ran:?}");
    let files = fs::read_dir(site.path(".")).unwrap().count();
    assert_eq!(files, 1, "{ran:?}");
    let status = site.lab("status");
    assert_eq!(status.code, 2, "{status:?}");
    assert!(status.err.contains("lab"), "{status:?}");
}

fn address_twice() {
    refused(
        &GOOD.replace("10.0.0.2", "10.0.0.1"),
        &[
            "error[lab-address-twice]: the address 10.0.0.1 is used twice",
            "groups.yaml:5:",
            "first here",
            "give one of the two another address",
        ],
    );
    refused(
        &GOOD.replace("198.51.100.7", "10.0.0.2"),
        &["the address 10.0.0.2 is used twice"],
    );
    refused(
        &GOOD.replace("10.0.0.2", "203.0.113.10"),
        &[
            "203.0.113.10 is the address of the lab's host `internet`",
            "give that host one",
        ],
    );
    refused(
        &GOOD.replace("10.0.0.2", "169.254.1.1"),
        &["169.254.1.1 is the address of the lab's router"],
    );
}

fn no_address() {
    refused(
        &GOOD.replace("[10.0.0.2]", "[]"),
        &[
            "error[lab-no-address]: the interface eth0 of ins-b has no address",
            "groups.yaml:5:",
            "leave `addresses` out",
        ],
    );
    refused(
        &GOOD.replace("10.0.0.2", "127.0.0.1"),
        &["127.0.0.1 cannot be the address of an interface"],
    );
}

fn host_inside() {
    refused(
        &GOOD.replace("198.51.100.7", "10.9.9.9"),
        &[
            "error[lab-host-inside]: the host `office` is outside, and 10.9.9.9 lies inside the VPC's networks",
            "groups.yaml:7:",
            "or make it an instance",
        ],
    );
}

fn missing_program() {
    let site = Site::new(GOOD);
    let _up = site.up();
    let ran = site.lab("exec ins-a -- no-such-program --x");
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.err,
        "error: `no-such-program` is not installed on this machine, whose programs the lab uses: install it, or name its path\n"
    );
}

/// As in a container, or where an administrator has switched them off.
fn forbidden() {
    let script =
        "for kind in user net; do echo 0 >/proc/sys/user/max_${kind}_namespaces; done; exec \"$@\"";
    refused_by(
        &format!("unshare --user --map-root-user sh -c '{script}' sh \"$@\""),
        &[
            "may not make namespaces here",
            "run it as root",
            "user.max_user_namespaces",
        ],
    );
}

/// As in a container that is not privileged.
fn cannot_forward() {
    let script =
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
    refused_by(
        &format!("unshare --mount sh -c '{script}' sh \"$@\""),
        &[
            "router: cannot forward, since /proc/sys/net/ipv4/ip_forward cannot be written here",
            "mount -o remount,rw /proc/sys",
        ],
    );
}

/// A kernel that was booted with `ipv6.disable=1` has nothing there.
fn without_ipv6() {
    let path = "/proc/sys/net/ipv6/conf/all/forwarding";
    refused_by(
        &format!(
            "strace -f -o /dev/null -P {path} -e trace=openat -e inject=openat:error=ENOENT \"$@\""
        ),
        &["router: this kernel has no IPv6", "`ipv6.disable=1`"],
    );
}

/// Run by `script` in other surroundings, `lab up` says one line with these words, and leaves nothing.
#[track_caller]
fn refused_by(script: &str, words: &[&str]) {
    let site = Site::new(GOOD);
    for line in [
        "lab up groups.yaml --name",
        "lab up groups.yaml --detach --name",
    ] {
        let own = site.command(&format!("{line} {}", site.name()));
        let mut command = Command::new("timeout");
        command
            .args(["60", "sh", "-c", script, "sh"])
            .arg(own.get_program())
            .args(own.get_args())
            .current_dir(site.path("."));
        let output = command.output().unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert_eq!(ran.code, 2, "{ran:?}");
        for words in words {
            assert!(ran.err.contains(words), "{words:?}: {ran:?}");
        }
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
        nothing_is_left(&site, &ran);
    }
}

/// The system's own tables of routes are those up to 255: what comes by the last interface goes back by it.
fn many_interfaces() {
    let interfaces: Vec<String> = (0..160)
        .map(|number| {
            format!("eth{number}: {{ addresses: [10.0.9.{number}], security_groups: [sg-a] }}")
        })
        .collect();
    let text = GOOD.replace(
        "  ins-b: { interfaces: { eth0: { addresses: [10.0.0.2], security_groups: [sg-a] } } }",
        &format!("  ins-b: {{ interfaces: {{ {} }} }}", interfaces.join(", ")),
    );
    let site = Site::new(&text.replace("ins-a: [tcp:80]", "ins-b: [tcp:80]"));
    let _up = site.up();
    for number in [0, 1, 153, 154, 155, 159] {
        let probe = format!("office 10.0.9.{number} tcp 80");
        assert_eq!(site.found(&probe), "reached", "{probe}");
    }
}

fn names() {
    refused(
        &GOOD.replace("{ ins-a: [tcp:80] }", "{ ofice: [tcp:80] }"),
        &[
            "there is no instance or host `ofice`",
            "did you mean `office`?",
        ],
    );
    refused(
        &GOOD.replace("tcp:80]", "icmp]"),
        &["`icmp` is not a service that can listen", "write `tcp:80`"],
    );
    refused(
        &GOOD.replace("office:", "ins-office:"),
        &["`ins-office` is no name of a host outside"],
    );
    refused(
        &GOOD.replace("198.51.100.7", "198.51.100.0/24"),
        &["`198.51.100.0/24` is not an address"],
    );
    // `check` says so too: a name is refused, and what a host does not care about is a warning.
    let site = Site::new(&GOOD.replace("office:", "my office:"));
    let ran = site.run("check groups.yaml");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("error[lab-bad-name]: `my office`"),
        "{ran:?}"
    );
    assert!(ran.out.contains("groups.yaml:7:"), "{ran:?}");
    let site = Site::new(&GOOD.replace("{ ins-a: [tcp:80] }", "{ ofice: [tcp:80] }"));
    let ran = site.run("check groups.yaml");
    assert_eq!(ran.code, 0, "{ran:?}");
    let words =
        "warning[lab-unknown]: `lab up` would refuse this: there is no instance or host `ofice`";
    assert!(ran.out.contains(words), "{ran:?}");
    let site = Site::new(GOOD);
    let ran = site.run("lab up groups.yaml --name a/b");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`a/b` is no name of a lab"), "{ran:?}");
    let ran = site.run("lab up nowhere.yaml");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("nowhere.yaml does not exist"), "{ran:?}");
}

fn questions() {
    let site = Site::new(GOOD);
    let down = site.lab("reach");
    assert_eq!(down.code, 2);
    assert!(
        down.err
            .contains(&format!("no lab named {} is up", site.name())),
        "{down:?}"
    );
    let _up = site.up();
    for (line, code, words) in [
        (
            "reach --to ins-z",
            2,
            "the lab has no `ins-z`; it has ins-a, ins-b, office, internet",
        ),
        ("reach --ports tcp", 2, "write `tcp:80`, `udp:53`"),
        ("probe ins-a ins-a tcp 80", 2, "never filtered"),
        (
            "probe ins-a 10.3.3.3 tcp 80",
            2,
            "no instance has the address 10.3.3.3",
        ),
        ("probe ins-a ins-b tcp", 2, "name the port"),
        ("probe ins-a ins-b icmp 8", 2, "icmp has no ports"),
        (
            "probe 2001:db8:5::5 ins-b tcp 80",
            2,
            "no addresses of one family",
        ),
        ("exec ins-z -- true", 2, "the lab has no `ins-z`"),
    ] {
        let ran = site.lab(line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert!(ran.err.contains(words), "{line}: {ran:?}");
    }
    // Gateways of every cable, and what is nobody's.
    for address in ["169.254.1.1", "224.0.0.1", "127.0.0.1", "fe80::1"] {
        let ran = site.lab(&format!("probe {address} ins-b tcp 80"));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains("is no host's address"), "{ran:?}");
    }
    let ran = site.lab(&format!(
        "reach --ports {},{}",
        ports("tcp", 65),
        ports("udp", 65)
    ));
    assert_eq!(ran.code, 2, "{:?}", ran.err);
    assert!(ran.err.contains("name fewer ports"), "{:?}", ran.err);
    let none = Site::new(&GOOD.replace("  services: { ins-a: [tcp:80] }\n", ""));
    let _none = none.up();
    let ran = none.lab("reach");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("nothing listens in this lab"), "{ran:?}");
    assert_eq!(none.lab("reach --ports tcp:80").code, 0);
}

/// So many thousand ports.
fn ports(protocol: &str, thousands: u32) -> String {
    let parts: Vec<String> = (0..thousands)
        .map(|part| format!("{protocol}:{}-{}", part * 1000 + 1, part * 1000 + 1000))
        .collect();
    parts.join(",")
}

fn too_many() {
    let more: String = (0..6)
        .map(|number| {
            format!("  ins-{number}: {{ interfaces: {{ eth0: {{ security_groups: [] }} }} }}\n")
        })
        .collect();
    let site = Site::new(&GOOD.replace("lab:\n", &format!("{more}lab:\n")));
    let _up = site.up();
    let ran = site.lab(&format!("reach --ports {}", ports("tcp", 20)));
    assert_eq!(ran.code, 2, "{:?}", ran.err);
    assert!(ran.err.contains("more than 1000000 tries"), "{:?}", ran.err);
    let mut text = GOOD.split("lab:").next().unwrap().to_owned();
    for number in 0..600 {
        text +=
            &format!("  ins-{number}: {{ interfaces: {{ eth0: {{ security_groups: [] }} }} }}\n");
    }
    refused(
        &text,
        &[
            "602 instances and hosts: 500 is the most of a lab",
            "try a part of the definition",
        ],
    );
    refused(
        &GOOD.replace("tcp:80]", "\"tcp:1-2000\"]"),
        &["`tcp:1-2000` is 2000 ports: 1000 is the most"],
    );
}
