//! The option ID, and counters that change.

use crate::counters;
use crate::keyspace;
use crate::settings;
use crate::state;
use crate::stream::changed;
use apikey_engine::codec::counter::encode_change;
use apikey_engine::limits::account::Account;
use apikey_engine::limits::requests::{Print, Request, MAX_ID_BYTES};
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use host::changes::Class;
use host::command::spec::Arg;
use host::{Ctx, Error, Name, Result};
use std::ffi::CStr;

/// `ID id`.
pub const ID: Arg = Arg::bytes(c"id", 1, MAX_ID_BYTES).after(c"ID").optional();

/// The request that a counter knows by an id, and that is not over.
pub fn known<'a>(account: &'a Account, print: &Print, now: i64) -> Option<&'a Request> {
    let since = now.saturating_sub(settings::REQUEST_ID_WINDOW.get());
    account.requests().get(print).filter(|request| request.at >= since)
}

/// Notes a request under its id.
pub fn note(ctx_lock: host::Lock, change: &mut Change, request: Request, account: &Account) {
    let gone = change.note(request, account, settings::request_window());
    state::with(ctx_lock, |state| state.stats.ids_dropped_early += gone.early as u64);
}

/// Decides what becomes of one counter, and tells of it.
pub fn change<T>(
    ctx: &mut Ctx,
    name: Name,
    event: &CStr,
    decide: impl FnOnce(&Counter, &Account) -> Result<(Option<Change>, T)>,
) -> Result<T> {
    let (said, done) = keyspace::write(ctx, name).change(|counter, account| {
        let (change, done) = decide(counter, account)?;
        let said = change.as_ref().map(encode_change);
        Ok((change, (said, done)))
    })?;
    if let Some(said) = said {
        tell(ctx, &[(name, said)], event);
    }
    Ok(done)
}

/// Tells replicas, the AOF and who listens of counters that have changed.
pub fn tell(ctx: &mut Ctx, changes: &[(Name, Vec<u8>)], event: &CStr) {
    let names = changes.iter().map(|(name, _)| *name);
    counters::tell(ctx, names.clone(), |ctx| changed::write(ctx, changes));
    names.for_each(|name| ctx.notify(Class::Module, event, name));
}

/// The error of a count that would pass what there is room for.
pub fn overflow(what: &str) -> Error {
    Error::err(format_args!("{what} must not take the total beyond {}", i64::MAX))
}
