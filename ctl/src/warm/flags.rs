//! The options of `warm`: where the rows come from, and what is made of each.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::pattern::Pattern;
use super::recipe::OfRows;

/// The most seconds that EX takes.
pub const MAX_TTL: u64 = 100_000_000_000;

const MORE: &str = "\
Patterns: {field} inserts a string or an integer of the record. Every other brace stands for itself, so
apikey:{{key_prefix}} gives apikey:{ak_live_7Qm2}: the inner braces name the field, the outer ones stay and
are the hash tag that keeps the keys of one API key in one slot. apikey:{key_prefix} gives
apikey:ak_live_7Qm2, without a hash tag. \\{ and \\} are braces that insert nothing: \\{all\\}:{id}.

Tokens: a row that is revoked while the export runs must not come back into the cache. So each primary is
asked for a token first, and refuses rows that were invalidated or written since. This holds if the export
begins after the token was given:

    apikeyctl warm --key .. -- psql -qAtX -c 'SELECT row_to_json(k) FROM api_keys k'

starts the export itself, after that, and is the way to do it. With FILE, or with - behind a pipe, of which a
shell starts both sides at once, see to it yourself that nothing is revoked between the export and the token.

A token is good for apikey.token-ttl-ms (30 seconds). Where export and warm-up take longer, raise it
for their time: CONFIG SET apikey.token-ttl-ms 600000. --unfenced takes a new token every second as it writes
instead: it needs no setting and risks this: A KEY THAT WAS REVOKED AFTER THE EXPORT BEGAN, AND BEFORE ITS ROW
IS WRITTEN HERE, IS CACHED AS IT WAS, AND VALID UNTIL ITS TTL IS OVER OR IT IS INVALIDATED AGAIN.

It can be interrupted by Ctrl-C and started again; --if-absent then skips what is there.
Exit status: 0; 1 where a line was bad or it ended early; 2 for a wrong call, and where it could not begin; 130 when
interrupted.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
pub struct Flags {
    /// The export, one JSON object a line; - is the standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// A command that exports: it is started once the tokens are there
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Each record's key
    #[arg(long, value_name = "PATTERN", default_value = "apikey:{{key_prefix}}", value_parser = key)]
    key: Pattern,

    /// The field with the SHA-256 of the secret, in hex or base64, an array of one or two of those or of
    /// {"digest": .., "until": ..}, or null; it is left out of what is stored. Without it the server looks where its
    /// apikey.digest-field says
    #[arg(long, value_name = "FIELD")]
    digest_field: Option<String>,

    /// A tag of each record, beside the automatic ones; may be given again
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    tag: Vec<Pattern>,

    /// Put before the automatic tags
    #[arg(long, value_name = "NAMESPACE")]
    ns: Option<String>,

    /// How long the entries live (the server's apikey.validation-ttl)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_TTL))]
    ttl: Option<u64>,

    /// Leave keys alone that have a live record
    #[arg(long)]
    if_absent: bool,

    /// See below
    #[arg(long)]
    unfenced: bool,
}

fn key(pattern: &str) -> anyhow::Result<Pattern> {
    let pattern = Pattern::parse(pattern)?;
    anyhow::ensure!(pattern.has_field(), "it inserts no field: all records would get the same key");
    Ok(pattern)
}

/// The options, taken apart.
pub struct Parts {
    pub file: Option<PathBuf>,
    pub command: Vec<OsString>,
    pub recipe: OfRows,
    pub unfenced: bool,
}

impl From<Flags> for Parts {
    fn from(flags: Flags) -> Self {
        let Flags { file, command, key, digest_field, tag, ns, ttl, if_absent, unfenced } = flags;
        let recipe = OfRows { key, digest_field, namespace: ns, tags: tag, ttl, if_absent };
        Self { file, command, recipe, unfenced }
    }
}
