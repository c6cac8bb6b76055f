//! What the floor says in the stream in place of redis-apikey's words. Their names are as long as those, and the server
//! has to know them, or it would not replicate them; nothing applies them, since the benchmark's servers of the floor have
//! neither replicas nor an AOF.

use crate::call::{Call, Command, Result};
use std::ffi::CStr;

/// As long as `apikey.stored`.
pub struct Written;

/// As long as `apikey.usage.changed`.
pub struct Counted;

impl Command for Written {
    const NAME: &'static CStr = c"floor.written";
    const FLAGS: &'static CStr = c"write";
    const LEAST: usize = 1;

    fn run(_: &Call) -> Result<()> {
        Err(NOT_APPLIED)
    }
}

impl Command for Counted {
    const NAME: &'static CStr = c"floor.counter.change";
    const FLAGS: &'static CStr = c"write";
    const LEAST: usize = 1;

    fn run(_: &Call) -> Result<()> {
        Err(NOT_APPLIED)
    }
}

const NOT_APPLIED: &CStr = c"ERR a word of the stream, which the floor does not apply";
