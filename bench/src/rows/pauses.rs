//! The longest that another client waits while a server is filled: with entries, and with as many
//! strings.
//!
//! One client fills a new server; another sends PING after PING for the whole fill (`pinger.rs`). What
//! is judged is the median of the longest waits beyond that of the strings: what the server's own
//! tables cost is in both. Two lines more give what all but one of ten thousand waits stay within, and
//! the longest as they were before what the machine's host had stolen was taken off. Every entry has two unique tags (id and user), so the tag table grows twice as
//! fast as the keyspace. Pipelines are short, so that a PING does not stand behind a long one.

use std::time::Duration;

use anyhow::Result;

use super::fills::{Fill, FillString};
use super::row::{Row, Run};
use crate::measure::Stat;
use crate::pinger::{self, Waits};
use crate::pipeline::{run, Side};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "pauses",
    about: "longest wait of a PING during a fill, against a fill with strings",
    run: Run::Lines(measure),
};

/// Milliseconds that the longest wait may lie above that of the strings.
const GOAL: f64 = 2.0;
const PIPELINE: u64 = 32;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let entries = settings.pause_entries;
    let work = Workload::new(entries, 1);
    let mut fills = Vec::new();
    for number in 1..=settings.runs {
        let ours = fill(Server::with_module(settings)?, &Fill(work), entries)?;
        let strings = fill(Server::plain(settings)?, &FillString(work), entries)?;
        eprintln!(
            "  run {number} of {}: wait {:?}, strings {:?}; with stolen {:?}, strings {:?}",
            settings.runs, ours.longest, strings.longest, ours.with_stolen, strings.with_stolen
        );
        fills.push((ours, strings));
    }
    let line = |what: &str, of: fn(&Waits) -> Duration, goal| {
        line(&fills, format!("{what}, {entries} entries"), of, goal)
    };
    Ok(vec![
        line("longest PING", |waits| waits.longest, Some(GOAL)),
        line("99.99% of PINGs", |waits| waits.most, None),
        line("longest, stolen time included", |waits| waits.with_stolen, None),
    ])
}

fn line(
    fills: &[(Waits, Waits)],
    what: String,
    of: fn(&Waits) -> Duration,
    goal: Option<f64>,
) -> Line {
    let millis = |waits: &Waits| of(waits).as_secs_f64() * 1e3;
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
fn fill<S: Side>(server: Server, side: &S, entries: u64) -> Result<Waits> {
    let mut con = server.connect()?;
    let (waits, _) = pinger::during(&server, Duration::ZERO, || {
        run(&server, &mut con, side, 0..entries, PIPELINE)
    })?;
    Ok(waits)
}
