//! Bytes per entry with 3 tags, of which one is unique, one shared by ten keys and one by all: our
//! entry, digest and index, against the JSON string and its tag sets.
//!
//! It is what `used_memory` grows by, after the server's tables have settled, so it comes out the same
//! every time and is measured once. The string alone, with its expiry and no index at all, is there to
//! compare with.

use anyhow::Result;

use super::fills::{Fill, FillSets, FillString};
use super::row::{Row, Run};
use crate::measure::Stat;
use crate::pipeline::{run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "memory",
    about: "bytes per entry with 3 tags against a JSON string and tag sets",
    run: Run::Lines(measure),
};

const GOAL: f64 = 0.6;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let work = Workload::new(settings.entries, 10);
    let all = 0..settings.entries;

    let server = Server::with_module(settings)?;
    let empty = server.used_memory()?;
    run(&server, &mut server.connect()?, &Fill(work), all.clone(), DEPTH)?;
    let ours = grown(&server, empty, settings.entries)?;
    drop(server);

    let server = Server::plain(settings)?;
    let empty = server.used_memory()?;
    run(&server, &mut server.connect()?, &FillString(work), all.clone(), DEPTH)?;
    let string = grown(&server, empty, settings.entries)?;
    run(&server, &mut server.connect()?, &FillSets(work), all, DEPTH)?;
    let tagged = grown(&server, empty, settings.entries)?;

    let line = |alternative: &str, bytes: f64, goal| Line {
        row: "memory",
        unit: "B/entry",
        ours: figure(format!("{} records, 3 tags", settings.entries), ours),
        alternative: figure(alternative.to_string(), bytes),
        judged: Judged::Ratio,
        result: Stat::one(ours / bytes),
        goal,
    };
    Ok(vec![
        line("JSON string EX + 3 tag sets", tagged, Some(GOAL)),
        line("JSON string EX, no index", string, None),
    ])
}

/// Bytes per entry since the server was empty, when its tables have settled.
fn grown(server: &Server, empty: u64, entries: u64) -> Result<f64> {
    server.settle()?;
    Ok(server.used_memory()?.saturating_sub(empty) as f64 / entries as f64)
}

fn figure(what: String, bytes: f64) -> Figure {
    Figure { what, value: Stat::one(bytes), per_second: None }
}
