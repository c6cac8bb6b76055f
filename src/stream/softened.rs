//! SOFTENED: `tag [tag ...]`. Tags that were invalidated softly.

use super::send::send;
use apikey_engine::entry::tag_names::MAX_ANY_TAG_BYTES;
use host::command::grammar;
use host::{Args, Ctx, Name, Result};
use std::ffi::CStr;

pub const NAME: &CStr = c"apikey.softened";

/// Says so.
pub fn write(ctx: &mut Ctx, tags: &[Name]) {
    send(ctx, NAME, tags, &[]);
}

/// The tags.
pub fn read(args: Args<'_>) -> Result<Vec<Name<'_>>> {
    let tags: Vec<Name> = args.from(1).collect();
    for &tag in &tags {
        grammar::bytes(tag, "a tag", 1, MAX_ANY_TAG_BYTES)?;
    }
    Ok(tags)
}
