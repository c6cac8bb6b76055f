//! The fields of a record, packed: half the bytes of their JSON, from which that comes back as it was.
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
//! | 5 to 8 | a UUID or a time, quoted ([`PATTERNS`]) | its digits, two to a byte |
//! | 9 | the number that the record's expiry is | |
//! | 10 | an array of the record's scopes, all of them texts | |
//!
//! A text is its length, in two bytes with the lower first where it is below 65,535 and else in four
//! more, and its bytes. The names of fields, ids that are UUIDs and times are what the JSON of records
//! mostly is; whatever else stands in it stays as it is. To bring it back is a copy or two for each
//! field.

use crate::sanitise::KEPT_FIELDS;
use crate::scope;
use smallvec::SmallVec;
use std::ops::Range;

/// JSON on its way out: on the stack, unless it is long.
pub type Json = SmallVec<[u8; 1024]>;

/// Where a field stands in the JSON of its record.
#[derive(Clone, Debug)]
pub struct Field {
    /// In [`KEPT_FIELDS`], if it is one of them.
    pub number: Option<u8>,
    /// With its quotes.
    pub name: Range<usize>,
    pub value: Range<usize>,
}

/// What a record knows beside its fields, and its JSON says as well.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub expires_at: i64,
    /// As [`scope::push`] writes them.
    pub scopes: &'a [u8],
}

/// The number of a field's name.
pub const ID: u8 = 0;
pub const USER_ID: u8 = 1;
const OTHER: u8 = 15;

const _: () = assert!(KEPT_FIELDS.len() <= OTHER as usize);

/// The name of a kept field as JSON has it, and a colon.
pub fn name(number: u8) -> &'static str {
    let before = BEFORE.get(usize::from(number)).copied().unwrap_or_default();
    before.get(1..before.len().saturating_sub(1)).unwrap_or_default()
}

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
];

const ANY: u8 = 0;
const STRING: u8 = 1;
const TRUE: u8 = 2;
const FALSE: u8 = 3;
const NULL: u8 = 4;
const FIRST_PATTERN: u8 = 5;
const EXPIRY: u8 = 9;
const SCOPES: u8 = 10;

/// So many hex digits in lower case, then this, and so on.
type Pattern = &'static [(usize, &'static str)];

/// A UUID, and times to the second, to the millisecond and, as Python writes them, to the microsecond.
const PATTERNS: [Pattern; (EXPIRY - FIRST_PATTERN) as usize] = [
    &[(8, "-"), (4, "-"), (4, "-"), (4, "-"), (12, "")],
    &[(4, "-"), (2, "-"), (2, "T"), (2, ":"), (2, ":"), (2, "Z")],
    &[(4, "-"), (2, "-"), (2, "T"), (2, ":"), (2, ":"), (2, "."), (3, "Z")],
    &[(4, "-"), (2, "-"), (2, "T"), (2, ":"), (2, ":"), (2, "."), (6, "+00:00")],
];

/// The most digits that a pattern has, rounded up to whole bytes.
const MAX_DIGITS: usize = 32;

const fn digits(pattern: Pattern) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < pattern.len() {
        sum += pattern[at].0;
        at += 1;
    }
    sum
}

const fn text_len(pattern: Pattern) -> usize {
    let (mut sum, mut at) = (digits(pattern), 0);
    while at < pattern.len() {
        sum += pattern[at].1.len();
        at += 1;
    }
    sum
}

/// Digits and bytes of each pattern, and the length of its text.
const SIZES: [(usize, usize); PATTERNS.len()] = {
    let mut sizes = [(0, 0); PATTERNS.len()];
    let mut at = 0;
    while at < sizes.len() {
        sizes[at] = (digits(PATTERNS[at]).div_ceil(2), text_len(PATTERNS[at]));
        assert!(sizes[at].0 * 2 <= MAX_DIGITS);
        at += 1;
    }
    sizes
};

/// Appends fields, packed; `None` where one is not where it is said to be.
pub fn push(json: &str, fields: &[Field], known: Known, out: &mut Vec<u8>) -> Option<()> {
    for Field { number, name, value } in fields {
        let at = out.len();
        out.push(number.unwrap_or(OTHER) << 4);
        if number.is_none() {
            push_text(json.get(name.clone())?, out)?;
        }
        let form = push_value(json.get(value.clone())?, known, out)?;
        *out.get_mut(at)? |= form;
    }
    Some(())
}

fn push_value(value: &str, known: Known, out: &mut Vec<u8>) -> Option<u8> {
    match value.as_bytes() {
        b"true" => return Some(TRUE),
        b"false" => return Some(FALSE),
        b"null" => return Some(NULL),
        [b'[', ..] => {
            let mut array = Json::new();
            if scope::write_array(known.scopes, &mut array) && array.as_slice() == value.as_bytes()
            {
                return Some(SCOPES);
            }
        }
        [b'"', text @ .., b'"'] => {
            for (form, (pattern, (bytes, len))) in (FIRST_PATTERN..).zip(PATTERNS.iter().zip(SIZES))
            {
                if text.len() == len && push_pattern(text, pattern, bytes, out) {
                    return Some(form);
                }
            }
            push_text(value.get(1..value.len() - 1)?, out)?;
            return Some(STRING);
        }
        number => {
            if number == itoa::Buffer::new().format(known.expires_at).as_bytes() {
                return Some(EXPIRY);
            }
        }
    }
    push_text(value, out)?;
    Some(ANY)
}

fn push_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    match u16::try_from(text.len()) {
        Ok(len) if len < u16::MAX => out.extend_from_slice(&len.to_le_bytes()),
        _ => {
            out.extend_from_slice(&u16::MAX.to_le_bytes());
            out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// Appends the digits of a text, two to each of so many bytes, if it is of the pattern.
fn push_pattern(mut text: &[u8], pattern: Pattern, bytes: usize, out: &mut Vec<u8>) -> bool {
    let mut digits = [b'0'; MAX_DIGITS];
    let mut free = digits.as_mut_slice();
    for (count, separator) in pattern {
        let Some((group, rest)) = text.split_at_checked(*count) else { return false };
        let Some(rest) = rest.strip_prefix(separator.as_bytes()) else { return false };
        let Some((to, behind)) = std::mem::take(&mut free).split_at_mut_checked(*count) else {
            return false;
        };
        to.copy_from_slice(group);
        (free, text) = (behind, rest);
    }
    let Some(digits) = digits.get(..2 * bytes) else { return false };
    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return false;
    }
    let mut packed = [0; MAX_DIGITS / 2];
    let Some(packed) = packed.get_mut(..bytes) else { return false };
    if const_hex::decode_to_slice(digits, packed).is_err() {
        return false;
    }
    out.extend_from_slice(packed);
    true
}

/// What follows the form, taken off the front of packed bytes.
enum Value<'a> {
    Text(&'a [u8]),
    String(&'a [u8]),
    Word(&'static str),
    Pattern(Pattern, &'a [u8]),
    Expiry,
    Scopes,
}

/// The fields of packed bytes; ends early where they are none.
struct Unpack<'a>(&'a [u8]);

impl<'a> Unpack<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let mut len = usize::from(u16::from_le_bytes(len));
        if len == usize::from(u16::MAX) {
            let (&long, rest) = self.0.split_first_chunk()?;
            self.0 = rest;
            len = u32::from_le_bytes(long) as usize;
        }
        self.take(len)
    }
}

impl<'a> Iterator for Unpack<'a> {
    /// The number of the name; the name, where it is another one; the value.
    type Item = (u8, &'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        let name = first >> 4;
        let other = if name == OTHER { self.text()? } else { b"" };
        let value = match first & 15 {
            ANY => Value::Text(self.text()?),
            STRING => Value::String(self.text()?),
            TRUE => Value::Word("true"),
            FALSE => Value::Word("false"),
            NULL => Value::Word("null"),
            EXPIRY => Value::Expiry,
            SCOPES => Value::Scopes,
            form => {
                let nth = usize::from(form.checked_sub(FIRST_PATTERN)?);
                let (bytes, _) = SIZES.get(nth)?;
                Value::Pattern(PATTERNS.get(nth)?, self.take(*bytes)?)
            }
        };
        Some((name, other, value))
    }
}

/// Appends the JSON of the fields that were packed.
pub fn write_json(packed: &[u8], known: Known, out: &mut Json) {
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
            Value::String(text) => {
                out.extend_from_slice(text);
                out.push(b'"');
                continue;
            }
            Value::Pattern(pattern, digits) => {
                write_pattern(pattern, digits, out);
                out.push(b'"');
                continue;
            }
            // No string: without the quote.
            _ => drop(out.pop()),
        }
        match value {
            Value::Text(text) => out.extend_from_slice(text),
            Value::Word(word) => out.extend_from_slice(word.as_bytes()),
            Value::Expiry => {
                out.extend_from_slice(itoa::Buffer::new().format(known.expires_at).as_bytes());
            }
            Value::Scopes => drop(scope::write_array(known.scopes, out)),
            Value::String(_) | Value::Pattern(..) => {}
        }
    }
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

fn write_pattern(pattern: Pattern, packed: &[u8], out: &mut Json) {
    let mut digits = [0; MAX_DIGITS];
    let Some(text) = digits.get_mut(..packed.len() * 2) else { return };
    if const_hex::encode_to_slice(packed, text).is_err() {
        return;
    }
    let mut text = &*text;
    for (count, separator) in pattern {
        let Some((group, rest)) = text.split_at_checked(*count) else { return };
        out.extend_from_slice(group);
        out.extend_from_slice(separator.as_bytes());
        text = rest;
    }
}

/// Appends what an id says: an integer's digits, or a string's text, which has no escapes.
pub fn write_id(packed: &[u8], name: u8, known: Known, out: &mut Json) {
    match Unpack(packed).find(|(other, ..)| *other == name) {
        Some((_, _, Value::Text(text) | Value::String(text))) => out.extend_from_slice(text),
        Some((_, _, Value::Pattern(pattern, digits))) => write_pattern(pattern, digits, out),
        Some((_, _, Value::Expiry)) => {
            out.extend_from_slice(itoa::Buffer::new().format(known.expires_at).as_bytes());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sanitise::{Limits, Parts};
    use proptest::prelude::*;

    /// The JSON of a record, packed, and how long that is.
    fn packed(json: &str) -> (String, usize) {
        let parts = Parts::sanitise(json.as_bytes(), &Limits::STORED).unwrap();
        let known =
            Known { expires_at: parts.expires_at.unwrap_or(i64::MAX), scopes: &parts.scopes };
        let mut bytes = Vec::new();
        push(&parts.json, &parts.fields, known, &mut bytes).unwrap();
        let mut out = Json::new();
        write_json(&bytes, known, &mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), parts.json);
        for (name, text) in [(ID, &parts.id), (USER_ID, &parts.user_id)] {
            let mut id = Json::new();
            write_id(&bytes, name, known, &mut id);
            if let crate::sanitise::Text::InJson { .. } = text {
                assert_eq!(id.as_slice(), parts.text(text));
            }
        }
        (parts.json, bytes.len())
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
    fn what_is_usual_is_packed_to_less_than_half() {
        let (json, len) = packed(
            r#"{"id":"2e4983e2-7ec5-49bb-8515-06817ff5e374","user_id":"26d92284-badb-46ef-88a0-04126381a3f3","name":"Key-000000001","key_prefix":"ak_live_Tk9x","scopes":["read","orders:*"],"is_active":true,"expires_at":1924992000000,"created_at":"2026-03-14T09:26:53Z","updated_at":"2026-04-01T17:03:11Z"}"#,
        );
        assert_eq!((json.len(), len), (290, 84));
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
        for len in [65_533, 65_534, 65_535, 65_536, 70_000] {
            packed(&format!(
                r#"{{"id":"\u0041","note":"{}","user_id":"u","is_active":true}}"#,
                &long[..len]
            ));
        }
    }

    #[test]
    fn bytes_that_are_none_end_it() {
        let known = Known { expires_at: 0, scopes: b"" };
        for bytes in
            [&b"\x00"[..], b"\x00\x05\x00ab", b"\xf1", b"\x05ab", b"\x0f", b"\x00\xff\xff\x01"]
        {
            let mut out = Json::new();
            write_json(bytes, known, &mut out);
            assert_eq!(out.as_slice(), b"{}");
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
