//! MSETVAL of many records a call, as a warm-up sends them, against a pipeline of as many SETVAL.
//!
//! Both sides store new entries with the three automatic tags under a token, and take the digest from
//! the same field of the same records (`digest-field`), since MSETVAL has no other way to give one. So
//! what differs is that one command carries what else many do. Each side has a server of its own, and
//! each round fills both from empty.

use anyhow::Result;
use redis::{Connection, Pipeline, Value};

use super::row::{Row, Run};
use crate::measure::{Rounds, Turn, Which};
use crate::pipeline::{run, Cost, Side};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::workload::{Workload, TTL};

pub const ROW: Row = Row {
    name: "msetval",
    about: "MSETVAL of 100 records a call against a pipeline of 100 SETVAL",
    run: Run::Lines(measure),
};

/// Records of a call, and SETVAL in a pipeline.
const BATCH: u64 = 100;
const DIGEST_FIELD: &str = "key_hash";

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let start = || Server::with_module_set(settings, &["digest-field", DIGEST_FIELD]);
    let (many, single) = (start()?, start()?);
    let (mut to_many, mut to_single) = (many.connect()?, single.connect()?);
    let work = Workload::new(settings.entries, 10);
    let batches = settings.entries / BATCH;
    let rounds = Rounds::run(settings.rounds, batches, |Turn { which, calls, .. }| {
        let (server, con) = match which {
            Which::Ours => (&many, &mut to_many),
            Which::Alternative => (&single, &mut to_single),
        };
        if calls.start == 0 {
            server.flush()?;
        }
        let token = token(con, work)?;
        match which {
            // A call to a pipeline, counted as so many records.
            Which::Ours => {
                let cost = run(server, con, &Many { work, token }, calls, 1)?;
                Ok(Cost { calls: cost.calls * BATCH, ..cost })
            }
            Which::Alternative => {
                let records = calls.start * BATCH..calls.end * BATCH;
                run(server, con, &Single { work, token }, records, BATCH)
            }
        }
    })?;
    let ours = format!("MSETVAL of {BATCH}, a record");
    let line = Line::cpu("msetval", ours, "SETVAL TOKEN t".into(), &rounds, f64::INFINITY);
    Ok(vec![Line { goal: None, ..line }])
}

/// A token for the fills of one turn, which is over long before the token is too old.
fn token(con: &mut Connection, work: Workload) -> Result<String> {
    Ok(redis::cmd("APIKEY.TOKEN").arg(work.key(0)).query(con)?)
}

/// The record as the application's database has it, its digest included.
fn row(work: Workload, i: u64) -> String {
    let record = work.record(i);
    let fields = record.trim_end_matches('}');
    format!("{fields},\"{DIGEST_FIELD}\":\"{}\"}}", work.digest(i))
}

struct Many {
    work: Workload,
    token: String,
}

impl Side for Many {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("APIKEY.MSETVAL").arg(BATCH);
        for i in i * BATCH..(i + 1) * BATCH {
            pipe.arg(self.work.key(i)).arg(row(self.work, i));
        }
        pipe.arg("TOKEN").arg(&self.token).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(BATCH as i64)
    }
}

struct Single {
    work: Workload,
    token: String,
}

impl Side for Single {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("APIKEY.SETVAL").arg(self.work.key(i)).arg(row(self.work, i));
        pipe.arg("TOKEN").arg(&self.token).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}
