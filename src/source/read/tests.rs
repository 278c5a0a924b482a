//! Reading, with each thing that can lie in a definition's place.

use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn error(path: &Path) -> ReadError {
    template_file(path, Trust::Any).unwrap_err()
}

#[test]
fn a_directory_is_read_in_the_order_of_names() {
    let dir = directory(&[
        ("b.yml", b"2"),
        ("a.yaml", b"1"),
        (".c.yaml", b"no"),
        ("d.txt", b"no"),
        ("e.yaml~", b"no"),
    ]);
    symlink("d.txt", dir.path().join("z.yaml")).unwrap();
    let files = definition_files(dir.path(), Trust::Any).unwrap();
    let texts: Vec<_> = files.iter().map(|file| file.text.as_str()).collect();
    assert_eq!(texts, ["1", "2", "no"]);
    assert_eq!(files[2].path, dir.path().join("z.yaml"));
}

/// Sticky keeps others from the files that are there, and not from adding one.
#[test]
fn a_definition_directory_that_others_may_write_is_refused() {
    let dir = directory(&[("a.yaml", b"1")]);
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(dir.path(), permissions).unwrap();
    };
    mode(0o1777);
    let errors = definition_files(dir.path(), Trust::Checked).unwrap_err();
    assert!(matches!(errors.as_slice(), [ReadError::Untrusted { .. }]));
    mode(0o755);
    definition_files(dir.path(), Trust::Checked).unwrap();
}

#[test]
fn all_errors_of_a_directory_come_together() {
    let dir = directory(&[("a.yaml", b"ok\nno\xff"), ("c.yaml", b"good")]);
    std::fs::create_dir(dir.path().join("b.yaml")).unwrap();
    symlink("nowhere", dir.path().join("d.yaml")).unwrap();
    let errors = definition_files(dir.path(), Trust::Any).unwrap_err();
    assert!(matches!(errors[0], ReadError::NotUtf8 { line: 2, .. }));
    assert!(matches!(
        errors[1],
        ReadError::NotAFile {
            kind: "a directory",
            ..
        }
    ));
    assert!(matches!(errors[2], ReadError::Missing { .. }));
    assert_eq!(errors.len(), 3);
}

#[test]
fn nothing_there_is_an_error() {
    let dir = directory(&[("notes.txt", b"")]);
    let errors = definition_files(dir.path(), Trust::Any).unwrap_err();
    assert!(matches!(errors[..], [ReadError::Empty { .. }]));
    assert!(matches!(
        error(&dir.path().join("no.yaml")),
        ReadError::Missing { .. }
    ));
}

#[test]
fn a_fifo_a_socket_and_a_device_are_refused_at_once() {
    let dir = directory(&[]);
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(
        error(&fifo),
        ReadError::NotAFile { kind: "a FIFO", .. }
    ));
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(
        error(&socket),
        ReadError::NotAFile {
            kind: "a socket",
            ..
        }
    ));
    assert!(matches!(
        error(Path::new("/dev/zero")),
        ReadError::NotAFile {
            kind: "a device",
            ..
        }
    ));
}

/// Regular files by their mode. `/proc/kmsg` would take the lines that another program waits for.
#[test]
fn what_the_kernel_makes_up_is_no_file() {
    for (path, words) in [
        (
            "/proc/kmsg",
            "/proc/kmsg is a file of procfs, not a regular",
        ),
        ("/proc/self/environ", "a file of procfs"),
        ("/sys/kernel/uevent_seqnum", "a file of sysfs"),
    ] {
        let path = Path::new(path);
        if path.exists() {
            let said = error(path).to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}

#[test]
fn sixteen_megabytes_pass_and_one_byte_more_does_not() {
    let dir = directory(&[("big", &vec![b'#'; BYTES_AT_MOST as usize])]);
    let path = dir.path().join("big");
    assert_eq!(
        template_file(&path, Trust::Any).unwrap().len() as u64,
        BYTES_AT_MOST
    );
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(BYTES_AT_MOST + 1).unwrap();
    assert!(matches!(error(&path), ReadError::TooLarge { .. }));
}

#[test]
fn a_file_that_another_replaces_all_the_time_is_read_whole_or_not_at_all() {
    let dir = directory(&[("a.yaml", &[b'a'; 70_000])]);
    let path = dir.path().join("a.yaml");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for letter in [b'b', b'c', b'd'].into_iter().cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let new = dir.path().join(".new");
                std::fs::write(&new, vec![letter; 70_000]).unwrap();
                std::fs::rename(&new, &path).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        for _ in 0..50 {
            match template_file(&path, Trust::Any) {
                Ok(text) => {
                    assert_eq!(text.len(), 70_000);
                    assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]));
                }
                Err(ReadError::Changing { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_message_is_one_line() {
    let path = Path::new("/no/such\n\u{1b}[31mfile");
    let message = error(path).to_string();
    assert_eq!(
        message,
        "/no/such\\u{a}\\u{1b}[31mfile does not exist: create it, or mend the link on the way to it"
    );
}
