//! The option ID: requests that are counted once.

use crate::settings;
use crate::state;
use apikey_engine::limits::account::Account;
use apikey_engine::limits::requests::{Print, Request, MAX_ID_BYTES};
use apikey_engine::usage::change::Change;
use host::command::spec::Arg;
use host::Lock;

/// `ID id`.
pub const ID: Arg = Arg::bytes(c"id", 1, MAX_ID_BYTES).after(c"ID").optional();

/// The request that a counter knows by an id, and that is not over.
pub fn known<'a>(account: &'a Account, print: &Print, now: i64) -> Option<&'a Request> {
    let since = now.saturating_sub(settings::REQUEST_ID_WINDOW.get());
    account.requests().get(print).filter(|request| request.at >= since)
}

/// Notes a request under its id.
pub fn note(lock: Lock, change: &mut Change, request: Request, account: &Account) {
    let gone = change.note(request, account, settings::request_window());
    state::with(lock, |state| state.stats.ids_dropped_early += gone.early as u64);
}
