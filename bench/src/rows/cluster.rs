//! A cluster that is told as a whole: TAGINVAL to one primary, which tells the others over the bus, against a client that
//! tells each of them, one after the other; what that costs a node; and what VALIDATE costs on each of several primaries,
//! against one alone.
//!
//! Times are a client's, call by call, of tags that nothing carries: what is killed costs the same either way. More primaries
//! than the machine has processors share them.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use redis::{Connection, Pipeline, Value};

use super::row::{Row, Run};
use crate::measure::{Rounds, Stat, Which};
use crate::pipeline::{run, Side, DEPTH};
use crate::server::{info, Server};
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::{Workload, SCOPE, TTL};

pub const ROW: Row = Row {
    name: "cluster",
    about: "TAGINVAL over the bus against a call to each primary; VALIDATE on 1, 2, 3 primaries",
    run: Run::Lines(measure),
};

/// Milliseconds that TAGINVAL over the bus may take with the most primaries.
const GOAL: f64 = 1.0;
const SIZES: [usize; 3] = [3, 6, 9];

/// Of the calls that other rows make so many make a round, since each waits for its answers.
const SHARE: u64 = 50;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for primaries in SIZES {
        lines.extend(invalidations(settings, primaries)?);
    }
    let alone = Cluster::start(settings, 1)?;
    for primaries in [2, 3] {
        lines.push(verifications(settings, &alone, &Cluster::start(settings, primaries)?)?);
    }
    Ok(lines)
}

/// Primaries that share the slots.
struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    fn start(settings: &Settings, primaries: usize) -> Result<Self> {
        let nodes =
            (0..primaries).map(|_| Server::in_cluster(settings)).collect::<Result<Vec<_>>>()?;
        for (number, node) in nodes.iter().enumerate() {
            let mut con = node.connect()?;
            let slots = 16384 * number / primaries..16384 * (number + 1) / primaries;
            redis::cmd("CLUSTER").arg("ADDSLOTS").arg(slots.collect::<Vec<_>>()).exec(&mut con)?;
            redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(number + 1).exec(&mut con)?;
            redis::cmd("CLUSTER")
                .arg("MEET")
                .arg("127.0.0.1")
                .arg(nodes[0].port())
                .exec(&mut con)?;
        }
        let cluster = Self { nodes };
        let start = Instant::now();
        while !cluster.is_settled()? {
            ensure!(start.elapsed() < Duration::from_secs(60), "the cluster did not come together");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(cluster)
    }

    fn is_settled(&self) -> Result<bool> {
        for node in &self.nodes {
            let text: String = redis::cmd("CLUSTER").arg("NODES").query(&mut node.connect()?)?;
            let ready = text.lines().filter(|l| l.contains(" connected ") && !l.contains("fail"));
            if ready.count() != self.nodes.len() {
                return Ok(false);
            }
        }
        let mut con = self.nodes[0].connect()?;
        let state: String = redis::cmd("CLUSTER").arg("INFO").query(&mut con)?;
        Ok(state.contains("cluster_state:ok"))
    }

    fn connect(&self) -> Result<Vec<Connection>> {
        self.nodes.iter().map(Server::connect).collect()
    }

    fn cpu(&self) -> Result<Vec<Duration>> {
        self.nodes.iter().map(Server::cpu).collect()
    }
}

/// What calls of one kind have taken, in a round.
struct Taken {
    /// A call, at the median.
    ms: f64,
    /// CPU of the first node, and the mean of the others, a call.
    us: [f64; 2],
}

fn invalidations(settings: &Settings, primaries: usize) -> Result<Vec<Line>> {
    let cluster = Cluster::start(settings, primaries)?;
    let mut connections = cluster.connect()?;
    let calls = (settings.calls / SHARE).max(100);
    let (mut bus, mut each) = (Vec::new(), Vec::new());
    for round in 0..=settings.rounds {
        let over_bus = taken(&cluster, &mut connections[..1], "APIKEY.TAGINVAL", calls)?;
        let by_itself = taken(&cluster, &mut connections, "APIKEY.TAGINVALNODE", calls)?;
        if round > 0 {
            bus.push(over_bus);
            each.push(by_itself);
        }
    }
    let stat = |of: &dyn Fn(&Taken) -> f64, all: &[Taken]| Stat::of(all.iter().map(of).collect());
    let line = |unit, what: String, alternative: String, ours: Stat, theirs: Stat, goal| Line {
        row: "cluster",
        unit,
        ours: Figure { what, value: ours, per_second: None },
        alternative: Figure { what: alternative, value: theirs, per_second: None },
        judged: Judged::Ours,
        result: ours,
        goal,
    };
    let goal = (Some(primaries) == SIZES.last().copied()).then_some(GOAL);
    let ms = |taken: &Taken| taken.ms;
    let mut lines = vec![line(
        "ms",
        format!("TAGINVAL, {primaries} primaries"),
        "TAGINVALNODE to each in turn".into(),
        stat(&ms, &bus),
        stat(&ms, &each),
        goal,
    )];
    for (at, node) in ["the node that is asked", "another node"].into_iter().enumerate() {
        let us = |taken: &Taken| taken.us[at];
        lines.push(line(
            "us CPU",
            format!("TAGINVAL, {primaries} primaries, {node}"),
            "TAGINVALNODE to each in turn".into(),
            stat(&us, &bus),
            stat(&us, &each),
            None,
        ));
    }
    Ok(lines)
}

/// Sends a command so often to each of these connections, one after the other.
fn taken(cluster: &Cluster, to: &mut [Connection], command: &str, calls: u64) -> Result<Taken> {
    let before = cluster.cpu()?;
    let mut times = Vec::with_capacity(calls as usize);
    for _ in 0..calls {
        let start = Instant::now();
        for con in &mut *to {
            let killed: i64 = redis::cmd(command).arg("nothing").query(con)?;
            ensure!(killed == 0, "{command} killed {killed}");
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let spent: Vec<f64> = (before.iter().zip(cluster.cpu()?))
        .map(|(before, after)| (after - *before).as_secs_f64() * 1e6 / calls as f64)
        .collect();
    let others = &spent[1..];
    let mean = others.iter().sum::<f64>() / others.len().max(1) as f64;
    Ok(Taken { ms: Stat::of(times).median, us: [spent[0], mean] })
}

/// VALIDATE on the first of several primaries, against one that has all slots: each with as many entries.
fn verifications(settings: &Settings, alone: &Cluster, several: &Cluster) -> Result<Line> {
    let (mut one, mut of_several) = (alone.nodes[0].connect()?, several.nodes[0].connect()?);
    let work = Workload::new(settings.entries, 10);
    let share = 16384 / several.nodes.len() as u64;
    let mut numbers = Vec::new();
    for from in (0..settings.entries).step_by(1000) {
        let some = from..settings.entries.min(from + 1000);
        let mut pipe = Pipeline::new();
        for i in some.clone() {
            pipe.cmd("CLUSTER").arg("KEYSLOT").arg(work.key(i));
        }
        let slots: Vec<u64> = pipe.query(&mut one)?;
        numbers.extend(some.zip(slots).filter(|(_, slot)| *slot < share).map(|(i, _)| i));
    }
    let entries = Entries { work, numbers };
    let all = 0..entries.numbers.len() as u64;
    ensure!(info(&mut one, "cluster", "cluster_enabled")? == "1", "it is no cluster");
    for (node, con) in [(&alone.nodes[0], &mut one), (&several.nodes[0], &mut of_several)] {
        redis::cmd("FLUSHALL").arg("SYNC").exec(con)?;
        run(node, con, &Fill(&entries), all.clone(), DEPTH)?;
        node.settle()?;
    }
    let rounds = Rounds::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            Which::Ours => {
                run(&several.nodes[0], &mut of_several, &Validate(&entries), calls, DEPTH)
            }
            Which::Alternative => run(&alone.nodes[0], &mut one, &Validate(&entries), calls, DEPTH),
        }
    })?;
    let what = format!("VALIDATE, one of {} primaries", several.nodes.len());
    Ok(Line::beside("cluster", what, "the same, one primary".into(), &rounds))
}

/// Entries whose slots the first primary has.
struct Entries {
    work: Workload,
    numbers: Vec<u64>,
}

impl Entries {
    fn pick(&self, i: u64) -> u64 {
        self.numbers[i as usize % self.numbers.len()]
    }
}

struct Fill<'e>(&'e Entries);

impl Side for Fill<'_> {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let (i, work) = (self.0.pick(i), self.0.work);
        pipe.cmd("APIKEY.SETVAL").arg(work.key(i)).arg(work.record(i));
        pipe.arg("DIGEST").arg(work.digest(i)).arg("EX").arg(TTL);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

struct Validate<'e>(&'e Entries);

impl Side for Validate<'_> {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let (i, work) = (self.0.pick(i), self.0.work);
        pipe.cmd("APIKEY.VALIDATE").arg(work.key(i));
        pipe.arg("SECRET").arg(work.secret(i)).arg("SCOPE").arg(SCOPE);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        let Value::Array(items) = reply else { return false };
        matches!(items.first(), Some(Value::BulkString(code)) if code == b"VALID")
    }
}
