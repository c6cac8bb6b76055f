//! JSON as it stands: the fields of an object, each with its text; what a string says; what any parser takes.

use memchr::memchr;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// What a string says, where it stands if it has no escapes.
#[derive(Deserialize)]
pub(super) struct Word<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Calls `each` with the fields of an object, in their order, each with its JSON text; for some also where
/// an error follows.
pub fn each_field<'a>(
    object: &'a str,
    mut each: impl FnMut(Cow<'a, str>, &'a str),
) -> serde_json::Result<()> {
    let mut fields = Found::new();
    if !has_no_escapes(object, &mut fields) {
        return each_parsed(object, &mut each);
    }
    for &(name, value) in &fields {
        each(Cow::Borrowed(name), value);
    }
    Ok(())
}

/// The same by a parser, of whatever object. What is wrong with one is told by it alone.
fn each_parsed<'a>(
    object: &'a str,
    each: &mut dyn FnMut(Cow<'a, str>, &'a str),
) -> serde_json::Result<()> {
    struct FieldsVisitor<'e, 'a>(&'e mut dyn FnMut(Cow<'a, str>, &'a str));

    impl<'a> Visitor<'a> for FieldsVisitor<'_, 'a> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some((Word(name), value)) = map.next_entry::<_, &RawValue>()? {
                (self.0)(name, value.get());
            }
            Ok(())
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    json.deserialize_map(FieldsVisitor(each))?;
    json.end()
}

/// Names of fields, each with its JSON text.
type Found<'a> = SmallVec<[(&'a str, &'a str); 32]>;

/// Finds the fields of an object that has no escapes and no control characters, whose own values are strings, whole
/// numbers, words, arrays and objects, no more of them than [`Found`] has room for; not those of any other, and not where
/// something is wrong. Nearly all records are such, and to find their fields so takes half the instructions that the
/// parser does.
fn has_no_escapes<'a>(object: &'a str, fields: &mut Found<'a>) -> bool {
    // Of all bytes, which goes by many at once.
    let is_special = |byte: u8| (byte == b'\\') | (byte < b' ');
    !object.bytes().fold(false, |has, byte| has | is_special(byte))
        && find_fields(object, fields).is_some()
}

fn find_fields<'a>(object: &'a str, fields: &mut Found<'a>) -> Option<()> {
    let mut left = blanks(object).strip_prefix('{')?;
    loop {
        let name;
        (name, left) = string_in_front(blanks(left))?;
        left = blanks(blanks(left).strip_prefix(':')?);
        let value;
        (value, left) = match left.as_bytes().first()? {
            b'"' => {
                let (string, behind) = string_in_front(left)?;
                (left.get(..string.len() + 2)?, behind)
            }
            b'[' | b'{' => {
                let mut values = serde_json::Deserializer::from_str(left).into_iter::<&RawValue>();
                let value = values.next()?.ok()?.get();
                (value, left.get(value.len()..)?)
            }
            _ => {
                let end = left.bytes().position(|byte| matches!(byte, b',' | b'}' | b' '))?;
                let (value, behind) = left.split_at_checked(end)?;
                if !matches!(value, "true" | "false" | "null") && !is_whole(value) {
                    return None;
                }
                (value, behind)
            }
        };
        if fields.len() == fields.inline_size() {
            return None;
        }
        fields.push((name, value));
        left = blanks(left);
        match left.as_bytes().first()? {
            b',' => left = left.get(1..)?,
            b'}' => return blanks(left.get(1..)?).is_empty().then_some(()),
            _ => return None,
        }
    }
}

/// A text without the blanks in front.
fn blanks(text: &str) -> &str {
    match text.as_bytes() {
        [b' ', ..] => text.trim_start_matches(' '),
        _ => text,
    }
}

/// What the string in front says, in which nothing is an escape, and what is behind.
fn string_in_front(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let (string, behind) = text.split_at_checked(memchr(b'"', text.as_bytes())?)?;
    Some((string, behind.get(1..)?))
}

/// Whether a text is a whole number as JSON has it, without an exponent.
fn is_whole(text: &str) -> bool {
    match text.strip_prefix('-').unwrap_or(text).as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
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
        let left = text.get(len..).unwrap_or_default();
        let plain = left.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        len += plain.unwrap_or(left.len());
        match text.get(len..).unwrap_or_default() {
            [b'\\', escaped, ..] => {
                has_codes |= *escaped == b'u';
                len += 2;
            }
            [_, ..] => return (len + 1, has_codes),
            [] => return (len, has_codes),
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

    /// The fields that one way or the other finds.
    fn found<'a>(
        by: impl FnOnce(&'a str, &mut dyn FnMut(Cow<'a, str>, &'a str)) -> serde_json::Result<()>,
        object: &'a str,
    ) -> Result<Vec<(Cow<'a, str>, &'a str)>, String> {
        let mut fields = Vec::new();
        by(object, &mut |name, value| fields.push((name, value))).map_err(|e| e.to_string())?;
        Ok(fields)
    }

    #[test]
    fn fields_are_found_without_the_parser_where_there_are_no_escapes() {
        for object in [
            r#"{"id":"k","user_id":42,"is_active":true,"expires_at":null,"scopes":["a", "b"]}"#,
            " {  \"a\" : -1 , \"b\":{ \"c\" : 1e9 } , \"\":\"longer than sixteen characters \u{1F511}\" } ",
            r#"{"a":1,"a":2}"#,
        ] {
            assert!(has_no_escapes(object, &mut Found::new()), "{object}");
            assert_eq!(found(|o, e| each_field(o, e), object), found(each_parsed, object));
        }
        let many = |fields: usize| format!("{{{}}}", vec![r#""a":1"#; fields].join(","));
        assert!(has_no_escapes(&many(32), &mut Found::new()));
        for object in [
            &many(33),
            "{}",
            "{\"a\":\n1}",
            r#"{"a":["\u0061"]}"#,
            r#"{"a":"\n"}"#,
            r#"{"\n":1}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":1.5}"#,
            r#"{"a":01}"#,
            r#"{"a":-}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            r#"[1]"#,
            "",
            r#"{"a":tru}"#,
            r#"{"a":1 2}"#,
            r#"{"a"}"#,
            r#"{"a":"b}"#,
            r#"{"a":1,,"b":2}"#,
            r#"{,"a":1}"#,
        ] {
            assert!(!has_no_escapes(object, &mut Found::new()), "{object}");
            assert_eq!(found(|o, e| each_field(o, e), object), found(each_parsed, object));
        }
    }

    proptest! {
        #[test]
        fn fields_are_those_that_the_parser_finds(
            names in proptest::collection::vec("[a-z\\\\\"ü ]{0,20}", 0..4),
            values in proptest::collection::vec(near_json(), 4),
            blank in "[ \\t\\n]{0,2}",
            end in "[}]?[ ,}]?",
        ) {
            let field = |(name, value): (&String, &String)| {
                format!("{blank}\"{name}\"{blank}:{blank}{value}{blank}")
            };
            let fields: Vec<_> = names.iter().zip(&values).map(field).collect();
            let object = format!("{{{}{end}", fields.join(","));
            prop_assert_eq!(found(|o, e| each_field(o, e), &object), found(each_parsed, &object));
        }

        #[test]
        fn of_any_json_it_is_what_a_tree_says(text in near_json(), most in 0_usize..6) {
            let is_plain = is_plain(&text, most);
            if serde_json::from_str::<&RawValue>(&text).is_ok() {
                prop_assert_eq!(is_plain, is_plain_by_tree(&text, most));
            }
        }
    }
}
