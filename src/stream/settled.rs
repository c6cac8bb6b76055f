//! SETTLED: `key batch [key batch ...]`. Lines that were settled, each of a counter and a batch: some of those that
//! an ACK has named.

use super::leased::id;
use super::send::send;
use apikey_engine::usage::id::Id;
use host::{Args, Ctx, Error, Name, Result, Text};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.usage.settled";

/// Says so.
pub fn write(ctx: &mut Ctx, lines: &[(Text, Id)]) {
    if lines.is_empty() {
        return;
    }
    let batches: Vec<Text> =
        lines.iter().map(|(_, batch)| Text::new(batch.to_hex().as_bytes())).collect();
    let words = lines.iter().zip(&batches).flat_map(|((key, _), batch)| [key.name(), batch.name()]);
    send(ctx, NAME, &words.collect::<Vec<Name>>(), &[]);
}

/// The lines.
pub fn read(args: Args<'_>) -> Result<Vec<(Name<'_>, Id)>> {
    (1..args.len())
        .step_by(2)
        .map(|position| match (args.get(position), args.get(position + 1)) {
            (Some(key), Some(batch)) => Ok((key, id(batch.bytes(), "batch")?)),
            _ => Err(Error::SYNTAX),
        })
        .collect()
}
