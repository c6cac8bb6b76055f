//! How long CLEAR and PATINVAL of all entries take, and by how much longer another client waits meanwhile.
//!
//! CLEAR is measured by its client, and by the server's account; the PINGs of another go on until all that it killed is
//! removed, and after that for as long, which is what others wait anyway. PATINVAL's alternative is a client that SCANs
//! with MATCH and UNLINKs what it finds.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use redis::{cmd, Connection};

use super::values::{Set, SetString, Values, REGION};
use crate::measure::Stat;
use crate::pinger;
use crate::pipeline::{run, DEPTH};
use crate::server::{dbsize, server_time, Server};
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};

const CLEAR_GOAL_MS: f64 = 0.5;
const WAIT_GOAL_MS: f64 = 2.0;
const TOTAL_GOAL: f64 = 1.0;

/// Entries of a rehearsal, so that what the server sets up for the first call of a command is no part of it.
const FEW: u64 = 1_000;

const PING_PAUSE: Duration = Duration::from_micros(100);
/// Between two looks at how much is left.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// In case that something is never removed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Milliseconds.
struct Killed {
    took: f64,
    longest_wait: f64,
    /// Of as many PINGs beside nothing.
    wait_without: f64,
}

impl Killed {
    fn longer(&self) -> f64 {
        self.longest_wait - self.wait_without
    }
}

pub fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let values = Values { entries: settings.entries };
    let (mut clears, mut by_server) = (Vec::new(), Vec::new());
    let (mut patterns, mut scans) = (Vec::new(), Vec::new());
    for number in 1..=settings.runs {
        let server = Server::with_module(settings)?;
        clears.push(killed(&server, values, true, clear)?);
        by_server.push(millis(by_account(&server, "cmdstat_cache.clear")?));
        let server = Server::with_module(settings)?;
        patterns.push(killed(&server, values, true, patinval)?);
        let server = Server::with_module(settings)?;
        scans.push(killed(&server, values, false, scan_and_unlink)?);
        eprintln!("  kills, run {number} of {}", settings.runs);
    }
    let entries = values.entries;
    let stat = |all: &[Killed], of: fn(&Killed) -> f64| Stat::of(all.iter().map(of).collect());
    let figure = |what: String, value| Figure { what, value, per_second: None };
    let ours = |what: &str, value: Stat, other: Stat, goal| Line {
        row: "cache",
        unit: "ms",
        ours: figure(format!("{what} of {entries}"), value),
        alternative: figure("SCAN MATCH + UNLINK".into(), other),
        judged: Judged::Ours,
        result: value,
        goal,
    };
    let took = stat(&scans, |killed| killed.took);
    let longer = stat(&scans, Killed::longer);
    let totals = patterns.iter().zip(&scans).map(|(ours, scan)| ours.took / scan.took).collect();
    Ok(vec![
        ours("CLEAR", stat(&clears, |killed| killed.took), took, Some(CLEAR_GOAL_MS)),
        ours("CLEAR by the server's account", Stat::of(by_server), took, None),
        ours("PINGs longer, CLEAR", stat(&clears, Killed::longer), longer, Some(WAIT_GOAL_MS)),
        ours("PINGs longer, PATINVAL", stat(&patterns, Killed::longer), longer, Some(WAIT_GOAL_MS)),
        Line {
            row: "cache",
            unit: "ms",
            ours: figure(format!("PATINVAL of {entries}"), stat(&patterns, |killed| killed.took)),
            alternative: figure("SCAN MATCH + UNLINK".into(), took),
            judged: Judged::Ratio,
            result: Stat::of(totals),
            goal: Some(TOTAL_GOAL),
        },
    ])
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What a call of a command took by the server's account, of that and of the rehearsal.
fn by_account(server: &Server, stat: &str) -> Result<Duration> {
    let (calls, all) = server_time(&mut server.connect()?, stat)?;
    ensure!(calls == 2, "{stat}: {calls} calls");
    Ok(all / 2)
}

fn fill(server: &Server, values: Values, ours: bool) -> Result<()> {
    let mut con = server.connect()?;
    match ours {
        true => run(server, &mut con, &Set(values), 0..values.entries, DEPTH)?,
        false => run(server, &mut con, &SetString(values), 0..values.entries, DEPTH)?,
    };
    server.settle()
}

/// What it took until the reply, and the longest waits until all was removed and beside nothing.
fn killed(
    server: &Server,
    values: Values,
    ours: bool,
    kill: impl Fn(&mut Connection, u64) -> Result<()>,
) -> Result<Killed> {
    let mut con = server.connect()?;
    fill(server, Values { entries: FEW }, ours)?;
    kill(&mut con, FEW)?;
    removed(&mut con)?;
    fill(server, values, ours)?;
    let (waits, (took, all)) = pinger::during(server, PING_PAUSE, || {
        let begun = Instant::now();
        kill(&mut con, values.entries)?;
        let took = begun.elapsed();
        removed(&mut con)?;
        Ok((took, begun.elapsed()))
    })?;
    server.settle()?;
    let (without, ()) = pinger::during(server, PING_PAUSE, || {
        let begun = Instant::now();
        while begun.elapsed() < all {
            dbsize(&mut con)?;
            sleep(LOOK_PAUSE);
        }
        Ok(())
    })?;
    Ok(Killed {
        took: millis(took),
        longest_wait: millis(waits.longest),
        wait_without: millis(without.longest),
    })
}

/// Waits until all is.
fn removed(con: &mut Connection) -> Result<()> {
    let begun = Instant::now();
    while dbsize(con)? > 0 {
        ensure!(begun.elapsed() < PATIENCE, "not all is removed after {PATIENCE:?}");
        sleep(LOOK_PAUSE);
    }
    Ok(())
}

fn clear(con: &mut Connection, entries: u64) -> Result<()> {
    let count: u64 = cmd("CACHE.CLEAR").arg(REGION).query(con)?;
    ensure!(count == entries, "CLEAR killed {count}");
    Ok(())
}

fn patinval(con: &mut Connection, entries: u64) -> Result<()> {
    let count: u64 = cmd("CACHE.PATINVAL").arg("cache:bench:*").query(con)?;
    ensure!(count == entries, "PATINVAL killed {count}");
    Ok(())
}

fn scan_and_unlink(con: &mut Connection, _: u64) -> Result<()> {
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<Vec<u8>>) = cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg("plain:bench:*")
            .arg("COUNT")
            .arg(1000)
            .query(con)?;
        if !keys.is_empty() {
            let _: u64 = cmd("UNLINK").arg(keys).query(con)?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
