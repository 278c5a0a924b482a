//! What the state directory promises.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn state() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state")).unwrap();
    (dir, state)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_directory_is_made_for_us_alone() {
    let (dir, state) = state();
    assert_eq!(mode(state.directory()), 0o700);
    State::open(state.directory()).unwrap();
    let deep = State::open(&dir.path().join("no/such")).unwrap_err();
    assert!(matches!(deep, StateError::NoParent { .. }));
    std::fs::write(dir.path().join("file"), "").unwrap();
    let file = State::open(&dir.path().join("file")).unwrap_err();
    assert!(matches!(file, StateError::NotADirectory { .. }));
    std::fs::set_permissions(state.directory(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let open = State::open(state.directory()).unwrap_err().to_string();
    assert!(open.contains("(mode 0777): chmod o-w /"), "{open}");
    // Its own sticky bit keeps nobody from putting a policy there.
    std::fs::set_permissions(state.directory(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    State::open(state.directory()).unwrap_err();
    State::look(state.directory()).unwrap_err();
    assert!(State::look(&dir.path().join("none")).unwrap().is_none());
    assert!(!dir.path().join("none").exists());
}

/// Whoever may put a policy there has it enforced by root's `boot`.
#[test]
fn a_directory_that_others_may_write_is_refused() {
    let (dir, state) = state();
    let path = state.directory();
    let refused = |words: &str| {
        let said = State::open(path).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    };
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    if std::os::unix::fs::chown(path, None, Some(12346)).is_err() {
        eprintln!("skipped: there is no other group");
        return;
    }
    mode(path, 0o770);
    refused("may be written by group 12346 (mode 0770): chmod g-w ");
    mode(path, 0o750);
    State::open(path).unwrap();
    mode(dir.path(), 0o777);
    refused("may be written by everybody (mode 0777)");
    mode(dir.path(), 0o755);
    std::os::unix::fs::chown(path, Some(12345), None).unwrap();
    refused("belongs to user 12345");
    std::os::unix::fs::chown(path, Some(0), None).unwrap();
    // And so is a file of theirs, however it came there.
    std::fs::write(path.join("policy"), "theirs").unwrap();
    std::os::unix::fs::chown(path.join("policy"), Some(12345), None).unwrap();
    let said = state.read("policy").unwrap_err().to_string();
    assert!(said.contains("policy belongs to user 12345"), "{said}");
}

#[test]
fn an_endless_file_is_not_read() {
    let (_dir, state) = state();
    let file = std::fs::File::create(state.directory().join("policy")).unwrap();
    file.set_len(20 << 30).unwrap();
    let said = state.read("policy").unwrap_err().to_string();
    assert!(said.contains("policy is larger than 256 MB"), "{said}");
}

#[test]
fn one_at_a_time() {
    let (_dir, state) = state();
    let lock = state.lock().unwrap();
    let refused = state.lock().unwrap_err();
    assert!(
        matches!(refused, StateError::Locked { pid: Some(pid), .. } if pid == std::process::id())
    );
    assert!(
        refused
            .to_string()
            .contains(&format!("(pid {})", std::process::id()))
    );
    drop(lock);
    state.lock().unwrap();
    assert_eq!(mode(&state.directory().join("lock")), 0o600);
}

#[test]
fn a_lock_is_waited_for_when_its_holder_has_ended() {
    let (_dir, state) = state();
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    // What the killed daemon was starting holds the lock still.
    let path = state.directory().join("lock");
    std::fs::write(&path, format!("{}\n", ended.id())).unwrap();
    let left_over = std::fs::File::open(&path).unwrap();
    left_over.lock().unwrap();
    let runs = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(left_over);
    });
    let _lock = state.lock().unwrap();
    runs.join().unwrap();
    // The next names us, and nothing is left of whom the file named before.
    let refused = state.lock().unwrap_err();
    assert!(
        matches!(refused, StateError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{refused}"
    );
}

#[test]
fn files_are_written_whole_and_for_us_alone() {
    let (_dir, state) = state();
    assert_eq!(state.read("policy.json").unwrap(), None);
    for text in ["one", "two and more", ""] {
        state
            .write_atomically("policy.json", text.as_bytes())
            .unwrap();
        assert_eq!(state.read("policy.json").unwrap().unwrap(), text.as_bytes());
    }
    assert_eq!(mode(&state.directory().join("policy.json")), 0o600);
    assert_eq!(std::fs::read_dir(state.directory()).unwrap().count(), 1);
    state.remove("policy.json").unwrap();
    state.remove("policy.json").unwrap();
    assert_eq!(state.read("policy.json").unwrap(), None);
}

#[test]
fn what_a_killed_writer_left_is_swept() {
    let (_dir, state) = state();
    let left = state.directory().join(".policy.json.1-0.new");
    std::fs::write(&left, "half").unwrap();
    let _lock = state.lock().unwrap();
    assert!(!left.exists());
}

#[test]
fn names_stay_inside() {
    let (_dir, state) = state();
    for name in ["", ".", "..", "../x", "a/b", ".hidden", "lock"] {
        assert!(
            matches!(state.read(name), Err(StateError::Name { .. })),
            "{name}"
        );
    }
}

#[test]
fn what_root_writes_belongs_to_the_directorys_owner() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let (_dir, state) = state();
    if std::os::unix::fs::chown(state.directory(), Some(12345), Some(12346)).is_err() {
        eprintln!("skipped: this user namespace has no other user");
        return;
    }
    let _lock = state.lock().unwrap();
    state.write_atomically("policy.json", b"x").unwrap();
    for name in ["policy.json", "lock"] {
        let file = std::fs::metadata(state.directory().join(name)).unwrap();
        assert_eq!((file.uid(), file.gid()), (12345, 12346), "{name}");
    }
}

/// Who has no rights is told how to get them; of anything else that would be no help.
#[test]
fn without_rights() {
    let said = |kind: io::ErrorKind| {
        let failed = failed("create", Path::new("/var/lib/secgroupd"));
        failed(io::Error::from(kind)).to_string()
    };
    assert_eq!(
        said(io::ErrorKind::PermissionDenied),
        "cannot create /var/lib/secgroupd: permission denied: run it as root, or name another with --state"
    );
    assert!(!said(io::ErrorKind::StorageFull).contains("root"));
}
