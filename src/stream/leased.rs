//! LEASED: `batch leased-at deadline [key line ...]`. A batch that was given out: for the first time with its
//! lines, later with its new deadline alone. Where a LEASE has made several, they are one word: a line of
//! another batch than the first has that batch's id before its own.

use super::send::send;
use apikey_engine::usage::batches::Terms;
use apikey_engine::usage::id::Id;
use host::command::grammar::integer;
use host::{Args, Ctx, Error, Name, Result, Text};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.usage.leased";

/// The position of the first key.
pub const FIRST_KEY: usize = 4;

/// Says so; each line with its batch.
pub fn write<'l>(
    ctx: &mut Ctx,
    first: Id,
    Terms { leased_at, deadline }: Terms,
    lines: impl Iterator<Item = (Id, Name<'l>, Id)>,
) {
    let head = [first.to_hex(), leased_at.to_string(), deadline.to_string()];
    let head = head.map(|word| Text::new(word.as_bytes()));
    let line = |(batch, key, line): (Id, Name<'l>, Id)| {
        let other = if batch == first { String::new() } else { batch.to_hex() };
        (key, Text::new((other + &line.to_hex()).as_bytes()))
    };
    let lines: Vec<(Name, Text)> = lines.map(line).collect();
    let lines = lines.iter().flat_map(|(key, ids)| [*key, ids.name()]);
    let words: Vec<Name> = head.iter().map(Text::name).chain(lines).collect();
    send(ctx, NAME, &words, &[]);
}

/// What a LEASED says.
pub struct Leased<'a> {
    pub batch: Id,
    pub terms: Terms,
    /// Each with its batch.
    pub lines: Vec<(Id, Name<'a>, Id)>,
}

pub fn read(args: Args<'_>) -> Result<Leased<'_>> {
    let (Some(batch), Some(leased_at), Some(deadline)) = (args.get(1), args.get(2), args.get(3))
    else {
        return Err(Error::SYNTAX);
    };
    let batch = id(batch.bytes(), "batch")?;
    let line = |position| {
        let (Some(key), Some(ids)) = (args.get(position), args.get(position + 1)) else {
            return Err(Error::SYNTAX);
        };
        match ids.bytes().split_at_checked(ID_DIGITS) {
            Some((other, line @ [_, ..])) => Ok((id(other, "batch")?, key, id(line, "line")?)),
            _ => Ok((batch, key, id(ids.bytes(), "line")?)),
        }
    };
    let lines = (FIRST_KEY..args.len()).step_by(2).map(line).collect::<Result<_>>()?;
    let terms = Terms {
        leased_at: integer(leased_at, "leased-at", 0, i64::MAX)?,
        deadline: integer(deadline, "deadline", 0, i64::MAX)?,
    };
    Ok(Leased { batch, terms, lines })
}

/// The digits of an id.
const ID_DIGITS: usize = 32;

/// The id of a batch or of a line.
pub fn id(text: &[u8], what: &str) -> Result<Id> {
    Id::parse(text).ok_or_else(|| {
        Error::err(format_args!("{what} must be an id that apikey.usage.lease gave: 32 hex digits"))
    })
}
