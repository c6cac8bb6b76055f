//! ADMIT: verifies an API key, takes from all of its limits or from none, and counts.

use super::change::{overflow, tell};
use super::option::{self, LIMIT};
use super::requests::{known, note, ID};
use crate::commands::log;
use crate::commands::plain::PLAIN;
use crate::commands::record::verify::{reply_held, verify, ADDRESS, PROOF, SCOPE};
use crate::grammar;
use crate::keyspace;
use crate::state;
use apikey_engine::codec::counter::encode_change;
use apikey_engine::limits::account::{Account, Judged};
use apikey_engine::limits::limit::{self, Rule, MAX_COST, MAX_COUNTERS, MAX_LIMITS};
use apikey_engine::limits::requests::{Print, Request, Take};
use apikey_engine::record::layout::Record;
use apikey_engine::report::refusals::{Told, RATE_LIMITED, USAGE_EXCEEDED};
use apikey_engine::report::stats::add_uses;
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use host::command::grammar::{counted_names, integer, Judged as Where, Options};
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Lock, Name, Reply, Result};
use smallvec::SmallVec;

pub struct Admit;

const OPTIONS: &[Arg] = &[
    PROOF,
    ADDRESS,
    SCOPE,
    Arg::integer(c"cost").between(0, MAX_COST).after(c"COST").optional(),
    ID,
    Arg::word(c"peek", c"PEEK").optional(),
    LIMIT,
];

/// The bytes of a limit.
type Bytes = SmallVec<[u8; 64]>;

/// Limits of a call, each with the position of its counter among those of the call.
type Own = SmallVec<[(usize, Bytes); 1]>;

/// Those that a request has to keep to, likewise.
type Limits<'a> = SmallVec<[(usize, &'a [u8]); 4]>;

/// Limits that were judged, each with the position of its counter.
type All = SmallVec<[(usize, Judged); 2]>;

type Names<'a> = SmallVec<[Name<'a>; 2]>;

impl Command for Admit {
    const SPEC: Spec = Spec {
        name: c"apikey.admit",
        since: c"0.2.0",
        flags: "write deny-oom fast",
        hides: grammar::hides_secret(Values::None),
        arity: -4,
        keys: Keys::OneAndCounted(Use::READS, Use::UPDATES),
        summary: c"Verifies an API key, takes from all of its limits or from none, and counts a use. Give the digest of the secret by DIGEST, so that the secret never leaves your process.",
        complexity: c"O(N*M+L) where N is the number of scopes requested and M that of the record, and L the number of limits",
        fixed: &[
            Arg::key(),
            Arg::integer(c"numcounters"),
            Arg::key_called(c"counter").repeated(Repeat::Value),
        ],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(count)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        integer(count, "numcounters", 1, MAX_COUNTERS.into())?;
        let positions = counted_names(args, 2)
            .map_err(|_| Error::err("numcounters is more than the counters that follow"))?;
        let options = Options::parse(OPTIONS, args, positions.end, Where::Here)?;
        let counters: Names = args.from(3).take(positions.len()).collect();
        must_differ(&counters)?;
        let own = own_limits(args, &options)?;
        let asked = Asked {
            cost: options.number("COST").unwrap_or(1),
            print: options.value("ID").map(Print::of_use),
            is_peek: options.has("PEEK"),
            now: now(),
        };
        let lock = ctx.lock();
        state::with_bytes(lock, |bytes| {
            let left = verify(ctx, name, &options, reply, asked.now, |held| {
                if held.unverified.is_some() {
                    reply_held(reply, &held);
                    return None;
                }
                // Its key is closed before the counters are opened.
                bytes.extend_from_slice(held.record.bytes());
                Some(held.left)
            })?;
            let Some(Some(left)) = left else { return Ok(()) };
            let valid = Valid { record: Record::stored(bytes), left };
            let limits = valid.limits(&own)?;
            admit(ctx, (name, &counters), (&valid, &limits), &asked, reply)
        })
    }
}

/// What a call asks for.
struct Asked {
    cost: i64,
    print: Option<Print>,
    is_peek: bool,
    now: i64,
}

/// A record that is valid.
struct Valid<'a> {
    record: Record<'a>,
    /// Milliseconds for which it is.
    left: i64,
}

impl Valid<'_> {
    /// Its limits, with those of the call beside them, or in place of those of the same name.
    fn limits<'s>(&'s self, own: &'s Own) -> Result<Limits<'s>> {
        let mut limits: Limits = self
            .record
            .limits()
            .filter(|(_, bytes)| {
                !own.iter().any(|(_, other)| limit::name_of(other) == limit::name_of(bytes))
            })
            .map(|(counter, bytes)| (usize::from(counter).saturating_sub(1), bytes))
            .collect();
        limits.extend(own.iter().map(|(position, bytes)| (*position, bytes.as_slice())));
        if limits.len() > MAX_LIMITS {
            return Err(Error::err(format_args!(
                "LIMIT: the record and the call must have at most {MAX_LIMITS} limits in all"
            )));
        }
        Ok(limits)
    }
}

fn must_differ(counters: &[Name]) -> Result<()> {
    for (nth, name) in counters.iter().enumerate() {
        if counters.iter().take(nth).any(|other| other.bytes() == name.bytes()) {
            return Err(Error::err(format_args!("counter {} is given twice", nth + 1)));
        }
    }
    Ok(())
}

/// The limits of the call itself.
fn own_limits(args: Args, options: &Options) -> Result<Own> {
    let mut limits = Own::new();
    for position in options.positions("LIMIT") {
        let (counter, limit, _) = option::read(args, position)?;
        if limits.iter().any(|(_, other)| limit::name_of(other) == limit.name()) {
            let name = String::from_utf8_lossy(limit.name()).into_owned();
            return Err(Error::err(format_args!("LIMIT {name} is given twice")));
        }
        limits.push((usize::from(counter).saturating_sub(1), limit.bytes().into()));
    }
    Ok(limits)
}

/// The error of a counter that has no room for another limit.
pub fn no_room(number: usize) -> Error {
    let most = apikey_engine::limits::account::MAX_LEVELS;
    Error::err(format_args!(
        "counter {number} must have at most {most} limits of which something was taken"
    ))
}

/// What becomes of a request.
enum Outcome {
    /// Why it is refused, and the number of the limit that says so.
    Refused(Told, usize),
    /// It was counted before under its id.
    Repeated,
    /// It would be admitted.
    Seen,
    Admitted,
}

fn admit(
    ctx: &mut Ctx,
    (key, counters): (Name, &Names),
    (valid, limits): (&Valid, &Limits),
    asked: &Asked,
    reply: Reply,
) -> Result<()> {
    let lock = ctx.lock();
    if let Some((position, _)) = limits.iter().find(|(at, _)| *at >= counters.len()) {
        return Err(Error::err(format_args!(
            "numcounters must be at least {}: a limit is of that counter",
            position + 1
        )));
    }
    let (Some(&first), others) = (counters.first(), counters.iter().enumerate().skip(1)) else {
        return Err(Error::SYNTAX);
    };
    // Everything that may be wrong is found before anything is changed; the first counter, most often the only one, is
    // opened once for both.
    let mut judged = All::new();
    for (position, &name) in others.clone() {
        let counter = keyspace::look(ctx, name);
        let value = counter.usage()?;
        if value.is_none() && !state::with(lock, |state| state.has_room(counter.ctx().database())) {
            return Err(Error::err("the tag index is full"));
        }
        let account = value.map_or(Account::NONE, |value| value.account());
        judged.extend(judge(lock, account, limits, position, asked)?);
    }
    let mut all = All::new();
    let (outcome, said) = keyspace::write(ctx, first).change(|counts, account| {
        let counted = counted(counts, asked)?;
        all = judge(lock, account, limits, 0, asked)?;
        all.append(&mut judged);
        let before = asked.print.as_ref().and_then(|print| known(account, print, asked.now));
        if before.is_some_and(|request| request.is_counted) {
            return Ok((None, (Outcome::Repeated, None)));
        }
        if let Some((why, nth)) = denial(&all) {
            return Ok((None, (Outcome::Refused(why, nth), None)));
        }
        if asked.is_peek {
            return Ok((None, (Outcome::Seen, None)));
        }
        let change = take(lock, 0, &mut all, (counted, account), asked);
        if change.is_nothing(counts) {
            return Ok((None, (Outcome::Admitted, None)));
        }
        let said = encode_change(&change);
        Ok((Some(change), (Outcome::Admitted, Some(said))))
    })?;
    match outcome {
        Outcome::Refused(why, nth) => return refuse(ctx, key, why, nth, &all, asked.now, reply),
        Outcome::Repeated => state::with(lock, |state| state.stats.repeated_ids += 1),
        Outcome::Seen => {}
        Outcome::Admitted => {
            let mut changes: SmallVec<[_; 1]> =
                said.map(|said| (first, said)).into_iter().collect();
            for (position, &name) in others {
                let said = keyspace::write(ctx, name).change(|counts, account| {
                    let change = take(lock, position, &mut all, (*counts, account), asked);
                    let said = (!change.is_nothing(counts)).then(|| encode_change(&change));
                    Ok((said.is_some().then_some(change), said))
                })?;
                changes.extend(said.map(|said| (name, said)));
            }
            state::with(lock, |state| {
                state.stats.admitted += 1;
                add_uses(&mut state.stats.counted_uses, asked.cost);
            });
            if !changes.is_empty() {
                tell(ctx, &changes, Admit::SPEC.name);
            }
        }
    }
    reply.array(4);
    reply.bulk(b"VALID");
    state::with_json(lock, &valid.record, |json| reply.bulk(json));
    reply.integer(valid.left);
    reply_limits(reply, &all);
    Ok(())
}

/// What the limits of a counter say.
fn judge(
    lock: Lock,
    account: &Account,
    limits: &Limits,
    position: usize,
    asked: &Asked,
) -> Result<All> {
    let limits = || limits.iter().filter(|(at, _)| *at == position).map(|(_, bytes)| *bytes);
    if !account.has_room(limits(), asked.now) {
        return Err(no_room(position + 1));
    }
    Ok(state::with(lock, |state| {
        let judge = |bytes: &[u8]| {
            let judged = account.judge(bytes, &mut state.known, asked.cost, asked.now)?;
            Some((position, judged))
        };
        limits().filter_map(judge).collect()
    }))
}

/// The counts of the first counter with the request.
fn counted(counts: &Counter, asked: &Asked) -> Result<Counter> {
    let mut counts = *counts;
    if asked.cost > 0 {
        counts.incr(asked.cost, asked.now).map_err(|_| overflow("COST"))?;
    }
    Ok(counts)
}

/// Why a request is refused, and the number of the limit that says so: one of what is used up before any that is too
/// fast, and of several the one with the longest wait.
fn denial(all: &All) -> Option<(Told, usize)> {
    let wait = |judged: &Judged| match judged.standing.retry_ms {
        ..0 => i64::MAX,
        ms => ms,
    };
    let is_rate = |judged: &Judged| matches!(judged.limit.rule(), Rule::Rate { .. });
    let denying = all.iter().enumerate().filter(|(_, (_, judged))| judged.denies());
    // Of equals the first.
    let (nth, (_, judged)) =
        denying.rev().max_by_key(|(_, (_, judged))| (!is_rate(judged), wait(judged)))?;
    Some((if is_rate(judged) { RATE_LIMITED } else { USAGE_EXCEEDED }, nth))
}

fn refuse(
    ctx: &mut Ctx,
    key: Name,
    why: Told,
    nth: usize,
    all: &All,
    now: i64,
    reply: Reply,
) -> Result<()> {
    let Some((_, judged)) = all.get(nth) else { return Err(Error::SYNTAX) };
    log::note(ctx, key, why, Some(judged.limit.name()), now);
    state::with(ctx.lock(), |state| match judged.limit.rule() {
        Rule::Rate { .. } => state.stats.rate_limited += 1,
        Rule::Quota { .. } | Rule::Credits => state.stats.usage_exceeded += 1,
    });
    reply.array(4);
    reply.bulk(why.0.as_bytes());
    reply.bulk(judged.limit.name());
    reply.integer(judged.standing.retry_ms);
    reply_limits(reply, all);
    Ok(())
}

/// What a counter becomes as its limits are taken from.
fn take(
    lock: Lock,
    position: usize,
    all: &mut All,
    (counts, account): (Counter, &Account),
    asked: &Asked,
) -> Change {
    let mut change = Change::of(counts);
    let is_of = |at: usize| at == position;
    change.take(all.iter_mut().filter(|(at, _)| is_of(*at)).map(|(_, judged)| judged));
    if let Some(print) = &asked.print {
        let judged = all.iter().filter(|(at, _)| is_of(*at));
        let takes: Box<[Take]> = judged.filter_map(|(_, judged)| judged.taken()).collect();
        // Another counter than the first has to know what it may have to give back.
        let is_new = known(account, print, asked.now).is_none();
        if position == 0 || is_new && !takes.is_empty() {
            let request = Request::plain(*print, asked.now, asked.cost);
            note(
                lock,
                &mut change,
                Request { is_counted: position == 0, takes, ..request },
                account,
            );
        }
    }
    change
}

fn reply_limits(reply: Reply, all: &All) {
    reply.array(all.len());
    for (_, judged) in all {
        let standing = &judged.standing;
        reply.array(5);
        reply.bulk(judged.limit.name());
        [standing.limit, standing.remaining, standing.reset_ms, standing.retry_ms]
            .into_iter()
            .for_each(|number| reply.integer(number));
    }
}
