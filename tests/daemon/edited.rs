//! Edits of the definition by the command: killed at each system call that touches the disk, refused by the disk, beside
//! each other and an editor. The definition is the old or the new one, and the next edit works.

use std::fs;

use libtest_mimic::Trial;

use super::kernel_fails::{can_trace, traced};
use super::site::{Ran, Site, opening};
use crate::support::{Skip, is_full, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("an_edit_that_is_killed_anywhere", &["strace"], || {
            each("signal=KILL")
        }),
        kernel_test("an_edit_that_the_disk_refuses", &["strace"], || {
            each("error=ENOSPC")
        }),
        kernel_test("edits_beside_each_other_are_enforced", &["nft"], beside),
    ]
}

/// The system calls by which a definition is written.
const CALLS: [&str; 9] = [
    "openat",
    "write",
    "fchown",
    "fchmod",
    "fsync",
    "renameat2",
    "unlink",
    "flock",
    "read",
];

const LINE: &str = "rule add sg-web/in --allow tcp:8080 --from 10.0.0.9";

fn each(how: &str) -> Result<(), Skip> {
    let site = Site::quiet();
    can_trace(&site)?;
    let old = opening(&[22]);
    site.write("groups.yaml", &old);
    assert_eq!(site.run(LINE).code, 0);
    let new = fs::read_to_string(site.definition()).unwrap();
    let (mut killed, mut were_old, mut were_new) = (0, 0, 0);
    for call in CALLS {
        let mut number = 1;
        loop {
            site.write("groups.yaml", &old);
            let inject = format!("{call}:{how}:when={number}");
            let ran = Ran::of(&mut traced(&site, &inject, LINE));
            let text = fs::read_to_string(site.definition()).unwrap();
            assert!(text == old || text == new, "{inject}: {text}");
            let happened = fs::read_to_string(site.path("strace.log")).unwrap();
            let happened =
                happened.contains("(INJECTED)") || happened.contains("killed by SIGKILL");
            if !happened {
                assert_eq!((ran.code, &text), (0, &new), "{inject}: {ran:?}");
                break;
            }
            // What says that it is done is done; what says that it is not done changed nothing but where the folder could not be synced.
            if ran.code == 0 {
                assert_eq!(text, new, "{inject}: {ran:?}");
            } else if how.starts_with("error") && call != "fsync" {
                assert_eq!(text, old, "{inject}: {ran:?}");
            }
            killed += 1;
            match text == old {
                true => were_old += 1,
                false => were_new += 1,
            }
            // Whatever was left behind is in nobody's way.
            site.write("groups.yaml", &old);
            assert_eq!(site.run(LINE).code, 0, "{inject}");
            assert_eq!(
                fs::read_to_string(site.definition()).unwrap(),
                new,
                "{inject}"
            );
            number += if is_full() { 1 } else { 1 + number / 2 };
        }
    }
    println!(
        "{how}: {killed} places, {were_old} times the old and {were_new} times the new definition"
    );
    assert!(
        killed > 20 && were_old > 5,
        "{killed} {were_old} {were_new}"
    );
    Ok(())
}

/// Each of several commands at once is enforced in the end, and none is lost.
fn beside() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let ports: Vec<u16> = (8000..8012).collect();
    let commands: Vec<_> = ports
        .iter()
        .map(|port| {
            site.command(&format!("rule add sg-web/in --allow tcp:{port} --from any"))
                .spawn()
                .unwrap()
        })
        .collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    site.until_open(&ports, &[7999]);
    let commands: Vec<_> = ports
        .iter()
        .map(|_| site.command("rule delete sg-web/in/2").spawn().unwrap())
        .collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    site.until_open(&[22], &ports);
    drop(daemon);
}
