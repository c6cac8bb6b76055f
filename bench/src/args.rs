//! The command line and the environment: which rows to run, on which server, how large.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{bail, ensure, Context, Result};
use lexopt::prelude::*;

use crate::rows::{Row, ROWS};

/// What a run was asked for, every default spelled out.
pub struct Settings {
    /// The rows to run, in the order in which they were asked for.
    pub rows: Vec<&'static Row>,
    /// How many times both sides of a row are measured.
    pub rounds: usize,
    /// How many fills of each kind `pauses` and `reclaim` make.
    pub runs: usize,
    /// Calls of each side in one round, for the rows that read what is there.
    pub calls: u64,
    /// How many entries a server is filled with; `pauses` and `reclaim`, which goes up to it, have
    /// numbers of their own.
    pub entries: u64,
    pub pause_entries: u64,
    pub reclaim_entries: u64,
    pub json: Option<PathBuf>,
    /// The server's program (APIKEY_SERVER_BIN).
    pub server: PathBuf,
    /// The module (APIKEY_MODULE).
    pub module: PathBuf,
}

pub enum Request {
    Help,
    Run(Settings),
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "usage: apikey-bench [row...] [--quick] [--rounds N] [--entries N] [--runs N] [--json FILE]\n\n\
         rows (without any: all but the slow ones; `all` names every one):\n",
    );
    for row in ROWS {
        let slow = if row.slow { " [slow]" } else { "" };
        text.push_str(&format!("  {:<10}{}{slow}\n", row.name, row.about));
    }
    text.push_str(
        "\n--quick      a tenth of the entries (`reclaim`: at most 10,000), fewer rounds\n\
         --rounds N   measure each side N times (5; 3 with --quick)\n\
         --entries N  entries in the server (1,000,000; `pauses`: 3,000,000; `reclaim`: at most N)\n\
         --runs N     fills of each kind in `pauses` and `reclaim` (5; 2 with --quick)\n\
         --json FILE  write the figures for machines\n\n\
         environment: APIKEY_MODULE (target/release/libapikey.so), APIKEY_SERVER_BIN (redis-server)\n",
    );
    text
}

/// Reads the command line. An unknown row or option, or a number out of range, is an error.
pub fn parse() -> Result<Request> {
    let (mut names, mut all, mut quick) = (Vec::new(), false, false);
    let (mut rounds, mut entries, mut runs, mut json) = (None, None, None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Request::Help),
            Long("quick") => quick = true,
            Long("rounds") => rounds = Some(number("--rounds", parser.value()?, 1, 1_000)?),
            Long("runs") => runs = Some(number("--runs", parser.value()?, 1, 1_000)?),
            Long("entries") => {
                entries = Some(number("--entries", parser.value()?, 1_000, 9_999_999)?)
            }
            Long("json") => json = Some(PathBuf::from(parser.value()?)),
            Value(name) if name == "all" => all = true,
            Value(name) => names.push(name.string()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    Ok(Request::Run(Settings {
        rows: choose(&names, all)?,
        rounds: rounds.unwrap_or(if quick { 3 } else { 5 }),
        runs: runs.unwrap_or(if quick { 2 } else { 5 }),
        calls: if quick { 60_000 } else { 300_000 },
        entries: entries.unwrap_or(if quick { 100_000 } else { 1_000_000 }),
        pause_entries: entries.unwrap_or(if quick { 300_000 } else { 5_000_000 }),
        reclaim_entries: entries.unwrap_or(if quick { 10_000 } else { 1_000_000 }),
        json,
        server: env::var_os("APIKEY_SERVER_BIN").unwrap_or("redis-server".into()).into(),
        module: env::var_os("APIKEY_MODULE").unwrap_or("target/release/libapikey.so".into()).into(),
    }))
}

fn choose(names: &[String], all: bool) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().filter(|row| all || !row.slow).collect());
    }
    let mut rows = Vec::new();
    for name in names {
        match ROWS.iter().find(|row| row.name == name) {
            Some(row) => rows.push(row),
            None => bail!("no row is called {name:?}: --help lists them"),
        }
    }
    Ok(rows)
}

fn number<T>(option: &str, text: OsString, least: T, most: T) -> Result<T>
where
    T: FromStr + PartialOrd + std::fmt::Display,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = text.string()?;
    let number: T = text.parse().with_context(|| format!("{option} {text:?} is no number"))?;
    ensure!(number >= least && number <= most, "{option} must be between {least} and {most}");
    Ok(number)
}
