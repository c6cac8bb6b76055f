//! FAIL: who was to load what is missing could not.

use super::named::{self, REGION};
use crate::commands::plain::PLAIN;
use crate::grammar::{self, token};
use crate::keyspace::{self, Slot};
use crate::state;
use crate::values::entry::cached;
use apikey_engine::cache::leases::MAX_LEASE_MS;
use apikey_engine::entry::kind::Entry;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Fail;

const OPTIONS: &[Arg] = &[
    grammar::TOKEN.because("it is the lease of the token that is given back"),
    Arg::integer(c"milliseconds").between(0, MAX_LEASE_MS).after(c"BACKOFF").optional(),
    grammar::NAMESPACE,
];

impl Command for Fail {
    const SPEC: Spec = Spec {
        name: c"cache.fail",
        since: c"0.2.0",
        // It writes nothing; but leases are the primary's.
        flags: "write fast",
        hides: grammar::HIDES,
        arity: -5,
        keys: Keys::One(Use::READS),
        summary: c"Gives the lease of a key back, whose value could not be loaded, so that another reader may try after BACKOFF.",
        fixed: &[Arg::key(), REGION],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(region)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        let options = Options::parse(OPTIONS, args, 3, Judged::Here)?;
        let tag = named::region(region, &options)?;
        let token = token(&options).ok_or(Error::SYNTAX)?;
        let pause = options.number("BACKOFF").unwrap_or(0);
        let (lock, database) = (ctx.lock(), ctx.database());
        let key = keyspace::look(ctx, name);
        let there = match key.slot() {
            Slot::Cached(value) => Some(cached(value)),
            _ => None,
        };
        let there = there.as_ref().filter(|there| there.is_of(tag.namespace(), tag.region()));
        let there = there.map(|cached| cached as &dyn Entry);
        let is_back = state::with(lock, |state| {
            state.give_load_back(database, name.bytes(), (&tag, there), &token, (now(), pause))
        });
        match is_back {
            true => reply.simple(c"OK"),
            false => reply.nil(),
        }
        Ok(())
    }
}
