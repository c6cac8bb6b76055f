//! STREAM: the version of what a primary says.

use crate::commands::plain::PLAIN;
use crate::state;
use crate::stream::send::must_be_replayed;
use crate::stream::version;
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Reply, Result};

pub struct Stream;

impl Command for Stream {
    const SPEC: Spec = Spec {
        name: version::NAME,
        flags: "write",
        dangerous: true,
        arity: 2,
        summary:
            c"Internal: the version of what a primary tells its replicas. Refused from clients.",
        fixed: &[Arg::integer(c"version")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let version = version::read(args)?;
        state::with(ctx.lock(), |state| state.follow(version));
        reply.simple(c"OK");
        Ok(())
    }
}
