//! JSON as it stands: the fields of an object, each with its text; what a string says; what any parser takes.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Calls `each` with the fields of an object, in their order, each with its JSON text; for some also where
/// an error follows.
pub fn each_field<'a>(
    object: &'a str,
    each: impl FnMut(Cow<'a, str>, &'a str),
) -> serde_json::Result<()> {
    struct FieldsVisitor<F>(F);

    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    impl<'de, F: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for FieldsVisitor<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((Name(name), value)) = map.next_entry::<_, &RawValue>()? {
                (self.0)(name, value.get());
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    json.deserialize_map(FieldsVisitor(each))?;
    json.end()
}

/// Whether a text that is JSON is JSON that any parser takes: numbers in the range of a double, whole characters,
/// arrays and objects nested so many levels deep at most. That it is JSON was found out by who took it out of a
/// record, which skips over numbers and escapes; so these are read, where they may be wrong, and nothing else is.
pub(super) fn is_plain(text: &str, most_levels: usize) -> bool {
    let mut levels = 0_usize;
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let (len, is_right) = match byte {
            b'"' => {
                let (len, has_codes) = string(rest);
                (len, !has_codes || reads::<Cow<str>>(text, at, len))
            }
            b'-' | b'0'..=b'9' => {
                let (len, may_be_too_large) = number(rest);
                (len, !may_be_too_large || reads::<f64>(text, at, len))
            }
            b'[' | b'{' => {
                levels += 1;
                (1, levels <= most_levels)
            }
            b']' | b'}' => {
                levels = levels.saturating_sub(1);
                (1, true)
            }
            _ => (1, true),
        };
        if !is_right {
            return false;
        }
        at += len;
    }
    true
}

/// Whether a part of a text can be read as a value.
fn reads<'a, T: Deserialize<'a>>(text: &'a str, at: usize, len: usize) -> bool {
    text.get(at..at + len).is_some_and(|part| serde_json::from_str::<T>(part).is_ok())
}

/// How long the string in front is, and whether it has characters by their codes, of which there may be a half.
pub(super) fn string(text: &[u8]) -> (usize, bool) {
    let (mut len, mut has_codes) = (1, false);
    loop {
        match text.get(len..).unwrap_or_default() {
            [] => return (len, has_codes),
            [b'"', ..] => return (len + 1, has_codes),
            [b'\\', escaped, ..] => {
                has_codes |= *escaped == b'u';
                len += 2;
            }
            _ => len += 1,
        }
    }
}

/// How long the number in front is, and whether it may be beyond a double: those have 308 digits.
fn number(text: &[u8]) -> (usize, bool) {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let len = text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len());
    let has_exponent = || text.iter().take(len).any(|byte| matches!(byte, b'e' | b'E'));
    (len, len > 300 || has_exponent())
}

/// What a JSON string says, where it has no escapes: its text as it stands. `text` is one JSON value,
/// that is, it was parsed before.
pub fn plain_string(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    // To the end, which goes by many bytes at once, where a search stops at each.
    let has_escapes = inner.bytes().fold(false, |has, byte| has | (byte == b'\\'));
    (!has_escapes).then_some(inner)
}

pub(super) fn json_string(text: &str) -> String {
    // Writing a string to memory can't fail.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// How deep a value is nested.
    fn levels(value: &Value) -> usize {
        let deepest = match value {
            Value::Array(elements) => elements.iter().map(levels).max(),
            Value::Object(fields) => fields.values().map(levels).max(),
            _ => return 0,
        };
        deepest.unwrap_or(0) + 1
    }

    /// The same by a tree of the text.
    fn is_plain_by_tree(text: &str, most: usize) -> bool {
        serde_json::from_str(text).is_ok_and(|value| levels(&value) <= most)
    }

    #[test]
    fn what_some_parser_refuses_is_not_plain() {
        let digits = |count| "9".repeat(count);
        for (text, plain) in [
            ("1e308", true),
            ("1e309", false),
            ("[-1E+309]", false),
            ("1e-999", true),
            ("12345678901234567890123", true),
            (&digits(308), true),
            (&digits(310), false),
            (&format!("0.{}", digits(1000)), true),
            (r#""\ud83d\ude00""#, true),
            (r#""\ud83d""#, false),
            (r#"["\ude00"]"#, false),
            (r#"["\\ude00"]"#, true),
            (r#"{"\ud83d":1}"#, false),
            (r#"{"a":1,"a":2}"#, true),
            ("[[]]", true),
            ("[[[]]]", false),
            ("[[],[],[]]", true),
            (r#"{"a":[{}]}"#, false),
            (r#"["[[[", "\"[[[", "\\", 1]"#, true),
            (" [ true , false , null ] ", true),
        ] {
            assert_eq!(is_plain(text, 2), plain, "{text}");
            assert_eq!(is_plain_by_tree(text, 2), plain, "{text}");
        }
    }

    /// What has some of the pieces of JSON; often it is JSON.
    fn near_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[0-9]{1,3}(\\.[0-9]{1,2})?([eE][+-]?[0-9]{1,4})?",
            r#""([ -!#-\[\]-~ü東]|\\["\\/bnu]|\\u(d83d\\ude0|d8|00)[0-9a-f]{1,2}){0,4}""#,
            "null|true|false|tru|\\PC{0,3}",
        ];
        leaf.prop_recursive(5, 24, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3)
                    .prop_map(|all| format!("[{}]", all.join(","))),
                // No name twice: a tree keeps but the last.
                proptest::collection::vec(inner, 0..3).prop_map(|all| {
                    let fields = (0..).zip(&all).map(|(n, value)| format!("\"{n}\": {value}"));
                    format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn of_any_json_it_is_what_a_tree_says(text in near_json(), most in 0_usize..6) {
            let is_plain = is_plain(&text, most);
            if serde_json::from_str::<&RawValue>(&text).is_ok() {
                prop_assert_eq!(is_plain, is_plain_by_tree(&text, most));
            }
        }
    }
}
