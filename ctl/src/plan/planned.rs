//! A plan: each primary as it is and as it will be, and what follows of that.

use serde::Serialize;

use super::machine::Machine;
use super::memory::{by_name, Counts, Rates};
use super::outlook::{records, Room, Then};
use crate::deployment::Away;

#[derive(Serialize)]
pub struct Plan {
    pub primaries: Vec<Primary>,
    pub months: u16,
    pub shard_above: u64,
    pub advice: Vec<Advice>,
    pub away: Vec<Away>,
}

/// One primary: what it has, and what it will.
#[derive(Serialize)]
pub struct Primary {
    pub address: String,
    #[serde(serialize_with = "by_name")]
    pub keys: Counts,
    pub used_memory: f64,
    /// Of that, what does not grow with the keys; the index; the server's tables.
    pub fixed: f64,
    pub index: f64,
    pub tables: f64,
    /// What it is planned for; none where it has no limit.
    pub maxmemory: Option<f64>,
    pub rates: Rates,
    /// With --keys.
    pub target: Option<Then>,
    /// With growth, by month.
    pub outlook: Vec<Then>,
    /// With a limit.
    pub room: Vec<Room>,
    pub machine: Machine,
}

/// What follows of a plan, with its reason.
#[derive(Debug, Serialize)]
pub struct Advice {
    pub what: String,
    #[serde(rename = "do")]
    pub todo: String,
}

impl Plan {
    /// Whether what was asked for is more than maxmemory.
    pub fn has_no_room(&self) -> bool {
        self.primaries.iter().any(|primary| {
            let most = primary.target.iter().chain(&primary.outlook).map(|then| then.bytes);
            primary.maxmemory.is_some_and(|limit| most.fold(0.0, f64::max) > limit)
        })
    }
}

impl Primary {
    pub fn records(&self) -> f64 {
        records(&self.keys)
    }
}

/// So many months from now, in words.
pub fn when(months: f64) -> String {
    match months < 0.05 {
        true => "now".into(),
        false => format!("in {months:.1} months"),
    }
}
