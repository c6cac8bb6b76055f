//! USAGE.LEASE, ACK and NACK: counts that are handed over and kept until somebody has settled them.
//!
//! What was leased is settled by ACK alone. A batch whose deadline has passed, or that was given back, is
//! given out again with the same ids, so that a consumer that writes each line under its id as a unique
//! key counts it once, whoever died in between.
//!
//! Replicas and AOFs get what was decided: a new batch as one LEASED with its ids, its times and its
//! lines, a delivery of an old one as a LEASED with the new deadline alone.

use crate::command::{must_be_replayed, Arg, Command, Keys, Repeat, Spec, UPDATES};
use crate::commands::usage::{DEFAULT_COUNT, MAX_COUNT};
use crate::error::{Error, Result};
use crate::ffi::{self, Args, Ctx, Mode, Name, Notify, Text};
use crate::keyspace;
use crate::options;
use crate::state;
use apikey_engine::database::PENDING;
use apikey_engine::lease::{Id, Terms, MAX_LEASE_MS};
use apikey_engine::tag_index::Fingerprint;

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

impl Command for Lease {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.lease",
        alias: Some(c"apikey.usagelease"),
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -2,
        keys: Keys::None,
        summary: c"Returns batches of usage counts, and keeps each until it is acknowledged: overdue ones again, else what is pending as a new one.",
        complexity: c"O(N) where N is the number of lines returned",
        tips: Some(c"request_policy:all_shards"),
        args: &[
            Arg::integer(c"milliseconds"),
            Arg::integer(c"count").after(c"COUNT").optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(ms) = args.get(1) else { return Err(Error::SYNTAX) };
        let ms = options::integer(ms, "milliseconds", 1, MAX_LEASE_MS)?;
        let most = options::count(args, 2, DEFAULT_COUNT, MAX_COUNT)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let now = ffi::now();
        let deadline = now.saturating_add(ms);

        let mut batches = overdue(ctx, now, deadline, most);
        if batches.is_empty() {
            batches.extend(new(ctx, Terms { leased_at: now, deadline }, most)?);
        }
        ctx.reply_array(batches.len());
        batches.iter().for_each(|batch| batch.reply(ctx));
        Ok(())
    }
}

impl Batch {
    fn reply(&self, ctx: Ctx) {
        ctx.reply_array(2);
        ctx.reply_bulk(self.id.to_hex().as_bytes());
        ctx.reply_array(self.lines.len());
        for line in &self.lines {
            ctx.reply_array(3);
            ctx.reply_bulk(line.id.to_hex().as_bytes());
            ctx.reply_bulk(&line.key);
            ctx.reply_integer(line.count);
        }
    }

    /// Replicates the batch, with these lines of it.
    fn replicate(&self, ctx: Ctx, lines: &[Line]) {
        let Terms { leased_at, deadline } = self.terms;
        let head = [self.id.to_hex(), leased_at.to_string(), deadline.to_string()];
        let ids: Vec<String> = lines.iter().map(|line| line.id.to_hex()).collect();
        let lines = lines.iter().zip(&ids);
        let lines = lines.flat_map(|(line, id)| [line.key.as_slice(), id.as_bytes()]);
        let words: Vec<&[u8]> = head.iter().map(String::as_bytes).chain(lines).collect();
        ctx.replicate(Leased::SPEC.name, &[], &words);
    }
}

/// Gives overdue batches out again until they have enough lines, each whole and with a new deadline.
fn overdue(ctx: Ctx, now: i64, deadline: i64, enough: usize) -> Vec<Batch> {
    let database = ctx.database();
    let mut batches = Vec::new();
    let mut lines = 0;
    while lines < enough {
        let found = state::with(|state| {
            let id = state.overdue(database, now)?;
            let terms = Terms { deadline, ..state.terms(database, id)? };
            state.set_deadline(database, id, deadline).then_some((id, terms))
        });
        let Some((id, terms)) = found else { break };
        let batch = Batch { id, terms, lines: lines_of(ctx, id) };
        // Who opens the lines may find that the last of them has expired, and the batch is no more.
        if state::with(|state| state.terms(database, id)).is_some() {
            batch.replicate(ctx, &[]);
        }
        if !batch.lines.is_empty() {
            lines += batch.lines.len();
            state::with(|state| state.stats.redeliveries += 1);
            batches.push(batch);
        }
    }
    batches
}

/// The lines of an open batch, in the order in which they were leased.
fn lines_of(ctx: Ctx, batch: Id) -> Vec<Line> {
    let mut lines = Vec::new();
    each_member(ctx, tag_of(batch), usize::MAX, |name| {
        // As ACK opens it: Redis 6.2 shows to a writer what has expired and may not be deleted yet.
        let key = keyspace::open(ctx, name, Mode::ReadWrite);
        let lease = key.usage().ok().flatten()?.with_leases(|leases| leases.of(batch).copied())?;
        lines.push(Line { id: lease.line, key: name.bytes().to_vec(), count: lease.count });
        Some(())
    });
    lines.sort_by_key(|line| line.id);
    lines
}

fn tag_of(batch: Id) -> Fingerprint {
    state::with(|state| batch.fingerprint(&state.fingerprints))
}

/// Calls `each` for the keys that carry a reserved tag until it had something for `most` of them, and
/// returns for how many it had.
fn each_member(
    ctx: Ctx,
    tag: Fingerprint,
    most: usize,
    mut each: impl FnMut(Name) -> Option<()>,
) -> usize {
    let database = ctx.database();
    let count = state::with(|state| state.member_count(database, tag));
    // From the last on, as TAGINVAL walks: the list's last member takes the position of one that leaves.
    (0..count)
        .rev()
        .filter_map(|position| {
            state::with(|state| state.member_name(database, tag, position).map(Text::new))
        })
        .filter_map(|name| each(name.name()))
        .take(most)
        .count()
}

/// Makes a batch of what is pending; `None` where nothing is.
fn new(ctx: Ctx, terms: Terms, most: usize) -> Result<Option<Batch>> {
    let database = ctx.database();
    if state::with(|state| state.member_count(database, PENDING)) == 0 {
        return Ok(None);
    }
    if !state::with(|state| state.has_room(database)) {
        return Err(Error::err("the tag index is full"));
    }
    let Some(batch) = state::with(|state| state.new_id()) else { return Err(Error::INTERNAL) };
    let mut lines = Vec::new();
    each_member(ctx, PENDING, most, |name| {
        let id = state::with(|state| state.new_id())?;
        let key = keyspace::open(ctx, name, Mode::ReadWrite);
        let count = key.lease_usage(batch, id, terms)?;
        drop(key);
        ctx.notify(Notify::Module, Lease::SPEC.name, name);
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

/// Batches as they are named in a call.
fn batches(args: Args) -> Result<Vec<Id>> {
    args.from(1).map(|name| id(name, "batch")).collect()
}

fn id(name: Name, what: &str) -> Result<Id> {
    Id::parse(name.bytes()).ok_or_else(|| {
        Error::err(format_args!("{what} must be an id that apikey.usage.lease gave: 32 hex digits"))
    })
}

pub struct Ack;

impl Command for Ack {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.ack",
        alias: Some(c"apikey.usageack"),
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -2,
        keys: Keys::None,
        summary: c"Settles batches of usage counts for good and returns the number of their lines.",
        complexity: c"O(N) where N is the number of lines",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        args: &[Arg::string(c"batch").repeated(Repeat::Value)],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let settled: usize = batches(args)?.into_iter().map(|batch| settle(ctx, batch)).sum();
        if settled > 0 {
            ctx.replicate_verbatim();
        }
        ctx.reply_integer(settled as i64);
        Ok(())
    }
}

/// Settles the lines of a batch and returns how many they are.
fn settle(ctx: Ctx, batch: Id) -> usize {
    each_member(ctx, tag_of(batch), usize::MAX, |name| {
        let key = keyspace::open(ctx, name, Mode::ReadWrite);
        key.settle_usage(batch)?;
        drop(key);
        ctx.notify(Notify::Module, Ack::SPEC.name, name);
        Some(())
    })
}

pub struct Nack;

impl Command for Nack {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.nack",
        alias: Some(c"apikey.usagenack"),
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -2,
        keys: Keys::None,
        summary: c"Gives batches of usage counts back, which the next LEASE gives out again, and returns the number of their lines.",
        complexity: c"O(N) where N is the number of batches",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        args: &[Arg::string(c"batch").repeated(Repeat::Value)],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let given_back: usize = batches(args)?.into_iter().map(|batch| give_back(ctx, batch)).sum();
        if given_back > 0 {
            ctx.replicate_verbatim();
        }
        ctx.reply_integer(given_back as i64);
        Ok(())
    }
}

/// Makes a batch due at once and returns the number of its lines; 0 where it was given back before. Its
/// lines do not become pending again: they may have been written already, and what guards against
/// counting them twice is that they come again under the same ids.
fn give_back(ctx: Ctx, batch: Id) -> usize {
    let database = ctx.database();
    state::with(|state| match state.terms(database, batch) {
        Some(Terms { deadline: 1.., .. }) => {
            state.set_deadline(database, batch, 0);
            state.member_count(database, batch.fingerprint(&state.fingerprints))
        }
        _ => 0,
    })
}

pub struct Leased;

/// The first of LEASED's keys.
const FIRST_KEY: usize = 4;

impl Command for Leased {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.leased",
        alias: None,
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -4,
        keys: Keys::EverySecond(FIRST_KEY as i32, UPDATES),
        summary: c"Internal: a batch that a primary gave out. Refused from clients.",
        complexity: c"O(N) where N is the number of lines",
        tips: None,
        args: &[
            Arg::string(c"batch"),
            Arg::unix_time(c"leased-at"),
            Arg::unix_time(c"deadline"),
            Arg::block(c"line", &[Arg::key(), Arg::string(c"id")])
                .optional()
                .repeated(Repeat::Value),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let (Some(batch), Some(leased_at), Some(deadline)) =
            (args.get(1), args.get(2), args.get(3))
        else {
            return Err(Error::SYNTAX);
        };
        let batch = id(batch, "batch")?;
        let terms = Terms {
            leased_at: options::integer(leased_at, "leased-at", 0, i64::MAX)?,
            deadline: options::integer(deadline, "deadline", 0, i64::MAX)?,
        };
        let lines: Vec<(Name, Id)> = (FIRST_KEY..args.len())
            .step_by(2)
            .map(|position| match (args.get(position), args.get(position + 1)) {
                (Some(key), Some(line)) => Ok((key, id(line, "line")?)),
                _ => Err(Error::SYNTAX),
            })
            .collect::<Result<_>>()?;

        for (key, line) in lines {
            keyspace::open(ctx, key, Mode::ReadWrite).lease_usage(batch, line, terms);
        }
        state::with(|state| state.set_deadline(ctx.database(), batch, terms.deadline));
        ctx.replicate_verbatim();
        ctx.reply_simple(c"OK");
        Ok(())
    }
}
