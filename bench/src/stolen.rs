//! Time in which the machine itself did not run: the host of a virtual one gives its processors to others,
//! for milliseconds at a time, and all that shows inside is that time has passed. It even counts as CPU
//! time of whoever ran.
//!
//! A witness of real-time priority on a processor wants to wake every fifth of a millisecond. No other
//! thread can keep it from that, so what it is late was stolen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};

use crate::processors;

const PERIOD: Duration = Duration::from_micros(200);

/// A wake may be this late without anything having been stolen.
const USUAL: Duration = Duration::from_micros(100);

/// From when on the machine did not run, and until when.
type Span = (Instant, Instant);

/// A witness at work.
pub struct Witness {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Span>>,
}

impl Witness {
    /// Watches a processor. It takes the right to real-time priority.
    pub fn of(processor: usize) -> Witness {
        let ended = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&ended);
        Witness { ended, thread: thread::spawn(move || watch(processor, &watched)) }
    }

    pub fn stop(self) -> Result<Stolen> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().map(Stolen::new).map_err(|_| anyhow!("a witness panicked"))
    }
}

fn watch(processor: usize, ended: &AtomicBool) -> Vec<Span> {
    let mut late = Vec::new();
    if processors::keep_to(0, &[processor]).is_err() || processors::hurry().is_err() {
        return late;
    }
    while !ended.load(Ordering::Relaxed) {
        let due = Instant::now() + PERIOD;
        thread::sleep(PERIOD);
        let woke = Instant::now();
        if woke.saturating_duration_since(due) > USUAL {
            late.push((due, woke));
        }
    }
    late
}

/// When a processor was stolen, in the order of time.
#[derive(Default)]
pub struct Stolen(Vec<Span>);

impl Stolen {
    pub fn new(spans: Vec<Span>) -> Stolen {
        Stolen(spans)
    }

    /// How much of a wait it was away.
    pub fn within(&self, start: Instant, end: Instant) -> Duration {
        let first = self.0.partition_point(|&(_, to)| to <= start);
        self.0[first..]
            .iter()
            .take_while(|&&(from, _)| from < end)
            .map(|&(from, to)| to.min(end) - from.max(start))
            .sum()
    }

    /// When it was away at a moment, or shortly before or after: from when on and until when.
    pub fn around(&self, moment: Instant) -> Option<(Instant, Instant)> {
        let next = self.0.partition_point(|&(_, to)| to + PERIOD <= moment);
        self.0.get(next).copied().filter(|&(from, _)| from < moment + PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_a_wait_is_found() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let stolen = Stolen::new(vec![(at(10), at(20)), (at(20), at(30)), (at(50), at(60))]);
        let within = |from, to| stolen.within(at(from), at(to)).as_millis();
        assert_eq!(within(0, 10), 0);
        assert_eq!(within(0, 100), 30);
        assert_eq!(within(12, 15), 3);
        assert_eq!(within(25, 55), 10);
        assert_eq!(within(30, 50), 0);
        assert_eq!(within(70, 90), 0);
        assert_eq!(stolen.around(at(9)), None);
        assert_eq!(stolen.around(at(10)), Some((at(10), at(20))));
        assert_eq!(stolen.around(at(30)), Some((at(20), at(30))));
        assert_eq!(stolen.around(at(31)), None);
        assert_eq!(stolen.around(at(70)), None);
    }
}
