//! Scopes: what a record grants, and whether that covers a request.
//!
//! A scope is a text (`users:read`, `orders:*`, `*`, `read`) or an object of a resource and actions,
//! each of which stands for `resource:action`. A scope grants a request when they are equal; or,
//! both split at the first colon, when each part of the scope is equal or `*`. The text `*` alone
//! grants everything. In a request `*` is a character like any other.
//!
//! A record keeps its scopes in bytes that are matched where they lie: for each scope a letter (`t`,
//! `o`), for an object the number of its actions, then the texts, each behind its length. Numbers
//! have two bytes, the lower first. [`Scopes`] writes them, [`grant`] reads them.

use crate::record::fields::MAX_EXTRA_FIELDS;
use crate::record::json::Word;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::Deserializer;
use std::fmt;
use std::mem::replace;

/// The most bytes that a scope, a resource or an action may have.
pub const MAX_SCOPE_BYTES: usize = 1024;

const TEXT: u8 = b't';
const OBJECT: u8 = b'o';

/// The scopes of a record, as its JSON array gives them.
#[derive(Debug, Default)]
pub struct Scopes {
    /// What [`grant`] reads.
    pub bytes: Vec<u8>,
    /// What a request may have to be compared with: texts, and actions of objects. An object without any is
    /// looked at as well.
    pub count: usize,
    /// Names of fields that objects have beside `resource` and `actions`, each once, and no more of them than one that is
    /// not known must be among: a great many would be compared with each other for seconds.
    pub fields: Vec<String>,
    /// A text begins with `!` or `-`, by which some mean what is not granted.
    pub has_denials: bool,
    /// No text is longer than [`MAX_SCOPE_BYTES`], and no object has more than 65,535 actions; if not, the
    /// bytes are of no use.
    pub are_bounded: bool,
}

impl Scopes {
    /// Reads an array, in memory that was used before.
    pub fn read(array: &str, mut memory: Vec<u8>) -> serde_json::Result<Self> {
        memory.clear();
        let mut scopes = Self { bytes: memory, are_bounded: true, ..Self::default() };
        let mut json = serde_json::Deserializer::from_str(array);
        json.deserialize_seq(ScopesVisitor(&mut scopes))?;
        json.end()?;
        Ok(scopes)
    }

    #[inline]
    fn push_text(&mut self, text: &str) {
        let len = text.len();
        self.are_bounded &= len <= MAX_SCOPE_BYTES;
        self.has_denials |= matches!(text.as_bytes(), [b'!' | b'-', ..]);
        self.push_number(len);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn push_number(&mut self, number: usize) {
        let number = self.number(number);
        self.bytes.extend_from_slice(&number);
    }

    fn number(&mut self, number: usize) -> [u8; 2] {
        let number = u16::try_from(number).unwrap_or_else(|_| {
            self.are_bounded = false;
            u16::MAX
        });
        number.to_le_bytes()
    }
}

struct ScopesVisitor<'s>(&'s mut Scopes);

impl<'de> Visitor<'de> for ScopesVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(OneScope(self.0))?.is_some() {}
        Ok(())
    }
}

struct OneScope<'s>(&'s mut Scopes);

impl<'de> DeserializeSeed<'de> for OneScope<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneScope<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string or an object with resource and actions")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.count += 1;
        self.0.bytes.push(TEXT);
        self.0.push_text(text);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let scopes = self.0;
        let (mut has_resource, mut actions) = (false, None::<usize>);
        scopes.bytes.push(OBJECT);
        let count_at = scopes.bytes.len();
        scopes.push_number(0);
        let texts_at = scopes.bytes.len();
        while let Some(Word(name)) = map.next_key()? {
            let twice = match name.as_ref() {
                "resource" => {
                    let Word(resource) = map.next_value()?;
                    let actions_end = scopes.bytes.len();
                    scopes.push_text(&resource);
                    // It stands before the actions, which may have come first.
                    let len = scopes.bytes.len() - actions_end;
                    if let Some(texts) = scopes.bytes.get_mut(texts_at..) {
                        texts.rotate_right(len);
                    }
                    replace(&mut has_resource, true)
                }
                "actions" => actions.replace(map.next_value_seed(Actions(scopes))?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    if scopes.fields.len() <= MAX_EXTRA_FIELDS
                        && !scopes.fields.iter().any(|f| *f == name)
                    {
                        scopes.fields.push(name.into_owned());
                    }
                    false
                }
            };
            if twice {
                return Err(Error::custom("a field is given twice"));
            }
        }
        let (true, Some(actions)) = (has_resource, actions) else {
            return Err(Error::custom("a field is missing"));
        };
        scopes.count += actions.max(1);
        let count = scopes.number(actions);
        if let Some(to) = scopes.bytes.get_mut(count_at..texts_at) {
            to.copy_from_slice(&count);
        }
        Ok(())
    }
}

/// Reads the actions of an object behind what was read before, and counts them.
struct Actions<'s>(&'s mut Scopes);

impl<'de> DeserializeSeed<'de> for Actions<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Actions<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(Word(action)) = seq.next_element()? {
            self.0.push_text(&action);
            count += 1;
        }
        Ok(count)
    }
}

/// Whether scopes ([`Scopes::bytes`]) grant the request. A text is compared where it is as long as one that
/// would grant, and is not searched.
pub fn grant(mut bytes: &[u8], request: &[u8]) -> bool {
    let parts = split(request);
    while let Some((&kind, rest)) = bytes.split_first() {
        bytes = rest;
        let granted = match kind {
            TEXT => text_grants(next_text(&mut bytes), request, parts),
            _ => {
                let count = next_u16(&mut bytes);
                let resource = next_text(&mut bytes);
                // The action that grants, and whether `*` does too: where both hold it is the same.
                let equal = request.strip_prefix(resource).and_then(|r| r.strip_prefix(b":"));
                let covered = parts.filter(|parts| covers(resource, parts.0)).map(|parts| parts.1);
                let asked = covered.or(equal);
                let mut granted = false;
                for _ in 0..count {
                    let action = next_text(&mut bytes);
                    granted =
                        granted || asked == Some(action) || covered.is_some() && action == b"*";
                }
                granted
            }
        };
        if granted {
            return true;
        }
    }
    false
}

/// `parts` are those of the request. Its resource has no colon, so a scope whose first part is that one, or
/// `*`, has its first colon right behind.
fn text_grants(scope: &[u8], request: &[u8], parts: Option<(&[u8], &[u8])>) -> bool {
    if scope == b"*" || scope == request {
        return true;
    }
    parts.is_some_and(|(asked_resource, asked_action)| match scope {
        [b'*', b':', action @ ..] if covers(action, asked_action) => true,
        [resource @ .., b':', b'*'] => resource == asked_resource,
        _ => false,
    })
}

/// Whether a part of a scope grants that of a request.
fn covers(part: &[u8], asked: &[u8]) -> bool {
    part == b"*" || part == asked
}

/// Both sides of the first colon.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

fn next_u16(bytes: &mut &[u8]) -> u16 {
    let Some((number, rest)) = bytes.split_first_chunk() else { return 0 };
    *bytes = rest;
    u16::from_le_bytes(*number)
}

fn next_text<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let len = usize::from(next_u16(bytes)).min(bytes.len());
    let (text, rest) = bytes.split_at(len);
    *bytes = rest;
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(scopes: &str) -> serde_json::Result<Scopes> {
        Scopes::read(&format!("[{scopes}]"), b"used".to_vec())
    }

    fn grants(scope: &str, request: &str) -> bool {
        let scopes = read(scope).unwrap();
        assert!(scopes.are_bounded);
        grant(&scopes.bytes, request.as_bytes())
    }

    #[test]
    fn a_scope_grants_what_the_table_says() {
        let cases = [
            (r#""users:read""#, "users:read", true),
            (r#""users:read""#, "users:write", false),
            (r#""users:read""#, "users", false),
            (r#""users:read""#, "users:read:all", false),
            (r#""users:*""#, "users:read", true),
            (r#""users:*""#, "users:read:all", true),
            (r#""users:*""#, "orders:read", false),
            (r#""users:*""#, "users", false),
            (r#""*:read""#, "users:read", true),
            (r#""*:read""#, "users:write", false),
            (r#""*:read""#, "read", false),
            (r#""*:*""#, "users:read", true),
            (r#""*:*""#, "read", false),
            (r#""*""#, "users:read", true),
            (r#""*""#, "read", true),
            (r#""read""#, "read", true),
            (r#""read""#, "users:read", false),
            (r#""users:read""#, "users:*", false),
            (r#""users:read""#, "*", false),
            (r#""users:*""#, "users:*", true),
            (r#""us*:read""#, "users:read", false),
            (r#""a:b:*""#, "a:b:c", false),
            (r#""a:b:c""#, "a:b:c", true),
            (r#""""#, "read", false),
            (r#"{"resource":"users","actions":["read","write"]}"#, "users:write", true),
            (r#"{"resource":"users","actions":["read","write"]}"#, "users:delete", false),
            (r#"{"resource":"users","actions":["*"]}"#, "users:delete", true),
            (r#"{"resource":"*","actions":["read"]}"#, "orders:read", true),
            (r#"{"resource":"*","actions":["*"]}"#, "orders:read", true),
            (r#"{"resource":"*","actions":["*"]}"#, "orders", false),
            (r#"{"resource":"users","actions":[]}"#, "users:read", false),
            (r#"{"resource":"a:b","actions":["c"]}"#, "a:b:c", true),
            (r#"{"resource":"a:b","actions":["*"]}"#, "a:b:c", false),
            (r#"{"resource":"us\u0065rs","actions":["read"],"note":1}"#, "users:read", true),
        ];
        for (scope, request, granted) in cases {
            assert_eq!(grants(scope, request), granted, "{scope} for {request}");
        }
    }

    #[test]
    fn what_a_request_is_compared_with_is_counted() {
        let object = |actions: &str| format!(r#"{{"resource":"r","actions":[{actions}]}}"#);
        let three = object(r#""a","b","c""#);
        for (scopes, count) in [
            (String::new(), 0),
            (r#""a:b","*""#.into(), 2),
            (object(""), 1),
            (object(r#""a""#), 1),
            (three.clone(), 3),
            (format!(r#""a",{three},{},{three}"#, object("")), 8),
        ] {
            assert_eq!(read(&scopes).unwrap().count, count, "{scopes}");
        }
    }

    #[test]
    fn of_many_further_fields_the_first_are_named() {
        let named = |count| {
            let fields: String = (0..count).map(|n| format!(r#","f{}":0"#, n % 1000)).collect();
            read(&format!(r#"{{"resource":"r","actions":[]{fields}}}"#)).unwrap().fields
        };
        assert_eq!(named(2), ["f0", "f1"]);
        assert_eq!(named(32).len(), 32);
        // As many as `scope-fields` has names, and one more.
        assert_eq!(named(33), named(100_000));
    }

    #[test]
    fn other_shapes_are_no_scopes() {
        for shape in [
            "1",
            "null",
            "[]",
            "{}",
            r#"{"resource":"users"}"#,
            r#"{"actions":["read"]}"#,
            r#"{"resource":1,"actions":["read"]}"#,
            r#"{"resource":"users","actions":"read"}"#,
            r#"{"resource":"users","actions":[1]}"#,
            r#"{"resource":"users","actions":[],"resource":"orders"}"#,
        ] {
            assert!(read(shape).is_err(), "{shape}");
        }
        assert!(Scopes::read("{}", Vec::new()).is_err());
    }

    #[test]
    fn a_later_scope_grants_what_the_first_does_not() {
        let bytes = read(r#""users:read","orders:*""#).unwrap().bytes;
        assert!(grant(&bytes, b"orders:list"));
        assert!(!grant(&bytes, b"users:list"));
        assert!(!grant(&[], b"users:list"));
    }

    #[test]
    fn a_scope_that_is_too_long_is_noticed() {
        let long = "x".repeat(MAX_SCOPE_BYTES);
        let too_long = "x".repeat(MAX_SCOPE_BYTES + 1);
        let actions = |count| vec![r#""a""#; count].join(",");
        for (scopes, are_bounded) in [
            (format!(r#""{long}""#), true),
            (format!(r#""{too_long}","a""#), false),
            (format!(r#""{}""#, "x".repeat(70_000)), false),
            (format!(r#"{{"resource":"{too_long}","actions":[]}}"#), false),
            (format!(r#"{{"resource":"r","actions":["{too_long}","a"]}}"#), false),
            (format!(r#"{{"resource":"r","actions":[{}]}}"#, actions(65_535)), true),
            (format!(r#"{{"resource":"r","actions":[{}]}}"#, actions(65_536)), false),
        ] {
            assert_eq!(read(&scopes).unwrap().are_bounded, are_bounded, "{:.40}", scopes);
        }
    }

    /// What the top of this file says, word by word, of a scope in two parts.
    fn parts_grant(scope: (&str, &str), request: &str) -> bool {
        let covers = |part: &str, asked: &str| part == "*" || part == asked;
        let by_parts = |asked: (&str, &str)| covers(scope.0, asked.0) && covers(scope.1, asked.1);
        request == format!("{}:{}", scope.0, scope.1)
            || request.split_once(':').is_some_and(by_parts)
    }

    proptest! {
        #[test]
        fn any_scope_grants_what_the_rule_says(
            texts in proptest::collection::vec("[ab*:]{0,5}", 0..4),
            resource in "[ab*:]{0,3}",
            actions in proptest::collection::vec("[ab*:]{0,3}", 0..4),
            request in "[ab*:]{0,5}",
        ) {
            let object = serde_json::json!({"resource": resource, "actions": actions});
            let mut all: Vec<_> = texts.iter().cloned().map(serde_json::Value::from).collect();
            all.push(object);
            let scopes = Scopes::read(&serde_json::Value::from(all).to_string(), Vec::new()).unwrap();
            let by_text = texts.iter().any(|text| {
                text == "*"
                    || *text == request
                    || text.split_once(':').is_some_and(|scope| parts_grant(scope, &request))
            });
            let by_object = actions.iter().any(|action| parts_grant((&resource, action), &request));
            prop_assert_eq!(grant(&scopes.bytes, request.as_bytes()), by_text || by_object);
        }
    }
}
