//! SETSCOPE and CHECKSCOPE: what an application decided of a key's scopes.

use crate::commands::access;
use crate::commands::miss::{reply_code, reply_miss};
use crate::commands::plain::PLAIN;
use crate::grammar::{self, judged, Fill};
use crate::keyspace;
use crate::settings;
use crate::state::{self, comes_dead, fills_are_stored};
use crate::stream::resolved::{Resolved, TRIM};
use crate::stream::send::send;
use crate::types::entries::Scopes;
use crate::values::entry::EntryValue;
use crate::vouch;
use apikey_engine::answers::decisions::{Decision, Decisions, MAX_DECISIONS, MAX_TEXT_BYTES};
use apikey_engine::entry::kind::Kind;
use apikey_engine::entry::label::{Label, Owner};
use apikey_engine::entry::tag_names::MAX_ID_BYTES;
use apikey_engine::invalidation::fence::Token;
use host::changes::Class;
use host::command::grammar::{bytes, Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Name, Reply, Result};

pub struct SetScope;

const OPTIONS: &[Arg] = REPLAYED.split_at(4).0;

/// Those of clients, and the one by which a primary says what [`Trim`] holds.
const REPLAYED: &[Arg] = &[
    grammar::TOKEN,
    grammar::EXPIRY,
    grammar::TAGS,
    grammar::NAMESPACE,
    Arg::block(
        c"trim",
        &[
            Arg::integer(c"now").between(0, i64::MAX).after(c"TRIM"),
            Arg::integer(c"max").between(1, MAX_DECISIONS as i64),
        ],
    )
    .optional(),
];

impl Command for SetScope {
    const SPEC: Spec = Spec {
        name: c"apikey.setscope",
        flags: "write deny-oom",
        hides: grammar::HIDES,
        arity: -9,
        keys: Keys::One(Use::MERGES),
        summary: c"Stores a decision of the application: whether an API key may do an action to a resource.",
        complexity: c"O(N+M) where N is the number of decisions of the key and M the number of tags",
        fixed: &[
            Arg::key(),
            Arg::string(c"id"),
            Arg::string(c"user_id"),
            Arg::string(c"resource"),
            Arg::string(c"action"),
            Arg::one_of(
                c"decision",
                &[Arg::word(c"allow", c"ALLOW"), Arg::word(c"deny", c"DENY")],
            ),
        ],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let lock = ctx.lock();
        let replayed = ctx.is_replayed();
        let now = now();
        let given = Given::parse(args, judged(replayed), now)?;
        let comes_dead = comes_dead(ctx.lock());
        let mut key = keyspace::write(ctx, name);
        let decisions = match key.live::<Scopes>()? {
            Some(before) => {
                before.entry.with(&given.label, &given.decision, given.trim.now, given.trim.max)
            }
            None => Decisions::new(given.label.clone(), &[given.decision]),
        };
        let decisions = decisions.ok_or_else(|| Error::err("the decision can't be laid out"))?;
        if access::is_checked_to_store() {
            drop(key);
            access::to_store(ctx, &decisions)?;
            key = keyspace::write(ctx, name);
        }
        let late =
            || !state::with(lock, |s| s.accepts_fill(&given.token, name.bytes(), &decisions, now));
        // What is replayed was judged where its caller was.
        if !replayed && (!fills_are_stored(lock) || late()) {
            reply.nil();
            return Ok(());
        }
        let expires_at = decisions.expires_at();
        key.store_entry::<Scopes>(EntryValue::new(decisions, comes_dead), Some(expires_at), now)?;
        drop(key);
        given.replicate(ctx, args);
        ctx.notify(Class::Module, c"apikey.setscope", name);
        ctx.notify(Class::Generic, c"expire", name);
        reply.simple(c"OK");
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
    fn parse(args: Args<'a>, judged: Judged, now: i64) -> Result<Self> {
        let text = |at, name, most| bytes(args.get(at).ok_or(Error::SYNTAX)?, name, 1, most);
        let id = text(2, "id", MAX_ID_BYTES)?;
        let user_id = text(3, "user_id", MAX_ID_BYTES)?;
        let resource = text(4, "resource", MAX_TEXT_BYTES)?;
        let action = text(5, "action", MAX_TEXT_BYTES)?;
        let allow = match args.get(6).map(Name::bytes) {
            Some(word) if word.eq_ignore_ascii_case(b"ALLOW") => true,
            Some(word) if word.eq_ignore_ascii_case(b"DENY") => false,
            _ => return Err(Error::err("the decision must be ALLOW or DENY")),
        };
        let options = match judged {
            Judged::Here => OPTIONS,
            Judged::Elsewhere => REPLAYED,
        };
        let options = Options::parse(options, args, 7, judged)?;
        let fill = Fill::read(&options, now, judged)?;
        let owner = Owner { namespace: fill.namespace, id, user_id };
        let label = Label::new(Kind::Scopes, &owner, &fill.tags)
            .ok_or_else(|| Error::err("the tags can't be laid out"))?;
        let expires_at = fill.expiry.at(now, &settings::SCOPE_TTL);
        let trim =
            Trim::read(&options).unwrap_or(Trim { now, max: settings::MAX_DECISIONS.size() });
        let decision = Decision { resource, action, allow, expires_at };
        Ok(Self { label, decision, token: fill.token, trim })
    }

    /// Replicates the decision with every default spelled out, and what decides which others go.
    fn replicate(&self, ctx: &mut Ctx, args: Args) {
        let (label, expires_at) = (&self.label, self.decision.expires_at);
        let Trim { now, max } = self.trim;
        let rest = Resolved::new(expires_at, label.own_tags(), label.owner().namespace);
        let rest = rest.trim(now, max);
        let rest: Vec<&[u8]> = rest.words().collect();
        let fixed: Vec<Name> = args.from(1).take(6).collect();
        send(ctx, SetScope::SPEC.name, &fixed, &rest);
    }
}

impl Trim {
    fn read(options: &Options) -> Option<Self> {
        let mut numbers = options.list(TRIM).map_while(Name::integer);
        let (now, max) = (numbers.next()?, numbers.next()?);
        Some(Self { now, max: usize::try_from(max).unwrap_or(1) })
    }
}

pub struct CheckScope;

impl Command for CheckScope {
    const SPEC: Spec = Spec {
        name: c"apikey.checkscope",
        flags: "readonly fast",
        arity: 4,
        keys: Keys::One(Use::READS),
        summary: c"Returns what the application decided: whether an API key may do an action to a resource.",
        complexity: c"O(N) where N is the number of decisions of the key",
        fixed: &[Arg::key(), Arg::string(c"resource"), Arg::string(c"action")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(resource), Some(action)) = (args.get(1), args.get(2), args.get(3))
        else {
            return Err(Error::SYNTAX);
        };
        let resource = bytes(resource, "resource", 1, MAX_TEXT_BYTES)?;
        let action = bytes(action, "action", 1, MAX_TEXT_BYTES)?;
        let lock = ctx.lock();
        let now = now();
        if !vouch::serves(now) {
            reply_miss(ctx, reply, now);
            return Ok(());
        }
        let key = keyspace::read(ctx, name);
        let value = key.live::<Scopes>()?;
        match value.and_then(|value| value.entry.check(resource, action, now)) {
            Some(allow) => {
                state::with(lock, |state| state.stats.count_found(now));
                reply_code(reply, if allow { "ALLOW" } else { "DENY" }, None);
            }
            None => {
                state::with(lock, |state| state.stats.count_miss(now));
                reply_miss(key.ctx(), reply, now);
            }
        }
        Ok(())
    }
}
