//! DROPPED: all entries die, since the primary no longer trusts them.

use crate::command::{must_be_replayed, Command, Keys, Spec};
use crate::error::Result;
use crate::ffi::{Args, Ctx};
use crate::reclaim;
use crate::state;
use std::ffi::CStr;

/// As it is written into AOFs and the replication stream.
pub const NAME: &CStr = c"apikey.dropped";

pub struct Dropped;

impl Command for Dropped {
    const SPEC: Spec = Spec {
        name: NAME,
        alias: None,
        flags: "write",
        dangerous: true,
        secret: false,
        arity: 1,
        keys: Keys::None,
        summary: c"Internal: kills all entries of all databases, which a primary no longer trusts. Refused from clients.",
        complexity: c"O(1)",
        tips: None,
        args: &[],
    };

    fn run(ctx: Ctx, _: Args) -> Result<()> {
        must_be_replayed(ctx, NAME)?;
        state::with(|state| state.begin_era());
        ctx.replicate_verbatim();
        reclaim::wake(ctx);
        ctx.reply_simple(c"OK");
        Ok(())
    }
}
