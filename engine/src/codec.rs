//! The bytes of a value: in an RDB, in DUMP's payload, and as the argument of `APIKEY.APPLY` in an AOF
//! and in the replication stream. The only place that knows bincode.
//!
//! ```text
//! kind (1 byte: 'r' record, 'a' absent, 'u' usage) | version (1 byte) | bincode 2.0.1, standard configuration
//! ```
//!
//! The fields of version 1, in their order (bincode's standard configuration: integers as varints
//! with the lower byte first, signed ones in zigzag; strings, byte strings and vectors behind their
//! length; arrays without one; a boolean is one byte):
//!
//! | kind | fields |
//! | --- | --- |
//! | `r` | sanitised JSON (string), digests (vector of 32-byte arrays), namespace (bytes), the caller's tags (vector of bytes), dead (boolean) |
//! | `a` | the caller's tags (vector of bytes), dead (boolean) |
//! | `u` | pending, total, first_used_at, last_used_at (signed) |
//!
//! Everything else that a record holds is read from its JSON again, so that no bytes can say two
//! things. Bytes come from backups and from RESTORE, so from anyone: what they ask to allocate is
//! bounded by [`MAX_ENCODED_BYTES`], and nothing may be left over. A later version reads the earlier
//! ones; rules for what is stored may be loosened, never tightened.

use crate::digest::Digest;
use crate::record::Record;
use crate::sanitise::{Limits, Parts, MAX_STORED_BYTES};
use crate::tags::{MAX_CALLER_TAGS, MAX_NAMESPACE_BYTES, MAX_TAG_BYTES};
use crate::usage::Counter;
use bincode::{Decode, Encode};

/// The most bytes that a value's encoding may have.
pub const MAX_ENCODED_BYTES: usize =
    MAX_STORED_BYTES + MAX_CALLER_TAGS * (MAX_TAG_BYTES + 9) + MAX_NAMESPACE_BYTES + 1024;

const RECORD: u8 = b'r';
const ABSENT: u8 = b'a';
const USAGE: u8 = b'u';
const VERSION: u8 = 1;

/// A value, decoded.
#[derive(Debug)]
pub enum Value {
    Record { record: Record, dead: bool },
    Usage(Counter),
}

/// The bytes are not those of a value: a sentence that quotes nothing of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBytes(pub &'static str);

#[derive(Encode)]
struct RecordOut<'a> {
    json: &'a str,
    digests: Vec<Digest>,
    namespace: &'a [u8],
    tags: Vec<&'a [u8]>,
    dead: bool,
}

#[derive(Decode)]
struct RecordIn {
    json: String,
    digests: Vec<Digest>,
    namespace: Vec<u8>,
    tags: Vec<Vec<u8>>,
    dead: bool,
}

type Numbers = (i64, i64, i64, i64);

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_ENCODED_BYTES>()
}

fn encode(kind: u8, body: impl Encode) -> Vec<u8> {
    let mut bytes = vec![kind, VERSION];
    // Encoding into memory can't fail: a record is far below the limit.
    bytes.extend(bincode::encode_to_vec(body, config()).unwrap_or_default());
    bytes
}

#[derive(Encode)]
struct AbsentOut<'a> {
    tags: Vec<&'a [u8]>,
    dead: bool,
}

#[derive(Decode)]
struct AbsentIn {
    tags: Vec<Vec<u8>>,
    dead: bool,
}

pub fn encode_record(record: &Record, dead: bool) -> Vec<u8> {
    let tags = record.caller_tags().collect();
    if record.is_absent() {
        return encode(ABSENT, AbsentOut { tags, dead });
    }
    encode(
        RECORD,
        RecordOut {
            json: std::str::from_utf8(record.json()).unwrap_or_default(),
            digests: record.digests().as_chunks().0.to_vec(),
            namespace: record.namespace(),
            tags,
            dead,
        },
    )
}

pub fn encode_usage(counter: &Counter) -> Vec<u8> {
    let numbers: Numbers =
        (counter.pending(), counter.total(), counter.first_used_at(), counter.last_used_at());
    encode(USAGE, numbers)
}

/// Reads a value from the bytes of any version.
pub fn decode(bytes: &[u8]) -> Result<Value, BadBytes> {
    let Some((&[kind, version], body)) = bytes.split_first_chunk() else {
        return Err(BadBytes("too short"));
    };
    if version != VERSION {
        return Err(BadBytes("written by a newer version of the module"));
    }
    match kind {
        RECORD => decode_record(decode_body(body)?),
        ABSENT => {
            let AbsentIn { tags, dead } = decode_body(body)?;
            let record =
                Record::absent(&slices(&tags)).ok_or(BadBytes("tags beyond their bounds"))?;
            Ok(Value::Record { record, dead })
        }
        USAGE => {
            let (pending, total, first, last) = decode_body::<Numbers>(body)?;
            Counter::from_parts(pending, total, first, last)
                .map(Value::Usage)
                .ok_or(BadBytes("numbers that no counter has"))
        }
        _ => Err(BadBytes("unknown kind")),
    }
}

fn decode_body<T: Decode<()>>(body: &[u8]) -> Result<T, BadBytes> {
    match bincode::decode_from_slice(body, config()) {
        Ok((value, read)) if read == body.len() => Ok(value),
        Ok(_) => Err(BadBytes("too long")),
        Err(_) => Err(BadBytes("not the fields of its kind")),
    }
}

fn decode_record(input: RecordIn) -> Result<Value, BadBytes> {
    let parts = Parts::sanitise(input.json.as_bytes(), &Limits::STORED)
        .map_err(|_| BadBytes("no record"))?;
    let record = Record::new(&parts, &input.digests, &input.namespace, &slices(&input.tags))
        .ok_or(BadBytes("digests, namespace or tags beyond their bounds"))?;
    Ok(Value::Record { record, dead: input.dead })
}

fn slices(tags: &[Vec<u8>]) -> Vec<&[u8]> {
    tags.iter().map(Vec::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JSON: &str = r#"{"id":"k","user_id":"u","is_active":true,"scopes":["a:*"]}"#;

    fn record() -> Record {
        let parts = Parts::sanitise(JSON.as_bytes(), &Limits::STORED).unwrap();
        Record::new(&parts, &[[1; 32], [2; 32]], b"acme:", &[b"x", b"\0\xff"]).unwrap()
    }

    fn counter() -> Counter {
        Counter::from_parts(1, 300, 70_000, 1 << 40).unwrap()
    }

    /// What version 1 writes, byte by byte: never to be changed.
    #[test]
    fn the_bytes_of_version_1_stay_what_they_are() {
        let mut expected = b"r\x01".to_vec();
        expected.push(JSON.len() as u8);
        expected.extend_from_slice(JSON.as_bytes());
        expected.push(2);
        expected.extend_from_slice(&[1; 32]);
        expected.extend_from_slice(&[2; 32]);
        expected.extend_from_slice(b"\x05acme:\x02\x01x\x02\0\xff\x01");
        assert_eq!(encode_record(&record(), true), expected);
        let absent = Record::absent(&[b"x", b"\0\xff"]).unwrap();
        assert_eq!(encode_record(&absent, false), b"a\x01\x02\x01x\x02\0\xff\0");
        assert_eq!(
            encode_usage(&counter()),
            [&b"u\x01\x02\xfb\x58\x02\xfc\xe0\x22\x02\x00\xfd"[..], &(2u64 << 40).to_le_bytes()]
                .concat()
        );
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        for dead in [false, true] {
            let bytes = encode_record(&record(), dead);
            let Ok(Value::Record { record: decoded, dead: was }) = decode(&bytes) else {
                panic!("no record")
            };
            assert_eq!(was, dead);
            assert_eq!(decoded.json(), JSON.as_bytes());
            assert!(decoded.grants(b"a:b"));
            assert_eq!(encode_record(&decoded, dead), bytes);
        }
        let absent = encode_record(&Record::absent(&[b"x"]).unwrap(), true);
        let Ok(Value::Record { record, dead: true }) = decode(&absent) else { panic!("no absent") };
        assert!(record.is_absent());
        assert_eq!(encode_record(&record, true), absent);
        assert!(matches!(decode(&encode_usage(&counter())), Ok(Value::Usage(c)) if c == counter()));
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = encode_record(&record(), false);
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_err(), "the first {len} bytes");
        }
        let long = [&good[..], b"\0"].concat();
        assert_eq!(decode(&long).unwrap_err(), BadBytes("too long"));
        assert_eq!(decode(b"x\x01").unwrap_err(), BadBytes("unknown kind"));
        assert_eq!(
            decode(b"u\x02").unwrap_err(),
            BadBytes("written by a newer version of the module")
        );
        let negative = encode(USAGE, (-1i64, 0i64, 0i64, 0i64));
        assert_eq!(decode(&negative).unwrap_err(), BadBytes("numbers that no counter has"));
        let huge = b"r\x01\xfd\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert_eq!(decode(huge).unwrap_err(), BadBytes("not the fields of its kind"));
    }

    proptest! {
        #[test]
        fn random_and_mutated_bytes_are_never_more_than_an_error(
            noise in proptest::collection::vec(any::<u8>(), 0..100),
            at in 0usize..150, byte: u8,
        ) {
            let _ = decode(&noise);
            let mut bytes = encode_record(&record(), false);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
