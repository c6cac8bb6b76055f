//! LOG: the latest validations of this node that were refused, and by whom they were asked for.
//!
//! It is what ACL LOG is for commands: kept in memory alone, on each node for itself, until a restart.

use crate::command::{Arg, Command, Keys, Spec};
use crate::config;
use crate::error::Result;
use crate::ffi::{self, Args, Ctx, Name};
use crate::options::{self, is};
use crate::state;
use apikey_engine::refusals::{told, Entry, Refusal};
use apikey_engine::verdict::Verdict;

/// Notes what VALIDATE has said of a key, where it is a refusal; `scope` is the one that does not hold. The
/// caller is asked for only then.
pub fn note(ctx: Ctx, key: Name, verdict: Verdict, scope: Option<&[u8]>, now: i64) {
    let most = config::LOG_MAX_LEN.size();
    if most == 0 || told(verdict).is_none() {
        return;
    }
    let (user, client) = (ctx.user_name(), ctx.client_address());
    let refusal = Refusal {
        verdict,
        scope: scope.unwrap_or_default(),
        key: key.bytes(),
        user: user.as_ref().map(|user| user.name().bytes()),
        host: client.as_ref().map(|(host, _)| host.as_bytes()),
        port: client.as_ref().map_or(0, |(_, port)| *port),
    };
    state::with(|state| state.refusals.note(&refusal, now, most));
}

pub struct Log;

/// Entries that one call shows unless COUNT says otherwise, as ACL LOG.
const DEFAULT_COUNT: i64 = 10;

impl Command for Log {
    const SPEC: Spec = Spec {
        name: c"apikey.log",
        alias: None,
        flags: "admin",
        dangerous: true,
        secret: false,
        arity: -1,
        keys: Keys::None,
        summary:
            c"Returns the latest refused validations of this node, newest first, or forgets them.",
        complexity: c"O(N) where N is the number of entries returned",
        tips: Some(c"request_policy:all_shards"),
        args: &[Arg::one_of(
            c"operation",
            &[Arg::integer(c"count").after(c"COUNT"), Arg::word(c"reset", c"RESET")],
        )
        .optional()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        if args.len() == 2 && args.get(1).is_some_and(|word| is(word.bytes(), "RESET")) {
            state::with(|state| state.refusals.trim(0));
            ctx.reply_simple(c"OK");
            return Ok(());
        }
        let count = options::count(args, 1, DEFAULT_COUNT, config::MAX_LOG_LEN)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let now = ffi::now();
        state::with(|state| {
            let log = &state.refusals;
            ctx.reply_array(count.min(log.iter().len()));
            log.iter().take(count).for_each(|entry| reply(ctx, entry, now));
        });
        Ok(())
    }
}

fn reply(ctx: Ctx, entry: &Entry, now: i64) {
    let text = |name: &str, text: Option<&[u8]>| {
        ctx.reply_bulk(name.as_bytes());
        match text {
            Some(text) => ctx.reply_bulk(text),
            None => ctx.reply_nil(),
        }
    };
    let number = |name: &str, number: i64| {
        ctx.reply_bulk(name.as_bytes());
        ctx.reply_integer(number);
    };
    ctx.reply_map(7);
    number("count", i64::try_from(entry.count).unwrap_or(i64::MAX));
    text("code", Some(entry.code.as_bytes()));
    text("reason", Some(&[entry.reason.as_bytes(), &entry.scope].concat()));
    text("key", Some(&entry.key));
    text("client", entry.host.as_ref().map(|host| address(host, entry.port)).as_deref());
    text("username", entry.user.as_deref());
    number("age", now.saturating_sub(entry.at).max(0));
}

/// As CLIENT LIST has it: an IPv6 address in brackets.
fn address(host: &[u8], port: u16) -> Vec<u8> {
    let (open, close) = if host.contains(&b':') { ("[", "]") } else { ("", "") };
    [open.as_bytes(), host, close.as_bytes(), format!(":{port}").as_bytes()].concat()
}
