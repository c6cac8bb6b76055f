//! TAGINVAL and TAGS: what carries a tag, and what an entry carries.

use crate::command::{must_be_replayed, Arg, Command, Keys, Repeat, Spec, READS};
use crate::config;
use crate::error::{Error, Result};
use crate::ffi::{Access, Args, Ctx, Mode, Name, Text};
use crate::invalidation;
use crate::keyspace::{self, Removed};
use crate::options;
use crate::reclaim;
use crate::state;
use apikey_engine::entry::Entry;
use apikey_engine::tag_index::Fingerprint;
use std::borrow::Cow;

pub struct TagInval;

impl Command for TagInval {
    const SPEC: Spec = Spec {
        name: c"apikey.taginval",
        alias: None,
        flags: "write",
        dangerous: false,
        secret: false,
        arity: -2,
        keys: Keys::None,
        summary: c"Kills every entry of the selected database that carries one of the tags.",
        complexity: c"O(N) where N is the number of tags: up to sync-reclaim entries are removed at once, more of them in the background",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        args: &[Arg::string(c"tag").repeated(Repeat::Value)],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let tags: Vec<Name> = args.from(1).collect();
        for &tag in &tags {
            options::tag(tag, "a tag")?;
        }
        if !ctx.is_replayed() {
            for (number, &tag) in (1..).zip(&tags) {
                if !ctx.caller_may(Access::Write, tag) {
                    return Err(Error(Cow::Owned(format!(
                        "NOPERM No permissions to invalidate tag {number}: it has to match a key \
                         pattern with write permission"
                    ))));
                }
            }
        }
        invalidation::of_tags(ctx, &tags);
        let database = ctx.database();
        let prints = fingerprints(&tags);
        let members = |&tag: &Fingerprint| state::with(|state| state.uncondemned(database, tag));
        let few = prints.iter().map(|tag| members(tag).len()).sum::<usize>()
            <= config::SYNC_RECLAIM.size();
        let mut gone = Vec::new();
        let mut killed = 0;
        if few && !ctx.is_replayed() {
            for tag in &prints {
                // From the last on, since the list's last member takes the position of one that leaves.
                for position in members(tag).rev() {
                    let name = state::with(|state| {
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
        let condemned = condemn(ctx, &prints);
        if !few {
            killed += condemned;
        }
        // A replica can have entries under the tag that were not trusted here, so the tags go to it in
        // any case. One command, since a transaction in an AOF is lost where the default user may not
        // run it (7.0, 8.2).
        if gone.is_empty() {
            ctx.replicate_verbatim();
        } else {
            let count = Text::new(tags.len().to_string().as_bytes());
            let mut names = vec![count.name()];
            names.extend(&tags);
            names.extend(gone.iter().map(Text::name));
            ctx.replicate(Killed::SPEC.name, &names, &[]);
        }
        reclaim::wake(ctx);
        ctx.reply_integer(i64::try_from(killed).unwrap_or(i64::MAX));
        Ok(())
    }
}

/// What the index knows the tags by; one that is given twice counts once.
fn fingerprints(tags: &[Name]) -> Vec<Fingerprint> {
    let mut prints: Vec<_> =
        state::with(|state| tags.iter().map(|tag| state.fingerprints.of(tag.bytes())).collect());
    prints.sort_unstable();
    prints.dedup();
    prints
}

/// Condemns the entries of the selected database that carry one of the tags; returns how many were not
/// before.
fn condemn(ctx: Ctx, tags: &[Fingerprint]) -> usize {
    let database = ctx.database();
    tags.iter().map(|&tag| state::with(|state| state.condemn(database, tag))).sum()
}

pub struct Killed;

impl Command for Killed {
    const SPEC: Spec = Spec {
        name: c"apikey.killed",
        alias: None,
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -3,
        keys: Keys::None,
        summary: c"Internal: tags that a primary has invalidated, and the keys that it removed with them. Refused from clients.",
        complexity: c"O(N) where N is the number of tags and keys",
        tips: None,
        args: &[
            Arg::integer(c"numtags"),
            Arg::string(c"tag").repeated(Repeat::Value),
            Arg::string(c"key").optional().repeated(Repeat::Value),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let Some(count) = args.get(1) else { return Err(Error::SYNTAX) };
        let most = i64::try_from(args.len()).unwrap_or(i64::MAX) - 2;
        let count = options::integer(count, "numtags", 1, most)?;
        let count = usize::try_from(count).unwrap_or(0);
        let tags: Vec<Name> = args.from(2).take(count).collect();
        for &tag in &tags {
            options::tag(tag, "a tag")?;
        }
        invalidation::of_tags(ctx, &tags);
        condemn(ctx, &fingerprints(&tags));
        for key in args.from(2 + count) {
            keyspace::unlink_entry(ctx, key);
        }
        ctx.replicate_verbatim();
        reclaim::wake(ctx);
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

pub struct Tags;

impl Command for Tags {
    const SPEC: Spec = Spec {
        name: c"apikey.tags",
        alias: None,
        flags: "readonly",
        dangerous: false,
        secret: false,
        arity: 2,
        keys: Keys::One(READS),
        summary: c"Returns the tags that an entry carries.",
        complexity: c"O(N) where N is the number of tags",
        tips: None,
        args: &[Arg::key()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let key = keyspace::open(ctx, name, Mode::Read);
        match key.live_entry()? {
            Some(any) => {
                ctx.reply_array(any.entry.tag_count());
                any.entry.each_tag(&mut |tag| ctx.reply_bulk(tag));
            }
            None => ctx.reply_array(0),
        }
        Ok(())
    }
}
