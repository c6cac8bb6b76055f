//! MSET: many values of a region's at once.
//!
//! Everything is read and every key is looked at before any is stored, so that one that is too large, or one key that is
//! not the cache's, leaves all as it was. NX and TOKEN are judged key by key.

use super::named::REGION;
use super::store::{self, Terms, GRACE, LABEL};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::commands::record::msetval::must_differ;
use crate::evict;
use crate::grammar;
use crate::stream::stored::Many;
use apikey_engine::cache::value::Cached;
use apikey_engine::entry::kind::Entry;
use host::command::grammar::{counted_keys, Judged, Options};
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Name, Reply, Result};

pub struct MSet;

/// The word of a writer is for one key.
const OPTIONS: &[Arg] = &[
    grammar::TOKEN.because("what a reader loaded may have changed since"),
    grammar::EXPIRY,
    GRACE,
    grammar::TAGS,
    grammar::NAMESPACE,
    LABEL,
    grammar::NX,
];

impl Command for MSet {
    const SPEC: Spec = Spec {
        name: c"cache.mset",
        since: c"0.2.0",
        flags: "write deny-oom",
        hides: grammar::hides_records(Values::OfCountedKeys),
        arity: -7,
        keys: Keys::Counted(2, Use::OVERWRITES),
        summary: c"Stores many values in a region, all of them or, where one is too large, none.",
        complexity: c"O(N*M) where N is the number of keys and M the length of a value and the number of tags",
        fixed: &[
            REGION,
            Arg::integer(c"numkeys"),
            Arg::block(c"entry", &[Arg::key(), Arg::string(c"value")]).repeated(Repeat::Value),
        ],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(region) = args.get(1) else { return Err(Error::SYNTAX) };
        let lock = ctx.lock();
        let positions = counted_keys(args, 2)?;
        let options = Options::parse(OPTIONS, args, 3 + 2 * positions.len(), Judged::Here)?;
        let terms = Terms::read(lock, region, &options, now())?;
        let pairs: Vec<(Name, Name)> = positions
            .filter_map(|position| Some((args.get(position)?, args.get(position + 1)?)))
            .collect();
        must_differ(&pairs)?;
        let lay_out =
            |&(name, value): &(Name<'_>, Name)| terms.lay_out(lock, name, Some(value.bytes()));
        let values: Vec<Cached> = pairs.iter().map(lay_out).collect::<Result<_>>()?;
        // All carry the same tags.
        if let Some(first) = values.first() {
            access::to_store(ctx, first as &dyn Entry)?;
        }
        for &(name, _) in &pairs {
            terms.must_fit(ctx, name)?;
        }
        let mut stored = Many::default();
        let outcome: Result<()> = pairs.iter().zip(&values).try_for_each(|(&(name, _), cached)| {
            if let Some(expires_at) = terms.store(ctx, name, cached)? {
                stored.push_value(name, cached, expires_at);
            }
            Ok(())
        });
        // What the server refuses ends it, which nothing known does; what was stored till then is.
        stored.write(ctx);
        for name in stored.names() {
            store::notify(ctx, name, c"cache.set", &[], true);
        }
        // In the background: with what was stored it would be two commands for the AOF.
        evict::look_at(ctx, &terms.tag);
        outcome?;
        reply.count(stored.len());
        Ok(())
    }
}
