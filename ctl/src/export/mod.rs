//! `export`: what is cached, one JSON object a line.
//!
//! Keys are found by a tag, or by a pattern of their names, at each primary; of each, DUMP gives what is stored
//! (`rdb/payload.rs`), and the module's own decoder reads it (`line.rs`). So it looks like no use of a key, counts as no
//! lookup, and has records too that VALIDATE would not show, since they are disabled or have expired.

pub mod line;

use std::io::{self, Write};

use anyhow::{bail, Context, Result};
use clap::Args;
use redis::{Cmd, Value};

use crate::connect::{Access, Link};
use crate::deployment::Deployment;
use crate::output::{grouped, note, Progress, Verdict};
use crate::rdb::payload;
use crate::reading::{keys, reply};

use line::Line;

#[derive(Args)]
pub struct Flags {
    /// What carries this tag; without it, and without --match, everything
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,

    /// Keys whose names match, as SCAN has it
    #[arg(long = "match", value_name = "PATTERN", conflicts_with = "tag")]
    pattern: Option<String>,

    /// What this region holds
    #[arg(long, value_name = "REGION", conflicts_with_all = ["tag", "pattern"])]
    region: Option<String>,

    /// The region's namespace
    #[arg(long, value_name = "NAMESPACE", requires = "region")]
    ns: Option<String>,

    /// With the digests of the secrets: whoever has the file can compare secrets with them, and guess at weak ones
    #[arg(long)]
    digests: bool,
}

/// Keys that one call looks at.
const STEP: usize = 200;

#[derive(Default)]
struct Tally {
    written: u64,
    /// That could not be told.
    bad: u64,
}

/// So many are told one by one.
const SHOWN: u64 = 10;

pub fn run(access: &Access, flags: &Flags) -> Result<Verdict> {
    let deployment = Deployment::look(access)?;
    let primaries = deployment.all_primaries()?;
    let progress = Progress::of(None);
    let mut tally = Tally::default();
    let mut out = io::BufWriter::new(io::stdout().lock());
    // A region is what carries its tag.
    let of_region = flags.region.as_ref().map(|region| {
        let namespace = flags.ns.as_deref().unwrap_or_default();
        format!("{namespace}cache:region:{region}")
    });
    let tag = of_region.or_else(|| flags.tag.clone());
    for node in primaries {
        let mut link = node.connect(access.database())?;
        match &tag {
            Some(tag) => {
                let next = |cursor: &[u8]| {
                    let mut command = redis::cmd("APIKEY.TAGSCAN");
                    command.arg(tag).arg(cursor).arg("COUNT").arg(STEP);
                    command
                };
                walk(&mut link, next, flags.digests, &mut out, &mut tally, &progress)?;
            }
            None => {
                for of_type in keys::ENTRIES {
                    let next = |cursor: &[u8]| {
                        let mut command = redis::cmd("SCAN");
                        command.arg(cursor).arg("COUNT").arg(STEP).arg("TYPE").arg(of_type);
                        if let Some(pattern) = &flags.pattern {
                            command.arg("MATCH").arg(pattern);
                        }
                        command
                    };
                    walk(&mut link, next, flags.digests, &mut out, &mut tally, &progress)?;
                }
            }
        }
    }
    out.flush()?;
    progress.end();
    if tally.bad > 0 {
        note(&format!("{} entries could not be told", tally.bad));
    }
    Ok(if tally.bad > 0 { Verdict::Wrong } else { Verdict::Well })
}

/// Writes all that a cursor leads to. An entry that comes or goes meanwhile may be there or not, and one may be twice.
fn walk(
    link: &mut Link,
    next: impl Fn(&[u8]) -> Cmd,
    digests: bool,
    out: &mut impl Write,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<()> {
    let mut cursor = b"0".to_vec();
    loop {
        let (following, keys): (Vec<u8>, Vec<Vec<u8>>) = link.ask(&next(&cursor))?;
        write(link, &keys, digests, out, tally, progress)?;
        progress.advance(keys.len() as u64, format!("keys, {} written", grouped(tally.written)));
        if following == b"0" {
            return Ok(());
        }
        cursor = following;
    }
}

fn write(
    link: &mut Link,
    keys: &[Vec<u8>],
    digests: bool,
    out: &mut impl Write,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut commands = vec![redis::cmd("TIME")];
    for key in keys {
        for name in ["DUMP", "PTTL"] {
            let mut command = redis::cmd(name);
            command.arg(key);
            commands.push(command);
        }
    }
    let mut replies = Vec::with_capacity(commands.len());
    for (command, reply) in commands.iter().zip(link.ask_all(&commands)?) {
        replies.push(reply.map_err(|refusal| link.refused(command, &refusal))?);
    }
    let (time, replies) = replies.split_first().context("no reply")?;
    let now = milliseconds(time).context("TIME has a reply that is not known")?;
    for (key, replies) in keys.iter().zip(replies.chunks_exact(2)) {
        let (payload, left) = match replies {
            [Value::BulkString(payload), Value::Int(left)] => (payload, *left),
            // It is gone by now.
            [Value::Nil, _] => continue,
            _ => bail!("{}: DUMP has a reply that is not known", link.address),
        };
        let expires = match left {
            -1 => None,
            // Gone since.
            ..0 => continue,
            left => Some(now.saturating_add(left)),
        };
        let line = payload::bytes_in_dump(payload)
            .ok_or_else(|| "DUMP has a form that is not known".to_string());
        match line.and_then(|bytes| Line::of(key, &bytes, expires, digests)) {
            Ok(Some(line)) => {
                serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
                tally.written += 1;
            }
            Ok(None) => {}
            Err(why) => {
                tally.bad += 1;
                if tally.bad <= SHOWN {
                    progress.say(&format!("{}: {why}", key.escape_ascii()));
                }
            }
        }
    }
    Ok(())
}

/// What TIME says: seconds and microseconds.
fn milliseconds(time: &Value) -> Option<i64> {
    let parts: Vec<i64> = reply::items(time)?.iter().filter_map(reply::number).collect();
    match parts.as_slice() {
        [seconds, micros] => Some(seconds.checked_mul(1000)?.saturating_add(micros / 1000)),
        _ => None,
    }
}
