//! TAGINVAL and TAGS: what carries a tag, and what an entry carries.

use crate::command::{Arg, Command, Keys, Repeat, Spec, READS};
use crate::error::{Error, Result};
use crate::ffi::{Args, Ctx, Mode, Name};
use crate::keyspace;
use crate::options;
use crate::state;
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
        complexity: c"O(N) where N is the number of entries that carry one of the tags",
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
                if !ctx.caller_may_write(tag) {
                    return Err(Error(Cow::Owned(format!(
                        "NOPERM No permissions to invalidate tag {number}: it has to match a key \
                         pattern with write permission"
                    ))));
                }
            }
        }
        state::with(|state| state.raise_fence(tags.iter().map(|tag| tag.bytes())));
        let killed: i64 = tags.iter().map(|tag| kill(ctx, tag.bytes())).sum();
        ctx.replicate_verbatim();
        ctx.reply_integer(killed);
        Ok(())
    }
}

/// Removes all live entries that carry the tag, and returns how many they were.
fn kill(ctx: Ctx, tag: &[u8]) -> i64 {
    let database = ctx.database();
    let (tag, count) = state::with(|state| {
        let tag = state.fingerprints.of(tag);
        (tag, state.member_count(database, tag))
    });
    // From the last on, since the list's last member takes the position of one that leaves. One that
    // stays has expired, and waits until the server may say so (CLIENT PAUSE).
    (0..count)
        .rev()
        .filter_map(|position| state::with(|state| state.member_name(database, tag, position)))
        .map(|name| i64::from(keyspace::unlink_entry(ctx, &name)))
        .sum()
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
        match key.live_record()? {
            Some(value) => {
                ctx.reply_array(value.record.tag_count());
                value.record.each_tag(&mut |tag| ctx.reply_bulk(tag));
            }
            None => ctx.reply_array(0),
        }
        Ok(())
    }
}
