//! `apply --confirm`, `confirm`, and what becomes of a candidate that nobody confirms.

use std::fs;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::kept::{lose, until_kept};
use super::site::{Daemon, Ran, Site, opening, until};
use crate::support::{is_full, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "a_confirmed_candidate_is_the_definition",
            &["nft"],
            confirmed,
        ),
        kernel_test(
            "an_unconfirmed_candidate_is_taken_back",
            &["nft"],
            taken_back,
        ),
        kernel_test("a_trial_outlives_the_daemon", &["nft"], restarted),
        kernel_test("a_trial_ends_while_no_daemon_runs", &["nft"], ended_alone),
        kernel_test("a_trial_ends_with_the_machine", &["nft"], rebooted),
        kernel_test("a_save_during_a_trial_waits", &["nft"], saved_meanwhile),
        kernel_test(
            "a_save_during_a_trial_outlives_a_restart",
            &["nft"],
            saved_and_restarted,
        ),
        kernel_test("reload_ends_a_trial", &["nft"], reloaded),
        kernel_test("remove_ends_a_trial", &["nft"], removed),
        kernel_test("the_first_policy_on_trial", &["nft"], first),
        kernel_test(
            "a_candidate_that_cannot_be_taken_back_at_once",
            &["nft"],
            tried_again,
        ),
        kernel_test("what_cannot_be_tried_is_said", &["nft"], refused),
        kernel_test("a_definition_edited_under_a_hold", &["nft"], held),
        kernel_test("a_directory_takes_a_directory_s_place", &["nft"], directory),
        kernel_test("killed_anywhere_in_a_trial", &["nft"], killed),
    ]
}

fn started(ports: &[u16]) -> (Site, Daemon) {
    let site = Site::new();
    site.write("groups.yaml", &opening(ports));
    let daemon = site.start();
    until_kept(&site, &opening(ports));
    (site, daemon)
}

/// Hands a candidate that opens these ports to the daemon.
fn attempt(site: &Site, seconds: u32, ports: &[u16]) -> Ran {
    site.write("new.yaml", &opening(ports));
    let new = site.path("new.yaml");
    site.run(&format!("apply --confirm {seconds} {}", new.display()))
}

#[track_caller]
fn tried(site: &Site, seconds: u32, ports: &[u16]) {
    let ran = attempt(site, seconds, ports);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .contains(&format!("`secgroupd confirm` within {seconds} s")),
        "{ran:?}"
    );
}

/// What holds while the candidate is on trial. Where the time was up before the daemon could be asked, as on a machine
/// that is busy for so long, it says nothing.
#[track_caller]
fn meanwhile(site: &Site, holds: impl FnOnce() -> bool) {
    let held = holds();
    let left = site.status()["trial"]["seconds_left"].as_f64();
    assert!(held || left.is_none_or(|left| left <= 0.0), "{left:?}");
}

fn definition(site: &Site) -> String {
    fs::read_to_string(site.definition()).unwrap()
}

fn confirmed() {
    let (site, daemon) = started(&[22]);
    tried(&site, 600, &[443]);
    assert!(site.lets_in(443) && !site.lets_in(22));
    let status = site.status();
    let left = status["trial"]["seconds_left"].as_f64().unwrap();
    assert!((1.0..=600.0).contains(&left), "{left}");
    assert_eq!(status["enforced"]["generation"], 2);
    let page = site.run("status").out;
    assert!(
        page.contains("On trial") && page.contains("new.yaml"),
        "{page}"
    );
    // Until then the last good one is the old one.
    assert_eq!(definition(&site), opening(&[22]));
    until_kept(&site, &opening(&[22]));
    let confirm = site.run("confirm");
    assert_eq!(confirm.code, 0, "{confirm:?}");
    assert_eq!(definition(&site), opening(&[443]));
    assert!(!site.path("new.yaml").exists());
    until_kept(&site, &opening(&[443]));
    let status = site.status();
    assert!(
        status["trial"].is_null() && status["last_error"].is_null(),
        "{status}"
    );
    assert!(site.lets_in(443) && !site.lets_in(22));
    assert!(!site.path("state/candidate").exists() && !site.path("state/trial.json").exists());
    site.run("confirm").failed(1, &["no candidate is on trial"]);
    // It is followed as ever, and stays over a restart.
    daemon.end(Signal::SIGTERM);
    let _daemon = site.start();
    assert!(site.lets_in(443));
    site.save("groups.yaml", &opening(&[22]));
    site.until_open(&[22], &[443]);
}

fn taken_back() {
    let (site, daemon) = started(&[22]);
    let begin = std::time::Instant::now();
    tried(&site, 2, &[443]);
    meanwhile(&site, || site.lets_in(443) && !site.lets_in(22));
    daemon.until_logged("was not confirmed in time: the old policy is back");
    assert!(begin.elapsed() >= Duration::from_millis(1900), "too early");
    assert!(site.lets_in(22) && !site.lets_in(443));
    let status = site.status();
    assert!(status["trial"].is_null(), "{status}");
    assert!(
        status["hits"][0]["place"]
            .as_str()
            .unwrap()
            .ends_with("groups.yaml:5"),
        "{status}"
    );
    site.run("confirm").failed(1, &["no candidate is on trial"]);
    let page = site.run("status").out;
    let words = "new.yaml was tried and not confirmed";
    assert!(
        page.contains(words) && !page.contains("no definition was enforced since"),
        "{page}"
    );
    // Its content is not enforced again, whatever its name and whoever asks for it, until it changes.
    let new = site.path("new.yaml").display().to_string();
    let words = ["never confirmed", "reload --force"];
    site.run(&format!("apply {new}")).failed(1, &words);
    site.save("groups.yaml", &opening(&[443]));
    until("it is refused", || {
        site.status()["last_error"]["message"].is_string()
    });
    site.run("reload").failed(1, &words);
    assert!(site.lets_in(22) && !site.lets_in(443));
    daemon.end(Signal::SIGTERM);
    let daemon = site.launch("run");
    daemon.until_logged("tried as a candidate and never confirmed");
    assert!(site.lets_in(22) && !site.lets_in(443));
    site.save("groups.yaml", &(opening(&[443]) + "# changed\n"));
    site.until_open(&[443], &[22]);
    site.save("groups.yaml", &opening(&[22]));
    site.until_open(&[22], &[443]);
    site.save("groups.yaml", &opening(&[443]));
    until("it is refused", || {
        site.status()["last_error"]["message"].is_string()
    });
    let forced = site.run("reload --force");
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    // Forced once, it is forgiven.
    assert_eq!(site.run("reload").code, 0);
}

fn restarted() {
    let (site, daemon) = started(&[22]);
    tried(&site, 4, &[443]);
    until("it is noted what the kernel has", || {
        site.path("state/in-force").exists()
    });
    daemon.end(Signal::SIGKILL);
    let daemon = site.launch("run");
    until("it can be asked", || {
        site.path("control.sock").exists() && site.run("status").code == 0
    });
    meanwhile(&site, || {
        let status = site.status();
        let goes_on = |left: f64| left < 4.0;
        status["trial"]["seconds_left"]
            .as_f64()
            .is_some_and(goes_on)
            && status["enforced"]["generation"] == 2
            && site.lets_in(443)
            && !site.lets_in(22)
    });
    daemon.until_logged("the old policy is back");
    assert!(site.lets_in(22) && !site.lets_in(443));
}

fn ended_alone() {
    let (site, daemon) = started(&[22]);
    tried(&site, 1, &[443]);
    daemon.end(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(1200));
    assert!(site.lets_in(443), "nobody is there to take it back");
    let daemon = site.start();
    assert!(
        daemon
            .log()
            .contains("was not confirmed in time: the old policy is back"),
        "{}",
        daemon.log()
    );
    assert!(site.lets_in(22) && !site.lets_in(443));
    site.save("groups.yaml", &opening(&[443]));
    until("it is remembered", || {
        site.status()["last_error"]["message"].is_string()
    });
}

/// Another start of the machine: the kernel has nothing, and the trial is of another time.
fn rebooted() {
    for with in ["boot", "run"] {
        let (site, daemon) = started(&[22]);
        tried(&site, 3600, &[443]);
        daemon.end(Signal::SIGKILL);
        lose(&site);
        let path = site.path("state/trial.json");
        let mut trial: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        trial["boot"] = "another".into();
        fs::write(&path, trial.to_string()).unwrap();
        site.write("groups.yaml", &opening(&[443]));
        if with == "boot" {
            assert_eq!(site.run("boot").code, 0);
            assert!(site.lets_in(22) && !site.lets_in(443));
        }
        let daemon = site.launch("run");
        daemon.until_logged("tried as a candidate and never confirmed");
        assert!(site.lets_in(22) && !site.lets_in(443));
        assert!(!path.exists());
    }
}

fn saved_meanwhile() {
    let (site, daemon) = started(&[22]);
    tried(&site, 2, &[443]);
    site.save("groups.yaml", &opening(&[8080]));
    daemon.until_logged("the definition is not read before the trial of the candidate has ended");
    meanwhile(&site, || site.lets_in(443) && !site.lets_in(8080));
    site.until_open(&[8080], &[443, 22]);
}

fn saved_and_restarted() {
    let (site, daemon) = started(&[22]);
    tried(&site, 6, &[443]);
    site.save("groups.yaml", &opening(&[8080]));
    daemon.until_logged("the definition is not read before the trial of the candidate has ended");
    daemon.end(Signal::SIGKILL);
    let daemon = site.launch("run");
    daemon.until_logged("the definition is not read before the trial of the candidate has ended");
    meanwhile(&site, || site.lets_in(443) && !site.lets_in(8080));
    site.until_open(&[8080], &[443, 22]);
    assert!(site.status()["last_error"].is_null());
}

fn reloaded() {
    let (site, _daemon) = started(&[22]);
    tried(&site, 600, &[443]);
    attempt(&site, 600, &[8080]).failed(2, &["is on trial already", "secgroupd reload"]);
    assert!(site.lets_in(443) && !site.lets_in(8080));
    // That is no fault of what is enforced.
    let status = site.status();
    assert!(status["last_error"].is_null(), "{status}");
    assert_eq!(site.run("reload").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert!(site.status()["trial"].is_null());
    // It was not the time that ended it: it may be applied.
    let new = site.path("new.yaml").display().to_string();
    site.write("new.yaml", &opening(&[443]));
    assert_eq!(site.run(&format!("apply {new}")).code, 0);
    assert!(site.lets_in(443));
    // The time of a trial that a reload has ended does not come.
    tried(&site, 2, &[8443]);
    assert_eq!(site.run("reload").code, 0);
    site.write("new.yaml", &opening(&[9090]));
    assert_eq!(site.run(&format!("apply {new}")).code, 0);
    thread::sleep(Duration::from_millis(2300));
    assert!(site.lets_in(9090), "no trial ends it");
}

/// Nothing of it is left: no deadline that would close the host or bring a policy back, and no save is held back.
fn removed() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.launch("run --fail-closed");
    daemon.until_logged(" enforced for ");
    until_kept(&site, &opening(&[22]));
    let is_off = |site: &Site| {
        for name in ["policy", "candidate", "trial.json"] {
            assert!(!site.path("state").join(name).exists(), "{name}");
        }
        assert!(site.generations().is_empty());
    };
    tried(&site, 2, &[443]);
    assert_eq!(site.run("remove").code, 0);
    is_off(&site);
    let late = || daemon.log().matches("not confirmed in time").count();
    let before = late();
    thread::sleep(Duration::from_millis(2500));
    let status = site.status();
    assert!(
        status["trial"].is_null() && status["closed"] == false,
        "{status}"
    );
    assert!(site.lets_in(8080) && late() == before);
    // Neither a restart nor a boot knows of it.
    site.save("groups.yaml", &opening(&[22]));
    site.until_open(&[22], &[443]);
    tried(&site, 60, &[443]);
    assert_eq!(site.run("remove").code, 0);
    daemon.end(Signal::SIGTERM);
    assert_eq!(site.run("boot").code, 0);
    is_off(&site);
    // The same where no daemon runs.
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    tried(&site, 60, &[443]);
    daemon.end(Signal::SIGTERM);
    assert_eq!(site.run("remove").code, 0);
    assert_eq!(site.run("boot").code, 0);
    is_off(&site);
}

fn first() {
    for closes in ["", " --fail-closed"] {
        let site = Site::new();
        let daemon = site.launch(&format!("run{closes}"));
        daemon.until_logged("does not exist");
        tried(&site, 1, &[443]);
        meanwhile(&site, || site.lets_in(443) && !site.lets_in(22));
        daemon.until_logged("there is no policy, as before it");
        until("it is off", || site.generations().is_empty());
        assert!(
            site.lets_in(22),
            "no policy; what is closed is closed after where this counts"
        );
        assert_eq!(site.status()["closed"], !closes.is_empty());
        // And once more, confirmed.
        tried(&site, 60, &[22]);
        assert_eq!(site.run("confirm").code, 0);
        assert_eq!(definition(&site), opening(&[22]));
        assert!(site.lets_in(22) && !site.lets_in(443));
    }
}

/// The old policy cannot be read when the time is up; the definition is of no help either.
fn tried_again() {
    let (site, daemon) = started(&[22]);
    let [policy, away] = ["policy", "policy.away"].map(|name| site.path("state").join(name));
    let hide = || {
        fs::rename(&policy, &away).unwrap();
        fs::create_dir(&policy).unwrap();
    };
    let show = || {
        fs::remove_dir(&policy).unwrap();
        fs::rename(&away, &policy).unwrap();
    };
    let error = |site: &Site| {
        site.status()["last_error"]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    // Its time is up before the daemon starts.
    tried(&site, 3, &[443]);
    daemon.end(Signal::SIGTERM);
    hide();
    site.write("groups.yaml", super::site::WRONG);
    thread::sleep(Duration::from_millis(3200));
    let daemon = site.launch("run");
    daemon.until_logged("Is a directory");
    daemon.until_logged("the old policy did not come back");
    // It is tried again now and then, and told once.
    let before = worked(&daemon);
    thread::sleep(Duration::from_millis(2500));
    assert!(worked(&daemon) - before < 100, "it is a loop");
    assert_eq!(daemon.log().matches("did not come back").count(), 1);
    assert!(site.lets_in(443) && !site.lets_in(22));
    show();
    site.until_open(&[22], &[443]);
    // What was wrong besides still is.
    until("only the definition is wrong", || {
        error(&site).contains("groups.yaml:5")
    });
    assert!(site.status()["trial"].is_null());
    assert!(!site.path("state/trial.json").exists());
    // While it runs.
    site.save("groups.yaml", &opening(&[80]));
    site.until_open(&[80], &[22]);
    until_kept(&site, &opening(&[80]));
    tried(&site, 2, &[8080]);
    hide();
    until("it is told", || error(&site).contains("did not come back"));
    assert!(site.lets_in(8080));
    show();
    site.until_open(&[80], &[8080]);
    until("all is well", || site.status()["last_error"].is_null());
}

/// The time that a daemon's threads have worked, in hundredths of a second.
fn worked(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after_name.split(' ').collect();
    fields[11..13]
        .iter()
        .map(|time| time.parse::<u64>().unwrap())
        .sum()
}

fn refused() {
    let (site, daemon) = started(&[22]);
    let before = site.listing();
    site.write("wrong.yaml", super::site::WRONG);
    let wrong = site.path("wrong.yaml").display().to_string();
    site.run(&format!("apply --confirm 60 {wrong}"))
        .failed(1, &["wrong.yaml:5:19"]);
    site.run("apply --confirm 0 x.yaml")
        .failed(2, &["1..=86400"]);
    site.write("folder/groups.yaml", &opening(&[443]));
    let folder = site.path("folder").display().to_string();
    site.run(&format!("apply --confirm 60 {folder}"))
        .failed(2, &["is a directory and the definition"]);
    site.unchanged(&before);
    assert!(site.status()["trial"].is_null());
    // A candidate that was edited while it was on trial is not what was tried.
    tried(&site, 60, &[443]);
    site.write("new.yaml", &opening(&[8080]));
    site.run("confirm")
        .failed(2, &["it was changed since", "Nothing was moved"]);
    assert_eq!(definition(&site), opening(&[22]));
    site.write("new.yaml", &opening(&[443]));
    assert_eq!(site.run("confirm").code, 0);
    daemon.end(Signal::SIGTERM);
    attempt(&site, 60, &[22]).failed(2, &["no secgroupd runs here"]);
}

fn held() {
    let (site, daemon) = started(&[22]);
    let ran = site.run("reload --hold");
    assert_eq!(ran.code, 0, "{ran:?}");
    site.save("groups.yaml", &opening(&[443]));
    daemon.until_logged("the definition is not read before the next `secgroupd reload`");
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert_eq!(site.status()["held"], true);
    assert!(site.run("status").out.contains("Held"));
    // A restart does not end it.
    daemon.end(Signal::SIGTERM);
    let daemon = site.launch("run");
    daemon.until_logged("the definition is not read until `secgroupd reload`");
    until("it can be asked", || site.run("status").code == 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
    // The edited definition can be tried where it is.
    let tried = site.run("apply --confirm 60");
    assert_eq!(tried.code, 0, "{tried:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    assert_eq!(site.run("confirm").code, 0);
    assert_eq!(site.status()["held"], false);
    site.save("groups.yaml", &opening(&[8080]));
    site.until_open(&[8080], &[443]);
    assert_eq!(site.run("reload --hold").code, 0);
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(site.status()["held"], false);
}

/// The two exchange their names, and what is saved afterwards is followed.
fn directory() {
    let site = Site::new();
    site.write("etc/groups.yaml", &opening(&[22]));
    site.write("etc/more.yaml", "version: 1\n");
    let etc = site.path("etc").display().to_string();
    let daemon = site.launch(&format!("run --definition {etc}"));
    daemon.until_logged(" enforced for ");
    attempt(&site, 60, &[443]).failed(2, &["a directory of 2 files", "a copy of the whole"]);
    site.write("next/groups.yaml", &opening(&[443]));
    site.write("next/more.yaml", "version: 1\n");
    let next = site.path("next").display().to_string();
    let tried = site.run(&format!("apply --confirm 60 {next}"));
    assert_eq!(tried.code, 0, "{tried:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    let confirm = site.run("confirm");
    assert_eq!(confirm.code, 0, "{confirm:?}");
    let text = |name: &str| fs::read_to_string(site.path(name)).unwrap();
    assert_eq!(text("etc/groups.yaml"), opening(&[443]));
    assert_eq!(text("next/groups.yaml"), opening(&[22]));
    site.save("etc/groups.yaml", &opening(&[8080]));
    site.until_open(&[8080], &[443]);
}

/// Whatever is killed when: afterwards one of the two policies holds, and at last the old one or a confirmed new one.
fn killed() {
    let (site, mut daemon) = started(&[22]);
    let rounds = if is_full() { 100 } else { 6 };
    for round in 0..rounds {
        site.write("new.yaml", &(opening(&[443]) + &format!("# {round}\n")));
        let mut command = site.command(&format!(
            "apply --confirm 1 {}",
            site.path("new.yaml").display()
        ));
        let mut apply = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
        daemon.end(Signal::SIGKILL);
        let _ = apply.wait();
        let open = [22, 443].map(|port| site.lets_in(port));
        assert!(
            open == [true, false] || open == [false, true],
            "round {round}: {open:?}"
        );
        daemon = site.launch("run");
        until("it can be asked", || site.run("status").code == 0);
        let open = [22, 443].map(|port| site.lets_in(port));
        assert!(
            open == [true, false] || open == [false, true],
            "round {round}: {open:?}"
        );
        // Killed again when the time is up, or about.
        thread::sleep(Duration::from_micros(fastrand::u64(800_000..1_200_000)));
        daemon.end(Signal::SIGKILL);
        thread::sleep(Duration::from_millis(200));
        daemon = site.launch("run");
        site.until_open(&[22], &[443]);
        until("the trial is over", || {
            !site.path("state/trial.json").exists() && site.run("status").code == 0
        });
    }
    println!(
        "{rounds} trials killed twice each: one of the two policies held, and at last the old one"
    );
}
