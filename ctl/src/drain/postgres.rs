//! Counts in the two tables of `examples/usage_to_postgres/schema.sql`: lines by their ids, and the totals of their keys.
//!
//! A line and what it adds to its total are written by one statement, so in one transaction, and only if the line was
//! not there: so a batch may come as often as it likes, to any number of these at once.

use std::time::Duration;

use anyhow::Result;
use postgres::error::SqlState;
use postgres::{Client, Statement};

use super::batch::{Batch, Line};
use super::database::{explain, Database};
use super::sink::{Sink, Written};

const SCHEMA: &str = include_str!("../../../examples/usage_to_postgres/schema.sql");

/// Two that create the tables at once: IF NOT EXISTS does not keep them apart. The number is any that is ours.
const CREATING: &str = "SELECT pg_advisory_xact_lock(7095210443914251)";

const WRITE: &str = "
    WITH given AS (
        SELECT * FROM unnest($2::text[], $3::bytea[], $4::bigint[], $5::bigint[])
            AS t (line, key, count, last_used_ms)
    ), new AS (
        INSERT INTO usage_line (line, batch, key, count)
        SELECT line, $1, key, count FROM given
        ON CONFLICT DO NOTHING
        RETURNING line, key, count
    ), added AS (
        INSERT INTO usage_total (key, total, last_used_at)
        -- Everyone takes the locks of the totals in the same order.
        SELECT new.key, sum(new.count), to_timestamp(max(last_used_ms) / 1000.0)
        FROM new JOIN given USING (line) GROUP BY new.key ORDER BY new.key
        ON CONFLICT (key) DO UPDATE SET
            total = usage_total.total + excluded.total,
            last_used_at = greatest(usage_total.last_used_at, excluded.last_used_at)
    )
    SELECT count(*) FROM new";

/// What is acknowledged has to be on a disk when COMMIT has replied. Anything but "off" is at least that.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

/// How long a connection may take to show that it is alive.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub struct Postgres {
    database: Database,
    creates_tables: bool,
    /// Longer than a batch is leased it need not work at one.
    lease: Duration,
    connected: Option<Connected>,
}

struct Connected {
    client: Client,
    write: Statement,
}

impl Postgres {
    pub fn new(database: Database, creates_tables: bool, lease: Duration) -> Self {
        Self { database, creates_tables, lease, connected: None }
    }

    fn connect(&self) -> Result<Connected> {
        let mut client = self.database.connect()?;
        let prepare = |client: &mut Client| {
            if self.creates_tables {
                client.batch_execute(&format!(
                    "BEGIN; SET LOCAL client_min_messages = warning; {CREATING}; {SCHEMA}; COMMIT"
                ))?;
            }
            client.batch_execute(&format!("SET statement_timeout = {}", self.lease.as_millis()))?;
            client.batch_execute(DURABLE)?;
            client.prepare(WRITE)
        };
        let write = prepare(&mut client).map_err(|error| explain(&error))?;
        Ok(Connected { client, write })
    }
}

impl Sink for Postgres {
    fn ready(&mut self) -> Result<()> {
        let is_alive =
            self.connected.as_mut().is_some_and(|at| at.client.is_valid(PATIENCE).is_ok());
        if !is_alive {
            self.connected = None;
            self.connected = Some(self.connect()?);
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<Written> {
        let mut at = match self.connected.take() {
            Some(at) => at,
            None => self.connect()?,
        };
        let written = match at.write(&batch.id, &batch.lines) {
            Err(error) if is_about_a_line(&error) => at.write_each(batch),
            written => written.map(|new| Written { new, refused: Vec::new() }),
        };
        // An error that is not PostgreSQL's own is one of the connection, which is of no use any more.
        if written.as_ref().err().is_none_or(|error| error.code().is_some()) {
            self.connected = Some(at);
        }
        written.map_err(|error| explain(&error))
    }

    fn may_come_back(&self) -> bool {
        true
    }
}

impl Connected {
    /// Writes these lines or none of them, and returns how many were new.
    fn write(&mut self, batch: &str, lines: &[Line]) -> Result<u64, postgres::Error> {
        let ids: Vec<&str> = lines.iter().map(|line| &*line.id).collect();
        let keys: Vec<&[u8]> = lines.iter().map(|line| &*line.key).collect();
        let counts: Vec<i64> = lines.iter().map(|line| line.count).collect();
        let last_uses: Vec<i64> = lines.iter().map(|line| line.last_used_at).collect();
        let row =
            self.client.query_one(&self.write, &[&batch, &ids, &keys, &counts, &last_uses])?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
    }

    /// One that the tables don't take keeps no other back.
    fn write_each(&mut self, batch: &Batch) -> Result<Written, postgres::Error> {
        let mut written = Written::default();
        for (place, line) in batch.lines.iter().enumerate() {
            match self.write(&batch.id, std::slice::from_ref(line)) {
                Ok(new) => written.new += new,
                Err(error) if is_about_a_line(&error) => {
                    written.refused.push((place, format!("{:#}", explain(&error))));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

/// Whether the values are the reason: a check, a trigger's exception, a number out of range. Then the same would
/// happen again.
fn is_about_a_line(error: &postgres::Error) -> bool {
    let classes = ["22", "23", "44", "P0"];
    let is_of = |code: &SqlState| classes.iter().any(|class| code.code().starts_with(class));
    error.code().is_some_and(is_of)
}
