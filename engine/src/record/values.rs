//! What the kept fields of a record may hold: each is read from its JSON text, and refused with its name
//! and its bound.

use crate::entry::tag_names::MAX_ID_BYTES;
use crate::record::bad_record::{bad, BadRecord};
use crate::record::digest::{self, Digest};
use crate::record::json::{is_plain, plain_string};
use crate::record::scope::{self, Scopes};
use std::borrow::Cow;

/// How deep the value of a kept field may be nested.
const MAX_LEVELS: usize = 32;

/// An id: as it stands in the JSON, or what the JSON has escaped.
#[derive(Debug)]
pub(crate) enum Text<'a> {
    Plain(&'a str),
    Own(String),
}

impl Text<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Text::Plain(plain) => plain.as_bytes(),
            Text::Own(own) => own.as_bytes(),
        }
    }
}

/// Checks a kept field of any shape: everything in it is what any JSON parser takes (numbers in
/// range, no half of a surrogate pair, not nested beyond [`MAX_LEVELS`]).
pub(super) fn check_free(name: &str, value: &str) -> Result<(), BadRecord> {
    if plain_string(value).is_some() || is_plain(value, MAX_LEVELS) {
        return Ok(());
    }
    bad(format!(
        "{name} must be JSON that any parser takes: at most {MAX_LEVELS} levels, whole \
         characters, numbers in the range of a double"
    ))
}

pub(super) fn read_optional_string<'a>(
    name: &str,
    value: &'a str,
) -> Result<Option<Cow<'a, str>>, BadRecord> {
    if let Some(plain) = plain_string(value) {
        return Ok(Some(Cow::Borrowed(plain)));
    }
    match serde_json::from_str(value) {
        Ok(string) => Ok(string),
        Err(_) => bad(format!("{name} must be a string or null")),
    }
}

pub(super) fn read_id<'a>(name: &'static str, value: &'a str) -> Result<Text<'a>, BadRecord> {
    let wrong =
        || bad(format!("{name} must be a string of 1 to {MAX_ID_BYTES} bytes or an integer"));
    let fits = |len: usize| (1..=MAX_ID_BYTES).contains(&len);
    if let Some(plain) = plain_string(value) {
        return match plain.len() {
            len if fits(len) => Ok(Text::Plain(plain)),
            _ => wrong(),
        };
    }
    if value.starts_with('"') {
        return match serde_json::from_str::<String>(value) {
            Ok(own) if !fits(own.len()) => wrong(),
            Ok(own) => Ok(Text::Own(own)),
            Err(_) => wrong(),
        };
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && fits(value.len()) {
        return Ok(Text::Plain(value));
    }
    wrong()
}

pub(super) fn read_active(text: &str) -> Result<bool, BadRecord> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => bad("is_active must be true or false"),
    }
}

pub(super) fn read_expires_at(value: &str) -> Result<Option<i64>, BadRecord> {
    let wrong =
        || bad("expires_at must be null, an RFC 3339 time or epoch milliseconds of 64 bits");
    if !value.starts_with(['"', 'n']) {
        return value.parse().map(Some).or_else(|_| wrong());
    }
    let Ok(time) = read_optional_string("expires_at", value) else { return wrong() };
    match time.as_deref().map(chrono::DateTime::parse_from_rfc3339) {
        None => Ok(None),
        Some(Ok(time)) => Ok(Some(time.timestamp_millis())),
        Some(Err(_)) => wrong(),
    }
}

pub(super) fn read_scopes(value: &str, max: usize) -> Result<Vec<u8>, BadRecord> {
    let Ok(scopes) = serde_json::from_str::<Scopes>(value) else {
        return bad(
            "scopes must be an array of strings or of objects with a resource and an array of \
             actions",
        );
    };
    if scopes.count > max {
        return bad(format!(
            "scopes must have at most {max} elements, each action of an object counted"
        ));
    }
    if !scopes.are_bounded {
        return bad(format!("a text of scopes must have at most {} bytes", scope::MAX_SCOPE_BYTES));
    }
    if scopes.has_objects {
        // Which may have other fields.
        check_free("scopes", value)?;
    }
    Ok(scopes.bytes)
}

/// The digests that a field of this name holds: hex, an array of one or two of those, or null for none.
pub fn read_digests(name: &str, value: &str) -> Result<Vec<Digest>, BadRecord> {
    let read = |text: &String| digest::from_hex(text.as_bytes());
    if value == "null" {
        return Ok(Vec::new());
    }
    let digests: Option<Vec<Digest>> = match value.as_bytes().first() {
        Some(b'[') => serde_json::from_str::<Vec<String>>(value)
            .ok()
            .filter(|texts| (1..=2).contains(&texts.len()))
            .and_then(|texts| texts.iter().map(read).collect()),
        _ => serde_json::from_str(value).ok().and_then(|text| Some(vec![read(&text)?])),
    };
    match digests {
        Some(digests) => Ok(digests),
        None => bad(format!("{name} must be 64 hex digits or an array of one or two of those")),
    }
}

/// The longest beginning of `name` within `max` bytes that ends between two characters; `None` when
/// the name is no longer than that.
pub(super) fn cut(name: &str, max: usize) -> Option<&str> {
    if name.len() <= max {
        return None;
    }
    let end = (0..=max).rev().find(|&at| name.is_char_boundary(at))?;
    name.get(..end)
}
