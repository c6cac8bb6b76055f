//! Freshness under load: eight clients read, fill, write and revoke at once while a ninth renames, copies, moves,
//! restores, exchanges and empties what they use. No read may return a row that was replaced before
//! it was asked for.
//!
//! `APIKEY_STRESS_SECONDS` says how long (15), `APIKEY_SEED` which choices the clients make. How
//! they interleave is the machine's, so that a seed repeats a failure only often.

use crate::harness::server::{self, Kind, DATABASES};
use crate::harness::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::RwLock;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 8;
const ROWS: usize = 64;
const USERS: usize = 3;

/// A row of the application's database. Its version grows with every change; with an odd one the key exists.
#[derive(Default)]
struct Row {
    version: RwLock<u64>,
    /// A change up to this version has been announced, and the server has replied.
    announced: AtomicU64,
}

#[derive(Default)]
struct Counts {
    valid: AtomicU64,
    absent: AtomicU64,
    missed: AtomicU64,
    stored: AtomicU64,
    late: AtomicU64,
    killed: AtomicU64,
}

struct World {
    rows: [Row; ROWS],
    counts: Counts,
    end: Instant,
    failed: AtomicBool,
}

impl World {
    fn goes_on(&self) -> bool {
        Instant::now() < self.end && !self.failed.load(SeqCst)
    }
}

fn key(row: usize) -> String {
    format!("key{row}")
}

fn user(row: usize) -> usize {
    row % USERS
}

fn json(row: usize, version: u64) -> String {
    format!(
        r#"{{"id":"{}","user_id":"{}","is_active":true,"updated_at":{version}}}"#,
        key(row),
        user(row)
    )
}

#[test]
fn no_read_returns_what_was_revoked_before_it() {
    let seconds = env_number("APIKEY_STRESS_SECONDS", 15);
    let seed = env_number("APIKEY_SEED", 7);
    // Most of what is killed waits for reclaim, and tokens of different names often share a slot.
    let server = Server::builder()
        .setting("sync-reclaim", "2")
        .setting("reclaim-budget-us", "10")
        .setting("fence-slots", "512")
        .start();
    let world = World {
        rows: std::array::from_fn(|_| Row::default()),
        counts: Counts::default(),
        end: Instant::now() + Duration::from_secs(seconds),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (world, server) = (&world, &server);
            scope.spawn(move || {
                let _stop = StopOthers(&world.failed);
                let mut rng = Rng::new(seed.wrapping_mul(1000) + number);
                let mut c = server.client();
                while world.goes_on() {
                    let row = rng.below(ROWS);
                    match rng.below(10) {
                        0 => change_and_invalidate(world, &mut c, row, &mut rng),
                        1 => write_through(world, &mut c, row),
                        _ => read(world, &mut c, row, &mut rng),
                    }
                }
            });
        }
        let (world, server) = (&world, &server);
        scope.spawn(move || {
            let _stop = StopOthers(&world.failed);
            let mut rng = Rng::new(seed.wrapping_mul(1000) + CLIENTS);
            let mut c = server.client();
            while world.goes_on() {
                disturb(&mut c, &mut rng);
            }
        });
    });
    let count = |counter: &AtomicU64| counter.load(SeqCst);
    let counts = &world.counts;
    for (name, counter) in [
        ("VALID", &counts.valid),
        ("ABSENT", &counts.absent),
        ("MISS", &counts.missed),
        ("stored", &counts.stored),
        ("too late", &counts.late),
        ("killed", &counts.killed),
    ] {
        println!("{name}: {}", count(counter));
        assert!(count(counter) >= seconds, "hardly anything was tried: {name} {}", count(counter));
    }
    let mut c = server.client();
    eventually("the backlog is gone", || c.must("APIKEY.HEALTH").get("reclaim_backlog").int() == 0);
    assert_exact(&server);
}

/// Reads a key as an application does, and fills it on a miss.
fn read(world: &World, c: &mut Client, number: usize, rng: &mut Rng) {
    let (row, key) = (&world.rows[number], key(number));
    c.select(rng.below(DATABASES));
    let announced = row.announced.load(SeqCst);
    let reply = c.must(&format!("APIKEY.VALIDATE {key} DIGEST {DIGEST}"));
    match code_of(&reply).as_str() {
        "VALID" => {
            let seen: serde_json::Value =
                serde_json::from_slice(reply.items()[1].bytes()).expect("a record");
            let version = seen["updated_at"].as_u64().expect("a version");
            assert!(
                version >= announced && seen["id"] == key.as_str(),
                "{key}: {seen}, and version {announced} was announced before"
            );
            world.counts.valid.fetch_add(1, SeqCst);
        }
        "ABSENT" => {
            let now = *row.version.read().expect("a row");
            assert!(
                announced % 2 == 0 || now > announced,
                "{key}: absent, and version {announced} was announced before and stands"
            );
            world.counts.absent.fetch_add(1, SeqCst);
        }
        "MISS" => {
            world.counts.missed.fetch_add(1, SeqCst);
            let token = reply.items()[1].text();
            let version = *row.version.read().expect("a row");
            // Some are slow.
            if rng.below(4) == 0 {
                std::thread::sleep(Duration::from_millis(rng.below(5) as u64));
            }
            let stored = if version % 2 == 1 {
                let json = json(number, version);
                c.must(&format!(
                    "APIKEY.SETVAL {key} {json} DIGEST {DIGEST} TOKEN {token} PX 2000 TAGS 2 all mine{number}"
                ))
            } else {
                c.must(&format!("APIKEY.SETABSENT {key} TOKEN {token} PX 2000 TAGS 1 all"))
            };
            let counter = if stored == ok() { &world.counts.stored } else { &world.counts.late };
            counter.fetch_add(1, SeqCst);
        }
        other => panic!("{key}: {other}"),
    }
}

/// Runs a line in each database, all at one moment: SWAPDB comes before or after.
fn in_all_databases(c: &mut Client, line: &str) -> Vec<Reply> {
    c.must("MULTI");
    for database in 0..DATABASES {
        c.must(&format!("SELECT {database}"));
        c.must(line);
    }
    let replies = c.must("EXEC").items().to_vec();
    assert!(replies.iter().all(|reply| !reply.is_error()), "{line}: {replies:?}");
    replies.into_iter().skip(1).step_by(2).collect()
}

/// A writer that commits and then invalidates, in one of the ways there are.
fn change_and_invalidate(world: &World, c: &mut Client, number: usize, rng: &mut Rng) {
    let (row, key) = (&world.rows[number], key(number));
    let version = {
        let mut version = row.version.write().expect("a row");
        *version += 1;
        *version
    };
    let line = match rng.below(8) {
        // What says that a key is absent carries no tag of the key's own.
        _ if version % 2 == 1 => format!("APIKEY.INVAL {key}"),
        0 => format!("APIKEY.TAGINVAL apikey:user:{}", user(number)),
        1 => "APIKEY.TAGINVAL all".to_string(),
        2 => format!("APIKEY.TAGINVAL nothing mine{number}"),
        3 => format!("APIKEY.INVAL other {key}"),
        _ => format!("APIKEY.TAGINVAL apikey:id:{key}"),
    };
    for killed in in_all_databases(c, &line) {
        world.counts.killed.fetch_add(killed.int() as u64, SeqCst);
    }
    row.announced.fetch_max(version, SeqCst);
}

/// A writer that stores the new row himself, and lets nobody read it before.
fn write_through(world: &World, c: &mut Client, number: usize) {
    let (row, key) = (&world.rows[number], key(number));
    let mut version = row.version.write().expect("a row");
    if *version % 2 == 1 {
        *version += 2;
        let json = json(number, *version);
        let replies = in_all_databases(
            c,
            &format!("APIKEY.SETVAL {key} {json} DIGEST {DIGEST} TAGS 2 all mine{number}"),
        );
        if replies.contains(&nil()) {
            // Refused, as right after a load that was not trusted: then it has to be invalidated.
            in_all_databases(c, &format!("APIKEY.INVAL {key}"));
        }
        row.announced.fetch_max(*version, SeqCst);
    }
}

/// Does to keys and databases what anybody may.
fn disturb(c: &mut Client, rng: &mut Rng) {
    let row = |rng: &mut Rng| key(rng.below(ROWS));
    let (from, to) = (row(rng), row(rng));
    c.select(rng.below(DATABASES));
    let database = rng.below(DATABASES);
    let line = match rng.below(100) {
        0 => "SWAPDB 0 1".to_string(),
        1 => "SWAPDB 1 2".into(),
        2 => "FLUSHDB".into(),
        3 if server::kind() != Kind::Redis62 => "DEBUG RELOAD".into(),
        4..20 => format!("RENAME {from} {to}"),
        20..35 => format!("COPY {from} {to} REPLACE"),
        35..45 => format!("COPY {from} {to} DB {database} REPLACE"),
        45..60 => format!("MOVE {from} {database}"),
        60..75 => format!("PEXPIRE {from} {}", 1 + rng.below(20)),
        75..80 => format!("DEL {from}"),
        _ => {
            let dump = c.must(&format!("DUMP {from}"));
            if let Reply::Bulk(bytes) = dump {
                // Old or new, here or there: it was stored elsewhere.
                std::thread::sleep(Duration::from_millis(rng.below(3) as u64));
                let reply = c.cmd([b"RESTORE".as_slice(), to.as_bytes(), b"0", &bytes, b"REPLACE"]);
                assert_eq!(reply, ok());
            }
            return;
        }
    };
    // RENAME of nothing, COPY onto itself.
    let reply = c.run(&line);
    if let Reply::Error(text) = &reply {
        assert!(
            text.contains("no such key") || text.contains("objects are the same"),
            "{line}: {text}"
        );
    }
}
