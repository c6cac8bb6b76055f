//! The floor of VALIDATE, and what fills it, and the floor of ADMIT.

use crate::call::{Call, Command, Result};
use std::ffi::CStr;

/// `FLOOR.SET key bytes [seconds]`
pub struct Set;

impl Command for Set {
    const NAME: &'static CStr = c"floor.set";
    const FLAGS: &'static CStr = c"write deny-oom";
    const LEAST: usize = 3;

    fn run(call: &Call) -> Result<()> {
        let seconds = if call.args() > 3 { Some(call.number(3)?) } else { None };
        let mut key = call.open_to_write(1);
        key.put(0, call.bytes(2))?;
        if let Some(seconds) = seconds {
            key.expire_in(seconds)?;
        }
        key.signal();
        call.ok();
        Ok(())
    }
}

/// `FLOOR.GET key [argument ...]`
pub struct Get;

impl Command for Get {
    const NAME: &'static CStr = c"floor.get";
    const FLAGS: &'static CStr = c"readonly fast";
    const LEAST: usize = 2;

    fn run(call: &Call) -> Result<()> {
        let key = call.open(1);
        let value = key.value()?;
        call.array(3);
        call.bulk(b"VALID");
        call.bulk(value.bytes());
        call.integer(-1);
        Ok(())
    }
}
