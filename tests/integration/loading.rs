//! Loads of many keys, which enter the index together: whatever comes of them, and whatever is done to them
//! next, the index is that of the keys.

use crate::harness::server::Stop;
use crate::harness::*;
use crate::reclaim::{fill_group, valid_and_missing};

/// More than are entered together, and no multiple of that.
const MANY: usize = 700;

/// Two databases full of entries that share tags, among them dead ones and counters.
fn filled(server: &Server) {
    let mut c = server.client();
    assert!(hold(&mut c));
    for db in [0, 1] {
        c.select(db);
        fill_group(&mut c, "live", MANY);
        fill_group(&mut c, "dead", 30);
        assert_eq!(c.invalidate("dead"), 30);
        for n in 0..30 {
            c.count(&format!("pending{n}"), n + 1);
            c.count(&format!("leased{n}"), 1);
        }
        assert_eq!(c.lease().counts().len(), 60);
        for n in 0..30 {
            c.count(&format!("pending{n}"), 1);
        }
    }
}

/// It has what [`filled`] left, alive where that is trusted, and each tag finds its own.
#[track_caller]
fn assert_filled(server: &Server, trusted: bool) {
    assert_exact(server);
    let mut c = server.client();
    let alive = if trusted { MANY } else { 0 };
    for db in [0, 1] {
        c.select(db);
        assert_eq!(valid_and_missing(&mut c, "live", MANY), (alive, MANY - alive));
        assert_eq!(valid_and_missing(&mut c, "dead", 30), (0, 30));
        assert_eq!(c.run("APIKEY.TAGCARD live"), int(alive as i64));
        assert_eq!(c.run("APIKEY.TAGCARD live-tens"), int(alive as i64 / 10));
        assert_eq!(c.run("APIKEY.TAGCARD live-7"), int(i64::from(trusted)));
        assert_eq!(c.run("APIKEY.TAGCARD dead"), int(0));
        assert_eq!(c.counts("pending7"), (1, 8, 9));
        assert_eq!(c.counts("leased7"), (0, 1, 1));
    }
}

/// It goes on: tags kill what carries them, and the dead go.
#[track_caller]
fn assert_goes_on(server: &Server, trusted: bool) {
    let mut c = server.client();
    for db in [0, 1] {
        c.select(db);
        assert_eq!(c.invalidate("live-tens"), if trusted { MANY as i64 / 10 } else { 0 });
        fill_group(&mut c, "new", 300);
        assert_exact(server);
        assert_eq!(c.invalidate("new"), 300);
    }
    release(&mut c);
    reclaimed(&mut c);
    assert_exact(server);
    for db in [0, 1] {
        c.select(db);
        let left = if trusted { MANY - MANY / 10 } else { 0 };
        assert_eq!(c.run("DBSIZE"), int(left as i64 + 60));
    }
}

#[test]
fn many_entries_are_loaded_whole_however_they_are() {
    for trusted in [true, false] {
        let trust = if trusted { "yes" } else { "no" };
        for aof in [false, true] {
            let mut builder = Server::builder().setting("trust-loaded", trust);
            if aof {
                builder = builder.with_aof(true);
            }
            let mut server = builder.start();
            filled(&server);
            if aof {
                server.rewrite_aof();
                server.restart(Stop::Kill);
                assert!(hold(&mut server.client()));
                assert_nothing_was_refused(&server);
            } else {
                server.client().must("DEBUG RELOAD");
                assert_filled(&server, trusted);
                server.restart(Stop::Save);
                assert!(hold(&mut server.client()));
            }
            assert_filled(&server, trusted);
            assert_goes_on(&server, trusted);
        }
    }
}

#[test]
fn many_entries_come_whole_to_a_replica() {
    let primary = Server::start();
    filled(&primary);
    for load in ["disabled", "on-empty-db", "swapdb"] {
        let diskless = if load == "disabled" { "no" } else { "yes" };
        primary.client().must(&format!("CONFIG SET repl-diskless-sync {diskless}"));
        let replica = Server::builder().config(&format!("repl-diskless-load {load}")).start();
        let mut c = replica.client();
        assert!(hold(&mut c));
        if load == "swapdb" {
            filled(&replica);
        }
        replica.replicate(&primary);
        replica.in_sync_with(&primary);
        assert_eq!(replica.digest(), primary.digest());
        assert_filled(&replica, true);
        replica.promote();
        assert_goes_on(&replica, true);
    }
}

#[test]
fn what_stands_behind_the_preamble_of_an_aof_finds_what_was_loaded_just_before() {
    for command in [
        "DEL live0 live699",
        "UNLINK live350",
        "RENAME live1 renamed",
        "RENAME live1 live2",
        "MOVE live3 1",
        "COPY live4 live5 REPLACE",
        "SET live6 overwritten",
        "PEXPIREAT live7 1",
        "SWAPDB 0 1",
        "FLUSHDB",
        "FLUSHALL",
        "APIKEY.TAGINVAL live-8",
        "APIKEY.TAGINVAL live-tens",
        "APIKEY.INVAL live9",
        "APIKEY.SETVAL live10 {\"id\":\"x\",\"user_id\":\"u9\",\"is_active\":true} TAGS 1 live",
        "APIKEY.USAGE.INCR pending1",
        "APIKEY.USAGE.TAKE pending1",
    ] {
        let mut server = Server::builder().setting("trust-loaded", "yes").with_aof(true).start();
        let mut c = server.client();
        fill_group(&mut c, "live", MANY);
        c.count("pending1", 5);
        server.rewrite_aof();
        assert!(!c.must(command).is_error());
        let before = seen(&mut c);
        server.restart(Stop::Kill);
        assert_nothing_was_refused(&server);
        assert_exact(&server);
        let mut c = server.client();
        assert_eq!(seen(&mut c), before, "{command}");
        reclaimed(&mut c);
        assert_exact(&server);
        assert_eq!(seen(&mut c), before, "{command}");
    }
}

/// What can be seen of a database.
#[derive(Debug, PartialEq)]
struct Seen {
    /// How many entries some tags have.
    cards: Vec<i64>,
    /// The first keys that are missing.
    missing: Vec<usize>,
    usage: (i64, i64),
}

#[track_caller]
fn seen(c: &mut Client) -> [Seen; 2] {
    [1, 0].map(|db| {
        c.select(db);
        let tags = ["live", "live-tens", "live-0", "live-8", "live-699", "apikey:user:u9"];
        let mut card = |tag: &str| c.must(&format!("APIKEY.TAGCARD {tag}")).int();
        let cards = tags.iter().map(|tag| card(tag)).collect();
        let keys: Vec<_> = (0..MANY).map(|n| format!("APIKEY.VALIDATE live{n}")).collect();
        let codes = c.pipeline(&keys);
        let missing = (0..MANY).filter(|&n| code_of(&codes[n]) == "MISS").take(20).collect();
        Seen { cards, missing, usage: c.usage("pending1") }
    })
}
