//! Histories: lists of events against a fake host.
//!
//! Each history runs forwards, doubled and reversed. It runs cut off at every event and started again, and with each
//! call of the host failing once. Afterwards a good definition is saved. Then it must be enforced and saved, no
//! candidate may be on trial, and no error may be left, whatever happened before.

use super::event::{Action, Done, Event, Facts, OnTrial, Outcome, Reading, Restored};
use super::*;
use crate::daemon::control::{Request, Response};
use crate::host::ending::EndedRules;
use crate::host::report::Summary;
use crate::host::resume::Resumed;
use crate::policy::RuleId;
use crate::source::texts::Texts;
use std::collections::VecDeque;
use tracing::Level;

/// A definition: its number, or one with errors.
type Definition = Result<u64, ()>;

/// What happens from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// The watched definition is saved.
    Save(Definition),
    /// It is saved while another writer goes on, who ends without a change.
    SaveUnderWriters(Definition),
    /// `apply --confirm 60` of another one.
    Try(u64),
    /// `confirm`, which puts it in the definition's place.
    Confirm,
    /// So many seconds pass.
    Pass(u64),
    Reload,
    Force,
    Hold,
    Remove,
    /// Another program deletes our table.
    Delete,
    Hangup,
    /// The clock is set, by so many seconds.
    SetClock(i64),
}

use Step::*;

/// What would outlive the process: the kernel, the disk, and the clock.
#[derive(Debug, Clone)]
struct World {
    now: Instant,
    /// When it began, and by how much the clock was set since, in seconds.
    begin: Instant,
    set: i64,
    /// The latest time that the clock has shown, in seconds since then.
    latest: u64,
    /// Whether the rule that ends of what is enforced still holds.
    rule_holds: bool,
    /// On the disk: the watched definition, and the one that is tried.
    watched: Definition,
    other: u64,
    /// In the kernel.
    enforced: Option<u64>,
    /// In the state directory.
    saved: Option<u64>,
    trial: Option<(u64, Instant)>,
    unconfirmed: Vec<u64>,
    held: bool,
    closed: bool,
}

/// A process.
struct Daemon {
    machine: Machine,
    world: World,
    /// What this process has enforced, and as which generation.
    standing: Option<(u64, u64)>,
    /// Whether that is a candidate.
    applied: bool,
    /// What the watched definition said when it was enforced last.
    followed: Option<u64>,
    /// What was read last.
    read: Definition,
    being_written: bool,
    calls: usize,
    /// Which of them fails.
    fails: Option<usize>,
    /// Whether all of them do, and take so long.
    all_fail: Option<Duration>,
    answers: Vec<Response>,
    log: Vec<(Level, String)>,
    published: String,
    ready: usize,
}

/// When a rule of a definition ends, in seconds since the world began; every other one has such a rule.
fn end_of(which: u64) -> Option<u64> {
    which.is_multiple_of(2).then_some(which * 10)
}

fn world() -> World {
    let now = Instant::now();
    World {
        now,
        begin: now,
        set: 0,
        latest: 0,
        rule_holds: false,
        watched: Ok(1),
        other: 0,
        enforced: None,
        saved: None,
        trial: None,
        unconfirmed: Vec::new(),
        held: false,
        closed: false,
    }
}

fn failure(text: &str) -> Failure {
    Failure::other(text.into())
}

impl Daemon {
    fn start(world: World, fails: Option<usize>) -> Self {
        let held = world.held;
        let mut daemon = Daemon {
            machine: Machine::new(Path::new("groups.yaml"), true, world.now),
            world,
            standing: None,
            applied: false,
            followed: None,
            read: Err(()),
            being_written: false,
            calls: 0,
            fails,
            all_fail: None,
            answers: Vec::new(),
            log: Vec::new(),
            published: String::new(),
            ready: 0,
        };
        daemon.handle(Event::Started { held });
        daemon.settle();
        daemon
    }

    fn handle(&mut self, event: Event) {
        let mut actions = VecDeque::from(self.machine.on(event, self.world.now));
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.act(action) {
                actions.extend(self.machine.on(event, self.world.now));
            }
        }
        assert_eq!(self.machine.doing, Doing::Nothing, "nothing is left undone");
    }

    /// All deadlines that have come.
    fn settle(&mut self) {
        while self
            .machine
            .deadline()
            .is_some_and(|at| at <= self.world.now)
        {
            self.handle(Event::Tick);
        }
    }

    /// Whether this call fails.
    fn fails(&mut self) -> bool {
        self.calls += 1;
        self.world.now += self.all_fail.unwrap_or_default();
        self.fails == Some(self.calls) || self.all_fail.is_some()
    }

    fn summary(&self, definition: u64, generation: u64) -> Summary {
        Summary {
            generation,
            definition: match self.applied {
                true => format!("{definition}.yaml").into(),
                false => "groups.yaml".into(),
            },
            instance: "ins-a".into(),
            host: None,
            since: 0,
            interfaces: Vec::new(),
            rules: [1, 0],
            smtp_blocked: true,
            observe: false,
            unblocks: [0, 0],
            switched_after_ms: 1.0,
            remarks: Vec::new(),
            ending: Vec::new(),
        }
    }

    /// By the clock, and never before the latest time that it has shown.
    fn time(&mut self) -> u64 {
        let world = &mut self.world;
        let passed = world.now.saturating_duration_since(world.begin).as_secs();
        world.latest = world.latest.max(passed.saturating_add_signed(world.set));
        world.latest
    }

    /// The time that is left until the rule ends that still holds.
    fn rule_ends(&mut self) -> Option<Duration> {
        let (which, _) = self.standing.filter(|_| self.world.rule_holds)?;
        let left = end_of(which)?.saturating_sub(self.time());
        Some(Duration::from_secs(left))
    }

    fn facts(&mut self) -> Facts {
        let ends = self.rule_ends();
        let standing = self.standing.filter(|_| self.world.enforced.is_some());
        Facts {
            enforced: standing.map(|(which, generation)| self.summary(which, generation)),
            inherited: self.world.enforced.filter(|_| self.standing.is_none()),
            unseen: None,
            closed: self.world.closed,
            trial: self.world.trial.map(|(which, ends)| OnTrial {
                candidate: format!("{which}.yaml").into(),
                left: ends.saturating_duration_since(self.world.now),
            }),
            ends,
        }
    }

    /// The kernel takes this policy.
    fn switch(&mut self, which: u64) -> Summary {
        let generation = self.standing.map_or(1, |(_, generation)| generation + 1);
        self.standing = Some((which, generation));
        (self.world.enforced, self.world.closed) = (Some(which), false);
        self.world.rule_holds = end_of(which).is_some_and(|end| end > self.time());
        self.summary(which, generation)
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        let done = match action {
            Action::Log(level, text) => {
                self.log.push((level, text));
                return None;
            }
            Action::Ready => {
                self.ready += 1;
                return None;
            }
            Action::Publish(line) => {
                self.published = line;
                return None;
            }
            Action::Answer(response) => {
                self.answers.push(response);
                return None;
            }
            Action::Read { candidate, .. } => {
                let is_watched = candidate.is_none();
                self.read = if is_watched {
                    self.world.watched
                } else {
                    Ok(self.world.other)
                };
                let followed = self.followed.filter(|_| is_watched);
                return Some(Event::Read(Reading {
                    is_known: followed.is_some_and(|which| self.read == Ok(which)),
                    failed: self.fails().then(|| failure("a panic")),
                    refused: self.read.is_err(),
                    being_written: std::mem::take(&mut self.being_written),
                    has_news: false,
                }));
            }
            // The writer has ended.
            Action::ReadAgain => return Some(Event::Saved("again".into())),
            Action::Save => {
                if self.world.trial.is_none() && !self.fails() {
                    self.world.saved = self.standing.map(|(which, _)| which).or(self.world.saved);
                }
                return None;
            }
            Action::WriteHold => {
                let result = if self.fails() {
                    Err("disk full".into())
                } else {
                    Ok(())
                };
                self.world.held |= result.is_ok();
                return Some(Event::HoldWritten(result));
            }
            Action::RemoveHold => {
                self.world.held = false;
                return None;
            }
            Action::Survey { always } => {
                return Some(Event::Surveyed {
                    doubts: Vec::new(),
                    not_saved: None,
                    always,
                });
            }
            Action::KeepSocket | Action::FollowTable | Action::FinishSaves => return None,
            Action::Enforce(order) => self.enforce(&order),
            Action::Resume { closes } => self.resume(closes),
            Action::TakeBack => self.take_back(),
            Action::Confirm(_) => self.confirm(),
            Action::Remove => {
                let removed = self.world.enforced.take().is_some();
                self.standing = None;
                (self.world.saved, self.world.trial) = (None, None);
                Done::Removed(Ok(removed))
            }
            Action::Restore(_) => Done::Restored(Restored {
                result: match (self.fails(), self.standing) {
                    (true, _) => Err(failure("the kernel refused")),
                    (false, None) => Ok(false),
                    (false, Some((which, _))) => {
                        self.switch(which);
                        Ok(true)
                    }
                },
                used: Duration::from_millis(1),
                at: self.world.now,
                time: 0,
            }),
            Action::Recollect => Done::Recollected,
            Action::LookAtTrial => Done::Looked,
            Action::EndRules => Done::RulesEnded(Box::new(self.end_rules())),
        };
        Some(Event::Done(done, Box::new(self.facts())))
    }

    fn end_rules(&mut self) -> Result<Option<EndedRules>, Failure> {
        let is_due = self.rule_ends().is_some_and(|left| left.is_zero());
        let Some((which, _)) = self.standing.filter(|_| is_due) else {
            return Ok(None);
        };
        if self.fails() {
            return Err(failure("the kernel refused"));
        }
        let rules = RuleId::parse("sg-a/in/3").into_iter().collect();
        let summary = self.switch(which);
        Ok(Some(EndedRules { rules, summary }))
    }

    fn enforce(&mut self, order: &event::Order) -> Done {
        let unconfirmed = |which| self.world.unconfirmed.contains(&which);
        let read = self.read;
        let result = match read {
            Err(()) => Err(failure("the definition is refused: 1 error")),
            Ok(which) if order.attempt == Attempt::Plain && unconfirmed(which) => {
                Err(failure("it was tried and not confirmed"))
            }
            Ok(_) if matches!(order.attempt, Attempt::Trial(_)) && self.world.trial.is_some() => {
                Err(failure("a candidate is on trial already"))
            }
            Ok(_) if self.fails() => Err(failure("the kernel refused")),
            Ok(which) => {
                self.world.trial = match order.attempt {
                    Attempt::Trial(time) => Some((which, self.world.now + time)),
                    _ => None,
                };
                self.world
                    .unconfirmed
                    .retain(|each| *each != which || order.attempt == Attempt::Plain);
                self.applied = order.candidate.is_some();
                if !self.applied {
                    self.followed = Some(which);
                }
                Ok(self.switch(which))
            }
        };
        Done::Enforced(Box::new(Outcome {
            result,
            took: Duration::ZERO,
            warnings: Vec::new(),
        }))
    }

    fn resume(&mut self, closes: bool) -> Done {
        if self.fails() {
            return Done::Resumed(Err("the saved policy cannot be used".into()));
        }
        // A candidate whose time is up gives way to the saved policy.
        let over = |ends: Instant| ends <= self.world.now;
        if let Some((which, _)) = self.world.trial.take_if(|(_, ends)| over(*ends)) {
            self.world.unconfirmed.push(which);
        }
        let which = self
            .world
            .trial
            .map(|(which, _)| which)
            .or(self.world.saved);
        Done::Resumed(Ok(match which {
            None => {
                self.world.enforced = None;
                self.world.closed = closes;
                Resumed::Nothing
            }
            Some(which) => Resumed::Enforced(self.switch(which).generation),
        }))
    }

    fn take_back(&mut self) -> Done {
        if self.fails() {
            return Done::TakenBack(Box::new(Err(failure("the old policy did not come back"))));
        }
        self.world
            .unconfirmed
            .extend(self.world.trial.take().map(|(which, _)| which));
        let old = self.world.saved;
        if old.is_none() {
            (self.world.enforced, self.standing) = (None, None);
        }
        Done::TakenBack(Box::new(Ok(old.map(|which| self.switch(which)))))
    }

    fn confirm(&mut self) -> Done {
        let trial = self.world.trial;
        Done::Confirmed(match trial {
            None => Err("no candidate is on trial".into()),
            Some(_) if self.fails() => Err("disk full".into()),
            Some((which, _)) => {
                (self.world.saved, self.world.trial) = (Some(which), None);
                self.world.unconfirmed.retain(|each| *each != which);
                Ok(())
            }
        })
    }

    fn take(&mut self, step: Step) {
        let asked = self.answers.len();
        let request = match step {
            Save(definition) | SaveUnderWriters(definition) => {
                self.world.watched = definition;
                self.being_written = matches!(step, SaveUnderWriters(_));
                self.handle(Event::Saved("saved".into()));
                None
            }
            Try(which) => {
                self.world.other = which;
                Some(Request::Apply {
                    path: format!("{which}.yaml").into(),
                    texts: Texts::default(),
                    instance: None,
                    confirm: Some(60),
                })
            }
            Confirm => {
                if let Some((which, _)) = self.world.trial {
                    self.world.watched = Ok(which);
                }
                Some(Request::Confirm {
                    content: String::new(),
                })
            }
            Pass(seconds) => {
                for _ in 0..seconds {
                    self.world.now += Duration::from_secs(1);
                    self.settle();
                }
                None
            }
            Reload => Some(Request::Reload { force: false }),
            Force => Some(Request::Reload { force: true }),
            Hold => Some(Request::Hold),
            Remove => Some(Request::Remove),
            Delete => {
                self.world.enforced = None;
                self.handle(Event::TableChanged(ForeignChange::unknown()));
                None
            }
            Hangup => {
                self.handle(Event::Hangup);
                None
            }
            SetClock(seconds) => {
                self.world.set += seconds;
                None
            }
        };
        if let Some(request) = request {
            self.handle(Event::Asked(request));
            assert_eq!(self.answers.len(), asked + 1, "one answer to each request");
        }
        self.settle();
    }
}

const HISTORIES: &[(&str, &[Step])] = &[
    ("saves", &[Save(Ok(2)), Save(Ok(3)), Hangup, Save(Ok(2))]),
    (
        "a bad save",
        &[Save(Ok(2)), Save(Err(())), Reload, Save(Ok(3))],
    ),
    (
        "writers",
        &[
            SaveUnderWriters(Ok(2)),
            SaveUnderWriters(Err(())),
            Save(Ok(3)),
        ],
    ),
    (
        "a trial confirmed",
        &[Save(Ok(2)), Try(5), Pass(3), Confirm, Save(Ok(6))],
    ),
    ("a trial expired", &[Try(5), Save(Ok(4)), Pass(61), Reload]),
    (
        "the unconfirmed definition saved",
        &[Try(5), Pass(61), Save(Ok(5)), Force],
    ),
    (
        "two trials",
        &[Try(5), Try(6), Pass(30), Reload, Try(7), Pass(90)],
    ),
    (
        "a trial of a host without a policy",
        &[Remove, Try(5), Pass(61)],
    ),
    (
        "held",
        &[Hold, Save(Ok(2)), Save(Ok(3)), Reload, Save(Ok(4))],
    ),
    ("removed", &[Remove, Delete, Save(Ok(2)), Remove, Reload]),
    (
        "deleted",
        &[Delete, Save(Ok(2)), Delete, Delete, Pass(5), Delete],
    ),
    (
        "deleted on trial",
        &[Try(5), Delete, Pass(2), Delete, Confirm, Delete],
    ),
    (
        "rules end",
        &[Save(Ok(2)), Pass(25), Save(Ok(4)), Delete, Pass(20), Reload],
    ),
    (
        "a rule of a candidate ends",
        &[Save(Ok(2)), Try(4), Pass(45), Delete, Confirm, Pass(3)],
    ),
    (
        "the clock is set",
        &[
            Save(Ok(8)),
            SetClock(90),
            Pass(6),
            SetClock(-90),
            Delete,
            Reload,
            Pass(6),
        ],
    ),
];

/// Whatever happened, this leads to the same.
fn ends_well(mut daemon: Daemon, what: &str) {
    daemon.fails = None;
    // A trial ends, and what failed is tried again.
    daemon.take(Pass(130));
    assert_eq!(daemon.world.trial, None, "{what}");
    if let Some((which, _)) = daemon.standing {
        assert_eq!(daemon.world.enforced, Some(which), "{what}: it stands");
        let left = daemon.rule_ends();
        assert!(
            left != Some(Duration::ZERO),
            "{what}: no rule outlives its end"
        );
    }
    daemon.take(Reload);
    daemon.take(Save(Ok(9)));
    daemon.take(Pass(2));
    let world = &daemon.world;
    assert_eq!((world.enforced, world.saved), (Some(9), Some(9)), "{what}");
    assert_eq!(
        (world.trial, world.held, world.closed),
        (None, false, false),
        "{what}"
    );
    assert_eq!(daemon.machine.last_error, None, "{what}");
    assert!(
        !daemon.machine.missed && daemon.machine.change.is_none(),
        "{what}"
    );
    assert!(
        daemon.published.starts_with("generation "),
        "{what}: {}",
        daemon.published
    );
    assert_eq!(daemon.ready, 1, "{what}");
    let again = Daemon::start(daemon.world.clone(), None);
    assert_eq!(again.world.enforced, Some(9), "{what}, started again");
}

fn run(daemon: &mut Daemon, steps: &[Step]) {
    steps.iter().for_each(|step| daemon.take(*step));
}

#[test]
fn every_history_ends_the_same_forwards_doubled_and_reversed() {
    for (name, steps) in HISTORIES {
        let doubled: Vec<Step> = steps.iter().flat_map(|step| [*step, *step]).collect();
        let reversed: Vec<Step> = steps.iter().rev().copied().collect();
        for (how, steps) in [
            ("", *steps),
            (", doubled", &doubled),
            (", reversed", &reversed),
        ] {
            let mut daemon = Daemon::start(world(), None);
            run(&mut daemon, steps);
            ends_well(daemon, &format!("{name}{how}"));
        }
    }
}

#[test]
fn every_history_can_be_cut_off_and_started_again() {
    for (name, steps) in HISTORIES {
        for cut in 0..=steps.len() {
            for later in [0, 200] {
                let mut daemon = Daemon::start(world(), None);
                run(&mut daemon, &steps[..cut]);
                let mut world = daemon.world;
                // The kernel keeps what is enforced.
                world.now += Duration::from_secs(later);
                let mut daemon = Daemon::start(world, None);
                run(&mut daemon, &steps[cut..]);
                ends_well(daemon, &format!("{name}, cut at {cut}, {later} s later"));
            }
        }
    }
}

#[test]
fn every_call_may_fail_once() {
    for (name, steps) in HISTORIES {
        let mut whole = Daemon::start(world(), None);
        run(&mut whole, steps);
        for fails in 1..=whole.calls {
            let mut daemon = Daemon::start(world(), Some(fails));
            run(&mut daemon, steps);
            ends_well(daemon, &format!("{name}, call {fails} fails"));
        }
    }
}

/// Two histories in one another: of any two, the steps in turn.
#[test]
fn any_two_histories_may_mix() {
    for (one, first) in HISTORIES {
        for (other, second) in HISTORIES {
            let mut daemon = Daemon::start(world(), None);
            for at in 0..first.len().max(second.len()) {
                let steps = [first.get(at), second.get(at)].into_iter().flatten();
                steps.for_each(|step| daemon.take(*step));
            }
            ends_well(daemon, &format!("{one} and {other}"));
        }
    }
}

#[test]
fn a_trial_holds_back_saves_and_ends_with_the_old_policy() {
    let mut daemon = Daemon::start(world(), None);
    daemon.take(Try(5));
    daemon.take(Save(Ok(4)));
    assert_eq!(daemon.world.enforced, Some(5), "the save waits");
    daemon.take(Pass(59));
    assert_eq!(daemon.world.enforced, Some(5));
    daemon.take(Pass(1));
    assert_eq!(daemon.world.enforced, Some(4), "what was saved meanwhile");
    let back = |(level, text): &(Level, String)| {
        *level == Level::WARN
            && text.contains("5.yaml was not confirmed in time: the old policy is back")
    };
    assert_eq!(daemon.log.iter().filter(|line| back(line)).count(), 1);
}

/// To the second; and where the clock is set, after five seconds, for a timer does not notice that.
#[test]
fn a_rule_ends_at_its_time_by_whatever_clock() {
    let ended = |daemon: &Daemon| {
        let ended = "generation 3 enforced for ins-a";
        let mut lines = daemon.log.iter();
        lines.any(|(_, text)| text.starts_with(ended) && text.ends_with("(ended: sg-a/in/3)"))
    };
    let begin = || {
        let mut daemon = Daemon::start(world(), None);
        daemon.take(Save(Ok(4)));
        daemon
    };
    let mut daemon = begin();
    daemon.take(Pass(39));
    assert!(daemon.world.rule_holds && !ended(&daemon));
    daemon.take(Pass(1));
    assert!(!daemon.world.rule_holds && ended(&daemon));
    assert_eq!(daemon.world.saved, Some(4), "it is saved");
    assert_eq!(
        daemon.machine.deadline(),
        None,
        "nothing is looked at any more"
    );
    let mut daemon = begin();
    daemon.take(SetClock(3600));
    daemon.take(Pass(5));
    assert!(
        !daemon.world.rule_holds && ended(&daemon),
        "the clock went forward"
    );
    daemon.take(SetClock(-7200));
    for step in [Delete, Reload, Save(Ok(1)), Save(Ok(4)), Pass(10)] {
        daemon.take(step);
        assert!(
            !daemon.world.rule_holds,
            "{step:?}: what has ended stays so"
        );
    }
    let again = Daemon::start(daemon.world.clone(), None);
    assert!(!again.world.rule_holds, "after another start");
}

/// It is tried again after a second, is logged once, and shows meanwhile.
#[test]
fn a_rule_that_cannot_be_taken_out_degrades() {
    let mut daemon = Daemon::start(world(), None);
    daemon.take(Save(Ok(2)));
    daemon.take(Pass(19));
    daemon.all_fail = Some(Duration::ZERO);
    daemon.take(Pass(3));
    let failures = |daemon: &Daemon| {
        let failed = "rules have ended and still hold: the kernel refused";
        daemon.log.iter().filter(|(_, text)| text == failed).count()
    };
    assert!(daemon.world.rule_holds && failures(&daemon) == 1);
    assert!(
        daemon.published.starts_with("DEGRADED: the kernel refused"),
        "{}",
        daemon.published
    );
    daemon.all_fail = None;
    daemon.take(Pass(1));
    assert!(!daemon.world.rule_holds && failures(&daemon) == 1);
    assert_eq!(daemon.machine.last_error, None);
    assert!(
        daemon.published.starts_with("generation 3 enforced"),
        "{}",
        daemon.published
    );
}

/// What has failed is not tried again at once, and is logged once.
#[test]
fn a_candidate_that_cannot_be_taken_back_goes_on_for_a_second() {
    let mut daemon = Daemon::start(world(), None);
    daemon.take(Try(5));
    daemon.fails = Some(daemon.calls + 1);
    daemon.take(Pass(60));
    let failed = "the old policy did not come back";
    let failures = |daemon: &Daemon| daemon.log.iter().filter(|(_, text)| text == failed).count();
    assert_eq!((daemon.world.enforced, failures(&daemon)), (Some(5), 1));
    assert!(
        daemon.published.starts_with("DEGRADED: "),
        "{}",
        daemon.published
    );
    daemon.take(Pass(1));
    assert_eq!((daemon.world.enforced, failures(&daemon)), (Some(1), 1));
    assert_eq!(daemon.machine.last_error, None);
}

/// A program that deletes our table each time is answered at once twenty times, then less and less often, and never
/// later than after a second.
#[test]
fn a_program_that_deletes_the_table_again_and_again_is_answered() {
    let mut daemon = Daemon::start(world(), None);
    for _ in 0..20 {
        daemon.take(Delete);
        assert_eq!(daemon.world.enforced, Some(1), "at once");
    }
    let begins = |(_, text): &&(Level, String)| text.starts_with("another program keeps changing");
    daemon.take(Delete);
    assert_eq!(daemon.world.enforced, None, "it waits");
    assert_eq!(daemon.log.iter().filter(begins).count(), 1);
    for _ in 0..10 {
        daemon.take(Pass(1));
        assert_eq!(daemon.world.enforced, Some(1), "within a second");
        daemon.take(Delete);
    }
    daemon.take(Pass(10));
    daemon.take(Delete);
    assert_eq!(daemon.world.enforced, Some(1), "at peace it is at once");
    assert_eq!(daemon.machine.counters().restorations, 32);
}

/// Whatever fails for ever, however long it takes, the loop has its turn: the next attempt is not due at once.
#[test]
fn what_always_fails_leaves_time_for_other_events() {
    for (step, time) in [
        (Delete, 0),
        (Delete, 60),
        (Delete, 2_000),
        (Pass(61), 0),
        (Pass(61), 3_000),
    ] {
        let mut daemon = Daemon::start(world(), None);
        daemon.take(Try(5));
        let now = daemon.world.now;
        match step {
            Delete => {
                daemon.world.enforced = None;
                daemon.handle(Event::TableChanged(ForeignChange::unknown()));
            }
            _ => daemon.world.now = now + Duration::from_secs(61),
        }
        daemon.all_fail = Some(Duration::from_millis(time));
        for _ in 0..5 {
            daemon.handle(Event::Tick);
            let wait = daemon
                .machine
                .deadline()
                .map(|at| at.saturating_duration_since(daemon.world.now));
            assert!(
                wait >= Some(Duration::from_millis(100)),
                "{step:?} {time}: {wait:?}"
            );
            daemon.world.now += wait.unwrap_or_default();
        }
        daemon.all_fail = None;
        ends_well(daemon, "what always failed");
    }
}

/// A host without anything to enforce is not ready, and is closed where that is wanted.
#[test]
fn a_host_that_nothing_protects_is_not_ready() {
    let broken = World {
        watched: Err(()),
        ..world()
    };
    let mut daemon = Daemon::start(broken, None);
    assert_eq!((daemon.ready, daemon.world.closed), (0, true));
    let waits = "waiting for a valid definition: the definition is refused: 1 error";
    assert!(daemon.published.starts_with(waits), "{}", daemon.published);
    daemon.take(Save(Ok(2)));
    assert_eq!((daemon.ready, daemon.world.closed), (1, false));
}

/// With a saved policy it is, and shows what is wrong.
#[test]
fn what_the_host_has_changed_is_enforced_after_a_writer() {
    let mut daemon = Daemon::start(world(), None);
    let before = daemon.standing;
    daemon.being_written = true;
    daemon.handle(Event::HostChanged("renamed".into()));
    assert_ne!(daemon.standing, before);
    // A save that says the same changes nothing by itself.
    let before = daemon.standing;
    daemon.handle(Event::Saved("saved".into()));
    assert_eq!(daemon.standing, before);
}

#[test]
fn what_was_asked_for_holds_until_a_save() {
    let changes = || {
        let words = || "changed".to_owned();
        [Event::HostChanged(words()), Event::AccessChanged(words())]
    };
    let mut daemon = Daemon::start(world(), None);
    daemon.handle(Event::Asked(Request::Remove));
    changes().into_iter().for_each(|event| daemon.handle(event));
    assert_eq!(daemon.world.enforced, None);
    daemon.handle(Event::Saved("saved".into()));
    assert_eq!(daemon.world.enforced, Some(1));
    daemon.world.other = 7;
    daemon.handle(Event::Asked(Request::Apply {
        path: "7.yaml".into(),
        texts: Texts::default(),
        instance: None,
        confirm: None,
    }));
    changes().into_iter().for_each(|event| daemon.handle(event));
    assert_eq!(daemon.world.enforced, Some(7));
    daemon.handle(Event::Saved("saved".into()));
    assert_eq!(daemon.world.enforced, Some(1));
}

#[test]
fn a_start_with_a_saved_policy_and_a_bad_definition_is_ready_and_degraded() {
    let saved = World {
        watched: Err(()),
        saved: Some(3),
        ..world()
    };
    let daemon = Daemon::start(saved, None);
    assert_eq!((daemon.ready, daemon.world.enforced), (1, Some(3)));
    assert!(
        daemon.published.starts_with("DEGRADED: "),
        "{}",
        daemon.published
    );
}
