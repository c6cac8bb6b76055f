//! TOP: which keys of a region are used most.

use super::named::{self, REGION};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::state;
use apikey_engine::cache::region::By;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Error, Reply, Result, Text};

pub struct Top;

const DEFAULT_COUNT: i64 = 10;
const MAX_COUNT: i64 = 512;

fn by(word: &[u8]) -> Option<By> {
    match word {
        _ if word.eq_ignore_ascii_case(b"HITS") => Some(By::Hits),
        _ if word.eq_ignore_ascii_case(b"BYTES") => Some(By::Bytes),
        _ => None,
    }
}

const OPTIONS: &[Arg] = &[
    grammar::count(MAX_COUNT),
    Arg::checked(c"order", |word| by(word).is_some(), "be HITS or BYTES").after(c"BY").optional(),
    grammar::NAMESPACE,
];

impl Command for Top {
    const SPEC: Spec = Spec {
        name: c"cache.top",
        since: c"0.2.0",
        hides: grammar::HIDES,
        arity: -2,
        summary: c"Returns the keys of a region that were read most, or of which most bytes were, each with an estimate of how much.",
        complexity: c"O(1): 512 keys are counted",
        fixed: &[REGION],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(region) = args.get(1) else { return Err(Error::SYNTAX) };
        let options = Options::parse(OPTIONS, args, 2, Judged::Here)?;
        let tag = named::region(region, &options)?;
        access::to_read(ctx, Text::new(tag.bytes()).name())?;
        let count = options.number("COUNT").unwrap_or(DEFAULT_COUNT);
        let by = options.value("BY").and_then(by).unwrap_or(By::Hits);
        let database = ctx.database();
        let top = state::with(ctx.lock(), |state| {
            let region = state.site(database)?.database.regions().get(tag.bytes())?;
            Some(region.top(by, usize::try_from(count).unwrap_or(0)))
        });
        let top = top.unwrap_or_default();
        reply.array(top.len());
        for (name, estimate) in top {
            reply.array(2);
            reply.bulk(&name);
            reply.integer(i64::try_from(estimate).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}
