//! When a change is told, and how often.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn a_directory_is_read_when_it_is_quiet() {
    let bench = Bench::new();
    let mut watch = bench.watch("d");
    let start = Instant::now();
    bench.write("d/b.yaml", "two");
    watch.changed().await;
    assert!(
        start.elapsed() >= Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    let root = bench.root.clone();
    let writer = std::thread::spawn(move || {
        for n in 0..10 {
            fs::write(root.join(format!("d/{n}.yaml")), "x").unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let start = Instant::now();
    watch.changed().await;
    assert!(
        start.elapsed() >= Duration::from_millis(550),
        "{:?}",
        start.elapsed()
    );
    writer.join().unwrap();
    none(&mut watch).await;
    bench.write("d/notes.txt", "x");
    bench.write("d/.hidden.yaml", "x");
    none(&mut watch).await;
    fs::remove_file(bench.path("d/3.yaml")).unwrap();
    assert_eq!(
        some(&mut watch, 1).await,
        Reason::Gone(bench.path("d/3.yaml"))
    );
    fs::create_dir(bench.path("new")).unwrap();
    bench.write("new/a.yaml", "another");
    bench.rename("d", "old");
    bench.rename("new", "d");
    some(&mut watch, 1).await;
    drop(bench.dir);
}

#[tokio::test]
async fn a_writer_at_work_holds_back_the_others() {
    let bench = Bench::new();
    let mut watch = bench.watch("d");
    let mut file = fs::File::create(bench.path("d/b.yaml")).unwrap();
    file.write_all(b"half").unwrap();
    bench.write("d/a.yaml", "saved meanwhile");
    none(&mut watch).await;
    drop(file);
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn dropped_futures_lose_nothing() {
    let bench = Bench::new();
    let mut watch = bench.watch("d");
    bench.write("d/a.yaml", "two");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(60) {
        let short = tokio::time::timeout(Duration::from_millis(3), watch.changed()).await;
        assert!(short.is_err(), "quiet is 100 ms");
    }
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn a_thousand_saves_in_a_second_give_few_wake_ups() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    let path = bench.path("d/a.yaml");
    let done = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&done);
    let writer = std::thread::spawn(move || {
        let start = Instant::now();
        for n in 0..1000u32 {
            match n % 2 {
                0 => fs::write(&path, format!("{n}")).unwrap(),
                _ => {
                    fs::write(path.with_extension("new"), format!("{n}")).unwrap();
                    fs::rename(path.with_extension("new"), &path).unwrap();
                }
            }
            std::thread::sleep(
                (start + Duration::from_millis(u64::from(n)))
                    .saturating_duration_since(Instant::now()),
            );
        }
        finished.store(true, Ordering::SeqCst);
    });
    let mut count = 0;
    let mut seen = String::new();
    while let Ok(_reason) = tokio::time::timeout(Duration::from_secs(2), watch.changed()).await {
        count += 1;
        seen = fs::read_to_string(bench.path("d/a.yaml")).unwrap_or(seen);
    }
    assert!(done.load(Ordering::SeqCst));
    writer.join().unwrap();
    println!("1,000 saves: {count} wake-ups");
    assert!((1..=200).contains(&count), "{count}");
    assert_eq!(seen, "999", "the last save is read");
}

#[tokio::test]
async fn latency_from_close_to_wake_up() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    let mut taken = Vec::new();
    for n in 0..100 {
        let path = bench.path("d/a.yaml");
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(25));
            fs::write(&path, n.to_string()).unwrap();
            Instant::now()
        });
        watch.changed().await;
        let woken = Instant::now();
        taken.push(woken.saturating_duration_since(writer.join().unwrap()));
    }
    taken.sort();
    println!(
        "close to wake-up: median {:?}, worst {:?}",
        taken[50], taken[99]
    );
    assert!(taken[50] < Duration::from_millis(20));
}

#[tokio::test]
async fn without_events_two_looks_must_agree() {
    let bench = Bench::new();
    let timing = Timing {
        poll: Duration::from_millis(100),
        ..TIMING
    };
    let mut watch = Watch::with_timing(&bench.path("d/a.yaml"), true, timing);
    assert!(watch.is_polling());
    none(&mut watch).await;
    let start = Instant::now();
    let path = bench.path("d/a.yaml");
    let writer = std::thread::spawn(move || {
        let mut file = fs::File::create(path).unwrap();
        for _ in 0..20 {
            file.write_all(b"more").unwrap();
            std::thread::sleep(Duration::from_millis(25));
        }
    });
    watch.changed().await;
    assert!(
        start.elapsed() >= Duration::from_millis(575),
        "{:?}",
        start.elapsed()
    );
    writer.join().unwrap();
    none(&mut watch).await;
    fs::remove_file(bench.path("d/a.yaml")).unwrap();
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn an_overflow_means_read() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    watch.inbox.overflow();
    assert_eq!(some(&mut watch, 1).await, Reason::Overflow);
    bench.write("d/a.yaml", "still watched");
    some(&mut watch, 1).await;
}

#[test]
fn a_limit_of_the_kernel_means_poll() {
    // In a user namespace of its own: anywhere else the limit would be everybody's.
    let this = "source::watch::tests::timing::under_a_limit";
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", this, "--nocapture"])
        .env("UNDER_A_LIMIT", "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare: ") {
        eprintln!("skipped: no user namespace ({})", said.trim());
        return;
    }
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Not a test of its own: what the one above runs in a user namespace.
#[tokio::test]
async fn under_a_limit() {
    if std::env::var_os("UNDER_A_LIMIT").is_none() {
        return;
    }
    let limit = Path::new("/proc/sys/user/max_inotify_watches");
    let before = fs::read(limit).unwrap();
    fs::write(limit, "1").unwrap();
    let bench = Bench::new();
    let timing = Timing {
        poll: Duration::from_millis(100),
        ..TIMING
    };
    let mut watch = Watch::with_timing(&bench.path("d/a.yaml"), false, timing);
    assert!(watch.is_polling());
    bench.write("d/a.yaml", "found by the poll");
    some(&mut watch, 2).await;
    fs::write(limit, before).unwrap();
    none(&mut watch).await;
    assert!(
        !watch.is_polling(),
        "and events again when the limit is lifted"
    );
    bench.write("d/a.yaml", "told by an event");
    assert_eq!(
        some(&mut watch, 1).await,
        Reason::Saved(bench.path("d/a.yaml"))
    );
}
