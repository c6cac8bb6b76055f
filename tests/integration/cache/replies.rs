//! What each command replies, and what its options do.

use super::calls::*;
use crate::harness::server::{kind, Kind};
use crate::harness::*;
use std::collections::BTreeSet;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

const HOUR: i64 = 3_600_000;

#[test]
fn what_is_missing_is_loaded_with_a_token_and_is_a_hit_from_then_on() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k r");
    assert_eq!(c.run(&format!("CACHE.SET k r v TOKEN {token}")), ok());
    let reply = get(&mut c, "k r");
    let [code, found, label, age, ttl] = reply.items() else { panic!("{reply:?}") };
    assert_eq!((code, found, label), (&bulk("HIT"), &bulk("v"), &nil()));
    assert!((0..5_000).contains(&age.int()), "{reply:?}");
    assert!((HOUR - 5_000..=HOUR).contains(&ttl.int()), "{reply:?}");
    assert_eq!(c.must("TYPE k"), simple("cache-val"));
    assert_eq!(c.must("APIKEY.DESCRIBE k").get("kind"), &bulk("cache"));
    assert_eq!(c.must("APIKEY.TAGS k"), array([bulk("cache:region:r")]));
    assert!(c.must("MEMORY USAGE k").int() > 0);
    assert_exact(&server);
}

#[test]
fn a_region_that_nobody_set_has_the_defaults() {
    let server = Server::start();
    let mut c = server.client();
    let settings = c.must("CACHE.REGION GET r");
    let names = [
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
    assert_eq!(settings.names(), names);
    for (name, value) in names.iter().zip([HOUR, 0, 0, 0, 0, 30_000, 0, 0]) {
        assert_eq!(settings.get(name), &int(value), "{name}");
    }
    assert_eq!(settings.get("evict"), &bulk("lru"));
    assert_eq!(c.must("CACHE.REGION LIST"), array([]));
    // LEASE 0: whoever misses may load.
    assert_ne!(miss(&mut c, "k r"), "0");
    assert_ne!(miss(&mut c, "k r"), "0");
}

#[test]
fn a_value_is_any_bytes_and_so_are_key_label_and_tags() {
    let server = Server::start();
    let mut c = server.client();
    let every: Vec<u8> = (0..=255).collect();
    let label = b"json+zstd;kid=3\0\xff";
    let call = [
        b"CACHE.SET".as_slice(),
        b"k\0\xff",
        b"r\0\xfe",
        &every,
        b"LABEL",
        label,
        b"TAGS",
        b"2",
        b"\0\r\n",
        b"t",
        b"NS",
        b"n\0:",
    ];
    assert_eq!(c.cmd(call), ok());
    let reply = c.cmd([b"CACHE.GET".as_slice(), b"k\0\xff", b"r\0\xfe", b"NS", b"n\0:"]);
    assert_eq!(reply.items()[..3], [bulk("HIT"), bulk(&every), bulk(label)]);
    let tags = c.cmd([b"APIKEY.TAGS".as_slice(), b"k\0\xff"]);
    assert_eq!(tags.items()[0], bulk(b"n\0:cache:region:r\0\xfe"), "the region's tag is the first");
    assert!(tags.items().contains(&bulk(b"\0\r\n")) && tags.items().len() == 3);
    assert_eq!(c.cmd(["CACHE.SET", "empty", "r", ""]), ok());
    assert_eq!(get(&mut c, "empty r").items()[1], bulk(""));
    assert_exact(&server);
}

#[test]
fn a_value_of_8_mib_is_stored_and_one_byte_more_is_not() {
    let server = Server::start();
    let mut c = server.client();
    let mut value: Vec<u8> = (0..8 << 20).map(|n: usize| (n % 251) as u8).collect();
    assert_eq!(c.cmd([b"CACHE.SET".as_slice(), b"k", b"r", &value]), ok());
    assert_eq!(get(&mut c, "k r").items()[1].bytes(), value);
    value.push(0);
    let refused = error("ERR the value must be at most 8388608 bytes (apikey.max-value-bytes)");
    assert_eq!(c.cmd([b"CACHE.SET".as_slice(), b"k2", b"r", &value]), refused);
    assert!(!c.exists("k2"));
    // A part of it is of the index' memory, which is told with the entry.
    assert!(stat(&mut c, "r", "bytes") > 8 << 20);
    let small = Server::builder().setting("max-value-bytes", "3").start();
    let mut c = small.client();
    set(&mut c, "k r abc");
    let refused = error("ERR the value must be at most 3 bytes (apikey.max-value-bytes)");
    assert_eq!(c.run("CACHE.SET k r abcd"), refused);
    assert_eq!(c.run("CACHE.MSET r 2 a abc b abcd TOKEN 0"), refused);
    assert_eq!(value_of(&mut c), "abc");
}

fn value_of(c: &mut Client) -> String {
    value(c, "k r")
}

#[test]
fn an_option_says_until_when_an_entry_is_fresh_and_grace_how_long_it_is_there_after_that() {
    let server = Server::start();
    let mut c = server.client();
    let at: i64 = c.must("TIME").items()[0].text().parse::<i64>().expect("a number") + 1000;
    let (exat, pxat) = (format!("EXAT {at}"), format!("PXAT {}", at * 1000 + 567));
    for (options, most) in [
        ("", HOUR),
        ("EX 1000", 1_000_000),
        ("PX 1234567", 1_234_567),
        (exat.as_str(), 1_000_000),
        (&pxat, 1_000_567),
        ("ex 100000000000", 100_000_000_000_000),
    ] {
        for grace in [0, 50_000] {
            set(&mut c, &format!("k r v {options} GRACE {grace}").replace("  ", " "));
            let fresh = left(&mut c, "k r");
            assert!((most - 10_000..=most).contains(&fresh), "{options}: {fresh}");
            let ttl = c.must("PTTL k").int();
            assert!((most + grace - 10_000..=most + grace).contains(&ttl), "{options}: {ttl}");
        }
    }
}

#[test]
fn what_a_region_says_holds_where_the_call_does_not() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r TTL 100000 GRACE 50000 ABSENTTTL 20000 JITTER 50");
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        set(&mut c, "k r v");
        let fresh = left(&mut c, "k r");
        assert!((49_000..=100_000).contains(&fresh), "{fresh}");
        let more = c.must("PTTL k").int() - fresh;
        assert!((49_000..=50_000).contains(&more), "{more}");
        seen.insert(fresh);
    }
    let spread = seen.last().zip(seen.first()).map_or(0, |(last, first)| last - first);
    assert!(spread > 20_000, "the jitter spreads: {seen:?}");
    set(&mut c, "k r v PX 70000 GRACE 0");
    assert!((69_000..=70_000).contains(&c.must("PTTL k").int()), "what a call says has no jitter");
    let token = miss(&mut c, "a r");
    fine(&mut c, &format!("CACHE.SETABSENT a r TOKEN {token}"));
    let ttl = c.must("PTTL a").int();
    assert!((9_000..=20_000).contains(&ttl), "jitter, and no grace: {ttl}");
    // Of the namespace that was named, and no other.
    set(&mut c, "k r v NS n:");
    assert!(left(&mut c, "k r NS n:") > 3_500_000);
}

#[test]
fn keepttl_keeps_until_when_what_was_there_is_fresh() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "k r v PX 5000000 GRACE 1000");
    set(&mut c, "k r w KEEPTTL GRACE 500000");
    let fresh = left(&mut c, "k r");
    assert!((4_990_000..=5_000_000).contains(&fresh), "{fresh}");
    assert!((5_490_000..=5_500_000).contains(&c.must("PTTL k").int()));
    c.must("PERSIST k");
    set(&mut c, "k r x keepttl XX");
    assert_eq!(get(&mut c, "k r").items()[4], int(-1), "never stale by itself");
    assert_eq!(c.must("PTTL k"), int(-1));
    // Where nothing of the region is, there is nothing to keep.
    set(&mut c, "k other x KEEPTTL");
    assert!((HOUR - 5_000..=HOUR).contains(&left(&mut c, "k other")));
    set(&mut c, "new r x KEEPTTL");
    assert!((HOUR - 5_000..=HOUR).contains(&left(&mut c, "new r")));
}

#[test]
fn nx_stores_only_where_nothing_of_the_region_is_and_xx_only_where_something_is() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.run("CACHE.SET k r one XX"), nil());
    set(&mut c, "k r one NX");
    assert_eq!(c.run("CACHE.SET k r two NX PX 5000"), nil());
    assert_eq!(value(&mut c, "k r"), "one");
    assert!(c.must("PTTL k").int() > 5_000, "a refused call changes no TTL");
    set(&mut c, "k r two XX");
    assert_eq!(value(&mut c, "k r"), "two");
    // An entry of another region is as nothing.
    assert_eq!(c.run("CACHE.SET k other x XX"), nil());
    assert_eq!(c.run("CACHE.SET k r x XX NS n:"), nil());
    set(&mut c, "k other x NX");
    assert_eq!([says(&mut c, "k r"), says(&mut c, "k other")], ["MISS", "HIT"]);
    // And so is the knowledge that there is none.
    let token = miss(&mut c, "a r");
    fine(&mut c, &format!("CACHE.SETABSENT a r TOKEN {token}"));
    assert_eq!(c.run("CACHE.SET a r x XX"), nil());
    set(&mut c, "a r x NX");
    // And what is dead.
    hold(&mut c);
    c.must("RENAME a dead");
    assert_eq!(c.run("CACHE.SET dead r x XX"), nil());
    set(&mut c, "dead r x NX");
    assert_exact(&server);
}

#[test]
fn an_entry_is_of_one_region_and_one_namespace() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "k r v NS n:");
    assert_eq!(says(&mut c, "k r NS n:"), "HIT");
    for other in ["k r", "k s NS n:", "k r NS m:", "k n:r", "k R NS n:"] {
        assert_eq!(says(&mut c, other), "MISS", "{other}");
    }
    assert_eq!(c.must("CACHE.MGET r k").items()[0].items()[0], bulk("MISS"), "it has no NS");
    assert_eq!(c.must("APIKEY.TAGS k"), array([bulk("n:cache:region:r")]));
    // A fill of another region takes its place.
    set(&mut c, "k s w");
    assert_eq!([says(&mut c, "k r NS n:"), says(&mut c, "k s")], ["MISS", "HIT"]);
    assert_eq!(stat(&mut c, "r NS n:", "entries"), 0);
    assert_eq!((stat(&mut c, "s", "entries"), stat(&mut c, "s", "bytes") > 0), (1, true));
    c.select(1);
    assert_eq!(says(&mut c, "k s"), "MISS", "regions are of the selected database");
    assert_exact(&server);
}

#[test]
fn that_there_is_none_is_known_for_a_while() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k r");
    fine(&mut c, &format!("CACHE.SETABSENT k r TOKEN {token} TAGS 1 t"));
    assert_eq!(get(&mut c, "k r"), array([bulk("ABSENT"), nil()]));
    assert!((25_000..=30_000).contains(&c.must("PTTL k").int()));
    assert_eq!(sorted(&c.must("APIKEY.TAGS k")), ["cache:region:r", "t"]);
    let token = c.must("APIKEY.TOKEN k").text();
    fine(&mut c, &format!("CACHE.SETABSENT k r TOKEN {token} EX 100 NS n:"));
    assert_eq!([says(&mut c, "k r"), says(&mut c, "k r NS n:")], ["MISS", "ABSENT"]);
    assert!(c.must("PTTL k").int() > 90_000);
    // It may take the place of a value, and a value its own.
    set(&mut c, "k r v");
    let token = c.must("APIKEY.TOKEN k").text();
    fine(&mut c, &format!("CACHE.SETABSENT k r TOKEN {token} PX 30"));
    eventually("it is over", || says(&mut c, "k r") == "MISS");
    set(&mut c, "k r v");
    c.must("CACHE.TAGINVAL cache:region:r");
    assert_eq!(c.run(&format!("CACHE.SETABSENT k r TOKEN {token}")), nil(), "it came too late");
    assert_eq!(stat(&mut c, "r", "refused_fills"), 1);
    assert_exact(&server);
}

#[test]
fn mget_replies_of_each_key_what_get_does() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "hit r v LABEL l");
    set(&mut c, "stale r old PX 1 GRACE 100000");
    set(&mut c, "other s v");
    c.must("SET str x");
    let token = miss(&mut c, "absent r");
    fine(&mut c, &format!("CACHE.SETABSENT absent r TOKEN {token}"));
    eventually("it is stale", || says(&mut c, "stale r") == "STALE");
    let reply = c.must("CACHE.MGET r hit absent none other stale hit str");
    let codes: Vec<String> = reply.items().iter().map(code_of).collect();
    assert_eq!(codes, ["HIT", "ABSENT", "MISS", "MISS", "STALE", "HIT", "MISS"]);
    assert_eq!(reply.items()[0].items()[..3], [bulk("HIT"), bulk("v"), bulk("l")]);
    assert_eq!(reply.items()[1], array([bulk("ABSENT"), nil()]));
    assert_eq!(reply.items()[4].items()[1], bulk("old"));
    assert_eq!(reply.items()[6].items()[1], bulk("0"), "nothing can be stored in its place");
    let token = reply.items()[2].items()[1].text();
    assert_eq!(c.run(&format!("CACHE.MSET r 2 none a other b TOKEN {token}")), int(2));
    assert_eq!([value(&mut c, "none r"), value(&mut c, "other r")], ["a", "b"]);
    // With leases as well: one each.
    region(&mut c, "l LEASE 100000");
    let reply = c.must("CACHE.MGET l a b a");
    let codes: Vec<String> = reply.items().iter().map(code_of).collect();
    assert_eq!(codes, ["MISS", "MISS", "WAIT"]);
}

#[test]
fn mset_stores_all_with_the_same_options_and_counts_them() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "b r old");
    let token = miss(&mut c, "a r NS n:");
    let line = format!(
        "CACHE.MSET r 3 a 1 b 2 c 3 TOKEN {token} PX 50000 GRACE 10000 TAGS 2 t u NS n: LABEL l NX"
    );
    assert_eq!(c.run(&line), int(3), "an entry of another region is as nothing for NX");
    for (key, is) in [("a", "1"), ("b", "2"), ("c", "3")] {
        let reply = get(&mut c, &format!("{key} r NS n:"));
        assert_eq!(reply.items()[..3], [bulk("HIT"), bulk(is), bulk("l")]);
        assert!((55_000..=60_000).contains(&c.must(&format!("PTTL {key}")).int()));
        let tags = sorted(&c.must(&format!("APIKEY.TAGS {key}")));
        assert_eq!(tags, ["n:cache:region:r", "t", "u"]);
    }
    // NX and TOKEN are judged key by key.
    c.must("APIKEY.INVAL b");
    assert_eq!(c.run(&line), int(0), "b was invalidated since, the others are there");
    let token = c.must("APIKEY.TOKEN b").text();
    c.must("APIKEY.INVAL c");
    let line = format!("CACHE.MSET r 3 a 7 b 8 c 9 TOKEN {token} NS n:");
    assert_eq!(c.run(&line), int(2));
    let reads = ["a", "b", "c"].map(|key| says(&mut c, &format!("{key} r NS n:")));
    assert_eq!(reads, ["HIT", "HIT", "MISS"]);
    assert_eq!(stat(&mut c, "r NS n:", "refused_fills"), 2);
    assert_exact(&server);
}

#[test]
fn mset_stores_all_or_where_one_is_wrong_none() {
    let server = Server::start();
    let mut c = server.client();
    c.must("SET str x");
    c.fill("rec", &[]);
    region(&mut c, "small MAXBYTES 300");
    let token = miss(&mut c, "a r");
    let long = "x".repeat(400);
    let before = server.digest();
    for (line, text) in [
        (format!("CACHE.MSET r 3 a 1 b 2 str 3 TOKEN {token}"), WRONG_TYPE),
        (format!("CACHE.MSET r 3 a 1 rec 2 b 3 TOKEN {token}"), WRONG_TYPE),
        (
            format!("CACHE.MSET small 2 a 1 b {long} TOKEN {token}"),
            "ERR the entry, with its key, must be at most what its region may hold: 300 bytes (MAXBYTES)",
        ),
    ] {
        assert_eq!(c.run(&line), error(text), "{line:.60}");
        assert_eq!(server.digest(), before, "{line:.60}");
    }
    assert_eq!(says(&mut c, "a r"), "MISS");
    assert_eq!(
        c.run(&format!("CACHE.MSET r 2 a 1 b 2 TOKEN {token}")),
        int(2),
        "nothing was fenced"
    );
}

#[test]
fn what_is_not_of_the_cache_is_of_the_wrong_type_and_the_other_way_round() {
    let server = Server::start();
    let mut c = server.client();
    c.must("SET str x");
    c.fill("rec", &[]);
    c.decide("scp", "r a ALLOW", "TAGS 1 t");
    c.list("lst", &[], "TAGS 1 t");
    c.count("use", 1);
    set(&mut c, "k r v");
    let token = c.must("APIKEY.TOKEN x").text();
    let before = server.digest();
    for key in ["str", "rec", "scp", "lst", "use"] {
        for line in [
            format!("CACHE.GET {key} r"),
            format!("CACHE.SET {key} r v"),
            format!("CACHE.SET {key} r v TOKEN {token}"),
            format!("CACHE.SET {key} r v NX"),
            format!("CACHE.MSET r 1 {key} v TOKEN {token}"),
            format!("CACHE.SETABSENT {key} r TOKEN {token}"),
        ] {
            assert_eq!(c.run(&line), error(WRONG_TYPE), "{line}");
        }
    }
    for line in [
        format!("APIKEY.VALIDATE k SECRET {SECRET}"),
        format!("APIKEY.SETVAL k {}", record("id", "u")),
        format!("APIKEY.SETVAL k {} TOKEN {token}", record("id", "u")),
        "APIKEY.CHECKSCOPE k r a".into(),
        format!("APIKEY.SETSCOPE k id u r a ALLOW TOKEN {token}"),
        "APIKEY.GETLIST k".into(),
        format!("APIKEY.SETLIST k u [] TOKEN {token}"),
        format!("APIKEY.SETABSENT k TOKEN {token}"),
        "APIKEY.USAGE.INCR k".into(),
        "GET k".into(),
        "APPEND k x".into(),
    ] {
        assert_eq!(c.run(&line), error(WRONG_TYPE), "{line}");
    }
    assert_eq!(server.digest(), before);
    assert_exact(&server);
}

#[test]
fn what_works_for_records_works_for_values() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "a r v TAGS 1 t");
    set(&mut c, "b r v TAGS 1 t");
    c.fill("rec", &["t"]);
    assert_eq!(c.must("APIKEY.TAGCARD t"), int(3));
    assert_eq!(c.must("APIKEY.TAGCARD cache:region:r"), int(2));
    let scan = c.must("APIKEY.TAGSCAN cache:region:r 0");
    assert_eq!(scan.items()[0], bulk("0"));
    assert_eq!(sorted(&scan.items()[1]), ["a", "b"]);
    let described = c.must("APIKEY.DESCRIBE a");
    assert_eq!((described.get("kind"), described.get("live")), (&bulk("cache"), &int(1)));
    let token = c.must("APIKEY.TOKEN a").text();
    assert_eq!(c.must("APIKEY.INVAL a none"), int(1));
    assert_eq!(says(&mut c, "a r"), "MISS");
    assert_eq!(c.run(&format!("CACHE.SET a r v TOKEN {token}")), nil());
    // What a TAGINVAL kills it kills of both kinds, by either name.
    assert_eq!(c.must("APIKEY.TAGINVAL t"), int(2));
    assert_eq!((says(&mut c, "b r"), c.code("rec")), ("MISS".into(), "MISS".into()));
    set(&mut c, "b r v TAGS 1 t");
    c.fill("rec", &["t"]);
    assert_eq!(c.must("CACHE.TAGINVAL t none"), int(2));
    assert_eq!((says(&mut c, "b r"), c.code("rec")), ("MISS".into(), "MISS".into()));
    set(&mut c, "b r v");
    assert_eq!(c.must("EXISTS b"), int(1));
    assert_eq!(c.must("DEL b"), int(1));
    assert_eq!(says(&mut c, "b r"), "MISS");
    let token = miss(&mut c, "b r");
    c.must("DEL b");
    assert_eq!(c.run(&format!("CACHE.SET b r v TOKEN {token}")), ok(), "DEL fences nothing");
    assert_exact(&server);
}

#[test]
fn resp3_has_the_same_arrays_and_maps_for_what_has_names() {
    let server = Server::start();
    let mut c = server.client();
    c.resp3();
    set(&mut c, "k r v LABEL l");
    let reply = get(&mut c, "k r");
    assert_eq!(reply.items()[..3], [bulk("HIT"), bulk("v"), bulk("l")]);
    let absent = miss(&mut c, "a r");
    fine(&mut c, &format!("CACHE.SETABSENT a r TOKEN {absent}"));
    assert_eq!(get(&mut c, "a r"), array([bulk("ABSENT"), nil()]));
    if kind() == Kind::Redis62 {
        return; // A module has no maps there.
    }
    assert!(matches!(c.must("CACHE.REGION GET r"), Reply::Map(_)));
    assert!(matches!(c.must("CACHE.STATS r"), Reply::Map(_)));
    let all = c.must("CACHE.STATS");
    assert!(all.items().iter().all(|one| matches!(one, Reply::Map(_))) && all.items().len() == 1);
    assert_eq!(c.must("CACHE.TOP r"), array([array([bulk("k"), int(1)])]));
    assert_eq!(c.run("CACHE.SET k r w NX"), nil());
    assert_eq!(c.must("CACHE.CLEAR r"), int(2));
}

#[test]
fn while_it_is_not_enabled_every_read_is_a_miss_and_every_fill_nil() {
    let server = Server::builder().setting("enabled", "no").start();
    let mut c = server.client();
    assert_eq!(get(&mut c, "k r"), array([bulk("MISS"), bulk("0")]));
    assert_eq!(c.must("CACHE.MGET r k").items(), [array([bulk("MISS"), bulk("0")])]);
    for line in [
        "CACHE.SET k r v",
        "CACHE.SET k r v NX",
        "CACHE.SET k r v TOKEN 0",
        "CACHE.SETABSENT k r TOKEN 0",
    ] {
        assert_eq!(c.run(line), nil(), "{line}");
    }
    assert_eq!(c.run("CACHE.MSET r 1 k v TOKEN 0"), int(0));
    assert_eq!(c.must("CACHE.CLEAR r"), int(0));
    if kind() == Kind::Redis62 {
        return;
    }
    c.must("CONFIG SET apikey.enabled yes");
    set(&mut c, "k r v GRACE 1000");
    region(&mut c, "r LEASE 100000");
    c.must("CONFIG SET apikey.enabled no");
    for _ in 0..2 {
        assert_eq!(get(&mut c, "k r"), array([bulk("MISS"), bulk("0")]), "never WAIT");
    }
    c.must("CONFIG SET apikey.enabled yes");
    assert_eq!(says(&mut c, "k r"), "HIT");
    assert_exact(&server);
}

#[test]
fn a_writers_word_is_never_refused_and_refuses_the_fills_that_began_before() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k r");
    c.must("CACHE.CLEAR r");
    set(&mut c, "k r writer");
    let fills = |c: &mut Client, token: &str| {
        let set = c.run(&format!("CACHE.SET k r late TOKEN {token}"));
        let absent = c.run(&format!("CACHE.SETABSENT k r TOKEN {token}"));
        let many = c.run(&format!("CACHE.MSET r 1 k late TOKEN {token}"));
        assert_eq!([set, absent, many], [nil(), nil(), int(0)]);
        assert_eq!(value(c, "k r"), "writer");
    };
    fills(&mut c, &token);
    let token = c.must("APIKEY.TOKEN k").text();
    set(&mut c, "k r writer");
    fills(&mut c, &token);
    // Also where it is not stored.
    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(c.run("CACHE.SET k r other NX"), nil());
    fills(&mut c, &token);
    assert_eq!(c.run("CACHE.SET k r late TOKEN 0"), nil());
}

#[test]
fn a_fill_is_refused_where_its_key_region_or_tag_was_invalidated_after_its_token() {
    let server = Server::builder().setting("token-ttl-ms", "2000").start();
    let mut c = server.client();
    for invalidation in [
        "APIKEY.INVAL k",
        "CACHE.CLEAR r NS n:",
        "APIKEY.TAGINVAL t",
        "CACHE.TAGINVAL t",
        "CACHE.TAGINVAL SOFT t",
        "CACHE.TAGINVAL n:cache:region:r",
        "CACHE.PATINVAL k*",
        "CACHE.PATINVAL ? REGION r NS n:",
        "FLUSHDB",
    ] {
        let token = miss(&mut c, "k r NS n:");
        c.must(invalidation);
        let line = format!("CACHE.SET k r v TOKEN {token} TAGS 1 t NS n:");
        assert_eq!(c.run(&line), nil(), "{invalidation}");
        assert_eq!(says(&mut c, "k r NS n:"), "MISS", "{invalidation}");
    }
    for other in [
        "APIKEY.INVAL j",
        "CACHE.CLEAR r",
        "CACHE.TAGINVAL u",
        "CACHE.PATINVAL j*",
        "CACHE.PATINVAL k REGION r",
    ] {
        let token = miss(&mut c, "k r NS n:");
        c.must(other);
        let line = format!("CACHE.SET k r v TOKEN {token} TAGS 1 t NS n:");
        assert_eq!(c.run(&line), ok(), "{other}");
        c.must("APIKEY.INVAL k");
    }
    let token = miss(&mut c, "k r");
    let began = std::time::Instant::now();
    eventually("the token is old", || began.elapsed().as_millis() > 2_100);
    assert_eq!(c.run(&format!("CACHE.SET k r v TOKEN {token}")), nil());
}
