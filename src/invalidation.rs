//! What every invalidation does, whoever asks for it: it takes the next number, raises the fence, and
//! tells the channel, if there is one.
//!
//! The fence is raised wherever the invalidation is applied, on replicas as well. The channel is told
//! where the invalidation began: PUBLISH takes the message to replicas and to the other nodes of a cluster.

use crate::config;
use crate::ffi::{Ctx, Name};
use crate::state;
use apikey_engine::announcement::{message, What};

/// Entries that carry these tags were invalidated.
pub fn of_tags(ctx: Ctx, tags: &[Name]) {
    raise_and_tell(ctx, tags, |names| What::Tags(names));
}

/// These keys were invalidated, or written by one who knows.
pub fn of_keys(ctx: Ctx, keys: &[Name]) {
    raise_and_tell(ctx, keys, |names| What::Keys(names));
}

/// A database was emptied; all of them for -1.
pub fn of_database(ctx: Ctx, number: i32) {
    state::with(|state| state.flush(number));
    if let Some(channel) = channel(ctx) {
        tell(ctx, &channel, (number >= 0).then_some(number), What::Flushed);
    }
}

fn raise_and_tell(ctx: Ctx, names: &[Name], what: impl for<'n> Fn(&'n [&'n [u8]]) -> What<'n>) {
    state::with(|state| state.raise_fence(names.iter().map(|name| name.bytes())));
    if let Some(channel) = channel(ctx) {
        let names: Vec<_> = names.iter().map(|name| name.bytes()).collect();
        tell(ctx, &channel, Some(ctx.database()), what(&names));
    }
}

/// The channel, if there is one and it is told here.
fn channel(ctx: Ctx) -> Option<String> {
    let channel = config::INVALIDATION_CHANNEL.first()?;
    (!ctx.is_replayed() && !ctx.is_any_replica()).then_some(channel)
}

fn tell(ctx: Ctx, channel: &str, database: Option<i32>, what: What) {
    let message = state::with(|state| message(&state.fence, database, what));
    ctx.publish(channel.as_bytes(), message.as_bytes());
}
