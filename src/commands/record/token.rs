//! TOKEN: a token for a fill that did not begin with a miss.

use crate::commands::miss::token;
use crate::commands::plain::PLAIN;
use host::command::spec::{Arg, Command, Keys, Spec, Use};
use host::{now, Args, Ctx, Reply, Result};

pub struct TokenOf;

impl Command for TokenOf {
    const SPEC: Spec = Spec {
        name: c"apikey.token",
        // It writes nothing; but a client that reads from replicas sends what writes to the primary, whose token it
        // needs.
        flags: "write fast",
        arity: 2,
        keys: Keys::One(Use::READS),
        summary: c"Returns a token for a fill that did not begin with a miss.",
        fixed: &[Arg::key()],
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, _: Args, reply: Reply) -> Result<()> {
        // The key is there for the cluster: a token is its node's, whatever the key holds.
        reply.bulk(token(ctx, now()).text().as_bytes());
        Ok(())
    }
}
