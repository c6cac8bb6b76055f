//! What a restart keeps, from RDB and from AOF: the answers, the digest of the data, an exact index.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use crate::fuzz::sealed;
use crate::harness::client::packed;
use crate::harness::server::{kind, Stop};
use crate::harness::streams::find;
use crate::harness::*;
use crate::model::{Model, Reclaim};

fn trusting() -> Builder {
    Server::builder().setting("trust-loaded", "yes")
}

/// What can be seen of a server: the answers of all keys, and DEBUG DIGEST.
#[track_caller]
fn view(server: &Server) -> (Vec<String>, String) {
    (answers(server), server.digest())
}

/// The index of what `populate` stored, and that it works: by what TAGINVAL and FLUSH say.
#[track_caller]
fn assert_all_is_alive(server: &Server) {
    assert_exact(server);
    let mut c = server.client();
    assert_eq!(c.invalidate("acme:apikey:user:42"), 1);
    assert_eq!(c.invalidate("rich"), 0);
    assert_eq!(c.invalidate("gone"), 0);
    assert_eq!(c.invalidate("kept"), 1);
    assert_eq!(c.invalidate("shared"), 4); // plain, none, binary, persisted
    assert_eq!(c.invalidate("apikey:user:u3"), 2);
    assert_eq!(c.invalidate("other"), 1);
    assert_eq!(c.invalidate("kinds"), 3); // decided-ns, listed, no-keys
    assert_eq!(c.flush_usage(), [("both".to_string(), i64::MAX - 7), ("pending".to_string(), 5)]);
    c.select(1);
    assert_eq!(c.invalidate("shared"), 1);
    assert_eq!(c.flush_usage(), [("pending".to_string(), 1)]);
    assert_exact(server);
}

/// No entry lives, every counter does.
#[track_caller]
fn assert_only_counters_are_left(server: &Server) {
    assert_exact(server);
    let mut c = server.client();
    for key in ["plain", "rich", "two", "none", "off", "past", "persisted"] {
        assert_eq!(c.code(key), "MISS", "{key}");
        assert_eq!(c.run(&format!("APIKEY.TAGS {key}")), array([]), "{key}");
    }
    for key in ["decided", "decided-ns"] {
        assert_eq!(code_of(&c.must(&format!("APIKEY.CHECKSCOPE {key} users read"))), "MISS");
    }
    assert_eq!(code_of(&c.must("APIKEY.GETLIST listed")), "MISS");
    assert_eq!(c.invalidate("kinds"), 0);
    assert_eq!(c.invalidate("shared"), 0);
    assert_eq!(c.usage("pending"), (5, 5));
    assert_eq!(c.usage("settled"), (0, 3));
    assert_eq!(c.usage("both"), (i64::MAX - 7, i64::MAX));
    // What is stored now is alive.
    c.fill("plain", &["shared"]);
    assert_eq!(c.code("plain"), "VALID");
    assert_exact(server);
    assert_eq!(c.invalidate("shared"), 1);
    assert_exact(server);
}

#[test]
fn a_trusted_rdb_brings_everything_back() {
    let mut server = trusting().start();
    populate(&server);
    let before = view(&server);
    server.restart(Stop::Save);
    assert_eq!(view(&server), before);
    server.client().must("DEBUG RELOAD");
    assert_eq!(view(&server), before);
    assert_all_is_alive(&server);
}

#[test]
fn a_trusted_aof_brings_everything_back_however_often_it_was_rewritten() {
    for preamble in [true, false] {
        let mut server = trusting().with_aof(preamble).start();
        populate(&server);
        let before = view(&server);
        server.restart(Stop::Kill);
        assert_eq!(view(&server), before, "preamble {preamble}, as written");
        server.rewrite_aof();
        assert_eq!(view(&server), before);
        server.restart(Stop::Kill);
        assert_eq!(view(&server), before, "preamble {preamble}, rewritten");
        // What was written since stands behind what was rewritten.
        server.client().fill("later", &["later"]);
        let with_later = view(&server);
        server.restart(Stop::NoSave);
        assert_eq!(view(&server), with_later, "preamble {preamble}, and later");
        assert_nothing_was_refused(&server);
        assert_eq!(server.client().invalidate("later"), 1);
        assert_all_is_alive(&server);
    }
}

#[test]
fn entries_of_an_rdb_are_misses_unless_it_is_trusted_and_counters_stay() {
    let mut server = Server::start();
    populate(&server);
    server.restart(Stop::Save);
    assert_only_counters_are_left(&server);
    server.client().must("FLUSHALL");
    populate(&server);
    server.client().must("DEBUG RELOAD");
    assert_exact(&server);
    assert_eq!(server.client().codes(["plain", "two"]), ["MISS", "MISS"]);
}

#[test]
fn entries_of_an_aof_are_misses_unless_it_is_trusted_and_counters_stay() {
    for preamble in [true, false] {
        for rewritten in [false, true] {
            let mut server = Server::builder().with_aof(preamble).start();
            populate(&server);
            if rewritten {
                server.rewrite_aof();
                server.client().fill("later", &["shared"]);
            }
            server.restart(Stop::Kill);
            assert_nothing_was_refused(&server);
            assert_eq!(server.client().code("later"), "MISS");
            assert_only_counters_are_left(&server);
        }
    }
}

#[test]
fn an_aof_from_before_there_were_bounds_is_loaded_whole() {
    let mut server = trusting().with_aof(true).start();
    let mut c = server.client();
    for key in ["by-tag", "by-key", "kept"] {
        c.fill(key, &[&format!("of-{key}")]);
    }
    c.count("use", 5);
    server.stop(Stop::NoSave);
    let many = |call: &str, last: &str| {
        let others = (0..20_000).map(|n| format!("none{n}"));
        let words = std::iter::once(call.to_string()).chain(others);
        packed(words.chain([last.to_string()]))
    };
    let mut aof = fs::OpenOptions::new().append(true).open(aof_of(&server)).expect("the AOF");
    for (call, last) in
        [("APIKEY.TAGINVAL", "of-by-tag"), ("APIKEY.INVAL", "by-key"), ("APIKEY.USAGE.TAKE", "use")]
    {
        aof.write_all(&many(call, last)).expect("written");
    }
    server.start_again();
    assert_nothing_was_refused(&server);
    let mut c = server.client();
    assert_eq!(c.codes(["by-tag", "by-key", "kept"]), ["MISS", "MISS", "VALID"]);
    assert_eq!(c.usage("use"), (0, 5));
    assert_exact(&server);
}

/// The file that commands are appended to.
#[track_caller]
fn aof_of(server: &Server) -> PathBuf {
    let folder = server.dir().join("appendonlydir");
    let Ok(files) = fs::read_dir(folder) else {
        // 6.2.
        return server.dir().join("appendonly.aof");
    };
    let mut files = files.map(|file| file.expect("a file").path());
    files.find(|file| file.to_string_lossy().ends_with(".incr.aof")).expect("an AOF of commands")
}

#[test]
fn an_invalidation_behind_the_rewritten_part_of_an_aof_is_not_lost() {
    for preamble in [true, false] {
        let mut server = trusting().with_aof(preamble).start();
        let mut c = server.client();
        c.fill("a", &["t", "a"]);
        c.fill("b", &["b"]);
        server.rewrite_aof();
        assert_eq!(c.invalidate("t"), 1);
        c.fill("c", &["t"]);
        server.restart(Stop::Kill);
        let mut c = server.client();
        assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "VALID", "VALID"]);
        assert_exact(&server);
        assert_eq!(c.invalidate("t"), 1);
        assert_eq!(c.invalidate("a"), 0);
        assert_exact(&server);
    }
}

#[test]
fn the_dead_stay_dead_over_a_restart() {
    let mut server = trusting().with_aof(true).start();
    for (preamble, rewritten) in [("yes", false), ("yes", true), ("no", true)] {
        let mut c = server.client();
        if !hold(&mut c) {
            return;
        }
        c.must(&format!("CONFIG SET aof-use-rdb-preamble {preamble}"));
        c.fill("a", &["t"]);
        c.fill("b", &["t"]);
        c.must("RENAME a dead");
        c.must("COPY b twin");
        let dump = c.must("DUMP b");
        for key in ["brought", "expired"] {
            assert_eq!(c.cmd([b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes()]), ok());
        }
        c.must("PEXPIREAT expired 1");
        assert_eq!(c.run("EXISTS dead twin brought"), int(3));
        if rewritten {
            server.rewrite_aof();
        }
        server.restart(Stop::Kill);
        c = server.client();
        let codes = c.codes(["b", "dead", "twin", "brought"]);
        assert_eq!(codes, ["VALID", "MISS", "MISS", "MISS"]);
        assert_exact(&server);
        reclaimed(&mut c);
        assert_eq!(c.run("EXISTS dead twin brought"), int(0));
        assert_eq!(c.code("b"), "VALID");
        assert_eq!(c.invalidate("t"), 1);
        assert_nothing_was_refused(&server);
    }
}

/// Later commands of an AOF act on the keys that were there, and a dead entry is one.
#[test]
fn a_rewritten_aof_keeps_the_names_of_the_dead() {
    for preamble in [true, false] {
        for trust in ["yes", "no"] {
            let builder = Server::builder().setting("trust-loaded", trust);
            let mut server = builder.with_aof(preamble).start();
            let mut c = server.client();
            if !hold(&mut c) {
                return;
            }
            for key in ["x", "y"] {
                c.must(&format!("SET {key} old"));
            }
            for (key, dead) in [("a", "b"), ("c", "d"), ("e", "f")] {
                c.fill(key, &["t"]);
                c.must(&format!("RENAME {key} {dead}"));
            }
            let ttl = c.must("PTTL f").int();
            server.rewrite_aof();
            c.must("RENAME b x");
            assert_eq!(c.run("RENAMENX y d"), int(0));
            c.must("PERSIST d");
            let seen = |server: &Server| {
                let mut c = server.client();
                let types = ["x", "y", "b", "d", "f"].map(|key| c.must(&format!("TYPE {key}")));
                let live = c.codes(["x", "d", "f"]);
                (types, live, c.must("DBSIZE"), c.must("PTTL d"), server.digest())
            };
            let before = seen(&server);
            assert_eq!(before.0[0], simple("apikeyrec"));
            assert_eq!(before.0[1], simple("string"));
            assert_eq!(before.2, int(4));
            // Loaded in the same process, where they stay.
            c.must("DEBUG LOADAOF");
            assert_eq!(seen(&server), before, "preamble {preamble}, trust-loaded {trust}");
            assert_nothing_was_refused(&server);
            assert_exact(&server);
            let left = c.must("PTTL f").int();
            assert!(0 < left && left <= ttl, "{left} of {ttl}");
            assert_eq!(c.invalidate("t"), 0);
            // In another they go.
            server.restart(Stop::Kill);
            let mut c = server.client();
            reclaimed(&mut c);
            assert_eq!(c.run("DBSIZE"), int(1));
            assert_eq!(c.run("GET y"), bulk("old"));
            assert_nothing_was_refused(&server);
            assert_exact(&server);
        }
    }
}

#[test]
fn what_expired_while_the_server_was_down_is_gone() {
    for aof in [false, true] {
        let builder = trusting();
        let builder = if aof { builder.with_aof(false) } else { builder };
        let mut server = builder.start();
        let mut c = server.client();
        c.fill("short", &["t"]);
        c.fill("long", &["t"]);
        c.count("counter", 1);
        c.must("PEXPIRE short 300");
        c.must("PEXPIRE counter 300");
        let start = std::time::Instant::now();
        server.stop(if aof { Stop::NoSave } else { Stop::Save });
        eventually("the TTL has passed", || start.elapsed().as_millis() > 400);
        server.start_again();
        let mut c = server.client();
        assert_exact(&server);
        assert_eq!(c.codes(["short", "long"]), ["MISS", "VALID"]);
        assert_eq!(c.flush_usage(), []);
        assert_eq!(c.invalidate("t"), 1);
        assert_exact(&server);
    }
}

#[test]
fn keepttl_keeps_what_there_is_also_that_there_is_none() {
    let mut server = trusting().with_aof(false).start();
    let mut c = server.client();
    let set = |key: &str, how: &str| {
        format!("APIKEY.SETVAL {key} {} SECRET {SECRET} {how}", record("id", "u1"))
    };
    c.must(&set("forever", "EX 100"));
    c.must("PERSIST forever");
    c.must(&set("forever", "KEEPTTL"));
    c.must(&set("timed", "PXAT 4102444800123"));
    c.must(&set("timed", "KEEPTTL"));
    c.must(&set("new", "KEEPTTL"));
    for _ in 0..2 {
        assert_eq!(c.run("PTTL forever"), int(-1));
        assert!(c.must("PTTL timed").int() > 1_000_000_000);
        // Where nothing is to be kept it is the default.
        let ttl = c.must("PTTL new").int();
        assert!((200_000..=300_000).contains(&ttl), "{ttl}");
        assert_eq!(c.codes(["forever", "timed", "new"]), ["VALID"; 3]);
        server.restart(Stop::Kill);
        c = server.client();
    }
}

#[test]
fn an_aof_is_loaded_whole_while_the_default_user_may_do_little() {
    let mut server = trusting().with_aof(false).config("user admin on >pw ~* &* +@all").start();
    populate(&server);
    let mut c = server.client();
    c.fill("victim", &["secret-tag"]);
    c.must("APIKEY.TAGINVAL secret-tag");
    let before = view(&server);
    server.restart_with(Stop::Kill, |b| {
        b.config("user default on nopass resetkeys ~public:* -@all +info +ping +auth")
    });
    let mut c = server.client();
    assert!(c.run("APIKEY.VALIDATE plain").text().starts_with("NOPERM"));
    c.must("AUTH admin pw");
    c.must("ACL SETUSER default on nopass ~* &* +@all");
    assert_eq!(view(&server), before);
    assert_nothing_was_refused(&server);
    assert_all_is_alive(&server);
}

#[test]
fn an_aof_is_loaded_whole_where_the_limits_became_smaller() {
    for preamble in [true, false] {
        let mut server = trusting().with_aof(preamble).setting("extra-fields", "plan").start();
        fill_up_to_the_limits(&server);
        let before = view(&server);
        server.restart_with(Stop::Kill, with_small_limits);
        assert_eq!(view(&server), before, "as written");
        server.rewrite_aof();
        server.restart(Stop::Kill);
        assert_eq!(view(&server), before, "rewritten");
        assert_nothing_was_refused(&server);
        assert_exact(&server);
    }
}

/// A record that is large in every respect that is configurable.
#[track_caller]
pub fn fill_up_to_the_limits(server: &Server) {
    let mut c = server.client();
    let name = "n".repeat(100);
    let scopes: Vec<String> = (0..64).map(|i| format!("\"resource{i}:read\"")).collect();
    let plan = "p".repeat(14_000);
    let record = format!(
        r#"{{"id":"large","user_id":"u1","is_active":true,"name":"{name}","plan":"{plan}","scopes":[{}]}}"#,
        scopes.join(",")
    );
    let tags: Vec<String> = (0..16).map(|i| format!("tag{i}")).collect();
    let tags = format!("TAGS 16 {}", tags.join(" "));
    let line = format!("APIKEY.SETVAL large {record} SECRET {SECRET} {tags}");
    assert_eq!(c.run(&line), ok());
    c.list("large-list", &[record.clone(), record], &tags);
    for action in ["read", "write", "delete"] {
        c.decide("large-scopes", &format!("r {action} ALLOW"), &tags);
    }
    let valid = c.must(&format!("APIKEY.VALIDATE large SECRET {SECRET}"));
    assert!(valid.items()[1].text().contains(&plan));
}

/// The least that may be configured.
pub fn with_small_limits(builder: Builder) -> Builder {
    [
        ("max-record-bytes", "64"),
        ("max-name-length", "1"),
        ("max-scopes", "0"),
        ("max-tags", "0"),
        ("validation-ttl", "1"),
        ("scope-ttl", "1"),
        ("list-ttl", "1"),
        ("max-decisions", "1"),
    ]
    .into_iter()
    .fold(builder, |b, (name, value)| b.setting(name, value))
}

/// With reads and writes switched off.
pub fn switched_off(builder: Builder) -> Builder {
    builder.setting("enabled", "no").setting("writes-enabled", "no")
}

#[test]
fn what_is_switched_off_is_loaded_all_the_same() {
    for preamble in [true, false] {
        let mut server = trusting().with_aof(preamble).start();
        populate(&server);
        let before = view(&server);
        for rewritten in [false, true] {
            server.restart_with(Stop::Kill, switched_off);
            assert_eq!(server.client().code("plain"), "MISS");
            assert_eq!(server.digest(), before.1);
            assert_exact(&server);
            if !rewritten {
                server.rewrite_aof();
            }
        }
        server.restart_with(Stop::Kill, |b| {
            b.setting("enabled", "yes").setting("writes-enabled", "yes")
        });
        assert_eq!(view(&server), before);
        assert_nothing_was_refused(&server);
        assert_all_is_alive(&server);
    }
}

#[test]
fn apply_is_not_for_clients() {
    let server = Server::start();
    let mut c = server.client();
    c.count("counter", 1);
    let before = server.digest();
    let reply = c.run("APIKEY.APPLY counter x");
    assert!(reply.is_error(), "{reply:?}");
    let reply = c.cmd(["EVAL", "return redis.call('APIKEY.APPLY', 'counter', 'x')", "0"]);
    assert!(reply.is_error(), "{reply:?}");
    assert_eq!(server.digest(), before);
    assert_exact(&server);
}

#[test]
fn any_mix_of_commands_survives_a_restart() {
    for (round, reclaim) in (0..).zip(Reclaim::ALL) {
        let builder = reclaim.builder().setting("trust-loaded", "yes").with_aof(false);
        let mut server = builder.start();
        let mut model = Model::new(&server, Rng::from_env(7 + round), reclaim);
        model.steps(700);
        // With what waits for reclaim, if anything does.
        server.restart(Stop::Kill);
        model.compare_the_living(&mut server.client());
        assert_exact(&server);
        reclaimed(&mut server.client());
        for (how, way) in [(Stop::Kill, "AOF"), (Stop::Save, "AOF with a clean end")] {
            let before = view(&server);
            server.restart(how);
            assert_eq!(view(&server), before, "{way}");
            model.compare_the_living(&mut server.client());
            assert_nothing_was_refused(&server);
            assert_exact(&server);
        }
        let before = view(&server);
        server.client().must("DEBUG RELOAD");
        assert_eq!(view(&server), before, "RDB");
        model.compare_the_living(&mut server.client());
        assert_exact(&server);
    }
}

/// A record with a user_id of 120 bytes, whose length is said to be 0.
fn damaged(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let user = LONG_USER.repeat(120);
    let at = find(&bytes, user.as_bytes()).expect("the user_id");
    assert_eq!(bytes[at - 1], 120);
    bytes[at - 1] = 0;
    bytes
}

const LONG_USER: &str = "u";

fn fill_long(c: &mut Client, key: &str) {
    let user = LONG_USER.repeat(120);
    let scope = "s".repeat(250);
    let record =
        format!(r#"{{"id":"k","user_id":"{user}","is_active":true,"scopes":["{scope}"]}}"#);
    assert_eq!(c.cmd(["APIKEY.SETVAL", key, &record, "SECRET", SECRET]), ok());
}

#[test]
fn a_record_that_no_tag_could_find_is_not_loaded() {
    // From an RDB: none of it.
    let mut server = trusting().config("rdbcompression no").config("rdbchecksum no").start();
    fill_long(&mut server.client(), "long");
    server.stop(Stop::Save);
    let path = server.dir().join("dump.rdb");
    let rdb = fs::read(&path).expect("an RDB");
    fs::write(&path, damaged(&rdb)).expect("written");
    let failed = server.try_start_again().expect_err("it must not start");
    assert!(failed.log.contains("a value can't be loaded: not a record's parts"), "{failed}");
    fs::write(&path, rdb).expect("written");
    server.start_again();

    // By RESTORE.
    let mut c = server.client();
    let dump = damaged(c.cmd(["DUMP", "long"]).bytes());
    let (body, end) = dump.split_at(dump.len() - 10);
    let dump = sealed(body, &end[..2]);
    assert!(c.cmd([b"RESTORE".as_slice(), b"other", b"0", &dump]).is_error());
    assert!(!c.exists("other"));

    // By an AOF: all that was there before it is dead.
    let mut server = trusting().with_aof(false).start();
    let mut c = server.client();
    c.fill("before", &["t"]);
    fill_long(&mut c, "long");
    server.stop(Stop::Kill);
    let path = crate::trust::aof(&server);
    let aof = fs::read(&path).expect("an AOF");
    fs::write(&path, damaged(&aof)).expect("written");
    server.start_again();
    let mut c = server.client();
    assert_eq!(c.codes(["before", "long"]), ["MISS", "MISS"]);
    assert!(!c.exists("long"));
    assert!(server.log().contains("apikey.stored can't be replayed"), "{}", server.log());
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("unhealthy"));
    assert_exact(&server);
}

#[test]
fn check_finds_a_record_that_no_tag_could_find_and_tags_shows_what_there_is() {
    let server = Server::start();
    let other = Server::builder().config("rdbcompression no").start();
    let mut c = server.client();
    if !has_debug_command(&mut c) {
        return;
    }
    fill_long(&mut other.client(), "long");
    let dump = damaged(other.client().cmd(["DUMP", "long"]).bytes());
    // Kind, version, not dead; behind it an end, and the server's own 10 bytes.
    let from = find(&dump, b"r\x05\0").expect("a record") + 3;
    let value = &dump[from..dump.len() - 11];
    assert_eq!(c.cmd([b"APIKEY.DEBUG".as_slice(), b"STORE", b"long", value]), ok());
    assert_eq!(c.run("APIKEY.TAGS long"), array([bulk("apikey:id:k"), bulk("apikey:kind:record")]));
    assert_eq!(c.run("PING"), simple("PONG"));
    let found = "db 0: key long: it names 2 of its 3 tags".to_string();
    assert_eq!(differences(&server), [found]);
}

// The file of the first version. Redis 6.2 wrote it, whose RDB every server reads.

fn v1_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1.rdb")
}

const V1_RICH: &str = r#"{"id":"k-1","user_id":42,"name":"Zoë 🔑","key_prefix":"ak_live_7Qm2","scopes":["users:read","orders:*",{"resource":"files","actions":["read","list"],"note":"kept"}],"is_active":true,"expires_at":"2099-12-31T23:59:59.5+01:00","created_at":9007199254740993,"updated_at":null}"#;

/// Writes `tests/data/v1.rdb`. Run it once, when the format of the first version is final, with
/// `APIKEY_SERVER_BIN` a Redis 6.2; after that the file must never change.
#[test]
#[ignore = "writes the file that all later versions must load"]
fn write_v1_fixture() {
    assert_eq!(kind(), Kind::Redis62, "a newer RDB is not for older servers");
    let server = Server::builder().config("rdbcompression no").start();
    let mut c = server.client();
    let other = "ab".repeat(32);
    let set = |c: &mut Client, key: &str, record: &str, options: &str| {
        let mut args = vec!["APIKEY.SETVAL", key, record];
        args.extend(options.split(' '));
        assert_eq!(c.cmd(args), ok(), "{key}");
        if !options.contains("PXAT") {
            c.must(&format!("PERSIST {key}"));
        }
    };
    let secret = format!("SECRET {SECRET}");
    set(&mut c, "rich", V1_RICH, &format!("{secret} TAGS 2 team:7 plan:pro NS acme:"));
    set(&mut c, "two", &record("k-2", "u-2"), &format!("DIGEST {other} DIGEST {DIGEST}"));
    set(&mut c, "none", &record("k-3", "u-2"), "TAGS 1 team:7");
    let off = r#"{"id":4,"user_id":"u-4","is_active":false}"#;
    set(&mut c, "off", off, &secret);
    let past = r#"{"id":"k-5","user_id":"u-4","is_active":true,"expires_at":1700000000000}"#;
    set(&mut c, "past", past, &secret);
    set(&mut c, "timed", &record("k-6", "u-6"), &format!("{secret} PXAT 4102444800123"));
    set(&mut c, "source", &record("k-7", "u-7"), &format!("{secret} TAGS 1 team:7"));
    c.must("RENAME source dead");
    c.count("pending", 12);
    c.must("APIKEY.USAGE.TAKE pending");
    c.count("pending", 30);
    c.count("settled", 3);
    c.must("APIKEY.USAGE.TAKE settled");
    c.select(3);
    set(&mut c, "elsewhere", &record("k-8", "u-8"), &secret);
    c.must("SAVE");
    fs::create_dir_all(v1_file().parent().expect("directory")).expect("directory");
    fs::copy(server.dir().join("dump.rdb"), v1_file()).expect("copy");
}

#[test]
fn a_file_of_the_first_version_is_loaded() {
    let dir = v1_file();
    let mut server = trusting().start();
    server.stop(Stop::NoSave);
    fs::copy(dir, server.dir().join("dump.rdb")).expect("tests/data/v1.rdb");
    server.start_again();
    assert_exact(&server);
    let mut c = server.client();
    let validate = |c: &mut Client, line: &str| c.must(&format!("APIKEY.VALIDATE {line}"));
    let tags = |c: &mut Client, key: &str| {
        let reply = c.must(&format!("APIKEY.TAGS {key}"));
        let mut tags: Vec<String> = reply.items().iter().map(Reply::text).collect();
        tags.sort();
        tags
    };

    let valid = validate(&mut c, &format!("rich SECRET {SECRET} SCOPE files:list SCOPE orders:x"));
    assert_eq!(valid.items()[0], bulk("VALID"));
    let payload: serde_json::Value =
        serde_json::from_slice(valid.items()[1].bytes()).expect("JSON");
    assert_eq!(payload, serde_json::from_str::<serde_json::Value>(V1_RICH).expect("JSON"));
    assert_eq!(
        validate(&mut c, &format!("rich SECRET {SECRET} SCOPE files:write")),
        array([bulk("FORBIDDEN"), bulk("files:write")])
    );
    assert_eq!(
        tags(&mut c, "rich"),
        [
            "acme:apikey:id:k-1",
            "acme:apikey:kind:record",
            "acme:apikey:user:42",
            "plan:pro",
            "team:7"
        ]
    );
    assert_eq!(
        validate(&mut c, &format!("two DIGEST {}", "ab".repeat(32))).items()[0],
        bulk("VALID")
    );
    assert_eq!(c.code("two"), "VALID");
    assert_eq!(validate(&mut c, "two SECRET wrong"), array([bulk("MISMATCH"), nil()]));
    assert_eq!(c.code("none"), "UNVERIFIED");
    assert_eq!(
        tags(&mut c, "none"),
        ["apikey:id:k-3", "apikey:kind:record", "apikey:user:u-2", "team:7"]
    );
    assert_eq!(c.codes(["off", "past", "timed", "dead"]), ["DISABLED", "EXPIRED", "VALID", "MISS"]);
    assert_eq!(tags(&mut c, "off")[0], "apikey:id:4");
    assert_eq!(c.run("PTTL rich"), int(-1));
    assert!(c.must("PTTL timed").int() > 0);

    let usage = c.must("APIKEY.USAGE.GET pending");
    assert_eq!(usage.get("pending"), &int(30));
    assert_eq!(usage.get("total"), &int(42));
    let (first, last) = (usage.get("first_used_at").int(), usage.get("last_used_at").int());
    assert!(0 < first && first <= last, "{usage:?}");
    assert_eq!(c.usage("settled"), (0, 3));
    assert_eq!(c.flush_usage(), [("pending".to_string(), 30)]);

    assert_eq!(c.invalidate("team:7"), 2); // rich and none; not the dead one
    assert_eq!(c.invalidate("apikey:user:u-4"), 2);
    c.select(3);
    assert_eq!(c.code("elsewhere"), "VALID");
    assert_exact(&server);
}
