//! MSETVAL: many records at once, all or none, each under its own judgement.

use crate::harness::server::{self, Stop};
use crate::harness::streams::{find, Tap};
use crate::harness::*;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

fn token(c: &mut Client) -> String {
    c.must("APIKEY.TOKEN k").text()
}

/// MSETVAL of records whose id is their key's name, under a new token.
#[track_caller]
fn mset(c: &mut Client, keys: &[&str], options: &str) -> Reply {
    let token = token(c);
    mset_under(c, keys, &token, options)
}

#[track_caller]
fn mset_under(c: &mut Client, keys: &[&str], token: &str, options: &str) -> Reply {
    let mut line = format!("APIKEY.MSETVAL {}", keys.len());
    for key in keys {
        line += &format!(" {key} {}", record(key, "u1"));
    }
    line += &format!(" TOKEN {token}");
    if !options.is_empty() {
        line += &format!(" {options}");
    }
    c.run(&line)
}

fn refused(c: &mut Client) -> i64 {
    c.must("APIKEY.HEALTH").get("stale_fills_refused").int()
}

#[test]
fn msetval_stores_every_record_with_the_same_options() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(mset(&mut c, &["a", "b", "c"], "EX 1000 TAGS 2 t t2 NS acme:"), int(3));
    for key in ["a", "b", "c"] {
        assert_eq!(c.must(&format!("APIKEY.VALIDATE {key}")).items()[1], bulk(record(key, "u1")));
        assert!((990..=1000).contains(&c.must(&format!("TTL {key}")).int()));
    }
    assert_eq!(c.invalidate("acme:apikey:id:b"), 1);
    assert_eq!(c.invalidate("t2"), 2);
    assert_eq!(mset(&mut c, &["a"], ""), int(1));
    assert!((290..=300).contains(&c.must("TTL a").int()), "validation-ttl");
    assert_eq!(mset(&mut c, &["a", "d"], "PXAT 4102444800000"), int(2));
    assert!(c.must("TTL d").int() > 1_000_000);
    assert_exact(&server);
}

#[test]
fn digests_come_from_the_digest_field() {
    let server = Server::builder().setting("digest-field", "key_hash").start();
    let mut c = server.client();
    let token = token(&mut c);
    let other = "00".repeat(32);
    let with =
        |hash: &str| format!(r#"{{"id":"k","user_id":"u","key_hash":{hash},"is_active":true}}"#);
    let line = format!(
        "APIKEY.MSETVAL 3 one {} two {} none {} TOKEN {token}",
        with(&format!("\"{DIGEST}\"")),
        with(&format!("[\"{other}\",\"{DIGEST}\"]")),
        with("null"),
    );
    assert_eq!(c.run(&line), int(3));
    assert_eq!(c.codes(["one", "two", "none"]), ["VALID", "VALID", "UNVERIFIED"]);
    let kept = r#"{"id":"k","user_id":"u","is_active":true}"#;
    assert_eq!(c.must(&format!("APIKEY.VALIDATE one SECRET {SECRET}")).items()[1], bulk(kept));
}

#[test]
fn one_bad_record_or_key_and_nothing_is_stored() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("a", &["t"]);
    c.must("SET str value");
    c.count("use", 1);
    let before = server.digest();
    let token = token(&mut c);
    let good = record("id", "u");
    for (line, text) in [
        (
            format!("APIKEY.MSETVAL 3 a {good} b {{}} c {good} TOKEN {token}"),
            "BADRECORD record 2: id is missing",
        ),
        (
            format!("APIKEY.MSETVAL 2 a {good} c [] TOKEN {token}"),
            "BADRECORD record 2: record must be a JSON object",
        ),
        (format!("APIKEY.MSETVAL 3 a {good} b {good} str {good} TOKEN {token}"), WRONG_TYPE),
        (format!("APIKEY.MSETVAL 2 a {good} use {good} TOKEN {token}"), WRONG_TYPE),
        (
            format!("APIKEY.MSETVAL 3 a {good} b {good} a {good} TOKEN {token}"),
            "ERR key 3 is the same as key 1",
        ),
    ] {
        assert_eq!(c.run(&line), error(text), "{line}");
        assert_eq!(server.digest(), before, "{line}");
    }
    assert!(!c.exists("b") && !c.exists("c"));
    assert_eq!(refused(&mut c), 0);
    assert_exact(&server);
}

#[test]
fn nx_and_token_are_judged_key_by_key() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("there", &[]);
    let old = token(&mut c);
    assert_eq!(c.must("APIKEY.INVAL revoked"), int(0));
    c.must("APIKEY.TAGINVAL apikey:id:gone");
    let keys = ["there", "new", "revoked", "gone", "new2"];
    let before = c.must("APIKEY.VALIDATE there").items()[1].clone();
    assert_eq!(mset_under(&mut c, &keys, &old, "NX"), int(2));
    assert_eq!(refused(&mut c), 2, "what is there already is not stale");
    assert_eq!(c.must("APIKEY.VALIDATE there").items()[1], before);
    for (key, there) in [("new", true), ("revoked", false), ("gone", false), ("new2", true)] {
        assert_eq!(c.exists(key), there, "{key}");
    }
    assert_eq!(mset_under(&mut c, &keys, &old, ""), int(3));
    assert_eq!(mset_under(&mut c, &keys, "0", ""), int(0), "a token that every fill refuses");
    assert_eq!(mset(&mut c, &keys, "NX"), int(2));
    assert_exact(&server);
}

#[test]
fn nx_takes_what_is_absent_or_dead_for_nothing() {
    let server = Server::start();
    let mut c = server.client();
    let given = token(&mut c);
    c.must(&format!("APIKEY.SETABSENT absent TOKEN {given}"));
    hold(&mut c);
    c.fill("from", &[]);
    c.must("RENAME from dead");
    assert_eq!(mset(&mut c, &["absent", "dead"], "NX"), int(2));
    assert_eq!(c.codes(["absent", "dead"]), ["UNVERIFIED", "UNVERIFIED"]);
    assert_exact(&server);
}

#[test]
fn while_fills_are_switched_off_nothing_is_stored() {
    for switch in ["enabled", "writes-enabled"] {
        let server = Server::builder().setting(switch, "no").start();
        let mut c = server.client();
        assert_eq!(mset(&mut c, &["a", "b"], ""), int(0), "{switch}");
        let bad = c.run("APIKEY.MSETVAL 1 a {} TOKEN 0");
        assert_eq!(
            bad,
            error("BADRECORD record 1: id is missing"),
            "what is wrong is wrong all the same"
        );
        assert_eq!(c.must("DBSIZE"), int(0));
        assert_eq!(refused(&mut c), 0);
    }
}

#[test]
fn as_many_keys_as_may_be_are_stored_in_one_call() {
    let server = Server::start();
    let mut c = server.client();
    let keys: Vec<String> = (0..10_000).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(mset(&mut c, &keys, "TAGS 1 t"), int(10_000));
    assert_eq!(c.must("DBSIZE"), int(10_000));
    assert_exact(&server);
}

#[test]
fn each_key_is_told_to_keyspace_notifications_and_transactions_see_it() {
    let server = Server::start();
    let (mut c, mut other) = (server.client(), server.client());
    c.must("WATCH b");
    assert_eq!(mset(&mut other, &["a", "b"], ""), int(2));
    c.must("MULTI");
    c.must("PING");
    assert_eq!(c.must("EXEC"), nil());
    let mut listener = server.client();
    other.must("CONFIG SET notify-keyspace-events EdA");
    listener.must("PSUBSCRIBE __keyevent@0__:apikey.*");
    mset(&mut other, &["a", "b"], "");
    let mut told: Vec<String> =
        (0..2).map(|_| listener.read().expect("a message").items()[3].text()).collect();
    told.sort();
    assert_eq!(told, ["a", "b"]);
}

// Agreement

#[test]
fn a_replica_and_an_aof_get_what_was_stored_as_one_resolved_command() {
    let mut primary = Server::builder()
        .setting("digest-field", "key_hash")
        .setting("trust-loaded", "yes")
        .with_aof(false)
        .start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    c.fill("there", &["t"]);
    let old = token(&mut c);
    c.must("APIKEY.INVAL revoked");
    let mut stream = Tap::replication(primary.port);
    stream.clear();
    let hashed = hashed("h", "u");
    let good = record("id", "u");
    let line = format!(
        "APIKEY.MSETVAL 4 hashed {hashed} there {good} revoked {good} plain {good} TOKEN {old} NX EX 1000 TAGS 1 mine NS acme:"
    );
    assert_eq!(c.run(&line), int(2));
    c.must("PUBLISH end of-the-command");
    let text = stream.until(b"of-the-command").to_ascii_lowercase();
    let times = |part: &[u8]| text.windows(part.len()).filter(|window| *window == part).count();
    assert_eq!(times(b"\r\napikey."), 1, "{}", stream.text());
    assert_eq!(times(b"apikey.stored"), 1, "{}", stream.text());
    // 6.2 makes a transaction of whatever a module replicates.
    let may_be_one = server::kind() == server::Kind::Redis62;
    assert!(may_be_one || find(&text, b"multi").is_none(), "{}", stream.text());
    assert!(find(&text, b"key_hash").is_none(), "{}", stream.text());

    let assert_same = |primary: &Server, replica: &Server| {
        replica.in_sync_with(primary);
        assert_eq!(answers(replica), answers(primary));
        assert_eq!(replica.digest(), primary.digest());
        assert_exact(replica);
        assert_nothing_was_refused(replica);
    };
    assert_same(&primary, &replica);
    assert_eq!(replica.client().code("hashed"), "VALID");
    assert_eq!(mset(&mut c, &["x", "there", "plain"], "PX 4000000"), int(3));
    assert_same(&primary, &replica);
    assert_eq!(c.invalidate("mine"), 1, "hashed; plain was stored anew");
    assert_same(&primary, &replica);

    let before = (answers(&primary), primary.digest());
    primary.restart(Stop::Kill);
    assert_eq!((answers(&primary), primary.digest()), before);
    assert_nothing_was_refused(&primary);
    primary.rewrite_aof();
    primary.restart(Stop::NoSave);
    assert_eq!((answers(&primary), primary.digest()), before);
    assert_exact(&primary);
}

#[test]
fn what_an_aof_brings_is_not_trusted_unless_that_is_set() {
    let mut server = Server::builder().with_aof(false).start();
    let mut c = server.client();
    assert_eq!(mset(&mut c, &["a", "b"], ""), int(2));
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert_eq!(c.codes(["a", "b"]), ["MISS", "MISS"]);
    assert_exact(&server);
}

#[test]
fn what_stored_nothing_is_not_replicated() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("there", &[]);
    let mut stream = Tap::replication(server.port);
    stream.clear();
    assert_eq!(mset(&mut c, &["there"], "NX"), int(0));
    assert_eq!(mset_under(&mut c, &["a", "b"], "0", ""), int(0));
    assert!(c.run("APIKEY.MSETVAL 1 a {} TOKEN 0").is_error());
    c.must("PUBLISH end of-it-all");
    stream.until(b"of-it-all");
    assert_eq!(find(&stream.seen().to_ascii_lowercase(), b"apikey"), None, "{}", stream.text());
}

// Who may, and where

#[test]
fn every_key_is_checked_against_the_callers_patterns() {
    let server = Server::start();
    let mut admin = server.client();
    let given = token(&mut admin);
    admin.must("ACL SETUSER someone on nopass resetkeys ~mine:* +@all");
    let mut c = server.client();
    c.must("AUTH someone x");
    for keys in [["mine:a", "other"], ["other", "mine:a"]] {
        let reply = mset_under(&mut c, &keys, &given, "");
        assert!(reply.is_error() && reply.text().starts_with("NOPERM"), "{reply:?}");
    }
    assert_eq!(admin.must("DBSIZE"), int(0));
    assert_eq!(mset_under(&mut c, &["mine:a", "mine:b"], &given, ""), int(2));
}

#[test]
fn in_a_cluster_all_keys_are_in_one_slot() {
    let server = Server::builder().config("cluster-enabled yes").config("databases 1").start();
    let mut c = server.client();
    let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
    c.must(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
    eventually("the cluster is up", || c.must("CLUSTER INFO").text().contains("cluster_state:ok"));
    let crossed = mset(&mut c, &["a", "b"], "");
    assert_eq!(crossed, error("CROSSSLOT Keys in request don't hash to the same slot"));
    assert_eq!(mset(&mut c, &["{a}1", "{a}2"], ""), int(2));
    assert_eq!(c.must("DBSIZE"), int(2));
}

#[test]
fn a_script_may_name_its_keys_and_use_it() {
    let server = Server::start();
    let mut c = server.client();
    let script = "return redis.call('APIKEY.MSETVAL', 2, KEYS[1], ARGV[1], KEYS[2], ARGV[1], \
                  'TOKEN', redis.call('APIKEY.TOKEN', KEYS[1]))";
    assert_eq!(c.cmd(["EVAL", script, "2", "a", "b", &record("id", "u")]), int(2));
    assert_exact(&server);
}
