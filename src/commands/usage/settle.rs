//! USAGE.ACK and NACK: batches that were leased are settled, or given back.
//!
//! In a cluster any primary may be told. One that has all of the batches open does it by itself: an open batch is one
//! node's alone, since what comes from another [leaves its batch](crate::keyspace::Coming). Else all are asked. (A
//! batch that a line has for itself is two nodes' where its counter was copied by RESTORE; then the other's line
//! comes again, as it does where ACK has never been said.)
//!
//! As many lines as one batch has are settled in place; more of them by a [job](crate::settling).

use crate::bus;
use crate::commands::plain::PLAIN;
use crate::counters;
use crate::keyspace;
use crate::members::{each_member, tag_of};
use crate::settling::{self, Settling, SETTLINGS};
use crate::stream::leased;
use apikey_engine::bus::message::Question;
use apikey_engine::usage::batches::MAX_LINES;
use apikey_engine::usage::id::Id;
use host::command::spec::{Arg, Command, Repeat, Spec};
use host::{Args, Ctx, Error, Reply, Result, Text};

const BATCHES: &[Arg] = &[Arg::string(c"batch").repeated(Repeat::Value)];

/// Batches as they are named in a call.
fn batches(args: Args) -> Result<Vec<Id>> {
    args.from(1).map(|name| leased::id(name.bytes(), "batch")).collect()
}

/// Whether others may have some of the batches.
fn concerns_others(ctx: &Ctx, batches: &[Id]) -> bool {
    ctx.is_in_cluster() && !ctx.is_replayed() && !settling::has_all(ctx, batches)
}

pub struct Ack;

impl Command for Ack {
    const SPEC: Spec = Spec {
        name: settling::ACK,
        alias: Some(c"apikey.usageack"),
        flags: "write",
        dangerous: true,
        arity: -2,
        summary: c"Settles batches of usage counts for good and returns the number of their lines; in a cluster whichever primary has them.",
        complexity:
            c"O(N) where N is the number of lines, in slices where they are more than 10,000",
        fixed: BATCHES,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let batches = batches(args)?;
        if concerns_others(ctx, &batches) {
            let questions = Question::ack(ctx.database(), &batches);
            return bus::ask(ctx, "apikey.usage.ack", questions, |ctx, then| {
                settling::settle(ctx, batches, then);
            });
        }
        let lines = settling::lines(ctx, &batches);
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
            counters::tell(ctx, settled.iter().map(Text::name), |ctx| ctx.replicate_verbatim());
        }
        settled.iter().for_each(|name| settling::notify(ctx, name.name()));
        reply.count(settled.len());
        Ok(())
    }
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
        name: settling::NACK,
        alias: Some(c"apikey.usagenack"),
        flags: "write",
        dangerous: true,
        arity: -2,
        summary: c"Gives batches of usage counts back, which the next LEASE gives out again, and returns the number of their lines; in a cluster whichever primary has them.",
        complexity: c"O(N) where N is the number of batches",
        fixed: BATCHES,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let batches = batches(args)?;
        let give_back = |ctx: &mut Ctx| {
            let given_back = settling::give_back(ctx, &batches);
            if given_back > 0 {
                ctx.replicate_verbatim();
            }
            given_back
        };
        if concerns_others(ctx, &batches) {
            let questions = Question::nack(ctx.database(), &batches);
            return bus::ask(ctx, "apikey.usage.nack", questions, bus::at_once(give_back));
        }
        reply.count(give_back(ctx));
        Ok(())
    }
}
