//! `plan`: what more keys will take, when that is more than the servers have, and when to shard.
//!
//! `memory.rs` measures what keys take, on this server; `scratch.rs` has some of its own measured where there are none.
//! `tables.rs` knows how the server's own tables grow, `growth.rs` how many keys there will be, `outlook.rs` when that is
//! too much, `machine.rs` what is needed beside. `planned.rs` has all of it,
//! `advice.rs` says what to do, `told.rs` tells it to a person.

mod advice;
mod growth;
mod machine;
mod memory;
mod outlook;
mod planned;
mod scratch;
mod tables;
mod told;

use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use clap::Args;

use crate::connect::Access;
use crate::deployment::{Deployment, Node};
use crate::history::Earlier;
use crate::output::{confirm, grouped, note, Output, Verdict};
use crate::reading::{bytes, Config, Facts};
use crate::warm::pattern::Pattern;

use growth::{scaled, Growth};
use machine::Machine;
use memory::{Counts, Look, Rates, FEWEST};
use outlook::{records, Outlook, Then};
use planned::{Plan, Primary};
use scratch::Shape;
use tables::Tables;

const MORE: &str = "\
Without --keys and growth it says what there is, and how many records there is room for. Figures of memory are
used_memory, which is what counts against maxmemory.

What a key takes is measured by the keys that are there. Where there are few, --scratch stores 10,000 records of its own,
for some seconds, under names that nobody has, and removes them; --record gives their shape.

Exit status: 0; 1 where what is asked for has no room below maxmemory, or grows out of it within --months; 2 where it
could not look.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// Records to plan for, in all; the other keys grow with them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000_000))]
    keys: Option<u64>,

    /// How it grows: a share of what is there, or records, a day, week, month or year: 10%/month, 5000/week
    #[arg(long, value_name = "GROWTH")]
    growth: Option<Growth>,

    /// As it has grown since this report, of `apikeyctl report --json`
    #[arg(long, value_name = "FILE", conflicts_with = "growth")]
    since: Option<PathBuf>,

    /// How far ahead
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=120))]
    months: u16,

    /// Plan for this limit of each primary, like 4gb (the server's)
    #[arg(long, value_name = "BYTES", value_parser = bytes::parse)]
    maxmemory: Option<u64>,

    /// What one primary should have at most
    #[arg(long, value_name = "BYTES", default_value = "4gb", value_parser = bytes::parse)]
    shard_above: u64,

    /// Store records for some seconds, to measure them; it asks first
    #[arg(long)]
    scratch: bool,

    /// Measure such records: one JSON object a line, as of an export for warm
    #[arg(long, value_name = "FILE", requires = "scratch")]
    record: Option<PathBuf>,

    /// The key of each of them, as warm has it
    #[arg(long, value_name = "PATTERN", default_value = scratch::KEY, value_parser = Pattern::parse, requires = "scratch")]
    key: Pattern,

    /// Their field with the digest, as warm has it
    #[arg(long, value_name = "FIELD", requires = "record")]
    digest_field: Option<String>,

    /// A tag of each, as warm has it; may be given again
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse, requires = "scratch")]
    tag: Vec<Pattern>,

    /// How many users have the --keys (each key a user of its own)
    #[arg(long, value_name = "N", requires_all = ["keys", "scratch"], value_parser = clap::value_parser!(u64).range(1..))]
    users: Option<u64>,

    /// Don't ask
    #[arg(long)]
    yes: bool,
}

/// A primary that was looked at.
struct Seen<'a> {
    node: &'a Node,
    facts: &'a Facts,
    look: Look,
}

pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    let earlier = flags.since.as_deref().map(Earlier::read).transpose()?;
    let shape = flags.scratch.then(|| shape(flags)).transpose()?;
    let deployment = Deployment::look(access)?;
    let primaries = deployment.all_primaries()?;
    let mut seen = Vec::new();
    for node in primaries {
        let facts = node.facts().context("a primary that answers")?;
        seen.push(Seen { node, facts, look: Look::at(node, facts)? });
    }
    let growth = match (&flags.growth, earlier) {
        (Some(growth), _) => Some(growth.clone()),
        (None, Some(earlier)) => Some(since(&earlier, &seen)?),
        (None, None) => None,
    };
    let fullest = seen
        .iter()
        .max_by(|a, b| a.look.used.total_cmp(&b.look.used))
        .context("no primary is known")?;
    let scratch = match shape {
        Some(shape) => {
            let Some(rates) = measure_scratch(fullest, access.database(), &shape, flags.yes)?
            else {
                note("nothing was done");
                return Ok(Verdict::Blind);
            };
            Some(rates)
        }
        None => None,
    };
    let all: f64 = seen.iter().map(|seen| records(&seen.look.counts)).sum();
    let count = seen.len() as f64;
    let planned: Result<Vec<Primary>> = seen
        .iter()
        .map(|seen| {
            let part = if all < 1.0 { 1.0 / count } else { records(&seen.look.counts) / all };
            plan(seen, part, scratch.as_ref(), growth.as_ref(), flags)
        })
        .collect();
    let mut plan = Plan {
        primaries: planned?,
        months: flags.months,
        shard_above: flags.shard_above,
        advice: Vec::new(),
        away: deployment.away(),
    };
    plan.advice = advice::of(&plan);
    output.print(&plan)?;
    Ok(match (plan.has_no_room(), plan.away.is_empty()) {
        (true, _) => Verdict::Wrong,
        (false, false) => Verdict::Blind,
        (false, true) => Verdict::Well,
    })
}

fn shape(flags: &Flags) -> Result<Shape> {
    ensure!(flags.key.has_field(), "--key inserts no field: all records would get the same key");
    let users = match (flags.users, flags.keys) {
        (Some(users), Some(keys)) => users as f64 / keys as f64,
        _ => 1.0,
    };
    let (key, digest, tags) = (flags.key.clone(), flags.digest_field.clone(), flags.tag.clone());
    Shape::new(flags.record.as_deref(), key, digest, tags, users)
}

fn since(earlier: &Earlier, seen: &[Seen]) -> Result<Growth> {
    let hours = earlier.age().as_secs_f64() / 3600.0;
    ensure!(hours >= 1.0, "--since: the report is not an hour old: nothing can be told by it");
    if hours < 24.0 {
        note("--since: the report is not a day old, and days differ from nights");
    }
    let mut now = Counts::new();
    for (kind, number) in seen.iter().flat_map(|seen| &seen.look.counts) {
        *now.entry(*kind).or_default() += number;
    }
    Ok(Growth::between(&earlier.counts(), &now, hours / 24.0))
}

/// None where the answer was no.
fn measure_scratch(seen: &Seen, database: u32, shape: &Shape, yes: bool) -> Result<Option<Rates>> {
    let address = seen.node.address();
    let limit = seen.facts.info.number::<f64>("maxmemory").unwrap_or(0.0);
    // Twice what they are, and what is around them.
    let needs = scratch::ALL as f64 * (2.0 * shape.longest() as f64 + 1024.0);
    ensure!(
        limit < 1.0 || seen.look.used + needs < limit * 0.95,
        "{address} has no room for scratch records ({} of maxmemory {}): others' keys would be evicted for them",
        bytes::person(seen.look.used),
        bytes::person(limit)
    );
    let question = format!(
        "Store {} records at {address}, in database {database}, for some seconds? They have names of their own and are removed.",
        grouped(scratch::ALL)
    );
    if !confirm(&question, yes)? {
        return Ok(None);
    }
    Ok(Some(scratch::measure(seen.node, seen.facts, database, shape)?))
}

fn plan(
    seen: &Seen,
    part: f64,
    scratch: Option<&Rates>,
    growth: Option<&Growth>,
    flags: &Flags,
) -> Result<Primary> {
    let Seen { node, facts, look } = seen;
    let address = node.address().to_string();
    let has_enough = look.keys() >= FEWEST;
    let mut rates = match scratch {
        Some(rates) => rates.clone(),
        None if has_enough => Rates::measure(node, look)?,
        None => bail!(
            "{address} has {} keys, too few to measure by: --scratch stores 10,000 records for some seconds and measures them",
            grouped(look.keys() as u64)
        ),
    };
    if let (Some(_), true) = (scratch, has_enough) {
        for (kind, bytes) in Rates::measure(node, look)?.bytes_of_key {
            rates.bytes_of_key.entry(kind).or_insert(bytes);
        }
    }
    let tables = Tables::of(facts);
    let outlook = Outlook { look, rates: &rates, tables, part };
    let of_records = |records: f64| scaled(&look.counts, records);
    let target = flags.keys.map(|keys| outlook.with(of_records(keys as f64 * part), None));
    let months: Vec<Then> = growth
        .map(|growth| (0..=flags.months).map(|month| outlook.after(month.into(), growth)).collect())
        .unwrap_or_default();
    let of_server = facts.info.number::<u64>("maxmemory").filter(|limit| *limit > 0);
    let maxmemory = flags.maxmemory.or(of_server).map(|limit| limit as f64);
    let room = maxmemory.map(|limit| outlook.rooms(limit, growth, of_records)).unwrap_or_default();
    let planned = target.iter().chain(&months).map(|then| then.bytes).fold(look.used, f64::max);
    let mut link = node.connect(0)?;
    // Who may not read it has the server's default reckoned with.
    let config = Config::read(&mut link, "client-output-buffer-limit").unwrap_or_default();
    let machine =
        Machine::of(facts, &config, maxmemory.map_or(planned, |limit| planned.min(limit)));
    Ok(Primary {
        address,
        keys: look.counts.clone(),
        used_memory: look.used,
        fixed: look.fixed,
        index: look.index,
        tables: look.tables,
        maxmemory,
        rates,
        target,
        outlook: months,
        room,
        machine,
    })
}
