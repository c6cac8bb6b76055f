//! How long CLEAR and PATINVAL of all entries take, and how long another client waits meanwhile.
//!
//! CLEAR is measured on its own, by the client who sends it, and the PINGs of another go on until all that it killed is
//! removed. PATINVAL's alternative is a client that SCANs with MATCH and UNLINKs what it finds.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use redis::{cmd, Connection};

use super::values::{Set, SetString, Values, REGION};
use crate::measure::Stat;
use crate::pinger;
use crate::pipeline::{run, DEPTH};
use crate::server::{dbsize, Server};
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};

const CLEAR_GOAL_MS: f64 = 0.5;
const WAIT_GOAL_MS: f64 = 2.0;
const TOTAL_GOAL: f64 = 1.0;

/// In case that something is never removed.
const PATIENCE: Duration = Duration::from_secs(300);

struct Killed {
    took: f64,
    longest_wait: f64,
}

pub fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let values = Values { entries: settings.entries };
    let (mut clears, mut patterns, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        let server = filled(settings, values, true)?;
        clears.push(killed(&server, |con| {
            let count: u64 = cmd("CACHE.CLEAR").arg(REGION).query(con)?;
            ensure!(count == values.entries, "CLEAR killed {count}");
            Ok(())
        })?);
        let server = filled(settings, values, true)?;
        patterns.push(killed(&server, |con| {
            let count: u64 = cmd("CACHE.PATINVAL").arg("cache:bench:*").query(con)?;
            ensure!(count == values.entries, "PATINVAL killed {count}");
            Ok(())
        })?);
        let server = filled(settings, values, false)?;
        scans.push(killed(&server, scan_and_unlink)?);
    }
    let entries = values.entries;
    let stat = |all: &[Killed], of: fn(&Killed) -> f64| Stat::of(all.iter().map(of).collect());
    let figure = |what: String, value| Figure { what, value, per_second: None };
    let ours = |what: &str, all: &[Killed], of: fn(&Killed) -> f64, goal| Line {
        row: "cache",
        unit: "ms",
        ours: figure(format!("{what} of {entries}"), stat(all, of)),
        alternative: figure("SCAN MATCH + UNLINK".into(), stat(&scans, of)),
        judged: Judged::Ours,
        result: stat(all, of),
        goal: Some(goal),
    };
    let totals = patterns.iter().zip(&scans).map(|(ours, scan)| ours.took / scan.took).collect();
    Ok(vec![
        ours("CLEAR", &clears, |killed| killed.took, CLEAR_GOAL_MS),
        ours("longest PING, CLEAR", &clears, |killed| killed.longest_wait, WAIT_GOAL_MS),
        ours("longest PING, PATINVAL", &patterns, |killed| killed.longest_wait, WAIT_GOAL_MS),
        Line {
            row: "cache",
            unit: "ms",
            ours: figure(format!("PATINVAL of {entries}"), stat(&patterns, |killed| killed.took)),
            alternative: figure("SCAN MATCH + UNLINK".into(), stat(&scans, |killed| killed.took)),
            judged: Judged::Ratio,
            result: Stat::of(totals),
            goal: Some(TOTAL_GOAL),
        },
    ])
}

fn filled(settings: &Settings, values: Values, ours: bool) -> Result<Server> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    match ours {
        true => run(&server, &mut con, &Set(values), 0..values.entries, DEPTH)?,
        false => run(&server, &mut con, &SetString(values), 0..values.entries, DEPTH)?,
    };
    server.settle()?;
    Ok(server)
}

/// What it took until the reply, and the longest wait until all was removed.
fn killed(server: &Server, kill: impl FnOnce(&mut Connection) -> Result<()>) -> Result<Killed> {
    let mut con = server.connect()?;
    let (waits, took) = pinger::during(server, Duration::ZERO, || {
        let begun = Instant::now();
        kill(&mut con)?;
        let took = begun.elapsed();
        while dbsize(&mut con)? > 0 {
            ensure!(begun.elapsed() < PATIENCE, "not all is removed after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(took)
    })?;
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(Killed { took: millis(took), longest_wait: millis(waits.longest) })
}

fn scan_and_unlink(con: &mut Connection) -> Result<()> {
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
