//! What the kernel's answers to a transaction say.

use super::batch::Batch;
use super::error::{NativeError, Refusal};
use super::socket::{Answers, KernelAnswer};
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::text;
use nix::errno::Errno;

/// What the answers say. Of a transaction that is committed there is one answer: its last message asked for it. What
/// was refused is answered unasked, and more of that than the socket holds is no success either.
pub fn judge(
    answers: &Answers,
    batch: &Batch,
    commands: &[Command],
    names: &Names,
) -> Result<(), NativeError> {
    let mut refused = answers
        .answers
        .iter()
        .filter_map(|answer| Some((answer, answer.error?)));
    let Some((answer, error)) = refused.next() else {
        let asked = |answer: &KernelAnswer| answer.sequence == batch.asks();
        return match answers.answers.iter().any(asked) && !answers.overrun {
            true => Ok(()),
            false => Err(NativeError::Unanswered),
        };
    };
    let command = batch
        .command_of(answer.sequence)
        .and_then(|index| commands.get(index));
    // Of the whole batch it says so where we may not ask at all.
    if command.is_none() && error == Errno::EPERM {
        return Err(NativeError::Denied);
    }
    Err(NativeError::Refused(Box::new(Refusal {
        error,
        words: answer.words.clone(),
        offset: answer.offset,
        command: command.map(|command| text::command(command, names)),
        reason: command.and_then(Command::reason).cloned(),
        refused: 1 + refused.count(),
        batch: text::transaction(commands, names),
    })))
}

/// Whether the kernel can do what it was asked for: before 5.12 it knows no flag of ownership (EINVAL), before 6.9 none
/// that outlives its owner (EOPNOTSUPP).
pub fn accepted(result: Result<(), NativeError>) -> Result<bool, NativeError> {
    match result {
        Err(NativeError::Refused(refusal))
            if matches!(refusal.error, Errno::EOPNOTSUPP | Errno::EINVAL) =>
        {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::encode;
    use super::*;
    use crate::policy::{Interval, PortSet, Reason};
    use crate::ruleset::Generation;
    use crate::ruleset::ir::Side;
    use crate::ruleset::ir::{Match, NftRule, NftVerdict, Transport};
    use std::borrow::Cow;

    fn answer(sequence: u32, error: Option<Errno>) -> KernelAnswer {
        KernelAnswer {
            sequence,
            error,
            words: None,
            offset: None,
        }
    }

    /// Three commands, of which the second is three messages: a set, its elements, and the rule.
    fn commands() -> Vec<Command<'static>> {
        let points = [22, 80].map(Interval::point);
        let ports = PortSet::new(points.to_vec()).expect("ports");
        let rule = NftRule {
            matches: vec![Match::Port(Transport::Tcp, Side::Destination, ports)],
            verdict: NftVerdict::Accept,
            reason: Some(Reason::Default),
        };
        vec![
            Command::AddTable,
            Command::AddRule {
                chain: "g1_a".into(),
                rule: Cow::Owned(rule),
            },
            Command::FlushChain("inbound".into()),
        ]
    }

    fn judged(answers: Vec<KernelAnswer>, overrun: bool) -> Result<(), NativeError> {
        let (commands, names) = (commands(), Names::new(Generation(1)));
        let mut batch = Batch::new();
        for command in &commands {
            assert!(batch.command(usize::MAX, |batch| encode(batch, command, &names)));
        }
        batch.end();
        assert_eq!(batch.asks(), 5, "begin is 0, and the messages follow");
        judge(&Answers { answers, overrun }, &batch, &commands, &names)
    }

    #[test]
    fn only_the_answer_that_was_asked_for_is_success() {
        assert!(judged(vec![answer(5, None)], false).is_ok());
        for (answers, overrun) in [
            (vec![], false),
            (vec![answer(4, None)], false),
            (vec![answer(5, None)], true),
        ] {
            let judged = judged(answers, overrun);
            assert!(matches!(judged, Err(NativeError::Unanswered)), "{judged:?}");
        }
    }

    #[test]
    fn a_refusal_is_traced_to_its_command() {
        for sequence in 2..=4 {
            let answers = vec![answer(sequence, Some(Errno::ENOENT)), answer(5, None)];
            let Err(NativeError::Refused(refusal)) = judged(answers, false) else {
                panic!("message {sequence} was refused");
            };
            assert_eq!(refusal.reason, Some(Reason::Default));
            assert_eq!(
                refusal.to_string(),
                "the kernel refused `add rule inet secgroupd g1_a tcp dport { 22, 80 } counter accept comment \"default\"`: \
                 No such file or directory"
            );
        }
    }

    #[test]
    fn a_refusal_of_the_whole_batch_is_of_no_command() {
        let refused = judged(vec![answer(0, Some(Errno::EPERM))], false);
        assert!(matches!(refused, Err(NativeError::Denied)), "{refused:?}");
        // As when the commit itself fails, after each message was found good.
        let refused = judged(vec![answer(0, Some(Errno::ENOMEM)), answer(5, None)], false);
        match refused {
            Err(NativeError::Refused(refusal)) => assert_eq!(refusal.command, None),
            other => panic!("{other:?}"),
        }
        // Another's table.
        let refused = judged(vec![answer(1, Some(Errno::EPERM))], false);
        assert!(
            matches!(refused, Err(NativeError::Refused(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let (commands, names) = (commands(), Names::new(Generation(1)));
        let mut batch = Batch::new();
        let fits = |batch: &mut Batch, limit| {
            batch.command(limit, |batch| encode(batch, &commands[1], &names))
        };
        assert!(fits(&mut batch, usize::MAX));
        let long = batch.end().len();
        batch.begin();
        assert!(!fits(&mut batch, long - 1));
        assert_eq!(batch.len(), 0);
        assert!(fits(&mut batch, long));
        assert_eq!(batch.end().len(), long);
    }
}
