//! The command line: where the records come from, where they go, and what is made of each.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use lexopt::prelude::*;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::pattern::Pattern;
use crate::recipe::Recipe;

pub const HELP: &str = "\
usage: warm [options] FILE.ndjson
       warm [options] -- COMMAND [ARGUMENT...]
       export | warm [options] -

Stores records in the cache of redis-apikey: one JSON object a line, as a table's export has them.

  --key PATTERN       each record's key ('apikey:{{key_prefix}}')
  --digest-field F    the field with the SHA-256 of the secret, in hex or base64, an array of one or two
                      of those or of {\"digest\": .., \"until\": ..}, or null; it is left out of what is
                      stored. Without it the server looks where its apikey.digest-field says
  --tag PATTERN       a tag of each record, beside the automatic ones; may be given again
  --ns NAMESPACE      put before the automatic tags
  --ttl SECONDS       how long the entries live (the server's apikey.validation-ttl)
  --if-absent         leave keys alone that have a live record
  --unfenced          see below

  --url URL           redis://[user:password@]host[:port][/database]  (redis://127.0.0.1:6379)
  --user NAME         the ACL user; the password stands in REDISCLI_AUTH or in the URL
  --cluster           the URL is that of one node of a Redis Cluster: the others are found by it

Patterns: {field} inserts a string or an integer of the record. Every other brace stands for itself, so
apikey:{{key_prefix}} gives apikey:{ak_live_7Qm2}: the inner braces name the field, the outer ones stay and
are the hash tag that keeps the keys of one API key in one slot. apikey:{key_prefix} gives
apikey:ak_live_7Qm2, without a hash tag. \\{ and \\} are braces that insert nothing: \\{all\\}:{id}.

Tokens: a row that is revoked while the export runs must not come back into the cache. So each primary is
asked for a token first, and refuses rows that were invalidated or written since. This holds if the export
begins after the token was given:

    warm --key .. -- psql -qAtX -c 'SELECT row_to_json(k) FROM api_keys k'

starts the export itself, after that, and is the way to do it. With FILE, or with - behind a pipe, of which a
shell starts both sides at once, see to it yourself that nothing is revoked between the export and the token.

A token is good for apikey.token-ttl-ms (30 seconds). Where export and warm-up take longer, raise it
for their time: CONFIG SET apikey.token-ttl-ms 600000. --unfenced takes a new token every second as it writes
instead: it needs no setting and risks this: A KEY THAT WAS REVOKED AFTER THE EXPORT BEGAN, AND BEFORE ITS ROW
IS WRITTEN HERE, IS CACHED AS IT WAS, AND VALID UNTIL ITS TTL IS OVER OR IT IS INVALIDATED AGAIN.

It can be interrupted by Ctrl-C and started again; --if-absent then skips what is there.
Exit status: 0, 1 where a line was bad or the run failed, 2 for a wrong call, 130 when interrupted.
";

/// Where the records come from.
pub enum Source {
    File(PathBuf),
    Stdin,
    /// The output of a command.
    Export(Vec<OsString>),
}

pub struct Settings {
    pub source: Source,
    pub recipe: Recipe,
    pub server: ConnectionInfo,
    pub cluster: bool,
    pub unfenced: bool,
}

pub enum Request {
    Help,
    Run(Box<Settings>),
}

/// The most seconds that EX takes.
const MAX_TTL: u64 = 100_000_000_000;

/// Reads the command line; what is missing, unknown or out of range is an error.
pub fn parse() -> Result<Request> {
    let all: Vec<OsString> = env::args_os().skip(1).collect();
    let end = all.iter().position(|arg| arg == "--").unwrap_or(all.len());
    let export = all.get(end + 1..).map(<[OsString]>::to_vec);

    let (mut url, mut user, mut cluster) = (None, None, false);
    let (mut key, mut digest_field, mut namespace, mut ttl) = (None, None, None, None);
    let (mut tags, mut if_absent, mut unfenced, mut file) = (Vec::new(), false, false, None);
    let mut parser = lexopt::Parser::from_args(all.iter().take(end).cloned());
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Request::Help),
            Long("key") => set(&mut key, "--key", parser.value()?)?,
            Long("digest-field") => set(&mut digest_field, "--digest-field", parser.value()?)?,
            Long("tag") => tags.push(Pattern::parse(&parser.value()?.string()?).context("--tag")?),
            Long("ns") => set(&mut namespace, "--ns", parser.value()?)?,
            Long("ttl") => set(&mut ttl, "--ttl", parser.value()?)?,
            Long("url") => set(&mut url, "--url", parser.value()?)?,
            Long("user") => set(&mut user, "--user", parser.value()?)?,
            Long("if-absent") => if_absent = true,
            Long("unfenced") => unfenced = true,
            Long("cluster") => cluster = true,
            Value(value) if file.is_none() => file = Some(value),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let key = key.as_deref().unwrap_or("apikey:{{key_prefix}}");
    let key = Pattern::parse(key).context("--key")?;
    ensure!(key.has_field(), "--key inserts no field: all records would get the same key");
    let ttl = match ttl.map(|text| (text.parse::<u64>(), text)) {
        None => None,
        Some((Ok(seconds @ 1..=MAX_TTL), _)) => Some(seconds),
        Some(_) => bail!("--ttl must be between 1 and {MAX_TTL}"),
    };
    Ok(Request::Run(Box::new(Settings {
        source: source(file, export)?,
        recipe: Recipe { key, digest_field, namespace, tags, ttl, if_absent },
        server: server(url.as_deref().unwrap_or("redis://127.0.0.1:6379"), user)?,
        cluster,
        unfenced,
    })))
}

fn set(slot: &mut Option<String>, name: &str, value: OsString) -> Result<()> {
    ensure!(slot.replace(value.string()?).is_none(), "{name} is given twice");
    Ok(())
}

fn source(file: Option<OsString>, export: Option<Vec<OsString>>) -> Result<Source> {
    match (file, export) {
        (None, Some(command)) if !command.is_empty() => Ok(Source::Export(command)),
        (None, Some(_)) => bail!("-- has no command behind it"),
        (Some(_), Some(_)) => bail!("a file and a command exclude each other"),
        (Some(file), None) if file == "-" => Ok(Source::Stdin),
        (Some(file), None) => Ok(Source::File(file.into())),
        (None, None) if !io::stdin().is_terminal() => Ok(Source::Stdin),
        (None, None) => bail!("nothing to read: a file, - or -- and a command"),
    }
}

fn server(url: &str, user: Option<String>) -> Result<ConnectionInfo> {
    // The URL is not repeated: it may hold a password.
    let info = url.into_connection_info().map_err(|error| match error.detail() {
        Some(detail) => anyhow::anyhow!(
            "--url must be redis://[user:password@]host[:port][/database]: {detail}"
        ),
        None => anyhow::anyhow!("--url must be redis://[user:password@]host[:port][/database]"),
    })?;
    ensure!(
        !matches!(info.addr(), ConnectionAddr::TcpTls { .. }),
        "--url: TLS is not spoken here; go through a tunnel such as stunnel"
    );
    let mut settings = info.redis_settings().clone();
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    if settings.password().is_none() {
        if let Ok(password) = env::var("REDISCLI_AUTH") {
            settings = settings.set_password(password);
        }
    }
    Ok(info.set_redis_settings(settings))
}
