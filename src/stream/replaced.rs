//! REPLACED: `key value names`. A value of a region's that was stored, with its expiry before its bytes as in
//! [`stored`](super::stored), and the entries that were evicted for it, their names in one argument as in
//! [`gone`](super::gone).

use super::send::{not_ours, send};
use apikey_engine::cache::value::Cached;
use apikey_engine::codec::names::{Names, PackedNames};
use apikey_engine::codec::stored::{decode_stored, encode_stored_value};
use apikey_engine::codec::value::Value;
use host::{Args, Ctx, Error, Name, Result, Text};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.replaced";

/// Says so.
pub fn write(ctx: &mut Ctx, key: Name, cached: &Cached, expires_at: Option<i64>, evicted: &[Text]) {
    let mut value = Vec::new();
    encode_stored_value(cached, expires_at, &mut value);
    let mut names = PackedNames::default();
    evicted.iter().for_each(|name| names.push(name.name().bytes()));
    send(ctx, NAME, &[key], &[&value, names.bytes()]);
}

/// What a REPLACED says.
pub struct Replaced<'a> {
    pub key: Name<'a>,
    pub expires_at: Option<i64>,
    pub value: Value<'a>,
    pub evicted: Names<'a>,
}

pub fn read(args: Args<'_>) -> Result<Replaced<'_>> {
    let (Some(key), Some(value), Some(names)) = (args.get(1), args.get(2), args.get(3)) else {
        return Err(Error::SYNTAX);
    };
    let (expires_at, value) = decode_stored(value.bytes()).map_err(not_ours)?;
    let evicted = Names::unpack(names.bytes()).map_err(not_ours)?;
    Ok(Replaced { key, expires_at, value, evicted })
}
