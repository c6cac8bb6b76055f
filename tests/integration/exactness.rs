//! Exactness: the tag index and the index of pending counters equal the keyspace, whoever changed a key.
//! APIKEY.CHECK compares the two in one walk; TAGINVAL's counts and FLUSH's lists confirm it from outside.

use crate::harness::server::kind;
use crate::harness::*;
use crate::model::{Model, Reclaim};

/// Entries `a` and `b` share a tag, `c` has another; of two counters one has something pending.
fn set_up(c: &mut Client) {
    c.fill("a", &["shared", "only-a"]);
    c.fill("b", &["shared"]);
    c.fill("c", &["other"]);
    c.count("pending", 5);
    c.count("settled", 3);
    c.must("APIKEY.USAGE.TAKE settled");
}

fn started() -> (Server, Client) {
    let server = Server::start();
    let mut c = server.client();
    set_up(&mut c);
    (server, c)
}

fn pending(key: &str, count: i64) -> Vec<(String, i64)> {
    vec![(key.to_string(), count)]
}

/// Waits until the server's clock is past the TTL of `key`, without touching the key itself.
fn outlive(c: &mut Client, ttl_ms: i64) {
    let now = |c: &mut Client| {
        let time = c.must("TIME");
        let part = |i: usize| -> i64 { time.items()[i].text().parse().expect("a number") };
        part(0) * 1000 + part(1) / 1000
    };
    let until = now(c) + ttl_ms + 1;
    eventually("the time has come", || now(c) > until);
}

#[test]
fn setval_over_an_entry_replaces_its_tags() {
    let (server, mut c) = started();
    c.fill("a", &["new"]);
    assert_exact(&server);
    assert_eq!(c.invalidate("only-a"), 0);
    assert_eq!(c.code("a"), "VALID");
    assert_eq!(c.invalidate("shared"), 1);
    assert_eq!(c.invalidate("new"), 1);
    assert_eq!(c.code("a"), "MISS");
    assert_exact(&server);
}

#[test]
fn a_setval_that_was_refused_leaves_the_tags_as_they_were() {
    let (server, mut c) = started();
    let line = format!("APIKEY.SETVAL a {} TAGS 1 new NX", record("id", "u1"));
    assert_eq!(c.run(&line), nil());
    let bad = c.run("APIKEY.SETVAL a {} TAGS 1 new");
    assert!(bad.text().starts_with("BADRECORD"), "{bad:?}");
    assert_exact(&server);
    assert_eq!(c.invalidate("new"), 0);
    assert_eq!(c.invalidate("only-a"), 1);
}

#[test]
fn whatever_overwrites_an_entry_removes_it_from_its_tags() {
    let (server, mut c) = started();
    c.must("SET a text");
    c.must("SET pending text");
    c.must("SADD set 1");
    c.must("SUNIONSTORE b set");
    c.must("SORT set STORE c");
    assert_exact(&server);
    assert_eq!(c.invalidate("shared"), 0);
    assert_eq!(c.invalidate("other"), 0);
    assert_eq!(c.flush_usage(), []);
    assert_eq!(c.run("GET a"), bulk("text"));
    c.must("DEL a b c pending");
    set_up(&mut c);
    assert_eq!(c.invalidate("shared"), 2);
    assert_exact(&server);
}

#[test]
fn del_and_unlink_remove_entries_and_counters() {
    let (server, mut c) = started();
    assert_eq!(c.run("DEL a pending"), int(2));
    assert_eq!(c.run("UNLINK c settled"), int(2));
    assert_exact(&server);
    assert_eq!(c.flush_usage(), []);
    assert_eq!(c.invalidate("other"), 0);
    assert_eq!(c.invalidate("shared"), 1);
    assert_eq!(c.run("DBSIZE"), int(0));
    assert_exact(&server);
}

#[test]
fn an_entry_that_expires_leaves_the_index() {
    let (server, mut c) = started();
    assert_eq!(c.run("PEXPIRE a -1"), int(1));
    assert_eq!(c.run("PEXPIRE b 1"), int(1));
    // Nobody touches it: the server's own cycle finds it.
    eventually("b is gone", || c.must("DBSIZE") == int(3));
    assert_exact(&server);
    assert_eq!(c.invalidate("shared"), 0);
    c.must("PEXPIRE pending 1");
    outlive(&mut c, 1);
    assert_eq!(c.usage("pending"), (0, 0));
    assert_eq!(c.flush_usage(), []);
    assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "MISS", "VALID"]);
    assert_exact(&server);
}

#[test]
fn an_expired_entry_that_is_still_in_memory_counts_as_nothing() {
    let (server, mut c) = started();
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    for key in ["a", "pending"] {
        assert_eq!(c.run(&format!("PEXPIRE {key} 1")), int(1));
    }
    outlive(&mut c, 1);
    assert_eq!(c.run("DBSIZE"), int(5));
    assert_exact(&server);
    assert_eq!(c.invalidate("shared"), 1);
    assert_eq!(c.flush_usage(), []);
    assert_exact(&server);
    // Written to, it is as if it were not there.
    c.fill("c", &["other"]);
    c.must("PEXPIRE c 1");
    outlive(&mut c, 1);
    let set = format!("APIKEY.SETVAL c {} SECRET {SECRET}", record("id", "u1"));
    assert_eq!(c.run(&format!("{set} XX")), nil());
    assert_eq!(c.run(&format!("{set} NX")), ok());
    assert_eq!(c.invalidate("other"), 0);
    assert_eq!(c.code("c"), "VALID");
    c.must("PEXPIRE settled 1");
    outlive(&mut c, 1);
    assert_eq!(c.count("settled", 2), 2);
    assert_eq!(c.usage("settled"), (2, 2));
    assert_exact(&server);
}

/// Runs a command in one transaction with CLIENT PAUSE, so that the server may not delete what has expired
/// while it runs, and gives its reply.
#[track_caller]
fn run_while_paused(c: &mut Client, line: &str) -> Reply {
    for line in ["MULTI", "CLIENT PAUSE 60000 WRITE", line] {
        c.must(line);
    }
    let replies = c.must("EXEC");
    c.must("CLIENT UNPAUSE");
    replies.items()[1].clone()
}

#[test]
fn an_expired_entry_that_may_not_be_deleted_yet_takes_nothing_else_with_it_later() {
    let server = Server::start();
    let mut c = server.client();
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    let set = |key: &str| {
        format!("APIKEY.SETVAL {key} {} SECRET {SECRET} PX 50 TAGS 1 t", record("id", "u1"))
    };
    // Expired ones first, in the middle and last in the tag's list.
    for key in ["a", "alive", "b", "alive2", "c"] {
        match key {
            "a" | "b" | "c" => drop(c.must(&set(key))),
            key => c.fill(key, &["t"]),
        }
    }
    outlive(&mut c, 50);
    // What has expired is gone for who asks, but Redis 6.2 opens it for writing while it is paused.
    let killed = if kind() == server::Kind::Redis62 { 5 } else { 2 };
    assert_eq!(run_while_paused(&mut c, "APIKEY.TAGINVAL t"), int(killed));
    assert_exact(&server);
    // These take the places that are free.
    for key in ["new1", "new2", "new3", "new4", "new5"] {
        c.fill(key, &["u"]);
    }
    for key in ["a", "b", "c"] {
        assert_eq!(c.run(&format!("GET {key}")), nil());
        assert_exact(&server);
    }
    assert_eq!(c.run("DBSIZE"), int(5));
    assert_eq!(c.codes(["alive", "alive2", "new1", "new5"]), ["MISS", "MISS", "VALID", "VALID"]);
    assert_eq!(c.invalidate("t"), 0);
    assert_eq!(c.invalidate("u"), 5);
    assert_eq!(c.codes(["new1", "new2", "new3", "new4", "new5"]), ["MISS"; 5]);
    assert_exact(&server);
}

#[test]
fn an_expired_counter_that_may_not_be_deleted_yet_takes_nothing_else_with_it_later() {
    let server = Server::start();
    let mut c = server.client();
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    for key in ["a", "alive", "b", "alive2", "c"] {
        c.count(key, 5);
    }
    for key in ["a", "b", "c"] {
        c.must(&format!("PEXPIRE {key} 50"));
    }
    outlive(&mut c, 50);
    let flushed = run_while_paused(&mut c, "APIKEY.USAGE.FLUSH");
    let mut keys: Vec<String> = flushed.items().chunks(2).map(|pair| pair[0].text()).collect();
    keys.sort();
    // As above, of Redis 6.2.
    let all = ["a", "alive", "alive2", "b", "c"];
    assert_eq!(keys, if kind() == server::Kind::Redis62 { &all[..] } else { &all[1..3] });
    assert_exact(&server);
    for key in ["new1", "new2", "new3"] {
        c.count(key, 7);
    }
    for key in ["a", "b", "c"] {
        assert_eq!(c.run(&format!("GET {key}")), nil());
        assert_exact(&server);
    }
    c.count("new1", 1);
    assert_eq!(c.must("APIKEY.HEALTH").get("usage_pending"), &int(22));
    assert_eq!(
        c.flush_usage(),
        [("new1".to_string(), 8), ("new2".to_string(), 7), ("new3".to_string(), 7)]
    );
    assert_exact(&server);
}

/// Fills 1,500 entries of one tag, gives the server too little memory for them under `policy`, and
/// compares what is left.
#[track_caller]
fn evicted(policy: &str) {
    const ENTRIES: i64 = 1500;
    let (server, mut c) = started();
    let lines: Vec<String> = (0..ENTRIES)
        .map(|i| {
            let record = record(&format!("id{i}"), "u1");
            format!("APIKEY.SETVAL e{i} {record} SECRET {SECRET} TAGS 2 many unique{i}")
        })
        .collect();
    assert_eq!(c.pipeline(&lines), vec![ok(); ENTRIES as usize]);
    let used = c.info("memory", "used_memory").expect("used_memory");
    let used: usize = used.parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory-policy {policy}"));
    c.must(&format!("CONFIG SET maxmemory {}", used - 300_000));
    // A write that needs memory makes room first, as far as one call may.
    eventually("some are evicted", || {
        c.must("SET filler x");
        let evicted = c.info("stats", "evicted_keys").expect("evicted_keys");
        evicted.parse::<i64>().expect("a number") > 100
    });
    c.must("CONFIG SET maxmemory 0");
    assert_exact(&server);
    let lines: Vec<String> =
        (0..ENTRIES).map(|i| format!("APIKEY.VALIDATE e{i} SECRET {SECRET}")).collect();
    let codes = c.pipeline(&lines);
    let left = codes.iter().filter(|r| code_of(r) == "VALID").count() as i64;
    let missing = codes.iter().filter(|r| code_of(r) == "MISS").count() as i64;
    assert_eq!(left + missing, ENTRIES);
    assert!(left > 0 && missing > 0, "left {left}, evicted {missing}");
    if policy == "volatile-lru" {
        assert_eq!(c.flush_usage(), pending("pending", 5));
    }
    // More than sync-reclaim: then the count is an upper bound.
    let killed = c.invalidate("many");
    assert!(killed >= left && killed <= ENTRIES, "{killed} of {left}");
    assert_eq!(c.code("e0"), "MISS");
    assert_exact(&server);
}

#[test]
fn eviction_under_volatile_lru_leaves_an_exact_index_and_all_counters() {
    evicted("volatile-lru");
}

#[test]
fn eviction_under_allkeys_lru_leaves_an_exact_index() {
    evicted("allkeys-lru");
}

#[test]
fn a_renamed_entry_is_a_miss_until_it_is_reclaimed() {
    let (server, mut c) = started();
    if !hold(&mut c) {
        return;
    }
    c.must("RENAME a moved");
    assert_exact(&server);
    assert_eq!(c.codes(["a", "moved"]), ["MISS", "MISS"]);
    assert_eq!(c.run("TYPE moved"), simple("apikeyrec"));
    assert!(c.must("PTTL moved").int() > 0);
    assert_eq!(c.run("APIKEY.TAGS moved"), array([]));
    assert_eq!(c.invalidate("only-a"), 0);
    assert_eq!(c.invalidate("shared"), 1);
    assert_exact(&server);
    // A dead entry counts as nothing for NX; and what is stored is alive.
    c.must("RENAME c moved");
    let set = format!("APIKEY.SETVAL moved {} SECRET {SECRET}", record("id", "u1"));
    assert_eq!(c.run(&format!("{set} XX")), nil());
    assert_eq!(c.run(&format!("{set} NX")), ok());
    assert_eq!(c.code("moved"), "VALID");
    // The way back does not raise the dead either.
    c.must("RENAME moved b");
    c.must("RENAME b moved");
    assert_eq!(c.code("moved"), "MISS");
    assert_exact(&server);
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(c.run("EXISTS a b c moved"), int(0));
    assert_exact(&server);
}

#[test]
fn rename_onto_an_entry_removes_that_entry() {
    let (server, mut c) = started();
    c.must("SET text x");
    c.must("RENAME text a");
    c.must("RENAME c b");
    assert_exact(&server);
    assert_eq!(c.run("GET a"), bulk("x"));
    assert_eq!(c.code("b"), "MISS");
    assert_eq!(c.invalidate("shared"), 0);
    assert_eq!(c.invalidate("other"), 0);
    c.fill("a2", &["shared"]);
    assert_eq!(c.run("RENAMENX text a2"), error("ERR no such key"));
    assert_eq!(c.run("RENAMENX a a2"), int(0));
    assert_eq!(c.code("a2"), "VALID");
    c.must("RENAME a2 a2");
    assert_eq!(c.code("a2"), "VALID");
    assert_exact(&server);
}

#[test]
fn a_renamed_counter_comes_whole() {
    let (server, mut c) = started();
    c.must("RENAME pending renamed");
    assert_eq!(c.usage("pending"), (0, 0));
    assert_eq!(c.usage("renamed"), (5, 5));
    c.must("RENAME renamed settled");
    assert_eq!(c.usage("settled"), (5, 5));
    c.must("RENAME settled a");
    assert_exact(&server);
    assert_eq!(c.flush_usage(), pending("a", 5));
    assert_eq!(c.usage("a"), (0, 5));
    assert_eq!(c.invalidate("shared"), 1);
    assert_exact(&server);
}

#[test]
fn a_copy_is_a_miss_and_its_source_lives_on() {
    let (server, mut c) = started();
    assert_eq!(c.run("COPY a copy"), int(1));
    assert_eq!(c.run("COPY a b"), int(0));
    assert_eq!(c.run("COPY a b REPLACE"), int(1));
    assert_eq!(c.run("COPY a a DB 1"), int(1));
    assert_exact(&server);
    assert_eq!(c.codes(["a", "copy", "b"]), ["VALID", "MISS", "MISS"]);
    c.select(1);
    assert_eq!(c.code("a"), "MISS");
    assert_eq!(c.invalidate("only-a"), 0);
    c.select(0);
    assert_eq!(c.invalidate("shared"), 1);
    assert_exact(&server);
}

#[test]
fn a_copied_counter_begins_with_nothing_also_in_another_database() {
    let (server, mut c) = started();
    assert_eq!(c.run("COPY pending twin"), int(1));
    assert_eq!(c.run("COPY pending twin DB 1"), int(1));
    c.count("pending", 1);
    assert_exact(&server);
    assert_eq!(c.usage("twin"), (0, 0));
    assert_eq!(c.usage("pending"), (6, 6));
    c.count("twin", 2);
    assert_eq!(c.flush_usage(), [("pending".to_string(), 6), ("twin".to_string(), 2)]);
    c.select(1);
    assert_eq!(c.usage("twin"), (0, 0));
    assert_eq!(c.flush_usage(), []);
    assert_exact(&server);
}

#[test]
fn move_makes_an_entry_a_miss_and_brings_a_counter_whole() {
    let (server, mut c) = started();
    assert_eq!(c.run("MOVE a 1"), int(1));
    assert_eq!(c.run("MOVE pending 1"), int(1));
    assert_exact(&server);
    assert_eq!(c.code("a"), "MISS");
    assert_eq!(c.flush_usage(), []);
    assert_eq!(c.invalidate("shared"), 1);
    c.select(1);
    assert_eq!(c.code("a"), "MISS");
    assert_eq!(c.invalidate("shared"), 0);
    assert_eq!(c.usage("pending"), (5, 5));
    assert_eq!(c.flush_usage(), pending("pending", 5));
    assert_exact(&server);
}

#[test]
fn swapdb_moves_entries_alive_with_their_index() {
    let (server, mut c) = started();
    c.select(1);
    c.fill("z", &["shared"]);
    c.select(0);
    c.must("SWAPDB 0 1");
    assert_exact(&server);
    assert_eq!(c.codes(["a", "z"]), ["MISS", "VALID"]);
    assert_eq!(c.flush_usage(), []);
    assert_eq!(c.invalidate("shared"), 1);
    c.select(1);
    assert_eq!(c.codes(["a", "b", "c"]), ["VALID", "VALID", "VALID"]);
    assert_eq!(c.invalidate("only-a"), 1);
    assert_eq!(c.invalidate("shared"), 1);
    assert_eq!(c.flush_usage(), pending("pending", 5));
    c.must("SWAPDB 1 1");
    c.must("SWAPDB 1 3");
    assert_eq!(c.code("c"), "MISS");
    c.select(3);
    assert_eq!(c.code("c"), "VALID");
    // Swapped back and written again.
    c.fill("c", &["again"]);
    c.must("SWAPDB 3 0");
    assert_exact(&server);
    c.select(0);
    assert_eq!(c.invalidate("other"), 0);
    assert_eq!(c.invalidate("again"), 1);
    assert_exact(&server);
}

#[test]
fn flushdb_of_another_database_leaves_this_one() {
    let (server, mut c) = started();
    c.select(1);
    set_up(&mut c);
    for how in ["FLUSHDB SYNC", "FLUSHDB ASYNC"] {
        set_up(&mut c);
        c.must(how);
        assert_exact(&server);
        assert_eq!(c.invalidate("shared"), 0);
        assert_eq!(c.flush_usage(), []);
    }
    c.select(0);
    assert_eq!(c.codes(["a", "b", "c"]), ["VALID", "VALID", "VALID"]);
    assert_eq!(c.invalidate("shared"), 2);
    assert_eq!(c.flush_usage(), pending("pending", 5));
    assert_exact(&server);
}

#[test]
fn flushdb_and_flushall_empty_the_index() {
    let (server, mut c) = started();
    for how in ["FLUSHDB SYNC", "FLUSHDB ASYNC", "FLUSHALL SYNC", "FLUSHALL ASYNC", "FLUSHALL"] {
        for db in 0..2 {
            c.select(db);
            set_up(&mut c);
        }
        c.must(how);
        assert_exact(&server);
        assert_eq!(c.code("a"), "MISS", "{how}");
        assert_eq!(c.invalidate("shared"), 0, "{how}");
        assert_eq!(c.flush_usage(), [], "{how}");
        // What comes next is alive.
        set_up(&mut c);
        assert_exact(&server);
        assert_eq!(c.invalidate("shared"), 2, "{how}");
        assert_eq!(c.flush_usage(), pending("pending", 5), "{how}");
        assert_exact(&server);
    }
}

#[test]
fn a_restored_entry_is_a_miss_and_a_restored_counter_comes_whole() {
    let (server, mut c) = started();
    let entry = c.must("DUMP a");
    let counter = c.must("DUMP pending");
    let restore = |c: &mut Client, key: &str, dump: &Reply, more: &[&str]| {
        let mut args = vec![b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes()];
        args.extend(more.iter().map(|m| m.as_bytes()));
        c.cmd(args)
    };
    assert_eq!(restore(&mut c, "new", &entry, &[]), ok());
    assert_eq!(restore(&mut c, "b", &entry, &[]), error("BUSYKEY Target key name already exists."));
    assert_eq!(restore(&mut c, "b", &entry, &["REPLACE"]), ok());
    assert_eq!(restore(&mut c, "c", &counter, &["REPLACE"]), ok());
    assert_eq!(restore(&mut c, "d", &counter, &[]), ok());
    assert_exact(&server);
    assert_eq!(c.codes(["a", "b", "new"]), ["VALID", "MISS", "MISS"]);
    assert_eq!(c.invalidate("other"), 0);
    assert_eq!(c.usage("c"), (5, 5));
    assert_eq!(c.usage("d"), (5, 5));
    // Over itself: it came by RESTORE, so it is dead.
    assert_eq!(restore(&mut c, "a", &entry, &["REPLACE"]), ok());
    assert_eq!(c.code("a"), "MISS");
    assert_eq!(c.invalidate("shared"), 0);
    // A time in the past: it never enters.
    let past = [b"RESTORE".as_slice(), b"a", b"1", entry.bytes(), b"ABSTTL", b"REPLACE"];
    assert_eq!(c.cmd(past), ok());
    assert!(!c.exists("a"));
    assert_eq!(
        c.flush_usage(),
        [("c".to_string(), 5), ("d".to_string(), 5), ("pending".to_string(), 5)]
    );
    assert_exact(&server);
}

#[test]
fn migrate_brings_entries_dead_and_counters_whole() {
    let (server, mut c) = started();
    let other = Server::start();
    let port = other.port;
    let mut there = other.client();
    let held = hold(&mut there);
    c.must(&format!("MIGRATE 127.0.0.1 {port}  0 5000 KEYS a pending"));
    assert_exact(&server);
    assert_exact(&other);
    assert_eq!(c.code("a"), "MISS");
    assert_eq!(c.usage("pending"), (0, 0));
    assert_eq!(there.code("a"), "MISS");
    assert_eq!(there.invalidate("only-a"), 0);
    assert_eq!(there.usage("pending"), (5, 5));
    assert_exact(&other);
    if held {
        assert!(there.exists("a"));
        release(&mut there);
    }
    eventually("it is reclaimed", || !there.exists("a"));
    assert_eq!(there.usage("pending"), (5, 5));
    assert_exact(&other);
}

#[test]
fn debug_reload_leaves_an_exact_index() {
    for trust in ["yes", "no"] {
        let server = Server::builder().setting("trust-loaded", trust).start();
        let mut c = server.client();
        set_up(&mut c);
        c.must("RENAME b dead");
        c.must("DEBUG RELOAD");
        assert_exact(&server);
        let (alive, code) = if trust == "yes" { (1, "VALID") } else { (0, "MISS") };
        assert_eq!(c.codes(["a", "dead", "c"]), [code, "MISS", code]);
        assert_eq!(c.invalidate("shared"), alive, "trust-loaded {trust}");
        assert_eq!(c.usage("pending"), (5, 5));
        assert_eq!(c.usage("settled"), (0, 3));
        assert_eq!(c.flush_usage(), pending("pending", 5));
        assert_exact(&server);
        set_up(&mut c);
        // What is loaded beside what is there, and over it.
        c.fill("new", &["shared"]);
        c.must("DEBUG RELOAD MERGE NOFLUSH NOSAVE");
        assert_exact(&server);
        assert_eq!(c.invalidate("shared"), 2 + alive, "trust-loaded {trust}"); // b, new; a
        assert_exact(&server);
    }
}

#[test]
fn a_transaction_leaves_an_exact_index() {
    let (server, mut c) = started();
    c.must("MULTI");
    let set = format!("APIKEY.SETVAL d {} SECRET {SECRET} TAGS 1 shared", record("id", "u1"));
    for line in [
        &set,
        "RENAME a moved",
        "APIKEY.TAGINVAL shared",
        &set,
        "COPY d d DB 1",
        "SWAPDB 0 1",
        "APIKEY.USAGE.INCR e BY 2",
        "SWAPDB 0 1",
        "DEL c",
        "APIKEY.USAGE.TAKE pending",
        "APIKEY.USAGE.INCR pending BY 7",
        "APIKEY.TAGINVAL other",
    ] {
        assert_eq!(c.run(line), simple("QUEUED"));
    }
    assert_eq!(
        c.run("EXEC"),
        array([
            ok(),
            ok(),
            int(2), // b and d; what a was renamed to is dead
            ok(),
            int(1),
            ok(),
            int(2),
            ok(),
            int(1),
            array([int(5)]),
            int(7),
            int(0),
        ])
    );
    assert_exact(&server);
    assert_eq!(c.codes(["a", "b", "c", "d", "moved"]), ["MISS", "MISS", "MISS", "VALID", "MISS"]);
    assert_eq!(c.flush_usage(), pending("pending", 7));
    assert_eq!(c.invalidate("shared"), 1);
    c.select(1);
    assert_eq!(c.invalidate("shared"), 0);
    assert_eq!(c.flush_usage(), pending("e", 2));
    assert_exact(&server);
}

#[test]
fn a_script_leaves_an_exact_index() {
    let (server, mut c) = started();
    let script = r#"
        local call = redis.call
        call('APIKEY.SETVAL', 'd', ARGV[1], 'SECRET', ARGV[2], 'TAGS', 1, 'shared')
        call('RENAME', 'a', 'moved')
        call('COPY', 'c', 'copy')
        call('SET', 'c', 'text')
        call('APIKEY.USAGE.INCR', 'settled', 'BY', 4)
        call('MOVE', 'pending', 1)
        local killed = call('APIKEY.TAGINVAL', 'shared')
        call('APIKEY.SETVAL', 'd', ARGV[1], 'SECRET', ARGV[2], 'TAGS', 1, 'shared')
        call('SELECT', 2)
        call('APIKEY.SETVAL', 'd', ARGV[1], 'SECRET', ARGV[2], 'TAGS', 1, 'shared')
        call('SWAPDB', 2, 3)
        return {killed, call('APIKEY.TAGINVAL', 'shared')}
    "#;
    let reply = c.cmd(["EVAL", script, "0", &record("id", "u1"), SECRET]);
    // b and d in database 0; nothing in 2, whose entry went to 3.
    assert_eq!(reply, array([int(2), int(0)]));
    assert_exact(&server);
    assert_eq!(c.codes(["d", "moved", "copy"]), ["VALID", "MISS", "MISS"]);
    assert_eq!(c.flush_usage(), pending("settled", 4));
    c.select(3);
    assert_eq!(c.code("d"), "VALID");
    c.select(1);
    assert_eq!(c.flush_usage(), pending("pending", 5));
    assert_exact(&server);
}

#[test]
fn check_finds_what_the_index_lacks() {
    let (server, mut c) = started();
    if !has_debug_command(&mut c) {
        return;
    }
    c.fill("forgotten", &["shared"]);
    c.must("APIKEY.DEBUG FORGET forgotten");
    let check = c.must("APIKEY.CHECK");
    assert_eq!(check.names(), ["keys", "entries", "differences", "found"]);
    assert_eq!(check.get("differences"), &int(1), "{check:?}");
    let found = check.get("found").items();
    assert_eq!(found.len(), 1);
    assert!(found[0].text().contains("forgotten"), "{check:?}");
    // What is stored anew is in order again.
    c.fill("forgotten", &["shared"]);
    assert_exact(&server);
    assert_eq!(c.invalidate("shared"), 3);
}

#[test]
fn check_names_no_more_than_a_hundred_differences() {
    let (_server, mut c) = started();
    if !has_debug_command(&mut c) {
        return;
    }
    for i in 0..120 {
        c.fill(&format!("e{i}"), &["shared"]);
        c.must(&format!("APIKEY.DEBUG FORGET e{i}"));
    }
    let check = c.must("APIKEY.CHECK");
    assert_eq!(check.get("differences"), &int(120));
    assert_eq!(check.get("found").items().len(), 100);
}

#[test]
fn check_is_a_map_for_who_speaks_resp3() {
    let (_server, mut c) = started();
    assert!(matches!(c.must("APIKEY.CHECK"), Reply::Array(_)));
    if kind() != server::Kind::Redis62 {
        c.resp3();
        assert!(matches!(c.must("APIKEY.CHECK"), Reply::Map(_)));
    }
}

#[test]
fn check_leaves_the_frequency_of_keys_as_it_was() {
    let server = Server::builder()
        .config("maxmemory-policy allkeys-lfu")
        .config("lfu-log-factor 0") // every use counts
        .config("lfu-decay-time 0")
        .start();
    let mut c = server.client();
    set_up(&mut c);
    if !hold(&mut c) {
        return;
    }
    c.must("RENAME b dead");
    let keys = ["a", "c", "dead", "pending", "settled"];
    let frequencies = |c: &mut Client| keys.map(|key| c.must(&format!("OBJECT FREQ {key}")).int());
    let before = frequencies(&mut c);
    for _ in 0..3 {
        assert_exact(&server);
    }
    assert_eq!(frequencies(&mut c), before);
    // A read is a use.
    assert_eq!(c.code("a"), "VALID");
    assert_eq!(frequencies(&mut c)[0], before[0] + 1);
}

#[test]
fn an_idle_time_that_comes_with_a_key_stays_and_check_does_not_end_it() {
    let server = Server::builder()
        .setting("trust-loaded", "yes")
        .config("maxmemory-policy allkeys-lru") // then an RDB has it too
        .start();
    let mut c = server.client();
    set_up(&mut c);
    if !hold(&mut c) {
        return;
    }
    for key in ["a", "pending"] {
        let dump = c.must(&format!("DUMP {key}"));
        let args = [b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes()];
        let restore = [&args[..], &[b"REPLACE".as_slice(), b"IDLETIME", b"1000"]].concat();
        assert_eq!(c.cmd(restore), ok());
    }
    for line in ["PING", "APIKEY.CHECK", "DEBUG RELOAD", "APIKEY.CHECK"] {
        c.must(line);
        for key in ["a", "pending"] {
            let idle = c.must(&format!("OBJECT IDLETIME {key}")).int();
            assert!((1000..2000).contains(&idle), "{key} after {line}: {idle}");
        }
    }
    assert_eq!(c.code("a"), "MISS");
    assert!(c.must("OBJECT IDLETIME a").int() < 1000);
    assert_exact(&server);
}

#[test]
fn check_is_refused_where_it_cannot_wait() {
    let (server, mut c) = started();
    c.must("MULTI");
    let reply = c.run("APIKEY.CHECK");
    let in_transaction = if reply == simple("QUEUED") {
        c.must("EXEC").items()[0].clone()
    } else {
        c.run("DISCARD");
        reply
    };
    assert!(in_transaction.is_error(), "{in_transaction:?}");
    let in_script = c.cmd(["EVAL", "return redis.call('APIKEY.CHECK')", "0"]);
    assert!(in_script.is_error(), "{in_script:?}");
    assert_exact(&server);
}

/// Enough entries that a walk over them takes many slices.
#[track_caller]
fn fill_many(c: &mut Client) {
    let lines: Vec<String> = (0..MANY)
        .map(|i| {
            let record = record(&format!("id{i}"), &format!("u{}", i % 100));
            format!("APIKEY.SETVAL e{i} {record} SECRET {SECRET} TAGS 1 t{}", i % 1000)
        })
        .collect();
    assert_eq!(c.pipeline(&lines), vec![ok(); MANY]);
}

const MANY: usize = 10_000;

#[test]
fn check_walks_while_others_write() {
    let (server, mut c) = started();
    fill_many(&mut c);
    let mut checker = server.client();
    for round in 0..5 {
        checker.send(["APIKEY.CHECK"]).expect("send");
        for i in (round..400).step_by(5) {
            c.must(&format!("DEL e{i}"));
            c.must(&format!("RENAME e{} r{i}", i + 1000));
            c.fill(&format!("new{i}"), &["new"]);
            c.invalidate(&format!("t{}", i + 500));
        }
        let check = checker.read().expect("reply");
        assert_eq!(check.get("differences"), &int(0), "{check:?}");
    }
    assert_exact(&server);
}

#[test]
fn check_walks_while_databases_are_exchanged_emptied_and_loaded() {
    let server = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = server.client();
    let mut checker = server.client();
    for line in ["SWAPDB 0 1", "FLUSHDB ASYNC", "FLUSHALL", "DEBUG RELOAD"] {
        c.must("FLUSHALL");
        fill_many(&mut c);
        checker.send(["APIKEY.CHECK"]).expect("send");
        c.must("PING");
        c.must(line);
        let check = checker.read().expect("reply");
        assert_eq!(check.get("differences"), &int(0), "{line}: {check:?}");
        assert_exact(&server);
    }
}

#[test]
fn a_client_that_does_not_wait_for_check_leaves_no_trace() {
    let (server, mut c) = started();
    fill_many(&mut c);
    for _ in 0..20 {
        let mut checker = server.client();
        checker.send(["APIKEY.CHECK"]).expect("send");
        c.must("PING");
        drop(checker);
    }
    let mut killed = server.client();
    let id = killed.must("CLIENT ID").int();
    killed.send(["APIKEY.CHECK"]).expect("send");
    c.must("PING");
    c.must(&format!("CLIENT KILL ID {id}"));
    assert_exact(&server);
}

#[test]
fn a_node_of_a_cluster_has_an_exact_index() {
    let server = Server::builder().config("cluster-enabled yes").config("databases 1").start();
    let mut c = server.client();
    let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
    c.must(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
    eventually("the cluster is up", || c.must("CLUSTER INFO").text().contains("cluster_state:ok"));
    set_up(&mut c);
    c.fill("{a}2", &["shared"]);
    c.fill("{a}3", &["shared"]);
    c.must("RENAME {a}2 {a}4");
    c.must("COPY a {a}5");
    c.must("DEL c");
    assert_eq!(c.must("APIKEY.CHECK").get("found"), &array([]));
    assert_eq!(c.codes(["a", "{a}4", "{a}5"]), ["VALID", "MISS", "MISS"]);
    assert_eq!(c.invalidate("shared"), 3);
    assert_eq!(c.flush_usage(), pending("pending", 5));
    assert_eq!(c.must("APIKEY.CHECK").get("found"), &array([]));
    set_up(&mut c);
    c.must("FLUSHALL");
    assert_eq!(c.must("APIKEY.CHECK").get("found"), &array([]));
    assert_eq!(c.invalidate("shared"), 0);
}

#[test]
fn any_mix_of_commands_leaves_an_exact_index_and_the_expected_answers() {
    let figures =
        ["admitted", "repeated_ids", "ids_dropped_early", "rate_limited", "usage_exceeded"];
    let mut sums = figures.map(|_| 0);
    for (round, reclaim) in (0..).zip(Reclaim::ALL) {
        let server = reclaim.builder().setting("trust-loaded", "yes").start();
        let mut model = Model::new(&server, Rng::from_env(20_261_121 + round), reclaim);
        model.with_reload = true;
        let mut c = server.client();
        for _ in 0..12 {
            model.steps(100);
            model.compare(&mut c);
            assert_exact(&server);
        }
        model.end();
        model.compare(&mut c);
        assert_exact(&server);
        let health = c.must("APIKEY.HEALTH");
        sums.iter_mut().zip(figures).for_each(|(sum, name)| *sum += health.get(name).int());
    }
    println!("{figures:?}: {sums:?}");
    assert!(sums.iter().all(|sum| *sum > 0), "all happened: {sums:?}");
}

#[test]
fn check_is_a_map_of_what_was_compared() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("a", &["x"]);
    c.count("pending", 1);
    c.count("settled", 1);
    c.must("APIKEY.USAGE.TAKE settled");
    c.must("SET str value");
    let expected = array([
        bulk("keys"),
        int(4),
        bulk("entries"),
        int(2),
        bulk("differences"),
        int(0),
        bulk("found"),
        array([]),
    ]);
    assert_eq!(c.must("APIKEY.CHECK"), expected);
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.CHECK");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(as_map.names(), ["keys", "entries", "differences", "found"]);
    }
}
