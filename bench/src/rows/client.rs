//! VALIDATE with USAGE.INCR, pipelined, against what applications do that check for themselves: GET and
//! INCR, pipelined, and the client parses the JSON and looks at `is_active`, `expires_at` and the scopes.
//!
//! It compares no secret: for that the application asks its database. What the client does with each
//! reply is not part of the cost, which is the server's.

use anyhow::Result;

use super::fills::Fill;
use super::row::{Row, Run};
use crate::counters::{Create, Of};
use crate::measure::{Rounds, Which};
use crate::pipeline::{fill_in_turns, run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::verify::{record_length, GetAndCount, Set, Stored, ValidateAndCount};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "client",
    about: "VALIDATE + USAGE.INCR against GET + INCR, the record checked by the client",
    run: Run::Lines(measure),
};

const GOAL: f64 = 1.4;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let (work, entries) = (Workload::new(settings.entries, 10), settings.entries);
    run(&server, &mut con, &Fill(work), 0..1, DEPTH)?;
    let stored = Stored { work, entries, length: record_length(&mut con, work)? };
    fill_in_turns(0..entries, |some| {
        run(&server, &mut con, &Fill(work), some.clone(), DEPTH)?;
        run(&server, &mut con, &Set(stored), some.clone(), DEPTH)?;
        for of in [Of::Ours, Of::Strings] {
            run(&server, &mut con, &Create(work, of), some.clone(), DEPTH)?;
        }
        Ok(())
    })?;
    server.settle()?;

    let rounds = Rounds::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            Which::Ours => run(&server, &mut con, &ValidateAndCount(stored), calls, DEPTH),
            Which::Alternative => run(&server, &mut con, &GetAndCount(stored), calls, DEPTH),
        }
    })?;
    let (ours, get) = (ValidateAndCount::WHAT, GetAndCount::WHAT);
    Ok(vec![Line::cpu("client", ours.into(), get.into(), &rounds, GOAL)])
}
