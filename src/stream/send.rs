//! How a word gets into the stream, and who may say it.

use crate::state;
use host::{Ctx, Error, Name, Result};
use std::ffi::CStr;

/// Replicates a command in place of the one that came: first `same`, strings that the server has already,
/// then `others`.
pub fn send(ctx: &mut Ctx, command: &CStr, same: &[Name], others: &[&[u8]]) {
    let outcome = ctx.replicate(command, same, others);
    note(ctx, command, outcome);
}

/// Replicates a command with a key and bytes.
pub fn send_value(ctx: &mut Ctx, command: &CStr, key: Name, bytes: &[u8]) {
    let outcome = ctx.replicate_value(command, key, bytes);
    note(ctx, command, outcome);
}

pub(super) fn note(ctx: &Ctx, command: &CStr, outcome: std::result::Result<(), host::Refused>) {
    if outcome.is_err() {
        let name = command.to_string_lossy();
        state::with(ctx.lock(), |state| state.trouble.replicated(&name, outcome));
    }
}

/// Refuses an internal command from a client.
pub fn must_be_replayed(ctx: &Ctx, command: &CStr) -> Result<()> {
    if ctx.is_replayed() {
        return Ok(());
    }
    let name = command.to_string_lossy();
    Err(Error::err(format_args!("{name} is internal: only for replication and loading")))
}

/// The error of a value that can't be decoded.
pub(super) fn not_ours(bad: apikey_engine::codec::value::BadBytes) -> Error {
    Error::err(format_args!("value must be one of this module's: {}", bad.0))
}
