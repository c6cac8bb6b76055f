//! DESCRIBE: what stands under a key, without what is secret of it.

use crate::commands::plain::PLAIN;
use crate::keyspace::{self, Slot};
use crate::values::entry::{AnyEntry, Content};
use crate::values::usage::UsageValue;
use apikey_engine::entry::kind::Entry;
use apikey_engine::record::digest::NEVER;
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Lock, Reply, Result};

pub struct Describe;

impl Command for Describe {
    const SPEC: Spec = Spec {
        name: c"apikey.describe",
        arity: 2,
        keys: Keys::One(Use::READS),
        summary: c"Returns what stands under a key: its kind, times, size, tags, how many digests it has and until when they are accepted.",
        complexity: c"O(N) where N is the number of tags",
        fixed: &[Arg::key()],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let lock = ctx.lock();
        let key = keyspace::look(ctx, name);
        let slot = key.slot();
        let description = match (slot.entry(), &slot) {
            (Some(any), _) => Description::of_entry(lock, any),
            (None, Slot::Usage(value)) => Description::of_usage(value),
            (None, Slot::Empty) => {
                reply.nil();
                return Ok(());
            }
            (None, _) => return Err(Error::WRONG_TYPE),
        };
        description.reply(reply, key.expires_at());
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
    /// Until when each digest is accepted, the soonest first: epoch milliseconds, or [`NEVER`].
    digests: Vec<i64>,
    is_live: bool,
}

impl Description {
    fn of_entry(lock: Lock, any: AnyEntry) -> Self {
        let is_live = !keyspace::is_dead(lock, &any);
        let AnyEntry { entry, life, bytes } = any;
        let mut tags = Vec::with_capacity(entry.tag_count());
        entry.each_tag(&mut |tag| tags.push(tag.to_vec()));
        let mut digests = match &entry {
            Content::Record(record) => record.digests().map(|accepted| accepted.until).collect(),
            _ => Vec::new(),
        };
        digests.sort_unstable();
        Self {
            kind: entry.kind().name(),
            stored_at: life.stored_at(),
            bytes,
            tags,
            digests,
            is_live,
        }
    }

    fn of_usage(value: &UsageValue) -> Self {
        let counter = &value.counter;
        Self {
            kind: "usage",
            stored_at: Some(counter.first_used_at()).filter(|&at| at > 0),
            bytes: value.bytes(),
            tags: Vec::new(),
            digests: Vec::new(),
            is_live: true,
        }
    }

    fn reply(&self, reply: Reply, expires_at: Option<i64>) {
        let now = now();
        let integer = |name: &str, number: i64| {
            reply.bulk(name.as_bytes());
            reply.integer(number);
        };
        reply.map(8);
        reply.bulk(b"kind");
        reply.bulk(self.kind.as_bytes());
        integer("ttl", expires_at.map_or(-1, |at| at.saturating_sub(now).max(0)));
        reply.bulk(b"age");
        match self.stored_at {
            Some(at) => reply.integer(now.saturating_sub(at).max(0)),
            None => reply.nil(),
        }
        integer("bytes", i64::try_from(self.bytes).unwrap_or(i64::MAX));
        reply.bulk(b"tags");
        reply.array(self.tags.len());
        self.tags.iter().for_each(|tag| reply.bulk(tag));
        integer("digests", i64::try_from(self.digests.len()).unwrap_or(i64::MAX));
        reply.bulk(b"digests_until");
        reply.array(self.digests.len());
        for &until in &self.digests {
            match until {
                NEVER => reply.nil(),
                // What has ended for ever did so before there were such times.
                _ => reply.integer(until.max(0)),
            }
        }
        integer("live", self.is_live.into());
    }
}
