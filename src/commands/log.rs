//! LOG: the latest validations of this node that were refused, and by whom they were asked for.
//!
//! It is what ACL LOG is for commands: kept in memory alone, on each node for itself, until a restart.

use crate::commands::plain::PLAIN;
use crate::grammar::{self, read_count};
use crate::settings::{LOG_MAX_LEN, MAX_LOG_LEN};
use crate::state;
use apikey_engine::report::refusals::{Entry, Refusal, Told};
use host::caller::Caller;
use host::command::spec::{Arg, Command, Spec};
use host::{now, Args, Ctx, Name, Reply, Result};

/// Notes that a key was refused, and why; `detail` is the scope or the limit that does not hold, if one doesn't.
pub fn note(ctx: &mut Ctx, key: Name, why: Told, detail: Option<&[u8]>, now: i64) {
    let most = LOG_MAX_LEN.size();
    if most == 0 {
        return;
    }
    let (caller, user) = ctx.caller();
    let address = match caller {
        Caller::Connection(address) => Some(address),
        Caller::Script | Caller::Module | Caller::Replayed => None,
    };
    let refusal = Refusal {
        why,
        detail: detail.unwrap_or_default(),
        key: key.bytes(),
        user: user.as_ref().map(host::caller::User::name),
        host: address.as_ref().map(|address| address.host.as_bytes()),
        port: address.as_ref().map_or(0, |address| address.port),
    };
    state::with(ctx.lock(), |state| state.refusals.note(&refusal, now, most));
}

pub struct Log;

/// Entries that one call shows unless COUNT says otherwise, as ACL LOG.
const DEFAULT_COUNT: i64 = 10;

const COUNT: Arg = Arg::integer(c"count").between(1, MAX_LOG_LEN).after(c"COUNT");

/// RESET is none of them: it stands alone.
const OPTIONS: &[Arg] = &[COUNT.optional()];

impl Command for Log {
    const SPEC: Spec = Spec {
        name: c"apikey.log",
        flags: "admin",
        hides: grammar::HIDES,
        dangerous: true,
        arity: -1,
        summary:
            c"Returns the latest refused validations of this node, newest first, or forgets them.",
        complexity: c"O(N) where N is the number of entries returned",
        tips: Some(c"request_policy:all_shards"),
        fixed: &[Arg::one_of(c"operation", &[COUNT, Arg::word(c"reset", c"RESET")]).optional()],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let reset = args.get(1).filter(|_| args.len() == 2);
        if reset.is_some_and(|word| word.bytes().eq_ignore_ascii_case(b"RESET")) {
            state::with(ctx.lock(), |state| state.refusals.trim(0));
            reply.simple(c"OK");
            return Ok(());
        }
        let count = read_count(OPTIONS, args, 1, DEFAULT_COUNT)?;
        let now = now();
        state::with(ctx.lock(), |state| {
            let log = &state.refusals;
            reply.array(count.min(log.iter().len()));
            log.iter().take(count).for_each(|entry| show(reply, entry, now));
        });
        Ok(())
    }
}

fn show(reply: Reply, entry: &Entry, now: i64) {
    let text = |name: &str, text: Option<&[u8]>| {
        reply.bulk(name.as_bytes());
        match text {
            Some(text) => reply.bulk(text),
            None => reply.nil(),
        }
    };
    let number = |name: &str, number: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    };
    reply.map(7);
    number("count", i64::try_from(entry.count).unwrap_or(i64::MAX));
    text("code", Some(entry.code.as_bytes()));
    text("reason", Some(&[entry.reason.as_bytes(), entry.detail()].concat()));
    text("key", Some(entry.key()));
    text("client", entry.host().map(|host| address(host, entry.port)).as_deref());
    text("username", entry.user());
    number("age", now.saturating_sub(entry.at).max(0));
}

/// As CLIENT LIST has it: an IPv6 address in brackets.
fn address(host: &[u8], port: u16) -> Vec<u8> {
    let (open, close) = if host.contains(&b':') { ("[", "]") } else { ("", "") };
    [open.as_bytes(), host, close.as_bytes(), format!(":{port}").as_bytes()].concat()
}
