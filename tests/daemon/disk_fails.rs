//! The disk, the clock and the definition fail the daemon: what was enforced stays, and the next good save recovers.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use super::kept::until_kept;
use super::site::{Site, opening, until, with};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("the_disk_is_full", &["nft"], full_disk),
        kernel_test("the_disk_has_room_again", &["nft"], room_again),
        kernel_test("the_state_directory_goes", &["nft"], state_gone),
        kernel_test(
            "something_else_in_the_definition_s_place",
            &["nft"],
            replaced,
        ),
        kernel_test("a_definition_from_another_time", &["nft"], other_times),
        kernel_test("a_thousand_saves_in_a_second", &["nft"], thousand_saves),
        kernel_test("nothing_is_decided_by_the_clock", &[], no_clock),
    ]
}

/// A tiny file system.
struct Tiny<'a>(&'a Path);

impl<'a> Tiny<'a> {
    fn mount(at: &'a Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let none = None::<&str>;
        let size = Some("size=64k,mode=0700");
        mount(none, at, Some("tmpfs"), MsFlags::empty(), size).unwrap();
        Tiny(at)
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        use std::io::Write;
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }
}

impl Drop for Tiny<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

/// A definition that has something to keep: an unblock that is spent.
fn spending(port: u16) -> String {
    with(&[port], "billing: prepaid, smtp: unblocked, ")
}

fn full_disk() {
    let site = Site::new();
    let state = site.path("state");
    let tiny = Tiny::mount(&state);
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    tiny.fill();
    site.save("groups.yaml", &spending(443));
    site.until_open(&[443], &[22]);
    daemon.until_logged("is not kept for the next start");
    // It is started again on the full disk, as after a crash, and even killed.
    drop(daemon);
    let daemon = site.start();
    assert!(site.lets_in(443) && !site.lets_in(22));
    site.save("groups.yaml", &opening(&[80]));
    site.until_open(&[80], &[22, 443]);
    // With room again the next save is kept.
    fs::remove_file(state.join("filler")).unwrap();
    site.save("groups.yaml", &spending(81));
    site.until_open(&[81], &[80]);
    until("the ledger is kept", || {
        state.join("unblocks.json").exists()
    });
    site.until_at_rest();
    drop(daemon);
}

/// What could not be kept is kept once it can be, though nobody saves again.
fn room_again() {
    let site = Site::new();
    let state = site.path("state");
    let tiny = Tiny::mount(&state);
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    tiny.fill();
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    let told = "is not kept for the next start";
    daemon.until_logged(told);
    assert!(site.status()["not_kept"].is_string());
    // It is tried meanwhile, and told once.
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(daemon.log().matches(told).count(), 1, "{}", daemon.log());
    fs::remove_file(state.join("filler")).unwrap();
    until_kept(&site, &opening(&[443]));
    until("all is well", || site.status()["not_kept"].is_null());
    assert_eq!(site.status()["enforced"]["generation"], 2);
    drop(daemon);
}

fn state_gone() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    // The daemon may be writing in it just then.
    until("the directory goes", || {
        fs::remove_dir_all(site.path("state")).is_ok()
    });
    site.save("groups.yaml", &spending(443));
    site.until_open(&[443], &[22]);
    assert!(site.status()["last_error"].is_null());
    // A daemon that starts then makes it again.
    drop(daemon);
    let daemon = site.start();
    assert!(site.lets_in(443) && !site.lets_in(22));
    assert!(site.path("state").is_dir());
    site.save("groups.yaml", &opening(&[80]));
    site.until_open(&[80], &[443]);
    drop(daemon);
}

fn replaced() {
    let site = Site::new();
    let path = site.definition();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let fifo = || nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let huge = || File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let socket = || drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let device = || {
        let made = std::os::unix::fs::symlink("/dev/zero", &path);
        made.unwrap();
    };
    let looped = || std::os::unix::fs::symlink(&path, &path).unwrap();
    let folder = || fs::create_dir(&path).unwrap();
    let open_file = || {
        fs::write(&path, opening(&[443])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    };
    let cases: [(&str, &dyn Fn()); 7] = [
        ("a FIFO", &fifo),
        ("larger than 16 MB", &huge),
        ("a socket", &socket),
        ("a device", &device),
        ("groups.yaml", &looped),
        ("holds no definition", &folder),
        ("may be written by everybody", &open_file),
    ];
    let mut port = 1000;
    for (words, put) in cases {
        let before = site.listing();
        let failures = site.status()["failures"].as_u64().unwrap();
        remove(&path);
        put();
        let told =
            || site.status()["failures"].as_u64() > Some(failures) && page(&site).contains(words);
        until(words, || told() || site.run("reload").code == 0);
        assert!(page(&site).contains(words), "{words}: {}", page(&site));
        site.unchanged(&before);
        let memory = daemon.peak_mb();
        assert!(memory < 100, "{words}: {memory} MB");
        // And mended, each time.
        remove(&path);
        port += 1;
        site.save("groups.yaml", &opening(&[port]));
        site.until_open(&[port], &[port - 1]);
        until("it is forgotten", || site.status()["last_error"].is_null());
    }
    // The folder that holds it, written by others.
    let folder = path.parent().unwrap();
    let before = site.listing();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    site.save("groups.yaml", &opening(&[443]));
    until("refused", || {
        page(&site).contains("may be written by everybody (mode 0777)")
    });
    site.unchanged(&before);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[port]);
}

fn page(site: &Site) -> String {
    site.run("status").out
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir(path);
}

/// The times of files say nothing: a definition restored from a backup, or made on a host whose clock is wrong.
fn other_times() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    let day = Duration::from_secs(86_400);
    let times = [
        SystemTime::UNIX_EPOCH,
        SystemTime::now() + day * 3650,
        SystemTime::now() - day * 3650,
    ];
    let mut port = 1000;
    for time in times {
        port += 1;
        site.write("groups.yaml.new", &opening(&[port]));
        let file = File::options()
            .write(true)
            .open(site.path("groups.yaml.new"))
            .unwrap();
        file.set_modified(time).unwrap();
        drop(file);
        fs::rename(site.path("groups.yaml.new"), site.definition()).unwrap();
        site.until_open(&[port], &[port - 1]);
    }
}

fn thousand_saves() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let begin = std::time::Instant::now();
    for number in 0..1000_u16 {
        match number % 3 {
            0 => site.write("groups.yaml", &opening(&[2000 + number])),
            _ => site.save("groups.yaml", &opening(&[2000 + number])),
        }
    }
    println!("1,000 saves in {:.2} s", begin.elapsed().as_secs_f64());
    site.until_open(&[2999], &[22, 2998]);
    site.until_at_rest();
    let status = site.status();
    println!("{} reloads, {} MB", status["reloads"], daemon.peak_mb());
    assert!(status["last_error"].is_null(), "{status}");
    assert!(daemon.peak_mb() < 60);
}

/// A clock that jumps can change nothing: wall time is only shown, and timers run on a clock that nobody sets.
fn no_clock() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                if text.contains("SystemTime") {
                    uses.push(path.strip_prefix(&source).unwrap().display().to_string());
                }
            }
        }
    }
    uses.sort();
    // The log, the times that are reported and by which rules end, and whether a file was changed while it was read: there a clock that was set
    // back means that it is read once more.
    let known = [
        "daemon/logging.rs",
        "daemon/packet_log/event.rs",
        "lab/enforced.rs",
        "source/clock.rs",
        "source/watch.rs",
        "source/watch/snapshot.rs",
    ];
    assert_eq!(uses, known);
}
