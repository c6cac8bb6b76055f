//! USAGE.INCR, GET, TAKE and FLUSH: usage counters.

use crate::command::{Arg, Command, Keys, Repeat, Spec, READS, UPDATES};
use crate::error::{Error, Result};
use crate::ffi::{self, Args, Ctx, Mode, Name, Notify, Text};
use crate::keyspace::{self, OpenKey};
use crate::options::{self, is, set_once, Options};
use crate::state;
use apikey_engine::codec;
use apikey_engine::database::{PENDING, WAITING};
use apikey_engine::lease::Leases;
use apikey_engine::usage::Counter;

pub struct Incr;

impl Command for Incr {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.incr",
        alias: Some(c"apikey.usageincr"),
        flags: "write deny-oom fast",
        dangerous: false,
        secret: false,
        arity: -2,
        keys: Keys::One(UPDATES),
        summary: c"Counts uses of an API key and returns how many wait to be handed over.",
        complexity: c"O(1)",
        tips: None,
        args: &[Arg::key(), Arg::integer(c"increment").after(c"BY").optional()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let mut options = Options::new(args, 2);
        let mut by = None;
        while let Some(option) = options.next_name() {
            if !is(option, "BY") {
                return Err(options.unknown());
            }
            let value = options::integer(options.value("BY")?, "BY", 1, i64::MAX)?;
            set_once(&mut by, "BY", value)?;
        }

        let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
        let value = key.usage()?;
        let mut counter = value.map_or_else(Counter::default, |value| value.counter.get());
        let is_first = counter.total() == 0;
        let pending = counter.incr(by.unwrap_or(1), ffi::now()).map_err(|_| {
            Error::err(format_args!("BY must not take the total beyond {}", i64::MAX))
        })?;
        match value {
            Some(value) => key.update_usage(value, counter),
            None => key.store_usage(counter, Leases::default(), None)?,
        }
        if is_first {
            // Its time is part of what replicas agree on.
            let bytes = codec::encode_usage(&counter, Leases::NONE);
            ctx.replicate(super::apply::NAME, &[name], &[&bytes]);
        } else {
            ctx.replicate_verbatim();
        }
        drop(key);
        ctx.notify(Notify::Module, c"apikey.usage.incr", name);
        ctx.reply_integer(pending);
        Ok(())
    }
}

pub struct Get;

impl Command for Get {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.get",
        alias: Some(c"apikey.usageget"),
        flags: "readonly fast",
        dangerous: false,
        secret: false,
        arity: 2,
        keys: Keys::One(READS),
        summary: c"Returns what was counted for an API key.",
        complexity: c"O(1)",
        tips: None,
        args: &[Arg::key()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let key = keyspace::open(ctx, name, Mode::Read);
        let (counter, leased) = key.usage()?.map_or_else(Default::default, |value| {
            (value.counter.get(), value.with_leases(Leases::count))
        });
        ctx.reply_map(5);
        for (field, count) in
            [("pending", counter.pending()), ("leased", leased), ("total", counter.total())]
        {
            ctx.reply_bulk(field.as_bytes());
            ctx.reply_integer(count);
        }
        for (field, time) in
            [("first_used_at", counter.first_used_at()), ("last_used_at", counter.last_used_at())]
        {
            ctx.reply_bulk(field.as_bytes());
            match time {
                0 => ctx.reply_nil(),
                time => ctx.reply_integer(time),
            }
        }
        Ok(())
    }
}

pub struct Take;

impl Command for Take {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.take",
        alias: Some(c"apikey.usagetake"),
        flags: "write",
        dangerous: false,
        secret: false,
        arity: -2,
        keys: Keys::All(UPDATES),
        summary: c"Returns the pending counts of API keys and resets them.",
        complexity: c"O(N) where N is the number of keys",
        tips: None,
        args: &[Arg::key().repeated(Repeat::Value)],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        for name in args.from(1) {
            keyspace::open(ctx, name, Mode::Read).usage()?;
        }
        let counts: Vec<i64> = args.from(1).map(|name| take(ctx, name)).collect();
        if counts.iter().any(|&count| count > 0) {
            ctx.replicate_verbatim();
        }
        ctx.reply_array(counts.len());
        counts.iter().for_each(|&count| ctx.reply_integer(count));
        Ok(())
    }
}

/// Takes what is pending under a name; 0 where there is no counter.
fn take(ctx: Ctx, name: Name) -> i64 {
    let key: OpenKey = keyspace::open(ctx, name, Mode::ReadWrite);
    let Some(value) = key.usage().ok().flatten() else { return 0 };
    let mut counter = value.counter.get();
    let count = counter.take();
    if count > 0 {
        key.update_usage(value, counter);
        drop(key);
        ctx.notify(Notify::Module, Take::SPEC.name, name);
    }
    count
}

pub struct Flush;

/// Counters that one FLUSH or LEASE takes unless COUNT says otherwise, and at most.
pub const DEFAULT_COUNT: i64 = 1000;
pub const MAX_COUNT: i64 = 1_000_000;

impl Command for Flush {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.flush",
        alias: Some(c"apikey.usageflush"),
        flags: "write",
        dangerous: true,
        secret: false,
        arity: -1,
        keys: Keys::None,
        summary: c"Returns pending counts of the selected database and resets them, whichever keys have any.",
        complexity: c"O(N) where N is the number of counts returned",
        tips: Some(c"request_policy:all_shards"),
        args: &[Arg::integer(c"count").after(c"COUNT").optional()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let most = options::count(args, 1, DEFAULT_COUNT, MAX_COUNT)?;
        let database = ctx.database();
        let mut taken: Vec<(Vec<u8>, i64)> = Vec::new();
        for tag in [PENDING, WAITING] {
            let pending = state::with(|state| state.member_count(database, tag));
            // From the last on, as TAGINVAL walks.
            for position in (0..pending).rev() {
                if taken.len() as i64 == most {
                    break;
                }
                let name = state::with(|state| {
                    state.member_name(database, tag, position).map(<[u8]>::to_vec)
                });
                let Some(name) = name else { continue };
                let count = take(ctx, Text::new(&name).name());
                if count > 0 {
                    taken.push((name, count));
                }
            }
        }
        ctx.reply_array(taken.len() * 2);
        for (name, count) in &taken {
            ctx.reply_bulk(name);
            ctx.reply_integer(*count);
        }
        if !taken.is_empty() {
            // Replicas may have their pending counters in another order.
            let names: Vec<&[u8]> = taken.iter().map(|(name, _)| name.as_slice()).collect();
            ctx.replicate(Take::SPEC.name, &[], &names);
        }
        Ok(())
    }
}
