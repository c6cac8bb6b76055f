//! USAGE.INCR against INCR, on counters that exist, as many of each in the same server, counted in the
//! same scattered order.

use anyhow::Result;
use redis::{Pipeline, Value};

use super::row::{Row, Run};
use crate::counters::{counted, Create, Of};
use crate::measure::{Rounds, Which};
use crate::pipeline::{fill_in_turns, run, Side, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::workload::{mix, Workload};

pub const ROW: Row = Row {
    name: "incr",
    about: "USAGE.INCR against INCR on existing counters",
    run: Run::Lines(measure),
};

const GOAL: f64 = 1.3;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let (work, entries) = (Workload::new(settings.entries, 10), settings.entries);
    fill_in_turns(0..entries, |some| {
        for of in [Of::Ours, Of::Strings] {
            run(&server, &mut con, &Create(work, of), some.clone(), DEPTH)?;
        }
        Ok(())
    })?;
    server.settle()?;

    let rounds = Rounds::run(settings.rounds, settings.calls, |turn| {
        let of = if turn.which == Which::Ours { Of::Ours } else { Of::Strings };
        let calls = turn.fresh(settings.calls);
        run(&server, &mut con, &Count { work, entries, of }, calls, DEPTH)
    })?;
    Ok(vec![Line::cpu("incr", "USAGE.INCR key".into(), "INCR key".into(), &rounds, GOAL)])
}

struct Count {
    work: Workload,
    entries: u64,
    of: Of,
}

impl Side for Count {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        self.of.count(self.work, mix(i) % self.entries, pipe);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        counted(reply)
    }
}
