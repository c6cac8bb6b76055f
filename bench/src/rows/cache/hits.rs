//! Hit rates of a Zipf trace (exponent 0.99) over all keys, with room for a tenth of them: a bounded region against the
//! server's own eviction, with as many bytes as a tenth takes.
//!
//! What is missed is stored. Of the trace the last third is judged, when the caches are as full as they get.

use anyhow::{ensure, Result};
use redis::{cmd, Connection, Pipeline, Value};

use super::values::{Set, SetString, Values, REGION};
use crate::measure::Stat;
use crate::pipeline::{run, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::mix;

/// Percent points that the server's own may be better.
const GOAL: f64 = 1.0;

/// Accesses for each key.
const ACCESSES: u64 = 3;

const EXPONENT: f64 = 0.99;

pub fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let values = Values { entries: settings.entries };
    let trace = trace(values.entries);
    let mut lines = Vec::new();
    for policy in ["lru", "lfu"] {
        let ours = of_region(settings, values, policy, &trace)?;
        let theirs = of_server(settings, values, policy, &trace)?;
        let figure = |what: String, rate| Figure { what, value: Stat::one(rate), per_second: None };
        lines.push(Line {
            row: "cache",
            unit: "% missed",
            ours: figure(format!("region, EVICT {policy}, Zipf {EXPONENT}"), 100.0 - ours),
            alternative: figure(format!("allkeys-{policy}"), 100.0 - theirs),
            judged: Judged::Difference,
            result: Stat::one(theirs - ours),
            goal: Some(GOAL),
        });
    }
    Ok(lines)
}

/// The keys that are asked for, by their numbers; which are frequent is scattered.
fn trace(keys: u64) -> Vec<u64> {
    let mut sums = Vec::with_capacity(keys as usize);
    let mut sum = 0.0;
    for rank in 1..=keys {
        sum += (rank as f64).powf(-EXPONENT);
        sums.push(sum);
    }
    let pick = |i: u64| {
        let at = mix(i) as f64 / u64::MAX as f64 * sum;
        let rank = sums.partition_point(|&until| until < at) as u64;
        mix(rank ^ 0x5eed) % keys
    };
    (0..keys * ACCESSES).map(pick).collect()
}

/// Percent of hits in the last third. `read` asks, `is_hit` judges, `store` stores what was missed.
fn hit_rate(
    con: &mut Connection,
    trace: &[u64],
    read: impl Fn(u64, &mut Pipeline),
    is_hit: impl Fn(&Value) -> bool,
    store: impl Fn(u64, &mut Pipeline),
) -> Result<f64> {
    let judged_from = trace.len() / 3 * 2;
    let (mut hits, mut all) = (0_u64, 0_u64);
    for (nth, some) in trace.chunks(DEPTH as usize).enumerate() {
        let mut pipe = Pipeline::new();
        some.iter().for_each(|&key| read(key, &mut pipe));
        let replies: Vec<Value> = pipe.query(con)?;
        let mut stores = Pipeline::new();
        let mut missed = 0;
        for (&key, reply) in some.iter().zip(&replies) {
            let is_hit = is_hit(reply);
            if nth * DEPTH as usize >= judged_from {
                hits += u64::from(is_hit);
                all += 1;
            }
            if !is_hit {
                store(key, &mut stores);
                missed += 1;
            }
        }
        if missed > 0 {
            let replies: Vec<Value> = stores.query(con)?;
            ensure!(replies.iter().all(|reply| *reply == Value::Okay), "something was not stored");
        }
    }
    Ok(hits as f64 / all as f64 * 100.0)
}

fn of_region(settings: &Settings, values: Values, policy: &str, trace: &[u64]) -> Result<f64> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    run(&server, &mut con, &Set(values), 0..values.entries / 10, DEPTH)?;
    let stats: Vec<Value> = cmd("CACHE.STATS").arg(REGION).query(&mut con)?;
    let bytes = stats.chunks(2).find_map(|pair| match pair {
        [Value::BulkString(name), Value::Int(bytes)] if name == b"bytes" => Some(*bytes),
        _ => None,
    });
    let bytes = bytes.unwrap_or(0);
    let _: () = cmd("CACHE.REGION")
        .arg("SET")
        .arg(REGION)
        .arg("MAXBYTES")
        .arg(bytes)
        .arg("EVICT")
        .arg(policy)
        .query(&mut con)?;
    hit_rate(
        &mut con,
        trace,
        |key, pipe| {
            pipe.cmd("CACHE.GET").arg(values.key(key)).arg(REGION);
        },
        |reply| {
            matches!(reply, Value::Array(all)
                if matches!(all.first(), Some(Value::BulkString(code)) if code == b"HIT"))
        },
        |key, pipe| crate::pipeline::Side::call(&Set(values), key, pipe),
    )
}

fn of_server(settings: &Settings, values: Values, policy: &str, trace: &[u64]) -> Result<f64> {
    let server = Server::plain(settings)?;
    let mut con = server.connect()?;
    run(&server, &mut con, &SetString(values), 0..values.entries / 10, DEPTH)?;
    server.settle()?;
    let used = server.used_memory()?;
    for (name, value) in
        [("maxmemory-policy", format!("allkeys-{policy}")), ("maxmemory", used.to_string())]
    {
        let _: () = cmd("CONFIG").arg("SET").arg(name).arg(value).query(&mut con)?;
    }
    hit_rate(
        &mut con,
        trace,
        |key, pipe| {
            pipe.cmd("GET").arg(values.string_key(key));
        },
        |reply| *reply != Value::Nil,
        |key, pipe| crate::pipeline::Side::call(&SetString(values), key, pipe),
    )
}
