//! TAGS: what an entry carries.

use crate::commands::plain::PLAIN;
use crate::keyspace;
use apikey_engine::entry::kind::Entry;
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{Args, Ctx, Error, Reply, Result};

pub struct Tags;

impl Command for Tags {
    const SPEC: Spec = Spec {
        name: c"apikey.tags",
        arity: 2,
        keys: Keys::One(Use::READS),
        summary: c"Returns the tags that an entry carries.",
        complexity: c"O(N) where N is the number of tags",
        fixed: &[Arg::key()],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let key = keyspace::read(ctx, name);
        match key.live_entry()? {
            Some(any) => {
                let mut tags = Vec::with_capacity(any.entry.tag_count());
                any.entry.each_tag(&mut |tag| tags.push(tag.to_vec()));
                reply.array(tags.len());
                tags.iter().for_each(|tag| reply.bulk(tag));
            }
            None => reply.array(0),
        }
        Ok(())
    }
}
