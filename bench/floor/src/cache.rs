//! The floors of CACHE.GET and CACHE.SET. Their values are of the floor's own type and no strings: a module that keeps
//! tags and times beside a value can't keep it in a string of the server's, which clients could change.

use crate::call::{Call, Command, Result};
use crate::words::Written;
use redis_module::raw;
use std::ffi::CStr;

/// Milliseconds since a value was stored, as a run of the benchmark has them.
const AGE: i64 = 100_000;

/// Bytes that APIKEY.STORED has before a value's: when it expires, its kind and the version, the header. Region and tags
/// follow.
const BEFORE: usize = 8 + 3 + 23;

/// The bytes that say how long a tag is.
const TAG_LENGTH: usize = 2;

/// `FLOOR.CACHE.GET key region`
pub struct Get;

impl Command for Get {
    const NAME: &'static CStr = c"floor.cache.get";
    const FLAGS: &'static CStr = c"readonly fast";
    const LEAST: usize = 3;

    fn run(call: &Call) -> Result<()> {
        let key = call.open(1);
        let value = key.value()?;
        let left = key.left();
        call.array(5);
        call.bulk(b"HIT");
        call.bulk(value.bytes());
        call.nil();
        call.integer(AGE);
        call.integer(left);
        Ok(())
    }
}

/// `FLOOR.CACHE.SET key region value EX seconds TAGS n tag [tag ...]`. Does not keep the value out of MONITOR and SLOWLOG,
/// as CACHE.SET does.
pub struct Set;

const EX: usize = 5;
const FIRST_TAG: usize = 8;

impl Command for Set {
    const NAME: &'static CStr = c"floor.cache.set";
    const FLAGS: &'static CStr = c"write deny-oom";
    const LEAST: usize = FIRST_TAG;

    fn run(call: &Call) -> Result<()> {
        let seconds = call.number(EX)?;
        let tags = (FIRST_TAG..call.args()).map(|at| TAG_LENGTH + call.bytes(at).len());
        let frame = BEFORE + call.bytes(2).len() + tags.sum::<usize>();
        let mut key = call.open_to_write(1);
        key.put(frame, call.bytes(3))?;
        key.expire_in(seconds)?;
        key.signal();
        // From where it is stored: the module has to write what it replicates, with the expiry, another time.
        call.replicate(Written::NAME, 1, key.value()?.all)?;
        drop(key);
        call.notify(raw::REDISMODULE_NOTIFY_MODULE, c"floor.set", 1);
        call.notify(raw::REDISMODULE_NOTIFY_GENERIC, c"expire", 1);
        call.ok();
        Ok(())
    }
}
