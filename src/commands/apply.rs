//! APPLY: a value as it is, from an AOF or a primary. What the public commands can't say.

use crate::command::{must_be_replayed, Arg, Command, Keys, Spec, OVERWRITES};
use crate::error::{Error, Result};
use crate::events;
use crate::ffi::{self, Args, Ctx, Mode, Name};
use crate::keyspace::{self, OpenKey, Slot};
use crate::value::{EntryValue, RecordValue};
use apikey_engine::codec::{self, BadBytes, Origin, Value};
use std::ffi::CStr;

/// As it is written into AOFs and the replication stream.
pub const NAME: &CStr = c"apikey.apply";

pub struct Apply;

impl Command for Apply {
    const SPEC: Spec = Spec {
        name: NAME,
        alias: None,
        flags: "write",
        dangerous: true,
        secret: false,
        arity: 3,
        keys: Keys::One(OVERWRITES),
        summary: c"Internal: stores a value from an AOF or a primary. Refused from clients.",
        complexity: c"O(N) where N is the length of the value",
        tips: None,
        args: &[Arg::key(), Arg::string(c"value")],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        must_be_replayed(ctx, NAME)?;
        let (Some(name), Some(bytes)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        let value = codec::decode(bytes.bytes(), Origin::Server).map_err(not_ours)?;
        store(ctx, name, value, |key| key.expires_at())?;
        ctx.replicate_verbatim();
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

/// The error of a value that can't be decoded.
pub fn not_ours(bad: BadBytes) -> Error {
    Error::err(format_args!("value must be one of this module's: {}", bad.0))
}

/// Stores a value that was judged elsewhere, in place of what stands under the name.
pub fn store(
    ctx: Ctx,
    name: Name,
    value: Value,
    expiry: impl FnOnce(&OpenKey) -> Option<i64>,
) -> Result<()> {
    let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
    if matches!(key.slot(), Slot::Foreign) {
        return Err(Error::WRONG_TYPE);
    }
    let expires_at = expiry(&key);
    let come = events::comes_dead(ctx);
    let now = ffi::now();
    match value {
        Value::Record { record, dead } => {
            key.store_entry(RecordValue::of(&record, dead || come), expires_at, now)
        }
        Value::Scopes { decisions, dead } => {
            key.store_entry(EntryValue::new(decisions, dead || come), expires_at, now)
        }
        Value::List { list, dead } => {
            key.store_entry(EntryValue::new(list, dead || come), expires_at, now)
        }
        Value::Usage(counter, leases) => key.store_usage(counter, leases, expires_at),
    }
}
