//! Rows of real systems, as `tests/data/rows` has them, stored as a warm-up stores them: SETVAL under a token, with the
//! settings that each system's page names, against a plain SET of the same row.
//!
//! The rows that the module takes come in turns, each time with another id and under another key, so that all are new.
//! SET keeps every field of them; SETVAL reads the row, judges it, drops the most of it, and puts what is left under
//! three tags or two. What the rows of two systems cost differs with their length and their fields.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use redis::{Pipeline, Value};

use super::row::{Row, Run};
use crate::measure::{Rounds, Which};
use crate::pipeline::{run, Side, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::workload::TTL;

pub const ROW: Row = Row {
    name: "records",
    about: "SETVAL of rows of real systems against SET of the same rows",
    run: Run::Lines(measure),
};

/// Of the calls that other rows make so many make a round here, since there are many systems.
const SHARE: u64 = 6;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let calls = settings.calls / SHARE;
    let mut lines = Vec::new();
    for system in systems()? {
        let named: Vec<&str> = system.settings.iter().map(String::as_str).collect();
        let ours = Server::with_module_set(settings, &named)?;
        let plain = Server::plain(settings)?;
        let (mut to_ours, mut to_plain) = (ours.connect()?, plain.connect()?);
        let rounds = Rounds::run(settings.rounds, calls, |turn| {
            let fresh = turn.fresh(calls);
            match turn.which {
                Which::Ours => {
                    let token = redis::cmd("APIKEY.TOKEN").arg(key(0)).query(&mut to_ours)?;
                    run(&ours, &mut to_ours, &Judged { system: &system, token }, fresh, DEPTH)
                }
                Which::Alternative => {
                    run(&plain, &mut to_plain, &AsItIs { system: &system }, fresh, DEPTH)
                }
            }
        })?;
        let what = format!("SETVAL, {} ({} bytes)", system.name, system.usual_bytes());
        lines.push(Line::beside("records", what, "SET".into(), &rounds));
    }
    Ok(lines)
}

/// More than any run makes.
const CALLS: u64 = 100_000_000;

/// A system: its page, as far as it is of use here.
struct System {
    name: String,
    /// Names and values, in turns.
    settings: Vec<String>,
    /// Rows that the module takes.
    rows: Vec<Template>,
}

/// A row whose id is to come.
struct Template {
    before: String,
    id: String,
    behind: String,
}

fn systems() -> Result<Vec<System>> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/rows"));
    let files = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| !path.ends_with("README.md"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let page = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            System::read(name, &page)
        })
        .collect()
}

impl System {
    fn read(name: String, page: &str) -> Result<Self> {
        let (mut settings, mut rows, mut row) = (Vec::new(), Vec::new(), "");
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            match line {
                "```text settings" => {
                    let block = lines.by_ref().take_while(|line| *line != "```");
                    let words = block.filter_map(|line| line.split_once(' '));
                    settings.extend(words.flat_map(|(name, value)| [name.into(), value.into()]));
                }
                "```json row" => row = lines.next().unwrap_or_default(),
                "```json stored" => {
                    let template = Template::read(row);
                    rows.push(template.with_context(|| format!("{name}: no id in {row}"))?);
                }
                _ => {}
            }
        }
        ensure!(!rows.is_empty(), "{name} has no row that is stored");
        Ok(Self { name, settings, rows })
    }

    /// Row number `i`.
    fn row(&self, i: u64) -> String {
        self.rows[i as usize % self.rows.len()].with(i)
    }

    /// The mean.
    fn usual_bytes(&self) -> usize {
        let all: usize =
            self.rows.iter().map(|row| row.before.len() + row.id.len() + row.behind.len()).sum();
        all / self.rows.len()
    }
}

impl Template {
    fn read(row: &str) -> Option<Self> {
        let (name_at, name) = (row.find("\"id\"")?, "\"id\"");
        let from = name_at + name.len();
        let id_at = from + row.get(from..)?.find(|c: char| c.is_alphanumeric())?;
        let len = row.get(id_at..)?.find(['"', ','])?;
        let (before, rest) = row.split_at(id_at);
        let (id, behind) = rest.split_at(len);
        Some(Self { before: before.into(), id: id.into(), behind: behind.into() })
    }

    /// With an id of the same kind, and no shorter.
    fn with(&self, i: u64) -> String {
        let Self { before, id, behind } = self;
        match id.parse::<u64>() {
            Ok(number) => format!("{before}{}{behind}", (number / CALLS + 1) * CALLS + i),
            Err(_) => format!("{before}{i:0width$}{behind}", width = id.len()),
        }
    }
}

fn key(i: u64) -> String {
    format!("apikey:{{ak_live_{i:07}}}")
}

struct Judged<'a> {
    system: &'a System,
    token: String,
}

impl Side for Judged<'_> {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("APIKEY.SETVAL").arg(key(i)).arg(self.system.row(i));
        pipe.arg("EX").arg(TTL).arg("TOKEN").arg(&self.token);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

struct AsItIs<'a> {
    system: &'a System,
}

impl Side for AsItIs<'_> {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(key(i)).arg(self.system.row(i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;
    use std::collections::HashSet;

    #[test]
    fn every_system_has_rows_and_each_of_them_gets_an_id_of_its_own() {
        let systems = systems().unwrap();
        assert!(systems.len() >= 10);
        for system in systems {
            let ids: Vec<Json> = (0..20)
                .map(|i| serde_json::from_str::<Json>(&system.row(i)).expect("JSON")["id"].clone())
                .collect();
            assert!(!ids.contains(&Json::Null), "{}: {ids:?}", system.name);
            let different: HashSet<_> = ids.iter().map(Json::to_string).collect();
            assert_eq!(different.len(), ids.len(), "{}: {ids:?}", system.name);
        }
    }
}
