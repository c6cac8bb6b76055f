//! RECLAIMED: `key [key ...]`. Dead entries that were taken away.
//!
//! Not UNLINK, which `rename-command` can take away: replicas would keep every one of them for ever.

use super::send::send;
use host::{Args, Ctx, Name, Text};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.reclaimed";

/// Says so.
pub fn write(ctx: &mut Ctx, gone: &[Text]) {
    if !gone.is_empty() {
        let names: Vec<_> = gone.iter().map(Text::name).collect();
        send(ctx, NAME, &names, &[]);
    }
}

/// The keys.
pub fn read(args: Args<'_>) -> impl Iterator<Item = Name<'_>> {
    args.from(1)
}
