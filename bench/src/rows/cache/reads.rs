//! What reading and storing costs, and what an entry takes beyond the bare string.

use anyhow::Result;

use super::values::{Get, GetString, GetVersions, Set, SetString, SetTagged, SetVersion, Values};
use crate::measure::{Rounds, Sides, Stat, Turn, Which};
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
    lines.push(stores(settings, values)?);
    lines.push(memory(settings, values)?);
    Ok(lines)
}

fn reads(settings: &Settings, values: Values) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    fill_in_turns(0..values.entries, |some| {
        run(&server, &mut con, &Set(values), some.clone(), DEPTH)?;
        run(&server, &mut con, &SetString(values), some.clone(), DEPTH)?;
        run(&server, &mut con, &SetVersion(values), some, DEPTH)?;
        Ok(())
    })?;
    server.settle()?;
    const OURS: usize = 0;
    const STRING: usize = 1;
    let sides = Sides::<3>::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            OURS => run(&server, &mut con, &Get(values), calls, DEPTH),
            STRING => run(&server, &mut con, &GetString(values), calls, DEPTH),
            _ => run(&server, &mut con, &GetVersions(values), calls, DEPTH),
        }
    })?;
    let get = || "CACHE.GET".to_string();
    let versions = "MGET entry + 2 tag versions".to_string();
    Ok(vec![
        Line::cpu("cache", get(), "GET".into(), &sides.pair(OURS, STRING), GET_GOAL),
        Line::cpu("cache", get(), versions, &sides.pair(OURS, 2), VERSIONS_GOAL),
    ])
}

fn stores(settings: &Settings, values: Values) -> Result<Line> {
    let (ours, theirs) = (Server::with_module(settings)?, Server::with_module(settings)?);
    let (mut our_con, mut their_con) = (ours.connect()?, theirs.connect()?);
    let rounds = Rounds::run(settings.rounds, values.entries, |Turn { which, calls, .. }| {
        let (server, con) = match which {
            Which::Ours => (&ours, &mut our_con),
            Which::Alternative => (&theirs, &mut their_con),
        };
        if calls.start == 0 {
            server.flush()?;
        }
        match which {
            Which::Ours => run(server, con, &Set(values), calls, DEPTH),
            Which::Alternative => run(server, con, &SetTagged(values), calls, DEPTH),
        }
    })?;
    let (what, other) = ("CACHE.SET EX TAGS 1".to_string(), "SET EX + 2 SADD".to_string());
    Ok(Line::cpu("cache", what, other, &rounds, SET_GOAL))
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
