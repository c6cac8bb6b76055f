//! What is shown of a moment: figures of a scrape, and what they changed by since the one before.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::regions::{self, between};
use crate::reading::{Durations, Health};
use crate::watch::{Scrape, Seen};

/// The codes of VALIDATE's answers, by the fields of HEALTH that count them.
const ANSWERS: [(&str, &str); 8] = [
    ("valid", "VALID"),
    ("mismatches", "MISMATCH"),
    ("disabled", "DISABLED"),
    ("expired", "EXPIRED"),
    ("forbidden", "FORBIDDEN"),
    ("forbidden_ip", "FORBIDDEN_IP"),
    ("unverified", "UNVERIFIED"),
    ("absent_answers", "ABSENT"),
];

/// With `--json` a line is one of these.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Epoch milliseconds.
    pub at: u64,
    /// Why the servers could not be found by who tells of them.
    pub lost: Option<String>,
    pub nodes: Vec<Row>,
    pub total: Total,
    /// Those that were called since the last one, the slowest first.
    pub commands: Vec<Command>,
    /// The one that is asked most first.
    pub regions: Vec<regions::Row>,
}

/// A node. Rates are none for one that was not there before, or has been started anew.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub node: String,
    /// `primary`, `replica`, or `unknown`.
    pub role: &'static str,
    /// As HEALTH has it; `away` where it does not answer.
    pub status: String,
    /// Why it is not healthy, or why it is away.
    pub reasons: Vec<String>,
    pub rates: Option<Rates>,
    pub entries: u64,
    pub used_memory: u64,
    /// 0: no limit.
    pub maxmemory: u64,
    pub backlog: u64,
    pub usage_pending: u64,
    pub usage_leased: u64,
    pub oldest_lease_ms: u64,
}

/// A second's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub lookups: f64,
    pub hits: f64,
    pub fills: f64,
    pub killed: f64,
    pub evicted: f64,
    pub counted: f64,
    pub settled: f64,
    /// Requests that ADMIT let through.
    pub admitted: f64,
    /// Refused by a rate.
    pub rate_limited: f64,
    /// Refused by a quota or for want of credits.
    pub usage_exceeded: f64,
    pub repeated_ids: f64,
    pub ids_dropped_early: f64,
    pub answers: BTreeMap<&'static str, f64>,
}

/// All nodes together: lookups and answers wherever they are, the rest as primaries have it, since replicas have the
/// same once more.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Total {
    pub rates: Option<Rates>,
    /// Of those lookups; none where there were none.
    pub hit_rate: Option<f64>,
    pub entries: u64,
    pub used_memory: u64,
    pub maxmemory: u64,
    pub backlog: u64,
    pub usage_pending: u64,
    pub usage_leased: u64,
    pub oldest_lease_ms: u64,
}

/// A command, on all nodes together.
#[derive(Clone, Debug, Serialize)]
pub struct Command {
    pub name: String,
    pub calls_per_second: f64,
    pub mean_us: f64,
    /// The bound that 99 of 100 calls kept; none where the server keeps no histogram.
    pub p99_us: Option<u64>,
    /// How much of the servers' time it took, of one main thread each.
    pub time_percent: f64,
}

impl Row {
    pub fn is_away(&self) -> bool {
        self.status == AWAY
    }

    pub fn hit_rate(&self) -> Option<f64> {
        self.rates.as_ref().and_then(Rates::hit_rate)
    }
}

impl Total {
    /// How full it is; none where there is no limit.
    pub fn memory_share(&self) -> Option<f64> {
        (self.maxmemory > 0).then(|| self.used_memory as f64 / self.maxmemory as f64)
    }
}

pub const AWAY: &str = "away";

impl Rates {
    pub fn hit_rate(&self) -> Option<f64> {
        (self.lookups > 0.0).then(|| self.hits / self.lookups)
    }
}

impl Sample {
    /// Of a scrape, and of the one before where there was one.
    pub fn of(now: &Scrape, before: Option<&Scrape>) -> Self {
        let earlier = |seen: &Seen| {
            let nodes = before.map(|before| before.nodes.as_slice()).unwrap_or_default();
            nodes.iter().find(|known| known.node == seen.node)
        };
        let nodes: Vec<Row> = now.nodes.iter().map(|seen| row(seen, earlier(seen))).collect();
        let pairs: Vec<(&Seen, &Seen)> =
            now.nodes.iter().filter_map(|seen| Some((seen, earlier(seen)?))).collect();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            at: u64::try_from(since_epoch.as_millis()).unwrap_or(0),
            lost: now.lost.clone(),
            total: total(&nodes),
            commands: commands(&pairs),
            regions: regions::rows(
                &now.nodes,
                before.map(|before| before.nodes.as_slice()).unwrap_or_default(),
            ),
            nodes,
        }
    }
}

fn row(seen: &Seen, before: Option<&Seen>) -> Row {
    let row = Row { node: seen.node.clone(), role: seen.role, ..Row::default() };
    let health = match &seen.figures {
        Ok(figures) => &figures.health,
        Err(why) => return Row { status: AWAY.into(), reasons: vec![why.clone()], ..row },
    };
    let number = |name: &str| count(health, name);
    Row {
        status: health.status(),
        reasons: health.reasons(),
        rates: before.and_then(|before| rates(seen, before)),
        entries: health.entries(),
        used_memory: number("used_memory"),
        maxmemory: number("maxmemory"),
        backlog: number("reclaim_backlog"),
        usage_pending: number("usage_pending"),
        usage_leased: number("usage_leased"),
        oldest_lease_ms: number("oldest_lease_ms"),
        ..row
    }
}

fn count(health: &Health, name: &str) -> u64 {
    health.number(name).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn rates(now: &Seen, before: &Seen) -> Option<Rates> {
    let seconds = between(now, before)?.as_secs_f64();
    let (health, earlier) =
        (&now.figures.as_ref().ok()?.health, &before.figures.as_ref().ok()?.health);
    let rate =
        |name: &str| count(health, name).saturating_sub(count(earlier, name)) as f64 / seconds;
    let hits = rate("hits");
    Some(Rates {
        lookups: hits + rate("misses"),
        hits,
        fills: rate("stored_entries"),
        killed: rate("killed_entries"),
        evicted: rate("evicted_entries"),
        counted: rate("counted_uses"),
        settled: rate("settled_uses") + rate("taken_uses"),
        admitted: rate("admitted"),
        rate_limited: rate("rate_limited"),
        usage_exceeded: rate("usage_exceeded"),
        repeated_ids: rate("repeated_ids"),
        ids_dropped_early: rate("ids_dropped_early"),
        answers: ANSWERS.iter().map(|(field, code)| (*code, rate(field))).collect(),
    })
}

fn total(nodes: &[Row]) -> Total {
    let mut total = Total::default();
    for row in nodes {
        let is_primary = row.role == "primary";
        if let Some(rates) = &row.rates {
            let sum = total.rates.get_or_insert_with(Rates::default);
            sum.lookups += rates.lookups;
            sum.hits += rates.hits;
            for (code, rate) in &rates.answers {
                *sum.answers.entry(code).or_default() += rate;
            }
            if is_primary {
                sum.fills += rates.fills;
                sum.killed += rates.killed;
                sum.evicted += rates.evicted;
                sum.counted += rates.counted;
                sum.settled += rates.settled;
                sum.admitted += rates.admitted;
                sum.rate_limited += rates.rate_limited;
                sum.usage_exceeded += rates.usage_exceeded;
                sum.repeated_ids += rates.repeated_ids;
                sum.ids_dropped_early += rates.ids_dropped_early;
            }
        }
        if is_primary {
            total.entries = total.entries.saturating_add(row.entries);
            total.used_memory = total.used_memory.saturating_add(row.used_memory);
            total.maxmemory = total.maxmemory.saturating_add(row.maxmemory);
            total.backlog = total.backlog.saturating_add(row.backlog);
            total.usage_pending = total.usage_pending.saturating_add(row.usage_pending);
            total.usage_leased = total.usage_leased.saturating_add(row.usage_leased);
            total.oldest_lease_ms = total.oldest_lease_ms.max(row.oldest_lease_ms);
        }
    }
    // Of a limit that only some have, nothing can be said.
    let mut primaries = nodes.iter().filter(|row| row.role == "primary" && !row.is_away());
    if primaries.any(|row| row.maxmemory == 0) {
        total.maxmemory = 0;
    }
    total.hit_rate = total.rates.as_ref().and_then(Rates::hit_rate);
    total
}

/// The calls of a command between two looks, on one or more nodes.
#[derive(Default)]
struct Calls {
    calls: u64,
    microseconds: u64,
    /// How many of them took no more than so many microseconds, but more than the bound before.
    by_bound: BTreeMap<u64, u64>,
}

fn commands(pairs: &[(&Seen, &Seen)]) -> Vec<Command> {
    let mut all: BTreeMap<&str, Calls> = BTreeMap::new();
    let mut seconds = 0.0f64;
    for (now, before) in pairs {
        let (Some(time), Ok(figures), Ok(earlier)) =
            (between(now, before), &now.figures, &before.figures)
        else {
            continue;
        };
        seconds = seconds.max(time.as_secs_f64());
        for (name, durations) in &figures.durations {
            add(all.entry(name).or_default(), durations, earlier.durations.get(name));
        }
    }
    let command = |(name, calls): (&str, Calls)| {
        (calls.calls > 0).then(|| Command {
            name: name.into(),
            calls_per_second: calls.calls as f64 / seconds,
            mean_us: calls.microseconds as f64 / calls.calls as f64,
            p99_us: p99(&calls),
            time_percent: calls.microseconds as f64 / 1e4 / seconds,
        })
    };
    let mut commands: Vec<Command> = all.into_iter().filter_map(command).collect();
    commands.sort_by(|a, b| b.mean_us.total_cmp(&a.mean_us));
    commands
}

fn add(to: &mut Calls, now: &Durations, before: Option<&Durations>) {
    let none = Durations::default();
    let before = before.unwrap_or(&none);
    to.calls += now.calls.saturating_sub(before.calls);
    to.microseconds += now.microseconds.saturating_sub(before.microseconds);
    // Both say how many kept a bound, and a bound that nobody has added to is left out.
    let kept = |durations: &Durations, bound: u64| {
        durations.within.range(..=bound).next_back().map_or(0, |(_, calls)| *calls)
    };
    let mut below = 0;
    for &bound in now.within.keys() {
        let within = kept(now, bound).saturating_sub(kept(before, bound));
        *to.by_bound.entry(bound).or_default() += within.saturating_sub(below);
        below = within.max(below);
    }
}

fn p99(calls: &Calls) -> Option<u64> {
    let all: u64 = calls.by_bound.values().sum();
    let enough = all.saturating_sub(all / 100);
    let mut sum = 0;
    calls.by_bound.iter().find_map(|(bound, calls)| {
        sum += calls;
        (all > 0 && sum >= enough).then_some(*bound)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Facts, Info};
    use crate::watch::Figures;
    use redis::Value;
    use std::time::{Duration, Instant};

    fn seen(
        role: &str,
        run: &str,
        at: Instant,
        figures: &[(&str, i64)],
        within: &[(u64, u64)],
    ) -> Seen {
        let flat = figures.iter().flat_map(|(name, number)| {
            [Value::BulkString(name.as_bytes().to_vec()), Value::Int(*number)]
        });
        let health = Health::of(&Value::Array(flat.collect())).expect("fields");
        let calls = within.last().map_or(0, |(_, calls)| *calls);
        let durations =
            Durations { calls, microseconds: calls * 10, within: within.iter().copied().collect() };
        let durations = [("apikey.validate".to_string(), durations)].into();
        Seen {
            node: format!("{role}:1"),
            role: if role == "master" { "primary" } else { "replica" },
            facts: Some(Facts::of(Info::parse(&format!("run_id:{run}\nrole:{role}\n")))),
            figures: Ok(Figures { health, durations, regions: None }),
            at,
        }
    }

    fn scrape(nodes: Vec<Seen>) -> Scrape {
        Scrape { lost: None, nodes, took: Duration::ZERO }
    }

    #[test]
    fn rates_are_what_changed_a_second() {
        let first = Instant::now();
        let second = first + Duration::from_secs(2);
        let figures = |times: i64| {
            [
                ("hits", 30 * times),
                ("misses", 10 * times),
                ("counted_uses", 8 * times),
                ("admitted", 6 * times),
                ("rate_limited", 4 * times),
                ("usage_exceeded", 2 * times),
                ("records", 5),
            ]
        };
        let before = scrape(vec![
            seen("master", "a", first, &figures(1), &[(8, 100), (16, 200)]),
            seen("slave", "b", first, &figures(1), &[]),
        ]);
        let now = scrape(vec![
            seen("master", "a", second, &figures(3), &[(8, 298), (16, 399), (64, 400)]),
            seen("slave", "b", second, &figures(2), &[]),
        ]);
        let sample = Sample::of(&now, Some(&before));
        let [primary, replica] = sample.nodes.as_slice() else { panic!("two nodes") };
        let rates = |row: &Row| row.rates.clone().map(|rates| (rates.lookups, rates.counted));
        assert_eq!((rates(primary), rates(replica)), (Some((40.0, 8.0)), Some((20.0, 4.0))));
        // Lookups of both, uses and entries of the primary alone.
        let sum = sample.total.rates.clone().expect("rates");
        assert_eq!((sum.lookups, sum.counted, sample.total.entries), (60.0, 8.0, 5));
        assert_eq!(sample.total.hit_rate, Some(0.75));
        // A replica admits nobody.
        assert_eq!((sum.admitted, sum.rate_limited, sum.usage_exceeded), (6.0, 4.0, 2.0));
        let [validate] = sample.commands.as_slice() else { panic!("a command") };
        assert_eq!((validate.calls_per_second, validate.mean_us), (100.0, 10.0));
        // 198 of the 200 took 8 at most.
        assert_eq!(validate.p99_us, Some(8));
    }

    #[test]
    fn a_server_that_was_started_anew_has_no_rates() {
        let first = Instant::now();
        let second = first + Duration::from_secs(1);
        let before = scrape(vec![seen("master", "a", first, &[("hits", 9)], &[])]);
        let now = scrape(vec![seen("master", "b", second, &[("hits", 11)], &[])]);
        let sample = Sample::of(&now, Some(&before));
        assert!(sample.nodes.iter().all(|row| row.rates.is_none()));
        assert!(sample.total.rates.is_none() && sample.commands.is_empty());
        assert!(Sample::of(&now, None).nodes.iter().all(|row| row.rates.is_none()));
    }
}
