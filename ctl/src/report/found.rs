//! A report: what is told of a period, in whichever form.

use std::collections::BTreeMap;

use serde::Serialize;

use super::kpis::{Kpi, Level};
use super::period::{mean, within, Period};
use super::regions::Told;
use super::series::Sample;
use super::top::Top;
use crate::deployment::Away;
use crate::history::Moment;

#[derive(Serialize)]
pub struct Found {
    /// Epoch seconds at its end.
    pub time: u64,
    pub period: Length,
    /// The worst of all.
    pub level: Level,
    pub kpis: Vec<Kpi>,
    pub recommendations: Vec<Recommendation>,
    /// Fields of HEALTH that count, in the period, of all nodes.
    pub counted: BTreeMap<&'static str, f64>,
    pub commands: Vec<Command>,
    pub regions: Vec<Told>,
    pub top: Top,
    /// Where it was watched.
    pub samples: Vec<Sample>,
    /// All that nodes said at its end.
    pub nodes: Vec<Moment>,
    pub away: Vec<Away>,
    #[serde(skip)]
    pub figures: Period,
}

#[derive(Serialize)]
pub struct Length {
    pub seconds: f64,
    /// Where it begins: `start`, `report`, `watch`.
    pub since: &'static str,
}

/// How long the calls of a command took, in microseconds.
#[derive(Serialize)]
pub struct Command {
    pub command: String,
    pub calls: u64,
    pub mean_us: Option<f64>,
    /// At most, as the server's buckets have it.
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Recommendation {
    pub level: Level,
    /// The figure that it is about, or `health`.
    pub about: String,
    pub why: String,
    #[serde(rename = "do")]
    pub todo: String,
}

/// Those that were called, the most often called first.
pub fn commands(period: &Period) -> Vec<Command> {
    let command = |(name, durations): (&String, &crate::reading::Durations)| Command {
        command: name.clone(),
        calls: durations.calls,
        mean_us: mean(durations),
        p50_us: within(durations, 0.5),
        p99_us: within(durations, 0.99),
    };
    let mut all: Vec<Command> = period.durations.iter().map(command).collect();
    all.sort_by_key(|command| std::cmp::Reverse(command.calls));
    all
}

impl Found {
    /// What it is of, in words.
    pub fn span(&self) -> String {
        let time = |seconds: u64| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            humantime::format_rfc3339_seconds(time).to_string()
        };
        let length = std::time::Duration::from_secs(self.period.seconds.max(0.0).round() as u64);
        let since = match self.period.since {
            "watch" => "watched",
            "report" => "since the earlier report",
            _ => "since the servers' start",
        };
        format!(
            "{} to {}: {}, {since}",
            time(self.time.saturating_sub(length.as_secs())),
            time(self.time),
            humantime::format_duration(length)
        )
    }

    /// Keys of each kind, of all primaries.
    pub fn entries(&self) -> Vec<(&'static str, f64)> {
        let kinds = [
            ("records", "records"),
            ("absent", "absent keys"),
            ("scopes", "decisions"),
            ("lists", "lists"),
            ("cached_values", "values of regions"),
            ("usage_counters", "counters"),
        ];
        let sum = |field: &str| {
            self.nodes.iter().filter(|node| node.is_primary()).map(|node| node.number(field)).sum()
        };
        kinds.into_iter().map(|(field, title)| (title, sum(field))).collect()
    }
}
