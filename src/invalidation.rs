//! What every invalidation does, whoever asks for it: it takes the next number, raises the fence, and
//! tells the channel, if there is one.
//!
//! The fence is raised wherever the invalidation is applied, on replicas as well. The channel is told
//! where the invalidation began: PUBLISH takes the message to replicas and to the other nodes of a cluster.
//! A flush while clients are paused is not told of, since nothing may be published then: the gap in the
//! numbers tells subscribers.

use crate::settings;
use crate::state;
use apikey_engine::invalidation::announcement::{message, What};
use host::server::avoids_replica_traffic;
use host::{Ctx, Lock, Name};

/// Entries that carry these tags were invalidated.
pub fn of_tags(ctx: &mut Ctx, tags: &[Name]) {
    raise(ctx.lock(), tags);
    state::with(ctx.lock(), |state| state.stats.invalidated_tags += tags.len() as u64);
    tell_of(ctx, tags, |names| What::Tags(names));
}

/// These keys were invalidated.
pub fn of_keys(ctx: &mut Ctx, keys: &[Name]) {
    raise(ctx.lock(), keys);
    state::with(ctx.lock(), |state| state.stats.invalidated_keys += keys.len() as u64);
    tell_of(ctx, keys, |names| What::Keys(names));
}

/// The key was written by one who knows: [`of_keys`] in two parts, for who has a key open. The first; whether
/// there is somebody to [tell](tell_of_write).
pub fn raise_for_write(lock: Lock, key: Name) -> bool {
    raise(lock, &[key]);
    state::with(lock, |state| state.stats.written_keys += 1);
    settings::invalidation_channel(lock).is_some()
}

/// The second part: with no key open, since it runs a command.
pub fn tell_of_write(ctx: &mut Ctx, key: Name) {
    tell_of(ctx, &[key], |names| What::Keys(names));
}

/// The keys that fit a pattern were invalidated, and another number was taken for it.
pub fn of_pattern(ctx: &mut Ctx, pattern: &[u8]) {
    if let Some(channel) = channel(ctx) {
        let database = ctx.database();
        tell(ctx, &channel, Some(database), What::Pattern(pattern));
    }
}

/// A database was emptied; all of them for `None`.
pub fn of_database(ctx: &mut Ctx, number: Option<i32>) {
    state::with(ctx.lock(), |state| {
        state.flush(number);
        state.stats.flushes += 1;
    });
    if let Some(channel) = channel(ctx) {
        if !avoids_replica_traffic(ctx.lock()) {
            tell(ctx, &channel, number, What::Flushed);
        }
    }
}

fn raise(lock: Lock, names: &[Name]) {
    state::with(lock, |state| state.raise_fence(names.iter().map(|name| name.bytes())));
}

fn tell_of(ctx: &mut Ctx, names: &[Name], what: impl for<'n> Fn(&'n [&'n [u8]]) -> What<'n>) {
    if let Some(channel) = channel(ctx) {
        let names: Vec<_> = names.iter().map(|name| name.bytes()).collect();
        let database = ctx.database();
        tell(ctx, &channel, Some(database), what(&names));
    }
}

/// The channel, if there is one and it is told here.
fn channel(ctx: &Ctx) -> Option<String> {
    let channel = settings::invalidation_channel(ctx.lock())?;
    (!ctx.is_replayed() && !ctx.is_any_replica()).then_some(channel)
}

fn tell(ctx: &mut Ctx, channel: &str, database: Option<i32>, what: What) {
    let message = state::with(ctx.lock(), |state| message(&state.fence, database, what));
    let outcome = ctx.publish(channel.as_bytes(), message.as_bytes());
    state::with(ctx.lock(), |state| state.trouble.published(outcome));
}
