//! The fields of a record, packed: about half the bytes of their JSON, from which that comes back as it
//! was by a copy or two for each field.
//!
//! ```text
//! for each field: (name << 4 | form) | the name, where it is none of KEPT_FIELDS | what the form wants
//! ```
//!
//! A name is its number in [`KEPT_FIELDS`]; 15 is any other, whose JSON string follows as a text. A form
//! says how the value's JSON is made:
//!
//! | form | value | what follows |
//! | --- | --- | --- |
//! | 0 | any JSON | a text |
//! | 1 | a string | a text, without the quotes |
//! | 2, 3, 4 | `true`, `false`, `null` | |
//! | 5 | a UUID in lower case, quoted | its 16 bytes |
//!
//! A text is its length, in one byte where it is below 255 and else in four more with the lower first,
//! and its bytes. Times and scopes could be packed as well; VALIDATE, which brings the JSON back each
//! time, would pay for it.

use crate::record::fields::{KEPT_FIELDS, MAX_FIELDS};
use crate::record::json::json_string;

/// What an id says.
pub enum Id<'a> {
    /// There is none, or it is null.
    None,
    Text(&'a [u8]),
    Uuid([u8; UUID_CHARS]),
}

impl Id<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => b"",
            Self::Text(text) => text,
            Self::Uuid(text) => text,
        }
    }
}

/// The number of a field's name.
pub const ID: u8 = 0;
pub const USER_ID: u8 = 1;
const OTHER: u8 = 15;

const _: () = assert!(KEPT_FIELDS.len() <= OTHER as usize);

/// What stands before the value of a field, if it is a string; if not, without the last quote.
const BEFORE: [&str; KEPT_FIELDS.len()] = [
    ",\"id\":\"",
    ",\"user_id\":\"",
    ",\"name\":\"",
    ",\"key_prefix\":\"",
    ",\"scopes\":\"",
    ",\"is_active\":\"",
    ",\"expires_at\":\"",
    ",\"created_at\":\"",
    ",\"updated_at\":\"",
    ",\"allowed_ips\":\"",
    ",\"limits\":\"",
];

const ANY: u8 = 0;
const STRING: u8 = 1;
const TRUE: u8 = 2;
const FALSE: u8 = 3;
const NULL: u8 = 4;
const UUID: u8 = 5;

/// How much longer than their JSON the fields of a record can be: of each the lengths of two texts.
pub const MAX_EXCESS: usize = 10 * MAX_FIELDS;

/// Appends a field, packed: the number of its name in [`KEPT_FIELDS`], or the name where it is another
/// one, and its value, both as JSON. Returns how many bytes of JSON it makes, with what parts it from the
/// field before; `None` where one is longer than any record.
// In place: a tenth of it would be the call.
#[inline(always)]
pub fn push(number: Option<u8>, name: &str, value: &str, out: &mut Vec<u8>) -> Option<usize> {
    let at = out.len();
    out.push(number.unwrap_or(OTHER) << 4);
    if number.is_none() {
        push_text(name.as_bytes(), out)?;
    }
    let form = push_value(value.as_bytes(), out)?;
    *out.get_mut(at)? |= form;
    Some(before_len(number.unwrap_or(OTHER), name.as_bytes()) - 1 + value.len())
}

/// Makes `false` of the `true` of a field that was packed from a place on; returns how many bytes of JSON it makes more.
pub fn set_false(packed: &mut [u8], at: usize) -> usize {
    match packed.get_mut(at) {
        Some(first) if *first & 15 == TRUE => {
            *first = *first & !15 | FALSE;
            "false".len() - "true".len()
        }
        _ => 0,
    }
}

/// How many bytes stand before the value of a field, if it is a string; of what is none, one less.
fn before_len(number: u8, name: &[u8]) -> usize {
    BEFORE.get(usize::from(number)).map_or(name.len() + 3, |before| before.len())
}

fn push_value(value: &[u8], out: &mut Vec<u8>) -> Option<u8> {
    match value {
        b"true" => return Some(TRUE),
        b"false" => return Some(FALSE),
        b"null" => return Some(NULL),
        [b'"', text @ .., b'"'] => {
            if let Some(uuid) = <&[u8; UUID_CHARS]>::try_from(text).ok().and_then(uuid_bytes) {
                out.extend_from_slice(&uuid);
                return Some(UUID);
            }
            push_text(text, out)?;
            return Some(STRING);
        }
        _ => {}
    }
    push_text(value, out)?;
    Some(ANY)
}

/// A length that says that four more bytes have it.
const LONG: u8 = u8::MAX;

fn push_text(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match u8::try_from(text.len()) {
        Ok(len) if len < LONG => out.push(len),
        _ => {
            out.push(LONG);
            out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
        }
    }
    out.extend_from_slice(text);
    Some(())
}

const UUID_CHARS: usize = 36;

/// The bytes of a UUID's text, if it is one that [`uuid_text`] makes.
fn uuid_bytes(text: &[u8; UUID_CHARS]) -> Option<[u8; 16]> {
    let [a0, a1, a2, a3, a4, a5, a6, a7, b'-', b0, b1, b2, b3, b'-', c0, c1, c2, c3, b'-', d0, d1, d2, d3, b'-', e @ ..] =
        *text
    else {
        return None;
    };
    let [e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11] = e;
    let digits = [
        a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, e0, e1, e2,
        e3, e4, e5, e6, e7, e8, e9, e10, e11,
    ];
    let has_capitals = digits.iter().fold(false, |has, digit| has | digit.is_ascii_uppercase());
    if has_capitals {
        return None;
    }
    const_hex::decode_to_array(digits).ok()
}

fn uuid_text(uuid: &[u8; 16]) -> [u8; UUID_CHARS] {
    let mut digits = [0; 32];
    // The buffer has the right length, so that this can't fail.
    let _ = const_hex::encode_to_slice(uuid, &mut digits);
    let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3, e @ ..] =
        digits;
    let [e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11] = e;
    [
        a0, a1, a2, a3, a4, a5, a6, a7, b'-', b0, b1, b2, b3, b'-', c0, c1, c2, c3, b'-', d0, d1,
        d2, d3, b'-', e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11,
    ]
}

/// What follows the form, taken off the front of packed bytes.
enum Value<'a> {
    Any(&'a [u8]),
    String(&'a [u8]),
    Uuid(&'a [u8; 16]),
}

/// The fields of packed bytes; ends early where they are none.
struct Unpack<'a>(&'a [u8]);

impl<'a> Unpack<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = match self.chunk()? {
            [LONG] => u32::from_le_bytes(*self.chunk()?) as usize,
            &[len] => len.into(),
        };
        self.take(len)
    }
}

impl<'a> Iterator for Unpack<'a> {
    /// The number of the name; the name, where it is another one; the value.
    type Item = (u8, &'a [u8], Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let &[first] = self.chunk()?;
        let name = first >> 4;
        let other = if name == OTHER { self.text()? } else { b"" };
        let value = match first & 15 {
            ANY => Value::Any(self.text()?),
            STRING => Value::String(self.text()?),
            TRUE => Value::Any(b"true"),
            FALSE => Value::Any(b"false"),
            NULL => Value::Any(b"null"),
            UUID => Value::Uuid(self.chunk()?),
            _ => return None,
        };
        Some((name, other, value))
    }
}

/// How much longer than the JSON what [`write_json`] appends is for a moment.
pub const SPARE: usize = 1;

/// Appends the JSON of the fields that were packed.
pub fn write_json(packed: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    for (name, other, value) in Unpack(packed) {
        match BEFORE.get(usize::from(name)) {
            Some(before) => out.extend_from_slice(before.as_bytes()),
            None => {
                out.push(b',');
                out.extend_from_slice(other);
                out.extend_from_slice(b":\"");
            }
        }
        match value {
            Value::Any(json) => {
                // No string, or one with its quotes.
                out.pop();
                out.extend_from_slice(json);
                continue;
            }
            Value::String(text) => out.extend_from_slice(text),
            Value::Uuid(uuid) => out.extend_from_slice(&uuid_text(uuid)),
        }
        out.push(b'"');
    }
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// How many bytes [`write_json`] appends; to know it nothing of them is made.
pub fn json_len(packed: &[u8]) -> usize {
    let len = |(name, other, value): (u8, &[u8], Value)| {
        let before = before_len(name, other);
        match value {
            Value::Any(json) => before - 1 + json.len(),
            Value::String(text) => before + text.len() + 1,
            Value::Uuid(_) => before + UUID_CHARS + 1,
        }
    };
    // The first field's comma is the brace; of no field at all there is none.
    Unpack(packed).map(len).sum::<usize>().max(1) + 1
}

/// Whether one of the other fields has a name that is in [`KEPT_FIELDS`].
pub fn has_unjudged(packed: &[u8]) -> bool {
    let is_kept = |name: &[u8]| KEPT_FIELDS.iter().any(|kept| json_string(kept).as_bytes() == name);
    Unpack(packed).any(|(number, name, _)| number == OTHER && is_kept(name))
}

/// What an id says: an integer's digits, or a string's text, which has no escapes.
pub fn id(packed: &[u8], name: u8) -> Id<'_> {
    match Unpack(packed).find(|(other, ..)| *other == name) {
        Some((_, _, Value::Any(b"null"))) | None => Id::None,
        Some((_, _, Value::Any(text) | Value::String(text))) => Id::Text(text),
        Some((_, _, Value::Uuid(uuid))) => Id::Uuid(uuid_text(uuid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sanitise::{Limits, Parts};
    use proptest::prelude::*;

    /// The JSON of a record, which comes back as it was, and how long it is when packed.
    fn packed(json: &str) -> (String, usize) {
        let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
        let bytes = &parts.packed;
        let mut out = Vec::new();
        write_json(bytes, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), json);
        assert_eq!((out.len(), parts.json_len), (json_len(bytes), json_len(bytes)));
        for (name, text) in [(ID, &parts.id), (USER_ID, &parts.user_id)] {
            let id = id(bytes, name);
            if let crate::record::values::Text::Plain(plain) = text {
                assert_eq!(id.bytes(), plain.as_bytes());
            }
        }
        (String::from_utf8(out).unwrap(), bytes.len())
    }

    #[test]
    fn the_names_say_what_kept_fields_says() {
        for (before, name) in BEFORE.iter().zip(KEPT_FIELDS) {
            assert_eq!(*before, format!(",\"{name}\":\""));
        }
        assert_eq!(KEPT_FIELDS[usize::from(ID)], "id");
        assert_eq!(KEPT_FIELDS[usize::from(USER_ID)], "user_id");
    }

    #[test]
    fn what_is_usual_is_packed_to_half() {
        let (json, len) = packed(
            r#"{"id":"2e4983e2-7ec5-49bb-8515-06817ff5e374","user_id":"26d92284-badb-46ef-88a0-04126381a3f3","name":"Key-000000001","key_prefix":"ak_live_Tk9x","scopes":["read","orders:*"],"is_active":true,"expires_at":1924992000000,"created_at":"2026-03-14T09:26:53Z","updated_at":"2026-04-01T17:03:11Z"}"#,
        );
        assert_eq!((json.len(), len), (290, 144));
    }

    #[test]
    fn whatever_a_field_holds_comes_back() {
        for value in [
            "1",
            "-0",
            "1e3",
            "[]",
            "[ 1 ]",
            "{}",
            r#"{"a": [1, 2]}"#,
            "null",
            "true",
            "\"\"",
            r#""\u0041""#,
            "\"true\"",
            "\"2023-10-25T08:11:57.422Z\"",
            "\"2023-10-25T08:11:57.42Z\"",
            "\"2023-08-24T04:24:25.070879+00:00\"",
            "\"2023-08-24T04:24:25.070879+01:00\"",
            "\"2e4983e2-7ec5-49bb-8515-06817ff5e374\"",
            "\"2E4983e2-7ec5-49bb-8515-06817ff5e374\"",
            "\"2e4983e2-7ec5-49bb-8515-06817ff5e37g\"",
            "\"2e4983e2 7ec5-49bb-8515-06817ff5e374\"",
            "\"0x4983e2-7ec5-49bb-8515-06817ff5e374\"",
        ] {
            for (name, scopes) in [
                ("created_at", r#"[]"#),
                ("x", r#"["a"]"#),
                ("Größe\\n", r#"["a", "b"]"#),
                ("updated_at", r#"["\u0061","b"]"#),
                ("note", r#"[{"resource":"r","actions":["x"]}]"#),
                ("notes", r#"["ü","*"]"#),
            ] {
                packed(&format!(
                    r#"{{"{name}":{value},"scopes":{scopes},"is_active":false,"user_id":7,"id":"a","expires_at":7}}"#
                ));
            }
        }
        let long = "x".repeat(70_000);
        for len in [253, 254, 255, 256, 70_000] {
            packed(&format!(
                r#"{{"id":"\u0041","note":"{}","user_id":"u","is_active":true}}"#,
                &long[..len]
            ));
        }
    }

    #[test]
    fn bytes_that_are_none_end_it() {
        for bytes in [&b"\x00"[..], b"\x00\x05ab", b"\xf1", b"\x05ab", b"\x0f", b"\x00\xff\xff\x01"]
        {
            let mut out = Vec::new();
            write_json(bytes, &mut out);
            assert_eq!(out.as_slice(), b"{}");
            assert_eq!(json_len(bytes), 2);
        }
    }

    proptest! {
        #[test]
        fn any_record_comes_back(
            id in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[a-z]{1,40}",
            name in "[ -!#-Z^-~ü東]{0,40}",
            time in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{3}|\\.[0-9]{6})?(Z|\\+00:00)",
            scopes in proptest::collection::vec("[a-z*:]{1,9}", 0..5),
            expires_at in any::<Option<i64>>(),
            number in any::<i64>(),
        ) {
            let scopes = serde_json::to_string(&scopes).unwrap();
            let expires_at = expires_at.map_or("null".into(), |at| at.to_string());
            packed(&format!(
                r#"{{"updated_at":"{time}","id":"{id}","extra":{number},"user_id":{number},"name":"{name}","scopes":{scopes},"is_active":true,"expires_at":{expires_at}}}"#
            ));
        }
    }
}
