//! APPLY: `key value`. A value as it is; its key keeps the expiry that it has.

use super::send::{not_ours, send_value};
use apikey_engine::codec::value::{decode, Origin, Value};
use host::key::stream::Rewrite;
use host::{Args, Ctx, Error, Name, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.apply";

/// Says what a key holds now.
pub fn write(ctx: &mut Ctx, key: Name, bytes: &[u8]) {
    send_value(ctx, NAME, key, bytes);
}

/// Writes what a key holds into an AOF.
pub fn rewrite(into: &mut Rewrite, bytes: &[u8]) {
    into.command(NAME, bytes);
}

/// Key and value.
pub fn read(args: Args<'_>) -> Result<(Name<'_>, Value<'_>)> {
    let (Some(name), Some(bytes)) = (args.get(1), args.get(2)) else { return Err(Error::SYNTAX) };
    Ok((name, decode(bytes.bytes(), Origin::Server).map_err(not_ours)?))
}
