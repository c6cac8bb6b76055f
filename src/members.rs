//! A walk over the counters that carry a reserved tag.

use crate::state;
use apikey_engine::tags::fingerprint::Fingerprint;
use apikey_engine::usage::batches::MAX_LINES;
use apikey_engine::usage::id::Id;
use host::{Ctx, Lock, Name, Text};

/// The tag of those that have a line in a batch.
pub fn tag_of(lock: Lock, batch: Id) -> Fingerprint {
    state::with(lock, |state| batch.fingerprint(&state.fingerprints))
}

/// Calls `each` for the keys that carry a reserved tag until it had something for `most` of them, and returns
/// those with what it had. It looks at no more than [`MAX_LINES`] for which it had nothing, whose time is over.
pub fn each_member<T>(
    ctx: &mut Ctx,
    tag: Fingerprint,
    most: usize,
    mut each: impl FnMut(&mut Ctx, Name) -> Option<T>,
) -> Vec<(Text, T)> {
    let (lock, database) = (ctx.lock(), ctx.database());
    let count = state::with(lock, |state| state.member_count(database, tag));
    // From the last on, as TAGINVAL walks: the list's last member takes the position of one that leaves.
    (0..count)
        .rev()
        .take(most.saturating_add(MAX_LINES))
        .filter_map(|position| {
            state::with(lock, |state| state.member_name(database, tag, position).map(Text::new))
        })
        .filter_map(|name| each(ctx, name.name()).map(|had| (name, had)))
        .take(most)
        .collect()
}
