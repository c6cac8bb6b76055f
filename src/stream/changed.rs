//! USAGE.CHANGED: `key change [key change ...]`. What counters have become by a request that was admitted or settled, or by
//! credits: their counts, what was taken from limits, the request by its id; all in absolute terms.

use super::send::{not_ours, send, send_value};
use apikey_engine::codec::counter::decode_change;
use apikey_engine::usage::change::Change;
use host::{Args, Ctx, Error, Name, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.usage.changed";

/// Says so.
pub fn write(ctx: &mut Ctx, changes: &[(Name, Vec<u8>)]) {
    if let [(key, change)] = changes {
        return send_value(ctx, NAME, *key, change);
    }
    let words = changes.iter().flat_map(|(key, change)| [key.bytes(), change]);
    send(ctx, NAME, &[], &words.collect::<Vec<&[u8]>>());
}

/// Each counter, and what has changed.
pub fn read(args: Args<'_>) -> Result<Vec<(Name<'_>, Change)>> {
    (1..args.len())
        .step_by(2)
        .map(|position| match (args.get(position), args.get(position + 1)) {
            (Some(key), Some(bytes)) => Ok((key, decode_change(bytes.bytes()).map_err(not_ours)?)),
            _ => Err(Error::SYNTAX),
        })
        .collect()
}
