//! Names of tags: the caller's, and those that entries carry by themselves; the bounds of what they are of.

use crate::entry::kind::Kind;
use smallvec::SmallVec;

/// The most bytes that a tag of a caller's may have; the least is 1.
pub const MAX_TAG_BYTES: usize = 256;

/// The most bytes that any tag may have, an automatic one too.
pub const MAX_ANY_TAG_BYTES: usize = 512;

/// The most bytes that a namespace may have; the least is 1. With it and an id of [`MAX_ID_BYTES`] an
/// automatic tag stays within [`MAX_ANY_TAG_BYTES`].
pub const MAX_NAMESPACE_BYTES: usize = 100;

/// The most bytes that an `id` or a `user_id` may have; the least is 1.
pub const MAX_ID_BYTES: usize = 256;

/// The most tags of the caller's that any entry may carry, whatever `max-tags` says.
pub const MAX_CALLER_TAGS: usize = 64;

/// The most fields that `tag-fields` may name, and the most bytes of such a name.
pub const MAX_TAG_FIELDS: usize = 8;
pub const MAX_TAG_FIELD_BYTES: usize = 128;

/// The most tags of its records' fields that a list may carry.
pub const MAX_LIST_FIELD_TAGS: usize = 64;

/// The most tags that any entry may carry beside those of its ids and its kind.
pub const MAX_OWN_TAGS: usize = MAX_CALLER_TAGS + MAX_LIST_FIELD_TAGS;

/// The most tags, or keys, of one call of a client, and of one message of another node. Of more of them others would
/// wait too long, and too many of their fills be refused ([`crate::invalidation::fence`]).
pub const MAX_NAMES: usize = 1000;

/// What an automatic tag begins with, behind the namespace.
pub const ID: &str = "apikey:id:";
pub const USER: &str = "apikey:user:";
pub const KIND: &str = "apikey:kind:";

/// What the tag of a field begins with; the field's name and a colon follow.
pub const FIELD: &str = "apikey:";

const _: () = assert!(MAX_NAMESPACE_BYTES + USER.len() + MAX_ID_BYTES <= MAX_ANY_TAG_BYTES);
const _: () = assert!(
    MAX_NAMESPACE_BYTES + FIELD.len() + MAX_TAG_FIELD_BYTES + 1 + MAX_ID_BYTES <= MAX_ANY_TAG_BYTES
);

/// The most tags that an entry of a kind may carry beside those of its ids and its kind, and the most bytes of one.
/// Those of fields are among them, as they were when it was stored: the setting may say something else by now.
pub(crate) const fn own_bounds(kind: Kind) -> (usize, usize) {
    match kind {
        Kind::Record => (MAX_CALLER_TAGS + MAX_TAG_FIELDS, MAX_ANY_TAG_BYTES),
        Kind::List => (MAX_OWN_TAGS, MAX_ANY_TAG_BYTES),
        Kind::Scopes | Kind::Absent | Kind::Cached => (MAX_CALLER_TAGS, MAX_TAG_BYTES),
    }
}

/// Calls `each` with automatic tags: each the namespace, what it begins with, and its value.
pub fn each_automatic(namespace: &[u8], tags: &[(&str, &[u8])], each: &mut dyn FnMut(&[u8])) {
    let mut name = [0; MAX_ANY_TAG_BYTES];
    for (prefix, value) in tags {
        let mut end = 0;
        for part in [namespace, prefix.as_bytes(), value] {
            let Some(to) = name.get_mut(end..end + part.len()) else { return };
            to.copy_from_slice(part);
            end += part.len();
        }
        each(name.get(..end).unwrap_or_default());
    }
}

/// The tags that an entry of a kind is to carry beside those of its ids and its kind, which `automatic` are: each
/// once, and none of those. `None` where one, or their number, is [beyond its bound](own_bounds).
pub(crate) fn own<'a>(
    kind: Kind,
    tags: &[&'a [u8]],
    automatic: &[impl AsRef<[u8]>],
) -> Option<SmallVec<[&'a [u8]; 4]>> {
    let (most, most_bytes) = own_bounds(kind);
    if tags.len() > most {
        return None;
    }
    let mut own = SmallVec::new();
    for &tag in tags {
        if tag.is_empty() || tag.len() > most_bytes {
            return None;
        }
        if !own.contains(&tag) && !automatic.iter().any(|other| other.as_ref() == tag) {
            own.push(tag);
        }
    }
    Some(own)
}

/// How many bytes [`push`] appends.
pub(crate) fn stored_bytes(tags: &[&[u8]]) -> usize {
    tags.iter().map(|tag| 2 + tag.len()).sum()
}

/// Appends tags, each behind its length in two bytes.
pub(crate) fn push(tags: &[&[u8]], bytes: &mut Vec<u8>) -> Option<()> {
    for tag in tags {
        bytes.extend_from_slice(&u16::try_from(tag.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(tag);
    }
    Some(())
}

/// The first tags of what [`push`] has appended.
pub(crate) fn stored(mut bytes: &[u8], count: u8) -> impl Iterator<Item = &[u8]> {
    (0..count).map_while(move |_| {
        let (len, rest) = bytes.split_first_chunk()?;
        let (tag, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        bytes = rest;
        Some(tag)
    })
}
