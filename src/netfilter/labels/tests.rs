#![allow(clippy::unwrap_used, reason = "a test")]

use super::book::ON_THEIR_WAY;
use super::sweep::Permit;
use super::*;
use nix::errno::Errno;
use std::sync::mpsc::{Receiver, Sender, channel};

const SOON: Duration = Duration::from_secs(10);

fn bits(of: impl IntoIterator<Item = u8>) -> u128 {
    of.into_iter().fold(0, |all, bit| all | 1 << bit)
}

/// A book of which all but the reserved is clean, and a time at which no packet is on its way.
fn clean_book(reserved: u128) -> (Book, Instant) {
    let (mut book, now) = (Book::default(), Instant::now());
    book.reserve(reserved);
    assert_eq!(book.next(now, true), Next::Clear(OURS & !reserved));
    assert!(book.swept(0));
    (book, now)
}

#[test]
fn everything_is_dirty_at_first() {
    let mut book = Book::default();
    assert_eq!((book.clean(), book.take(3)), (0, vec![]));
    assert!(book.is_dirty() && book.is_low());
}

#[test]
fn what_is_reserved_is_neither_cleared_nor_handed_out() {
    let (mut book, _) = clean_book(bits([64, 66]));
    assert_eq!(book.clean(), 62);
    assert_eq!(book.take(3), [65, 67, 68]);
    assert_eq!(book.take(100).len(), 59);
    assert!(book.take(1).is_empty());
    assert!(!book.is_dirty(), "what is taken is nobody else's");
}

#[test]
fn labels_of_others_are_never_touched() {
    let (mut book, now) = clean_book(!OURS);
    book.give_back(!OURS, now);
    book.switched(!OURS, now);
    book.release(!OURS, now);
    assert_eq!(book.next(now, true), Next::Nothing);
    assert_eq!(book.clean(), 64);
}

#[test]
fn what_goes_out_of_force_is_cleared_once_no_packet_is_on_its_way() {
    let (mut book, now) = clean_book(0);
    for _ in 0..2 {
        let taken = book.take(2);
        book.switched(bits(taken), now);
    }
    assert_eq!(book.next(now, true), Next::Wait(ON_THEIR_WAY));
    assert_eq!(
        book.next(now, false),
        Next::Wait(ON_THEIR_WAY),
        "nothing else is dirty"
    );
    let later = now + ON_THEIR_WAY;
    assert_eq!(book.next(later, true), Next::Clear(bits([64, 65])));
    assert!(book.may_clear(bits([64, 65])));
    assert!(book.swept(0));
    assert_eq!(book.clean(), 62);
}

#[test]
fn what_was_handed_out_comes_last() {
    let (mut book, mut now) = clean_book(bits([70]));
    let mut seen = Vec::new();
    for _ in 0..21 {
        let taken = book.take(3);
        seen.extend(taken.clone());
        book.switched(bits(taken), now);
        now += ON_THEIR_WAY;
        book.next(now, false);
        book.swept(0);
    }
    let all: Vec<u8> = (64..128).filter(|bit| *bit != 70).collect();
    assert_eq!(seen, all, "none comes again before all others have");
    assert_eq!(book.take(1), [64]);
}

#[test]
fn what_is_retired_may_be_set_until_the_next_switch() {
    let (mut book, now) = clean_book(bits([64, 65]));
    book.retire(bits([65, 66]));
    assert_eq!(book.clean(), 62, "66 was not reserved");
    assert_eq!(book.next(now, true), Next::Nothing);
    book.switched(bits([80]), now);
    assert_eq!(book.next(now, true), Next::Wait(ON_THEIR_WAY));
    let later = now + ON_THEIR_WAY;
    assert_eq!(book.next(later, true), Next::Clear(bits([65])));
}

#[test]
fn older_ones_do_not_wait_twice() {
    let (mut book, now) = clean_book(0);
    book.switched(bits([64]), now);
    book.switched(bits([65]), now);
    let later = now + ON_THEIR_WAY;
    book.switched(bits([66]), later);
    assert_eq!(book.next(later, true), Next::Wait(ON_THEIR_WAY));
    assert_eq!(book.next(later, false), Next::Clear(bits([64])));
}

#[test]
fn what_a_flow_still_carries_stays_dirty() {
    let (mut book, now) = clean_book(0);
    book.give_back(bits([70, 71]), now);
    let later = now + ON_THEIR_WAY;
    assert_eq!(book.next(later, true), Next::Clear(bits([70, 71])));
    assert!(book.swept(bits([70])));
    assert_eq!(book.next(later, true), Next::Clear(bits([70])));
    assert!(!book.swept(bits([70])));
    book.give_up(bits([70]));
    assert_eq!(book.next(later, true), Next::Nothing);
    book.switched(0, later);
    assert_eq!(
        book.next(later, true),
        Next::Clear(bits([70])),
        "tried again"
    );
}

#[test]
fn what_comes_and_goes_while_it_is_cleared_stays_dirty() {
    let (mut book, now) = clean_book(0);
    book.give_back(bits([70, 71, 72]), now);
    let later = now + ON_THEIR_WAY;
    assert_eq!(book.next(later, true), Next::Clear(bits([70, 71, 72])));
    book.switched(bits([70, 71]), later);
    assert!(
        !book.may_clear(bits([70, 71, 72])),
        "it has a meaning again"
    );
    book.switched(bits([71]), later);
    assert!(book.swept(0));
    assert_eq!(book.clean(), 62, "72 alone has become clean");
    assert_eq!(book.next(later, true), Next::Wait(ON_THEIR_WAY));
    assert_eq!(
        book.next(later + ON_THEIR_WAY, true),
        Next::Clear(bits([70]))
    );
}

#[test]
fn reserving_says_whether_it_is_being_cleared() {
    let (mut book, now) = clean_book(0);
    book.give_back(bits([70]), now);
    assert_eq!(book.next(now + ON_THEIR_WAY, true), Next::Clear(bits([70])));
    assert!(!book.reserve(bits([71])));
    assert!(book.reserve(bits([70])));
    assert!(!book.may_clear(bits([70])));
    assert!(!book.swept(0));
    book.release(bits([70, 72]), now);
    assert_eq!(
        book.next(now + ON_THEIR_WAY, true),
        Next::Clear(bits([70])),
        "72 was not reserved"
    );
}

#[test]
fn few_are_low_and_fewer_are_scarce() {
    let (mut book, _) = clean_book(bits(64..68));
    book.take(30);
    book.take(2);
    assert!(book.is_low() && !book.is_scarce(), "28 of 60 are left");
    book.take(14);
    assert!(book.is_scarce(), "14 are less than two more switches take");
    book.take(0);
    assert!(book.is_scarce(), "and less than a quarter");
}

#[test]
fn all_but_the_reserved_is_forgotten() {
    let (mut book, now) = clean_book(bits([64]));
    book.switched(bits([65, 66]), now);
    book.forget(now);
    let later = now + ON_THEIR_WAY;
    assert_eq!(book.next(later, true), Next::Clear(OURS & !bits([64])));
}

/// What a sweep is to find, and what it has been asked to clear.
struct Script {
    asked: Sender<u128>,
    answers: Receiver<Result<u128, NetlinkError>>,
}

impl Carriers for Script {
    fn sweep(&mut self, bits: u128, permit: &Permit<'_>) -> Result<Swept, NetlinkError> {
        self.asked.send(bits).unwrap();
        let found = self.answers.recv().unwrap()? & bits;
        let permitted = permit().is_some();
        Ok(Swept {
            found,
            flows: usize::from(permitted && found != 0),
            refusal: None,
        })
    }
}

type Story = (Labels, Receiver<u128>, Sender<Result<u128, NetlinkError>>);

/// `flows` are tracked; nothing is known yet.
fn story(flows: fn() -> Option<u64>) -> Story {
    let ((asked, hears), (answers, answered)) = (channel(), channel());
    let script = Script {
        asked,
        answers: answered,
    };
    (Labels::over(Box::new(script), flows), hears, answers)
}

const MANY: fn() -> Option<u64> = || Some(FEW_FLOWS + 1);

#[test]
fn the_first_to_ask_waits_and_nobody_after() {
    let (labels, asked, answer) = story(MANY);
    labels.reserve(bits([64]));
    labels.switched(bits([65]));
    assert!(labels.settle(SOON), "nobody clears before the first asks");
    answer.send(Ok(0)).unwrap();
    assert_eq!(labels.take(2).unwrap(), [66, 67]);
    assert_eq!(
        asked.try_iter().collect::<Vec<_>>(),
        [OURS & !bits([64, 65])]
    );
    labels.forget();
    let more = labels.take(1).unwrap();
    assert!(
        more.is_empty(),
        "it does not wait for the dump, which has no answer yet"
    );

    answer.send(Ok(0)).unwrap();
    assert!(labels.settle(SOON));
    assert_eq!(
        (labels.clean(), asked.recv().unwrap()),
        (63, OURS & !bits([64]))
    );
}

#[test]
fn the_first_that_fails_says_so_and_the_next_tries() {
    let (labels, asked, answer) = story(MANY);
    answer
        .send(Err(NetlinkError::Refused(Errno::EPERM)))
        .unwrap();
    assert!(labels.take(1).is_err());
    answer.send(Ok(0)).unwrap();
    assert_eq!(labels.take(1).unwrap(), [64]);
    assert_eq!(asked.try_iter().count(), 2);
}

#[test]
fn many_flows_are_looked_at_when_half_is_used_up() {
    let (labels, asked, answer) = story(MANY);
    answer.send(Ok(0)).unwrap();
    labels.take(0).unwrap();
    asked.recv().unwrap();
    for _ in 0..16 {
        let taken = labels.take(2).unwrap();
        labels.switched(bits(taken));
        assert!(
            labels.settle(Duration::ZERO),
            "{} are clean",
            labels.clean()
        );
    }
    let taken = labels.take(2).unwrap();
    labels.switched(bits(taken));
    assert_eq!(asked.recv_timeout(SOON).unwrap(), bits(64..96));
    assert!(!labels.settle(Duration::ZERO));
    assert_eq!(labels.take(1).unwrap(), [98], "while it clears");
    // One dump finds flows, the next does not.
    answer.send(Ok(!0)).unwrap();
    assert_eq!(asked.recv_timeout(SOON).unwrap(), bits(64..96));
    answer.send(Ok(0)).unwrap();
    assert!(labels.settle(SOON));
    let all = labels.take(64).unwrap();
    assert_eq!((all.first(), all.last()), (Some(&99), Some(&95)));
}

#[test]
fn few_flows_are_looked_at_at_once() {
    let (labels, asked, answer) = story(|| Some(FEW_FLOWS));
    answer.send(Ok(0)).unwrap();
    let taken = labels.take(1).unwrap();
    labels.switched(bits(taken));
    labels.switched(0);
    answer.send(Ok(0)).unwrap();
    assert!(labels.settle(SOON));
    assert_eq!(asked.try_iter().last(), Some(bits([64])));
    assert_eq!(labels.clean(), 64);
}

#[test]
fn what_never_gets_clean_is_given_up_until_the_next_switch() {
    let (labels, asked, answer) = story(MANY);
    for _ in 0..=ATTEMPTS {
        answer.send(Ok(bits([80]))).unwrap();
    }
    assert_eq!(labels.take(100).unwrap().len(), 63);
    assert_eq!(asked.try_iter().count() as u32, 1 + ATTEMPTS);
    assert!(labels.0.book().warned);
    labels.switched(0);
    assert_eq!(asked.recv_timeout(SOON).unwrap(), bits([80]));
    answer.send(Ok(0)).unwrap();
    assert!(labels.settle(SOON));
    assert_eq!(labels.take(1).unwrap(), [80]);
}

#[test]
fn a_thread_that_fails_ends_and_is_started_again() {
    let (labels, asked, answer) = story(MANY);
    answer.send(Ok(0)).unwrap();
    let all = labels.take(64).unwrap();
    labels.give_back(&all);
    answer.send(Err(NetlinkError::Denied)).unwrap();
    assert!(labels.settle(SOON));
    assert_eq!((labels.clean(), asked.try_iter().count()), (0, 2));
    labels.switched(0);
    answer.send(Ok(0)).unwrap();
    assert!(labels.settle(SOON));
    assert_eq!(labels.clean(), 64);
}

#[test]
fn what_is_reserved_while_it_is_cleared_is_not_taken_off() {
    let (labels, asked, answer) = story(MANY);
    answer.send(Ok(0)).unwrap();
    let all = labels.take(64).unwrap();
    labels.give_back(&all);
    asked.iter().nth(1);
    let permit = || labels.0.book().may_clear(OURS);
    assert!(permit());
    labels.reserve(bits([90]));
    assert!(!permit());
    answer.send(Ok(bits([90]))).unwrap();
    assert!(labels.settle(SOON));
    assert_eq!(labels.clean(), 63);
}
