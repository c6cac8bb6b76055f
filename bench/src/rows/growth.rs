//! How the cost of VALIDATE grows with the number of records, beside the floor's, GET's and that of the
//! script that gets, decodes and checks.
//!
//! One server gets more and more of all four kinds of key, `sizes::up_to` the largest number; at each
//! size all of its keys are read in the same scattered order, so that what grows is what the processor's
//! caches don't hold. GET grows for the same reason: what is judged is our growth over its.

use anyhow::Result;

use super::fills::Fill;
use super::row::{Charted, Row, Run};
use crate::chart::{Chart, Curve};
use crate::measure::{Sides, Stat};
use crate::pipeline::{fill_in_turns, run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::sizes::{self, short};
use crate::table::{Figure, Judged, Line};
use crate::verify::{
    record_length, Also, FloorGet, FloorSet, Get, Script, ScriptStore, Set, Stored, Validate,
};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "growth",
    about: "VALIDATE from a thousand records to millions, against GET's growth",
    run: Run::Curves(measure),
};

const GOAL: f64 = 1.1;

const VALIDATE: usize = 0;
const FLOOR: usize = 1;
const GET: usize = 2;
/// The sides; whatever has no number above is the script.
const NAMES: [&str; 4] = ["VALIDATE", "floor", "GET", "EVALSHA"];

fn measure(settings: &Settings) -> Result<Charted> {
    let server = Server::with_floor(settings)?;
    let mut con = server.connect()?;
    let work = Workload::new(settings.growth_entries, 10);
    let (mut lines, mut curves) = (Vec::new(), NAMES.map(|_| Vec::new()));
    let mut filled = 0;
    for entries in sizes::up_to(settings.growth_entries) {
        let name = short(entries);
        eprintln!("  {name} records");
        run(&server, &mut con, &Fill(work), 0..1, DEPTH)?;
        let stored = Stored { work, entries, length: record_length(&mut con, work)? };
        fill_in_turns(filled..entries, |new| {
            run(&server, &mut con, &Fill(work), new.clone(), DEPTH)?;
            run(&server, &mut con, &FloorSet(stored), new.clone(), DEPTH)?;
            run(&server, &mut con, &Set(stored), new.clone(), DEPTH)?;
            run(&server, &mut con, &ScriptStore(work), new, DEPTH)?;
            Ok(())
        })?;
        let script = Script::load(&mut con, stored, Also::Nothing)?;
        filled = entries;
        server.settle()?;

        let sides = Sides::<4>::run(settings.rounds, settings.calls, |turn| {
            let calls = turn.fresh(settings.calls);
            match turn.which {
                VALIDATE => run(&server, &mut con, &Validate(stored), calls, DEPTH),
                FLOOR => run(&server, &mut con, &FloorGet(stored), calls, DEPTH),
                GET => run(&server, &mut con, &Get(stored), calls, DEPTH),
                _ => run(&server, &mut con, &script, calls, DEPTH),
            }
        })?;
        for (side, curve) in curves.iter_mut().enumerate() {
            curve.push((entries, sides.micros(side)));
        }
        let rounds = sides.pair(VALIDATE, GET);
        lines.push(Line::beside(
            "growth",
            format!("VALIDATE, {name} records"),
            "GET".into(),
            &rounds,
        ));
    }
    lines.push(growth(&curves));
    Ok((lines, chart(curves)))
}

/// What each command took, by the number of records.
type Points = Vec<(u64, Stat)>;

/// Our growth over GET's, from the smallest number of records to the largest.
fn growth(curves: &[Points; NAMES.len()]) -> Line {
    let figure = |side: usize| {
        let ((small, least), (large, most)) =
            (curves[side][0], curves[side][curves[side].len() - 1]);
        let what = format!("{}, {} over {}", NAMES[side], short(large), short(small));
        Figure { what, value: most.over(least), per_second: None }
    };
    let (ours, alternative) = (figure(VALIDATE), figure(GET));
    Line {
        row: "growth",
        unit: "x",
        judged: Judged::Ratio,
        result: ours.value.over(alternative.value),
        goal: Some(GOAL),
        ours,
        alternative,
    }
}

fn chart(curves: [Points; NAMES.len()]) -> Chart {
    let curves = NAMES.iter().zip(curves);
    Chart {
        title: "Cost of one call, by the number of records".into(),
        x: "records".into(),
        y: "server's main thread, us CPU per call".into(),
        log_y: false,
        curves: curves.map(|(name, points)| Curve { name: name.to_string(), points }).collect(),
    }
}
