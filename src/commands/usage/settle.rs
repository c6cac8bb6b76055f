//! USAGE.ACK and NACK: batches that were leased are settled, or given back.
//!
//! As many lines as one batch has are settled in place; more of them by a [job](super::settling).

use super::members::{each_member, tag_of};
use super::settling::{self, Settling, SETTLINGS};
use crate::commands::plain::PLAIN;
use crate::keyspace;
use crate::state;
use crate::stream::leased;
use apikey_engine::usage::batches::{Terms, MAX_LINES};
use apikey_engine::usage::id::Id;
use host::command::spec::{Arg, Command, Repeat, Spec};
use host::{Args, Ctx, Error, Reply, Result, Text};

/// Batches as they are named in a call.
fn batches(args: Args) -> Result<Vec<Id>> {
    args.from(1).map(|name| leased::id(name.bytes(), "batch")).collect()
}

pub struct Ack;

impl Command for Ack {
    const SPEC: Spec = Spec {
        name: settling::ACK,
        alias: Some(c"apikey.usageack"),
        flags: "write",
        dangerous: true,
        arity: -2,
        summary: c"Settles batches of usage counts for good and returns the number of their lines.",
        complexity:
            c"O(N) where N is the number of lines, in slices where they are more than 10,000",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        fixed: &[Arg::string(c"batch").repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let batches = batches(args)?;
        let lines = lines(ctx, &batches);
        if lines > MAX_LINES && !ctx.is_replayed() {
            let job = Settling::begin(ctx.lock(), ctx.database(), batches);
            return SETTLINGS.ask(ctx, "apikey.usage.ack", job).map_err(|_| {
                Error::err(format_args!(
                    "in MULTI or in a script batches must have at most {MAX_LINES} lines in all: these have {lines}"
                ))
            });
        }
        let settled: Vec<Text> = batches.into_iter().flat_map(|batch| settle(ctx, batch)).collect();
        if !settled.is_empty() {
            ctx.replicate_verbatim();
        }
        settled.iter().for_each(|name| settling::notify(ctx, name.name()));
        reply.count(settled.len());
        Ok(())
    }
}

/// How many lines batches have in all.
fn lines(ctx: &Ctx, batches: &[Id]) -> usize {
    let database = ctx.database();
    state::with(ctx.lock(), |state| {
        let tags = batches.iter().map(|batch| batch.fingerprint(&state.fingerprints));
        tags.map(|tag| state.member_count(database, tag)).sum()
    })
}

/// Settles the lines of a batch and returns whose they were.
fn settle(ctx: &mut Ctx, batch: Id) -> Vec<Text> {
    let tag = tag_of(ctx.lock(), batch);
    let settled = each_member(ctx, tag, usize::MAX, |ctx, name| {
        keyspace::write(ctx, name).settle_usage(batch)
    });
    settled.into_iter().map(|(name, _)| name).collect()
}

pub struct Nack;

impl Command for Nack {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.nack",
        alias: Some(c"apikey.usagenack"),
        flags: "write",
        dangerous: true,
        arity: -2,
        summary: c"Gives batches of usage counts back, which the next LEASE gives out again, and returns the number of their lines.",
        complexity: c"O(N) where N is the number of batches",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        fixed: &[Arg::string(c"batch").repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let given_back: usize = batches(args)?.into_iter().map(|batch| give_back(ctx, batch)).sum();
        if given_back > 0 {
            ctx.replicate_verbatim();
        }
        reply.count(given_back);
        Ok(())
    }
}

/// Makes a batch due at once and returns the number of its lines; 0 where it was given back before. Its
/// lines do not become pending again: they may have been written already, and what guards against
/// counting them twice is that they come again under the same ids.
fn give_back(ctx: &Ctx, batch: Id) -> usize {
    let database = ctx.database();
    state::with(ctx.lock(), |state| match state.terms(database, batch) {
        Some(Terms { deadline: 1.., .. }) => {
            state.set_deadline(database, batch, 0);
            state.member_count(database, batch.fingerprint(&state.fingerprints))
        }
        _ => 0,
    })
}
