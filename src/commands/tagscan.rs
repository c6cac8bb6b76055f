//! TAGCARD and TAGSCAN: how many entries carry a tag, and which.
//!
//! Both look at the index of the selected database, where the list of a tag has those that it has
//! condemned at its beginning. What is dead for another reason, and waits for reclaim, stands among the
//! others: TAGCARD counts it, and TAGSCAN, which looks at each key, leaves it out.

use crate::command::{Arg, Command, Keys, Spec};
use crate::error::{Error, Result};
use crate::ffi::{Access, Args, Ctx, Mode, Name, Text};
use crate::keyspace;
use crate::options;
use crate::state;
use apikey_engine::tag_index::Fingerprint;
use std::borrow::Cow;

pub struct TagCard;

impl Command for TagCard {
    const SPEC: Spec = Spec {
        name: c"apikey.tagcard",
        alias: None,
        flags: "readonly fast",
        dangerous: false,
        secret: false,
        arity: 2,
        keys: Keys::None,
        summary: c"Returns how many entries of the selected database carry a tag.",
        complexity: c"O(1)",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        args: &[Arg::string(c"tag")],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let tag = readable_tag(ctx, args)?;
        let count = state::with(|state| state.uncondemned(ctx.database(), tag)).len();
        ctx.reply_integer(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(())
    }
}

/// The first argument: a tag whose name the caller may read keys of.
fn readable_tag(ctx: Ctx, args: Args) -> Result<Fingerprint> {
    let Some(tag) = args.get(1) else { return Err(Error::SYNTAX) };
    let name = options::tag(tag, "tag")?;
    if !ctx.caller_may(Access::Read, tag) {
        return Err(Error(Cow::Borrowed(
            "NOPERM No permissions to read the tag: it has to match a key pattern with read permission",
        )));
    }
    Ok(state::with(|state| state.fingerprints.of(name)))
}

pub struct TagScan;

/// Entries that one call looks at unless COUNT says otherwise, as SCAN, and at most.
const DEFAULT_COUNT: i64 = 10;
const MAX_COUNT: i64 = 10_000;

impl Command for TagScan {
    const SPEC: Spec = Spec {
        name: c"apikey.tagscan",
        alias: None,
        flags: "readonly",
        dangerous: false,
        secret: false,
        arity: -3,
        keys: Keys::None,
        summary: c"Returns some of the entries of the selected database that carry a tag, and the cursor for the next call; 0 begins, and is the end.",
        complexity: c"O(N) where N is the COUNT of entries to look at",
        tips: Some(c"request_policy:special"),
        args: &[
            Arg::string(c"tag"),
            Arg::integer(c"cursor"),
            Arg::integer(c"count").after(c"COUNT").optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(cursor) = args.get(2) else { return Err(Error::SYNTAX) };
        let cursor = parse_cursor(cursor)?;
        let count = options::count(args, 3, DEFAULT_COUNT, MAX_COUNT)?;
        let tag = readable_tag(ctx, args)?;
        let database = ctx.database();
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let (positions, next) = state::with(|state| state.walk_step(database, tag, cursor, most));
        let mut found = Vec::new();
        // From the last on: one that has expired leaves as it is opened, and the list's last member,
        // which was looked at, takes its position.
        for position in positions.rev() {
            let name =
                state::with(|state| state.member_name(database, tag, position).map(Text::new));
            let Some(name) = name else { continue };
            let key = keyspace::open(ctx, name.name(), Mode::Look);
            let is_live = matches!(key.live_entry(), Ok(Some(_)));
            drop(key);
            if is_live {
                found.push(name);
            }
        }
        ctx.reply_array(2);
        ctx.reply_bulk(next.to_string().as_bytes());
        ctx.reply_array(found.len());
        found.iter().for_each(|name| ctx.reply_bulk(name.name().bytes()));
        Ok(())
    }
}

fn parse_cursor(value: Name) -> Result<u64> {
    let text = std::str::from_utf8(value.bytes()).unwrap_or_default();
    let is_written_so = |cursor: &u64| cursor.to_string() == text;
    text.parse().ok().filter(is_written_so).ok_or_else(|| Error::between("cursor", 0, u64::MAX))
}
