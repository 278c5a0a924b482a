//! Changes beside each other, and what is left where one is refused.

use super::*;
use crate::cloud::edit::{Change, edit};
use crate::cloud::text::RuleText;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

const TEXT: &str = "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n      - { action: allow, protocol: tcp, port: 1, source: any }\n";

/// Nobody is to know who it was.
fn change(
    path: &Path,
    edit: &dyn Fn(&Draft) -> Result<Edit, Refusal>,
) -> Result<Changed, ChangeError> {
    super::change(path, edit, &|_| {})
}

fn add(port: u32) -> Change {
    Change::AddRules {
        position: "sg-a/in".parse().unwrap(),
        rules: vec![RuleText {
            allow: true,
            service: format!("tcp:{port}").parse().unwrap(),
            remotes: vec!["any".into()],
            description: None,
            until: None,
        }],
    }
}

#[test]
fn concurrent_changes_and_an_editor_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.yaml");
    std::fs::write(&file, TEXT).unwrap();
    let done = AtomicBool::new(false);
    let comments = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let file = &file;
                scope.spawn(move || {
                    for n in 0..25 {
                        let change_of = add(100 + writer * 100 + n);
                        change(file, &|draft| edit(draft, &change_of)).unwrap();
                    }
                })
            })
            .collect();
        // An editor as careful as editors are: it saves by a rename, unless the file changed under it.
        let editor = scope.spawn(|| {
            let mut comments = 0;
            while !done.load(Ordering::SeqCst) {
                let text = std::fs::read_to_string(&file).unwrap();
                let new = folder.path().join("editor~");
                std::fs::write(&new, format!("{text}# {comments}\n")).unwrap();
                if std::fs::read_to_string(&file).unwrap() == text {
                    let _lock = Lock::of(folder.path()).unwrap().unwrap();
                    if std::fs::read_to_string(&file).unwrap() == text {
                        std::fs::rename(&new, &file).unwrap();
                        comments += 1;
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            comments
        });
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
        editor.join().unwrap()
    });
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("action").count(), 101, "{text}");
    assert_eq!(text.matches('#').count(), comments);
    assert!(std::fs::read_dir(folder.path()).unwrap().all(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains(".secgroupd")
    }));
}

/// An editor saves between the look at the file and its exchange: its save stays, and the change comes on top.
#[test]
fn a_save_in_between_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.yaml");
    std::fs::write(&file, TEXT).unwrap();
    let tries = std::cell::Cell::new(0);
    let changed = change(&file, &|draft| {
        // The file was read; now it is saved.
        if tries.replace(tries.get() + 1) == 0 {
            std::fs::write(&file, format!("{TEXT}# saved\n")).unwrap();
        }
        edit(draft, &add(2))
    });
    assert_eq!(changed.unwrap().files.len(), 1);
    assert_eq!(tries.get(), 2);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.ends_with("port: 2, source: any }\n# saved\n"),
        "{text}"
    );
}

#[test]
fn a_refused_change_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.yaml");
    std::fs::write(&file, TEXT).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = change(&file, &|draft| edit(draft, &add(70000)));
    assert!(matches!(refused, Err(ChangeError::Wrong(_))), "{refused:?}");
    let refused = change(&file, &|draft| {
        let gone = Change::DeleteRules(vec![crate::policy::RuleId::parse("sg-a/in/5").unwrap()]);
        edit(draft, &gone)
    });
    assert!(
        matches!(refused, Err(ChangeError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), TEXT);
    change(&file, &|draft| edit(draft, &add(2))).unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    std::fs::write(&file, "version: 1\nsecurity_groups: 5\n").unwrap();
    let refused = change(&file, &|draft| edit(draft, &add(2)));
    assert!(
        matches!(refused, Err(ChangeError::Faults(_))),
        "{refused:?}"
    );
}

/// A change goes to the file of a directory that has the object, and a link stays a link.
#[test]
fn each_file_of_a_directory_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    let place = folder.path().join("secgroupd");
    std::fs::create_dir_all(&real).unwrap();
    std::fs::create_dir_all(&place).unwrap();
    let hosts =
        "version: 1\ninstances:\n  ins-a: { interfaces: { eth0: { security_groups: [sg-a] } } }\n";
    std::fs::write(real.join("groups.yaml"), TEXT).unwrap();
    std::os::unix::fs::symlink(real.join("groups.yaml"), place.join("10-groups.yaml")).unwrap();
    std::fs::write(place.join("20-hosts.yaml"), hosts).unwrap();
    change(&place, &|draft| edit(draft, &add(2))).unwrap();
    assert_eq!(
        std::fs::read_to_string(place.join("20-hosts.yaml")).unwrap(),
        hosts
    );
    assert!(
        std::fs::read_to_string(real.join("groups.yaml"))
            .unwrap()
            .contains("port: 2")
    );
    assert!(place.join("10-groups.yaml").is_symlink());
    let unbind = Change::Unbind {
        place: "ins-a".parse().unwrap(),
        groups: vec![crate::policy::id::GroupId::parse("sg-a").unwrap()],
    };
    change(&place, &|draft| edit(draft, &unbind)).unwrap();
    assert!(
        std::fs::read_to_string(place.join("20-hosts.yaml"))
            .unwrap()
            .contains("security_groups: []")
    );
}

/// What is wrong is mended by the edit that mends it, and by no other.
#[test]
fn an_edit_may_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.yaml");
    let wrong = format!("{TEXT}      - {{ action: allow, protocol: tcp, port: 0, source: any }}\n");
    std::fs::write(&file, &wrong).unwrap();
    let refused = change(&file, &|draft| edit(draft, &add(2)));
    assert!(
        matches!(refused, Err(ChangeError::Faults(_))),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), wrong);
    let delete = Change::DeleteRules(vec![crate::policy::RuleId::parse("sg-a/in/1").unwrap()]);
    change(&file, &|draft| edit(draft, &delete)).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), TEXT);
}

/// A FIFO in the place of the lock makes nobody wait, and a link to another's file changes nothing of that.
#[test]
fn a_lock_that_somebody_planted() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join(".secgroupd.lock");
    nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(Lock::of(folder.path()).is_err());
    std::fs::remove_file(&lock).unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "").unwrap();
    std::fs::hard_link(&victim, &lock).unwrap();
    let error = Lock::of(folder.path()).unwrap_err();
    assert!(error.to_string().contains("remove it"), "{error}");
}
