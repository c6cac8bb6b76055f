//! STREAM: `version`. The version of all words from here on ([`apikey_engine::codec::version`]).
//!
//! A primary says it whenever a replica begins to follow it, by a partial resync too, where there is no RDB that
//! would have said it. An AOF has no need of it: a word that it has and the module has not ends the load.

use super::send::note;
use apikey_engine::codec::version::VERSION;
use host::command::grammar::integer;
use host::server::avoids_replica_traffic;
use host::{Args, Ctx, Error, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.stream";

/// How long a primary waits that may say nothing now.
const WAIT_MS: i64 = 100;

/// Says it to all replicas, as soon as the server has done what it is at.
pub fn announce(ctx: &mut Ctx) {
    ctx.after(0, announce_now);
}

fn announce_now(ctx: &mut Ctx) {
    if ctx.is_any_replica() {
        return;
    }
    if avoids_replica_traffic(ctx.lock()) {
        ctx.after(WAIT_MS, announce_now);
    } else {
        write(ctx, VERSION.into());
    }
}

/// Says it.
pub fn write(ctx: &mut Ctx, version: i64) {
    let outcome = ctx.replicate_to_replicas(NAME, &[version.to_string().as_bytes()]);
    note(ctx, NAME, outcome);
}

pub fn read(args: Args) -> Result<i64> {
    integer(args.get(1).ok_or(Error::SYNTAX)?, "version", 0, i64::MAX)
}
