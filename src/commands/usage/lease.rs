//! USAGE.LEASE: counts that are handed over and kept until somebody has settled them.
//!
//! What was leased is settled by ACK alone. A batch whose deadline has passed, or that was given back, is
//! given out again with the same ids, so that a consumer that writes each line under its id as a unique
//! key counts it once, whoever died in between.

use crate::commands::plain::PLAIN;
use crate::counters;
use crate::grammar::{self, read_count};
use crate::keyspace;
use crate::members::{each_member, tag_of};
use crate::migrations;
use crate::state;
use crate::stream::leased;
use apikey_engine::database::items::PENDING;
use apikey_engine::usage::batches::{Terms, MAX_LEASE_MS, MAX_LINES};
use apikey_engine::usage::id::Id;
use apikey_engine::usage::lease as usage;
use host::changes::Class;
use host::command::grammar::integer;
use host::command::spec::{Arg, Command, Spec};
use host::{now, Args, Ctx, Error, Reply, Result, Text};

/// A batch as it is given out.
struct Batch {
    id: Id,
    lines: Vec<Line>,
}

struct Line {
    id: Id,
    key: Text,
    count: i64,
    /// When the counter was used last, in epoch milliseconds.
    last_used_at: i64,
}

pub struct Lease;

/// Counters that one FLUSH or LEASE takes unless COUNT says otherwise, and at most.
pub const DEFAULT_COUNT: i64 = 1000;
pub const MAX_COUNT: i64 = 1_000_000;

const OPTIONS: &[Arg] = &[grammar::count(MAX_COUNT)];

impl Command for Lease {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.lease",
        alias: Some(c"apikey.usagelease"),
        flags: "write",
        hides: grammar::HIDES,
        dangerous: true,
        arity: -2,
        summary: c"Returns batches of usage counts, and keeps each until it is acknowledged: overdue ones again, else what is pending as a new one.",
        complexity: c"O(N) where N is the number of lines returned",
        tips: Some(c"request_policy:all_shards"),
        fixed: &[Arg::integer(c"milliseconds")],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(ms) = args.get(1) else { return Err(Error::SYNTAX) };
        let ms = integer(ms, "milliseconds", 1, MAX_LEASE_MS)?;
        let most = read_count(OPTIONS, args, 2, DEFAULT_COUNT)?;
        migrations::must_not_come(ctx)?;
        let now = now();
        let deadline = now.saturating_add(ms);

        let mut batches = overdue(ctx, now, deadline, most);
        if batches.is_empty() {
            batches = new(ctx, Terms { leased_at: now, deadline }, most)?;
        }
        reply.array(batches.len());
        batches.iter().for_each(|batch| batch.reply(reply));
        Ok(())
    }
}

impl Batch {
    fn reply(&self, reply: Reply) {
        reply.array(2);
        reply.bulk(self.id.to_hex().as_bytes());
        reply.array(self.lines.len());
        for line in &self.lines {
            reply.array(4);
            reply.bulk(line.id.to_hex().as_bytes());
            reply.bulk(line.key.name().bytes());
            reply.integer(line.count);
            reply.integer(line.last_used_at);
        }
    }
}

/// Gives overdue batches out again until they have enough lines, each whole and with a new deadline. A line
/// whose time is over is one, so that a call looks at no more than it is to give, and the last batch.
fn overdue(ctx: &mut Ctx, now: i64, deadline: i64, enough: usize) -> Vec<Batch> {
    let (lock, database) = (ctx.lock(), ctx.database());
    let mut batches = Vec::new();
    let mut lines = 0;
    while lines < enough {
        let found = state::with(lock, |state| state.give_again(database, deadline, now));
        let Some((id, terms)) = found else { break };
        let tag = tag_of(lock, id);
        lines += state::with(lock, |state| state.member_count(database, tag));
        let batch = Batch { id, lines: lines_of(ctx, id) };
        // Who opens the lines may find that the last of them has expired, and the batch is no more.
        if state::with(lock, |state| state.terms(database, id)).is_some() {
            leased::write(ctx, id, terms, std::iter::empty());
        }
        if !batch.lines.is_empty() {
            state::with(lock, |state| state.stats.redeliveries += 1);
            batches.push(batch);
        }
    }
    batches
}

/// The lines of an open batch, in the order in which they were leased.
fn lines_of(ctx: &mut Ctx, batch: Id) -> Vec<Line> {
    let tag = tag_of(ctx.lock(), batch);
    let leases = each_member(ctx, tag, usize::MAX, |ctx, name| {
        // As ACK opens it: Redis 6.2 shows to a writer what has expired and may not be deleted yet.
        let key = keyspace::write(ctx, name);
        let value = key.usage().ok().flatten()?;
        Some((*value.leases().of(batch)?, value.counter.last_used_at()))
    });
    let line = |(key, (lease, last_used_at)): (Text, (usage::Lease, i64))| Line {
        id: lease.line,
        key,
        count: lease.count,
        last_used_at,
    };
    let mut lines: Vec<Line> = leases.into_iter().map(line).collect();
    lines.sort_by_key(|line| line.id);
    lines
}

/// Makes batches of what is pending, of [`MAX_LINES`] each and `most` in all; none where nothing is.
fn new(ctx: &mut Ctx, terms: Terms, most: usize) -> Result<Vec<Batch>> {
    let (lock, database) = (ctx.lock(), ctx.database());
    if state::with(lock, |state| state.member_count(database, PENDING)) == 0 {
        return Ok(Vec::new());
    }
    if !state::with(lock, |state| state.has_room(database)) {
        return Err(Error::err("the tag index is full"));
    }
    let mut batches = Vec::new();
    let mut left = most;
    while left > 0 {
        let Some(id) = state::with(lock, |state| state.new_id()) else { break };
        let leases = each_member(ctx, PENDING, left.min(MAX_LINES), |ctx, name| {
            let line = state::with(lock, |state| state.new_id())?;
            Some((line, keyspace::write(ctx, name).lease_usage(id, line, terms)?))
        });
        if leases.is_empty() {
            break;
        }
        left -= leases.len();
        let line = |(key, (id, (count, last_used_at))): (Text, (Id, (i64, i64)))| Line {
            id,
            key,
            count,
            last_used_at,
        };
        batches.push(Batch { id, lines: leases.into_iter().map(line).collect() });
    }
    let lines = || batches.iter().flat_map(|batch| batch.lines.iter().map(|line| (batch.id, line)));
    if let Some(first) = batches.first() {
        counters::tell(ctx, lines().map(|(_, line)| line.key.name()), |ctx| {
            let told = lines().map(|(batch, line)| (batch, line.key.name(), line.id));
            leased::write(ctx, first.id, terms, told);
        });
    }
    for (_, line) in lines() {
        ctx.notify(Class::Module, Lease::SPEC.name, line.key.name());
    }
    Ok(batches)
}
