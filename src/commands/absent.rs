//! SETABSENT: the knowledge that there is no such API key.

use crate::command::{Arg, Command, Keys, Spec, OVERWRITES};
use crate::commands::record::{self, fills_are_stored};
use crate::config;
use crate::error::{Error, Result};
use crate::events;
use crate::ffi::{self, Args, Ctx, Mode, Name, Notify};
use crate::keyspace;
use crate::options::{self, is, Call, Fill};
use crate::state;
use crate::value::RecordValue;
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
        let options = Fill::parse(args, 2, Call { now, replayed }, |option, options| {
            // There is no automatic tag that it could stand before.
            if is(option, "NS") {
                return Err(options.unknown());
            }
            Ok(false)
        })?;
        let record = Record::absent(&options.tags)
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
        let expires_at = options.expires_at(now, &config::ABSENT_TTL);
        key.store_entry(RecordValue::of(&record, events::comes_dead(ctx)), Some(expires_at), now)?;
        replicate(ctx, name, &record, expires_at);
        drop(key);
        ctx.notify(Notify::Module, c"apikey.setabsent", name);
        ctx.notify(Notify::Generic, c"expire", name);
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

/// Replicates what was stored.
fn replicate(ctx: Ctx, name: Name, record: &Record, expires_at: i64) {
    let rest = options::resolved(expires_at, record.caller_tags(), b"");
    let rest: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
    ctx.replicate(SetAbsent::SPEC.name, &[name], &rest);
}
