//! STORED, REPLACED and APPLY: values that were stored.

use crate::commands::plain::PLAIN;
use crate::commands::record::store;
use crate::keyspace::{self, OpenKey, Removed, Slot};
use crate::state::comes_dead;
use crate::stream::{apply, replaced, send::must_be_replayed, stored};
use crate::types::entries::{Lists, Records, Scopes, Values};
use crate::values::entry::{of_cached, of_record, EntryValue};
use apikey_engine::codec::value::Value;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{now, Args, Ctx, Error, KeyMut, Name, Reply, Result, Text};

pub struct Stored;

impl Command for Stored {
    const SPEC: Spec = Spec {
        name: stored::NAME,
        flags: "write",
        dangerous: true,
        arity: -3,
        keys: Keys::EverySecond(1, Use::OVERWRITES),
        summary:
            c"Internal: values that a primary has stored, with their expiry. Refused from clients.",
        complexity: c"O(N) where N is the length of the values",
        fixed: &[Arg::block(c"entry", &[Arg::key(), Arg::string(c"value")]).repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let mut told = Vec::new();
        for (name, expires_at, value) in stored::read(args)? {
            put(ctx, name, value, |_| expires_at)?;
            told.push((name, expires_at.is_some()));
        }
        ctx.replicate_verbatim();
        told.into_iter().for_each(|(name, expires)| store::notify(ctx, name, expires));
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct Apply;

impl Command for Apply {
    const SPEC: Spec = Spec {
        name: apply::NAME,
        flags: "write",
        dangerous: true,
        arity: 3,
        keys: Keys::One(Use::OVERWRITES),
        summary: c"Internal: stores a value from an AOF or a primary. Refused from clients.",
        complexity: c"O(N) where N is the length of the value",
        fixed: &[Arg::key(), Arg::string(c"value")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let (name, value) = apply::read(args)?;
        put(ctx, name, value, |key| key.expires_at())?;
        ctx.replicate_verbatim();
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct Replaced;

impl Command for Replaced {
    const SPEC: Spec = Spec {
        name: replaced::NAME,
        since: c"0.2.0",
        flags: "write",
        dangerous: true,
        arity: 4,
        keys: Keys::One(Use::OVERWRITES),
        summary: c"Internal: a value that a primary has stored in a region, and what it has evicted for it. Refused from clients.",
        complexity: c"O(N) where N is the length of the value and of the names",
        fixed: &[Arg::key(), Arg::string(c"value"), Arg::string(c"names")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let replaced::Replaced { key, expires_at, value, mut evicted } = replaced::read(args)?;
        put(ctx, key, value, |_| expires_at)?;
        let mut gone = Vec::new();
        while let Some(name) = evicted.next_name().map(Text::new) {
            if keyspace::unlink_entry(ctx, name.name()) != Removed::Nothing {
                gone.push(name);
            }
        }
        ctx.replicate_verbatim();
        store::notify(ctx, key, expires_at.is_some());
        keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
        reply.simple(c"OK");
        Ok(())
    }
}

/// Stores a value that was judged elsewhere, in place of what stands under the name.
fn put(
    ctx: &mut Ctx,
    name: Name,
    value: Value,
    expiry: impl for<'k> FnOnce(&OpenKey<'k, KeyMut<'k>>) -> Option<i64>,
) -> Result<()> {
    let come = comes_dead(ctx.lock());
    let now = now();
    let mut key = keyspace::write(ctx, name);
    if matches!(key.slot(), Slot::Foreign) {
        return Err(Error::WRONG_TYPE);
    }
    let at = expiry(&key);
    match value {
        Value::Record { record, dead } => {
            key.store_entry::<Records>(of_record(&record, dead || come), at, now)
        }
        Value::Scopes { decisions, dead } => {
            key.store_entry::<Scopes>(EntryValue::new(decisions, dead || come), at, now)
        }
        Value::List { list, dead } => {
            key.store_entry::<Lists>(EntryValue::new(list, dead || come), at, now)
        }
        Value::Cached { cached, dead } => {
            key.store_entry::<Values>(of_cached(&cached, dead || come), at, now)
        }
        Value::Usage(counter, leases, account) => key.store_usage(counter, leases, account, at),
    }
}
