//! Asks the servers on a thread of its own, so that nobody who presses a key waits for one that is frozen.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::sample::Sample;
use crate::watch::Watch;

pub struct Poll {
    samples: Receiver<Sample>,
    paces: Sender<Pace>,
}

/// When the servers are asked again.
#[derive(Clone, Copy)]
pub enum Pace {
    Every(Duration),
    Paused,
    Now,
}

impl Poll {
    pub fn start(watch: Watch, every: Duration) -> Self {
        let (sample_sender, samples) = channel();
        let (paces, pace_receiver) = channel();
        thread::spawn(move || poll(&watch, every, &sample_sender, &pace_receiver));
        Self { samples, paces }
    }

    pub fn set(&self, pace: Pace) {
        // It has ended only where this program has.
        let _ = self.paces.send(pace);
    }

    /// The newest that has come since the last time.
    pub fn newest(&self) -> Option<Sample> {
        self.samples.try_iter().last()
    }

    /// The next, within this time.
    pub fn next(&self, within: Duration) -> Option<Sample> {
        self.samples.recv_timeout(within).ok()
    }
}

/// Until nobody wants samples any more.
fn poll(watch: &Watch, every: Duration, samples: &Sender<Sample>, paces: &Receiver<Pace>) {
    let mut every = Some(every);
    let mut before = None;
    loop {
        let began = Instant::now();
        let scrape = watch.scrape();
        if samples.send(Sample::of(&scrape, before.as_ref())).is_err() {
            return;
        }
        before = Some(scrape);
        loop {
            let told = match every {
                Some(every) => paces.recv_timeout(every.saturating_sub(began.elapsed())),
                None => paces.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match told {
                Ok(Pace::Every(time)) => every = Some(time),
                Ok(Pace::Paused) => every = None,
                Ok(Pace::Now) | Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
