//! Counts as lines of JSON on the standard output.
//!
//! A batch is written, flushed and, where that is a file, on disk before it is acknowledged. Nothing here knows which
//! lines were written before: whoever reads them guards by `line` against one that comes twice.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use serde::Serialize;

use super::batch::Batch;
use super::sink::{Sink, Written};

pub struct Ndjson(File);

/// A line; docs/operating.md has it.
#[derive(Serialize)]
struct Row<'a> {
    line: &'a str,
    batch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// In place of a key that is no UTF-8, which can't stand in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    count: i64,
    last_used_at: i64,
}

impl Ndjson {
    pub fn new() -> Result<Self> {
        let out = io::stdout().as_fd().try_clone_to_owned().context("the standard output")?;
        Ok(Self(File::from(out)))
    }
}

impl Sink for Ndjson {
    fn ready(&mut self) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<Written> {
        let mut text = Vec::new();
        for line in &batch.lines {
            let key = std::str::from_utf8(&line.key).ok();
            let hex = || line.key.iter().map(|byte| format!("{byte:02x}")).collect();
            let row = Row {
                line: &line.id,
                batch: &batch.id,
                key,
                key_hex: key.is_none().then(hex),
                count: line.count,
                last_used_at: line.last_used_at,
            };
            serde_json::to_writer(&mut text, &row)?;
            text.push(b'\n');
        }
        self.0.write_all(&text)?;
        match self.0.sync_data() {
            // A pipe or a terminal has no disk.
            Err(error)
                if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {}
            synced => synced?,
        }
        Ok(Written { new: batch.lines.len() as u64, refused: Vec::new() })
    }

    fn may_come_back(&self) -> bool {
        false
    }
}
