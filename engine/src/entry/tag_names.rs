//! Names of tags: the caller's, and those that entries carry by themselves; the bounds of what they are of.

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

/// What an automatic tag begins with, behind the namespace.
pub const ID: &str = "apikey:id:";
pub const USER: &str = "apikey:user:";
pub const KIND: &str = "apikey:kind:";

const _: () = assert!(MAX_NAMESPACE_BYTES + USER.len() + MAX_ID_BYTES <= MAX_ANY_TAG_BYTES);

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

/// The caller's tags that are to be kept: each once, and none that is automatic. `None` where one, or
/// their number, is beyond its bound.
pub(crate) fn own<'a>(caller_tags: &[&'a [u8]], automatic: &[Vec<u8>]) -> Option<Vec<&'a [u8]>> {
    if caller_tags.len() > MAX_CALLER_TAGS {
        return None;
    }
    let mut own: Vec<&[u8]> = Vec::with_capacity(caller_tags.len());
    for &tag in caller_tags {
        if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
            return None;
        }
        if !own.contains(&tag) && !automatic.iter().any(|other| other == tag) {
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
