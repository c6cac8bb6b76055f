//! HEALTH, and the same figures in INFO.

use crate::harness::server::Kind;
use crate::harness::*;

const HEALTH: [&str; 56] = [
    "status",
    "reasons",
    "version",
    "enabled",
    "writes_enabled",
    "vouches",
    "hits",
    "misses",
    "hit_rate",
    "hit_rate_1m",
    "valid",
    "mismatches",
    "disabled",
    "expired",
    "forbidden",
    "forbidden_ip",
    "unverified",
    "absent_answers",
    "stored_entries",
    "stale_fills_refused",
    "absent_refused",
    "invalidated_tags",
    "invalidated_keys",
    "written_keys",
    "invalidated_patterns",
    "flushes",
    "killed_entries",
    "evicted_entries",
    "records",
    "absent",
    "scopes",
    "lists",
    "cached_values",
    "cached_bytes",
    "regions",
    "usage_counters",
    "tags",
    "reclaim_backlog",
    "index_bytes",
    "used_memory",
    "maxmemory",
    "eviction_policy",
    "usage_pending",
    "usage_leased",
    "pending_counters",
    "open_batches",
    "oldest_lease_ms",
    "redeliveries",
    "counted_uses",
    "settled_uses",
    "taken_uses",
    "admitted",
    "rate_limited",
    "usage_exceeded",
    "repeated_ids",
    "ids_dropped_early",
];

/// Status and reasons.
#[track_caller]
fn status(c: &mut Client) -> (String, Vec<String>) {
    let health = c.must("APIKEY.HEALTH");
    let reasons = health.get("reasons").items().iter().map(Reply::text).collect();
    (health.get("status").text(), reasons)
}

fn healthy() -> (String, Vec<String>) {
    ("healthy".into(), Vec::new())
}

/// What is said where the server refuses writes: why, and what comes of it.
fn refuses(why: &str) -> (String, Vec<String>) {
    let misses = "every read is a miss, since what is here may be revoked \
                  (serve-when-writes-refused is no)";
    ("unhealthy".into(), vec![why.into(), misses.into()])
}

#[test]
fn health_is_a_map_of_the_figures() {
    let server = Server::start();
    let mut c = server.client();
    let health = c.must("APIKEY.HEALTH");
    assert_eq!(health.names(), HEALTH);
    for (name, value) in [
        ("status", bulk("healthy")),
        ("reasons", array([])),
        ("version", bulk(env!("CARGO_PKG_VERSION"))),
        ("enabled", int(1)),
        ("writes_enabled", int(1)),
        ("vouches", int(1)),
        // Of nothing there is no percentage.
        ("hit_rate_1m", nil()),
        ("maxmemory", int(0)),
        ("eviction_policy", bulk("noeviction")),
    ] {
        assert_eq!(health.get(name), &value, "{name}");
    }
    for name in HEALTH.iter().filter(|name| health.get(name) != &nil()).skip(6) {
        if !["index_bytes", "used_memory", "eviction_policy"].contains(name) {
            assert_eq!(health.get(name), &int(0), "{name}");
        }
    }
    assert!(health.get("used_memory").int() > 100_000);
    for (name, is_there) in [("hits", true), ("hit_rate", true), ("hit_rate_1m", false)] {
        let line = c.info("apikey_answers", &format!("apikey_{name}"));
        assert_eq!(line.is_some(), is_there, "{name}: {line:?}");
    }
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.HEALTH");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(as_map.names(), HEALTH);
    }
}

#[test]
fn health_and_info_count_answers_and_contents_alike() {
    let server = Server::start();
    let mut c = server.client();
    let secret = format!("SECRET {SECRET}");
    store(&mut c, "on", r#""scopes":["a"]"#, &format!("{secret} TAGS 2 x y"));
    store(&mut c, "off", r#""is_active":false"#, &secret);
    store(&mut c, "past", r#""expires_at":1000000000000"#, "TAGS 1 x");
    let token = c.must("APIKEY.TOKEN nobody").text();
    assert_eq!(c.run(&format!("APIKEY.SETABSENT nobody TOKEN {token}")), ok());
    c.select(1);
    store(&mut c, "on", "", "TAGS 1 x");
    c.select(0);
    for line in [
        "on SECRET wrong",
        "off SECRET wrong",
        &format!("off {secret}"),
        "past",
        "on SCOPE b",
        &format!("on {secret} SCOPE a"),
        "on",
        "none",
        "nobody",
        "nobody SECRET wrong",
    ] {
        c.must(&format!("APIKEY.VALIDATE {line}"));
    }
    // These are no lookups.
    c.run("APIKEY.VALIDATE on FOO");
    c.must("APIKEY.TAGS on");
    c.must("APIKEY.TOKEN none");
    c.must("APIKEY.INVAL none");
    c.must("APIKEY.INVAL none off2 on2");
    for key in ["on", "none"] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", key, &record("k", "u"), "TOKEN", "0"]), nil());
    }
    c.count("use", 5);
    c.count("use2", 7);
    c.count("settled", 7);
    c.must("APIKEY.USAGE.TAKE settled");
    c.count("acked", 4);
    c.count("acked", 2);
    let batch = c.leases("60000 COUNT 1").remove(0);
    assert_eq!((batch.counts(), c.ack(&batch)), (vec![("acked".into(), 6)], 1));
    store(&mut c, "gone1", "", "TAGS 1 gone");
    store(&mut c, "gone2", "", "TAGS 1 gone");
    store(&mut c, "gone3", "", "TAGS 1 other");
    assert_eq!(c.must("APIKEY.TAGINVAL gone nothing"), int(2));
    assert_eq!(c.must("APIKEY.INVAL gone3"), int(1));
    c.select(2);
    c.must("FLUSHDB");
    c.select(0);
    let health = c.must("APIKEY.HEALTH");
    for (section, name, value) in [
        ("service", "enabled", 1),
        ("service", "writes_enabled", 1),
        ("service", "vouches", 1),
        ("answers", "hits", 9),
        ("answers", "misses", 1),
        ("answers", "hit_rate", 90),
        ("answers", "hit_rate_1m", 90),
        ("answers", "valid", 1),
        ("answers", "mismatches", 2),
        ("answers", "disabled", 1),
        ("answers", "expired", 1),
        ("answers", "forbidden", 1),
        ("answers", "unverified", 1),
        ("answers", "absent_answers", 2),
        ("answers", "stored_entries", 8),
        ("answers", "invalidated_tags", 2),
        ("answers", "invalidated_keys", 5),
        ("answers", "written_keys", 7),
        ("answers", "flushes", 1),
        ("answers", "killed_entries", 3),
        ("answers", "stale_fills_refused", 2),
        ("answers", "evicted_entries", 0),
        ("contents", "records", 4),
        ("contents", "absent", 1),
        ("contents", "usage_counters", 4),
        // In database 0 x, y and four automatic ones; in database 1 x and three of these.
        ("contents", "tags", 10),
        ("contents", "reclaim_backlog", 0),
        ("usage", "usage_pending", 12),
        ("usage", "counted_uses", 25),
        ("usage", "settled_uses", 6),
        ("usage", "taken_uses", 7),
    ] {
        assert_eq!(health.get(name), &int(value), "{name}");
        let line = c.info(&format!("apikey_{section}"), &format!("apikey_{name}"));
        assert_eq!(line, Some(value.to_string()), "{name}");
        let line = c.info("everything", &format!("apikey_{name}"));
        assert_eq!(line, Some(value.to_string()), "{name}");
    }
    let bytes = health.get("index_bytes").int();
    assert!(bytes > 0);
    assert_eq!(c.info("apikey_contents", "apikey_index_bytes"), Some(bytes.to_string()));
}

#[test]
fn the_latency_of_commands_is_the_servers_own() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    c.code("k");
    let stats = c.info("commandstats", "cmdstat_apikey.validate").expect("a line");
    assert!(stats.starts_with("calls=1,"), "{stats}");
    if server::kind() != Kind::Redis62 {
        let histogram = c.must("LATENCY HISTOGRAM apikey.validate");
        assert_eq!(histogram.get("apikey.validate").get("calls"), &int(1));
    }
}

#[test]
fn a_low_hit_rate_is_degraded_after_100_lookups() {
    let server = Server::builder().setting("min-hit-rate", "50").start();
    let mut c = server.client();
    for _ in 0..99 {
        c.must("APIKEY.VALIDATE none");
    }
    assert_eq!(status(&mut c), healthy());
    c.must("APIKEY.VALIDATE none");
    let told = "hit rate of the last minute is 0 percent, under min-hit-rate 50";
    assert_eq!(status(&mut c), ("degraded".into(), vec![told.into()]));
    c.fill("k", &[]);
    for _ in 0..100 {
        c.must("APIKEY.VALIDATE k SECRET wrong");
    }
    assert_eq!(status(&mut c), healthy(), "a wrong secret is a hit: the record was there");
}

#[test]
fn full_memory_is_degraded_and_unhealthy_where_nothing_can_be_evicted() {
    let server = Server::start();
    let mut c = server.client();
    // So much that what connections take does not matter.
    c.must("SETRANGE filler 30000000 x");
    let used: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    let limit = |c: &mut Client, percent: i64| {
        c.must(&format!("CONFIG SET maxmemory {}", used * 100 / percent));
    };
    limit(&mut c, 80);
    assert_eq!(status(&mut c), healthy());
    limit(&mut c, 95);
    let (named, reasons) = status(&mut c);
    assert_eq!((named.as_str(), reasons.len()), ("degraded", 1), "{reasons:?}");
    assert!(reasons[0].starts_with("memory is at 9"), "{reasons:?}");
    assert!(reasons[0].ends_with(" percent, above max-memory-percent 90"), "{reasons:?}");
    limit(&mut c, 110);
    let full = "memory is full and the policy evicts nothing";
    assert_eq!(status(&mut c), ("unhealthy".into(), vec![full.into()]));
    let health = c.must("APIKEY.HEALTH");
    assert_eq!(health.get("maxmemory"), &int(used * 100 / 110));
    assert!(health.get("used_memory").int() > used * 100 / 110);
    c.must("CONFIG SET maxmemory 0");
    assert_eq!(status(&mut c), healthy());
}

/// Fills the memory that is left with counters, which have no TTL, until one is refused.
#[track_caller]
fn count_until_refused(c: &mut Client) {
    let used: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used + 1_000_000));
    let long = "x".repeat(1000);
    let refused = (0..20_000)
        .map(|n| c.run(&format!("APIKEY.USAGE.INCR use:{n}:{long}")))
        .find(Reply::is_error)
        .expect("no memory is left");
    assert!(refused.text().starts_with("OOM "), "{refused:?}");
    // By so much that what connections take does not matter.
    c.must(&format!("CONFIG SET maxmemory {}", used + 800_000));
}

#[test]
fn memory_that_is_full_of_what_no_policy_evicts_is_unhealthy() {
    let full = "memory is full and the policy evicts nothing";
    for policy in ["volatile-lru", "volatile-ttl", "noeviction"] {
        let server = Server::start();
        let mut c = server.client();
        c.must(&format!("CONFIG SET maxmemory-policy {policy}"));
        count_until_refused(&mut c);
        for n in 0..20 {
            assert!(c.run(&format!("APIKEY.USAGE.INCR new:{n}")).is_error());
            assert_eq!(status(&mut c), ("unhealthy".into(), vec![full.into()]), "{policy}");
        }
        c.must("CONFIG SET maxmemory 0");
        assert_eq!(status(&mut c), healthy());
        c.count("new", 1);
    }
}

#[test]
fn memory_that_is_full_is_not_unhealthy_as_long_as_something_is_evicted() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CONFIG SET maxmemory-policy volatile-lru");
    let used: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used + 1_000_000));
    for n in 0.. {
        let fill = |c: &mut Client, part| {
            c.fill(&format!("k{n}:{part}:{}", "x".repeat(1000)), &["tag"]);
            status(c)
        };
        // What has filled it was evicted for by nothing yet: that comes with the next one.
        let (named, reasons) = match fill(&mut c, 0) {
            (named, _) if named == "unhealthy" => fill(&mut c, 1),
            said => said,
        };
        assert!(named != "unhealthy", "{reasons:?}");
        if c.must("APIKEY.HEALTH").get("evicted_entries").int() > 100 {
            break;
        }
    }
}

#[test]
fn writes_that_the_server_refuses_since_it_cannot_save_are_unhealthy() {
    let server = Server::builder().config("save 3600 1000000").start();
    let mut c = server.client();
    let save = |c: &mut Client, status: &str| {
        eventually("a save ends so", || {
            c.run("BGSAVE");
            c.info("persistence", "rdb_last_bgsave_status").as_deref() == Some(status)
        });
    };
    // The file can't come to its name.
    let name = server.dir().join("dump.rdb");
    std::fs::create_dir_all(name.join("in the way")).expect("a directory");
    save(&mut c, "err");
    let refused = c.run("APIKEY.USAGE.INCR use").text();
    assert!(refused.starts_with("MISCONF "), "{refused}");
    let why = "writes are refused: the last BGSAVE failed (stop-writes-on-bgsave-error)";
    assert_eq!(status(&mut c), refuses(why));
    for (setting, without, with) in
        [("stop-writes-on-bgsave-error", "no", "yes"), ("save", "", "3600 1000000")]
    {
        assert_eq!(c.cmd(["CONFIG", "SET", setting, without]), ok());
        assert_eq!(status(&mut c), healthy(), "{setting}");
        c.count("use", 1);
        assert_eq!(c.cmd(["CONFIG", "SET", setting, with]), ok());
        assert_eq!(status(&mut c).0, "unhealthy", "{setting}");
    }
    std::fs::remove_dir_all(name).expect("it goes");
    save(&mut c, "ok");
    assert_eq!(status(&mut c), healthy());
    c.count("use", 1);
}

#[test]
fn writes_that_the_server_refuses_for_want_of_replicas_are_unhealthy() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CONFIG SET min-replicas-to-write 1");
    let refused = c.run("APIKEY.USAGE.INCR use").text();
    assert!(refused.starts_with("NOREPLICAS "), "{refused}");
    let why = "writes are refused: min-replicas-to-write is 1, and replicas in touch are 0";
    assert_eq!(status(&mut c), refuses(why));
    let replica = Server::builder().config("min-replicas-to-write 3").replica_of(&server).start();
    eventually("a replica is in touch", || !c.run("APIKEY.USAGE.INCR use").is_error());
    assert_eq!(status(&mut c), healthy());
    assert_eq!(status(&mut replica.client()), healthy(), "its clients write nothing anyway");
    c.must("CONFIG SET min-replicas-to-write 2");
    let why = "writes are refused: min-replicas-to-write is 2, and replicas in touch are 1";
    assert_eq!(status(&mut c), refuses(why));
    c.must("CONFIG SET min-replicas-to-write 0");
    assert_eq!(status(&mut c), healthy());
}

#[test]
fn where_config_cannot_be_called_info_is_asked() {
    let server = Server::builder()
        .config("rename-command CONFIG \"\"")
        .config("maxmemory 3mb")
        .config("maxmemory-policy volatile-lru")
        .config("min-replicas-to-write 1")
        .start();
    let mut c = server.client();
    let health = c.must("APIKEY.HEALTH");
    assert_eq!(health.get("maxmemory"), &int(3 << 20));
    assert_eq!(health.get("eviction_policy"), &bulk("volatile-lru"));
    let why = "writes are refused: min-replicas-to-write is 1, and replicas in touch are 0";
    let (named, reasons) = status(&mut c);
    assert_eq!(named, "unhealthy");
    assert!(reasons.contains(&why.into()), "{reasons:?}");
}

#[test]
fn counters_that_may_be_evicted_are_degraded() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CONFIG SET maxmemory-policy allkeys-lru");
    assert_eq!(status(&mut c), healthy(), "no counter yet");
    c.count("use", 1);
    let told = "maxmemory-policy allkeys-lru can evict usage counters";
    assert_eq!(status(&mut c), ("degraded".into(), vec![told.into()]));
    assert_eq!(c.must("APIKEY.HEALTH").get("eviction_policy"), &bulk("allkeys-lru"));
    c.must("CONFIG SET maxmemory-policy volatile-lru");
    assert_eq!(status(&mut c), healthy());
}

#[test]
fn what_is_not_enabled_is_unhealthy_and_the_switches_are_told() {
    let server = Server::builder().setting("enabled", "no").setting("writes-enabled", "no").start();
    let mut c = server.client();
    assert_eq!(status(&mut c), ("unhealthy".into(), vec!["apikey.enabled is no".into()]));
    let health = c.must("APIKEY.HEALTH");
    assert_eq!((health.get("enabled"), health.get("writes_enabled")), (&int(0), &int(0)));
    assert_eq!(c.info("apikey_service", "apikey_enabled").as_deref(), Some("0"));
    assert_eq!(c.info("apikey_service", "apikey_writes_enabled").as_deref(), Some("0"));
    c.must("APIKEY.VALIDATE none");
    assert_eq!(c.must("APIKEY.HEALTH").get("misses"), &int(0), "a switch is no miss of the cache");
}

#[test]
fn evicted_entries_are_counted() {
    let server = Server::start();
    let mut c = server.client();
    for n in 0..100 {
        c.fill(&format!("k{n}"), &["tag"]);
    }
    c.count("use", 1);
    c.must("CONFIG SET maxmemory-policy volatile-random");
    c.must("CONFIG SET maxmemory 1");
    eventually("all are evicted", || c.must("APIKEY.HEALTH").get("records") == &int(0));
    assert_eq!(c.must("APIKEY.HEALTH").get("evicted_entries"), &int(100));
    assert_eq!(c.must("DBSIZE"), int(1), "counters have no TTL, so this policy spares them");
    c.must("CONFIG SET maxmemory 0");
    assert_exact(&server);
}

// Keyspace notifications
