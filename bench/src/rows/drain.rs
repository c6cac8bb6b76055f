//! Draining usage counts: LEASE and ACK, batch by batch, against a script that takes a page of SCAN and
//! GETDELs what it lists, as services do that keep their counters as strings.
//!
//! As many counters have something pending on both sides, in two settings: nothing else in the database,
//! which is the best that SCAN can meet, and beside `--entries` keys that have nothing to hand over
//! (counters that were drained before; on the other side strings). The script forgets what it returns;
//! what LEASE gives out stays until its ACK.

use anyhow::{ensure, Result};
use redis::{Cmd, Connection, Pipeline, Value};
use std::time::Instant;

use super::row::{Row, Run};
use crate::measure::{Rounds, Which};
use crate::pipeline::{run, Cost, Side, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;

pub const ROW: Row = Row {
    name: "drain",
    about: "LEASE + ACK of pending counts against SCAN + GETDEL in a script",
    run: Run::Lines(measure),
};

/// Counters with something pending.
const PENDING: u64 = 100_000;
/// Lines of a batch; keys of a page.
const COUNT: u64 = 1_000;
const LEASE_MS: u64 = 60_000;

const SCRIPT: &str = "
if redis.replicate_commands then redis.replicate_commands() end
local page = redis.call('SCAN', ARGV[1], 'MATCH', 'usage:*', 'COUNT', ARGV[2])
local counts = {}
for _, key in ipairs(page[2]) do
    counts[#counts + 1] = key
    counts[#counts + 1] = redis.call('GETDEL', key)
end
return {page[1], counts}
";

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let pending = PENDING.min(settings.entries);
    let mut lines = Vec::new();
    for idle in [0, settings.entries] {
        let (ours, plain) = (Server::with_module(settings)?, Server::with_module(settings)?);
        let (mut to_ours, mut to_plain) = (ours.connect()?, plain.connect()?);
        run(&ours, &mut to_ours, &Count { prefix: "idle", ours: true }, 0..idle, DEPTH)?;
        run(&plain, &mut to_plain, &Count { prefix: "idle", ours: false }, 0..idle, DEPTH)?;
        lease(&ours, &mut to_ours, idle)?;
        let rounds = Rounds::whole(settings.rounds, |which| match which {
            Which::Ours => {
                let side = Count { prefix: "usage", ours: true };
                run(&ours, &mut to_ours, &side, 0..pending, DEPTH)?;
                lease(&ours, &mut to_ours, pending)
            }
            Which::Alternative => {
                let side = Count { prefix: "usage", ours: false };
                run(&plain, &mut to_plain, &side, 0..pending, DEPTH)?;
                scan(&plain, &mut to_plain, pending)
            }
        })?;
        let beside = if idle > 0 { format!(", beside {idle} idle") } else { String::new() };
        let ours = format!("LEASE + ACK{beside}");
        let line = Line::cpu("drain", ours, "SCAN + GETDEL".into(), &rounds, f64::INFINITY);
        lines.push(Line { goal: None, ..line });
    }
    Ok(lines)
}

struct Count {
    prefix: &'static str,
    ours: bool,
}

impl Side for Count {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let command = if self.ours { "APIKEY.USAGE.INCR" } else { "INCR" };
        pipe.cmd(command).arg(format!("{}:{i:08}", self.prefix));
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(1)
    }
}

/// Its id, and its lines: each with an id, a key, a count and the last use.
type Batch = (String, Vec<(String, String, u64, i64)>);

/// Drains `count` counters by LEASE and ACK.
fn lease(server: &Server, con: &mut Connection, count: u64) -> Result<Cost> {
    let (start, before) = (Instant::now(), server.cpu()?);
    let mut drained = 0;
    loop {
        let mut lease = Cmd::new();
        lease.arg("APIKEY.USAGE.LEASE").arg(LEASE_MS).arg("COUNT").arg(COUNT);
        let batches: Vec<Batch> = lease.query(con)?;
        if batches.is_empty() {
            break;
        }
        for (batch, lines) in batches {
            let settled: u64 = Cmd::new().arg("APIKEY.USAGE.ACK").arg(batch).query(con)?;
            ensure!(settled == lines.len() as u64, "{settled} of {} lines settled", lines.len());
            drained += settled;
        }
    }
    ensure!(drained == count, "{drained} of {count} counters were drained");
    Ok(Cost { calls: count, cpu: server.cpu()? - before, wall: start.elapsed() })
}

/// Drains `count` counters by a walk over all keys.
fn scan(server: &Server, con: &mut Connection, count: u64) -> Result<Cost> {
    let (start, before) = (Instant::now(), server.cpu()?);
    let (mut cursor, mut drained) = ("0".to_string(), 0);
    loop {
        let mut eval = Cmd::new();
        eval.arg("EVAL").arg(SCRIPT).arg(0).arg(&cursor).arg(COUNT);
        let (next, counts): (String, Vec<String>) = eval.query(con)?;
        drained += counts.len() as u64 / 2;
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    ensure!(drained == count, "{drained} of {count} counters were drained");
    Ok(Cost { calls: count, cpu: server.cpu()? - before, wall: start.elapsed() })
}
