//! SET: stores a value of a region's.

use super::named::REGION;
use super::store::{self, Terms, GRACE, LABEL};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::evict;
use crate::grammar;
use crate::state;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Set;

const OPTIONS: &[Arg] = &[
    grammar::EXPIRY_OR_KEEPTTL,
    GRACE,
    grammar::TAGS,
    grammar::NAMESPACE,
    LABEL,
    grammar::TOKEN.optional(),
    Arg::one_of(c"condition", &[Arg::word(c"nx", c"NX"), Arg::word(c"xx", c"XX")]).optional(),
];

impl Command for Set {
    const SPEC: Spec = Spec {
        name: c"cache.set",
        since: c"0.2.0",
        flags: "write deny-oom",
        hides: grammar::hides_records(Values::At(3)),
        arity: -4,
        keys: Keys::One(Use::OVERWRITES),
        summary: c"Stores a value in a region: with the token of a reader, unless the key, the region or one of the tags was invalidated since; without one as the word of a writer.",
        complexity: c"O(N+M) where N is the length of the value and M the number of tags; where the region holds more than it may, a few entries are evicted, and the rest in the background",
        fixed: &[Arg::key(), REGION, Arg::string(c"value")],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let (Some(name), Some(region), Some(value)) = (args.get(1), args.get(2), args.get(3))
        else {
            return Err(Error::SYNTAX);
        };
        let lock = ctx.lock();
        let options = Options::parse(OPTIONS, args, 4, Judged::Here)?;
        let terms = Terms::read(lock, region, &options, now())?;
        let cached = terms.lay_out(lock, name, Some(value.bytes()))?;
        access::to_store(ctx, &cached)?;
        let Some(expires_at) = terms.store(ctx, name, &cached)? else {
            reply.nil();
            return Ok(());
        };
        let evicted = evict::after_store(ctx, (&terms.tag, terms.policy), name);
        store::replicate(ctx, name, &cached, expires_at, &evicted);
        state::with(lock, |state| state.give_back(cached.into_memory()));
        store::notify(ctx, name, c"cache.set", &evicted, expires_at.is_some());
        reply.simple(c"OK");
        Ok(())
    }
}
