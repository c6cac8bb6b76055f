//! How long another client waits: one that sends PING after PING from a thread of its own.
//!
//! A wait also has in it whatever else the machine ran instead of the server. So beside the longest
//! there are two more figures: what all but one of ten thousand waits stay within, which a single
//! disturbance does not move, and the most CPU time that the server used within one PING, which is the
//! most that it can have held it up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Result};
use redis::Connection;

use crate::server::{Clock, Server};

/// In case that what it accompanies never ends.
const TIMEOUT: Duration = Duration::from_secs(1_200);

/// Of how many waits at most one may be longer than [`Waits::most`].
const ONE_IN: usize = 10_000;

/// The waits of one stretch of PINGs.
#[derive(Clone, Copy)]
pub struct Waits {
    pub longest: Duration,
    /// The 99.99th percentile: of fewer than ten thousand PINGs the longest.
    pub most: Duration,
    /// The most CPU time of the server's threads within one PING.
    pub held: Duration,
}

impl Waits {
    /// Of at least one wait.
    fn of(mut waits: Vec<Duration>, held: Duration) -> Waits {
        waits.sort_unstable();
        let longer = waits.len() / ONE_IN;
        let last = waits.len() - 1;
        Waits { longest: waits[last], most: waits[last - longer], held }
    }
}

/// Runs `body` while another client PINGs the server, with `pause` between a reply and the next PING.
/// It begins when the first reply is there, and the PING that is under way at its end counts.
pub fn during<T>(
    server: &Server,
    pause: Duration,
    body: impl FnOnce() -> Result<T>,
) -> Result<(Waits, T)> {
    let (con, clock) = (server.connect()?, server.clock()?);
    let ended = AtomicBool::new(false);
    let (first, begun) = mpsc::channel();
    thread::scope(|scope| {
        let waits = scope.spawn(|| ping(con, clock, pause, first, &ended));
        // An error of the pinging thread closes the channel as well; it is looked at below.
        let _ = begun.recv();
        let result = body();
        ended.store(true, Ordering::Relaxed);
        let waits = waits.join().map_err(|_| anyhow!("the pinging thread panicked"))??;
        Ok((waits, result?))
    })
}

fn ping(
    mut con: Connection,
    clock: Clock,
    pause: Duration,
    first: Sender<()>,
    ended: &AtomicBool,
) -> Result<Waits> {
    let (begin, mut waits, mut most_held) = (Instant::now(), Vec::new(), Duration::ZERO);
    let mut wait = || -> Result<Duration> {
        let start = Instant::now();
        let reply: String = redis::cmd("PING").query(&mut con)?;
        let wait = start.elapsed();
        ensure!(reply == "PONG", "the reply to PING was {reply:?}");
        Ok(wait)
    };
    waits.push(wait()?);
    let _ = first.send(());
    while !ended.load(Ordering::Relaxed) && begin.elapsed() < TIMEOUT {
        let before = clock.now()?;
        let wait = wait()?;
        most_held = most_held.max(clock.now()? - before);
        waits.push(wait);
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(Waits::of(waits, most_held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_of(count: u64) -> Duration {
        Waits::of((1..=count).rev().map(Duration::from_micros).collect(), Duration::ZERO).most
    }

    #[test]
    fn one_wait_of_ten_thousand_may_be_longer() {
        assert_eq!(most_of(10_000), Duration::from_micros(9_999));
        assert_eq!(most_of(50_000), Duration::from_micros(49_995));
    }

    #[test]
    fn of_fewer_the_longest_counts() {
        assert_eq!(most_of(9_999), Duration::from_micros(9_999));
        assert_eq!(most_of(1), Duration::from_micros(1));
    }
}
