//! What becomes of entries over a stop: in the middle of a reclaim, and where the stop lost an invalidation.
//! `trust-loaded`; what `trust-promoted` does stands in `failover`.

use std::fs;
use std::path::PathBuf;

use crate::harness::server::{kind, Kind, Stop};
use crate::harness::streams::find;
use crate::harness::*;
use crate::reclaim::{dbsize, fill_group, fill_some, valid_and_missing};

/// Entries of a group; more than sync-reclaim.
const MANY: usize = 300;

fn trusting(trust: &str) -> Builder {
    Server::builder().setting("trust-loaded", trust)
}

/// `dead` was invalidated and waits, but for ten that were stored anew; `live` lives.
#[track_caller]
fn fill_and_invalidate(c: &mut Client) -> bool {
    if !hold(c) {
        return false;
    }
    fill_group(c, "dead", MANY);
    fill_group(c, "live", 20);
    c.count("pending", 5);
    assert_eq!(c.invalidate("dead"), MANY as i64);
    fill_some(c, "dead", 0..10);
    true
}

/// After `fill_and_invalidate` and a stop: no dead one is back, no live one is lost, if they are trusted;
/// and what is dead goes, though nobody asks for it.
#[track_caller]
fn assert_as_before(server: &Server, trusted: bool, how: &str) {
    let mut c = server.client();
    let (anew, live) = if trusted { (10, 20) } else { (0, 0) };
    reclaimed(&mut c);
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (anew, MANY - anew), "{how}");
    assert_eq!(valid_and_missing(&mut c, "live", 20), (live, 20 - live), "{how}");
    assert_eq!(dbsize(&mut c), anew + live + 1, "{how}");
    assert_eq!(c.usage("pending"), (5, 5), "{how}");
    assert_exact(server);
    assert_nothing_was_refused(server);
    // The index is whole: the tags kill what is left, and what comes is alive.
    assert_eq!(c.invalidate("dead"), anew as i64, "{how}");
    assert_eq!(c.invalidate("live-tens"), if trusted { 2 } else { 0 }, "{how}");
    fill_group(&mut c, "live", 20);
    assert_eq!(valid_and_missing(&mut c, "live", 20), (20, 0), "{how}");
    assert_exact(server);
}

#[test]
fn an_rdb_of_the_middle_raises_nothing_and_loses_nothing() {
    for (trust, trusted) in [("yes", true), ("no", false)] {
        for way in ["SHUTDOWN SAVE", "SAVE", "BGSAVE", "DEBUG RELOAD"] {
            let mut server = trusting(trust).start();
            let mut c = server.client();
            if !fill_and_invalidate(&mut c) {
                return;
            }
            match way {
                "SHUTDOWN SAVE" => server.restart(Stop::Save),
                "DEBUG RELOAD" => {
                    c.must(way);
                    assert_exact(&server);
                    release(&mut c);
                }
                _ => {
                    c.must(way);
                    eventually("it is saved", || {
                        c.info("persistence", "rdb_bgsave_in_progress").as_deref() == Some("0")
                    });
                    server.restart(Stop::Kill);
                }
            }
            assert_as_before(&server, trusted, &format!("{way}, trust-loaded {trust}"));
        }
    }
}

#[test]
fn an_aof_of_the_middle_raises_nothing_and_loses_nothing() {
    for (trust, trusted) in [("yes", true), ("no", false)] {
        for preamble in [true, false] {
            for rewritten in [true, false] {
                let mut server = trusting(trust).with_aof(preamble).start();
                let mut c = server.client();
                if !fill_and_invalidate(&mut c) {
                    return;
                }
                if rewritten {
                    server.rewrite_aof();
                }
                server.restart(Stop::Kill);
                let how =
                    format!("trust-loaded {trust}, preamble {preamble}, rewritten {rewritten}");
                assert_as_before(&server, trusted, &how);
                // What it wrote since, of the end of the reclaim as well, is as good.
                server.restart(Stop::Kill);
                let mut c = server.client();
                let live = if trusted { (20, 0) } else { (0, 20) };
                assert_eq!(valid_and_missing(&mut c, "live", 20), live, "{how}");
                assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY), "{how}");
                reclaimed(&mut c);
                assert_exact(&server);
            }
        }
    }
}

#[test]
fn a_server_killed_while_it_reclaims_answers_as_it_had_promised() {
    let mut server = trusting("yes").setting("reclaim-budget-us", "10").with_aof(true).start();
    for round in 0..4 {
        let mut c = server.client();
        fill_group(&mut c, "live", 20);
        fill_group(&mut c, "dead", 2000);
        assert_eq!(c.invalidate("dead"), 2000);
        fill_some(&mut c, "dead", 0..10);
        if round > 0 {
            let some = backlog(&mut c) * round / 4;
            eventually("it is in the middle", || backlog(&mut c) <= some);
        }
        server.restart(Stop::Kill);
        let mut c = server.client();
        assert_eq!(valid_and_missing(&mut c, "dead", 2000), (10, 1990), "round {round}");
        assert_eq!(valid_and_missing(&mut c, "live", 20), (20, 0));
        assert_exact(&server);
        assert_nothing_was_refused(&server);
        reclaimed(&mut c);
        assert_eq!(dbsize(&mut c), 30);
    }
}

#[test]
fn a_dump_of_a_dead_entry_is_dead_wherever_it_comes_to() {
    let server = trusting("yes").setting("sync-reclaim", "0").start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    c.fill("a", &["t"]);
    let alive = c.must("DUMP a");
    c.invalidate("t");
    let dead = c.must("DUMP a");
    // The stamp is in it.
    assert_ne!(alive, dead);
    c.must("DEBUG RELOAD");
    assert_eq!(c.must("DUMP a"), dead);
    let other = Server::start();
    let mut there = other.client();
    hold(&mut there);
    for (key, dump) in [("alive", &alive), ("dead", &dead)] {
        for c in [&mut c, &mut there] {
            assert_eq!(c.cmd([b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes()]), ok());
            assert_eq!(
                (c.code(key), c.must(&format!("DUMP {key}"))),
                ("MISS".into(), dead.clone())
            );
        }
    }
    c.must(&format!("MIGRATE 127.0.0.1 {} a 0 5000", other.port));
    assert_eq!(there.code("a"), "MISS");
    for server in [&server, &other] {
        let mut c = server.client();
        assert_exact(server);
        release(&mut c);
        reclaimed(&mut c);
        assert_eq!(dbsize(&mut c), 0);
    }
}

/// What an old file brings: five entries of which two were invalidated after it was written.
#[track_caller]
fn assert_loaded(server: &Server, trusted: bool) {
    let mut c = server.client();
    let old = if trusted { "VALID" } else { "MISS" };
    assert_eq!(c.codes(["a", "b", "c", "d", "e"]), [old; 5]);
    reclaimed(&mut c);
    assert_eq!(dbsize(&mut c), if trusted { 6 } else { 1 });
    assert_eq!(c.usage("pending"), (5, 5));
    assert_exact(server);
    c.fill("a", &["t"]);
    assert_eq!(c.invalidate("t"), if trusted { 2 } else { 1 });
    assert_eq!(c.code("a"), "MISS");
    assert_exact(server);
}

#[track_caller]
fn fill_before(c: &mut Client) {
    for (key, tag) in [("a", "t"), ("b", "t"), ("c", "other"), ("d", "other"), ("e", "other")] {
        c.fill(key, &[tag]);
    }
    c.count("pending", 5);
}

#[test]
fn an_rdb_from_before_an_invalidation_is_believed_only_where_the_operator_says_so() {
    for (trust, trusted) in [("yes", true), ("no", false)] {
        for sync in ["0", "256"] {
            let mut server = trusting(trust).setting("sync-reclaim", sync).start();
            let mut c = server.client();
            fill_before(&mut c);
            c.must("SAVE");
            assert_eq!(c.invalidate("t"), 2);
            assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "MISS", "VALID"]);
            server.restart(Stop::Kill);
            assert_loaded(&server, trusted);
        }
    }
}

/// The AOF that is written to now.
pub fn aof(server: &Server) -> PathBuf {
    if kind() == Kind::Redis62 {
        return server.dir().join("appendonly.aof");
    }
    let dir = server.dir().join("appendonlydir");
    let files = fs::read_dir(dir).expect("the directory of the AOF");
    let paths = files.map(|file| file.expect("a file").path());
    let mut last: Vec<PathBuf> =
        paths.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).collect();
    last.sort();
    last.pop().expect("a file that grows")
}

#[test]
fn an_aof_without_its_tail_is_believed_only_where_the_operator_says_so() {
    for (trust, trusted) in [("yes", true), ("no", false)] {
        for (preamble, rewritten, sync) in
            [(true, true, "0"), (false, true, "256"), (false, false, "0"), (false, false, "256")]
        {
            let builder = trusting(trust).setting("sync-reclaim", sync);
            let mut server = builder.with_aof(preamble).start();
            let mut c = server.client();
            fill_before(&mut c);
            if rewritten {
                server.rewrite_aof();
            }
            assert_eq!(c.invalidate("t"), 2);
            server.stop(Stop::Kill);
            let path = aof(&server);
            let bytes = fs::read(&path).expect("the AOF");
            // In the middle of the command's name.
            let at = find(&bytes, b"apikey.killed").expect("the invalidation") + 4;
            fs::write(&path, &bytes[..at]).expect("the AOF without its tail");
            server.start_again();
            assert_loaded(&server, trusted);
        }
    }
}

#[test]
fn a_replica_that_starts_again_resumes_the_stream_and_learns_what_was_invalidated_meanwhile() {
    for trust in ["no", "yes"] {
        let primary = Server::builder().setting("sync-reclaim", "100").start();
        let mut c = primary.client();
        if !hold(&mut c) {
            return;
        }
        let mut replica = trusting(trust).replica_of(&primary).start();
        for group in ["before", "meanwhile", "later", "live"] {
            fill_group(&mut c, group, 300);
        }
        c.invalidate("before");
        c.count("pending", 5);
        replica.in_sync_with(&primary);
        replica.stop(Stop::Save);
        c.invalidate("meanwhile");
        fill_some(&mut c, "meanwhile", 0..3);
        fill_some(&mut c, "before", 0..3);
        c.invalidate("live-tens");
        replica.start_again();
        replica.in_sync_with(&primary);
        let full = c.info("stats", "sync_full");
        assert_eq!(full.as_deref(), Some("1"), "what it loaded is what it goes on with");
        c.invalidate("later");
        replica.in_sync_with(&primary);
        let mut theirs = replica.client();
        for (group, valid) in [("before", 3), ("meanwhile", 3), ("later", 0), ("live", 270)] {
            assert_eq!(valid_and_missing(&mut theirs, group, 300), (valid, 300 - valid), "{group}");
        }
        assert_eq!(answers(&replica), answers(&primary));
        assert_eq!(replica.digest(), primary.digest());
        assert_exact(&replica);
        // Whoever ends the reclaim.
        if trust == "yes" {
            release(&mut c);
            reclaimed(&mut c);
            replica.in_sync_with(&primary);
        } else {
            replica.promote();
            reclaimed(&mut theirs);
        }
        assert_eq!(dbsize(&mut theirs), 3 + 3 + 270 + 1);
        assert_eq!(theirs.usage("pending"), (5, 5));
        assert_eq!(backlog(&mut theirs), 0);
        assert_exact(&replica);
        assert_nothing_was_refused(&replica);
    }
}

/// A primary that distrusts what it loaded may have replicas that went on by partial resync (7.0+): they
/// are told, before what is reclaimed comes and before anything new is stored.
#[test]
fn replicas_lose_their_trust_with_their_primary() {
    if kind() == Kind::Redis62 {
        return; // a replica of a primary that was started again is resynced in full
    }
    let builder = Server::builder().setting("reclaim-budget-us", "10");
    let mut primary = builder.start();
    let mut c = primary.client();
    if !has_debug_command(&mut c) {
        return;
    }
    let replica = Server::start();
    replica.replicate(&primary);
    fill_group(&mut c, "k", 3000);
    replica.in_sync_with(&primary);
    primary.restart(Stop::Save);
    let mut c = primary.client();
    hold(&mut c);
    c.fill("new", &["k-tag"]);
    replica.in_sync_with(&primary);
    assert_eq!(c.info("stats", "sync_full").as_deref(), Some("0"));
    let waits = c.must("KEYS k*").items().first().map(Reply::text).expect("it is in the middle");
    let mut theirs = replica.client();
    for c in [&mut c, &mut theirs] {
        assert_eq!(c.codes([waits.as_str(), "new"]), ["MISS", "VALID"]);
    }
    assert_eq!(replica.digest(), primary.digest());
    replica.promote();
    assert_eq!(theirs.codes([waits.as_str(), "new"]), ["MISS", "VALID"]);
    reclaimed(&mut theirs);
    assert_eq!(dbsize(&mut theirs), 1);
    assert_exact(&replica);
}

/// A transaction in an AOF is lost where the default user may not run it (7.0, 8.2).
#[test]
fn that_all_was_dropped_stands_alone_in_the_aof() {
    if kind() == Kind::Redis62 {
        return; // which wraps whatever a timer replicates, and does not ask when it loads
    }
    let mut server = trusting("no").with_aof(false).start();
    let mut c = server.client();
    fill_group(&mut c, "old", MANY);
    server.restart(Stop::Kill);
    let mut c = server.client();
    reclaimed(&mut c);
    let bytes = fs::read(aof(&server)).expect("the AOF");
    let told = find(&bytes, b"\r\napikey.dropped\r\n").expect("the drop");
    let before = bytes[..told].rsplit(|&b| b == b'*').nth(1).expect("a command");
    assert!(find(before, b"MULTI").is_none(), "{}", before.escape_ascii());
}

/// What a promotion has dropped is dropped on disk as well, before anything is reclaimed.
#[test]
fn what_a_promotion_dropped_stays_dropped_over_a_kill() {
    for preamble in [true, false] {
        let primary = Server::start();
        let builder = trusting("yes").setting("trust-promoted", "no").with_aof(preamble);
        let mut promoted = builder.start();
        promoted.replicate(&primary);
        let mut c = primary.client();
        if !hold(&mut promoted.client()) {
            return;
        }
        fill_group(&mut c, "old", MANY);
        c.count("pending", 5);
        promoted.in_sync_with(&primary);
        promoted.aof_is_rewritten(); // which the resync began
        promoted.promote();
        let mut c = promoted.client();
        c.fill("new", &[]);
        assert_eq!(valid_and_missing(&mut c, "old", MANY), (0, MANY));
        assert!(backlog(&mut c) >= MANY as i64);
        promoted.restart(Stop::Kill);
        let mut c = promoted.client();
        assert_eq!(valid_and_missing(&mut c, "old", MANY), (0, MANY), "preamble: {preamble}");
        assert_eq!(c.code("new"), "VALID");
        reclaimed(&mut c);
        assert_eq!((dbsize(&mut c), c.usage("pending")), (2, (5, 5)));
        assert_exact(&promoted);
        assert_nothing_was_refused(&promoted);
    }
}

#[test]
fn a_replica_that_starts_as_a_primary_is_believed_only_where_the_operator_says_so() {
    for (trust, trusted) in [("yes", true), ("no", false)] {
        let primary = Server::start();
        let mut replica = trusting(trust).start();
        replica.replicate(&primary);
        fill_before(&mut primary.client());
        replica.in_sync_with(&primary);
        replica.stop(Stop::Save);
        assert_eq!(primary.client().invalidate("t"), 2);
        // Its configuration file never said that it is a replica.
        replica.start_again();
        assert_loaded(&replica, trusted);
    }
}
