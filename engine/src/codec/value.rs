//! The bytes of a value of each kind and version.
//!
//! They stand in an RDB, in DUMP's payload, and as the argument of `APIKEY.APPLY` in an AOF and in the
//! replication stream.
//!
//! ```text
//! kind (1 byte: 'r' record, 'a' absent, 's' scopes, 'l' list, 'c' cached, 'u' usage) | version (1 byte) | bincode 2.0.1, standard configuration
//! ```
//!
//! The fields of each version, in their order (bincode's standard configuration: integers as varints
//! with the lower byte first, signed ones in zigzag; strings, byte strings and vectors behind their
//! length; arrays without one; a boolean is one byte):
//!
//! | kind, version | fields |
//! | --- | --- |
//! | `r` 1 | sanitised JSON (string), digests (vector of 32-byte arrays), namespace (bytes), the caller's tags (vector of bytes), dead (boolean); read, no longer written |
//! | `r` 2 | dead (boolean), and up to the end the record as it is laid out ([`crate::record::layout`]), where `allowed_ips` was a field like any other: one that has it is dead; read, no longer written |
//! | `r` 3 | the same, where `allowed_ips` is judged; read, no longer written |
//! | `r` 4 | the same, where digests may have ends; read, no longer written: as of 2 and 3, one that has a field `limits` is dead |
//! | `r` 5 | the same, with limits |
//! | `a` 1 | the caller's tags (vector of bytes), dead (boolean); read, no longer written: its namespace is empty |
//! | `a` 2 | namespace (bytes), the caller's tags (vector of bytes), dead (boolean) |
//! | `s` 1 | namespace, id, user_id (bytes), the caller's tags (vector of bytes), decisions, the oldest first (vector of: resource, action (bytes), allow (boolean), expires_at (signed)), dead (boolean) |
//! | `l` 1 | namespace, an empty id, user_id (bytes), the caller's tags (vector of bytes), sanitised records as a JSON array (string), dead (boolean) |
//! | `c` 1 | dead (boolean), and up to the end the value as it is laid out ([`crate::cache::value`]) |
//! | `u` 1 | pending, total, first_used_at, last_used_at (signed): a counter of which nothing is leased |
//! | `u` 2 | those, and leases (vector of: batch id, line id (arrays of 16 bytes), count, leased_at, deadline (signed)) |
//! | `u` 3 | those, and an account ([`crate::codec::counter`]): what was taken from limits, and requests by their ids; also of a counter that has less than nothing pending |
//!
//! Among the caller's tags of a record and of a list stand those that their fields made when they were stored
//! (`tag-fields`), in front. The setting may name other fields by now, so that they are kept and not made again.
//!
//! Bytes come from RESTORE, so from anyone: what they ask to allocate is bounded by
//! [`MAX_ENCODED_BYTES`], nothing may be left over, and all that a record holds beside its JSON is
//! compared with what its JSON says, so that no bytes can say two things. What an RDB, an AOF or a
//! primary gives was written by a server of ours, or checked by one: of a record in it
//! ([`Origin::Server`]) only the lengths are checked, and that tags can be made of its ids. A later version reads the earlier ones; rules for
//! what is stored may be loosened, never tightened.

use crate::answers::decisions::{Decision, Decisions};
use crate::answers::list::{List, Records};
use crate::cache::value::Cached;
use crate::codec::bytes::{read, write};
pub use crate::codec::bytes::{BadBytes, MAX_ENCODED_BYTES};
use crate::codec::counter::{counter, numbers, AccountIn, AccountOut, Numbers};
use crate::entry::kind::Kind;
use crate::entry::label::{Label, Owner};
use crate::limits::account::Account;
use crate::record::digest::{Accepted, Digest};
use crate::record::layout::Record;
use crate::record::sanitise::{Limits, Parts};
use crate::usage::batches::Terms;
use crate::usage::counter::Counter;
use crate::usage::id::Id;
use crate::usage::lease::{Lease, Leases};
use bincode::{Decode, Encode};

const RECORD: u8 = b'r';
const ABSENT: u8 = b'a';
const SCOPES: u8 = b's';
const LIST: u8 = b'l';
const CACHED: u8 = b'c';
const USAGE: u8 = b'u';
const VERSION: u8 = 1;

/// Of a counter with leases, and of one with an account.
const LEASED_VERSION: u8 = 2;
const ACCOUNT_VERSION: u8 = 3;

/// Of an absent key with its namespace.
const NAMESPACE_VERSION: u8 = 2;

/// A record as it is laid out; before, it had no limits, before that its digests had no ends, and before that
/// `allowed_ips` was not judged.
const LAID_OUT_VERSION: u8 = 5;
const WITHOUT_LIMITS_VERSION: u8 = 4;
const WITHOUT_ENDS_VERSION: u8 = 3;
const WITHOUT_RANGES_VERSION: u8 = 2;

/// Who gives the bytes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// An RDB, an AOF or a primary.
    Server,
    Anyone,
}

/// A value, decoded.
#[derive(Debug)]
pub enum Value<'a> {
    Record { record: Record<'a>, dead: bool },
    Scopes { decisions: Decisions, dead: bool },
    List { list: List, dead: bool },
    Cached { cached: Cached<'a>, dead: bool },
    Usage(Counter, Leases, Account),
}

#[derive(Decode)]
struct RecordIn {
    json: String,
    digests: Vec<Digest>,
    namespace: Vec<u8>,
    tags: Vec<Vec<u8>>,
    dead: bool,
}

/// Batch, line, count, leased_at, deadline.
type Line = ([u8; 16], [u8; 16], i64, i64, i64);

fn encode(kind: u8, version: u8, body: impl Encode) -> Vec<u8> {
    let mut bytes = vec![kind, version];
    write(body, &mut bytes);
    bytes
}

#[derive(Encode)]
struct AbsentOut<'a> {
    namespace: &'a [u8],
    tags: Vec<&'a [u8]>,
    dead: bool,
}

#[derive(Decode)]
struct AbsentIn {
    namespace: Vec<u8>,
    tags: Vec<Vec<u8>>,
    dead: bool,
}

pub fn encode_record(record: &Record, dead: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_record_to(record, dead, &mut bytes);
    bytes
}

/// Appends what [`encode_record`] returns.
pub(super) fn encode_record_to(record: &Record, dead: bool, bytes: &mut Vec<u8>) {
    if record.is_absent() {
        let (namespace, tags) = (record.namespace(), record.own_tags().collect());
        bytes.extend(encode(ABSENT, NAMESPACE_VERSION, AbsentOut { namespace, tags, dead }));
        return;
    }
    bytes.reserve(3 + record.bytes().len());
    bytes.extend_from_slice(&[RECORD, LAID_OUT_VERSION, u8::from(dead)]);
    bytes.extend_from_slice(record.bytes());
}

pub fn encode_cached(cached: &Cached, dead: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_cached_to(cached, dead, &mut bytes);
    bytes
}

/// Appends what [`encode_cached`] returns.
pub(super) fn encode_cached_to(cached: &Cached, dead: bool, bytes: &mut Vec<u8>) {
    bytes.reserve(3 + cached.bytes().len());
    bytes.extend_from_slice(&[CACHED, VERSION, u8::from(dead)]);
    bytes.extend_from_slice(cached.bytes());
}

/// Resource, action, allow, expires_at.
type DecisionIn = (Vec<u8>, Vec<u8>, bool, i64);

#[derive(Encode)]
struct ScopesOut<'a> {
    label: LabelOut<'a>,
    decisions: Vec<(&'a [u8], &'a [u8], bool, i64)>,
    dead: bool,
}

#[derive(Decode)]
struct ScopesIn {
    label: LabelIn,
    decisions: Vec<DecisionIn>,
    dead: bool,
}

#[derive(Encode)]
struct ListOut<'a> {
    label: LabelOut<'a>,
    json: &'a str,
    dead: bool,
}

#[derive(Decode)]
struct ListIn {
    label: LabelIn,
    json: String,
    dead: bool,
}

#[derive(Encode)]
struct LabelOut<'a> {
    namespace: &'a [u8],
    id: &'a [u8],
    user_id: &'a [u8],
    tags: Vec<&'a [u8]>,
}

impl<'a> LabelOut<'a> {
    fn of(label: &'a Label) -> Self {
        let Owner { namespace, id, user_id } = label.owner();
        Self { namespace, id, user_id, tags: label.own_tags().collect() }
    }
}

#[derive(Decode)]
struct LabelIn {
    namespace: Vec<u8>,
    id: Vec<u8>,
    user_id: Vec<u8>,
    tags: Vec<Vec<u8>>,
}

impl LabelIn {
    fn label(&self, kind: Kind) -> Result<Label, BadBytes> {
        let Self { namespace, id, user_id, tags } = self;
        Label::new(kind, &Owner { namespace, id, user_id }, &slices(tags))
            .ok_or(BadBytes("namespace, ids or tags beyond their bounds"))
    }
}

pub fn encode_scopes(decisions: &Decisions, dead: bool) -> Vec<u8> {
    let all = decisions.iter().map(|d| (d.resource, d.action, d.allow, d.expires_at)).collect();
    let label = LabelOut::of(decisions.label());
    encode(SCOPES, VERSION, ScopesOut { label, decisions: all, dead })
}

pub fn encode_list(list: &List, dead: bool) -> Vec<u8> {
    let label = LabelOut::of(list.label());
    encode(LIST, VERSION, ListOut { label, json: list.json(), dead })
}

/// Of the account what says something at `now`.
pub fn encode_usage(counter: &Counter, leases: &Leases, account: &Account, now: i64) -> Vec<u8> {
    let numbers = numbers(counter);
    let account = AccountOut::of(account, now);
    let has_account = !account.is_empty() || counter.pending() < 0;
    if leases.is_empty() && !has_account {
        return encode(USAGE, VERSION, numbers);
    }
    let line = |lease: &Lease| -> Line {
        let Terms { leased_at, deadline } = lease.terms;
        (lease.batch.to_bytes(), lease.line.to_bytes(), lease.count, leased_at, deadline)
    };
    let lines: Vec<Line> = leases.lines().iter().map(line).collect();
    match has_account {
        true => encode(USAGE, ACCOUNT_VERSION, (numbers, lines, account)),
        false => encode(USAGE, LEASED_VERSION, (numbers, lines)),
    }
}

/// Reads a value from the bytes of any version.
pub fn decode(bytes: &[u8], origin: Origin) -> Result<Value<'_>, BadBytes> {
    let Some((&[kind, version], body)) = bytes.split_first_chunk() else {
        return Err(BadBytes("too short"));
    };
    match (kind, version) {
        (RECORD, VERSION) => decode_record(read(body)?),
        (RECORD, LAID_OUT_VERSION) => decode_laid_out(body, origin),
        (RECORD, WITHOUT_LIMITS_VERSION | WITHOUT_ENDS_VERSION | WITHOUT_RANGES_VERSION) => {
            match decode_laid_out(body, origin)? {
                Value::Record { record, dead } => {
                    let dead = dead || record.has_unjudged();
                    Ok(Value::Record { record, dead })
                }
                value => Ok(value),
            }
        }
        (ABSENT, VERSION) => {
            let (tags, dead) = read(body)?;
            decode_absent(&AbsentIn { namespace: Vec::new(), tags, dead })
        }
        (ABSENT, NAMESPACE_VERSION) => decode_absent(&read(body)?),
        (SCOPES, VERSION) => decode_scopes(&read(body)?),
        (LIST, VERSION) => decode_list(&read(body)?),
        (CACHED, VERSION) => decode_cached(body),
        (USAGE, VERSION) => decode_usage(used(read(body)?)?, Vec::new(), Account::default()),
        (USAGE, LEASED_VERSION) => {
            let (numbers, lines) = read(body)?;
            decode_usage(used(numbers)?, lines, Account::default())
        }
        (USAGE, ACCOUNT_VERSION) => {
            let (numbers, lines, account): (_, _, AccountIn) = read(body)?;
            decode_usage(numbers, lines, account.account()?)
        }
        (RECORD | ABSENT | SCOPES | LIST | CACHED | USAGE, 1..) => {
            Err(BadBytes("written by a newer version of the module"))
        }
        _ => Err(BadBytes("unknown kind")),
    }
}

fn decode_laid_out(body: &[u8], origin: Origin) -> Result<Value<'_>, BadBytes> {
    let Some((&dead @ (0 | 1), bytes)) = body.split_first() else {
        return Err(BadBytes("not the fields of its kind"));
    };
    let record = Record::read(bytes).ok_or(BadBytes("not a record's parts"))?;
    if origin == Origin::Anyone && !record.is_sound() {
        return Err(BadBytes("no record"));
    }
    Ok(Value::Record { record, dead: dead == 1 })
}

fn decode_cached(body: &[u8]) -> Result<Value<'_>, BadBytes> {
    let Some((&dead @ (0 | 1), bytes)) = body.split_first() else {
        return Err(BadBytes("not the fields of its kind"));
    };
    let cached = Cached::read(bytes).ok_or(BadBytes("not a cached value's parts"))?;
    Ok(Value::Cached { cached, dead: dead == 1 })
}

fn decode_record(input: RecordIn) -> Result<Value<'static>, BadBytes> {
    let parts = Parts::sanitise(input.json.as_bytes(), &Limits::STORED)
        .map_err(|_| BadBytes("no record"))?;
    let digests: Vec<Accepted> = input.digests.into_iter().map(Accepted::from).collect();
    let record = Record::new(&parts, &digests, &input.namespace, &slices(&input.tags))
        .ok_or(BadBytes("digests, namespace or tags beyond their bounds"))?;
    Ok(Value::Record { record, dead: input.dead })
}

fn decode_absent(input: &AbsentIn) -> Result<Value<'static>, BadBytes> {
    let record = Record::absent(&input.namespace, &slices(&input.tags))
        .ok_or(BadBytes("namespace or tags beyond their bounds"))?;
    Ok(Value::Record { record, dead: input.dead })
}

fn decode_scopes(input: &ScopesIn) -> Result<Value<'static>, BadBytes> {
    // Each of them is of one key.
    if input.label.id.is_empty() {
        return Err(BadBytes("namespace, ids or tags beyond their bounds"));
    }
    let label = input.label.label(Kind::Scopes)?;
    let all: Vec<Decision> = input
        .decisions
        .iter()
        .map(|(resource, action, allow, expires_at)| Decision {
            resource,
            action,
            allow: *allow,
            expires_at: *expires_at,
        })
        .collect();
    Decisions::new(label, &all)
        .map(|decisions| Value::Scopes { decisions, dead: input.dead })
        .ok_or(BadBytes("decisions that no key has"))
}

fn decode_list(input: &ListIn) -> Result<Value<'static>, BadBytes> {
    // None is of one key alone.
    if !input.label.id.is_empty() {
        return Err(BadBytes("namespace, ids or tags beyond their bounds"));
    }
    let label = input.label.label(Kind::List)?;
    let (records, _) = Records::sanitise(input.json.as_bytes(), &Limits::STORED)
        .map_err(|_| BadBytes("no records"))?;
    Ok(Value::List { list: List::new(label, records), dead: input.dead })
}

fn slices(tags: &[Vec<u8>]) -> Vec<&[u8]> {
    tags.iter().map(Vec::as_slice).collect()
}

/// The numbers of a counter of a version in which none had less than nothing pending.
fn used(numbers: Numbers) -> Result<Numbers, BadBytes> {
    match numbers.0 {
        0.. => Ok(numbers),
        _ => Err(BadBytes("numbers that no counter has")),
    }
}

fn decode_usage(
    numbers: Numbers,
    lines: Vec<Line>,
    account: Account,
) -> Result<Value<'static>, BadBytes> {
    let counter = counter(numbers)?;
    let lease = |(batch, line, count, leased_at, deadline): Line| {
        let (batch, line) = (Id::from_bytes(batch)?, Id::from_bytes(line)?);
        Some(Lease { batch, line, count, terms: Terms { leased_at, deadline } })
    };
    let lines: Option<Vec<Lease>> = lines.into_iter().map(lease).collect();
    lines
        .and_then(|lines| Leases::from_parts(&counter, lines))
        .map(|leases| Value::Usage(counter, leases, account))
        .ok_or(BadBytes("leases that no counter has"))
}

#[cfg(test)]
pub(super) mod tests;
