//! The rows, one file each, and the commands that several of them share. A new row is a file that ends
//! in a [`Row`], and its line in [`ROWS`].

mod client;
mod drain;
mod growth;
mod incr;
mod memory;
mod msetval;
mod pauses;
mod rdb;
mod reclaim;
mod replica;
mod script;
mod setval;
mod validate;
mod versions;

use anyhow::Result;
use redis::{Pipeline, Value};

use crate::args::Settings;
use crate::chart::Chart;
use crate::pipeline::Side;
use crate::table::Line;
use crate::workload::{Workload, TTL};

/// One thing that is measured.
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub run: Run,
}

/// How a row is measured.
pub enum Run {
    Lines(fn(&Settings) -> Result<Vec<Line>>),
    /// With curves that show how it grows.
    Curves(fn(&Settings) -> Result<Charted>),
}

pub type Charted = (Vec<Line>, Chart);

pub const ROWS: &[Row] = &[
    validate::ROW,
    script::ROW,
    client::ROW,
    versions::ROW,
    growth::ROW,
    setval::ROW,
    msetval::ROW,
    memory::ROW,
    rdb::ROW,
    replica::ROW,
    incr::ROW,
    drain::ROW,
    reclaim::ROW,
    pauses::ROW,
];

/// A new entry by our command. Its three tags are the automatic ones: id, user and kind.
struct Fill(Workload);

impl Side for Fill {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("APIKEY.SETVAL").arg(self.0.key(i)).arg(self.0.record(i));
        pipe.arg("EX").arg(TTL).arg("DIGEST").arg(self.0.digest(i));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The sanitised record as a string under the entry's name, and nothing that finds it again.
struct FillString(Workload);

impl Side for FillString {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(self.0.key(i)).arg(self.0.record(i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

/// The string's name in the sets of the same three tags, as tag caches keep them.
struct FillSets(Workload);

impl Side for FillSets {
    const COMMANDS: usize = 3;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        for tag in self.0.tags(i) {
            pipe.cmd("SADD").arg(tag).arg(self.0.key(i));
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(1)
    }
}

/// Both: what a tag cache stores for an entry.
struct FillTagged(Workload);

impl Side for FillTagged {
    const COMMANDS: usize = FillString::COMMANDS + FillSets::COMMANDS;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        FillString(self.0).call(i, pipe);
        FillSets(self.0).call(i, pipe);
    }

    fn right(&self, command: usize, reply: &Value) -> bool {
        match command {
            0 => FillString(self.0).right(0, reply),
            _ => FillSets(self.0).right(command - 1, reply),
        }
    }
}
