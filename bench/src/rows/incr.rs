//! USAGE.INCR against INCR, on counters that exist, as many of each in the same server, counted in the
//! same scattered order.
//!
//! The counters begin at a million: below 10,000 a server without `maxmemory` shares its integers and
//! INCR has to store another object, which would be in our favour.

use anyhow::Result;
use redis::{Pipeline, Value};

use super::Row;
use crate::args::Settings;
use crate::measure::{Rounds, Turn, Which};
use crate::pipeline::{run, Side, DEPTH};
use crate::server::Server;
use crate::table::Line;
use crate::workload::{mix, Workload};

pub const ROW: Row = Row {
    name: "incr",
    about: "USAGE.INCR against INCR on existing counters",
    slow: false,
    run: measure,
};

const GOAL: f64 = 1.4;
const START: i64 = 1_000_000;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let work = Workload::new(settings.entries, 10);
    for ours in [true, false] {
        run(&server, &mut con, &Create { work, ours }, 0..settings.entries, DEPTH)?;
    }
    server.settle()?;

    let usage = Count { work, entries: settings.entries, ours: true };
    let plain = Count { work, entries: settings.entries, ours: false };
    let rounds = Rounds::run(settings.rounds, settings.calls, |Turn { round, which, calls }| {
        let first = round as u64 * settings.calls;
        let calls = first + calls.start..first + calls.end;
        let side = if which == Which::Ours { &usage } else { &plain };
        run(&server, &mut con, side, calls, DEPTH)
    })?;
    Ok(vec![Line::cpu("incr", "USAGE.INCR key".into(), "INCR key".into(), &rounds, GOAL)])
}

fn name(work: Workload, ours: bool, i: u64) -> String {
    let key = if ours { work.key(i) } else { work.string_key(i) };
    format!("{key}:usage")
}

struct Create {
    work: Workload,
    ours: bool,
}

impl Side for Create {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let name = name(self.work, self.ours, i);
        if self.ours {
            pipe.cmd("APIKEY.USAGE.INCR").arg(name).arg("BY").arg(START);
        } else {
            pipe.cmd("INCRBY").arg(name).arg(START);
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(START)
    }
}

struct Count {
    work: Workload,
    entries: u64,
    ours: bool,
}

impl Side for Count {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let command = if self.ours { "APIKEY.USAGE.INCR" } else { "INCR" };
        pipe.cmd(command).arg(name(self.work, self.ours, mix(i) % self.entries));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        matches!(reply, Value::Int(count) if *count > START)
    }
}
