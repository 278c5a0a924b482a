//! Flows that move between the interfaces of a host, three ways: opened across one, their packets then cross others, before and after
//! changes of the policy, of bindings and of names, and after connection tracking has lost them.

use crate::flow_model::{Kind, Talk};
use crate::generate::{Edges, definition, rebound};
use crate::several_host::{CABLES, Several, own_addresses};
use crate::support::kernel_test;
use crate::support::policy::policy;
use crate::three_ways::Case;
use libtest_mimic::Trial;
use secgroupd::policy::{Direction, Protocol, Reason, Verdict};
use secgroupd::ruleset::compile;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Policies, packets of each that the kernel judges too, and packets that it does not.
const POLICIES: u64 = 250;
const SENT: usize = 44;
const WALKED: usize = 400;
/// So many policies follow each other over the same flows.
const CHANGES: u64 = 5;

pub fn tests() -> Vec<Trial> {
    let needs = &["nft", "conntrack"];
    vec![kernel_test("flows_move_between_interfaces", needs, agree)]
}

impl Several {
    /// Sends a packet of a talk in by one cable and out by another, where it does so, and compares. Whether the model knew.
    fn send(&mut self, case: &Case, talk: &mut Talk, from: usize, cables: [usize; 2]) -> bool {
        let (comes_in, leaves) = (talk.comes_in(from), talk.kind == Kind::Forwarded);
        let hooks: &[(Direction, usize)] = match (comes_in, leaves) {
            (true, true) => &[
                (Direction::Inbound, cables[0]),
                (Direction::Outbound, cables[1]),
            ],
            (true, false) => &[(Direction::Inbound, cables[0])],
            (false, _) => &[(Direction::Outbound, cables[1])],
        };
        let (mut judged, mut wanted) = (Vec::new(), BTreeMap::new());
        let mut may = BTreeMap::new();
        for (direction, at) in hooks {
            let name = &self.names[*at];
            let own = own_addresses(*at, 5);
            let Some(at_hook) = talk.judge(case.policy, from, *direction, name, &own) else {
                return false;
            };
            case.two_ways(&at_hook.packet);
            let verdict = at_hook.decision.verdict;
            let reason = at_hook.decision.reason.to_string();
            // What passes unjudged is not counted.
            let unjudged = verdict == Verdict::Allow
                && matches!(
                    at_hook.decision.reason,
                    Reason::Established | Reason::Unmanaged
                );
            let sure = verdict == Verdict::Refuse || !(unjudged || at_hook.may_be_known);
            *(if sure { &mut wanted } else { &mut may })
                .entry(reason)
                .or_insert(0) += 1;
            if verdict.passes() {
                wanted.insert(format!("{direction:?} {at}"), 1);
            }
            judged.push(at_hook);
            if !verdict.passes() {
                break;
            }
        }
        self.put(talk, from, cables);
        let now = self.counters();
        let mut moved: BTreeMap<String, u64> = now
            .iter()
            .map(|(name, count)| (name.clone(), count - self.seen.get(name).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        self.seen = now;
        let shown = format!("{moved:?}");
        for (reason, count) in &mut wanted {
            let found = moved.remove(reason).unwrap_or(0);
            let most = *count + may.remove(reason).unwrap_or(0);
            assert!(
                (*count..=most).contains(&found),
                "{}\n{reason} decided {found} times in the kernel, not {count} to {most}: {shown}\n{judged:#?}\n{talk:#?}\n{:?}",
                case.name,
                self.names
            );
        }
        moved.retain(|reason, count| may.get(reason).is_none_or(|most| *most < *count));
        assert!(
            moved.is_empty(),
            "{}\nthe kernel decided {moved:?} besides {wanted:?}\n{judged:#?}\n{talk:#?}\n{:?}",
            case.name,
            self.names
        );
        talk.went(case.policy, from, &judged);
        true
    }
}

fn agree() {
    let mut host = Several::new();
    let (mut walked, mut sent, mut unknown) = (0, 0, 0);
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut text = String::new();
    let mut talks: Vec<Talk> = Vec::new();
    for seed in 0..POLICIES * crate::factor() as u64 {
        let mut rng = fastrand::Rng::with_seed(seed + 2_000_000);
        let mut happened = String::new();
        if seed % CHANGES == 0 {
            text = definition(&mut rng);
            talks = host.without_policy(&mut rng, &Edges::of(&policy(&text)));
        } else {
            if rng.u8(..4) == 0 {
                text = definition(&mut rng);
            }
            text = rebound(&mut rng, &text);
            happened = host.between(&mut rng);
        }
        let policy = host.policy(&text);
        let ruleset = compile(&policy);
        let name = format!("seed {seed}, {happened}\n{text}\n{:?}", policy.host);
        let case = Case::new(&policy, &ruleset, name);
        host.enforce(&case);
        for talk in &mut talks {
            if let Some(tracked) = &mut talk.tracked {
                tracked.policy_changed(&policy);
            }
        }
        let edges = Edges::of(&policy);
        for _ in 0..WALKED {
            case.two_ways(&edges.any(&mut rng));
            walked += 1;
        }
        for step in 0..SENT {
            if step == SENT / 2 {
                host.meanwhile(&mut rng, &mut talks);
            }
            if talks.len() < 4 || rng.u8(..) < 30 {
                talks.extend((0..100).find_map(|_| talk(&edges, &mut rng)));
            }
            if talks.is_empty() {
                continue;
            }
            let at = rng.usize(..talks.len());
            let mut talk = talks.swap_remove(at);
            // Nobody answers what never arrived.
            let from = usize::from(talk.begun && rng.bool());
            let cables = cables(&mut rng, &talk);
            if !host.send(&case, &mut talk, from, cables) {
                unknown += 1;
                continue;
            }
            sent += 1;
            let tracked = talk.tracked.as_ref();
            let what = tracked.map_or("refused", |tracked| match tracked.answered {
                true => "answered",
                false => "opened",
            });
            *seen.entry(format!("{:?} {what}", talk.kind)).or_default() += 1;
            // What is refused time and again is forgotten.
            if tracked.is_some() || rng.u8(..3) > 0 {
                talks.push(talk);
            }
        }
        if talks.len() > 12 {
            rng.shuffle(&mut talks);
            talks.truncate(12);
        }
    }
    println!(
        "{walked} pairs agree, and {sent} packets of flows through the kernel: {seen:?}; {unknown} not known"
    );
    assert!(unknown * 10 < sent, "most must be known");
    for kind in [Kind::Inbound, Kind::Outbound, Kind::Forwarded] {
        let answered = seen.get(&format!("{kind:?} answered")).copied();
        assert!(
            answered.unwrap_or(0) * 20 > sent,
            "flows of each kind must live: {seen:?}"
        );
    }
}

impl Several {
    /// What happens between two policies.
    fn between(&mut self, rng: &mut fastrand::Rng) -> String {
        match rng.u8(..6) {
            0 | 1 => self.rename_one(rng),
            2 => {
                self.restart();
                "another process".into()
            }
            _ => String::new(),
        }
    }

    /// No policy is in force, and flows are opened that nobody will know.
    fn without_policy(&mut self, rng: &mut fastrand::Rng, edges: &Edges) -> Vec<Talk> {
        let kernel = &self.kernel;
        self.host.enter(|| kernel.remove()).expect("our table");
        self.kernel.forget_slots();
        self.host.output("conntrack", &["-F"]);
        let mut talks: Vec<Talk> = (0..6).filter_map(|_| talk(edges, rng)).collect();
        for talk in &mut talks {
            for from in 0..rng.usize(1..=2) {
                let cables = cables(rng, talk);
                self.put(talk, from, cables);
                talk.passed_unjudged(from);
            }
        }
        talks
    }

    /// What happens in the course of one policy.
    fn meanwhile(&mut self, rng: &mut fastrand::Rng, talks: &mut [Talk]) {
        match rng.u8(..8) {
            0 | 1 => {
                self.host.output("conntrack", &["-F"]);
                for talk in talks {
                    talk.tracked = None;
                }
            }
            2 => drop(self.rename_one(rng)),
            _ => {}
        }
    }
}

/// A flow at the edge of what a policy says, with a port that no other has.
fn talk(edges: &Edges, rng: &mut fastrand::Rng) -> Option<Talk> {
    let opening = edges.opening(rng, "eth0");
    let (protocol, port) = (opening.protocol, opening.destination_port);
    // DHCP passes whatever the rules say.
    if !matches!(protocol, Protocol::TCP | Protocol::UDP) || matches!(port, 67 | 68 | 546 | 547) {
        return None;
    }
    let is_routed = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let own = own_addresses(rng.usize(..CABLES.len()), 5)[usize::from(opening.remote.is_ipv6())];
    let kinds = match opening.direction {
        Direction::Inbound => [Kind::Inbound, Kind::Forwarded],
        Direction::Outbound => [Kind::Outbound, Kind::Forwarded],
    };
    let kind = kinds[usize::from(rng.u8(..3) == 0)];
    let near = match kind {
        // Another machine behind the host, one that rules may name.
        Kind::Forwarded => (0..50)
            .map(|_| edges.opening(rng, "eth0").remote)
            .find(|other| other.is_ipv6() == own.is_ipv6() && *other != opening.remote)?,
        _ => own,
    };
    let ports = match rng.u8(..8) {
        0 => 1024..32768,
        _ => 32768..60999,
    };
    let source = rng.u16(ports);
    let (asks, asked) = match opening.direction {
        Direction::Inbound => (opening.remote, near),
        Direction::Outbound => (near, opening.remote),
    };
    (is_routed(&asks) && is_routed(&asked)).then_some(Talk {
        kind,
        protocol,
        ends: [(asks, source), (asked, port)],
        begun: false,
        tracked: None,
    })
}

/// By which cables a packet comes and leaves.
fn cables(rng: &mut fastrand::Rng, talk: &Talk) -> [usize; 2] {
    // Each talk is mostly of the same two, which its ports choose.
    let home = usize::from(talk.ends[0].1) % CABLES.len();
    let other = (home + 1 + usize::from(talk.ends[0].1 / 8) % (CABLES.len() - 1)) % CABLES.len();
    let any = rng.usize(..CABLES.len());
    let another = (any + rng.usize(1..CABLES.len())) % CABLES.len();
    match rng.u8(..8) {
        0 | 1 => [any, another],
        2 => [home, (home + rng.usize(1..CABLES.len())) % CABLES.len()],
        3 | 4 => [other, home],
        _ => [
            home,
            if talk.kind == Kind::Forwarded {
                other
            } else {
                home
            },
        ],
    }
}
