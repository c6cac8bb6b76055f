//! SETABSENT: the knowledge that there is no such API key.

use super::store;
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar::{self, judged, Fill};
use crate::keyspace;
use crate::settings;
use crate::state::{self, comes_dead, fills_are_stored};
use crate::stream::{resolved::Resolved, send::send};
use crate::types::entries::Records;
use crate::values::entry::{self, of_record};
use apikey_engine::record::layout::Record;
use host::changes::Class;
use host::command::grammar::Options;
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::server::used_memory_ratio;
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct SetAbsent;

const OPTIONS: &[Arg] = &[grammar::TOKEN, grammar::EXPIRY, grammar::TAGS, grammar::NAMESPACE];

/// The part of `maxmemory` beyond which it is short: there is still room for what has yet to come in use.
const SHORT_OF_MEMORY: f32 = 0.9;

impl Command for SetAbsent {
    const SPEC: Spec = Spec {
        name: c"apikey.setabsent",
        flags: "write deny-oom",
        hides: grammar::HIDES,
        arity: -4,
        keys: Keys::One(Use::OVERWRITES),
        summary:
            c"Stores that the database has no such API key, unless the key holds a live record.",
        complexity: c"O(N) where N is the number of tags",
        fixed: &[Arg::key()],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let lock = ctx.lock();
        let replayed = ctx.is_replayed();
        let now = now();
        let options = Options::parse(OPTIONS, args, 2, judged(replayed))?;
        let fill = Fill::read(&options, now, judged(replayed))?;
        let record = Record::absent(fill.namespace, &fill.tags)
            .ok_or_else(|| Error::err("the tags can't be laid out"))?;
        access::to_store(ctx, &record)?;
        let comes_dead = comes_dead(ctx.lock());
        let mut key = keyspace::write(ctx, name);
        let covers = store::exists(&key)?;
        let late =
            || !state::with(lock, |s| s.accepts_fill(&fill.token, name.bytes(), &record, now));
        let is_one_more =
            !key.entry::<Records>()?.is_some_and(|value| entry::record(value).is_absent());
        let too_many = || {
            let memory_is_short = used_memory_ratio(lock) > SHORT_OF_MEMORY;
            !state::with(lock, |s| s.accepts_absent(is_one_more, memory_is_short))
        };
        // What is replayed was judged where its caller was.
        if !replayed && (!fills_are_stored(lock) || covers || late() || too_many()) {
            reply.nil();
            return Ok(());
        }
        let expires_at = fill.expiry.at(now, &settings::ABSENT_TTL);
        key.store_entry::<Records>(of_record(&record, comes_dead), Some(expires_at), now)?;
        drop(key);
        let rest = Resolved::new(expires_at, record.own_tags(), record.namespace());
        let rest: Vec<&[u8]> = rest.words().collect();
        send(ctx, Self::SPEC.name, &[name], &rest);
        ctx.notify(Class::Module, c"apikey.setabsent", name);
        ctx.notify(Class::Generic, c"expire", name);
        reply.simple(c"OK");
        Ok(())
    }
}
