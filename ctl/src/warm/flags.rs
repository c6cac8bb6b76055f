//! The options of `warm`: where the rows come from, and what is made of each.

use std::ffi::OsString;
use std::path::PathBuf;

use apikey_engine::cache::value::MAX_GRACE_MS;
use clap::Args;

use super::pattern::Pattern;
use super::recipe::OfRows;
use super::values::OfValues;

/// The most seconds that EX takes.
pub const MAX_TTL: u64 = 100_000_000_000;

/// The longest grace: a year.
const MAX_GRACE: u64 = MAX_GRACE_MS.unsigned_abs();

/// The key of a record, unless it is given.
const RECORD_KEY: &str = "apikey:{{key_prefix}}";

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

Regions: apikeyctl warm --region products --key product:{id} --tag category:{category} -- psql ..
stores what a cache of the application's own reads by CACHE.GET: the row as JSON, or one field of it (--value). With
--popular 100 those rows alone whose keys are read most are stored: so a cache that was loaded anew is warm where it
matters, and one that is full keeps what it has.

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

    /// Each record's key; without it apikey:{{key_prefix}}, which with --region there is none of
    #[arg(long, value_name = "PATTERN", value_parser = key)]
    key: Option<Pattern>,

    /// Store values of this region, in place of records: each row, as it is
    #[arg(long, value_name = "REGION", requires = "key", conflicts_with = "digest_field")]
    region: Option<String>,

    /// A region's value is this field alone: what a string says, anything else as JSON
    #[arg(long, value_name = "FIELD", requires = "region")]
    value: Option<String>,

    /// How a region's values are serialised, for who reads them: json+zstd
    #[arg(long, value_name = "LABEL", requires = "region")]
    label: Option<String>,

    /// How long a region's values are stale, after that, before they are gone (the region's)
    #[arg(long, value_name = "MILLISECONDS", requires = "region", value_parser = clap::value_parser!(u64).range(..=MAX_GRACE))]
    grace: Option<u64>,

    /// Only those that are read most, so many, as CACHE.TOP has them at the primaries before the export begins
    #[arg(long, value_name = "N", requires = "region", value_parser = clap::value_parser!(u16).range(1..=512))]
    popular: Option<u16>,

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

    /// How long the entries live (the server's apikey.validation-ttl; the region's), or are fresh where they have a grace
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_TTL))]
    ttl: Option<u64>,

    /// Leave keys alone that have a live record, or a value of the same region
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
    pub recipe: Recipes,
    /// Keys of a region that are to be asked for.
    pub popular: Option<usize>,
    pub if_absent: bool,
    pub unfenced: bool,
}

/// What becomes of a row.
pub enum Recipes {
    Records(OfRows),
    Values(OfValues),
}

impl Flags {
    pub fn parts(self) -> anyhow::Result<Parts> {
        let Self { file, command, key, digest_field, tag, ns, ttl, if_absent, unfenced, .. } = self;
        let recipe = match (self.region, key) {
            (Some(region), Some(key)) => Recipes::Values(OfValues {
                region,
                key,
                value: self.value,
                namespace: ns,
                tags: tag,
                label: self.label,
                ttl,
                grace: self.grace,
                if_absent,
                popular: None,
            }),
            (_, key) => {
                let key = key.map_or_else(|| Pattern::parse(RECORD_KEY), Ok)?;
                Recipes::Records(OfRows {
                    key,
                    digest_field,
                    namespace: ns,
                    tags: tag,
                    ttl,
                    if_absent,
                })
            }
        };
        let popular = self.popular.map(usize::from);
        Ok(Parts { file, command, recipe, popular, if_absent, unfenced })
    }
}
