//! The longest that another client waits: one that sends PING after PING from a thread of its own.
//!
//! A wait also has in it whatever else the machine ran instead of the server. So there is a second
//! figure, the most CPU time that the server used within one PING: the most that it can have held it up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use redis::Connection;

use crate::server::{Clock, Server};

/// In case that what it accompanies never ends.
const TIMEOUT: Duration = Duration::from_secs(1_200);

/// The longest of one stretch of PINGs.
#[derive(Clone, Copy, Default)]
pub struct Longest {
    pub wait: Duration,
    /// CPU time of the server's threads within one PING.
    pub held: Duration,
}

/// Runs `body` while another client PINGs the server, with `pause` between a reply and the next PING.
/// It begins when the first reply is there, and the PING that is under way at its end counts.
pub fn during<T>(
    server: &Server,
    pause: Duration,
    body: impl FnOnce() -> Result<T>,
) -> Result<(Longest, T)> {
    let (con, clock) = (server.connect()?, server.clock()?);
    let ended = AtomicBool::new(false);
    let (first, begun) = mpsc::channel();
    thread::scope(|scope| {
        let longest = scope.spawn(|| ping(con, clock, pause, first, &ended));
        // An error of the pinging thread closes the channel as well; it is looked at below.
        let _ = begun.recv();
        let result = body();
        ended.store(true, Ordering::Relaxed);
        let longest = longest.join().map_err(|_| anyhow!("the pinging thread panicked"))??;
        Ok((longest, result?))
    })
}

fn ping(
    mut con: Connection,
    clock: Clock,
    pause: Duration,
    first: Sender<()>,
    ended: &AtomicBool,
) -> Result<Longest> {
    let (begin, mut longest) = (Instant::now(), Longest::default());
    let _: String = redis::cmd("PING").query(&mut con)?;
    let _ = first.send(());
    while !ended.load(Ordering::Relaxed) && begin.elapsed() < TIMEOUT {
        let (used, start) = (clock.now()?, Instant::now());
        let _: String = redis::cmd("PING").query(&mut con)?;
        longest.wait = longest.wait.max(start.elapsed());
        longest.held = longest.held.max(clock.now()? - used);
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(longest)
}
