//! VALIDATE: verifies an API key.

use super::verify::{reply_held, verify, ADDRESS, PROOF, SCOPE};
use crate::commands::plain::PLAIN;
use crate::grammar;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Validate;

const OPTIONS: &[Arg] = &[PROOF, ADDRESS, SCOPE];

impl Command for Validate {
    const SPEC: Spec = Spec {
        name: c"apikey.validate",
        flags: "readonly fast",
        hides: grammar::hides_secret(Values::None),
        arity: -2,
        keys: Keys::One(Use::READS),
        summary: c"Verifies an API key: its secret, state, expiry, address and scopes. Give the digest of the secret by DIGEST, so that the secret never leaves your process; SECRET lets the server compute it.",
        complexity: c"O(N*M) where N is the number of scopes requested and M that of the record",
        fixed: &[Arg::key()],
        options: OPTIONS,
        ..PLAIN
    };

    fn run(ctx: &mut Ctx, args: Args, reply: Reply) -> Result<()> {
        let Some(name) = args.get(1) else { return Err(Error::SYNTAX) };
        let options = Options::parse(OPTIONS, args, 2, Judged::Here)?;
        verify(ctx, name, &options, reply, now(), |held| reply_held(reply, &held))?;
        Ok(())
    }
}
