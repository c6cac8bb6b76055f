//! GONE: `names`. Dead entries that were taken away, by their names in one argument
//! ([`apikey_engine::codec::names`]): a server spends more on each argument than on what is in it.
//!
//! Not UNLINK, which `rename-command` can take away: replicas would keep every one of them for ever.

use super::send::{not_ours, send};
use apikey_engine::codec::names::{Names, PackedNames};
use host::{Args, Ctx, Error, Result, Text};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.gone";

/// Says so.
pub fn write(ctx: &mut Ctx, gone: &[Text]) {
    if !gone.is_empty() {
        let mut names = PackedNames::default();
        gone.iter().for_each(|name| names.push(name.name().bytes()));
        send(ctx, NAME, &[], &[names.bytes()]);
    }
}

/// The names.
pub fn read(args: Args<'_>) -> Result<Names<'_>> {
    let names = args.get(1).ok_or(Error::SYNTAX)?;
    Names::unpack(names.bytes()).map_err(not_ours)
}
