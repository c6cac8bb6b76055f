//! The longest that another client waits while a server is filled: with entries, and with as many
//! strings.
//!
//! One client fills a new server; another, in a thread of its own, sends PING after PING for the whole
//! fill and keeps the longest wait. What is judged is the median of the longest waits. Every entry has
//! two unique tags (id and user), so the tag table grows twice as fast as the keyspace. Pipelines are
//! short, so that a PING does not stand behind a long one.
//!
//! A wait also has in it whatever else the machine ran instead of the server. So a second line gives the
//! most CPU time that the server used within one PING, which is the most that it can have held it up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use redis::Connection;

use super::{Fill, FillString, Row};
use crate::args::Settings;
use crate::measure::Stat;
use crate::pipeline::{run, Side};
use crate::server::{Clock, Server};
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "pauses",
    about: "longest wait of a PING during a fill, against a fill with strings",
    slow: true,
    run: measure,
};

/// Milliseconds that the longest wait may lie above that of the strings.
const GOAL: f64 = 5.0;
const PIPELINE: u64 = 32;
const FILL_TIMEOUT: Duration = Duration::from_secs(1_200);

/// The longest of one fill.
#[derive(Clone, Copy, Default)]
struct Longest {
    wait: Duration,
    /// CPU time of the server within one PING.
    held: Duration,
}

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let entries = settings.pause_entries;
    let work = Workload::new(entries, 1);
    let mut fills = Vec::new();
    for number in 1..=settings.runs {
        let ours = fill(Server::with_module(settings)?, &Fill(work), entries)?;
        let strings = fill(Server::plain(settings)?, &FillString(work), entries)?;
        eprintln!(
            "  run {number} of {}: wait {:?}, strings {:?}; held {:?}, strings {:?}",
            settings.runs, ours.wait, strings.wait, ours.held, strings.held
        );
        fills.push((ours, strings));
    }
    Ok(vec![
        line(
            &fills,
            format!("longest PING, {entries} entries"),
            |longest| longest.wait,
            Some(GOAL),
        ),
        line(&fills, "most server CPU in a PING".into(), |longest| longest.held, None),
    ])
}

fn line(
    fills: &[(Longest, Longest)],
    what: String,
    of: impl Fn(&Longest) -> Duration,
    goal: Option<f64>,
) -> Line {
    let millis = |longest: &Longest| of(longest).as_secs_f64() * 1e3;
    let ours = Stat::of(fills.iter().map(|(ours, _)| millis(ours)).collect());
    let strings = Stat::of(fills.iter().map(|(_, strings)| millis(strings)).collect());
    let differences = fills.iter().map(|(ours, strings)| millis(ours) - millis(strings)).collect();
    Line {
        row: "pauses",
        unit: "ms",
        ours: Figure { what, value: ours, per_second: None },
        alternative: Figure { what: "as many strings".into(), value: strings, per_second: None },
        judged: Judged::Difference,
        result: Stat { median: ours.median - strings.median, ..Stat::of(differences) },
        goal,
    }
}

/// Fills the server with `side` while another client PINGs it.
fn fill<S: Side>(server: Server, side: &S, entries: u64) -> Result<Longest> {
    let (mut filler, pinger) = (server.connect()?, server.connect()?);
    let clock = server.clock()?;
    let filled = AtomicBool::new(false);
    thread::scope(|scope| {
        let longest = scope.spawn(|| ping(pinger, clock, &filled));
        let cost = run(&server, &mut filler, side, 0..entries, PIPELINE);
        filled.store(true, Ordering::Relaxed);
        let longest = longest.join().map_err(|_| anyhow!("the pinging thread panicked"))??;
        cost?;
        Ok(longest)
    })
}

/// PINGs until the fill is done.
fn ping(mut con: Connection, clock: Clock, filled: &AtomicBool) -> Result<Longest> {
    let (begin, mut longest) = (Instant::now(), Longest::default());
    while !filled.load(Ordering::Relaxed) && begin.elapsed() < FILL_TIMEOUT {
        let (used, start) = (clock.now()?, Instant::now());
        let _: String = redis::cmd("PING").query(&mut con)?;
        longest.wait = longest.wait.max(start.elapsed());
        longest.held = longest.held.max(clock.now()? - used);
    }
    Ok(longest)
}
