//! What the removal of an entry costs the main thread of a primary with a replica attached: by our
//! reclaim, by the script, and by plain UNLINK of as many strings with an expiry, a thousand known names
//! a command, which is what the server itself needs to remove a key and tell a replica.
//!
//! Nobody else is connected. The time goes from the command that kills until both servers have removed
//! all, the command's own included; of UNLINK it includes that the server reads the names.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use redis::Connection;

use super::sides::{fill, killer, line, run_all, start, KEYS_PER_USER, RECLAIM_TIMEOUT};
use crate::measure::{Stat, Which};
use crate::rows::fills::FillString;
use crate::server::{dbsize, Server};
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

/// CPU per entry, over that of the script.
const GOAL: f64 = 0.5;
/// CPU time needs fewer runs than a longest wait.
const RUNS: usize = 3;
/// Names in one UNLINK.
const NAMES: usize = 1_000;
/// Between two looks at how far the removal is.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Ours against the script, and against UNLINK; `name` is how the lines call so many entries.
pub fn lines(settings: &Settings, entries: u64, name: &str) -> Result<Vec<Line>> {
    let (mut ours, mut script, mut unlink) = (Vec::new(), Vec::new(), Vec::new());
    let runs = settings.runs.min(RUNS);
    for number in 1..=runs {
        ours.push(by_tag(settings, Which::Ours, entries)?);
        script.push(by_tag(settings, Which::Alternative, entries)?);
        unlink.push(by_name(settings, entries)?);
        eprintln!(
            "  {name} with a replica, run {number} of {runs}: {:.2} us CPU, script {:.2}, UNLINK {:.2}",
            ours[number - 1],
            script[number - 1],
            unlink[number - 1]
        );
    }
    let against = |what: &str, theirs: &[f64], goal| {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let stats = (Stat::of(ours.clone()), Stat::of(theirs.to_vec()));
        let line = line(format!("{name}: reclaim with a replica"), "us CPU", goal, stats);
        Line {
            alternative: Figure { what: what.into(), ..line.alternative },
            judged: Judged::Ratio,
            result: Stat::of(ratios),
            ..line
        }
    };
    Ok(vec![
        against("script", &script, Some(GOAL)),
        against("UNLINK of known strings", &unlink, None),
    ])
}

/// Microseconds per entry, killed by the tag that all share.
fn by_tag(settings: &Settings, which: Which, entries: u64) -> Result<f64> {
    let work = Workload::new(entries, KEYS_PER_USER);
    let pair = Pair::new(settings, which)?;
    let mut con = pair.primary.connect()?;
    let (command, _) = killer(&mut con, which, work)?;
    fill(&pair.primary, which, work, entries)?;
    let full = dbsize(&mut con)?;
    // Whoever carried the tag, and on the script's side its set.
    let left = match which {
        Which::Ours => full - entries,
        Which::Alternative => full - entries - 1,
    };
    pair.removal(&mut con, full, left, entries, |con| {
        let killed: u64 = command.query(con)?;
        ensure!(killed == entries, "it killed {killed} of {entries} entries");
        Ok(())
    })
}

/// Microseconds per string, removed by its name.
fn by_name(settings: &Settings, entries: u64) -> Result<f64> {
    let work = Workload::new(entries, KEYS_PER_USER);
    let pair = Pair::new(settings, Which::Alternative)?;
    let mut con = pair.primary.connect()?;
    run_all(&pair.primary, &FillString(work), entries)?;
    let names: Vec<String> = (0..entries).map(|i| work.key(i)).collect();
    pair.removal(&mut con, entries, 0, entries, |con| {
        for names in names.chunks(NAMES) {
            let removed: usize = redis::cmd("UNLINK").arg(names).query(con)?;
            ensure!(removed == names.len(), "it removed {removed} of {} strings", names.len());
        }
        Ok(())
    })
}

struct Pair {
    primary: Server,
    replica: Server,
}

impl Pair {
    fn new(settings: &Settings, which: Which) -> Result<Pair> {
        let pair = Pair { primary: start(settings, which)?, replica: start(settings, which)? };
        pair.replica.follow(&pair.primary)?;
        Ok(pair)
    }

    /// Microseconds of the primary's main thread per entry, from `remove` on until both servers, which
    /// hold `full` keys, have `left` of them.
    fn removal(
        &self,
        con: &mut Connection,
        full: u64,
        left: u64,
        entries: u64,
        remove: impl FnOnce(&mut Connection) -> Result<()>,
    ) -> Result<f64> {
        let mut replica_con = self.replica.connect()?;
        wait_for_keys(&mut replica_con, full)?;
        self.replica.settle()?;
        self.primary.settle()?;

        let before = self.primary.cpu()?;
        remove(con)?;
        wait_for_keys(con, left)?;
        wait_for_keys(&mut replica_con, left)?;
        Ok((self.primary.cpu()? - before).as_secs_f64() * 1e6 / entries as f64)
    }
}

fn wait_for_keys(con: &mut Connection, keys: u64) -> Result<()> {
    let start = Instant::now();
    while dbsize(con)? != keys {
        ensure!(start.elapsed() < RECLAIM_TIMEOUT, "there are not {keys} keys");
        sleep(LOOK_PAUSE);
    }
    Ok(())
}
