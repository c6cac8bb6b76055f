//! LEASED: `batch leased-at deadline [key line ...]`. A batch that was given out: for the first time with its
//! lines, later with its new deadline alone.

use super::send::send;
use apikey_engine::usage::batches::Terms;
use apikey_engine::usage::id::Id;
use host::command::grammar::integer;
use host::{Args, Ctx, Error, Name, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.usage.leased";

/// The position of the first key.
pub const FIRST_KEY: usize = 4;

/// Says so.
pub fn write<'l>(
    ctx: &mut Ctx,
    batch: Id,
    Terms { leased_at, deadline }: Terms,
    lines: impl Iterator<Item = (&'l [u8], Id)>,
) {
    let head = [batch.to_hex(), leased_at.to_string(), deadline.to_string()];
    let lines: Vec<(&[u8], String)> = lines.map(|(key, line)| (key, line.to_hex())).collect();
    let lines = lines.iter().flat_map(|(key, line)| [*key, line.as_bytes()]);
    let words: Vec<&[u8]> = head.iter().map(String::as_bytes).chain(lines).collect();
    send(ctx, NAME, &[], &words);
}

/// What a LEASED says.
pub struct Leased<'a> {
    pub batch: Id,
    pub terms: Terms,
    pub lines: Vec<(Name<'a>, Id)>,
}

pub fn read(args: Args<'_>) -> Result<Leased<'_>> {
    let (Some(batch), Some(leased_at), Some(deadline)) = (args.get(1), args.get(2), args.get(3))
    else {
        return Err(Error::SYNTAX);
    };
    let lines = (FIRST_KEY..args.len())
        .step_by(2)
        .map(|position| match (args.get(position), args.get(position + 1)) {
            (Some(key), Some(line)) => Ok((key, id(line, "line")?)),
            _ => Err(Error::SYNTAX),
        })
        .collect::<Result<_>>()?;
    let terms = Terms {
        leased_at: integer(leased_at, "leased-at", 0, i64::MAX)?,
        deadline: integer(deadline, "deadline", 0, i64::MAX)?,
    };
    Ok(Leased { batch: id(batch, "batch")?, terms, lines })
}

/// The id of a batch or of a line.
pub fn id(name: Name, what: &str) -> Result<Id> {
    Id::parse(name.bytes()).ok_or_else(|| {
        Error::err(format_args!("{what} must be an id that apikey.usage.lease gave: 32 hex digits"))
    })
}
