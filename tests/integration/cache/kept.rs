//! What a restart, a load and a failover keep of regions, and what is not trusted.

use super::calls::*;
use crate::harness::server::Stop;
use crate::harness::*;

/// Entries of every form, in two databases.
#[track_caller]
fn populate(server: &Server) {
    let mut c = server.client();
    let every: Vec<u8> = (0..=255).collect();
    set(&mut c, "plain r v EX 5000");
    let call = [
        b"CACHE.SET".as_slice(),
        b"all\0\xff",
        b"r\0",
        &every,
        b"LABEL",
        b"l\xff",
        b"TAGS",
        b"2",
        b"\0t",
        b"t",
        b"NS",
        b"n:",
        b"PX",
        b"5000000",
        b"GRACE",
        b"600000",
    ];
    assert_eq!(c.cmd(call), ok());
    set(&mut c, "old r v PX 1 GRACE 600000000");
    set(&mut c, "ever r v");
    c.must("PERSIST ever");
    let token = miss(&mut c, "absent r");
    fine(&mut c, &format!("CACHE.SETABSENT absent r TOKEN {token} EX 5000 TAGS 1 t"));
    c.must(&format!("CACHE.MSET many 2 m1 a m2 b TOKEN {token} EX 5000 LABEL l"));
    c.select(1);
    set(&mut c, "plain r other EX 5000");
    eventually("it is stale", || says(&mut server.client(), "old r") == "STALE");
}

/// What a reader is told of all of it; what takes time as whether it is there.
#[track_caller]
fn told(server: &Server) -> Vec<String> {
    let mut c = server.client();
    let mut lines = Vec::new();
    for line in ["plain r", "old r", "ever r", "absent r", "m1 many", "m2 many", "none r"] {
        let reply = get(&mut c, line);
        let shown = match code_of(&reply).as_str() {
            "MISS" => "MISS".into(),
            code => format!("{code} {:?}", reply.items().get(1..3)),
        };
        lines.push(format!("{line}: {shown}"));
    }
    let all = c.cmd([b"CACHE.GET".as_slice(), b"all\0\xff", b"r\0", b"NS", b"n:"]);
    lines.push(match code_of(&all).as_str() {
        "MISS" => "MISS".into(),
        _ => format!("{:?}", &all.items()[..3]),
    });
    lines.push(format!("{:?}", sorted(&c.must("APIKEY.TAGS plain"))));
    for of in ["r", "many"] {
        let stats = c.must(&format!("CACHE.STATS {of}"));
        lines.push(format!("{of} {:?} {:?}", stats.get("entries"), stats.get("bytes")));
    }
    c.select(1);
    lines.push(format!("{:?}", get(&mut c, "plain r").items().get(1)));
    lines
}

#[track_caller]
fn nothing_lives(server: &Server) {
    let mut c = server.client();
    for line in ["plain r", "old r", "ever r", "absent r", "m1 many"] {
        assert_eq!(says(&mut c, line), "MISS", "{line}");
    }
    assert_eq!(c.must("CACHE.CLEAR r"), int(0));
    set(&mut c, "plain r new");
    assert_eq!(says(&mut c, "plain r"), "HIT");
    reclaimed(&mut c);
    assert_eq!((stat(&mut c, "r", "entries"), stat(&mut c, "many", "entries")), (1, 0));
    assert_exact(server);
}

#[test]
fn what_is_trusted_is_there_again_from_rdb_and_aof() {
    for preamble in [true, false] {
        let mut server =
            Server::builder().setting("trust-loaded", "yes").with_aof(preamble).start();
        populate(&server);
        let before = (told(&server), server.digest());
        server.restart(Stop::Kill);
        assert_eq!((told(&server), server.digest()), before, "as written");
        server.rewrite_aof();
        server.restart(Stop::Kill);
        assert_eq!((told(&server), server.digest()), before, "as rewritten");
        assert_exact(&server);
        assert_nothing_was_refused(&server);
        let mut c = server.client();
        assert_eq!(c.must("CACHE.CLEAR r"), int(4));
        assert_eq!(c.must("APIKEY.TAGINVAL t"), int(1));
    }
    let mut server = Server::builder().setting("trust-loaded", "yes").start();
    populate(&server);
    let before = (told(&server), server.digest());
    server.client().must("DEBUG RELOAD");
    assert_eq!((told(&server), server.digest()), before);
    server.restart(Stop::Save);
    assert_eq!((told(&server), server.digest()), before);
    assert_exact(&server);
}

#[test]
fn what_is_not_trusted_is_dead_after_a_load() {
    let mut server = Server::start();
    populate(&server);
    server.restart(Stop::Save);
    nothing_lives(&server);
    let mut server = Server::builder().with_aof(true).start();
    populate(&server);
    server.restart(Stop::Kill);
    nothing_lives(&server);
}

#[test]
fn what_was_killed_stays_dead_after_a_load() {
    let mut server = Server::builder().setting("trust-loaded", "yes").with_aof(true).start();
    let mut c = server.client();
    hold(&mut c);
    store_many(&mut c, "k", 500, "r v TAGS 1 t GRACE 600000");
    store_many(&mut c, "j", 500, "s v GRACE 600000");
    c.must("CACHE.TAGINVAL t");
    c.must("CACHE.PATINVAL j*[0-4]");
    server.rewrite_aof();
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert_eq!(
        [says(&mut c, "k400 r"), says(&mut c, "j3 s"), says(&mut c, "j7 s")],
        ["MISS", "MISS", "HIT"]
    );
    assert_eq!(c.must("CACHE.CLEAR s"), int(250));
    reclaimed(&mut c);
    assert_eq!(c.must("DBSIZE"), int(0));
    assert_exact(&server);
}

#[test]
fn a_replica_agrees_and_a_promoted_one_is_trusted_or_not() {
    for trusted in ["yes", "no"] {
        let primary = Server::start();
        let early =
            Server::builder().setting("trust-promoted", trusted).replica_of(&primary).start();
        early.in_sync_with(&primary);
        populate(&primary);
        let late = Server::builder().replica_of(&primary).start();
        for replica in [&early, &late] {
            replica.in_sync_with(&primary);
            assert_eq!(replica.digest(), primary.digest());
            assert_eq!(told(replica), told(&primary));
            assert_exact(replica);
            assert_nothing_was_refused(replica);
        }
        let mut c = primary.client();
        c.must("APIKEY.TAGINVAL t");
        set(&mut c, "plain r new EX 5000");
        early.in_sync_with(&primary);
        assert_eq!(early.digest(), primary.digest());
        assert_eq!(told(&early), told(&primary));
        early.promote();
        match trusted {
            "yes" => assert_eq!(told(&early), told(&primary)),
            _ => nothing_lives(&early),
        }
    }
}

/// A region is there from its first entry on: what expired meanwhile, or was restored, is none.
#[test]
fn of_a_value_that_does_not_come_back_there_is_no_region() {
    for aof in [false, true] {
        let builder = Server::builder().setting("trust-loaded", "yes");
        let mut server = if aof { builder.with_aof(true).start() } else { builder.start() };
        let mut c = server.client();
        set(&mut c, "x r v");
        let dump = c.must("DUMP x");
        c.must("FLUSHALL");
        if aof {
            assert_eq!(c.cmd([b"RESTORE".as_slice(), b"y", b"0", dump.bytes()]), ok());
        } else {
            set(&mut c, "x r v PX 1");
            c.must("DEBUG SET-ACTIVE-EXPIRE 0");
        }
        let how = if aof { Stop::Kill } else { Stop::Save };
        server.stop(how);
        server.start_again();
        let mut c = server.client();
        assert_eq!(c.must("APIKEY.HEALTH").get("regions"), &int(0));
        assert_eq!(c.must("CACHE.STATS"), array([]));
        assert_exact(&server);
    }
}
