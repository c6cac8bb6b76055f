//! KILLED: `numtags tag [tag ...] [key ...]`. Tags that were invalidated, and the keys that were removed with
//! them.

use super::send::send;
use apikey_engine::entry::tag_names::MAX_ANY_TAG_BYTES;
use host::command::grammar;
use host::{Args, Ctx, Error, Name, Result, Text};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.killed";

/// Says so.
pub fn write(ctx: &mut Ctx, tags: &[Name], gone: &[Text]) {
    let count = Text::new(tags.len().to_string().as_bytes());
    let mut names = vec![count.name()];
    names.extend(tags);
    names.extend(gone.iter().map(Text::name));
    send(ctx, NAME, &names, &[]);
}

/// The tags, and the keys.
pub fn read(args: Args<'_>) -> Result<(Vec<Name<'_>>, impl Iterator<Item = Name<'_>>)> {
    let Some(count) = args.get(1) else { return Err(Error::SYNTAX) };
    let most = i64::try_from(args.len()).unwrap_or(i64::MAX).saturating_sub(2);
    let count = grammar::integer(count, "numtags", 1, most)?;
    let count = usize::try_from(count).unwrap_or(0);
    let tags: Vec<Name> = args.from(2).take(count).collect();
    for &tag in &tags {
        grammar::bytes(tag, "a tag", 1, MAX_ANY_TAG_BYTES)?;
    }
    Ok((tags, args.from(2 + count)))
}
