//! SETABSENT: the knowledge that there is no such key, and when it goes.

use crate::harness::server::{self, Kind, Stop};
use crate::harness::streams::Tap;
use crate::harness::*;

#[track_caller]
fn token(c: &mut Client, key: &str) -> String {
    c.must(&format!("APIKEY.TOKEN {key}")).text()
}

/// Stores that the key is absent, by a reader who looked just now.
#[track_caller]
fn set_absent(c: &mut Client, key: &str, options: &str) -> Reply {
    let line = format!("APIKEY.SETABSENT {key} TOKEN {} {options}", token(c, key));
    c.cmd(args(&line))
}

#[test]
fn an_absent_key_is_known_for_its_time() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(set_absent(&mut c, "k", ""), ok());
    assert_eq!(c.must("APIKEY.VALIDATE k SECRET x SCOPE a"), array([bulk("ABSENT"), nil()]));
    assert_eq!(c.must("TTL k"), int(30), "absent-ttl");
    assert_eq!(c.must("APIKEY.TAGS k"), array([bulk("apikey:kind:absent")]));
    for (options, least, most) in [
        ("EX 100", 99_000, 100_000),
        ("px 5000", 4_000, 5_000),
        ("EXAT 4102444800", i64::MAX / 4_000_000, i64::MAX),
        ("PXAT 4102444800000", i64::MAX / 4_000_000, i64::MAX),
    ] {
        assert_eq!(set_absent(&mut c, "k", options), ok(), "over another absent one: {options}");
        let left = c.must("PTTL k").int();
        assert!((least..=most).contains(&left) || left > 1_000_000_000, "{options}: {left}");
    }
    set_absent(&mut c, "k", "PX 1");
    eventually("the absent key expires", || c.code("k") == "MISS");
    let other = Server::builder().setting("absent-ttl", "7").start();
    let mut c = other.client();
    set_absent(&mut c, "k", "");
    assert_eq!(c.must("TTL k"), int(7));
    assert_exact(&server);
}

#[test]
fn health_counts_absent_keys_apart_and_an_answer_from_one_is_a_hit() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("r", &[]);
    set_absent(&mut c, "a", "");
    set_absent(&mut c, "b", "TAGS 1 t");
    c.code("a");
    let health = c.must("APIKEY.HEALTH");
    for (name, count) in [("records", 1), ("absent", 2), ("hits", 1), ("misses", 0)] {
        assert_eq!(health.get(name), &int(count), "{name}");
    }
    assert_eq!(c.info("apikey_contents", "apikey_absent").as_deref(), Some("2"));
    c.must("DEL a b");
    assert_eq!(c.must("APIKEY.HEALTH").get("absent"), &int(0));
}

#[test]
fn an_absent_key_never_covers_a_live_record() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    assert_eq!(set_absent(&mut c, "k", ""), nil());
    assert_eq!(c.code("k"), "VALID");
    c.must("COPY k copied");
    assert_eq!(set_absent(&mut c, "copied", ""), ok(), "a dead record is none");
    assert_eq!(c.code("copied"), "ABSENT");
    c.must("SET s x");
    c.count("u", 1);
    for key in ["s", "u"] {
        assert!(set_absent(&mut c, key, "").is_error(), "{key}");
    }
    assert_exact(&server);
}

#[test]
fn a_created_key_is_visible_as_soon_as_it_is_stored_or_invalidated() {
    let server = Server::start();
    let mut c = server.client();
    set_absent(&mut c, "k", "EX 500");
    c.fill("k", &[]);
    assert_eq!(c.code("k"), "VALID");

    set_absent(&mut c, "k2", "EX 500");
    let late = token(&mut c, "k2");
    assert_eq!(c.must("APIKEY.INVAL k2"), int(1));
    assert_eq!(c.code("k2"), "MISS");
    let line = format!("APIKEY.SETABSENT k2 TOKEN {late}");
    assert_eq!(c.must(&line), nil(), "a reader that looked before the key was created");
    assert_eq!(c.code("k2"), "MISS");
    assert_eq!(c.must("APIKEY.HEALTH").get("stale_fills_refused"), &int(1));

    // A reader that looked before a writer stored the key.
    let late = token(&mut c, "k3");
    c.fill("k3", &[]);
    c.must("DEL k3");
    assert_eq!(c.must(&format!("APIKEY.SETABSENT k3 TOKEN {late}")), nil());
}

#[test]
fn an_absent_key_carries_the_callers_tags_and_dies_with_them() {
    let server = Server::start();
    let mut c = server.client();
    set_absent(&mut c, "k", "TAGS 2 lookup tenant");
    let mut tags: Vec<String> = c.must("APIKEY.TAGS k").items().iter().map(Reply::text).collect();
    tags.sort();
    assert_eq!(tags, ["apikey:kind:absent", "lookup", "tenant"]);
    assert_eq!(c.invalidate("apikey:kind:record"), 0, "it is of another kind");
    assert_eq!(c.code("k"), "ABSENT");
    assert_eq!(c.invalidate("lookup"), 1);
    assert_eq!(c.code("k"), "MISS");
    assert!(!c.exists("k"));

    let late = token(&mut c, "k");
    c.must("APIKEY.TAGINVAL tenant");
    let line = format!("APIKEY.SETABSENT k TOKEN {late} TAGS 1 tenant");
    assert_eq!(c.must(&line), nil(), "a fill that raced with its tag's invalidation");
    assert_eq!(c.must(&format!("APIKEY.SETABSENT k TOKEN {late} TAGS 1 other")), ok());
    assert_exact(&server);
}

#[test]
fn all_absent_keys_die_by_the_tag_of_their_kind_which_obeys_the_namespace() {
    let server = Server::start();
    let replica = Server::builder().replica_of(&server).start();
    let mut c = server.client();
    c.fill("rec", &[]);
    for n in 0..3 {
        set_absent(&mut c, &format!("plain{n}"), "");
    }
    set_absent(&mut c, "spaced", "NS acme: TAGS 1 t");
    let tags = array([bulk("acme:apikey:kind:absent"), bulk("t")]);
    assert_eq!(c.must("APIKEY.TAGS spaced"), tags);
    assert_eq!(c.must("APIKEY.DESCRIBE spaced").get("tags"), &tags);
    replica.in_sync_with(&server);
    assert_eq!(replica.client().must("APIKEY.TAGS spaced"), tags);
    assert_eq!(c.must("APIKEY.TAGCARD apikey:kind:absent"), int(3));
    let late = token(&mut c, "plain0");
    assert_eq!(c.invalidate("apikey:kind:absent"), 3);
    assert_eq!(c.codes(["rec", "plain0", "spaced"]), ["VALID", "MISS", "ABSENT"]);
    let line = format!("APIKEY.SETABSENT plain0 TOKEN {late}");
    assert_eq!(c.must(&line), nil(), "a fill that raced with it");
    assert_eq!(c.must(&format!("{line} NS acme:")), ok(), "of another namespace");
    assert_eq!(c.invalidate("acme:apikey:kind:absent"), 2);
    assert_eq!(c.codes(["plain0", "spaced"]), ["MISS", "MISS"]);
    replica.in_sync_with(&server);
    assert_eq!(replica.client().codes(["rec", "plain0", "spaced"]), ["VALID", "MISS", "MISS"]);
    assert_exact(&server);
    assert_exact(&replica);
}

#[test]
fn an_absent_key_counts_as_nothing_for_nx_xx_and_keepttl() {
    let server = Server::start();
    let mut c = server.client();
    let setval = |c: &mut Client, options: &str| {
        c.run(&format!("APIKEY.SETVAL k {} SECRET {SECRET} {options}", record("k", "u")))
    };
    set_absent(&mut c, "k", "EX 20");
    assert_eq!(setval(&mut c, "XX"), nil());
    assert_eq!(c.code("k"), "ABSENT");
    assert_eq!(setval(&mut c, "NX"), ok());
    assert_eq!(c.code("k"), "VALID");
    c.must("DEL k");
    set_absent(&mut c, "k", "EX 20");
    assert_eq!(setval(&mut c, "KEEPTTL"), ok());
    assert!(c.must("TTL k").int() > 20, "validation-ttl, not what the absent one had left");
}

#[test]
fn where_fills_are_switched_off_nothing_is_stored() {
    for switch in ["enabled", "writes-enabled"] {
        let server = Server::builder().setting(switch, "no").start();
        let mut c = server.client();
        assert_eq!(set_absent(&mut c, "k", ""), nil(), "{switch}");
        assert!(!c.exists("k"));
    }
}

#[test]
fn a_bad_call_says_what_is_wrong_and_changes_nothing() {
    let server = Server::start();
    let mut c = server.client();
    let token = token(&mut c, "k");
    for (options, says) in [
        ("", "wrong number of arguments"),
        ("EX 5", "TOKEN is required"),
        ("TOKEN T EX", "EX has no value"),
        ("TOKEN x", "TOKEN must be one that a MISS or apikey.token gave"),
        ("TOKEN ''", "TOKEN must be one that a MISS or apikey.token gave"),
        ("TOKEN T TOKEN T", "TOKEN is given twice"),
        ("TOKEN T EX 0", "EX must be between 1 and"),
        ("TOKEN T EX 5 PX 5", "EX and PX exclude each other"),
        ("TOKEN T KEEPTTL", "unknown option at argument 4"),
        ("TOKEN T NX", "unknown option at argument 4"),
        ("TOKEN T NS", "NS has no value"),
        ("TOKEN T NS ''", "NS must be between 1 and 100 bytes"),
        ("TOKEN T TAGS 2 a", "TAGS has fewer tags than its count"),
        ("TOKEN T TAGS 17 a", "TAGS count must be between 1 and 16"),
    ] {
        let mut call = vec!["APIKEY.SETABSENT".to_string(), "k".into()];
        call.extend(args(options).into_iter().map(|word| match word.as_str() {
            "T" => token.clone(),
            "''" => String::new(),
            _ => word,
        }));
        let reply = c.cmd(call);
        assert!(
            matches!(&reply, Reply::Error(text) if text.contains(says)),
            "{options}: {reply:?}"
        );
    }
    assert!(!c.exists("k"));
}

#[test]
fn absent_keys_survive_a_restart_and_agree_on_a_replica() {
    for aof in [false, true] {
        let mut builder = Server::builder().setting("trust-loaded", "yes");
        if aof {
            builder = builder.with_aof(false);
        }
        let mut server = builder.start();
        let mut c = server.client();
        let replica = Server::builder().replica_of(&server).start();
        set_absent(&mut c, "k", "EX 5000 TAGS 2 a b NS acme:");
        set_absent(&mut c, "plain", "EX 5000");
        set_absent(&mut c, "renamed", "EX 5000");
        c.must("RENAME renamed dead");
        eventually("the dead one is reclaimed", || !c.exists("dead"));
        replica.in_sync_with(&server);
        assert_eq!(answers(&server), answers(&replica));
        assert_eq!(replica.client().code("k"), "ABSENT");
        assert_exact(&replica);
        let before = answers(&server);
        server.restart(if aof { Stop::Kill } else { Stop::Save });
        assert_eq!(answers(&server), before, "aof: {aof}");
        let mut c = server.client();
        assert_eq!(c.invalidate("acme:apikey:kind:absent"), 1);
        assert_eq!(c.codes(["k", "plain"]), ["MISS", "ABSENT"]);
        assert_exact(&server);
    }
}

#[test]
fn what_is_replicated_is_resolved() {
    let server = Server::start();
    let mut c = server.client();
    let mut stream = Tap::replication(server.port);
    set_absent(&mut c, "k", "EX 1000 TAGS 2 a b NS acme:");
    let expires_at = pexpiretime(&mut c, "k");
    c.must("SET end x");
    stream.until(b"end");
    let text = stream.text();
    let line = format!("TOKEN $1 0 $4 PXAT $13 {expires_at} $4 TAGS $1 2 $1 a $1 b $2 NS $5 acme:");
    assert!(text.replace("\\r\\n", " ").contains(&line), "{text}");
}

/// When a key expires, in epoch milliseconds.
fn pexpiretime(c: &mut Client, key: &str) -> i64 {
    match server::kind() {
        Kind::Redis62 => {
            let script = "local t=redis.call('TIME') return t[1]*1000+math.floor(t[2]/1000)+redis.call('PTTL',KEYS[1])";
            c.cmd(["EVAL", script, "1", key]).int()
        }
        _ => c.must(&format!("PEXPIRETIME {key}")).int(),
    }
}

#[test]
fn there_are_as_many_absent_keys_as_the_setting_says() {
    for max in [1, 3] {
        let server = Server::builder().setting("max-absent", &max.to_string()).start();
        let replica = Server::builder().setting("max-absent", "0").replica_of(&server).start();
        let mut c = server.client();
        c.fill("rec", &[]);
        for n in 0..max {
            c.select(n % 2);
            assert_eq!(set_absent(&mut c, &format!("k{n}"), "EX 500"), ok());
        }
        c.select(0);
        assert_eq!(set_absent(&mut c, "more", ""), nil(), "of all databases");
        assert!(!c.exists("more"));
        assert_eq!(set_absent(&mut c, "k0", "EX 900"), ok(), "one that is there");
        assert!((890..=900).contains(&c.must("TTL k0").int()));
        c.must("COPY rec copied");
        assert_eq!(set_absent(&mut c, "copied", ""), nil(), "a dead record is none");
        let health = c.must("APIKEY.HEALTH");
        assert_eq!(health.get("absent"), &int(max as i64));
        assert_eq!(health.get("absent_refused"), &int(2));
        assert_eq!(health.get("stale_fills_refused"), &int(0));
        assert_eq!(c.info("apikey_answers", "apikey_absent_refused").as_deref(), Some("2"));
        // What was stored on the primary is not refused here.
        replica.in_sync_with(&server);
        assert_eq!(replica.client().must("APIKEY.HEALTH").get("absent"), &int(max as i64));
        assert_eq!(replica.client().must("APIKEY.HEALTH").get("absent_refused"), &int(0));
        // Another comes where one has gone.
        c.must("APIKEY.INVAL k0");
        assert_eq!(set_absent(&mut c, "more", ""), ok());
        assert_eq!(set_absent(&mut c, "k0", ""), nil());
        assert_exact(&server);
    }
}

#[test]
fn a_setting_of_no_absent_keys_keeps_none_that_is_there_alive() {
    if !server::kind().has_module_config() {
        return;
    }
    let mut server = Server::builder().setting("trust-loaded", "yes").with_aof(false).start();
    let mut c = server.client();
    for key in ["a", "b", "c"] {
        assert_eq!(set_absent(&mut c, key, "EX 500"), ok());
    }
    for (max, new, refreshed) in [("4", ok(), ok()), ("3", nil(), nil()), ("0", nil(), nil())] {
        c.must(&format!("CONFIG SET apikey.max-absent {max}"));
        assert_eq!(set_absent(&mut c, &format!("new{max}"), "EX 500"), new, "{max}");
        assert_eq!(set_absent(&mut c, "a", "EX 500"), refreshed, "{max}");
        assert_eq!(c.code("a"), "ABSENT", "what is there stays");
    }
    // Nor is what an AOF brings refused.
    server.restart_with(Stop::Kill, |builder| builder.setting("max-absent", "0"));
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.HEALTH").get("absent"), &int(4));
    assert_eq!(c.codes(["a", "new4"]), ["ABSENT", "ABSENT"]);
    assert_exact(&server);
}

/// Of those who guess at keys.
struct Flood {
    policy: &'static str,
    room: Room,
    guesses: usize,
    /// By so many bytes the names are longer than those of keys that are in use.
    longer: usize,
}

/// Who uses keys and who guesses at others, at once: `USED` keys, each asked for all the time, and guesses
/// that are told to be absent. Returns how many keys in use were found missing, and how many guesses are kept.
fn flood(&Flood { policy, room, guesses: all_guesses, longer }: &Flood) -> (usize, i64) {
    const USED: usize = 4_000;
    const AT_ONCE: usize = 100;
    let tail = "x".repeat(longer);
    let server = Server::builder().config(&format!("maxmemory-policy {policy}")).start();
    let mut c = server.client();
    let used: Vec<String> = (0..USED).map(|n| format!("apikey:{{ak_live_{n:08}}}")).collect();
    for some in used.chunks(AT_ONCE) {
        let fill = |key: &String| {
            let record = record(&format!("00000000-0000-4000-8000-{}", &key[8..]), "u");
            format!("APIKEY.SETVAL {key} {record} DIGEST {DIGEST} EX 900")
        };
        let lines: Vec<String> = some.iter().map(fill).collect();
        assert!(c.pipeline(&lines).iter().all(|reply| *reply == ok()));
    }
    let memory: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    let max = match room {
        Room::Bytes(bytes) => memory + bytes,
        Room::Percent(percent) => memory + memory * percent / 100,
    };
    c.must(&format!("CONFIG SET maxmemory {max}"));
    let mut in_use = used.iter().cycle();
    let mut lost = 0;
    for first in (0..all_guesses).step_by(AT_ONCE) {
        let guess = |n| format!("apikey:{{ak_live_guess{n:08}{tail}}}");
        let guesses: Vec<String> = (first..first + AT_ONCE).map(guess).collect();
        let ask = |key: &String| format!("APIKEY.VALIDATE {key} DIGEST {DIGEST}");
        let mut lines: Vec<String> = guesses.iter().map(ask).collect();
        lines.extend(in_use.by_ref().take(AT_ONCE).map(ask));
        let replies = c.pipeline(&lines);
        lost += replies[AT_ONCE..].iter().filter(|reply| code_of(reply) == "MISS").count();
        let fills: Vec<String> = guesses
            .iter()
            .zip(&replies)
            .map(|(key, reply)| {
                assert_eq!(code_of(reply), "MISS");
                format!("APIKEY.SETABSENT {key} TOKEN {}", reply.items()[1].text())
            })
            .collect();
        for reply in c.pipeline(&fills) {
            assert!(reply == ok() || reply == nil(), "{reply:?}");
        }
    }
    let gone = used.iter().filter(|key| !c.exists(key)).count();
    let absent = c.must("APIKEY.HEALTH").get("absent").int();
    assert_exact(&server);
    (gone.max(lost), absent)
}

/// What of `maxmemory` the keys in use leave free.
#[derive(Clone, Copy, Debug)]
enum Room {
    Bytes(i64),
    Percent(i64),
}

/// Returns how many guesses are kept.
#[track_caller]
fn assert_none_is_pushed_out(flood: &Flood) -> i64 {
    let (lost, absent) = self::flood(flood);
    let Flood { policy, room, longer, .. } = flood;
    assert_eq!(lost, 0, "{policy} {room:?}, {longer} bytes longer");
    absent
}

#[test]
fn who_guesses_at_keys_pushes_out_none_that_is_in_use() {
    for room in [Room::Bytes(6_000_000), Room::Bytes(1_500_000), Room::Percent(20)] {
        let flood = Flood { policy: "volatile-lru", room, guesses: 48_000, longer: 0 };
        let absent = assert_none_is_pushed_out(&flood);
        assert!((300..=10_000).contains(&absent), "{room:?}: {absent}");
    }
}

#[test]
fn nor_under_the_policy_of_the_example() {
    let room = Room::Bytes(1_500_000);
    let flood = Flood { policy: "volatile-ttl", room, guesses: 48_000, longer: 0 };
    let absent = assert_none_is_pushed_out(&flood);
    assert!((300..=10_000).contains(&absent), "{absent}");
}

#[test]
fn nor_by_long_names_or_where_hardly_any_memory_is_free() {
    for policy in ["volatile-ttl", "volatile-lru"] {
        let flood = |room, longer| Flood { policy, room, guesses: 8_000, longer };
        assert_none_is_pushed_out(&flood(Room::Percent(20), 1_000));
        assert_none_is_pushed_out(&flood(Room::Bytes(1_500_000), 4_000));
        assert_none_is_pushed_out(&flood(Room::Percent(5), 0));
    }
}
