//! Which labels no flow carries, and the others taken off in the background.
//!
//! nft sets a label and cannot take it off. A label that is used again while a flow still carries it lets that flow
//! pass. So a label that goes out of force is dirty until one whole dump of the flows, begun after the last packet
//! that could set it, shows none with it. A thread takes dirty labels off all flows. A switch uses clean labels and
//! never waits. Cleaning 260,000 flows takes 0.6 s of a processor, nearly all of it in the kernel. It takes many times
//! as long while other threads go first.

mod book;
mod sweep;

pub use self::book::OURS;

use self::book::{Book, Next};
use self::sweep::{Carriers, KernelFlows, Swept};
use super::netlink::NetlinkError;
use super::priority::set_niceness;
use super::tracked::tracked_flows;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// With so few flows labels are taken off at once, which takes less than 40 ms. With more the thread waits until
/// fewer than half of the labels are clean.
const FEW_FLOWS: u64 = 5_000;

/// How long the first enforcement waits for what is being cleared.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// After so many dumps in a row that show nothing clean the labels are given up: a rule that is not ours sets them.
const ATTEMPTS: u32 = 4;

/// The labels of conntrack that are ours, of one network namespace, each a bit of a `u128`.
///
/// The flows read are those of the namespace of the thread that calls. Clones are the same labels.
#[derive(Clone)]
pub struct Labels(Arc<SharedLabels>);

struct SharedLabels {
    book: Mutex<Book>,
    /// Signalled when a round ends.
    idle: Condvar,
    /// Held while labels are taken off a few hundred flows, about a millisecond.
    sending: Mutex<()>,
    /// Kept from round to round: the kernel holds up all transactions while a socket of netfilter closes.
    carriers: Mutex<Box<dyn Carriers>>,
    flows: fn() -> Option<u64>,
}

impl Default for Labels {
    fn default() -> Self {
        Self::new()
    }
}

impl Labels {
    /// Knows nothing of any label yet. Asks the kernel nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Box::<KernelFlows>::default(), || {
            tracked_flows().map(|tracked| tracked.count)
        })
    }

    /// The labels where no flow is tracked.
    #[cfg(test)]
    pub(super) fn of_no_flows() -> Self {
        #[derive(Default)]
        struct NoFlows;
        impl Carriers for NoFlows {
            fn sweep(&mut self, _: u128, _: &sweep::Permit<'_>) -> Result<Swept, NetlinkError> {
                Ok(Swept::default())
            }
        }
        Self::over(Box::<NoFlows>::default(), || Some(0))
    }

    fn over(carriers: Box<dyn Carriers>, flows: fn() -> Option<u64>) -> Self {
        Labels(Arc::new(SharedLabels {
            book: Mutex::default(),
            idle: Condvar::new(),
            sending: Mutex::new(()),
            carriers: Mutex::new(carriers),
            flows,
        }))
    }

    /// Keeps these until they are released: neither hands them out nor takes them off any flow. Call [`Self::take`]
    /// for a new one first.
    pub fn reserve(&self, bits: u128) {
        let underway = self.0.book().reserve(bits);
        if underway {
            // What is being sent may still take them off; what follows does not.
            drop(self.0.sending.lock());
        }
    }

    /// Ends the reservation of these: they mean nothing any more.
    pub fn release(&self, bits: u128) {
        self.0.book().release(bits, Instant::now());
        self.0.start();
    }

    /// Releases reserved ones at the next switch. What is in force may set them on flows until then.
    pub fn retire(&self, bits: u128) {
        self.0.book().retire(bits);
    }

    /// Hands out up to `count` labels that no flow carries, those first that were handed out longest ago. Hands out
    /// fewer while clearing has not caught up.
    ///
    /// The first call in a process waits: it takes all labels off all flows, but for those reserved or in force.
    /// Only the first call can fail.
    pub fn take(&self, count: usize) -> Result<Vec<u8>, NetlinkError> {
        self.0.know()?;
        let taken = self.0.book().take(count);
        if taken.len() < count {
            self.0.start();
        }
        Ok(taken)
    }

    /// The same. While no label is in force it waits for what is being cleared, since that holds up nobody.
    pub fn take_at_first(&self, count: usize) -> Result<Vec<u8>, NetlinkError> {
        let taken = self.take(count)?;
        if taken.len() == count || self.0.book().in_force() != 0 {
            return Ok(taken);
        }
        // None of them was in use.
        self.0.book().put_back(&taken);
        self.settle(LONGEST_WAIT);
        self.take(count)
    }

    /// Records which labels are in force now. Those that no longer are become dirty: a packet on its way may still set
    /// them.
    pub fn switched(&self, in_force: u128) {
        self.0.book().switched(in_force, Instant::now());
        self.0.start();
    }

    /// Records that a switch to these may have failed or not. They are not handed out before the next switch, and what
    /// was in force stays in force.
    pub fn hold(&self, bits: u128) {
        self.0.book().hold(bits);
    }

    /// Takes back labels whose switch failed. Some flow may carry them, so they are dirty.
    pub fn give_back(&self, bits: &[u8]) {
        let bits = bits.iter().fold(0, |all, bit| all | 1_u128 << (bit & 127));
        self.0.book().give_back(bits, Instant::now());
        self.0.start();
    }

    /// Makes all labels dirty but the reserved: the table has gone or was another's, and flows may carry any label.
    pub fn forget(&self) {
        self.0.book().forget(Instant::now());
        self.0.start();
    }

    /// Returns how many can be handed out now.
    #[must_use]
    pub fn clean(&self) -> usize {
        self.0.book().clean()
    }

    /// Waits until nothing is being cleared. Returns whether that came in time.
    pub fn settle(&self, at_most: Duration) -> bool {
        let mut book = self.0.book();
        let idle = &self.0.idle;
        idle.wait_while_for(&mut book, |book| book.running, at_most);
        !book.running
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Labels")
            .field(&*self.0.book())
            .finish()
    }
}

impl SharedLabels {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Clears in the calling thread while nothing is known.
    fn know(&self) -> Result<(), NetlinkError> {
        let mut book = self.book();
        let unknown = |book: &mut Book| book.running && !book.known;
        self.idle.wait_while(&mut book, unknown);
        if book.known {
            return Ok(());
        }
        let cleared = self.clear(book, &|| {});
        if cleared.is_ok() {
            self.book().known = true;
        }
        cleared
    }

    /// Starts the thread that clears, if there is enough to clear and it does not run.
    fn start(self: &Arc<Self>) {
        let mut book = self.book();
        let due = book.known
            && !book.running
            && book.is_dirty()
            && (book.is_low() || (self.flows)().is_none_or(|flows| flows <= FEW_FLOWS));
        if !due {
            return;
        }
        book.running = true;
        drop(book);
        let this = self.clone();
        let thread = std::thread::Builder::new().name("labels".into());
        let started = thread.spawn(move || {
            let nice = |nice| {
                if let Err(error) = set_niceness(nice) {
                    tracing::debug!("labels are cleared as any other thread runs: {error}");
                }
            };
            // On a busy machine the nicest thread waits for minutes, under a flood of packets for as long as it lasts.
            let gives_way = Cell::new(!this.book().is_scarce());
            nice(if gives_way.get() { 19 } else { 0 });
            let hurry = || {
                if gives_way.get() && this.book().is_scarce() {
                    gives_way.set(false);
                    nice(0);
                }
            };
            if let Err(error) = this.clear(this.book(), &hurry) {
                this.warn_once(&error);
            }
        });
        if let Err(error) = started {
            self.book().running = false;
            self.idle.notify_all();
            self.warn_once(&error);
        }
    }

    fn warn_once(&self, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.book().warned, true) {
            tracing::warn!(
                "labels of ended rules cannot be taken off tracked flows, so fewer flows pass by their label and \
                 saves cost more: {why}; tried again at the next change"
            );
        }
    }

    /// Clears until nothing is dirty, or until what is dirty does not get clean.
    fn clear(&self, mut book: MutexGuard<'_, Book>, hurry: &dyn Fn()) -> Result<(), NetlinkError> {
        book.running = true;
        drop(book);
        let done = self.rounds(hurry);
        if let Err(Failed { error, bits }) = done {
            let mut book = self.book();
            // Who asks while nothing is known tries at once.
            if book.known {
                book.give_up(bits);
            }
            book.running = false;
            drop(book);
            self.idle.notify_all();
            return Err(error);
        }
        Ok(())
    }

    /// Finds nothing to do and resets `running` under one lock, so that no label gets dirty unseen.
    fn rounds(&self, hurry: &dyn Fn()) -> Result<(), Failed> {
        let mut carriers = self.carriers.lock();
        let (mut attempts, mut patient, mut cleared) = (0, true, 0);
        let began = Instant::now();
        loop {
            let mut book = self.book();
            let bits = match book.next(Instant::now(), patient) {
                Next::Nothing => {
                    book.running = false;
                    let clean = book.clean();
                    drop(book);
                    self.idle.notify_all();
                    let took = began.elapsed();
                    tracing::debug!(
                        "labels taken off {cleared} flows in {took:?}; {clean} labels are clean"
                    );
                    return Ok(());
                }
                Next::Wait(time) => {
                    drop(book);
                    std::thread::sleep(time);
                    patient = false;
                    continue;
                }
                Next::Clear(bits) => bits,
            };
            drop(book);
            patient = true;
            hurry();
            let permit = || {
                hurry();
                let sending = self.sending.lock();
                self.book().may_clear(bits).then_some(sending)
            };
            let swept = carriers.sweep(bits, &permit);
            let Swept {
                found,
                flows,
                refusal,
            } = swept.map_err(|error| Failed { error, bits })?;
            cleared += flows;
            match self.book().swept(found) {
                true => attempts = 0,
                false => attempts += 1,
            }
            if attempts >= ATTEMPTS && found != 0 {
                self.book().give_up(found);
                self.warn_once(&refusal.unwrap_or(NetlinkError::Restless));
                attempts = 0;
            }
        }
    }
}

struct Failed {
    error: NetlinkError,
    bits: u128,
}

#[cfg(test)]
mod tests;
