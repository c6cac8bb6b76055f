//! TAGINVAL: kills what carries a tag.

use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::invalidation;
use crate::keyspace::{self, Removed};
use crate::settings;
use crate::state;
use crate::stream::killed;
use apikey_engine::tags::fingerprint::Fingerprint;
use host::command::spec::{Arg, Command, Repeat, Spec};
use host::{Args, Ctx, Lock, Name, Reply, Result, Text};

pub struct TagInval;

impl Command for TagInval {
    const SPEC: Spec = Spec {
        name: c"apikey.taginval",
        flags: "write",
        arity: -2,
        summary: c"Kills every entry of the selected database that carries one of the tags, of which a call names 1,000 at most.",
        complexity: c"O(N) where N is the number of tags: up to sync-reclaim entries are removed at once, more of them in the background",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        fixed: &[Arg::string(c"tag").repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let tags = grammar::names(ctx, args, "tags")?;
        for &tag in &tags {
            grammar::tag(tag, "a tag")?;
        }
        let lock = ctx.lock();
        let replayed = ctx.is_replayed();
        if !replayed {
            access::to_invalidate(ctx, &tags)?;
        }
        invalidation::of_tags(ctx, &tags);
        let database = ctx.database();
        let prints = fingerprints(lock, &tags);
        let members =
            |&tag: &Fingerprint| state::with(lock, |state| state.uncondemned(database, tag));
        let few = prints.iter().map(|tag| members(tag).len()).sum::<usize>()
            <= settings::SYNC_RECLAIM.size();
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
                    gone.push(name);
                }
            }
        }
        let condemned = condemn(lock, database, &prints);
        if !few {
            killed += condemned;
        }
        // A replica can have entries under the tag that were not trusted here, so the tags go to it in
        // any case.
        if gone.is_empty() {
            ctx.replicate_verbatim();
        } else {
            killed::write(ctx, &tags, &gone);
        }
        keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
        count_killed(lock, killed);
        reply.count(killed);
        Ok(())
    }
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
