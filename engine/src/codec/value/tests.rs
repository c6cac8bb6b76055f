//! The bytes of each version, one by one; what is read back, and what is refused.

use super::*;
use crate::cache::value::Parts as CachedParts;
use crate::database::catalog::Database;
use crate::database::items::Held;
use crate::entry::kind::Entry;
use crate::limits::account::Kept;
use crate::limits::level::Level;
use crate::limits::limit::Limit;
use crate::limits::requests::{Print, Request, Take};
use crate::record::sanitise::MAX_STORED_BYTES;
use crate::tags::fingerprint::Fingerprints;
use crate::tags::segments::Place;
use proptest::prelude::*;
use std::sync::Arc;

/// The bytes of a counter that keeps nothing beside its counts.
fn encode_counter(counter: &Counter, leases: &Leases) -> Vec<u8> {
    encode_usage(counter, leases, Account::NONE, 0)
}

fn decode(bytes: &[u8]) -> Result<Value<'_>, BadBytes> {
    super::decode(bytes, Origin::Anyone)
}

const JSON: &str = r#"{"id":"k","user_id":"u","is_active":true,"scopes":["a:*"]}"#;

pub(in crate::codec) fn record() -> Record<'static> {
    let parts = Parts::sanitise(JSON.as_bytes(), &Limits::STORED).unwrap();
    Record::new(&parts, &[[1; 32].into(), [2; 32].into()], b"acme:", &[b"x", b"\0\xff"]).unwrap()
}

/// The same, but the first digest ends.
pub(in crate::codec) fn ending() -> Record<'static> {
    let parts = Parts::sanitise(JSON.as_bytes(), &Limits::STORED).unwrap();
    let digests = [Accepted { digest: [1; 32], until: 7 }, [2; 32].into()];
    Record::new(&parts, &digests, b"acme:", &[b"x", b"\0\xff"]).unwrap()
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
    let (records, _) = Records::sanitise(format!("[{JSON}]").as_bytes(), &Limits::STORED).unwrap();
    List::new(Label::new(Kind::List, &owner, &[b"x"]).unwrap(), records)
}

pub(in crate::codec) fn cached() -> Cached<'static> {
    let parts = CachedParts {
        value: Some(b"{}"),
        region: b"products",
        namespace: b"acme:",
        label: b"json",
        stored_at: 70_000,
        grace: 300,
    };
    Cached::new(&parts, &[b"x", b"\0\xff"]).unwrap()
}

/// That the source has no such thing.
fn cached_absent() -> Cached<'static> {
    let parts = CachedParts {
        value: None,
        region: b"r",
        namespace: b"",
        label: b"",
        stored_at: 7,
        grace: 0,
    };
    Cached::new(&parts, &[]).unwrap()
}

fn counter() -> Counter {
    Counter::from_parts(1, 300, 70_000, 1 << 40).unwrap()
}

const TERMS: Terms = Terms { leased_at: 3, deadline: 70_000 };

fn line(batch: u8, count: i64) -> Lease {
    let id = |byte| Id::from_bytes([byte; 16]).unwrap();
    Lease { batch: id(batch), line: id(batch + 8), count, terms: TERMS }
}

fn leases(lines: &[Lease]) -> Leases {
    Leases::from_parts(&counter(), lines.to_vec()).unwrap()
}

/// What is written, byte by byte: never to be changed.
#[test]
fn the_bytes_of_each_version_stay_what_they_are() {
    let scopes = b"t\x03\0a:*";
    let fields = b"\x01\x01k\x11\x01u\x52\x40\x07[\"a:*\"]";
    let mut expected = b"r\x05\x01".to_vec();
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
    let ends = [7, i64::MAX].map(i64::to_le_bytes).concat();
    let state = 3 + 8 + 3 * 4 + 5;
    expected[state] |= 0b10_0000;
    let behind = state + 1 + 64;
    expected.splice(behind..behind, ends);
    assert_eq!(encode_record(&ending(), true), expected);
    let absent = Record::absent(b"acme:", &[b"x", b"\0\xff"]).unwrap();
    assert_eq!(encode_record(&absent, false), b"a\x02\x05acme:\x02\x01x\x02\0\xff\0");
    assert_eq!(
        encode_scopes(&decisions(), true),
        b"s\x01\x05acme:\x01k\x01u\x01\x01x\x02\x05users\x04read\x01\x06\x01r\x01a\0\xfc\xe0\x22\x02\0\x01"
    );
    let expected = [&b"l\x01\0\0\x01u\x01\x01x\x3c["[..], JSON.as_bytes(), b"]\0"].concat();
    assert_eq!(encode_list(&list(), false), expected);
    let mut expected = b"c\x01\0".to_vec();
    expected.extend_from_slice(&70_000_i64.to_le_bytes());
    expected.extend_from_slice(&300_i64.to_le_bytes());
    expected.extend_from_slice(b"\0\x08\x04\x05\x02\x07\0");
    expected.extend_from_slice(b"productsjsonacme:\x01\0x\x02\0\0\xff{}");
    assert_eq!(encode_cached(&cached(), false), expected);
    expected[3 + 16] = 2;
    assert_eq!(encode_cached(&cached().softened(), false), expected);
    let absent = [&b"c\x01\x01"[..], &7_i64.to_le_bytes(), &[0; 8], b"\x01\x01\0\0\0\0\0r"];
    assert_eq!(encode_cached(&cached_absent(), true), absent.concat());
    let numbers =
        [&b"\x02\xfb\x58\x02\xfc\xe0\x22\x02\x00\xfd"[..], &(2u64 << 40).to_le_bytes()].concat();
    assert_eq!(encode_counter(&counter(), Leases::NONE), [b"u\x01", &numbers[..]].concat());
    let lines = [&[1; 16][..], &[9; 16], b"\x14\x06\xfc\xe0\x22\x02\x00"].concat();
    assert_eq!(
        encode_counter(&counter(), &leases(&[line(1, 10)])),
        [b"u\x02", &numbers[..], b"\x01", &lines].concat()
    );
}

/// A record that has limits, and a counter that keeps what was taken from them.
#[test]
fn the_bytes_of_limits_stay_what_they_are() {
    let credits = b"\x02\x01c\x03\0\0\0";
    let json = format!(
        "{},\"limits\":{}}}",
        &JSON[..JSON.len() - 1],
        r#"[{"name":"c","credits":true,"cost":3,"counter":2}]"#
    );
    let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
    let record = Record::new(&parts, &[], b"", &[]).unwrap();
    let bytes = encode_record(&record, false);
    let state = 3 + 8 + 3 * 4 + 5;
    assert_eq!((&bytes[..3], bytes[state]), (&b"r\x05\0"[..], 0b100_0001));
    let limits = [&b"\x09\0\x02\x07"[..], credits].concat();
    assert!(bytes[state + 1..].starts_with(&limits), "{bytes:?}");
    for origin in [Origin::Server, Origin::Anyone] {
        let Ok(Value::Record { record, dead: false }) = super::decode(&bytes, origin) else {
            panic!("no record")
        };
        assert!(record.limits().eq([(2, &credits[..])]));
    }
    let limit = Arc::new(Limit::read(credits).unwrap());
    let level = Level { amount: 5, at: 70_000 };
    let kept = Kept { limit: Arc::clone(&limit), level };
    let take = Take { limit, units: 3, after: 5 };
    let request = Request { takes: [take].into(), ..Request::plain(Print([9; 16]), 70_000, 1) };
    let account = Account::from_parts(vec![kept], vec![request]).unwrap();
    let counter = Counter::from_parts(-1, 300, 7, 8).unwrap();
    let of = |account: &Account| encode_usage(&counter, Leases::NONE, account, 70_000);
    const AT: &[u8] = b"\xfc\xe0\x22\x02\0";
    let numbers = b"u\x03\x01\xfb\x58\x02\x0e\x10\0";
    let limits = [&b"\x01\x07"[..], credits].concat();
    let levels = [b"\x01\0\x0a", AT].concat();
    let requests = [&b"\x01"[..], &[9; 16], AT, b"\x02\x01\x01\0\x06\x0a"].concat();
    let bytes = [&numbers[..], &limits, &levels, &requests].concat();
    assert_eq!(of(&account), bytes);
    assert_eq!(
        of(Account::NONE),
        [&numbers[..], b"\0\0\0"].concat(),
        "less than nothing is pending"
    );
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "the first {len} bytes");
    }
    let Ok(Value::Usage(read, _, account)) = decode(&bytes) else { panic!("no counter") };
    assert_eq!((read, of(&account)), (counter, bytes));
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
    let absent = encode_record(&Record::absent(b"acme:", &[b"x"]).unwrap(), true);
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
    for (cached, dead) in [(cached(), false), (cached().softened(), false), (cached_absent(), true)]
    {
        let bytes = encode_cached(&cached, dead);
        for origin in [Origin::Server, Origin::Anyone] {
            let Ok(Value::Cached { cached: read, dead: was }) = super::decode(&bytes, origin)
            else {
                panic!("no value of a region")
            };
            assert_eq!((read.bytes(), was), (cached.bytes(), dead));
            assert_eq!(
                (read.value(), read.was_softened()),
                (cached.value(), cached.was_softened())
            );
        }
    }
    for leases in [Leases::default(), leases(&[line(1, 10), line(2, 289)])] {
        let bytes = encode_counter(&counter(), &leases);
        assert!(matches!(
            decode(&bytes), Ok(Value::Usage(c, l, _)) if c == counter() && l == leases
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
fn absent_keys_of_version_1_are_read() {
    let bytes = b"a\x01\x02\x01x\x02\0\xff\x01";
    let Ok(Value::Record { record, dead: true }) = decode(bytes) else { panic!("no absent") };
    assert_eq!(record.bytes(), Record::absent(b"", &[b"x", b"\0\xff"]).unwrap().bytes());
    let long = [&b"a\x02\x65"[..], &[b'n'; 101], b"\0\0"].concat();
    for bad in [&long[..], b"a\x02\0\x01\0\0", b"a\x01\x01\0\0"] {
        assert_eq!(decode(bad).unwrap_err(), BadBytes("namespace or tags beyond their bounds"));
    }
}

#[test]
fn a_record_that_says_two_things_is_refused_from_anyone() {
    says_two_things(&record());
    says_two_things(&ending());
    // Ends that none of its digests has.
    let mut bytes = encode_record(&ending(), false);
    let ends = bytes.windows(8).position(|w| w == 7i64.to_le_bytes()).unwrap();
    bytes[ends..ends + 8].copy_from_slice(&i64::MAX.to_le_bytes());
    assert_eq!(decode(&bytes).unwrap_err(), BadBytes("no record"));
}

#[track_caller]
fn says_two_things(record: &Record) {
    let good = encode_record(record, false);
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
    let ids = b"\x01\x01k\x11\x01u";
    let bytes = of(0, &[ids, &vec![0x73; MAX_STORED_BYTES - ids.len()][..]].concat());
    assert!(super::decode(&bytes, Origin::Server).is_ok());
    assert_eq!(decode(&bytes).unwrap_err(), BadBytes("no record"));
}

#[test]
fn the_largest_record_is_decoded() {
    // Fields of the least JSON are the ones that take more when they are packed.
    let fields: String = (0..37).map(|n| format!(",\"{n}\":1")).collect();
    let begin = format!(r#"{{"id":1,"user_id":1,"is_active":true{fields},"scopes":["#);
    let scopes = vec!["\"\""; (MAX_STORED_BYTES - begin.len() - 2) / 3].join(",");
    for json in [format!("{begin}{scopes}]}}"), format!("{begin}\"{}\"]}}", "x".repeat(1000)), {
        let begin = begin.replace(",\"scopes\":[", ",\"name\":\"");
        let name = "x".repeat(MAX_STORED_BYTES - begin.len() - 2);
        format!("{begin}{name}\"}}")
    }] {
        let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
        let record = Record::new(&parts, &[], b"", &[]).unwrap();
        let bytes = encode_record(&record, false);
        for origin in [Origin::Server, Origin::Anyone] {
            assert!(super::decode(&bytes, origin).is_ok());
        }
    }
}

/// No tag could be made of them, and so no invalidation would find the record.
#[test]
fn a_record_whose_ids_have_lost_their_length_is_refused_whoever_brings_it() {
    let long = |byte: &str, n: usize| byte.repeat(n);
    let (id, user) = (long("i", 100), long("u", 120));
    let rest = long("s", 250);
    let json =
        format!(r#"{{"id":"{id}","user_id":"{user}","is_active":true,"scopes":["{rest}"]}}"#);
    let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
    let record = Record::new(&parts, &[], b"", &[b"x"]).unwrap();
    let good = encode_record(&record, false);
    assert!(super::decode(&good, Origin::Server).is_ok());
    for (text, len) in [(&user, 120), (&id, 100)] {
        let at = good.windows(text.len()).position(|w| w == text.as_bytes()).unwrap() - 1;
        assert_eq!(good[at], len);
        for other in [0, 255] {
            let mut bad = good.clone();
            bad[at] = other;
            for origin in [Origin::Server, Origin::Anyone] {
                let refused = super::decode(&bad, origin).unwrap_err();
                assert_eq!(refused, BadBytes("not a record's parts"), "{len} is {other}");
            }
        }
    }
}

/// No two readings: a part of it that is another's, an end of the value that is none, a flag that nobody has.
#[test]
fn a_value_of_a_region_that_is_not_as_it_is_laid_out_is_refused_whoever_brings_it() {
    let good = encode_cached(&cached(), false);
    let refused = BadBytes("not a cached value's parts");
    for origin in [Origin::Server, Origin::Anyone] {
        for len in 3..good.len() - 2 {
            assert_eq!(super::decode(&good[..len], origin).unwrap_err(), refused, "{len} bytes");
        }
        for (at, byte, what) in [
            (10, 0x80, "stored before 1970"),
            (18, 0x80, "a negative grace"),
            (18, 0x7f, "a grace for ever"),
            (19, 1, "absent, and has a value"),
            (19, 4, "a flag that there is not"),
            (20, 0, "of no region"),
            (20, 65, "a long name of a region"),
            (21, 65, "a long label"),
            (22, 101, "a long namespace"),
            (23, 1, "a tag less than there is"),
            (23, 3, "a tag more than there is"),
            (24, 6, "tags that end in the midst of one"),
            (24, 8, "tags that end in the value"),
            (25, 1, "tags that end behind the value"),
            (43, 0, "a tag that is empty"),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(super::decode(&bad, origin).unwrap_err(), refused, "{what}");
        }
        let mut twice = encode_cached(&cached(), false);
        twice.splice(23..26, [3, 10, 0]);
        twice.splice(43..43, *b"\x01\0x");
        assert_eq!(super::decode(&twice, origin).unwrap_err(), refused, "a tag twice");
        let mut dead = good.clone();
        dead[2] = 2;
        let error = BadBytes("not the fields of its kind");
        assert_eq!(super::decode(&dead, origin).unwrap_err(), error);
        assert_eq!(super::decode(b"c\x01", origin).unwrap_err(), error);
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
    assert_eq!(decode(b"u\0").unwrap_err(), BadBytes("unknown kind"));
    for newer in [b"u\x04", b"r\x06", b"a\x03", b"s\x02", b"l\x02", b"c\x02"] {
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
        vec![good, ([2; 16], good.1, 10, 3, 4)],
        vec![good, (good.0, [8; 16], 10, 3, 4)],
    ] {
        assert_eq!(leased(bad).unwrap_err(), BadBytes("leases that no counter has"));
    }
    let label = || LabelOut { namespace: b"", id: b"k", user_id: b"u", tags: vec![] };
    let scopes = |label, decisions| {
        decode(&encode(SCOPES, VERSION, ScopesOut { label, decisions, dead: false })).map(drop)
    };
    let (one, long): (_, &[u8]) = ((&b"r"[..], &b"a"[..], true, 1), &[b'x'; 257]);
    assert!(scopes(label(), vec![one]).is_ok());
    for bad in [vec![], vec![one, one], vec![(b"", b"a", true, 1)], vec![(b"r", long, true, 1)]] {
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
        let counter = encode_counter(&counter(), &leases(&[line(1, 10), line(2, 20)]));
        let scopes = encode_scopes(&decisions(), false);
        let list = encode_list(&list(), false);
        let records = [record(), ending()].map(|record| encode_record(&record, false));
        for mut bytes in records.into_iter().chain([scopes, list, counter]) {
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
            if let Ok(Value::Record { record, .. }) = super::decode(&bytes, Origin::Server) {
                let _ = (record.json(), record.grants(b"a:b"), record.is_sound());
                let _ = (record.accepts_until(&[1; 32]), record.digests().count());
                record.each_tag(&mut |_| {});
            }
        }
    }
}

/// Numbers of a counter, few of them such as none has.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        10 => 0i64..300,
        4 => Just(0),
        4 => 1i64 << 40..1 << 41,
        2 => Just(i64::MAX),
        1 => prop_oneof![Just(-1), Just(i64::MIN), any::<i64>()],
    ]
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let id = |from: u8| (from..from + 12).prop_map(|byte| [byte; 16]);
    let count = prop_oneof![20 => 1i64..30, 1 => number()];
    proptest::collection::vec((id(0), id(5), count, number(), number()), 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever is accepted as a counter is one: it is written as it was read, and counted, leased, given out
    /// again and settled like any other.
    #[test]
    fn what_is_read_as_a_counter_is_one(
        handed in prop_oneof![Just(0), 0i64..9, number()],
        numbers in (number(), number(), number(), number()),
        lines in lines(),
        now in prop_oneof![Just(1), 1i64 << 40..1 << 41, Just(i64::MAX)],
    ) {
        let (pending, any_total, first, last) = numbers;
        let sum = lines.iter().fold(pending, |sum, line| sum.saturating_add(line.2));
        for total in [any_total, sum.saturating_add(handed)] {
            let numbers: Numbers = (pending, total, first, last);
            for bytes in [
                encode(USAGE, VERSION, numbers),
                encode(USAGE, LEASED_VERSION, (numbers, lines.clone())),
            ] {
                let Ok(Value::Usage(counter, leases, _)) = decode(&bytes) else { continue };
                assert_written_as_read(&bytes, &counter, &leases);
                assert_is_a_counter(counter, leases, now);
            }
        }
    }

    #[test]
    fn damaged_bytes_of_a_counter_are_refused_or_one(
        at in 0usize..150, byte: u8, leased: bool,
    ) {
        let leases = if leased { leases(&[line(1, 10), line(2, 20)]) } else { Leases::default() };
        let mut bytes = encode_counter(&counter(), &leases);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(Value::Usage(counter, leases, _)) = decode(&bytes) {
            let again = encode_counter(&counter, &leases);
            assert_written_as_read(&again, &counter, &leases);
            assert_is_a_counter(counter, leases, 1 << 40);
        }
    }
}

/// `bytes` are as this version writes them, but for a list of no leases.
fn assert_written_as_read(bytes: &[u8], counter: &Counter, leases: &Leases) {
    let again = encode_counter(counter, leases);
    if !leases.is_empty() || bytes[1] == VERSION {
        assert_eq!(again, bytes);
    }
    let Ok(Value::Usage(read, lines, _)) = decode(&again) else { panic!("it is read no more") };
    assert_eq!((&read, &lines), (counter, leases));
    assert_eq!(encode_counter(&read, &lines), again);
}

fn held<'a>(counter: &Counter, leases: &'a Leases) -> Held<'a> {
    Held { pending: counter.pending(), leases }
}

/// A counter in a database of its own.
struct Alone {
    counter: Counter,
    leases: Leases,
    database: Database,
    place: Option<Place>,
    of: Fingerprints,
}

impl Alone {
    fn new(counter: Counter, leases: Leases) -> Self {
        let of = Fingerprints::new([3; 16]);
        let mut database = Database::default();
        let place = database.add_counter(b"k", held(&counter, &leases), &of);
        Self { counter, leases, database, place, of }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Counter, &mut Leases) -> T) -> T {
        let (counter, leases) = (self.counter, self.leases.clone());
        let done = change(&mut self.counter, &mut self.leases);
        let (before, now) = (held(&counter, &leases), held(&self.counter, &self.leases));
        self.place = self.database.update_counter(b"k", self.place, before, now, &self.of);
        assert_eq!(self.database.batches().len(), self.leases.lines().len());
        done
    }

    /// What is pending and what is leased.
    fn sum(&self) -> i128 {
        let counts = self.leases.lines().iter().map(|lease| i128::from(lease.count));
        i128::from(self.counter.pending()) + counts.sum::<i128>()
    }
}

fn assert_is_a_counter(counter: Counter, leases: Leases, now: i64) {
    assert!(counter.pending() >= 0 && counter.first_used_at() >= 0 && counter.last_used_at() >= 0);
    assert!(leases.lines().iter().all(|lease| lease.count >= 1) && leases.lines().len() <= 8);
    let mut all = Alone::new(counter, leases);
    let handed = i128::from(counter.total()) - all.sum();
    assert!(handed >= 0);

    // Each batch comes again at most once, and what is counted meanwhile is leased, if there is room.
    for _ in 0..all.leases.lines().len() {
        if let Some(batch) = all.database.batches().overdue(now) {
            let terms = all.database.give_again(batch, now.saturating_add(1), now).unwrap();
            assert!(terms.leased_at <= now && all.leases.of(batch).is_some());
        }
    }
    assert!(now == i64::MAX || all.database.batches().overdue(now).is_none());
    let counted = all.change(|counter, leases| {
        let counted = counter.incr(1, now).is_ok();
        let (batch, line) = (Id::from_bytes([200; 16]), Id::from_bytes([201; 16]));
        let terms = Terms { leased_at: now, deadline: now };
        leases.lease(counter, batch.unwrap(), line.unwrap(), terms);
        counted
    });
    assert!(counted || counter.total() == i64::MAX);
    assert_eq!(i128::from(all.counter.total()), handed + all.sum());
    assert_written_as_read(&encode_counter(&all.counter, &all.leases), &all.counter, &all.leases);
    for lease in all.leases.lines().to_vec() {
        assert_eq!(all.change(|_, leases| leases.settle(lease.batch)), Some(lease));
    }
    all.change(|counter, _| counter.take());
    let totals = all.database.totals();
    assert_eq!((totals.pending, totals.leased, all.sum()), (0, 0, 0));
    assert!(all.database.batches().is_empty());
}
