//! What may be stored of a record: its JSON, sanitised, bounded and checked.
//!
//! [`Parts::sanitise`] keeps the fields that may be kept, and leaves their text as it was, so that a
//! client gets back what went in (also integers beyond 2^53).

use crate::record::bad_record::{bad, BadRecord};
use crate::record::digest::Accepted;
use crate::record::fields::{FieldNames, Kept, MAX_FIELDS};
use crate::record::json::{each_field, json_string, plain_string};
use crate::record::limits::read_limits;
use crate::record::packed;
use crate::record::restrictions;
use crate::record::tag_fields::FieldTags;
use crate::record::values::{
    check_free, cut, is_set, read_active, read_addresses, read_digests, read_end, read_id,
    read_optional_string, read_scopes, read_stored_end, End, NaiveTimes, ScopeLimits, Text,
};
use std::borrow::Cow;
use std::mem::take;

/// The most bytes that any stored record may have, whatever `max-record-bytes` says: room for the
/// escapes that cutting a name may add to the largest record.
pub const MAX_STORED_BYTES: usize = 4 << 20;

/// Which fields a record keeps beside [`KEPT_FIELDS`](crate::record::fields::KEPT_FIELDS).
#[derive(Clone, Copy, Debug)]
pub enum ExtraFields<'a> {
    Named(&'a [String]),
    /// All of them: the record was sanitised where it came from.
    All,
}

/// What a record may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    pub max_record_bytes: usize,
    /// Bytes of a name; a longer one is cut at a character boundary.
    pub max_name_bytes: usize,
    /// Of an object each action counts.
    pub max_scopes: usize,
    pub extra_fields: ExtraFields<'a>,
    /// The field that holds the digest, or an array of two, which may have ends.
    pub digest_field: Option<&'a str>,
    /// What the table calls the fields that are kept.
    pub field_names: &'a FieldNames,
    /// Fields that are dropped, whatever they look like.
    pub dropped_fields: &'a [String],
    /// Fields that say, if they are set, that the key is not active.
    pub inactive_fields: &'a [Cow<'static, str>],
    /// Fields that objects of `scopes` may have and that restrict nothing.
    pub scope_fields: &'a [String],
    /// Fields that make tags, whether they are kept or not; of the names that the table calls them.
    pub tag_fields: &'a [String],
    pub naive_times: NaiveTimes,
}

impl Limits<'static> {
    /// For records that were judged when they were first stored: from an RDB, an AOF, a primary.
    pub const STORED: Self = Limits {
        max_record_bytes: MAX_STORED_BYTES,
        max_name_bytes: MAX_STORED_BYTES,
        max_scopes: MAX_STORED_BYTES,
        extra_fields: ExtraFields::All,
        digest_field: None,
        field_names: &FieldNames::NONE,
        dropped_fields: &[],
        inactive_fields: &[],
        scope_fields: &[],
        tag_fields: &[],
        naive_times: NaiveTimes::Refuse,
    };
}

impl Limits<'_> {
    /// Whether records were judged where they were first stored.
    fn are_judged(&self) -> bool {
        matches!(self.extra_fields, ExtraFields::All)
    }
}

/// What a record is read into: its fields, its scopes.
pub type Memory = [Vec<u8>; 2];

/// A record as it was read: sanitised, not yet laid out.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The fields that are kept ([`crate::record::packed`]).
    pub(crate) packed: Vec<u8>,
    /// Of the JSON that they make.
    pub(crate) json_len: usize,
    pub(crate) id: Text<'a>,
    /// Empty where the key is nobody's.
    pub(crate) user_id: Text<'a>,
    pub(crate) is_active: bool,
    pub(crate) expires_at: Option<i64>,
    pub(crate) scopes: Vec<u8>,
    /// Ranges ([`crate::record::addresses`]); `None` where every address may.
    pub(crate) allowed_ips: Option<Vec<u8>>,
    /// Limits ([`crate::limits::limit::each`]).
    pub(crate) limits: Vec<u8>,
    pub(crate) tags: FieldTags,
    digests: Vec<Accepted>,
}

impl<'a> Parts<'a> {
    /// Reads a record, keeps what `limits` let it keep, and checks all that it keeps.
    pub fn sanitise(input: &'a [u8], limits: &Limits) -> Result<Self, BadRecord> {
        Self::sanitise_in(input, limits, Memory::default())
    }

    /// The same in memory that was used before; [`Parts::into_memory`] gives it back.
    pub fn sanitise_in(
        input: &'a [u8],
        limits: &Limits,
        memory: Memory,
    ) -> Result<Self, BadRecord> {
        if input.len() > limits.max_record_bytes {
            return bad(format!("record must be at most {} bytes", limits.max_record_bytes));
        }
        let Ok(input) = std::str::from_utf8(input) else {
            return bad("record must be UTF-8");
        };
        let mut fields = Fields::new(limits, input.len(), memory);
        let mut taken = Ok(());
        let read = each_field(input, |name, value| {
            if taken.is_ok() {
                taken = fields.take(name, value);
            }
        });
        match read {
            Ok(()) => taken?,
            Err(error) if error.is_data() => return bad("record must be a JSON object"),
            // Not the library's own words: they may quote the record.
            Err(error) => {
                return bad(format!(
                    "record is not JSON (line {} column {})",
                    error.line(),
                    error.column()
                ))
            }
        }
        fields.into_parts()
    }

    /// The sanitised record as JSON.
    pub fn json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        packed::write_json(&self.packed, &mut json);
        json
    }

    pub fn into_memory(self) -> Memory {
        [self.packed, self.scopes]
    }

    /// The tags that the record's fields make.
    pub(crate) fn into_tags(self) -> FieldTags {
        self.tags
    }

    /// The digests that stood in the record's digest field.
    pub fn digests(&self) -> &[Accepted] {
        &self.digests
    }
}

/// What was read of a record so far.
struct Fields<'a, 'l> {
    limits: &'l Limits<'l>,
    /// Of [`KEPT_FIELDS`](crate::record::fields::KEPT_FIELDS), a bit for each; the names of the others.
    seen: u16,
    others: Vec<Cow<'a, str>>,
    packed: Vec<u8>,
    /// Of the fields that are packed.
    count: usize,
    json_len: usize,
    id: Option<Text<'a>>,
    user_id: Option<Text<'a>>,
    is_active: Option<bool>,
    /// Where `is_active` is packed.
    active_at: Option<usize>,
    /// What [`Limits::inactive_fields`] say together: whether one of them is set; `None` where the record has none.
    is_inactive: Option<bool>,
    expires_at: Option<i64>,
    scopes: Vec<u8>,
    allowed_ips: Option<Vec<u8>>,
    limited: Vec<u8>,
    tags: FieldTags,
    /// Of [`Limits::tag_fields`], those that were read.
    tagged: Vec<&'l str>,
    digests: Vec<Accepted>,
}

impl<'a, 'l> Fields<'a, 'l> {
    fn new(limits: &'l Limits<'l>, record_bytes: usize, memory: Memory) -> Self {
        let [mut packed, mut scopes] = memory;
        packed.clear();
        scopes.clear();
        packed.reserve(record_bytes);
        Self {
            limits,
            seen: 0,
            others: Vec::new(),
            packed,
            count: 0,
            // The last brace.
            json_len: 1,
            id: None,
            user_id: None,
            is_active: None,
            active_at: None,
            is_inactive: None,
            expires_at: None,
            scopes,
            allowed_ips: None,
            limited: Vec::new(),
            tags: FieldTags::default(),
            tagged: Vec::new(),
            digests: Vec::new(),
        }
    }

    /// Takes the tag that a field makes, if it is one that does. What else becomes of the field is not its matter.
    // Out of the way of records in which no field makes any.
    #[cold]
    #[inline(never)]
    fn take_tag(&mut self, name: &str, value: &str) -> Result<(), BadRecord> {
        let Some(field) = self.limits.tag_fields.iter().find(|field| *field == name) else {
            return Ok(());
        };
        if self.limits.digest_field == Some(name) {
            return bad(format!(
                "{name} must not be both apikey.digest-field and one of apikey.tag-fields"
            ));
        }
        if self.tagged.contains(&name) {
            return bad(format!("{name} is given twice"));
        }
        self.tagged.push(field);
        self.tags.read(name, value)
    }

    /// Takes a field, or leaves it where it is none that is kept.
    fn take(&mut self, name: Cow<'a, str>, value: &'a str) -> Result<(), BadRecord> {
        let limits = self.limits;
        if !limits.tag_fields.is_empty() {
            self.take_tag(&name, value)?;
        }
        let is_digest = limits.digest_field == Some(&name);
        let mapped = limits.field_names.mapped(&name);
        if !is_digest && mapped.is_none() && limits.dropped_fields.iter().any(|f| *f == name) {
            return Ok(());
        }
        if mapped.is_some() && limits.inactive_fields.contains(&name) {
            return bad(format!(
                "{name} must not be both in apikey.field-names and one of apikey.inactive-fields"
            ));
        }
        let field = mapped.or_else(|| Kept::of(&name));
        if !is_digest && field.is_none() {
            let says_inactive = limits.inactive_fields.contains(&name);
            if says_inactive {
                self.is_inactive = Some(self.is_inactive.unwrap_or(false) | is_set(value));
            }
            if !keeps(&name, limits.extra_fields) {
                return if says_inactive { Ok(()) } else { may_be_dropped(&name, value) };
            }
        }
        let bit = field.map_or(0, |field| 1 << field as u8);
        if self.seen & bit != 0 || self.others.contains(&name) {
            let is_mapped = |own: &str| limits.field_names.pairs().any(|(other, _)| other == own);
            return bad(match field.map(Kept::name) {
                Some(own) if is_mapped(own) => {
                    format!("{own} is given twice: apikey.field-names maps a field to it")
                }
                _ => format!("{name} is given twice"),
            });
        }
        if self.count == MAX_FIELDS {
            return bad(format!("record must have at most {MAX_FIELDS} fields that are kept"));
        }
        self.seen |= bit;
        let mut kept = Cow::Borrowed(value);
        match field {
            _ if is_digest => self.digests = read_digests(&name, value, limits.naive_times)?,
            Some(Kept::Id) => self.id = Some(read_id("id", value)?),
            Some(Kept::UserId) if value == "null" => {}
            Some(Kept::UserId) => self.user_id = Some(read_id("user_id", value)?),
            Some(Kept::IsActive) => {
                let is_active = read_active(value)?;
                self.is_active = Some(is_active);
                self.active_at = Some(self.packed.len());
                kept = Cow::Borrowed(if is_active { "true" } else { "false" });
            }
            Some(Kept::ExpiresAt) => {
                let End { at, json } = match limits.are_judged() {
                    true => read_stored_end("expires_at", value)?,
                    false => read_end("expires_at", value, limits.naive_times)?,
                };
                self.expires_at = at;
                if let Some(json) = json {
                    kept = Cow::Owned(json);
                }
            }
            Some(Kept::Scopes) => {
                let fields = (!limits.are_judged()).then_some(limits.scope_fields);
                let limits = ScopeLimits { max: limits.max_scopes, fields };
                self.scopes = read_scopes(value, &limits, take(&mut self.scopes))?;
            }
            Some(Kept::AllowedIps) => self.allowed_ips = read_addresses(value)?,
            Some(Kept::Limits) => self.limited = read_limits(value)?,
            // Nothing stands in a text without escapes.
            Some(Kept::CreatedAt | Kept::UpdatedAt) | None if plain_string(value).is_some() => {}
            Some(Kept::KeyPrefix) => {
                read_optional_string(&name, value)?;
            }
            Some(Kept::Name) => {
                let full = read_optional_string(&name, value)?;
                if let Some(cut) = full.as_deref().and_then(|n| cut(n, limits.max_name_bytes)) {
                    kept = Cow::Owned(json_string(cut));
                }
            }
            Some(field @ (Kept::CreatedAt | Kept::UpdatedAt)) => {
                check_free(field.name(), value)?;
                if !limits.are_judged() {
                    holds_no_restriction(field.name(), value)?;
                }
            }
            None => check_free(&name, value)?,
        }
        if !is_digest {
            let number = field.map(|field| field as u8);
            let other = if number.is_some() { String::new() } else { json_string(&name) };
            let Some(json_len) = packed::push(number, &other, &kept, &mut self.packed) else {
                return bad("record is too long");
            };
            self.json_len += json_len;
            self.count += 1;
        }
        if field.is_none() {
            self.others.push(name);
        }
        Ok(())
    }

    fn into_parts(mut self) -> Result<Parts<'a>, BadRecord> {
        let Some(id) = self.id.take() else { return bad("id is missing") };
        let is_active = self.say_active()?;
        let Self {
            packed, json_len, expires_at, scopes, allowed_ips, limited, tags, digests, ..
        } = self;
        let user_id = self.user_id.unwrap_or(Text::Plain(""));
        Ok(Parts {
            packed,
            json_len,
            id,
            user_id,
            is_active,
            expires_at,
            scopes,
            allowed_ips,
            limits: limited,
            tags,
            digests,
        })
    }

    /// Whether the key is active, as all of the record's fields say together; the record comes to say so too.
    fn say_active(&mut self) -> Result<bool, BadRecord> {
        let (is_active, active_at) = match (self.is_active, self.is_inactive) {
            (Some(own), None | Some(false)) => return Ok(own),
            (Some(false), Some(true)) => return Ok(false),
            (Some(true), Some(true)) => (false, self.active_at),
            (None, Some(inactive)) => (!inactive, None),
            (None, None) => return bad("is_active is missing"),
        };
        if let Some(at) = active_at {
            self.json_len += packed::set_false(&mut self.packed, at);
            return Ok(is_active);
        }
        let (number, json) = (Kept::IsActive as u8, if is_active { "true" } else { "false" });
        let Some(json_len) = packed::push(Some(number), "", json, &mut self.packed) else {
            return bad("record is too long");
        };
        self.json_len += json_len;
        Ok(is_active)
    }
}

/// Whether a field beside [`KEPT_FIELDS`](crate::record::fields::KEPT_FIELDS) is kept.
fn keeps(name: &str, extra: ExtraFields) -> bool {
    match extra {
        ExtraFields::Named(names) => names.iter().any(|extra| extra == name),
        ExtraFields::All => true,
    }
}

/// An error where a field that is not kept looks as if it restricted the key, or holds something that does.
fn may_be_dropped(name: &str, value: &str) -> Result<(), BadRecord> {
    if restrictions::looks_like_one(name) {
        let remedy = restrictions::remedy(name);
        let name = quoted(name);
        return bad(format!("{name} is not kept: {remedy} or name it in apikey.dropped-fields"));
    }
    holds_no_restriction(name, value)
}

/// A field's name as errors have it.
fn quoted(name: &str) -> &str {
    const MOST: usize = 128;
    cut(name, MOST).unwrap_or(name)
}

/// An error where a value holds a field that looks as if it restricted the key.
fn holds_no_restriction(name: &str, value: &str) -> Result<(), BadRecord> {
    match restrictions::first_in(value) {
        Some(inner) => {
            let (inner, name) = (quoted(&inner), quoted(name));
            bad(format!(
                "{inner} in {name} is not judged: give it as a field of the record, or name {name} in \
                 apikey.dropped-fields"
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::digest::NEVER;
    use crate::record::fields::MAX_EXTRA_FIELDS;
    use crate::record::layout::Record;
    use proptest::prelude::*;

    const DEFAULT: Limits = Limits {
        max_record_bytes: 16384,
        max_name_bytes: 100,
        max_scopes: 64,
        extra_fields: ExtraFields::Named(&[]),
        ..Limits::STORED
    };

    fn json(input: &str, limits: &Limits) -> Result<String, String> {
        Parts::sanitise(input.as_bytes(), limits)
            .map(|p| String::from_utf8(p.json()).unwrap())
            .map_err(|e| e.0.into_owned())
    }

    #[test]
    fn a_record_keeps_its_fields_and_drops_the_rest() {
        let input = r#" { "id" : "k1", "user_id": 42, "key_hash": "aa", "name": "Caf\u00e9 \ud83d\ude00",
            "scopes": [ "a:b", {"resource":"r","actions":["x"]} ], "is_active": true,
            "expires_at": null, "created_at": "2024-01-01T00:00:00Z", "metadata": {"a":1},
            "updated_at": 12345678901234567890123 } "#;
        assert_eq!(
            json(input, &DEFAULT).unwrap(),
            r#"{"id":"k1","user_id":42,"name":"Caf\u00e9 \ud83d\ude00","scopes":[ "a:b", {"resource":"r","actions":["x"]} ],"is_active":true,"expires_at":null,"created_at":"2024-01-01T00:00:00Z","updated_at":12345678901234567890123}"#
        );
    }

    #[test]
    fn what_is_stored_is_read_again_as_it_is() {
        let input = r#"{"id":"k","extra":{"deep":[1]},"user_id":"u","is_active":false}"#;
        let named = ["extra".to_string()];
        let limits = Limits { extra_fields: ExtraFields::Named(&named), ..DEFAULT };
        let first = json(input, &limits).unwrap();
        assert_eq!(first, input);
        assert_eq!(json(&first, &Limits::STORED).unwrap(), input);
        assert_eq!(json(input, &DEFAULT).unwrap(), r#"{"id":"k","user_id":"u","is_active":false}"#);
    }

    #[test]
    fn a_long_name_is_cut_at_a_character_boundary() {
        let limits = Limits { max_name_bytes: 5, ..DEFAULT };
        let named = |name: &str| {
            json(&format!(r#"{{"id":1,"user_id":1,"is_active":true,"name":{name}}}"#), &limits)
                .map(|json| json.split_once(r#""name":"#).unwrap().1.to_string())
        };
        assert_eq!(named(r#""abcde""#).unwrap(), r#""abcde"}"#);
        assert_eq!(named(r#""abcdef""#).unwrap(), r#""abcde"}"#);
        assert_eq!(named(r#""abcd\u00e9f""#).unwrap(), r#""abcd"}"#);
        assert_eq!(named(r#""\ud83d\ude00\ud83d\ude00""#).unwrap(), r#""😀"}"#);
        assert_eq!(named(r#""\"\"\"\"\"\"""#).unwrap(), r#""\"\"\"\"\""}"#);
        assert_eq!(named("null").unwrap(), "null}");
    }

    #[test]
    fn what_is_no_record_is_refused_with_the_field_and_the_bound() {
        let with = |field: &str| format!(r#"{{"id":"k","user_id":"u","is_active":true,{field}}}"#);
        let deep = with(&format!(
            r#""scopes":[{{"resource":"r","actions":[],"x":{}{}}}]"#,
            "[".repeat(5000),
            "]".repeat(5000)
        ));
        let many = with(&format!(r#""scopes":[{}]"#, vec![r#""a""#; 65].join(",")));
        let actions = |count: usize, texts: usize| {
            let (actions, texts) = (vec!["\"a\""; count].join(","), ",\"a\"".repeat(texts));
            with(&format!(r#""scopes":[{{"resource":"r","actions":[{actions}]}}{texts}]"#))
        };
        let too_many = "scopes must have at most 64 elements, each action of an object counted";
        let id_error = "must be a string of 1 to 256 bytes or an integer";
        let shapes = "scopes must be an array of strings or of objects with a resource and an \
                      array of actions";
        let free = "must be JSON that any parser takes: at most 32 levels, whole characters, \
                    numbers in the range of a double";
        let active = "is_active must be true or false (or 1, 0, \"t\", \"f\")";
        let time =
            "expires_at must be null, an RFC 3339 time, \"infinity\", or epoch milliseconds of \
                    1990 to 9999";
        let cases: Vec<(String, String)> = [
            ("", "record is not JSON (line 1 column 0)"),
            ("{", "record is not JSON (line 1 column 1)"),
            (r#"{"id":"k"} x"#, "record is not JSON (line 1 column 12)"),
            ("\"secret\"", "record must be a JSON object"),
            ("[]", "record must be a JSON object"),
            ("null", "record must be a JSON object"),
            ("{}", "id is missing"),
            (r#"{"id":"k"}"#, "is_active is missing"),
            (r#"{"id":"k","user_id":"u"}"#, "is_active is missing"),
            (r#"{"id":"k","id":"l","user_id":"u"}"#, "id is given twice"),
            (r#"{"id":"k","\u0069d":"l","user_id":"u"}"#, "id is given twice"),
            (r#"{"id":"k","user_id":"u","is_active":2}"#, active),
            (r#"{"id":"k","user_id":"u","is_active":"yes"}"#, active),
            (r#"{"id":"k","user_id":"u","is_active":null}"#, active),
        ]
        .into_iter()
        .map(|(input, error)| (input.to_string(), error.to_string()))
        .chain(
            [r#""""#, "null", "1.5", "1e3", "true", "[]", r#""\ud800""#, "-"]
                .into_iter()
                .map(|id| (format!(r#"{{"id":{id}}}"#), format!("id {id_error}")))
                .filter(|(input, _)| !input.ends_with("-}")),
        )
        .chain([
            (format!(r#"{{"id":"{}"}}"#, "x".repeat(257)), format!("id {id_error}")),
            (format!(r#"{{"id":{}}}"#, "1".repeat(257)), format!("id {id_error}")),
            (r#"{"id":"k","user_id":{}}"#.into(), format!("user_id {id_error}")),
            (with(r#""name":1"#), "name must be a string or null".into()),
            (with(r#""name":"\udc00""#), "name must be a string or null".into()),
            (with(r#""key_prefix":[]"#), "key_prefix must be a string or null".into()),
            (with(r#""expires_at":"tomorrow""#), time.into()),
            (with(r#""expires_at":"2024-01-01""#), time.into()),
            (with(r#""expires_at":1.5"#), time.into()),
            (with(r#""expires_at":9223372036854775808"#), time.into()),
            (with(r#""expires_at":true"#), time.into()),
            (with(r#""scopes":"a""#), shapes.into()),
            (with(r#""scopes":[1]"#), shapes.into()),
            (with(r#""scopes":[{"resource":"a"}]"#), shapes.into()),
            (many, too_many.into()),
            (actions(64, 1), too_many.into()),
            (deep, format!("scopes {free}")),
            (with(r#""created_at":1e999"#), format!("created_at {free}")),
            (with(r#""updated_at":"\ud800""#), format!("updated_at {free}")),
            (
                with(&format!(r#""x":"{}""#, "x".repeat(16384))),
                "record must be at most 16384 bytes".into(),
            ),
        ])
        .collect();
        for (input, error) in cases {
            assert_eq!(json(&input, &DEFAULT), Err(error), "{:.80}", input);
        }
        let invalid = Parts::sanitise(b"{\"id\":\"\xff\"}", &DEFAULT);
        assert_eq!(invalid.unwrap_err().0, "record must be UTF-8");
    }

    #[test]
    fn a_kept_field_is_nested_32_levels_at_most() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            json(
                &format!(
                    r#"{{"id":1,"user_id":1,"is_active":true,"created_at":{open}"[\"[{{"{close}}}"#
                ),
                &DEFAULT,
            )
        };
        assert!(nested(32).is_ok());
        assert!(nested(33).is_err());
    }

    /// What comes from a backup is not bounded by the configuration.
    #[test]
    fn a_stored_record_has_no_more_fields_than_one_can_have() {
        let many = |n: usize| {
            let fields: String = (0..n).map(|n| format!(r#","f{n}":0"#)).collect();
            json(&format!(r#"{{"id":1,"user_id":1,"is_active":true{fields}}}"#), &Limits::STORED)
        };
        assert!(many(40).is_ok());
        assert_eq!(many(60_000).unwrap_err(), "record must have at most 43 fields that are kept");
    }

    #[test]
    fn the_digest_field_is_none_of_those_that_are_counted() {
        let extra: Vec<String> = (0..MAX_EXTRA_FIELDS).map(|n| format!("f{n}")).collect();
        let limits = Limits {
            extra_fields: ExtraFields::Named(&extra),
            digest_field: Some("key_hash"),
            ..DEFAULT
        };
        let fields: String = extra.iter().map(|name| format!(r#","{name}":0"#)).collect();
        let most = format!(
            r#"{{"key_hash":null,"id":1,"user_id":1,"name":null,"key_prefix":null,"scopes":[],"is_active":true,"expires_at":null,"created_at":0,"updated_at":0{fields}}}"#
        );
        assert!(json(&most, &limits).is_ok());
    }

    #[test]
    fn memory_that_was_used_before_leaves_nothing() {
        let before = || vec![b'x'; 100];
        for scopes in ["", r#","scopes":null"#, r#","scopes":["a"]"#] {
            let input = format!(r#"{{"id":"k","user_id":"u","is_active":true{scopes}}}"#);
            let input = input.as_bytes();
            let parts = Parts::sanitise_in(input, &DEFAULT, [before(), before()]).unwrap();
            let record = Record::new_in(&parts, &[], b"", &[], before()).unwrap();
            assert_eq!(parts.json(), input);
            let parts = Parts::sanitise(input, &DEFAULT).unwrap();
            assert_eq!(record.bytes(), Record::new(&parts, &[], b"", &[]).unwrap().bytes());
        }
    }

    #[test]
    fn expires_at_is_read_to_the_millisecond() {
        for (text, ms) in [
            ("null", None),
            ("1700000000123", Some(1_700_000_000_123)),
            (r#""2023-11-14T22:13:20.123Z""#, Some(1_700_000_000_123)),
            (r#""2023-11-14T22:13:20.123999Z""#, Some(1_700_000_000_123)),
            (r#""2023-11-14T23:13:20.123+01:00""#, Some(1_700_000_000_123)),
        ] {
            let json = format!(r#"{{"expires_at":{text},"id":1,"user_id":1,"is_active":true}}"#);
            let parts = Parts::sanitise(json.as_bytes(), &DEFAULT).unwrap();
            assert_eq!(parts.expires_at, ms, "{text}");
        }
    }

    #[test]
    fn the_digest_field_is_taken_and_dropped() {
        let limits = Limits { digest_field: Some("key_hash"), ..DEFAULT };
        let (one, two) = ("1a".repeat(32), "2B".repeat(32));
        let read = |value: String| {
            let input =
                format!(r#"{{"id":"k","user_id":"u","is_active":true,"key_hash":{value}}}"#);
            Parts::sanitise(input.as_bytes(), &limits).map(|parts| {
                assert!(!String::from_utf8(parts.json()).unwrap().contains("key_hash"));
                parts.digests
            })
        };
        let old = |until| Accepted { digest: [0x2b; 32], until };
        let new = Accepted::from([0x1a; 32]);
        for (value, digests) in [
            ("null".into(), &[][..]),
            (format!("\"{one}\""), &[new]),
            (format!("[\"{one}\",\"{two}\"]"), &[new, old(NEVER)]),
            (format!("[null,\"{one}\",null,null]"), &[new]),
            ("[null]".into(), &[]),
            (format!(r#"[{{"digest":"{two}"}}]"#), &[old(NEVER)]),
            (format!(r#"["{one}",{{"digest":"{two}","until":null}}]"#), &[new, old(NEVER)]),
            (
                format!(r#"[ "{one}" , {{ "until" : 1700000000123 , "digest":"{two}" }} ]"#),
                &[new, old(1_700_000_000_123)],
            ),
            (
                format!(
                    r#"[{{"digest":"\u00{:x}{}","until":"2023-11-14 22:13:20.123+00"}}]"#,
                    b'2',
                    &two[1..]
                ),
                &[old(1_700_000_000_123)],
            ),
            (format!(r#"[{{"digest":"{two}","until":"-infinity"}}]"#), &[old(i64::MIN)]),
            (
                format!(r#"[{{"digest":null,"until":7}},{{"digest":"{two}","until":"infinity"}}]"#),
                &[old(NEVER)],
            ),
        ] {
            assert_eq!(read(value.clone()).unwrap(), digests, "{value}");
        }
        for wrong in [
            "1".into(),
            "\"abc\"".into(),
            "[]".into(),
            "{}".into(),
            format!("[\"{one}\",1]"),
            format!("[[\"{one}\"]]"),
            format!("[\"{one}\",\"{two}\",\"{two}\"]"),
            format!(r#"{{"digest":"{one}"}}"#),
            r#"[{}]"#.into(),
            r#"[{"until":1700000000123}]"#.into(),
            r#"[{"digest":"abc"}]"#.into(),
            format!(r#"[{{"digest":"{one}","expires":1}}]"#),
            format!(r#"[{{"digest":"{one}","until":null,"until":1700000000123}}]"#),
        ] {
            assert_eq!(
                read(wrong.clone()).unwrap_err().0,
                "key_hash must be 64 hex digits, \\x and those, or base64 of 32 bytes, null, or an array of one \
                 or two of those, or of {\"digest\": .., \"until\": ..}",
                "{wrong}"
            );
        }
        for (until, error) in [
            ("7", "must be in milliseconds, of 1990 to 9999; null is never"),
            ("1700000000", "must be in milliseconds, of 1990 to 9999; it looks like seconds; null is never"),
            (
                r#""2023-11-14 22:13:20""#,
                "has no zone: give one, or set apikey.naive-times to utc if all are in UTC",
            ),
            (
                "true",
                "must be null, an RFC 3339 time, \"infinity\", or epoch milliseconds of 1990 to 9999",
            ),
        ] {
            let value = format!(r#"[{{"digest":"{one}","until":{until}}}]"#);
            assert_eq!(read(value).unwrap_err().0, format!("until of key_hash {error}"));
        }
    }

    /// A record with this field, read by these rules: its JSON, or the error.
    fn with(field: &str, limits: &Limits) -> Result<String, String> {
        json(&format!(r#"{{"id":"k","is_active":true,{field}}}"#), limits)
    }

    #[test]
    fn what_looks_like_a_restriction_is_never_dropped_in_silence() {
        for (field, error) in [
            (
                r#""expiresAt":null"#,
                "expiresAt is not kept: map it by apikey.field-names or name it in apikey.dropped-fields",
            ),
            (
                r#""metadata":{"a":[{"revoked_at":1}]}"#,
                "revoked_at in metadata is not judged: give it as a field of the record, or name metadata in apikey.dropped-fields",
            ),
            (
                r#""data":"{\"expires\":1}""#,
                "expires in data is not judged: give it as a field of the record, or name data in apikey.dropped-fields",
            ),
            (
                r#""created_at":{"expires":1}"#,
                "expires in created_at is not judged: give it as a field of the record, or name created_at in apikey.dropped-fields",
            ),
        ] {
            assert_eq!(with(field, &DEFAULT).unwrap_err(), error);
            assert!(with(field, &Limits::STORED).is_ok(), "{field}");
        }
        let names = ["expiresAt".to_string(), "metadata".to_string()];
        let dropped = Limits { dropped_fields: &names, ..DEFAULT };
        let kept = Limits { extra_fields: ExtraFields::Named(&names), ..DEFAULT };
        for field in [r#""expiresAt":1"#, r#""metadata":{"expires":1}"#] {
            assert_eq!(with(field, &dropped).unwrap(), r#"{"id":"k","is_active":true}"#);
            assert_eq!(
                with(field, &kept).unwrap(),
                format!(r#"{{"id":"k","is_active":true,{field}}}"#)
            );
        }
    }

    #[test]
    fn a_tables_names_are_mapped_to_the_records() {
        let pairs = [("expires_at", "expiresAt"), ("is_active", "enabled"), ("user_id", "owner")];
        let names = FieldNames::new(pairs.into_iter()).unwrap();
        let limits = Limits { field_names: &names, ..DEFAULT };
        let read = |input: &str| json(input, &limits);
        assert_eq!(
            read(r#"{"id":1,"owner":"o","enabled":0,"expiresAt":1700000000000}"#).unwrap(),
            r#"{"id":1,"user_id":"o","is_active":false,"expires_at":1700000000000}"#
        );
        assert_eq!(read(r#"{"id":1,"is_active":true}"#).unwrap(), r#"{"id":1,"is_active":true}"#);
        for twice in [
            r#"{"id":1,"is_active":true,"enabled":false}"#,
            r#"{"id":1,"enabled":false,"is_active":true}"#,
        ] {
            let error = "is_active is given twice: apikey.field-names maps a field to it";
            assert_eq!(read(twice).unwrap_err(), error);
        }
        for (pairs, error) in [
            (&[("nope", "x")][..], "must map one of"),
            (&[("id", "user_id")], "must not map to user_id"),
            (&[("id", "a"), ("id", "b")], "once"),
            (&[("id", "a"), ("name", "a")], "once"),
        ] {
            let refused = FieldNames::new(pairs.iter().copied()).unwrap_err();
            assert!(refused.contains(error), "{refused}");
        }
    }

    #[test]
    fn fields_that_are_set_once_a_key_is_taken_back_disable_it() {
        let fields = [Cow::Borrowed("revoked_at"), Cow::Borrowed("deleted")];
        let limits = Limits { inactive_fields: &fields, ..DEFAULT };
        for (rest, active) in [
            (r#""is_active":true,"revoked_at":null"#, "true"),
            (r#""revoked_at":false,"is_active":true,"deleted":0"#, "true"),
            (r#""is_active":1,"revoked_at":"""#, "true"),
            (r#""is_active":true,"revoked_at":"2024-01-01""#, "false"),
            (r#""deleted":true,"is_active":true"#, "false"),
            (r#""is_active":"t","revoked_at":null,"deleted":1"#, "false"),
            (r#""is_active":true,"deleted":{}"#, "false"),
            (r#""is_active":false,"deleted":null"#, "false"),
            (r#""is_active":false,"deleted":1"#, "false"),
        ] {
            let expected = format!(r#"{{"id":1,"is_active":{active}}}"#);
            let input = format!(r#"{{"id":1,{rest}}}"#);
            assert_eq!(json(&input, &limits).unwrap(), expected, "{rest}");
            let parts = Parts::sanitise(input.as_bytes(), &limits).unwrap();
            assert_eq!(parts.is_active.to_string(), active);
            assert_eq!(parts.json_len, expected.len());
        }
        let names = FieldNames::new([("is_active", "deleted")].into_iter()).unwrap();
        let both = Limits { field_names: &names, ..limits };
        let error =
            "deleted must not be both in apikey.field-names and one of apikey.inactive-fields";
        for value in ["null", "true", "false"] {
            assert_eq!(
                json(&format!(r#"{{"id":1,"deleted":{value}}}"#), &both).unwrap_err(),
                error
            );
        }
        let alone = r#"{"id":1,"revoked_at":null}"#;
        assert_eq!(json(alone, &limits).unwrap(), r#"{"id":1,"is_active":true}"#);
    }

    #[test]
    fn times_are_read_as_databases_write_them() {
        const MS: i64 = 1_700_000_000_123;
        let utc = Limits { naive_times: NaiveTimes::Utc, ..DEFAULT };
        let rfc = r#""2023-11-14T22:13:20.123Z""#;
        // What comes, what is kept, when.
        for (text, kept, ms) in [
            ("1700000000123", "1700000000123", Some(MS)),
            (r#""1700000000123""#, "1700000000123", Some(MS)),
            (rfc, rfc, Some(MS)),
            (
                r#""2023-11-14T23:13:20.123456789+01:00""#,
                r#""2023-11-14T23:13:20.123456789+01:00""#,
                Some(MS),
            ),
            (r#""2023-11-14 22:13:20.123+00""#, rfc, Some(MS)),
            (r#""2023-11-14 23:43:20.123+0130""#, rfc, Some(MS)),
            (r#""2023-11-14T18:13:20.123-04""#, rfc, Some(MS)),
            (r#""2023-11-14 22:13:20""#, r#""2023-11-14T22:13:20Z""#, Some(MS - 123)),
            (r#""2023-11-14T22:13:20.123""#, rfc, Some(MS)),
            (r#""infinity""#, r#""infinity""#, None),
            (r#""-infinity""#, r#""-infinity""#, Some(i64::MIN)),
            ("null", "null", None),
        ] {
            let input = format!(r#"{{"id":1,"is_active":true,"expires_at":{text}}}"#);
            let parts = Parts::sanitise(input.as_bytes(), &utc).unwrap();
            assert_eq!(parts.expires_at, ms, "{text}");
            let out = format!(r#"{{"id":1,"is_active":true,"expires_at":{kept}}}"#);
            assert_eq!(parts.json(), out.as_bytes(), "{text}");
            let again = Parts::sanitise(out.as_bytes(), &Limits::STORED).unwrap();
            assert_eq!((again.expires_at, again.json()), (ms, out.into_bytes()));
        }
        for (number, unit) in [
            ("1700000000.5", "; it looks like seconds"),
            ("1.7e12", ""),
            ("1700000000123456.0", "; it looks like microseconds"),
            ("1.5", ""),
        ] {
            let error =
                format!(
                "expires_at must be null, an RFC 3339 time, \"infinity\", or epoch milliseconds of 1990 to 9999{unit}"
            );
            assert_eq!(with(&format!(r#""expires_at":{number}"#), &DEFAULT).unwrap_err(), error);
        }
        for stored in ["+12090-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00"] {
            let stored = format!(r#""expires_at":"{stored}""#);
            assert!(with(&stored, &Limits::STORED).is_ok(), "what was taken once is loaded");
            assert!(with(&stored, &DEFAULT).is_err());
        }
        let naive = r#""expires_at":"2023-11-14 22:13:20""#;
        assert!(with(naive, &DEFAULT).unwrap_err().contains("apikey.naive-times"));
        for (number, unit) in [
            ("1700000000", "; it looks like seconds"),
            ("1700000000123456", "; it looks like microseconds"),
            ("1700000000123456789", "; it looks like nanoseconds"),
            ("0", ""),
            ("-1", ""),
            ("9223372036854775807", "; it looks like nanoseconds"),
            ("500000000000000000", ""),
        ] {
            let error =
                format!("expires_at must be in milliseconds, of 1990 to 9999{unit}; null is never");
            assert_eq!(with(&format!(r#""expires_at":{number}"#), &DEFAULT).unwrap_err(), error);
            assert_eq!(with(&format!(r#""expires_at":"{number}""#), &DEFAULT).unwrap_err(), error);
            assert!(with(&format!(r#""expires_at":{number}"#), &Limits::STORED).is_ok());
        }
        for wrong in [
            r#""""#,
            r#""2023-11-14""#,
            r#""+12090-01-01 00:00:00Z""#,
            r#""12090-01-01 00:00:00Z""#,
            r#""-0001-01-01 00:00:00Z""#,
            r#""0000-01-01T00:00:00Z""#,
            r#""0001-01-01 00:00:00+01""#,
            r#""0001-01-01T00:00:00+01:00""#,
            r#""9999-12-31 23:59:59-01""#,
            r#""9999-12-31T23:59:59-01:00""#,
            r#""2090-1-1 0:0:0Z""#,
            r#""2090-01-01  00:00:00Z""#,
            r#""2090-01-01 00:00: 0Z""#,
            r#""2090-01-01 00:00:00 Z""#,
            r#""2090-01-01 00:00:00.Z""#,
            r#""2023-11-14 22:13""#,
            r#""2023-13-14 22:13:20""#,
            r#""0000-00-00 00:00:00""#,
            r#""2023-11-14 22:13:20 +1""#,
            r#""2023-11-14 22:13:20+0:30""#,
            r#""2023-11-14 22:13:20+01:60""#,
            "true",
            "[]",
            "{}",
        ] {
            assert!(with(&format!(r#""expires_at":{wrong}"#), &utc).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_grant_and_deny_nothing() {
        let object = r#""scopes":[{"resource":"r","actions":["x"],"effect":"deny"}]"#;
        let error = "scopes must have no field but resource and actions in their objects, not effect, unless \
                     apikey.scope-fields names it";
        assert_eq!(with(object, &DEFAULT).unwrap_err(), error);
        let known = ["effect".to_string()];
        assert!(with(object, &Limits { scope_fields: &known, ..DEFAULT }).is_ok());
        for denial in [
            r#"["!a"]"#,
            r#"["a","-b:c"]"#,
            r#"[{"resource":"-r","actions":[]}]"#,
            r#"[{"resource":"r","actions":["!x"]}]"#,
        ] {
            let error = "scopes must not begin with ! or -: they grant, and deny nothing";
            assert_eq!(with(&format!(r#""scopes":{denial}"#), &DEFAULT).unwrap_err(), error);
            assert!(with(&format!(r#""scopes":{denial}"#), &Limits::STORED).is_ok());
        }
        assert!(with(r#""scopes":null"#, &DEFAULT).is_ok());
    }

    #[test]
    fn a_field_makes_a_tag_as_an_id_does_whether_it_is_kept_or_not() {
        let fields = ["org", "plan", "owner", "gone_at"].map(String::from);
        let names = FieldNames::new([("user_id", "owner")].into_iter()).unwrap();
        let (inactive, dropped) = ([Cow::Borrowed("gone_at")], ["plan".to_string()]);
        let limits = Limits {
            tag_fields: &fields,
            field_names: &names,
            inactive_fields: &inactive,
            dropped_fields: &dropped,
            ..DEFAULT
        };
        let made = |fields: &str| {
            let input = format!(r#"{{"id":"k","is_active":true,{fields}}}"#);
            Parts::sanitise(input.as_bytes(), &limits)
                .map(|parts| {
                    let plain =
                        Parts::sanitise(input.as_bytes(), &Limits { tag_fields: &[], ..limits });
                    assert_eq!(parts.json(), plain.unwrap().json(), "what is kept is the same");
                    let tags = parts.tags.within(b"");
                    tags.iter()
                        .map(|tag| String::from_utf8(tag.clone()).unwrap())
                        .collect::<Vec<String>>()
                })
                .map_err(|bad| bad.0.into_owned())
        };
        let long = "x".repeat(256);
        for (given, tags) in [
            (r#""org":7"#, vec!["apikey:org:7"]),
            (r#""org":"7""#, vec!["apikey:org:7"]),
            (r#""\u006frg":"\u00e9\n""#, vec!["apikey:org:é\n"]),
            (&format!(r#""org":"{long}""#), vec![&format!("apikey:org:{long}")]),
            (r#""org":null,"orgs":1"#, vec![]),
            (r#""plan":"b:c","org":-1"#, vec!["apikey:org:-1", "apikey:plan:b:c"]),
            (r#""owner":42"#, vec!["apikey:owner:42"]),
            (r#""gone_at":"2024""#, vec!["apikey:gone_at:2024"]),
        ] {
            assert_eq!(made(given), Ok(tags.into_iter().map(String::from).collect()), "{given}");
        }
        let bound = "org must be a string of 1 to 256 bytes, an integer or null: \
                     apikey.tag-fields makes a tag of it";
        for wrong in
            ["\"\"", "1.5", "true", "{}", "[7]", "1e3", "\"\\ud800\"", &format!("\"{long}x\"")]
        {
            assert_eq!(made(&format!(r#""org":{wrong}"#)), Err(bound.to_string()), "{wrong}");
        }
        for twice in [r#""org":null,"org":7"#, r#""org":7,"\u006frg":7"#] {
            assert_eq!(made(twice), Err("org is given twice".to_string()));
        }
        let digest = Limits { digest_field: Some("org"), ..limits };
        let both = "org must not be both apikey.digest-field and one of apikey.tag-fields";
        assert_eq!(with(r#""org":"aa""#, &digest).unwrap_err(), both);
    }

    #[test]
    fn addresses_are_checked_as_they_are_stored() {
        assert!(with(r#""allowed_ips":["10.0.0.0/8","2001:db8::1"]"#, &DEFAULT).is_ok());
        for (value, error) in [
            (r#""10.0.0.1""#.into(), "allowed_ips must be null or an array of strings"),
            (r#"[1]"#.into(), "allowed_ips must be null or an array of strings"),
            (r#"["10.0.0.1/8"]"#.into(), "allowed_ips must be ranges that begin at their first address: 10.0.0.0/8, not 10.0.0.1/8"),
            (r#"["nowhere"]"#.into(), "allowed_ips must be IPv4 or IPv6 addresses, or ranges such as 10.0.0.0/8"),
            (format!("[{}]", vec![r#""::1""#; 65].join(",")), "allowed_ips must have at most 64 elements"),
        ] {
            assert_eq!(with(&format!(r#""allowed_ips":{value}"#), &DEFAULT).unwrap_err(), error);
        }
    }

    #[test]
    fn a_key_may_be_nobodys() {
        use crate::entry::kind::Entry;
        for input in
            [r#"{"id":"k","is_active":true}"#, r#"{"id":"k","user_id":null,"is_active":true}"#]
        {
            let parts = Parts::sanitise(input.as_bytes(), &DEFAULT).unwrap();
            assert_eq!(parts.json(), input.as_bytes());
            let record = Record::new(&parts, &[], b"ns:", &[]).unwrap();
            let mut tags = Vec::new();
            record.each_tag(&mut |tag| tags.push(String::from_utf8(tag.to_vec()).unwrap()));
            assert_eq!(tags, ["ns:apikey:id:k", "ns:apikey:kind:record"]);
            assert_eq!(record.tag_count(), 2);
            assert!(Record::read(record.bytes()).unwrap().is_sound());
        }
    }

    #[test]
    fn ids_have_256_bytes_escaped_or_not() {
        use crate::entry::kind::Entry;
        for id in
            ["x".repeat(256), format!("{}\\n", "x".repeat(255)), format!("{}\\n", "x".repeat(254))]
        {
            for user in ["u".repeat(256), format!("{}\\\"", "u".repeat(255))] {
                let input = format!(r#"{{"id":"{id}","user_id":"{user}","is_active":true}}"#);
                let parts = Parts::sanitise(input.as_bytes(), &DEFAULT).unwrap();
                let record = Record::new(&parts, &[], &[b'n'; 100], &[]).unwrap();
                let record = Record::read(record.bytes()).unwrap();
                assert!(record.is_sound());
                let mut tags = Vec::new();
                record.each_tag(&mut |tag| tags.push(tag.len()));
                let len = id.replace("\\n", "n").len();
                assert_eq!(tags, [100 + 10 + len, 100 + 12 + 256, 100 + 18]);
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_goes_in_under_a_kept_field_comes_out_equal(
            id in "\\PC{1,32}", user in any::<i64>(), name in any::<String>(),
            texts in proptest::collection::vec("[^!\\-]\\PC*", 0..6), created in any_json(),
        ) {
            prop_assume!(restrictions::first_in(&created.to_string()).is_none());
            let value = serde_json::json!({
                "id": id, "user_id": user, "name": name, "scopes": texts, "is_active": true,
                "created_at": created, "dropped": created,
            });
            let limits = Limits { max_name_bytes: 10_000, ..DEFAULT };
            let out = json(&serde_json::to_string_pretty(&value).unwrap(), &limits).unwrap();
            let out: serde_json::Value = serde_json::from_str(&out).unwrap();
            for field in ["id", "user_id", "name", "scopes", "is_active", "created_at"] {
                prop_assert_eq!(&out[field], &value[field]);
            }
            prop_assert_eq!(out.get("dropped"), None);
        }

        #[test]
        fn random_bytes_are_never_more_than_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = Parts::sanitise(&bytes, &DEFAULT);
            let _ = Parts::sanitise(&bytes, &Limits::STORED);
        }
    }
}
