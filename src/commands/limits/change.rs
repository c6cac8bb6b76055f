//! A counter changes, and whoever has to know is told.

use crate::counters;
use crate::keyspace;
use crate::stream::changed;
use apikey_engine::codec::counter::encode_change;
use apikey_engine::limits::account::Account;
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use host::changes::Class;
use host::{Ctx, Error, Name, Result};
use std::ffi::CStr;

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
