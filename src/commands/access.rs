//! Who may do what by a tag: it has to match a key pattern of the caller's.
//!
//! Another module that calls in its own name may do all; of what is replayed the checks were made where its
//! caller was; and servers before 7.0 can't tell.

use crate::grammar;
use crate::settings;
use ahash::AHashSet;
use apikey_engine::entry::kind::Entry;
use host::caller::Access;
use host::{Args, Ctx, Error, Name, Result, Text};
use std::fmt::Display;

/// An error where the caller may not invalidate by one of the tags.
pub fn to_invalidate(ctx: &mut Ctx, tags: &[Name]) -> Result<()> {
    match ctx.user().and_then(|user| user.first_denied(ctx, Access::Write, tags)) {
        Some(number) => Err(denied(format_args!("invalidate tag {}", number + 1), "write")),
        None => Ok(()),
    }
}

/// An error where the caller may not look at what carries the tag.
pub fn to_read(ctx: &mut Ctx, tag: Name) -> Result<()> {
    match ctx.user().and_then(|user| user.first_denied(ctx, Access::Read, &[tag])) {
        Some(_) => Err(denied("read the tag", "read")),
        None => Ok(()),
    }
}

/// Which of the tags the caller may read by.
pub fn readable(ctx: &mut Ctx, tags: &[Name]) -> Vec<bool> {
    match ctx.user() {
        Some(user) => user.allowed(ctx, Access::Read, tags),
        None => vec![true; tags.len()],
    }
}

/// An error where what a pattern of names begins with is none of the caller's: others' fills would be refused for it.
pub fn to_invalidate_pattern(ctx: &mut Ctx, beginning: Name) -> Result<()> {
    match ctx.user().and_then(|user| user.first_denied(ctx, Access::Write, &[beginning])) {
        Some(_) => Err(denied("invalidate by the pattern, by what it begins with", "write")),
        None => Ok(()),
    }
}

/// The first argument: a tag whose name the caller may read keys of.
pub fn readable_tag<'a>(ctx: &mut Ctx, args: Args<'a>) -> Result<&'a [u8]> {
    let Some(tag) = args.get(1) else { return Err(Error::SYNTAX) };
    let name = grammar::tag(tag, "tag")?;
    to_read(ctx, tag)?;
    Ok(name)
}

/// Whether fills are [checked](to_store).
pub fn is_checked_to_store() -> bool {
    settings::CHECK_FILL_TAGS.get()
}

/// An error where fills are checked, and the caller may not write one of the tags that the entry will carry.
pub fn to_store(ctx: &mut Ctx, entry: &dyn Entry) -> Result<()> {
    match first_denied_of(ctx, [entry].into_iter()) {
        Some((_, tag)) => Err(denied(format_args!("store tag {tag}"), "write")),
        None => Ok(()),
    }
}

/// The same for many records.
pub fn to_store_all<'e>(ctx: &mut Ctx, entries: impl Iterator<Item = &'e dyn Entry>) -> Result<()> {
    match first_denied_of(ctx, entries) {
        Some((record, tag)) => {
            Err(denied(format_args!("store tag {tag} of record {record}"), "write"))
        }
        None => Ok(()),
    }
}

/// The first entry, and of that the first tag in the order of `APIKEY.TAGS`, that the caller may not write;
/// both counted from 1.
fn first_denied_of<'e>(
    ctx: &mut Ctx,
    entries: impl Iterator<Item = &'e dyn Entry>,
) -> Option<(usize, usize)> {
    if !is_checked_to_store() {
        return None;
    }
    let user = ctx.user()?;
    // Many records carry the same tags.
    let mut seen = AHashSet::new();
    let (mut tags, mut places) = (Vec::new(), Vec::new());
    for (record, entry) in (1..).zip(entries) {
        let mut number = 0;
        entry.each_tag(&mut |tag| {
            number += 1;
            if seen.insert(tag.to_vec()) {
                tags.push(Text::new(tag));
                places.push((record, number));
            }
        });
    }
    let names: Vec<Name> = tags.iter().map(Text::name).collect();
    places.get(user.first_denied(ctx, Access::Write, &names)?).copied()
}

fn denied(what: impl Display, permission: &str) -> Error {
    let why = format_args!("it has to match a key pattern with {permission} permission");
    Error::coded("NOPERM", format_args!("No permissions to {what}: {why}"))
}
