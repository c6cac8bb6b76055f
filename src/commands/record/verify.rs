//! What VALIDATE and ADMIT have in common: they look for a key's record, judge it, and answer where it does not hold.

use crate::commands::log;
use crate::commands::miss::{reply_code, reply_miss, token};
use crate::grammar::{self, digest};
use crate::keyspace;
use crate::state;
use crate::types::entries::Records;
use crate::values::entry;
use crate::vouch;
use apikey_engine::invalidation::fence::Token;
use apikey_engine::record::addresses::Address;
use apikey_engine::record::layout::Record;
use apikey_engine::record::scope::MAX_SCOPE_BYTES;
use apikey_engine::record::verdict::{ends_at, judge, Verdict};
use apikey_engine::report::refusals::told;
use host::command::grammar::Options;
use host::command::spec::{Arg, Repeat};
use host::{Ctx, Lock, Name, Reply, Result};

/// The most scopes that one call may request. Each may be compared with all that a record has: 4,096 where
/// `max-scopes` is at its highest.
const MAX_REQUESTS: usize = 64;

/// The time that is left of an answer that does not end by itself.
const NEVER: i64 = -1;

pub const ADDRESS: Arg =
    Arg::checked(c"address", |text| Address::parse(text).is_some(), "be an IPv4 or IPv6 address")
        .after(c"IP")
        .optional();

pub const SCOPE: Arg = Arg::bytes(c"scope", 1, MAX_SCOPE_BYTES)
    .after(c"SCOPE")
    .optional()
    .repeated(Repeat::WithToken(MAX_REQUESTS));

pub const PROOF: Arg = grammar::PROOF;

/// A record that holds.
pub struct Held<'a> {
    pub lock: Lock<'a>,
    pub record: &'a Record<'a>,
    /// Milliseconds after which the answer can change by itself.
    pub left: i64,
    /// Where no secret was compared.
    pub unverified: Option<Token>,
}

/// Verifies the key of a name by the options of a call, and replies where it does not hold; else returns what is made
/// of its record.
// In place: VALIDATE is little more.
#[inline(always)]
pub fn verify<T>(
    ctx: &mut Ctx,
    name: Name,
    options: &Options,
    reply: Reply,
    now: i64,
    holds: impl FnOnce(Held) -> T,
) -> Result<Option<T>> {
    let digest = digest(options)?;
    let address = || options.value("IP").and_then(Address::parse);
    let requests = || options.values("SCOPE");
    let lock = ctx.lock();
    if !vouch::serves(now) {
        reply_miss(ctx, reply, now);
        return Ok(None);
    }
    let key = keyspace::read(ctx, name);
    let Some(value) = key.live::<Records>()? else {
        state::with(lock, |state| state.stats.count_miss(now));
        reply_miss(key.ctx(), reply, now);
        return Ok(None);
    };
    let record = &entry::record(value);
    let verdict = judge(record, digest.as_ref(), address, requests(), now);
    state::with(lock, |state| state.stats.count_hit(verdict, now));
    if let Some(why) = told(verdict) {
        let scope = match verdict {
            Verdict::Forbidden(number) => requests().nth(number),
            _ => None,
        };
        drop(key);
        log::note(ctx, name, why, scope, now);
        reply_code(reply, why.0, scope);
        return Ok(None);
    }
    let left = ends_at(record, digest.as_ref(), key.expires_at())
        .map_or(NEVER, |end| end.saturating_sub(now).max(0));
    let unverified = match verdict {
        Verdict::Valid => None,
        _ => Some(token(key.ctx(), now)),
    };
    Ok(Some(holds(Held { lock, record, left, unverified })))
}

/// The answer of a record that holds, where nothing else is asked.
pub fn reply_held(reply: Reply, held: &Held) {
    reply.array(if held.unverified.is_some() { 4 } else { 3 });
    reply.bulk(if held.unverified.is_some() { b"UNVERIFIED" } else { b"VALID" });
    state::with_json(held.lock, held.record, |json| reply.bulk(json));
    if let Some(token) = &held.unverified {
        reply.bulk(token.text().as_bytes());
    }
    reply.integer(held.left);
}
