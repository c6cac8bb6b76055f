//! Grace, eager refreshes and soft invalidations; and that a hard invalidation beats all of them.

use super::calls::*;
use crate::harness::server::Stop;
use crate::harness::*;
use std::time::{Duration, Instant};

/// Long enough for any test.
const GRACE: &str = "GRACE 600000";

#[test]
fn what_has_a_grace_is_stale_after_its_time_and_gone_after_the_grace() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "k r v PX 1500 GRACE 3000 LABEL l");
    set(&mut c, "none r v PX 50");
    assert_eq!(says(&mut c, "k r"), "HIT");
    eventually("it is stale", || says(&mut c, "k r") == "STALE");
    assert_eq!(says(&mut c, "none r"), "MISS");
    assert!((1..=3000).contains(&c.must("PTTL k").int()));
    assert_eq!(get(&mut c, "k r").items()[..3], [bulk("STALE"), bulk("v"), bulk("l")]);
    eventually("it is gone", || says(&mut c, "k r") == "MISS");
    // For the server in the next millisecond.
    eventually("the server has it no more", || c.must("EXISTS k") == int(0));
    assert_exact(&server);
}

#[test]
fn in_the_last_percents_of_its_time_one_reader_refreshes_and_all_have_a_hit() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r EAGER 50 LEASE 600000");
    set(&mut c, "k r v PX 3000");
    assert_eq!(get(&mut c, "k r").items().len(), 5, "not yet");
    let mut reply = nil();
    eventually("one is told to", || {
        reply = get(&mut c, "k r");
        assert_eq!(code_of(&reply), "HIT");
        reply.items().len() == 6
    });
    assert!((0..=1500).contains(&reply.items()[4].int()), "{reply:?}");
    let token = reply.items()[5].text();
    assert_eq!(get(&mut c, "k r").items().len(), 5, "another does already");
    assert_eq!(c.run(&format!("CACHE.SET k r new TOKEN {token} PX 60000")), ok());
    assert_eq!(value(&mut c, "k r"), "new");
    // An invalidation ends that too.
    set(&mut c, "k r v PX 60000");
    c.must("PEXPIRE k 100");
    let reply = get(&mut c, "k r");
    assert_eq!(reply.items().len(), 5, "as of its time, which began now: {reply:?}");
}

#[test]
fn what_is_invalidated_softly_is_stale_until_it_was_refreshed() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, &format!("a r v {GRACE} TAGS 1 t"));
    set(&mut c, &format!("b r v {GRACE} TAGS 2 t u"));
    set(&mut c, &format!("c r v {GRACE}"));
    let before = miss(&mut c, "new r");
    assert_eq!(c.must("CACHE.TAGINVAL SOFT t"), int(2));
    let codes = ["a r", "b r", "c r"].map(|key| says(&mut c, key));
    assert_eq!(codes, ["STALE", "STALE", "HIT"]);
    let token = {
        c.must("APIKEY.INVAL nothing");
        c.must("APIKEY.TOKEN a").text()
    };
    // What began before is refused; what begins now is stored, and fresh.
    assert_eq!(c.run(&format!("CACHE.SET a r late TOKEN {before} TAGS 1 t")), nil());
    assert_eq!(says(&mut c, "a r"), "STALE");
    assert_eq!(c.run(&format!("CACHE.SET a r new TOKEN {token} {GRACE} TAGS 1 t")), ok());
    assert_eq!([says(&mut c, "a r"), says(&mut c, "b r")], ["HIT", "STALE"]);
    assert_eq!(c.must("cache.taginval soft u t"), int(2), "by a tag that had not covered it");
    assert_eq!(says(&mut c, "a r"), "STALE");
    // A tag of this name can be said by who kills alone.
    set(&mut c, &format!("d r v {GRACE} TAGS 1 SOFT"));
    assert_eq!(c.must("APIKEY.TAGINVAL SOFT"), int(1));
    set(&mut c, &format!("d r v {GRACE} TAGS 1 SOFT"));
    assert_eq!(c.must("CACHE.TAGINVAL SOFT SOFT"), int(1));
    assert_eq!(says(&mut c, "d r"), "STALE");
    assert_exact(&server);
}

#[test]
fn the_region_is_a_tag_of_its_own_and_can_be_invalidated_softly() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, &format!("a r v {GRACE}"));
    set(&mut c, &format!("b r v {GRACE} NS n:"));
    assert_eq!(c.must("CACHE.TAGINVAL SOFT cache:region:r"), int(1));
    assert_eq!([says(&mut c, "a r"), says(&mut c, "b r NS n:")], ["STALE", "HIT"]);
    assert_eq!(stat(&mut c, "r", "entries"), 1);
    assert_exact(&server);
}

#[test]
fn what_has_no_grace_is_dead_after_a_soft_invalidation_and_so_are_records() {
    let server = Server::start();
    let mut c = server.client();
    hold(&mut c);
    set(&mut c, "k r v TAGS 1 t");
    set(&mut c, &format!("stale r v {GRACE} TAGS 1 t"));
    let token = miss(&mut c, "a r");
    fine(&mut c, &format!("CACHE.SETABSENT a r TOKEN {token} TAGS 1 t"));
    c.fill("rec", &["t"]);
    c.decide("scp", "r a ALLOW", "TAGS 1 t");
    c.list("lst", &[], "TAGS 1 t");
    assert_eq!(c.must("CACHE.TAGINVAL SOFT t"), int(6));
    let codes = ["k r", "stale r", "a r"].map(|key| says(&mut c, key));
    assert_eq!(codes, ["MISS", "STALE", "MISS"]);
    assert_eq!(c.code("rec"), "MISS");
    assert_eq!(code_of(&c.must("APIKEY.CHECKSCOPE scp r a")), "MISS");
    assert_eq!(code_of(&c.must("APIKEY.GETLIST lst")), "MISS");
    for key in ["k", "rec", "a"] {
        assert_eq!(c.must(&format!("APIKEY.TAGS {key}")), array([]), "{key}");
    }
    release(&mut c);
    eventually("what is dead is reclaimed", || c.must("DBSIZE") == int(1));
    assert_eq!(says(&mut c, "stale r"), "STALE");
    assert_eq!(stat(&mut c, "r", "entries"), 1);
    assert_exact(&server);
}

#[test]
fn many_are_softened_at_once_and_those_without_a_grace_are_reclaimed() {
    let server = Server::start();
    let mut c = server.client();
    const EACH: usize = 3_000;
    store_many(&mut c, "g", EACH, &format!("r v {GRACE} TAGS 1 t"));
    store_many(&mut c, "n", EACH, "r v TAGS 1 t");
    assert_eq!(c.must("CACHE.TAGINVAL SOFT t"), int(2 * EACH as i64));
    eventually("the rest is reclaimed", || c.must("DBSIZE") == int(EACH as i64));
    for n in [0, 1, EACH - 1] {
        let codes = [says(&mut c, &format!("g{n} r")), says(&mut c, &format!("n{n} r"))];
        assert_eq!(codes, ["STALE", "MISS"]);
    }
    assert_eq!(stat(&mut c, "r", "entries"), EACH as i64);
    assert_exact(&server);
}

#[test]
fn a_hard_invalidation_beats_grace_and_soft_in_every_order() {
    let server = Server::start();
    let mut c = server.client();
    let hard = [
        "APIKEY.INVAL k",
        "APIKEY.TAGINVAL t",
        "CACHE.TAGINVAL t",
        "CACHE.TAGINVAL cache:region:r",
        "CACHE.CLEAR r",
        "CACHE.PATINVAL k",
        "FLUSHALL",
    ];
    for hold_it in [false, true] {
        if hold_it {
            hold(&mut c);
        }
        for kill in hard {
            for calls in [
                vec![kill],
                vec!["CACHE.TAGINVAL SOFT t", kill],
                vec![kill, "CACHE.TAGINVAL SOFT t"],
                vec!["CACHE.TAGINVAL SOFT t u", kill, "CACHE.TAGINVAL SOFT u"],
                vec!["CACHE.TAGINVAL SOFT u", "CACHE.TAGINVAL SOFT t", kill],
            ] {
                for fresh in ["PX 100000", "PX 1"] {
                    set(&mut c, &format!("k r v {fresh} {GRACE} TAGS 2 t u"));
                    if fresh == "PX 1" {
                        eventually("it is stale", || says(&mut c, "k r") == "STALE");
                    }
                    for call in &calls {
                        c.must(call);
                    }
                    assert_eq!(says(&mut c, "k r"), "MISS", "{fresh} {calls:?}");
                    assert_eq!(c.must("APIKEY.TAGS k"), array([]), "{fresh} {calls:?}");
                }
            }
        }
        assert_exact(&server);
    }
}

#[test]
fn what_is_stored_after_either_is_fresh() {
    let server = Server::start();
    let mut c = server.client();
    for calls in [
        vec!["CACHE.TAGINVAL SOFT t"],
        vec!["CACHE.TAGINVAL t"],
        vec!["CACHE.TAGINVAL SOFT t", "CACHE.TAGINVAL t"],
    ] {
        set(&mut c, &format!("k r v {GRACE} TAGS 1 t"));
        for call in calls {
            c.must(call);
        }
        set(&mut c, &format!("k r new {GRACE} TAGS 1 t"));
        assert_eq!([says(&mut c, "k r"), value(&mut c, "k r")], ["HIT", "new"]);
    }
}

/// Fresh, stale by its time, stale by a soft invalidation, dead.
#[track_caller]
fn store_all_kinds(c: &mut Client) {
    set(c, &format!("fresh r v PX 10000000 {GRACE}"));
    set(c, &format!("old r v PX 1 {GRACE}"));
    set(c, &format!("soft r v PX 10000000 {GRACE} TAGS 1 t LABEL l"));
    set(c, "bare r v TAGS 1 t");
    set(c, &format!("dead r v {GRACE} TAGS 1 d"));
    c.fill("rec", &["t"]);
    c.must("CACHE.TAGINVAL SOFT t");
    c.must("CACHE.TAGINVAL SOFT d");
    c.must("CACHE.TAGINVAL d");
}

#[track_caller]
fn assert_all_kinds(c: &mut Client, what: &str) {
    eventually("it is stale", || says(c, "old r") == "STALE");
    let codes = ["fresh r", "old r", "soft r", "bare r", "dead r"].map(|key| says(c, key));
    assert_eq!(codes, ["HIT", "STALE", "STALE", "MISS", "MISS"], "{what}");
    assert_eq!(get(c, "soft r").items()[..3], [bulk("STALE"), bulk("v"), bulk("l")], "{what}");
    assert_eq!(c.code("rec"), "MISS", "{what}");
}

#[test]
fn what_is_stale_is_so_after_a_restart_a_rewrite_and_a_reload() {
    for preamble in [true, false] {
        let builder = Server::builder().setting("trust-loaded", "yes").with_aof(preamble);
        let mut server = builder.start();
        store_all_kinds(&mut server.client());
        assert_all_kinds(&mut server.client(), "as it was");
        server.restart(Stop::Kill);
        assert_all_kinds(&mut server.client(), "as written");
        server.rewrite_aof();
        server.restart(Stop::Kill);
        assert_all_kinds(&mut server.client(), "as rewritten");
        assert_exact(&server);
        // It is refreshed as ever, and killed as ever.
        let mut c = server.client();
        assert_eq!(c.must("CACHE.TAGINVAL t"), int(1));
        assert_eq!(says(&mut c, "soft r"), "MISS");
    }
    let mut server = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = server.client();
    hold(&mut c);
    store_all_kinds(&mut c);
    c.must("DEBUG RELOAD");
    assert_all_kinds(&mut c, "reloaded");
    server.restart(Stop::Save);
    assert_all_kinds(&mut server.client(), "from an RDB");
    assert_exact(&server);
}

#[test]
fn a_replica_has_stale_what_its_primary_has_however_it_came_there() {
    let primary = Server::start();
    let early = Server::builder().replica_of(&primary).start();
    early.in_sync_with(&primary);
    let mut c = primary.client();
    store_all_kinds(&mut c);
    let late = Server::builder().replica_of(&primary).start();
    eventually("it is stale", || says(&mut c, "old r") == "STALE");
    for replica in [&early, &late] {
        replica.in_sync_with(&primary);
        assert_all_kinds(&mut replica.client(), "replica");
        assert_eq!(primary.digest(), replica.digest());
        assert_exact(replica);
        assert_nothing_was_refused(replica);
    }
    early.promote();
    assert_all_kinds(&mut early.client(), "promoted");
    assert_eq!(early.client().must("CACHE.TAGINVAL t"), int(1));
    assert_eq!(says(&mut early.client(), "soft r"), "MISS");
}

#[test]
fn a_dump_of_what_is_stale_is_dead_where_it_is_restored() {
    let server = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = server.client();
    set(&mut c, &format!("k r v {GRACE} TAGS 1 t"));
    let fresh = c.must("DUMP k").bytes().to_vec();
    c.must("CACHE.TAGINVAL SOFT t");
    let soft = c.must("DUMP k").bytes().to_vec();
    assert_ne!(fresh, soft);
    for (name, dump) in [("a", &fresh), ("b", &soft)] {
        let call = [b"RESTORE".as_slice(), name.as_bytes(), b"0", dump];
        assert_eq!(c.cmd(call), ok());
        assert_eq!(
            says(&mut c, &format!("{name} r")),
            "MISS",
            "an entry lives where it was stored"
        );
    }
    assert_eq!(says(&mut c, "k r"), "STALE");
    assert_exact(&server);
}

#[test]
fn a_persisted_entry_that_is_softened_stays_stale() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, &format!("k r v {GRACE} TAGS 1 t"));
    c.must("PERSIST k");
    assert_eq!(get(&mut c, "k r").items()[4], int(-1));
    assert_eq!(c.must("CACHE.TAGINVAL SOFT t"), int(1));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(20) {
        assert_eq!(says(&mut c, "k r"), "STALE");
    }
}
