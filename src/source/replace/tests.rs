//! What takes the place of what, and what does not.

use super::*;
use crate::source::read::Trust;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const TEXT: &str = "version: 1\n";

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
}

fn hash(path: &Path) -> String {
    content(&load(&path.into(), Trust::Any).sources)
}

#[test]
fn a_file_over_a_file() {
    let folder = Folder::new();
    let (new, old) = (
        folder.write("new.yaml", "version: 1\n# new\n"),
        folder.write("old.yaml", TEXT),
    );
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path("link.yaml");
    std::os::unix::fs::symlink("old.yaml", &link).unwrap();
    // A link stays one.
    let way = Move::of(&new, &link).unwrap();
    let over = |file: &Path, place: &Path| Move::Over {
        file: file.to_owned(),
        place: place.to_owned(),
    };
    assert_eq!(way, over(&old, &link));
    let wrong = way.carry_out(&new, "0000").unwrap_err();
    assert!(matches!(wrong, ReplaceError::Differs { .. }) && new.exists());
    way.carry_out(&new, &hash(&new)).unwrap();
    assert_eq!(
        std::fs::read_to_string(&link).unwrap(),
        "version: 1\n# new\n"
    );
    assert_eq!(std::fs::metadata(&old).unwrap().mode() & 0o777, 0o640);
    assert!(!new.exists() && std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        std::fs::read_dir(folder.path("")).unwrap().count(),
        2,
        "nothing is left"
    );
}

#[test]
fn the_definition_itself_stays_where_it_is() {
    let folder = Folder::new();
    let only = folder.write("etc/groups.yaml", TEXT);
    for definition in [only.clone(), folder.path("etc")] {
        let way = Move::of(&only, &definition).unwrap();
        assert_eq!(way, Move::None);
        way.carry_out(&only, &hash(&only)).unwrap();
        assert!(only.exists());
    }
}

#[test]
fn a_file_in_a_directory() {
    let folder = Folder::new();
    let new = folder.write("new.yaml", TEXT);
    let etc = folder.path("etc");
    std::fs::create_dir(&etc).unwrap();
    let over = |file: PathBuf| Move::Over {
        place: file.clone(),
        file,
    };
    assert_eq!(Move::of(&new, &etc).unwrap(), over(etc.join("new.yaml")));
    let only = folder.write("etc/groups.yaml", TEXT);
    assert_eq!(Move::of(&new, &etc).unwrap(), over(only));
    folder.write("etc/more.yml", TEXT);
    let several = Move::of(&new, &etc).unwrap_err().to_string();
    assert!(
        several.contains("a directory of 2 files") && several.contains("copy of the whole"),
        "{several}"
    );
}

#[test]
fn a_directory_for_a_directory() {
    let folder = Folder::new();
    folder.write("new/a.yaml", "version: 1\n# new\n");
    folder.write("etc/b.yaml", TEXT);
    let (new, etc) = (folder.path("new"), folder.path("etc"));
    let way = Move::of(&new, &etc).unwrap();
    way.carry_out(&new, &hash(&new)).unwrap();
    assert!(etc.join("a.yaml").exists() && new.join("b.yaml").exists());
    let file = folder.write("file.yaml", TEXT);
    assert!(matches!(
        Move::of(&new, &file),
        Err(ReplaceError::Directory { .. })
    ));
}

/// A template beside the candidate goes beside the definition, under the same name.
#[test]
fn template_files_go_with_the_candidate() {
    let folder = Folder::new();
    let text =
        "version: 1\naddress_templates: { ipm-a: { file: lists/a.txt }, ipm-b: { file: b.txt } }\n";
    let new = folder.write("new/groups.yaml", text);
    let old = folder.write("etc/groups.yaml", TEXT);
    folder.write("new/lists/a.txt", "192.0.2.1\n");
    folder.write("new/b.txt", "192.0.2.3\n");
    folder.write("etc/b.txt", "192.0.2.2\n");
    let way = Move::of(&new, &old).unwrap();
    let in_the_way = way.try_out(&new).unwrap_err().to_string();
    assert!(in_the_way.contains("holds something else"), "{in_the_way}");
    way.carry_out(&new, &hash(&new)).unwrap_err();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), TEXT);
    assert!(!folder.path("etc/lists/a.txt").exists(), "nothing is left");
    folder.write("etc/b.txt", "192.0.2.3\n");
    way.try_out(&new).unwrap();
    way.carry_out(&new, "0000").unwrap_err();
    assert!(!folder.path("etc/lists/a.txt").exists(), "nothing is left");
    way.carry_out(&new, &hash(&new)).unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), text);
    let copied = std::fs::read_to_string(folder.path("etc/lists/a.txt")).unwrap();
    assert_eq!(copied, "192.0.2.1\n");
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_refused() {
    let folder = Folder::new();
    let text = "version: 1\naddress_templates: { ipm-a: { file: ../a.txt } }\n";
    let new = folder.write("new/groups.yaml", text);
    let old = folder.write("etc/groups.yaml", TEXT);
    folder.write("a.txt", "192.0.2.1\n");
    let way = Move::of(&new, &old).unwrap();
    let outside = way.try_out(&new).unwrap_err().to_string();
    assert!(outside.contains("without `..`"), "{outside}");
}

/// The daemon, which is another user, reads it as it read the definition.
#[test]
fn a_directory_is_as_readable_as_the_definition_s() {
    let folder = Folder::new();
    let file = folder.write("new/a.yaml", "version: 1\n# new\n");
    folder.write("etc/b.yaml", TEXT);
    let (new, etc) = (folder.path("new"), folder.path("etc"));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&new, 0o700);
    mode(&file, 0o600);
    mode(&etc, 0o755);
    mode(&etc.join("b.yaml"), 0o644);
    let way = Move::of(&new, &etc).unwrap();
    way.try_out(&new).unwrap();
    way.carry_out(&new, &hash(&new)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&etc), mode(&etc.join("a.yaml"))), (0o755, 0o644));
}

#[test]
fn a_directory_whose_templates_stand_elsewhere_is_not_tried() {
    let folder = Folder::new();
    let text = "version: 1\naddress_templates: { ipm-a: { file: ../a.txt } }\n";
    folder.write("elsewhere/new/a.yaml", text);
    folder.write("etc/b.yaml", TEXT);
    let (new, etc) = (folder.path("elsewhere/new"), folder.path("etc"));
    let outside = Move::of(&new, &etc).unwrap().try_out(&new).unwrap_err();
    assert!(outside.to_string().contains("without `..`"), "{outside}");
    // Beside the definition the name leads to the same file.
    folder.write("beside/a.yaml", text);
    let beside = folder.path("beside");
    Move::of(&beside, &etc).unwrap().try_out(&beside).unwrap();
}
