//! The command line and the environment: which rows to run, on which server, how large.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{bail, ensure, Context, Result};
use lexopt::prelude::*;

use crate::rows::{Row, ROWS};
use crate::settings::Settings;

pub enum Request {
    Help,
    /// With the rows to run, in the order in which they were asked for.
    Run(Settings, Vec<&'static Row>),
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "usage: apikey-bench [row...] [--quick] [--rounds N] [--entries N] [--runs N]\n\
         \x20                   [--json FILE] [--chart FILE]\n\n\
         rows (without any: all of them):\n",
    );
    for row in ROWS {
        text.push_str(&format!("  {:<10}{}\n", row.name, row.about));
    }
    text.push_str(
        "\n--quick       small numbers of everything: under two minutes for all rows\n\
         --rounds N    measure each side N times (5; 3 with --quick)\n\
         --entries N   entries in the server, or up to N, as below\n\
         --runs N      fills of each kind in `pauses` and `reclaim` (5; 1 with --quick)\n\
         --json FILE   write the figures for machines\n\
         --chart FILE  draw the curves of `growth` and `reclaim` as an SVG\n\n\
         entries without --entries:            with --quick\n  \
         most rows                1,000,000    50,000\n  \
         `growth`    1,000 up to  5,000,000    100,000\n  \
         `reclaim`   1,000 up to  1,000,000    10,000\n  \
         `pauses`                 5,000,000    100,000\n\n\
         environment: APIKEY_SERVER_BIN (redis-server), APIKEY_MODULE (target/release/libapikey.so),\n\
         APIKEY_FLOOR_MODULE (libapikey_floor.so beside that)\n",
    );
    text
}

/// Reads the command line. An unknown row or option, or a number out of range, is an error.
pub fn parse() -> Result<Request> {
    let (mut names, mut quick) = (Vec::new(), false);
    let (mut rounds, mut entries, mut runs) = (None, None, None);
    let (mut json, mut chart) = (None, None);
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
            Long("chart") => chart = Some(svg(parser.value()?.into())?),
            Value(name) => names.push(name.string()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let module = path("APIKEY_MODULE", "target/release/libapikey.so");
    let settings = Settings {
        rounds: rounds.unwrap_or(if quick { 3 } else { 5 }),
        runs: runs.unwrap_or(if quick { 1 } else { 5 }),
        calls: if quick { 30_000 } else { 300_000 },
        entries: entries.unwrap_or(if quick { 50_000 } else { 1_000_000 }),
        growth_entries: entries.unwrap_or(if quick { 100_000 } else { 5_000_000 }),
        pause_entries: entries.unwrap_or(if quick { 100_000 } else { 5_000_000 }),
        reclaim_entries: entries.unwrap_or(if quick { 10_000 } else { 1_000_000 }),
        json,
        chart,
        server: path("APIKEY_SERVER_BIN", "redis-server"),
        floor: match env::var_os("APIKEY_FLOOR_MODULE") {
            Some(path) => path.into(),
            None => module.with_file_name("libapikey_floor.so"),
        },
        module,
    };
    Ok(Request::Run(settings, choose(&names)?))
}

/// A path that the environment may name.
fn path(variable: &str, default: &str) -> PathBuf {
    env::var_os(variable).unwrap_or(default.into()).into()
}

/// A name that does not promise a picture of another kind.
fn svg(path: PathBuf) -> Result<PathBuf> {
    let other = path.extension().filter(|extension| !extension.eq_ignore_ascii_case("svg"));
    ensure!(other.is_none(), "--chart writes an SVG: {} is named for another", path.display());
    Ok(path)
}

fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
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
