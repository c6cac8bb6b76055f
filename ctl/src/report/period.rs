//! What happened in a period: the counters of all nodes at its end, less those at its beginning.
//!
//! A node that was started meanwhile counts from its start. Lookups and answers are every node's own; what is stored,
//! invalidated, evicted and counted, replicas are sent and count as well, so that of these the primaries' are taken.

use std::collections::BTreeMap;

use crate::exporter::families::{Kind, FAMILIES};
use crate::history::Moment;
use crate::reading::Durations;

/// Families that every node has of its own.
const OWN: [&str; 2] = ["apikey_lookups", "apikey_answers"];

#[derive(Clone, Debug, Default)]
pub struct Period {
    /// Fields of HEALTH that count, of all nodes together.
    pub counted: BTreeMap<&'static str, f64>,
    /// Of each command, of all nodes together.
    pub durations: BTreeMap<String, Durations>,
}

impl Period {
    /// Between the two; from each node's start where it was not there before.
    pub fn between(before: &[Moment], after: &[Moment]) -> Self {
        let mut period = Self::default();
        for now in after {
            let then =
                before.iter().find(|then| then.address == now.address && then.run_id == now.run_id);
            for family in FAMILIES.iter().filter(|family| family.kind == Kind::Counter) {
                if !now.is_primary() && !OWN.contains(&family.name) {
                    continue;
                }
                for (field, _) in family.figures.all() {
                    let before = then.map_or(0.0, |then| then.number(field));
                    *period.counted.entry(field).or_default() +=
                        (now.number(field) - before).max(0.0);
                }
            }
            for (name, durations) in &now.durations {
                let before = then.and_then(|then| then.durations.get(name));
                add(period.durations.entry(name.clone()).or_default(), &less(durations, before));
            }
        }
        period.durations.retain(|_, durations| durations.calls > 0);
        period
    }

    pub fn number(&self, field: &str) -> f64 {
        self.counted.get(field).copied().unwrap_or(0.0)
    }

    pub fn lookups(&self) -> f64 {
        self.number("hits") + self.number("misses")
    }

    /// Percent, where anything was looked up.
    pub fn hit_rate(&self) -> Option<f64> {
        share(self.number("hits"), self.lookups())
    }

    pub fn fills(&self) -> f64 {
        self.number("stored_entries") + self.number("stale_fills_refused")
    }

    /// Answers by code: those that found something.
    pub fn answers(&self) -> Vec<(&'static str, f64)> {
        let family = FAMILIES.iter().find(|family| family.name == "apikey_answers");
        let all = family.map(|family| family.figures.all()).unwrap_or_default();
        all.into_iter().filter_map(|(field, label)| Some((label?.1, self.number(field)))).collect()
    }

    /// Answers that refuse a key.
    pub fn refusals(&self) -> f64 {
        let refuses = |code: &str| code != "VALID" && code != "UNVERIFIED";
        self.answers().iter().filter(|(code, _)| refuses(code)).map(|(_, number)| number).sum()
    }

    /// Of VALIDATE, the command of every request.
    pub fn validate(&self) -> Option<&Durations> {
        self.durations.get("apikey.validate")
    }
}

/// Percent of what is not nothing.
pub fn share(part: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| part / of * 100.0)
}

/// Microseconds on average.
pub fn mean(durations: &Durations) -> Option<f64> {
    (durations.calls > 0).then(|| durations.microseconds as f64 / durations.calls as f64)
}

/// Microseconds that this part of the calls took no more than, as the server's buckets have it; none where it keeps none.
pub fn within(durations: &Durations, part: f64) -> Option<u64> {
    let calls = *durations.within.values().max()?;
    let wanted = calls as f64 * part;
    durations.within.iter().find(|(_, calls)| **calls as f64 >= wanted).map(|(bound, _)| *bound)
}

/// How many took no more than this: of the largest bound that is no larger.
fn at(within: &BTreeMap<u64, u64>, bound: u64) -> u64 {
    within.range(..=bound).next_back().map_or(0, |(_, calls)| *calls)
}

fn less(now: &Durations, before: Option<&Durations>) -> Durations {
    // Fewer than before: CONFIG RESETSTAT was called.
    let Some(before) = before.filter(|before| before.calls <= now.calls) else {
        return now.clone();
    };
    let bound =
        |(bound, calls): (&u64, &u64)| (*bound, calls.saturating_sub(at(&before.within, *bound)));
    Durations {
        calls: now.calls - before.calls,
        microseconds: now.microseconds.saturating_sub(before.microseconds),
        within: now.within.iter().map(bound).collect(),
    }
}

fn add(sum: &mut Durations, more: &Durations) {
    let bounds: Vec<u64> = sum.within.keys().chain(more.within.keys()).copied().collect();
    sum.within = bounds
        .into_iter()
        .map(|bound| (bound, at(&sum.within, bound).saturating_add(at(&more.within, bound))))
        .collect();
    sum.calls = sum.calls.saturating_add(more.calls);
    sum.microseconds = sum.microseconds.saturating_add(more.microseconds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn moment(
        address: &str,
        role: &str,
        run_id: &str,
        hits: u64,
        stored: u64,
        within: &[(u64, u64)],
    ) -> Moment {
        let calls = within.iter().map(|(_, calls)| *calls).max().unwrap_or(0);
        let validate =
            Durations { calls, microseconds: calls * 10, within: within.iter().copied().collect() };
        Moment {
            address: address.into(),
            role: role.into(),
            run_id: run_id.into(),
            uptime_seconds: 1,
            connected_clients: None,
            maxclients: None,
            health: json!({"hits": hits, "misses": 1, "stored_entries": stored})
                .as_object()
                .cloned()
                .unwrap_or_default(),
            durations: [("apikey.validate".to_string(), validate)].into(),
            regions: Vec::new(),
        }
    }

    #[test]
    fn a_period_is_what_came_since_and_a_restart_begins_anew() {
        let before = [
            moment("a", "primary", "1", 100, 10, &[(4, 50), (8, 100)]),
            moment("b", "replica", "2", 40, 10, &[(4, 40)]),
        ];
        let after = [
            moment("a", "primary", "1", 150, 15, &[(4, 60), (8, 120), (16, 130)]),
            moment("b", "replica", "3", 7, 15, &[(8, 7)]),
        ];
        let period = Period::between(&before, &after);
        assert_eq!((period.number("hits"), period.number("stored_entries")), (57.0, 5.0));
        let validate = period.validate().expect("calls");
        assert_eq!(validate.within, [(4, 10), (8, 27), (16, 37)].into());
        assert_eq!((validate.calls, validate.microseconds), (37, 370));
        assert_eq!((within(validate, 0.5), within(validate, 0.99)), (Some(8), Some(16)));
    }
}
