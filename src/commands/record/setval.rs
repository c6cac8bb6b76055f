//! SETVAL: stores a record.

use super::store::{self, bad_record, Moment, Terms};
use crate::bus;
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar::{self, judged, Expiry};
use crate::invalidation;
use crate::keyspace;
use crate::settings;
use crate::state::{self, comes_dead, fills_are_stored};
use crate::stream::stored;
use crate::types::entries::Records;
use crate::values::entry::of_record;
use apikey_engine::record::sanitise::{Limits, Parts};
use host::command::grammar::Options;
use host::command::spec::{Arg, Command, Keys, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct SetVal;

const OPTIONS: &[Arg] = &[
    grammar::EXPIRY_OR_KEEPTTL,
    grammar::PROOFS,
    grammar::TAGS,
    grammar::NAMESPACE,
    grammar::TOKEN.optional(),
    Arg::one_of(c"condition", &[Arg::word(c"nx", c"NX"), Arg::word(c"xx", c"XX")]).optional(),
];

impl Command for SetVal {
    const SPEC: Spec = Spec {
        name: c"apikey.setval",
        flags: "write deny-oom",
        hides: grammar::hides_secret(Values::At(2)),
        arity: -3,
        keys: Keys::One(Use::OVERWRITES),
        summary: c"Stores the record of an API key. Give the digest of its secret by DIGEST, so that the secret never leaves your process; SECRET lets the server compute it.",
        complexity: c"O(N+M) where N is the length of the record and M the number of tags",
        fixed: &[Arg::key(), Arg::string(c"record")],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(json)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        let lock = ctx.lock();
        // What is replayed was judged, and resolved, where its caller was.
        let replayed = ctx.is_replayed();
        let now = now();
        let options = Options::parse(OPTIONS, args, 3, judged(replayed))?;
        let terms = Terms::read(&options, now, judged(replayed))?;
        let parts = match replayed {
            true => Parts::sanitise(json.bytes(), &Limits::STORED),
            false => store::sanitise(lock, json),
        };
        let parts = parts.map_err(bad_record)?;
        let record = terms.lay_out(lock, &parts)?;
        access::to_store(ctx, &record)?;
        // A writer's word is not checked, and refuses the fills of readers that looked before it: also
        // where it is not stored, since the row has changed all the same.
        let is_writer = terms.token.is_none();
        if !replayed && !fills_are_stored(lock) {
            if is_writer {
                invalidation::of_keys(ctx, &[name]);
                bus::tell_of_keys(ctx, &[name]);
            }
            reply.nil();
            return Ok(());
        }

        let comes_dead = comes_dead(ctx.lock());
        let mut key = keyspace::write(ctx, name);
        let exists = store::exists(&key)?;
        if is_writer {
            bus::tell_of_keys(key.ctx(), &[name]);
        }
        if is_writer && invalidation::raise_for_write(lock, name) {
            drop(key);
            invalidation::tell_of_write(ctx, name);
            key = keyspace::write(ctx, name);
        }
        if terms.refuse(lock, name, &record, exists, Moment { now, replayed }) {
            reply.nil();
            return Ok(());
        }
        let expires_at = match terms.expiry {
            // A primary sends KEEPTTL only for a key that has no expiry.
            Expiry::Keep if exists || replayed => key.expires_at(),
            expiry => Some(expiry.at(now, &settings::VALIDATION_TTL)),
        };
        key.store_entry::<Records>(of_record(&record, comes_dead), expires_at, now)?;
        drop(key);
        stored::write(ctx, name, &record, expires_at);
        state::with(lock, |state| {
            parts.into_memory().into_iter().for_each(|memory| state.give_back(memory));
            state.give_back(record.into_memory());
        });
        store::notify(ctx, name, expires_at.is_some());
        reply.simple(c"OK");
        Ok(())
    }
}
