//! VALIDATE against tags that are versions: MGET of the entry and of the versions of its three tags, and
//! the client takes the entry for dead unless each is the one that it was stored under.
//!
//! The entry's JSON carries those versions in the order of its tags. The client parses it, compares them,
//! and checks the rest as in `client.rs`; no secret is compared. To invalidate a tag is to INCR its
//! version. MGET of names in different slots is an error on a cluster.

use anyhow::Result;
use redis::{Pipeline, Value};

use super::fills::Fill;
use super::row::{Row, Run};
use crate::measure::{Rounds, Which};
use crate::pipeline::{fill_in_turns, run, Side, DEPTH};
use crate::server::Server;
use crate::settings::Settings;
use crate::table::Line;
use crate::verify::{grants, now_ms, record_length, Stored, Validate};
use crate::workload::{Workload, SCOPE, TTL};

pub const ROW: Row = Row {
    name: "versions",
    about: "VALIDATE against MGET of the entry and of its tags' versions",
    run: Run::Lines(measure),
};

/// The version of every tag, as if each had been invalidated as often.
const VERSION: u64 = 1_000_000;

fn measure(settings: &Settings) -> Result<Vec<Line>> {
    let server = Server::with_module(settings)?;
    let mut con = server.connect()?;
    let (work, entries) = (Workload::new(settings.entries, 10), settings.entries);
    fill_in_turns(0..entries, |some| {
        run(&server, &mut con, &Fill(work), some.clone(), DEPTH)?;
        run(&server, &mut con, &Store(work), some, DEPTH)?;
        Ok(())
    })?;
    let stored = Stored { work, entries, length: record_length(&mut con, work)? };
    server.settle()?;

    let rounds = Rounds::run(settings.rounds, settings.calls, |turn| {
        let calls = turn.fresh(settings.calls);
        match turn.which {
            Which::Ours => run(&server, &mut con, &Validate(stored), calls, DEPTH),
            Which::Alternative => run(&server, &mut con, &Compare(stored), calls, DEPTH),
        }
    })?;
    let mget = "MGET entry + 3 versions, no secret".to_string();
    Ok(vec![Line::beside("versions", Validate::WHAT.into(), mget, &rounds)])
}

fn version_keys(work: Workload, i: u64) -> [String; 3] {
    work.tags(i).map(|tag| format!("version:{tag}"))
}

/// The entry, and the versions of its tags, of which some are there already.
struct Store(Workload);

impl Side for Store {
    const COMMANDS: usize = 2;

    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let versions = format!("{:?}", [VERSION; 3]);
        let json = self.0.record_with(i, "versions", &versions);
        pipe.cmd("SET").arg(self.0.string_key(i)).arg(json).arg("EX").arg(TTL);
        pipe.cmd("MSET");
        for key in version_keys(self.0, i) {
            pipe.arg(key).arg(VERSION);
        }
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        *reply == Value::Okay
    }
}

struct Compare(Stored);

impl Side for Compare {
    fn call(&self, i: u64, pipe: &mut Pipeline) {
        let number = self.0.pick(i);
        pipe.cmd("MGET").arg(self.0.work.string_key(number));
        pipe.arg(&version_keys(self.0.work, number)[..]);
    }

    fn right(&self, _: usize, reply: &Value) -> bool {
        let Value::Array(values) = reply else {
            return false;
        };
        let [Value::BulkString(json), versions @ ..] = values.as_slice() else {
            return false;
        };
        serde_json::from_slice(json)
            .is_ok_and(|entry| is_current(&entry, versions) && grants(&entry, SCOPE, now_ms()))
    }
}

/// Whether each tag still has the version that the entry was stored under.
fn is_current(entry: &serde_json::Value, versions: &[Value]) -> bool {
    let Some(stored) = entry["versions"].as_array() else {
        return false;
    };
    let same = |(stored, now): (&serde_json::Value, &Value)| match now {
        Value::BulkString(now) => *now == stored.to_string().into_bytes(),
        _ => false,
    };
    stored.len() == versions.len() && stored.iter().zip(versions).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_is_current_until_one_of_its_versions_has_changed() {
        let version = |version: &str| Value::BulkString(version.into());
        let entry = json!({"versions": [7, 8]});
        assert!(is_current(&entry, &[version("7"), version("8")]));
        assert!(!is_current(&entry, &[version("7"), version("9")]));
        assert!(!is_current(&entry, &[version("7")]));
        assert!(!is_current(&entry, &[version("7"), Value::Nil]));
        assert!(!is_current(&json!({}), &[]));
    }
}
