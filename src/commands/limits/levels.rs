//! LIMITS: what was taken from the limits of a counter.

use crate::commands::plain::PLAIN;
use crate::keyspace;
use apikey_engine::limits::account::{Account, Kept};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Limits;

impl Command for Limits {
    const SPEC: Spec = Spec {
        name: c"apikey.limits",
        since: c"0.2.0",
        flags: "readonly fast",
        arity: 2,
        keys: Keys::One(Use::READS),
        summary: c"Returns how the limits of a usage counter stand, as they were when they were named last.",
        complexity: c"O(N) where N is the number of limits",
        fixed: &[Arg::key_called(c"counter")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let now = now();
        let key = keyspace::read(ctx, name);
        let account = key.usage()?.map_or(Account::NONE, |value| value.account());
        reply.array(account.levels().len());
        for Kept { limit, level } in account.levels() {
            let rule = limit.rule();
            let standing = level.at(rule, now).standing(rule, 0);
            reply.array(5);
            reply.bulk(limit.name());
            reply.bulk(rule.kind().as_bytes());
            [standing.limit, standing.remaining, standing.reset_ms]
                .into_iter()
                .for_each(|number| reply.integer(number));
        }
        Ok(())
    }
}
