//! STATS and TOP: what is told of regions.

use super::calls::*;
use crate::harness::*;

#[test]
fn stats_counts_what_was_answered_and_what_is_held() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r LEASE 600000 GRACE 600000 TTL 50000");
    set(&mut c, "k r v");
    let token = miss(&mut c, "a r");
    says(&mut c, "a r");
    fine(&mut c, &format!("CACHE.SETABSENT a r TOKEN {token}"));
    for _ in 0..3 {
        says(&mut c, "k r");
    }
    says(&mut c, "a r");
    c.must("CACHE.TAGINVAL SOFT cache:region:r");
    says(&mut c, "k r");
    c.run("CACHE.SET k r v TOKEN 0");
    let stats = c.must("CACHE.STATS r");
    let names = [
        "region",
        "namespace",
        "entries",
        "bytes",
        "dead",
        "hits",
        "stale",
        "misses",
        "waits",
        "absent",
        "stored",
        "evicted",
        "refused_fills",
        "leases",
        "hit_rate_1m",
        "oldest",
        "ttl",
        "jitter",
        "grace",
        "eager",
        "lease",
        "absent_ttl",
        "max_bytes",
        "max_entries",
        "evict",
    ];
    assert_eq!(stats.names(), names);
    assert_eq!((stats.get("region"), stats.get("namespace")), (&bulk("r"), &bulk("")));
    for (name, is) in [
        ("hits", 3),
        ("stale", 1),
        ("misses", 1),
        ("waits", 1),
        ("absent", 1),
        ("evicted", 0),
        ("refused_fills", 1),
        ("leases", 2),
        ("ttl", 50_000),
        ("grace", 600_000),
        ("lease", 600_000),
    ] {
        assert_eq!(stats.get(name), &int(is), "{name}: {stats:?}");
    }
    assert_eq!(stats.get("hit_rate_1m"), &int(83), "5 of 6: {stats:?}");
    assert!((0..5_000).contains(&stats.get("oldest").int()));
    // Of what nobody has asked yet.
    let none = c.must("CACHE.STATS none");
    assert_eq!(
        (none.get("entries"), none.get("hits"), none.get("oldest")),
        (&int(0), &int(0), &nil())
    );
    assert_eq!(none.get("hit_rate_1m"), &nil());
}

#[test]
fn stats_without_a_name_is_of_all_regions_of_the_database() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("CACHE.STATS"), array([]));
    set(&mut c, "a r v");
    set(&mut c, "b s v NS n:");
    says(&mut c, "x read");
    c.select(1);
    set(&mut c, "c t v");
    c.select(0);
    let all = c.must("CACHE.STATS");
    let mut told: Vec<(String, String)> = all
        .items()
        .iter()
        .map(|of| (of.get("namespace").text(), of.get("region").text()))
        .collect();
    told.sort();
    let told: Vec<(&str, &str)> =
        told.iter().map(|(ns, name)| (ns.as_str(), name.as_str())).collect();
    assert_eq!(told, [("", "r"), ("", "read"), ("n:", "s")]);
}

/// What a walk over all keys finds of a region: entries, and the bytes of values with their names.
#[track_caller]
fn walked(c: &mut Client, tag: &str) -> (i64, i64) {
    let (mut entries, mut bytes) = (0, 0);
    let keys = c.must("KEYS *");
    for key in keys.items() {
        if c.cmd([b"TYPE".as_slice(), key.bytes()]) != simple("cache-val") {
            continue;
        }
        let described = c.cmd([b"APIKEY.DESCRIBE".as_slice(), key.bytes()]);
        if described == nil() {
            continue; // It has expired since.
        }
        if described.get("tags").items().contains(&bulk(tag)) {
            entries += 1;
            bytes += described.get("bytes").int() + key.bytes().len() as i64;
        }
    }
    (entries, bytes)
}

#[test]
fn entries_and_bytes_are_exact_whatever_happens() {
    let server = Server::start();
    let mut c = server.client();
    let mut rng = Rng::from_env(11);
    region(&mut c, "r1 MAXENTRIES 40");
    region(&mut c, "r2 MAXBYTES 3000 EVICT LFU");
    for round in 0..1_500 {
        let key = format!("k{}", rng.below(150));
        let of = format!("r{}", rng.below(3));
        let value = "x".repeat(rng.below(200));
        let line = match rng.below(20) {
            0..10 => format!("CACHE.SET {key} {of} {value}y TAGS 1 t{}", rng.below(5)),
            10 => format!("CACHE.SET {key} {of} {value}y PX {} GRACE 5", 1 + rng.below(20)),
            11 => format!("DEL {key}"),
            12 => format!("RENAME {key} k{}", rng.below(150)),
            13 => format!("COPY {key} k{} REPLACE", rng.below(150)),
            14 => format!("CACHE.TAGINVAL t{}", rng.below(5)),
            15 => format!("CACHE.TAGINVAL SOFT t{}", rng.below(5)),
            16 => format!("CACHE.PATINVAL k*{}", rng.below(10)),
            17 => format!("APIKEY.INVAL {key}"),
            18 => format!("CACHE.GET {key} {of}"),
            _ if rng.one_in(20) => format!("CACHE.CLEAR {of}"),
            _ => format!("MOVE {key} 1"),
        };
        c.run(&line);
        if round % 300 == 299 {
            eventually("all is as a walk has it", || {
                let is = ["r0", "r1", "r2"].map(|of| {
                    let live = stat(&mut c, of, "entries") - stat(&mut c, of, "dead");
                    let (entries, bytes) = walked(&mut c, &format!("cache:region:{of}"));
                    backlog(&mut c) > 0 || (live, stat(&mut c, of, "bytes")) == (entries, bytes)
                });
                is == [true; 3] && backlog(&mut c) == 0
            });
            assert_exact(&server);
        }
    }
}

#[test]
fn top_names_what_is_read_most() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("CACHE.TOP r"), array([]));
    let (small, large) = ("x", "x".repeat(50_000));
    set(&mut c, &format!("small r {small}"));
    set(&mut c, &format!("large r {large}"));
    store_many(&mut c, "k", 50, "r v");
    let read = |c: &mut Client, key: &str, times: usize| {
        let lines = vec![format!("CACHE.GET {key} r"); times];
        all(c, &lines);
    };
    read(&mut c, "small", 500);
    read(&mut c, "large", 50);
    for n in 0..50 {
        read(&mut c, &format!("k{n}"), 1 + n % 3);
    }
    let top = c.must("CACHE.TOP r COUNT 2");
    assert_eq!(top, array([array([bulk("small"), int(500)]), array([bulk("large"), int(50)])]));
    assert_eq!(c.must("CACHE.TOP r COUNT 2 BY HITS"), top);
    assert_eq!(c.must("CACHE.TOP r").items().len(), 10, "ten, where nobody says how many");
    assert_eq!(c.must("CACHE.TOP r COUNT 512").items().len(), 52);
    let by_bytes = c.must("CACHE.TOP r COUNT 1 BY bytes");
    assert_eq!(by_bytes.items()[0].items()[0], bulk("large"));
    let bytes = by_bytes.items()[0].items()[1].int();
    assert!((2_400_000..=2_600_000).contains(&bytes), "{bytes}");
    assert_eq!(c.must("CACHE.TOP r NS n:"), array([]));
    // MGET reads as GET does, and misses are no reads.
    all(&mut c, &vec!["CACHE.MGET r small none small".to_string(); 50]);
    assert_eq!(c.must("CACHE.TOP r COUNT 1"), array([array([bulk("small"), int(600)])]));
}

#[test]
fn top_is_right_to_its_error_where_far_more_keys_are_read_than_it_keeps() {
    const KEYS: usize = 5_000;
    const READS: usize = 60_000;
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "k", KEYS, "r v");
    // Zipf with 0.99, by its distribution.
    let weights: Vec<f64> = (1..=KEYS).map(|rank| (rank as f64).powf(-0.99)).collect();
    let total: f64 = weights.iter().sum();
    let mut sums = Vec::with_capacity(KEYS);
    weights.iter().fold(0.0, |sum, weight| {
        sums.push(sum + weight);
        sum + weight
    });
    let mut rng = Rng::new(42);
    let mut exact = vec![0_i64; KEYS];
    let mut lines = Vec::with_capacity(READS);
    for _ in 0..READS {
        let at = rng.below(1 << 30) as f64 / f64::from(1 << 30) * total;
        let key = sums.partition_point(|sum| *sum < at).min(KEYS - 1);
        exact[key] += 1;
        lines.push(format!("CACHE.GET k{key} r"));
    }
    all(&mut c, &lines);
    // Of Space-Saving with m counters no estimate is below the count, nor above it by more than reads / m.
    let error = READS as i64 / 512;
    let top = c.must("CACHE.TOP r COUNT 512");
    assert_eq!(top.items().len(), 512);
    for pair in top.items() {
        let key: usize = pair.items()[0].text()[1..].parse().expect("a number");
        let (estimate, is) = (pair.items()[1].int(), exact[key]);
        assert!(is <= estimate && estimate <= is + error, "k{key}: {estimate} for {is}");
    }
    let named: Vec<String> = top.items().iter().map(|pair| pair.items()[0].text()).collect();
    for (key, count) in exact.iter().enumerate().filter(|(_, count)| **count > error) {
        assert!(named.contains(&format!("k{key}")), "k{key} was read {count} times");
    }
}
