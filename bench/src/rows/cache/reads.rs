//! What reading and storing costs, beside plain Redis and beside what the module API alone costs, and what an entry takes
//! beyond the bare string.

use anyhow::Result;

use super::values::{
    FloorGet, FloorSet, Get, GetString, GetVersions, Set, SetString, SetTagged, SetVersion, Values,
};
use crate::measure::{Sides, Stat};
use crate::pipeline::{fill_in_turns, run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};

const GET_GOAL: f64 = 1.2;
const VERSIONS_GOAL: f64 = 0.6;
const SET_GOAL: f64 = 0.8;

/// Bytes of an entry beyond the string.
const MEMORY_GOAL: f64 = 120.0;

pub fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let values = Values { entries: settings.entries };
    let mut lines = reads(settings, values)?;
    lines.extend(stores(settings, values)?);
    lines.push(memory(settings, values)?);
    Ok(lines)
}

fn reads(settings: &Settings, values: Values) -> Result<Vec<Line>> {
    let server = Server::with_floor(settings)?;
    let mut con = server.connect()?;
    fill_in_turns(0..values.entries, |some| {
        run(&server, &mut con, &Set(values), some.clone(), DEPTH)?;
        run(&server, &mut con, &FloorSet(values), some.clone(), DEPTH)?;
        run(&server, &mut con, &SetString(values), some.clone(), DEPTH)?;
        run(&server, &mut con, &SetVersion(values), some, DEPTH)?;
        Ok(())
    })?;
    server.settle()?;
    const OURS: usize = 0;
    const FLOOR: usize = 1;
    const STRING: usize = 2;
    const VERSIONS: usize = 3;
    let sides = Sides::<4>::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            OURS => run(&server, &mut con, &Get(values), calls, DEPTH),
            FLOOR => run(&server, &mut con, &FloorGet(values), calls, DEPTH),
            STRING => run(&server, &mut con, &GetString(values), calls, DEPTH),
            _ => run(&server, &mut con, &GetVersions(values), calls, DEPTH),
        }
    })?;
    let ours = || "CACHE.GET".to_string();
    let floor = || FloorGet::WHAT.to_string();
    let versions = || "MGET entry + 2 tag versions".to_string();
    Ok(vec![
        Line::cpu("cache", ours(), "GET".into(), &sides.pair(OURS, STRING), GET_GOAL),
        Line::cpu("cache", ours(), versions(), &sides.pair(OURS, VERSIONS), VERSIONS_GOAL),
        Line::beside("cache", ours(), floor(), &sides.pair(OURS, FLOOR)),
        Line::beside("cache", floor(), "GET".into(), &sides.pair(FLOOR, STRING)),
        Line::beside("cache", floor(), versions(), &sides.pair(FLOOR, VERSIONS)),
    ])
}

/// Each in a server of its own, which has both modules all the same.
fn stores(settings: &Settings, values: Values) -> Result<Vec<Line>> {
    const OURS: usize = 0;
    const FLOOR: usize = 1;
    const TAGGED: usize = 2;
    let mut servers = Vec::new();
    for _ in [OURS, FLOOR, TAGGED] {
        let server = Server::with_floor(settings)?;
        let con = server.connect()?;
        servers.push((server, con));
    }
    let sides = Sides::<3>::run(settings.rounds, values.entries, |turn| {
        let (server, con) = &mut servers[turn.which];
        if turn.calls.start == 0 {
            server.flush()?;
        }
        match turn.which {
            OURS => run(server, con, &Set(values), turn.calls, DEPTH),
            FLOOR => run(server, con, &FloorSet(values), turn.calls, DEPTH),
            _ => run(server, con, &SetTagged(values), turn.calls, DEPTH),
        }
    })?;
    let ours = || "CACHE.SET EX TAGS 1".to_string();
    let floor = || FloorSet::WHAT.to_string();
    let tagged = || "SET EX + 2 SADD".to_string();
    Ok(vec![
        Line::cpu("cache", ours(), tagged(), &sides.pair(OURS, TAGGED), SET_GOAL),
        Line::beside("cache", ours(), floor(), &sides.pair(OURS, FLOOR)),
        Line::beside("cache", floor(), tagged(), &sides.pair(FLOOR, TAGGED)),
    ])
}

fn memory(settings: &Settings, values: Values) -> Result<Line> {
    let grown = |server: Server, fill: &dyn Fn(&Server) -> Result<()>| -> Result<f64> {
        let empty = server.used_memory()?;
        fill(&server)?;
        server.settle()?;
        Ok(server.used_memory()?.saturating_sub(empty) as f64 / values.entries as f64)
    };
    let all = || 0..values.entries;
    let ours = grown(Server::with_module(settings)?, &|server| {
        run(server, &mut server.connect()?, &Set(values), all(), DEPTH).map(|_| ())
    })?;
    let string = grown(Server::plain(settings)?, &|server| {
        run(server, &mut server.connect()?, &SetString(values), all(), DEPTH).map(|_| ())
    })?;
    let figure = |what: &str, bytes| Figure {
        what: what.to_string(),
        value: Stat::one(bytes),
        per_second: None,
    };
    Ok(Line {
        row: "cache",
        unit: "B/entry",
        ours: figure("an entry of 1 KB, 2 tags", ours),
        alternative: figure("the string EX", string),
        judged: Judged::Difference,
        result: Stat::one(ours - string),
        goal: Some(MEMORY_GOAL),
    })
}
