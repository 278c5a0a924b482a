//! A transport that fails at the n-th message changes nothing.

use super::dump;
use crate::support::{Host, kernel, kernel_test, ruleset};
use libtest_mimic::Trial;
use secgroupd::netfilter::enforce::{EnforceError, Kernel};
use secgroupd::netfilter::native::{Native, NativeError};
use secgroupd::netfilter::objects::{in_force, objects};
use secgroupd::policy::Reason;
use secgroupd::ruleset::batch::{Command, Names};
use secgroupd::ruleset::ir::{NftRule, NftVerdict};
use secgroupd::ruleset::{Generation, Ruleset};
use std::borrow::Cow;

const BEFORE: &str = "version: 1
security_groups:
  sg-a:
    inbound:
      - { action: allow, protocol: tcp, port: 22, source: 10.0.0.0/8 }
instances:
  ins-a: { interfaces: { eth0: { security_groups: [sg-a] } } }
";
const AFTER: &str = "version: 1
security_groups:
  sg-a:
    inbound:
      - { action: refuse, protocol: tcp, port: 22, source: 10.9.0.0/16 }
      - { action: allow, protocol: tcp, port: \"22,80-90\", source: [10.0.0.0/8, 192.0.2.0/24] }
      - { action: allow, protocol: udp, port: 53, source: any }
instances:
  ins-a: { interfaces: { eth0: { security_groups: [sg-a] } } }
";

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("a_refused_rule_changes_nothing", &["nft"], refused_rules),
        kernel_test("a_refused_switch_changes_nothing", &["nft"], refused_switch),
        kernel_test("what_is_withheld_changes_nothing", &["nft"], withheld),
        kernel_test("a_transaction_is_all_or_nothing", &["nft"], all_or_nothing),
        kernel_test("a_refusal_names_its_rule", &["nft"], refusal),
        kernel_test("more_refusals_than_fit", &["nft"], overrun),
    ]
}

/// A rule that the kernel refuses: there is no such chain.
fn wrong(reason: Option<Reason>) -> NftRule {
    NftRule {
        matches: vec![],
        verdict: NftVerdict::Jump("nowhere".into()),
        reason,
    }
}

/// Whatever rule of the load is refused, what was enforced stays, and nothing is left of the load.
fn refused_rules() {
    let host = Host::new("host");
    let kernel = host.enter(kernel);
    host.enter(|| kernel.enforce(&ruleset(BEFORE), Generation(1)))
        .unwrap();
    let before = host.enter(dump::table);
    let good = ruleset(AFTER);
    for (at, chain) in good.chains.iter().enumerate() {
        for rule in [0, chain.rules.len()] {
            let mut bad = good.clone();
            bad.chains[at].rules.insert(rule, wrong(None));
            refused(&host, &kernel, &bad, &before);
        }
    }
    host.enter(|| kernel.enforce(&good, Generation(1))).unwrap();
    assert_eq!(host.enter(in_force).unwrap(), Some(Generation(2)));
}

/// The first time there is no table before, and none is left; a host that is closed stays closed.
fn refused_switch() {
    let host = Host::new("host");
    let kernel = host.enter(kernel);
    let mut bad = ruleset(AFTER);
    // Nothing to jump to.
    bad.chains.retain(|chain| &*chain.name != "outbound");
    stays_closed(|kernel| {
        let result = kernel.enforce(&bad, Generation(1));
        assert!(matches!(result, Err(EnforceError::Apply(_))), "{result:?}");
    });
    let empty = host.enter(dump::table);
    refused(&host, &kernel, &bad, &empty);
    assert_eq!(host.nft_list("tables"), "");
    host.enter(|| kernel.enforce(&ruleset(BEFORE), Generation(1)))
        .unwrap();
    let before = host.enter(dump::table);
    refused(&host, &kernel, &bad, &before);
}

fn refused(host: &Host, kernel: &Kernel, bad: &Ruleset, before: &[String]) {
    let result = host.enter(|| kernel.enforce(bad, Generation(1)));
    assert!(matches!(result, Err(EnforceError::Apply(_))), "{result:?}");
    assert_eq!(host.enter(dump::table), before);
}

/// Whatever is refused of a first policy, what closes a host stays as it is, and nothing is left of what was loaded.
fn stays_closed(refused: impl Fn(&Kernel) + Sync) {
    let host = Host::new("closed");
    let kernel = host.enter(kernel);
    host.enter(|| kernel.close(|| {})).unwrap();
    let closed = host.enter(dump::table);
    assert!(!closed.is_empty());
    for _ in 0..2 {
        host.enter(|| refused(&kernel));
        assert!(host.enter(|| kernel.is_closed()).unwrap());
        let now = host.enter(dump::table);
        assert!(closed.iter().all(|line| now.contains(line)), "{now:#?}");
        let left = host.enter(objects).unwrap().generations();
        assert!(left.is_empty(), "{left:?}");
    }
    // The first that is not refused opens it as far as it says.
    host.enter(|| kernel.enforce(&ruleset(BEFORE), Generation(1)))
        .unwrap();
    assert!(!host.enter(|| kernel.is_closed()).unwrap());
}

/// What the check finds wrong while it is loaded never takes effect: the first time, on a closed host, over another policy, as a
/// change of it, and where nothing would change.
fn withheld() {
    let host = Host::new("host");
    let kernel = host.enter(kernel);
    let [before, after] = [BEFORE, AFTER].map(ruleset);
    let refused = |ruleset: &Ruleset| {
        let stood = host.enter(dump::table);
        let mut asked = 0;
        let result = host.enter(|| {
            kernel.enforce_if(ruleset, Generation(1), || {
                asked += 1;
                Err("it is wrong".to_owned())
            })
        });
        match result {
            Err(EnforceError::Withheld(why)) => assert_eq!(why, "it is wrong"),
            other => panic!("{other:?}"),
        }
        assert_eq!(asked, 1, "it is not tried another way");
        assert_eq!(host.enter(dump::table), stood);
    };
    refused(&before);
    assert_eq!(host.nft_list("tables"), "");
    stays_closed(|kernel| {
        let result = kernel.enforce_if(&before, Generation(1), || Err("it is wrong".to_owned()));
        assert!(matches!(result, Err(EnforceError::Withheld(_))));
    });
    for other in [&after, &before] {
        host.enter(|| kernel.enforce(&before, Generation(1)))
            .unwrap();
        // As a change of what is known, and whole.
        refused(other);
        kernel.forget();
        refused(other);
    }
    host.enter(|| kernel.enforce_if(&after, Generation(1), || Ok(())))
        .unwrap();
    assert_ne!(host.enter(dump::table), Vec::<String>::new());
    refused(&before);
}

fn chain(name: &str) -> Command<'static> {
    Command::AddChain(name.into())
}

/// A command that is refused, anywhere in a transaction.
fn all_or_nothing() {
    let host = Host::new("host");
    let native = host.enter(|| Native::open().unwrap());
    let names = Names::none();
    native.apply(&[Command::AddTable], &names).unwrap();
    let good: Vec<Command> = (0..10).map(|at| chain(&format!("g1_{at}"))).collect();
    let before = host.enter(dump::table);
    for at in 0..=good.len() {
        let mut commands = good.clone();
        commands.insert(at, Command::DeleteChain("g1_nowhere".into()));
        match native.apply(&commands, &names) {
            Err(NativeError::Refused(refusal)) => {
                let command = refusal.command.as_deref();
                assert_eq!(command, Some("delete chain inet secgroupd g1_nowhere"));
                assert_eq!(refusal.refused, 1);
                assert_eq!(refusal.batch.lines().count(), 11);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(host.enter(dump::table), before);
    }
    native.apply(&good, &names).unwrap();
    assert_eq!(host.enter(dump::table).len(), 10);
}

/// An error is traced back to the rule that caused it, also behind messages of other commands.
fn refusal() {
    let host = Host::new("host");
    let kernel = host.enter(kernel);
    let mut bad = ruleset(AFTER);
    let reason = bad.chains.iter().flat_map(|chain| &chain.rules);
    let reason = reason
        .filter_map(|rule| rule.reason.clone())
        .find(|reason| matches!(reason, Reason::Rule(_)))
        .unwrap();
    let last = bad.chains.last_mut().unwrap();
    last.rules.push(wrong(Some(reason.clone())));
    let Err(EnforceError::Apply(error)) = host.enter(|| kernel.enforce(&bad, Generation(1))) else {
        panic!("the kernel took a jump to nowhere");
    };
    let (batch, message) = (error.batch().unwrap(), error.to_string());
    assert!(batch.contains("jump g1_nowhere"), "{batch}");
    if !crate::support::through_nft() {
        assert_eq!(error.reason(), Some(&reason));
        assert!(message.contains("add rule inet secgroupd g1_"), "{message}");
        assert!(message.contains("No such file or directory"), "{message}");
    }
}

/// The socket holds some hundred answers; a transaction of which more are refused is refused all the same.
fn overrun() {
    let host = Host::new("host");
    let native = host.enter(|| Native::open().unwrap());
    let names = Names::none();
    native.apply(&[Command::AddTable], &names).unwrap();
    let rule = wrong(None);
    let commands: Vec<Command> = (0..20_000)
        .map(|_| Command::AddRule {
            chain: "g1_nowhere".into(),
            rule: Cow::Borrowed(&rule),
        })
        .collect();
    match native.apply(&commands, &names) {
        Err(NativeError::Refused(refusal)) => assert!(refusal.refused > 100),
        Err(NativeError::TooLong { .. }) => {} // In a user namespace.
        other => panic!("{other:?}"),
    }
    // The next transaction is not answered by the rest of these.
    native.apply(&[chain("g1_a")], &names).unwrap();
}
