//! CACHE.STATS: how the regions of a server fare, in each of its databases.

use anyhow::Result;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::reply;
use crate::connect::Link;

/// A region of one database; docs/commands.md says what each figure is. What is no UTF-8 in a name is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Region {
    pub database: u32,
    pub namespace: String,
    pub region: String,
    pub entries: u64,
    pub bytes: u64,
    pub dead: u64,
    pub hits: u64,
    pub stale: u64,
    pub misses: u64,
    pub waits: u64,
    pub absent: u64,
    /// Percent; none where nothing was asked in the last minute.
    pub hit_rate_1m: Option<u64>,
    pub evicted: u64,
    pub refused_fills: u64,
    pub leases: u64,
    /// Milliseconds; none where it has no entry.
    pub oldest: Option<u64>,
    /// 0: no bound.
    pub max_bytes: u64,
    /// 0: no bound.
    pub max_entries: u64,
}

impl Region {
    /// Of a map of CACHE.STATS.
    fn of(database: u32, told: &Value) -> Option<Self> {
        let fields = reply::fields(told)?;
        let field =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let text = |name: &str| field(name).and_then(reply::text);
        let known = |name: &str| field(name).and_then(reply::number)?.try_into().ok();
        let number = |name: &str| known(name).unwrap_or(0);
        Some(Self {
            database,
            namespace: text("namespace")?,
            region: text("region")?,
            entries: number("entries"),
            bytes: number("bytes"),
            dead: number("dead"),
            hits: number("hits"),
            stale: number("stale"),
            misses: number("misses"),
            waits: number("waits"),
            absent: number("absent"),
            hit_rate_1m: known("hit_rate_1m"),
            evicted: number("evicted"),
            refused_fills: number("refused_fills"),
            leases: number("leases"),
            oldest: known("oldest"),
            max_bytes: number("max_bytes"),
            max_entries: number("max_entries"),
        })
    }

    /// What tells it apart.
    pub fn id(&self) -> (u32, &str, &str) {
        (self.database, &self.namespace, &self.region)
    }

    /// Behind its database, where that is not the first, and its namespace.
    pub fn title(&self) -> String {
        let database = match self.database {
            0 => String::new(),
            database => format!("db{database} "),
        };
        format!("{database}{}{}", self.namespace, self.region)
    }

    /// Answers that were no miss.
    pub fn found(&self) -> u64 {
        self.hits.saturating_add(self.stale).saturating_add(self.absent)
    }

    /// All but those that were told to ask again, who are counted then.
    pub fn lookups(&self) -> u64 {
        self.found().saturating_add(self.misses)
    }

    pub fn is_bounded(&self) -> bool {
        self.max_bytes > 0 || self.max_entries > 0
    }
}

/// All regions of these databases that the user may read, by database and name; none where the server has no regions,
/// or the user may not ask. The first database is selected in the end.
pub fn read(link: &mut Link, databases: &[u32]) -> Result<Option<Vec<Region>>> {
    let mut all = Vec::new();
    let command = redis::cmd("CACHE.STATS");
    let mut selected = 0;
    for &database in databases {
        if database != selected {
            match link.try_ask(redis::cmd("SELECT").arg(database))? {
                Ok(_) => selected = database,
                // A user that has the first alone.
                Err(refusal) if refusal.code == "NOPERM" => continue,
                Err(refusal) => return Err(link.refused(&command, &refusal)),
            }
        }
        match link.try_ask(&command)? {
            Ok(told) => {
                let maps = reply::items(&told).unwrap_or_default();
                all.extend(maps.iter().filter_map(|told| Region::of(database, told)));
            }
            Err(refusal) if refusal.code == "NOPERM" || refusal.is_unknown_command() => {
                if selected != 0 {
                    link.select(0)?;
                }
                return Ok(None);
            }
            Err(refusal) => return Err(link.refused(&command, &refusal)),
        }
    }
    if selected != 0 {
        link.select(0)?;
    }
    all.sort();
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_by_names_and_what_is_nil_is_none() {
        let text = |text: &str| Value::BulkString(text.into());
        let told = Value::Array(vec![
            text("region"),
            text("products"),
            text("namespace"),
            text("acme:"),
            text("hits"),
            Value::Int(7),
            text("misses"),
            Value::Int(2),
            text("absent"),
            Value::Int(1),
            text("hit_rate_1m"),
            Value::Nil,
            text("max_entries"),
            Value::Int(10),
            text("evict"),
            text("lru"),
        ]);
        let region = Region::of(3, &told).expect("a region");
        assert_eq!(region.title(), "db3 acme:products");
        assert_eq!((region.found(), region.lookups(), region.hit_rate_1m), (8, 10, None));
        assert!(region.is_bounded() && Region::of(0, &Value::Nil).is_none());
    }
}
