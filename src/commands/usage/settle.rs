//! USAGE.ACK and NACK: batches that were leased are settled, or given back.

use super::members::{each_member, tag_of};
use crate::commands::plain::PLAIN;
use crate::keyspace;
use crate::state;
use crate::stream::leased;
use apikey_engine::usage::batches::Terms;
use apikey_engine::usage::id::Id;
use host::changes::Class;
use host::command::spec::{Arg, Command, Repeat, Spec};
use host::{Args, Ctx, Reply, Result};

/// Batches as they are named in a call.
fn batches(args: Args) -> Result<Vec<Id>> {
    args.from(1).map(|name| leased::id(name, "batch")).collect()
}

pub struct Ack;

impl Command for Ack {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.ack",
        alias: Some(c"apikey.usageack"),
        flags: "write",
        dangerous: true,
        arity: -2,
        summary: c"Settles batches of usage counts for good and returns the number of their lines.",
        complexity: c"O(N) where N is the number of lines",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        fixed: &[Arg::string(c"batch").repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let settled: usize = batches(args)?.into_iter().map(|batch| settle(ctx, batch)).sum();
        if settled > 0 {
            ctx.replicate_verbatim();
        }
        reply.count(settled);
        Ok(())
    }
}

/// Settles the lines of a batch and returns how many they are.
fn settle(ctx: &mut Ctx, batch: Id) -> usize {
    let tag = tag_of(ctx.lock(), batch);
    each_member(ctx, tag, usize::MAX, |ctx, name| {
        keyspace::write(ctx, name).settle_usage(batch)?;
        ctx.notify(Class::Module, Ack::SPEC.name, name);
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
