//! REGIONS: what a primary has set of regions.

use crate::commands::plain::PLAIN;
use crate::settings::REGIONS;
use crate::stream::regions;
use crate::stream::send::must_be_replayed;
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Reply, Result};

pub struct Regions;

impl Command for Regions {
    const SPEC: Spec = Spec {
        name: regions::NAME,
        since: c"0.2.0",
        flags: "write",
        dangerous: true,
        arity: 2,
        summary: c"Internal: what a primary has set of regions. Refused from clients.",
        fixed: &[Arg::string(c"text")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let policies = regions::read(args)?;
        REGIONS.change(ctx.lock(), |all| *all = policies);
        ctx.replicate_verbatim();
        reply.simple(c"OK");
        Ok(())
    }
}
