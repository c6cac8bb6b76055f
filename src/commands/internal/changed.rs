//! USAGE.CHANGED: what counters have become.

use crate::commands::plain::PLAIN;
use crate::keyspace;
use crate::state;
use crate::stream::changed;
use crate::stream::send::must_be_replayed;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{Args, Ctx, Reply, Result};

pub struct Changed;

impl Command for Changed {
    const SPEC: Spec = Spec {
        name: changed::NAME,
        since: c"0.2.0",
        flags: "write",
        dangerous: true,
        arity: -3,
        keys: Keys::EverySecond(1, Use::UPDATES),
        summary: c"Internal: what counters of a primary have become. Refused from clients.",
        complexity: c"O(N) where N is the number of counters",
        fixed: &[
            Arg::block(c"counter", &[Arg::key(), Arg::string(c"change")]).repeated(Repeat::Value)
        ],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let lock = ctx.lock();
        for (name, mut change) in changed::read(args)? {
            state::with(lock, |state| change.share(&mut state.known));
            keyspace::write(ctx, name).change(|_, _| Ok((Some(change), ())))?;
        }
        ctx.replicate_verbatim();
        reply.simple(c"OK");
        Ok(())
    }
}
