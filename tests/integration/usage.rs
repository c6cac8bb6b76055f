//! Usage counters: INCR, GET, TAKE and FLUSH. Leases have a file of their own.

use crate::harness::server::Kind;
use crate::harness::*;

#[test]
fn usage_is_counted_by_incr_under_both_names() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.USAGE.INCR u"), int(1));
    assert_eq!(c.must("APIKEY.USAGE.INCR u BY 10"), int(11));
    assert_eq!(c.must("apikey.usageincr u by 100"), int(111));
    assert_eq!(c.must("APIKEY.USAGEINCR u"), int(112));
    assert_eq!(c.must("APIKEY.USAGE.INCR big BY 9223372036854775807"), int(i64::MAX));
    assert_eq!(c.usage("u"), (112, 112));
    assert_eq!(c.must("PTTL u"), int(-1), "counters have no TTL");
    assert_exact(&server);
}

#[test]
fn usage_get_is_a_map_of_counts_and_times() {
    let server = Server::start();
    let mut c = server.client();
    let names = ["pending", "leased", "total", "first_used_at", "last_used_at"];
    let none = array([
        bulk("pending"),
        int(0),
        bulk("leased"),
        int(0),
        bulk("total"),
        int(0),
        bulk("first_used_at"),
        nil(),
        bulk("last_used_at"),
        nil(),
    ]);
    assert_eq!(c.must("APIKEY.USAGE.GET none"), none);
    assert_eq!(c.must("APIKEY.USAGEGET none"), none);
    let now = |c: &mut Client| {
        let time = c.must("TIME");
        let part = |i: usize| -> i64 { time.items()[i].text().parse().expect("a number") };
        part(0) * 1000 + part(1) / 1000
    };
    let before = now(&mut c);
    c.count("u", 5);
    let between = now(&mut c);
    eventually("a later millisecond", || now(&mut c) > between);
    c.count("u", 2);
    c.must("APIKEY.USAGE.TAKE u");
    c.count("u", 1);
    let after = now(&mut c);
    let usage = c.must("APIKEY.USAGE.GET u");
    assert_eq!(usage.names(), names);
    assert_eq!((usage.get("pending"), usage.get("total")), (&int(1), &int(8)));
    let (first, last) = (usage.get("first_used_at").int(), usage.get("last_used_at").int());
    assert!((before..=between).contains(&first), "{before} {first} {between}");
    assert!((between + 1..=after).contains(&last), "{between} {last} {after}");
    assert_eq!(c.must("APIKEY.USAGEGET u"), usage);
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.USAGE.GET u");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(as_map.names(), names);
        assert_eq!(as_map.get("total"), &int(8));
    }
}

#[test]
fn usage_take_returns_and_resets_what_is_pending_key_by_key() {
    let server = Server::start();
    let mut c = server.client();
    c.count("a", 5);
    c.count("b", 7);
    assert_eq!(c.must("APIKEY.USAGE.TAKE none"), array([int(0)]));
    assert_eq!(c.must("APIKEY.USAGE.TAKE a none b a"), array([int(5), int(0), int(7), int(0)]));
    assert_eq!(c.usage("a"), (0, 5));
    c.count("a", 2);
    assert_eq!(c.must("APIKEY.USAGETAKE a b"), array([int(2), int(0)]));
    assert_eq!(c.usage("a"), (0, 7));
    assert!(!c.exists("none"));
    assert_exact(&server);
}

#[test]
fn usage_flush_takes_whatever_is_pending_up_to_its_count() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([]));
    for n in 1..=1200 {
        c.count(&format!("u{n}"), n);
    }
    c.count("settled", 1);
    c.must("APIKEY.USAGE.TAKE settled");
    let pairs = |reply: &Reply| -> Vec<(String, i64)> {
        reply.items().chunks(2).map(|pair| (pair[0].text(), pair[1].int())).collect()
    };
    let mut all = pairs(&c.must("APIKEY.USAGE.FLUSH COUNT 3"));
    assert_eq!(all.len(), 3);
    let by_default = pairs(&c.must("APIKEY.USAGE.FLUSH"));
    assert_eq!(by_default.len(), 1000);
    all.extend(by_default);
    all.extend(pairs(&c.must("APIKEY.USAGEFLUSH count 1000000")));
    all.sort_by_key(|(_, count)| *count);
    let expected: Vec<(String, i64)> = (1..=1200).map(|n| (format!("u{n}"), n)).collect();
    assert_eq!(all, expected);
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([]));
    assert_eq!(c.usage("u7"), (0, 7));
    // Of the selected database alone.
    c.count("u7", 1);
    c.select(1);
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([]));
    assert_exact(&server);
}
