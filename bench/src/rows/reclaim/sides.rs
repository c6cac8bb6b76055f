//! Both sides of the row: a server, its entries, the command that kills them, and a line of the two.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Result};
use redis::{Cmd, Connection};

use crate::measure::{Stat, Which};
use crate::pipeline::{run, Side, DEPTH};
use crate::rows::fills::{Fill, FillTagged};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::{Figure, Judged, Line};
use crate::workload::Workload;

pub const KEYS_PER_USER: u64 = 10;
pub const RECLAIM_TIMEOUT: Duration = Duration::from_secs(120);

/// A page of the set at a time, so that neither the stack of the script nor one command gets large.
const SCRIPT: &str = "
if redis.replicate_commands then redis.replicate_commands() end
local cursor, killed = '0', 0
repeat
    local page = redis.call('SSCAN', KEYS[1], cursor, 'COUNT', 1000)
    cursor = page[1]
    if #page[2] > 0 then
        killed = killed + redis.call('UNLINK', unpack(page[2]))
    end
until cursor == '0'
redis.call('UNLINK', KEYS[1])
return killed
";

pub fn start(settings: &Settings, which: Which) -> Result<Server> {
    match which {
        Which::Ours => Server::with_module(settings),
        Which::Alternative => Server::plain(settings),
    }
}

pub fn fill(server: &Server, which: Which, work: Workload, entries: u64) -> Result<()> {
    match which {
        Which::Ours => run_all(server, &Fill(work), entries),
        Which::Alternative => run_all(server, &FillTagged(work), entries),
    }
}

/// Runs the calls up to `entries` over two connections, so that the server has work while one of them
/// builds a pipeline.
pub fn run_all<S: Side + Sync>(server: &Server, side: &S, entries: u64) -> Result<()> {
    let half = |calls| run(server, &mut server.connect()?, side, calls, DEPTH);
    thread::scope(|scope| {
        let other = scope.spawn(|| half(0..entries / 2));
        half(entries / 2..entries)?;
        other.join().map_err(|_| anyhow!("a filling thread panicked"))??;
        Ok(())
    })
}

/// The command that kills all entries by the tag that they share, and its name in commandstats.
pub fn killer(con: &mut Connection, which: Which, work: Workload) -> Result<(Cmd, &'static str)> {
    let [_, _, shared] = work.tags(0);
    let mut cmd;
    Ok(match which {
        Which::Ours => {
            cmd = redis::cmd("APIKEY.TAGINVAL");
            cmd.arg(shared);
            (cmd, "cmdstat_apikey.taginval")
        }
        Which::Alternative => {
            let sha: String = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query(con)?;
            cmd = redis::cmd("EVALSHA");
            cmd.arg(sha).arg(1).arg(shared);
            (cmd, "cmdstat_evalsha")
        }
    })
}

/// A line of which ours is judged by itself.
pub fn line(
    what: String,
    unit: &'static str,
    goal: Option<f64>,
    (ours, script): (Stat, Stat),
) -> Line {
    Line {
        row: "reclaim",
        unit,
        ours: Figure { what, value: ours, per_second: None },
        alternative: Figure { what: "script".into(), value: script, per_second: None },
        judged: Judged::Ours,
        result: ours,
        goal,
    }
}
