//! Regions of all nodes together, and what of them changed between two looks: what is asked wherever that is, the rest
//! as primaries have it, since replicas have the same once more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::reading::Region;
use crate::watch::Seen;

/// A region of the deployment. Rates are a second's, none before the second look.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub database: u32,
    pub namespace: String,
    pub region: String,
    pub entries: u64,
    pub bytes: u64,
    /// Of the last minute, as servers tell it: where several were asked, by how much they were. None: nothing was asked.
    pub hit_rate_1m: Option<f64>,
    pub rates: Option<Rates>,
    #[serde(skip)]
    pub title: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub lookups: f64,
    pub stale: f64,
    pub waits: f64,
    pub evicted: f64,
    pub refused_fills: f64,
}

/// What is added up for a row.
#[derive(Default)]
struct Sum {
    row: Row,
    /// Of nodes that tell a hit rate: that, times their weights; and these.
    hit_rate: f64,
    weights: f64,
}

/// Those that are asked most first, by their names where that says nothing.
pub fn rows(nodes: &[Seen], before: &[Seen]) -> Vec<Row> {
    let mut sums: BTreeMap<(u32, String, String), Sum> = BTreeMap::new();
    for seen in nodes {
        let earlier = before.iter().find(|earlier| earlier.node == seen.node);
        for region in regions(seen) {
            let (database, namespace, name) = region.id();
            let sum = sums.entry((database, namespace.into(), name.into())).or_default();
            add(sum, seen, region, earlier);
        }
    }
    let row = |sum: Sum| Row {
        hit_rate_1m: (sum.weights > 0.0).then(|| sum.hit_rate / sum.weights),
        ..sum.row
    };
    let mut rows: Vec<Row> = sums.into_values().map(row).collect();
    let asked = |row: &Row| row.rates.as_ref().map_or(0.0, |rates| rates.lookups);
    rows.sort_by(|a, b| asked(b).total_cmp(&asked(a)));
    rows
}

/// The time between two looks at a node of the same life.
pub fn between(now: &Seen, before: &Seen) -> Option<Duration> {
    let is_same = now.facts.as_ref()?.run_id == before.facts.as_ref()?.run_id;
    let time = now.at.saturating_duration_since(before.at);
    (is_same && !time.is_zero()).then_some(time)
}

fn regions(seen: &Seen) -> &[Region] {
    seen.figures.as_ref().ok().and_then(|figures| figures.regions.as_deref()).unwrap_or_default()
}

fn add(sum: &mut Sum, seen: &Seen, region: &Region, earlier: Option<&Seen>) {
    let row = &mut sum.row;
    (row.database, row.namespace, row.region, row.title) =
        (region.database, region.namespace.clone(), region.region.clone(), region.title());
    let is_primary = seen.role == "primary";
    if is_primary {
        row.entries = row.entries.saturating_add(region.entries);
        row.bytes = row.bytes.saturating_add(region.bytes);
    }
    let time = earlier.and_then(|earlier| between(seen, earlier));
    // One that was not there before began with nothing.
    let none = Region::default();
    let then = earlier.and_then(|then| regions(then).iter().find(|then| then.id() == region.id()));
    let then = then.unwrap_or(&none);
    let mut asked = 0.0;
    if let Some(time) = time {
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / time.as_secs_f64();
        asked = rate(region.lookups(), then.lookups());
        let rates = row.rates.get_or_insert_with(Rates::default);
        rates.lookups += asked;
        rates.stale += rate(region.stale, then.stale);
        rates.waits += rate(region.waits, then.waits);
        if is_primary {
            rates.evicted += rate(region.evicted, then.evicted);
            rates.refused_fills += rate(region.refused_fills, then.refused_fills);
        }
    }
    if let Some(percent) = region.hit_rate_1m {
        // A node that was asked in the last minute and not since the last look counts a little.
        let weight = asked + 0.01;
        sum.hit_rate += weight * percent as f64 / 100.0;
        sum.weights += weight;
    }
}
