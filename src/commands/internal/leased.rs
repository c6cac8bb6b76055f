//! USAGE.LEASED: a batch that was given out.

use crate::commands::plain::PLAIN;
use crate::keyspace;
use crate::state;
use crate::stream::leased::{self, FIRST_KEY};
use crate::stream::send::must_be_replayed;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{now, Args, Ctx, Reply, Result};

pub struct Leased;

impl Command for Leased {
    const SPEC: Spec = Spec {
        name: leased::NAME,
        flags: "write",
        dangerous: true,
        arity: -4,
        keys: Keys::EverySecond(FIRST_KEY as i32, Use::UPDATES),
        summary: c"Internal: a batch that a primary gave out. Refused from clients.",
        complexity: c"O(N) where N is the number of lines",
        fixed: &[
            Arg::string(c"batch"),
            Arg::unix_time(c"leased-at"),
            Arg::unix_time(c"deadline"),
            Arg::block(c"line", &[Arg::key(), Arg::string(c"id")])
                .optional()
                .repeated(Repeat::Value),
        ],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let leased::Leased { batch, terms, lines } = leased::read(args)?;
        for (batch, key, line) in lines {
            keyspace::write(ctx, key).lease_usage(batch, line, terms);
        }
        let database = ctx.database();
        state::with(ctx.lock(), |state| state.was_given(database, batch, terms, now()));
        ctx.replicate_verbatim();
        reply.simple(c"OK");
        Ok(())
    }
}
