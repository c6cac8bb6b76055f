//! The argument of `APIKEY.STORED`, in an AOF and in the stream: the bytes of a live record, or of a region's value,
//! behind its expiry.
//!
//! ```text
//! epoch milliseconds when it expires, 0 for never (8 bytes, the lower first) | the value's bytes
//! ```

use crate::cache::value::Cached;
use crate::codec::value::{decode, encode_cached_to, encode_record_to, BadBytes, Origin, Value};
use crate::record::layout::Record;

/// Appends what `APIKEY.STORED` says of a key: when its record expires (epoch milliseconds, 8 bytes with
/// the lower first; 0 is never), and the live record's bytes.
pub fn encode_stored(record: &Record, expires_at: Option<i64>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&expires_at.unwrap_or(NEVER).to_le_bytes());
    encode_record_to(record, false, bytes);
}

/// The same of a region's value.
pub fn encode_stored_value(cached: &Cached, expires_at: Option<i64>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&expires_at.unwrap_or(NEVER).to_le_bytes());
    encode_cached_to(cached, false, bytes);
}

/// Reads what [`encode_stored`] has appended.
pub fn decode_stored(bytes: &[u8]) -> Result<(Option<i64>, Value<'_>), BadBytes> {
    let Some((&time, value)) = bytes.split_first_chunk() else {
        return Err(BadBytes("too short"));
    };
    let expires_at = match i64::from_le_bytes(time) {
        NEVER => None,
        time if time > NEVER => Some(time),
        _ => return Err(BadBytes("no time")),
    };
    Ok((expires_at, decode(value, Origin::Server)?))
}

/// The time of what has no expiry.
const NEVER: i64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::value::tests::{cached, record};

    #[test]
    fn what_is_stored_comes_with_its_expiry() {
        for expires_at in [None, Some(1), Some(i64::MAX)] {
            let mut bytes = Vec::new();
            encode_stored(&record(), expires_at, &mut bytes);
            match decode_stored(&bytes) {
                Ok((at, Value::Record { record: decoded, dead: false })) => {
                    assert_eq!((at, decoded.bytes()), (expires_at, record().bytes()));
                }
                other => panic!("{other:?}"),
            }
            let mut bytes = Vec::new();
            encode_stored_value(&cached(), expires_at, &mut bytes);
            match decode_stored(&bytes) {
                Ok((at, Value::Cached { cached: decoded, dead: false })) => {
                    assert_eq!((at, decoded.bytes()), (expires_at, cached().bytes()));
                }
                other => panic!("{other:?}"),
            }
            let (time, value) = bytes.split_at(8);
            assert_eq!(decode_stored(&time[..7]).unwrap_err(), BadBytes("too short"));
            let negative = [&(-1_i64).to_le_bytes(), value].concat();
            assert_eq!(decode_stored(&negative).unwrap_err(), BadBytes("no time"));
        }
    }
}
