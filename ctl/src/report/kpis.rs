//! Key figures, and from where on each is less than good.

use std::str::FromStr;

use anyhow::{bail, ensure, Context, Result};
use serde::Serialize;

use super::period::{mean, share, within, Period};
use crate::history::{Earlier, Moment};
use crate::output::grouped;

/// Of fewer lookups or answers nothing can be said.
pub const FEWEST: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// There is too little to judge by.
    Unknown,
    Good,
    /// Neither what one aims at nor what one is warned of.
    Fair,
    Warning,
    Critical,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What one aims at, is warned of and is woken by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    pub target: f64,
    pub warning: f64,
    pub critical: f64,
}

impl Thresholds {
    pub const fn new(target: f64, warning: f64, critical: f64) -> Self {
        Self { target, warning, critical }
    }

    /// Where more is better, the target is the largest of the three.
    pub fn wants_more(self) -> bool {
        self.target > self.critical
    }

    pub fn judge(self, value: f64) -> Level {
        let is_beyond = |mark: f64| if self.wants_more() { value < mark } else { value > mark };
        if is_beyond(self.critical) {
            Level::Critical
        } else if is_beyond(self.warning) {
            Level::Warning
        } else if is_beyond(self.target) {
            Level::Fair
        } else {
            Level::Good
        }
    }
}

/// Which figures there are: name, title, unit, and thresholds to begin with.
const ALL: [(&str, &str, &str, Thresholds); 9] = [
    ("hit_rate", "Hit rate", "%", Thresholds::new(85.0, 80.0, 70.0)),
    ("response_time", "VALIDATE, mean", "ms", Thresholds::new(5.0, 10.0, 25.0)),
    ("response_time_p99", "VALIDATE, 99 of 100", "ms", Thresholds::new(5.0, 10.0, 25.0)),
    ("memory", "Memory of maxmemory", "%", Thresholds::new(80.0, 85.0, 95.0)),
    ("evictions", "Evicted of stored", "%", Thresholds::new(5.0, 10.0, 20.0)),
    ("stale_fills", "Stale fills", "%", Thresholds::new(1.0, 5.0, 20.0)),
    ("refusals", "Refused of answers", "%", Thresholds::new(5.0, 10.0, 25.0)),
    ("usage_lag", "Oldest lease", "s", Thresholds::new(300.0, 900.0, 3600.0)),
    ("connections", "Connections of maxclients", "%", Thresholds::new(60.0, 70.0, 80.0)),
];

/// Other thresholds than those: `hit_rate=90,85,75`.
#[derive(Clone, Debug)]
pub struct Other {
    kpi: &'static str,
    thresholds: Thresholds,
}

impl FromStr for Other {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = ALL.map(|(name, ..)| name).join(", ");
        let form = "must be like hit_rate=85,80,70: target, warning, critical";
        let (name, numbers) = text.split_once('=').context(form)?;
        let known = ALL.into_iter().find(|(known, ..)| *known == name);
        let Some((kpi, _, _, usual)) = known else { bail!("{name} is none of {names}") };
        let numbers: Result<Vec<f64>, _> = numbers.split(',').map(str::parse).collect();
        let Ok([target, warning, critical]) = numbers.as_deref() else { bail!(form) };
        let thresholds = Thresholds::new(*target, *warning, *critical);
        let is_ordered = match usual.wants_more() {
            true => target > warning && warning > critical,
            false => target < warning && warning < critical,
        };
        ensure!(
            is_ordered,
            "{kpi}: the target must be better than the warning, and that than the critical one"
        );
        Ok(Self { kpi, thresholds })
    }
}

/// A figure of the period.
#[derive(Clone, Debug, Serialize)]
pub struct Kpi {
    pub kpi: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub value: Option<f64>,
    /// In the earlier report.
    pub before: Option<f64>,
    pub level: Level,
    #[serde(flatten)]
    pub thresholds: Thresholds,
    /// Of what it is; or why there is none.
    pub of: String,
}

/// All of them, of a period and of how nodes are at its end.
pub fn judge(
    period: &Period,
    nodes: &[Moment],
    earlier: Option<&Earlier>,
    others: &[Other],
) -> Vec<Kpi> {
    ALL.into_iter()
        .map(|(kpi, title, unit, usual)| {
            let (value, of) = value(kpi, period, nodes);
            let other = others.iter().rev().find(|other| other.kpi == kpi);
            let thresholds = other.map_or(usual, |other| other.thresholds);
            let level = value.map_or(Level::Unknown, |value| thresholds.judge(value));
            let before =
                earlier.and_then(|earlier| earlier.kpis.iter().find(|then| then.kpi == kpi)?.value);
            Kpi { kpi, title, unit, value, before, level, thresholds, of }
        })
        .collect()
}

fn value(kpi: &str, period: &Period, nodes: &[Moment]) -> (Option<f64>, String) {
    let of = |part: f64, all: f64, what: &str| {
        let text = format!("{} of {} {what}", grouped(part as u64), grouped(all as u64));
        match all >= FEWEST {
            true => (share(part, all), text),
            false => (None, format!("{text}: too few to judge by")),
        }
    };
    let worst = |share: &dyn Fn(&Moment) -> Option<f64>, none: &str| {
        let all = nodes.iter().filter_map(|node| Some((share(node)?, node)));
        match all.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((value, node)) => (Some(value), format!("at {}", node.address)),
            None => (None, none.into()),
        }
    };
    let validate = period.validate();
    let calls = || validate.map_or(0, |durations| durations.calls);
    match kpi {
        "hit_rate" => of(period.number("hits"), period.lookups(), "lookups"),
        "response_time" => match validate.and_then(mean) {
            Some(micros) => {
                (Some(micros / 1000.0), format!("{} calls, in the server", grouped(calls())))
            }
            None => (None, "VALIDATE was not called".into()),
        },
        "response_time_p99" => match validate.and_then(|durations| within(durations, 0.99)) {
            Some(micros) => (Some(micros as f64 / 1000.0), "at most, by LATENCY HISTOGRAM".into()),
            None if calls() > 0 => (None, "the server keeps no LATENCY HISTOGRAM".into()),
            None => (None, "VALIDATE was not called".into()),
        },
        "memory" => worst(
            &|node| share(node.number("used_memory"), node.number("maxmemory")),
            "no maxmemory is set",
        ),
        "evictions" => {
            of(period.number("evicted_entries"), period.number("stored_entries"), "entries stored")
        }
        "stale_fills" => of(period.number("stale_fills_refused"), period.fills(), "fills"),
        "refusals" => {
            let answers = period.answers().iter().map(|(_, number)| number).sum();
            of(period.refusals(), answers, "answers")
        }
        "usage_lag" => worst(
            &|node| node.is_primary().then(|| node.number("oldest_lease_ms") / 1000.0),
            "no primary was looked at",
        ),
        _ => worst(
            &|node| share(node.connected_clients? as f64, node.maxclients? as f64),
            "the server does not tell maxclients",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_the_side_on_which_it_is_better() {
        let more = Thresholds::new(85.0, 80.0, 70.0);
        let less = Thresholds::new(5.0, 10.0, 20.0);
        for (thresholds, value, level) in [
            (more, 85.0, Level::Good),
            (more, 84.9, Level::Fair),
            (more, 79.9, Level::Warning),
            (more, 69.9, Level::Critical),
            (less, 5.0, Level::Good),
            (less, 5.1, Level::Fair),
            (less, 10.1, Level::Warning),
            (less, 20.1, Level::Critical),
        ] {
            assert_eq!(thresholds.judge(value), level, "{value}");
        }
    }

    #[test]
    fn thresholds_are_read_and_have_to_be_in_order() {
        let other: Other = "hit_rate=90,85,75".parse().expect("thresholds");
        assert_eq!(other.thresholds, Thresholds::new(90.0, 85.0, 75.0));
        for wrong in [
            "hit_rate",
            "hit_rate=1,2",
            "hit_rate=70,80,90",
            "memory=90,80,70",
            "none=1,2,3",
            "memory=a,b,c",
        ] {
            assert!(wrong.parse::<Other>().is_err(), "{wrong}");
        }
    }
}
