//! Does what the [`Machine`] returns, and reports what came of it.

use super::announced::Announced;
use super::control::{Call, Response};
use super::enforcer::{Enforcer, facts, off_the_loop};
use super::machine::Machine;
use super::machine::event::{Action, Done, Event, Facts, Order, Outcome, Reading, Restored};
use super::notify::{log, notify};
use super::packet_log::PacketLog;
use super::saver::{HitsSaver, Saver};
use super::store;
use crate::definition::Sources;
use crate::host::Host;
use crate::host::report::{Failure, now};
use crate::host::start;
use crate::netfilter::events::tables::{ForeignChange, TableEvents};
use crate::netfilter::interfaces::Doubt;
use crate::source::content::content;
use crate::source::load::{Loaded, load};
use crate::source::location::Location;
use crate::source::read::Trust;
use crate::source::texts::Texts;
use crate::source::watch::{Reason, Watch};
use crate::state::author::Author;
use crate::state::hold;
use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sd_notify::NotifyState;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::warn;

/// The time in which the kernel's word of a writer arrives, also on a busy machine.
const ARRIVAL: Duration = Duration::from_millis(20);

/// What the daemon holds.
pub(super) struct Daemon {
    pub machine: Machine,
    pub enforcer: Enforcer,
    pub watch: Watch,
    /// `None` where the table is owned, or the kernel does not report.
    pub table_events: Option<TableEvents>,
    /// Whether the service manager holds the socket that owns our table.
    pub socket_is_kept: bool,
    /// The definition that is watched.
    pub definition: PathBuf,
    /// What was read last.
    pub loaded: Option<Loaded>,
    /// What the watched definition said when it was enforced last.
    pub followed: Option<Sources>,
    /// The save that is followed.
    pub save: Option<Reason>,
    /// The request that awaits its answer.
    pub call: Option<Call>,
    pub saver: Saver,
    pub hits_saver: HitsSaver,
    pub packet_log: PacketLog,
    /// Who has said that a definition is about to be saved.
    pub announced: Announced,
}

impl Daemon {
    /// Takes an event, and does all that follows from it.
    pub async fn handle(&mut self, event: Event) {
        let mut actions = VecDeque::from(self.machine.on(event, Instant::now()));
        while let Some(action) = actions.pop_front() {
            if let Some(event) = self.act(action).await {
                actions.extend(self.machine.on(event, Instant::now()));
            }
        }
    }

    async fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Log(level, text) => log(level, &text),
            Action::Ready => notify(&[NotifyState::Ready]),
            Action::Publish(line) => notify(&[NotifyState::Status(&line)]),
            Action::Answer(response) => self.answer(response),
            Action::Read { candidate, settles } => {
                return Some(self.read(candidate, settles).await);
            }
            Action::ReadAgain => {
                if let Some(reason) = self.save.take() {
                    self.watch.again(reason);
                }
            }
            Action::Enforce(order) => return Some(self.enforce(order).await),
            Action::Save => self.saver.wake(&self.enforcer),
            Action::FinishSaves => {
                self.saver.finish(&self.enforcer).await;
                self.hits_saver.done().await;
            }
            Action::KeepSocket => self.keep_socket().await,
            Action::FollowTable => return self.follow_table().await,
            Action::Survey { always } => return Some(self.survey(always).await),
            Action::WriteHold => {
                let written = self.enforcer.run(|host| hold::write(host.state())).await;
                let written = written
                    .map_err(|failure| failure.message)
                    .and_then(|written| written.map_err(|error| error.to_string()));
                return Some(Event::HoldWritten(written));
            }
            Action::RemoveHold => {
                let removed = self.enforcer.run(|host| hold::remove(host.state())).await;
                if let Ok(Err(error)) = removed {
                    warn!("{error}");
                }
            }
            action => return self.on_the_host(action).await,
        }
        None
    }

    /// What the enforcer alone does.
    async fn on_the_host(&mut self, action: Action) -> Option<Event> {
        let message = |failure: Failure| failure.message;
        let event = match action {
            Action::Resume { closes } => {
                let work = move |host: &mut Host| Done::Resumed(start::resume(host, closes));
                let fault = |failure| Done::Resumed(Err(message(failure)));
                self.done(work, fault).await
            }
            Action::Restore(change) => self.restore(change).await,
            Action::TakeBack => {
                self.followed = None;
                let work = |host: &mut Host| {
                    let taken = host.take_back();
                    host.recollect();
                    Done::TakenBack(Box::new(taken))
                };
                let fault = |failure| Done::TakenBack(Box::new(Err(failure)));
                self.done(work, fault).await
            }
            Action::Confirm(content) => {
                let work = move |host: &mut Host| Done::Confirmed(host.confirm(&content));
                let fault = |failure| Done::Confirmed(Err(message(failure)));
                self.done(work, fault).await
            }
            Action::Remove => {
                let work = |host: &mut Host| {
                    Done::Removed(host.remove().map_err(|error| error.to_string()))
                };
                let fault = |failure| Done::Removed(Err(message(failure)));
                self.done(work, fault).await
            }
            Action::Recollect => {
                let work = |host: &mut Host| {
                    host.recollect();
                    Done::Recollected
                };
                self.done(work, |_| Done::Recollected).await
            }
            Action::EndRules => {
                let packet_log = self.packet_log.clone();
                let work = move |host: &mut Host| {
                    let ended = host.end_rules();
                    follow(host, &packet_log);
                    Done::RulesEnded(Box::new(ended))
                };
                let fault = |failure| Done::RulesEnded(Box::new(Err(failure)));
                self.done(work, fault).await
            }
            Action::LookAtTrial => self.done(|_| Done::Looked, |_| Done::Looked).await,
            _ => return None,
        };
        Some(event)
    }

    /// Works on the host. Where that panics, `fault` says how it counts.
    async fn done(
        &self,
        work: impl FnOnce(&mut Host) -> Done + Send + 'static,
        fault: impl FnOnce(Failure) -> Done,
    ) -> Event {
        let work = |host: &mut Host| (work(host), facts(host));
        match self.enforcer.run(work).await {
            Ok((done, facts)) => Event::Done(done, Box::new(facts)),
            Err(failure) => Event::Done(fault(failure), Box::new(self.facts().await)),
        }
    }

    async fn facts(&self) -> Facts {
        let facts = self.enforcer.run(|host| facts(host)).await;
        facts.unwrap_or_else(|_| self.machine.facts().clone())
    }

    fn answer(&mut self, response: Response) {
        if let Some(call) = self.call.take() {
            call.answer(response);
        }
    }

    /// Reads in another thread, since 100,000 lines take their time.
    async fn read(&mut self, candidate: Option<Texts>, settles: bool) -> Event {
        let watched = Location::from(self.definition.as_path());
        let read = move || match candidate {
            Some(texts) => texts.judge(),
            None => load(&watched, Trust::Checked),
        };
        let (loaded, failed) = match off_the_loop(read).await {
            Ok(loaded) => (Some(loaded), None),
            Err(failure) => (None, Some(failure)),
        };
        let account = loaded.as_ref().and_then(|loaded| loaded.account.as_ref());
        let refused = account.is_none();
        let sources = loaded.as_ref().map(|loaded| &loaded.sources);
        let is_known = !refused
            && sources
                .zip(self.followed.as_ref())
                .is_some_and(|(now, before)| now.say_the_same_as(before));
        if refused && settles {
            tokio::time::sleep(ARRIVAL).await;
        }
        self.loaded = loaded;
        Event::Read(Reading {
            failed,
            refused,
            being_written: self.watch.is_being_written(),
            has_news: self.watch.has_news(),
            is_known,
        })
    }

    async fn enforce(&mut self, order: Order) -> Event {
        let begin = Instant::now();
        let is_followed = order.candidate.is_none();
        let path = order.candidate.unwrap_or_else(|| self.definition.clone());
        let is_watched = path == self.definition;
        let packet_log = self.packet_log.clone();
        let loaded = self.loaded.take();
        let author = self.author_of(loaded.as_ref()).await;
        let work = move |host: &mut Host| {
            host.author = author;
            let loaded = loaded.ok_or_else(|| Failure::other("nothing was read".into()));
            let result = loaded.map(|loaded| {
                if order.whole {
                    host.forget_loaded();
                }
                let instance = order.instance.as_deref();
                let result = host.reconcile(&loaded, &path, instance, order.attempt);
                // Refusals are reported before anybody learns that the policy is enforced.
                follow(host, &packet_log);
                (loaded, result)
            });
            (result, facts(host))
        };
        let (done, facts) = match self.enforcer.run(work).await {
            Ok((done, facts)) => (done, facts),
            Err(failure) => (Err(failure), self.facts().await),
        };
        let (loaded, result) = match done {
            Ok((loaded, result)) => (Some(loaded), result),
            Err(failure) => (None, Err(failure)),
        };
        let warnings = loaded.iter().flat_map(Loaded::warnings).collect();
        if let Some(loaded) = loaded.filter(|_| is_watched) {
            self.watch.set_files(&loaded.template_files);
            if result.is_ok() {
                // One on trial may go again.
                self.followed = is_followed.then_some(loaded.sources);
            }
        }
        let outcome = Outcome {
            result,
            took: begin.elapsed(),
            warnings,
        };
        Event::Done(Done::Enforced(Box::new(outcome)), Box::new(facts))
    }

    /// Who has said that these texts come. They are hashed only where somebody has said anything.
    async fn author_of(&mut self, loaded: Option<&Loaded>) -> Option<Author> {
        if self.announced.is_empty() {
            return None;
        }
        let sources = loaded?.sources.clone();
        let content = off_the_loop(move || content(&sources)).await.ok()?;
        self.announced.take(&content)
    }

    async fn restore(&mut self, change: ForeignChange) -> Event {
        let work = move |host: &mut Host| {
            let start = used();
            let deleted = change.deletes_the_table();
            // What came after one deletion may stand in what was sent.
            let sent = host.restore_written(deleted) && change.is_one_deletion();
            let sent_at = Instant::now();
            let (result, at) = match sent && host.restored(change.leaves_no_table()) {
                true => (Ok(true), sent_at),
                false => (host.restore(deleted), Instant::now()),
            };
            Done::Restored(Restored {
                result,
                used: used().saturating_sub(start),
                at,
                time: now(),
            })
        };
        let fault = |failure| {
            Done::Restored(Restored {
                result: Err(failure),
                used: Duration::ZERO,
                at: Instant::now(),
                time: now(),
            })
        };
        self.done(work, fault).await
    }

    /// Has the service manager hold the socket that owns our table, once it does.
    async fn keep_socket(&mut self) {
        if self.socket_is_kept {
            return;
        }
        let keep = |host: &mut Host| {
            let socket = host.owning_socket();
            socket.inspect(|socket| store::keep(*socket)).is_some()
        };
        self.socket_is_kept = self.enforcer.run(keep).await.unwrap_or(false);
    }

    /// Listens to other programs' changes where the table is not owned.
    async fn follow_table(&mut self) -> Option<Event> {
        let listens = self.table_events.is_some();
        let runtime = tokio::runtime::Handle::current();
        let look = move |host: &mut Host| {
            let _within = runtime.enter();
            match host.owns() {
                true => None,
                false => Some((!listens).then(|| host.listen())),
            }
        };
        let Some(listening) = self.enforcer.run(look).await.ok()? else {
            self.table_events = None;
            return Some(Event::TableOwned);
        };
        if let Some(events) = listening {
            self.table_events = Some(listened(events)?);
        }
        self.enforcer.send(|host| host.stand_by());
        // Until now nobody has listened.
        (!listens).then(|| Event::TableChanged(ForeignChange::unknown()))
    }

    async fn survey(&mut self, always: bool) -> Event {
        let packet_log = self.packet_log.clone();
        let look = move |host: &mut Host| {
            follow(host, &packet_log);
            (host.doubts(), host.not_saved().map(str::to_owned))
        };
        let seen = self.enforcer.run(look).await;
        let (doubts, not_saved) =
            seen.unwrap_or_else(|failure| (vec![Doubt::degrading(failure.message)], None));
        Event::Surveyed {
            doubts,
            not_saved,
            always,
        }
    }
}

/// Logs why nobody listens.
pub(super) fn listened(events: Result<TableEvents, Errno>) -> Option<TableEvents> {
    events
        .inspect_err(|error| {
            warn!("what other programs change in our table is not put right: {error}");
        })
        .ok()
}

/// Has the packet log follow what is enforced.
fn follow(host: &Host, packet_log: &PacketLog) {
    let (generation, policy) = host.enforced_policy();
    packet_log.follow(generation, policy);
}

/// How much of a processor's time this thread has used so far, and the programs that this process has waited for.
fn used() -> Duration {
    let of = |who| {
        let usage = getrusage(who).ok()?;
        let [user, system] = [usage.user_time(), usage.system_time()];
        Some(Duration::from_micros(
            (user + system).num_microseconds().try_into().ok()?,
        ))
    };
    [UsageWho::RUSAGE_THREAD, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(of)
        .sum()
}
