//! SETTLE: what a request that was admitted under an id has really cost.

use super::change::{change, overflow};
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::settings;
use crate::state;
use apikey_engine::limits::limit::MAX_COST;
use apikey_engine::limits::requests::{Print, MAX_ID_BYTES};
use apikey_engine::report::stats::add_uses;
use apikey_engine::usage::change::Change;
use host::command::grammar::{bytes, integer};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Settle;

impl Command for Settle {
    const SPEC: Spec = Spec {
        name: c"apikey.settle",
        since: c"0.2.0",
        flags: "write fast",
        hides: grammar::HIDES,
        arity: 4,
        keys: Keys::One(Use::UPDATES),
        summary: c"Says what a request that was admitted under an id has really cost: the difference is given back, or taken.",
        complexity: c"O(N) where N is the number of ids that the counter keeps",
        fixed: &[
            Arg::key_called(c"counter"),
            Arg::bytes(c"id", 1, MAX_ID_BYTES),
            Arg::integer(c"cost").between(0, MAX_COST),
        ],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(id), Some(cost)) = (args.get(1), args.get(2), args.get(3)) else {
            return Err(Error::SYNTAX);
        };
        let print = Print::of_use(bytes(id, "id", 1, MAX_ID_BYTES)?);
        let cost = integer(cost, "cost", 0, MAX_COST)?;
        let (lock, now) = (ctx.lock(), now());
        let settled = change(ctx, name, Self::SPEC.name, |counter, account| {
            let window = settings::request_window();
            match Change::settle(account, counter, &print, cost, window, now) {
                None => Ok((None, None)),
                Some(Err(_)) => Err(overflow("cost")),
                // One that is settled stays so.
                Some(Ok((before, None))) => Ok((None, Some((before, before, 0)))),
                Some(Ok((before, Some(change)))) => {
                    let more = change.counter.total().saturating_sub(counter.total());
                    Ok((Some(change), Some((before, cost, more))))
                }
            }
        })?;
        match settled {
            None => reply.nil(),
            Some((before, now, more)) => {
                state::with(lock, |state| {
                    let counted = &mut state.stats.counted_uses;
                    match more {
                        0.. => add_uses(counted, more),
                        _ => *counted = counted.saturating_sub(more.unsigned_abs()),
                    }
                });
                reply.array(2);
                reply.integer(before);
                reply.integer(now);
            }
        }
        Ok(())
    }
}
