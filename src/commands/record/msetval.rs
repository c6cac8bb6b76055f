//! MSETVAL: many records at once, to warm a cache.
//!
//! Everything is read and every key is looked at before any is stored, so that one bad record, or one
//! key that is not the cache's, leaves all as it was. NX and TOKEN are judged key by key.

use super::store::{self, bad_record, Moment, Terms};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::keyspace;
use crate::settings;
use crate::state::fills_are_stored;
use crate::stream::stored;
use crate::types::entries::Records;
use crate::values::entry::of_record;
use ahash::AHashMap;
use apikey_engine::entry::kind::Entry;
use apikey_engine::record::bad_record::BadRecord;
use apikey_engine::record::layout::Record;
use host::command::grammar::{counted_keys, Judged, Options};
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Lock, Name, Reply, Result};

pub struct MSetVal;

/// The word of a writer is for one key.
const OPTIONS: &[Arg] = &[
    grammar::TOKEN.because("a row may have changed since it was read for the cache"),
    grammar::EXPIRY,
    grammar::TAGS,
    grammar::NAMESPACE,
    grammar::NX,
];

impl Command for MSetVal {
    const SPEC: Spec = Spec {
        name: c"apikey.msetval",
        flags: "write deny-oom",
        hides: grammar::hides_records(Values::OfCountedKeys),
        arity: -6,
        keys: Keys::Counted(1, Use::OVERWRITES),
        summary: c"Stores the records of many API keys, all of them or, where one is bad, none.",
        complexity: c"O(N*M) where N is the number of keys and M the length of a record and the number of tags",
        fixed: &[
            Arg::integer(c"numkeys"),
            Arg::block(c"entry", &[Arg::key(), Arg::string(c"record")]).repeated(Repeat::Value),
        ],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let lock = ctx.lock();
        let positions = counted_keys(args, 1)?;
        // It is STORED that is replayed.
        let moment = Moment { now: now(), replayed: false };
        let options = Options::parse(OPTIONS, args, 2 + 2 * positions.len(), Judged::Here)?;
        let terms = Terms::read(&options, moment.now, Judged::Here)?;
        let pairs: Vec<(Name, Name)> = positions
            .filter_map(|position| Some((args.get(position)?, args.get(position + 1)?)))
            .collect();
        must_differ(&pairs)?;
        let entries = read(lock, &pairs, &terms)?;
        access::to_store_all(ctx, entries.iter().map(|(_, record)| record as &dyn Entry))?;
        for (name, _) in &entries {
            keyspace::look(ctx, *name).entry::<Records>()?;
        }
        if !fills_are_stored(lock) {
            reply.integer(0);
            return Ok(());
        }
        let expires_at = terms.expiry.at(moment.now, &settings::VALIDATION_TTL);
        let mut stored = stored::Many::default();
        let outcome: Result<()> = entries.into_iter().try_for_each(|(name, record)| {
            if store(ctx, name, &record, &terms, expires_at, moment)? {
                stored.push(name, &record, Some(expires_at));
            }
            Ok(())
        });
        // What the server refuses ends it, which nothing known does; what was stored till then is.
        stored.write(ctx);
        stored.names().for_each(|name| store::notify(ctx, name, true));
        outcome?;
        reply.count(stored.len());
        Ok(())
    }
}

/// A key stands in a call once: of two records it could hold only one.
pub fn must_differ(pairs: &[(Name, Name)]) -> Result<()> {
    let mut seen = AHashMap::with_capacity(pairs.len());
    for (number, (name, _)) in (1..).zip(pairs) {
        if let Some(before) = seen.insert(name.bytes(), number) {
            return Err(Error::err(format_args!("key {number} is the same as key {before}")));
        }
    }
    Ok(())
}

fn read<'a>(
    lock: Lock,
    pairs: &[(Name<'a>, Name)],
    terms: &Terms,
) -> Result<Vec<(Name<'a>, Record<'static>)>> {
    let read = |(number, (name, json)): (usize, &(Name<'a>, Name))| {
        let parts = store::sanitise(lock, *json).map_err(|BadRecord(why)| {
            bad_record(BadRecord(format!("record {number}: {why}").into()))
        })?;
        Ok((*name, terms.lay_out(lock, &parts)?))
    };
    (1..).zip(pairs).map(read).collect()
}

/// Stores a record, unless NX or TOKEN refuses it; whether it did.
fn store(
    ctx: &mut Ctx,
    name: Name,
    record: &Record,
    terms: &Terms,
    expires_at: i64,
    moment: Moment,
) -> Result<bool> {
    let lock = ctx.lock();
    let mut key = keyspace::write(ctx, name);
    if terms.refuse(lock, name, record, store::exists(&key)?, moment) {
        return Ok(false);
    }
    key.store_entry::<Records>(of_record(record, false), Some(expires_at), moment.now)?;
    Ok(true)
}
