//! Every way of saving a file, and what each must give.

mod timing;

use super::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(400);

struct Bench {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/a.yaml"), "one").unwrap();
        Bench { dir, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.path(name)).unwrap();
    }

    fn watch(&self, name: &str) -> Watch {
        Watch::new(&self.path(name), false)
    }
}

/// The wake-ups of the next `time`.
async fn wakes(watch: &mut Watch, time: Duration) -> Vec<Reason> {
    let end = Instant::now() + time;
    let mut reasons = Vec::new();
    while let Ok(reason) = tokio::time::timeout_at(end.into(), watch.changed()).await {
        reasons.push(reason);
    }
    reasons
}

async fn none(watch: &mut Watch) {
    assert_eq!(wakes(watch, SOON).await, []);
}

/// At least one wake-up, within `SOON`, and no more than `most`.
async fn some(watch: &mut Watch, most: usize) -> Reason {
    let reasons = wakes(watch, SOON).await;
    assert!((1..=most).contains(&reasons.len()), "{reasons:?}");
    reasons[0].clone()
}

#[tokio::test]
async fn an_in_place_write_counts_when_it_is_closed() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    none(&mut watch).await;
    let mut file = fs::File::create(bench.path("d/a.yaml")).unwrap();
    none(&mut watch).await;
    file.write_all(b"half").unwrap();
    none(&mut watch).await;
    file.write_all(b" and half").unwrap();
    fs::set_permissions(bench.path("d/a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    none(&mut watch).await;
    drop(file);
    assert_eq!(
        some(&mut watch, 1).await,
        Reason::Saved(bench.path("d/a.yaml"))
    );
    fs::read(bench.path("d/a.yaml")).unwrap();
    fs::write(bench.path("d/other"), "x").unwrap();
    none(&mut watch).await;
}

#[tokio::test]
async fn a_new_file_counts_when_it_is_closed() {
    let bench = Bench::new();
    fs::remove_file(bench.path("d/a.yaml")).unwrap();
    let mut watch = bench.watch("d/a.yaml");
    let mut file = fs::File::create(bench.path("d/a.yaml")).unwrap();
    file.write_all(b"half").unwrap();
    none(&mut watch).await;
    drop(file);
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn rename_over() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    for text in ["two", "three", "four"] {
        bench.write("d/.new", text);
        bench.rename("d/.new", "d/a.yaml");
        some(&mut watch, 1).await;
    }
    bench.write("d/a.yaml", "in place again");
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn an_editor_that_moves_the_old_file_away_first() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    bench.rename("d/a.yaml", "d/a.yaml~");
    none(&mut watch).await;
    let mut file = fs::File::create(bench.path("d/a.yaml")).unwrap();
    file.write_all(b"new").unwrap();
    none(&mut watch).await;
    drop(file);
    some(&mut watch, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    none(&mut watch).await;
}

#[tokio::test]
async fn a_missing_definition_is_told_after_a_second() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    fs::remove_file(bench.path("d/a.yaml")).unwrap();
    none(&mut watch).await;
    let path = bench.path("d/a.yaml");
    assert_eq!(
        wakes(&mut watch, Duration::from_secs(1)).await,
        [Reason::Gone(path)]
    );
    bench.write("d/a.yaml", "back");
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn hard_links() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    fs::remove_file(bench.path("d/a.yaml")).unwrap();
    bench.write("d/new", "two");
    fs::hard_link(bench.path("d/new"), bench.path("d/a.yaml")).unwrap();
    some(&mut watch, 1).await;
    // Written through its other name.
    bench.write("d/new", "three");
    some(&mut watch, 1).await;
    // Linked, and the first name taken away at once.
    fs::remove_file(bench.path("d/a.yaml")).unwrap();
    fs::hard_link(bench.path("d/new"), bench.path("d/a.yaml")).unwrap();
    fs::remove_file(bench.path("d/new")).unwrap();
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn symlink_swaps() {
    let bench = Bench::new();
    bench.write("d/v2", "two");
    bench.link("d/a.yaml", "def");
    let mut watch = bench.watch("def");
    // ln -sfn of old: unlink, symlink.
    fs::remove_file(bench.path("def")).unwrap();
    bench.link("d/v2", "def");
    some(&mut watch, 1).await;
    // A link renamed over.
    bench.link("d/a.yaml", "def.new");
    bench.rename("def.new", "def");
    some(&mut watch, 1).await;
    // What it leads to now is written in place; what it led to is not ours any more.
    bench.write("d/a.yaml", "three");
    some(&mut watch, 1).await;
    bench.write("d/v2", "four");
    none(&mut watch).await;
}

#[tokio::test]
async fn kubernetes_data_swap() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d/..v1")).unwrap();
    bench.write("d/..v1/b.yaml", "one");
    bench.link("..v1", "d/..data");
    bench.link("..data/b.yaml", "d/b.yaml");
    for name in ["d/b.yaml", "d"] {
        let mut watch = bench.watch(name);
        for version in ["d/..v2", "d/..v3"] {
            fs::create_dir(bench.path(version)).unwrap();
            bench.write(&format!("{version}/b.yaml"), version);
            none(&mut watch).await;
            bench.link(&version[2..], "d/..data_tmp");
            bench.rename("d/..data_tmp", "d/..data");
            some(&mut watch, 1).await;
        }
        for version in ["d/..v2", "d/..v3"] {
            fs::remove_dir_all(bench.path(version)).unwrap();
            fs::create_dir_all(bench.path("d/..v1")).unwrap();
        }
        bench.link("..v1", "d/..data_tmp");
        bench.rename("d/..data_tmp", "d/..data");
        some(&mut watch, 1).await;
    }
}

#[tokio::test]
async fn the_directory_is_replaced() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    bench.rename("d", "e");
    none(&mut watch).await;
    bench.rename("e", "d");
    some(&mut watch, 1).await;
    bench.write("d/a.yaml", "still watched");
    some(&mut watch, 1).await;
    fs::create_dir(bench.path("new")).unwrap();
    bench.write("new/a.yaml", "another");
    bench.rename("d", "old");
    bench.rename("new", "d");
    some(&mut watch, 1).await;
    bench.write("old/a.yaml", "not ours any more");
    none(&mut watch).await;
    // Deleted and made anew at once, with the file: closed before the new directory could be watched.
    for text in ["1", "22", "333"] {
        fs::remove_dir_all(bench.path("d")).unwrap();
        fs::create_dir(bench.path("d")).unwrap();
        bench.write("d/a.yaml", text);
        some(&mut watch, 2).await;
        bench.write("d/a.yaml", "in place");
        some(&mut watch, 1).await;
    }
}

#[tokio::test]
async fn a_path_that_does_not_exist_yet() {
    let bench = Bench::new();
    let mut watch = bench.watch("x/y/z.yaml");
    none(&mut watch).await;
    fs::create_dir_all(bench.path("x/y")).unwrap();
    none(&mut watch).await;
    bench.write("x/y/z.yaml", "one");
    some(&mut watch, 1).await;
}

#[tokio::test]
async fn template_files() {
    let bench = Bench::new();
    bench.write("list", "1");
    let mut watch = bench.watch("d/a.yaml");
    bench.write("list", "2");
    none(&mut watch).await;
    // Saved since the last wake-up: it may have been read before that.
    watch.set_files(&[bench.path("list")]);
    some(&mut watch, 1).await;
    watch.set_files(&[bench.path("list")]);
    none(&mut watch).await;
    bench.write("list", "3");
    assert_eq!(some(&mut watch, 1).await, Reason::Saved(bench.path("list")));
    watch.set_files(&[]);
    bench.write("list", "4");
    fs::remove_file(bench.path("list")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    none(&mut watch).await;
}

#[tokio::test]
async fn mended_permissions() {
    let bench = Bench::new();
    let mut watch = bench.watch("d/a.yaml");
    for name in ["d/a.yaml", "d"] {
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(some(&mut watch, 1).await, Reason::Access(bench.path(name)));
    }
}
