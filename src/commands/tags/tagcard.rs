//! TAGCARD: how many entries carry a tag.
//!
//! Of what the tag has not condemned: an entry that is dead for another reason, and waits for reclaim, is counted.

use crate::bus;
use crate::commands::access;
use crate::commands::plain::PLAIN;
use crate::tagged;
use apikey_engine::bus::message::Question;
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Reply, Result};

pub struct TagCard;

impl Command for TagCard {
    const SPEC: Spec = Spec {
        name: c"apikey.tagcard",
        flags: "readonly fast",
        arity: 2,
        summary: c"Returns how many entries of the selected database carry a tag; in a cluster those of all primaries, whichever node is asked.",
        fixed: &[Arg::string(c"tag")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let tag = access::readable_tag(ctx, args)?;
        if !ctx.is_in_cluster() {
            reply.count(tagged::count(ctx, tag));
            return Ok(());
        }
        let question = Question::TagCard { database: ctx.database(), tag };
        // A replica's entries are its primary's, which is asked as well.
        let own = |ctx: &mut Ctx| if ctx.is_any_replica() { 0 } else { tagged::count(ctx, tag) };
        bus::ask(ctx, "apikey.tagcard", vec![question], bus::at_once(own))
    }
}
