//! Who may ask, who may change, and who may read what the daemon leaves on disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use super::site::{PROGRAM, Ran, Site, opening, with};
use crate::support::{Skip, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "the_socket_s_group_may_ask_and_only_root_may_change",
            &["nft", "setpriv"],
            others,
        ),
        kernel_test("files_are_the_daemon_s_alone", &["nft"], files),
    ]
}

/// Users and groups that are nobody's here.
pub const USER: u32 = 12_345;
pub const GROUP: u32 = 23_456;

/// Whether this namespace has other users: an ordinary user's has only one.
pub fn has_other_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.lines().any(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        matches!(numbers[..], [0, _, length] if length > u64::from(GROUP))
    })
}

/// The program and the socket where another user can reach them.
pub struct Elsewhere {
    pub folder: PathBuf,
}

impl Elsewhere {
    /// A folder of this name.
    pub fn new(name: &str) -> Self {
        // /run is this test binary's own.
        let folder = PathBuf::from(format!("/run/secgroupd-{name}"));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let elsewhere = Self { folder };
        crate::support::copy_program(PROGRAM, elsewhere.program());
        elsewhere
    }

    pub fn program(&self) -> PathBuf {
        self.folder.join("secgroupd")
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn others() -> Result<(), Skip> {
    if !has_other_users() {
        return Err(Skip(
            "there is no other user in this user namespace; root has one".into(),
        ));
    }
    let elsewhere = Elsewhere::new("rights");
    let program = elsewhere.program();
    let socket = elsewhere.folder.join("control.sock");

    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.launch(&format!("run --socket {}", socket.display()));
    daemon.until_logged(" enforced for ");
    chown(&socket, None, Some(GROUP)).unwrap();
    let before = site.listing();
    let candidate = elsewhere.folder.join("candidate.yaml");
    fs::write(&candidate, opening(&[443])).unwrap();
    fs::set_permissions(&candidate, fs::Permissions::from_mode(0o644)).unwrap();
    let apply = format!("apply {}", candidate.display());
    let as_user = |group: u32, line: &str| {
        let mut command = site.host.command("setpriv");
        command.args([
            &format!("--reuid={USER}"),
            &format!("--regid={group}"),
            "--clear-groups",
        ]);
        command
            .arg(&program)
            .args(line.split(' '))
            .arg("--socket")
            .arg(&socket);
        Ran::of(&mut command)
    };

    let ran = as_user(GROUP, "status");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("ins-web1"), "{ran:?}");
    for line in ["reload", apply.as_str(), "remove"] {
        as_user(GROUP, line).failed(2, &["root"]);
    }
    for line in ["status", "reload", apply.as_str(), "remove"] {
        as_user(USER, line).failed(2, &["permission denied"]);
    }
    site.unchanged(&before);
    assert_eq!(site.status_at(&socket)["reloads"], 1);
    Ok(())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn files() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &with(&[22], "billing: prepaid, smtp: unblocked, "),
    );
    let _daemon = site.start();
    super::kept::until_kept(&site, "ins-web1");
    assert_eq!(mode(&site.path("control.sock")), 0o660);
    assert_eq!(mode(&site.path("state")), 0o700);
    assert_eq!(mode(&site.path("state/lock")), 0o600);
    let known = [
        "unblocks.json",
        "policy",
        "in-force",
        "flow-labels.json",
        "latest-time",
        "history-000001",
    ];
    for name in known {
        assert_eq!(mode(&site.path("state").join(name)), 0o600, "{name}");
    }
    let names: Vec<_> = fs::read_dir(site.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        // It is there once something was counted.
        .filter(|name| name != "hits" || mode(&site.path("state/hits")) != 0o600)
        .collect();
    assert_eq!(
        names.len(),
        known.len() + 1,
        "nothing else is left: {names:?}"
    );
    // A state directory that everybody may write to is refused.
    drop(_daemon);
    fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o777)).unwrap();
    for line in ["run", "apply"] {
        site.run(line)
            .failed(2, &["may be written by everybody", "chmod o-w"]);
    }
    // And so is one that its group may write: its members may only ask.
    fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o770)).unwrap();
    if chown(site.path("state"), None, Some(GROUP)).is_ok() {
        for line in ["run", "apply", "boot"] {
            site.run(line)
                .failed(2, &["may be written by group", "chmod g-w"]);
        }
    }
}
