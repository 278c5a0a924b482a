//! A definition that does not validate changes nothing, is shown, and the next good save recovers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use super::site::{Daemon, PROGRAM, Ran, Site, WRONG, opening, until};
use crate::support::{Skip, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("a_wrong_definition_changes_nothing", &["nft"], wrong),
        kernel_test("a_definition_that_is_gone_changes_nothing", &["nft"], gone),
        kernel_test(
            "a_folder_without_yaml_changes_nothing",
            &["nft"],
            empty_folder,
        ),
        kernel_test(
            "a_definition_that_others_may_write_changes_nothing",
            &["nft"],
            open_to_all,
        ),
        kernel_test(
            "a_definition_that_breaks_its_own_test_changes_nothing",
            &["nft"],
            breaks_a_promise,
        ),
        kernel_test(
            "no_definition_of_the_reject_folders_changes_anything",
            &["nft"],
            reject_folders,
        ),
    ]
}

/// Does something to the definition, expects that it is refused with these words and nothing changes, and mends it.
fn refuses(site: &Site, daemon: &Daemon, spoil: impl FnOnce(), words: &str, mend: impl FnOnce()) {
    let before = site.listing();
    let failures = site.status()["failures"].as_u64().unwrap();
    spoil();
    until("the daemon has refused it", || {
        site.status()["failures"].as_u64().unwrap() > failures
    });
    site.unchanged(&before);
    assert!(
        daemon.log().contains(words),
        "{words:?} is not in {}",
        daemon.log()
    );
    assert!(daemon.log().contains("stays enforced"), "{}", daemon.log());
    let page = site.run("status").out;
    assert!(
        page.contains("DEGRADED") && page.contains(words),
        "{words:?} is not in {page}"
    );

    let reload = site.run("reload");
    reload.failed(1, &[words]);
    service_reload(site).failed(1, &[words]);
    let json = site.run("reload --json");
    let answer: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (json.code, answer["refused"].is_object()),
        (1, true),
        "{json:?}"
    );
    site.unchanged(&before);
    assert!(site.lets_in(22) && !site.lets_in(443));

    mend();
    site.until_open(&[443], &[22]);
    until("it is no longer shown", || {
        let page = site.run("status").out;
        !page.contains(words) && !page.contains("DEGRADED")
    });
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(service_reload(site).code, 0);
}

/// What `systemctl reload secgroupd` runs: ExecReload of the unit, with the program and the socket of this test.
fn service_reload(site: &Site) -> Ran {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/secgroupd.service");
    let unit = fs::read_to_string(unit).unwrap_or_else(|_| "ExecReload=/x/secgroupd reload".into());
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecReload="))
        .expect("an ExecReload=");
    let (program, arguments) = line.split_once(' ').expect("a subcommand");
    assert!(program.ends_with("/secgroupd"), "{line}");
    Ran::of(&mut site.program(PROGRAM, arguments))
}

fn site() -> (Site, Daemon) {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    (site, daemon)
}

fn wrong() {
    let (site, daemon) = site();
    let mend = || site.save("groups.yaml", &opening(&[443]));
    refuses(
        &site,
        &daemon,
        || site.write("groups.yaml", WRONG),
        "groups.yaml:5:19",
        mend,
    );
    // The place, the text, the caret and the hint, wherever one looks.
    let log = daemon.log();
    assert!(log.contains("alow") && log.contains("allow"), "{log}");
}

/// Port 22 is promised to be open: a save that closes it is not enforced, and one that keeps the promise is.
fn breaks_a_promise() {
    let promise =
        "tests:\n  - { from: 10.0.0.9, to: ins-web1, protocol: tcp, port: 22, expect: allow }\n";
    let site = Site::new();
    site.write("groups.yaml", &(opening(&[22]) + promise));
    let daemon = site.start();
    assert!(site.lets_in(22) && !site.lets_in(443));
    refuses(
        &site,
        &daemon,
        || site.save("groups.yaml", &(opening(&[443]) + promise)),
        "this test fails: tcp 22 from 10.0.0.9 to ins-web1 is refused, not allowed",
        || site.save("groups.yaml", &opening(&[443])),
    );
    site.save("groups.yaml", &(opening(&[443, 22]) + promise));
    site.until_open(&[22, 443], &[]);
}

fn gone() {
    let (site, daemon) = site();
    let take_away = || fs::remove_file(site.definition()).unwrap();
    refuses(&site, &daemon, take_away, "does not exist", || {
        site.write("groups.yaml", &opening(&[443]));
    });
}

fn empty_folder() {
    let (site, daemon) = site();
    let replace = || {
        fs::remove_file(site.definition()).unwrap();
        site.write("groups.yaml/readme.txt", "nothing");
    };
    refuses(&site, &daemon, replace, "holds no definition", || {
        site.write("groups.yaml/groups.yml", &opening(&[443]));
    });
}

fn open_to_all() {
    let (site, daemon) = site();
    let mode =
        |mode| fs::set_permissions(site.definition(), fs::Permissions::from_mode(mode)).unwrap();
    refuses(
        &site,
        &daemon,
        || mode(0o666),
        "may be written by everybody",
        || {
            mode(0o644);
            site.save("groups.yaml", &opening(&[443]));
        },
    );
    // The permissions alone, too.
    let failures = site.status()["failures"].clone();
    mode(0o602);
    until("it is refused", || site.status()["failures"] != failures);
    mode(0o600);
    until("it is accepted", || site.status()["last_error"].is_null());
}

fn reject_folders() -> Result<(), Skip> {
    let folders = reject_definitions();
    if folders.is_empty() {
        return Err(Skip("there is no folder tests/reject".into()));
    }
    let site = Site::new();
    site.write("good/groups.yaml", &opening(&[22]));
    site.link("good/groups.yaml", "current");
    let daemon = site.launch(&format!(
        "run --definition {}",
        site.path("current").display()
    ));
    daemon.until_logged(" enforced for ");
    let before = site.listing();
    for definition in folders {
        let shown = definition.display().to_string();
        let status = site.status();
        site.link(&shown, "current");
        until(&format!("{shown} is refused"), || {
            site.status()["failures"] != status["failures"]
        });
        let now = site.status();
        assert_eq!(now["reloads"], status["reloads"], "{shown}");
        assert!(
            !now["last_error"]["diagnostics"]
                .as_array()
                .unwrap()
                .is_empty(),
            "{shown}"
        );
        site.unchanged_by(&before, "{shown}");
        site.run("reload").failed(1, &[]);
    }
    site.link("good/groups.yaml", "current");
    until("the good one holds again", || {
        site.status()["last_error"].is_null()
    });
    assert!(site.lets_in(22));
    Ok(())
}

/// The definition of each folder of tests/reject: `definition.yaml`, or the folder `definition`.
fn reject_definitions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reject");
    let mut definitions: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            let all = ["definition.yaml", "definition"].map(|name| entry.path().join(name));
            let found = all.into_iter().find(|path| path.exists());
            found.unwrap_or_else(|| panic!("{} has no definition", entry.path().display()))
        })
        .collect();
    definitions.sort();
    definitions
}
