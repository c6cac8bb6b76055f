//! DEBUG: makes what must not happen, for tests. Only in debug builds.

use crate::command::{Arg, Command, Keys, Spec};
use crate::error::{Error, Result};
use crate::ffi::{Args, Ctx, Mode};
use crate::keyspace;
use crate::options::is;
use crate::state;
use crate::value::Link;

pub struct Debug;

impl Command for Debug {
    const SPEC: Spec = Spec {
        name: c"apikey.debug",
        alias: None,
        flags: "readonly admin",
        dangerous: true,
        secret: false,
        arity: -2,
        keys: Keys::None,
        summary: c"Debug builds only: PANIC panics, FORGET makes the index forget a key, HOLD yes keeps dead entries from being reclaimed, HOLD no ends that.",
        complexity: c"O(1)",
        tips: None,
        args: &[Arg::string(c"subcommand"), Arg::string(c"argument").optional()],
    };

    fn run(ctx: Ctx, args: Args) -> Result<()> {
        let Some(subcommand) = args.get(1) else { return Err(Error::SYNTAX) };
        match args.get(2) {
            None if is(subcommand.bytes(), "PANIC") => panic!("asked for"),
            Some(name) if is(subcommand.bytes(), "FORGET") => {
                let key = keyspace::open(ctx, name, Mode::Read);
                let place = key.slot().link().and_then(Link::place);
                let Some(place) = place else { return Err(Error::err("no such entry")) };
                state::with(|state| state.forget(ctx.database(), place));
                ctx.reply_simple(c"OK");
                Ok(())
            }
            Some(yes) if is(subcommand.bytes(), "HOLD") => {
                state::with(|state| state.reclaim.held = is(yes.bytes(), "yes"));
                ctx.reply_simple(c"OK");
                Ok(())
            }
            _ => Err(Error::SYNTAX),
        }
    }
}
