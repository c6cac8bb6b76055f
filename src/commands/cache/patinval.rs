//! PATINVAL: the entries of regions whose keys fit a pattern are killed.

use crate::bus;
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::patinval;
use apikey_engine::bus::message::Question;
use apikey_engine::cache::glob::{Pattern, MAX_PATTERN_BYTES};
use apikey_engine::entry::region_tag::{RegionTag, MAX_REGION_BYTES};
use host::command::grammar::{bytes, Judged, Options};
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Error, Reply, Result, Text};

pub struct PatInval;

const OPTIONS: &[Arg] =
    &[Arg::bytes(c"region", 1, MAX_REGION_BYTES).after(c"REGION").optional(), grammar::NAMESPACE];

impl Command for PatInval {
    const SPEC: Spec = Spec {
        name: c"cache.patinval",
        since: c"0.2.0",
        flags: "write",
        hides: grammar::HIDES,
        arity: -2,
        summary: c"Kills the entries of regions of the selected database whose keys fit a pattern, as SCAN MATCH has it, and refuses older fills of such keys; in a cluster on all primaries. The caller waits.",
        complexity: c"O(N) where N is the number of entries of the database, in slices",
        fixed: &[Arg::pattern(c"pattern")],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, _: Reply) -> Result<()> {
        let Some(text) = args.get(1) else { return Err(Error::SYNTAX) };
        let text = bytes(text, "pattern", 1, MAX_PATTERN_BYTES)?;
        let options = Options::parse(OPTIONS, args, 2, Judged::Here)?;
        let namespace = options.value("NS").unwrap_or_default();
        let region = match options.value("REGION") {
            Some(name) => Some(RegionTag::new(namespace, name).ok_or(Error::SYNTAX)?),
            None if options.has("NS") => {
                return Err(Error::err("NS without REGION says nothing: it is a region's"))
            }
            None => None,
        };
        let pattern = Pattern::new(text).ok_or(Error::SYNTAX)?;
        // What a pattern begins with has to be the caller's; of what fits it, what is.
        let prefix = Text::new(&pattern.literal_prefix());
        access::to_invalidate_pattern(ctx, prefix.name())?;
        let user = ctx.user().map(|user| user.name().to_vec());
        ctx.may_block("cache.patinval")?;
        let database = ctx.database();
        let tag = region.as_ref().map(RegionTag::bytes);
        let walk = patinval::Walk::begin(ctx, (pattern, text), tag, user.clone());
        if !ctx.is_in_cluster() || ctx.is_replayed() {
            return patinval::WALKS.ask(ctx, "cache.patinval", walk);
        }
        let question =
            Question::PatInval { database, pattern: text, region: tag, user: user.as_deref() };
        bus::ask(ctx, "cache.patinval", vec![question], |ctx, then| {
            patinval::WALKS.begin(ctx, walk, |ctx, killed| then(ctx, killed.copied()));
        })
    }
}
