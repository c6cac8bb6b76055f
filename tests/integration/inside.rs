//! TAGCARD, TAGSCAN and DESCRIBE: looking at what is stored.

use crate::harness::server::Stop;
use crate::harness::*;
use std::collections::BTreeSet;

/// One call of TAGSCAN: the next cursor, and the keys.
#[track_caller]
fn scan(c: &mut Client, tag: &str, cursor: &str, count: usize) -> (String, Vec<String>) {
    let reply = c.must(&format!("APIKEY.TAGSCAN {tag} {cursor} COUNT {count}"));
    let [cursor, keys] = reply.items() else { panic!("{reply:?}") };
    (cursor.text(), keys.items().iter().map(Reply::text).collect())
}

/// All that a scan finds, with something that happens before each call but the first.
#[track_caller]
fn scan_all(
    c: &mut Client,
    tag: &str,
    count: usize,
    mut between: impl FnMut(&mut Client),
) -> Vec<String> {
    let (mut cursor, mut found) = scan(c, tag, "0", count);
    while cursor != "0" {
        between(c);
        let (next, more) = scan(c, tag, &cursor, count);
        assert!(more.len() <= count);
        found.extend(more);
        cursor = next;
    }
    found.sort();
    found
}

fn names(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n:04}")).collect()
}

#[test]
fn tagcard_counts_the_living() {
    let server = Server::builder().setting("sync-reclaim", "0").start();
    let mut c = server.client();
    let held = hold(&mut c);
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(0));
    for key in ["a", "b", "c"] {
        c.fill(key, &["tag", key]);
    }
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(3));
    assert_eq!(c.must("APIKEY.TAGCARD apikey:kind:record"), int(3));
    assert_eq!(c.must("APIKEY.TAGCARD a"), int(1));
    assert_eq!(c.must("APIKEY.TAGCARD A"), int(0));
    c.fill("a", &["tag"]);
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(3), "a refresh is no other entry");
    assert_eq!(c.must("APIKEY.TAGCARD a"), int(0));
    c.must("DEL b");
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(2));
    c.select(1);
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(0), "tags live in the database of the entry");
    c.select(0);
    // Those that the tag has killed are none any more, though they are there.
    assert_eq!(c.invalidate("tag"), 2);
    assert!(!held || c.exists("a"));
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(0));
    c.fill("new", &["tag"]);
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(1));
    // What another tag has killed counts until it is reclaimed.
    c.fill("d", &["tag", "other"]);
    c.invalidate("other");
    if held {
        assert_eq!(c.must("APIKEY.TAGCARD tag"), int(2));
        release(&mut c);
    }
    reclaimed(&mut c);
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(1));
    assert_exact(&server);
}

#[test]
fn a_scan_where_nothing_changes_finds_each_entry_once() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.TAGSCAN none 0"), array([bulk("0"), array([])]));
    let keys = names("k", 0..100);
    for key in &keys {
        c.fill(key, &["tag"]);
    }
    for other in names("other", 0..50) {
        c.fill(&other, &["else"]);
    }
    for count in [1, 7, 99, 100, 10_000] {
        assert_eq!(scan_all(&mut c, "tag", count, |_| {}), keys, "COUNT {count}");
    }
    let (cursor, first) = scan(&mut c, "tag", "0", 10);
    let without = c.must("APIKEY.TAGSCAN tag 0");
    assert_eq!(without.items()[1].items().len(), 10, "the default is SCAN's");
    assert_eq!(without.items()[0], bulk(cursor));
    assert_eq!(first.len(), 10);
    c.select(1);
    assert_eq!(scan_all(&mut c, "tag", 10, |_| {}), Vec::<String>::new());
}

#[test]
fn what_carries_the_tag_throughout_is_found_whatever_else_happens() {
    let mut rng = Rng::from_env(5);
    for sync in ["0", "256"] {
        let server = Server::builder().setting("sync-reclaim", sync).start();
        let mut c = server.client();
        for round in 0..20 {
            c.must("FLUSHALL");
            let (stay, go) = (names("stay", 0..40), names("go", 0..40));
            let mut all = [stay.clone(), go.clone()].concat();
            for at in (1..all.len()).rev() {
                all.swap(at, rng.below(at + 1));
            }
            for key in &all {
                let tags: &[&str] = if rng.one_in(2) { &["tag"] } else { &["more", "tag"] };
                c.fill(key, if key.starts_with("go") { &["tag", "gone"] } else { tags });
            }
            let mut new = 0;
            let found = scan_all(&mut c, "tag", 1 + rng.below(7), |c| {
                for _ in 0..rng.below(12) {
                    let stays = &stay[rng.below(stay.len())];
                    let goes = &go[rng.below(go.len())];
                    match rng.below(8) {
                        // A refresh, with the same tags or others beside: the entry carries the tag
                        // before and after, so it has to be found.
                        0..=2 => c.fill(stays, &["tag"]),
                        3 => c.fill(stays, &["x", "tag", "y"]),
                        4 => {
                            c.must(&format!("DEL {goes}"));
                        }
                        5 => c.fill(goes, &["gone", "tag"]),
                        6 if rng.one_in(4) => {
                            c.invalidate("gone");
                        }
                        _ => {
                            new += 1;
                            c.fill(&format!("new{new}"), &["tag"]);
                        }
                    }
                }
            });
            let found: BTreeSet<String> = found.into_iter().collect();
            let missed: Vec<_> = stay.iter().filter(|key| !found.contains(*key)).collect();
            assert!(missed.is_empty(), "round {round}, sync-reclaim {sync}: {missed:?}");
            assert_exact(&server);
        }
    }
}

#[test]
fn a_scan_leaves_out_what_is_dead_or_expired() {
    let server = Server::builder().setting("sync-reclaim", "0").start();
    let mut c = server.client();
    hold(&mut c);
    c.must("DEBUG SET-ACTIVE-EXPIRE 0");
    for key in names("k", 0..20) {
        c.fill(&key, &["tag", &key]);
    }
    c.invalidate("k0003");
    c.must("RENAME k0004 k0099");
    c.must("PEXPIRE k0005 1");
    eventually("it expires", || c.must("PTTL k0005") == int(-2));
    c.must("PEXPIRE k0006 1");
    eventually("it expires", || !scan_all(&mut c, "tag", 3, |_| {}).contains(&"k0006".to_string()));
    let expected: Vec<String> = [names("k", 0..3), names("k", 7..20)].concat();
    assert_eq!(scan_all(&mut c, "tag", 3, |_| {}), expected);
    c.invalidate("tag");
    assert_eq!(scan_all(&mut c, "tag", 3, |_| {}), Vec::<String>::new());
    c.fill("new", &["tag"]);
    assert_eq!(scan(&mut c, "tag", "0", 10), ("0".into(), vec!["new".into()]));
}

#[test]
fn a_cursor_of_before_a_flush_a_swap_or_a_restart_does_no_harm() {
    let mut server = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = server.client();
    for key in names("k", 0..30) {
        c.fill(&key, &["tag"]);
    }
    let (cursor, _) = scan(&mut c, "tag", "0", 10);
    c.must("SWAPDB 0 1");
    assert_eq!(scan(&mut c, "tag", &cursor, 10), ("0".into(), vec![]));
    c.fill("here", &["tag"]);
    assert_eq!(scan(&mut c, "tag", &cursor, 10), ("0".into(), vec!["here".into()]));
    c.must("SWAPDB 0 1");
    server.restart(Stop::Save);
    let mut c = server.client();
    let (_, found) = scan(&mut c, "tag", &cursor, 10);
    assert_eq!(found.len(), 10);
    c.must("FLUSHALL");
    assert_eq!(scan(&mut c, "tag", &cursor, 10), ("0".into(), vec![]));
    assert_eq!(scan(&mut c, "tag", "18446744073709551615", 10_000), ("0".into(), vec![]));
    assert_exact(&server);
}

#[test]
fn describe_tells_what_stands_under_a_key_and_nothing_secret() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.DESCRIBE none"), nil());
    c.fill("k", &["b", "a"]);
    let told = c.must("APIKEY.DESCRIBE k");
    assert_eq!(
        told.names(),
        ["kind", "ttl", "age", "bytes", "tags", "digests", "digests_until", "live"]
    );
    assert_eq!((told.get("kind"), told.get("live")), (&bulk("record"), &int(1)));
    assert_eq!(told.get("digests"), &int(1));
    assert_eq!(told.get("tags"), &c.must("APIKEY.TAGS k"));
    assert!((290_000..=300_000).contains(&told.get("ttl").int()), "{told:?}");
    assert!((0..10_000).contains(&told.get("age").int()), "{told:?}");
    // What the record of 46 bytes is packed to, a digest of 32, and what belongs to every record.
    assert!((80..200).contains(&told.get("bytes").int()), "{told:?}");
    let hex = &DIGEST[..16];
    assert!(!format!("{told:?}").contains(hex));

    let other = "00".repeat(32);
    let json = record("k", "u");
    c.must(&format!("APIKEY.SETVAL k {json} DIGEST {DIGEST} DIGEST {other}"));
    c.must("PERSIST k");
    let told = c.must("APIKEY.DESCRIBE k");
    assert_eq!((told.get("digests"), told.get("ttl")), (&int(2), &int(-1)));
    assert_eq!(told.get("digests_until"), &array([nil(), nil()]));
    c.must(&format!("APIKEY.SETVAL k {json}"));
    assert_eq!(c.must("APIKEY.DESCRIBE k").get("digests"), &int(0));

    let token = c.must("APIKEY.TOKEN nobody").text();
    c.must(&format!("APIKEY.SETABSENT nobody TOKEN {token} TAGS 1 t"));
    let told = c.must("APIKEY.DESCRIBE nobody");
    assert_eq!((told.get("kind"), told.get("digests")), (&bulk("absent"), &int(0)));
    let tags = array([bulk("apikey:kind:absent"), bulk("t")]);
    assert_eq!((told.get("tags"), told.get("live")), (&tags, &int(1)));
    assert!((20_000..=30_000).contains(&told.get("ttl").int()), "{told:?}");

    c.count("use", 5);
    let told = c.must("APIKEY.DESCRIBE use");
    assert_eq!((told.get("kind"), told.get("ttl")), (&bulk("usage"), &int(-1)));
    assert_eq!((told.get("tags"), told.get("live")), (&array([]), &int(1)));
    assert!((0..10_000).contains(&told.get("age").int()), "since its first use: {told:?}");
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.DESCRIBE k");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(c.must("APIKEY.DESCRIBE none"), nil());
    }
}

#[test]
fn describe_tells_that_a_dead_entry_is_dead() {
    let server = Server::start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    c.fill("from", &["t"]);
    let tags = c.must("APIKEY.TAGS from");
    c.must("RENAME from to");
    let told = c.must("APIKEY.DESCRIBE to");
    assert_eq!((told.get("kind"), told.get("live")), (&bulk("record"), &int(0)));
    assert_eq!(told.get("tags"), &tags, "those that it carried");
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(c.must("APIKEY.DESCRIBE to"), nil());
}

#[test]
fn the_age_of_what_was_loaded_is_not_known_and_a_replica_has_its_own() {
    let mut server = Server::builder().setting("trust-loaded", "yes").with_aof(false).start();
    let mut c = server.client();
    c.fill("loaded", &[]);
    c.count("use", 1);
    server.restart(Stop::NoSave);
    let mut c = server.client();
    assert_eq!(c.code("loaded"), "VALID");
    assert_eq!(c.must("APIKEY.DESCRIBE loaded").get("age"), &nil(), "from the AOF");
    assert!(c.must("APIKEY.DESCRIBE use").get("age").int() >= 0, "a counter keeps its first use");
    let replica = Server::start();
    replica.replicate(&server);
    c.fill("new", &[]);
    replica.in_sync_with(&server);
    let mut r = replica.client();
    assert_eq!(r.must("APIKEY.DESCRIBE loaded").get("age"), &nil());
    assert!((0..10_000).contains(&r.must("APIKEY.DESCRIBE new").get("age").int()));
    assert_eq!(scan_all(&mut r, "apikey:kind:record", 1, |_| {}), ["loaded", "new"]);
    assert_eq!(r.must("APIKEY.TAGCARD apikey:kind:record"), int(2));
    c.must("DEBUG RELOAD");
    assert_eq!(c.must("APIKEY.DESCRIBE new").get("age"), &nil(), "from the RDB");
}

#[test]
fn looking_at_a_key_does_not_make_it_look_used() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CONFIG SET maxmemory-policy volatile-lfu");
    c.fill("k", &["tag"]);
    let before = c.must("OBJECT FREQ k");
    for _ in 0..200 {
        c.must("APIKEY.DESCRIBE k");
        c.must("APIKEY.TAGSCAN tag 0");
    }
    assert_eq!(c.must("OBJECT FREQ k"), before);
}
