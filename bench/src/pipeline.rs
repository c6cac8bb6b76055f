//! Pipelines over one connection, every reply looked at.
//!
//! The client sends a pipeline, waits for all of its replies, then builds the next: the server's cost
//! holds a wake-up and one or two reads and writes per pipeline, the same on both sides of a row.

use std::ops::{AddAssign, Range};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use redis::{Connection, Pipeline, Value};

use crate::server::Server;

/// Entries in one pipeline, unless a row says otherwise.
pub const DEPTH: u64 = 64;

/// What `count` calls took.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub calls: u64,
    /// CPU time of the server's main thread.
    pub cpu: Duration,
    /// From the first byte sent to the last one read.
    pub wall: Duration,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.calls += other.calls;
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}

impl Cost {
    /// Microseconds of the server's main thread per call.
    pub fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.calls as f64
    }

    pub fn per_second(&self) -> f64 {
        self.calls as f64 / self.wall.as_secs_f64()
    }
}

/// One side of a comparison: the commands of call number `i`, and what a right reply to each is.
pub trait Side {
    /// How many commands one call is.
    const COMMANDS: usize = 1;
    fn call(&self, i: u64, pipe: &mut Pipeline);
    /// Whether this is the right reply to command number `command` of a call.
    fn right(&self, command: usize, reply: &Value) -> bool;
}

/// Lets `fill` store a few entries of every kind that a row compares, and then the next few.
///
/// A server that was filled with one kind after the other has the last one's keys at the front of its
/// table's chains: measured so, USAGE.INCR took 1.45 times what INCR did where its counters had come
/// first, and as long where they had come last.
pub fn fill_in_turns(
    entries: Range<u64>,
    mut fill: impl FnMut(Range<u64>) -> Result<()>,
) -> Result<()> {
    let mut next = entries.start;
    while next < entries.end {
        let end = entries.end.min(next + DEPTH);
        fill(next..end)?;
        next = end;
    }
    Ok(())
}

/// Runs the calls `calls`, `depth` to a pipeline. A wrong reply ends the benchmark.
pub fn run<S: Side>(
    server: &Server,
    con: &mut Connection,
    side: &S,
    calls: Range<u64>,
    depth: u64,
) -> Result<Cost> {
    let mut cost =
        Cost { calls: calls.end - calls.start, cpu: Duration::ZERO, wall: Duration::ZERO };
    let before = server.cpu()?;
    let mut next = calls.start;
    while next < calls.end {
        let end = calls.end.min(next + depth);
        let mut pipe = Pipeline::new();
        for i in next..end {
            side.call(i, &mut pipe);
        }
        let start = Instant::now();
        let replies: Vec<Value> =
            pipe.query(con).with_context(|| format!("in calls {next} to {end}"))?;
        cost.wall += start.elapsed();
        ensure!(replies.len() as u64 == (end - next) * S::COMMANDS as u64, "a reply is missing");
        for (at, reply) in replies.iter().enumerate() {
            let command = at % S::COMMANDS;
            let call = next + (at / S::COMMANDS) as u64;
            ensure!(side.right(command, reply), "wrong reply to call {call}: {reply:?}");
        }
        next = end;
    }
    cost.cpu = server.cpu()? - before;
    Ok(cost)
}
