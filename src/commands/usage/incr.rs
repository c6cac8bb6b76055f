//! USAGE.INCR: counts uses.

use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::keyspace;
use crate::state;
use crate::stream::apply;
use crate::types::usage;
use apikey_engine::report::stats::add_uses;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;
use host::changes::Class;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Incr;

const OPTIONS: &[Arg] = &[Arg::integer(c"increment").between(1, i64::MAX).after(c"BY").optional()];

impl Command for Incr {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.incr",
        alias: Some(c"apikey.usageincr"),
        flags: "write deny-oom fast",
        hides: grammar::HIDES,
        arity: -2,
        keys: Keys::One(Use::UPDATES),
        summary: c"Counts uses of an API key and returns how many wait to be handed over.",
        fixed: &[Arg::key()],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let options = Options::parse(OPTIONS, args, 2, Judged::Here)?;
        let by = options.number("BY").unwrap_or(1);
        let (lock, now) = (ctx.lock(), now());
        let count = |counter: &mut Counter| {
            let is_first = counter.first_used_at() == 0;
            let pending = counter.incr(by, now).map_err(|_| {
                Error::err(format_args!("BY must not take the total beyond {}", i64::MAX))
            })?;
            Ok((pending, is_first))
        };

        let mut key = keyspace::write(ctx, name);
        let (pending, is_first) = match key.count(count)? {
            Some(counted) => counted,
            None => {
                let mut counter = Counter::default();
                let counted = count(&mut counter)?;
                key.store_usage(counter, Leases::default(), None)?;
                counted
            }
        };
        // The time of the first use is part of what replicas agree on.
        let first = if is_first { key.usage()? } else { None };
        let first = first.map(|value| usage::encode(lock, value));
        drop(key);
        state::with(ctx.lock(), |state| add_uses(&mut state.stats.counted_uses, by));
        match first {
            Some(bytes) => apply::write(ctx, name, &bytes),
            None => ctx.replicate_verbatim(),
        }
        ctx.notify(Class::Module, c"apikey.usage.incr", name);
        reply.integer(pending);
        Ok(())
    }
}
