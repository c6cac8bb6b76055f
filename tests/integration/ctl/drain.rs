//! `apikeyctl drain`: into PostgreSQL and as lines, while it, Redis and PostgreSQL are killed; a failover by Sentinel, a
//! cluster; readers and tables that don't take what they are given; how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Value as Json};
use tempfile::TempDir;

use super::program::{bare, command, url};
use super::Ran;
use crate::harness::server::{free_port, Stop};
use crate::harness::*;
use crate::postgres::{schema, storm, Consumer, Killed};
use crate::roles::{self, says, Users};
use crate::tls::Certificates;

/// A process lives for up to so many times what it takes to find that nothing is pending.
const LIFE: u32 = 3;

/// The program, on a Redis and a PostgreSQL.
struct Drain {
    options: Vec<String>,
    /// Holds what its processes say.
    dir: TempDir,
}

impl Drain {
    fn new(server: &Server, postgres: &Postgres) -> Self {
        Self::of(&["--url", &url(server)], postgres)
    }

    fn of(connection: &[&str], postgres: &Postgres) -> Self {
        let url = format!("--postgres={}", postgres.url());
        let more = [&url, "--lease=0.3", "--count=10", "--every=0.005", "--verbose"];
        let options = connection.iter().chain(&more).map(|option| option.to_string());
        Self { options: options.collect(), dir: TempDir::new().expect("temporary directory") }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = bare(&["drain"]);
        let log = File::options().append(true).create(true).open(self.dir.path().join("log"));
        command.args(&self.options).args(more);
        command.stdout(Stdio::null()).stderr(log.expect("log"));
        command
    }

    fn start(&self, more: &[&str]) -> Killed {
        Killed(self.command(more).spawn().expect("apikeyctl"))
    }

    /// Lets it end by itself, and returns whether all went well.
    fn once(&self) -> bool {
        self.command(&["--once"]).status().expect("apikeyctl").success()
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// It is killed, again and again.
struct Killer {
    drain: Drain,
    /// How long it lives at most.
    life: Duration,
}

impl Killer {
    fn new(server: &Server, postgres: &Postgres) -> Self {
        let drain = Drain::new(server, postgres);
        let began = Instant::now();
        assert!(drain.once(), "{}", drain.log());
        let life = began.elapsed().min(Duration::from_millis(300)) * LIFE;
        Self { drain, life }
    }
}

impl Consumer for Killer {
    fn kill(&self, mut rng: Rng, killed: &AtomicUsize, enough: usize) {
        let most = usize::try_from(self.life.as_micros()).expect("microseconds");
        while killed.load(Ordering::Relaxed) < enough {
            let mut process = self.drain.start(&[]);
            thread::sleep(Duration::from_micros(rng.below(most) as u64));
            let ended = process.0.try_wait().expect("wait");
            assert!(ended.is_none(), "it ended: {}", self.log());
            drop(process);
            killed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn drain_once(&self) -> bool {
        self.drain.once()
    }

    fn log(&self) -> String {
        self.drain.log()
    }
}

#[test]
fn what_was_counted_is_in_postgres_once_whatever_is_killed() {
    let kills = env_number("APIKEY_CHAOS_KILLS", 120) as usize;
    let outcome = storm(kills, &schema(), Killer::new);
    assert_eq!(outcome.wrong(), Vec::<String>::new());
    if kills >= 300 {
        outcome.assert_hit();
    }
}

fn totals(postgres: &Postgres) -> BTreeMap<String, i64> {
    let lines = postgres.sql("SELECT encode(key, 'escape'), total FROM usage_total");
    let total = |line: &String| {
        let (key, total) = line.split_once(' ').expect("two columns");
        (key.to_string(), total.parse().expect("a number"))
    };
    lines.iter().map(total).collect()
}

fn terminate(child: &Child) {
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    // SAFETY: a signal to a child that was not waited for, so that the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
}

#[test]
fn drain_makes_its_tables_and_says_what_it_wrote() {
    let server = Server::start();
    let mut c = server.client();
    c.count("k", 5);
    let postgres = Postgres::start();
    let url = postgres.url();
    let missing = Ran::at(&server, "drain", &["--postgres", &url, "--once"]);
    missing.fails_with(2, "--create-tables");
    assert_eq!(c.counts("k"), (5, 0, 5), "nothing was leased for it");

    // Several at once make them once.
    let options = ["--postgres", &url, "--create-tables", "--once", "--json"];
    let runs: Vec<Ran> = thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| Ran::at(&server, "drain", &options))).collect();
        runs.into_iter().map(|run| run.join().expect("a run")).collect()
    });
    for run in &runs {
        assert_eq!(run.status, Some(0), "{}", run.err);
    }
    let uses: i64 = runs.iter().map(|run| run.json()["uses"].as_i64().expect("uses")).sum();
    assert_eq!((uses, c.counts("k")), (5, (0, 0, 5)));
    assert_eq!(totals(&postgres), [("k".to_string(), 5)].into());

    // What a database says of all its transactions does not hold for these: an acknowledged count has to survive a crash.
    for line in [
        "ALTER DATABASE postgres SET synchronous_commit = off",
        "CREATE TABLE seen (synchronous_commit text)",
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END$$",
        "CREATE TRIGGER see BEFORE INSERT ON usage_line FOR EACH STATEMENT EXECUTE FUNCTION see()",
    ] {
        postgres.sql(line);
    }
    c.count("k", 2);
    c.count("l", 1);
    let ran = Ran::at(&server, "drain", &["--postgres", &url, "--once"]);
    assert_eq!(postgres.sql("SELECT DISTINCT synchronous_commit FROM seen"), ["on"]);
    let told = "uses: 3, lines: 2 (2 new), batches: 1\n";
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), told));
    assert_eq!(totals(&postgres), [("k".to_string(), 7), ("l".to_string(), 1)].into());

    let by_variables = |name: &str| {
        let mut command = command(&server, "drain", &["--postgres", "--once"]);
        command.env(
            "PGHOST",
            url.split("host=").nth(1).and_then(|rest| rest.split('&').next()).expect("a host"),
        );
        command.env("PGUSER", "postgres").env("PGDATABASE", name);
        Ran::of(command)
    };
    assert_eq!(by_variables("postgres").status, Some(0));
    by_variables("nothing").fails_with(2, "PGDATABASE names the database");
}

#[test]
fn drain_is_told_where_counts_go() {
    let server = Server::start();
    for (options, told) in [
        (&["drain"][..], "<--postgres [<URL>]|--ndjson>"),
        (&["drain", "--postgres", "--ndjson"], "cannot be used with"),
        (&["drain", "--ndjson", "--create-tables"], "--create-tables is for --postgres"),
        (&["drain", "--ndjson", "--lease", "0"], "between 0.001 and 86400"),
        (&["drain", "--postgres", "mysql://h/secret"], "--postgres must be postgresql://"),
        (&["drain", "--postgres", "postgresql://h/?sslmode=some"], "sslmode must be"),
    ] {
        let ran = Ran::of(bare(options));
        ran.fails_with(2, told);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    let replica = Server::builder().replica_of(&server).start();
    replica.in_sync_with(&server);
    let ran = Ran::at(&replica, "drain", &["--ndjson", "--once"]);
    ran.fails_with(2, "it is a replica: say the primary's URL");
}

#[test]
fn a_line_that_tables_refuse_keeps_no_other_back() {
    let server = Server::start();
    let mut c = server.client();
    for (key, uses) in [("a", 1), ("bad", 13), ("z", 2)] {
        c.count(key, uses);
    }
    let postgres = Postgres::start();
    postgres.sql(&schema());
    postgres.sql("ALTER TABLE usage_line ADD CONSTRAINT no_thirteen CHECK (count <> 13)");
    let mut drain = Drain::new(&server, &postgres);
    let short = drain.options.clone();
    drain.options.retain(|option| !option.starts_with("--lease"));
    let output = drain.command(&["--once", "--json"]).stdout(Stdio::piped()).output();
    let ran = Ran::from(output.expect("apikeyctl"));
    assert_eq!(ran.status, Some(1), "{}", drain.log());
    assert_eq!(ran.json()["refused_lines"], json!(1));
    let log = drain.log();
    assert!(
        log.contains("of bad, 13 uses, is not taken: PostgreSQL: ") && log.contains("no_thirteen"),
        "{log}"
    );
    assert_eq!(totals(&postgres), [("a".to_string(), 1), ("z".to_string(), 2)].into());
    assert_eq!(c.counts("bad"), (0, 13, 13), "it is not acknowledged");

    // It keeps nothing that comes later back, and is itself taken when it can be.
    drain.options = short;
    let service = drain.start(&[]);
    c.count("a", 10);
    eventually("what comes later is written", || totals(&postgres)["a"] == 11);
    postgres.sql("ALTER TABLE usage_line DROP CONSTRAINT no_thirteen");
    eventually("the line is taken", || c.counts("bad") == (0, 0, 13));
    drop(service);
    let expected = [("a".to_string(), 11), ("bad".to_string(), 13), ("z".to_string(), 2)];
    assert_eq!(totals(&postgres), expected.into());
}

#[test]
fn drain_waits_for_a_database_that_is_down_and_ends_when_it_is_told() {
    let mut server = Server::builder().with_aof(true).start();
    let mut postgres = Postgres::start();
    postgres.sql(&schema());
    server.client().count("k", 1);
    let drain = Drain::new(&server, &postgres);
    let mut service = drain.start(&[]);
    eventually("it is written", || server.client().counts("k") == (0, 0, 1));

    postgres.stop();
    eventually("it says so", || drain.log().contains("counts stay where they are"));
    server.client().count("k", 1);
    eventually("they stay pending", || server.client().counts("k") == (1, 0, 2));
    postgres.start_again();
    eventually("it goes on", || server.client().counts("k") == (0, 0, 2));

    server.stop(Stop::Kill);
    let address = format!("127.0.0.1:{}", server.port);
    eventually("it says so", || drain.log().contains(&address));
    server.start_again();
    server.client().count("k", 1);
    eventually("it goes on", || server.client().counts("k") == (0, 0, 3));
    eventually("and says so", || drain.log().contains(&format!("{address}: there again")));

    terminate(&service.0);
    eventually("it ends", || service.0.try_wait().expect("wait").is_some());
    assert_eq!(service.0.wait().expect("status").code(), Some(0), "{}", drain.log());
    assert_eq!(totals(&postgres), [("k".to_string(), 3)].into());
}

#[test]
fn a_database_that_never_answers_is_given_up_and_asked_again() {
    // As one that is stopped: the system takes connections for it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgresql://u@{}/d", silent.local_addr().expect("an address"));
    let server = Server::start();
    server.client().count("k", 1);
    let mut drain = command(&server, "drain", &["--postgres", &url, "--once"]);
    drain.env("PGCONNECT_TIMEOUT", "1").env("PGSSLMODE", "disable");
    let began = Instant::now();
    Ran::of(drain).fails_with(2, "PostgreSQL has not answered for 6 s: is it stopped?");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(server.client().counts("k"), (1, 0, 1));
    drop(silent);
}

#[test]
fn a_database_that_was_stopped_goes_on_and_has_each_count_once() {
    let server = Server::start();
    let postgres = Postgres::start();
    postgres.sql(&schema());
    let drain = Drain::new(&server, &postgres);
    server.client().count("k", 1);
    let mut service = drain.command(&[]);
    let mut service = Killed(service.env("PGCONNECT_TIMEOUT", "1").spawn().expect("apikeyctl"));
    eventually("it is written", || server.client().counts("k") == (0, 0, 1));
    postgres.freeze();
    server.client().count("k", 1);
    eventually("it is given up", || drain.log().contains("PostgreSQL has not answered"));
    postgres.wake();
    eventually("it goes on", || server.client().counts("k") == (0, 0, 2));
    assert_eq!(totals(&postgres), [("k".to_string(), 2)].into());

    postgres.freeze();
    terminate(&service.0);
    eventually("it ends", || service.0.try_wait().expect("wait").is_some());
    postgres.wake();
}

#[test]
fn lines_are_written_before_they_are_acknowledged() {
    let server = Server::start();
    let mut c = server.client();
    c.count("k", 5);
    c.cmd([b"APIKEY.USAGE.INCR".as_slice(), b"\xff\0"]);
    let ran = Ran::at(&server, "drain", &["--ndjson", "--once"]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    let mut rows: Vec<Json> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    rows.sort_by_key(|row| row["count"].as_i64());
    let [first, second] = rows.as_slice() else { panic!("{}", ran.out) };
    assert_eq!((&first["key_hex"], &first["count"]), (&json!("ff00"), &json!(1)));
    assert_eq!((&second["key"], &second["count"]), (&json!("k"), &json!(5)));
    assert_eq!(second["line"].as_str().map(str::len), Some(32));
    assert_eq!(first["batch"], second["batch"]);
    assert_eq!(second["last_used_at"].as_i64().map(|ms| ms > 0), Some(true));
    assert_eq!(c.counts("k"), (0, 0, 5));

    // A reader that has gone: nothing is acknowledged, and nobody waits for the lease.
    let mut process = command(&server, "drain", &["--ndjson", "--lease", "80000"]);
    let mut process = Killed(process.spawn().expect("apikeyctl"));
    let mut out = BufReader::new(process.0.stdout.take().expect("its output"));
    c.count("k", 7);
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert!(line.contains("\"count\":7"), "{line}");
    eventually("it is acknowledged", || c.counts("k") == (0, 0, 12));
    drop(out);
    let mut total = 12;
    eventually("it ends", || {
        // A process that another test is about to start has the reader's end as well, for a moment: then a line is taken.
        if c.counts("k") == (0, 0, total) {
            total += 8;
            c.count("k", 8);
        }
        process.0.try_wait().expect("wait").is_some()
    });
    assert_eq!(process.0.wait().expect("status").code(), Some(2));
    assert_eq!(c.counts("k"), (0, 8, total));
    let again = Ran::at(&server, "drain", &["--ndjson", "--once"]);
    assert!(again.out.contains("\"count\":8"), "it was given back: {}", again.out);

    // SIGTERM ends it well.
    let mut process = Killed(command(&server, "drain", &["--ndjson"]).spawn().expect("apikeyctl"));
    c.count("k", 9);
    eventually("it is at work", || c.counts("k") == (0, 0, total + 9));
    terminate(&process.0);
    eventually("it ends", || process.0.try_wait().expect("wait").is_some());
    assert_eq!(process.0.wait().expect("status").code(), Some(0));
}

/// Killed at any point, its readers have every line at least once; by the ids of lines, once.
#[test]
fn readers_of_lines_have_every_count_once_by_their_ids() {
    let kills = 40;
    let mut rng = Rng::from_env(21);
    let mut server = Server::builder().with_aof(true).start();
    let dir = TempDir::new().expect("temporary directory");
    let path = dir.path().join("lines");
    let open = || File::options().append(true).create(true).open(&path).expect("lines");
    let mut counted = 0;
    let began = Instant::now();
    Ran::at(&server, "drain", &["--ndjson", "--once"]);
    let first = began.elapsed().min(Duration::from_millis(200));
    for kill in 0..kills {
        let mut c = server.client();
        let mut process =
            command(&server, "drain", &["--ndjson", "--lease=0.05", "--every=0.001", "--count=2"]);
        let process = Killed(process.stdout(open()).spawn().expect("apikeyctl"));
        let until = Instant::now() + first * 2 * rng.below(100) as u32 / 100;
        while Instant::now() < until {
            c.count(&format!("k{}", rng.below(5)), 1);
            counted += 1;
        }
        drop(process);
        // What was cut off is no line.
        let mut text = Vec::new();
        File::open(&path).expect("lines").read_to_end(&mut text).expect("lines");
        if text.last().is_some_and(|&byte| byte != b'\n') {
            std::io::Write::write_all(&mut open(), b"\n").expect("a line's end");
        }
        if kill % 10 == 9 {
            server.restart(Stop::Kill);
        }
    }
    eventually("all is written", || {
        let mut last = command(&server, "drain", &["--ndjson", "--once"]);
        assert!(last.stdout(open()).status().expect("apikeyctl").success());
        let health = server.client().must("APIKEY.HEALTH");
        health.get("usage_pending").int() + health.get("usage_leased").int() == 0
    });
    let text = fs::read_to_string(&path).expect("lines");
    let rows: Vec<Json> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut seen = BTreeSet::new();
    let once = rows.iter().filter(|row| seen.insert(row["line"].as_str().expect("an id")));
    let sum: i64 = once.map(|row| row["count"].as_i64().expect("a count")).sum();
    assert_eq!(sum, counted);
}

/// How long a failover may take on a machine that is busy.
const FAILOVER: Duration = Duration::from_secs(150);

#[test]
fn drain_follows_a_failover_by_sentinel_and_counts_nothing_twice() {
    // Neither comes back empty, nor is taken for down where the machine stalls for a second.
    let mut primary = Server::builder().with_aof(true).start();
    let replica = Server::builder().with_aof(true).start();
    replica.replicate(&primary);
    let sentinel = Server::builder()
        .sentinel()
        .config(&format!("sentinel monitor mymaster 127.0.0.1 {} 1", primary.port))
        .config("sentinel down-after-milliseconds mymaster 4000")
        .config("sentinel failover-timeout mymaster 6000")
        .start();
    eventually_within(FAILOVER, "Sentinel knows the replica", || {
        let replicas = sentinel.client().must("SENTINEL REPLICAS mymaster");
        replicas.items().iter().any(|known| known.get("master-link-status") == &bulk("ok"))
    });
    let postgres = Postgres::start();
    postgres.sql(&schema());
    let at = format!("mymaster@127.0.0.1:{}", sentinel.port);
    let drain = Drain::of(&["--sentinel", &at, "--timeout", "1", "--replicas", "1"], &postgres);
    let _service = drain.start(&[]);

    let mut told = 0;
    let mut c = primary.client();
    for _ in 0..200 {
        c.count("k", 1);
        told += c.must("WAIT 1 1000").int();
    }
    assert_eq!(told, 200, "the replica has them all");
    primary.stop(Stop::Kill);
    eventually_within(FAILOVER, "the replica is promoted", || {
        let told = sentinel.client().must("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
        says(&replica, "role:master") && told.items()[1].text() == replica.port.to_string()
    });
    primary.start_again();
    eventually_within(FAILOVER, "the other follows it", || says(&primary, "role:slave"));
    let mut c = replica.client();
    c.count("k", 3);
    eventually_within(FAILOVER, "all is drained", || c.counts("k") == (0, 0, 203));
    assert_eq!(totals(&postgres), [("k".to_string(), 203)].into(), "{}", drain.log());

    // Without the replica nothing is written that a failover could give out again.
    primary.freeze();
    c.count("k", 1);
    eventually("it says so", || drain.log().contains("only 0 of --replicas 1"));
    assert_eq!(totals(&postgres), [("k".to_string(), 203)].into());
    primary.wake();
    eventually("it goes on", || c.counts("k") == (0, 0, 204));
}

#[test]
fn drain_asks_every_primary_of_a_cluster_and_who_takes_its_place() {
    let mut cluster = Cluster::start(3, 1);
    let postgres = Postgres::start();
    postgres.sql(&schema());
    let keys: Vec<String> = (0..12).map(|n| format!("apikey:{{ak_{n}}}:usage")).collect();
    let count = |cluster: &Cluster| {
        let mut clients: Vec<Client> =
            cluster.nodes().filter_map(|server| Client::connect(server.port).ok()).collect();
        for key in &keys {
            let is_counted = |c: &mut Client| {
                c.try_cmd(["APIKEY.USAGE.INCR", key]).is_ok_and(|reply| !reply.is_error())
            };
            eventually("a primary has it", || clients.iter_mut().any(is_counted));
        }
    };
    count(&cluster);
    let drain = Drain::of(
        &["--url", &url(&cluster.primaries[0]), "--cluster", "--timeout", "1"],
        &postgres,
    );
    assert!(drain.once(), "{}", drain.log());
    let expected =
        |uses: i64| keys.iter().map(|key| (key.clone(), uses)).collect::<BTreeMap<_, _>>();
    assert_eq!(totals(&postgres), expected(1));

    // The one that told of the others goes.
    let _service = drain.start(&[]);
    count(&cluster);
    eventually("they are drained", || totals(&postgres) == expected(2));
    cluster.primaries[0].stop(Stop::Kill);
    eventually_within(FAILOVER, "its replica is promoted", || {
        says(&cluster.replicas[0][0], "role:master")
    });
    count(&cluster);
    eventually_within(FAILOVER, "they are drained", || totals(&postgres) == expected(3));
}

#[test]
fn drain_believes_postgres_by_its_certificate() {
    let server = Server::start();
    server.client().count("k", 1);
    let (ours, others) = (Certificates::new(), Certificates::new());
    let port = free_port();
    let files = ["node.crt", "node.key"].map(|name| (name, ours.path(name)));
    let listen = format!("port={port}");
    let settings = [
        "listen_addresses=127.0.0.1",
        &listen,
        "ssl=on",
        "ssl_cert_file=DIR/node.crt",
        "ssl_key_file=DIR/node.key",
    ];
    let postgres = Postgres::start_with(&files, &settings);
    postgres.sql(&schema());
    let ran = |query: &str| {
        let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres?{query}");
        Ran::at(&server, "drain", &["--once", "--postgres", &url])
    };
    let by = |certificates: &Certificates| {
        format!("sslmode=verify-full&sslrootcert={}", certificates.path("ca.crt"))
    };
    ran(&by(&others)).fails_with(2, "sslrootcert names the CA");
    ran("sslmode=verify-full").fails_with(2, "sslrootcert names the CA");
    assert_eq!(server.client().counts("k"), (1, 0, 1));
    for query in [&by(&ours), "sslmode=require", ""] {
        server.client().count("k", 1);
        let ran = ran(query);
        assert_eq!(ran.status, Some(0), "{query}: {}", ran.err);
    }
    assert_eq!(totals(&postgres), [("k".to_string(), 4)].into());
}

#[test]
fn drain_needs_no_more_than_the_consumer_of_the_page() {
    for users in roles::lists() {
        let users = Users::new(users);
        let server = users.on(Server::builder()).start();
        server.client().count("apikey:{k}:usage", 4);
        let ran = |options: &[&str]| {
            let options = [&["--ndjson", "--once", "--user", "consumer"], options].concat();
            let mut command = command(&server, "drain", &options);
            command.env("REDISCLI_AUTH", users.password("consumer"));
            Ran::of(command)
        };
        let waited = ran(&["--replicas", "1"]);
        waited.fails_with(2, "only 0 of --replicas 1 had the LEASE");
        assert_eq!(waited.out, "", "nothing of it is written");
        let drained = ran(&[]);
        assert_eq!(drained.status, Some(0), "{}", drained.err);
        assert!(drained.out.contains("\"count\":4"), "{}", drained.out);
        assert_eq!(server.client().counts("apikey:{k}:usage"), (0, 0, 4));
    }
}
