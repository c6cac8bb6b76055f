//! JSON as it stands: the fields of an object, each with its text; what a string says; what any parser takes.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
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

/// Whether a text is JSON that any parser takes: numbers in the range of a double, whole characters, arrays
/// and objects nested so many levels deep at most. It is read through once and nothing of it is kept.
pub(super) fn is_plain(text: &str, levels: usize) -> bool {
    let mut json = serde_json::Deserializer::from_str(text);
    Plain { levels }.deserialize(&mut json).is_ok() && json.end().is_ok()
}

/// Any value, in which arrays and objects may be nested so many levels deep.
#[derive(Clone, Copy)]
struct Plain {
    levels: usize,
}

impl Plain {
    /// What may stand in an array or an object.
    fn within<E: Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(E::custom("it is nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        // Which reads numbers and escapes, where what skips a value does not.
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while seq.next_element_seed(within)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let within = self.within()?;
        // A name is a string, and nests nothing.
        while map.next_key_seed(within)?.is_some() {
            map.next_value_seed(within)?;
        }
        Ok(())
    }
}

/// What a JSON string says, where it has no escapes: its text as it stands. `text` is one JSON value,
/// that is, it was parsed before.
pub fn plain_string(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
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
        for (text, plain) in [
            ("1e308", true),
            ("1e309", false),
            ("-1e309", false),
            ("1e-999", true),
            ("12345678901234567890123", true),
            ("01", false),
            (r#""\ud83d\ude00""#, true),
            (r#""\ud83d""#, false),
            (r#"["\ude00"]"#, false),
            (r#"{"\ud83d":1}"#, false),
            (r#"{"a":1,"a":2}"#, true),
            (r#"{1:1}"#, false),
            ("[[]]", true),
            ("[[[]]]", false),
            (r#"{"a":[{}]}"#, false),
            ("[1,]", false),
            ("[1] 2", false),
            (" [1] ", true),
            ("", false),
        ] {
            assert_eq!(is_plain(text, 2), plain, "{text}");
            assert_eq!(is_plain_by_tree(text, 2), plain, "{text}");
        }
    }

    /// What has some of the pieces of JSON; often it is JSON.
    fn near_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[0-9]{1,3}(\\.[0-9]{1,2})?([eE][+-]?[0-9]{1,4})?",
            r#""([ -!#-\[\]-~ü東]|\\\\["\\\\/bnu]|\\\\u[d0][89c0][0-9a-f]{2}){0,4}""#,
            "null|true|false|tru|\\PC{0,3}",
        ];
        leaf.prop_recursive(5, 24, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3)
                    .prop_map(|all| format!("[{}]", all.join(","))),
                proptest::collection::vec((r#""[a-b]""#, inner), 0..3).prop_map(|all| {
                    let all: Vec<String> =
                        all.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                    format!("{{{}}}", all.join(", "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_a_tree_says(text in near_json(), most in 0_usize..6) {
            prop_assert_eq!(is_plain(&text, most), is_plain_by_tree(&text, most));
        }
    }
}
