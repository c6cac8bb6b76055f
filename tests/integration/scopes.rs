//! SETSCOPE and CHECKSCOPE: what an application decided, how long it is told, and when it goes.

use crate::harness::server::{self, Stop};
use crate::harness::streams::{find, Tap};
use crate::harness::*;

/// What CHECKSCOPE says of a request: its code.
#[track_caller]
fn check(c: &mut Client, key: &str, request: &str) -> String {
    code_of(&c.run(&format!("APIKEY.CHECKSCOPE {key} {request}")))
}

#[track_caller]
fn token(c: &mut Client, key: &str) -> String {
    c.must(&format!("APIKEY.TOKEN {key}")).text()
}

/// Stores a decision of key `k1` of user `u1`.
#[track_caller]
fn decide(c: &mut Client, key: &str, decision: &str, options: &str) -> Reply {
    let token = token(c, key);
    decide_with(c, key, decision, &format!("TOKEN {token} {options}"))
}

#[track_caller]
fn decide_with(c: &mut Client, key: &str, decision: &str, options: &str) -> Reply {
    c.cmd(args(&format!("APIKEY.SETSCOPE {key} k1 u1 {decision} {options}")))
}

#[test]
fn what_was_decided_is_told_and_anything_else_is_a_miss() {
    let server = Server::start();
    let mut c = server.client();
    let miss = c.must("APIKEY.CHECKSCOPE s users read");
    assert_eq!(miss.items()[0], bulk("MISS"));
    let token = miss.items()[1].text();
    assert_eq!(decide_with(&mut c, "s", "users read ALLOW", &format!("TOKEN {token}")), ok());
    assert_eq!(decide(&mut c, "s", "users write deny", ""), ok());
    assert_eq!(c.must("APIKEY.CHECKSCOPE s users read"), array([bulk("ALLOW"), nil()]));
    assert_eq!(c.must("APIKEY.CHECKSCOPE s users write"), array([bulk("DENY"), nil()]));
    for other in ["users delete", "user sread", "usersr ead", "USERS read", "* *", "users *"] {
        let miss = c.must(&format!("APIKEY.CHECKSCOPE s {other}"));
        assert_eq!(miss.items()[0], bulk("MISS"), "{other}");
        assert!(is_token(&miss.items()[1]), "{other}");
    }
    decide(&mut c, "s", "users read DENY", "");
    assert_eq!(check(&mut c, "s", "users read"), "DENY", "the latest holds");
    assert_eq!(c.run("TYPE s"), simple("apikeyscp"));
    assert_exact(&server);
}

#[test]
fn each_decision_has_its_own_time_and_the_key_that_of_the_last() {
    let server = Server::start();
    let mut c = server.client();
    decide(&mut c, "s", "a x ALLOW", "");
    assert_eq!(c.must("TTL s"), int(600), "scope-ttl");
    decide(&mut c, "s", "b x ALLOW", "EX 5000");
    decide(&mut c, "s", "c x ALLOW", "PX 60");
    let ttl = c.must("TTL s").int();
    assert!((4_990..=5_000).contains(&ttl), "{ttl}");
    eventually("the shortest expires", || check(&mut c, "s", "c x") == "MISS");
    assert_eq!(check(&mut c, "s", "a x"), "ALLOW");
    decide(&mut c, "s", "b x DENY", "EX 50");
    let ttl = c.must("TTL s").int();
    assert!((500..=600).contains(&ttl), "that of a, now that b's is shorter: {ttl}");
    decide(&mut c, "t", "a x ALLOW", "PX 30");
    eventually("the key goes with its last decision", || !c.exists("t"));
    assert_exact(&server);
}

#[test]
fn what_has_expired_is_dropped_by_the_next_decision() {
    let server = Server::builder().config("rdbcompression no").start();
    let mut c = server.client();
    decide(&mut c, "s", "short-lived x ALLOW", "PX 30");
    decide(&mut c, "s", "long-lived x ALLOW", "");
    let has =
        |c: &mut Client, text: &str| find(c.must("DUMP s").bytes(), text.as_bytes()).is_some();
    eventually("it has expired", || check(&mut c, "s", "short-lived x") == "MISS");
    assert!(has(&mut c, "short-lived"), "a read drops nothing");
    decide(&mut c, "s", "other x ALLOW", "");
    assert!(!has(&mut c, "short-lived") && has(&mut c, "long-lived") && has(&mut c, "other"));
}

#[test]
fn where_decisions_are_too_many_the_oldest_goes() {
    let server = Server::builder().setting("max-decisions", "3").start();
    let mut c = server.client();
    for name in ["a", "b", "c", "a", "d"] {
        decide(&mut c, "s", &format!("{name} x ALLOW"), "");
    }
    let left = ["a", "b", "c", "d"].map(|name| check(&mut c, "s", &format!("{name} x")));
    assert_eq!(left, ["ALLOW", "MISS", "ALLOW", "ALLOW"], "b is the oldest: a was decided again");
}

#[test]
fn decisions_die_with_their_key_their_user_and_every_tag_that_one_of_them_brought() {
    let server = Server::start();
    let mut c = server.client();
    for tag in [
        "acme:apikey:id:k1",
        "acme:apikey:user:u1",
        "acme:apikey:kind:scopes",
        "first",
        "second",
        "both",
    ] {
        assert_eq!(decide(&mut c, "s", "a x ALLOW", "TAGS 2 first both NS acme:"), ok());
        assert_eq!(decide(&mut c, "s", "b x DENY", "TAGS 2 both second NS acme:"), ok());
        assert_eq!(check(&mut c, "s", "a x"), "ALLOW");
        let tags = c.must("APIKEY.TAGS s");
        assert_eq!(tags.items().len(), 6, "{tags:?}");
        assert_exact(&server);
        assert_eq!(c.invalidate(tag), 1, "{tag}");
        assert_eq!(check(&mut c, "s", "a x"), "MISS", "{tag}");
        assert_eq!(check(&mut c, "s", "b x"), "MISS", "{tag}");
    }
    decide(&mut c, "s", "a x ALLOW", "");
    assert_eq!(c.must("APIKEY.INVAL s"), int(1));
    assert_eq!(check(&mut c, "s", "a x"), "MISS");
    assert_exact(&server);
}

#[test]
fn one_invalidation_of_a_key_or_a_user_kills_all_that_is_known_of_it() {
    let server = Server::start();
    let mut c = server.client();
    let record = record("k1", "u1");
    for (how, killed, list) in [
        ("APIKEY.TAGINVAL apikey:id:k1", 2, "HIT"),
        ("APIKEY.TAGINVAL apikey:user:u1", 3, "MISS"),
        ("APIKEY.INVAL r s l", 3, "MISS"),
    ] {
        c.must(&format!("APIKEY.SETVAL r {record} SECRET {SECRET}"));
        decide(&mut c, "s", "a x ALLOW", "");
        c.list("l", std::slice::from_ref(&record), "");
        assert_eq!(c.must(how), int(killed), "{how}");
        assert_eq!((c.code("r"), check(&mut c, "s", "a x")), ("MISS".into(), "MISS".into()));
        assert_eq!(code_of(&c.must("APIKEY.GETLIST l")), list, "{how}");
        assert_exact(&server);
    }
}

#[test]
fn a_decision_that_raced_with_an_invalidation_is_refused() {
    let server = Server::start();
    let mut c = server.client();
    for invalidation in [
        "APIKEY.TAGINVAL apikey:id:k1",
        "APIKEY.TAGINVAL apikey:user:u1",
        "APIKEY.TAGINVAL apikey:kind:scopes",
        "APIKEY.TAGINVAL mine",
        "APIKEY.INVAL s",
        "FLUSHDB",
    ] {
        let late = format!("TOKEN {} TAGS 1 mine", token(&mut c, "s"));
        c.must(invalidation);
        let refused = c.must("APIKEY.HEALTH").get("stale_fills_refused").int();
        assert_eq!(decide_with(&mut c, "s", "a x ALLOW", &late), nil(), "{invalidation}");
        assert_eq!(c.must("APIKEY.HEALTH").get("stale_fills_refused"), &int(refused + 1));
        assert_eq!(check(&mut c, "s", "a x"), "MISS", "{invalidation}");
    }
    assert_eq!(decide_with(&mut c, "s", "a x ALLOW", "TOKEN 0"), nil());
    let good = format!("TOKEN {}", token(&mut c, "s"));
    assert_eq!(decide_with(&mut c, "s", "a x ALLOW", &good), ok());
    assert_eq!(
        decide_with(&mut c, "s", "b x ALLOW", &good),
        ok(),
        "decisions refuse none of others"
    );
}

/// A decision renews the whole value, so the fence is asked for all tags that it then carries.
#[test]
fn a_token_has_to_be_newer_than_what_touched_the_tags_of_earlier_decisions() {
    let server = Server::start();
    let mut c = server.client();
    decide(&mut c, "s", "a x ALLOW", "TAGS 1 early");
    let late = format!("TOKEN {}", token(&mut c, "s"));
    // The fence is one for all databases.
    c.select(1);
    c.must("APIKEY.TAGINVAL early");
    c.select(0);
    assert_eq!(decide_with(&mut c, "s", "b x ALLOW", &late), nil());
    assert_eq!(check(&mut c, "s", "a x"), "ALLOW");
    // Where the tag died here, nothing is left to be renewed.
    let good = format!("TOKEN {}", token(&mut c, "s"));
    c.invalidate("early");
    assert_eq!(decide_with(&mut c, "s", "b x ALLOW", &good), ok());
    assert_eq!(check(&mut c, "s", "a x"), "MISS");
}

#[test]
fn a_decision_brings_no_dead_one_back() {
    let server = Server::builder().setting("sync-reclaim", "0").start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    decide(&mut c, "s", "a x ALLOW", "TAGS 1 t");
    c.invalidate("t");
    assert_eq!(check(&mut c, "s", "a x"), "MISS");
    decide(&mut c, "s", "b x ALLOW", "");
    assert_eq!([check(&mut c, "s", "a x"), check(&mut c, "s", "b x")], ["MISS", "ALLOW"]);
    for how in ["RENAME s moved", "COPY s moved REPLACE"] {
        decide(&mut c, "s", "a x ALLOW", "");
        c.must(how);
        assert_eq!(check(&mut c, "moved", "a x"), "MISS", "{how}");
        decide(&mut c, "moved", "b x ALLOW", "");
        assert_eq!(check(&mut c, "moved", "a x"), "MISS", "{how}");
        assert_exact(&server);
    }
}

#[test]
fn another_owner_or_too_many_tags_begin_anew() {
    let server = Server::builder().setting("max-tags", "64").start();
    let mut c = server.client();
    let tags = |from: usize, to: usize| {
        let names: Vec<String> = (from..to).map(|n| format!("t{n}")).collect();
        format!("TAGS {} {}", names.len(), names.join(" "))
    };
    for (owner, options, kept) in [
        ("k1 u1", tags(0, 64), "ALLOW"),
        ("k1 u1", tags(63, 65), "MISS"),
        ("k2 u1", String::new(), "MISS"),
        ("k1 u2", String::new(), "MISS"),
        ("k1 u1", "NS acme:".into(), "MISS"),
    ] {
        c.must("DEL s");
        decide(&mut c, "s", "a x ALLOW", &tags(0, 63));
        let line =
            format!("APIKEY.SETSCOPE s {owner} b x DENY TOKEN {} {options}", token(&mut c, "s"));
        assert_eq!(c.cmd(args(&line)), ok());
        assert_eq!(
            [check(&mut c, "s", "a x"), check(&mut c, "s", "b x")],
            [kept, "DENY"],
            "{line}"
        );
        assert_exact(&server);
    }
}

#[test]
fn what_is_switched_off_is_a_miss_and_stores_nothing() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    decide(&mut c, "s", "a x ALLOW", "");
    let token = token(&mut c, "s");
    c.must("CONFIG SET apikey.writes-enabled no");
    assert_eq!(decide_with(&mut c, "s", "b x ALLOW", &format!("TOKEN {token}")), nil());
    assert_eq!(check(&mut c, "s", "a x"), "ALLOW");
    c.must("CONFIG SET apikey.writes-enabled yes");
    c.must("CONFIG SET apikey.enabled no");
    let miss = c.must("APIKEY.CHECKSCOPE s a x");
    assert_eq!(miss, array([bulk("MISS"), bulk("0")]));
    assert_eq!(decide_with(&mut c, "s", "b x ALLOW", &format!("TOKEN {token}")), nil());
    c.must("CONFIG SET apikey.enabled yes");
    assert_eq!(check(&mut c, "s", "b x"), "MISS");
}

#[test]
fn health_counts_keys_with_decisions_and_what_was_asked() {
    let server = Server::start();
    let mut c = server.client();
    decide(&mut c, "s", "a x ALLOW", "");
    decide(&mut c, "s", "b x DENY", "");
    decide(&mut c, "s2", "b x DENY", "");
    for request in ["a x", "b x", "c x"] {
        check(&mut c, "s", request);
    }
    let health = c.must("APIKEY.HEALTH");
    for (name, count) in [("scopes", 2), ("records", 0), ("hits", 2), ("misses", 1)] {
        assert_eq!(health.get(name), &int(count), "{name}");
    }
    assert_eq!(c.info("apikey_contents", "apikey_scopes").as_deref(), Some("2"));
}

#[test]
fn replicas_and_the_aof_drop_the_decisions_that_the_primary_drops() {
    let builder = Server::builder().setting("trust-loaded", "yes").setting("max-decisions", "4");
    let mut server = builder.with_aof(false).start();
    let replica = Server::builder().setting("max-decisions", "1").setting("scope-ttl", "1").start();
    replica.replicate(&server);
    let mut c = server.client();
    let mut rng = Rng::from_env(5);
    for _ in 0..300 {
        let name = rng.pick(&["a", "b", "c", "d", "e", "f"]);
        let options = rng.pick(&["", "PX 1", "PX 20", "EX 50", "TAGS 1 t", "NS n:"]);
        let word = rng.pick(&["ALLOW", "DENY"]);
        let line =
            format!("APIKEY.SETSCOPE s k1 {} {name} x {word}", rng.pick(&["u1", "u1", "u1", "u2"]));
        let token = token(&mut c, "s");
        assert_eq!(c.cmd(args(&format!("{line} TOKEN {token} {options}"))), ok());
        if rng.one_in(20) {
            c.must("APIKEY.TAGINVAL t");
        }
    }
    decide(&mut c, "s", "last x ALLOW", "");
    replica.in_sync_with(&server);
    let before = server.digest();
    assert_eq!(replica.digest(), before);
    assert_eq!(answers(&replica), answers(&server));
    assert_exact(&replica);
    server.restart(Stop::Kill);
    assert_eq!(server.digest(), before);
    server.rewrite_aof();
    server.restart(Stop::Kill);
    assert_eq!(server.digest(), before);
    assert_nothing_was_refused(&server);
    assert_nothing_was_refused(&replica);
    assert_exact(&server);
}

#[test]
fn what_is_replicated_is_resolved() {
    let server = Server::start();
    let mut c = server.client();
    let mut stream = Tap::replication(server.port);
    assert_eq!(decide(&mut c, "s", "users read Allow", "PXAT 4102444800123 TAGS 1 t NS n:"), ok());
    c.must("SET end x");
    stream.until(b"end");
    let text = stream.text().replace("\\r\\n", " ");
    for part in [
        "apikey.setscope $1 s $2 k1 $2 u1 $5 users $4 read $5 Allow $5 TOKEN $1 0 $4 PXAT",
        "$13 4102444800123 $4 TAGS $1 1 $1 t $2 NS $2 n: $4 TRIM $13 ",
        " $4 1024 ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Clients have no such option.
    let token = token(&mut c, "s");
    let reply = decide_with(&mut c, "s", "a x ALLOW", &format!("TOKEN {token} TRIM 1 1"));
    assert_eq!(reply, error("ERR unknown option at argument 9"));
}
