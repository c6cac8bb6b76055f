//! `apikeyctl backup` and `restore`: what is backed up is whole, and what is restored is written into the database
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde_json::{json, Value as Json};
use tempfile::TempDir;

use super::program::bare;
use super::Ran;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;
use crate::roles::{self, Users};
use crate::tls::{has_tls, Certificates};

/// What a run works in until all is there.
const UNFINISHED: &str = ".apikeyctl-backup-unfinished";

/// Where backups stand.
fn place() -> TempDir {
    tempfile::Builder::new().prefix("apikey-backups-").tempdir().expect("a directory")
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").into()
}

/// Makes a backup, and says where it is.
#[track_caller]
fn back_up(server: &Server, place: &TempDir, options: &[&str]) -> PathBuf {
    let at = text(place.path());
    let ran = Ran::at(server, "backup", &[&[at.as_str(), "--json"], options].concat());
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let backup = PathBuf::from(ran.json()["backup"].as_str().expect("a path"));
    assert!(!names(place).contains(UNFINISHED));
    backup
}

/// The names in a place of backups.
fn names(place: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(place.path()).expect("the place").map(|entry| entry.expect("entry"));
    entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
}

fn manifest(backup: &Path) -> Json {
    let text = fs::read(backup.join("manifest.json")).expect("a manifest");
    serde_json::from_slice(&text).expect("JSON")
}

/// The file of a backup's first node.
fn rdb(backup: &Path) -> PathBuf {
    backup.join(manifest(backup)["nodes"][0]["file"].as_str().expect("a name"))
}

fn restore(server: &Server, backup: &Path, options: &[&str]) -> Ran {
    let backup = text(backup);
    Ran::at(server, "restore", &[&[backup.as_str()], options].concat())
}

fn keys(server: &Server) -> i64 {
    let mut c = server.client();
    (0..4)
        .map(|database| {
            c.select(database);
            c.must("DBSIZE").int()
        })
        .sum()
}

/// A database as docs/usage.md wants it: lines by their ids, and totals of those that were new.
#[derive(Default)]
struct Database {
    lines: BTreeSet<String>,
    totals: BTreeMap<String, i64>,
}

impl Database {
    fn write(&mut self, batch: &Batch) {
        for line in &batch.lines {
            if self.lines.insert(line.id.clone()) {
                *self.totals.entry(line.key.clone()).or_default() += line.count;
            }
        }
    }

    /// Writes and settles all that a server has.
    #[track_caller]
    fn drain(&mut self, c: &mut Client) {
        loop {
            let batches = c.leases("1000");
            for batch in &batches {
                self.write(batch);
                c.ack(batch);
            }
            if batches.is_empty() {
                return;
            }
        }
    }

    fn total(&self, key: &str) -> i64 {
        self.totals.get(key).copied().unwrap_or(0)
    }

    /// As `--written` takes it.
    fn written(&self, into: &TempDir) -> String {
        let line = |(key, total): (&String, &i64)| json!({"key": key, "total": total}).to_string();
        let lines: Vec<String> = self.totals.iter().map(line).collect();
        let path = into.path().join(".written");
        fs::write(&path, lines.join("\n") + "\n").expect("written");
        text(&path)
    }
}

/// Counts, some written before a backup, some leased when it is made, some pending; and what happens after it.
fn used_up(server: &Server, place: &TempDir, database: &mut Database) -> PathBuf {
    let mut c = server.client();
    c.count("early", 100);
    database.drain(&mut c);
    c.count("leased", 10);
    let batch = c.lease();
    c.count("leased", 3);
    c.count("early", 7);
    c.count("late", 5);
    let backup = back_up(server, place, &[]);
    let has = &manifest(&backup)["nodes"][0]["contents"];
    assert_eq!((&has["counters"], &has["pending"]), (&json!(3), &json!(15)));
    assert_eq!((&has["leased"], &has["open_batches"]), (&json!(10), &json!(1)));
    // Since: what was leased is written, and what was pending of two, and one is used again.
    database.write(&batch);
    c.ack(&batch);
    c.must("DEL late");
    database.drain(&mut c);
    c.count("leased", 2);
    database.drain(&mut c);
    assert_eq!(database.totals, totals(&[("early", 107), ("leased", 15)]));
    backup
}

fn totals(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(key, total)| (key.to_string(), *total)).collect()
}

#[test]
fn counts_that_were_written_since_the_backup_are_not_written_twice() {
    let place = place();
    let mut database = Database::default();
    let lost = Server::start();
    let backup = used_up(&lost, &place, &mut database);
    drop(lost);

    let mut server = Server::builder().with_aof(true).start();
    restore(&server, &backup, &["--yes"]).fails_with(2, "15 uses pending and 10 leased");
    assert_eq!(keys(&server), 0);
    let written = database.written(&place);
    let ran = restore(&server, &backup, &["--yes", "--json", "--written", &written]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let told = ran.json();
    assert_eq!((&told["counters"], &told["pending"]), (&json!(3), &json!(5)), "{told}");
    // With the AOF on the server has them after a start too.
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert_eq!(c.counts("early"), (0, 0, 107));
    assert_eq!(c.counts("leased"), (0, 0, 15));
    assert_eq!(c.counts("late"), (5, 0, 5));
    c.count("leased", 1);
    database.drain(&mut c);
    assert_eq!(database.totals, totals(&[("early", 107), ("late", 5), ("leased", 16)]));
    assert_exact(&server);
    // And a later backup agrees with the database as this one did.
    let again = back_up(&server, &place, &[]);
    let written = database.written(&place);
    let other = Server::start();
    assert_eq!(restore(&other, &again, &["--yes", "--written", &written]).status, Some(0));
    database.drain(&mut other.client());
    assert_eq!(database.total("leased"), 16);
}

#[test]
fn what_becomes_of_counts_is_what_was_said() {
    let place = place();
    let mut database = Database::default();
    let lost = Server::start();
    let backup = used_up(&lost, &place, &mut database);
    let before = database.totals.clone();

    let settled = Server::start();
    assert_eq!(restore(&settled, &backup, &["--yes", "--counts", "settled"]).status, Some(0));
    let mut c = settled.client();
    assert_eq!((c.counts("early"), c.counts("leased")), ((0, 0, 107), (0, 0, 13)));
    database.drain(&mut c);
    assert_eq!(database.totals, before);

    let dropped = Server::start();
    assert_eq!(restore(&dropped, &backup, &["--yes", "--counts", "drop"]).status, Some(0));
    assert_eq!(keys(&dropped), 0);

    // Where nothing was written since: lines have the ids that they had, so that a consumer knows them again.
    let open = Server::start();
    let mut c = open.client();
    let ran = restore(&open, &backup, &["--yes", "--json", "--counts", "open"]);
    assert_eq!((ran.status, &ran.json()["leased"]), (Some(0), &json!(10)), "{}", ran.err);
    assert_eq!((c.counts("leased"), c.counts("early")), ((3, 10, 13), (7, 0, 107)));
    // The line's lease is as long as it was; the pending of both come first.
    let pending: i64 = c.lease().lines.iter().map(|line| line.count).sum();
    assert_eq!(pending, 15);
    assert_exact(&open);
}

/// Limits of a counter: name, kind, limit, remaining.
fn limits(c: &mut Client) -> BTreeMap<String, (String, i64, i64)> {
    let all = c.must("APIKEY.LIMITS apikey:{k}:usage");
    let of = |limit: &Reply| {
        let [name, kind, most, left, ..] = limit.items() else { panic!("{limit:?}") };
        (name.text(), (kind.text(), most.int(), left.int()))
    };
    all.items().iter().map(of).collect()
}

#[test]
fn what_was_taken_from_limits_and_by_which_requests_comes_back() {
    let place = place();
    let admit = |c: &mut Client, more: &str| -> String {
        let limits = "LIMIT 1 rate RATE 1 86400000 BURST 10 LIMIT 1 year QUOTA 50 YEAR LIMIT 1 credits CREDITS";
        let line = "APIKEY.ADMIT apikey:{k} 1 apikey:{k}:usage SECRET";
        c.must(&format!("{line} {SECRET} {more} {limits}")).items()[0].text()
    };
    let lost = Server::start();
    let mut c = lost.client();
    c.fill("apikey:{k}", &[]);
    c.must("APIKEY.CREDIT apikey:{k}:usage credits SET 100");
    assert_eq!(admit(&mut c, "COST 7 ID first"), "VALID");
    let taken = limits(&mut c);
    assert_eq!(taken["rate"], ("rate".into(), 10, 3));
    assert_eq!(taken["year"], ("quota".into(), 50, 43));
    assert_eq!(taken["credits"], ("credits".into(), -1, 93));
    let backup = back_up(&lost, &place, &[]);
    drop(lost);

    for counts in ["open", "settled"] {
        let server = Server::start();
        let ran = restore(&server, &backup, &["--yes", "--counts", counts]);
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
        let mut c = server.client();
        assert_eq!(limits(&mut c), taken, "{counts}");
        c.fill("apikey:{k}", &[]);
        // It was counted, and is not once more; what is beyond the rest is refused.
        assert_eq!(admit(&mut c, "COST 7 ID first"), "VALID");
        assert_eq!(limits(&mut c), taken, "{counts}");
        assert_eq!(admit(&mut c, "COST 4"), "RATE_LIMITED", "{counts}");
        assert_eq!(c.usage("apikey:{k}:usage").1, 7, "{counts}");
        // What it really cost is settled there.
        let settled = c.must("APIKEY.SETTLE apikey:{k}:usage first 2");
        assert_eq!(settled.items().iter().map(Reply::int).collect::<Vec<_>>(), [7, 2]);
        let now = limits(&mut c);
        let left = |name: &str| now[name].2;
        assert_eq!((left("rate"), left("year"), left("credits")), (8, 48, 98), "{counts}");
    }
}

#[test]
fn a_counter_of_which_less_was_used_than_was_handed_over_comes_back() {
    let place = place();
    let lost = Server::start();
    let mut c = lost.client();
    c.fill("apikey:{k}", &[]);
    c.must(&format!("APIKEY.ADMIT apikey:{{k}} 1 apikey:{{k}}:usage SECRET {SECRET} COST 7 ID i"));
    let mut database = Database::default();
    database.drain(&mut c);
    c.must("APIKEY.SETTLE apikey:{k}:usage i 2");
    let before = c.counts("apikey:{k}:usage");
    assert_eq!(before, (-5, 0, 2));
    let backup = back_up(&lost, &place, &[]);
    drop(lost);
    let written = database.written(&place);
    for counts in [&["--counts", "open"][..], &["--written", &written]] {
        let server = Server::start();
        let ran = restore(&server, &backup, &[&["--yes"][..], counts].concat());
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
        assert_eq!(server.client().counts("apikey:{k}:usage"), before, "{counts:?}");
    }
}

#[test]
fn what_the_database_has_must_be_all_of_it() {
    let place = place();
    let mut database = Database::default();
    let source = Server::start();
    let backup = used_up(&source, &place, &mut database);
    let server = Server::start();
    let path = place.path().join(".file");
    let whole = json!({"key": "early", "total": 107}).to_string();
    for (lines, why) in [
        (String::new(), "it has no line"),
        (format!("{whole}\n{whole}\n"), "early is there twice"),
        (whole[..20].to_string(), "a line must be"),
        (json!({"key": "early"}).to_string(), "a line must be"),
        (json!({"key": "early", "key_hex": "00", "total": 1}).to_string(), "a line must be"),
        (json!({"key_hex": "0", "total": 1}).to_string(), "a line must be"),
        (json!({"key": "early", "total": -1}).to_string(), "negative"),
        // Of another database, or not from its beginning.
        (
            json!({"key": "leased", "total": 10}).to_string(),
            "has 0 uses of early, of which 100 were settled",
        ),
        (json!({"key": "early", "total": 107, "database": 1}).to_string(), "has 0 uses of early"),
        (json!({"key": "early", "total": 99}).to_string(), "has 99 uses of early"),
    ] {
        fs::write(&path, lines).expect("written");
        restore(&server, &backup, &["--yes", "--written", &text(&path)]).fails_with(2, why);
        assert_eq!(keys(&server), 0, "{why}");
    }
    restore(&server, &backup, &["--yes", "--written", "/nowhere"]).fails_with(2, "/nowhere");
}

#[test]
fn the_query_of_the_page_says_what_the_database_has() {
    let place = place();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file");
    let page = read("docs/operating.md");
    let behind = page.split("psql -d billing -Atc \"").nth(1);
    let query = behind.and_then(|rest| rest.split('"').next()).expect("the query");
    let key = r"apikey:{é\}:usage";
    let postgres = Postgres::start();
    postgres.sql(&read("examples/usage_to_postgres/schema.sql"));
    postgres.sql(&format!(
        "INSERT INTO usage_total VALUES (convert_to('{key}', 'UTF8'), 107, now()), ('other', 1, now()), ('\\xff00', 3, now())"
    ));
    let path = place.path().join(".written");
    fs::write(&path, postgres.sql(query).join("\n")).expect("written");

    let source = Server::start();
    let mut c = source.client();
    assert_eq!(c.cmd(["APIKEY.USAGE.INCR", key, "BY", "100"]), int(100));
    assert_eq!(c.cmd([b"APIKEY.USAGE.INCR".as_slice(), b"\xff\0", b"BY", b"3"]), int(3));
    Database::default().drain(&mut c);
    assert_eq!(c.cmd(["APIKEY.USAGE.INCR", key, "BY", "10"]), int(10));
    let backup = back_up(&source, &place, &[]);
    let server = Server::start();
    let ran = restore(&server, &backup, &["--yes", "--written", &text(&path)]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(server.client().flush_usage(), [(key.to_string(), 3)]);
}

#[test]
fn nothing_that_was_revoked_comes_back_and_other_keys_do() {
    let place = place();
    let source = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = source.client();
    c.fill("k", &[]);
    c.must("CACHE.SET value products text");
    c.must("SET text hello");
    c.must("SET gone hello PX 1000");
    c.select(2);
    c.must("SET limited hello EX 1000");
    c.count("usage", 1);
    let backup = back_up(&source, &place, &[]);
    c.select(0);
    c.must("APIKEY.INVAL k");
    eventually("it has expired", || !c.exists("gone"));
    let server = Server::builder().setting("trust-loaded", "yes").start();
    let ran = restore(&server, &backup, &["--yes", "--counts", "open"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(
        ran.out,
        "restored: 1 counters with 1 uses pending and 0 leased, 2 other keys\n\
         2 entries were passed over: they fill as they are asked for\n1 keys have expired\n"
    );
    let mut c = server.client();
    assert_eq!((c.code("k").as_str(), c.must("GET text")), ("MISS", bulk("hello")));
    c.select(2);
    assert_eq!(c.usage("usage"), (1, 1));
    let left = c.must("TTL limited").int();
    assert!((900..=1000).contains(&left), "{left}");
    // A key that is there stays as it is, and that is told.
    c.must("SET limited other");
    c.count("usage", 5);
    let again = restore(&server, &backup, &["--yes", "--counts", "open"]);
    assert_eq!(again.status, Some(1), "{}{}", again.out, again.err);
    assert!(again.out.contains("3 keys were there already, and stay as they are"), "{}", again.out);
    assert_eq!((c.must("GET limited"), c.usage("usage").0), (bulk("other"), 6));
}

/// Keys of each type, in each of the forms in which a server may keep it.
fn fill_types(c: &mut Client) {
    let long = "x".repeat(300);
    for command in ["RPUSH list", "SADD set", "PFADD log"] {
        c.must(&format!("{command} a b {long}"));
        let many: Vec<String> = (0..600).map(|number| format!("{number}-{long}")).collect();
        c.must(&format!("{command}:many {}", many.join(" ")));
    }
    c.must("SADD numbers 1 2 70000");
    c.must("ZADD scores 1.5 a 2 b -inf c");
    c.must("HSET hash a b number 12345");
    c.must("SETBIT bits 1000 1");
    for number in 0..600 {
        c.must(&format!("ZADD scores:many {number}.25 {number}-{long}"));
        c.must(&format!("HSET hash:many {number} {long}"));
        c.must(&format!("XADD stream * field {number}"));
    }
    c.must("XGROUP CREATE stream group 0");
    c.must("XREADGROUP GROUP group someone COUNT 5 STREAMS stream >");
    c.must("XDEL stream 0-1");
    for number in [-1i64, 1000, 100_000, 10_000_000_000] {
        c.must(&format!("SET number:{number} {number}"));
    }
    c.must(&format!("SET long {}", long.repeat(10)));
    if matches!(kind(), Kind::Redis82 | Kind::Valkey91) {
        c.must("HEXPIRE hash 1000 FIELDS 1 a");
        c.must("HEXPIRE hash:many 1000 FIELDS 1 7");
    }
    if kind() != Kind::Redis62 {
        let code = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";
        assert_eq!(c.cmd(["FUNCTION", "LOAD", code]), bulk("mylib"));
    }
}

#[test]
fn keys_of_all_types_come_back_as_they_were() {
    for compression in ["yes", "no"] {
        let place = place();
        let source = Server::builder().config(&format!("rdbcompression {compression}")).start();
        fill_types(&mut source.client());
        let backup = back_up(&source, &place, &[]);
        let server = Server::start();
        let ran = restore(&server, &backup, &["--yes", "--json"]);
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
        assert_eq!(ran.json()["other_keys"], json!(keys(&source)));
        let functions = u64::from(kind() != Kind::Redis62);
        assert_eq!(ran.json()["functions_passed_over"], json!(functions));
        assert_eq!(server.digest(), source.digest());
    }
}

#[test]
fn a_broken_backup_is_refused_and_nothing_is_changed() {
    let place = place();
    let source = Server::start();
    let mut c = source.client();
    c.count("usage", 7);
    c.must(&format!("SET text {}", "abc".repeat(1000)));
    let backup = back_up(&source, &place, &[]);
    let server = Server::start();
    let file = rdb(&backup);
    let whole = fs::read(&file).expect("the file");
    let refused = |bytes: &[u8], why: &str| {
        fs::write(&file, bytes).expect("written");
        for path in [&backup, &file] {
            restore(&server, path, &["--yes", "--counts", "open"]).fails_with(2, why);
            restore(&server, path, &["--verify"]).fails_with(2, why);
        }
        assert_eq!(keys(&server), 0);
    };
    for at in [0, 9, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        refused(&flipped, "its checksum is wrong");
    }
    for len in [whole.len() / 2, whole.len() - 1] {
        refused(&whole[..len], "its checksum is wrong");
    }
    refused(&whole[..7], "it is too short");
    refused(b"", "it is too short");
    // Whole, and of another backup.
    c.count("usage", 1);
    fs::copy(rdb(&back_up(&source, &place, &[])), &file).expect("copied");
    restore(&server, &backup, &["--yes", "--counts", "open"])
        .fails_with(2, "it is not the file of its manifest");
    fs::write(&file, &whole).expect("written");
    let manifest = backup.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("the manifest");
    for (wrong, why) in [
        (text.replace("apikeyctl backup", "someone"), "is no manifest of"),
        (text.replace("\"file\": \"", "\"file\": \"../"), "is no manifest of"),
        ("{}".into(), "is no manifest of a backup"),
    ] {
        fs::write(&manifest, wrong).expect("written");
        restore(&server, &backup, &["--yes", "--counts", "open"]).fails_with(2, why);
    }
    assert_eq!(keys(&server), 0);
    fs::write(&manifest, text).expect("written");
    assert_eq!(restore(&server, &backup, &["--yes", "--counts", "open"]).status, Some(0));
    assert_eq!(server.client().usage("usage"), (7, 7));
    // The RDB alone will do.
    let other = Server::start();
    assert_eq!(restore(&other, &file, &["--yes", "--counts", "open"]).status, Some(0));
    assert_eq!(other.client().usage("usage"), (7, 7));
}

/// Leads to a server, and closes each connection after so many bytes of it: its port. It ends with the test.
fn cut_after(port: u16, most: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut far = TcpStream::connect(("127.0.0.1", port))?;
                let (mut asks, mut to) = (near.try_clone()?, far.try_clone()?);
                std::thread::spawn(move || std::io::copy(&mut asks, &mut to));
                let mut chunk = vec![0; most];
                let mut passed = 0;
                while passed < most {
                    let read = far.read(&mut chunk[..most - passed])?;
                    if read == 0 {
                        break;
                    }
                    near.write_all(&chunk[..read])?;
                    passed += read;
                }
                near.shutdown(std::net::Shutdown::Both)?;
                far.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    at
}

#[test]
fn a_connection_that_is_cut_leaves_nothing_that_looks_whole() {
    for diskless in ["yes", "no"] {
        let place = place();
        let source = Server::builder()
            .config(&format!("repl-diskless-sync {diskless}"))
            .config("rdbcompression no")
            .start();
        source.client().must(&format!("SET text {}", "abc".repeat(100_000)));
        let whole = back_up(&source, &place, &["--keep", "1"]);
        let before = names(&place);
        let cut = format!("redis://127.0.0.1:{}", cut_after(source.port, 100_000));
        let at = text(place.path());
        let ran = Ran::of(bare(&["backup", &at, "--alone", "--keep", "1", "--url", &cut]));
        ran.fails_with(2, "it closed the connection after ");
        assert_eq!(names(&place), before);
        assert_eq!(restore(&source, &whole, &["--verify"]).status, Some(0));
        // What one that was killed has left goes with the next.
        let left = place.path().join(UNFINISHED);
        fs::create_dir(&left).expect("made");
        fs::write(left.join("127.0.0.1.rdb"), "REDIS").expect("written");
        let next = back_up(&source, &place, &["--keep", "1"]);
        let expected = next.file_name().expect("a name").to_str().expect("UTF-8").to_string();
        assert_eq!(names(&place), BTreeSet::from([expected]));
    }
}

/// Has a backup be of another time, or deployment.
fn say(backup: &Path, name: &str, value: &str) {
    let mut told = manifest(backup);
    told[name] = json!(value);
    fs::write(backup.join("manifest.json"), told.to_string()).expect("written");
}

#[test]
fn rotation_keeps_what_it_must() {
    let place = place();
    let source = Server::start();
    source.client().count("usage", 1);
    let others = back_up(&source, &place, &[]);
    say(&others, "deployment", "another");
    say(&others, "taken_at", "2020-01-01T00:00:00Z");
    let with_files = back_up(&source, &place, &[]);
    fs::write(with_files.join("notes.txt"), "mine").expect("written");
    for name in ["20200101T000000.000Z", "mine"] {
        fs::create_dir(place.path().join(name)).expect("made");
        fs::write(place.path().join(name).join("dump.rdb"), "mine").expect("written");
    }
    let made: Vec<PathBuf> = (0..3).map(|_| back_up(&source, &place, &["--keep", "3"])).collect();
    assert!(made.iter().all(|backup| backup.exists()));
    // It was the fourth: what is its own is gone.
    assert!(!with_files.join("manifest.json").exists() && !rdb_is_in(&with_files));
    assert_eq!(fs::read(with_files.join("notes.txt")).expect("it stays"), b"mine");
    let by_time = |time: &str| {
        let ran = Ran::at(&source, "backup", &[&text(place.path()), "--json", "--keep", time]);
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
        ran.json()["removed"].as_array().expect("names").len()
    };
    say(&made[1], "taken_at", "2020-01-01T00:00:00Z");
    assert_eq!(by_time("7d"), 1);
    assert!(!made[1].exists() && made[0].exists() && made[2].exists());
    // One that fails removes nothing, nor one that nothing proves.
    let before = names(&place);
    drop(source);
    let nobody = format!("redis://127.0.0.1:{}", server::free_port());
    let at = text(place.path());
    Ran::of(bare(&["backup", &at, "--keep", "1", "--url", &nobody]))
        .fails_with(2, "could not reach");
    assert_eq!(names(&place), before);
    assert!(others.join("manifest.json").exists() && rdb_is_in(&others));
    assert!(place.path().join("mine/dump.rdb").exists());
}

fn rdb_is_in(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    { entries }.any(|entry| entry.path().extension().is_some_and(|end| end == "rdb"))
}

#[test]
fn a_primary_and_a_replica_give_it_from_disk_and_as_it_is_made() {
    for diskless in ["yes", "no"] {
        let setting = format!("repl-diskless-sync {diskless}");
        let start = || Server::builder().config(&setting).start();
        let (primary, replica) = (start(), start());
        replica.replicate(&primary);
        let mut c = primary.client();
        c.count("usage", 7);
        c.must(&format!("SET text {}", "abc".repeat(200_000)));
        replica.in_sync_with(&primary);
        let place = place();
        for (server, options, role) in [
            (&primary, &[][..], "primary"),
            (&primary, &["--from", "replica"], "replica"),
            (&replica, &["--from", "replica"], "replica"),
        ] {
            let told = manifest(&back_up(server, &place, options));
            let node = &told["nodes"][0];
            let address = if role == "primary" { &primary } else { &replica };
            let address = format!("127.0.0.1:{}", address.port);
            assert_eq!((&node["role"], &node["address"]), (&json!(role), &json!(address)));
            assert_eq!(node["contents"]["pending"], json!(7));
            let id = primary.client().info("replication", "master_replid").expect("INFO");
            assert_eq!(node["replication_id"], json!(id));
        }
        let at = text(place.path());
        Ran::at(&replica, "backup", &[&at]).fails_with(2, "say the primary's URL");
        Ran::at(&primary, "backup", &[&at, "--from", "replica", "--alone"])
            .fails_with(2, "it has no replica that can be reached");
    }
}

#[test]
fn a_cluster_is_backed_up_whole_and_restored_into_another_or_one_server() {
    let place = place();
    let cluster = Cluster::start(3, 0);
    let mut clients = cluster.clients();
    let names: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    for name in &names {
        let count = format!("APIKEY.USAGE.INCR {name} BY 2");
        assert_eq!(
            clients.iter_mut().map(|c| c.run(&count)).filter(|reply| !reply.is_error()).count(),
            1
        );
    }
    let backup = back_up(&cluster.primaries[1], &place, &["--cluster"]);
    let told = manifest(&backup);
    let nodes = told["nodes"].as_array().expect("nodes");
    let sum = |name: &str| {
        nodes.iter().map(|node| node["contents"][name].as_i64().expect("a number")).sum::<i64>()
    };
    assert_eq!((nodes.len(), sum("counters"), sum("pending")), (3, 30, 60));
    assert!(nodes
        .iter()
        .all(|node| node["slots"].as_array().is_some_and(|slots| !slots.is_empty())));
    assert_eq!(fs::read_dir(&backup).expect("files").count(), 4);

    // Another one, whose slots lie otherwise.
    let other = Cluster::start(4, 0);
    let ran = restore(&other.primaries[0], &backup, &["--cluster", "--yes", "--counts", "open"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let pending: i64 = other
        .primaries
        .iter()
        .flat_map(|server| server.client().flush_usage())
        .map(|(_, count)| count)
        .sum();
    assert_eq!(pending, 60);
    let one = Server::start();
    assert_eq!(restore(&one, &backup, &["--yes", "--counts", "open"]).status, Some(0));
    assert_eq!(keys(&one), 30);

    // What is missing is no backup.
    cluster.primaries[2].freeze();
    let before = self::names(&place);
    let at = text(place.path());
    let ran = Ran::at(&cluster.primaries[1], "backup", &[&at, "--cluster", "--timeout", "1"]);
    assert_eq!(ran.status, Some(2), "{}{}", ran.out, ran.err);
    assert_eq!(self::names(&place), before);
    cluster.primaries[2].wake();
    // Keys of other databases are no cluster's.
    let mut c = one.client();
    c.select(1);
    c.must("SET text hello");
    let backup = back_up(&one, &place, &[]);
    restore(&other.primaries[0], &backup, &["--cluster", "--yes", "--counts", "open"])
        .fails_with(2, "a cluster has 0 alone");
}

#[test]
fn replicas_hear_of_what_is_restored() {
    let place = place();
    let source = Server::start();
    source.client().count("usage", 7);
    let backup = back_up(&source, &place, &[]);
    let (primary, replica) = (Server::start(), Server::start());
    replica.replicate(&primary);
    let ran = restore(&primary, &backup, &["--yes", "--json", "--counts", "open"]);
    assert_eq!((ran.status, &ran.json()["replicas_behind"]), (Some(0), &json!(0)), "{}", ran.err);
    assert_eq!(replica.client().usage("usage"), (7, 7));
    restore(&replica, &backup, &["--yes", "--counts", "open"])
        .fails_with(2, "say the primary's URL");
}

#[test]
fn a_server_without_checksums_is_told_of() {
    let place = place();
    let source = Server::builder().config("rdbchecksum no").start();
    source.client().count("usage", 7);
    let at = text(place.path());
    let ran = Ran::at(&source, "backup", &[&at]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("without a checksum (rdbchecksum no)"), "{}", ran.err);
    assert!(ran.out.contains(" is whole: "), "{}", ran.out);
    let backup = place.path().join(names(&place).pop_first().expect("a backup"));
    let verified = restore(&source, &backup, &["--verify"]);
    assert_eq!(verified.status, Some(0), "{}", verified.err);
    assert!(
        verified.out.contains("1 counters with 7 uses pending and 0 leased"),
        "{}",
        verified.out
    );
    // Its manifest still knows it, and alone it is read to its end.
    let file = rdb(&backup);
    let whole = fs::read(&file).expect("the file");
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    fs::write(&file, &flipped).expect("written");
    restore(&source, &backup, &["--verify"]).fails_with(2, "it is not the file of its manifest");
    let cut = [&whole[..whole.len() - 20], &[0; 8]].concat();
    fs::write(&file, &cut).expect("written");
    restore(&source, &file, &["--verify"]).fails_with(2, "byte");
}

#[test]
fn nothing_is_restored_that_nobody_has_said_yes_to_and_wrong_calls_say_what_is_wrong() {
    let place = place();
    let at = text(place.path());
    let server = Server::start();
    server.client().count("usage", 7);
    let backup = back_up(&server, &place, &[]);
    let target = Server::start();
    restore(&target, &backup, &["--counts", "open"]).fails_with(
        2,
        "Restore 1 counters with 7 uses pending and 0 leased, and 0 other keys, into 127.0.0.1:",
    );
    restore(&target, &backup, &["--counts", "all", "--yes"]).fails_with(2, "settled, open, drop");
    restore(&target, &backup, &["--counts", "open", "--written", &at])
        .fails_with(2, "cannot be used with");
    restore(&target, Path::new("/nowhere"), &["--yes"]).fails_with(2, "/nowhere");
    restore(&target, place.path(), &["--yes"]).fails_with(2, "manifest.json");
    assert_eq!(keys(&target), 0);
    for keep in ["0", "0d", "soon"] {
        Ran::at(&server, "backup", &[&at, "--keep", keep])
            .fails_with(2, "must be a number of backups, 1 or more, or a time: 7d, 12h");
    }
    Ran::at(&server, "backup", &["/nowhere"]).fails_with(2, "make the directory first");
    Ran::at(&server, "backup", &[]).fails_with(2, "DIRECTORY");
    let plain = Server::builder().without_module().start();
    Ran::at(&plain, "backup", &[&at]).fails_with(2, "has no module redis-apikey");
    restore(&plain, &backup, &["--yes", "--counts", "open"])
        .fails_with(2, "has no module redis-apikey");
    assert_eq!(names(&place).len(), 1);
    // Another one is at work there.
    let lock = fs::File::open(place.path()).expect("the place");
    // SAFETY: a call without memory, on a file that is open.
    let locked = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_SH) };
    assert_eq!(locked, 0);
    Ran::at(&server, "backup", &[&at]).fails_with(2, "another backup is at work there");
}

#[test]
fn what_the_server_refuses_is_told_and_it_is_started_again() {
    let place = place();
    let source = Server::start();
    let mut c = source.client();
    c.count("apikey:usage", 7);
    let backup = back_up(&source, &place, &[]);
    let target = Server::start();
    let mut admin = target.client();
    admin.must("ACL SETUSER someone on >pass ~* +@all -restore");
    let url = format!("redis://someone:pass@127.0.0.1:{}", target.port);
    let at = text(&backup);
    let run = || Ran::of(bare(&["restore", &at, "--counts", "open", "--yes", "--url", &url]));
    let ran = run();
    assert_eq!(ran.status, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("not done: ") && ran.out.contains("needs RESTORE"), "{}", ran.out);
    assert_eq!(keys(&target), 0);
    admin.must("ACL SETUSER someone +restore");
    assert_eq!(run().status, Some(0));
    assert_eq!(target.client().usage("apikey:usage"), (7, 7));
    // And who may not follow a server can't back it up.
    admin.must("ACL SETUSER someone -psync");
    let place = text(place.path());
    Ran::of(bare(&["backup", &place, "--url", &url])).fails_with(2, "needs PSYNC");
}

#[test]
fn the_user_of_the_page_backs_up_by_tls_and_by_sentinels() {
    let place = place();
    let at = text(place.path());
    let users = Users::new(roles::lists().remove(0));
    let tls = has_tls().then(Certificates::new);
    let secured = |builder| {
        tls.as_ref().map_or_else(|| Builder::clone(&builder), |tls| tls.on(builder.clone()))
    };
    let primary = secured(users.on(Server::builder())).start();
    primary.client().count("usage", 7);
    let scheme = if tls.is_some() { "rediss" } else { "redis" };
    let url = format!("{scheme}://127.0.0.1:{}", primary.port);
    let files =
        tls.as_ref().map(|tls| [tls.path("ca.crt"), tls.path("node.crt"), tls.path("node.key")]);
    let run = |options: &[&str]| {
        let mut command = bare(&["backup", &at, "--json", "--user", "backup"]);
        command.args(options).env("REDISCLI_AUTH", users.password("backup"));
        command.env("APIKEYCTL_SENTINEL_AUTH", roles::sentinels_password("application"));
        Ran::of(command)
    };
    let certified: Vec<&str> = match &files {
        Some([ca, cert, key]) => vec!["--cacert", ca, "--cert", cert, "--cert-key", key],
        None => Vec::new(),
    };
    let ran = run(&[&["--url", &url], &certified[..]].concat());
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(ran.json()["nodes"][0]["contents"]["pending"], json!(7));
    if let Some([_, cert, key]) = &files {
        let unchecked = run(&["--url", &url, "--insecure", "--cert", cert, "--cert-key", key]);
        assert_eq!(unchecked.status, Some(0), "{}{}", unchecked.out, unchecked.err);
    }
    let sentinels = roles::sentinels(&users, primary.port, secured);
    let by_name = format!("mymaster@127.0.0.1:{}", sentinels[0].port);
    let by_name = ["--sentinel", &by_name, "--sentinel-user", "application"];
    let ran = run(&[&by_name[..], &certified[..]].concat());
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(ran.json()["deployment"], json!("mymaster"));
}
