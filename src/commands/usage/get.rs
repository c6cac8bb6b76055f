//! USAGE.GET: what was counted.

use crate::commands::plain::PLAIN;
use crate::keyspace;
use apikey_engine::usage::lease::Leases;
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{Args, Ctx, Error, Reply, Result};

pub struct Get;

impl Command for Get {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.get",
        alias: Some(c"apikey.usageget"),
        flags: "readonly fast",
        arity: 2,
        keys: Keys::One(Use::READS),
        summary: c"Returns what was counted for an API key.",
        fixed: &[Arg::key()],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let key = keyspace::read(ctx, name);
        let (counter, leased) = key
            .usage()?
            .map_or_else(Default::default, |value| (value.counter, Leases::count(value.leases())));
        reply.map(5);
        for (field, count) in
            [("pending", counter.pending()), ("leased", leased), ("total", counter.total())]
        {
            reply.bulk(field.as_bytes());
            reply.integer(count);
        }
        for (field, time) in
            [("first_used_at", counter.first_used_at()), ("last_used_at", counter.last_used_at())]
        {
            reply.bulk(field.as_bytes());
            match time {
                0 => reply.nil(),
                time => reply.integer(time),
            }
        }
        Ok(())
    }
}
