//! CREDIT: gives and takes credits, which nothing else raises.

use super::change::change;
use super::requests::{known, note, ID};
use crate::commands::plain::PLAIN;
use crate::grammar;
use apikey_engine::limits::account::{credited, Kept};
use apikey_engine::limits::level::Level;
use apikey_engine::limits::limit::{Limit, Rule, MAX_NAME_BYTES, MAX_UNITS};
use apikey_engine::limits::requests::{Print, Request};
use apikey_engine::usage::change::Change;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Reply, Result};
use std::sync::Arc;

pub struct Credit;

const OPTIONS: &[Arg] = &[
    Arg::one_of(
        c"amount",
        &[
            Arg::integer(c"credits").between(-MAX_UNITS, MAX_UNITS).after(c"BY"),
            Arg::integer(c"balance").between(0, MAX_UNITS).after(c"SET"),
        ],
    )
    .because("BY or SET says how many credits"),
    ID,
];

impl Command for Credit {
    const SPEC: Spec = Spec {
        name: c"apikey.credit",
        since: c"0.2.0",
        flags: "write deny-oom fast",
        hides: grammar::HIDES,
        arity: -5,
        keys: Keys::One(Use::UPDATES),
        summary: c"Raises or lowers the credits of a usage counter, or sets them, and returns the balance.",
        fixed: &[Arg::key_called(c"counter"), Arg::bytes(c"name", 1, MAX_NAME_BYTES)],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(counter), Some(name)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        let options = Options::parse(OPTIONS, args, 3, Judged::Here)?;
        let plain = Limit::new(name.bytes(), Rule::Credits, 1, false)
            .map_err(|why| Error::err(why.as_str()))?;
        let print = options.value("ID").map(|id| Print::of_credit(name.bytes(), id));
        let (lock, now) = (ctx.lock(), now());
        let balance = change(ctx, counter, Self::SPEC.name, |counts, account| {
            let (limit, before) = match account.kept(plain.bytes()) {
                Some(Kept { limit, level }) => (Arc::clone(limit), level.amount),
                None => (crate::state::with(lock, |state| state.known.keep(plain)), 0),
            };
            if print.as_ref().is_some_and(|print| known(account, print, now).is_some()) {
                crate::state::with(lock, |state| state.stats.repeated_ids += 1);
                return Ok((None, before));
            }
            let balance = match (options.number("BY"), options.number("SET")) {
                (Some(by), _) => credited(before, by).map_err(|why| Error::err(why.as_str()))?,
                (None, set) => set.unwrap_or(before),
            };
            let mut change = Change::of(*counts);
            if !account.has_room(std::iter::once(limit.bytes()), now) {
                return Err(super::admit::no_room(1));
            }
            change.levels.push(Kept { limit, level: Level { amount: balance, at: now } });
            if let Some(print) = print {
                let request = Request { is_counted: false, ..Request::plain(print, now, 0) };
                note(lock, &mut change, request, account);
            }
            Ok((Some(change), balance))
        })?;
        reply.integer(balance);
        Ok(())
    }
}
