//! Samples for pipes and programs, one after the other, as `top -b` has them.

use std::time::Duration;

use anyhow::Result;

use super::columns::COLUMNS;
use super::figures::{bytes, duration, percent, short};
use super::poll::Poll;
use super::sample::Sample;
use crate::interrupt::Interrupt;
use crate::output::{Cell, Output, Report, Style, Table, Verdict};
use crate::watch::Watch;

const TURN: Duration = Duration::from_millis(50);

/// Prints so many, or until a signal comes.
pub fn run(
    watch: Watch,
    output: &Output,
    every: Duration,
    samples: Option<u64>,
) -> Result<Verdict> {
    let interrupt = Interrupt::watch()?;
    let poll = Poll::start(watch, every);
    // The first has no rates.
    let mut to_come = samples.map(|samples| samples.saturating_add(1));
    let mut is_first = true;
    loop {
        if interrupt.is_wanted() {
            return Ok(Verdict::Interrupted);
        }
        let Some(sample) = poll.next(TURN) else { continue };
        if !std::mem::take(&mut is_first) {
            output.print(&sample)?;
        }
        to_come = to_come.map(|to_come| to_come.saturating_sub(1));
        if to_come == Some(0) {
            return Ok(verdict(&sample));
        }
    }
}

fn verdict(sample: &Sample) -> Verdict {
    let is_any = |status: &str| sample.nodes.iter().any(|row| row.status == status);
    match (
        is_any("unhealthy"),
        sample.lost.is_some() || sample.nodes.iter().any(|row| row.is_away()),
    ) {
        (true, _) => Verdict::Wrong,
        (false, true) => Verdict::Blind,
        (false, false) => Verdict::Well,
    }
}

impl Report for Sample {
    fn text(&self, style: Style) -> String {
        let mut nodes = Table::new(&COLUMNS.map(|column| column.heading()));
        for row in &self.nodes {
            let cells = COLUMNS.map(|column| {
                let cell = Cell::text(column.text(row));
                if row.is_away() {
                    cell.bad()
                } else {
                    cell
                }
            });
            nodes.row(cells.into());
        }
        let mut commands = Table::new(&["COMMAND", "CALL/s", "MEAN", "P99", "TIME%"]);
        for command in &self.commands {
            commands.row(vec![
                Cell::text(&command.name),
                Cell::text(short(command.calls_per_second)),
                Cell::text(duration(command.mean_us)),
                Cell::text(
                    command.p99_us.map_or_else(|| "-".into(), |bound| duration(bound as f64)),
                ),
                Cell::text(format!("{:.1}", command.time_percent)),
            ]);
        }
        let mut regions = Table::new(&[
            "REGION",
            "ENTRIES",
            "MEM",
            "HIT% 1m",
            "STALE/s",
            "WAIT/s",
            "EVICT/s",
            "REFUSED/s",
        ]);
        for row in &self.regions {
            let rates = row.rates.clone().unwrap_or_default();
            regions.row(vec![
                Cell::text(&row.title),
                Cell::text(short(row.entries as f64)),
                Cell::text(bytes(row.bytes)),
                Cell::text(row.hit_rate_1m.map_or_else(|| "-".into(), percent)),
                Cell::text(short(rates.stale)),
                Cell::text(short(rates.waits)),
                Cell::text(short(rates.evicted)),
                Cell::text(short(rates.refused_fills)),
            ]);
        }
        let hits = self.total.hit_rate.map_or_else(|| "-".into(), percent);
        let mut text = format!("{}hits: {hits}\n", nodes.lines(style));
        for row in &self.nodes {
            for why in &row.reasons {
                text.push_str(&format!("{}: {}\n", row.node, style.warn(why)));
            }
        }
        if !self.regions.is_empty() {
            text.push_str(&regions.lines(style));
        }
        if !self.commands.is_empty() {
            text.push_str(&commands.lines(style));
        }
        text.push('\n');
        text
    }
}
