//! USAGE.INCR: counts uses.

use crate::commands::limits::change::{change, overflow};
use crate::commands::limits::requests::{known, note, ID};
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::keyspace;
use crate::state;
use crate::stream::apply;
use crate::types::usage;
use apikey_engine::limits::account::Account;
use apikey_engine::limits::limit::MAX_COST;
use apikey_engine::limits::requests::{Print, Request};
use apikey_engine::report::stats::add_uses;
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;
use host::changes::Class;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Name, Reply, Result};

pub struct Incr;

const OPTIONS: &[Arg] =
    &[Arg::integer(c"increment").between(1, i64::MAX).after(c"BY").optional(), ID];

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
        if let Some(id) = options.value("ID") {
            reply.integer(count_once(ctx, name, by, &Print::of_use(id), now)?);
            return Ok(());
        }
        let count = |counter: &mut Counter| {
            let is_first = counter.first_used_at() == 0;
            let pending = counter.incr(by, now).map_err(|_| overflow("BY"))?;
            Ok((pending, is_first))
        };

        let mut key = keyspace::write(ctx, name);
        let (pending, is_first) = match key.count(count)? {
            Some(counted) => counted,
            None => {
                let mut counter = Counter::default();
                let counted = count(&mut counter)?;
                key.store_usage(counter, Leases::default(), Account::default(), None)?;
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

/// Counts uses under an id, where they were not counted before; returns what is pending.
fn count_once(ctx: &mut Ctx, name: Name, by: i64, print: &Print, now: i64) -> Result<i64> {
    if by > MAX_COST {
        return Err(Error::err(format_args!("BY must be at most {MAX_COST} with ID")));
    }
    let lock = ctx.lock();
    let (pending, is_new) = change(ctx, name, Incr::SPEC.name, |counts, account| {
        if known(account, print, now).is_some_and(|request| request.is_counted) {
            return Ok((None, (counts.pending(), false)));
        }
        let mut counts = *counts;
        let pending = counts.incr(by, now).map_err(|_| overflow("BY"))?;
        let mut change = Change::of(counts);
        note(lock, &mut change, Request::plain(*print, now, by), account);
        Ok((Some(change), (pending, true)))
    })?;
    state::with(lock, |state| match is_new {
        true => add_uses(&mut state.stats.counted_uses, by),
        false => state.stats.repeated_ids += 1,
    });
    Ok(pending)
}
