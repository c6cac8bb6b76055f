//! Bytes of bincode: how they are written and read, and what is wrong with them. The only place that knows it.

use crate::answers::list::MAX_LIST_BYTES;
use crate::entry::tag_names::{MAX_ANY_TAG_BYTES, MAX_NAMESPACE_BYTES, MAX_OWN_TAGS};
use crate::record::sanitise::MAX_STORED_BYTES;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{Decode, Encode};

/// The most bytes that a value's encoding may have.
pub const MAX_ENCODED_BYTES: usize =
    MAX_LIST_BYTES + MAX_OWN_TAGS * (MAX_ANY_TAG_BYTES + 9) + MAX_NAMESPACE_BYTES + 1024;

/// A list is the largest value.
const _: () = assert!(MAX_STORED_BYTES <= MAX_LIST_BYTES);

/// The bytes are not those of a value: a sentence that quotes nothing of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBytes(pub &'static str);

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_ENCODED_BYTES>()
}

/// Appends the bytes of a value. Encoding into memory can't fail: all that is kept is far below the limit.
pub(super) fn write(value: impl Encode, into: &mut Vec<u8>) {
    struct Appended<'a>(&'a mut Vec<u8>);

    impl Writer for Appended<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    let before = into.len();
    if bincode::encode_into_writer(value, Appended(into), config()).is_err() {
        into.truncate(before);
    }
}

pub(super) fn read<T: Decode<()>>(body: &[u8]) -> Result<T, BadBytes> {
    match bincode::decode_from_slice(body, config()) {
        Ok((value, read)) if read == body.len() => Ok(value),
        Ok(_) => Err(BadBytes("too long")),
        Err(_) => Err(BadBytes("not the fields of its kind")),
    }
}
