//! Having a server write its files anew, and waiting until it has.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};

use crate::connect::Link;
use crate::reading::Info;

/// How often a server is asked whether it is done.
const PAUSE: Duration = Duration::from_millis(50);

/// BGREWRITEAOF. False: the server keeps no AOF.
pub fn rewrite_aof(link: &mut Link, patience: Duration) -> Result<bool> {
    if Info::read(link, "persistence")?.text("aof_enabled") != Some("1") {
        return Ok(false);
    }
    write(link, "BGREWRITEAOF", "aof_last_bgrewrite_status", patience)?;
    Ok(true)
}

/// BGSAVE.
pub fn save_rdb(link: &mut Link, patience: Duration) -> Result<()> {
    write(link, "BGSAVE", "rdb_last_bgsave_status", patience)
}

/// Begins when no child of the server's is at work: what that writes it was given before.
fn write(link: &mut Link, command: &str, status: &str, patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        idle(link, command, until)?;
        let ask = redis::cmd(command);
        match link.try_ask(&ask)? {
            Ok(_) => break,
            // Another has begun since.
            Err(refusal) if refusal.text.contains("in progress") => {}
            Err(refusal) => return Err(link.refused(&ask, &refusal)),
        }
    }
    let info = idle(link, command, until)?;
    ensure!(
        info.text(status) == Some("ok"),
        "{}: {command} failed: its log says why (is the disk full, is its directory writable?); mend that and start again",
        link.address
    );
    Ok(())
}

fn idle(link: &mut Link, command: &str, until: Instant) -> Result<Info> {
    let busy = ["aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress"];
    loop {
        let info = Info::read(link, "persistence")?;
        if busy.iter().all(|name| info.text(name).is_none_or(|value| value == "0")) {
            return Ok(info);
        }
        if Instant::now() > until {
            bail!("{}: {command} is not done in time: --wait gives it longer", link.address);
        }
        thread::sleep(PAUSE);
    }
}
