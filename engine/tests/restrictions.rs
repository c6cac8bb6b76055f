//! Nothing that restricts a key is dropped in silence. A record that would be refused has its restriction renamed,
//! retyped and nested; then it is an error, or refused all the same, and never VALID.

use apikey_engine::record::addresses::Address;
use apikey_engine::record::digest::Digest;
use apikey_engine::record::fields::FieldNames;
use apikey_engine::record::layout::Record;
use apikey_engine::record::sanitise::{ExtraFields, Limits, Parts};
use apikey_engine::record::values::NaiveTimes;
use apikey_engine::record::verdict::{judge, Verdict};
use proptest::prelude::*;
use std::borrow::Cow;

const NOW: i64 = 1_780_000_000_000;
const DIGEST: Digest = [7; 32];

type Restriction = (&'static [&'static str], &'static [&'static str]);

/// What restricts a key: the names of such fields in words, and what they hold when the key is not to be used.
const EXPIRY: Restriction = (
    &[
        "expires at",
        "expires",
        "expiry",
        "expiry date",
        "expiration",
        "expiration time",
        "expire on",
        "valid until",
        "not after",
        "exp",
        "expired at",
    ],
    &[
        "1700000000000",
        "1700000000",
        "1700000000000000",
        "1700000000000000000",
        "\"1700000000000\"",
        "\"1700000000\"",
        "\"2023-11-14T22:13:20Z\"",
        "\"2023-11-14 22:13:20+00\"",
        "\"2023-11-14 22:13:20\"",
        "\"2023-11-14\"",
        "\"-infinity\"",
        "0",
        "-1",
        "1.7e12",
        "{\"$date\":\"2023-11-14T22:13:20Z\"}",
        "[2023,11,14]",
        "true",
        "\"\"",
        "\"0000-00-00 00:00:00\"",
    ],
);
const STATE: Restriction = (
    &["is active", "active", "enabled", "is enabled", "status", "state", "key active"],
    &[
        "false",
        "0",
        "\"false\"",
        "\"f\"",
        "null",
        "\"no\"",
        "\"inactive\"",
        "\"revoked\"",
        "{}",
        "[]",
        "[false]",
        "\"\\u0000\"",
        "0.0",
        "-1",
    ],
);
const TAKEN_BACK: Restriction = (
    &[
        "revoked",
        "revoked at",
        "is revoked",
        "deleted at",
        "deleted",
        "is deleted",
        "disabled",
        "disabled at",
        "archived at",
        "is archived",
        "suspended",
        "suspended until",
        "blocked",
        "banned at",
        "deactivated at",
        "locked",
    ],
    &[
        "true",
        "1",
        "\"true\"",
        "\"t\"",
        "\"2023-11-14T22:13:20Z\"",
        "1700000000",
        "{\"at\":1}",
        "[1]",
        "\"by admin\"",
    ],
);
const ADDRESSES: Restriction = (
    &[
        "allowed ips",
        "ip whitelist",
        "ip allowlist",
        "allowlist",
        "ips",
        "ip ranges",
        "ip restrictions",
        "denied ips",
    ],
    &[
        "[]",
        "[\"10.0.0.1\"]",
        "[\"10.0.0.0/8\"]",
        "[\"10.0.0.1/8\"]",
        "\"10.0.0.1\"",
        "\"10.0.0.1,10.0.0.2\"",
        "{\"v4\":[\"10.0.0.1\"]}",
        "[{\"cidr\":\"10.0.0.0/8\"}]",
        "[\"*\"]",
        "[null]",
        "1",
    ],
);

/// Ways to write a name.
fn spelled(words: &str, way: u8, prefix: &str) -> String {
    let words: Vec<&str> =
        prefix.split(' ').chain(words.split(' ')).filter(|w| !w.is_empty()).collect();
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    match way % 8 {
        0 => words.join("_"),
        1 => words
            .iter()
            .enumerate()
            .map(|(n, w)| if n == 0 { (*w).into() } else { capital(w) })
            .collect(),
        2 => words.iter().map(|word| capital(word)).collect(),
        3 => words.join("-"),
        4 => words.join("_").to_uppercase(),
        5 => words.join(" "),
        6 => words.join("."),
        _ => words.concat(),
    }
}

/// A field, put into another so deep.
fn nested(field: &str, ways: &[u8]) -> String {
    ways.iter().fold(field.to_string(), |field, way| match way % 5 {
        0 => format!("\"metadata\":{{{field}}}"),
        1 => format!("\"limits\":[{{{field}}}]"),
        2 => format!("\"data\":{}", serde_json::to_string(&format!("{{{field}}}")).unwrap()),
        3 => format!("\"created_at\":{{\"a\":1,{field}}}"),
        _ => format!("\"extra\":[1,[{{\"b\":null,{field}}}]]"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_restriction_is_dropped_in_silence(
        (names, values) in prop_oneof![Just(EXPIRY), Just(STATE), Just(TAKEN_BACK), Just(ADDRESSES)],
        name in any::<prop::sample::Index>(),
        value in any::<prop::sample::Index>(),
        way in any::<u8>(),
        prefix in prop_oneof![4 => Just(""), 1 => Just("key"), 1 => Just("api key"), 1 => Just("token")],
        nests in proptest::collection::vec(any::<u8>(), 0..4),
        is_first in any::<bool>(),
        naive_times in prop_oneof![Just(NaiveTimes::Refuse), Just(NaiveTimes::Utc)],
        makes_tag in any::<bool>(),
    ) {
        let name = spelled(names[name.index(names.len())], way, prefix);
        // To make a tag is no way to be dropped.
        let tag_fields = if makes_tag { vec![name.clone()] } else { Vec::new() };
        let field = format!(
            "{}:{}",
            serde_json::to_string(&name).unwrap(),
            values[value.index(values.len())]
        );
        let field = nested(&field, &nests);
        let mut fields = vec![r#""id":"k""#, r#""user_id":"u""#, r#""is_active":true"#];
        fields.insert(if is_first { 0 } else { 3 }, &field);
        let input = format!("{{{}}}", fields.join(","));
        let inactive = ["revoked", "revoked_at", "deleted_at", "disabled", "disabled_at", "archived_at"];
        let inactive = inactive.map(Cow::Borrowed);
        let limits = Limits {
            max_record_bytes: 1 << 20,
            max_name_bytes: 100,
            max_scopes: 64,
            extra_fields: ExtraFields::Named(&[]),
            digest_field: None,
            field_names: &FieldNames::NONE,
            dropped_fields: &[],
            inactive_fields: &inactive,
            scope_fields: &[],
            tag_fields: &tag_fields,
            naive_times,
        };
        let Ok(parts) = Parts::sanitise(input.as_bytes(), &limits) else { return Ok(()) };
        let record = Record::new(&parts, &[DIGEST.into()], b"", &[]).unwrap();
        prop_assert!(Record::read(record.bytes()).unwrap().is_sound());
        let address = Address::parse(b"192.0.2.1");
        let verdict = judge(&record, Some(&DIGEST), || address, [], NOW);
        prop_assert!(
            matches!(verdict, Verdict::Disabled | Verdict::Expired | Verdict::ForbiddenIp),
            "{verdict:?}: {input}"
        );
    }
}
