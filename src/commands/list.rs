//! SETLIST and GETLIST: a user's keys, page by page.

use super::record::{fills_are_stored, reply_miss};
use crate::command::{Arg, Command, Keys, Spec, OVERWRITES, READS};
use crate::config;
use crate::error::{Error, Result};
use crate::events;
use crate::ffi::{self, Args, Ctx, Mode, Notify};
use crate::keyspace;
use crate::options::{self, is, set_once, Call, Fill, Options};
use crate::state;
use crate::value::EntryValue;
use apikey_engine::entry::Kind;
use apikey_engine::label::{Label, Owner};
use apikey_engine::list::{List, Records};
use apikey_engine::sanitise::{Limits, MAX_ID_BYTES};

pub struct SetList;

impl Command for SetList {
    const SPEC: Spec = Spec {
        name: c"apikey.setlist",
        alias: None,
        flags: "write deny-oom",
        dangerous: false,
        secret: false,
        arity: -6,
        keys: Keys::One(OVERWRITES),
        summary: c"Stores the records of a user's API keys as one list.",
        complexity: c"O(N+M) where N is the length of the records and M the number of tags",
        tips: None,
        args: &[
            Arg::key(),
            Arg::string(c"user_id"),
            Arg::string(c"records"),
            Arg::string(c"token").after(c"TOKEN"),
            Arg::one_of(c"expiration", options::EXPIRY).optional(),
            options::TAGS.optional(),
            options::NAMESPACE.optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let (Some(name), Some(user), Some(json)) = (args.get(1), args.get(2), args.get(3)) else {
            return Err(Error::SYNTAX);
        };
        let replayed = ctx.is_replayed();
        let now = ffi::now();
        let user_id = options::text(user, "user_id", MAX_ID_BYTES)?;
        let fill = Fill::parse(args, 4, Call { now, replayed }, |_, _| Ok(false))?;
        let owner = Owner { namespace: fill.namespace, id: b"", user_id };
        let label = Label::new(Kind::List, &owner, &fill.tags)
            .ok_or_else(|| Error::err("the tags can't be laid out"))?;
        let records = if replayed {
            Records::sanitise(json.bytes(), &Limits::STORED)?
        } else {
            config::with_record_limits(|limits| Records::sanitise(json.bytes(), limits))?
        };
        let list = List::new(label, records);
        let mut key = keyspace::open(ctx, name, Mode::ReadWrite);
        key.entry::<List>()?;
        let late = || !state::with(|s| s.accepts_fill(&fill.token, name.bytes(), &list, now));
        // What is replayed was judged where its caller was.
        if !replayed && (!fills_are_stored() || late()) {
            ctx.reply_nil();
            return Ok(());
        }
        let expires_at = fill.expires_at(now, &config::LIST_TTL);
        key.store_entry(EntryValue::new(list, events::comes_dead(ctx)), Some(expires_at), now)?;
        if let Some(value) = key.entry::<List>()? {
            let list = &value.entry;
            let tags = list.label().caller_tags();
            let rest = options::resolved(expires_at, tags, fill.namespace);
            let mut arguments = vec![list.json().as_bytes()];
            arguments.extend(rest.iter().map(Vec::as_slice));
            ctx.replicate(Self::SPEC.name, &[name, user], &arguments);
        }
        drop(key);
        ctx.notify(Notify::Module, c"apikey.setlist", name);
        ctx.notify(Notify::Generic, c"expire", name);
        ctx.reply_simple(c"OK");
        Ok(())
    }
}

pub struct GetList;

impl Command for GetList {
    const SPEC: Spec = Spec {
        name: c"apikey.getlist",
        alias: None,
        flags: "readonly",
        dangerous: false,
        secret: false,
        arity: -2,
        keys: Keys::One(READS),
        summary: c"Returns the records of a user's API keys, or a page of them.",
        complexity: c"O(N) where N is the number of records returned",
        tips: None,
        args: &[
            Arg::key(),
            Arg::integer(c"offset").after(c"OFFSET").optional(),
            Arg::integer(c"limit").after(c"LIMIT").optional(),
        ],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let mut options = Options::new(args, 2);
        let (mut offset, mut limit) = (None, None);
        while let Some(option) = options.next_name() {
            let (slot, name) = match option {
                option if is(option, "OFFSET") => (&mut offset, "OFFSET"),
                option if is(option, "LIMIT") => (&mut limit, "LIMIT"),
                _ => return Err(options.unknown()),
            };
            let value = options::integer(options.value(name)?, name, 0, i64::MAX)?;
            set_once(slot, name, usize::try_from(value).unwrap_or(usize::MAX))?;
        }
        let now = ffi::now();
        if !config::ENABLED.get() {
            reply_miss(ctx, now);
            return Ok(());
        }
        let key = keyspace::open(ctx, name, Mode::Read);
        let Some(value) = key.live::<List>()? else {
            state::with(|state| state.stats.count_miss(now));
            reply_miss(ctx, now);
            return Ok(());
        };
        state::with(|state| state.stats.count_found(now));
        let list = &value.entry;
        let page = list.page(offset.unwrap_or(0), limit.unwrap_or(usize::MAX));
        ctx.reply_array(2);
        ctx.reply_bulk(b"HIT");
        ctx.reply_array(2);
        ctx.reply_integer(i64::try_from(list.len()).unwrap_or(i64::MAX));
        ctx.reply_array(page.len());
        page.for_each(|json| ctx.reply_bulk(json));
        Ok(())
    }
}
