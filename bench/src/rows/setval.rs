//! SETVAL of new entries with 3 tags against SET EX and 3 SADD of the same tags.
//!
//! The tags are the automatic ones (id, user, kind), so there is no TAGS option; the digest is given in
//! hex, as we recommend. Each side has a server of its own, both with the module, and each round fills
//! both from empty, so that each pays for the growth of its own tables and of no other's. A pipeline
//! holds as many entries on both sides, so the alternative's has four times as many commands, which is
//! in its favour.

use anyhow::Result;

use super::fills::{Fill, FillTagged};
use super::row::{Row, Run};
use crate::measure::{Rounds, Turn, Which};
use crate::pipeline::{run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "setval",
    about: "SETVAL of new entries with 3 tags against SET EX + 3 SADD",
    run: Run::Lines(measure),
};

const GOAL: f64 = 0.7;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let (ours, theirs) = (Server::with_module(settings)?, Server::with_module(settings)?);
    let (mut our_con, mut their_con) = (ours.connect()?, theirs.connect()?);
    let work = Workload::new(settings.entries, 10);
    let rounds =
        Rounds::run(settings.rounds, settings.entries, |Turn { which, calls, .. }| {
            let (server, con) = match which {
                Which::Ours => (&ours, &mut our_con),
                Which::Alternative => (&theirs, &mut their_con),
            };
            if calls.start == 0 {
                server.flush()?;
            }
            match which {
                Which::Ours => run(server, con, &Fill(work), calls, DEPTH),
                Which::Alternative => run(server, con, &FillTagged(work), calls, DEPTH),
            }
        })?;
    let what = "SETVAL key record EX t DIGEST d".to_string();
    Ok(vec![Line::cpu("setval", what, "SET EX + 3 SADD".into(), &rounds, GOAL)])
}
