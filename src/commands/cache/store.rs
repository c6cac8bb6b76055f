//! How a value of a region's is stored, by whichever command: until when, what refuses it, who is told.

use super::named;
use crate::bus;
use crate::grammar::{self, token, Expiry};
use crate::invalidation;
use crate::keyspace::{self, OpenKey};
use crate::settings;
use crate::state::{self, fills_are_stored};
use crate::stream::{replaced, stored};
use crate::types::entries::Values;
use crate::values::entry::{self, bytes_of_cached, of_cached};
use apikey_engine::cache::freshness::fresh_until;
use apikey_engine::cache::policy::{self, Policy};
use apikey_engine::cache::regions::MAX_REGIONS;
use apikey_engine::cache::value::{Cached, Parts, MAX_GRACE_MS, MAX_LABEL_BYTES};
use apikey_engine::entry::region_tag::RegionTag;
use apikey_engine::invalidation::fence::Token;
use host::changes::Class;
use host::command::grammar::{Judged, Options};
use host::command::spec::Arg;
use host::server::random_bytes;
use host::{Ctx, Error, Key, Lock, Name, Result, Text};
use smallvec::SmallVec;

/// `GRACE ms`.
pub const GRACE: Arg = Arg::integer(c"grace").between(0, MAX_GRACE_MS).after(c"GRACE").optional();

/// `LABEL l`.
pub const LABEL: Arg = Arg::bytes(c"label", 1, MAX_LABEL_BYTES).after(c"LABEL").optional();

/// What a call says of what it stores.
pub struct Terms<'a> {
    pub tag: RegionTag,
    pub policy: Policy,
    expiry: Expiry,
    grace: Option<i64>,
    label: &'a [u8],
    tags: SmallVec<[&'a [u8]; 4]>,
    pub token: Option<Token>,
    condition: Option<Condition>,
    now: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

/// What stands under a key of the region before something is stored there.
struct Before {
    /// A value that lives, and is none that says that there is none.
    exists: bool,
    /// Until when that is fresh, where somebody wants to know; `None`: for ever.
    fresh_until: Option<i64>,
}

impl<'a> Terms<'a> {
    pub fn read(lock: Lock, region: Name, options: &Options<'a>, now: i64) -> Result<Self> {
        let tag = named::region(region, options)?;
        let condition = match (options.has("NX"), options.has("XX")) {
            (true, _) => Some(Condition::IfAbsent),
            (_, true) => Some(Condition::IfPresent),
            _ => None,
        };
        Ok(Self {
            policy: settings::policy(lock, &tag),
            tag,
            expiry: Expiry::read(options, now),
            grace: options.number("GRACE"),
            label: options.value("LABEL").unwrap_or_default(),
            tags: grammar::tags(options, Judged::Here)?.collect(),
            token: token(options),
            condition,
            now,
        })
    }

    /// What is to be stored of a value, or that there is none; an error that names the bound where it is too large.
    pub fn lay_out(&self, lock: Lock, name: Name, value: Option<&[u8]>) -> Result<Cached<'static>> {
        let most = settings::MAX_VALUE_BYTES.size();
        if value.is_some_and(|value| value.len() > most) {
            return Err(Error::err(format_args!(
                "the value must be at most {most} bytes (apikey.max-value-bytes)"
            )));
        }
        let parts = Parts {
            value,
            region: self.tag.region(),
            namespace: self.tag.namespace(),
            label: self.label,
            stored_at: self.now,
            grace: if value.is_some() { self.grace.unwrap_or(self.policy.grace_ms) } else { 0 },
        };
        let memory = state::with(lock, |state| state.memory());
        let cached = Cached::new_in(&parts, &self.tags, memory)
            .ok_or_else(|| Error::err("the value can't be laid out"))?;
        // As it counts there.
        let bytes = (bytes_of_cached(&cached) + name.bytes().len()) as u64;
        match self.policy.max_bytes {
            0 => Ok(cached),
            most if bytes <= most => Ok(cached),
            most => Err(Error::err(format_args!(
                "the entry, with its key, must be at most what its region may hold: {most} bytes (MAXBYTES)"
            ))),
        }
    }

    /// When the key is to expire: the end of the grace.
    fn expires_at(&self, before: &Before, cached: &Cached) -> Option<i64> {
        let until = match self.expiry {
            Expiry::At(time) => time,
            Expiry::Keep if before.exists => before.fresh_until?,
            Expiry::Keep | Expiry::Default => {
                let ttl = match cached.value() {
                    Some(_) => self.policy.ttl_ms,
                    None => self.policy.absent_ttl_ms,
                };
                let random = match self.policy.jitter {
                    0 => 0,
                    _ => u32::from_ne_bytes(random_bytes()),
                };
                policy::fresh_until(self.now, ttl, self.policy.jitter, random)
            }
        };
        Some(until.saturating_add(cached.grace()))
    }

    /// What stands under a key of the region: an error where it is none of any region's.
    fn before<'k, K: AsRef<Key<'k>>>(&self, key: &OpenKey<'k, K>) -> Result<Before> {
        let nothing = Before { exists: false, fresh_until: None };
        let Some(value) = key.live::<Values>()? else { return Ok(nothing) };
        let cached = entry::cached(value);
        if cached.value().is_none() || !cached.is_of(self.tag.namespace(), self.tag.region()) {
            return Ok(nothing);
        }
        let fresh_until = match self.expiry {
            Expiry::Keep => fresh_until(key.expires_at(), cached.grace()),
            _ => None,
        };
        Ok(Before { exists: true, fresh_until })
    }

    /// An error where something else than a region's value stands under a key.
    pub fn must_fit(&self, ctx: &mut Ctx, name: Name) -> Result<()> {
        keyspace::look(ctx, name).entry::<Values>().map(|_| ())
    }

    /// Stores it under a key, unless NX, XX or TOKEN refuses it; when it expires then.
    pub fn store(&self, ctx: &mut Ctx, name: Name, cached: &Cached) -> Result<Option<Option<i64>>> {
        let lock = ctx.lock();
        let database = ctx.database();
        let mut key = keyspace::write(ctx, name);
        let mut before = self.before(&key)?;
        if !state::with(lock, |state| state.has_room_for_region(database, &self.tag)) {
            let most = MAX_REGIONS;
            return Err(Error::err(format_args!(
                "the database has as many regions as it may: {most}"
            )));
        }
        // As SETVAL: a writer's word is not checked, and refuses the fills of readers that looked before it, also where
        // it is not stored.
        if self.token.is_none() {
            bus::tell_of_keys(key.ctx(), &[name]);
            if invalidation::raise_for_write(lock, name) {
                drop(key);
                invalidation::tell_of_write(ctx, name);
                key = keyspace::write(ctx, name);
                before = self.before(&key)?;
            }
        }
        let refused = match self.condition {
            Some(Condition::IfAbsent) => before.exists,
            Some(Condition::IfPresent) => !before.exists,
            None => false,
        };
        let late = |token: &Token| {
            state::with(lock, |state| {
                let is_late = !state.accepts_fill(token, name.bytes(), cached, self.now);
                if is_late {
                    state.count_of_region(database, &self.tag, |counts| counts.refused_fills += 1);
                }
                is_late
            })
        };
        if !fills_are_stored(lock) || refused || self.token.as_ref().is_some_and(late) {
            // Whoever waits for it need not any more.
            if let Some(token) = &self.token {
                state::with(lock, |state| state.drop_load(database, name.bytes(), token, self.now));
            }
            return Ok(None);
        }
        let expires_at = self.expires_at(&before, cached);
        key.store_entry::<Values>(of_cached(cached, false), expires_at, self.now)?;
        drop(key);
        state::with(lock, |state| {
            state.end_load(database, name.bytes());
            state.count_of_region(database, &self.tag, |counts| counts.stored += 1);
        });
        Ok(Some(expires_at))
    }
}

/// Tells replicas and the AOF that a value was stored, and what was evicted for it.
pub fn replicate(
    ctx: &mut Ctx,
    name: Name,
    cached: &Cached,
    expires_at: Option<i64>,
    evicted: &[Text],
) {
    match evicted {
        [] => stored::write_value(ctx, name, cached, expires_at),
        _ => replaced::write(ctx, name, cached, expires_at, evicted),
    }
}

/// Tells keyspace notifications.
pub fn notify(ctx: &mut Ctx, name: Name, what: &std::ffi::CStr, evicted: &[Text], expires: bool) {
    ctx.notify(Class::Module, what, name);
    if expires {
        ctx.notify(Class::Generic, c"expire", name);
    }
    keyspace::tell_of_removed(ctx, evicted.iter().map(Text::name));
}
