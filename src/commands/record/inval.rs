//! INVAL: removes entries by key.

use crate::bus;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::invalidation;
use crate::keyspace::{self, Removed};
use crate::state;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{Args, Ctx, Reply, Result};

pub struct Inval;

impl Command for Inval {
    const SPEC: Spec = Spec {
        name: c"apikey.inval",
        flags: "write",
        arity: -2,
        keys: Keys::All(Use::DELETES),
        summary: c"Removes entries by key, at most 1,000 in a call, and refuses fills of these keys that began before.",
        complexity: c"O(N) where N is the number of keys",
        fixed: &[Arg::key().repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let names = grammar::names(ctx, args, 1, "keys")?;
        for &name in &names {
            keyspace::look(ctx, name).live_entry()?;
        }
        ctx.replicate_verbatim();
        invalidation::of_keys(ctx, &names);
        bus::tell_of_keys(ctx, &names);
        let mut gone = Vec::new();
        let mut killed = 0u64;
        for name in names {
            match keyspace::unlink_entry(ctx, name) {
                Removed::Nothing => continue,
                Removed::Dead => {}
                Removed::Live => killed += 1,
            }
            gone.push(name);
        }
        keyspace::tell_of_removed(ctx, gone);
        state::with(ctx.lock(), |state| state.stats.killed_entries += killed);
        reply.count(killed as usize);
        Ok(())
    }
}
