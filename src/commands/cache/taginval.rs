//! TAGINVAL: what carries a tag is killed, or, softly, is stale from now on.

use crate::bus;
use crate::commands::plain::PLAIN;
use crate::commands::tags::taginval::{self, TAGS};
use crate::tagged;
use apikey_engine::bus::message::Question;
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Error, Name, Reply, Result};

pub struct TagInval;

impl Command for TagInval {
    const SPEC: Spec = Spec {
        name: c"cache.taginval",
        since: c"0.2.0",
        flags: "write",
        arity: -2,
        summary: c"Kills every entry of the selected database that carries one of the tags, of which a call names 1,000 at most, or with SOFT has them be stale, where they have a grace.",
        complexity: c"O(N) where N is the number of tags: up to sync-reclaim entries are removed at once, more of them in the background",
        fixed: &[Arg::word(c"soft", c"SOFT").optional(), TAGS],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let is_soft = args.get(1).is_some_and(|word| word.bytes().eq_ignore_ascii_case(b"SOFT"));
        if is_soft && args.len() == 2 {
            return Err(Error::err("SOFT has no tags behind it"));
        }
        let tags = taginval::read(ctx, args, if is_soft { 2 } else { 1 })?;
        match is_soft {
            true => soften(ctx, &tags, reply),
            false => taginval::kill(ctx, "cache.taginval", &tags, reply),
        }
    }
}

fn soften(ctx: &mut Ctx, tags: &[Name], reply: Reply) -> Result<()> {
    if !ctx.is_in_cluster() || ctx.is_replayed() {
        reply.count(tagged::soften(ctx, tags));
        return Ok(());
    }
    let bytes: Vec<&[u8]> = tags.iter().map(|tag| tag.bytes()).collect();
    let questions = Question::tag_soften(ctx.database(), &bytes);
    let soften = |ctx: &mut Ctx| tagged::soften(ctx, tags);
    bus::ask(ctx, "cache.taginval", questions, bus::at_once(soften))
}
