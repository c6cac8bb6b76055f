//! DEBUG: makes what must not happen, for tests. Only in debug builds.

use crate::bus::Bus;
use crate::check::CHECKS;
use crate::commands::plain::PLAIN;
use crate::keyspace;
use crate::reclaim;
use crate::state;
use crate::stream::version;
use crate::types::entries::Records;
use crate::values::entry::of_record;
use crate::values::life::Link;
use apikey_engine::record::layout::Record;
use host::cluster::Receiver;
use host::command::grammar::integer;
use host::command::spec::{Arg, Command, Repeat, Spec};
use host::{now, Args, Ctx, Error, Name, Reply, Result};

pub struct Debug;

impl Command for Debug {
    const SPEC: Spec = Spec {
        name: c"apikey.debug",
        flags: "readonly admin",
        dangerous: true,
        arity: -2,
        summary: c"Debug builds only: PANIC panics, FORGET makes the index forget a key, STORE stores a record's bytes that nobody has checked, HOLD yes keeps dead entries from being reclaimed and an ACK in slices from going on, HOLD no ends that, STREAM tells replicas of another version, BUS sends bytes to the other nodes of the cluster, JOBS tells how many checks are under way or wait.",
        fixed: &[Arg::string(c"subcommand"), Arg::string(c"argument").optional().repeated(Repeat::Value)],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let is = |word: Name, name: &str| word.bytes().eq_ignore_ascii_case(name.as_bytes());
        let Some(subcommand) = args.get(1) else { return Err(Error::SYNTAX) };
        match args.get(2) {
            None if is(subcommand, "PANIC") => panic!("asked for"),
            None if is(subcommand, "JOBS") => reply.count(CHECKS.len(ctx.lock())),
            Some(name) if is(subcommand, "FORGET") => {
                let (database, lock) = (ctx.database(), ctx.lock());
                let key = keyspace::read(ctx, name);
                let place = key.slot().link().and_then(Link::place);
                let Some(place) = place else { return Err(Error::err("no such entry")) };
                state::with(lock, |state| state.forget(database, place));
                reply.simple(c"OK");
            }
            Some(name) if is(subcommand, "STORE") => {
                let Some(bytes) = args.get(3) else { return Err(Error::SYNTAX) };
                let value = of_record(&Record::stored(bytes.bytes()), false);
                keyspace::write(ctx, name).store_entry::<Records>(value, None, now())?;
                reply.simple(c"OK");
            }
            Some(yes) if is(subcommand, "HOLD") => {
                reclaim::hold(is(yes, "yes"));
                reply.simple(c"OK");
            }
            Some(message) if is(subcommand, "BUS") => {
                for node in ctx.other_nodes() {
                    ctx.send_to_node(node.id, Bus::KIND, message.bytes())?;
                }
                reply.simple(c"OK");
            }
            Some(version) if is(subcommand, "STREAM") => {
                version::write(ctx, integer(version, "version", 0, i64::MAX)?);
                reply.simple(c"OK");
            }
            _ => return Err(Error::SYNTAX),
        }
        Ok(())
    }
}
