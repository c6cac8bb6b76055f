//! SETABSENT: the knowledge that the source has no such thing.

use super::named::REGION;
use super::store::{self, Terms};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::evict;
use crate::grammar;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct SetAbsent;

const OPTIONS: &[Arg] = &[grammar::TOKEN, grammar::EXPIRY, grammar::TAGS, grammar::NAMESPACE];

impl Command for SetAbsent {
    const SPEC: Spec = Spec {
        name: c"cache.setabsent",
        since: c"0.2.0",
        flags: "write deny-oom",
        hides: grammar::HIDES,
        arity: -5,
        keys: Keys::One(Use::OVERWRITES),
        summary: c"Stores in a region that its source has nothing for a key.",
        complexity: c"O(N) where N is the number of tags",
        fixed: &[Arg::key(), REGION],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(region)) = (args.get(1), args.get(2)) else {
            return Err(Error::SYNTAX);
        };
        let options = Options::parse(OPTIONS, args, 3, Judged::Here)?;
        let lock = ctx.lock();
        let terms = Terms::read(lock, region, &options, now())?;
        let cached = terms.lay_out(lock, name, None)?;
        access::to_store(ctx, &cached)?;
        let Some(expires_at) = terms.store(ctx, name, &cached)? else {
            reply.nil();
            return Ok(());
        };
        let evicted = evict::after_store(ctx, (&terms.tag, terms.policy), name);
        store::replicate(ctx, name, &cached, expires_at, &evicted);
        store::notify(ctx, name, c"cache.setabsent", &evicted, expires_at.is_some());
        reply.simple(c"OK");
        Ok(())
    }
}
