//! DROPPED: all entries of all databases died, since the primary no longer trusts them.

use super::send::send;
use host::Ctx;
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.dropped";

/// Says so.
pub fn write(ctx: &mut Ctx) {
    send(ctx, NAME, &[], &[]);
}
