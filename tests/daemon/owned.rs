//! The table belongs to the daemon: nobody else can change it, and it stays so over restarts.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use secgroupd::netfilter::native::Native;

use super::site::{Daemon, Manager, PROGRAM, Ran, SOON, Site, WRONG, opening, until};
use crate::support::{Host, Skip, kernel_test, through_nft};

/// Through nft nothing is owned.
pub fn tests() -> Vec<Trial> {
    if through_nft() {
        return Vec::new();
    }
    vec![
        kernel_test("nobody_else_can_change_the_table", &["nft"], owned),
        kernel_test("what_a_daemon_left_is_adopted", &["nft"], adopted),
        kernel_test("a_kept_socket_keeps_the_table_owned", &["nft"], kept),
        kernel_test("a_kept_socket_of_nothing_is_let_go", &["nft"], stale),
        kernel_test("an_owned_table_and_nft", &["nft"], through),
        kernel_test("nft_takes_over_from_the_store", &["nft"], take_over),
        kernel_test("a_table_made_without_an_owner", &["nft"], made_without),
    ]
}

/// Whether this kernel can.
pub fn can_own() -> Result<(), Skip> {
    let known = Host::new("probe").enter(|| Native::open().unwrap().knows_ownership().unwrap());
    match known {
        true => Ok(()),
        false => Err(Skip("this kernel knows no ownership that stays".into())),
    }
}

/// A daemon with a service manager, which gives it what it keeps.
pub fn start(site: &Site, manager: &Manager, line: &str) -> Daemon {
    const SCRIPT: &str = "export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = site.host.command("sh");
    command.args(["-c", SCRIPT, PROGRAM]);
    site.arguments(&mut command, line);
    command.env("NOTIFY_SOCKET", &manager.path);
    if let Some(socket) = &*manager.kept.borrow() {
        let number = socket.as_raw_fd();
        command
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "nftables");
        // A copy outlives exec; the same number has to be let through.
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                let done = match number {
                    3 => nix::libc::fcntl(3, nix::libc::F_SETFD, 0),
                    _ => nix::libc::dup2(number, 3),
                };
                match done {
                    -1 => Err(std::io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
    }
    Daemon::start(command)
}

/// What other programs are answered: they cannot change our table, and a flush passes it by.
#[track_caller]
fn is_protected(site: &Site) {
    let nft = |text: &str| site.host.try_nft(text);
    let refused = nft("delete table inet secgroupd").expect_err("it is not theirs");
    assert!(refused.contains("Operation not permitted"), "{refused}");
    nft("insert rule inet secgroupd inbound accept").expect_err("it is not theirs");
    nft("flush chain inet secgroupd inbound").expect_err("it is not theirs");
    nft("flush ruleset").unwrap();
    assert!(!site.generations().is_empty(), "the table is gone");
}

fn protection(site: &Site) -> String {
    site.status()["protection"].as_str().unwrap().to_owned()
}

fn owned() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    is_protected(&site);
    assert!(protection(&site).starts_with("owned"));
    let page = site.run("status").out;
    assert!(
        page.contains("Protection  owned: no other program can change or flush it"),
        "{page}"
    );
    // It can still change it itself, and take it away and make it anew.
    for _ in 0..2 {
        assert_eq!(site.run("reload").code, 0);
        is_protected(&site);
        assert_eq!(site.run("remove").code, 0);
        assert!(site.generations().is_empty());
        assert!(protection(&site).starts_with("none"));
        assert_eq!(site.run("reload").code, 0);
        is_protected(&site);
    }
    Ok(())
}

fn adopted() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        site.start().end(signal);
        assert_eq!(site.generations().len(), 1, "it stays enforced");
        // Even by a daemon that has nothing of its own to enforce.
        site.write("groups.yaml", WRONG);
        let daemon = site.launch("run");
        daemon.until_logged(" stays enforced");
        is_protected(&site);
        daemon.end(Signal::SIGTERM);
        site.write("groups.yaml", &opening(&[22]));
    }
    // Left alone it is enforced, and one flush takes it away.
    site.host.nft("flush ruleset");
    assert!(site.generations().is_empty());
    Ok(())
}

fn kept() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let manager = Manager::new(site.path("").as_path());
    let mut daemon = start(&site, &manager, "run");
    manager.hears_until("READY=1");
    assert!(manager.kept.borrow().is_some(), "the socket was stored");
    let before = site.listing();
    for _ in 0..3 {
        // What is not recorded yet is loaded anew.
        until("it is recorded", || site.path("state/in-force").exists());
        daemon.end(Signal::SIGKILL);
        // Nobody runs, and still nobody else can change it.
        is_protected(&site);
        let apply = Ran::of(&mut site.command("remove"));
        apply.failed(2, &["belongs to", "which alone can change it"]);
        daemon = start(&site, &manager, "run");
        daemon.until_logged("its socket");
        let heard = manager.hears_until("READY=1");
        assert!(
            !heard.iter().any(|each| each.contains("FDSTORE")),
            "it is stored already: {heard:?}"
        );
        // Whatever other programs did with tables of their own meanwhile.
        site.unchanged_by(&before, "the restart has changed it");
        is_protected(&site);
        assert!(protection(&site).starts_with("owned"));
    }
    Ok(())
}

/// A stored socket that owns nothing any more gives way to one that does.
fn stale() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let manager = Manager::new(site.path("").as_path());
    // Of another host altogether.
    let elsewhere = Host::new("elsewhere").enter(|| Native::open().unwrap());
    let socket = elsewhere.descriptor().try_clone_to_owned().unwrap();
    manager.kept.replace(Some(socket));
    let daemon = start(&site, &manager, "run");
    let heard = manager.hears_until("READY=1");
    let place = |words: &str| heard.iter().position(|each| each.contains(words));
    let (gone, stored) = (place("FDSTOREREMOVE=1"), place("FDSTORE=1"));
    assert!(gone.is_some() && gone < stored, "{heard:?}");
    daemon.end(Signal::SIGKILL);
    is_protected(&site);
    Ok(())
}

fn through() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let before = site.listing();
    // As if it could not find the daemon.
    let elsewhere = format!(
        "apply --through nft --socket {0} --state {0}",
        site.path("elsewhere").display()
    );
    let owner = format!("process {} (secgroupd)", daemon.pid());
    site.run(&elsewhere)
        .failed(2, &["belongs to", &owner, "which alone can change it"]);
    site.unchanged(&before);
    daemon.end(Signal::SIGTERM);
    // Left alone, anybody can go on with it.
    let ran = site.run(&elsewhere);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(site.generations(), [2]);
    assert_eq!(site.run("remove --through nft").code, 0);
    assert!(site.generations().is_empty());
    Ok(())
}

/// A daemon that is told to go through nft gives up what the one before it owned.
fn take_over() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let manager = Manager::new(site.path("").as_path());
    let daemon = start(&site, &manager, "run");
    manager.hears_until("READY=1");
    daemon.end(Signal::SIGKILL);
    let _daemon = start(&site, &manager, "run --through nft");
    manager.hears_until("FDSTOREREMOVE=1");
    assert!(
        manager
            .hears(SOON)
            .is_some_and(|heard| heard.contains("READY=1"))
    );
    until("it is loaded anew", || site.generations() == [2]);
    assert!(protection(&site).contains("told through nft"));
    assert_eq!(site.run("reload").code, 0);
    Ok(())
}

/// Such a table can never be owned; it is enforced all the same, and that is said.
fn made_without() -> Result<(), Skip> {
    can_own()?;
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    assert_eq!(site.run("apply --through nft").code, 0);
    let _daemon = site.start();
    assert!(protection(&site).contains("made without an owner"));
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(site.run("remove").code, 0);
    assert_eq!(site.run("reload").code, 0);
    until("it is owned", || protection(&site).starts_with("owned"));
    is_protected(&site);
    Ok(())
}
