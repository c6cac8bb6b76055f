//! TAGINVAL of a tag with many members against what tag caches do today: a set for each tag, and a
//! script that walks the set with SSCAN and UNLINKs what it lists and then the set.
//!
//! Each run fills a new server, ours with records and the alternative's with the same JSON strings and
//! their three tag sets, and kills them all by the tag that all share. Another client sends a PING
//! every 100 to 200 microseconds (`pinger.rs`) from before the command until the memory is back, or
//! the script has ended, and then for as long again without a reclaim: what is judged is the
//! difference. On our side the same connection asks the server in both stretches how far it is.
//!
//! | line | what it is |
//! | --- | --- |
//! | command | the server's own time for the command, from INFO commandstats |
//! | seen by its caller | from the first byte sent to the reply, over loopback |
//! | PING during, without, beyond | the longest wait of the other client; of an equally long stretch without a reclaim, of the same run; the difference of both medians, with the spread run by run |
//! | longest, stolen included | the longest before what the machine's host had stolen was taken off (`stolen.rs`) |
//! | until all are gone | from sending the command until DBSIZE is 0 and HEALTH has no backlog; the script's until its reply |
//! | until memory is back | the same until `used_memory` is within 5% of what it was before the entries came, for which the server has to shrink its own tables; the script never gets there, so it is the time until its reply |
//! | keys left, dead names left | DBSIZE; names of killed entries in tag sets or in our index |
//! | memory left | what `used_memory` lies above its level before the entries, when the server has settled |
//! | reclaim with a replica | CPU time of the main thread per entry, of the largest tag, in a run of its own (`reclaim/cpu.rs`) |
//!
//! Nobody cleans up the other tag sets of the killed entries: the script knows one tag, and to read the
//! tags of each entry would cost it as much again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use redis::{Cmd, Connection, Pipeline, Value};

use super::row::{Charted, Row, Run};
use crate::chart::{Chart, Curve};
use crate::measure::{Stat, Which};
use crate::pinger::{self, Waits};
use crate::pipeline::Side;
use crate::server::{dbsize, health, server_time, used_memory, Server};
use crate::settings::Settings;
use crate::sizes::{self, short, SMALLEST};
use crate::table::Line;
use crate::workload::Workload;

mod cpu;
mod sides;

use sides::{fill, killer, line, run_all, start, KEYS_PER_USER, RECLAIM_TIMEOUT};

pub const ROW: Row = Row {
    name: "reclaim",
    about: "TAGINVAL and its reclaim against SSCAN + UNLINK in a script",
    run: Run::Curves(measure),
};

/// Milliseconds that the command may take.
const COMMAND_GOAL: f64 = 0.5;
/// The most that the command may grow by, from the smallest tag to the largest.
const GROWTH_GOAL: f64 = 2.0;
/// Milliseconds that the longest wait may lie above that without a reclaim.
const WAIT_GOAL: f64 = 2.0;
/// Of the memory in use before the entries came, what may be in use beyond it afterwards.
const MEMORY_GOAL: f64 = 0.05;

const PING_PAUSE: Duration = Duration::from_micros(100);
/// Between two looks at how far the reclaim is.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// After the reclaim has ended, for the server to give memory back.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(10);

fn measure(settings: &Settings) -> Result<Charted> {
    let (mut lines, mut growth) = (Vec::new(), Vec::new());
    for entries in sizes::up_to(settings.reclaim_entries) {
        let name = short(entries);
        let mut runs = Runs(Vec::new());
        for number in 1..=settings.runs {
            let ours = kill(settings, Which::Ours, entries)
                .with_context(|| format!("TAGINVAL of {name}"))?;
            let script = kill(settings, Which::Alternative, entries)
                .with_context(|| format!("the script, {name}"))?;
            eprintln!("  {name}, run {number} of {}: {ours}; script {script}", settings.runs);
            runs.0.push((ours, script));
        }
        growth.push((entries, runs.stats(|run| run.command)));
        lines.extend(runs.lines(&name));
        if entries == settings.reclaim_entries {
            lines.extend(cpu::lines(settings, entries, &name)?);
        }
    }
    if let [(smallest, small), .., (largest, large)] = growth.as_slice() {
        let times = [large.0.median / small.0.median, large.1.median / small.1.median];
        let what = format!("command, {} over {}", short(*largest), short(*smallest));
        lines.push(line(what, "x", Some(GROWTH_GOAL), times.map(Stat::one).into()));
    }
    Ok((lines, chart(growth)))
}

/// The command's time beside the script's.
fn chart(growth: Vec<(u64, (Stat, Stat))>) -> Chart {
    let curve = |name: &str, of: fn(&(Stat, Stat)) -> Stat| Curve {
        name: name.into(),
        points: growth.iter().map(|(entries, stats)| (*entries, of(stats))).collect(),
    };
    Chart {
        title: "Invalidating a tag, by the number of its members".into(),
        x: "members".into(),
        y: "the server's time for the command, ms".into(),
        log_y: true,
        curves: vec![
            curve("TAGINVAL", |stats| stats.0),
            curve("SSCAN + UNLINK in a script", |stats| stats.1),
        ],
    }
}

/// One kill of all entries of a server.
struct Killed {
    /// Milliseconds, as all times here.
    command: f64,
    seen: f64,
    during: Waits,
    without: Waits,
    /// Until nothing waits for reclaim. The script: until it ended, as also the next.
    gone: f64,
    /// Until memory is back; infinite where it did not come back in time.
    back: f64,
    keys_left: f64,
    names_left: f64,
    /// Megabytes, and how many there may be.
    memory_left: f64,
    memory_goal: f64,
}

impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "command {:.3} ms, PING {:.2} ms, without {:.2} ms, stolen included {:.2} ms, without \
             {:.2} ms, gone in {:.0} ms, memory in {:.0} ms",
            self.command,
            millis(self.during.longest),
            millis(self.without.longest),
            millis(self.during.with_stolen),
            millis(self.without.with_stolen),
            self.gone,
            self.back,
        )
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn kill(settings: &Settings, which: Which, entries: u64) -> Result<Killed> {
    let work = Workload::new(entries, KEYS_PER_USER);
    let server = start(settings, which)?;
    let mut con = server.connect()?;
    let (command, stat) = killer(&mut con, which, work)?;

    // A rehearsal, so that what the server sets up for the first call of a command is no part of it.
    fill(&server, which, work, SMALLEST)?;
    time_kill(&server, &mut con, which, &command, SMALLEST, u64::MAX)?;
    server.flush()?;
    let (_, before) = server_time(&mut con, stat)?;
    let level = used_memory(&mut con)?;
    let memory_goal = level as f64 * MEMORY_GOAL;

    fill(&server, which, work, entries)?;
    server.settle()?;
    let enough = level + memory_goal as u64;
    let (during, took) = time_kill(&server, &mut con, which, &command, entries, enough)?;
    let (calls, after) = server_time(&mut con, stat)?;
    ensure!(calls == 2, "{stat}: {calls} calls");

    server.settle()?;
    let memory_left = used_memory(&mut con)?.saturating_sub(level);
    let keys_left = dbsize(&mut con)?;
    let names_left = names_left(&server, which, work, entries)?;
    let (without, ()) = pinger::during(&server, PING_PAUSE, || {
        let start = Instant::now();
        while start.elapsed() < took.all {
            if which == Which::Ours {
                look(&mut con)?;
                sleep(LOOK_PAUSE);
            } else {
                sleep(took.all.saturating_sub(start.elapsed()));
            }
        }
        Ok(())
    })?;
    drop(server);

    Ok(Killed {
        command: millis(after - before),
        seen: millis(took.seen),
        during,
        without,
        gone: millis(took.gone),
        back: if took.memory_is_back { millis(took.all) } else { f64::INFINITY },
        keys_left: keys_left as f64,
        names_left: names_left as f64,
        memory_left: memory_left as f64 / 1e6,
        memory_goal: memory_goal / 1e6,
    })
}

/// What a kill took, each from sending the command on.
struct Took {
    /// Until the reply.
    seen: Duration,
    /// Until nothing waited for reclaim; for the script, which leaves nothing to wait for, and whose
    /// memory does not come back, the same as `seen`.
    gone: Duration,
    all: Duration,
    memory_is_back: bool,
}

/// Kills all entries of the server while another client PINGs it, and waits until `used_memory` is at
/// most `enough`.
fn time_kill(
    server: &Server,
    con: &mut Connection,
    which: Which,
    command: &Cmd,
    entries: u64,
    enough: u64,
) -> Result<(Waits, Took)> {
    pinger::during(server, PING_PAUSE, || {
        let start = Instant::now();
        let killed: u64 = command.query(con)?;
        let seen = start.elapsed();
        ensure!(killed == entries, "it killed {killed} of {entries} entries");
        if which == Which::Alternative {
            return Ok(Took { seen, gone: seen, all: seen, memory_is_back: true });
        }
        let (gone, memory_is_back) = watch(con, start, enough)?;
        Ok(Took { seen, gone, all: start.elapsed(), memory_is_back })
    })
}

/// Waits until the reclaim has ended and memory is back. Returns how long after `start` it ended, and
/// whether memory came back in time.
fn watch(con: &mut Connection, start: Instant, enough: u64) -> Result<(Duration, bool)> {
    let mut gone = None;
    loop {
        let (keys, memory) = look(con)?;
        let now = start.elapsed();
        if gone.is_none() && keys == 0 && health(con, "reclaim_backlog")? == 0 {
            gone = Some(now);
        }
        match gone {
            Some(gone) if memory <= enough => return Ok((gone, true)),
            Some(gone) if now - gone > MEMORY_TIMEOUT => return Ok((gone, false)),
            Some(_) => {}
            None => ensure!(now < RECLAIM_TIMEOUT, "{keys} keys are still there"),
        }
        sleep(LOOK_PAUSE);
    }
}

/// Keys and `used_memory`.
fn look(con: &mut Connection) -> Result<(u64, u64)> {
    Ok((dbsize(con)?, used_memory(con)?))
}

/// Names of killed entries that the index or the tag sets still hold.
fn names_left(server: &Server, which: Which, work: Workload, entries: u64) -> Result<u64> {
    let mut con = server.connect()?;
    match which {
        Which::Ours => Ok(health(&mut con, "records")? + health(&mut con, "tags")?),
        Which::Alternative => {
            run_all(server, &Stale(work), entries)?;
            Ok(2 * entries)
        }
    }
}

/// That each entry's name is still in the sets of its id and of its user.
struct Stale(Workload);

impl Side for Stale {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let [id, user, _] = self.0.tags(i);
        for tag in [id, user] {
            pipe.cmd("SISMEMBER").arg(tag).arg(self.0.key(i));
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Int(1)
    }
}

/// Both sides, run by run, of one size.
struct Runs(Vec<(Killed, Killed)>);

impl Runs {
    /// Ours, the script's.
    fn stats(&self, of: impl Fn(&Killed) -> f64) -> (Stat, Stat) {
        let ours = self.0.iter().map(|(ours, _)| of(ours)).collect();
        let script = self.0.iter().map(|(_, script)| of(script)).collect();
        (Stat::of(ours), Stat::of(script))
    }

    fn lines(&self, name: &str) -> Vec<Line> {
        let line =
            |what: &str, unit, goal, stats| line(format!("{name}: {what}"), unit, goal, stats);
        let during = self.stats(|run| millis(run.during.longest));
        let without = self.stats(|run| millis(run.without.longest));
        // The median of the longest less the median of the longest; the spread run by run.
        let mut beyond = self.stats(|run| millis(run.during.longest) - millis(run.without.longest));
        beyond.0.median = during.0.median - without.0.median;
        beyond.1.median = during.1.median - without.1.median;
        let memory_goal = self.stats(|run| run.memory_goal).0.median;
        vec![
            line("command", "ms", Some(COMMAND_GOAL), self.stats(|run| run.command)),
            line("seen by its caller", "ms", None, self.stats(|run| run.seen)),
            line("longest PING during", "ms", None, during),
            line("longest PING without", "ms", None, without),
            line("PING beyond without", "ms", Some(WAIT_GOAL), beyond),
            line(
                "longest, stolen included",
                "ms",
                None,
                self.stats(|run| millis(run.during.with_stolen)),
            ),
            line("until all are gone", "ms", None, self.stats(|run| run.gone)),
            line("until memory is back", "ms", None, self.stats(|run| run.back)),
            line("keys left", "", Some(0.0), self.stats(|run| run.keys_left)),
            line("dead names left", "", Some(0.0), self.stats(|run| run.names_left)),
            line("memory left", "MB", Some(memory_goal), self.stats(|run| run.memory_left)),
        ]
    }
}
