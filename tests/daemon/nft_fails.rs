//! An nft that fails: what it says reaches the operator whole, and what was enforced stays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::site::{Daemon, Ran, Site, opening, until};
use crate::support::{kernel_test, namespace::search_path};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("nft_refuses_the_load", &["nft"], || refused_call(1)),
        kernel_test("nft_refuses_the_switch", &["nft"], || refused_call(2)),
        kernel_test("nft_refuses_the_delete", &["nft"], refused_delete),
        kernel_test("nft_refuses_at_the_first_start", &["nft"], first_start),
        kernel_test("nft_is_gone", &["nft"], gone),
        kernel_test("nft_is_too_old", &["nft"], too_old),
        kernel_test("nft_is_slow", &["nft"], slow),
        kernel_test(
            "nft_fails_after_it_has_switched",
            &["nft"],
            after_the_switch,
        ),
    ]
}

/// Before the real one on the path. Is slow by as many seconds as the file `slow` says, and too old for the word in the file `old`. Refuses the call whose number is in the file `refuse`, counted from the last
/// time the file `count` was removed.
const NFT: &str = r#"#!/bin/sh
n=$(( $(cat "$0.count" 2>/dev/null || echo 0) + 1 ))
echo $n >"$0.count"
if [ "$n" = "$(cat "$0.late" 2>/dev/null)" ]; then
    REAL "$@"
    echo "Terminated" >&2
    exit 1
fi
[ -e "$0.slow" ] && sleep "$(cat "$0.slow")"
if [ -e "$0.old" ]; then
    cat >"$0.batch"
    if grep -q "$(cat "$0.old")" "$0.batch"; then
        echo "/dev/stdin:1:1-8: Error: syntax error, unexpected $(cat "$0.old")" >&2
        exit 1
    fi
    exec REAL "$@" <"$0.batch"
fi
if grep -qsx "$n" "$0.refuse"; then
    cat >/dev/null
    echo "Error: Could not process rule: Numerical result out of range" >&2
    echo "add rule inet made up" >&2
    echo "         ^^^^ second line" >&2
    exit 1
fi
exec REAL "$@"
"#;

struct Fake<'a>(&'a Site);

impl<'a> Fake<'a> {
    fn new(site: &'a Site) -> Self {
        let folders = search_path();
        let real = std::env::split_paths(&folders)
            .map(|folder| folder.join("nft"))
            .find(|path| path.is_file());
        site.write(
            "bin/nft",
            &NFT.replace("REAL", real.unwrap().to_str().unwrap()),
        );
        fs::set_permissions(site.path("bin/nft"), fs::Permissions::from_mode(0o755)).unwrap();
        Self(site)
    }

    /// Refuses the calls with these numbers from now.
    fn refuses(&self, calls: &[usize]) {
        let _ = fs::remove_file(self.0.path("bin/nft.count"));
        let lines: String = calls.iter().map(|call| format!("{call}\n")).collect();
        fs::write(self.0.path("bin/nft.refuse"), lines).unwrap();
    }

    fn command(&self, line: &str) -> std::process::Command {
        let mut command = self.0.command(&format!("{line} --through nft"));
        let mut path = self.0.path("bin").into_os_string();
        path.push(":");
        path.push(search_path());
        command.env("PATH", path);
        command
    }

    fn start(&self) -> Daemon {
        self.0.write("groups.yaml", &opening(&[22]));
        let daemon = Daemon::start(self.command("run"));
        daemon.until_logged(" enforced for ");
        daemon
    }
}

const SAID: [&str; 3] = [
    "Numerical result out of range",
    "add rule inet made up",
    "^^^^ second line",
];

fn refused_call(call: usize) {
    let site = Site::new();
    let fake = Fake::new(&site);
    let daemon = fake.start();
    let before = site.listing();
    // A change that fails is tried once more as a whole load: what was loaded is deleted between.
    fake.refuses(if call == 1 { &[1, 2] } else { &[2, 5] });
    site.save("groups.yaml", &opening(&[443]));
    until("it is told", || !site.status()["last_error"].is_null());
    site.unchanged_by(&before, "nothing is left of what was loaded in vain");
    assert!(site.lets_in(22) && !site.lets_in(443));
    let page = site.run("status").out;
    for words in SAID {
        assert!(
            daemon.log().contains(words),
            "{words} is not in {}",
            daemon.log()
        );
        assert!(page.contains(words), "{words} is not in {page}");
    }
    let kept = site.path("state/refused-batch.nft");
    assert!(page.contains(kept.to_str().unwrap()), "{page}");
    let batch = fs::read_to_string(&kept).unwrap();
    assert!(
        batch.contains(if call == 1 { "443" } else { "jump g2_inbound" }),
        "{batch}"
    );

    // What is in force has its record again, by which the next daemon goes on with it.
    until("it is recorded", || site.path("state/in-force").exists());
    daemon.end(Signal::SIGKILL);
    let daemon = fake.start();
    let stays = "generation 1 of an earlier secgroupd is in force, and stays";
    assert!(daemon.log().contains(stays), "{}", daemon.log());
    site.unchanged(&before);

    fake.refuses(&[call]);
    let reload = site.run("reload");
    reload.failed(2, &SAID);
    assert_eq!(
        reload.err.matches("Numerical result").count(),
        1,
        "once: {reload:?}"
    );
    site.unchanged(&before);

    // The next good save recovers.
    site.save("groups.yaml", &opening(&[80]));
    site.until_open(&[80], &[22, 443]);
    until("it is forgotten", || site.status()["last_error"].is_null());
    site.until_at_rest();
}

/// The new policy holds; the old generation matters to no packet and goes the next time.
fn refused_delete() {
    let site = Site::new();
    let fake = Fake::new(&site);
    let daemon = fake.start();
    fake.refuses(&[3]);
    let reload = site.run("reload");
    assert_eq!(reload.code, 0, "{reload:?}");
    daemon.until_logged("the old generation was not cleaned up");
    assert_eq!(site.generations(), [1, 2]);
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(site.generations(), [3]);
}

fn first_start() {
    let site = Site::new();
    let fake = Fake::new(&site);
    site.write("groups.yaml", &opening(&[22]));
    for call in [1, 2] {
        fake.refuses(&[call]);
        Ran::of(&mut fake.command("apply")).failed(2, &SAID);
        assert!(site.generations().is_empty(), "{}", site.listing());
        assert!(site.lets_in(443), "half a policy is none");
    }
    fake.refuses(&[1]);
    let daemon = Daemon::start(fake.command("run"));
    daemon.until_logged("nothing is enforced");
    assert!(site.lets_in(443));
    assert_eq!(site.run("reload").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
}

fn gone() {
    let site = Site::new();
    let fake = Fake::new(&site);
    let _daemon = fake.start();
    let before = site.listing();
    fs::rename(site.path("bin/nft"), site.path("bin/nft.away")).unwrap();
    site.run("reload").failed(
        2,
        &["the program nft was not found; install the package nftables"],
    );
    site.unchanged(&before);
    fs::rename(site.path("bin/nft.away"), site.path("bin/nft")).unwrap();
    assert_eq!(site.run("reload").code, 0);
}

/// An nft before a word that we use: as nftables 0.9.0 was before `typeof`. (An nft without JSON is as good as any: we speak its text,
/// and read back what the kernel has over netlink.) What it refuses is said in its own words, and a newer one recovers.
fn too_old() {
    let site = Site::new();
    let fake = Fake::new(&site);
    let old = site.path("bin/nft.old");
    fs::write(&old, "ct").unwrap();
    site.write("groups.yaml", &opening(&[22]));
    let said = "syntax error, unexpected ct";
    Ran::of(&mut fake.command("apply")).failed(2, &[said]);
    assert!(site.generations().is_empty());
    let daemon = Daemon::start(fake.command("run"));
    daemon.until_logged("nothing is enforced");
    let page = site.run("status").out;
    assert!(page.contains(said), "{page}");
    fs::remove_file(&old).unwrap();
    assert_eq!(site.run("reload").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
    // And one that was downgraded meanwhile.
    let before = site.listing();
    fs::write(&old, "ct").unwrap();
    site.save("groups.yaml", &opening(&[443]));
    until("it is told", || {
        site.status()["last_error"]["text"]
            .as_str()
            .is_some_and(|text| text.contains(said))
    });
    site.unchanged(&before);
    assert!(site.lets_in(22) && !site.lets_in(443));
    fs::remove_file(&old).unwrap();
    site.save("groups.yaml", &opening(&[80]));
    site.until_open(&[80], &[22, 443]);
}

/// Each call of nft takes a second: the old policy holds until then, the last save wins, and who asks is answered.
fn slow() {
    let site = Site::new();
    let fake = Fake::new(&site);
    let daemon = fake.start();
    fs::write(site.path("bin/nft.slow"), "1").unwrap();
    site.save("groups.yaml", &opening(&[443]));
    thread::sleep(Duration::from_millis(300));
    assert!(site.lets_in(22) && !site.lets_in(443));
    for port in [80, 81, 82] {
        site.save("groups.yaml", &opening(&[port]));
        assert!(site.status()["last_error"].is_null());
        assert!(!site.lets_in(9));
    }
    site.until_open(&[82], &[22, 443, 80, 81]);
    until("it is reported", || {
        site.status()["enforced"]["generation"].as_u64() >= Some(2)
    });
    assert!(site.status()["last_error"].is_null());
    fs::remove_file(site.path("bin/nft.slow")).unwrap();
    let (status, log) = daemon.end(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0), "{log}");
    site.until_at_rest();
    assert!(site.lets_in(82) && !site.lets_in(22));
}

/// An nft that is killed when the kernel has taken its batch: what is reported is what the kernel enforces.
fn after_the_switch() {
    let site = Site::new();
    let fake = Fake::new(&site);
    let _daemon = fake.start();
    let _ = fs::remove_file(site.path("bin/nft.count"));
    fs::write(site.path("bin/nft.late"), "2").unwrap();
    site.save("groups.yaml", &opening(&[2222]));
    until("the new definition is enforced", || site.lets_in(2222));
    // The script did not become nft, so what it did counts as another program's, and is restored once.
    until("and reported", || {
        site.status()["enforced"]["generation"].as_u64() >= Some(2)
    });
    assert!(site.status()["last_error"].is_null());
    site.until_at_rest();
}
