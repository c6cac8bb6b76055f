//! USAGE.FLUSH: takes whatever is pending.

use super::lease::{DEFAULT_COUNT, MAX_COUNT};
use super::take::{self, take, Take};
use crate::commands::plain::PLAIN;
use crate::counters;
use crate::grammar::{self, read_count};
use crate::members::each_member;
use crate::migrations;
use crate::stream::send::send;
use apikey_engine::database::items::{PENDING, WAITING};
use host::command::spec::{Arg, Command, Spec};
use host::{Args, Ctx, Name, Reply, Result, Text};

pub struct Flush;

const OPTIONS: &[Arg] = &[grammar::count(MAX_COUNT)];

impl Command for Flush {
    const SPEC: Spec = Spec {
        name: c"apikey.usage.flush",
        alias: Some(c"apikey.usageflush"),
        flags: "write",
        hides: grammar::HIDES,
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
        migrations::must_not_come(ctx)?;
        let mut taken: Vec<(Text, i64)> = Vec::new();
        for tag in [PENDING, WAITING] {
            taken.extend(each_member(ctx, tag, most - taken.len(), |ctx, name| {
                Some(take(ctx, name)).filter(|&count| count > 0)
            }));
        }
        let names: Vec<Name> = taken.iter().map(|(name, _)| name.name()).collect();
        if !names.is_empty() {
            // Replicas may have their pending counters in another order.
            let say = |ctx: &mut Ctx| send(ctx, Take::SPEC.name, &names, &[]);
            counters::tell(ctx, names.iter().copied(), say);
        }
        names.iter().for_each(|&name| take::notify(ctx, name));
        reply.array(taken.len() * 2);
        for (name, count) in &taken {
            reply.bulk(name.name().bytes());
            reply.integer(*count);
        }
        Ok(())
    }
}
