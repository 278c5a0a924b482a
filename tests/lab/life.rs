//! A lab comes up for anybody, and nothing of it is left, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::site::{Site, Up, namespaces, namespaces_of, until};
use crate::support::{bounded, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("the_first_command_of_an_ordinary_user", &["setpriv"], demo),
        kernel_test("root_and_an_ordinary_user", &["setpriv"], users),
        kernel_test("nothing_is_left_by_down", &[], left_by_down),
        kernel_test("nothing_is_left_by_ctrl_c", &[], left_by_interrupt),
        kernel_test("nothing_is_left_by_kill", &[], left_by_kill),
        kernel_test(
            "nothing_is_left_by_kill_of_an_ordinary_user_s",
            &["setpriv"],
            left_by_kill_of_user,
        ),
        kernel_test(
            "another_user_may_not_ask",
            &["setpriv", "python3"],
            another_user,
        ),
        kernel_test("a_shell_in_an_instance", &["script"], shell),
        kernel_test("two_labs_side_by_side", &[], side_by_side),
        kernel_test("a_lab_in_the_background", &[], detached),
        kernel_test("programs_in_a_node", &[], programs),
        kernel_test("colours_and_a_bar_at_a_terminal", &["script"], terminal),
    ]
}

const SMALL: &str = r#"version: 1
security_groups: { sg-a: { inbound: [{ action: allow, protocol: tcp, port: 80, source: any }] } }
instances: { ins-a: { interfaces: { eth0: { addresses: [10.0.0.1], security_groups: [sg-a] } } } }
lab: { services: { ins-a: [tcp:80] } }
"#;

/// As a newcomer sees it: the matrix, which line to edit, and what that changes.
fn demo() {
    let site = Site::of_ordinary_user("version: 1\n");
    let start = Instant::now();
    let up = Up::start(site.command(&format!("lab up --demo --name {}", site.name())));
    up.until_said("ends the lab");
    let took = start.elapsed();
    bounded("the demonstration", took, Duration::from_secs(20));
    let said = up.said();
    for words in [
        "to ins-db (10.0.0.20)  sg-db",
        "216 cells in ",
        "Every cell equals its prediction.",
        "Try it: tcp:22 at ins-db is refused to office by sg-db/in/1, lab.yaml:",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let text = fs::read_to_string(site.path("lab.yaml")).unwrap();
    let edited = text.replace(
        "{ action: refuse, protocol: tcp,  port: 22, source: ipm-office }",
        "{ action: allow, protocol: tcp,  port: 22, source: ipm-office }",
    );
    assert_ne!(edited, text);
    site.write("new", &edited);
    fs::rename(site.path("new"), site.path("lab.yaml")).unwrap();
    up.until_said("office -> ins-db tcp:22: silent -> reached");
    assert!(
        up.said().contains("saved: another policy: ins-db ("),
        "{}",
        up.said()
    );
}

fn users() {
    for site in [Site::new(SMALL), Site::of_ordinary_user(SMALL)] {
        let _up = site.up();
        assert_eq!(site.found("internet ins-a tcp 80"), "reached");
        assert_eq!(site.found("internet ins-a tcp 81"), "silent");
        assert_eq!(site.shell("ins-a", "id -u").good().out.trim(), "0");
        site.lab("down").good();
    }
}

/// A lab with a program in it that lives on by itself; and what must go with it.
fn with_a_program(site: &Site) -> (Up, BTreeSet<String>) {
    let up = site.up();
    let script = "setsid sleep 7777 >/dev/null 2>&1 </dev/null & ip netns add box; readlink /proc/self/ns/net /proc/self/ns/pid";
    let said = site.shell("ins-a", script).good();
    let mut own: BTreeSet<String> = said.out.lines().map(str::to_owned).collect();
    assert_eq!(own.len(), 2, "{said:?}");
    own.extend(namespaces_of(up.pid()));
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    own.remove(&here.display().to_string());
    assert!(
        own.is_subset(&namespaces()),
        "they are seen while they live"
    );
    assert!(site.lab("status").good().out.contains("ins-a"));
    (up, own)
}

#[track_caller]
fn nothing_is_left(site: &Site, own: &BTreeSet<String>) {
    until("its namespaces end", || namespaces().is_disjoint(own));
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let name = format!("/{}\n", site.name());
    assert!(!sockets.contains(&name), "{sockets}");
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    assert_eq!(links.lines().count(), 1, "only lo: {links}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("/run/netns/box"), "{mounts}");
    let files = fs::read_dir(site.path(".")).unwrap().flatten();
    // And the copy of the program that an ordinary user runs.
    let files: Vec<_> = files.map(|file| file.file_name()).collect();
    let own = |name: &std::ffi::OsString| name == "groups.yaml" || name == "secgroupd";
    assert!(files.iter().all(own), "the definition alone: {files:?}");
    let gone = site.lab("status");
    assert_eq!(gone.code, 2, "{gone:?}");
}

fn left_by_down() {
    let site = Site::new(SMALL);
    let (mut up, own) = with_a_program(&site);
    site.lab("down").good();
    let left: Vec<String> = namespaces().intersection(&own).cloned().collect();
    assert!(left.is_empty(), "gone when it returns: {left:?} of {own:?}");
    assert_eq!(up.end(), Some(0));
    nothing_is_left(&site, &own);
}

fn left_by_interrupt() {
    let site = Site::new(SMALL);
    let (mut up, own) = with_a_program(&site);
    up.signal(Signal::SIGINT);
    assert_eq!(up.end(), Some(0));
    nothing_is_left(&site, &own);
}

fn left_by_kill() {
    let site = Site::new(SMALL);
    let (mut up, own) = with_a_program(&site);
    up.signal(Signal::SIGKILL);
    assert_eq!(up.end(), None);
    nothing_is_left(&site, &own);
    // The name is free.
    let _up = site.up();
}

/// The same in a user namespace, which goes, too.
fn left_by_kill_of_user() {
    let site = Site::of_ordinary_user(SMALL);
    let (mut up, own) = with_a_program(&site);
    let user = site
        .shell("ins-a", "readlink /proc/self/ns/user")
        .good()
        .out;
    let own: BTreeSet<String> = own.into_iter().chain([user.trim().to_owned()]).collect();
    assert!(
        own.is_subset(&namespaces()),
        "they are seen while they live"
    );
    up.signal(Signal::SIGKILL);
    assert_eq!(up.end(), None);
    nothing_is_left(&site, &own);
    let _up = site.up();
}

/// Neither by the command, nor by writing to the socket: it answers nobody but its owner.
fn another_user() {
    let ask = |uid: u32, name: &str| {
        let script = format!(
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(5)\ns.connect('\\0secgroupd-lab/{uid}/{name}')\n\
             try:\n  s.sendall(b'{{\"ask\":\"status\"}}\\n'); print(len(s.recv(9999)))\nexcept OSError: print(0)"
        );
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        // The system's own: what root has in its home is nobody else's.
        command.env("PATH", "/usr/bin:/bin");
        let output = command.args(["python3", "-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said = said.trim().parse::<usize>();
        said.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    let (of_root, of_user) = (Site::new(SMALL), Site::of_ordinary_user(SMALL));
    let (_one, _two) = (of_root.up(), of_user.up());
    // Its own is answered so: the test can fail.
    assert_ne!(ask(65534, of_user.name()), 0);
    assert_eq!(ask(0, of_root.name()), 0);
    for (site, other) in [(&of_root, &of_user), (&of_user, &of_root)] {
        for line in ["status", "down", "exec ins-a -- id"] {
            let (subcommand, rest) = line.split_once(' ').unwrap_or((line, ""));
            let ran = site.run(&format!("lab {subcommand} --name {} {rest}", other.name()));
            assert_eq!(ran.code, 2, "{ran:?}");
            let words = format!("no lab named {} is up", other.name());
            assert!(ran.err.contains(&words), "{ran:?}");
        }
        site.lab("status").good();
    }
}

/// At a terminal, and fed by a pipe.
fn shell() {
    let site = Site::new(SMALL);
    let _up = site.up();
    let line = format!("lab shell --name {} ins-a", site.name());
    let mut piped = site.command(&line);
    piped.env("SHELL", "/bin/sh");
    let mut piped = piped
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = piped.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"hostname; ip -o link | wc -l; exit 7\n").unwrap();
    drop(input);
    let output = piped.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ins-a\n2\n");
    let mut command = Command::new("script");
    let line = format!("{} {line}", super::site::PROGRAM);
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut child = command
        .env("SHELL", "/bin/sh")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"tty && echo at $SECGROUPD_LAB_NODE; exit 5\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("/dev/pts/") && said.contains("at ins-a"),
        "{said}"
    );
    // A service's user has no shell to work in: then it is sh.
    let mut none = site.command(&format!("lab shell --name {} ins-a", site.name()));
    none.env("SHELL", "/usr/sbin/nologin")
        .stdin(std::process::Stdio::null());
    assert_eq!(none.status().unwrap().code(), Some(0));
}

fn side_by_side() {
    let (one, two) = (
        Site::new(SMALL),
        Site::new(
            &SMALL
                .replace("port: 80", "port: 81")
                .replace("tcp:80", "tcp:81"),
        ),
    );
    let (_one, _two) = (one.up(), two.up());
    assert_eq!(one.found("internet ins-a tcp 80"), "reached");
    assert_eq!(one.found("internet ins-a tcp 81"), "silent");
    assert_eq!(two.found("internet ins-a tcp 80"), "silent");
    assert_eq!(two.found("internet ins-a tcp 81"), "reached");
    let unnamed = one.run("lab reach");
    assert_eq!(unnamed.code, 2);
    assert!(unnamed.err.contains("name one with --name"), "{unnamed:?}");
    let again = one.lab("up groups.yaml");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("is up already"), "{again:?}");
    one.lab("down").good();
    assert_eq!(two.found("internet ins-a tcp 81"), "reached");
}

fn detached() {
    let site = Site::new(SMALL);
    let up = site.lab("up groups.yaml --detach").good();
    assert!(up.out.contains("ins-a"), "{up:?}");
    assert_eq!(site.found("internet ins-a tcp 80"), "reached");
    site.lab("down").good();
    let wrong = Site::new("version: 2\n").lab("up groups.yaml --detach");
    assert_eq!(wrong.code, 1, "{wrong:?}");
}

fn programs() {
    let site = Site::new(SMALL);
    let mut up = site.up();
    assert_eq!(site.shell("ins-a", "exit 7").code, 7);
    assert_eq!(site.shell("ins-a", "kill -TERM $$").code, 128 + 15);
    assert_eq!(site.shell("ins-a", "hostname").good().out, "ins-a\n");
    let here = site.shell("ins-a", "cat groups.yaml").good();
    assert_eq!(here.out, SMALL, "the folder is the same");
    // In front of somebody, as in `lab shell`.
    let mut long = Up::start(site.command(&format!(
        "lab exec --name {} ins-a -- sleep 7778",
        site.name()
    )));
    until("it runs", || {
        site.shell(
            "ins-a",
            "pgrep -f 'sleep 7778' || ps ax | grep -q '[s]leep 7778'",
        )
        .code
            == 0
    });
    up.signal(Signal::SIGKILL);
    up.end();
    assert_eq!(long.end(), Some(128 + 9), "it ends with its lab");
}

/// What a terminal gets, and what nobody else does.
fn terminal() {
    let site = Site::new(SMALL);
    let _up = site.up();
    let reach = format!("secgroupd lab reach --name {}", site.name());
    let shown = |setting: (&str, &str)| {
        let mut command = Command::new("script");
        let line = reach.replacen("secgroupd", super::site::PROGRAM, 1);
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env(setting.0, setting.1);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let coloured = shown(("LAB", ""));
    assert!(coloured.contains("of 2 cells"), "a bar: {coloured:?}");
    assert!(coloured.contains("\u{1b}[32mreached .+"), "{coloured:?}");
    let plain = shown(("NO_COLOR", "1"));
    assert!(
        !plain.contains("\u{1b}[32m") && plain.contains("reached .+"),
        "{plain:?}"
    );
    let piped = site.lab("reach").good();
    assert!(
        !piped.out.contains('\u{1b}') && piped.err.is_empty(),
        "{piped:?}"
    );
}
