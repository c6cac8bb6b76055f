//! `drain`: usage counts into PostgreSQL, or as lines of JSON on the standard output.
//!
//! `primary.rs` is the order of it: lease, write, acknowledge; `sink.rs` what is written to, `postgres.rs` and
//! `ndjson.rs` those that there are, `patient.rs` how long one is waited for, `database.rs` how PostgreSQL is reached; `primaries.rs` knows whom to ask.
//!
//! **What always holds.** A batch is acknowledged when all its lines are written to stay, and not before. What is not
//! acknowledged comes again under the same ids, here or at another drain. So it may be killed at any point.

mod batch;
mod database;
mod ndjson;
mod patient;
mod postgres;
mod primaries;
mod primary;
mod sink;
mod tally;

use std::time::Duration;

use anyhow::{bail, ensure, Result};
use clap::{ArgGroup, Args};

use crate::connect::Access;
use crate::interrupt::Interrupt;
use crate::output::{Output, Standing, Verdict};
use database::Database;
use ndjson::Ndjson;
use patient::Patient;
use postgres::{Postgres, PATIENCE};
use primaries::Primaries;
use primary::{Failure, Pause, Terms};
use sink::Sink;
use tally::Tally;

const MORE: &str = "\
--postgres takes what its URL does not say from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGOPTIONS, PGSSLMODE,
PGSSLROOTCERT, PGSSLCERT, PGSSLKEY and PGCONNECT_TIMEOUT, as psql does. Any number of drains may be at work at once.

SIGTERM and Ctrl-C end it after the batch at hand: with 0, or with 130 where --once was not done yet; with 1 where the
database does not take some lines.
";

#[derive(Args)]
#[command(after_long_help = MORE)]
#[command(group(ArgGroup::new("to").required(true).args(["postgres", "ndjson"])))]
pub struct Flags {
    /// Into the tables usage_line and usage_total of this database; without a URL, of the one that PG* say
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", hide_default_value = true)]
    postgres: Option<String>,

    /// As lines of JSON on the standard output; a batch is acknowledged when it is written and flushed
    #[arg(long)]
    ndjson: bool,

    /// Make the tables, where they are missing
    #[arg(long)]
    create_tables: bool,

    /// End when nothing is pending, or on an error
    #[arg(long)]
    once: bool,

    /// How long to wait where nothing is pending
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    every: Duration,

    /// How long a batch is leased: more than writing it ever takes
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    lease: Duration,

    /// Lines of a batch
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,

    /// Replicas that must have a LEASE before it is written: those that may be promoted
    #[arg(long, value_name = "N", default_value_t = 0)]
    replicas: u32,

    /// Say each batch
    #[arg(long, short)]
    verbose: bool,
}

/// From a millisecond to a day, as LEASE has it.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().unwrap_or(0.0);
    match (0.001..=86_400.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("must be seconds between 0.001 and 86400".into()),
    }
}

/// Hands over until nothing is pending, or until a signal comes.
pub fn run(access: &Access, output: &Output, flags: &Flags) -> Result<Verdict> {
    ensure!(
        flags.postgres.is_some() || !flags.create_tables,
        "--create-tables is for --postgres: leave one out"
    );
    let interrupt = Interrupt::watch()?;
    let mut sink: Box<dyn Sink> = match &flags.postgres {
        Some(url) => {
            let database = Database::new(url)?;
            let to_be_ready = PATIENCE + database.patience();
            let postgres = Postgres::new(database, flags.create_tables, flags.lease);
            // PostgreSQL itself ends what takes longer than the lease.
            let to_write = to_be_ready + flags.lease;
            Box::new(Patient::new(postgres, to_be_ready, to_write, interrupt))
        }
        None => Box::new(Ndjson::new()?),
    };
    let terms = Terms {
        access,
        lease: flags.lease,
        count: flags.count,
        replicas: flags.replicas,
        verbose: flags.verbose,
        interrupt,
    };
    let mut drain =
        Drain { terms, flags, primaries: Primaries::default(), tally: Tally::default() };
    let ended = drain.run(sink.as_mut());
    for primary in &mut drain.primaries.nodes {
        primary.end();
        drain.tally.refused_lines += primary.refused();
    }
    let blind = ended?;
    if flags.postgres.is_some() {
        output.print(&drain.tally)?;
    }
    Ok(match interrupt.is_wanted() {
        _ if drain.tally.refused_lines > 0 => Verdict::Wrong,
        true if flags.once => Verdict::Interrupted,
        _ if blind => Verdict::Blind,
        _ => Verdict::Well,
    })
}

struct Drain<'a> {
    terms: Terms<'a>,
    flags: &'a Flags,
    primaries: Primaries,
    tally: Tally,
}

/// What was found in a round.
#[derive(Default)]
struct Round {
    batches: usize,
    /// A primary failed.
    is_blind: bool,
}

impl Drain<'_> {
    /// Returns whether, with `--once`, a primary could not be asked. An error: the end of all.
    fn run(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let mut standing = Standing::default();
        let mut pause = Pause::default();
        loop {
            let round = match self.round(sink, &mut standing) {
                Ok(round) => {
                    pause = Pause::default();
                    standing.note("what it needs", None);
                    round
                }
                Err(why) if self.flags.once || !sink.may_come_back() => return Err(why),
                Err(why) => {
                    standing.note(
                        "what it needs",
                        Some(format!("{why:#}; counts stay where they are, and it is tried again")),
                    );
                    self.terms.interrupt.wait(pause.begin());
                    Round { batches: 1, is_blind: false }
                }
            };
            if self.terms.interrupt.is_wanted() || (self.flags.once && round.batches == 0) {
                return Ok(round.is_blind);
            }
            if round.batches == 0 {
                self.terms.interrupt.wait(self.flags.every);
            }
        }
    }

    /// A LEASE at each primary. An error: nothing can be written, or nobody says who they are.
    fn round(&mut self, sink: &mut dyn Sink, standing: &mut Standing) -> Result<Round> {
        sink.ready()?;
        let found = self.primaries.find(self.terms.access);
        if self.primaries.nodes.is_empty() {
            found?;
            bail!("there is no primary: see `apikeyctl nodes`");
        }
        // Those that are known may do without who told of them.
        standing.note("the servers", found.err().map(|why| format!("{why:#}")));
        let mut round = Round::default();
        let mut failed = false;
        for primary in &mut self.primaries.nodes {
            if self.terms.interrupt.is_wanted() {
                break;
            }
            if !primary.is_due() {
                round.is_blind = true;
                continue;
            }
            let name = primary.address.to_string();
            match primary.drain(&self.terms, sink, &mut self.tally) {
                Ok(batches) => {
                    round.batches += batches;
                    standing.note(&name, None);
                }
                Err(Failure::Server(why)) => {
                    standing.note(&name, Some(format!("{why:#}")));
                    round.is_blind = true;
                    failed = true;
                }
                Err(Failure::Sink(why)) => return Err(why),
            }
        }
        if failed {
            self.primaries.look_again();
        }
        Ok(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_what_a_lease_may_be() {
        assert_eq!(seconds("0.3"), Ok(Duration::from_millis(300)));
        assert_eq!(seconds("86400"), Ok(Duration::from_secs(86_400)));
        for text in ["0", "-1", "86401", "x", "NaN", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
