//! CHECK: compares the keyspace and the index of the selected database.

use crate::check::{Comparison, CHECKS};
use crate::commands::plain::PLAIN;
use host::command::spec::{Command, Spec};
use host::{Args, Ctx, Reply, Result};

pub struct Check;

impl Command for Check {
    const SPEC: Spec = Spec {
        name: c"apikey.check",
        flags: "readonly admin",
        dangerous: true,
        summary: c"Compares the keys of the selected database with the module's index and tells what differs.",
        complexity: c"O(N) where N is the number of keys of the database, in slices",
        tips: Some(c"request_policy:all_shards"),
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, _: Args, _: Reply) -> Result<()> {
        let comparison = Comparison::begin(ctx.lock(), ctx.database());
        CHECKS.ask(ctx, "apikey.check", comparison)
    }
}
