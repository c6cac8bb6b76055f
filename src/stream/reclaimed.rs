//! RECLAIMED: `key [key ...]`. Dead entries that were taken away; read, no longer written
//! ([`gone`](super::gone)).

use host::{Args, Name};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.reclaimed";

/// The keys.
pub fn read(args: Args<'_>) -> impl Iterator<Item = Name<'_>> {
    args.from(1)
}
