//! Checked before it counts: a compiled ruleset is compared with the policy before it is switched in.
//!
//! The check shares nothing with the compiler. It follows the ruleset with whole boxes of packets instead of single
//! ones ([`regions`]): every box of ports × addresses ([`sets`]) that some rule of the ruleset decides about is held
//! against the policy's own list, read as it is written ([`list`]), and must be decided there by the same entry, all of
//! it. That is exact for packets that open a flow, as far as the time allows ([`regions`] says how much); a ruleset
//! that falls into more boxes is compared on boundary packets, rule by rule, instead. What boxes do not cover (states,
//! essential traffic, other interfaces) is walked packet by packet. The chains that only say whether a list allows a
//! flow are followed in the same way, over what connection tracking keeps of flows.

mod acl;
mod buckets;
mod covered;
mod difference;
mod list;
mod regions;
mod samples;
mod sets;

pub use covered::Checked;
pub use difference::Difference;

use crate::policy::{Direction, Policy, Protocol, State, Verdict};
use crate::ruleset::ir::{Chain, CtState, Family, FlowKey, Match, NftRule, NftVerdict, Ruleset};
use crate::ruleset::table::DIRECTIONS;
use crate::ruleset::walk::Walker;
use covered::{EPHEMERAL, enter, entry_of, protocols};
use list::{PolicyList, Said};
use regions::Regions;
use regions::run::Run;
use regions::targets::Targets;
use samples::sample_name;
use sets::{Relations, RulesetNumber};
use std::collections::HashSet;

/// Compares a ruleset with the policy it was compiled from.
/// The error is the first difference found.
pub fn check(policy: &Policy, ruleset: &Ruleset) -> Result<Checked, Difference> {
    let walker = Walker::new(ruleset);
    let regions = Regions::new(ruleset);
    allowed_is_accepted(ruleset, &regions)?;
    nothing_falls_off(ruleset)?;
    acl::outbound_is_asked(policy, &regions)?;
    openings_ask_the_list(ruleset, &regions)?;
    let one = |(direction, asked)| check_one_way(policy, &walker, &regions, direction, asked);
    let parts = DIRECTIONS.map(|direction| ASPECTS.map(|asked| (direction, asked)));
    // Side by side: a reload waits for this.
    std::thread::scope(|scope| {
        let spawn = |part| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || one(part));
            (part, thread)
        };
        let threads: Vec<_> = parts.into_iter().flatten().map(spawn).collect();
        let mut checked = Checked::default();
        for (part, thread) in threads {
            let of_part = match thread.map(|thread| thread.join()) {
                Ok(Ok(of_part)) => of_part,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // No thread to be had.
                Err(_) => one(part),
            }?;
            checked.boxes += of_part.boxes;
            checked.packets += of_part.packets;
        }
        Ok(checked)
    })
}

/// What is asked of a list's chains.
#[derive(Clone, Copy, PartialEq)]
enum Aspect {
    /// Packets that open a flow, from where they enter.
    Openings,
    /// Whether a flow is allowed.
    Flows,
}

impl Aspect {
    /// Steps that the runs over one list may take in a family, about a second. What needs more is compared on boundary
    /// packets instead: of flows sooner, since a list that was cut is asked about them entry by entry.
    fn steps(self) -> usize {
        match self {
            Aspect::Openings => 3_000_000,
            Aspect::Flows => 500_000,
        }
    }
}

const ASPECTS: [Aspect; 2] = [Aspect::Openings, Aspect::Flows];

/// What a list's chains around its rules do not decide would be accepted by the base chain: each ends with a rule for
/// all packets, but for those that are jumped to from one which does.
fn nothing_falls_off(ruleset: &Ruleset) -> Result<(), Difference> {
    const AROUND: [&str; 8] = [
        "list", "new", "others", "error", "tracked", "answer", "refused", "lost",
    ];
    let is_around = |chain: &&Chain| {
        if chain.name.starts_with("acl_") {
            return acl::decides_all(&chain.name);
        }
        let mut words = chain.name.split('_');
        let direction = words.next();
        let index = words
            .next()
            .is_some_and(|word| word.parse::<usize>().is_ok());
        let last = words.next().is_none_or(|word| AROUND.contains(&word));
        matches!(direction, Some("in" | "out")) && index && last && words.next().is_none()
    };
    for chain in ruleset.chains.iter().filter(is_around) {
        let ends = chain.rules.last().is_some_and(|rule| {
            let goes_on = matches!(rule.verdict, NftVerdict::Jump(_) | NftVerdict::Map(..));
            rule.matches
                .iter()
                .all(|each| matches!(each, Match::Told(_)))
                && !(goes_on || rule.verdict == NftVerdict::Return)
        });
        if !ends {
            return Err(Difference {
                packet: "packets that nothing decides about".into(),
                policy: "to be decided".into(),
                ruleset: format!("lets them fall off the chain `{}`", chain.name),
            });
        }
    }
    Ok(())
}

/// What opens a TCP flow by IPv4 is asked by `in_0_new`, whose boxes are compared. `in_0_list`, which other packets of
/// TCP come to, must lead to the same.
fn openings_ask_the_list(ruleset: &Ruleset, regions: &Regions) -> Result<(), Difference> {
    fn jumps<'r>(rule: Option<&'r NftRule>, matches: &[Match]) -> Option<&'r str> {
        match &rule.filter(|rule| rule.matches == matches)?.verdict {
            NftVerdict::Jump(chain) => Some(chain),
            _ => None,
        }
    }
    let of_tcp = |chain: &str| {
        let first = regions.chain(chain)?.rules.first()?;
        match &first.verdict {
            NftVerdict::Goto(chain) => {
                (first.matches == [Match::Protocol(Protocol::TCP.0)]).then_some(&**chain)
            }
            _ => None,
        }
    };
    for list in &ruleset.chains {
        let role = list.name.strip_suffix("_list");
        let opening = role.and_then(|role| regions.chain(&format!("{role}_new")));
        let Some(opening) = opening else { continue };
        let family = jumps(list.rules.first(), &[Match::Family(Family::V4)]);
        let asks = jumps(opening.rules.first(), &[]);
        let same = asks == family || (asks.is_some() && asks == family.and_then(of_tcp));
        let same_rest = list.rules.last() == opening.rules.last();
        let rules = if family.is_some() { 2 } else { 1 };
        if !(same && same_rest && opening.rules.len() == rules) {
            return Err(Difference {
                packet: "packets that open a TCP flow".into(),
                policy: format!("to be asked as in `{}`", list.name),
                ruleset: format!("asks them otherwise in `{}`", opening.name),
            });
        }
    }
    Ok(())
}

/// Boxes end where a packet is allowed. The chains that mark its flow then must accept it, whatever they mark; one
/// comes back with flows that were lost.
fn allowed_is_accepted(ruleset: &Ruleset, regions: &Regions) -> Result<(), Difference> {
    let rules = ruleset.chains.iter().flat_map(|chain| &chain.rules);
    let elements = ruleset.maps.iter().flat_map(|map| map.elements.verdicts());
    let verdicts = rules.map(|rule| &rule.verdict).chain(elements);
    let mut seen = HashSet::new();
    for verdict in verdicts {
        let (NftVerdict::Pass(name) | NftVerdict::Observe(Some(name))) = verdict else {
            continue;
        };
        // What a network ACL does is compared apart.
        let leads_to_acl = |name: &str| name.starts_with("acl_out_");
        let goes_on = is_observed(verdict) && name.starts_with("acl_in_");
        if !seen.insert(name.clone()) || leads_to_acl(name) || goes_on {
            continue;
        }
        let accepts = |rule: &NftRule| match &rule.verdict {
            NftVerdict::Accept => true,
            NftVerdict::Pass(chain) => leads_to_acl(chain),
            _ => false,
        };
        let rules = regions.chain(name).map(|chain| &chain.rules);
        let lost = |rule: &NftRule| {
            rule.verdict == NftVerdict::Return
                && rule.matches == [Match::State(CtState::New)]
                && name.starts_with("allowed_in_")
        };
        let right = rules.is_some_and(|rules| {
            let mut all = rules.iter();
            all.all(|rule| accepts(rule) || lost(rule))
                && rules.last().is_some_and(|rule| rule.matches.is_empty())
        });
        if !right {
            return Err(Difference {
                packet: "packets that are allowed".into(),
                policy: "allow".into(),
                ruleset: format!("does not accept them in the chain `{name}`"),
            });
        }
    }
    Ok(())
}

fn is_observed(verdict: &NftVerdict) -> bool {
    matches!(verdict, NftVerdict::Observe(_))
}

fn check_one_way(
    policy: &Policy,
    walker: &Walker,
    regions: &Regions,
    direction: Direction,
    asked_about: Aspect,
) -> Result<Checked, Difference> {
    let mut checked = Checked::default();
    let mut seen = HashSet::new();
    for binding in &policy.bindings {
        let interface = sample_name(policy, &binding.interface.to_string());
        if asked_about == Aspect::Openings {
            checked.packets += samples::check(policy, walker, direction, &interface)?;
        }
        // Interfaces of one list of groups lead to one chain, which is followed once.
        let groups: Vec<&str> = binding
            .groups
            .iter()
            .map(|group| group.id.as_str())
            .collect();
        let mut entry = entry_of(regions, direction, &interface);
        if !seen.insert((groups, entry)) {
            continue;
        }
        let at = (direction, interface.as_str());
        let mut first = enter(direction);
        if let Some(acl) = &binding.acl {
            let asked = acl::asked(regions, at, entry)?;
            if asked_about == Aspect::Openings {
                let compared = acl::check(policy, acl, walker, regions, at, &asked)?;
                checked.boxes += compared.boxes;
                checked.packets += compared.packets;
            }
            // The groups are asked behind it.
            let role = regions.chain(&asked.role).map(|chain| &*chain.name);
            entry = role.or(entry);
            if direction == Direction::Inbound {
                first = entry.unwrap_or(first);
            }
        }
        let (boxes, whole) = family::<u32>(policy, regions, at, (first, entry), asked_about)?;
        let (more, whole_too) = family::<u128>(policy, regions, at, (first, entry), asked_about)?;
        checked.boxes += boxes + more;
        if !(whole && whole_too) {
            let state = match asked_about {
                Aspect::Openings => State::New,
                Aspect::Flows => State::Tracked(samples::unmarked()),
            };
            checked.packets += samples::boundaries(policy, walker, at, &state)?;
        }
    }
    let others = match asked_about {
        Aspect::Openings => vec!["lo".to_owned(), sample_name(policy, "~")],
        Aspect::Flows => Vec::new(),
    };
    for interface in &others {
        checked.packets += samples::check(policy, walker, direction, interface)?;
    }
    Ok(checked)
}

fn family<T: RulesetNumber>(
    policy: &Policy,
    regions: &Regions,
    (direction, interface): (Direction, &str),
    (first, entry): (&str, Option<&str>),
    asked: Aspect,
) -> Result<(usize, bool), Difference> {
    let (mut boxes, mut whole, mut steps) = (0, true, asked.steps());
    let (mut targets, mut relations) = (Targets::new(), Relations::new());
    let run = |protocol, about_a_flow, key| Run {
        direction,
        interface,
        protocol,
        source_port: EPHEMERAL,
        local: None,
        end: None,
        about_a_flow,
        key,
    };
    let mut compare =
        |run: Run, list: &PolicyList<T>, chain: &str, rest| -> Result<bool, Difference> {
            regions.follow::<T>(
                &run,
                chain,
                rest,
                &mut targets,
                &mut steps,
                &mut |region, verdict, reason| {
                    boxes += 1;
                    let said = match run.key {
                        None => Said::Exactly(verdict, reason),
                        Some(_) => Said::Passes(verdict.passes()),
                    };
                    list.holds(region, said, &mut relations)
                        .map_err(|otherwise| Difference {
                            packet: otherwise.region.words(&run),
                            policy: otherwise.decision.to_string(),
                            ruleset: format!("{verdict} by {reason} in {chain}"),
                        })
                },
            )
        };
    for protocol in protocols() {
        let list = PolicyList::<T>::new(policy, direction, interface, protocol);
        if asked == Aspect::Openings {
            // Messages about flows open none.
            let is_message = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
            for about_a_flow in [false, true].into_iter().take(1 + usize::from(is_message)) {
                // The base chain accepts what falls off the end.
                whole &= compare(
                    run(protocol, about_a_flow, None),
                    &list,
                    first,
                    Verdict::Allow,
                )?;
            }
            continue;
        }
        let Some(entry) = entry else { continue };
        let opened = Some(FlowKey::Opened(direction));
        let mut whether = vec![(format!("{entry}_flow"), opened, Verdict::Refuse)];
        if direction == Direction::Inbound {
            whether.push((format!("{entry}_still"), opened, Verdict::Allow));
            if protocol == Protocol::TCP {
                whether.push((format!("{entry}_lost"), Some(FlowKey::Lost), Verdict::Allow));
            }
        }
        for (chain, key, rest) in whether {
            // Nobody asks whether flows of the only list are still allowed.
            if regions.chain(&chain).is_some() || chain.ends_with("_flow") {
                whole &= compare(run(protocol, false, key), &list, &chain, rest)?;
            }
        }
    }
    Ok((boxes, whole))
}
