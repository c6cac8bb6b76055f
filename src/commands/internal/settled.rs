//! USAGE.SETTLED: lines of batches that were settled.

use crate::commands::plain::PLAIN;
use crate::keyspace;
use crate::settling::notify;
use crate::stream::send::must_be_replayed;
use crate::stream::settled;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{Args, Ctx, Name, Reply, Result};

pub struct Settled;

impl Command for Settled {
    const SPEC: Spec = Spec {
        name: settled::NAME,
        flags: "write",
        dangerous: true,
        arity: -3,
        keys: Keys::EverySecond(1, Use::UPDATES),
        summary: c"Internal: lines of batches that a primary has settled. Refused from clients.",
        complexity: c"O(N) where N is the number of lines",
        fixed: &[Arg::block(c"line", &[Arg::key(), Arg::string(c"batch")]).repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let mut gone: Vec<Name> = Vec::new();
        for (key, batch) in settled::read(args)? {
            if keyspace::write(ctx, key).settle_usage(batch).is_some() {
                gone.push(key);
            }
        }
        ctx.replicate_verbatim();
        gone.into_iter().for_each(|key| notify(ctx, key));
        reply.simple(c"OK");
        Ok(())
    }
}
