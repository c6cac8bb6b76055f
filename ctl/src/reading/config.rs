//! CONFIG: the settings of the server and of the module.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{anyhow, Context, Result};
use redis::Value;

use super::reply;
use crate::connect::Link;

/// Settings by their names; the module's are `apikey.*`, and 6.2 has none of those.
#[derive(Clone, Debug, Default)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// Those whose names match: `apikey.*`, `maxmemory`.
    pub fn read(link: &mut Link, pattern: &str) -> Result<Self> {
        let value: Value = link.ask(redis::cmd("CONFIG").arg("GET").arg(pattern))?;
        let fields = reply::fields(&value).with_context(|| {
            format!("{}: CONFIG GET has a reply that is not known", link.address)
        })?;
        let setting =
            |(name, value): (String, Value)| (name, reply::text(&value).unwrap_or_default());
        Ok(Self(fields.into_iter().map(setting).collect()))
    }

    /// Of names and values that were read elsewhere.
    pub fn of(settings: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(settings.into_iter().collect())
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }
}

/// CONFIG SET of one setting.
pub fn set(link: &mut Link, name: &str, value: &str) -> Result<()> {
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg(name).arg(value);
    match link.try_ask(&command)? {
        Ok(_) => Ok(()),
        // As each server words it.
        Err(refusal) if refusal.text.contains("Unknown option") || refusal.text.contains("Unsupported CONFIG") => {
            Err(anyhow!(
                "{}: it has no setting {name} that CONFIG SET can change (Redis 6.2 takes a module's settings as \
                 arguments of loadmodule, at a start; else see that the module is loaded)",
                link.address
            ))
        }
        Err(refusal) => Err(link.refused(&command, &refusal)),
    }
}
