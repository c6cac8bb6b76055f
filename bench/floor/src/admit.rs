//! The floors of ADMIT, of an admission and of a refusal. Record and counter are values of the floor's own type: a record
//! holds what is replied, a counter as many bytes as the word that says what has become of it. Both are made by FLOOR.SET.

use crate::call::{Call, Command, Result};
use crate::words::Counted;
use redis_module::raw;
use std::ffi::{c_int, CStr};

const RECORD: usize = 1;
const COUNTER: usize = 3;
const KEYS: (c_int, c_int, c_int) = (RECORD as c_int, COUNTER as c_int, 2);
const FLAGS: &CStr = c"write deny-oom fast";

/// The limit that is told of, as the benchmark's records have it.
const NAME: &[u8] = b"second";
const BURST: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;

/// `FLOOR.ADMIT key numcounters counter [argument ...]`
pub struct Admit;

impl Command for Admit {
    const NAME: &'static CStr = c"floor.admit";
    const FLAGS: &'static CStr = FLAGS;
    const KEYS: (c_int, c_int, c_int) = KEYS;
    const LEAST: usize = 4;

    fn run(call: &Call) -> Result<()> {
        let record = call.open(RECORD);
        let value = record.value()?;
        // Where the counter is none, an error takes the place of the element that is missing.
        call.array(4);
        call.bulk(b"VALID");
        call.bulk(value.bytes());
        call.integer(record.left());
        drop(record);

        let mut counter = call.open_to_write(COUNTER);
        let bytes = counter.all_mut()?;
        let count = bytes.first_chunk_mut().ok_or(c"ERR no counter of eight bytes")?;
        let taken = i64::from_le_bytes(*count).saturating_add(1);
        *count = taken.to_le_bytes();
        counter.signal();
        call.replicate(Counted::NAME, COUNTER, counter.value()?.all)?;
        drop(counter);
        call.notify(raw::REDISMODULE_NOTIFY_MODULE, c"floor.admit", COUNTER);
        reply_limit(call, BURST.saturating_sub(taken), taken.saturating_mul(DAY_MS), 0);
        Ok(())
    }
}

/// `FLOOR.REFUSE key numcounters counter [argument ...]`
pub struct Refuse;

impl Command for Refuse {
    const NAME: &'static CStr = c"floor.refuse";
    const FLAGS: &'static CStr = FLAGS;
    const KEYS: (c_int, c_int, c_int) = KEYS;
    const LEAST: usize = 4;

    fn run(call: &Call) -> Result<()> {
        // Each is looked at: what stands there decides.
        call.open(RECORD).value()?;
        // To write, as for an admission: which of both it becomes is known when it is open.
        call.open_to_write(COUNTER).value()?;
        call.array(4);
        call.bulk(b"RATE_LIMITED");
        call.bulk(NAME);
        call.integer(DAY_MS);
        reply_limit(call, 0, BURST * DAY_MS, DAY_MS);
        Ok(())
    }
}

fn reply_limit(call: &Call, remaining: i64, reset_ms: i64, retry_ms: i64) {
    call.array(1);
    call.array(5);
    call.bulk(NAME);
    [BURST, remaining, reset_ms, retry_ms].into_iter().for_each(|number| call.integer(number));
}
