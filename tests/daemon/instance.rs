//! Which instance this host is: asked for, by its name, or the only one.

use libtest_mimic::Trial;

use super::site::{Daemon, Ran, Site, WHILE, opening, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("the_instance_asked_for", &["nft"], asked_for),
        kernel_test(
            "the_instance_of_the_host_s_name",
            &["nft", "unshare"],
            by_name,
        ),
        kernel_test("no_instance_fits", &["nft", "unshare"], none_fits),
        kernel_test(
            "a_host_that_is_renamed_is_the_instance_of_its_new_name",
            &["nft", "unshare", "nsenter"],
            renamed,
        ),
        kernel_test(
            "a_host_that_is_renamed_meanwhile",
            &["nft", "unshare", "nsenter"],
            renamed_meanwhile,
        ),
        kernel_test(
            "a_range_of_local_ports_that_changes_is_followed",
            &["nft"],
            other_local_ports,
        ),
    ]
}

/// ins-a lets in 22 and is web1, ins-b lets in 443 and is db1.example.com.
const TWO: &str = "version: 1
security_groups:
  sg-a: { inbound: [{ action: allow, protocol: tcp, port: 22, source: any }] }
  sg-b: { inbound: [{ action: allow, protocol: tcp, port: 443, source: any }] }
instances:
  ins-a: { hostname: web1, interfaces: { eth0: { security_groups: [sg-a] } } }
  ins-b: { hostname: db1.example.com, interfaces: { eth0: { security_groups: [sg-b] } } }
";

/// `secgroupd` on a host with this name.
fn named(site: &Site, name: &str, line: &str) -> std::process::Command {
    let mut command = site.host.command("unshare");
    command.args([
        "--uts",
        "sh",
        "-c",
        "echo \"$0\" >/proc/sys/kernel/hostname && exec \"$@\"",
        name,
    ]);
    command.arg(super::site::PROGRAM);
    site.arguments(&mut command, line);
    command
}

fn asked_for() {
    let site = Site::new();
    site.write("groups.yaml", TWO);
    let daemon = site.launch("run --instance ins-b");
    daemon.until_logged("enforced for ins-b");
    assert!(site.lets_in(443) && !site.lets_in(22));
    // It stays asked for.
    assert!(site.run("reload").out.contains("enforced for ins-b"));
    drop(daemon);
    let ran = site.run("apply --instance ins-a");
    assert!(ran.out.contains("enforced for ins-a"), "{ran:?}");
    assert!(site.lets_in(22) && !site.lets_in(443));
    let before = site.listing();
    for line in [
        "apply",
        "compile",
        "explain outbound icmp 192.0.2.1",
        "check",
    ] {
        let ran = site.run(&format!("{line} --instance ins-c"));
        ran.failed(2, &["ins-c", "ins-a", "ins-b"]);
    }
    site.unchanged(&before);
    let explained = site.run("explain inbound tcp 192.0.2.1 443 --instance ins-b");
    assert_eq!(explained.code, 0, "{explained:?}");
}

fn by_name() {
    let site = Site::new();
    site.write("groups.yaml", TWO);
    for (name, instance) in [
        ("web1", "ins-a"),
        ("WEB1.example.org", "ins-a"),
        ("db1", "ins-b"),
        ("db1.example.com", "ins-b"),
    ] {
        let ran = Ran::of(&mut named(&site, name, "apply"));
        assert!(
            ran.out.contains(&format!("enforced for {instance} ")),
            "{name}: {ran:?}"
        );
    }
    let daemon = Daemon::start(named(&site, "web1", "run"));
    daemon.until_logged("enforced for ins-a");
    assert!(site.lets_in(22) && !site.lets_in(443));
}

fn none_fits() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    assert_eq!(
        Ran::of(&mut named(&site, "mail", "apply")).code,
        0,
        "the only one, without a hostname"
    );
    let before = site.listing();
    site.write("groups.yaml", TWO);
    let lists = [
        "mail",
        "ins-a (hostname web1)",
        "ins-b (hostname db1.example.com)",
    ];
    Ran::of(&mut named(&site, "mail", "apply")).failed(2, &lists);
    Ran::of(&mut named(&site, "mail", "compile")).failed(2, &lists);
    let check = Ran::of(&mut named(&site, "mail", "check"));
    assert_eq!(
        check.code, 0,
        "another host's definition can be checked here: {check:?}"
    );
    let daemon = Daemon::start(named(&site, "mail", "run"));
    daemon.until_logged("ins-b (hostname db1.example.com)");
    assert!(site.run("status").out.contains("hostname web1"));
    site.unchanged(&before);
    site.save("groups.yaml", &TWO.replace("web1", "mail"));
    daemon.until_logged("enforced for ins-a");
    // Two of one name.
    site.save(
        "groups.yaml",
        &TWO.replace("web1", "mail")
            .replace("db1.example.com", "mail.example.com"),
    );
    daemon.until_logged("two instances can be the host `mail.example.com`");
}

fn rename(site: &Site, daemon: &Daemon, name: &str) {
    let mut command = beside(site, daemon, "sh");
    let write = format!("echo {name} >/proc/sys/kernel/hostname");
    assert_eq!(Ran::of(command.args(["-c", &write])).code, 0);
}

/// A program where the host has the daemon's name.
fn beside(site: &Site, daemon: &Daemon, program: &str) -> std::process::Command {
    let mut command = site.host.command("nsenter");
    let pid = daemon.pid().to_string();
    command.args(["--uts", "--target", &pid, program]);
    command
}

/// While something else holds than what the definition says.
fn renamed_meanwhile() {
    let site = Site::new();
    site.write("groups.yaml", TWO);
    let daemon = Daemon::start(named(&site, "web1", "run"));
    site.until_open(&[22], &[443]);
    let here = |line: &str| {
        let mut command = beside(&site, &daemon, super::site::PROGRAM);
        site.arguments(&mut command, line);
        Ran::of(&mut command)
    };
    // Taken off on request.
    assert_eq!(here("remove").code, 0);
    rename(&site, &daemon, "db1");
    std::thread::sleep(WHILE);
    assert!(site.lets_in(22) && site.lets_in(443));
    assert_eq!(here("reload").code, 0);
    assert!(site.lets_in(443) && !site.lets_in(22));
    // A candidate that was applied.
    site.write("other.yaml", &opening(&[80]));
    let other = site.path("other.yaml").display().to_string();
    assert_eq!(here(&format!("apply {other}")).code, 0);
    rename(&site, &daemon, "web1");
    std::thread::sleep(WHILE);
    assert!(site.lets_in(80) && !site.lets_in(22));
    site.save("groups.yaml", &format!("{TWO}\n"));
    site.until_open(&[22], &[80, 443]);
    // Under a hold, and permissions are no way out.
    assert_eq!(here("reload --hold").code, 0);
    rename(&site, &daemon, "db1");
    let renamed = "this host is named db1 now, and ins-a is enforced, which is the host web1";
    daemon.until_logged(renamed);
    let status = here("status");
    assert!(
        status.code == 1 && status.out.contains(renamed),
        "{status:?}"
    );
    assert_eq!(here("reload").code, 0);
    assert_eq!(here("status").code, 0);
    // A trial that would be enforced as another instance.
    site.write("new.yaml", &format!("{TWO}\n\n"));
    let new = site.path("new.yaml").display().to_string();
    assert_eq!(here(&format!("apply --confirm 60 {new}")).code, 0);
    rename(&site, &daemon, "web1");
    here("confirm").failed(2, &["was never tried"]);
    assert!(site.path("new.yaml").exists() && site.lets_in(443));
    // A name that no instance has, and permissions that change.
    assert_eq!(here("reload").code, 0);
    rename(&site, &daemon, "mail");
    until("it is degraded", || here("status").code == 1);
    std::fs::set_permissions(
        site.definition(),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    std::thread::sleep(WHILE);
    assert_eq!(here("status").code, 1, "{}", daemon.log());
}

/// As cloud-init and DHCP do: late, or once more.
fn renamed() {
    let site = Site::new();
    site.write("groups.yaml", TWO);
    let daemon = Daemon::start(named(&site, "localhost", "run"));
    daemon.until_logged("localhost");
    assert!(site.lets_in(22) && site.lets_in(443), "none is this host");
    let rename = |name: &str| rename(&site, &daemon, name);
    rename("web1");
    site.until_open(&[22], &[443]);
    daemon.until_logged("this host is named web1 now, no longer localhost");
    rename("db1");
    site.until_open(&[443], &[22]);
    // What is enforced stays, and is not what is meant for this host.
    rename("mail");
    until("it is degraded", || !site.status()["last_error"].is_null());
    assert!(site.lets_in(443) && !site.lets_in(22));
    rename("db1");
    until("it is well", || site.status()["last_error"].is_null());
    // Not while somebody edits.
    assert_eq!(site.run("reload --hold").code, 0);
    rename("web1");
    daemon.until_logged("the definition is not read before the next `secgroupd reload`");
    assert!(site.lets_in(443) && !site.lets_in(22));
    assert_eq!(site.run("reload").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
}

fn other_local_ports() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    site.host.set("net/ipv4/ip_local_port_range", "40000 50000");
    daemon.until_logged("the range of local ports has changed");
    until("it is asked for", || site.listing().contains("40000-50000"));
}
