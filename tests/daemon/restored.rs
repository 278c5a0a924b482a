//! Where the table is not owned, what another program changes in it is put right as soon as the kernel tells of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use secgroupd::netfilter::objects::{in_force, objects};

use super::site::{Daemon, SOON, Site, opening, until, whoever_owns_it};
use crate::support::{bounded, kernel_test, whatever_labels};

/// What a restoration may take in the median.
const AT_ONCE: Duration = Duration::from_millis(100);

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "what_others_change_is_restored_through_nft",
            &["nft"],
            || altered("run --through nft"),
        ),
        kernel_test("what_others_change_is_restored_natively", &["nft"], || {
            altered("run --through netlink")
        }),
        kernel_test("a_deleted_table_is_restored", &["nft"], deleted),
        kernel_test(
            "a_restored_table_is_owned_where_it_can",
            &["nft"],
            becomes_owned,
        ),
        kernel_test("a_fight_backs_off", &["nft"], fight),
        kernel_test("the_kernel_s_word_is_lost", &["nft"], lost),
        kernel_test("own_loads_are_no_change_of_others", &["nft"], own_loads),
        kernel_test("changes_of_other_tables_restore_nothing", &["nft"], others),
        kernel_test("a_restoration_that_fails_is_tried_again", &["nft"], fails),
    ]
}

/// Enough ports for a map with a name.
const PORTS: [u16; 12] = [22, 2002, 80, 81, 82, 83, 90, 443, 444, 8080, 8443, 9000];

/// A host whose table is not owned, and the daemon that guards it.
struct Guarded {
    site: Site,
    daemon: Daemon,
}

impl Guarded {
    /// `line` starts the daemon. The table was made through nft in any case, and can never be owned.
    fn new(site: Site, line: &str) -> Self {
        site.write("groups.yaml", &opening(&PORTS));
        assert_eq!(site.run("apply --through nft").code, 0);
        let line = line.replace(" --through netlink", "");
        let daemon = site.launch(&line);
        daemon.until_logged(" enforced for ");
        let guarded = Guarded { site, daemon };
        let protection = guarded.site.status()["protection"].to_string();
        assert!(protection.starts_with("\"restored: "), "{protection}");
        guarded
    }

    fn restorations(&self) -> u64 {
        self.site.status()["restorations"].as_u64().unwrap()
    }

    /// The table, whatever its generation's number and its owner.
    fn table(&self) -> String {
        let host = &self.site.host;
        let listing = host.output("nft", &["-s", "list", "table", "inet", "secgroupd"]);
        let generation = host.enter(in_force).unwrap().expect("one is in force");
        let listing = whoever_owns_it(&listing).replace(&format!("g{generation}_"), "g_");
        whatever_labels(&listing)
    }

    /// How many lines of the log hold these words.
    fn logged(&self, words: &str) -> usize {
        let log = self.daemon.log();
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// Has nft change something, and gives how long that stands until it is restored, as the log says with these words.
    #[track_caller]
    fn change(&self, text: &str, words: &str) -> Duration {
        let before = self.logged(": restored in ");
        self.site.host.nft(text);
        let start = Instant::now();
        while self.logged(": restored in ") == before {
            assert!(start.elapsed() < SOON, "{text}: {}", self.daemon.log());
            thread::sleep(Duration::from_millis(1));
        }
        let took = start.elapsed();
        let log = self.daemon.log();
        let last = log.lines().rfind(|line| line.contains(": restored in "));
        let last = last.unwrap();
        assert!(last.contains(words), "{words:?} is not in {last:?}");
        assert!(last.contains("by another program (nft, pid "), "{last:?}");
        took
    }
}

/// Every kind of change but that of the whole table, in words and put right.
fn altered(line: &str) {
    let guarded = Guarded::new(Site::new(), line);
    let site = &guarded.site;
    let right = guarded.table();
    let mut times = Vec::new();
    let map = || site.host.enter(objects).unwrap().maps[0].clone();
    let changes = [
        ("insert rule inet secgroupd inbound accept".into(), "1 rule was added"),
        ("flush chain inet secgroupd outbound".into(), "1 rule was removed"),
        ("add table inet secgroupd { flags dormant; }".into(), "the table was changed"),
        ("chain inet secgroupd inbound { policy drop; }".into(), "1 chain was added or changed"),
        (
            "table inet secgroupd { set s { type ipv4_addr; }; chain mine { type filter hook prerouting priority -170; \
             ip saddr @s accept; drop; }; }"
                .into(),
            "1 chain was added or changed, 2 rules were added, 1 set was added",
        ),
        (format!("flush map inet secgroupd {}", map()), "removed"),
        (
            "flush chain inet secgroupd inbound; delete chain inet secgroupd inbound; \
             add chain inet secgroupd inbound { type filter hook input priority 5; }"
                .into(),
            "1 chain was removed, 1 chain was added or changed",
        ),
    ];
    let count = changes.len() as u64;
    for (number, (text, words)) in changes.into_iter().enumerate() {
        // The kernel's name of the map has changed with each restoration.
        let text = match text.strip_prefix("flush map") {
            Some(_) => format!("flush map inet secgroupd {}", map()),
            None => text,
        };
        times.push(guarded.change(&text, words));
        until("all is as before", || guarded.table() == right);
        assert!(site.lets_in(22) && !site.lets_in(23), "after {text}");
        assert_eq!(guarded.restorations(), number as u64 + 1, "after {text}");
    }
    println!("{line}: restored after {times:?}");
    times.sort();
    bounded("the median", times[times.len() / 2], AT_ONCE);
    let page = site.run("status").out;
    assert!(
        page.contains(&format!("Restored  {count} times, last ")),
        "{page}"
    );
}

fn deleted() {
    let guarded = Guarded::new(Site::quiet(), "run --through nft");
    let right = guarded.table();
    let mut times = Vec::new();
    for text in ["delete table inet secgroupd", "flush ruleset"].repeat(3) {
        times.push(guarded.change(text, "the table was deleted"));
        assert_eq!(guarded.table(), right, "after {text}");
    }
    println!("restored after {times:?}");
    times.sort();
    bounded("the median", times[3], AT_ONCE);
    assert_eq!(guarded.restorations(), 6);
}

/// A table that was made without an owner is made anew with one.
fn becomes_owned() {
    if crate::support::through_nft() || super::owned::can_own().is_err() {
        return;
    }
    let guarded = Guarded::new(Site::quiet(), "run");
    let right = guarded.table();
    let took = guarded.change("delete table inet secgroupd", "the table was deleted");
    println!("restored after {took:?}");
    assert_eq!(guarded.table(), right);
    let protection = guarded.site.status()["protection"].to_string();
    assert!(protection.starts_with("\"owned"), "{protection}");
    guarded.site.host.nft("flush ruleset");
    assert_eq!(guarded.table(), right);
    assert_eq!(guarded.restorations(), 1);
}

/// More changes than the socket holds, while the daemon has no time to read: what they were is not known, and all is put right.
fn lost() {
    let guarded = Guarded::new(Site::new(), "run");
    let site = &guarded.site;
    let right = guarded.table();
    guarded.daemon.signal(Signal::SIGSTOP);
    site.host.nft("insert rule inet secgroupd inbound accept");
    site.host
        .nft("add set inet secgroupd s { type ipv4_addr; }");
    for part in 0..6 {
        let address = |n: u32| std::net::Ipv4Addr::from(0x0b00_0000 + part * 30_000 + n);
        let list: Vec<String> = (0..30_000).map(|n| address(n).to_string()).collect();
        let list = list.join(",");
        site.host
            .nft(&format!("add element inet secgroupd s {{ {list} }}"));
    }
    assert!(site.lets_in(23), "until then it holds");
    guarded.daemon.signal(Signal::SIGCONT);
    guarded
        .daemon
        .until_logged("the kernel's word of it was lost");
    until("all is as before", || guarded.table() == right);
    assert!(site.lets_in(22) && !site.lets_in(23));
    // What is told from then on is heard again.
    until("what is told from then on is heard again", || {
        site.host.nft("flush chain inet secgroupd inbound");
        thread::sleep(Duration::from_millis(300));
        guarded.daemon.log().contains("1 rule was removed")
    });
    until("all is as before", || guarded.table() == right);
}

fn fight() {
    let guarded = Guarded::new(Site::quiet(), "run --through nft");
    let stop = AtomicBool::new(false);
    let deleted = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if guarded
                    .site
                    .host
                    .try_nft("delete table inet secgroupd")
                    .is_ok()
                {
                    deleted.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        until("there is a fight", || guarded.logged("keeps changing") == 1);
        // Until it waits longest.
        thread::sleep(Duration::from_secs(3));
        let begin = Instant::now();
        let (before, work) = (guarded.restorations(), cpu(guarded.daemon.pid()));
        thread::sleep(Duration::from_secs(4));
        let (after, work) = (guarded.restorations(), cpu(guarded.daemon.pid()) - work);
        let spent = begin.elapsed();
        println!(
            "{} restorations in {spent:.1?}, {work:?} of a processor",
            after - before
        );
        // One a second. Some fail: it is deleted while it is loaded.
        assert!(after - before <= spent.as_secs() + 1, "{before} to {after}");
        bounded("the processor's time", work, Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} deletions", deleted.into_inner());
    until("it is restored in the end", || {
        guarded.site.host.enter(in_force).unwrap().is_some()
    });
    thread::sleep(Duration::from_millis(3500));
    let took = guarded.change("delete table inet secgroupd", "the table was deleted");
    bounded("after a calm", took, Duration::from_millis(500));
    assert_eq!(guarded.logged("keeps changing"), 1);
}

/// The processor's time of a process and of its children that have ended.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = fields[11..15]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// What the daemon loads itself, whole or in part, is told by the kernel too.
fn own_loads() {
    for line in ["run --through nft", "run"] {
        let guarded = Guarded::new(Site::new(), line);
        let site = &guarded.site;
        for port in [3000, 3001, 3002] {
            let ports = [&PORTS[..], &[port]].concat();
            site.save("groups.yaml", &opening(&ports));
            site.until_open(&[port], &[port + 1]);
            assert_eq!(site.run("reload").code, 0);
        }
        let long: Vec<u16> = (1..3000).map(|port| port * 2).collect();
        site.save("groups.yaml", &opening(&long));
        site.until_open(&[5998], &[5999]);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(guarded.restorations(), 0, "{}", guarded.daemon.log());
    }
}

fn others() {
    for line in ["run --through nft", "run"] {
        let guarded = Guarded::new(Site::quiet(), line);
        let host = &guarded.site.host;
        let before = host.enter(in_force).unwrap();
        for family in ["inet other", "ip secgroupd", "ip6 secgroupd"] {
            host.nft(&format!(
                "table {family} {{ set s {{ type ipv4_addr; elements = {{ 192.0.2.1, 192.0.2.2 }}; }}; \
                 chain inbound {{ type filter hook prerouting priority 0; counter accept; }}; }}"
            ));
            host.nft(&format!("add rule {family} inbound drop"));
            host.nft(&format!("delete table {family}"));
        }
        // Nor does what is no rule in ours.
        host.nft("add counter inet secgroupd mine");
        thread::sleep(Duration::from_millis(300));
        assert_eq!(host.enter(in_force).unwrap(), before);
        assert_eq!(guarded.restorations(), 0, "{}", guarded.daemon.log());
    }
}

/// Somebody else owns the table for a while.
fn fails() {
    if super::owned::can_own().is_err() {
        return;
    }
    let guarded = Guarded::new(Site::quiet(), "run --through nft");
    let site = &guarded.site;
    let right = guarded.table();
    // It would restore between the two steps.
    guarded.daemon.signal(Signal::SIGSTOP);
    let usurper = site.host.enter(|| {
        use secgroupd::netfilter::native::Native;
        let native = Native::open().unwrap();
        let table = secgroupd::ruleset::batch::Command::DeleteTable;
        let names = secgroupd::ruleset::batch::Names::none();
        native.apply(&[table], &names).unwrap();
        native.own_table().unwrap();
        native
    });
    guarded.daemon.signal(Signal::SIGCONT);
    guarded.daemon.until_logged("and restoring failed");
    let status = site.status();
    assert!(
        status["last_error"]["message"]
            .to_string()
            .contains("belongs to"),
        "{status}"
    );
    drop(usurper);
    until("all is as before", || {
        site.host.enter(in_force).unwrap().is_some() && guarded.table() == right
    });
    until("all is well", || site.status()["last_error"].is_null());
}
