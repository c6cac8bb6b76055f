//! What carries a tag is killed, and counted, on this node.

use crate::invalidation;
use crate::keyspace::{self, Removed};
use crate::settings;
use crate::state;
use crate::stream::{killed, softened};
use apikey_engine::entry::kind::Entry;
use apikey_engine::tags::fingerprint::Fingerprint;
use host::{Ctx, Lock, Name, Text};

/// Kills the entries of the selected database that carry one of the tags: a few at once, more of them in the
/// background. Returns how many lived.
pub fn kill(ctx: &mut Ctx, tags: &[Name]) -> usize {
    let lock = ctx.lock();
    let replayed = ctx.is_replayed();
    invalidation::of_tags(ctx, tags);
    let database = ctx.database();
    let prints = fingerprints(lock, tags);
    let members = |&tag: &Fingerprint| state::with(lock, |state| state.uncondemned(database, tag));
    let few =
        prints.iter().map(|tag| members(tag).len()).sum::<usize>() <= settings::SYNC_RECLAIM.size();
    let mut gone = Vec::new();
    let mut killed = 0;
    if few && !replayed {
        for tag in &prints {
            // From the last on, since the list's last member takes the position of one that leaves.
            for position in members(tag).rev() {
                let name = state::with(lock, |state| {
                    state.member_name(database, *tag, position).map(Text::new)
                });
                let Some(name) = name else { continue };
                match keyspace::unlink_entry(ctx, name.name()) {
                    // It has expired: the server removes it, or may not do so yet (CLIENT PAUSE).
                    Removed::Nothing => continue,
                    Removed::Dead => {}
                    Removed::Live => killed += 1,
                }
                state::with(lock, |state| state.end_load(database, name.name().bytes()));
                gone.push(name);
            }
        }
    }
    let condemned = condemn(lock, database, &prints);
    if !few {
        killed += condemned;
    }
    // A replica can have entries under the tag that were not trusted here, so the tags go to it in any case.
    killed::write(ctx, tags, &gone);
    keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
    count_killed(lock, killed);
    killed
}

/// Has what carries one of the tags be stale, where it has a grace, and kills the rest; returns how many entries that
/// concerns.
pub fn soften(ctx: &mut Ctx, tags: &[Name]) -> usize {
    let (lock, database) = (ctx.lock(), ctx.database());
    invalidation::of_tags(ctx, tags);
    let prints = fingerprints(lock, tags);
    let soften = |tag: &Fingerprint| state::with(lock, |state| state.soften(database, *tag));
    let softened = prints.iter().map(soften).sum();
    softened::write(ctx, tags);
    softened
}

/// Kills what a key of the selected database holds, by the first of its tags, and so perhaps more. Replicas are told as it
/// is reclaimed: for who may not replicate now.
pub fn kill_without_a_word(ctx: &mut Ctx, name: Name) {
    let mut first = None;
    if let Ok(Some(any)) = keyspace::look(ctx, name).live_entry() {
        any.entry.each_tag(&mut |tag| {
            first.get_or_insert_with(|| tag.to_vec());
        });
    }
    if let Some(tag) = first {
        let (lock, database) = (ctx.lock(), ctx.database());
        let print = state::with(lock, |state| state.fingerprints.of(&tag));
        count_killed(lock, condemn(lock, database, &[print]));
    }
}

/// How many entries of the selected database carry a tag.
pub fn count(ctx: &Ctx, tag: &[u8]) -> usize {
    let database = ctx.database();
    state::with(ctx.lock(), |state| {
        let tag = state.fingerprints.of(tag);
        state.uncondemned(database, tag).len()
    })
}

/// What the index knows the tags by; one that is given twice counts once.
fn fingerprints(lock: Lock, tags: &[Name]) -> Vec<Fingerprint> {
    let mut prints: Vec<_> = state::with(lock, |state| {
        tags.iter().map(|tag| state.fingerprints.of(tag.bytes())).collect()
    });
    prints.sort_unstable();
    prints.dedup();
    prints
}

/// Condemns the entries of a database that carry one of the tags; returns how many were not before.
fn condemn(lock: Lock, database: i32, tags: &[Fingerprint]) -> usize {
    tags.iter().map(|&tag| state::with(lock, |state| state.condemn(database, tag))).sum()
}

fn count_killed(lock: Lock, killed: usize) {
    state::with(lock, |state| state.stats.killed_entries += killed as u64);
}

/// Kills what carries one of the tags, as a KILLED says.
pub fn replay(ctx: &mut Ctx, tags: &[Name]) {
    invalidation::of_tags(ctx, tags);
    let (lock, database) = (ctx.lock(), ctx.database());
    count_killed(lock, condemn(lock, database, &fingerprints(lock, tags)));
}
