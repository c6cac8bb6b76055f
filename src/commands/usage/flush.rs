//! USAGE.FLUSH: takes whatever is pending.

use super::lease::{DEFAULT_COUNT, MAX_COUNT};
use super::take::{take, Take};
use crate::commands::plain::PLAIN;
use crate::grammar::{self, read_count};
use crate::state;
use crate::stream::send::send;
use apikey_engine::database::items::{PENDING, WAITING};
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Reply, Result, Text};

pub struct Flush;

const OPTIONS: &[Arg] = &[grammar::count(MAX_COUNT)];

impl Command for Flush {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.flush",
        alias: Some(c"apikey.usageflush"),
        flags: "write",
        dangerous: true,
        arity: -1,
        summary: c"Returns pending counts of the selected database and resets them, whichever keys have any.",
        complexity: c"O(N) where N is the number of counts returned",
        tips: Some(c"request_policy:all_shards"),
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let most = read_count(OPTIONS, args, 1, DEFAULT_COUNT)?;
        let (lock, database) = (ctx.lock(), ctx.database());
        let mut taken: Vec<(Vec<u8>, i64)> = Vec::new();
        for tag in [PENDING, WAITING] {
            let pending = state::with(lock, |state| state.member_count(database, tag));
            // From the last on, as TAGINVAL walks.
            for position in (0..pending).rev() {
                if taken.len() == most {
                    break;
                }
                let name = state::with(lock, |state| {
                    state.member_name(database, tag, position).map(<[u8]>::to_vec)
                });
                let Some(name) = name else { continue };
                let count = take(ctx, Text::new(&name).name());
                if count > 0 {
                    taken.push((name, count));
                }
            }
        }
        reply.array(taken.len() * 2);
        for (name, count) in &taken {
            reply.bulk(name);
            reply.integer(*count);
        }
        if !taken.is_empty() {
            // Replicas may have their pending counters in another order.
            let names: Vec<&[u8]> = taken.iter().map(|(name, _)| name.as_slice()).collect();
            send(ctx, Take::SPEC.name, &[], &names);
        }
        Ok(())
    }
}
