//! What comes back, and what is refused.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.0.path()).unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// What `etc` holds now, as an older definition.
    fn older(&self, files: &[&str], templates: &[&str]) -> Older {
        let texts = |names: &[&str]| -> Vec<(PathBuf, String)> {
            let one = |name: &&str| (self.path(name), self.read(name));
            names.iter().map(one).collect()
        };
        Older {
            files: texts(files),
            templates: texts(templates),
        }
    }
}

fn group(id: &str, port: u16) -> String {
    format!(
        "version: 1 # kept\nsecurity_groups:\n  {id}: {{ inbound: [{{ action: allow, protocol: tcp, port: {port}, source: any }}] }}\n"
    )
}

const TEMPLATE: &str = "version: 1\naddress_templates: { ipm-a: { file: lists/a.txt } }\n";

fn back(path: &Path, older: &Older) -> Result<usize, String> {
    let changed = plan_rollback(path, older).map_err(|error| match error {
        ChangeError::Refused { reasons, .. } => reasons[0].message.clone(),
        error => error.to_string(),
    })?;
    rollback(path, &changed).map_err(|error| error.to_string())?;
    Ok(changed.files.len())
}

#[test]
fn a_file_comes_back_as_it_was() {
    let folder = Folder::new();
    let path = folder.write("groups.yaml", &group("sg-a", 1));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let older = folder.older(&["groups.yaml"], &[]);
    // What is there now may be wrong, or gone.
    for now in [group("sg-b", 2).as_str(), "version: 1\nwrong: 1\n"] {
        folder.write("groups.yaml", now);
        assert_eq!(back(&path, &older), Ok(1));
        assert_eq!(folder.read("groups.yaml"), group("sg-a", 1));
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(back(&path, &older), Ok(0), "it is so already");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(back(&path, &older), Ok(1));
    assert_eq!(folder.read("groups.yaml"), group("sg-a", 1));
}

#[test]
fn a_folder_comes_back_in_one_step_with_what_else_is_in_it() {
    let folder = Folder::new();
    let etc = folder.path("etc");
    folder.write("etc/a.yaml", &group("sg-a", 1));
    folder.write("etc/b.yaml", &group("sg-b", 2));
    folder.write("etc/t.yaml", TEMPLATE);
    folder.write("etc/lists/a.txt", "192.0.2.1\n");
    folder.write("etc/README", "read me\n");
    folder.write("etc/.git/config", "[core]\n");
    let older = folder.older(
        &["etc/a.yaml", "etc/b.yaml", "etc/t.yaml"],
        &["etc/lists/a.txt"],
    );
    folder.write("etc/a.yaml", &group("sg-a", 10));
    folder.write("etc/lists/a.txt", "192.0.2.9\n");
    std::fs::remove_file(folder.path("etc/b.yaml")).unwrap();
    let before = std::fs::metadata(&etc).unwrap();
    assert_eq!(back(&etc, &older), Ok(3));
    assert_eq!(folder.read("etc/a.yaml"), group("sg-a", 1));
    assert_eq!(folder.read("etc/b.yaml"), group("sg-b", 2));
    assert_eq!(folder.read("etc/lists/a.txt"), "192.0.2.1\n");
    assert_eq!(folder.read("etc/README"), "read me\n");
    assert_eq!(folder.read("etc/.git/config"), "[core]\n");
    assert_ne!(
        std::os::unix::fs::MetadataExt::ino(&before),
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&etc).unwrap()),
        "the folder was exchanged"
    );
    let names: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left: {names:?}");
}

#[test]
fn what_was_not_there_then_and_what_is_elsewhere_is_refused() {
    let folder = Folder::new();
    let etc = folder.path("etc");
    folder.write("etc/t.yaml", TEMPLATE);
    folder.write("etc/lists/a.txt", "192.0.2.1\n");
    let older = folder.older(&["etc/t.yaml"], &["etc/lists/a.txt"]);
    let extra = folder.write("etc/new.yaml", &group("sg-a", 1));
    let refused = back(&etc, &older).unwrap_err();
    assert!(
        refused.contains("new.yaml was no part of that definition"),
        "{refused}"
    );
    std::fs::remove_file(extra).unwrap();
    // Neither a path of the entry nor a link leads out of the folder, and nothing hidden is written.
    let secret = folder.write("secret", "root:\n");
    let elsewhere = |path: PathBuf| {
        let mut older = older.clone();
        older.templates = vec![(path, "192.0.2.7\n".into())];
        let refused = back(&etc, &older).unwrap_err();
        assert!(
            refused.contains("outside the definition's folder"),
            "{refused}"
        );
        assert_eq!(folder.read("secret"), "root:\n");
    };
    elsewhere(secret.clone());
    elsewhere(etc.join("../secret"));
    elsewhere(etc.join(".git/hooks/post-commit"));
    symlink(&secret, etc.join("link.txt")).unwrap();
    elsewhere(etc.join("link.txt"));
    // A definition that is wrong by now is not written.
    folder.write("etc/t.yaml", "version: 1\n");
    let mut wrong = older.clone();
    wrong.files[0].1 = "version: 1\nwrong: 1\n".into();
    assert!(back(&etc, &wrong).unwrap_err().contains("would be refused"));
    assert_eq!(folder.read("etc/t.yaml"), "version: 1\n");
}

/// What an editor saves between the plan and the write stays.
#[test]
fn a_save_in_between_stays() {
    let folder = Folder::new();
    let etc = folder.path("etc");
    folder.write("etc/a.yaml", &group("sg-a", 1));
    folder.write("etc/b.yaml", &group("sg-b", 2));
    let older = folder.older(&["etc/a.yaml", "etc/b.yaml"], &[]);
    for changed in [&["etc/a.yaml"][..], &["etc/a.yaml", "etc/b.yaml"]] {
        for name in changed {
            folder.write(name, &format!("{}# new\n", folder.read(name)));
        }
        let planned = plan_rollback(&etc, &older).unwrap();
        assert_eq!(planned.files.len(), changed.len());
        let saved = format!("{}# saved\n", folder.read("etc/a.yaml"));
        folder.write("etc/a.yaml", &saved);
        assert!(matches!(
            rollback(&etc, &planned),
            Err(ChangeError::Busy(_))
        ));
        assert_eq!(folder.read("etc/a.yaml"), saved);
        back(&etc, &older).unwrap();
    }
}
