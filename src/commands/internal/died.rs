//! KILLED, SOFTENED, DROPPED, GONE and RECLAIMED: entries that died, or were taken away.

use crate::commands::plain::PLAIN;
use crate::keyspace::{self, Removed};
use crate::state;
use crate::stream::{dropped, gone, killed, reclaimed, send::must_be_replayed, softened};
use crate::tagged;
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use};
use host::{Args, Ctx, Name, Reply, Result, Text};

pub struct Killed;

impl Command for Killed {
    const SPEC: Spec = Spec {
        name: killed::NAME,
        flags: "write",
        dangerous: true,
        arity: -3,
        summary: c"Internal: tags that a primary has invalidated, and the keys that it removed with them. Refused from clients.",
        complexity: c"O(N) where N is the number of tags and keys",
        fixed: &[
            Arg::integer(c"numtags"),
            Arg::string(c"tag").repeated(Repeat::Value),
            Arg::string(c"key").optional().repeated(Repeat::Value),
        ],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let (tags, keys) = killed::read(args)?;
        tagged::replay(ctx, &tags);
        remove(ctx, keys);
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct Softened;

impl Command for Softened {
    const SPEC: Spec = Spec {
        name: softened::NAME,
        since: c"0.2.0",
        flags: "write",
        dangerous: true,
        arity: -2,
        summary: c"Internal: tags that a primary has invalidated softly. Refused from clients.",
        complexity: c"O(N) where N is the number of tags",
        fixed: &[Arg::string(c"tag").repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        tagged::soften(ctx, &softened::read(args)?);
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct Dropped;

impl Command for Dropped {
    const SPEC: Spec = Spec {
        name: dropped::NAME,
        flags: "write",
        dangerous: true,
        summary: c"Internal: kills all entries of all databases, which a primary no longer trusts. Refused from clients.",
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, _: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        state::with(ctx.lock(), state::State::begin_era);
        ctx.replicate_verbatim();
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct Gone;

impl Command for Gone {
    const SPEC: Spec = Spec {
        name: gone::NAME,
        flags: "write",
        dangerous: true,
        arity: 2,
        summary: c"Internal: dead entries that a primary has taken away, their names in one argument. Refused from clients.",
        complexity: c"O(N) where N is the number of names",
        fixed: &[Arg::string(c"names")],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        let mut names = gone::read(args)?;
        let mut gone = Vec::new();
        while let Some(name) = names.next_name().map(Text::new) {
            if keyspace::unlink_entry(ctx, name.name()) != Removed::Nothing {
                gone.push(name);
            }
        }
        ctx.replicate_verbatim();
        keyspace::tell_of_removed(ctx, gone.iter().map(Text::name));
        reply.simple(c"OK");
        Ok(())
    }
}

pub struct Reclaimed;

impl Command for Reclaimed {
    const SPEC: Spec = Spec {
        name: reclaimed::NAME,
        flags: "write",
        dangerous: true,
        arity: -2,
        keys: Keys::All(Use::DELETES),
        summary: c"Internal: dead entries that a primary has taken away, as earlier versions wrote it. Refused from clients.",
        complexity: c"O(N) where N is the number of keys",
        fixed: &[Arg::key().repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        must_be_replayed(ctx, Self::SPEC.name)?;
        remove(ctx, reclaimed::read(args));
        reply.simple(c"OK");
        Ok(())
    }
}

/// Removes the entries under these names, passes the command on, and tells of them.
fn remove<'a>(ctx: &mut Ctx, names: impl Iterator<Item = Name<'a>>) {
    let gone: Vec<Name> =
        names.filter(|&name| keyspace::unlink_entry(ctx, name) != Removed::Nothing).collect();
    ctx.replicate_verbatim();
    keyspace::tell_of_removed(ctx, gone);
}
