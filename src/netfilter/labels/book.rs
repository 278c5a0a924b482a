//! Which label is what: reserved, in force, taken, clean or dirty. Asks the kernel nothing.

use std::time::{Duration, Instant};

/// Ours of the 128: 64 to 127.
pub const OURS: u128 = !0 << 64;

/// How long a packet that was on its way at a switch may still set a label that has gone.
pub(super) const ON_THEIR_WAY: Duration = Duration::from_millis(20);

/// What is known of each label. What is in none of the first four is dirty.
#[derive(Debug, Default)]
pub(super) struct Book {
    reserved: u128,
    in_force: u128,
    /// Handed out, and not in force yet.
    taken: u128,
    /// No flow carries them.
    clean: u128,
    /// Last set by a rule at this time, at the latest.
    fresh: Option<(u128, Instant)>,
    /// What is being cleared.
    clearing: u128,
    /// What got dirty again meanwhile.
    touched: u128,
    /// What did not get clean. The next switch has it tried again.
    stuck: u128,
    /// How many were last asked for.
    asked: usize,
    /// The last that was handed out.
    last: Option<u8>,
    /// Whether all was cleared once.
    pub(super) known: bool,
    /// Whether somebody clears.
    pub(super) running: bool,
    /// Whether the log says that clearing fails.
    pub(super) warned: bool,
}

/// What is to be done about dirty labels.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Nothing,
    Wait(Duration),
    Clear(u128),
}

impl Book {
    /// Whether some of them may be being taken off right now.
    pub(super) fn reserve(&mut self, bits: u128) -> bool {
        let bits = bits & OURS;
        self.reserved |= bits;
        for other in [&mut self.in_force, &mut self.taken, &mut self.clean] {
            *other &= !bits;
        }
        self.clearing & bits != 0
    }

    pub(super) fn release(&mut self, bits: u128, now: Instant) {
        let bits = bits & self.reserved;
        self.reserved &= !bits;
        self.soil(bits, now);
    }

    /// Reserved ones that mean nothing any more once the next switch is made: until then rules may set them.
    pub(super) fn retire(&mut self, bits: u128) {
        let bits = bits & self.reserved;
        self.reserved &= !bits;
        self.in_force |= bits;
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        self.asked = count;
        // A packet that a program holds back, before its flow is in any dump, carries what was set when it came.
        let first = self.last.map_or(64, |last| last + 1);
        let bits = (first..128).chain(64..first);
        let clean = bits.filter(|bit| self.clean & 1 << bit != 0);
        let taken: Vec<u8> = clean.take(count).collect();
        self.last = taken.last().copied().or(self.last);
        let bits = taken.iter().fold(0, |all, bit| all | 1 << bit);
        self.clean &= !bits;
        self.taken |= bits;
        taken
    }

    pub(super) fn switched(&mut self, in_force: u128, now: Instant) {
        let in_force = in_force & OURS & !self.reserved;
        let retired = self.in_force & !in_force;
        self.in_force = in_force;
        self.taken &= !in_force;
        self.clean &= !in_force;
        self.soil(retired, now);
        self.stuck = 0;
    }

    pub(super) fn in_force(&self) -> u128 {
        self.in_force
    }

    /// What was taken and no rule has named.
    pub(super) fn put_back(&mut self, taken: &[u8]) {
        let bits = taken.iter().fold(0, |all, bit| all | 1_u128 << (bit & 127));
        self.taken &= !bits;
        self.clean |= bits;
    }

    pub(super) fn hold(&mut self, bits: u128) {
        let bits = bits & OURS & !self.reserved;
        self.in_force |= bits;
        self.taken &= !bits;
        self.clean &= !bits;
    }

    pub(super) fn give_back(&mut self, bits: u128, now: Instant) {
        let bits = bits & OURS & !self.reserved & !self.in_force;
        self.taken &= !bits;
        self.clean &= !bits;
        self.soil(bits, now);
    }

    pub(super) fn forget(&mut self, now: Instant) {
        (self.in_force, self.taken, self.clean, self.stuck) = (0, 0, 0, 0);
        self.soil(OURS & !self.reserved, now);
    }

    /// A rule may have set them until now.
    fn soil(&mut self, bits: u128, now: Instant) {
        if bits == 0 {
            return;
        }
        self.touched |= bits;
        let still = self.on_their_way(now).map_or(0, |(bits, _)| bits);
        self.fresh = Some((still | bits, now));
    }

    /// What packets on their way may set, and for how long.
    fn on_their_way(&self, now: Instant) -> Option<(u128, Duration)> {
        let (bits, since) = self.fresh?;
        let left = ON_THEIR_WAY.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some((bits, left))
    }

    fn dirty(&self) -> u128 {
        OURS & !(self.reserved | self.in_force | self.taken | self.clean)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty() & !self.stuck != 0
    }

    /// Whether fewer than half of what is not reserved can be handed out.
    pub(super) fn is_low(&self) -> bool {
        self.clean.count_ones() * 2 < (OURS & !self.reserved).count_ones()
    }

    /// Whether the clean ones last for fewer than two switches like the last one, or are fewer than a quarter of what
    /// is not reserved.
    pub(super) fn is_scarce(&self) -> bool {
        let reserved = OURS & self.reserved;
        self.clean() < self.asked.saturating_mul(2)
            || self.clean() * 4 < 64 - reserved.count_ones() as usize
    }

    pub(super) fn clean(&self) -> usize {
        self.clean.count_ones() as usize
    }

    /// What to do next. All dirty labels are cleared together, so the `patient` wait for packets on their way. They
    /// wait once, since another switch may follow at any time.
    pub(super) fn next(&mut self, now: Instant, patient: bool) -> Next {
        let dirty = self.dirty() & !self.stuck;
        (self.clearing, self.touched) = (0, 0);
        if dirty == 0 {
            return Next::Nothing;
        }
        let mut ripe = dirty;
        if let Some((bits, left)) = self.on_their_way(now) {
            ripe &= !bits;
            if dirty & bits != 0 && (patient || ripe == 0) {
                return Next::Wait(left);
            }
        }
        self.clearing = ripe;
        Next::Clear(ripe)
    }

    /// Whether none of these has got a meaning since.
    pub(super) fn may_clear(&self, bits: u128) -> bool {
        bits & !self.dirty() == 0
    }

    /// Records a whole dump: of what is being cleared flows carried `found`, and nothing else. Returns whether anything
    /// became clean.
    pub(super) fn swept(&mut self, found: u128) -> bool {
        let clean = self.clearing & !found & !self.touched & self.dirty();
        self.clean |= clean;
        (self.clearing, self.touched) = (0, 0);
        clean != 0
    }

    pub(super) fn give_up(&mut self, bits: u128) {
        self.stuck |= bits;
        self.clearing = 0;
    }
}
