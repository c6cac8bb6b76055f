//! APIKEY.HEALTH.

use anyhow::{Context, Result};
use redis::Value;
use serde_json::Value as Json;

use super::reply;
use crate::connect::Link;

/// The fields, in their order; docs/operations.md says what each is.
#[derive(Clone, Debug)]
pub struct Health(Vec<(String, Value)>);

impl Health {
    pub fn read(link: &mut Link) -> Result<Self> {
        let value: Value = link.ask(&redis::cmd("APIKEY.HEALTH"))?;
        Self::of(&value).with_context(|| {
            format!("{}: APIKEY.HEALTH has a reply that is not known", link.address)
        })
    }

    /// Of a reply that was asked for elsewhere.
    pub fn of(reply: &Value) -> Option<Self> {
        reply::fields(reply).map(Self)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// `healthy`, `degraded` or `unhealthy`.
    pub fn status(&self) -> String {
        self.text("status").unwrap_or_default()
    }

    /// Why, as sentences.
    pub fn reasons(&self) -> Vec<String> {
        self.get("reasons").and_then(reply::texts).unwrap_or_default()
    }

    /// The module's version: `0.1.0`.
    pub fn version(&self) -> String {
        self.text("version").unwrap_or_default()
    }

    /// None for nil, and for a field that this version of the module does not have.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(reply::number)
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(reply::text)
    }

    /// A switch: `enabled`, `writes_enabled`, `vouches`.
    pub fn is_on(&self, name: &str) -> bool {
        self.number(name) == Some(1)
    }

    /// Records, absent keys, decisions, lists and values of regions, dead ones that wait to be removed too.
    pub fn entries(&self) -> u64 {
        let kinds = ["records", "absent", "scopes", "lists", "cached_values"];
        let sum: i64 = kinds.iter().filter_map(|kind| self.number(kind)).sum();
        u64::try_from(sum).unwrap_or(0)
    }

    /// Keys that hold counts.
    pub fn counters(&self) -> u64 {
        self.amount("usage_counters")
    }

    /// Uses that were counted and that nobody has settled yet.
    pub fn unsettled(&self) -> u64 {
        self.amount("usage_pending").saturating_add(self.amount("usage_leased"))
    }

    fn amount(&self, name: &str) -> u64 {
        self.number(name).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
    }

    /// Every field, as an object.
    pub fn json(&self) -> Json {
        let field = |(name, value): &(String, Value)| (name.clone(), reply::json(value));
        Json::Object(self.0.iter().map(field).collect())
    }
}
