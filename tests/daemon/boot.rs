//! What secgroupd-boot.service does, beside other programs' services.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::kept::{lose, until_kept};
use super::rights::{Elsewhere, GROUP, USER, has_other_users};
use super::site::{Daemon, Ran, Site, WRONG, opening, until};
use secgroupd::state::directory::State;
use secgroupd::state::in_force::InForce;

use crate::support::{Skip, kernel_test, through_nft};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("boot_without_a_policy_does_nothing", &["nft"], nothing),
        kernel_test("boot_beside_nftables_service", &["nft"], beside),
        kernel_test("generations_go_on_over_a_reboot", &["nft"], generations),
        kernel_test("boot_leaves_a_running_daemon_alone", &["nft"], running),
        kernel_test("boot_reads_no_definition", &["nft"], unread),
        kernel_test(
            "boot_needs_one_capability",
            &["nft", "setpriv", "iptables-legacy"],
            narrow,
        ),
    ]
}

/// Debian's `/etc/nftables.conf`.
const CONF: &str = "flush ruleset

table inet filter {
	chain input { type filter hook input priority filter; }
	chain forward { type filter hook forward priority filter; }
	chain output { type filter hook output priority filter; }
}
";

fn nothing() {
    let site = Site::new();
    let boot = site.run("boot");
    assert_eq!(boot.code, 0, "{boot:?}");
    assert!(
        boot.err.contains("no policy was kept on this host"),
        "{boot:?}"
    );
    assert!(!site.host.nft_list("tables").contains("secgroupd"));
}

/// A site whose policy was kept before the machine was started again.
fn rebooted() -> Site {
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    daemon.end(Signal::SIGTERM);
    lose(&site);
    site.write("nftables.conf", CONF);
    site
}

fn generations() {
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    for _ in 0..4 {
        assert_eq!(site.run("reload").code, 0);
    }
    assert_eq!(site.status()["enforced"]["generation"], 5);
    daemon.end(Signal::SIGTERM);
    // What the kernel had, it had before this start of the machine.
    let state = State::open(&site.path("state")).unwrap();
    let mut record = InForce::read(&state).unwrap();
    record.boot = "another".into();
    record.write(&state).unwrap();
    drop(state);
    lose(&site);
    let boot = site.run("boot");
    assert_eq!(boot.code, 0, "{boot:?}");
    let _daemon = site.start();
    let generation = site.status()["enforced"]["generation"].as_u64().unwrap();
    assert!(generation > 5, "{generation}");
}

/// The peer's packets are counted by what the other program allows.
fn count(site: &Site) {
    site.host.nft("table inet seen { chain in { type filter hook prerouting priority -150; ip saddr 10.0.0.9 counter drop comment \"in\"; }; }");
}

fn beside() {
    let site = rebooted();
    let conf = site.path("nftables.conf").display().to_string();
    // nftables.service starts, then secgroupd-boot.service, then the daemon.
    site.host.output("nft", &["-f", &conf]);
    count(&site);
    let boot = site.run("boot");
    assert_eq!(boot.code, 0, "{boot:?}");
    assert_eq!(site.generations(), [1]);
    assert!(site.lets_in(22) && !site.lets_in(443));
    let handles = site.listing();
    let daemon = site.start();
    if !through_nft() {
        site.unchanged_by(&handles, "the daemon has replaced what boot has enforced");
    }
    // nftables.service is reloaded, and then stopped.
    for command in [["-f", &*conf].as_slice(), &["flush", "ruleset"]] {
        site.host.output("nft", command);
        count(&site);
        site.until_open(&[22], &[443]);
    }
    // Nobody guards it any more: at the next start it is back.
    daemon.end(Signal::SIGTERM);
    site.host.output("nft", &["flush", "ruleset"]);
    assert!(site.generations().is_empty());
    site.write("groups.yaml", WRONG);
    let _daemon = site.launch("run");
    count(&site);
    site.until_open(&[22], &[443]);
}

fn running() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    let before = site.listing();
    let boot = site.run("boot");
    assert_eq!(boot.code, 0, "{boot:?}");
    let pid = format!("nothing to do: another secgroupd (pid {})", daemon.pid());
    assert!(boot.err.contains(&pid), "{boot:?}");
    site.unchanged(&before);
}

fn unread() {
    let site = rebooted();
    fs::remove_file(site.definition()).unwrap();
    count(&site);
    assert_eq!(site.run("boot").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
    let before = site.listing();
    assert_eq!(site.run("boot").code, 0, "again");
    site.unchanged(&before);
    // It is the daemon's, whatever becomes of the definition.
    let daemon = site.launch("run");
    daemon.until_logged("does not exist");
    until("it is known", || {
        site.status()["enforced"]["generation"] == 1
    });
    site.unchanged(&before);
}

/// As the unit runs it: another user, with CAP_NET_ADMIN and nothing else.
fn narrow() -> Result<(), Skip> {
    if !has_other_users() {
        return Err(Skip(
            "there is no other user in this user namespace; root has one".into(),
        ));
    }
    let site = rebooted();
    count(&site);
    // The program and the state where that user can reach them; /run is this test binary's own.
    let elsewhere = Elsewhere::new("boot");
    let state = elsewhere.folder.join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let policy = state.join("policy");
    fs::copy(site.path("state/policy"), &policy).unwrap();
    for path in [&state, &policy] {
        chown(path, Some(USER), Some(GROUP)).unwrap();
    }
    let user = [
        &*format!("--reuid={USER}"),
        &*format!("--regid={GROUP}"),
        "--clear-groups",
        "--inh-caps=-all,+net_admin",
        "--ambient-caps=+net_admin",
        "--bounding-set=-all,+net_admin",
        "--no-new-privs",
    ];
    let mut command = site.host.command("setpriv");
    command
        .args(user)
        .arg(elsewhere.program())
        .arg("boot")
        .arg("--state")
        .arg(&state);
    let boot = Ran::of(command.env("NO_COLOR", "1"));
    assert_eq!(boot.code, 0, "{boot:?}");
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert!(state.join("in-force").exists());
    // What the daemon, which is not root, may not look at, root's command does.
    let definition = elsewhere.folder.join("groups.yaml");
    fs::write(&definition, opening(&[22])).unwrap();
    let socket = elsewhere.folder.join("run/control.sock");
    fs::create_dir(socket.parent().unwrap()).unwrap();
    chown(socket.parent().unwrap(), Some(USER), Some(GROUP)).unwrap();
    let mut command = site.host.command("setpriv");
    command.args(user).arg(elsewhere.program()).arg("run");
    command.arg("--definition").arg(&definition);
    command.arg("--state").arg(&state);
    command.arg("--socket").arg(&socket);
    let daemon = Daemon::start(command);
    daemon.until_logged(" enforced for ");
    let rule = "-t raw -A OUTPUT -p udp -j CT --notrack";
    let mut command = site.host.command("iptables-legacy");
    assert_eq!(Ran::of(command.args(rule.split(' '))).code, 0);
    let status = site.run(&format!("status --socket {}", socket.display()));
    let seen = "a rule in the chain OUTPUT of the iptables-legacy table raw takes away the state";
    assert!(status.out.contains(seen), "{status:?}");
    assert!(!status.out.contains("cannot see"), "{status:?}");
    drop(daemon);
    // Root enforces no policy that somebody else put there.
    site.run(&format!("boot --state {}", state.display()))
        .failed(2, &[&format!("state belongs to user {USER}")]);
    Ok(())
}
