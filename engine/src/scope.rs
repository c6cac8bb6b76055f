//! Scopes: what a record grants, and whether that covers a request.
//!
//! A scope is a text (`users:read`, `orders:*`, `*`, `read`) or an object of a resource and actions,
//! each of which stands for `resource:action`. A scope grants a request when they are equal; or,
//! both split at the first colon, when each part of the scope is equal or `*`. The text `*` alone
//! grants everything. In a request `*` is a character like any other.
//!
//! A record keeps its scopes in bytes that are matched where they lie: for each scope a letter (`t`,
//! `o`), for an object the number of its actions, then the texts, each behind its length. Numbers
//! have two bytes, the lower first. [`push`] writes them, [`grant`] reads them.

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// The most bytes that a scope, a resource or an action may have.
pub const MAX_SCOPE_BYTES: usize = 1024;

/// A scope as a record gives it.
#[derive(Debug, PartialEq)]
pub enum Scope<'a> {
    Text(Cow<'a, str>),
    Object { resource: String, actions: Vec<String> },
}

impl<'de: 'a, 'a> Deserialize<'de> for Scope<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ScopeVisitor;

        impl<'de> Visitor<'de> for ScopeVisitor {
            type Value = Scope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or an object with resource and actions")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scope<'de>, E> {
                Ok(Scope::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scope<'de>, E> {
                Ok(Scope::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scope<'de>, A::Error> {
                let (mut resource, mut actions) = (None, None);
                while let Some(name) = map.next_key::<String>()? {
                    let twice = match name.as_str() {
                        "resource" => resource.replace(map.next_value()?).is_some(),
                        "actions" => actions.replace(map.next_value()?).is_some(),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            false
                        }
                    };
                    if twice {
                        return Err(Error::custom("a field is given twice"));
                    }
                }
                match (resource, actions) {
                    (Some(resource), Some(actions)) => Ok(Scope::Object { resource, actions }),
                    _ => Err(Error::custom("a field is missing")),
                }
            }
        }

        from.deserialize_any(ScopeVisitor)
    }
}

const TEXT: u8 = b't';
const OBJECT: u8 = b'o';

/// Appends a scope to the bytes that [`grant`] reads; false when one of its texts is longer than
/// [`MAX_SCOPE_BYTES`] or it has more than 65,535 actions.
pub fn push(scope: &Scope, bytes: &mut Vec<u8>) -> bool {
    fn push_text(text: &str, bytes: &mut Vec<u8>) -> bool {
        let Some(len) =
            u16::try_from(text.len()).ok().filter(|&n| usize::from(n) <= MAX_SCOPE_BYTES)
        else {
            return false;
        };
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
        true
    }

    match scope {
        Scope::Text(text) => {
            bytes.push(TEXT);
            push_text(text, bytes)
        }
        Scope::Object { resource, actions } => {
            let Ok(count) = u16::try_from(actions.len()) else { return false };
            bytes.push(OBJECT);
            bytes.extend_from_slice(&count.to_le_bytes());
            push_text(resource, bytes) && actions.iter().all(|action| push_text(action, bytes))
        }
    }
}

/// Whether the scopes in `bytes` (made by [`push`]) grant the request.
pub fn grant(mut bytes: &[u8], request: &[u8]) -> bool {
    let parts = split(request);
    while let Some((&kind, rest)) = bytes.split_first() {
        bytes = rest;
        let granted = match kind {
            TEXT => text_grants(next_text(&mut bytes), request, parts),
            _ => {
                let count = next_u16(&mut bytes);
                let resource = next_text(&mut bytes);
                let mut granted = false;
                for _ in 0..count {
                    let action = next_text(&mut bytes);
                    granted = granted || object_grants(resource, action, request, parts);
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

fn text_grants(scope: &[u8], request: &[u8], parts: Option<(&[u8], &[u8])>) -> bool {
    if scope == b"*" || scope == request {
        return true;
    }
    match (split(scope), parts) {
        (Some((resource, action)), Some(parts)) => parts_grant(resource, action, parts),
        _ => false,
    }
}

fn object_grants(
    resource: &[u8],
    action: &[u8],
    request: &[u8],
    parts: Option<(&[u8], &[u8])>,
) -> bool {
    let equal = request
        .strip_prefix(resource)
        .and_then(|rest| rest.strip_prefix(b":"))
        .is_some_and(|rest| rest == action);
    equal || parts.is_some_and(|parts| parts_grant(resource, action, parts))
}

fn parts_grant(resource: &[u8], action: &[u8], request: (&[u8], &[u8])) -> bool {
    let covers = |part: &[u8], asked: &[u8]| part == b"*" || part == asked;
    covers(resource, request.0) && covers(action, request.1)
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

    fn grants(scope: &str, request: &str) -> bool {
        let scope = serde_json::from_str(scope).unwrap();
        let mut bytes = Vec::new();
        assert!(push(&scope, &mut bytes));
        grant(&bytes, request.as_bytes())
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
            assert!(serde_json::from_str::<Scope>(shape).is_err(), "{shape}");
        }
    }

    #[test]
    fn a_later_scope_grants_what_the_first_does_not() {
        let mut bytes = Vec::new();
        for text in ["users:read", "orders:*"] {
            assert!(push(&Scope::Text(text.into()), &mut bytes));
        }
        assert!(grant(&bytes, b"orders:list"));
        assert!(!grant(&bytes, b"users:list"));
        assert!(!grant(&[], b"users:list"));
    }

    #[test]
    fn a_scope_that_is_too_long_is_refused() {
        assert!(push(&Scope::Text("x".repeat(MAX_SCOPE_BYTES).into()), &mut Vec::new()));
        assert!(!push(&Scope::Text("x".repeat(MAX_SCOPE_BYTES + 1).into()), &mut Vec::new()));
    }
}
