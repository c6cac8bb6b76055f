//! The dump file (RDB) of a server full of entries with 3 tags, against that of the same JSON strings
//! and their tag sets: how large it is, and what a start over it costs.
//!
//! The size comes out the same every time and is measured once. A load is a real start: the server is
//! killed and started again in the same directory, ours and theirs in turns, after a start of each that
//! does not count, so that both files are in the page cache. What is judged is the CPU time of the main
//! thread from the start of the process until everything is loaded; in it are the few milliseconds that
//! a start takes over nothing. Entries per second are those of the load alone, as the server's log
//! tells it. Our server trusts what it loads (`trust-loaded yes`): what is compared is a load of live
//! entries.

use anyhow::{ensure, Result};
use redis::{Pipeline, Value};

use super::fills::{Fill, FillTagged};
use super::row::{Row, Run};
use crate::measure::{Rounds, Stat, Which};
use crate::pipeline::{run, Cost, Side, DEPTH};
use crate::server::{dbsize, health, Server};
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "rdb",
    about: "size and load time of a dump file against strings and tag sets",
    run: Run::Lines(measure),
};

const SIZE_GOAL: f64 = 0.75;
const LOAD_GOAL: f64 = 0.75;
/// Entries that are read after each load.
const SAMPLE: u64 = 1_000;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let mut ours = Dump::new(settings, Which::Ours)?;
    let mut tagged = Dump::new(settings, Which::Alternative)?;
    let rounds = Rounds::whole(settings.rounds, |which| match which {
        Which::Ours => ours.load(),
        Which::Alternative => tagged.load(),
    })?;

    let figure = |what: String, dump: &Dump| Figure {
        what,
        value: Stat::one(dump.bytes as f64 / settings.entries as f64),
        per_second: None,
    };
    let size = Line {
        row: "rdb",
        unit: "B/entry",
        ours: figure(format!("size, {} records, 3 tags", settings.entries), &ours),
        alternative: figure("JSON string EX + 3 tag sets".into(), &tagged),
        judged: Judged::Ratio,
        result: Stat::one(ours.bytes as f64 / tagged.bytes as f64),
        goal: Some(SIZE_GOAL),
    };
    let load = Line::cpu(
        "rdb",
        format!("load, {} records, 3 tags", settings.entries),
        "JSON string EX + 3 tag sets".into(),
        &rounds,
        LOAD_GOAL,
    );
    Ok(vec![size, load])
}

/// A server that has saved what it was filled with.
struct Dump {
    server: Server,
    which: Which,
    work: Workload,
    entries: u64,
    bytes: u64,
    held: Vec<u64>,
}

impl Dump {
    fn new(settings: &Settings, which: Which) -> Result<Dump> {
        let entries = settings.entries;
        let work = Workload::new(entries, 10);
        let server = match which {
            Which::Ours => Server::with_module_set(settings, &["trust-loaded", "yes"])?,
            Which::Alternative => Server::plain(settings)?,
        };
        let mut con = server.connect()?;
        match which {
            Which::Ours => run(&server, &mut con, &Fill(work), 0..entries, DEPTH)?,
            Which::Alternative => run(&server, &mut con, &FillTagged(work), 0..entries, DEPTH)?,
        };
        let bytes = server.save()?;
        let mut dump = Dump { server, which, work, entries, bytes, held: Vec::new() };
        dump.held = dump.holds()?;
        ensure!(dump.held[1] == entries, "it holds {:?}", dump.held);
        Ok(dump)
    }

    /// Starts the server anew. Ends the benchmark when something of what it held is missing.
    fn load(&mut self) -> Result<Cost> {
        self.server.restart()?;
        let cost =
            Cost { calls: self.entries, cpu: self.server.cpu()?, wall: self.server.load_time()? };
        let holds = self.holds()?;
        ensure!(holds == self.held, "it holds {holds:?} after a load, {:?} before", self.held);
        let mut con = self.server.connect()?;
        let read = Read { work: self.work, which: self.which };
        run(&self.server, &mut con, &read, 0..SAMPLE.min(self.entries), DEPTH)?;
        Ok(cost)
    }

    /// Keys, entries that the tag of all finds, and with the module its tags and what is dead.
    fn holds(&self) -> Result<Vec<u64>> {
        let mut con = self.server.connect()?;
        let keys = dbsize(&mut con)?;
        Ok(match self.which {
            Which::Ours => vec![
                keys,
                health(&mut con, "records")?,
                health(&mut con, "tags")?,
                health(&mut con, "reclaim_backlog")?,
            ],
            Which::Alternative => {
                let [_, _, shared] = self.work.tags(0);
                vec![keys, redis::cmd("SCARD").arg(shared).query(&mut con)?]
            }
        })
    }
}

/// Reads an entry.
struct Read {
    work: Workload,
    which: Which,
}

impl Side for Read {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        match self.which {
            Which::Ours => {
                pipe.cmd("APIKEY.VALIDATE").arg(self.work.key(i));
                pipe.arg("DIGEST").arg(self.work.digest(i))
            }
            Which::Alternative => pipe.cmd("GET").arg(self.work.key(i)),
        };
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        match (self.which, reply) {
            (Which::Ours, Value::Array(elements)) => match elements.first() {
                Some(Value::SimpleString(code)) => code == "VALID",
                Some(Value::BulkString(code)) => code == b"VALID",
                _ => false,
            },
            (Which::Alternative, Value::BulkString(record)) => {
                record.len() == self.work.record(0).len()
            }
            _ => false,
        }
    }
}
