//! Regions that may hold so much: what goes, how fast, and that all others are told.

use super::calls::*;
use crate::harness::server::Stop;
use crate::harness::*;
use std::time::Duration;

/// Waits until a region holds at most so many entries, and bytes.
#[track_caller]
fn within(c: &mut Client, region: &str, entries: i64, bytes: i64) {
    eventually("the region is within its bounds", || {
        stat(c, region, "entries") <= entries && stat(c, region, "bytes") <= bytes
    });
}

fn kept(c: &mut Client, region: &str, keys: &str, from: usize, to: usize) -> usize {
    (from..to).filter(|n| c.exists(&format!("{keys}{n}"))).filter(|_| !region.is_empty()).count()
}

#[test]
fn a_region_holds_at_most_so_many_entries_of_its_own() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXENTRIES 100");
    store_many(&mut c, "other", 200, "s v");
    store_many(&mut c, "ns", 200, "r v NS n:");
    for n in 0..500 {
        set(&mut c, &format!("k{n} r v"));
        assert!(stat(&mut c, "r", "entries") <= 100, "never more, where one comes at a time");
        assert!(c.exists(&format!("k{n}")), "what has just come stays");
    }
    assert_eq!((stat(&mut c, "r", "entries"), stat(&mut c, "r", "evicted")), (100, 400));
    assert_eq!([stat(&mut c, "s", "entries"), stat(&mut c, "r NS n:", "entries")], [200, 200]);
    assert_eq!(c.must("DBSIZE"), int(500));
    // To overwrite is not one more.
    set(&mut c, "k499 r w");
    assert_eq!(stat(&mut c, "r", "evicted"), 400);
    // Of many at once the rest goes in the background.
    let token = c.must("APIKEY.TOKEN x").text();
    let pairs: String = (0..1000).map(|n| format!(" m{n} v")).collect();
    assert_eq!(c.must(&format!("CACHE.MSET r 1000{pairs} TOKEN {token}")), int(1000));
    within(&mut c, "r", 100, i64::MAX);
    assert_eq!(c.must("DBSIZE"), int(500));
    assert_exact(&server);
}

#[test]
fn a_region_holds_at_most_so_many_bytes() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXBYTES 20000");
    let value = "x".repeat(300);
    for n in 0..300 {
        set(&mut c, &format!("k{n} r {value}"));
        assert!(stat(&mut c, "r", "bytes") <= 20_000);
    }
    let entries = stat(&mut c, "r", "entries");
    assert!((40..=60).contains(&entries), "{entries}");
    // A large one takes the place of many small ones, a few of which go at once.
    region(&mut c, "small MAXBYTES 20000");
    store_many(&mut c, "s", 150, "small v");
    let (before, large) = (stat(&mut c, "small", "entries"), "x".repeat(19_000));
    set(&mut c, &format!("large small {large}"));
    let at_once = before + 1 - stat(&mut c, "small", "entries");
    assert!(at_once >= 1);
    within(&mut c, "small", i64::MAX, 20_000);
    assert!(c.exists("large"), "what has just come is the last to go");
    assert_exact(&server);
}

#[test]
fn lru_evicts_what_was_not_used_for_the_longest_time() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXENTRIES 400 EVICT LRU");
    store_many(&mut c, "k", 400, "r v");
    let reads: Vec<String> = (0..100).map(|n| format!("CACHE.GET k{n} r")).collect();
    for _ in 0..5 {
        all(&mut c, &reads);
    }
    store_many(&mut c, "new", 250, "r v");
    let used = kept(&mut c, "r", "k", 0, 100);
    let unused = kept(&mut c, "r", "k", 100, 400);
    assert!(used >= 85 && unused <= 65 && used + unused == 150, "{used} of 100, {unused} of 300");
    assert_exact(&server);
}

#[test]
fn where_nobody_reads_lru_evicts_what_was_stored_first() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXENTRIES 200");
    store_many(&mut c, "k", 800, "r v");
    let last = kept(&mut c, "r", "k", 600, 800);
    assert!(last >= 150, "{last} of the last 200");
}

#[test]
fn lfu_evicts_what_is_used_least_often() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXENTRIES 400 EVICT LFU");
    store_many(&mut c, "k", 400, "r v");
    let often: Vec<String> = (0..100).map(|n| format!("CACHE.GET k{n} r")).collect();
    for _ in 0..60 {
        all(&mut c, &often);
    }
    // Used later, but once.
    let once: Vec<String> = (100..400).map(|n| format!("CACHE.GET k{n} r")).collect();
    all(&mut c, &once);
    store_many(&mut c, "new", 250, "r v");
    let used = kept(&mut c, "r", "k", 0, 100);
    assert!(used >= 90, "{used} of 100");
    assert_exact(&server);
}

#[test]
fn ttl_evicts_what_ends_first() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r MAXENTRIES 400 EVICT TTL");
    let lines: Vec<String> =
        (0..400).map(|n| format!("CACHE.SET k{n} r v EX {}", 1_000 + n * 1_000)).collect();
    all(&mut c, &lines);
    store_many(&mut c, "new", 150, "r v EX 1000000");
    let (soon, late) = (kept(&mut c, "r", "k", 0, 150), kept(&mut c, "r", "k", 250, 400));
    assert!(soon <= 50 && late >= 135, "{soon} of 150, {late} of 150");
    assert_exact(&server);
}

#[test]
fn what_is_dead_goes_before_what_lives_and_counts_as_no_eviction() {
    let server = Server::start();
    let mut c = server.client();
    hold(&mut c);
    store_many(&mut c, "dead", 50, "r v TAGS 1 t");
    store_many(&mut c, "k", 50, "r v");
    let sync = 256;
    store_many(&mut c, "more", sync, "other v TAGS 1 t");
    c.must("CACHE.TAGINVAL t");
    region(&mut c, "r MAXENTRIES 60");
    store_many(&mut c, "new", 10, "r v");
    within(&mut c, "r", 60, i64::MAX);
    // Of all of them, by samples.
    let left = kept(&mut c, "r", "k", 0, 50);
    assert!(left >= 44, "{left} of 50");
    assert_eq!(
        stat(&mut c, "r", "evicted") + kept(&mut c, "r", "new", 0, 10) as i64 + left as i64,
        60
    );
    release(&mut c);
    reclaimed(&mut c);
    assert_exact(&server);
}

#[test]
fn a_region_that_is_shrunk_ends_within_its_bounds_while_others_are_answered() {
    let server = Server::start();
    let mut c = server.client();
    const MANY: usize = 20_000;
    let value = "x".repeat(100);
    for how in ["REGION SET", "CONFIG SET"] {
        store_many(&mut c, "k", MANY, &format!("r {value}"));
        assert_eq!(stat(&mut c, "r", "entries"), MANY as i64);
        match how {
            "REGION SET" => region(&mut c, "r MAXENTRIES 1000"),
            _ if !server::kind().has_module_config() => continue,
            _ => fine(&mut c, "CONFIG SET apikey.regions r,max-bytes=100kb"),
        }
        let mut asks = server.client();
        let pings = pings(&server, || {
            let stats = asks.must("CACHE.STATS r");
            match how {
                "REGION SET" => stats.get("entries").int() <= 1000,
                _ => stats.get("bytes").int() <= 100 << 10,
            }
        });
        // In one piece it would be between two of them.
        assert!(pings.answered >= 100, "{how}: {pings:?}");
        assert!(pings.most_work < Duration::from_millis(50), "{how}: {pings:?}");
        eventually("keys are gone", || c.must("DBSIZE").int() <= 1000);
        assert!(stat(&mut c, "r", "evicted") >= MANY as i64 - 1000);
        c.must("CACHE.CLEAR r");
        fine(&mut c, "CACHE.REGION SET r MAXENTRIES 0 MAXBYTES 0");
        reclaimed(&mut c);
    }
    assert_exact(&server);
}

#[test]
fn what_is_evicted_is_gone_on_replicas_and_in_the_aof() {
    let mut primary = Server::builder().with_aof(false).setting("trust-loaded", "yes").start();
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    for policy in ["LRU", "LFU", "TTL"] {
        region(&mut c, &format!("{policy} MAXENTRIES 50 MAXBYTES 10000 EVICT {policy}"));
        store_many(&mut c, policy, 300, &format!("{policy} v TAGS 1 t"));
    }
    let token = c.must("APIKEY.TOKEN x").text();
    let pairs: String = (0..500).map(|n| format!(" m{n} v")).collect();
    c.must(&format!("CACHE.MSET LRU 500{pairs} TOKEN {token}"));
    c.must("MULTI");
    for n in 0..20 {
        c.must(&format!("CACHE.SET multi{n} TTL v"));
    }
    c.must("EXEC");
    let script = "for n = 1, 100 do redis.call('CACHE.SET', KEYS[1] .. n, 'LFU', 'v') end";
    if server::kind() != server::Kind::Valkey91 {
        c.cmd(["EVAL", script, "1", "lua"]);
    }
    for policy in ["LRU", "LFU", "TTL"] {
        within(&mut c, policy, 50, 10_000);
    }
    replica.in_sync_with(&primary);
    let digest = primary.digest();
    assert_eq!(replica.digest(), digest);
    let mut r = replica.client();
    assert_eq!(r.must("DBSIZE"), int(150));
    assert_exact(&primary);
    assert_exact(&replica);
    assert_nothing_was_refused(&replica);
    // What a replica evicts is its primary's to say, also where it could say it itself.
    let size = r.must("DBSIZE");
    replica.promote();
    assert_eq!(r.must("DBSIZE"), size);
    store_many(&mut r, "after", 100, "LRU v");
    within(&mut r, "LRU", 50, 10_000);
    primary.restart_with(Stop::Kill, |b| b.setting("regions", "LRU"));
    assert_eq!(primary.digest(), digest);
    assert_nothing_was_refused(&primary);
    primary.rewrite_aof();
    primary.restart(Stop::Kill);
    assert_eq!(primary.digest(), digest);
    assert_exact(&primary);
}

#[test]
fn a_region_over_its_bounds_after_a_load_evicts_and_a_replica_does_not() {
    let mut server = Server::builder().setting("trust-loaded", "yes").start();
    store_many(&mut server.client(), "k", 2_000, "r v");
    let replica =
        Server::builder().setting("regions", "r,max-entries=10").replica_of(&server).start();
    replica.in_sync_with(&server);
    let mut r = replica.client();
    r.must("PING");
    assert_eq!(r.must("DBSIZE"), int(2_000));
    server.restart_with(Stop::Save, |b| b.setting("regions", "r,max-entries=100"));
    let mut c = server.client();
    eventually("it is within", || c.must("DBSIZE") == int(100));
    replica.in_sync_with(&server);
    assert_eq!(replica.digest(), server.digest());
    assert_exact(&server);
}

#[test]
fn what_the_server_evicts_for_memory_is_counted_to_its_region() {
    let server = Server::builder().config("maxmemory-policy allkeys-random").start();
    let mut c = server.client();
    let value = "x".repeat(1_000);
    store_many(&mut c, "a", 2_000, &format!("r {value}"));
    store_many(&mut c, "b", 2_000, &format!("s {value}"));
    let used: u64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used - 1_500_000));
    eventually("some are evicted", || {
        c.must("PING");
        c.info("memory", "used_memory").expect("a line").parse::<u64>().expect("a number")
            < used - 1_400_000
    });
    c.must("CONFIG SET maxmemory 0");
    let evicted: i64 = c.info("stats", "evicted_keys").expect("a line").parse().expect("a number");
    let counts = ["r", "s"].map(|of| (stat(&mut c, of, "evicted"), stat(&mut c, of, "entries")));
    assert!(
        evicted > 100 && counts.iter().all(|(evicted, _)| *evicted > 20),
        "{evicted} {counts:?}"
    );
    assert_eq!(counts[0].0 + counts[1].0, evicted);
    assert_eq!(counts.map(|(evicted, entries)| evicted + entries), [2_000, 2_000]);
    assert_exact(&server);
}

#[test]
fn at_most_so_many_regions_are_in_a_database() {
    let server = Server::start();
    let mut c = server.client();
    let lines: Vec<String> = (0..1024).map(|n| format!("CACHE.SET k{n} r{n} v")).collect();
    all(&mut c, &lines);
    let text = "ERR the database has as many regions as it may: 1024";
    assert_eq!(c.run("CACHE.SET more more v"), error(text));
    assert_eq!(says(&mut c, "more more"), "MISS");
    assert_eq!(c.must("CACHE.STATS").items().len(), 1024);
    // Where one is empty there is room.
    c.must("DEL k7");
    set(&mut c, "more more v");
    assert_eq!(c.must("CACHE.CLEAR more"), int(1));
    assert_exact(&server);
}
