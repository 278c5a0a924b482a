//! One encoder to trust: what the native transport tells the kernel leaves there exactly what `nft -f` of the compiled text
//! leaves, by nft's listing and by the kernel's own dump, byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code)]
#[path = "definitions/cases.rs"]
mod cases;
#[path = "encoder/dump.rs"]
mod dump;
#[path = "encoder/faults.rs"]
mod faults;
mod generate;
#[path = "encoder/random.rs"]
mod random;
mod support;

mod workloads;

use cases::{cases, judge};
use secgroupd::definition::parse;
use secgroupd::netfilter::enforce::Kernel;
use secgroupd::netfilter::native::Native;
use secgroupd::netfilter::nft::Nft;
use secgroupd::policy::{Policy, validate};
use secgroupd::ruleset::batch::{self, Command, Elements, ElementsOf, Names};
use secgroupd::ruleset::marks::Bits;
use secgroupd::ruleset::{Generation, Ruleset, compile, text};
use std::process::ExitCode;
use support::{Host, kernel_test};

/// Random definitions and random rulesets of each sort; SECGROUPD_FULL=1 makes ten times as many.
const ROUNDS: u64 = 150;

/// So many parts of them run side by side: the kernel lets each wait for its transactions.
const PARTS: u64 = 3;

/// What is compared for each seed of a part, by its name.
type Sort = (&'static str, fn(u64));

fn main() -> ExitCode {
    support::run_waiting(4, || {
        let mut tests = vec![
            kernel_test("goldens", &["nft"], goldens),
            kernel_test("workloads", &["nft"], all_workloads),
        ];
        let sorts: [Sort; 3] = [
            ("random_definitions", random_definitions),
            ("random_rulesets", random_rulesets),
            ("edits_of_live_maps", edits),
        ];
        for part in 0..PARTS {
            tests.extend(sorts.map(|(sort, body)| {
                let name = format!("{sort}_part_{part}");
                kernel_test(&name, &["nft"], move || body(part))
            }));
        }
        tests.extend(faults::tests());
        tests
    })
}

fn goldens() {
    let pair = Pair::new();
    for case in cases("golden") {
        pair.agree(&compile(&judge(&case).policy()), &case.display());
    }
}

fn random_definitions(part: u64) {
    let pair = Pair::new();
    for seed in rounds(part) {
        let text = generate::definition(&mut fastrand::Rng::with_seed(seed + 5_000_000));
        pair.agree(&compile(&policy(&text)), &format!("seed {seed}\n{text}"));
    }
}

/// Every condition, verdict and shape of list that the rulesets' language has, whether or not the compiler uses it.
fn random_rulesets(part: u64) {
    let pair = Pair::new();
    for seed in rounds(part) {
        let ruleset = random::ruleset(&mut fastrand::Rng::with_seed(seed));
        pair.agree(&ruleset, &format!("seed {seed}"));
    }
}

/// Elements taken out of and put into maps that are in use, while the rest of them stays.
fn edits(part: u64) {
    let (native, nft) = (Host::new("native"), Host::new("nft"));
    let socket = native.enter(|| Native::open().unwrap());
    for seed in rounds(part) {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let ruleset = random::ruleset(rng);
        let names = Names::new(Generation(1)).marked(Bits::example(&ruleset.marks));
        let load = batch::load(&ruleset, &names);
        socket.apply_in_parts(&load, &names).unwrap();
        nft.nft(&text::transaction(&load, &names));
        let maps = ruleset.maps.iter();
        let maps = maps.map(|map| {
            let intervals = !map.elements.are_points();
            (&*map.name, Elements::of_map(map), intervals)
        });
        // Sets of intervals are never changed.
        let sets = ruleset.sets.iter();
        let sets = sets.filter(|set| set.elements.are_points());
        let sets = sets.map(|set| (set.name.as_str(), Elements::of_set(set), false));
        for (name, elements, intervals) in maps.chain(sets) {
            // One stays: into an empty map nft puts a bound below the first again.
            let at = rng.usize(..elements.len());
            let parts = elements.chunks(1).enumerate();
            let out = parts.filter(|(index, _)| *index != at && rng.bool());
            let out = out.map(|(_, part)| part);
            let out: Vec<Elements> = out
                .filter(|part| !intervals || !is_greatest(part))
                .collect();
            let of = ElementsOf {
                name: names.of(name),
                intervals,
            };
            let delete = out.iter().map(|elements| Command::DeleteElements {
                of: of.clone(),
                elements: *elements,
            });
            both(&socket, &nft, &delete.collect::<Vec<_>>(), &names);
            let tables = [&native, &nft].map(|host| host.enter(dump::table));
            same(&tables[0], &tables[1], &format!("seed {seed}, deleted"));
            let add = out.iter().map(|elements| Command::AddElements {
                of: of.clone(),
                first: false,
                elements: *elements,
            });
            both(&socket, &nft, &add.collect::<Vec<_>>(), &names);
        }
        let tables = [&native, &nft].map(|host| host.enter(dump::table));
        same(&tables[0], &tables[1], &format!("seed {seed}"));
        both(&socket, &nft, &[Command::DeleteTable], &names);
    }
}

/// The one greatest address or port, which nft 1.0.6 says it deletes from a map of intervals, and leaves there. In use
/// only maps and sets of points are changed, where it is deleted.
fn is_greatest(element: &Elements) -> bool {
    match element {
        Elements::PortMap([(interval, _)]) => interval.first == u16::MAX,
        Elements::V4Map([(interval, _)]) => interval.first == u32::MAX,
        Elements::V6Map([(interval, _)]) => interval.first == u128::MAX,
        _ => false,
    }
}

/// One transaction, told both ways.
fn both(native: &Native, nft: &Host, commands: &[Command], names: &Names) {
    native.apply(commands, names).unwrap();
    nft.nft(&text::transaction(commands, names));
}

/// Lists that are longer than a message and longer than a transaction.
fn all_workloads() {
    for workload in [
        workloads::mixed(500),
        workloads::distinct(2_000),
        workloads::template(20_000),
        workloads::staircase(200),
    ] {
        let ruleset = compile(&workload.policy());
        Pair::new().agree(&ruleset, &workload.name);
    }
}

/// Two hosts: on one the kernel is spoken to directly, on the other through nft.
struct Pair {
    native: Host,
    kernel: Kernel,
    nft: Host,
}

impl Pair {
    fn new() -> Self {
        let native = Host::new("native");
        let kernel = native.enter(|| Kernel::new(Native::open().unwrap()).unwrap());
        Pair {
            native,
            kernel,
            nft: Host::new("nft"),
        }
    }

    /// Applies the ruleset both ways and compares, and takes it away again.
    fn agree(&self, ruleset: &Ruleset, what: &dyn std::fmt::Display) {
        self.native
            .enter(|| self.kernel.enforce(ruleset, Generation(1)))
            .unwrap_or_else(|error| {
                panic!("{error}\n{what}\n{}", text::table(ruleset, Generation(1)))
            });
        // With the labels that this host has for its marks.
        let names = self
            .kernel
            .look(|loaded| loaded.expect("enforced").names.clone());
        let written = text::table_of(ruleset, &names);
        match self.nft.try_nft(&written) {
            Ok(_) => {
                let both = || [&self.native, &self.nft].map(|host| host.enter(dump::table));
                // The kernel makes the hash of a large set larger in the background: a dump meanwhile misses elements.
                let settled = (0..20).find_map(|_| {
                    let [native, nft] = both();
                    if native != nft {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                        return None;
                    }
                    Some([native, nft])
                });
                let [native, nft] = settled.unwrap_or_else(both);
                same(&native, &nft, &format!("{what}\n{written}"));
            }
            // In a user namespace: nft is told in parts, and then it adds a bound below the first of each.
            Err(error) if error.contains("Message too long") => {
                self.nft
                    .enter(|| {
                        let kernel = Kernel::new(Nft::find().unwrap()).unwrap();
                        kernel.know_slots(self.kernel.slots());
                        kernel.enforce(ruleset, Generation(1))
                    })
                    .unwrap_or_else(|error| panic!("{error}\n{what}"));
            }
            Err(error) => panic!("{error}\n{what}\n{written}"),
        }
        let [native, nft] = [&self.native, &self.nft].map(listing);
        same(&native, &nft, what);
        self.native.enter(|| self.kernel.remove()).expect("removed");
        self.nft.nft("delete table inet secgroupd");
    }
}

/// Two lists of objects: where they differ, the first difference alone is printed, since the lists are long.
fn same(native: &[String], nft: &[String], what: &dyn std::fmt::Display) {
    for (ours, theirs) in native.iter().zip(nft) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(native.len(), nft.len(), "{what}");
}

/// nft's listing, with its objects in the order of their names: the kernel lists them in the order of their making. Whose
/// the table is is left out.
fn listing(host: &Host) -> Vec<String> {
    let listing = host.output("nft", &["-s", "list", "table", "inet", "secgroupd"]);
    let (_, objects) = listing.split_once('\n').expect("a table");
    let mut objects: Vec<String> = objects
        .strip_suffix("}\n")
        .expect("a table")
        .split("\n\n")
        .map(|object| object.trim().to_owned())
        .filter(|object| !object.starts_with("flags "))
        .collect();
    objects.sort();
    objects
}

/// The seeds of a part.
fn rounds(part: u64) -> impl Iterator<Item = u64> {
    let factor = if support::is_full() { 10 } else { 1 };
    (part..ROUNDS * factor).step_by(PARTS as usize)
}

fn policy(text: &str) -> Policy {
    let parsed = parse([("random.yaml", text)]);
    let account = validate(&parsed.definition, parsed.diagnostics)
        .account
        .expect("the generator writes valid definitions");
    account
        .policy(&account.instances[0].id, &Default::default())
        .expect("the first instance")
}
