//! Writes the cases by which a client library shows that it judges a row as the server does: to stdout, as
//! clients/conformance/README.md says. Each answer is the engine's own.
//!
//!     cargo run -p apikey-engine --example verdicts > verdict.json

use apikey_engine::record::addresses::Address;
use apikey_engine::record::digest::{Accepted, Digest, NEVER};
use apikey_engine::record::layout::Record;
use apikey_engine::record::sanitise::{ExtraFields, Limits, Parts};
use apikey_engine::record::scope::MAX_SCOPE_BYTES;
use apikey_engine::record::verdict::{ends_at, judge, Verdict};
use serde_json::{json, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Cases that are put together by chance, beside those that are written down.
const RANDOM: usize = 5000;

/// Of each answer there must be so many.
const LEAST: usize = 120;

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;
const MAX_SCOPES: usize = 64;

/// What the module has by default; its tests give a server each of these cases.
const INACTIVE: [Cow<str>; 6] = [
    Cow::Borrowed("revoked"),
    Cow::Borrowed("revoked_at"),
    Cow::Borrowed("deleted_at"),
    Cow::Borrowed("disabled"),
    Cow::Borrowed("disabled_at"),
    Cow::Borrowed("archived_at"),
];

const LIMITS: Limits = Limits {
    max_record_bytes: 16_384,
    max_name_bytes: 100,
    max_scopes: 64,
    extra_fields: ExtraFields::Named(&[]),
    digest_field: Some("key_hash"),
    inactive_fields: &INACTIVE,
    ..Limits::STORED
};

/// What is asked, and of which row.
struct Case {
    /// `None` where the database has none.
    row: Option<String>,
    presented: Digest,
    scopes: Vec<String>,
    address: Option<String>,
    now: i64,
}

impl Case {
    /// Of a row with these fields beside those that it must have, for which the right secret is presented.
    fn of(fields: &str) -> Self {
        let mut row = format!(r#"{{"id":"k-1","key_hash":"{}""#, hex(&RIGHT));
        if !fields.contains("\"is_active\"") {
            row += r#","is_active":true"#;
        }
        if !fields.is_empty() {
            row += ",";
        }
        Self {
            row: Some(row + fields + "}"),
            presented: RIGHT,
            scopes: vec![],
            address: None,
            now: NOW,
        }
    }

    fn row(mut self, row: impl Into<String>) -> Self {
        self.row = Some(row.into());
        self
    }

    fn asks(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(ToString::to_string).collect();
        self
    }

    fn from(mut self, address: &str) -> Self {
        self.address = Some(address.into());
        self
    }

    fn presents(mut self, digest: Digest) -> Self {
        self.presented = digest;
        self
    }

    fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    /// What VALIDATE would take for arguments.
    fn is_well_asked(&self) -> bool {
        let address = self.address.as_ref();
        self.scopes.len() <= MAX_SCOPES
            && self.scopes.iter().all(|scope| (1..=MAX_SCOPE_BYTES).contains(&scope.len()))
            && address.is_none_or(|address| Address::parse(address.as_bytes()).is_some())
    }

    /// The record that the row makes; `None` where it is no good.
    fn record(&self) -> Option<Record<'static>> {
        let Some(row) = &self.row else { return Record::absent(b"", &[]) };
        let parts = Parts::sanitise(row.as_bytes(), &LIMITS).ok()?;
        Record::new(&parts, parts.digests(), b"", &[])
    }

    /// What the engine says of it.
    fn expected(&self, record: Option<&Record>) -> Value {
        let Some(record) = record.filter(|_| self.is_well_asked()) else {
            return json!({"error": true});
        };
        let address = || self.address.as_ref().and_then(|text| Address::parse(text.as_bytes()));
        let requests = self.scopes.iter().map(String::as_bytes);
        let verdict = judge(record, Some(&self.presented), address, requests, self.now);
        let mut expected = json!({"code": code(verdict), "scope": null});
        if let Verdict::Forbidden(number) = verdict {
            expected["scope"] = self.scopes[number].clone().into();
        }
        if matches!(verdict, Verdict::Valid | Verdict::Unverified) {
            expected["ends_at"] = ends_at(record, Some(&self.presented), None).into();
        }
        expected
    }

    fn json(&self) -> Value {
        let record = self.record();
        let expected = self.expected(record.as_ref());
        let row_record = record.as_ref().filter(|record| !record.is_absent());
        let digests: Vec<Value> = row_record
            .iter()
            .flat_map(|record| record.digests())
            .map(|Accepted { digest, until }| {
                json!({"hex": hex(&digest), "until": (until != NEVER).then_some(until)})
            })
            .collect();
        json!({
            "row": self.row,
            "record": row_record.map(|record| String::from_utf8_lossy(&record.json()).into_owned()),
            "digests": digests,
            "presented_digest": hex(&self.presented),
            "scopes": self.scopes,
            "address": self.address,
            "now": self.now,
            "expected": expected,
        })
    }
}

fn code(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Absent => "ABSENT",
        Verdict::Mismatch => "MISMATCH",
        Verdict::Disabled => "DISABLED",
        Verdict::Expired => "EXPIRED",
        Verdict::ForbiddenIp => "FORBIDDEN_IP",
        Verdict::Forbidden(_) => "FORBIDDEN",
        Verdict::Unverified => "UNVERIFIED",
        Verdict::Valid => "VALID",
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of `right`, `old` and `wrong` would do as well; these have the letters of both alphabets of base64.
const RIGHT: Digest = [0xfb; 32];
const OLD: Digest = [0x2a; 32];
const WRONG: Digest = [0xfc; 32];

/// In base64.
const RIGHT_BASE64: &str = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";

/// Cases that each stand on an edge.
fn edges() -> Vec<Case> {
    let mut cases = vec![];
    for presented in [RIGHT, WRONG] {
        let absent = || Case { row: None, ..Case::of("").presents(presented) };
        cases.extend([
            absent(),
            absent().asks(&["a:b"]),
            absent().from("10.0.0.1"),
            absent().from("?"),
        ]);
        cases.extend((0..LEAST as i64 / 2).map(|n| absent().at(NOW + n)));
    }
    cases.extend(asked());
    cases.extend(rows());
    cases.extend(states());
    cases.extend(times());
    cases.extend(digests());
    cases.extend(scopes());
    cases.extend(addresses());
    cases.extend(restrictions());
    cases
}

fn asked() -> Vec<Case> {
    let long = "x".repeat(MAX_SCOPE_BYTES);
    let too_long = "x".repeat(MAX_SCOPE_BYTES + 1);
    // Of two bytes each: a length is that of bytes.
    let too_long_in_utf8 = "é".repeat(MAX_SCOPE_BYTES / 2 + 1);
    let many = |count| vec!["a"; count];
    let all = || Case::of(r#""scopes":["*"]"#);
    let mut cases: Vec<Case> = [&long, &too_long, &too_long_in_utf8, "", "é:ü", "\u{0}", " "]
        .into_iter()
        .map(|scope| all().asks(&[scope]))
        .collect();
    cases.extend([all().asks(&many(64)), all().asks(&many(65)), all().asks(&["a", ""])]);
    // Whatever the row says.
    cases.push(Case::of("").presents(WRONG).asks(&[""]));
    cases.push(Case::of("").row("{}").asks(&["a"]));
    cases.push(Case::of("").row("{}").presents(WRONG));
    cases
}

fn rows() -> Vec<Case> {
    let hash = format!(r#""key_hash":"{}""#, hex(&RIGHT));
    let long = "x".repeat(256);
    let too_long = "x".repeat(257);
    let in_utf8 = "é".repeat(128);
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let mut cases: Vec<Case> = [
        r#""k""#,
        "7",
        "-7",
        "0",
        "9007199254740993",
        "12345678901234567890123",
        r#""\u00e9 \"x\"""#,
        r#""""#,
        "null",
        "1.5",
        "true",
        "[]",
        "{}",
        &format!(r#""{long}""#),
        &format!(r#""{too_long}""#),
        &format!(r#""{in_utf8}""#),
        &format!(r#""{in_utf8}é""#),
    ]
    .into_iter()
    .flat_map(|id| {
        let own = format!(r#"{{"id":{id},"is_active":true,{hash}}}"#);
        [Case::of("").row(own), Case::of(&format!(r#""user_id":{id}"#))]
    })
    .collect();
    for row in ["{}", r#"{"id":"k"}"#, r#"{"is_active":true}"#, r#"{"id":"k","is_active":true}"#] {
        cases.push(Case::of("").row(row));
    }
    for fields in [
        r#""name":null"#,
        r#""name":"Lotte’s""#,
        r#""name":1"#,
        r#""name":[]"#,
        r#""key_prefix":"ak_live""#,
        r#""key_prefix":null"#,
        r#""key_prefix":7"#,
        r#""created_at":"2024-01-01T00:00:00Z","updated_at":12345678901234567890"#,
        r#""created_at":{"a":[1,null]}"#,
        &format!(r#""created_at":{}"#, nested(32)),
        &format!(r#""created_at":{}"#, nested(33)),
        &format!(r#""updated_at":{}"#, nested(33)),
        &format!(r#""ignored":{}"#, nested(33)),
        r#""org_id":7,"email":"a@b.c","metadata":{"tier":"gold","list":[1,2]}"#,
        &format!(r#""name":"{}""#, "é".repeat(60)),
    ] {
        cases.push(Case::of(fields));
    }
    cases
}

fn states() -> Vec<Case> {
    let mut cases = vec![];
    let values = [
        "true",
        "false",
        "1",
        "0",
        r#""t""#,
        r#""f""#,
        r#""true""#,
        r#""false""#,
        "2",
        "-1",
        "null",
        r#""""#,
        r#""yes""#,
        r#""True""#,
        r#""1""#,
        "[]",
        "{}",
    ];
    for value in values {
        cases.push(Case::of(&format!(r#""is_active":{value}"#)));
        cases.push(Case::of(&format!(r#""is_active":{value}"#)).presents(WRONG));
        for name in INACTIVE {
            for active in ["true", "false"] {
                cases.push(Case::of(&format!(r#""is_active":{active},"{name}":{value}"#)));
            }
            let hash = hex(&RIGHT);
            cases.push(
                Case::of("").row(format!(r#"{{"id":1,"key_hash":"{hash}","{name}":{value}}}"#)),
            );
        }
    }
    cases.push(Case::of(r#""revoked":false,"deleted_at":null,"disabled":0"#));
    cases.push(Case::of(r#""revoked":false,"deleted_at":"2024-01-01T00:00:00Z""#));
    cases
}

/// Texts of times; none of them is judged by when it is.
#[rustfmt::skip]
const TIMES: [&str; 62] = [
    "null", r#""infinity""#, r#""-infinity""#, r#""Infinity""#, r#""2099-01-01T00:00:00Z""#,
    r#""2099-01-01t00:00:00z""#, r#""2099-01-01 00:00:00+00""#, r#""2099-01-01 00:00:00+0000""#,
    r#""2099-01-01 00:00:00-05:30""#, r#""2099-01-01 00:00:00.123456+02""#, r#""2099-01-01T00:00:00.1Z""#,
    r#""2099-01-01T00:00:00.123456789Z""#, r#""2099-01-01T00:00:00-00:00""#, r#""2099-01-01 00:00:00""#,
    r#""2099-01-01T00:00:00""#, r#""2099-01-01T00:00:00.5""#, r#""2099-01-01""#, r#""2099-01-01T00:00Z""#,
    r#""2099-13-01T00:00:00Z""#, r#""2099-02-29T00:00:00Z""#, r#""2096-02-29T00:00:00Z""#,
    r#""2099-01-01T24:00:00Z""#, r#""2099-01-01T00:60:00Z""#, r#""2099-01-01T00:00:00+00:60""#,
    r#""2099-01-01 00:00:00 UTC""#, r#"" 2099-01-01T00:00:00Z""#, r#""2099-01-01T00:00:00Z ""#,
    r#""20990101T000000Z""#, r#""tomorrow""#, r#""""#, r#""0001-01-01T00:00:00Z""#,
    r#""1969-12-31T23:59:59.9999Z""#, r#""9999-12-31T23:59:59.999Z""#, "631152000000", "631151999999",
    "253402300799999", "253402300800000", "4102444800000", "1700000000", "1700000000000000",
    "1700000000000000000", "0", "-1", "1.5", "true", "[]", "{}", r#""4102444800000""#, r#""1700000000""#,
    r#""253402300800000""#, r#""+12090-01-01 00:00:00Z""#, r#""12090-01-01 00:00:00Z""#,
    r#""+2090-01-01 00:00:00Z""#, r#""0000-01-01T00:00:00Z""#, r#""0001-01-01 00:00:00+01""#,
    r#""0001-01-01T00:00:00+01:00""#, r#""9999-12-31 23:59:59-01""#, r#""9999-12-31T23:59:59-01:00""#,
    r#""9999-12-31T23:59:59+01:00""#, r#""2090-1-1 0:0:0Z""#, r#""2090-01-01  00:00:00Z""#,
    r#""2090-01-01 00:00:00 Z""#,
];

fn times() -> Vec<Case> {
    let mut cases: Vec<Case> = TIMES
        .iter()
        .flat_map(|time| {
            let until = format!(r#"[{{"digest":"{}","until":{time}}}]"#, hex(&RIGHT));
            let row = format!(r#"{{"id":1,"is_active":true,"key_hash":{until}}}"#);
            [Case::of(&format!(r#""expires_at":{time}"#)), Case::of("").row(row)]
        })
        .collect();
    // 2023-11-14T22:13:20.123Z
    const AT: i64 = NOW + 123;
    for time in [
        "1700000000123",
        r#""1700000000123""#,
        r#""2023-11-14T22:13:20.123Z""#,
        r#""2023-11-14T22:13:20.123999Z""#,
        r#""2023-11-14T23:13:20.123+01:00""#,
        r#""2023-11-14 22:13:20.123+00""#,
        r#""2023-11-14 16:43:20.123456-0530""#,
        r#""2023-11-14T22:13:20.123456789-00:00""#,
    ] {
        for now in [AT - HOUR, AT - 1, AT, AT + 1, AT + HOUR] {
            let expires = Case::of(&format!(r#""expires_at":{time}"#)).at(now);
            let until =
                format!(r#"["{}",{{"digest":"{}","until":{time}}}]"#, hex(&RIGHT), hex(&OLD));
            let row = format!(r#"{{"id":1,"is_active":true,"key_hash":{until}}}"#);
            cases.extend([expires, Case::of("").row(row).presents(OLD).at(now)]);
        }
    }
    for (time, at) in
        [(r#""2023-11-14T22:13:20Z""#, NOW), (r#""2023-11-14T22:13:20.9Z""#, NOW + 900)]
    {
        cases.extend([at - 1, at].map(|now| Case::of(&format!(r#""expires_at":{time}"#)).at(now)));
    }
    cases
}

fn digests() -> Vec<Case> {
    let (right, old) = (hex(&RIGHT), hex(&OLD));
    let url = RIGHT_BASE64.replace('+', "-").replace('/', "_");
    let mut values = vec![
        "null".to_string(),
        "[null]".into(),
        "[]".into(),
        "{}".into(),
        "1".into(),
        "true".into(),
        r#""""#.into(),
        r#""abc""#.into(),
        format!(r#""0x{}""#, &right[2..]),
        format!(r#""0x{right}""#),
        format!(r#"" {right}""#),
        format!(r#""{}""#, &right[2..]),
        format!(r#""{}""#, right.to_uppercase()),
        format!(r#""\\x{right}""#),
        format!(r#""\\X{right}""#),
        format!(r#""{RIGHT_BASE64}""#),
        format!(r#""{}""#, RIGHT_BASE64.trim_end_matches('=')),
        format!(r#""{RIGHT_BASE64}=""#),
        format!(r#""{}""#, RIGHT_BASE64.replace("/s=", "/t=")),
        format!(r#""{}""#, RIGHT_BASE64.replacen('+', "-", 1)),
        format!(r#""{url}""#),
        format!(r#""{}""#, url.trim_end_matches('=')),
        format!(r#"["{right}"]"#),
        format!(r#"["{right}","{old}"]"#),
        format!(r#"["{old}","{right}"]"#),
        format!(r#"["{old}"]"#),
        format!(r#"[null,"{right}",null]"#),
        format!(r#"["{right}","{old}","{old}"]"#),
        format!(r#"["{right}",1]"#),
        format!(r#"[["{right}"]]"#),
        format!(r#"[{{"digest":"{right}"}}]"#),
        format!(r#"{{"digest":"{right}"}}"#),
        format!(r#"[{{"digest":null,"until":7}},"{right}"]"#),
        format!(r#"[{{"digest":"{right}","expires":1}}]"#),
        format!(r#"[{{"until":{NOW}}}]"#),
        r#"[{}]"#.into(),
        r#"[{"digest":"abc"}]"#.into(),
    ];
    // One ends, or both do, or both are the same.
    for one in [None, Some(-1), Some(0), Some(1), Some(HOUR)] {
        for other in [None, Some(-HOUR), Some(0), Some(1)] {
            let end = |end: Option<i64>| json!(end.map(|end| NOW + end));
            for digest in [&old, &right] {
                values.push(
                    json!([{"digest": right, "until": end(one)}, {"digest": digest, "until": end(other)}])
                        .to_string(),
                );
            }
        }
    }
    values
        .iter()
        .flat_map(|value| {
            let row = format!(r#"{{"id":1,"is_active":true,"key_hash":{value}}}"#);
            [RIGHT, OLD, WRONG].map(|presented| Case::of("").row(&row).presents(presented))
        })
        .collect()
}

/// Scopes of a record, one each.
#[rustfmt::skip]
const GRANTED: [&str; 28] = [
    r#""users:read""#, r#""users:*""#, r#""*:read""#, r#""*:*""#, r#""*""#, r#""read""#, r#""us*:read""#,
    r#""a:b:*""#, r#""a:b:c""#, r#""a:*:c""#, r#""""#, r#"":""#, r#""users:""#, r#"":read""#, r#""Users:read""#,
    r#""us\u0065rs:read""#, r#""users:read ""#, r#""é:ü""#, r#"{"resource":"users","actions":["read","write"]}"#,
    r#"{"resource":"users","actions":["*"]}"#, r#"{"resource":"*","actions":["read"]}"#,
    r#"{"resource":"*","actions":["*"]}"#, r#"{"resource":"users","actions":[]}"#,
    r#"{"resource":"a:b","actions":["c"]}"#, r#"{"resource":"a:b","actions":["*"]}"#,
    r#"{"resource":"a","actions":["b:c"]}"#, r#"{"actions":["","read"],"resource":""}"#,
    r#"{"resource":"us*","actions":["read"]}"#,
];

#[rustfmt::skip]
const ASKED: [&str; 18] = [
    "users:read", "users:write", "users:read:all", "orders:read", "users", "read", "*", "users:*", "*:read",
    "a:b:c", "a:b", ":", "users:", ":read", "Users:read", "é:ü", "users:read ", "a:b:*",
];

/// What are none.
#[rustfmt::skip]
const NO_SCOPES: [&str; 16] = [
    "1", "null", "[]", "{}", "true", r#"{"resource":"users"}"#, r#"{"actions":["read"]}"#,
    r#"{"resource":1,"actions":["read"]}"#, r#"{"resource":"users","actions":"read"}"#,
    r#"{"resource":"users","actions":[1]}"#, r#"{"resource":"users","actions":null}"#,
    r#"{"resource":null,"actions":["read"]}"#, r#"{"resource":"users","actions":["read"],"until":1}"#,
    r#"{"resource":"users","actions":["read"],"note":"x"}"#, r#""!users:read""#, r#""-users:read""#,
];

fn scopes() -> Vec<Case> {
    let mut cases = vec![];
    for granted in GRANTED {
        for asked in ASKED {
            cases.push(Case::of(&format!(r#""scopes":[{granted}]"#)).asks(&[asked]));
        }
    }
    for wrong in NO_SCOPES {
        cases.push(Case::of(&format!(r#""scopes":[{wrong}]"#)).asks(&["users:read"]));
        cases.push(Case::of(&format!(r#""scopes":["users:read",{wrong}]"#)));
    }
    for value in [r#""users:read""#, "1", "true", "{}", r#""[]""#] {
        cases.push(Case::of(&format!(r#""scopes":{value}"#)).asks(&["users:read"]));
    }
    for value in ["null", "[]"] {
        cases.push(Case::of(&format!(r#""scopes":{value}"#)).asks(&["users:read"]));
        cases.push(Case::of(&format!(r#""scopes":{value}"#)));
    }
    cases.push(Case::of("").asks(&["users:read"]));
    // A denial is one at the beginning of a part too: of a resource, and of an action.
    for denied in [
        r#"{"resource":"!a","actions":["b"]}"#,
        r#"{"resource":"a","actions":["-b"]}"#,
        r#""a:!b""#,
    ] {
        cases.push(Case::of(&format!(r#""scopes":[{denied}]"#)).asks(&["a:!b"]));
    }
    let long = |bytes: usize| format!(r#""scopes":["{}"]"#, "x".repeat(bytes));
    cases.extend([Case::of(&long(MAX_SCOPE_BYTES)), Case::of(&long(MAX_SCOPE_BYTES + 1))]);
    let some = || Case::of(r#""scopes":["users:read",{"resource":"orders","actions":["*"]}]"#);
    cases.push(some().asks(&["users:read", "orders:x"]));
    cases.push(some().asks(&["users:read", "users:write", "x"]));
    cases.push(some().asks(&["x", "users:read"]));
    cases
}

#[rustfmt::skip]
const RANGES: [&str; 38] = [
    "10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "::ffff:0.0.0.0/96",
    "::ffff:0:0/95", "2001:db8::/32", "2001:DB8::1", "2001:db8::/127", "fe80::/10", "::1", "::10.1.2.3",
    "10.0.0.0/08", "192.168.0.0/16", "10.1.2.0/31", "::/1",
    // None of these is one.
    "", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/+8", "::/129",
    "fe80::1%eth0", "10.0.0.0/8/8", "*", "localhost", " 10.0.0.1", "10.0.0.0/255.0.0.0", "10.0.0.1/8",
    "10.0.0.1/31", "2001:db8::1/32", "0.0.0.1/0", "::1/0",
];

#[rustfmt::skip]
const ADDRESSES: [&str; 28] = [
    "10.1.2.3", "10.255.255.255", "11.0.0.0", "9.255.255.255", "::ffff:10.1.2.3", "::ffff:a01:203",
    "::FFFF:10.1.2.3", "10.1.2.4", "255.1.2.3", "2001:db8::1", "2001:db8:0:0:0:0:0:1", "2001:db8::2",
    "2001:db9::", "fe80::1%eth0", "fe80::1", "fec0::1", "::1", "::10.1.2.3", "::",
    // None of these is one.
    "", "10.0.0", "10.0.0.1/32", "10.0.0.1%eth0", "fe80::1%", "%eth0", "10.0.0.1 ", "é", "[::1]",
];

fn addresses() -> Vec<Case> {
    let mut cases = vec![];
    for range in RANGES {
        let fields = format!(r#""allowed_ips":["{range}"]"#);
        cases.push(Case::of(&fields));
        let is_one = Case::of(&fields).record().is_some();
        let addresses = if is_one { &ADDRESSES[..] } else { &ADDRESSES[..1] };
        cases.extend(addresses.iter().map(|address| Case::of(&fields).from(address)));
    }
    for value in
        ["null", "[]", r#""10.0.0.0/8""#, "{}", "1", "[1]", "[null]", r#"["10.0.0.0/8","::1"]"#]
    {
        for address in [None, Some("10.1.2.3"), Some("::1"), Some("fe80::1%1")] {
            let case = Case::of(&format!(r#""allowed_ips":{value}"#));
            cases.push(Case { address: address.map(str::to_string), ..case });
        }
    }
    cases
}

fn restrictions() -> Vec<Case> {
    #[rustfmt::skip]
    const NAMES: [&str; 120] = [
        "expiresAt", "EXPIRES_AT", "key-expires-at", "expiry", "expiration", "valid_until", "notAfter",
        "not_before", "isRevoked", "revoked_on", "isDeleted", "archivedAt", "enabled", "is_enabled", "key_active",
        "active", "status", "state", "ttl", "scope", "Permissions", "abilities", "ipWhitelist", "allow_list",
        "denied_ips", "restrictions", "banned_at", "locked", "deactivated_at", "deleted_at_m", "archived_on_utc",
        "locked_by", "nbf_ts", "soft_deleted", "trash", "suspendedUntil", "valid", "ip_ranges", "frozen",
        "retired_at", "user_status", "isActive", "userState", "privileges", "cidr", "ips", "token_ttl",
        "invalidated", "is_invalid", "validBeforeTime", "sys_period", "account_non_locked", "accountNonLocked",
        "revocation_date", "discarded_at", "is_del", "del_flag", "locked_until", "lockeduntil", "ip_range",
        "authorized_ips", "authorizedIPs", "customerIPs", "bucketACL", "IP_LIST", "networks", "request_ip", "policy",
        "policies", "condition", "acl", "referers", "scope_list", "scoped_to_nobody", "granted_scope",
        "explicit_max_ttl", "num_uses", "cached_until", "not_valid_after", "not_until", "non_expiring", "unlocked",
        "status_cd", "active_ind", "exp_dt", "recordStatus", "key_ended_at", "ms_valid_ms_at", "isisisactiveatatat",
        "a_name_of_more_than_sixty_four_letters_that_ends_in_what_restricts_ips",
        "a_name_of_more_than_sixty_four_letters_that_has_what_restricts_revoked_in_it",
        // None of these is one.
        "metadata", "org_id", "email", "last_used_at", "rate", "statement", "country", "validation",
        "description", "activity", "tips", "interactive", "period_start", "current_period_end", "trial_ends_at", "old_until", "previous_ips",
        "rate_limit_enabled", "email_verified", "lock_version", "oracle", "model_id", "remaining", "last_active_at",
        "msmsmsmsmsmsmsmsmsmsmsmsmsmsmsms", "ipACLed", "isisisis", "statuséat", "prefix",
    ];
    let mut cases = vec![];
    for name in NAMES {
        for fields in [
            format!(r#""{name}":null"#),
            format!(r#""{name}":"x""#),
            format!(r#""extra":{{"{name}":1}}"#),
            format!(r#""extra":[1,{{"a":{{"{name}":1}}}}]"#),
            format!(r#""extra":"{{\"{name}\":1}}""#),
            format!(r#""created_at":{{"{name}":1}}"#),
            format!(r#""extra":"{name}""#),
        ] {
            cases.push(Case::of(&fields));
        }
    }
    #[rustfmt::skip]
    const TEXTS: [&str; 16] = [
        r#""{\u0022expires_at\u0022:1,\u0022x\u0022:\u0022\ud800\u0022}""#,
        r#""{\"e\\u0078pires_at\":1,\"x\":\"\ud800\"}""#, r#"{"exp\ud800ires_at":1}"#, r#"{"\ud83d\ude00ttl":1}"#,
        r#""5\" wide {\"expires_at\":1}""#, r#""a \"x\\\" {\"expires_at\":1}""#, r#""{\"a\":\"C:\\\",\"expires_at\":1}""#,
        r#"[{"key":"expires_at","value":1}]"#, r#""[{\"value\":1, \"Name\" : \"revoked\"}]""#,
        r#""\"expires_at\"=>\"2020\"""#, r#""\"expires_at\" :1""#,
        // None of these has one.
        r#"[{"name":"revoked"}]"#, r#"[{"key":"plan","value":"active"}]"#, r#""5\" wide, \"expires_at\"""#,
        r#""expires_at: 1""#, r#"["expires_at",":x"]"#,
    ];
    cases.extend(TEXTS.iter().map(|text| Case::of(&format!(r#""extra":{text}"#))));
    cases
}

/// A small generator (SplitMix64): every run writes the same.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn end(&mut self, now: i64) -> i64 {
        let away = [-365 * 24 * HOUR, -HOUR, -1, 0, 1, HOUR, 24 * HOUR, 3650 * 24 * HOUR];
        now + away[self.below(away.len())]
    }

    /// Some of what may stand in a list, with commas.
    fn some(&mut self, most: usize, from: &[&str]) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| self.pick(from)).collect::<Vec<_>>().join(",")
    }
}

/// A row whose fields are each as any other's, the one or other wrong, in any order; and what is asked of it.
fn random(rng: &mut Rng) -> Case {
    let now = NOW + rng.below(1_000_000) as i64;
    let mut fields = vec![];
    let mut field = |name: &str, value: &str| fields.push(format!(r#""{name}":{value}"#));
    // Most rows are good, so that what is asked decides.
    let bad = if rng.one_in(8) { rng.below(6) } else { 6 };
    field(
        "id",
        if bad == 0 {
            rng.pick(&["null", "1.5", r#""""#])
        } else {
            rng.pick(&[r#""k""#, "7", "9007199254740993"])
        },
    );
    if rng.one_in(2) {
        field("user_id", rng.pick(&["42", r#""u""#, "null"]));
    }
    let active = if rng.one_in(10) { ["false", "0", r#""f""#] } else { ["true", "1", r#""t""#] };
    field("is_active", if bad == 1 { "2" } else { rng.pick(&active) });
    if rng.one_in(10) {
        field(
            &INACTIVE[rng.below(INACTIVE.len())],
            rng.pick(&["null", "false", "null", "0", "true", "1700000000000"]),
        );
    }
    if bad == 2 {
        field("expires_at", rng.pick(&["1700000000", r#""2099-01-01 00:00:00""#, "true"]));
    } else if rng.one_in(3) {
        field("expires_at", &rng.end(now).to_string());
    } else if rng.one_in(2) {
        field(
            "expires_at",
            rng.pick(&[
                "null",
                r#""infinity""#,
                r#""2099-01-01T00:00:00.5Z""#,
                r#""2099-01-01 00:00:00+02""#,
            ]),
        );
    }
    if bad == 3 {
        field("scopes", &format!("[{}]", rng.pick(&NO_SCOPES)));
    } else if !rng.one_in(10) {
        let scopes = rng.some(4, &GRANTED);
        field("scopes", &format!("[{scopes}]"));
    }
    if bad == 4 {
        field("allowed_ips", r#"["10.0.0.1/8"]"#);
    } else if rng.one_in(3) {
        let count = rng.below(3) + 1;
        let ranges: Vec<String> =
            (0..count).map(|_| json!(rng.pick(&RANGES[..18])).to_string()).collect();
        field("allowed_ips", &format!("[{}]", ranges.join(",")));
    }
    if bad == 5 {
        field(rng.pick(&["expiresAt", "status", "ip_whitelist"]), "null");
    } else if rng.one_in(4) {
        field(rng.pick(&["metadata", "email", "org_id"]), r#"{"tier":"gold"}"#);
    }
    let all = [RIGHT, RIGHT, RIGHT, RIGHT, OLD, WRONG];
    if !rng.one_in(10) {
        let digests: Vec<Value> = (0..=rng.below(2))
            .map(|_| {
                let digest = hex(&all[rng.below(6)]);
                if rng.one_in(3) {
                    json!({"digest": digest, "until": rng.end(now)})
                } else {
                    json!(digest)
                }
            })
            .collect();
        field("key_hash", &json!(digests).to_string());
    }
    for at in (1..fields.len()).rev() {
        fields.swap(at, rng.below(at + 1));
    }
    let asked = rng.below(3);
    Case {
        row: (!rng.one_in(50)).then(|| format!("{{{}}}", fields.join(","))),
        presented: all[rng.below(6)],
        scopes: (0..asked).map(|_| rng.pick(&ASKED).to_string()).collect(),
        address: (!rng.one_in(3)).then(|| rng.pick(&ADDRESSES[..19]).to_string()),
        now,
    }
}

fn main() {
    let mut rng = Rng(16);
    let mut cases = edges();
    cases.extend((0..RANDOM).map(|_| random(&mut rng)));
    let cases: Vec<Value> = cases.iter().map(Case::json).collect();
    let mut answers = BTreeMap::new();
    for case in &cases {
        *answers.entry(case["expected"]["code"].as_str().unwrap_or("error")).or_insert(0) += 1;
    }
    eprintln!("{} cases: {answers:?}", cases.len());
    assert!(answers.len() == 9 && answers.values().all(|count| *count >= LEAST), "{answers:?}");
    println!("{{\"version\":1,\"cases\":[");
    for (number, case) in cases.iter().enumerate() {
        println!("{case}{}", if number + 1 < cases.len() { "," } else { "" });
    }
    println!("]}}");
}
