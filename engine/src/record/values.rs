//! What the kept fields of a record may hold: each is read from its JSON text, and refused with its name
//! and its bound.

use crate::entry::tag_names::MAX_ID_BYTES;
use crate::record::addresses::{read_range, MAX_RANGES, RANGE_BYTES};
use crate::record::bad_record::{bad, BadRecord};
use crate::record::digest::{self, Accepted, NEVER};
use crate::record::json::{is_plain, json_string, plain_string};
use crate::record::scope::{self, Scopes};
use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, TimeZone, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// How deep the value of a kept field may be nested.
const MAX_LEVELS: usize = 32;

/// An id: as it stands in the JSON, or what the JSON has escaped.
#[derive(Debug)]
pub(crate) enum Text<'a> {
    Plain(&'a str),
    Own(String),
}

impl Text<'_> {
    pub(crate) fn text(&self) -> &str {
        match self {
            Text::Plain(plain) => plain,
            Text::Own(own) => own,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.text().as_bytes()
    }
}

/// Checks a kept field of any shape: everything in it is what any JSON parser takes (numbers in
/// range, no half of a surrogate pair, not nested beyond [`MAX_LEVELS`]).
pub(super) fn check_free(name: &str, value: &str) -> Result<(), BadRecord> {
    if is_plain(value, MAX_LEVELS) {
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
    id_text(value).map_or_else(
        || bad(format!("{name} must be a string of 1 to {MAX_ID_BYTES} bytes or an integer")),
        Ok,
    )
}

/// What an id says, if it is one: a string of 1 to [`MAX_ID_BYTES`], or an integer.
pub(super) fn id_text(value: &str) -> Option<Text<'_>> {
    let fits = |len: usize| (1..=MAX_ID_BYTES).contains(&len);
    if let Some(plain) = plain_string(value) {
        return fits(plain.len()).then_some(Text::Plain(plain));
    }
    if value.starts_with('"') {
        let own: String = serde_json::from_str(value).ok()?;
        return fits(own.len()).then_some(Text::Own(own));
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_one = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (is_one && fits(value.len())).then_some(Text::Plain(value))
}

pub(super) fn read_active(text: &str) -> Result<bool, BadRecord> {
    match text {
        "true" | "1" | "\"true\"" | "\"t\"" => Ok(true),
        "false" | "0" | "\"false\"" | "\"f\"" => Ok(false),
        _ => bad("is_active must be true or false (or 1, 0, \"t\", \"f\")"),
    }
}

/// Whether a field that names when, or that, a key was taken back says so.
pub(super) fn is_set(value: &str) -> bool {
    !matches!(value, "null" | "false" | "0" | "\"\"")
}

/// What a time without a zone is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NaiveTimes {
    /// It is an error.
    #[default]
    Refuse,
    Utc,
}

/// When something ends: a time, and its JSON where that is another than what was given.
pub(super) struct End {
    /// Epoch milliseconds; `None` for never.
    pub at: Option<i64>,
    pub json: Option<String>,
}

/// The milliseconds of 1990 to 9999: what an end may be.
pub const EARLIEST: i64 = 631_152_000_000;
pub const LATEST: i64 = 253_402_300_799_999;
const TIMES: RangeInclusive<i64> = EARLIEST..=LATEST;

/// Which unit a number looks like that is no time in milliseconds.
fn unit(number: i64) -> &'static str {
    let is_within = |per_ms: i64| TIMES.contains(&(number / per_ms));
    if number.checked_mul(1000).is_some_and(|ms| TIMES.contains(&ms)) {
        "; it looks like seconds"
    } else if is_within(1000) {
        "; it looks like microseconds"
    } else if is_within(1_000_000) {
        "; it looks like nanoseconds"
    } else {
        ""
    }
}

/// Reads when something of a client's ends; `name` is what errors call it.
pub(super) fn read_end(
    name: impl Display,
    value: &str,
    naive: NaiveTimes,
) -> Result<End, BadRecord> {
    let as_it_is = |at| Ok(End { at, json: None });
    let wrong = |unit: &str| {
        bad(format!(
            "{name} must be null, an RFC 3339 time, \"infinity\", or epoch milliseconds of 1990 to 9999{unit}"
        ))
    };
    if value == "null" {
        return as_it_is(None);
    }
    let is_string = value.starts_with('"');
    // Most are numbers, of which an error would be made that nobody reads.
    let text = match is_string {
        true => read_optional_string("", value).ok().flatten().unwrap_or_default(),
        false => Cow::Borrowed(value),
    };
    if let Ok(number) = text.parse::<i64>() {
        if !TIMES.contains(&number) {
            return bad(format!(
                "{name} must be in milliseconds, of 1990 to 9999{}; null is never",
                unit(number)
            ));
        }
        return Ok(End { at: Some(number), json: is_string.then(|| number.to_string()) });
    }
    if !is_string {
        // Of what has a fraction the unit is told as well.
        let number = text.parse::<f64>().ok().filter(|_| text.contains('.'));
        return wrong(number.map_or("", |number| unit(number as i64)));
    }
    if let Some(at) = infinite(&text) {
        return as_it_is(at);
    }
    if !has_year(&text) {
        return wrong("");
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return match is_in_years(time) {
            true => as_it_is(Some(time.timestamp_millis())),
            false => wrong(""),
        };
    }
    let Some((time, zone)) = read_time(&text) else { return wrong("") };
    let time = match (zone, naive) {
        (Some(zone), _) => time.checked_sub_offset(zone).map(|time| time.and_utc()),
        (None, NaiveTimes::Utc) => Some(time.and_utc()),
        (None, NaiveTimes::Refuse) => {
            return bad(format!(
                "{name} has no zone: give one, or set apikey.naive-times to utc if all are in UTC"
            ))
        }
    };
    let Some(time) = time.filter(|time| is_in_years(*time)) else { return wrong("") };
    let json = json_string(&time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    Ok(End { at: Some(time.timestamp_millis()), json: Some(json) })
}

/// Reads an end that was judged where it was first stored. Years beyond 9999 were taken once, and stored with a sign.
pub(super) fn read_stored_end(name: &str, value: &str) -> Result<End, BadRecord> {
    let stored = |at: i64| Ok(End { at: Some(at), json: None });
    if let Ok(number) = value.parse() {
        return stored(number);
    }
    let time = plain_string(value).filter(|text| text.contains('T'));
    match time.and_then(|text| text.parse::<DateTime<Utc>>().ok()) {
        Some(time) => stored(time.timestamp_millis()),
        None => read_end(name, value, NaiveTimes::Refuse),
    }
}

/// Whether a text begins as a time with a year of four digits does, and has each other part as long as it is.
fn has_year(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let is_like = |byte: &u8, like: &u8| match like {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        like => byte == like,
    };
    text.len() >= shape.len() && text.bytes().zip(shape).all(|(byte, like)| is_like(&byte, like))
}

/// Whether a time is of the years 1 to 9999, in UTC and as it is written.
fn is_in_years<Zone: TimeZone>(time: DateTime<Zone>) -> bool {
    let is_one = |year: i32| (1..=9999).contains(&year);
    is_one(time.year()) && is_one(time.to_utc().year())
}

/// As PostgreSQL writes it: never, or always.
fn infinite(text: &str) -> Option<Option<i64>> {
    match text {
        "infinity" => Some(None),
        "-infinity" => Some(Some(i64::MIN)),
        _ => None,
    }
}

/// Reads what databases write: a blank in the place of the T, a zone without its minutes, or none.
fn read_time(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    // Behind the date: that has hyphens too.
    let zone_at = text.get(10..)?.find(['Z', 'z', '+', '-']).map(|at| at + 10);
    let (time, zone) = match zone_at {
        Some(at) => (text.get(..at)?, Some(read_zone(text.get(at..)?)?)),
        None => (text, None),
    };
    let time = time.replacen(' ', "T", 1);
    Some((NaiveDateTime::parse_from_str(&time, "%Y-%m-%dT%H:%M:%S%.f").ok()?, zone))
}

/// `Z`, `+hh`, `+hhmm`, `+hh:mm`.
fn read_zone(text: &str) -> Option<FixedOffset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return FixedOffset::east_opt(0),
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<i32>().ok(),
        false => None,
    };
    let (hours, minutes) = match digits.split_at_checked(2)? {
        (hours, "") => (hours, "00"),
        (hours, minutes) => (hours, minutes.strip_prefix(':').unwrap_or(minutes)),
    };
    let minutes = number(minutes).filter(|minutes| *minutes < 60)?;
    FixedOffset::east_opt(sign * (number(hours)? * 3600 + minutes * 60))
}

/// Reads the addresses that a key may be used from: a range behind the other.
pub(super) fn read_addresses(value: &str) -> Result<Option<Vec<u8>>, BadRecord> {
    let Ok(texts) = serde_json::from_str::<Option<Vec<Cow<str>>>>(value) else {
        return bad("allowed_ips must be null or an array of strings");
    };
    let Some(texts) = texts else { return Ok(None) };
    if texts.len() > MAX_RANGES {
        return bad(format!("allowed_ips must have at most {MAX_RANGES} elements"));
    }
    let mut ranges = Vec::with_capacity(texts.len() * RANGE_BYTES);
    for text in &texts {
        match read_range(text) {
            Ok(range) => ranges.extend_from_slice(&range),
            Err(why) => return bad(format!("allowed_ips {why}")),
        }
    }
    Ok(Some(ranges))
}

/// Of a field's name, in an error.
const MAX_FIELD_BYTES_SAID: usize = 128;

/// What the scopes of a record may be.
pub(super) struct ScopeLimits<'a> {
    pub max: usize,
    /// Fields that an object may have beside its own, and that restrict nothing; all of them where the record was
    /// judged before.
    pub fields: Option<&'a [String]>,
}

/// Reads the scopes of a record, in memory that was used before.
pub(super) fn read_scopes(
    value: &str,
    limits: &ScopeLimits,
    mut memory: Vec<u8>,
) -> Result<Vec<u8>, BadRecord> {
    let max = limits.max;
    if value == "null" {
        memory.clear();
        return Ok(memory);
    }
    let Ok(scopes) = Scopes::read(value, memory) else {
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
    if !scopes.fields.is_empty() {
        // Nobody has read what is in them.
        check_free("scopes", value)?;
    }
    if let Some(known) = limits.fields {
        if let Some(field) = scopes.fields.iter().find(|field| !known.contains(field)) {
            let field = cut(field, MAX_FIELD_BYTES_SAID).unwrap_or(field);
            return bad(format!(
                "scopes must have no field but resource and actions in their objects, not {field}, unless \
                 apikey.scope-fields names it"
            ));
        }
        if scopes.has_denials {
            return bad("scopes must not begin with ! or -: they grant, and deny nothing");
        }
    }
    Ok(scopes.bytes)
}

/// A digest in an object, with the end that it may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending<'a> {
    // Unlike any other option, it may not be left out.
    #[serde(deserialize_with = "Option::deserialize")]
    digest: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    until: Option<&'a RawValue>,
}

/// The digests that a field of this name holds: one as [`digest::from_text`] reads it, an array of one or two of
/// those, or null for none. In an array an object may say until when a digest is accepted; null, as a digest too,
/// is passed over.
pub fn read_digests(
    name: &str,
    value: &str,
    naive: NaiveTimes,
) -> Result<Vec<Accepted>, BadRecord> {
    let wrong = || {
        bad(format!(
            "{name} must be {}, null, or an array of one or two of those, or of \
             {{\"digest\": .., \"until\": ..}}",
            digest::FORMS
        ))
    };
    let is_array = value.starts_with('[');
    let elements: Vec<&str> = match serde_json::from_str::<Vec<&RawValue>>(value) {
        Ok(elements) if !elements.is_empty() => elements.into_iter().map(RawValue::get).collect(),
        Err(_) if !is_array => vec![value],
        _ => return wrong(),
    };
    let mut digests = Vec::new();
    for element in elements {
        let read = match element.starts_with('{') && is_array {
            true => serde_json::from_str::<Ending>(element).ok(),
            false => {
                serde_json::from_str(element).ok().map(|digest| Ending { digest, until: None })
            }
        };
        let Some(Ending { digest, until }) = read else { return wrong() };
        let Some(text) = digest else { continue };
        let Some(digest) = digest::from_text(text.as_bytes()) else { return wrong() };
        let until = match until {
            None => None,
            Some(until) => read_end(format_args!("until of {name}"), until.get(), naive)?.at,
        };
        digests.push(Accepted { digest, until: until.unwrap_or(NEVER) });
    }
    match digests.len() {
        0..=2 => Ok(digests),
        _ => wrong(),
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
