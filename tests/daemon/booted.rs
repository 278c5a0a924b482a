//! A machine that boots: the real systemd starts the real units beside Debian's nftables.service, in namespaces of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags};

use super::rights::has_other_users;
use super::site::{PROGRAM, Ran, SOON, Site, WRONG, opening, until};
use crate::support::wait::PAUSE;
use crate::support::{Skip, kernel_test, through_nft};

pub fn tests() -> Vec<Trial> {
    if through_nft() {
        return Vec::new();
    }
    vec![kernel_test(
        "booted_by_systemd",
        &["nft", "systemctl", "nsenter", "unshare"],
        booted,
    )]
}

/// As Debian's: who loads it takes away what all others have loaded. What is let in is counted.
const CONF: &str = "flush ruleset
table inet seen {
	chain in { type filter hook prerouting priority -150; ip saddr 10.0.0.9 counter drop comment \"in\"; }
}
";

/// The bit of CAP_NET_ADMIN alone.
const NET_ADMIN: &str = "0000000000001000";

/// A systemd that runs in the host's network.
struct Machine<'s> {
    site: &'s Site,
    parent: Child,
    _group: Group,
}

impl<'s> Machine<'s> {
    /// Gives it when all services are up.
    fn boot(site: &'s Site) -> Self {
        let group = Group::new(&site.path("cgroup"));
        let mut command = site.host.command("sh");
        let repository = env!("CARGO_MANIFEST_DIR");
        let script = Path::new(repository).join("tests/daemon/booted.sh");
        command.arg("-c").arg(
            "echo $$ >\"$1/cgroup.procs\"; shift; exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup \"$@\"",
        );
        command.arg("sh").arg(&group.own).arg(script);
        command.arg(site.path("")).arg(PROGRAM).arg(repository);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let parent = command.spawn().unwrap();
        let machine = Machine {
            site,
            parent,
            _group: group,
        };
        machine.until("started everything", || {
            machine.systemctl("is-active machine.target").out == "active\n"
        });
        machine
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < 2 * SOON, "never {what}:\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
    }

    /// A program in the machine.
    fn run(&self, program: &str, line: &str) -> Ran {
        let parent = self.parent.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let mut command = Command::new("nsenter");
        command.args(["-a", "-t", children.unwrap_or_default().trim()]);
        Ran::of(command.arg(program).args(line.split_whitespace()))
    }

    fn systemctl(&self, line: &str) -> Ran {
        self.run("systemctl", line)
    }

    fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.systemctl(&format!("show --value -p {name} {unit}"));
        shown.out.trim().to_owned()
    }

    /// When it was up, in microseconds since the start.
    fn since(&self, unit: &str) -> u64 {
        let time = self.property(unit, "ActiveEnterTimestampMonotonic");
        time.parse().unwrap_or_else(|_| panic!("{unit}: {time}"))
    }

    fn log(&self) -> String {
        let log = self.run(
            "journalctl",
            "--no-pager -u secgroupd -u secgroupd-boot -u nftables",
        );
        log.out
    }

    fn until_let_in(&self, open: u16, closed: &[u16]) {
        self.until(&format!("{open} let in"), || self.site.lets_in(open));
        for port in closed {
            assert!(!self.site.lets_in(*port), "{port}\n{}", self.log());
        }
    }

    fn power_off(mut self) {
        self.systemctl("poweroff");
        until("the machine is off", || {
            self.parent.try_wait().is_ok_and(|ended| ended.is_some())
        });
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Who is killed kills the machine.
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }
}

/// A control group of its own: what the machine makes below it goes with it.
struct Group {
    mount: PathBuf,
    own: PathBuf,
}

impl Group {
    fn new(mount: &Path) -> Self {
        fs::create_dir_all(mount).unwrap();
        let (kind, flags) = (Some("cgroup2"), MsFlags::empty());
        nix::mount::mount(kind, mount, kind, flags, None::<&str>).unwrap();
        let own = mount.join(format!("secgroupd-test-{}", std::process::id()));
        fs::create_dir(&own).unwrap();
        let mount = mount.to_owned();
        Group { mount, own }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last of its processes may be on their way.
        let start = Instant::now();
        while remove(&self.own).is_err() && start.elapsed() < SOON {
            std::thread::sleep(PAUSE);
        }
        let _ = nix::mount::umount2(&self.mount, MntFlags::MNT_DETACH);
    }
}

/// Control groups go from the innermost out; their files go with them.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn booted() -> Result<(), Skip> {
    if !has_other_users() {
        return Err(Skip("only root may start a systemd".into()));
    }
    let site = Site::quiet();
    for folder in ["etc", "state"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    site.write("nftables.conf", CONF);
    site.write("etc/groups.yaml", &opening(&[22]));

    let machine = Machine::boot(&site);
    machine.until_let_in(22, &[80, 443]);
    for unit in ["nftables", "secgroupd-boot", "secgroupd"] {
        assert_eq!(
            machine.property(unit, "ActiveState"),
            "active",
            "{unit}\n{}",
            machine.log()
        );
    }
    let said = machine.property("secgroupd", "StatusText");
    assert!(said.contains("generation 1"), "{said}");
    narrow(&machine);
    // A saved file, and a reload that says whether it is right.
    site.save("etc/groups.yaml", &opening(&[443]));
    machine.until_let_in(443, &[22, 80]);
    site.save("etc/groups.yaml", WRONG);
    assert_ne!(machine.systemctl("reload secgroupd").code, 0);
    machine.until_let_in(443, &[22, 80]);
    site.save("etc/groups.yaml", &opening(&[443]));
    assert_eq!(
        machine.systemctl("reload secgroupd").code,
        0,
        "{}",
        machine.log()
    );
    // Another service takes away everything, as it may at any time.
    assert_eq!(machine.systemctl("restart nftables").code, 0);
    machine.until_let_in(443, &[22, 80]);
    // Killed, it comes back to what it had enforced.
    machine.systemctl("kill -s KILL secgroupd");
    assert!(!site.lets_in(22) && site.lets_in(443), "{}", machine.log());
    machine.until("started again", || {
        machine.property("secgroupd", "NRestarts") == "1"
            && machine.property("secgroupd", "ActiveState") == "active"
    });
    machine.until_let_in(443, &[22, 80]);
    machine.power_off();

    // The next start: the folder of the definition is empty, as one that is mounted late, and the kernel knows nothing, since
    // nftables.service was stopped last.
    assert!(site.generations().is_empty());
    fs::remove_file(site.path("etc/groups.yaml")).unwrap();
    let machine = Machine::boot(&site);
    machine.until_let_in(443, &[22, 80]);
    let units = [
        "nftables",
        "secgroupd-boot",
        "network-pre.target",
        "secgroupd",
    ];
    let since = units.map(|unit| machine.since(unit));
    assert!(since[0] > 0 && since.is_sorted(), "{units:?}: {since:?}");
    // The daemon guards the kept policy.
    let said = machine.property("secgroupd", "StatusText");
    assert!(
        said.contains("DEGRADED") && said.contains("stays enforced"),
        "{said}"
    );
    assert_eq!(machine.systemctl("restart nftables").code, 0);
    machine.until_let_in(443, &[22, 80]);
    site.save("etc/groups.yaml", &opening(&[80]));
    machine.until_let_in(80, &[22, 443]);
    machine.power_off();
    println!(
        "systemd started the kept policy {:.0} ms after nftables.service and {:.0} ms before the network",
        (since[1] - since[0]) as f64 / 1e3,
        (since[2] - since[1]) as f64 / 1e3,
    );
    Ok(())
}

/// What the running service may do.
fn narrow(machine: &Machine) {
    let process = machine.property("secgroupd", "MainPID");
    let status = machine.run("cat", &format!("/proc/{process}/status")).out;
    for (field, value) in [
        ("CapEff:", NET_ADMIN),
        ("CapBnd:", NET_ADMIN),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        let line = status.lines().find(|line| line.starts_with(field));
        assert!(
            line.is_some_and(|line| line.ends_with(value)),
            "{field} {status}"
        );
    }
    let user = machine.property("secgroupd", "User");
    assert_eq!(user, "secgroupd");
}
