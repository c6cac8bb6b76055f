//! VALIDATE with SECRET and one SCOPE against GET of a string as long as the record it replies with.
//!
//! Both kinds of key stand in the same server, `entries` of each, and are read in the same scattered
//! order. GET compares nothing and checks nothing: it is the floor of what a lookup costs, not an
//! alternative.

use anyhow::{ensure, Context, Result};
use redis::{Pipeline, Value};

use super::{Fill, Row};
use crate::args::Settings;
use crate::measure::{Rounds, Turn, Which};
use crate::pipeline::{run, Side, DEPTH};
use crate::server::Server;
use crate::table::Line;
use crate::workload::{mix, Workload, SCOPE, TTL};

pub const ROW: Row = Row {
    name: "validate",
    about: "VALIDATE with SECRET and one SCOPE against GET of the same bytes",
    slow: false,
    run: measure,
};

const GOAL: f64 = 2.0;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let work = Workload::new(settings.entries, 10);
    run(&server, &mut con, &Fill(work), 0..settings.entries, DEPTH)?;
    let length = payload(&mut con, work)?;
    run(&server, &mut con, &Store { work, length }, 0..settings.entries, DEPTH)?;
    server.settle()?;

    let validate = Validate { work, entries: settings.entries, length };
    let get = Get { work, entries: settings.entries, length };
    let rounds = Rounds::run(settings.rounds, settings.calls, |Turn { round, which, calls }| {
        let first = round as u64 * settings.calls;
        let calls = first + calls.start..first + calls.end;
        match which {
            Which::Ours => run(&server, &mut con, &validate, calls, DEPTH),
            Which::Alternative => run(&server, &mut con, &get, calls, DEPTH),
        }
    })?;
    let what = "VALIDATE key SECRET s SCOPE x".to_string();
    Ok(vec![Line::cpu("validate", what, format!("GET ({length} bytes)"), &rounds, GOAL)])
}

/// Looks whole at one reply, and gives the length of its record.
fn payload(con: &mut redis::Connection, work: Workload) -> Result<usize> {
    let mut pipe = Pipeline::new();
    Validate { work, entries: 1, length: 0 }.call(0, &mut pipe);
    let replies: Vec<Value> = pipe.query(con)?;
    let (code, record) = answer(&replies[0]).with_context(|| format!("{replies:?}"))?;
    ensure!(code == b"VALID", "VALIDATE says {replies:?}");
    let (got, stored): (serde_json::Value, serde_json::Value) =
        (serde_json::from_slice(record)?, serde_json::from_str(&work.record(0))?);
    ensure!(got == stored, "VALIDATE gave {got}, stored was {stored}");
    Ok(record.len())
}

/// The first two elements of VALIDATE's reply.
fn answer(reply: &Value) -> Option<(&[u8], &[u8])> {
    let Value::Array(elements) = reply else {
        return None;
    };
    match elements.as_slice() {
        [Value::BulkString(code), Value::BulkString(record), ..] => Some((code, record)),
        [Value::SimpleString(code), Value::BulkString(record), ..] => {
            Some((code.as_bytes(), record))
        }
        _ => None,
    }
}

struct Validate {
    work: Workload,
    entries: u64,
    length: usize,
}

impl Side for Validate {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let i = mix(i) % self.entries;
        pipe.cmd("APIKEY.VALIDATE").arg(self.work.key(i));
        pipe.arg("SECRET").arg(self.work.secret(i)).arg("SCOPE").arg(SCOPE);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        matches!(answer(reply), Some((b"VALID", record)) if record.len() == self.length)
    }
}

struct Get {
    work: Workload,
    entries: u64,
    length: usize,
}

impl Side for Get {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("GET").arg(self.work.string_key(mix(i) % self.entries));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        matches!(reply, Value::BulkString(bytes) if bytes.len() == self.length)
    }
}

/// Strings of just the length that VALIDATE replies with.
struct Store {
    work: Workload,
    length: usize,
}

impl Side for Store {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let mut record = self.work.record(i).into_bytes();
        record.resize(self.length, b' ');
        pipe.cmd("SET").arg(self.work.string_key(i)).arg(record).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}
