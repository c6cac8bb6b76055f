//! What a replica's main thread uses to apply a fill: SETVAL of new entries with 3 tags, against SET EX
//! and 3 SADD of the same tags; and what the primary's uses for the same fill with a replica attached.
//!
//! Each side has a primary and a replica of its own, which followed it before it held anything, so that
//! all comes through the replication stream. A round fills both sides from empty, one after the other,
//! and empties each again, so that only one of them is full at a time. A fill ends when the replica has
//! applied all that the primary has sent (its offset), and the replica has to hold as many keys then.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

use super::fills::{Fill, FillTagged};
use super::row::{Row, Run};
use crate::measure::{Stat, Which};
use crate::pipeline::{run, Cost, DEPTH};
use crate::server::{dbsize, health, info, Server};
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

pub const ROW: Row = Row {
    name: "replica",
    about: "a replica's CPU to apply SETVAL against SET EX + 3 SADD",
    run: Run::Lines(measure),
};

const GOAL: f64 = 0.6;
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let ours = Pair::new(settings, Which::Ours)?;
    let tagged = Pair::new(settings, Which::Alternative)?;
    let mut rounds = Vec::with_capacity(settings.rounds);
    // The first does not count.
    for round in 0..=settings.rounds {
        let costs = (ours.fill(settings.entries)?, tagged.fill(settings.entries)?);
        if round > 0 {
            rounds.push(costs);
        }
    }
    Ok(vec![
        line("applied by a replica", &rounds, |cost| cost.replica, Some(GOAL)),
        line("filled with a replica", &rounds, |cost| cost.primary, None),
    ])
}

fn line(
    what: &str,
    rounds: &[(Costs, Costs)],
    of: impl Fn(&Costs) -> Cost,
    goal: Option<f64>,
) -> Line {
    let stat = |of: &dyn Fn(&(Costs, Costs)) -> f64| Stat::of(rounds.iter().map(of).collect());
    let rate = |of: &dyn Fn(&(Costs, Costs)) -> f64| Some(stat(of).median);
    Line {
        row: "replica",
        unit: "us CPU",
        ours: Figure {
            what: format!("SETVAL, {what}"),
            value: stat(&|(ours, _)| of(ours).micros()),
            per_second: rate(&|(ours, _)| of(ours).per_second()),
        },
        alternative: Figure {
            what: "SET EX + 3 SADD".into(),
            value: stat(&|(_, tagged)| of(tagged).micros()),
            per_second: rate(&|(_, tagged)| of(tagged).per_second()),
        },
        judged: Judged::Ratio,
        result: stat(&|(ours, tagged)| of(ours).micros() / of(tagged).micros()),
        goal,
    }
}

/// What one fill took, both from its first byte on: until the last reply, until all was applied.
struct Costs {
    primary: Cost,
    replica: Cost,
}

struct Pair {
    primary: Server,
    replica: Server,
    which: Which,
}

impl Pair {
    fn new(settings: &Settings, which: Which) -> Result<Pair> {
        let start = || match which {
            Which::Ours => Server::with_module(settings),
            Which::Alternative => Server::plain(settings),
        };
        let pair = Pair { primary: start()?, replica: start()?, which };
        pair.replica.follow(&pair.primary)?;
        pair.replica.settle()?;
        Ok(pair)
    }

    /// Fills the primary, which is empty, and leaves both empty again.
    fn fill(&self, entries: u64) -> Result<Costs> {
        let work = Workload::new(entries, 10);
        let mut con = self.primary.connect()?;
        let (before, start) = (self.replica.cpu()?, Instant::now());
        let primary = match self.which {
            Which::Ours => run(&self.primary, &mut con, &Fill(work), 0..entries, DEPTH)?,
            Which::Alternative => {
                run(&self.primary, &mut con, &FillTagged(work), 0..entries, DEPTH)?
            }
        };
        self.wait_until_applied()?;
        let wall = start.elapsed();
        let replica = Cost { calls: entries, cpu: self.replica.cpu()? - before, wall };

        let mut replica_con = self.replica.connect()?;
        let (keys, applied) = (dbsize(&mut con)?, dbsize(&mut replica_con)?);
        ensure!(keys >= entries && applied == keys, "the replica has {applied} of {keys} keys");
        if self.which == Which::Ours {
            let records = health(&mut replica_con, "records")?;
            ensure!(records == entries, "the replica has {records} of {entries} records");
        }

        self.primary.flush()?;
        self.wait_until_applied()?;
        self.replica.settle()?;
        Ok(Costs { primary, replica })
    }

    /// Until the replica has applied all that the primary has sent by now.
    fn wait_until_applied(&self) -> Result<()> {
        let offset = |server: &Server, field: &str| -> Result<u64> {
            Ok(info(&mut server.connect()?, "replication", field)?.parse()?)
        };
        let (sent, start) = (offset(&self.primary, "master_repl_offset")?, Instant::now());
        while offset(&self.replica, "slave_repl_offset")? < sent {
            ensure!(start.elapsed() < APPLY_TIMEOUT, "the replica is still behind");
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
