//! HEALTH, and the same figures in INFO.

use crate::harness::server::Kind;
use crate::harness::*;

const HEALTH: [&str; 33] = [
    "status",
    "reasons",
    "version",
    "enabled",
    "writes_enabled",
    "hits",
    "misses",
    "hit_rate",
    "hit_rate_1m",
    "mismatches",
    "disabled",
    "expired",
    "forbidden",
    "absent_answers",
    "stale_fills_refused",
    "evicted_entries",
    "records",
    "absent",
    "scopes",
    "lists",
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
        ("maxmemory", int(0)),
        ("eviction_policy", bulk("noeviction")),
    ] {
        assert_eq!(health.get(name), &value, "{name}");
    }
    for name in &HEALTH[5..24] {
        if *name != "index_bytes" {
            assert_eq!(health.get(name), &int(0), "{name}");
        }
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
    store(&mut c, "past", r#""expires_at":1"#, "TAGS 1 x");
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
    for key in ["on", "none"] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", key, &record("k", "u"), "TOKEN", "0"]), nil());
    }
    c.count("use", 5);
    c.count("use2", 7);
    c.count("settled", 7);
    c.must("APIKEY.USAGE.TAKE settled");
    let health = c.must("APIKEY.HEALTH");
    for (section, name, value) in [
        ("service", "enabled", 1),
        ("service", "writes_enabled", 1),
        ("answers", "hits", 9),
        ("answers", "misses", 1),
        ("answers", "hit_rate", 90),
        ("answers", "hit_rate_1m", 90),
        ("answers", "mismatches", 2),
        ("answers", "disabled", 1),
        ("answers", "expired", 1),
        ("answers", "forbidden", 1),
        ("answers", "absent_answers", 2),
        ("answers", "stale_fills_refused", 2),
        ("answers", "evicted_entries", 0),
        ("contents", "records", 4),
        ("contents", "absent", 1),
        ("contents", "usage_counters", 3),
        // In database 0 x, y and three automatic ones; in database 1 x and the same three.
        ("contents", "tags", 9),
        ("contents", "reclaim_backlog", 0),
        ("usage", "usage_pending", 12),
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
    assert!(health.get("used_memory").int() > bytes);
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
    assert_eq!(c.must("APIKEY.HEALTH").get("maxmemory"), &int(used * 100 / 110));
    c.must("CONFIG SET maxmemory 0");
    assert_eq!(status(&mut c), healthy());
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
