//! The same packets three ways: the evaluator, a walk through the compiled ruleset, and the kernel, into
//! which they are really sent. Compared is the deciding rule, packet by packet, and not only the verdict.
//!
//! On random policies, on the five shapes that are measured, and with flows that move between the interfaces of a host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "differential/flow_model.rs"]
mod flow_model;
mod generate;
#[path = "differential/several_host.rs"]
mod several_host;
#[path = "differential/several_interfaces.rs"]
mod several_interfaces;
#[path = "differential/shapes.rs"]
mod shapes;
mod support;
#[path = "differential/three_ways.rs"]
mod three_ways;
mod workloads;

use generate::{Edges, behind_acls, definition};
use secgroupd::ruleset::compile;
use std::collections::BTreeMap;
use support::kernel_test;
use support::policy::policy;
use three_ways::{Bench, Case, sendable};

/// Policies and packets of each; SECGROUPD_FULL=1 makes ten times as many policies. By other ways to the kernel they are fewer: that
/// nft and we load the same is seen in `encoder`.
const POLICIES: u64 = 500;
const POLICIES_BY_OTHER_WAYS: u64 = 200;
const PACKETS: usize = 20;

fn main() -> std::process::ExitCode {
    support::run(|| {
        let mut tests = vec![kernel_test(
            "evaluator_ruleset_and_kernel_agree",
            &["nft"],
            agree,
        )];
        tests.extend(shapes::tests());
        tests.extend(several_interfaces::tests());
        tests
    })
}

/// Ten times as much, if asked for.
fn factor() -> usize {
    if support::is_full() { 10 } else { 1 }
}

fn agree() {
    let mut bench = Bench::new();
    let ways = ["SECGROUPD_TEST_THROUGH", "SECGROUPD_TEST_USERNS"];
    let policies = match ways.into_iter().find_map(std::env::var_os) {
        Some(_) => POLICIES_BY_OTHER_WAYS,
        None => POLICIES,
    };
    let policies = policies * factor() as u64;
    let (mut pairs, mut sent) = (0, 0);
    let mut layers: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..policies {
        let mut rng = fastrand::Rng::with_seed(seed + 1_000_000);
        let text = match seed % 25 {
            24 => generate::pairs(&mut rng),
            _ => definition(&mut rng),
        };
        // Every eighth one behind network ACLs.
        let text = match seed % 8 {
            3 => behind_acls(&mut rng, &text),
            _ => text,
        };
        let policy = policy(&text);
        let ruleset = compile(&policy);
        let case = Case::new(&policy, &ruleset, format!("seed {seed}\n{text}"));
        bench.enforce(&case);
        let edges = Edges::of(&policy);
        // Nine of ten pairs two ways only, as many as the issue asks for.
        for _ in 0..PACKETS * 9 {
            case.two_ways(&edges.any(&mut rng));
            pairs += 1;
        }
        for _ in 0..PACKETS {
            let packet = sendable(&edges, &mut rng);
            bench.three_ways(&case, &packet);
            pairs += 1;
            sent += 1;
            *layers
                .entry(policy.decide(&packet).reason.layer().to_owned())
                .or_default() += 1;
        }
    }
    println!(
        "{pairs} pairs of {policies} policies agree, {sent} of them through the kernel: {layers:?}"
    );
    assert!(
        layers["group"] * 3 > sent && layers["acl"] * 50 > sent,
        "a third of the packets must meet rules of groups, and a fiftieth be refused by a network ACL: {layers:?}"
    );
}
