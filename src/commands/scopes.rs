//! SETSCOPE and CHECKSCOPE: what an application decided of a key's scopes.

use super::record::{fills_are_stored, reply, reply_miss};
use crate::command::{Arg, Command, Keys, Spec, MERGES, READS};
use crate::config;
use crate::error::{Error, Result};
use crate::events;
use crate::ffi::{self, Args, Ctx, Mode, Name, Notify};
use crate::keyspace;
use crate::options::{self, is, set_once, Call, Fill};
use crate::state;
use crate::value::EntryValue;
use apikey_engine::decisions::{Decision, Decisions, MAX_DECISIONS, MAX_TEXT_BYTES};
use apikey_engine::entry::Kind;
use apikey_engine::fence::Token;
use apikey_engine::label::{Label, Owner};
use apikey_engine::sanitise::MAX_ID_BYTES;

pub struct SetScope;

impl Command for SetScope {
    const SPEC: Spec = Spec {
        name: c"apikey.setscope",
        alias: None,
        flags: "write deny-oom",
        dangerous: false,
        secret: false,
        arity: -9,
        keys: Keys::One(MERGES),
        summary: c"Stores a decision of the application: whether an API key may do an action to a resource.",
        complexity: c"O(N+M) where N is the number of decisions of the key and M the number of tags",
        tips: None,
        args: &[
            Arg::key(),
            Arg::string(c"id"),
            Arg::string(c"user_id"),
            Arg::string(c"resource"),
            Arg::string(c"action"),
            Arg::one_of(
                c"decision",
                &[Arg::word(c"allow", c"ALLOW"), Arg::word(c"deny", c"DENY")],
            ),
            Arg::string(c"token").after(c"TOKEN"),
            Arg::one_of(c"expiration", options::EXPIRY).optional(),
            options::TAGS.optional(),
            options::NAMESPACE.optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let replayed = ctx.is_replayed();
        let now = ffi::now();
        let given = Given::parse(args, Call { now, replayed })?;
        let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
        let decisions = match key.live::<Decisions>()? {
            Some(before) => {
                before.entry.with(&given.label, &given.decision, given.trim.now, given.trim.max)
            }
            None => Decisions::new(given.label.clone(), &[given.decision]),
        };
        let decisions = decisions.ok_or_else(|| Error::err("the decision can't be laid out"))?;
        let late = || !state::with(|s| s.accepts_fill(&given.token, name.bytes(), &decisions, now));
        // What is replayed was judged where its caller was.
        if !replayed && (!fills_are_stored() || late()) {
            ctx.reply_nil();
            return Ok(());
        }
        let expires_at = decisions.expires_at();
        key.store_entry(
            EntryValue::new(decisions, events::comes_dead(ctx)),
            Some(expires_at),
            now,
        )?;
        given.replicate(ctx, args);
        drop(key);
        ctx.notify(Notify::Module, c"apikey.setscope", name);
        ctx.notify(Notify::Generic, c"expire", name);
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

/// What a call of SETSCOPE says.
struct Given<'a> {
    label: Label,
    decision: Decision<'a>,
    token: Token,
    trim: Trim,
}

/// By what the decisions that are to go are known: the time, and how many may stay. A primary sends its
/// own, so that all drop the same.
#[derive(Clone, Copy)]
struct Trim {
    now: i64,
    max: usize,
}

impl<'a> Given<'a> {
    fn parse(args: Args<'a>, call: Call) -> Result<Self> {
        let text = |at, name, most| options::text(args.get(at).ok_or(Error::SYNTAX)?, name, most);
        let owner = Owner {
            namespace: b"",
            id: text(2, "id", MAX_ID_BYTES)?,
            user_id: text(3, "user_id", MAX_ID_BYTES)?,
        };
        let resource = text(4, "resource", MAX_TEXT_BYTES)?;
        let action = text(5, "action", MAX_TEXT_BYTES)?;
        let allow = match args.get(6).map(Name::bytes) {
            Some(word) if is(word, "ALLOW") => true,
            Some(word) if is(word, "DENY") => false,
            _ => return Err(Error::err("the decision must be ALLOW or DENY")),
        };
        let mut trim = None;
        let fill = Fill::parse(args, 7, call, |option, options| {
            let taken = call.replayed && is(option, TRIM);
            if taken {
                set_once(&mut trim, TRIM, Trim::parse(options)?)?;
            }
            Ok(taken)
        })?;
        let owner = Owner { namespace: fill.namespace, ..owner };
        let label = Label::new(Kind::Scopes, &owner, &fill.tags)
            .ok_or_else(|| Error::err("the tags can't be laid out"))?;
        let expires_at = fill.expires_at(call.now, &config::SCOPE_TTL);
        let trim = trim.unwrap_or(Trim { now: call.now, max: config::MAX_DECISIONS.size() });
        let decision = Decision { resource, action, allow, expires_at };
        Ok(Self { label, decision, token: fill.token, trim })
    }

    /// Replicates the decision with every default spelled out, and what decides which others go.
    fn replicate(&self, ctx: Ctx, args: Args) {
        let owner = self.label.owner();
        let mut rest =
            options::resolved(self.decision.expires_at, self.label.caller_tags(), owner.namespace);
        let Trim { now, max } = self.trim;
        rest.extend([TRIM.into(), now.to_string().into(), max.to_string().into()]);
        let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
        let fixed: Vec<Name> = args.from(1).take(6).collect();
        ctx.replicate(SetScope::SPEC.name, &fixed, &rest);
    }
}

/// The option by which a primary sends what [`Trim`] holds. Clients don't have it.
const TRIM: &str = "TRIM";

impl Trim {
    fn parse(options: &mut options::Options) -> Result<Self> {
        let now = options::integer(options.value(TRIM)?, TRIM, 0, i64::MAX)?;
        let max = options::integer(options.value(TRIM)?, TRIM, 1, MAX_DECISIONS as i64)?;
        Ok(Self { now, max: usize::try_from(max).unwrap_or(1) })
    }
}

pub struct CheckScope;

impl Command for CheckScope {
    const SPEC: Spec = Spec {
        name: c"apikey.checkscope",
        alias: None,
        flags: "readonly fast",
        dangerous: false,
        secret: false,
        arity: 4,
        keys: Keys::One(READS),
        summary: c"Returns what the application decided: whether an API key may do an action to a resource.",
        complexity: c"O(N) where N is the number of decisions of the key",
        tips: None,
        args: &[Arg::key(), Arg::string(c"resource"), Arg::string(c"action")],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let (Some(name), Some(resource), Some(action)) = (args.get(1), args.get(2), args.get(3))
        else {
            return Err(Error::SYNTAX);
        };
        let resource = options::text(resource, "resource", MAX_TEXT_BYTES)?;
        let action = options::text(action, "action", MAX_TEXT_BYTES)?;
        let now = ffi::now();
        if !config::ENABLED.get() {
            reply_miss(ctx, now);
            return Ok(());
        }
        let key = keyspace::open(ctx, name, Mode::Read);
        let value = key.live::<Decisions>()?;
        match value.and_then(|value| value.entry.check(resource, action, now)) {
            Some(allow) => {
                state::with(|state| state.stats.count_found(now));
                reply(ctx, if allow { "ALLOW" } else { "DENY" }, None);
            }
            None => {
                state::with(|state| state.stats.count_miss(now));
                reply_miss(ctx, now);
            }
        }
        Ok(())
    }
}
