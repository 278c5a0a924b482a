//! A host without a policy, closed: it refuses new inbound flows to itself on every interface but `lo`, until there is one.
//!
//! The chain stands at the hook `input`, which only packets to the host itself reach, so that whatever is forwarded, behind
//! whatever DNAT, passes it by. It belongs to no generation: the first policy that is loaded has it deleted, once that is switched
//! in.

use super::batch::{Command, Names};
use super::exempt::exempt_chain;
use super::flows::{ICMP_ERRORS, ICMPV6_ERRORS};
use super::ir::*;
use super::table::{BaseChain, Generation, Hook};
use crate::policy::{Direction, Reason};
use std::borrow::Cow;

/// The base chain of a closed host, before iptables' own at this hook.
pub const CLOSED: BaseChain = BaseChain {
    name: "closed",
    hook: Hook::Input,
    priority: -160,
};

/// The transaction that closes a host whose table is there or not: all of it holds at once.
pub fn close() -> Vec<Command<'static>> {
    let begin = [
        Command::AddTable,
        Command::AddBaseChain(&CLOSED),
        Command::FlushChain(CLOSED.name.into()),
    ];
    let rules = rules().into_iter().map(|rule| Command::AddRule {
        chain: CLOSED.name.into(),
        rule: Cow::Owned(rule),
    });
    begin.into_iter().chain(rules).collect()
}

/// The names of what the chain leads to: nothing.
pub fn names() -> Names {
    Names::new(Generation(0))
}

fn rules() -> Vec<NftRule> {
    let rule = |matches, verdict, reason| NftRule {
        matches,
        verdict,
        reason,
    };
    let pass = |matches| rule(matches, NftVerdict::Accept, Some(Reason::Established));
    let related = |errors| pass(vec![Match::State(CtState::Related), errors]);
    let loopback = vec![Match::Loopback(Side::Source)];
    let mut rules = vec![
        rule(loopback, NftVerdict::Accept, None),
        pass(vec![Match::State(CtState::Established)]),
        related(Match::IcmpType(ICMP_ERRORS.into())),
        related(Match::Icmpv6Type(ICMPV6_ERRORS.into())),
    ];
    let refuse = |matches| rule(matches, NftVerdict::Drop, Some(Reason::Unmanaged));
    let exempt = exempt_chain(Direction::Inbound).rules.into_iter();
    // At this hook every packet carries a route, so that only a missing link-layer header tells what is looped back.
    let by_route_alone =
        |each: &Match| matches!(each, Match::EnteredByKind(kind) if *kind != DeviceKind::Vrf);
    rules.extend(
        exempt
            .filter(|rule| !rule.matches.iter().any(by_route_alone))
            // A base chain that returns accepts.
            .map(|rule| match rule.verdict {
                NftVerdict::Return => refuse(rule.matches),
                _ => rule,
            }),
    );
    rules.push(refuse(vec![]));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::text;

    #[test]
    fn it_reads_as_promised() {
        let lines: Vec<String> = close()
            .iter()
            .map(|command| text::command(command, &names()))
            .collect();
        let last = lines.last().map(String::as_str);
        assert_eq!(
            lines[..3],
            [
                "add table inet secgroupd",
                "add chain inet secgroupd closed { type filter hook input priority -160; policy accept; }",
                "flush chain inet secgroupd closed"
            ]
        );
        assert_eq!(
            last,
            Some("add rule inet secgroupd closed counter drop comment \"unmanaged\"")
        );
        assert!(lines[3].contains("iifname \"lo\" accept"), "{}", lines[3]);
        assert!(
            lines.iter().all(|line| !["goto", "jump", "return", "tun"]
                .iter()
                .any(|word| line.contains(word))),
            "nothing leads out of it: {lines:#?}"
        );
    }
}
