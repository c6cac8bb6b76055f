//! `examples/usage_to_postgres` drains counts into a real PostgreSQL while everything around it is killed:
//! its own processes every few milliseconds, Redis and its connections to PostgreSQL now and then. At the
//! end the database holds what was counted, key by key and to the last one; and it does not when either
//! of the two things that see to it, the lease and the primary key of the lines, is left out.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::server::{die_with_parent, Stop};
use crate::harness::*;

/// How often Redis is killed in a run, and how often all connections to PostgreSQL are broken; once by its restart.
const DISTURBANCES: usize = 8;

const COUNTING_CLIENTS: usize = 4;
const CONSUMERS: usize = 4;

/// A consumer is killed within this many times what it takes to its first acknowledgement.
const LIFE: usize = 3;

#[test]
fn postgres_holds_every_count_once_whatever_is_killed() {
    let kills = env_number("APIKEY_CHAOS_KILLS", 200) as usize;
    let outcome =
        storm(kills, &schema(), |server, postgres| Example::new(server, postgres, "lease"));
    assert_eq!(outcome.wrong(), Vec::<String>::new());
    if kills >= 200 {
        outcome.assert_hit();
    }
}

#[test]
fn postgres_lacks_counts_when_the_lease_is_left_out() {
    let outcome = storm(variant_kills(), &schema(), |server, postgres| {
        Example::new(server, postgres, "flush")
    });
    let (counted, written) = (outcome.counted(), outcome.written());
    assert!(written < counted, "{written} of {counted} are in the database");
    assert!(outcome.keys.iter().all(|key| key.written <= key.total), "and nothing twice");
}

#[test]
fn postgres_has_counts_twice_when_the_guard_is_left_out() {
    let without = schema().replace("line text PRIMARY KEY", "line text");
    assert_ne!(without, schema());
    let outcome = storm(variant_kills(), &without, |server, postgres| {
        Example::new(server, postgres, "lease")
    });
    let (counted, written) = (outcome.counted(), outcome.written());
    assert!(written > counted, "{written} for {counted} are in the database");
    assert!(outcome.keys.iter().all(|key| key.written >= key.total), "and nothing is lost");
}

#[test]
fn postgres_that_refuses_a_batch_gets_it_again() {
    let server = Server::start();
    let mut c = server.client();
    c.count("k", 5);
    let postgres = Postgres::start();
    let example = Example::new(&server, &postgres, "lease");
    assert!(!example.drain_once());
    assert!(example.log().contains("usage_line\" does not exist"), "{}", example.log());
    assert_eq!(c.counts("k"), (0, 5, 5), "leased, and not acknowledged");

    postgres.sql(&schema());
    c.count("k", 2);
    eventually("it comes again when its lease is over", || {
        assert!(example.drain_once(), "{}", example.log());
        c.counts("k") == (0, 0, 7)
    });
    assert_eq!(postgres.sql("SELECT encode(key, 'escape'), total FROM usage_total"), ["k 7"]);
    let last_use = c.must("APIKEY.USAGE.GET k").get("last_used_at").int();
    let in_ms = "SELECT (extract(epoch FROM last_used_at) * 1000)::bigint FROM usage_total";
    assert_eq!(postgres.sql(in_ms), [last_use.to_string()]);
    // An earlier one that comes later, as from another primary, takes none away.
    postgres.sql("UPDATE usage_total SET last_used_at = last_used_at + interval '1 day'");
    c.count("k", 1);
    assert!(example.drain_once(), "{}", example.log());
    assert_eq!(postgres.sql(in_ms), [(last_use + 86_400_000).to_string()]);
    postgres.sql("DELETE FROM usage_line WHERE count = 1");
    assert_eq!(postgres.sql("SELECT count FROM usage_line ORDER BY count"), ["2", "5"]);
}

fn variant_kills() -> usize {
    (env_number("APIKEY_CHAOS_KILLS", 200) as usize / 2).max(100)
}

/// What is known of a key in the end.
#[derive(Clone, Default)]
struct Known {
    name: Vec<u8>,
    /// What clients were told that they counted, and what they sent and got no reply to.
    told: i64,
    unanswered: i64,
    /// The counter's total.
    total: i64,
    /// The database's total, and the sum of its lines.
    written: i64,
    lines: i64,
}

pub struct Outcome {
    keys: Vec<Known>,
    /// Batches that were given out again, and those of which no line was new when they came again.
    redelivered: usize,
    written_before: usize,
}

impl Outcome {
    fn counted(&self) -> i64 {
        self.keys.iter().map(|key| key.total).sum()
    }

    fn written(&self) -> i64 {
        self.keys.iter().map(|key| key.written).sum()
    }

    /// The kills did hit the two intervals that matter, as far as can be told from outside.
    #[track_caller]
    pub fn assert_hit(&self) {
        assert!(self.written_before > 0, "none between COMMIT and ACK");
        assert!(self.redelivered > self.written_before, "none between LEASE and COMMIT");
    }

    /// Every key of which the database has not what was counted, in words.
    pub fn wrong(&self) -> Vec<String> {
        let is_wrong = |key: &&Known| {
            let possible = key.told..=key.told + key.unanswered;
            !possible.contains(&key.written) || key.written != key.total || key.written != key.lines
        };
        let in_words = |key: &Known| {
            format!(
                "{}: told {}, unanswered {}, the counter's total {}, the database's {}, its lines {}",
                key.name.escape_ascii(),
                key.told,
                key.unanswered,
                key.total,
                key.written,
                key.lines
            )
        };
        self.keys.iter().filter(is_wrong).map(in_words).collect()
    }
}

/// A program that drains a Redis into a PostgreSQL.
pub trait Consumer: Sync {
    /// Has processes begin its work and kills them, one after the other, until `enough` are killed.
    fn kill(&self, rng: Rng, killed: &AtomicUsize, enough: usize);

    /// The same until it is over, of processes that are started as a user starts them, where the others are not.
    /// Returns how many.
    fn kill_started(&self, _rng: Rng, _over: &AtomicBool) -> usize {
        0
    }

    /// Lets it end by itself, and returns whether all went well.
    fn drain_once(&self) -> bool;

    /// What it has said. Of each batch it has a line that ends with `10 lines, 3 new`.
    fn log(&self) -> String;
}

/// Counts and drains while so many consumers are killed, drains the rest in peace, and tells what is where.
pub fn storm<C: Consumer>(
    kills: usize,
    schema: &str,
    consumer: impl FnOnce(&Server, &Postgres) -> C,
) -> Outcome {
    let mut rng = Rng::from_env(5);
    let start = Instant::now();
    let mut postgres = Postgres::start();
    postgres.sql(schema);
    let mut server = Server::builder().with_aof(true).start();
    let consumer = consumer(&server, &postgres);
    let mut keys: Vec<Known> = (0..40).map(|n| named(format!("apikey:{{ak_{n}}}:usage"))).collect();
    keys.push(named(b"not \\ text \0\xff\r\n'"));

    let killed = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let mut redelivered = 0;
    let mut killed_cold = 0;
    thread::scope(|scope| {
        let _over_in_any_case = SetWhenDropped(&over);
        let clients: Vec<_> = (0..COUNTING_CLIENTS)
            .map(|_| {
                let (port, keys, rng) = (server.port, keys.clone(), Rng::new(rng.next()));
                let over = &over;
                scope.spawn(move || count(port, keys, rng, over))
            })
            .collect();
        let warm: Vec<_> = (0..CONSUMERS)
            .map(|_| {
                let (consumer, killed, rng) = (&consumer, &killed, Rng::new(rng.next()));
                scope.spawn(move || consumer.kill(rng, killed, kills))
            })
            .collect();
        let (others, over_to_them, their_rng) = (&consumer, &over, Rng::new(rng.next()));
        let cold = scope.spawn(move || others.kill_started(their_rng, over_to_them));

        let mut disturbances = 0;
        while !warm.iter().all(|consumer| consumer.is_finished()) {
            let next = (disturbances + 1) * kills / (2 * DISTURBANCES + 1);
            if disturbances == 2 * DISTURBANCES || killed.load(Ordering::Relaxed) < next {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            if disturbances % 2 == 0 {
                redelivered += redeliveries(&server);
                server.restart(Stop::Kill);
            } else if disturbances == DISTURBANCES + 1 {
                postgres.stop();
                postgres.start_again();
            } else {
                postgres.break_connections();
            }
            disturbances += 1;
        }
        over.store(true, Ordering::Relaxed);
        killed_cold = cold.join().expect("consumer");
        for client in clients {
            for (sum, known) in keys.iter_mut().zip(client.join().expect("client")) {
                sum.told += known.told;
                sum.unanswered += known.unanswered;
            }
        }
    });

    eventually("everything is drained when the leases are over", || {
        assert!(consumer.drain_once(), "{}", consumer.log());
        let health = server.client().must("APIKEY.HEALTH");
        health.get("usage_pending").int() + health.get("usage_leased").int() == 0
    });
    redelivered += redeliveries(&server);
    assert_exact(&server);

    let mut c = server.client();
    for key in &mut keys {
        let usage = c.cmd([b"APIKEY.USAGE.GET".as_slice(), &key.name]);
        key.total = usage.get("total").int();
    }
    let sums = "SELECT encode(key, 'hex'), total, sum(count) FROM usage_total LEFT JOIN usage_line USING (key) GROUP BY key, total";
    for line in postgres.sql(sums) {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, total, lines] = words[..] else { panic!("{line}") };
        let key = keys.iter_mut().find(|key| hex(&key.name) == name).expect("a key of ours");
        key.written = total.parse().expect("a number");
        key.lines = lines.parse().expect("a number");
    }

    let log = consumer.log();
    for unexpected in ["Traceback", "panicked", "deadlock"] {
        assert!(!log.contains(unexpected), "{log}");
    }
    let batches = log.lines().filter(|line| line.ends_with(" new")).count();
    let written_before = log.lines().filter(|line| line.ends_with(" lines, 0 new")).count();
    let outcome = Outcome { keys, redelivered, written_before };
    println!(
        "{:.1?}: killed {} consumers and {killed_cold} more started anew, Redis {DISTURBANCES} times; \
         told {}, unanswered {}, counted {}, in the database {}; {batches} batches acknowledged, \
         {redelivered} given out again, {written_before} of these written before",
        start.elapsed(),
        killed.into_inner(),
        outcome.keys.iter().map(|key| key.told).sum::<i64>(),
        outcome.keys.iter().map(|key| key.unanswered).sum::<i64>(),
        outcome.counted(),
        outcome.written(),
    );
    for key in &outcome.keys {
        let possible = key.told..=key.told + key.unanswered;
        assert!(
            possible.contains(&key.total),
            "Redis itself counted {} of {possible:?}",
            key.total
        );
    }
    outcome
}

/// Counts under random keys until it is over.
fn count(port: u16, mut keys: Vec<Known>, mut rng: Rng, over: &AtomicBool) -> Vec<Known> {
    let mut connection = None;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(rng.below(5) as u64));
        if connection.is_none() {
            connection = Client::connect(port).ok();
        }
        let Some(c) = &mut connection else { continue };
        let at = rng.below(keys.len());
        let key = &mut keys[at];
        let by = 1 + rng.below(9) as i64;
        let digits = by.to_string();
        match c.try_cmd([b"APIKEY.USAGE.INCR", key.name.as_slice(), b"BY", digits.as_bytes()]) {
            Ok(Reply::Int(_)) => key.told += by,
            Ok(Reply::Error(text)) if text.starts_with("LOADING") => {}
            Ok(other) => panic!("{other:?}"),
            Err(_) => {
                key.unanswered += by;
                connection = None;
            }
        }
    }
    keys
}

/// The example, on this Redis and this PostgreSQL.
struct Example {
    python: PathBuf,
    variant: &'static str,
    options: Vec<String>,
    /// Holds what its processes log.
    dir: TempDir,
}

impl Example {
    fn new(server: &Server, postgres: &Postgres, variant: &'static str) -> Self {
        let options = [
            format!("--redis=redis://127.0.0.1:{}", server.port),
            format!("--postgres={}", postgres.dsn()),
            "--lease-ms=300".into(),
            "--count=10".into(),
            "--interval=0.005".into(),
        ];
        Self {
            python: python(),
            variant,
            options: options.into(),
            dir: TempDir::new().expect("temporary directory"),
        }
    }

    fn command(&self, script: PathBuf) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.open_log());
        die_with_parent(&mut command, libc::SIGKILL);
        command
    }

    fn open_log(&self) -> File {
        let path = self.dir.path().join("log");
        File::options().append(true).create(true).open(path).expect("log")
    }
}

impl Consumer for Example {
    fn kill(&self, mut rng: Rng, killed: &AtomicUsize, enough: usize) {
        let script = in_sources("tests/integration/postgres/consumers.py");
        let mut command = self.command(script);
        command.arg(self.variant).args(&self.options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut consumers = Killed(command.spawn().expect("python"));
        let mut input = consumers.0.stdin.take().expect("stdin");
        let mut output = BufReader::new(consumers.0.stdout.take().expect("stdout"));
        let mut line = move || {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            line
        };
        let first = line();
        let first: usize = first.trim().parse().unwrap_or_else(|_| panic!("{first}{}", self.log()));
        while killed.load(Ordering::Relaxed) < enough {
            // A first time during which Redis was away says little.
            writeln!(input, "{}", rng.below(LIFE * first.min(200_000))).expect("a process");
            assert_eq!(line(), "killed\n", "{}", self.log());
            killed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn kill_started(&self, mut rng: Rng, over: &AtomicBool) -> usize {
        let mut kills = 0;
        while self.variant == "lease" && !over.load(Ordering::Relaxed) {
            let consumer = self
                .command(in_sources("examples/usage_to_postgres/drain.py"))
                .args(&self.options)
                .spawn()
                .expect("python");
            let consumer = Killed(consumer);
            thread::sleep(Duration::from_millis(200 + rng.below(500) as u64));
            drop(consumer);
            kills += 1;
        }
        kills
    }

    fn drain_once(&self) -> bool {
        let mut command = self.command(in_sources("examples/usage_to_postgres/drain.py"));
        let status = command.args(&self.options).arg("--once").status().expect("python");
        status.success()
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("log")).expect("log");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A process that is killed with SIGKILL when this is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A Python that has what the example needs.
fn python() -> PathBuf {
    let python = std::env::var_os("APIKEY_PYTHON").unwrap_or_else(|| "python3".into());
    let libraries = Command::new(&python).args(["-c", "import redis, psycopg"]).output();
    let found = libraries.is_ok_and(|output| output.status.success());
    assert!(
        found,
        "this test needs a Python with redis-py and psycopg 3: apt-get install python3-redis \
         python3-psycopg (scripts/test does), and APIKEY_PYTHON=/usr/bin/python3"
    );
    python.into()
}

pub fn schema() -> String {
    let path = in_sources("examples/usage_to_postgres/schema.sql");
    fs::read_to_string(path).expect("schema.sql")
}

fn in_sources(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn named(name: impl AsRef<[u8]>) -> Known {
    Known { name: name.as_ref().to_vec(), ..Known::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Batches that this run of the server has given out again.
fn redeliveries(server: &Server) -> usize {
    let health = server.client().must("APIKEY.HEALTH");
    usize::try_from(health.get("redeliveries").int()).expect("a count")
}
