//! SETVAL, VALIDATE, TOKEN and INVAL: a key's record.

use crate::command::{Arg, Command, Keys, Repeat, Spec, DELETES, OVERWRITES, READS};
use crate::commands::{log, msetval};
use crate::config;
use crate::error::{Error, Result};
use crate::events;
use crate::ffi::{self, Args, Ctx, Mode, Name, Notify};
use crate::invalidation;
use crate::keyspace::{self, OpenKey, Removed};
use crate::options::{self, exclude, is, set_once, Call, Expiry, ExpiryOptions, Options};
use crate::reclaim;
use crate::state;
use crate::value::{RecordValue, StoredRecord};
use apikey_engine::codec;
use apikey_engine::digest::Digest;
use apikey_engine::fence::Token;
use apikey_engine::record::Record;
use apikey_engine::refusals::told;
use apikey_engine::sanitise::{BadRecord, Limits, Parts};
use apikey_engine::verdict::{judge, Verdict};
use smallvec::SmallVec;

pub struct SetVal;

/// The options of SETVAL, and those of MSETVAL.
#[derive(Default)]
pub struct SetValOptions<'a> {
    pub expiry: ExpiryOptions,
    secret: Option<Digest>,
    digests: SmallVec<[Digest; 2]>,
    tags: Option<Vec<&'a [u8]>>,
    namespace: Option<&'a [u8]>,
    pub token: Option<Token>,
    condition: Option<Condition>,
}

/// What SETVAL takes and MSETVAL doesn't.
const OF_ONE_KEY: [&str; 4] = ["KEEPTTL", "SECRET", "DIGEST", "XX"];

#[derive(Clone, Copy, PartialEq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

impl<'a> SetValOptions<'a> {
    /// The options from a position on, of a call for one key or for many.
    pub fn parse(args: Args<'a>, position: usize, many: bool, call: Call) -> Result<Self> {
        let mut options = Options::new(args, position);
        let mut parsed = Self::default();
        while let Some(option) = options.next_name() {
            if many && OF_ONE_KEY.iter().any(|name| is(option, name)) {
                return Err(options.unknown());
            }
            if parsed.expiry.take(option, &mut options, call)? {
                continue;
            }
            if is(option, "SECRET") {
                let secret = options::secret(options.value("SECRET")?)?;
                set_once(&mut parsed.secret, "SECRET", secret)?;
            } else if is(option, "DIGEST") {
                parsed.digests.push(options::digest(options.value("DIGEST")?)?);
            } else if is(option, "TAGS") {
                let tags = options::tags(&mut options, call.replayed)?;
                set_once(&mut parsed.tags, "TAGS", tags)?;
            } else if is(option, "NS") {
                let namespace = options::namespace(&mut options)?;
                set_once(&mut parsed.namespace, "NS", namespace)?;
            } else if is(option, "TOKEN") {
                let token = options::token(&mut options)?;
                set_once(&mut parsed.token, "TOKEN", token)?;
            } else if is(option, "NX") || is(option, "XX") {
                let (name, condition) = match is(option, "NX") {
                    true => ("NX", Condition::IfAbsent),
                    false => ("XX", Condition::IfPresent),
                };
                if parsed.condition.is_some_and(|other| other != condition) {
                    return Err(exclude("NX", "XX"));
                }
                set_once(&mut parsed.condition, name, condition)?;
            } else {
                return Err(options.unknown());
            }
        }
        if parsed.secret.is_some() && !parsed.digests.is_empty() {
            return Err(exclude("SECRET", "DIGEST"));
        }
        if parsed.digests.len() > 2 {
            return Err(Error::err("DIGEST is given more than twice"));
        }
        parsed.digests.extend(parsed.secret);
        Ok(parsed)
    }

    /// The record that is to be stored: what of it may be kept, with its digests and tags.
    pub fn lay_out(&self, parts: &Parts) -> Result<Record<'static>> {
        let digests = match (self.digests.as_slice(), parts.digests()) {
            ([], own) => own,
            (given, []) => given,
            _ => {
                return Err(Error::err(
                    "SECRET and DIGEST can't stand beside the record's own digest field",
                ))
            }
        };
        let tags = self.tags.as_deref().unwrap_or_default();
        let memory = state::with(|state| state.memory());
        Record::new_in(parts, digests, self.namespace.unwrap_or_default(), tags, memory)
            .ok_or_else(|| Error::err("the record can't be laid out"))
    }

    /// Whether NX, XX or TOKEN refuses the record under a name where a live one `exists` or not. A token
    /// that does is counted; what is replayed was judged where its caller was.
    pub fn refuse(&self, name: Name, record: &Record, exists: bool, call: Call) -> bool {
        let refused = match self.condition {
            Some(Condition::IfAbsent) => exists,
            Some(Condition::IfPresent) => !exists,
            None => false,
        };
        let late = |token: &Token| {
            !state::with(|state| state.accepts_fill(token, name.bytes(), record, call.now))
        };
        refused || (!call.replayed && self.token.as_ref().is_some_and(late))
    }
}

/// Whether a live record stands under a name, an absent one left out; an error where something else does.
pub fn exists(key: &OpenKey) -> Result<bool> {
    Ok(key.live::<StoredRecord>()?.is_some_and(|value| !value.entry.record().is_absent()))
}

/// What of a client's record may be kept.
pub fn sanitise(json: Name<'_>) -> std::result::Result<Parts<'_>, BadRecord> {
    let memory = state::with(|state| state.memory());
    config::with_record_limits(|limits| Parts::sanitise_in(json.bytes(), limits, memory))
}

/// Tells keyspace notifications that a record was stored.
pub fn notify_stored(ctx: Ctx, name: Name, expires: bool) {
    ctx.notify(Notify::Module, c"apikey.setval", name);
    if expires {
        ctx.notify(Notify::Generic, c"expire", name);
    }
}

impl Command for SetVal {
    const SPEC: Spec = Spec {
        name: c"apikey.setval",
        alias: None,
        flags: "write deny-oom",
        dangerous: false,
        secret: true,
        arity: -3,
        keys: Keys::One(OVERWRITES),
        summary: c"Stores the record of an API key. Give the digest of its secret by DIGEST, so that the secret never leaves your process; SECRET lets the server compute it.",
        complexity: c"O(N+M) where N is the length of the record and M the number of tags",
        tips: None,
        args: &[
            Arg::key(),
            Arg::string(c"record"),
            Arg::one_of(c"expiration", options::EXPIRY_OR_KEEP).optional(),
            Arg::one_of(
                c"proof",
                &[
                    Arg::string(c"secret").after(c"SECRET"),
                    Arg::string(c"digest").after(c"DIGEST").repeated(Repeat::WithToken),
                ],
            )
            .optional(),
            options::TAGS.optional(),
            options::NAMESPACE.optional(),
            Arg::string(c"token").after(c"TOKEN").optional(),
            Arg::one_of(c"condition", &[Arg::word(c"nx", c"NX"), Arg::word(c"xx", c"XX")])
                .optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        options::redact_secrets(ctx, args);
        let (Some(name), Some(json)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        // What is replayed was judged, and resolved, where its caller was.
        let replayed = ctx.is_replayed();
        let now = ffi::now();
        let call = Call { now, replayed };
        let options = SetValOptions::parse(args, 3, false, call)?;
        let parts = match replayed {
            true => Parts::sanitise(json.bytes(), &Limits::STORED)?,
            false => sanitise(json)?,
        };
        let record = options.lay_out(&parts)?;
        // A writer's word is not checked, and refuses the fills of readers that looked before it: also
        // where it is not stored, since the row has changed all the same.
        let heed_writer = || {
            if options.token.is_none() {
                invalidation::of_keys(ctx, &[name]);
            }
        };
        if !replayed && !fills_are_stored() {
            heed_writer();
            ctx.reply_nil();
            return Ok(());
        }

        let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
        let exists = exists(&key)?;
        heed_writer();
        if options.refuse(name, &record, exists, call) {
            ctx.reply_nil();
            return Ok(());
        }
        let expires_at = match options.expiry.get() {
            // A primary sends KEEPTTL only for a key that has no expiry.
            Expiry::Keep if exists || replayed => key.expires_at(),
            expiry => Some(expiry.at(now, &config::VALIDATION_TTL)),
        };
        key.store_entry(RecordValue::of(&record, events::comes_dead(ctx)), expires_at, now)?;
        replicate(ctx, name, &record, expires_at);
        drop(key);
        state::with(|state| {
            state.give_back(parts.into_memory());
            state.give_back(record.into_memory());
        });
        notify_stored(ctx, name, expires_at.is_some());
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

/// Whether what clients give is stored now.
pub fn fills_are_stored() -> bool {
    config::ENABLED.get() && config::WRITES_ENABLED.get() && !reclaim::must_tell_of_drop()
}

/// Replicates what was stored: its bytes, which name digests and no secret, and the time of its expiry.
fn replicate(ctx: Ctx, name: Name, record: &Record, expires_at: Option<i64>) {
    state::with_bytes(
        |bytes| codec::encode_stored(record, expires_at, bytes),
        |bytes| ctx.replicate_value(msetval::STORED, name, bytes),
    );
}

pub struct Validate;

/// The most bytes that a requested scope may have.
const MAX_REQUEST_BYTES: usize = apikey_engine::scope::MAX_SCOPE_BYTES;

/// The most scopes that one call may request.
const MAX_REQUESTS: usize = 64;

impl Command for Validate {
    const SPEC: Spec = Spec {
        name: c"apikey.validate",
        alias: None,
        flags: "readonly fast",
        dangerous: false,
        secret: true,
        arity: -2,
        keys: Keys::One(READS),
        summary: c"Verifies an API key: its secret, state, expiry and scopes. Give the digest of the secret by DIGEST, so that the secret never leaves your process; SECRET lets the server compute it.",
        complexity: c"O(N*M) where N is the number of scopes requested and M that of the record",
        tips: None,
        args: &[
            Arg::key(),
            Arg::one_of(
                c"proof",
                &[
                    Arg::string(c"secret").after(c"SECRET"),
                    Arg::string(c"digest").after(c"DIGEST"),
                ],
            )
            .optional(),
            Arg::string(c"scope").after(c"SCOPE").optional().repeated(Repeat::WithToken),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        options::redact_secrets(ctx, args);
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let mut options = Options::new(args, 2);
        let (mut secret, mut digest) = (None, None);
        let mut requests = SmallVec::<[&[u8]; 4]>::new();
        while let Some(option) = options.next_name() {
            if is(option, "SECRET") {
                let value = options::secret(options.value("SECRET")?)?;
                set_once(&mut secret, "SECRET", value)?;
            } else if is(option, "SCOPE") {
                let scope = options.value("SCOPE")?.bytes();
                if !(1..=MAX_REQUEST_BYTES).contains(&scope.len()) {
                    return Err(Error::err(format_args!(
                        "SCOPE must be between 1 and {MAX_REQUEST_BYTES} bytes"
                    )));
                }
                if requests.len() == MAX_REQUESTS {
                    return Err(Error::err(format_args!(
                        "SCOPE is given more than {MAX_REQUESTS} times"
                    )));
                }
                requests.push(scope);
            } else if is(option, "DIGEST") {
                let value = options::digest(options.value("DIGEST")?)?;
                set_once(&mut digest, "DIGEST", value)?;
            } else {
                return Err(options.unknown());
            }
        }
        if secret.is_some() && digest.is_some() {
            return Err(exclude("SECRET", "DIGEST"));
        }

        let now = ffi::now();
        if !config::ENABLED.get() {
            reply_miss(ctx, now);
            return Ok(());
        }
        let key = keyspace::open(ctx, name, Mode::Read);
        let value = key.live::<StoredRecord>()?;
        let Some(value) = value else {
            state::with(|state| state.stats.count_miss(now));
            reply_miss(ctx, now);
            return Ok(());
        };
        let record = &value.entry.record();
        let verdict = judge(record, secret.or(digest).as_ref(), requests.iter().copied(), now);
        state::with(|state| state.stats.count_hit(verdict, now));
        if let Some((code, _)) = told(verdict) {
            let scope = match verdict {
                Verdict::Forbidden(number) => requests.get(number).copied(),
                _ => None,
            };
            drop(key);
            log::note(ctx, name, verdict, scope, now);
            reply(ctx, code, scope);
        } else if verdict == Verdict::Valid {
            state::with_json(record, |json| reply(ctx, "VALID", Some(json)));
        } else {
            ctx.reply_array(3);
            ctx.reply_bulk(b"UNVERIFIED");
            state::with_json(record, |json| ctx.reply_bulk(json));
            ctx.reply_bulk(token(ctx, now).text().as_bytes());
        }
        Ok(())
    }
}

pub(super) fn reply_miss(ctx: Ctx, now: i64) {
    reply(ctx, "MISS", Some(token(ctx, now).text().as_bytes()));
}

/// A token for a reader that begins now; on a replica, or while the module is not enabled, the one that
/// every fill refuses.
fn token(ctx: Ctx, now: i64) -> Token {
    if ctx.is_replica() || !config::ENABLED.get() {
        return Token::REFUSED;
    }
    state::with(|state| state.fence.token(now))
}

/// The form of every read of an entry: a code and what belongs to it.
pub(super) fn reply(ctx: Ctx, code: &str, payload: Option<&[u8]>) {
    ctx.reply_array(2);
    ctx.reply_bulk(code.as_bytes());
    match payload {
        Some(payload) => ctx.reply_bulk(payload),
        None => ctx.reply_nil(),
    }
}

pub struct TokenOf;

impl Command for TokenOf {
    const SPEC: Spec = Spec {
        name: c"apikey.token",
        alias: None,
        flags: "readonly fast",
        dangerous: false,
        secret: false,
        arity: 2,
        keys: Keys::One(READS),
        summary: c"Returns a token for a fill that did not begin with a miss.",
        complexity: c"O(1)",
        tips: None,
        args: &[Arg::key()],
    };

    fn run(ctx: Ctx, _: Args) -> Result<()> {
        // The key is there for the cluster: a token is its node's, whatever the key holds.
        ctx.reply_bulk(token(ctx, ffi::now()).text().as_bytes());
        Ok(())
    }
}

pub struct Inval;

impl Command for Inval {
    const SPEC: Spec = Spec {
        name: c"apikey.inval",
        alias: None,
        flags: "write",
        dangerous: false,
        secret: false,
        arity: -2,
        keys: Keys::All(DELETES),
        summary: c"Removes entries by key, and refuses fills of these keys that began before.",
        complexity: c"O(N) where N is the number of keys",
        tips: None,
        args: &[Arg::key().repeated(Repeat::Value)],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let names: Vec<Name> = args.from(1).collect();
        for &name in &names {
            keyspace::open(ctx, name, Mode::Look).live_entry()?;
        }
        ctx.replicate_verbatim();
        invalidation::of_keys(ctx, &names);
        let killed = names
            .iter()
            .filter(|&&name| keyspace::unlink_entry(ctx, name) == Removed::Live)
            .count();
        ctx.reply_integer(killed as i64);
        Ok(())
    }
}
