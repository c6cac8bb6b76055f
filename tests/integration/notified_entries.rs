//! Another module that writes in the keyspace notifications of what stores, kills and reclaims entries.

use crate::callers::built;
use crate::harness::server::Stop;
use crate::harness::*;
use crate::notified::Notified;

/// Has the other module store the key anew of whose removal it is told.
fn store_again(c: &mut Client) {
    c.must(&format!("NOTIFIED.ON del APIKEY.SETVAL @ {} SECRET {SECRET}", record("new", "u")));
}

#[test]
fn what_stores_is_replicated_before_it_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    let token = pair.c.must("APIKEY.TOKEN k").text();
    let json = record("id", "u");
    for (event, line) in [
        ("apikey.setval", format!("APIKEY.MSETVAL 3 k {json} k2 {json} k3 {json} TOKEN {token}")),
        ("apikey.setval", format!("APIKEY.SETVAL k {json} TOKEN {token}")),
        ("apikey.setabsent", format!("APIKEY.SETABSENT k TOKEN {token}")),
        ("apikey.setscope", format!("APIKEY.SETSCOPE k id u r a ALLOW TOKEN {token}")),
        ("apikey.setlist", format!("APIKEY.SETLIST k u [{json}] TOKEN {token}")),
    ] {
        for event in [event, "expire"] {
            pair.on(event, "DEL @");
            assert!([ok(), int(3)].contains(&pair.c.run(&line)), "{line}");
            assert_eq!(pair.c.must("DBSIZE"), int(0), "{line}");
            pair.agree();
        }
    }
}

#[test]
fn a_small_tag_is_replicated_before_its_keys_are_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    pair.c.fill("k", &["tag"]);
    pair.c.fill("k2", &["tag"]);
    store_again(&mut pair.c);
    assert_eq!(pair.c.invalidate("tag"), 2);
    assert_eq!(pair.c.codes(["k", "k2"]), ["VALID", "VALID"]);
    pair.agree();
}

#[test]
fn keys_are_told_of_when_all_of_a_call_are_removed() {
    let Some(mut pair) = Notified::start() else { return };
    pair.c.fill("k", &[]);
    pair.c.fill("k2", &[]);
    let script = "if KEYS[1] == 'k' then redis.call('APIKEY.SETVAL', 'k2', ARGV[1]) end";
    pair.c.cmd(["NOTIFIED.ON", "del", "EVAL", script, "1", "@", &record("new", "u")]);
    assert_eq!(pair.c.must("APIKEY.INVAL k k2"), int(2));
    assert!(pair.c.exists("k2"), "it was stored behind the call");
    pair.agree();
}

#[test]
fn what_is_reclaimed_is_replicated_before_it_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    pair.c.must("CONFIG SET apikey.sync-reclaim 0");
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    for key in &keys {
        pair.c.fill(key, &["tag"]);
    }
    store_again(&mut pair.c);
    assert_eq!(pair.c.invalidate("tag"), 100);
    reclaimed(&mut pair.c);
    for key in &keys {
        assert_eq!(pair.c.code(key), "VALID");
    }
    pair.agree();
}

/// What a replica replays goes into its AOF before its own other module is told of it.
#[test]
fn what_is_replayed_is_in_the_aof_before_it_is_told_of() {
    let Some(Notified { primary, mut c, .. }) = Notified::start() else { return };
    let mut replica = Server::builder()
        .config(&format!("loadmodule {}", built("notified").display()))
        .with_aof(false)
        .replica_of(&primary)
        .start();
    replica.in_sync_with(&primary);
    replica.aof_is_rewritten();
    let mut other = replica.client();

    c.fill("killed", &["tag"]);
    c.fill("invalidated", &[]);
    c.fill("reclaimed", &["large"]);
    replica.in_sync_with(&primary);
    store_again(&mut other);
    assert_eq!(c.invalidate("tag"), 1);
    c.must("APIKEY.INVAL invalidated");
    c.must("CONFIG SET apikey.sync-reclaim 0");
    assert_eq!(c.invalidate("large"), 1);
    reclaimed(&mut c);
    replica.in_sync_with(&primary);
    let keys = ["killed", "invalidated", "reclaimed"];
    assert_eq!(other.codes(keys), ["VALID"; 3]);

    other.must("NOTIFIED.ON apikey.setval DEL @");
    c.fill("stored", &[]);
    let token = c.must("APIKEY.TOKEN k").text();
    let json = record("id", "u");
    c.must(&format!("APIKEY.MSETVAL 2 many {json} many2 {json} TOKEN {token}"));
    replica.in_sync_with(&primary);
    assert_eq!(other.must("DBSIZE"), int(3));

    let before = replica.digest();
    drop(primary);
    replica.restart(Stop::Kill);
    assert_eq!(replica.digest(), before);
    assert_exact(&replica);
}
