//! GET and MGET: what regions hold of keys, or who is to load it.

use super::named::{self, REGION};
use crate::commands::miss::{reply_code, reply_miss};
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::keyspace::{self, standing, Slot};
use crate::settings;
use crate::state::{self, Load};
use crate::values::entry::{cached, AnyEntry};
use crate::values::life::{Life, Standing};
use crate::vouch;
use apikey_engine::cache::freshness::{Age, Freshness};
use apikey_engine::cache::policy::Policy;
use apikey_engine::cache::region::Answer;
use apikey_engine::cache::value::Cached;
use apikey_engine::entry::kind::Entry;
use apikey_engine::entry::region_tag::RegionTag;
use apikey_engine::entry::tag_names::MAX_NAMES;
use apikey_engine::invalidation::fence::Token;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{now, Args, Ctx, Error, Name, Reply, Result};

/// How long one reader alone refreshes what is there, where the region's LEASE does not say it.
const REFRESH_MS: i64 = 1000;

/// The time that is left of what is fresh for ever.
const NEVER: i64 = -1;

pub struct Get;

impl Command for Get {
    const SPEC: Spec = Spec {
        name: c"cache.get",
        since: c"0.2.0",
        flags: "readonly fast",
        hides: grammar::HIDES,
        arity: -3,
        keys: Keys::One(Use::READS),
        summary: c"Returns what a region holds of a key, how old it is and until when it is fresh; or a token to load it with; or, where another reader loads it, when to ask again.",
        fixed: &[Arg::key(), REGION],
        options: named::ONLY_NAMESPACE,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(region)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        let options = Options::parse(named::ONLY_NAMESPACE, args, 3, Judged::Here)?;
        let tag = named::region(region, &options)?;
        let now = now();
        let policy = settings::policy(ctx.lock(), &tag);
        Read { tag: &tag, policy: &policy, now }.answer(ctx, name, reply, || Err(Error::WRONG_TYPE))
    }
}

pub struct MGet;

impl Command for MGet {
    const SPEC: Spec = Spec {
        name: c"cache.mget",
        since: c"0.2.0",
        flags: "readonly fast",
        arity: -3,
        keys: Keys::From(2, Use::READS),
        summary: c"Returns for each key, of which a call names 1,000 at most, what CACHE.GET does.",
        complexity: c"O(N) where N is the number of keys",
        fixed: &[REGION, Arg::key().repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(region) = args.get(1) else { return Err(Error::SYNTAX) };
        let none = Options::parse(&[], args, args.len(), Judged::Here)?;
        let tag = named::region(region, &none)?;
        let keys = args.len().saturating_sub(2);
        if keys > MAX_NAMES {
            return Err(Error::between("the number of keys", 1, MAX_NAMES));
        }
        let now = now();
        let policy = settings::policy(ctx.lock(), &tag);
        let read = Read { tag: &tag, policy: &policy, now };
        reply.array(keys);
        for name in args.from(2) {
            // As MGET: what is of another type is not there. Nothing can be stored in its place.
            read.answer(ctx, name, reply, || {
                reply_code(reply, "MISS", Some(Token::REFUSED.text().as_bytes()));
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// What is asked of which region, and when.
struct Read<'a> {
    tag: &'a RegionTag,
    policy: &'a Policy,
    /// Epoch milliseconds.
    now: i64,
}

impl Read<'_> {
    /// Answers for a key; `foreign` does where something else stands there.
    fn answer(
        &self,
        ctx: &mut Ctx,
        name: Name,
        reply: Reply,
        foreign: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let now = self.now;
        if !vouch::serves(now) {
            reply_miss(ctx, reply, now);
            return Ok(());
        }
        let lock = ctx.lock();
        let key = keyspace::read(ctx, name);
        let value = match key.slot() {
            Slot::Empty => None,
            Slot::Cached(value) => Some(value),
            _ => return foreign(),
        };
        // Of the region, dead or alive.
        let there = value
            .map(|value| (cached(value), value))
            .filter(|(cached, _)| cached.is_of(self.tag.namespace(), self.tag.region()));
        let Some((cached, value)) = there else {
            return self.missed(key.ctx(), name, None, reply);
        };
        let life = &value.head;
        let standing = standing(lock, life);
        if standing != Standing::Alive && AnyEntry::cached(value).is_dead(standing) {
            return self.missed(key.ctx(), name, Some(&cached), reply);
        }
        let age = Age {
            stored_at: cached.stored_at(),
            expires_at: key.expires_at(),
            grace: cached.grace(),
            is_softened: standing == Standing::Softened || cached.was_softened(),
        };
        match (age.at(now, self.policy.eager), cached.value()) {
            (Freshness::Fresh { .. }, None) => {
                self.count(key.ctx(), Answer::Absent, None);
                reply_code(reply, "ABSENT", None);
            }
            (Freshness::Fresh { left, is_due }, Some(value)) => {
                self.count(key.ctx(), Answer::Hit, Some((name, life, value.len())));
                let token = if is_due { self.refresh(key.ctx(), name, &cached) } else { None };
                reply.array(if token.is_some() { 6 } else { 5 });
                found(reply, "HIT", &cached, value, age.age(now));
                reply.integer(left.unwrap_or(NEVER));
                if let Some(token) = token {
                    reply.bulk(token.text().as_bytes());
                }
            }
            (Freshness::Stale, Some(value)) => {
                self.count(key.ctx(), Answer::Stale, Some((name, life, value.len())));
                reply.array(5);
                found(reply, "STALE", &cached, value, age.age(now));
                match self.refresh(key.ctx(), name, &cached) {
                    Some(token) => reply.bulk(token.text().as_bytes()),
                    None => reply.nil(),
                }
            }
            (Freshness::Stale | Freshness::Over, _) => {
                return self.missed(key.ctx(), name, Some(&cached), reply);
            }
        }
        Ok(())
    }

    /// A token for the one reader that is to refresh what is there.
    fn refresh(&self, ctx: &Ctx, name: Name, there: &Cached) -> Option<Token> {
        let lease_ms = match self.policy.lease_ms {
            0 => REFRESH_MS,
            ms => ms,
        };
        match self.ask(ctx, name, Some(there), lease_ms)? {
            Load::Mine(token) => Some(token),
            Load::Anothers(_) => None,
        }
    }

    /// Who is to load it; none on a replica, where nothing is stored.
    fn ask(&self, ctx: &Ctx, name: Name, there: Option<&Cached>, lease_ms: i64) -> Option<Load> {
        let there = there.map(|cached| cached as &dyn Entry);
        let database = ctx.database();
        (!ctx.is_replica()).then(|| {
            state::with(ctx.lock(), |state| {
                state.ask_to_load(database, name.bytes(), (self.tag, there), lease_ms, self.now)
            })
        })
    }

    fn missed(&self, ctx: &Ctx, name: Name, there: Option<&Cached>, reply: Reply) -> Result<()> {
        match self.ask(ctx, name, there, self.policy.lease_ms) {
            Some(Load::Anothers(ms)) => {
                self.count(ctx, Answer::Wait, None);
                reply.array(3);
                reply.bulk(b"WAIT");
                reply.nil();
                reply.integer(ms);
            }
            load => {
                self.count(ctx, Answer::Miss, None);
                let token = match load {
                    Some(Load::Mine(token)) => token,
                    _ => Token::REFUSED,
                };
                reply_code(reply, "MISS", Some(token.text().as_bytes()));
            }
        }
        Ok(())
    }

    fn count(&self, ctx: &Ctx, answer: Answer, read: Option<(Name, &Life, usize)>) {
        let database = ctx.database();
        let read = read.map(|(name, life, bytes)| (name.bytes(), life, bytes));
        state::with(ctx.lock(), |state| {
            state.answered(database, self.tag, answer, read, self.now);
        });
    }
}

/// What is told of a value, fresh or stale: all but the last of it.
fn found(reply: Reply, code: &str, cached: &Cached, value: &[u8], age: i64) {
    reply.bulk(code.as_bytes());
    reply.bulk(value);
    match cached.label() {
        b"" => reply.nil(),
        label => reply.bulk(label),
    }
    reply.integer(age);
}
