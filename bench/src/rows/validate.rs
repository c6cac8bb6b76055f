//! VALIDATE with SECRET and one SCOPE against the floor, a command of another module that takes the
//! same arguments and replies the same bytes and does nothing else, and both against GET of a string as
//! long as the record.
//!
//! All three kinds of key stand in the same server, `entries` of each, their names equally long, and
//! are read in the same scattered order.

use anyhow::Result;

use super::fills::Fill;
use super::row::{Row, Run};
use crate::measure::Sides;
use crate::pipeline::{fill_in_turns, run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::verify::{record_length, FloorGet, FloorSet, Get, Set, Stored, Validate};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "validate",
    about: "VALIDATE with SECRET and one SCOPE against the floor and against GET",
    run: Run::Lines(measure),
};

const FLOOR_GOAL: f64 = 1.2;
const GET_GOAL: f64 = 1.6;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_floor(settings)?;
    let mut con = server.connect()?;
    let (work, entries) = (Workload::new(settings.entries, 10), settings.entries);
    run(&server, &mut con, &Fill(work), 0..1, DEPTH)?;
    let length = record_length(&mut con, work)?;
    let stored = Stored { work, entries, length };
    fill_in_turns(0..entries, |some| {
        run(&server, &mut con, &Fill(work), some.clone(), DEPTH)?;
        run(&server, &mut con, &FloorSet(stored), some.clone(), DEPTH)?;
        run(&server, &mut con, &Set(stored), some, DEPTH)?;
        Ok(())
    })?;
    server.settle()?;

    const VALIDATE: usize = 0;
    const FLOOR: usize = 1;
    const GET: usize = 2;
    let sides = Sides::<3>::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            VALIDATE => run(&server, &mut con, &Validate(stored), calls, DEPTH),
            FLOOR => run(&server, &mut con, &FloorGet(stored), calls, DEPTH),
            _ => run(&server, &mut con, &Get(stored), calls, DEPTH),
        }
    })?;
    let (ours, floor) = (Validate::WHAT, FloorGet::WHAT);
    let get = format!("GET ({length} bytes)");
    let against_floor = sides.pair(VALIDATE, FLOOR);
    let against_get = sides.pair(VALIDATE, GET);
    Ok(vec![
        Line::cpu("validate", ours.into(), floor.into(), &against_floor, FLOOR_GOAL),
        Line::cpu("validate", ours.into(), get.clone(), &against_get, GET_GOAL),
        Line::beside("validate", floor.into(), get, &sides.pair(FLOOR, GET)),
    ])
}
