//! Settings, each with its default and its bounds. They know no state.

use apikey_engine::cache::policy::{Policies, Policy};
use apikey_engine::cache::value::MAX_VALUE_BYTES as MOST_VALUE_BYTES;
use apikey_engine::entry::region_tag::RegionTag;
use apikey_engine::entry::tag_names::{MAX_CALLER_TAGS, MAX_TAG_FIELDS, MAX_TAG_FIELD_BYTES};
use apikey_engine::limits::requests::{Window, MAX_REQUESTS};
use apikey_engine::record::fields::{FieldNames, Kept, KEPT_FIELDS, MAX_EXTRA_FIELDS};
use apikey_engine::record::restrictions::{refuse_as_inactive, refuse_to_map};
use apikey_engine::record::sanitise::{ExtraFields, Limits};
use apikey_engine::record::values::NaiveTimes;
use host::settings::{Number, Parsed, Setting, Switch};
use host::Lock;
use std::borrow::Cow;
use std::time::Duration;

/// Names, separated by commas. Spaces are taken as well, but CONFIG REWRITE does not quote what it writes
/// back as arguments of the module.
pub type Names = Parsed<Vec<String>>;

const MAX_NAME_BYTES: usize = MAX_TAG_FIELD_BYTES;

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
    let never = (&KEPT_FIELDS[..], "a record keeps that field");
    split(text, "field", 1, never)
}

fn any_fields(text: &str) -> Result<Vec<String>, String> {
    split(text, "field", MAX_EXTRA_FIELDS, (&[], ""))
}

fn dropped_fields(text: &str) -> Result<Vec<String>, String> {
    // A table may have had limits of its own before records had them.
    let own: Vec<&str> = KEPT_FIELDS.into_iter().filter(|name| *name != "limits").collect();
    split(text, "field", MAX_EXTRA_FIELDS, (&own, "a record keeps that field"))
}

fn tag_fields(text: &str) -> Result<Vec<String>, String> {
    let own = ["id", "user_id", "user", "kind"];
    let names = split(text, "field", MAX_TAG_FIELDS, (&own, "that tag is the module's own"))?;
    if names.iter().any(|name| name.contains(':')) {
        return Err("must be names without a colon, which ends the name in a tag".into());
    }
    if names.iter().any(|name| name == "key_hash") {
        return Err("must not be key_hash: a secret's hash is in no tag".into());
    }
    Ok(names)
}

fn inactive_fields(text: &str) -> Result<Cow<'static, [Cow<'static, str>]>, String> {
    let never = (&KEPT_FIELDS[..], "a record keeps that field");
    let names = split(text, "field", MAX_EXTRA_FIELDS, never)?;
    match names.iter().find_map(|name| refuse_as_inactive(name)) {
        Some(why) => Err(why),
        None => Ok(names.into_iter().map(Cow::Owned).collect()),
    }
}

fn field_names(text: &str) -> Result<FieldNames, String> {
    let pairs = split(text, "field", FieldNames::MAX, (&[], ""))?;
    let pairs: Option<Vec<(&str, &str)>> = pairs.iter().map(|pair| pair.split_once('=')).collect();
    match pairs {
        Some(pairs) if pairs.iter().all(|(_, theirs)| !theirs.is_empty()) => {
            let refused =
                pairs.iter().find_map(|(own, theirs)| refuse_to_map(Kept::of(own)?, theirs));
            match refused {
                Some(why) => Err(why),
                None => FieldNames::new(pairs.into_iter()),
            }
        }
        _ => Err("must be pairs such as expires_at=expiresAt, separated by commas".into()),
    }
}

fn show_field_names(names: &FieldNames) -> String {
    let pairs: Vec<String> = names.pairs().map(|(own, theirs)| format!("{own}={theirs}")).collect();
    pairs.join(",")
}

fn naive_times(text: &str) -> Result<NaiveTimes, String> {
    match text.to_ascii_lowercase().as_str() {
        "refuse" => Ok(NaiveTimes::Refuse),
        "utc" => Ok(NaiveTimes::Utc),
        _ => Err("must be refuse or utc".into()),
    }
}

fn show_naive_times(naive: &NaiveTimes) -> String {
    match naive {
        NaiveTimes::Refuse => "refuse".into(),
        NaiveTimes::Utc => "utc".into(),
    }
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
pub static MAX_TAGS: Number = Number::new(c"max-tags", 16, 0, MAX_CALLER_TAGS as i64);
pub static CHECK_FILL_TAGS: Switch = Switch::new(c"check-fill-tags", false);
/// Negative: a share of all entries.
pub static MAX_ABSENT: Number = Number::new(c"max-absent", -1, -1, 1_000_000_000);
pub static MAX_DECISIONS: Number =
    Number::new(c"max-decisions", 1024, 1, apikey_engine::answers::decisions::MAX_DECISIONS as i64);
pub static FENCE_SLOTS: Number = Number::new(c"fence-slots", 65_536, 1, 16_777_216).fixed();
pub static TOKEN_TTL_MS: Number = Number::new(c"token-ttl-ms", 30_000, 1, 86_400_000);
pub static MAX_VALUE_BYTES: Number =
    Number::new(c"max-value-bytes", 8 << 20, 1, MOST_VALUE_BYTES as i64);
pub static LEASE_SLOTS: Number = Number::new(c"lease-slots", 16_384, 4, 4_194_304).fixed();
/// How long the ids of requests are kept, and how many of each counter.
pub static REQUEST_ID_WINDOW: Number = Number::new(c"request-id-window-ms", 60_000, 1, 86_400_000);
pub static MAX_REQUEST_IDS: Number = Number::new(c"max-request-ids", 4096, 1, MAX_REQUESTS as i64);
pub static REGIONS: Parsed<Policies> =
    Parsed::new(c"regions", Policies::NONE, Policies::parse, Policies::show);
pub static SYNC_RECLAIM: Number = Number::new(c"sync-reclaim", 256, 0, 100_000);
pub static RECLAIM_BUDGET_US: Number = Number::new(c"reclaim-budget-us", 500, 10, 100_000);
pub static LOG_MAX_LEN: Number = Number::new(c"log-max-len", 128, 0, MAX_LOG_LEN);
pub static CLUSTER_TIMEOUT_MS: Number = Number::new(c"cluster-timeout-ms", 1000, 200, 60_000);
pub static MIN_HIT_RATE: Number = Number::new(c"min-hit-rate", 80, 0, 100);
pub static MAX_MEMORY_PERCENT: Number = Number::new(c"max-memory-percent", 90, 1, 100);
pub static TRUST_LOADED: Switch = Switch::new(c"trust-loaded", false);
pub static TRUST_PROMOTED: Switch = Switch::new(c"trust-promoted", true);
pub static ENABLED: Switch = Switch::new(c"enabled", true);
pub static WRITES_ENABLED: Switch = Switch::new(c"writes-enabled", true);
pub static SERVE_WHEN_WRITES_REFUSED: Switch = Switch::new(c"serve-when-writes-refused", false);
pub static EXTRA_FIELDS: Names =
    Parsed::new(c"extra-fields", Vec::new(), extra_fields, |names| names.join(","));
pub static DIGEST_FIELD: Names =
    Parsed::new(c"digest-field", Vec::new(), digest_field, |names| names.join(","));
pub static FIELD_NAMES: Parsed<FieldNames> =
    Parsed::new(c"field-names", FieldNames::NONE, field_names, show_field_names);
pub static DROPPED_FIELDS: Names =
    Parsed::new(c"dropped-fields", Vec::new(), dropped_fields, |names| names.join(","));
pub static INACTIVE_FIELDS: Parsed<Cow<'static, [Cow<'static, str>]>> = Parsed::new(
    c"inactive-fields",
    Cow::Borrowed(&[
        Cow::Borrowed("revoked"),
        Cow::Borrowed("revoked_at"),
        Cow::Borrowed("deleted_at"),
        Cow::Borrowed("disabled"),
        Cow::Borrowed("disabled_at"),
        Cow::Borrowed("archived_at"),
    ]),
    inactive_fields,
    |names| names.join(","),
);
pub static SCOPE_FIELDS: Names =
    Parsed::new(c"scope-fields", Vec::new(), any_fields, |names| names.join(","));
pub static TAG_FIELDS: Names =
    Parsed::new(c"tag-fields", Vec::new(), tag_fields, |names| names.join(","));
pub static NAIVE_TIMES: Parsed<NaiveTimes> =
    Parsed::new(c"naive-times", NaiveTimes::Refuse, naive_times, show_naive_times);
pub static INVALIDATION_CHANNEL: Names =
    Parsed::new(c"invalidation-channel", Vec::new(), channel, |names| names.join(","));

pub static ALL: [&'static dyn Setting; 38] = [
    &REQUEST_ID_WINDOW,
    &MAX_REQUEST_IDS,
    &MAX_VALUE_BYTES,
    &LEASE_SLOTS,
    &REGIONS,
    &CLUSTER_TIMEOUT_MS,
    &ABSENT_TTL,
    &SCOPE_TTL,
    &LIST_TTL,
    &MAX_ABSENT,
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
    &SERVE_WHEN_WRITES_REFUSED,
    &EXTRA_FIELDS,
    &DIGEST_FIELD,
    &FIELD_NAMES,
    &DROPPED_FIELDS,
    &INACTIVE_FIELDS,
    &SCOPE_FIELDS,
    &TAG_FIELDS,
    &NAIVE_TIMES,
    &INVALIDATION_CHANNEL,
];

/// Calls `body` with what a record of a client's may be.
pub fn with_record_limits<T>(lock: Lock, body: impl FnOnce(&Limits) -> T) -> T {
    body(&Limits {
        max_record_bytes: MAX_RECORD_BYTES.size(),
        max_name_bytes: MAX_NAME_LENGTH.size(),
        max_scopes: MAX_SCOPES.size(),
        extra_fields: ExtraFields::Named(&EXTRA_FIELDS.get(lock)),
        digest_field: DIGEST_FIELD.get(lock).first().map(String::as_str),
        field_names: &FIELD_NAMES.get(lock),
        dropped_fields: &DROPPED_FIELDS.get(lock),
        inactive_fields: &INACTIVE_FIELDS.get(lock),
        scope_fields: &SCOPE_FIELDS.get(lock),
        tag_fields: &TAG_FIELDS.get(lock),
        naive_times: *NAIVE_TIMES.get(lock),
    })
}

/// How long a slice of reclaim, of an eviction, of PATINVAL may take.
pub fn slice_budget() -> Duration {
    Duration::from_micros(RECLAIM_BUDGET_US.get().unsigned_abs())
}

/// How long requests are known by their ids.
pub fn request_window() -> Window {
    Window { ms: REQUEST_ID_WINDOW.get(), most: MAX_REQUEST_IDS.size() }
}

/// What is set of a region.
pub fn policy(lock: Lock, tag: &RegionTag) -> Policy {
    REGIONS.with(lock, |all| all.get(tag.namespace(), tag.region()).copied().unwrap_or_default())
}

/// The channel that is told of invalidations, if there is one.
pub fn invalidation_channel(lock: Lock) -> Option<String> {
    INVALIDATION_CHANNEL.with(lock, |names| names.first().cloned())
}
