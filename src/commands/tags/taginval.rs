//! TAGINVAL and TAGINVALNODE: what carries a tag is killed, on all primaries of a cluster or on this one.

use crate::bus;
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::grammar;
use crate::tagged;
use apikey_engine::bus::message::Question;
use host::command::spec::{Arg, Command, Repeat, Spec};
use host::{Args, Ctx, Name, Reply, Result};

pub const TAGS: Arg = Arg::string(c"tag").repeated(Repeat::Value);

pub struct TagInval;

impl Command for TagInval {
    const SPEC: Spec = Spec {
        name: c"apikey.taginval",
        flags: "write",
        arity: -2,
        summary: c"Kills every entry of the selected database that carries one of the tags, of which a call names 1,000 at most; in a cluster on all primaries, whichever is asked.",
        complexity: c"O(N) where N is the number of tags: up to sync-reclaim entries are removed at once, more of them in the background",
        fixed: &[TAGS],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let tags = read(ctx, args, 1)?;
        kill(ctx, "apikey.taginval", &tags, reply)
    }
}

pub struct TagInvalNode;

impl Command for TagInvalNode {
    const SPEC: Spec = Spec {
        name: c"apikey.taginvalnode",
        since: c"0.2.0",
        flags: "write",
        arity: -2,
        summary: c"Kills every entry of the selected database that carries one of the tags, of which a call names 1,000 at most, on this node alone.",
        complexity: c"O(N) where N is the number of tags: up to sync-reclaim entries are removed at once, more of them in the background",
        tips: Some(c"request_policy:all_shards response_policy:agg_sum"),
        fixed: &[TAGS],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let tags = read(ctx, args, 1)?;
        reply.count(tagged::kill(ctx, &tags));
        Ok(())
    }
}

/// Kills what carries one of the tags in the stead of a command, in a cluster on all primaries.
pub fn kill(ctx: &mut Ctx, command: &str, tags: &[Name], reply: Reply) -> Result<()> {
    if !ctx.is_in_cluster() || ctx.is_replayed() {
        reply.count(tagged::kill(ctx, tags));
        return Ok(());
    }
    let bytes: Vec<&[u8]> = tags.iter().map(|tag| tag.bytes()).collect();
    let questions = Question::tag_inval(ctx.database(), &bytes);
    let kill = |ctx: &mut Ctx| tagged::kill(ctx, tags);
    bus::ask(ctx, command, questions, bus::at_once(kill))
}

/// The tags of a call from a position on, which its caller may invalidate by.
pub fn read<'a>(ctx: &mut Ctx, args: Args<'a>, from: usize) -> Result<Vec<Name<'a>>> {
    let tags = grammar::names(ctx, args, from, "tags")?;
    for &tag in &tags {
        grammar::tag(tag, "a tag")?;
    }
    if !ctx.is_replayed() {
        access::to_invalidate(ctx, &tags)?;
    }
    Ok(tags)
}
