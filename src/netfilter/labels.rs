//! Which labels no flow carries, and the others taken off behind the scenes.
//!
//! nft sets a label and cannot take it off. A label that is used again while a flow still carries it lets that flow
//! pass. So a label that goes out of force is dirty until one whole dump of the flows, begun after the last packet
//! that could set it, shows none with it. A thread sees to that; a switch takes what is clean and never waits. With
//! 260,000 flows that takes 0.6 s of a processor, nearly all of it in the kernel, and many times as long where others
//! go first.

mod book;
mod sweep;

use self::book::{Book, Next};
use self::sweep::{Carriers, Kernel, Swept};
use super::netlink::NetlinkError;
use super::priority::set_niceness;
use super::tracked::tracked_flows;
use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ours of the 128: 64 to 127.
pub const OURS: u128 = !0 << 64;

/// Labels of so few flows are taken off at once: that takes less than 40 ms.
const FEW_FLOWS: u64 = 5_000;

/// So long the first enforcement waits for what is being cleared.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often in a row a dump may show that nothing has become clean. Some rule sets these labels then, and it is not
/// ours.
const ATTEMPTS: u32 = 4;

/// The labels of conntrack that are ours, of one network namespace, each a bit of a `u128`.
///
/// The flows read are those of the namespace of the thread that calls. Clones are the same labels.
#[derive(Clone)]
pub struct Labels(Arc<Shared>);

struct Shared {
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
    /// Nothing is known of any label yet. Asks the kernel nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Box::<Kernel>::default(), || {
            tracked_flows().map(|tracked| tracked.count)
        })
    }

    fn over(carriers: Box<dyn Carriers>, flows: fn() -> Option<u64>) -> Self {
        Labels(Arc::new(Shared {
            book: Mutex::default(),
            idle: Condvar::new(),
            sending: Mutex::new(()),
            carriers: Mutex::new(carriers),
            flows,
        }))
    }

    /// These keep their meaning until they are released: not handed out, not taken off any flow. A new one is taken
    /// first.
    pub fn reserve(&self, bits: u128) {
        let underway = self.0.book().reserve(bits);
        if underway {
            // What is being sent may still take them off; what follows does not.
            drop(lock(&self.0.sending));
        }
    }

    /// Reserved ones that mean nothing any more.
    pub fn release(&self, bits: u128) {
        self.0.book().release(bits, Instant::now());
        self.0.start();
    }

    /// Reserved ones that the next switch takes out of force: what is in force now may set them on flows until then.
    pub fn retire(&self, bits: u128) {
        self.0.book().retire(bits);
    }

    /// Up to `count` labels that no flow carries, those first that were handed out longest ago; fewer where clearing has not caught up.
    ///
    /// Waits for dumps once in a process, while nothing is known of any label: all but those reserved and in force are
    /// taken off then.
    ///
    /// # Errors
    ///
    /// That first time, when the flows cannot be read.
    pub fn take(&self, count: usize) -> Result<Vec<u8>, NetlinkError> {
        self.0.know()?;
        let taken = self.0.book().take(count);
        if taken.len() < count {
            self.0.start();
        }
        Ok(taken)
    }

    /// The same; where none is in force nobody is held up by what is being cleared, and it is waited for.
    ///
    /// # Errors
    ///
    /// See [`Self::take`].
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

    /// These are in force now. What was and is no more is dirty: a packet on its way may still set it.
    pub fn switched(&self, in_force: u128) {
        self.0.book().switched(in_force, Instant::now());
        self.0.start();
    }

    /// A switch to these may have failed or not: they are not handed out until the next switch that is known of, and what was in force
    /// stays so.
    pub fn hold(&self, bits: u128) {
        self.0.book().hold(bits);
    }

    /// Taken, and never known to be in force: a switch failed. Some flow may carry them.
    pub fn give_back(&self, bits: &[u8]) {
        let bits = bits.iter().fold(0, |all, bit| all | 1_u128 << (bit & 127));
        self.0.book().give_back(bits, Instant::now());
        self.0.start();
    }

    /// The table has gone, or somebody else had it: flows may carry any label. None but those reserved has a meaning.
    pub fn forget(&self) {
        self.0.book().forget(Instant::now());
        self.0.start();
    }

    /// How many can be handed out now.
    #[must_use]
    pub fn clean(&self) -> usize {
        self.0.book().clean()
    }

    /// Waits until nothing is being cleared; whether it came to that.
    pub fn settle(&self, at_most: Duration) -> bool {
        let idle = &self.0.idle;
        let waited = idle.wait_timeout_while(self.0.book(), at_most, |book| book.running);
        !waited.unwrap_or_else(PoisonError::into_inner).0.running
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

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Clears in the calling thread while nothing is known.
    fn know(&self) -> Result<(), NetlinkError> {
        let book = self
            .idle
            .wait_while(self.book(), |book| book.running && !book.known)
            .unwrap_or_else(PoisonError::into_inner);
        if book.known {
            return Ok(());
        }
        let cleared = self.clear(book, &|| {});
        if cleared.is_ok() {
            self.book().known = true;
        }
        cleared
    }

    /// Starts a thread that clears, if there is enough to clear for it and none runs.
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

    /// Clears until nothing is dirty, or what is does not get clean.
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

    /// Ends with `running` false in the same breath that found nothing to do, so that no label gets dirty unseen.
    fn rounds(&self, hurry: &dyn Fn()) -> Result<(), Failed> {
        let mut carriers = lock(&self.carriers);
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
                let sending = lock(&self.sending);
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

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
