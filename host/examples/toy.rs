//! A module with a type, a command and a timer. `TOY.ADD key [count]` adds to a count and replies it; a
//! second later the log says so.

#![deny(unsafe_code)]

use host::command::spec::{Keys, Spec, Use};
use host::key::stream::{Load, Rewrite, Save};
use host::*;
use std::ffi::CStr;

struct Count;
static COUNT: Handle<Count> = Handle::new();

impl DataType for Count {
    type Value = i64;
    const NAME: &'static CStr = c"toy-count";

    fn load(_: Lock, from: &mut Load) -> Option<Box<i64>> {
        Some(Box::new(i64::from_le_bytes((*from.bytes()?).try_into().ok()?)))
    }

    fn save(_: Lock, count: &i64, into: &mut Save) {
        into.bytes(&count.to_le_bytes());
    }

    fn rewrite(_: Lock, count: &i64, into: &mut Rewrite) {
        into.command(c"toy.add", count.to_string().as_bytes());
    }
}

struct Add;

impl Command for Add {
    const SPEC: Spec = Spec {
        name: c"toy.add",
        flags: "write",
        arity: -2,
        keys: Keys::One(Use::UPDATES),
        ..Spec::PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let more = args.get(2).map_or(Some(1), Name::integer).ok_or(Error::SYNTAX)?;
        let mut key = ctx.open_mut(args.get(1).ok_or(Error::SYNTAX)?);
        let count = key.get(&COUNT)?.map_or(0, |count| *count).saturating_add(more);
        key.set(&COUNT, Box::new(count), None)?;
        key.signal_modified();
        drop(key);
        ctx.replicate_verbatim();
        ctx.after(1000, move |_| log(Level::Notice, &format!("counted to {count}")));
        reply.integer(count);
        Ok(())
    }
}

struct Toy;
entry!(Toy);

impl Module for Toy {
    const NAME: &'static CStr = c"toy";
    const VERSION: i32 = 1;

    fn load(loading: &mut Loading) -> Result<()> {
        loading.data_type(&COUNT)?;
        loading.command::<Add>()
    }
}
