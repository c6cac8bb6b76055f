//! What is made of each row for a region: its key, and the CACHE.SET that stores it, or a field of it, up to the token.

use std::borrow::Cow;
use std::collections::HashSet;

use redis::Cmd;

use super::pattern::Pattern;
use super::row::Row;
use crate::fill::{Fill, Recipe, LONGEST_OF_REGIONS};

pub struct OfValues {
    pub region: String,
    pub key: Pattern,
    /// Whose value is stored; none: the row is.
    pub value: Option<String>,
    pub namespace: Option<String>,
    pub tags: Vec<Pattern>,
    pub label: Option<String>,
    /// Seconds.
    pub ttl: Option<u64>,
    /// Milliseconds.
    pub grace: Option<u64>,
    pub if_absent: bool,
    /// Those that are stored; none: all are.
    pub popular: Option<HashSet<Vec<u8>>>,
}

impl Recipe for OfValues {
    fn read(&self, line: &[u8]) -> Result<Option<Fill>, String> {
        let row = Row::parse(line)?;
        let key = self.key.fill(&row)?.into_bytes();
        if self.popular.as_ref().is_some_and(|popular| !popular.contains(&key)) {
            return Ok(None);
        }
        let mut command = Cmd::with_capacity(16, line.len() + 256);
        command.arg("CACHE.SET").arg(&key).arg(&self.region);
        match &self.value {
            Some(field) => command.arg(text(row.field(field)?).as_bytes()),
            None => command.arg(row.line()),
        };
        if let Some(seconds) = self.ttl {
            command.arg("EX").arg(seconds);
        }
        if let Some(grace) = self.grace {
            command.arg("GRACE").arg(grace);
        }
        if let Some(label) = &self.label {
            command.arg("LABEL").arg(label);
        }
        if let Some(namespace) = &self.namespace {
            command.arg("NS").arg(namespace);
        }
        if !self.tags.is_empty() {
            command.arg("TAGS").arg(self.tags.len());
            for tag in &self.tags {
                command.arg(tag.fill(&row)?);
            }
        }
        if self.if_absent {
            command.arg("NX");
        }
        Ok(Some(Fill { key, command }))
    }

    fn longest(&self) -> usize {
        LONGEST_OF_REGIONS
    }
}

/// What a string says; anything else as it is written.
fn text(json: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned)
}
