//! A version of the stream or of an RDB that is not understood is told, and nothing of it is taken for alive;
//! two that understand each other agree.

use std::fs;

use crate::failover::calls;
use crate::harness::server::Stop;
use crate::harness::streams::{find, serve_rdb, Tap};
use crate::harness::*;
use crate::replication::assert_agree;

/// What HEALTH gives as reasons for being unhealthy.
#[track_caller]
fn reasons(server: &Server) -> Vec<String> {
    let health = server.client().must("APIKEY.HEALTH");
    let reasons: Vec<String> = health.get("reasons").items().iter().map(Reply::text).collect();
    let is_unhealthy = health.get("status") == &bulk("unhealthy");
    assert_eq!(is_unhealthy, !reasons.is_empty(), "{health:?}");
    reasons
}

/// Waits until a replica was told its primary's version so often: that may be after it has caught up.
#[track_caller]
fn told(replica: &Server, times: u64) {
    eventually("it is told", || calls(&mut replica.client(), "apikey.stream") >= times);
}

const NEWER: &str =
    "the primary's stream is not read: version 6 is newer than what this module reads (1 to 5)";

#[test]
fn a_primary_says_its_version_to_each_replica_that_comes() {
    let server = Server::start();
    let mut stream = Tap::replication(server.port);
    stream.until(b"apikey.stream\r\n$1\r\n5\r\n");
    let replica = Server::start();
    stream.clear();
    replica.replicate(&server);
    stream.until(b"apikey.stream");
    assert_nothing_was_refused(&replica);
}

#[test]
fn nothing_of_a_stream_that_is_not_understood_lives() {
    let (primary, replica) = (Server::start(), Server::start());
    let mut theirs = primary.client();
    if !has_debug_command(&mut theirs) {
        return;
    }
    theirs.fill("before", &["t"]);
    theirs.count("counter", 7);
    replica.replicate(&primary);
    told(&replica, 1);
    let mut ours = replica.client();
    assert_eq!(ours.code("before"), "VALID");
    assert_eq!(reasons(&replica), Vec::<String>::new());

    theirs.must("APIKEY.DEBUG STREAM 6");
    theirs.fill("after", &["t"]);
    theirs.must(r#"APIKEY.SETSCOPE scopes k u users read ALLOW TOKEN 0"#);
    theirs.count("counter", 1);
    replica.in_sync_with(&primary);
    assert_eq!(ours.codes(["before", "after"]), ["MISS", "MISS"]);
    assert_eq!(ours.usage("counter"), (8, 8));
    assert_eq!(reasons(&replica), [NEWER]);
    assert!(replica.log().contains("version 6 is newer than what this module reads (1 to 5)"));
    assert_exact(&replica);
    assert_eq!(theirs.codes(["before", "after"]), ["VALID", "VALID"]);

    // The link is made anew, without an RDB, and says what it is.
    theirs.must("APIKEY.DEBUG STREAM 0");
    replica.in_sync_with(&primary);
    let older = NEWER.replace("6 is newer", "0 is older");
    assert_eq!(reasons(&replica), [older]);
    ours.must("CLIENT KILL TYPE master");
    eventually("it is told", || reasons(&replica).is_empty());
    assert_eq!(theirs.info("stats", "sync_partial_ok").as_deref(), Some("1"));
    theirs.fill("later", &["t"]);
    replica.in_sync_with(&primary);
    assert_eq!(ours.codes(["before", "after", "later"]), ["MISS", "MISS", "VALID"]);
    assert_exact(&replica);

    // A full resync brings back what had died here.
    theirs.must("APIKEY.DEBUG STREAM 6");
    replica.in_sync_with(&primary);
    replica.promote();
    replica.replicate(&primary);
    told(&replica, 6);
    assert_eq!(ours.codes(["before", "after", "later"]), ["VALID", "VALID", "VALID"]);
    assert_agree(&primary, &replica);
}

#[test]
fn a_replica_that_did_not_understand_is_promoted_without_entries() {
    let (primary, replica) = (Server::start(), Server::start());
    let below = Server::start();
    let mut theirs = primary.client();
    if !has_debug_command(&mut theirs) {
        return;
    }
    theirs.fill("before", &["t"]);
    theirs.count("counter", 7);
    replica.replicate(&primary);
    told(&replica, 1);
    below.replicate(&replica);
    theirs.must("APIKEY.DEBUG STREAM 6");
    below.in_sync_with(&primary);
    assert_eq!(reasons(&below), [NEWER]);
    replica.promote();
    assert_eq!(reasons(&replica), Vec::<String>::new());
    let mut ours = replica.client();
    assert_eq!(ours.code("before"), "MISS");
    assert_eq!(ours.usage("counter"), (7, 7));
    eventually("it stores", || {
        ours.fill("after", &["t"]);
        ours.code("after") == "VALID"
    });
    reclaimed(&mut ours);
    below.in_sync_with(&replica);
    assert_eq!(below.client().codes(["before", "after"]), ["MISS", "VALID"]);
    assert_eq!(reasons(&below), Vec::<String>::new());
    assert_agree(&replica, &below);
}

#[test]
fn what_can_not_be_replayed_leaves_no_entry_alive() {
    let builder = Server::builder().setting("trust-loaded", "yes").with_aof(false);
    let mut server = builder.start();
    let mut c = server.client();
    c.fill("before", &["t"]);
    c.count("counter", 7);
    server.stop(Stop::Kill);
    let word = client::packed(["APIKEY.STORED", "before", "12345678r\x02no record"]);
    let path = crate::trust::aof(&server);
    let all = [fs::read(&path).expect("an AOF"), word].concat();
    fs::write(path, all).expect("written");
    server.start_again();
    let mut c = server.client();
    assert_eq!(c.code("before"), "MISS");
    assert_eq!(c.usage("counter"), (7, 7));
    assert_eq!(reasons(&server), ["1 changes of the primary or the AOF could not be replayed"]);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("apikey.stored can't be replayed"));
    assert!(line.is_some_and(|line| line.contains("value must be one of this module's")), "{log}");
    c.fill("after", &["t"]);
    assert_eq!(c.code("after"), "VALID");
    assert_exact(&server);
}

/// The RDB of a server with an entry and a counter, as a module of another version would have written it.
fn rdb_of(server: &Server, version: u64) -> Vec<u8> {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut c = server.client();
    c.fill("entry", &["t"]);
    c.must("SAVE");
    let mut rdb = fs::read(server.dir().join("dump.rdb")).expect("an RDB");
    let digit = |id, byte: u8| (id << 6) | find(SET, &[byte]).expect("in the set") as u64;
    let id = b"apikeyrec".iter().fold(0, |id, &byte| digit(id, byte)) << 10;
    let is = |version: u64| (id | version).to_be_bytes();
    let at = find(&rdb, &is(5)).expect("a record of version 5");
    rdb[at..at + 8].copy_from_slice(&is(version));
    // 0 is no checksum.
    let end = rdb.len() - 8;
    rdb[end..].fill(0);
    rdb
}

#[test]
fn an_rdb_of_a_version_that_is_not_understood_is_not_loaded() {
    for (version, order) in [(0, "older"), (6, "newer"), (1023, "newer")] {
        let mut server = Server::start();
        let rdb = rdb_of(&server, version);
        server.stop(Stop::NoSave);
        fs::write(server.dir().join("dump.rdb"), rdb).expect("written");
        let failed = server.try_start_again().expect_err("it must not start");
        let said = format!("its version {version} is {order} than what this module reads (1 to 5)");
        assert!(failed.log.contains(&said), "{failed}");
    }
}

/// As at any RDB that it can't load, the server ends.
#[test]
fn a_full_resync_of_a_version_that_is_not_understood_is_refused() {
    for load in ["disabled", "on-empty-db"] {
        let rdb = rdb_of(&Server::start(), 6);
        let mut replica = Server::builder().config(&format!("repl-diskless-load {load}")).start();
        let port = serve_rdb(rdb);
        replica.client().must(&format!("REPLICAOF 127.0.0.1 {port}"));
        eventually("it says so", || {
            replica.log().contains("its version 6 is newer than what this module reads (1 to 5)")
        });
        eventually("it ends", || !replica.is_alive());
    }
}
