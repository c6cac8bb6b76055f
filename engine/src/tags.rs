//! Names of tags: the caller's, and those that every entry carries by itself.

/// The most bytes that a tag may have; the least is 1.
pub const MAX_TAG_BYTES: usize = 256;

/// The most bytes that a namespace may have; the least is 1. With it and an id of
/// [`crate::sanitise::MAX_ID_BYTES`] an automatic tag stays within [`MAX_TAG_BYTES`].
pub const MAX_NAMESPACE_BYTES: usize = 100;

/// The most tags of the caller's that any entry may carry, whatever `max-tags` says.
pub const MAX_CALLER_TAGS: usize = 64;

/// Automatic tags that a record has.
pub const OF_RECORD: usize = 3;

/// Calls `each` with the automatic tags of a record: by its id, by its user, by its kind, each
/// behind the namespace.
pub fn of_record(namespace: &[u8], id: &[u8], user_id: &[u8], each: &mut dyn FnMut(&[u8])) {
    let mut name = Vec::with_capacity(MAX_TAG_BYTES);
    for (prefix, value) in
        [("apikey:id:", id), ("apikey:user:", user_id), ("apikey:kind:", b"record".as_slice())]
    {
        name.clear();
        name.extend_from_slice(namespace);
        name.extend_from_slice(prefix.as_bytes());
        name.extend_from_slice(value);
        each(&name);
    }
}
