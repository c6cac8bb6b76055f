//! DESCRIBE: what stands under a key, without what is secret of it.

use crate::command::{Arg, Command, Keys, Spec, READS};
use crate::error::{Error, Result};
use crate::ffi::{self, Args, Ctx, Mode};
use crate::keyspace::{self, Slot};
use crate::value::{AnyEntry, Content, UsageValue};
use apikey_engine::digest::DIGEST_BYTES;
use apikey_engine::entry::Entry;

pub struct Describe;

impl Command for Describe {
    const SPEC: Spec = Spec {
        name: c"apikey.describe",
        alias: None,
        flags: "readonly",
        dangerous: false,
        secret: false,
        arity: 2,
        keys: Keys::One(READS),
        summary: c"Returns what stands under a key: its kind, times, size, tags and how many digests it has.",
        complexity: c"O(N) where N is the number of tags",
        tips: None,
        args: &[Arg::key()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let key = keyspace::open(ctx, name, Mode::Look);
        let slot = key.slot();
        let description = match (slot.entry(), &slot) {
            (Some(any), _) => Description::of_entry(any),
            (None, Slot::Usage(value)) => Description::of_usage(value),
            (None, Slot::Empty) => {
                ctx.reply_nil();
                return Ok(());
            }
            (None, _) => return Err(Error::WRONG_TYPE),
        };
        description.reply(ctx, key.expires_at());
        Ok(())
    }
}

/// What is told of every kind.
struct Description {
    kind: &'static str,
    /// Epoch milliseconds; `None` where nobody knows.
    stored_at: Option<i64>,
    /// That the value takes, without the key's name and without the index.
    bytes: usize,
    tags: Vec<Vec<u8>>,
    digests: usize,
    is_live: bool,
}

impl Description {
    fn of_entry(AnyEntry { entry, life, bytes }: AnyEntry) -> Self {
        let mut tags = Vec::with_capacity(entry.tag_count());
        entry.each_tag(&mut |tag| tags.push(tag.to_vec()));
        Self {
            kind: entry.kind().name(),
            stored_at: life.stored_at(),
            bytes,
            tags,
            digests: match &entry {
                Content::Record(record) => record.digests().len() / DIGEST_BYTES,
                _ => 0,
            },
            is_live: !keyspace::is_dead(life),
        }
    }

    fn of_usage(value: &UsageValue) -> Self {
        let counter = value.counter.get();
        Self {
            kind: "usage",
            stored_at: Some(counter.first_used_at()).filter(|&at| at > 0),
            bytes: value.bytes(),
            tags: Vec::new(),
            digests: 0,
            is_live: true,
        }
    }

    fn reply(&self, ctx: Ctx, expires_at: Option<i64>) {
        let now = ffi::now();
        let integer = |name: &str, number: i64| {
            ctx.reply_bulk(name.as_bytes());
            ctx.reply_integer(number);
        };
        ctx.reply_map(7);
        ctx.reply_bulk(b"kind");
        ctx.reply_bulk(self.kind.as_bytes());
        integer("ttl", expires_at.map_or(-1, |at| at.saturating_sub(now).max(0)));
        ctx.reply_bulk(b"age");
        match self.stored_at {
            Some(at) => ctx.reply_integer(now.saturating_sub(at).max(0)),
            None => ctx.reply_nil(),
        }
        integer("bytes", i64::try_from(self.bytes).unwrap_or(i64::MAX));
        ctx.reply_bulk(b"tags");
        ctx.reply_array(self.tags.len());
        self.tags.iter().for_each(|tag| ctx.reply_bulk(tag));
        integer("digests", i64::try_from(self.digests).unwrap_or(i64::MAX));
        integer("live", self.is_live.into());
    }
}
