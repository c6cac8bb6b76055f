//! ADMIT, which verifies, takes from limits and counts, against what does a part of it or all: VALIDATE and USAGE.INCR;
//! GET and INCR, the record checked by the client; one EVALSHA. Four limits against one, a refusal against a VALIDATE;
//! both against the floor, what the module API alone costs; and what a counter's limits and ids take of memory.
//!
//! All kinds of key and of counter stand in one server, `entries` of each. Every counter was called once before, so that
//! none is made, and no limit begun, while it is measured.

use anyhow::{ensure, Result};
use redis::{Connection, Pipeline, Value};

use super::fills::Fill;
use super::row::{Row, Run};
use crate::counters::{Create, Of};
use crate::measure::{Sides, Stat};
use crate::pipeline::{fill_in_turns, run, Side, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::verify::{
    record_length, Admit, Also, FillLimited, First, FloorAdmit, FloorCounter, FloorSet,
    GetAndCount, How, Script, ScriptLevel, ScriptStore, Set, Stored, ValidateDigest,
    ValidateDigestAndCount,
};
use crate::workload::{mix, Workload};

pub const ROW: Row = Row {
    name: "admit",
    about:
        "ADMIT against VALIDATE + USAGE.INCR, GET + INCR and one EVALSHA; memory of limits and ids",
    run: Run::Lines(measure),
};

const PIPELINE_GOAL: f64 = 1.0;
const CLIENT_GOAL: f64 = 1.3;
const SCRIPT_GOAL: f64 = 0.35;
const FOUR_GOAL: f64 = 1.3;
const REFUSED_GOAL: f64 = 1.2;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let mut lines = costs(settings)?;
    lines.extend(memory(settings)?);
    Ok(lines)
}

/// Stores some of all that is compared, each kind in turns; `floor` has what ADMIT replies with of a record.
fn fill(
    server: &Server,
    con: &mut Connection,
    stored: Stored,
    floor: Stored,
    some: std::ops::Range<u64>,
) -> Result<()> {
    let work = stored.work;
    run(server, con, &Fill(work), some.clone(), DEPTH)?;
    for limits in [1, 4] {
        run(server, con, &FillLimited(work, limits), some.clone(), DEPTH)?;
    }
    run(server, con, &Set(stored), some.clone(), DEPTH)?;
    run(server, con, &ScriptStore(work), some.clone(), DEPTH)?;
    run(server, con, &ScriptLevel(work), some.clone(), DEPTH)?;
    for of in [Of::Ours, Of::Strings, Of::Script] {
        run(server, con, &Create(work, of), some.clone(), DEPTH)?;
    }
    for how in How::ALL {
        run(server, con, &First(work, how), some.clone(), DEPTH)?;
    }
    run(server, con, &FloorSet(floor), some.clone(), DEPTH)?;
    for counter in [FloorAdmit::Admitted(floor), FloorAdmit::Refused(floor)] {
        run(server, con, &FloorCounter(counter), some.clone(), DEPTH)?;
    }
    Ok(())
}

fn costs(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_floor(settings)?;
    let mut con = server.connect()?;
    let (work, entries) = (Workload::new(settings.entries, 10), settings.entries);
    run(&server, &mut con, &Fill(work), 0..1, DEPTH)?;
    for limits in [1, 4] {
        run(&server, &mut con, &FillLimited(work, limits), 0..1, DEPTH)?;
    }
    let stored = Stored { work, entries, length: record_length(&mut con, work)? };
    let admit = |con: &mut Connection, how| Admit::look(con, stored, how);
    let (one, four) = (admit(&mut con, How::One)?, admit(&mut con, How::Four)?);
    let (in_call, id) = (admit(&mut con, How::InCall)?, admit(&mut con, How::Id)?);
    let refused = admit(&mut con, How::Refused)?;
    let script = Script::load(&mut con, stored, Also::LimitAndCount)?;
    let floor = one.stored();
    let (floor_admits, floor_refuses) = (FloorAdmit::Admitted(floor), FloorAdmit::Refused(floor));
    server.flush()?;
    fill_in_turns(0..entries, |some| fill(&server, &mut con, stored, floor, some))?;
    server.settle()?;

    const ONE: usize = 0;
    const FOUR: usize = 1;
    const IN_CALL: usize = 2;
    const ID: usize = 3;
    const REFUSED: usize = 4;
    const VALIDATE: usize = 5;
    const PIPELINE: usize = 6;
    const CLIENT: usize = 7;
    const SCRIPT: usize = 8;
    const FLOOR: usize = 9;
    const FLOOR_REFUSED: usize = 10;
    let sides = Sides::<11>::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            ONE => run(&server, &mut con, &one, calls, DEPTH),
            FOUR => run(&server, &mut con, &four, calls, DEPTH),
            IN_CALL => run(&server, &mut con, &in_call, calls, DEPTH),
            ID => run(&server, &mut con, &id, calls, DEPTH),
            REFUSED => run(&server, &mut con, &refused, calls, DEPTH),
            VALIDATE => run(&server, &mut con, &ValidateDigest(stored), calls, DEPTH),
            PIPELINE => run(&server, &mut con, &ValidateDigestAndCount(stored), calls, DEPTH),
            CLIENT => run(&server, &mut con, &GetAndCount(stored), calls, DEPTH),
            SCRIPT => run(&server, &mut con, &script, calls, DEPTH),
            FLOOR => run(&server, &mut con, &floor_admits, calls, DEPTH),
            _ => run(&server, &mut con, &floor_refuses, calls, DEPTH),
        }
    })?;
    let line = |ours: (usize, &str), other: (usize, &str), goal| {
        Line::cpu("admit", ours.1.into(), other.1.into(), &sides.pair(ours.0, other.0), goal)
    };
    let beside = |ours: (usize, &str), other: (usize, &str)| {
        Line::beside("admit", ours.1.into(), other.1.into(), &sides.pair(ours.0, other.0))
    };
    let one = (ONE, How::One.what());
    let refused = (REFUSED, How::Refused.what());
    let pipeline = (PIPELINE, ValidateDigestAndCount::WHAT);
    let client = (CLIENT, GetAndCount::WHAT);
    let script = (SCRIPT, "EVALSHA: GET, decode, check, GCRA, INCR");
    let validate = (VALIDATE, ValidateDigest::WHAT);
    let floor = (FLOOR, FloorAdmit::WHAT);
    let floor_refused = (FLOOR_REFUSED, FloorAdmit::REFUSED);
    Ok(vec![
        line(one, pipeline, PIPELINE_GOAL),
        line(one, client, CLIENT_GOAL),
        line(one, script, SCRIPT_GOAL),
        beside(one, floor),
        beside(floor, pipeline),
        beside(floor, client),
        line((FOUR, How::Four.what()), (ONE, "one rate"), FOUR_GOAL),
        line(refused, validate, REFUSED_GOAL),
        beside(refused, floor_refused),
        beside(floor_refused, validate),
        beside((IN_CALL, How::InCall.what()), (ONE, "one rate")),
        beside((ID, How::Id.what()), (ONE, "one rate")),
    ])
}

/// Ids that a counter keeps.
const IDS: u64 = 4096;

/// What counters take, as MEMORY USAGE has it: it comes out the same every time.
fn memory(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let stored = Stored { work: Workload::new(1, 1), entries: 1, length: 0 };
    let work = stored.work;
    run(&server, &mut con, &FillLimited(work, 1), 0..1, DEPTH)?;
    let bytes = |con: &mut Connection, name: &str| -> Result<f64> {
        let bytes: u64 = redis::cmd("MEMORY").arg(&["USAGE", name, "SAMPLES", "0"]).query(con)?;
        Ok(bytes as f64)
    };
    run(&server, &mut con, &Create(work, Of::Ours), 0..1, DEPTH)?;
    let plain = bytes(&mut con, &Workload::usage_key(&work.key(0)))?;
    run(&server, &mut con, &First(work, How::One), 0..1, DEPTH)?;
    let limited = bytes(&mut con, &Workload::usage_key(&work.limited_key(0, 1)))?;
    let ids = Admit::look(&mut con, stored, How::Id)?;
    run(&server, &mut con, &ids, 0..IDS, DEPTH)?;
    let known = bytes(&mut con, &(work.limited_key(0, 1) + ":known"))?;
    run(&server, &mut con, &Seen(work), 0..IDS, DEPTH)?;
    let mut strings = 0.0;
    for i in 0..IDS {
        strings += bytes(&mut con, &Seen(work).name(i))?;
    }
    let early = crate::server::health(&mut con, "ids_dropped_early")?;
    ensure!(early == 0, "{early} ids were dropped early");
    let figure =
        |what: &str, value| Figure { what: what.into(), value: Stat::one(value), per_second: None };
    Ok(vec![
        Line {
            row: "admit",
            unit: "bytes",
            ours: figure("a counter with one rate", limited),
            alternative: figure("without", plain),
            judged: Judged::Difference,
            result: Stat::one(limited - plain),
            goal: None,
        },
        Line {
            row: "admit",
            unit: "bytes",
            ours: figure("a counter with one rate and 4,096 ids", known),
            alternative: figure("a string by SET NX for each id", strings),
            judged: Judged::Ratio,
            result: Stat::one(known / strings),
            goal: None,
        },
    ])
}

/// As applications remember that a request was counted.
struct Seen(Workload);

impl Seen {
    fn name(&self, i: u64) -> String {
        format!("{}:{:016x}{i:016x}", self.0.script_key(0), mix(i))
    }
}

impl Side for Seen {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        pipe.cmd("SET").arg(self.name(i)).arg(&["1", "NX", "PX", "60000"]);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}
