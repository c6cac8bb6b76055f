//! What is made of each record: its key, and the SETVAL that stores it, up to the token.

use apikey_engine::record::digest::{to_hex, NEVER};
use apikey_engine::record::values::{read_digests, NaiveTimes, EARLIEST, LATEST};
use redis::Cmd;

use super::pattern::Pattern;
use super::row::Row;
use crate::fill::{Fill, Recipe};

pub struct OfRows {
    pub key: Pattern,
    pub digest_field: Option<String>,
    pub namespace: Option<String>,
    pub tags: Vec<Pattern>,
    /// Seconds.
    pub ttl: Option<u64>,
    pub if_absent: bool,
}

impl Recipe for OfRows {
    fn read(&self, line: &[u8]) -> Result<Option<Fill>, String> {
        let row = Row::parse(line)?;
        let key = self.key.fill(&row)?;
        let mut command = Cmd::with_capacity(12, line.len() + 256);
        command.arg("APIKEY.SETVAL").arg(&key);
        match &self.digest_field {
            Some(field) => {
                let digests = read_digests(field, row.field(field)?, NaiveTimes::Refuse);
                // The server's settings are not known here.
                let hint = "; the server's own digest-field obeys it";
                let digests = digests.map_err(|bad| match bad.0.contains("naive-times") {
                    true => format!("{}{hint}", bad.0).into(),
                    false => bad.0,
                })?;
                command.arg(&*row.json_without(field));
                for accepted in digests {
                    command.arg("DIGEST").arg(to_hex(&accepted.digest));
                    if accepted.until != NEVER {
                        // What has ended for ever has no other number.
                        let until = accepted.until.clamp(EARLIEST, LATEST);
                        command.arg("UNTIL").arg(until);
                    }
                }
            }
            None => {
                command.arg(row.line());
            }
        }
        if let Some(seconds) = self.ttl {
            command.arg("EX").arg(seconds);
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
        Ok(Some(Fill { key: key.into_bytes(), command }))
    }
}
