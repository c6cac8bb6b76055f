//! What the memory of a primary is made of, as measured there: keys of each kind, the index, the server's tables, and
//! what does not grow with the keys.
//!
//! MEMORY USAGE of some keys tells how the kinds differ. What it leaves out (what an allocator rounds up, an object's
//! head, the entry in the table of those with a TTL) is what `used_memory` has beyond all that is known, and every key
//! has an equal share of it. So the parts add up to what the server says, and a plan for the keys that are there is
//! what they take.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::tables::Tables;
use crate::connect::Link;
use crate::deployment::Node;
use crate::reading::info::part;
use crate::reading::{reply, Facts, Health, Info};
use crate::sample::{self, Kind};

/// Keys that are looked at, of each database.
const SAMPLE: u64 = 2_000;

/// A primary of fewer keys says too little: a hundred kilobytes that are no key's would be reckoned as theirs.
pub const FEWEST: f64 = 10_000.0;

/// What the server keeps of each command's durations, from 7.0 on: by its source 3,072 numbers, and what tells of them.
const HISTOGRAM: f64 = 24_680.0;

/// Keys of each kind.
pub type Counts = BTreeMap<Kind, f64>;

/// What a primary had at one moment.
pub struct Look {
    pub used: f64,
    /// Of that, what was there at the start, and what connections, replicas, the AOF and LATENCY HISTOGRAM have.
    pub fixed: f64,
    pub index: f64,
    pub counts: Counts,
    /// Of the server's tables: of each database, and of those of its keys that have a TTL.
    pub tables: f64,
}

impl Look {
    pub fn at(node: &Node, facts: &Facts) -> Result<Self> {
        let mut link = node.connect(0)?;
        let health = Health::read(&mut link)?;
        // Together with it: what facts have is older.
        let now = Facts::read(&mut link)?;
        let mut look = Self::of(&now.info, &health, Tables::of(facts));
        look.fixed += histograms(&mut link)?;
        Ok(look)
    }

    fn of(info: &Info, health: &Health, tables: Tables) -> Self {
        let bytes = |name: &str| info.number::<f64>(name).unwrap_or(0.0);
        let field = |name: &str| health.number(name).unwrap_or(0).max(0) as f64;
        let fixed = [
            "used_memory_startup",
            "mem_clients_normal",
            "mem_clients_slaves",
            "mem_replication_backlog",
            "mem_total_replication_buffers",
            "mem_aof_buffer",
        ];
        let mut fixed: f64 = fixed.iter().map(|name| bytes(name)).sum();
        // The backlog and the replicas' share of it are in it, from 7.0 on.
        if info.text("mem_total_replication_buffers").is_some() {
            fixed -= bytes("mem_replication_backlog") + bytes("mem_clients_slaves");
        }
        let mut all = 0.0;
        let mut of_tables = 0.0;
        for (name, line) in info.lines() {
            let is_database =
                name.strip_prefix("db").is_some_and(|number| number.parse::<u32>().is_ok());
            let number = |name: &str| part(line, name)?.parse::<f64>().ok();
            if let (true, Some(keys), Some(expires)) =
                (is_database, number("keys"), number("expires"))
            {
                all += keys;
                of_tables += tables.bytes(keys) + tables.bytes(expires);
            }
        }
        let mut counts = Counts::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Other) {
            counts.insert(kind, field(kind.name()));
        }
        let others = all - counts.values().sum::<f64>();
        counts.insert(Kind::Other, others.max(0.0));
        Self {
            used: bytes("used_memory"),
            fixed,
            index: field("index_bytes"),
            counts,
            tables: of_tables,
        }
    }

    pub fn keys(&self) -> f64 {
        self.counts.values().sum()
    }

    /// What the keys themselves have.
    fn of_keys(&self) -> f64 {
        (self.used - self.fixed - self.index - self.tables).max(0.0)
    }
}

/// Bytes of what LATENCY HISTOGRAM tells; where it is not known, or not allowed, what little it is counts as the keys'.
fn histograms(link: &mut Link) -> Result<f64> {
    let told = link.try_ask(redis::cmd("LATENCY").arg("HISTOGRAM"))?;
    let commands = told.ok().and_then(|told| reply::fields(&told)).unwrap_or_default();
    Ok(commands.len() as f64 * HISTOGRAM)
}

/// What a key of each kind takes beside the index and the tables, and the index by entry: what a plan is made by.
#[derive(Clone, Debug, Serialize)]
pub struct Rates {
    #[serde(serialize_with = "by_name")]
    pub bytes_of_key: BTreeMap<Kind, f64>,
    pub index_bytes_of_entry: f64,
    /// Whether keys that were there were measured, or some that were stored for it.
    pub by_scratch: bool,
    /// Keys that were looked at.
    pub sampled: usize,
}

impl Rates {
    /// Of the keys that are there.
    pub fn measure(node: &Node, look: &Look) -> Result<Self> {
        let keys = sample::keys(node, SAMPLE)?;
        let mut bytes_of_key = sample::bytes_by_kind(&keys);
        // What is rare was not met: as the others.
        let met: f64 = bytes_of_key.values().sum::<f64>() / bytes_of_key.len().max(1) as f64;
        for (kind, number) in &look.counts {
            if *number > 0.0 {
                bytes_of_key.entry(*kind).or_insert(met);
            }
        }
        let told: f64 = bytes_of_key
            .iter()
            .map(|(kind, bytes)| bytes * look.counts.get(kind).copied().unwrap_or(0.0))
            .sum();
        let share = (look.of_keys() - told) / look.keys().max(1.0);
        bytes_of_key.values_mut().for_each(|bytes| *bytes = (*bytes + share).max(0.0));
        let index_bytes_of_entry = look.index / entries(&look.counts).max(1.0);
        Ok(Self { bytes_of_key, index_bytes_of_entry, by_scratch: false, sampled: keys.len() })
    }

    /// Of records that came between two looks.
    pub fn between(before: &Look, after: &Look, sampled: usize) -> Self {
        let records = |look: &Look| look.counts.get(&Kind::Record).copied().unwrap_or(0.0);
        let came = (records(after) - records(before)).max(1.0);
        let bytes = (after.of_keys() - before.of_keys()).max(0.0) / came;
        Self {
            bytes_of_key: [(Kind::Record, bytes)].into(),
            index_bytes_of_entry: (after.index - before.index).max(0.0) / came,
            by_scratch: true,
            sampled,
        }
    }

    /// What `to` takes beyond `from`: when the tables have settled, and at most, as they grow.
    pub fn growth(&self, from: &Counts, to: &Counts, tables: Tables) -> (f64, f64) {
        let (mut bytes, mut more_keys, mut more_entries) = (0.0, 0.0, 0.0);
        for (kind, number) in to {
            let more = number - from.get(kind).copied().unwrap_or(0.0);
            bytes += more * self.bytes_of_key.get(kind).copied().unwrap_or(0.0);
            more_keys += more;
            more_entries += if kind.is_entry() { more } else { 0.0 };
        }
        bytes += more_entries * self.index_bytes_of_entry;
        let total = |counts: &Counts| counts.values().sum::<f64>();
        let of_both = |counts: &Counts| tables.bytes(total(counts)) + tables.bytes(entries(counts));
        bytes += of_both(to) - of_both(from);
        let growing = match more_keys > 0.0 {
            true => tables.growing(total(to)) + tables.growing(entries(to)),
            false => 0.0,
        };
        (bytes, bytes + growing)
    }
}

fn entries(counts: &Counts) -> f64 {
    counts.iter().filter(|(kind, _)| kind.is_entry()).map(|(_, number)| number).sum()
}

pub fn by_name<S: serde::Serializer>(
    numbers: &BTreeMap<Kind, f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(numbers.iter().map(|(kind, number)| (kind.name(), number.round())))
}
