//! Names of others: interfaces, programs, files, chains. None of them reaches a terminal, a log, the service manager or nft as
//! anything but a name.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use secgroupd::definition::printable;

use super::site::{Daemon, Manager, Site, opening, until};
use crate::support::{kernel_test, namespace::search_path};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("names_that_steer_a_terminal", &["nft"], terminal),
        kernel_test("chains_whose_names_are_commands", &["nft"], || {
            chains("run")
        }),
        kernel_test(
            "chains_whose_names_are_commands_through_nft",
            &["nft"],
            || chains("run --through nft"),
        ),
    ]
}

const RED: &str = "x\u{1b}[31m\u{9b}m";

#[track_caller]
fn harmless(text: &str, place: &str) {
    for line in text.lines() {
        assert_eq!(printable(line), line, "{place}");
    }
}

fn terminal() {
    let site = Site::new();
    // An interface of that name beside the bound one, which stands on it.
    let name = "e\u{1b}[2J\u{7f}x";
    let link = site
        .host
        .command("ip")
        .args(["link", "add", name, "link", "eth0", "type", "macvlan"])
        .status();
    assert!(link.unwrap().success());
    site.host.nft("add table inet secgroupd");
    let file = format!("t{RED}.txt");
    site.write(&file, "192.0.2.1\n");
    let text = opening(&[22])
        .replace(
            "  sg-web:\n",
            "  sg-web:\n    name: \"n\\e[31m\\x9b\\u202e\"\n",
        )
        .replace("source: any }", "source: any, description: \"\\e[2J\" }");
    site.write("groups.yaml", &text);
    let manager = Manager::new(site.path("").as_path());
    let mut command = site.command("run");
    command.env("NOTIFY_SOCKET", &manager.path);
    let daemon = Daemon::start(command);
    let mut heard = manager.hears_until("STATUS=");
    // A program of that name changes the table.
    let real = std::env::split_paths(&search_path())
        .map(|folder| folder.join("nft"))
        .find(|path| path.is_file());
    let program = site.path(RED);
    crate::support::copy_program(real.unwrap(), &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = site
        .host
        .command(&program)
        .args([
            "insert",
            "rule",
            "inet",
            "secgroupd",
            "inbound",
            "counter",
            "accept",
            "comment",
            "\"sh\u{1b}[2J\"",
        ])
        .status();
    assert!(ran.unwrap().success());
    daemon.until_logged("restored in");
    assert!(daemon.log().contains("\\u{1b}[31m"), "{}", daemon.log());
    for (definition, words) in [
        (
            text.replace("action: allow", "action: \"\\e[31m\\n\""),
            "cannot be",
        ),
        (
            text.replace("source: any", "source: \"ipm-\\e]0;x\\a\""),
            "defined",
        ),
        (
            format!("{text}address_templates: {{ ipm-a: {{ file: \"no{RED}\" }} }}\n"),
            "control",
        ),
        (
            format!("{text}address_templates: {{ ipm-a: {{ file: \"n\\e[1m\\x9b\" }} }}\n"),
            "cannot be read",
        ),
        (format!("{text}\"k\\e[2J\": 1\n"), "unknown key"),
    ] {
        site.save("groups.yaml", &definition);
        until(words, || site.run("status").out.contains(words));
        harmless(&site.run("status").out, "status");
        harmless(&site.run("status --json").out, "status --json");
        let reload = site.run("reload");
        harmless(&reload.err, "reload");
        harmless(&site.run("reload --json").out, "reload --json");
        for line in ["check", "check --json", "compile", "apply"] {
            let ran = site.run(line);
            harmless(&ran.out.replace('\t', " "), line);
            harmless(&ran.err, line);
        }
        // The daemon waits for a manager that does not listen.
        while let Some(message) = manager.hears(Duration::from_millis(20)) {
            heard.push(message);
        }
    }
    harmless(&daemon.log(), "the log");
    for message in heard {
        assert_eq!(message.trim_end().lines().count(), 1, "{message:?}");
        harmless(&message, "the service manager");
    }
    site.save("groups.yaml", &text);
    site.until_open(&[22], &[443]);
    let page = site.run("status").out;
    harmless(&page, "status");
    assert!(page.contains("\\u{1b}"), "the names are shown: {page}");
    harmless(&site.run("status --json").out, "status --json");
    harmless(&site.run("compile").out.replace('\t', " "), "compile");
    harmless(&site.run(&format!("check no{RED}")).out, "a path");
    harmless(&site.run(&format!("apply no{RED}")).err, "a path");
}

/// A chain of our table with a name that nft would read as commands: the kernel takes any bytes. It is not deleted by name, nor does
/// it keep what is ours from being deleted.
fn chains(line: &str) {
    let site = Site::new();
    site.host
        .nft("add table inet secgroupd\nadd table inet mine");
    site.host.enter(|| {
        for name in [
            "x; delete table inet mine #",
            "g7_y\ndelete table inet mine",
            "g8_\u{1b}[2J",
        ] {
            add_chain(name);
        }
    });
    let listed = || site.host.nft_list("chains");
    assert!(listed().contains("delete table inet mine"), "{}", listed());
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.launch(line);
    daemon.until_logged(" enforced for ");
    for port in [443, 80, 81] {
        site.save("groups.yaml", &opening(&[port]));
        site.until_open(&[port], &[22]);
        assert_eq!(site.run("reload").code, 0, "{}", daemon.log());
    }
    assert!(site.host.nft_list("tables").contains("inet mine"));
    assert!(!daemon.log().contains("not cleaned up"), "{}", daemon.log());
    // With the next restoration they are gone.
    if site
        .host
        .try_nft("insert rule inet secgroupd inbound accept")
        .is_ok()
    {
        daemon.until_logged("restored in");
        until("they are gone", || !listed().contains("delete table"));
        assert!(site.host.nft_list("tables").contains("inet mine"));
        assert!(site.lets_in(81) && !site.lets_in(22));
    }
}

/// NFT_MSG_NEWCHAIN in a batch, by hand: nft would not take the name.
fn add_chain(name: &str) {
    const NEWCHAIN: u16 = (10 << 8) | 3;
    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        bytes
    }
    fn attribute(kind: u16, text: &str) -> Vec<u8> {
        let mut bytes = (4 + text.len() as u16 + 1).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
    let batch = [0, 0, 0, 10];
    let chain = [
        vec![1, 0, 0, 0],
        attribute(1, "secgroupd"),
        attribute(3, name),
    ]
    .concat();
    let all = [
        message(16, 1, &batch),
        message(NEWCHAIN, 1 | 4 | 0x400, &chain),
        message(17, 1, &batch),
    ]
    .concat();
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::empty(),
        SockProtocol::NetlinkNetFilter,
    )
    .unwrap();
    send(netlink.as_raw_fd(), &all, MsgFlags::empty()).unwrap();
    let mut answer = [0; 4096];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    assert!(
        length >= 20 && answer[16..20] == [0; 4],
        "{:?}",
        &answer[16..20]
    );
}
