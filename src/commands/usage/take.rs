//! USAGE.TAKE: gets counts and resets them.

use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::keyspace;
use crate::state;
use apikey_engine::report::stats::add_uses;
use host::changes::Class;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{Args, Ctx, Name, Reply, Result};

pub struct Take;

impl Command for Take {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.take",
        alias: Some(c"apikey.usagetake"),
        flags: "write",
        arity: -2,
        keys: Keys::All(Use::UPDATES),
        summary:
            c"Returns the pending counts of API keys, at most 1,000 in a call, and resets them.",
        complexity: c"O(N) where N is the number of keys",
        fixed: &[Arg::key().repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let names = grammar::names(ctx, args, 1, "keys")?;
        for &name in &names {
            keyspace::read(ctx, name).usage()?;
        }
        let counts: Vec<i64> = names.into_iter().map(|name| take(ctx, name)).collect();
        if counts.iter().any(|&count| count > 0) {
            ctx.replicate_verbatim();
        }
        for (name, _) in args.from(1).zip(&counts).filter(|(_, &count)| count > 0) {
            notify(ctx, name);
        }
        reply.array(counts.len());
        counts.iter().for_each(|&count| reply.integer(count));
        Ok(())
    }
}

/// Takes what is pending under a name; 0 where there is no counter.
pub fn take(ctx: &mut Ctx, name: Name) -> i64 {
    let taken = keyspace::write(ctx, name).count(|counter| Ok(counter.take()));
    let count = taken.ok().flatten().unwrap_or(0);
    state::with(ctx.lock(), |state| add_uses(&mut state.stats.taken_uses, count));
    count
}

/// Tells keyspace notifications that something was taken, once it is replicated.
pub fn notify(ctx: &mut Ctx, name: Name) {
    ctx.notify(Class::Module, Take::SPEC.name, name);
}
