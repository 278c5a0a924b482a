//! Rounds over all cells of a table: each round visits every cell once, in an order of its own, and what counts is the
//! least that each small part of a cell's packets ever took. So a neighbour on the machine disturbs a part of a round
//! and not a figure.

use super::burst::{Burst, overflows};
use super::lanes::Lane;
use fastrand::Rng;
use std::time::Duration;

/// One timed part of a burst lasts about so long: short enough to fall between two interruptions.
const PART: Duration = Duration::from_micros(400);
/// Packets of a part at most.
const PART_PACKETS: usize = 256;
/// Before a burst, to fill the caches with the lane's own things.
const WARM_UP: usize = 16;
/// However slow a contestant is.
const FEWEST_ROUNDS: usize = 4;
const FEWEST_PACKETS: usize = 64;

/// How long may be spent on a cell.
#[derive(Clone, Copy)]
pub struct Budget {
    /// One burst.
    pub burst: Duration,
    /// All of them.
    pub total: Duration,
    /// More rounds than that tell nothing new.
    pub rounds: usize,
}

/// Packets in a lane, and the least time that each part of them took.
pub struct Cell<'l> {
    lane: &'l Lane,
    burst: Burst,
    packets: usize,
    part: usize,
    rounds: usize,
    least: Vec<Duration>,
}

impl<'l> Cell<'l> {
    /// A slow contestant sends the first packets only.
    pub fn new(lane: &'l Lane, mut burst: Burst, budget: Budget) -> Self {
        let trial = FEWEST_PACKETS.min(burst.len());
        let times = (0..3).map(|_| burst.send(&lane.wire, 0..trial));
        let each = times.min().unwrap_or_default().as_secs_f64() / trial as f64;
        let fit = |time: Duration| (time.as_secs_f64() / each) as usize;
        let packets = fit(budget.burst).max(FEWEST_PACKETS).min(burst.len());
        let part = fit(PART).clamp(1, PART_PACKETS);
        let rounds = fit(budget.total) / packets;
        Cell {
            lane,
            packets,
            part,
            rounds: rounds.clamp(FEWEST_ROUNDS, budget.rounds),
            least: vec![Duration::MAX; packets.div_ceil(part)],
            burst,
        }
    }

    /// How many rounds there are.
    #[allow(dead_code, reason = "one of the benchmarks promises a number of them")]
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    /// How many packets are sent in a round.
    pub fn packets(&self) -> usize {
        self.packets
    }

    /// Nanoseconds for a packet, on the way through the machine and all.
    pub fn nanoseconds(&self) -> f64 {
        let sum: Duration = self.least.iter().sum();
        sum.as_secs_f64() * 1e9 / self.packets as f64
    }

    fn round(&mut self) {
        let wire = &self.lane.wire;
        self.burst.send(wire, 0..WARM_UP.min(self.packets));
        for (number, least) in self.least.iter_mut().enumerate() {
            let start = number * self.part;
            let end = (start + self.part).min(self.packets);
            let before = overflows();
            let time = self.burst.send(wire, start..end);
            // What another thread judged later, or nobody, was not measured.
            if self.lane.is_quiet() && overflows() == before {
                *least = time.min(*least);
            }
        }
    }
}

/// Measures all cells, interleaved.
pub fn run(cells: &mut [Cell]) {
    let mut rng = Rng::with_seed(13);
    let most = cells.iter().map(|cell| cell.rounds).max().unwrap_or(0);
    let mut order: Vec<usize> = (0..cells.len()).collect();
    for round in 0..most {
        rng.shuffle(&mut order);
        for &at in &order {
            let cell = &mut cells[at];
            // A cell with fewer rounds has them spread over all.
            if (round + 1) * cell.rounds / most > round * cell.rounds / most {
                cell.round();
            }
        }
    }
    for cell in cells {
        let mut more = 0;
        while cell.least.contains(&Duration::MAX) {
            more += 1;
            assert!(
                more < 100,
                "the machine is too busy for one undisturbed burst"
            );
            cell.round();
        }
    }
}
