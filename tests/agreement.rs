//! The reference evaluator and the compiled ruleset agree on every packet, for the deciding rule and not only the verdict.

mod generate;
#[path = "support/policy.rs"]
mod policy;

use generate::{Edges, behind_acls, definition, rebound};
use policy::policy;
use secgroupd::policy::Reason;
use secgroupd::ruleset::ir::{Chain, Match, NftRule};
use secgroupd::ruleset::{Ruleset, Walker, compile};
use std::collections::BTreeMap;

const POLICIES: u64 = 1000;
const PACKETS: usize = 150;

#[test]
fn evaluator_and_ruleset_agree() {
    let mut pairs = 0;
    let mut by_rule = 0;
    let mut layers: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..POLICIES {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut text = definition(&mut rng);
        if rng.bool() {
            text = rebound(&mut rng, &text);
        }
        if rng.u8(..8) == 0 {
            text = behind_acls(&mut rng, &text);
        }
        let policy = policy(&text);
        let ruleset = compile(&policy);
        let edges = Edges::of(&policy);
        filled_anew_loses_nothing(&ruleset);
        for _ in 0..PACKETS {
            let packet = edges.any(&mut rng);
            let decided = policy.decide(&packet);
            let (verdict, reason) = Walker::new(&ruleset).walk(&packet);
            let reason = reason.cloned().unwrap_or(Reason::Unmanaged);
            assert!(
                decided.agrees(verdict, &reason),
                "{decided}, not {verdict} by {reason}: seed {seed}\n{packet:?}\n{text}"
            );
            pairs += 1;
            by_rule += usize::from(matches!(decided.reason, Reason::Rule(_)));
            *layers.entry(decided.reason.layer()).or_insert(0) += 1;
        }
    }
    println!(
        "{pairs} pairs of {POLICIES} policies, {by_rule} decided by a rule; layers seen: {layers:?}"
    );
    assert!(by_rule > pairs / 5, "most packets must meet rules");
    assert_eq!(layers.len(), 10, "every layer must be seen: {layers:?}");
}

/// Chains that are about marks of flows are filled anew at every change: a counter there would begin at nothing, and what stands in braces be
/// empty for a moment.
fn filled_anew_loses_nothing(ruleset: &Ruleset) {
    let asks = |chain: &&Chain| chain.rules.iter().any(NftRule::is_about_marks);
    for chain in ruleset.chains.iter().filter(asks) {
        for rule in &chain.rules {
            let has_braces = |each: &Match| {
                matches!(
                    each,
                    Match::Port(..)
                        | Match::Address { .. }
                        | Match::FlowPort(..)
                        | Match::FlowAddress { .. }
                        | Match::IcmpType(_)
                        | Match::Icmpv6Type(_)
                        | Match::ToThisHost
                        | Match::LoopedBack
                )
            };
            assert!(
                !rule.counts() && !rule.matches.iter().any(has_braces),
                "{}: {rule:?}",
                chain.name
            );
        }
    }
}
