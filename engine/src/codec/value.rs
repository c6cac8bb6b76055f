//! The bytes of a value: in an RDB, in DUMP's payload, and as the argument of `APIKEY.APPLY` in an AOF
//! and in the replication stream; behind its expiry, as that of `APIKEY.STORED`. The only place that knows
//! bincode.
//!
//! ```text
//! kind (1 byte: 'r' record, 'a' absent, 's' scopes, 'l' list, 'u' usage) | version (1 byte) | bincode 2.0.1, standard configuration
//! ```
//!
//! The fields of each version, in their order (bincode's standard configuration: integers as varints
//! with the lower byte first, signed ones in zigzag; strings, byte strings and vectors behind their
//! length; arrays without one; a boolean is one byte):
//!
//! | kind, version | fields |
//! | --- | --- |
//! | `r` 1 | sanitised JSON (string), digests (vector of 32-byte arrays), namespace (bytes), the caller's tags (vector of bytes), dead (boolean); read, no longer written |
//! | `r` 2 | dead (boolean), and up to the end the record as it is laid out ([`crate::record::layout`]) |
//! | `a` 1 | the caller's tags (vector of bytes), dead (boolean) |
//! | `s` 1 | namespace, id, user_id (bytes), the caller's tags (vector of bytes), decisions, the oldest first (vector of: resource, action (bytes), allow (boolean), expires_at (signed)), dead (boolean) |
//! | `l` 1 | namespace, an empty id, user_id (bytes), the caller's tags (vector of bytes), sanitised records as a JSON array (string), dead (boolean) |
//! | `u` 1 | pending, total, first_used_at, last_used_at (signed): a counter of which nothing is leased |
//! | `u` 2 | those, and leases (vector of: batch id, line id (arrays of 16 bytes), count, leased_at, deadline (signed)) |
//!
//! Bytes come from RESTORE, so from anyone: what they ask to allocate is bounded by
//! [`MAX_ENCODED_BYTES`], nothing may be left over, and all that a record holds beside its JSON is
//! compared with what its JSON says, so that no bytes can say two things. What an RDB, an AOF or a
//! primary gives was written by a server of ours, or checked by one: of a record in it
//! ([`Origin::Server`]) only the lengths are checked. A later version reads the earlier ones; rules for
//! what is stored may be loosened, never tightened.

use crate::answers::decisions::{Decision, Decisions};
use crate::answers::list::{List, Records, MAX_LIST_BYTES};
use crate::entry::kind::Kind;
use crate::entry::label::{Label, Owner};
use crate::entry::tag_names::{MAX_CALLER_TAGS, MAX_NAMESPACE_BYTES, MAX_TAG_BYTES};
use crate::record::digest::Digest;
use crate::record::layout::Record;
use crate::record::sanitise::{Limits, Parts, MAX_STORED_BYTES};
use crate::usage::batches::Terms;
use crate::usage::counter::Counter;
use crate::usage::id::Id;
use crate::usage::lease::{Lease, Leases};
use bincode::{Decode, Encode};

/// The most bytes that a value's encoding may have.
pub const MAX_ENCODED_BYTES: usize =
    MAX_LIST_BYTES + MAX_CALLER_TAGS * (MAX_TAG_BYTES + 9) + MAX_NAMESPACE_BYTES + 1024;

/// A list is the largest value.
const _: () = assert!(MAX_STORED_BYTES <= MAX_LIST_BYTES);

const RECORD: u8 = b'r';
const ABSENT: u8 = b'a';
const SCOPES: u8 = b's';
const LIST: u8 = b'l';
const USAGE: u8 = b'u';
const VERSION: u8 = 1;

/// Of a counter with leases.
const LEASED_VERSION: u8 = 2;

/// A record as it is laid out.
const LAID_OUT_VERSION: u8 = 2;

/// Who gives the bytes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// An RDB, an AOF or a primary.
    Server,
    Anyone,
}

/// A value, decoded.
#[derive(Debug)]
pub enum Value<'a> {
    Record { record: Record<'a>, dead: bool },
    Scopes { decisions: Decisions, dead: bool },
    List { list: List, dead: bool },
    Usage(Counter, Leases),
}

/// The bytes are not those of a value: a sentence that quotes nothing of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBytes(pub &'static str);

#[derive(Decode)]
struct RecordIn {
    json: String,
    digests: Vec<Digest>,
    namespace: Vec<u8>,
    tags: Vec<Vec<u8>>,
    dead: bool,
}

type Numbers = (i64, i64, i64, i64);

/// Batch, line, count, leased_at, deadline.
type Line = ([u8; 16], [u8; 16], i64, i64, i64);

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_ENCODED_BYTES>()
}

fn encode(kind: u8, version: u8, body: impl Encode) -> Vec<u8> {
    let mut bytes = vec![kind, version];
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
    let mut bytes = Vec::new();
    encode_record_to(record, dead, &mut bytes);
    bytes
}

/// Appends what `APIKEY.STORED` says of a key: when its record expires (epoch milliseconds, 8 bytes with
/// the lower first; 0 is never), and the live record's bytes.
pub fn encode_stored(record: &Record, expires_at: Option<i64>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&expires_at.unwrap_or(NEVER).to_le_bytes());
    encode_record_to(record, false, bytes);
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

fn encode_record_to(record: &Record, dead: bool, bytes: &mut Vec<u8>) {
    if record.is_absent() {
        let tags = record.caller_tags().collect();
        bytes.extend(encode(ABSENT, VERSION, AbsentOut { tags, dead }));
        return;
    }
    bytes.reserve(3 + record.bytes().len());
    bytes.extend_from_slice(&[RECORD, LAID_OUT_VERSION, u8::from(dead)]);
    bytes.extend_from_slice(record.bytes());
}

/// Resource, action, allow, expires_at.
type DecisionIn = (Vec<u8>, Vec<u8>, bool, i64);

#[derive(Encode)]
struct ScopesOut<'a> {
    label: LabelOut<'a>,
    decisions: Vec<(&'a [u8], &'a [u8], bool, i64)>,
    dead: bool,
}

#[derive(Decode)]
struct ScopesIn {
    label: LabelIn,
    decisions: Vec<DecisionIn>,
    dead: bool,
}

#[derive(Encode)]
struct ListOut<'a> {
    label: LabelOut<'a>,
    json: &'a str,
    dead: bool,
}

#[derive(Decode)]
struct ListIn {
    label: LabelIn,
    json: String,
    dead: bool,
}

#[derive(Encode)]
struct LabelOut<'a> {
    namespace: &'a [u8],
    id: &'a [u8],
    user_id: &'a [u8],
    tags: Vec<&'a [u8]>,
}

impl<'a> LabelOut<'a> {
    fn of(label: &'a Label) -> Self {
        let Owner { namespace, id, user_id } = label.owner();
        Self { namespace, id, user_id, tags: label.caller_tags().collect() }
    }
}

#[derive(Decode)]
struct LabelIn {
    namespace: Vec<u8>,
    id: Vec<u8>,
    user_id: Vec<u8>,
    tags: Vec<Vec<u8>>,
}

impl LabelIn {
    fn label(&self, kind: Kind) -> Result<Label, BadBytes> {
        let Self { namespace, id, user_id, tags } = self;
        Label::new(kind, &Owner { namespace, id, user_id }, &slices(tags))
            .ok_or(BadBytes("namespace, ids or tags beyond their bounds"))
    }
}

pub fn encode_scopes(decisions: &Decisions, dead: bool) -> Vec<u8> {
    let all = decisions.iter().map(|d| (d.resource, d.action, d.allow, d.expires_at)).collect();
    let label = LabelOut::of(decisions.label());
    encode(SCOPES, VERSION, ScopesOut { label, decisions: all, dead })
}

pub fn encode_list(list: &List, dead: bool) -> Vec<u8> {
    let label = LabelOut::of(list.label());
    encode(LIST, VERSION, ListOut { label, json: list.json(), dead })
}

pub fn encode_usage(counter: &Counter, leases: &Leases) -> Vec<u8> {
    let numbers: Numbers =
        (counter.pending(), counter.total(), counter.first_used_at(), counter.last_used_at());
    if leases.is_empty() {
        return encode(USAGE, VERSION, numbers);
    }
    let line = |lease: &Lease| -> Line {
        let Terms { leased_at, deadline } = lease.terms;
        (lease.batch.to_bytes(), lease.line.to_bytes(), lease.count, leased_at, deadline)
    };
    let lines: Vec<Line> = leases.lines().iter().map(line).collect();
    encode(USAGE, LEASED_VERSION, (numbers, lines))
}

/// Reads a value from the bytes of any version.
pub fn decode(bytes: &[u8], origin: Origin) -> Result<Value<'_>, BadBytes> {
    let Some((&[kind, version], body)) = bytes.split_first_chunk() else {
        return Err(BadBytes("too short"));
    };
    match (kind, version) {
        (RECORD, VERSION) => decode_record(decode_body(body)?),
        (RECORD, LAID_OUT_VERSION) => decode_laid_out(body, origin),
        (ABSENT, VERSION) => {
            let AbsentIn { tags, dead } = decode_body(body)?;
            let record =
                Record::absent(&slices(&tags)).ok_or(BadBytes("tags beyond their bounds"))?;
            Ok(Value::Record { record, dead })
        }
        (SCOPES, VERSION) => decode_scopes(&decode_body(body)?),
        (LIST, VERSION) => decode_list(&decode_body(body)?),
        (USAGE, VERSION) => decode_usage(decode_body(body)?, Vec::new()),
        (USAGE, LEASED_VERSION) => {
            let (numbers, lines) = decode_body(body)?;
            decode_usage(numbers, lines)
        }
        (RECORD | ABSENT | SCOPES | LIST | USAGE, _) => {
            Err(BadBytes("written by a newer version of the module"))
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

fn decode_laid_out(body: &[u8], origin: Origin) -> Result<Value<'_>, BadBytes> {
    let Some((&dead @ (0 | 1), bytes)) = body.split_first() else {
        return Err(BadBytes("not the fields of its kind"));
    };
    let record = Record::read(bytes).ok_or(BadBytes("not a record's parts"))?;
    if origin == Origin::Anyone && !record.is_sound() {
        return Err(BadBytes("no record"));
    }
    Ok(Value::Record { record, dead: dead == 1 })
}

fn decode_record(input: RecordIn) -> Result<Value<'static>, BadBytes> {
    let parts = Parts::sanitise(input.json.as_bytes(), &Limits::STORED)
        .map_err(|_| BadBytes("no record"))?;
    let record = Record::new(&parts, &input.digests, &input.namespace, &slices(&input.tags))
        .ok_or(BadBytes("digests, namespace or tags beyond their bounds"))?;
    Ok(Value::Record { record, dead: input.dead })
}

fn decode_scopes(input: &ScopesIn) -> Result<Value<'static>, BadBytes> {
    // Each of them is of one key.
    if input.label.id.is_empty() {
        return Err(BadBytes("namespace, ids or tags beyond their bounds"));
    }
    let label = input.label.label(Kind::Scopes)?;
    let all: Vec<Decision> = input
        .decisions
        .iter()
        .map(|(resource, action, allow, expires_at)| Decision {
            resource,
            action,
            allow: *allow,
            expires_at: *expires_at,
        })
        .collect();
    Decisions::new(label, &all)
        .map(|decisions| Value::Scopes { decisions, dead: input.dead })
        .ok_or(BadBytes("decisions that no key has"))
}

fn decode_list(input: &ListIn) -> Result<Value<'static>, BadBytes> {
    // None is of one key alone.
    if !input.label.id.is_empty() {
        return Err(BadBytes("namespace, ids or tags beyond their bounds"));
    }
    let label = input.label.label(Kind::List)?;
    let records = Records::sanitise(input.json.as_bytes(), &Limits::STORED)
        .map_err(|_| BadBytes("no records"))?;
    Ok(Value::List { list: List::new(label, records), dead: input.dead })
}

fn slices(tags: &[Vec<u8>]) -> Vec<&[u8]> {
    tags.iter().map(Vec::as_slice).collect()
}

fn decode_usage(numbers: Numbers, lines: Vec<Line>) -> Result<Value<'static>, BadBytes> {
    let (pending, total, first, last) = numbers;
    let counter = Counter::from_parts(pending, total, first, last)
        .ok_or(BadBytes("numbers that no counter has"))?;
    let lease = |(batch, line, count, leased_at, deadline): Line| {
        let (batch, line) = (Id::from_bytes(batch)?, Id::from_bytes(line)?);
        Some(Lease { batch, line, count, terms: Terms { leased_at, deadline } })
    };
    let lines: Option<Vec<Lease>> = lines.into_iter().map(lease).collect();
    lines
        .and_then(|lines| Leases::from_parts(&counter, lines))
        .map(|leases| Value::Usage(counter, leases))
        .ok_or(BadBytes("leases that no counter has"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::kind::Entry;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Result<Value<'_>, BadBytes> {
        super::decode(bytes, Origin::Anyone)
    }

    const JSON: &str = r#"{"id":"k","user_id":"u","is_active":true,"scopes":["a:*"]}"#;

    fn record() -> Record<'static> {
        let parts = Parts::sanitise(JSON.as_bytes(), &Limits::STORED).unwrap();
        Record::new(&parts, &[[1; 32], [2; 32]], b"acme:", &[b"x", b"\0\xff"]).unwrap()
    }

    fn decisions() -> Decisions {
        let owner = Owner { namespace: b"acme:", id: b"k", user_id: b"u" };
        let label = Label::new(Kind::Scopes, &owner, &[b"x"]).unwrap();
        let decision =
            |resource, action, allow, expires_at| Decision { resource, action, allow, expires_at };
        let all = [decision(b"users", b"read", true, 3), decision(b"r", b"a", false, 70_000)];
        Decisions::new(label, &all).unwrap()
    }

    fn list() -> List {
        let owner = Owner { namespace: b"", id: b"", user_id: b"u" };
        let records = Records::sanitise(format!("[{JSON}]").as_bytes(), &Limits::STORED).unwrap();
        List::new(Label::new(Kind::List, &owner, &[b"x"]).unwrap(), records)
    }

    fn counter() -> Counter {
        Counter::from_parts(1, 300, 70_000, 1 << 40).unwrap()
    }

    const TERMS: Terms = Terms { leased_at: 3, deadline: 70_000 };

    fn line(batch: u8, count: i64) -> Lease {
        let id = |byte| Id::from_bytes([byte; 16]).unwrap();
        Lease { batch: id(batch), line: id(9), count, terms: TERMS }
    }

    fn leases(lines: &[Lease]) -> Leases {
        Leases::from_parts(&counter(), lines.to_vec()).unwrap()
    }

    /// What is written, byte by byte: never to be changed.
    #[test]
    fn the_bytes_of_each_version_stay_what_they_are() {
        let scopes = b"t\x03\0a:*";
        let fields = b"\x01\x01k\x11\x01u\x52\x40\x07[\"a:*\"]";
        let mut expected = b"r\x02\x01".to_vec();
        expected.extend_from_slice(&i64::MAX.to_le_bytes());
        for number in [JSON.len(), fields.len(), scopes.len()] {
            expected.extend_from_slice(&(number as u32).to_le_bytes());
        }
        expected.extend_from_slice(b"\0\0\x02\x05\x02\x01");
        expected.extend_from_slice(&[[1; 32], [2; 32]].concat());
        expected.extend_from_slice(scopes);
        expected.extend_from_slice(fields);
        expected.extend_from_slice(b"acme:\x01\0x\x02\0\0\xff");
        assert_eq!(encode_record(&record(), true), expected);
        let absent = Record::absent(&[b"x", b"\0\xff"]).unwrap();
        assert_eq!(encode_record(&absent, false), b"a\x01\x02\x01x\x02\0\xff\0");
        assert_eq!(
            encode_scopes(&decisions(), true),
            b"s\x01\x05acme:\x01k\x01u\x01\x01x\x02\x05users\x04read\x01\x06\x01r\x01a\0\xfc\xe0\x22\x02\0\x01"
        );
        let expected = [&b"l\x01\0\0\x01u\x01\x01x\x3c["[..], JSON.as_bytes(), b"]\0"].concat();
        assert_eq!(encode_list(&list(), false), expected);
        let numbers =
            [&b"\x02\xfb\x58\x02\xfc\xe0\x22\x02\x00\xfd"[..], &(2u64 << 40).to_le_bytes()]
                .concat();
        assert_eq!(encode_usage(&counter(), Leases::NONE), [b"u\x01", &numbers[..]].concat());
        let lines = [&[1; 16][..], &[9; 16], b"\x14\x06\xfc\xe0\x22\x02\x00"].concat();
        assert_eq!(
            encode_usage(&counter(), &leases(&[line(1, 10)])),
            [b"u\x02", &numbers[..], b"\x01", &lines].concat()
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
            assert_eq!(decoded.json().as_slice(), JSON.as_bytes());
            assert!(decoded.grants(b"a:b"));
            assert_eq!(encode_record(&decoded, dead), bytes);
        }
        let absent = encode_record(&Record::absent(&[b"x"]).unwrap(), true);
        let Ok(Value::Record { record, dead: true }) = decode(&absent) else { panic!("no absent") };
        assert!(record.is_absent());
        assert_eq!(encode_record(&record, true), absent);
        let scopes = encode_scopes(&decisions(), true);
        let Ok(Value::Scopes { decisions, dead: true }) = decode(&scopes) else { panic!("none") };
        assert_eq!(decisions.check(b"users", b"read", 2), Some(true));
        assert_eq!(encode_scopes(&decisions, true), scopes);
        let bytes = encode_list(&list(), true);
        let Ok(Value::List { list, dead: true }) = decode(&bytes) else { panic!("no list") };
        assert!(list.page(0, 9).eq([JSON.as_bytes()]));
        assert_eq!(encode_list(&list, true), bytes);
        for leases in [Leases::default(), leases(&[line(1, 10), line(2, 289)])] {
            let bytes = encode_usage(&counter(), &leases);
            assert!(matches!(
                decode(&bytes), Ok(Value::Usage(c, l)) if c == counter() && l == leases
            ));
        }
    }

    #[test]
    fn records_of_version_1_are_read() {
        let mut bytes = b"r\x01".to_vec();
        bytes.push(JSON.len() as u8);
        bytes.extend_from_slice(JSON.as_bytes());
        bytes.push(2);
        bytes.extend_from_slice(&[[1; 32], [2; 32]].concat());
        bytes.extend_from_slice(b"\x05acme:\x02\x01x\x02\0\xff\x01");
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "the first {len} bytes");
        }
        let Ok(Value::Record { record: decoded, dead: true }) = decode(&bytes) else {
            panic!("no record")
        };
        assert_eq!(decoded.bytes(), record().bytes());
        bytes.push(0);
        assert_eq!(decode(&bytes).unwrap_err(), BadBytes("too long"));
    }

    #[test]
    fn a_record_that_says_two_things_is_refused_from_anyone() {
        let good = encode_record(&record(), false);
        let mut refused = 0;
        for at in 3..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            match decode(&bytes) {
                // What no other part says: digests, namespace, tags, and what JSON leaves free.
                Ok(Value::Record { record, .. }) => assert_eq!(record.bytes(), &bytes[3..]),
                Ok(other) => panic!("{other:?}"),
                Err(_) => refused += 1,
            }
            // A server's are bounded all the same.
            if let Ok(Value::Record { record, .. }) = super::decode(&bytes, Origin::Server) {
                assert_eq!(record.bytes(), &bytes[3..]);
                let _ = (record.json(), record.grants(b"a:b"));
            }
        }
        // The header without its digests, and lengths and forms of scopes, fields and tags.
        assert!(refused >= 26, "{refused}");
        assert!(super::decode(&good, Origin::Server).is_ok());
    }

    /// A byte of packed fields can stand for twenty of JSON: nobody is to be made write those, or to
    /// hold more than the largest record.
    #[test]
    fn what_a_record_says_of_its_length_bounds_what_is_made_of_it() {
        let of = |scopes: usize, fields: &[u8]| {
            let mut bytes = b"r\x02\0".to_vec();
            bytes.extend_from_slice(&i64::MAX.to_le_bytes());
            for number in [100, fields.len(), scopes] {
                bytes.extend_from_slice(&(number as u32).to_le_bytes());
            }
            bytes.extend_from_slice(b"\0\0\0\0\0\x01");
            bytes.extend_from_slice(&vec![b't'; scopes]);
            bytes.extend_from_slice(fields);
            bytes
        };
        let most = MAX_STORED_BYTES + 1024;
        for bytes in [of(0, &vec![0x73; most]), of(most, b"")] {
            for origin in [Origin::Server, Origin::Anyone] {
                let error = super::decode(&bytes, origin).unwrap_err();
                assert_eq!(error, BadBytes("not a record's parts"));
            }
        }
        // As many as there may be: of twenty times the JSON that it says.
        let bytes = of(0, &vec![0x73; MAX_STORED_BYTES]);
        assert!(super::decode(&bytes, Origin::Server).is_ok());
        assert_eq!(decode(&bytes).unwrap_err(), BadBytes("no record"));
    }

    #[test]
    fn the_largest_record_is_decoded() {
        // Fields of the least JSON are the ones that take more when they are packed.
        let fields: String = (0..37).map(|n| format!(",\"{n}\":1")).collect();
        let begin = format!(r#"{{"id":1,"user_id":1,"is_active":true{fields},"scopes":["#);
        let scopes = vec!["\"\""; (MAX_STORED_BYTES - begin.len() - 2) / 3].join(",");
        for json in
            [format!("{begin}{scopes}]}}"), format!("{begin}\"{}\"]}}", "x".repeat(1000)), {
                let begin = begin.replace(",\"scopes\":[", ",\"name\":\"");
                let name = "x".repeat(MAX_STORED_BYTES - begin.len() - 2);
                format!("{begin}{name}\"}}")
            }]
        {
            let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
            let record = Record::new(&parts, &[], b"", &[]).unwrap();
            let bytes = encode_record(&record, false);
            for origin in [Origin::Server, Origin::Anyone] {
                assert!(super::decode(&bytes, origin).is_ok());
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = encode_record(&record(), false);
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_err(), "the first {len} bytes");
            assert!(super::decode(&good[..len], Origin::Server).is_err(), "the first {len} bytes");
        }
        let long = [&good[..], b"\0"].concat();
        assert_eq!(decode(&long).unwrap_err(), BadBytes("not a record's parts"));
        assert_eq!(decode(b"x\x01").unwrap_err(), BadBytes("unknown kind"));
        for newer in [b"u\x03", b"r\x03", b"s\x02", b"l\x02", b"u\0"] {
            let error = BadBytes("written by a newer version of the module");
            assert_eq!(decode(newer).unwrap_err(), error);
        }
        let negative = encode(USAGE, VERSION, (-1i64, 0i64, 0i64, 0i64));
        assert_eq!(decode(&negative).unwrap_err(), BadBytes("numbers that no counter has"));
        let numbers: Numbers = (1, 300, 70_000, 1 << 40);
        let good: Line = ([1; 16], [9; 16], 10, 3, 70_000);
        let leased =
            |lines: Vec<Line>| decode(&encode(USAGE, LEASED_VERSION, (numbers, lines))).map(drop);
        assert!(leased(vec![good]).is_ok());
        for bad in [
            vec![([0; 16], good.1, 10, 3, 4)],
            vec![(good.0, [0; 16], 10, 3, 4)],
            vec![(good.0, good.1, 0, 3, 4)],
            vec![(good.0, good.1, 300, 3, 4)],
            vec![(good.0, good.1, 10, -1, 4)],
            vec![(good.0, good.1, 10, 3, -1)],
            vec![good, good],
        ] {
            assert_eq!(leased(bad).unwrap_err(), BadBytes("leases that no counter has"));
        }
        let label = || LabelOut { namespace: b"", id: b"k", user_id: b"u", tags: vec![] };
        let scopes = |label, decisions| {
            decode(&encode(SCOPES, VERSION, ScopesOut { label, decisions, dead: false })).map(drop)
        };
        let (one, long): (_, &[u8]) = ((&b"r"[..], &b"a"[..], true, 1), &[b'x'; 129]);
        assert!(scopes(label(), vec![one]).is_ok());
        for bad in [vec![], vec![one, one], vec![(b"", b"a", true, 1)], vec![(b"r", long, true, 1)]]
        {
            let error = BadBytes("decisions that no key has");
            assert_eq!(scopes(label(), bad).unwrap_err(), error);
        }
        for bad in [
            LabelOut { id: b"", ..label() },
            LabelOut { user_id: b"", ..label() },
            LabelOut { id: long, ..label() },
            LabelOut { tags: vec![b""], ..label() },
        ] {
            let error = BadBytes("namespace, ids or tags beyond their bounds");
            assert_eq!(scopes(bad, vec![one]).unwrap_err(), error);
        }
        let huge = b"s\x01\0\x01k\x01u\0\xfd\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert_eq!(decode(huge).unwrap_err(), BadBytes("not the fields of its kind"));
        let list = |label, json| {
            decode(&encode(LIST, VERSION, ListOut { label, json, dead: false })).map(drop)
        };
        let of_user = || LabelOut { id: b"", ..label() };
        assert!(list(of_user(), "[]").is_ok());
        assert!(list(label(), "[]").is_err(), "it is of one key");
        for json in ["", "{}", "[{}]", "[1]"] {
            assert_eq!(list(of_user(), json).unwrap_err(), BadBytes("no records"));
        }
        let huge = b"u\x02\0\0\0\0\xfd\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert_eq!(decode(huge).unwrap_err(), BadBytes("not the fields of its kind"));
        let huge = b"r\x01\xfd\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert_eq!(decode(huge).unwrap_err(), BadBytes("not the fields of its kind"));
    }

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
            let (time, value) = bytes.split_at(8);
            assert_eq!(decode_stored(&time[..7]).unwrap_err(), BadBytes("too short"));
            let negative = [&(-1_i64).to_le_bytes(), value].concat();
            assert_eq!(decode_stored(&negative).unwrap_err(), BadBytes("no time"));
        }
    }

    proptest! {
        #[test]
        fn random_and_mutated_bytes_are_never_more_than_an_error(
            noise in proptest::collection::vec(any::<u8>(), 0..100),
            at in 0usize..150, byte: u8,
        ) {
            let _ = decode(&noise);
            let laid_out = [b"r\x02\0", noise.as_slice()].concat();
            for origin in [Origin::Server, Origin::Anyone] {
                let _ = super::decode(&laid_out, origin);
            }
            let counter = encode_usage(&counter(), &leases(&[line(1, 10), line(2, 20)]));
            let scopes = encode_scopes(&decisions(), false);
            let list = encode_list(&list(), false);
            for mut bytes in [encode_record(&record(), false), scopes, list, counter] {
                let at = at % bytes.len();
                bytes[at] = byte;
                let _ = decode(&bytes);
                if let Ok(Value::Record { record, .. }) = super::decode(&bytes, Origin::Server) {
                    let _ = (record.json(), record.grants(b"a:b"), record.is_sound());
                    record.each_tag(&mut |_| {});
                }
            }
        }
    }
}
