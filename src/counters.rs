//! What a command without keys has changed of counters, as it is told.

use crate::keyspace;
use crate::migrations;
use crate::stream::apply;
use crate::types::usage;
use host::{Ctx, Name};

/// Tells replicas and the AOF by `say`; while slots [leave](crate::migrations) this node, what each counter is now.
pub fn tell<'n>(
    ctx: &mut Ctx,
    names: impl IntoIterator<Item = Name<'n>>,
    say: impl FnOnce(&mut Ctx),
) {
    let lock = ctx.lock();
    if !migrations::are_leaving(lock) {
        return say(ctx);
    }
    for name in names {
        let bytes = match keyspace::look(ctx, name).usage() {
            Ok(Some(value)) => usage::encode(lock, value),
            _ => continue,
        };
        apply::write(ctx, name, &bytes);
    }
}
