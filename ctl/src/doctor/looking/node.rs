//! Asking a node all that the checks want to know of it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use redis::{Cmd, Value};

use crate::connect::{Access, Link};
use crate::deployment::Place;
use crate::reading::{regions, reply, Config, Facts, Health, Info};

use super::clock::Clock;
use super::kernel::Kernel;
use super::seen::{Seen, ONE_OF_ITS};

/// The settings of the server that checks look at.
pub const SETTINGS: [&str; 13] = [
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "stop-writes-on-bgsave-error",
    "replica-serve-stale-data",
    "replica-read-only",
    "repl-diskless-load",
    "maxclients",
    "tcp-backlog",
];

/// Commands that are looked for. Each is called without arguments, which none of them takes: a server says that it
/// does not know a command before it counts arguments, and asks for permissions last.
const LOOKED_FOR: [&str; 5] = ["CONFIG", "DEL", "UNLINK", "PUBLISH", ONE_OF_ITS];

/// What the user may not ask is left out and noted; a connection that breaks makes it unreachable.
pub fn look_at(access: &Access, place: Place) -> Seen {
    let mut seen = Seen::of(place);
    // Where that fails, so does the link, which says why.
    seen.certificate_ends = access.end_of_certificate(&seen.place.address).ok().flatten();
    let looked =
        access.link(&seen.place.address, 0).and_then(|mut link| look(&mut link, &mut seen));
    if let Err(why) = looked {
        seen.unreachable = Some(format!("{why:#}"));
    }
    seen
}

fn look(link: &mut Link, seen: &mut Seen) -> Result<()> {
    let before = now();
    let told = ask(link, seen, &redis::cmd("INFO"))?;
    let after = now();
    if let Some(told) = told.as_ref().and_then(reply::text) {
        let info = Info::parse(&told);
        // Of microseconds.
        let server: Option<i64> = info.number("server_time_usec");
        seen.clock = server.map(|server| Clock::of(before, server / 1000, after));
        seen.is_loading = info.text("loading") == Some("1");
        let facts = Facts::of(info);
        seen.kernel = Kernel::beside(&seen.place.address, &facts);
        seen.facts = Some(facts);
    }
    if seen.is_loading {
        return Ok(());
    }
    let bare: Vec<Cmd> = LOOKED_FOR.iter().map(|name| redis::cmd(name)).collect();
    for (name, told) in LOOKED_FOR.into_iter().zip(link.ask_all(&bare)?) {
        if told.is_err_and(|refusal| refusal.is_unknown_command()) {
            seen.without.push(name);
        }
    }
    if seen.has_module() {
        let told = ask(link, seen, &redis::cmd("APIKEY.HEALTH"))?;
        seen.health = told.as_ref().and_then(Health::of);
        // Where something is evicted it does not matter which of them have bounds.
        if let Some(facts) =
            seen.facts.as_ref().filter(|_| seen.info("maxmemory_policy") == Some("noeviction"))
        {
            seen.regions = regions::read(link, &facts.databases())?;
        }
    }
    if !seen.without.contains(&"CONFIG") {
        seen.settings = config(link, seen)?;
    }
    if seen.facts.as_ref().is_some_and(|facts| facts.is_in_cluster) {
        let told = ask(link, seen, redis::cmd("CLUSTER").arg("INFO"))?;
        seen.cluster = told.as_ref().and_then(reply::text).map(|text| Info::parse(&text));
    }
    Ok(())
}

/// None where it is refused.
fn ask(link: &mut Link, seen: &mut Seen, command: &Cmd) -> Result<Option<Value>> {
    Ok(match link.try_ask(command)? {
        Ok(value) => Some(value),
        Err(refusal) => {
            seen.unseen.push(link.refused(command, &refusal).to_string());
            None
        }
    })
}

fn config(link: &mut Link, seen: &mut Seen) -> Result<Option<Config>> {
    let mut all = Vec::new();
    // Redis 6.2 takes one a call.
    for pattern in SETTINGS.into_iter().chain(["apikey.*"]) {
        let Some(told) = ask(link, seen, redis::cmd("CONFIG").arg("GET").arg(pattern))? else {
            return Ok(None);
        };
        let fields = reply::fields(&told).unwrap_or_default();
        all.extend(
            fields.into_iter().map(|(name, value)| (name, reply::text(&value).unwrap_or_default())),
        );
    }
    Ok(Some(Config::of(all)))
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis());
    since.ok().and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0)
}
