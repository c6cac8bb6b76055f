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

const SCOPES: Restriction = (
    &[
        "scope",
        "scopes",
        "scope list",
        "granted scope",
        "oauth scopes",
        "scoped teams",
        "permissions",
        "permission level",
        "abilities",
        "privileges",
        "capabilities",
        "entitlements",
        "acl",
        "policy",
        "policies",
        "access rights",
        "denied scopes",
    ],
    &[
        "[]",
        "null",
        "[\"read\"]",
        "[\"!admin\"]",
        "[\"-admin\"]",
        "\"read write\"",
        "\"read,write\"",
        "{\"read\":true}",
        "{\"read\":[\"a\"]}",
        "[{\"resource\":\"a\",\"actions\":[\"read\"]}]",
        "[{\"resource\":\"a\",\"actions\":[\"read\"],\"effect\":\"deny\"}]",
        "[{\"effect\":\"deny\",\"id\":1}]",
        "[{\"resource\":\"a\"}]",
        "[null]",
        "[[\"read\"]]",
        "1",
        "\"*\"",
        "\"[\\\"read\\\"]\"",
    ],
);

/// What a request asks of a key that has [`SCOPES`]: none of them grants it.
const ASKED: &[u8] = b"write:everything";

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
        2 => format!("\"data\":{}", json(&format!("{{{field}}}"))),
        3 => format!("\"created_at\":{{\"a\":1,{field}}}"),
        _ => format!("\"extra\":[1,[{{\"b\":null,{field}}}]]"),
    })
}

/// What comes of a record with these fields beside what it needs; `None` where it is refused.
fn verdict(
    fields: &str,
    is_first: bool,
    tag_fields: &[String],
    naive_times: NaiveTimes,
) -> Option<Verdict> {
    let needed = r#""id":"k","user_id":"u","is_active":true"#;
    let input = match is_first {
        true => format!("{{{fields},{needed}}}"),
        false => format!("{{{needed},{fields}}}"),
    };
    let inactive =
        ["revoked", "revoked_at", "deleted_at", "disabled", "disabled_at", "archived_at"];
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
        tag_fields,
        naive_times,
    };
    let parts = Parts::sanitise(input.as_bytes(), &limits).ok()?;
    let record = Record::new(&parts, &[DIGEST.into()], b"", &[]).unwrap();
    assert!(Record::read(record.bytes()).unwrap().is_sound());
    let address = Address::parse(b"192.0.2.1");
    Some(judge(&record, Some(&DIGEST), || address, [ASKED], NOW))
}

/// Whether a key that has something may be used for what nobody granted it; one that has no scopes may not, so that
/// what is VALID here had them by a wildcard, or is used without asking.
fn is_good(verdict: &Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Valid | Verdict::Unverified | Verdict::Forbidden(_)))
}

/// Names that others have given restrictions: they are not the engine's own list, so that what is missing there is found
/// here. A name of a record's own fields, as it is, may be good: it is judged.
#[test]
fn no_restriction_of_a_documented_system_is_dropped_in_silence() {
    let names = include_str!("../../tests/data/restrictions.txt");
    let names = names.lines().filter(|line| !line.starts_with('#'));
    let mut dropped = Vec::new();
    let mut count = 0;
    for line in names {
        let (name, system) = line.split_once('\t').unwrap();
        count += 1;
        let words = name.replace('_', " ");
        for way in 0..8 {
            let name = spelled(&words, way, "");
            for value in ["true", "false", "\"2020-01-01T00:00:00Z\"", "[\"x\"]"] {
                for nests in [&[][..], &[0], &[2]] {
                    let field = nested(&format!("{}:{value}", json(&name)), nests);
                    let is_default = matches!(
                        name.as_str(),
                        "revoked"
                            | "deleted_at"
                            | "disabled"
                            | "archived_at"
                            | "revoked_at"
                            | "is_active"
                            | "scopes"
                    );
                    let verdict = verdict(&field, false, &[], NaiveTimes::Refuse);
                    if is_good(&verdict) && !is_default {
                        dropped.push(format!("{name} of {system}"));
                    }
                }
            }
        }
    }
    dropped.dedup();
    assert!(dropped.is_empty(), "{}: {dropped:#?}", dropped.len());
    assert!(count > 200);
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_restriction_is_dropped_in_silence(
        (names, values) in prop_oneof![
            Just(EXPIRY), Just(STATE), Just(TAKEN_BACK), Just(ADDRESSES), Just(SCOPES)
        ],
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
        let field = format!("{}:{}", json(&name), values[value.index(values.len())]);
        let field = nested(&field, &nests);
        let verdict = verdict(&field, is_first, &tag_fields, naive_times);
        // Scopes that are judged leave the key good, for what they grant.
        let is_judged = name == "scopes" && nests.is_empty() && matches!(verdict, Some(Verdict::Forbidden(_)));
        prop_assert!(is_judged || !is_good(&verdict), "{verdict:?}: {field}");
    }
}
