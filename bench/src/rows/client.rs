//! VALIDATE with USAGE.INCR, pipelined, against what applications do that check for themselves: GET and
//! INCR, pipelined, and the client parses the JSON and looks at `is_active`, `expires_at` and the scopes.
//!
//! It compares no secret: for that the application asks its database. What the client does with each
//! reply is not part of the cost, which is the server's.

use anyhow::Result;
use redis::{Pipeline, Value};

use super::fills::Fill;
use super::row::{Row, Run};
use crate::counters::{counted, Create, Of};
use crate::measure::{Rounds, Which};
use crate::pipeline::{fill_in_turns, run, Side, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::verify::{grants, now_ms, record_length, Get, Set, Stored, ValidateAndCount};
use crate::workload::{Workload, SCOPE};

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
    let get = "GET + INCR, checked by the client, no secret".to_string();
    Ok(vec![Line::cpu("client", ValidateAndCount::WHAT.into(), get, &rounds, GOAL)])
}

struct GetAndCount(Stored);

impl Side for GetAndCount {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        Get(self.0).call(i, pipe);
        Of::Strings.count(self.0.work, self.0.pick(i), pipe);
    }

    fn right(&self, command: usize, reply: &Value) -> bool {
        let Value::BulkString(json) = reply else {
            return command == 1 && counted(reply);
        };
        command == 0
            && serde_json::from_slice(json).is_ok_and(|record| grants(&record, SCOPE, now_ms()))
    }
}
