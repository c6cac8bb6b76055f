//! VALIDATE against one EVALSHA that gets, decodes and checks (`verify/script.rs`), and VALIDATE with
//! USAGE.INCR, pipelined, against the same script when it counts too.
//!
//! Both kinds of key and of counter stand in the same server, `entries` of each. The script's client
//! computes the digest of the secret; VALIDATE is sent the secret.

use anyhow::Result;

use super::fills::Fill;
use super::row::{Row, Run};
use crate::counters::{Create, Of};
use crate::measure::{Rounds, Sides};
use crate::pipeline::{fill_in_turns, run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::verify::{record_length, Also, Script, ScriptStore, Stored, Validate, ValidateAndCount};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "script",
    about: "VALIDATE, also with USAGE.INCR, against one EVALSHA that does the same",
    run: Run::Lines(measure),
};

const GOAL: f64 = 0.25;
const COUNTING_GOAL: f64 = 0.4;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let (work, entries) = (Workload::new(settings.entries, 10), settings.entries);
    fill_in_turns(0..entries, |some| {
        run(&server, &mut con, &Fill(work), some.clone(), DEPTH)?;
        run(&server, &mut con, &ScriptStore(work), some.clone(), DEPTH)?;
        for of in [Of::Ours, Of::Script] {
            run(&server, &mut con, &Create(work, of), some.clone(), DEPTH)?;
        }
        Ok(())
    })?;
    let stored = Stored { work, entries, length: record_length(&mut con, work)? };
    let checks = Script::load(&mut con, stored, Also::Nothing)?;
    let counts = Script::load(&mut con, stored, Also::Count)?;
    server.settle()?;

    let sides = Sides::<4>::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            0 => run(&server, &mut con, &Validate(stored), calls, DEPTH),
            1 => run(&server, &mut con, &checks, calls, DEPTH),
            2 => run(&server, &mut con, &ValidateAndCount(stored), calls, DEPTH),
            _ => run(&server, &mut con, &counts, calls, DEPTH),
        }
    })?;
    let line = |ours: &str, script: &str, rounds: &Rounds, goal| {
        Line::cpu("script", ours.into(), script.into(), rounds, goal)
    };
    Ok(vec![
        line(Validate::WHAT, "EVALSHA: GET, decode, check", &sides.pair(0, 1), GOAL),
        line(ValidateAndCount::WHAT, "EVALSHA: the same + INCR", &sides.pair(2, 3), COUNTING_GOAL),
    ])
}
