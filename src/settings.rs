//! Settings, each with its default and its bounds. They know no state.

use apikey_engine::record::fields::MAX_EXTRA_FIELDS;
use apikey_engine::record::sanitise::{ExtraFields, Limits};
use host::settings::{Number, Parsed, Setting, Switch};
use host::Lock;

/// Names, separated by commas. Spaces are taken as well, but CONFIG REWRITE does not quote what it writes
/// back as arguments of the module.
pub type Names = Parsed<Vec<String>>;

const MAX_NAME_BYTES: usize = 128;

/// Reads at most so many names of things of a kind, none of which may be among `never`, which says why.
fn split(
    text: &str,
    of: &str,
    most: usize,
    (never, why): (&[&str], &str),
) -> Result<Vec<String>, String> {
    let names: Vec<String> = text
        .split(|c: char| c == ',' || c.is_ascii_whitespace())
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect();
    if names.len() > most {
        return Err(match most {
            1 => format!("must be the name of one {of}"),
            most => format!("must be at most {most} names of {of}s"),
        });
    }
    if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
        return Err(format!("must be names of at most {MAX_NAME_BYTES} bytes"));
    }
    if let Some(name) = names.iter().find(|name| never.contains(&name.as_str())) {
        return Err(format!("must not be {name}: {why}"));
    }
    Ok(names)
}

fn extra_fields(text: &str) -> Result<Vec<String>, String> {
    let never = (&["key_hash"][..], "a secret's hash is not kept in a record");
    split(text, "field", MAX_EXTRA_FIELDS, never)
}

fn digest_field(text: &str) -> Result<Vec<String>, String> {
    let never = (&apikey_engine::record::fields::KEPT_FIELDS[..], "a record keeps that field");
    split(text, "field", 1, never)
}

fn channel(text: &str) -> Result<Vec<String>, String> {
    split(text, "channel", 1, (&[], ""))
}

const YEAR_IN_SECONDS: i64 = 31_536_000;

/// The most refused validations that LOG can keep.
pub const MAX_LOG_LEN: i64 = 10_000;

pub static VALIDATION_TTL: Number = Number::new(c"validation-ttl", 300, 1, YEAR_IN_SECONDS);
pub static ABSENT_TTL: Number = Number::new(c"absent-ttl", 30, 1, YEAR_IN_SECONDS);
pub static SCOPE_TTL: Number = Number::new(c"scope-ttl", 600, 1, YEAR_IN_SECONDS);
pub static LIST_TTL: Number = Number::new(c"list-ttl", 1800, 1, YEAR_IN_SECONDS);
pub static MAX_NAME_LENGTH: Number = Number::new(c"max-name-length", 100, 1, 65_536);
pub static MAX_RECORD_BYTES: Number = Number::new(c"max-record-bytes", 16_384, 64, 1_048_576);
pub static MAX_SCOPES: Number = Number::new(c"max-scopes", 64, 0, 4096);
pub static MAX_TAGS: Number =
    Number::new(c"max-tags", 16, 0, apikey_engine::entry::tag_names::MAX_CALLER_TAGS as i64);
pub static CHECK_FILL_TAGS: Switch = Switch::new(c"check-fill-tags", false);
pub static MAX_DECISIONS: Number =
    Number::new(c"max-decisions", 1024, 1, apikey_engine::answers::decisions::MAX_DECISIONS as i64);
pub static FENCE_SLOTS: Number = Number::new(c"fence-slots", 65_536, 1, 16_777_216).fixed();
pub static TOKEN_TTL_MS: Number = Number::new(c"token-ttl-ms", 30_000, 1, 86_400_000);
pub static SYNC_RECLAIM: Number = Number::new(c"sync-reclaim", 256, 0, 100_000);
pub static RECLAIM_BUDGET_US: Number = Number::new(c"reclaim-budget-us", 500, 10, 100_000);
pub static LOG_MAX_LEN: Number = Number::new(c"log-max-len", 128, 0, MAX_LOG_LEN);
pub static MIN_HIT_RATE: Number = Number::new(c"min-hit-rate", 80, 0, 100);
pub static MAX_MEMORY_PERCENT: Number = Number::new(c"max-memory-percent", 90, 1, 100);
pub static TRUST_LOADED: Switch = Switch::new(c"trust-loaded", false);
pub static TRUST_PROMOTED: Switch = Switch::new(c"trust-promoted", true);
pub static ENABLED: Switch = Switch::new(c"enabled", true);
pub static WRITES_ENABLED: Switch = Switch::new(c"writes-enabled", true);
pub static EXTRA_FIELDS: Names =
    Parsed::new(c"extra-fields", Vec::new(), extra_fields, |names| names.join(","));
pub static DIGEST_FIELD: Names =
    Parsed::new(c"digest-field", Vec::new(), digest_field, |names| names.join(","));
pub static INVALIDATION_CHANNEL: Names =
    Parsed::new(c"invalidation-channel", Vec::new(), channel, |names| names.join(","));

pub static ALL: [&'static dyn Setting; 24] = [
    &ABSENT_TTL,
    &SCOPE_TTL,
    &LIST_TTL,
    &MAX_DECISIONS,
    &SYNC_RECLAIM,
    &RECLAIM_BUDGET_US,
    &FENCE_SLOTS,
    &TOKEN_TTL_MS,
    &VALIDATION_TTL,
    &MAX_NAME_LENGTH,
    &MAX_RECORD_BYTES,
    &MAX_SCOPES,
    &MAX_TAGS,
    &CHECK_FILL_TAGS,
    &LOG_MAX_LEN,
    &MIN_HIT_RATE,
    &MAX_MEMORY_PERCENT,
    &TRUST_LOADED,
    &TRUST_PROMOTED,
    &ENABLED,
    &WRITES_ENABLED,
    &EXTRA_FIELDS,
    &DIGEST_FIELD,
    &INVALIDATION_CHANNEL,
];

/// Calls `body` with what a record of a client's may be.
pub fn with_record_limits<T>(lock: Lock, body: impl FnOnce(&Limits) -> T) -> T {
    EXTRA_FIELDS.with(lock, |extra| {
        DIGEST_FIELD.with(lock, |digest| {
            body(&Limits {
                max_record_bytes: MAX_RECORD_BYTES.size(),
                max_name_bytes: MAX_NAME_LENGTH.size(),
                max_scopes: MAX_SCOPES.size(),
                extra_fields: ExtraFields::Named(extra),
                digest_field: digest.first().map(String::as_str),
            })
        })
    })
}

/// The channel that is told of invalidations, if there is one.
pub fn invalidation_channel(lock: Lock) -> Option<String> {
    INVALIDATION_CHANNEL.with(lock, |names| names.first().cloned())
}
