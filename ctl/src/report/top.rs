//! Which tags most entries carry, and which counters count most, of a bounded sample of the keys.

use std::collections::HashMap;

use anyhow::Result;
use serde::Serialize;

use crate::deployment::Node;
use crate::output::grouped;
use crate::reading::reply;
use crate::sample::{self, Kind};

/// Keys that are looked at, of each database of each primary.
const SAMPLE: u64 = 2_000;

#[derive(Debug, Default, Serialize)]
pub struct Top {
    /// Keys that were looked at.
    pub sampled: u64,
    pub tags: Vec<Tag>,
    pub counters: Vec<Counter>,
    /// Why there are none.
    pub untold: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Tag {
    pub tag: String,
    pub database: u32,
    /// Entries of the sample.
    pub in_sample: u64,
    /// Entries in all, by TAGCARD.
    pub entries: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct Counter {
    pub key: String,
    pub database: u32,
    pub total: u64,
    pub pending: u64,
}

impl Top {
    pub fn of(primaries: &[&Node], most: usize) -> Self {
        let mut top = Self::default();
        if most == 0 {
            return top;
        }
        if let Err(why) = top.look(primaries, most) {
            top.untold = Some(format!("{why:#}"));
        }
        top
    }

    /// How much of all it was made of.
    pub fn basis(&self) -> String {
        format!(
            "Of a sample of {} keys: what is rare may be missing, and the largest may be others.",
            grouped(self.sampled)
        )
    }

    fn look(&mut self, primaries: &[&Node], most: usize) -> Result<()> {
        let mut tags: HashMap<(u32, Vec<u8>), u64> = HashMap::new();
        for node in primaries {
            let keys = sample::keys(node, SAMPLE)?;
            self.sampled += keys.len() as u64;
            let (mut counters, mut at) = (Vec::new(), Vec::new());
            for key in keys {
                // All entries have the tags of their kind, and one each that of its id.
                let is_told = |tag: &&Vec<u8>| !tag.windows(12).any(|part| part == b"apikey:kind:");
                for tag in key.tags.iter().filter(is_told) {
                    *tags.entry((key.database, tag.clone())).or_default() += 1;
                }
                if key.kind == Kind::Counter {
                    let mut command = redis::cmd("APIKEY.USAGE.GET");
                    command.arg(&key.name);
                    counters.push(command);
                    at.push((key.database, key.name));
                }
            }
            self.count(node, &at, &counters)?;
        }
        self.counters.sort_by_key(|counter| std::cmp::Reverse(counter.total));
        self.counters.truncate(most);
        let mut tags: Vec<_> = tags.into_iter().filter(|(_, number)| *number > 1).collect();
        tags.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        for ((database, tag), in_sample) in tags.into_iter().take(most) {
            let mut entries: Option<u64> = None;
            // In a cluster each primary tells of all.
            for node in primaries.iter().take(1) {
                let mut link = node.connect(database)?;
                let told = link.try_ask(redis::cmd("APIKEY.TAGCARD").arg(&tag))?;
                entries = told.ok().and_then(|told| u64::try_from(reply::number(&told)?).ok());
            }
            let tag = String::from_utf8_lossy(&tag).into_owned();
            self.tags.push(Tag { tag, database, in_sample, entries });
        }
        Ok(())
    }

    fn count(&mut self, node: &Node, at: &[(u32, Vec<u8>)], commands: &[redis::Cmd]) -> Result<()> {
        let mut link = node.connect(0)?;
        let mut selected = 0;
        for ((database, key), command) in at.iter().zip(commands) {
            if *database != selected {
                link.select(*database)?;
                selected = *database;
            }
            // One that is gone by now has no fields.
            let told = link.try_ask(command)?.map_err(|refusal| link.refused(command, &refusal))?;
            let fields = reply::fields(&told).unwrap_or_default();
            let number = |name: &str| {
                let field = fields.iter().find(|(known, _)| known == name);
                field.and_then(|(_, value)| u64::try_from(reply::number(value)?).ok()).unwrap_or(0)
            };
            let (total, pending) = (number("total"), number("pending"));
            let key = String::from_utf8_lossy(key).into_owned();
            self.counters.push(Counter { key, database: *database, total, pending });
        }
        Ok(())
    }
}
