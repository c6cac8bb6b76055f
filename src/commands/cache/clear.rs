//! CLEAR: all of a region is killed, which is to say what carries its tag.

use super::named::{self, REGION};
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::commands::tags::taginval;
use crate::grammar;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Command, Spec};
use host::{Args, Ctx, Error, Reply, Result, Text};

pub struct Clear;

impl Command for Clear {
    const SPEC: Spec = Spec {
        name: c"cache.clear",
        since: c"0.2.0",
        flags: "write",
        hides: grammar::HIDES,
        arity: -2,
        summary: c"Kills every entry of a region of the selected database; in a cluster on all primaries, whichever is asked.",
        complexity: c"O(1): up to sync-reclaim entries are removed at once, more of them in the background",
        fixed: &[REGION],
        options: named::ONLY_NAMESPACE,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(region) = args.get(1) else { return Err(Error::SYNTAX) };
        let options = Options::parse(named::ONLY_NAMESPACE, args, 2, Judged::Here)?;
        let tag = Text::new(named::region(region, &options)?.bytes());
        access::to_invalidate(ctx, &[tag.name()])?;
        taginval::kill(ctx, "cache.clear", &[tag.name()], reply)
    }
}
