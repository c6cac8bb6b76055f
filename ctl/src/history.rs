//! What the nodes of a deployment said at one moment, as a report keeps it and a later run reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::connect::Link;
use crate::reading::{durations, regions, Durations, Facts, Health, Region};
use crate::sample::Kind;

/// What of an earlier report of `apikeyctl report --json` a later run reads. It has more.
#[derive(Clone, Debug, Deserialize)]
pub struct Earlier {
    /// Epoch seconds at its end.
    pub time: u64,
    pub nodes: Vec<Moment>,
    pub kpis: Vec<KpiThen>,
}

/// A key figure as it was.
#[derive(Clone, Debug, Deserialize)]
pub struct KpiThen {
    pub kpi: String,
    pub value: Option<f64>,
}

/// What a node said.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Moment {
    pub address: String,
    pub role: String,
    pub run_id: String,
    pub uptime_seconds: u64,
    pub connected_clients: Option<u64>,
    pub maxclients: Option<u64>,
    /// All of HEALTH.
    pub health: Map<String, Json>,
    /// Of each of the module's commands, since the start.
    pub durations: BTreeMap<String, Durations>,
    /// Those that the user may read.
    #[serde(default)]
    pub regions: Vec<Region>,
}

impl Moment {
    pub fn read(link: &mut Link) -> Result<Self> {
        let facts = Facts::read(link)?;
        let health = match Health::read(link)?.json() {
            Json::Object(fields) => fields,
            _ => Map::new(),
        };
        Ok(Self {
            address: link.address.to_string(),
            role: if facts.is_primary() { "primary" } else { "replica" }.into(),
            run_id: facts.run_id.clone(),
            uptime_seconds: facts.info.number("uptime_in_seconds").unwrap_or(0),
            connected_clients: facts.info.number("connected_clients"),
            maxclients: facts.info.number("maxclients"),
            health,
            durations: durations::read(link)?,
            regions: regions::read(link, &facts.databases())?.unwrap_or_default(),
        })
    }

    pub fn is_primary(&self) -> bool {
        self.role == "primary"
    }

    /// A number of HEALTH; 0 for nil, and where it has none.
    pub fn number(&self, field: &str) -> f64 {
        self.health.get(field).and_then(Json::as_f64).unwrap_or(0.0)
    }

    pub fn text(&self, field: &str) -> &str {
        self.health.get(field).and_then(Json::as_str).unwrap_or_default()
    }

    /// Why the status is what it is.
    pub fn reasons(&self) -> Vec<String> {
        let reasons = self.health.get("reasons").and_then(Json::as_array);
        let text = |reason: &Json| reason.as_str().map(Into::into);
        reasons.into_iter().flatten().filter_map(text).collect()
    }
}

impl Earlier {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!("{} is no report of `apikeyctl report --json`", path.display())
        })
    }

    /// How long ago it was.
    pub fn age(&self) -> Duration {
        let then = UNIX_EPOCH.checked_add(Duration::from_secs(self.time));
        then.and_then(|then| SystemTime::now().duration_since(then).ok()).unwrap_or_default()
    }

    /// The keys of each of the module's kinds, of all primaries together.
    pub fn counts(&self) -> BTreeMap<Kind, f64> {
        let mut counts = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.is_primary()) {
            for kind in Kind::ALL {
                *counts.entry(kind).or_default() += node.number(kind.name());
            }
        }
        counts
    }
}
