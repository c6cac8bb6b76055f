//! Regions in the period: how much of what was asked of each was found, how much of it was evicted, and which of its
//! keys are used most.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::kpis::{Level, Thresholds, FEWEST};
use super::period::share;
use crate::deployment::Node;
use crate::history::Moment;
use crate::reading::{reply, Region};

/// What one aims at, is warned of and is woken by.
pub const HIT_RATE: Thresholds = Thresholds::new(85.0, 80.0, 70.0);
pub const MISS_RATE: Thresholds = Thresholds::new(15.0, 20.0, 30.0);
pub const EVICTIONS: Thresholds = Thresholds::new(5.0, 10.0, 20.0);

/// The time of which an eviction rate is, in seconds: so that of a long period it is no larger.
const EVICTED_WITHIN: f64 = 300.0;

/// Regions of which the most used keys are told.
const WITH_KEYS: usize = 20;

/// What came in the period, and what is there at its end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    pub database: u32,
    pub namespace: String,
    pub region: String,
    pub entries: u64,
    pub bytes: u64,
    /// 0: no bound.
    pub max_bytes: u64,
    /// Of MAXBYTES, percent.
    pub memory: Option<f64>,
    pub lookups: u64,
    pub misses: u64,
    pub stale: u64,
    pub waits: u64,
    pub evicted: u64,
    pub refused_fills: u64,
    pub hit_rate: Judged,
    pub miss_rate: Judged,
    /// Of the entries that it had in five minutes, those that went for want of room, on average.
    pub eviction_rate: Judged,
    pub top: Vec<Used>,
    #[serde(skip)]
    pub title: String,
}

/// Percent, and what is to be thought of it.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    pub value: Option<f64>,
    pub level: Level,
}

/// A key by CACHE.TOP, at one primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    pub key: String,
    /// How often it was read in the last hours, as the sketch has it.
    pub hits: u64,
}

impl Default for Judged {
    fn default() -> Self {
        Self { value: None, level: Level::Unknown }
    }
}

impl Judged {
    fn of(value: Option<f64>, by: Thresholds) -> Self {
        Self { value, level: value.map_or(Level::Unknown, |value| by.judge(value)) }
    }
}

impl Told {
    pub fn level(&self) -> Level {
        self.hit_rate.level.max(self.miss_rate.level).max(self.eviction_rate.level)
    }

    fn judge(&mut self, seconds: f64) {
        let is_enough = self.lookups as f64 >= FEWEST;
        let misses = share(self.misses as f64, self.lookups as f64).filter(|_| is_enough);
        self.hit_rate = Judged::of(misses.map(|misses| 100.0 - misses), HIT_RATE);
        self.miss_rate = Judged::of(misses, MISS_RATE);
        let evicted = self.evicted as f64 * (EVICTED_WITHIN / seconds.max(1.0)).min(1.0);
        let had = evicted + self.entries as f64;
        let rate =
            share(evicted, had).filter(|_| self.entries as f64 + self.evicted as f64 >= FEWEST);
        self.eviction_rate = Judged::of(rate, EVICTIONS);
        self.memory = share(self.bytes as f64, self.max_bytes as f64);
    }
}

/// Of a period of so many seconds. What is asked is all nodes' own; what is held and evicted, the primaries'. The one
/// that was asked most first.
pub fn between(before: &[Moment], after: &[Moment], seconds: f64) -> Vec<Told> {
    let mut all: BTreeMap<(u32, &str, &str), Told> = BTreeMap::new();
    for now in after {
        let then =
            before.iter().find(|then| then.address == now.address && then.run_id == now.run_id);
        for region in &now.regions {
            let none = Region::default();
            let then =
                then.and_then(|then| then.regions.iter().find(|one| one.id() == region.id()));
            add(
                all.entry(region.id()).or_default(),
                now.is_primary(),
                region,
                then.unwrap_or(&none),
            );
        }
    }
    let mut all: Vec<Told> = all.into_values().collect();
    all.iter_mut().for_each(|told| told.judge(seconds));
    all.sort_by_key(|told| std::cmp::Reverse(told.lookups));
    all
}

fn add(told: &mut Told, is_primary: bool, now: &Region, then: &Region) {
    (told.database, told.namespace, told.region, told.title) =
        (now.database, now.namespace.clone(), now.region.clone(), now.title());
    told.lookups += now.lookups().saturating_sub(then.lookups());
    told.misses += now.misses.saturating_sub(then.misses);
    told.stale += now.stale.saturating_sub(then.stale);
    told.waits += now.waits.saturating_sub(then.waits);
    if is_primary {
        told.entries += now.entries;
        told.bytes += now.bytes;
        told.max_bytes += now.max_bytes;
        told.evicted += now.evicted.saturating_sub(then.evicted);
        told.refused_fills += now.refused_fills.saturating_sub(then.refused_fills);
    }
}

/// Asks the primaries which keys of the first regions are used most. Who may not ask has none.
pub fn with_keys(all: &mut [Told], primaries: &[&Node], most: usize) -> Result<()> {
    if most == 0 {
        return Ok(());
    }
    for told in all.iter_mut().take(WITH_KEYS) {
        for node in primaries {
            let mut link = node.connect(told.database)?;
            let mut command = redis::cmd("CACHE.TOP");
            command.arg(&told.region).arg("COUNT").arg(most);
            if !told.namespace.is_empty() {
                command.arg("NS").arg(&told.namespace);
            }
            let Ok(reply) = link.try_ask(&command)? else { continue };
            let used = |pair: &redis::Value| match reply::items(pair)? {
                [key, hits] => Some(Used {
                    key: reply::text(key)?,
                    hits: u64::try_from(reply::number(hits)?).ok()?,
                }),
                _ => None,
            };
            told.top.extend(reply::items(&reply).unwrap_or_default().iter().filter_map(used));
        }
        told.top.sort_by_key(|used| std::cmp::Reverse(used.hits));
        told.top.truncate(most);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_judged_by_what_came_in_the_period() {
        let then = Region { hits: 100, misses: 100, evicted: 50, ..Region::default() };
        let now = Region { hits: 175, misses: 125, evicted: 650, entries: 900, ..then.clone() };
        let mut told = Told::default();
        add(&mut told, true, &now, &then);
        add(&mut told, false, &now, &then);
        assert_eq!((told.lookups, told.misses, told.entries, told.evicted), (200, 50, 900, 600));
        told.judge(1800.0);
        assert_eq!((told.hit_rate.value, told.hit_rate.level), (Some(75.0), Level::Warning));
        assert_eq!((told.miss_rate.value, told.miss_rate.level), (Some(25.0), Level::Warning));
        // 100 in five minutes, beside 900.
        assert_eq!((told.eviction_rate.value, told.level()), (Some(10.0), Level::Warning));
        told.judge(1.0);
        assert_eq!((told.eviction_rate.value, told.level()), (Some(40.0), Level::Critical));
        let mut few = Told { lookups: 99, misses: 99, ..Told::default() };
        few.judge(1.0);
        assert_eq!(few.level(), Level::Unknown);
    }
}
