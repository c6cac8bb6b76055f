//! VALIDATE: verifies an API key.

use crate::commands::log;
use crate::commands::miss::{reply_code, reply_miss, token};
use crate::commands::plain::PLAIN;
use crate::grammar::{self, digest};
use crate::keyspace;
use crate::state;
use crate::types::entries::Records;
use crate::values::entry;
use crate::vouch;
use apikey_engine::record::addresses::Address;
use apikey_engine::record::scope::MAX_SCOPE_BYTES;
use apikey_engine::record::verdict::{ends_at, judge, Verdict};
use apikey_engine::report::refusals::told;
use host::command::grammar::{Judged, Options};
use host::command::spec::{Arg, Command, Keys, Repeat, Spec, Use, Values};
use host::{now, Args, Ctx, Error, Reply, Result};

pub struct Validate;

/// The most scopes that one call may request. Each may be compared with all that a record has: 4,096 where
/// `max-scopes` is at its highest.
const MAX_REQUESTS: usize = 64;

/// The time that is left of an answer that does not end by itself.
const NEVER: i64 = -1;

const OPTIONS: &[Arg] = &[
    grammar::PROOF,
    Arg::checked(c"address", |text| Address::parse(text).is_some(), "be an IPv4 or IPv6 address")
        .after(c"IP")
        .optional(),
    Arg::bytes(c"scope", 1, MAX_SCOPE_BYTES)
        .after(c"SCOPE")
        .optional()
        .repeated(Repeat::WithToken(MAX_REQUESTS)),
];

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
        let digest = digest(&options)?;
        let address = || options.value("IP").and_then(Address::parse);
        let requests = || options.values("SCOPE");

        let lock = ctx.lock();
        let now = now();
        if !vouch::serves(now) {
            reply_miss(ctx, reply, now);
            return Ok(());
        }
        let key = keyspace::read(ctx, name);
        let Some(value) = key.live::<Records>()? else {
            state::with(lock, |state| state.stats.count_miss(now));
            reply_miss(key.ctx(), reply, now);
            return Ok(());
        };
        let record = &entry::record(value);
        let verdict = judge(record, digest.as_ref(), address, requests(), now);
        state::with(lock, |state| state.stats.count_hit(verdict, now));
        if let Some((code, _)) = told(verdict) {
            let scope = match verdict {
                Verdict::Forbidden(number) => requests().nth(number),
                _ => None,
            };
            drop(key);
            log::note(ctx, name, verdict, scope, now);
            reply_code(reply, code, scope);
            return Ok(());
        }
        let left = ends_at(record, digest.as_ref(), key.expires_at())
            .map_or(NEVER, |end| end.saturating_sub(now).max(0));
        let (code, token) = match verdict {
            Verdict::Valid => ("VALID", None),
            _ => ("UNVERIFIED", Some(token(key.ctx(), now))),
        };
        reply.array(if token.is_some() { 4 } else { 3 });
        reply.bulk(code.as_bytes());
        state::with_json(lock, record, |json| reply.bulk(json));
        if let Some(token) = token {
            reply.bulk(token.text().as_bytes());
        }
        reply.integer(left);
        Ok(())
    }
}
