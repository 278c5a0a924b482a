//! Fifty instances, in a short form: the figures are those of `benches/lab.rs`, and the full form holds them to wide bounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use super::site::{Site, namespaces, namespaces_of, until};
use crate::support::{bounded, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![kernel_test("fifty_instances", &[], fifty)]
}

const INSTANCES: usize = 50;
/// Instances of one group.
const TOGETHER: usize = 5;

/// Ten groups; the first lets `one` in from anybody, the others `all`.
fn definition(one: u16, all: u16) -> String {
    let mut text = String::from("version: 1\nsecurity_groups:\n");
    for group in 0..INSTANCES / TOGETHER {
        let port = if group == 0 { one } else { all };
        text += &format!(
            "  sg-{group}:\n    inbound: [{{ action: allow, protocol: tcp, port: {port}, source: any }}]\n\
             \x20   outbound: [{{ action: allow, protocol: all, destination: any }}]\n"
        );
    }
    text += "instances:\n";
    for number in 0..INSTANCES {
        text += &format!(
            "  ins-{number}: {{ interfaces: {{ eth0: {{ addresses: [10.0.1.{0}, \"2001:db8::1:{0:x}\"], security_groups: [sg-{1}] }} }} }}\n",
            number + 1,
            number / TOGETHER
        );
    }
    text += "lab:\n  services:\n";
    for number in 0..INSTANCES {
        text += &format!("    ins-{number}: [\"tcp:80-81\"]\n");
    }
    text
}

/// Generation, and since when in ms, of each instance.
type Enforced = BTreeMap<String, (u64, u64)>;

fn enforced(site: &Site) -> Enforced {
    let status = site.lab("status --json").good().json();
    let nodes = status["nodes"].as_array().unwrap().iter();
    nodes
        .filter_map(|node| {
            let enforced = &node["enforced"];
            let times = (
                enforced["generation"].as_u64()?,
                enforced["since_ms"].as_u64()?,
            );
            Some((node["name"].as_str()?.to_owned(), times))
        })
        .collect()
}

/// Saves, and gives who enforces something else then, and how long after the save the last of them does.
fn edit(site: &Site, text: &str, touched: usize) -> (Vec<String>, Duration) {
    let before = enforced(site);
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    site.save(text);
    let changed = || -> Enforced {
        let now = enforced(site).into_iter();
        now.filter(|(name, now)| before[name] != *now).collect()
    };
    until("it is enforced", || changed().len() >= touched);
    // Nobody else comes later.
    std::thread::sleep(Duration::from_millis(200));
    let changed = changed();
    let last = changed.values().map(|(_, since)| *since).max().unwrap();
    let took = Duration::from_millis(last).saturating_sub(start);
    (changed.into_keys().collect(), took)
}

fn fifty() {
    let site = Site::new(&definition(80, 80));
    let start = Instant::now();
    let mut up = site.up();
    let took = start.elapsed();
    bounded("up", took, Duration::from_secs(15));
    let mut own = namespaces_of(up.pid());
    let here = std::fs::read_link("/proc/self/ns/net").unwrap();
    own.remove(&here.display().to_string());
    // Each instance, `internet`, the router, and where the lab's process stands.
    assert_eq!(own.len(), INSTANCES + 3);

    // A tenth of what is promised 60 s: one address of each pair, both families.
    let start = Instant::now();
    let reach = site.reach("--ports tcp:80");
    let took = start.elapsed();
    let cells = reach["cells"].as_array().unwrap();
    assert_eq!(cells.len(), INSTANCES * INSTANCES * 2 + INSTANCES * 2);
    assert!(cells.iter().all(|cell| cell["agreement"] == "equal"));
    bounded("a reach", took, Duration::from_secs(30));

    // Promised are 200 ms and 1.5 s, which the benchmark measures.
    let (changed, took) = edit(&site, &definition(81, 80), TOGETHER);
    assert_eq!(changed, ["ins-0", "ins-1", "ins-2", "ins-3", "ins-4"]);
    bounded("an edit of one group", took, Duration::from_millis(1000));
    assert_eq!(site.found("internet ins-4 tcp 81"), "reached");
    let (changed, took) = edit(&site, &definition(80, 81), INSTANCES);
    assert_eq!(changed.len(), INSTANCES);
    bounded("an edit of all", took, Duration::from_millis(4000));
    assert_eq!(site.found("internet ins-49 tcp 81"), "reached");
    assert_eq!(site.found("internet ins-49 tcp 80"), "silent");

    site.lab("down").good();
    assert!(namespaces().is_disjoint(&own), "gone when it returns");
    assert_eq!(up.end(), Some(0));
}
