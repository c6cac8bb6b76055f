//! SETLIST and GETLIST: a user's keys, page by page.

use crate::commands::access;
use crate::commands::miss::reply_miss;
use crate::commands::plain::PLAIN;
use crate::commands::record::store::bad_record;
use crate::grammar::{self, judged, Fill};
use crate::keyspace;
use crate::settings;
use crate::state::{self, comes_dead, fills_are_stored};
use crate::stream::resolved::Resolved;
use crate::stream::send::send;
use crate::types::entries::Lists;
use crate::values::entry::EntryValue;
use crate::vouch;
use apikey_engine::answers::list::{List, Records};
use apikey_engine::entry::kind::Kind;
use apikey_engine::entry::label::{Label, Owner};
use apikey_engine::entry::tag_names::MAX_ID_BYTES;
use apikey_engine::record::sanitise::Limits;
use host::changes::Class;
use host::command::grammar::{bytes, Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct SetList;

const FILL: &[Arg] = &[grammar::TOKEN, grammar::EXPIRY, grammar::TAGS, grammar::NAMESPACE];

/// What a primary says: its tags may be those of the records' fields too.
const REPLAYED: &[Arg] =
    &[grammar::TOKEN, grammar::EXPIRY, grammar::ALL_OWN_TAGS, grammar::NAMESPACE];

impl Command for SetList {
    const SPEC: Spec = Spec {
        name: c"apikey.setlist",
        flags: "write deny-oom",
        hides: grammar::hides_records(Values::At(3)),
        arity: -6,
        keys: Keys::One(Use::OVERWRITES),
        summary: c"Stores the records of a user's API keys as one list.",
        complexity: c"O(N+M) where N is the length of the records and M the number of tags",
        fixed: &[Arg::key(), Arg::string(c"user_id"), Arg::string(c"records")],
        options: FILL,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(user), Some(json)) = (args.get(1), args.get(2), args.get(3)) else {
            return Err(Error::SYNTAX);
        };
        let lock = ctx.lock();
        let replayed = ctx.is_replayed();
        let now = now();
        let user_id = bytes(user, "user_id", 1, MAX_ID_BYTES)?;
        let options = if replayed { REPLAYED } else { FILL };
        let options = Options::parse(options, args, 4, judged(replayed))?;
        let fill = Fill::read(&options, now, judged(replayed))?;
        let read = match replayed {
            true => Records::sanitise(json.bytes(), &Limits::STORED),
            false => {
                settings::with_record_limits(lock, |limits| Records::sanitise(json.bytes(), limits))
            }
        };
        let (records, of_fields) = read.map_err(bad_record)?;
        let of_fields = of_fields.within(fill.namespace);
        let tags: Vec<&[u8]> =
            of_fields.iter().map(Vec::as_slice).chain(fill.tags.iter().copied()).collect();
        let owner = Owner { namespace: fill.namespace, id: b"", user_id };
        let label = Label::new(Kind::List, &owner, &tags)
            .ok_or_else(|| Error::err("the tags can't be laid out"))?;
        let list = List::new(label, records);
        access::to_store(ctx, &list)?;
        let comes_dead = comes_dead(ctx.lock());
        let mut key = keyspace::write(ctx, name);
        key.entry::<Lists>()?;
        let late = || !state::with(lock, |s| s.accepts_fill(&fill.token, name.bytes(), &list, now));
        // What is replayed was judged where its caller was.
        if !replayed && (!fills_are_stored(lock) || late()) {
            reply.nil();
            return Ok(());
        }
        let expires_at = fill.expiry.at(now, &settings::LIST_TTL);
        let rest = Resolved::new(expires_at, list.label().own_tags(), fill.namespace);
        let json = list.json().to_owned();
        key.store_entry::<Lists>(EntryValue::new(list, comes_dead), Some(expires_at), now)?;
        drop(key);
        let words: Vec<&[u8]> = std::iter::once(json.as_bytes()).chain(rest.words()).collect();
        send(ctx, Self::SPEC.name, &[name, user], &words);
        ctx.notify(Class::Module, c"apikey.setlist", name);
        ctx.notify(Class::Generic, c"expire", name);
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct GetList;

const PAGE: &[Arg] = &[
    Arg::integer(c"offset").between(0, i64::MAX).after(c"OFFSET").optional(),
    Arg::integer(c"limit").between(0, i64::MAX).after(c"LIMIT").optional(),
];

impl Command for GetList {
    const SPEC: Spec = Spec {
        name: c"apikey.getlist",
        hides: grammar::HIDES,
        arity: -2,
        keys: Keys::One(Use::READS),
        summary: c"Returns the records of a user's API keys, or a page of them.",
        complexity: c"O(N) where N is the number of records returned",
        fixed: &[Arg::key()],
        options: PAGE,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let options = Options::parse(PAGE, args, 2, Judged::Here)?;
        let size = |token| {
            options.number(token).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        let (offset, limit) = (size("OFFSET"), size("LIMIT"));
        let lock = ctx.lock();
        let now = now();
        if !vouch::serves(now) {
            reply_miss(ctx, reply, now);
            return Ok(());
        }
        let key = keyspace::read(ctx, name);
        let Some(value) = key.live::<Lists>()? else {
            state::with(lock, |state| state.stats.count_miss(now));
            reply_miss(key.ctx(), reply, now);
            return Ok(());
        };
        state::with(lock, |state| state.stats.count_found(now));
        let list = &value.entry;
        let page = list.page(offset.unwrap_or(0), limit.unwrap_or(usize::MAX));
        reply.array(2);
        reply.bulk(b"HIT");
        reply.array(2);
        reply.count(list.len());
        reply.array(page.len());
        page.for_each(|json| reply.bulk(json));
        Ok(())
    }
}
