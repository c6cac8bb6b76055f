//! USAGE.LEASE: counts that are handed over and kept until somebody has settled them.
//!
//! What was leased is settled by ACK alone. A batch whose deadline has passed, or that was given back, is
//! given out again with the same ids, so that a consumer that writes each line under its id as a unique
//! key counts it once, whoever died in between.

use super::members::{each_member, tag_of};
use crate::commands::plain::PLAIN;
use crate::grammar::{self, read_count};
use crate::keyspace;
use crate::state;
use crate::stream::leased;
use apikey_engine::database::items::PENDING;
use apikey_engine::usage::batches::{Terms, MAX_LEASE_MS};
use apikey_engine::usage::id::Id;
use host::changes::Class;
use host::command::grammar::integer;
use host::command::spec::{Arg, Command, Spec};
use host::{now, Args, Ctx, Error, Reply, Result};

/// A batch as it is given out.
struct Batch {
    id: Id,
    terms: Terms,
    lines: Vec<Line>,
}

struct Line {
    id: Id,
    key: Vec<u8>,
    count: i64,
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
        let now = now();
        let deadline = now.saturating_add(ms);

        let mut batches = overdue(ctx, now, deadline, most);
        if batches.is_empty() {
            batches.extend(new(ctx, Terms { leased_at: now, deadline }, most)?);
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
            reply.array(3);
            reply.bulk(line.id.to_hex().as_bytes());
            reply.bulk(&line.key);
            reply.integer(line.count);
        }
    }

    /// Replicates the batch, with these lines of it.
    fn replicate(&self, ctx: &mut Ctx, lines: &[Line]) {
        let lines = lines.iter().map(|line| (line.key.as_slice(), line.id));
        leased::write(ctx, self.id, self.terms, lines);
    }
}

/// Gives overdue batches out again until they have enough lines, each whole and with a new deadline.
fn overdue(ctx: &mut Ctx, now: i64, deadline: i64, enough: usize) -> Vec<Batch> {
    let (lock, database) = (ctx.lock(), ctx.database());
    let mut batches = Vec::new();
    let mut lines = 0;
    while lines < enough {
        let found = state::with(lock, |state| {
            let id = state.overdue(database, now)?;
            let terms = Terms { deadline, ..state.terms(database, id)? };
            state.set_deadline(database, id, deadline).then_some((id, terms))
        });
        let Some((id, terms)) = found else { break };
        let batch = Batch { id, terms, lines: lines_of(ctx, id) };
        // Who opens the lines may find that the last of them has expired, and the batch is no more.
        if state::with(lock, |state| state.terms(database, id)).is_some() {
            batch.replicate(ctx, &[]);
        }
        if !batch.lines.is_empty() {
            lines += batch.lines.len();
            state::with(lock, |state| state.stats.redeliveries += 1);
            batches.push(batch);
        }
    }
    batches
}

/// The lines of an open batch, in the order in which they were leased.
fn lines_of(ctx: &mut Ctx, batch: Id) -> Vec<Line> {
    let mut lines = Vec::new();
    let tag = tag_of(ctx.lock(), batch);
    each_member(ctx, tag, usize::MAX, |ctx, name| {
        // As ACK opens it: Redis 6.2 shows to a writer what has expired and may not be deleted yet.
        let key = keyspace::write(ctx, name);
        let lease = *key.usage().ok().flatten()?.leases().of(batch)?;
        lines.push(Line { id: lease.line, key: name.bytes().to_vec(), count: lease.count });
        Some(())
    });
    lines.sort_by_key(|line| line.id);
    lines
}

/// Makes a batch of what is pending; `None` where nothing is.
fn new(ctx: &mut Ctx, terms: Terms, most: usize) -> Result<Option<Batch>> {
    let (lock, database) = (ctx.lock(), ctx.database());
    if state::with(lock, |state| state.member_count(database, PENDING)) == 0 {
        return Ok(None);
    }
    if !state::with(lock, |state| state.has_room(database)) {
        return Err(Error::err("the tag index is full"));
    }
    let Some(batch) = state::with(lock, |state| state.new_id()) else {
        return Err(Error::INTERNAL);
    };
    let mut lines = Vec::new();
    each_member(ctx, PENDING, most, |ctx, name| {
        let id = state::with(lock, |state| state.new_id())?;
        let count = keyspace::write(ctx, name).lease_usage(batch, id, terms)?;
        ctx.notify(Class::Module, Lease::SPEC.name, name);
        lines.push(Line { id, key: name.bytes().to_vec(), count });
        Some(())
    });
    if lines.is_empty() {
        return Ok(None);
    }
    let batch = Batch { id: batch, terms, lines };
    batch.replicate(ctx, &batch.lines);
    Ok(Some(batch))
}
