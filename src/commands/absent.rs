//! SETABSENT: the knowledge that there is no such API key.

use crate::command::{Arg, Command, Keys, Spec, OVERWRITES};
use crate::commands::record::{self, fills_are_stored};
use crate::config;
use crate::error::{Error, Result};
use crate::events;
use crate::ffi::{self, Args, Ctx, Mode, Name, Notify};
use crate::keyspace;
use crate::options::{self, is, set_once, Call, ExpiryOptions, Options};
use crate::state;
use crate::value::RecordValue;
use apikey_engine::fence::Token;
use apikey_engine::record::Record;

pub struct SetAbsent;

impl Command for SetAbsent {
    const SPEC: Spec = Spec {
        name: c"apikey.setabsent",
        alias: None,
        flags: "write deny-oom",
        dangerous: false,
        secret: false,
        arity: -4,
        keys: Keys::One(OVERWRITES),
        summary:
            c"Stores that the database has no such API key, unless the key holds a live record.",
        complexity: c"O(N) where N is the number of tags",
        tips: None,
        args: &[
            Arg::key(),
            Arg::string(c"token").after(c"TOKEN"),
            Arg::one_of(c"expiration", options::EXPIRY).optional(),
            options::TAGS.optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let replayed = ctx.is_replayed();
        let now = ffi::now();
        let options = SetAbsentOptions::parse(args, Call { now, replayed })?;
        let record = Record::absent(options.tags.as_deref().unwrap_or_default())
            .ok_or_else(|| Error::err("the tags can't be laid out"))?;
        let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
        let covers = record::exists(&key)?;
        let late =
            || !state::with(|state| state.accepts_fill(&options.token, name.bytes(), &record, now));
        // What is replayed was judged where its caller was.
        if !replayed && (!fills_are_stored() || covers || late()) {
            ctx.reply_nil();
            return Ok(());
        }
        let expires_at = options.expiry.get().at(now, &config::ABSENT_TTL);
        key.store_entry(RecordValue::new(record, events::comes_dead(ctx)), Some(expires_at))?;
        if let Some(value) = key.entry::<Record>()? {
            replicate(ctx, name, &value.entry, expires_at);
        }
        drop(key);
        ctx.notify(Notify::Module, c"apikey.setabsent", name);
        ctx.notify(Notify::Generic, c"expire", name);
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

struct SetAbsentOptions<'a> {
    token: Token,
    expiry: ExpiryOptions,
    tags: Option<Vec<&'a [u8]>>,
}

impl<'a> SetAbsentOptions<'a> {
    fn parse(args: Args<'a>, call: Call) -> Result<Self> {
        let mut options = Options::new(args, 2);
        let (mut token, mut expiry, mut tags) = (None, ExpiryOptions::default(), None);
        while let Some(option) = options.next_name() {
            if is(option, "TOKEN") {
                set_once(&mut token, "TOKEN", options::token(&mut options)?)?;
            } else if is(option, "TAGS") {
                let given = options::tags(&mut options, call.replayed)?;
                set_once(&mut tags, "TAGS", given)?;
            } else if is(option, "KEEPTTL") || !expiry.take(option, &mut options, call)? {
                return Err(options.unknown());
            }
        }
        let token = token.ok_or_else(|| {
            Error::err(
                "TOKEN is required: what a reader did not find may have come since it looked",
            )
        })?;
        Ok(Self { token, expiry, tags })
    }
}

/// Replicates what was stored, with every default spelled out; nobody asks for the token again.
fn replicate(ctx: Ctx, name: Name, record: &Record, expires_at: i64) {
    let token = Token::REFUSED.text();
    let time = expires_at.to_string();
    let tags: Vec<_> = record.caller_tags().collect();
    let count = tags.len().to_string();
    let mut arguments: Vec<&[u8]> = vec![b"TOKEN", token.as_bytes(), b"PXAT", time.as_bytes()];
    if !tags.is_empty() {
        arguments.extend([b"TAGS", count.as_bytes()]);
        arguments.extend(&tags);
    }
    ctx.replicate(SetAbsent::SPEC.name, &[name], &arguments);
}
