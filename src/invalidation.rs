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
    raise(tags);
    announce(ctx, |tell| {
        let names: Vec<_> = tags.iter().map(|tag| tag.bytes()).collect();
        tell(Some(ctx.database()), What::Tags(&names));
    });
}

/// These keys were invalidated, or written by one who knows.
pub fn of_keys(ctx: Ctx, keys: &[Name]) {
    raise(keys);
    announce(ctx, |tell| {
        let names: Vec<_> = keys.iter().map(|key| key.bytes()).collect();
        tell(Some(ctx.database()), What::Keys(&names));
    });
}

/// A database was emptied; all of them for -1.
pub fn of_database(ctx: Ctx, number: i32) {
    state::with(|state| state.flush(number));
    announce(ctx, |tell| tell((number >= 0).then_some(number), What::Flushed));
}

fn raise(names: &[Name]) {
    state::with(|state| state.raise_fence(names.iter().map(|name| name.bytes())));
}

/// Lets `body` tell the channel of a database, or of all, and what happened there, if anyone is to be told.
fn announce(ctx: Ctx, body: impl FnOnce(&dyn Fn(Option<i32>, What))) {
    let Some(channel) = config::INVALIDATION_CHANNEL.first() else { return };
    if ctx.is_replayed() || ctx.is_any_replica() {
        return;
    }
    body(&|database, what| {
        let message = state::with(|state| message(&state.fence, database, what));
        ctx.publish(channel.as_bytes(), message.as_bytes());
    });
}
