//! Tokens: a reader that raced with an invalidation, or with a writer, can't store what it read.

use crate::harness::server::{Kind, Stop};
use crate::harness::*;
use std::time::{Duration, Instant};

/// The token of a key that is not cached.
#[track_caller]
fn miss(c: &mut Client, key: &str) -> String {
    let reply = c.must(&format!("APIKEY.VALIDATE {key} SECRET {SECRET}"));
    assert_eq!(reply.items()[0], bulk("MISS"));
    reply.items()[1].text()
}

/// What a fill with this token gets.
#[track_caller]
fn fill(c: &mut Client, key: &str, token: &str) -> Reply {
    c.run(&format!(
        "APIKEY.SETVAL {key} {} SECRET {SECRET} TAGS 1 mine TOKEN {token}",
        record("id", "u1")
    ))
}

fn refused(c: &mut Client) -> i64 {
    c.must("APIKEY.HEALTH").get("stale_fills_refused").int()
}

#[test]
fn a_fill_of_what_nothing_happened_to_is_stored() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k");
    assert_eq!(fill(&mut c, "k", &token), ok());
    assert_eq!(c.code("k"), "VALID");
    assert_eq!(refused(&mut c), 0);
}

#[test]
fn a_fill_that_raced_with_an_invalidation_is_refused() {
    let server = Server::start();
    let mut c = server.client();
    for invalidation in [
        "APIKEY.TAGINVAL apikey:id:id",
        "APIKEY.TAGINVAL apikey:user:u1",
        "APIKEY.TAGINVAL apikey:kind:record",
        "APIKEY.TAGINVAL mine",
        "APIKEY.TAGINVAL other mine",
        "APIKEY.INVAL k",
        "APIKEY.INVAL other k",
        "FLUSHDB",
        "FLUSHALL",
    ] {
        let token = miss(&mut c, "k");
        c.must(invalidation);
        let before = refused(&mut c);
        assert_eq!(fill(&mut c, "k", &token), nil(), "{invalidation}");
        assert_eq!(refused(&mut c), before + 1, "{invalidation}");
        assert_eq!(c.code("k"), "MISS", "{invalidation}");

        let token = miss(&mut c, "k");
        assert_eq!(fill(&mut c, "k", &token), ok(), "a token of after {invalidation}");
        c.must("APIKEY.INVAL k");
    }
    let token = miss(&mut c, "k");
    c.must("APIKEY.TAGINVAL apikey:user:u2 apikey:id:k mine2");
    c.must("APIKEY.INVAL k2");
    assert_eq!(fill(&mut c, "k", &token), ok(), "what is not the entry's is no matter");
    assert_exact(&server);
}

#[test]
fn a_writers_setval_is_not_overwritten_by_an_older_fill() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k");
    let written = r#"{"id":"id","user_id":"u1","is_active":false}"#;
    c.must(&format!("APIKEY.SETVAL k {written} SECRET {SECRET}"));
    assert_eq!(fill(&mut c, "k", &token), nil());
    assert_eq!(c.code("k"), "DISABLED");

    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(fill(&mut c, "k", &token), ok(), "a fill that began after the writer");
    assert_eq!(fill(&mut c, "k", &token), ok(), "and fills do not refuse each other");
    let unverified = r#"{"id":"id","user_id":"u1","is_active":true}"#;
    c.must(&format!("APIKEY.SETVAL k {unverified}"));
    let token = c.must("APIKEY.VALIDATE k").items()[2].text();
    assert_eq!(fill(&mut c, "k", &token), ok(), "UNVERIFIED gives a token too");
}

#[test]
fn a_writers_setval_that_is_not_stored_refuses_older_fills_all_the_same() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k");
    assert_eq!(c.run(&format!("APIKEY.SETVAL k {} XX", record("id", "u1"))), nil());
    assert_eq!(fill(&mut c, "k", &token), nil());
    for switch in ["enabled", "writes-enabled"] {
        if server::kind() == Kind::Redis62 {
            break;
        }
        let token = miss(&mut c, "k");
        c.must(&format!("CONFIG SET apikey.{switch} no"));
        assert_eq!(c.run(&format!("APIKEY.SETVAL k {}", record("id", "u1"))), nil());
        c.must(&format!("CONFIG SET apikey.{switch} yes"));
        assert_eq!(fill(&mut c, "k", &token), nil(), "{switch}");
    }
}

#[test]
fn a_setval_that_fails_refuses_no_fill() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k");
    assert!(c.run("APIKEY.SETVAL k {}").is_error());
    assert!(c.run(&format!("APIKEY.SETVAL k {} EX 0", record("id", "u1"))).is_error());
    assert_eq!(fill(&mut c, "k", &token), ok());
}

#[test]
fn a_token_holds_in_transactions_and_scripts_and_across_databases() {
    let server = Server::start();
    let mut c = server.client();
    let token = miss(&mut c, "k");
    c.must("SELECT 1");
    c.must("APIKEY.TAGINVAL mine");
    c.must("SELECT 0");
    assert_eq!(fill(&mut c, "k", &token), nil(), "the fence knows no databases");
    let token = miss(&mut c, "k");
    c.must("SWAPDB 0 1");
    assert_eq!(fill(&mut c, "k", &token), ok(), "SWAPDB invalidates nothing");
    let script =
        "local t = redis.call('APIKEY.TOKEN', KEYS[1]) redis.call('APIKEY.INVAL', KEYS[1]) \
                  return redis.call('APIKEY.SETVAL', KEYS[1], ARGV[1], 'TOKEN', t)";
    assert_eq!(c.cmd(["EVAL", script, "1", "k", &record("id", "u1")]), nil());
    let token = miss(&mut c, "k");
    c.must("MULTI");
    c.must("APIKEY.TAGINVAL apikey:user:u1");
    fill(&mut c, "k", &token);
    assert_eq!(c.must("EXEC"), array([int(0), nil()]));
    assert_eq!(c.code("k"), "MISS");
    assert_exact(&server);
}

#[test]
fn a_node_that_was_a_replica_for_a_while_refuses_its_own_tokens_of_before() {
    let (server, other) = (Server::start(), Server::start());
    let mut c = server.client();
    let token = miss(&mut c, "k");
    server.replicate(&other);
    server.in_sync_with(&other);
    server.promote();
    assert_eq!(fill(&mut c, "k", &token), nil());
}

#[test]
fn inval_removes_live_entries_and_counts_them() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("a", &["t"]);
    c.fill("b", &["t"]);
    hold(&mut c);
    c.must("RENAME b dead");
    c.must("SELECT 1");
    c.fill("a", &[]);
    c.must("SELECT 0");
    assert_eq!(c.run("APIKEY.INVAL a b dead none a"), int(1));
    assert!(!c.exists("a") && !c.exists("dead"));
    assert_eq!(c.invalidate("t"), 0);
    c.must("SELECT 1");
    assert_eq!(c.code("a"), "VALID", "of the selected database alone");
    assert_exact(&server);
}

#[test]
fn a_token_dies_with_its_time() {
    let server = Server::builder().setting("token-ttl-ms", "50").start();
    let mut c = server.client();
    let token = miss(&mut c, "k");
    let given = Instant::now();
    eventually("the token is old", || given.elapsed() > Duration::from_millis(60));
    assert_eq!(fill(&mut c, "k", &token), nil());
}

#[test]
fn a_token_of_another_server_or_run_is_refused() {
    let mut server = Server::start();
    let other = Server::start();
    let mut c = server.client();
    let foreign = miss(&mut other.client(), "k");
    assert_eq!(fill(&mut c, "k", &foreign), nil());
    let token = miss(&mut c, "k");
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert_eq!(fill(&mut c, "k", &token), nil());
}

#[test]
fn what_is_no_token_is_an_error() {
    let server = Server::start();
    let mut c = server.client();
    let text = "ERR TOKEN must be one that a MISS or apikey.token gave";
    let token = miss(&mut c, "k");
    for wrong in ["", "x", "-", "1-2-3", &format!("{token}0x"), &token.to_uppercase(), "\0"] {
        let reply = c.cmd(["APIKEY.SETVAL", "k", &record("id", "u1"), "TOKEN", wrong]);
        if wrong != token {
            assert_eq!(reply, error(text), "{wrong:?}");
        }
    }
    // A number that was never given, a time to come.
    let parts: Vec<&str> = token.split('-').collect();
    for forged in [
        format!("{}-ffff-{}", parts[0], parts[2]),
        format!("{}-{}-7fffffffffffffff", parts[0], parts[1]),
        format!("{}-{}-0", parts[0], parts[1]),
    ] {
        assert_eq!(fill(&mut c, "k", &forged), nil(), "{forged}");
    }
    assert_eq!(c.code("k"), "MISS");
}

#[test]
fn a_replica_gives_a_token_that_every_fill_refuses_and_a_promoted_one_its_own() {
    let primary = Server::start();
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let (mut p, mut r) = (primary.client(), replica.client());
    let of_replica = miss(&mut r, "k");
    assert!(r.run("APIKEY.TOKEN k").text().starts_with("READONLY"));
    assert_eq!(fill(&mut p, "k", &of_replica), nil());

    let token = miss(&mut p, "k");
    assert_eq!(fill(&mut p, "k", &token), ok());
    let token = p.must("APIKEY.TOKEN k").text();
    replica.in_sync_with(&primary);
    assert_eq!(r.code("k"), "VALID");
    p.must("APIKEY.INVAL k");
    replica.in_sync_with(&primary);
    assert_eq!(r.code("k"), "MISS");
    assert_eq!(primary.digest(), replica.digest());

    replica.promote();
    assert_eq!(fill(&mut r, "k", &token), nil());
    assert_eq!(fill(&mut r, "k", &of_replica), nil());
    let token = miss(&mut r, "k");
    assert_eq!(fill(&mut r, "k", &token), ok());
    assert_exact(&replica);
    assert_nothing_was_refused(&replica);
}

#[test]
fn while_it_is_not_enabled_every_fill_is_refused() {
    if server::kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    c.must("CONFIG SET apikey.enabled no");
    let off = miss(&mut c, "k");
    c.must("CONFIG SET apikey.enabled yes");
    assert_eq!(fill(&mut c, "k", &off), nil());
}

#[test]
fn the_fuller_the_fence_the_more_is_refused_and_nothing_stale_is_ever_accepted() {
    const ROUNDS: usize = 100;
    let server = Server::builder().setting("fence-slots", "64").start();
    let mut c = server.client();
    // How many fills are stored where so many foreign tags are invalidated between the miss and the fill.
    let mut stored_beside = |foreign: usize| {
        let mut stored = 0;
        for round in 0..ROUNDS {
            let token = miss(&mut c, "k");
            for n in 0..foreign {
                c.must(&format!("APIKEY.TAGINVAL foreign:{foreign}:{round}:{n}"));
            }
            if fill(&mut c, "k", &token) == ok() {
                stored += 1;
                c.must("APIKEY.INVAL k");
            }
            let token = miss(&mut c, "k");
            c.must(&format!("APIKEY.TAGINVAL foreign:{round} mine"));
            assert_eq!(fill(&mut c, "k", &token), nil(), "beside {foreign}, round {round}");
        }
        stored
    };
    let stored = [0, 2, 20, 400].map(&mut stored_beside);
    // 5 names of the entry in 64 slots: a foreign tag hits one of them in 5 of 64 cases.
    assert_eq!(stored[0], ROUNDS, "nothing foreign, nothing refused");
    assert!(stored[0] > stored[1] && stored[1] > stored[2], "{stored:?}");
    assert_eq!(stored[3], 0, "{stored:?}");
}
