//! MSETVAL: many records at once, to warm a cache.
//!
//! Everything is read and every key is looked at before any is stored, so that one bad record, or one
//! key that is not the cache's, leaves all as it was. NX and TOKEN are judged key by key.
//!
//! Replicas and AOFs get what was stored as one STORED: a transaction in an AOF is lost where the default
//! user may not run it (7.0, 8.2). SETVAL is replicated by it as well: to store bytes that are laid out
//! already costs a replica a fraction of what it would to read JSON again.

use crate::command::{must_be_replayed, Arg, Command, Keys, Repeat, Spec, OVERWRITES};
use crate::commands::apply;
use crate::commands::record::{self, SetValOptions};
use crate::config;
use crate::error::{Error, Result};
use crate::ffi::{self, Args, Ctx, Mode, Name};
use crate::keyspace;
use crate::options::{self, Call};
use crate::value::{RecordValue, StoredRecord};
use apikey_engine::codec;
use apikey_engine::record::Record;
use apikey_engine::sanitise::BadRecord;
use std::collections::HashMap;
use std::ffi::CStr;

pub struct MSetVal;

impl Command for MSetVal {
    const SPEC: Spec = Spec {
        name: c"apikey.msetval",
        alias: None,
        flags: "write deny-oom",
        dangerous: false,
        secret: false,
        arity: -6,
        keys: Keys::Counted(OVERWRITES),
        summary: c"Stores the records of many API keys, all of them or, where one is bad, none.",
        complexity: c"O(N*M) where N is the number of keys and M the length of a record and the number of tags",
        tips: None,
        args: &[
            Arg::integer(c"numkeys"),
            Arg::block(c"entry", &[Arg::key(), Arg::string(c"record")]).repeated(Repeat::Value),
            Arg::string(c"token").after(c"TOKEN"),
            Arg::one_of(c"expiration", options::EXPIRY).optional(),
            options::TAGS.optional(),
            Arg::string(c"namespace").after(c"NS").optional(),
            Arg::word(c"nx", c"NX").optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        options::redact_secrets(ctx, args);
        let positions = options::counted_keys(args)?;
        // It is STORED that is replayed.
        let call = Call { now: ffi::now(), replayed: false };
        let options = SetValOptions::parse(args, 2 + 2 * positions.len(), true, call)?;
        if options.token.is_none() {
            return Err(Error::err(
                "TOKEN is required: a row may have changed since it was read for the cache",
            ));
        }
        let pairs: Vec<(Name, Name)> = positions
            .filter_map(|position| Some((args.get(position)?, args.get(position + 1)?)))
            .collect();
        must_differ(&pairs)?;
        let entries = read(&pairs, &options)?;
        for (name, _) in &entries {
            keyspace::open(ctx, *name, Mode::Look).entry::<StoredRecord>()?;
        }
        if !record::fills_are_stored() {
            ctx.reply_integer(0);
            return Ok(());
        }
        let expires_at = options.expiry.get().at(call.now, &config::VALIDATION_TTL);
        let mut stored = Stored { expires_at, words: Vec::new() };
        let outcome = entries
            .into_iter()
            .try_for_each(|(name, record)| stored.store(ctx, name, record, &options, call));
        // What the server refuses ends it, which nothing known does; what was stored till then is.
        stored.replicate(ctx);
        outcome?;
        ctx.reply_integer((stored.words.len() / 2) as i64);
        Ok(())
    }
}

/// A key stands in a call once: of two records it could hold only one.
fn must_differ(pairs: &[(Name, Name)]) -> Result<()> {
    let mut seen = HashMap::with_capacity(pairs.len());
    for (number, (name, _)) in (1..).zip(pairs) {
        if let Some(before) = seen.insert(name.bytes(), number) {
            return Err(Error::err(format_args!("key {number} is the same as key {before}")));
        }
    }
    Ok(())
}

fn read<'a>(
    pairs: &[(Name<'a>, Name)],
    options: &SetValOptions,
) -> Result<Vec<(Name<'a>, Record<'static>)>> {
    let read = |(number, (name, json)): (usize, &(Name<'a>, Name))| {
        let parts = record::sanitise(*json)
            .map_err(|BadRecord(why)| BadRecord(format!("record {number}: {why}").into()))?;
        Ok((*name, options.lay_out(&parts)?))
    };
    (1..).zip(pairs).map(read).collect()
}

/// What a call has stored.
struct Stored<'a> {
    /// Of all of them.
    expires_at: i64,
    /// Key, value, key, value ..
    words: Vec<Word<'a>>,
}

enum Word<'a> {
    Key(Name<'a>),
    Value(Vec<u8>),
}

impl<'a> Stored<'a> {
    /// Stores a record, unless NX or TOKEN refuses it.
    fn store(
        &mut self,
        ctx: Ctx,
        name: Name<'a>,
        record: Record,
        options: &SetValOptions,
        call: Call,
    ) -> Result<()> {
        let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
        if options.refuse(name, &record, record::exists(&key)?, call) {
            return Ok(());
        }
        let mut value = Vec::new();
        codec::encode_stored(&record, Some(self.expires_at), &mut value);
        key.store_entry(RecordValue::of(&record, false), Some(self.expires_at), call.now)?;
        drop(key);
        record::notify_stored(ctx, name, true);
        self.words.extend([Word::Key(name), Word::Value(value)]);
        Ok(())
    }

    fn replicate(&self, ctx: Ctx) {
        if self.words.is_empty() {
            return;
        }
        let words = self.words.iter().map(|word| match word {
            Word::Key(name) => name.bytes(),
            Word::Value(value) => value,
        });
        let words: Vec<&[u8]> = words.collect();
        ctx.replicate(STORED, &[], &words);
    }
}

/// As it is written into AOFs and the replication stream.
pub const STORED: &CStr = c"apikey.stored";

pub struct StoredMany;

impl Command for StoredMany {
    const SPEC: Spec = Spec {
        name: STORED,
        alias: None,
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -3,
        keys: Keys::EverySecond(1, OVERWRITES),
        summary:
            c"Internal: values that a primary has stored, with their expiry. Refused from clients.",
        complexity: c"O(N) where N is the length of the values",
        tips: None,
        args: &[Arg::block(c"entry", &[Arg::key(), Arg::string(c"value")]).repeated(Repeat::Value)],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let values = (1..args.len())
            .step_by(2)
            .map(|position| match (args.get(position), args.get(position + 1)) {
                (Some(name), Some(bytes)) => {
                    let stored = codec::decode_stored(bytes.bytes()).map_err(apply::not_ours)?;
                    Ok((name, stored))
                }
                _ => Err(Error::SYNTAX),
            })
            .collect::<Result<Vec<_>>>()?;
        for (name, (expires_at, value)) in values {
            apply::store(ctx, name, value, |_| expires_at)?;
            record::notify_stored(ctx, name, expires_at.is_some());
        }
        ctx.replicate_verbatim();
        ctx.reply_simple(c"OK");
        Ok(())
    }
}
