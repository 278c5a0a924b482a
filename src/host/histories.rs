//! Whole lives of a host over a kernel in memory: forwards, with each step doubled, and cut off at every call of the
//! kernel.
//!
//! At every moment what is enforced is one whole policy, once there was one. In the end it is the last good definition,
//! and the state directory says the same, whatever failed in between.

#![allow(clippy::unwrap_used, reason = "a test")]

mod machine;

use self::machine::Definition::{A, B, C, Ended};
use self::machine::Step::*;
use self::machine::{Definition, Machine, Step};
use crate::netfilter::fake::Fault;

/// Runs a history forwards, with each step doubled, and cut off at each call of the kernel.
fn history(steps: &[Step], expected: Option<Definition>) {
    for owns in [false, true] {
        let mut machine = Machine::new(owns);
        for step in steps {
            assert!(!machine.survive(*step, ""), "{step:?}");
        }
        machine.agrees(expected, "forwards");
        let calls = machine.fake.calls();
        let mut machine = Machine::new(owns);
        for step in steps.iter().flat_map(|step| [step, step]) {
            machine.survive(*step, "doubled");
        }
        machine.agrees(expected, "doubled");
        let in_full = std::env::var("SECGROUPD_FULL").is_ok_and(|full| full == "1");
        for call in 0..calls {
            // In short each call fails in one way, and the process ends in one way: both in turn.
            for fault in FAULTS[call % 2]
                .iter()
                .chain(FAULTS[1 - call % 2].iter().filter(|_| in_full))
            {
                if owns || in_full {
                    let said = format!("{fault:?} at call {call} of {steps:?}, owned: {owns}");
                    cut(steps, expected, (call, *fault), owns, &said);
                }
            }
        }
    }
}

const FAULTS: [[Fault; 2]; 2] = [
    [Fault::Refused, Fault::DiesAfter],
    [Fault::Unanswered, Fault::DiesBefore],
];

/// Runs a history with one fault, after which all goes on.
fn cut(
    steps: &[Step],
    expected: Option<Definition>,
    (call, fault): (usize, Fault),
    owns: bool,
    said: &str,
) {
    let mut machine = Machine::new(owns);
    machine.fake.fail_after(call, fault);
    for step in steps {
        if machine.host.is_none() && !matches!(step, Start | Reboot | Kill | Later | Earlier) {
            machine
                .start()
                .unwrap_or_else(|why| panic!("{said}: {why}"));
        }
        if machine.survive(*step, said) {
            break;
        }
    }
    machine.fake.heal();
    machine.settle(expected, said);
}

macro_rules! histories {
    ($($name:ident: $steps:expr => $expected:expr;)*) => {
        $(#[test] fn $name() { history(&$steps, $expected) })*
    };
}

histories! {
    saved: [Start, Save(A), Save(B)] => Some(B);
    saved_in_the_other_order: [Start, Save(B), Save(A)] => Some(A);
    saved_back: [Start, Save(A), Save(B), Save(A)] => Some(A);
    saved_wrong: [Start, Save(A), Bad] => Some(A);
    confirmed: [Start, Save(A), Try(B), Confirm(B)] => Some(B);
    taken_back: [Start, Save(A), Try(B), TakeBack] => Some(A);
    tried_without_a_policy: [Start, Try(B), TakeBack] => None;
    a_trial_over_a_restart: [Start, Save(A), Try(B), Kill, Start, Confirm(B)] => Some(B);
    a_trial_that_ends_while_nothing_runs: [Start, Save(A), TryShort(B), Kill, Start] => Some(A);
    a_trial_that_ends_with_the_machine: [Start, Save(A), TryShort(B), Reboot, Start] => Some(A);
    deleted: [Start, Save(A), Deleted, Restore] => Some(A);
    flushed: [Start, Save(A), Flushed, Restore] => Some(A);
    deleted_on_trial: [Start, Save(A), Try(B), Deleted, Restore, TakeBack] => Some(A);
    restarted: [Start, Save(A), Kill, Start] => Some(A);
    booted: [Start, Save(A), Save(B), Reboot, Start] => Some(B);
    restored_after_a_restart: [Start, Save(A), Kill, Start, Deleted, Restore] => Some(A);
    tried_on_a_full_disk: [Start, Save(A), TryInVain(B), Kill, Start] => Some(A);
    a_full_disk: [Start, Save(A), Full, Save(B), Room, Save(B)] => Some(B);
    a_full_disk_and_a_trial: [Start, Save(A), Full, Bad, Room, Try(B), TakeBack] => Some(A);
    a_rule_ends: [Start, Save(C), Later, End] => Some(Ended);
    a_rule_ends_while_nothing_runs: [Start, Save(C), Kill, Later, Start] => Some(Ended);
    a_rule_ends_while_the_machine_is_off: [Start, Save(C), Reboot, Later, Start] => Some(Ended);
    a_rule_has_ended_when_it_is_saved: [Start, Save(A), Later, Save(C)] => Some(Ended);
    ended_and_the_clock_goes_back: [Start, Save(C), Later, End, Earlier, Save(A), Save(C), Kill, Start] => Some(Ended);
    ended_and_started_in_1970: [Start, Save(C), Later, End, Earlier, Reboot, Start] => Some(Ended);
    ended_while_off_and_started_in_1970: [Start, Save(C), Reboot, Later, Start, Earlier, Reboot, Start] => Some(Ended);
    ended_and_deleted: [Start, Save(C), Later, End, Deleted, Restore] => Some(Ended);
    deleted_and_ended: [Start, Save(C), Later, Deleted, Restore, End] => Some(Ended);
    ended_of_a_candidate: [Start, Save(A), Try(C), Later, End, Confirm(C), Save(C)] => Some(Ended);
    ended_of_a_candidate_over_a_restart: [Start, Save(A), Try(C), Later, Kill, Start, Deleted, Restore, TakeBack] => Some(A);
    ended_of_what_comes_back: [Start, Save(C), Try(B), Later, TakeBack] => Some(Ended);
    ended_of_what_comes_back_at_a_start: [Start, Save(C), TryShort(B), Later, Kill, Start] => Some(Ended);
    ended_on_a_full_disk: [Start, Save(C), Full, Later, End, Room, Save(C)] => Some(Ended);
    removed: [Start, Save(A), Remove] => None;
    removed_and_saved: [Start, Save(A), Remove, Save(B)] => Some(B);
}
