//! How long another client waits: one that sends PING after PING from a thread of its own.
//!
//! A wait also has in it whatever else the machine did instead of running the server. So the server's main
//! thread gets a processor for itself, the pinging thread real-time priority on another, and what the
//! machine's host has stolen (`stolen.rs`) is taken off each wait: of the server's processor all, of the
//! other what kept it from sending, or from seeing a reply. Beside the longest there are two more figures:
//! the longest with what was stolen, and what all but one of ten thousand stay within.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Result};
use redis::Connection;

use crate::processors;
use crate::server::Server;
use crate::stolen::{Stolen, Witness};

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
    /// The longest as it was, with what was stolen.
    pub with_stolen: Duration,
}

/// From sending a PING to its reply.
type Wait = (Instant, Instant);

/// Of the server's processor, and of the pinging thread's.
type Both = (Stolen, Stolen);

impl Waits {
    /// Of at least one wait.
    fn of(waits: &[Wait], stolen: &Both) -> Waits {
        let mut net: Vec<Duration> = waits.iter().map(|&wait| without(wait, stolen)).collect();
        net.sort_unstable();
        let longer = net.len() / ONE_IN;
        let last = net.len() - 1;
        let with_stolen = waits.iter().map(|&(start, end)| end - start).max().unwrap_or_default();
        Waits { longest: net[last], most: net[last - longer], with_stolen }
    }
}

/// A wait without what was stolen of it: of the pinging thread's processor what lay between its look at the
/// clock and the PING, or between the reply and its next look.
fn without((start, end): Wait, (of_server, of_pinger): &Both) -> Duration {
    let sent = of_pinger.around(start).map_or(start, |(_, to)| to.clamp(start, end));
    let came = of_pinger.around(end).map_or(end, |(from, _)| from.clamp(sent, end));
    (came - sent).saturating_sub(of_server.within(sent, came))
}

/// The server's main thread on a processor of its own, with witnesses there and where the pinging thread
/// is.
struct Apart {
    all: Vec<usize>,
    pingers: usize,
    witnesses: (Witness, Witness),
}

impl Apart {
    /// `None` without a second processor or the right to real-time priority.
    fn set(server: &Server) -> Result<Option<Apart>> {
        let all = processors::all();
        let [servers, others @ ..] = all.as_slice() else { return Ok(None) };
        let (Some(&pingers), true) = (others.first(), processors::may_hurry()) else {
            eprintln!("  no real-time priority or no second processor: what is stolen stays in");
            return Ok(None);
        };
        let witnesses = (Witness::of(*servers), Witness::of(pingers));
        processors::keep_to(server.main_thread(), &[*servers])?;
        processors::keep_to(0, others)?;
        Ok(Some(Apart { all, pingers, witnesses }))
    }

    /// For the pinging thread.
    fn hurry(&self) -> Result<()> {
        processors::keep_to(0, &[self.pingers])?;
        processors::hurry()
    }

    fn end(self, server: &Server) -> Result<Both> {
        processors::keep_to(server.main_thread(), &self.all)?;
        processors::keep_to(0, &self.all)?;
        Ok((self.witnesses.0.stop()?, self.witnesses.1.stop()?))
    }
}

/// Runs `body` while another client PINGs the server, with `pause` between a reply and the next PING.
/// It begins when the first reply is there, and the PING that is under way at its end counts.
pub fn during<T>(
    server: &Server,
    pause: Duration,
    body: impl FnOnce() -> Result<T>,
) -> Result<(Waits, T)> {
    let con = server.connect()?;
    let apart = Apart::set(server)?;
    let ended = AtomicBool::new(false);
    let (first, begun) = mpsc::channel();
    let result: Result<_> = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            apart.as_ref().map_or(Ok(()), Apart::hurry)?;
            ping(con, pause, first, &ended)
        });
        // An error of the pinging thread closes the channel as well; it is looked at below.
        let _ = begun.recv();
        let result = body();
        ended.store(true, Ordering::Relaxed);
        let waits = waits.join().map_err(|_| anyhow!("the pinging thread panicked"))??;
        Ok((waits, result?))
    });
    let stolen = match apart {
        Some(apart) => apart.end(server)?,
        None => Both::default(),
    };
    let (waits, result) = result?;
    Ok((Waits::of(&waits, &stolen), result))
}

fn ping(
    mut con: Connection,
    pause: Duration,
    first: Sender<()>,
    ended: &AtomicBool,
) -> Result<Vec<Wait>> {
    let (begin, mut waits) = (Instant::now(), Vec::new());
    let mut wait = || -> Result<Wait> {
        let start = Instant::now();
        let reply: String = redis::cmd("PING").query(&mut con)?;
        let end = Instant::now();
        ensure!(reply == "PONG", "the reply to PING was {reply:?}");
        Ok((start, end))
    };
    waits.push(wait()?);
    let _ = first.send(());
    while !ended.load(Ordering::Relaxed) && begin.elapsed() < TIMEOUT {
        waits.push(wait()?);
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most_of(count: u64) -> Duration {
        let now = Instant::now();
        let waits: Vec<Wait> =
            (1..=count).rev().map(|us| (now, now + Duration::from_micros(us))).collect();
        Waits::of(&waits, &Both::default()).most
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

    #[test]
    fn what_was_stolen_is_taken_off() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let net = |server: &[(u64, u64)], pinger: &[(u64, u64)]| {
            let spans =
                |of: &[(u64, u64)]| of.iter().map(|&(from, to)| (at(from), at(to))).collect();
            without((at(10), at(30)), &(Stolen::new(spans(server)), Stolen::new(spans(pinger))))
                .as_millis()
        };
        assert_eq!(net(&[], &[]), 20);
        assert_eq!(net(&[(5, 12), (15, 20)], &[]), 13);
        // The reply came, and nobody was there to see it.
        assert_eq!(net(&[], &[(25, 30)]), 15);
        assert_eq!(net(&[(28, 29)], &[(25, 30)]), 15);
        // Nobody waited for this one.
        assert_eq!(net(&[], &[(15, 20)]), 20);
        assert_eq!(net(&[], &[(5, 30)]), 0);
        // It could not send.
        assert_eq!(net(&[(5, 20)], &[(5, 15)]), 10);
    }
}
