//! The five shapes that are measured: small ones three ways, at their full size two ways.

use crate::generate::Edges;
use crate::support::kernel_test;
use crate::three_ways::{Bench, Case, sendable};
use crate::workloads::{self, Workload};
use libtest_mimic::Trial;
use secgroupd::ruleset::compile;
use std::collections::BTreeSet;

/// Packets of a small shape that the kernel judges, and of a full one that it does not.
const SENT: usize = 300;
const WALKED: usize = 3_000;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("small_shapes_agree_three_ways", &["nft"], small),
        kernel_test("full_shapes_agree_two_ways", &[], full),
    ]
}

fn small() {
    let mut bench = Bench::new();
    for workload in [
        workloads::web_server(),
        workloads::mixed(500),
        workloads::distinct(300),
        workloads::template(2_000),
        workloads::staircase(100),
    ] {
        agree(&workload, Some(&mut bench), SENT * crate::factor());
    }
}

fn full() {
    for workload in workloads::all() {
        agree(&workload, None, WALKED * crate::factor());
    }
}

/// Packets at the edges of what the rules say.
fn agree(workload: &Workload, mut bench: Option<&mut Bench>, packets: usize) {
    let policy = workload.policy();
    let ruleset = compile(&policy);
    let name = format!("{} of {} rules", workload.name, workload.rules);
    let case = Case::new(&policy, &ruleset, name);
    if let Some(bench) = &mut bench {
        bench.enforce(&case);
    }
    let edges = Edges::of(&policy);
    let mut rng = fastrand::Rng::with_seed(workload.rules as u64);
    let mut deciding = BTreeSet::new();
    for _ in 0..packets {
        let packet = sendable(&edges, &mut rng);
        match &mut bench {
            Some(bench) => bench.three_ways(&case, &packet),
            None => drop(case.two_ways(&packet)),
        }
        deciding.insert(policy.decide(&packet).reason.to_string());
    }
    println!(
        "{}: {packets} packets agree, decided in {} different ways",
        case.name,
        deciding.len()
    );
    // Many rules of W2 are hidden by others, and a packet beside a rule's edge is not its own.
    let least = workload.rules.min(packets) / 16;
    assert!(deciding.len() > least, "{deciding:?}");
}
