//! TAGSCAN: which entries carry a tag.
//!
//! The list of a tag has those that it has condemned at its beginning. What is dead for another reason, and waits
//! for reclaim, stands among the others; each key is looked at, and it is left out.

use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar::{self, read_count};
use crate::keyspace;
use crate::state;
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Error, Name, Reply, Result, Text};

pub struct TagScan;

/// Entries that one call looks at unless COUNT says otherwise, as SCAN, and at most.
const DEFAULT_COUNT: i64 = 10;
const MAX_COUNT: i64 = 10_000;

const OPTIONS: &[Arg] = &[grammar::count(MAX_COUNT)];

impl Command for TagScan {
    const SPEC: Spec = Spec {
        name: c"apikey.tagscan",
        hides: grammar::HIDES,
        arity: -3,
        summary: c"Returns some of the entries of the selected database that carry a tag, and the cursor for the next call; 0 begins, and is the end.",
        complexity: c"O(N) where N is the COUNT of entries to look at",
        fixed: &[Arg::string(c"tag"), Arg::integer(c"cursor")],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(cursor) = args.get(2) else { return Err(Error::SYNTAX) };
        let cursor = parse_cursor(cursor)?;
        let count = read_count(OPTIONS, args, 3, DEFAULT_COUNT)?;
        let tag = access::readable_tag(ctx, args)?;
        let tag = state::with(ctx.lock(), |state| state.fingerprints.of(tag));
        let (lock, database) = (ctx.lock(), ctx.database());
        let (positions, next) =
            state::with(lock, |state| state.walk_step(database, tag, cursor, count));
        let mut found = Vec::new();
        // From the last on: one that has expired leaves as it is opened, and the list's last member,
        // which was looked at, takes its position.
        for position in positions.rev() {
            let name = state::with(lock, |state| {
                state.member_name(database, tag, position).map(Text::new)
            });
            let Some(name) = name else { continue };
            let key = keyspace::look(ctx, name.name());
            let is_live = matches!(key.live_entry(), Ok(Some(_)));
            drop(key);
            if is_live {
                found.push(name);
            }
        }
        reply.array(2);
        reply.bulk(next.to_string().as_bytes());
        reply.array(found.len());
        found.iter().for_each(|name| reply.bulk(name.name().bytes()));
        Ok(())
    }
}

fn parse_cursor(value: Name) -> Result<u64> {
    let text = std::str::from_utf8(value.bytes()).unwrap_or_default();
    let is_written_so = |cursor: &u64| cursor.to_string() == text;
    text.parse().ok().filter(is_written_so).ok_or_else(|| Error::between("cursor", 0, u64::MAX))
}
