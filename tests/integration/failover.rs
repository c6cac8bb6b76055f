//! Reclaim where there are replicas: they give the primary's answers in the middle of it, and whoever is
//! primary next ends it. Pauses, failovers and shutdowns that come in between.

use crate::gone;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::streams::Tap;
use crate::harness::*;
use crate::reclaim::{dbsize, fill_group, fill_some, let_pass, valid_and_missing};

/// Entries of a group; more than sync-reclaim.
const MANY: usize = 300;

/// The replica has what its primary has, dead where that is dead, and an exact index.
#[track_caller]
fn assert_agree(primary: &Server, replica: &Server) {
    replica.in_sync_with(primary);
    assert_eq!(replica.digest(), primary.digest());
    assert_nothing_was_refused(replica);
    assert_exact(primary);
    assert_exact(replica);
}

/// Nothing in the server's log speaks of an assertion, a crash or a panic.
#[track_caller]
fn assert_never_crashed(server: &Server) {
    let log = server.log();
    for word in ["ASSERTION", "crashed by signal", "BUG REPORT", "panic"] {
        let line = log.lines().find(|line| line.contains(word));
        assert_eq!(line, None);
    }
}

/// Entries that wait on the primary, which is held there: those of `dead`, beside a group `live`.
#[track_caller]
fn fill_and_invalidate(c: &mut Client) -> bool {
    if !hold(c) {
        return false;
    }
    fill_group(c, "dead", MANY);
    fill_group(c, "live", 20);
    c.count("pending", 5);
    assert_eq!(c.invalidate("dead"), MANY as i64);
    assert_eq!(dbsize(c), MANY + 21);
    true
}

/// Nothing waits any more, and only what lived is left.
#[track_caller]
fn assert_reclaimed(server: &Server) {
    let mut c = server.client();
    reclaimed(&mut c);
    assert_eq!(dbsize(&mut c), 21);
    assert_eq!(valid_and_missing(&mut c, "live", 20), (20, 0));
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY));
    assert_eq!(c.usage("pending"), (5, 5));
    assert_exact(server);
}

/// How often a command was called, by clients or by a primary.
#[track_caller]
pub fn calls(c: &mut Client, command: &str) -> u64 {
    let line = c.info("commandstats", &format!("cmdstat_{command}"));
    line.map_or(0, |line| {
        let digits = line.strip_prefix("calls=").and_then(|l| l.split(',').next());
        digits.and_then(|d| d.parse().ok()).expect("a number of calls")
    })
}

#[test]
fn a_replica_judges_as_its_primary_does_and_reclaims_nothing_itself() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    if !fill_and_invalidate(&mut c) {
        return;
    }
    assert_agree(&primary, &replica);
    assert_eq!(answers(&replica), answers(&primary));
    let mut theirs = replica.client();
    assert_eq!(backlog(&mut theirs), backlog(&mut c));
    assert_eq!(calls(&mut theirs, "apikey.gone"), 0);
    // Time goes by, and it stays so.
    let_pass(&mut theirs, 250);
    assert_eq!(dbsize(&mut theirs), MANY + 21);
    // What the primary does in the middle, the replica has at once.
    fill_some(&mut c, "dead", 0..10);
    fill_some(&mut c, "dead", MANY - 10..MANY);
    assert_agree(&primary, &replica);
    assert_eq!(valid_and_missing(&mut theirs, "dead", MANY), (20, MANY - 20));
    assert_eq!(c.invalidate("live-tens"), 2);
    assert_agree(&primary, &replica);
    assert_eq!(
        calls(&mut theirs, "apikey.killed"),
        2,
        "a large one, and one of what was removed at once"
    );
    fill_group(&mut c, "live", 20);
    for line in [
        "RENAME dead20 dead21",
        "COPY dead22 copy",
        "MOVE dead23 1",
        "SWAPDB 0 2",
        "SWAPDB 2 0",
        "DEL copy",
    ] {
        c.must(line);
        assert_agree(&primary, &replica);
    }
    assert_eq!(c.invalidate("dead"), 20);
    assert_agree(&primary, &replica);
    assert_eq!(answers(&replica), answers(&primary));
    release(&mut c);
    assert_reclaimed(&primary);
    assert_agree(&primary, &replica);
    assert_reclaimed(&replica);
    assert!(calls(&mut theirs, "apikey.gone") > 1);
}

#[test]
fn what_is_reclaimed_is_in_the_stream_by_a_word_that_no_renaming_takes_away() {
    let server = Server::start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    for db in [0, 2] {
        c.select(db);
        fill_group(&mut c, "k", 300);
    }
    let mut stream = Tap::replication(server.port);
    stream.clear();
    let count = |stream: &Tap, part: &str| {
        stream
            .seen()
            .windows(part.len())
            .filter(|w| w.eq_ignore_ascii_case(part.as_bytes()))
            .count()
    };
    // A large one by its tags alone.
    assert_eq!(c.invalidate("k"), 300);
    c.must("PUBLISH end of-a-large-one");
    stream.until(b"of-a-large-one");
    let killed = "*3\r\n$13\r\nAPIKEY.KILLED\r\n$1\r\n1\r\n$1\r\nk\r\n";
    assert_eq!(count(&stream, killed), 1, "{}", stream.text());
    assert_eq!(count(&stream, "\r\nAPIKEY.GONE\r\n"), 0, "{}", stream.text());
    // A small one says what went, in one command: a transaction in an AOF is lost where the default user
    // may not run it.
    c.fill("small1", &["small"]);
    c.fill("small2", &["small"]);
    c.must("PUBLISH end of-the-fills");
    stream.until(b"of-the-fills");
    stream.clear();
    assert_eq!(c.invalidate("small"), 2);
    c.must("PUBLISH end of-a-small-one");
    stream.until(b"of-a-small-one");
    assert_eq!(
        count(&stream, "\r\nAPIKEY.KILLED\r\n$1\r\n1\r\n$5\r\nsmall\r\n"),
        1,
        "{}",
        stream.text()
    );
    assert_eq!(count(&stream, "\r\nsmall"), 3, "{}", stream.text());
    if kind() != Kind::Redis62 {
        // Which wraps whatever a module replicates, and does not ask when it loads.
        assert_eq!(count(&stream, "MULTI"), 0, "{}", stream.text());
    }
    // The rest, as it goes; of the database that it was swapped into.
    c.must("SWAPDB 2 3");
    c.must("PUBLISH end of-the-swap");
    stream.until(b"of-the-swap");
    stream.clear();
    release(&mut c);
    reclaimed(&mut c);
    c.must("PUBLISH end of-it-all");
    stream.until(b"of-it-all");
    let words = gone::words(stream.seen());
    let mut names: Vec<Vec<u8>> = words.iter().flat_map(|word| gone::names(word)).collect();
    names.sort();
    let mut all: Vec<Vec<u8>> = (0..300).map(|i| format!("k{i}").into_bytes()).collect();
    all.sort();
    assert_eq!(names, all);
    let reclaimed = count(&stream, "\r\nAPIKEY.GONE\r\n");
    assert!(reclaimed > 0, "{}", stream.text());
    // What is set of regions is told to whoever comes.
    let told = count(&stream, "apikey.regions");
    assert_eq!(count(&stream, "apikey"), reclaimed + told, "{}", stream.text());
    assert_eq!(count(&stream, "UNLINK"), 0, "{}", stream.text());
    let selects = "\r\nSELECT\r\n$1\r\n3\r\n";
    assert_eq!(count(&stream, selects), 1, "{}", stream.text());
    // What does not invalidate is not followed by one.
    stream.clear();
    c.invalidate("none");
    c.must("PUBLISH end of-nothing");
    stream.until(b"of-nothing");
    assert_eq!(count(&stream, "APIKEY.GONE"), 0, "{}", stream.text());
}

#[test]
fn a_promoted_replica_ends_the_reclaim() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    if !fill_and_invalidate(&mut primary.client()) {
        return;
    }
    replica.in_sync_with(&primary);
    let mut c = replica.client();
    assert_eq!(backlog(&mut c), (MANY) as i64);
    replica.promote();
    assert_reclaimed(&replica);
    // What comes next lives on, and is invalidated like anything else.
    fill_group(&mut c, "dead", MANY);
    assert_eq!(valid_and_missing(&mut c, "dead", MANY), (MANY, 0));
    assert_eq!(c.invalidate("dead"), MANY as i64);
    assert_reclaimed(&replica);
    // The former primary, in the middle still, follows the new one.
    primary.replicate(&replica);
    assert_agree(&replica, &primary);
    assert_reclaimed(&primary);
}

#[test]
fn a_primary_that_becomes_a_replica_in_the_middle_leaves_the_rest_to_the_other() {
    let primary = Server::builder().setting("reclaim-budget-us", "10").start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    for round in 0..3 {
        fill_group(&mut c, "dead", 2000);
        c.fill("live", &[]);
        assert_eq!(c.invalidate("dead"), 2000);
        replica.in_sync_with(&primary);
        // While its timer runs.
        c.must(&format!("REPLICAOF 127.0.0.1 {}", replica.port));
        replica.promote();
        primary.in_sync_with(&replica);
        let mut theirs = replica.client();
        reclaimed(&mut theirs);
        assert_eq!(dbsize(&mut theirs), 1);
        assert_agree(&replica, &primary);
        // And back: the timer runs again.
        fill_group(&mut theirs, "dead", 1000);
        theirs.invalidate("dead");
        primary.in_sync_with(&replica);
        primary.promote();
        reclaimed(&mut c);
        assert_eq!((dbsize(&mut c), c.code("live")), (1, "VALID".into()), "round {round}");
        replica.replicate(&primary);
        assert_agree(&primary, &replica);
    }
    assert_never_crashed(&primary);
}

#[test]
fn a_primary_that_has_become_a_replica_reclaims_no_more() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    let mut theirs = replica.client();
    if !(fill_and_invalidate(&mut c) && hold(&mut theirs)) {
        return;
    }
    replica.in_sync_with(&primary);
    replica.promote();
    primary.replicate(&replica);
    // The timer of before still runs.
    release(&mut c);
    let_pass(&mut c, 250);
    assert_eq!(dbsize(&mut c), MANY + 21);
    assert_agree(&replica, &primary);
    release(&mut theirs);
    assert_reclaimed(&replica);
    assert_agree(&replica, &primary);
    assert_reclaimed(&primary);
}

/// A replica is attached in the middle of the primary's reclaim, by a full resync.
#[track_caller]
fn resync_in_the_middle(of_primary: &str, of_replica: &str) {
    let primary = Server::builder().config(of_primary).start();
    let replica = Server::builder().config(of_replica).start();
    let mut c = primary.client();
    if !fill_and_invalidate(&mut c) {
        return;
    }
    fill_some(&mut c, "dead", 0..10);
    let mut theirs = replica.client();
    // What it has of its own, dead and live, is gone then.
    hold(&mut theirs);
    fill_group(&mut theirs, "old", 300);
    theirs.invalidate("old");
    fill_group(&mut theirs, "dead", 50);
    replica.replicate(&primary);
    assert_agree(&primary, &replica);
    assert_eq!(answers(&replica), answers(&primary));
    assert_eq!(valid_and_missing(&mut theirs, "dead", MANY), (10, MANY - 10));
    assert!(backlog(&mut theirs) >= (MANY - 10) as i64);
    // The tag lives on there: what came alive is killed by it.
    assert_eq!(c.invalidate("dead"), 10);
    assert_agree(&primary, &replica);
    release(&mut c);
    assert_reclaimed(&primary);
    assert_agree(&primary, &replica);
    assert_reclaimed(&replica);
    // Once more, and this time the replica ends it.
    replica.promote();
    theirs.must("FLUSHALL");
    hold(&mut c);
    fill_group(&mut c, "dead", MANY);
    c.invalidate("dead");
    replica.replicate(&primary);
    assert_agree(&primary, &replica);
    replica.promote();
    release(&mut theirs);
    assert_reclaimed(&replica);
}

#[test]
fn a_resync_from_disk_in_the_middle_raises_nothing_and_loses_nothing() {
    resync_in_the_middle("repl-diskless-sync no", "repl-diskless-load disabled");
}

#[test]
fn a_diskless_resync_in_the_middle_raises_nothing_and_loses_nothing() {
    resync_in_the_middle("repl-diskless-sync yes", "repl-diskless-load swapdb");
}

#[test]
fn a_partial_resync_in_the_middle_raises_nothing_and_loses_nothing() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    if !fill_and_invalidate(&mut c) {
        return;
    }
    for i in 0..3 {
        c.must("CLIENT KILL TYPE replica");
        fill_group(&mut c, "more", 300);
        assert_eq!(c.invalidate("more"), 300);
        fill_some(&mut c, "dead", i..i + 1);
        assert_agree(&primary, &replica);
    }
    assert_eq!(c.info("stats", "sync_full").as_deref(), Some("1"));
    assert_eq!(c.invalidate("dead"), 3);
    release(&mut c);
    assert_reclaimed(&primary);
    assert_agree(&primary, &replica);
}

#[test]
fn reclaim_waits_while_clients_are_paused() {
    for replicas in [0, 1] {
        let primary = Server::start();
        let replica = Server::start();
        if replicas == 1 {
            replica.replicate(&primary);
        }
        let mut c = primary.client();
        if !fill_and_invalidate(&mut c) {
            return;
        }
        let paused = |c: &mut Client, pause: &str| {
            for line in ["MULTI", pause, "APIKEY.DEBUG HOLD no", "EXEC"] {
                c.must(line);
            }
        };
        // One that ends by itself, and one that a client ends.
        paused(&mut c, "CLIENT PAUSE 300 ALL");
        assert_reclaimed(&primary);
        hold(&mut c);
        fill_group(&mut c, "dead", MANY);
        assert_eq!(c.invalidate("dead"), MANY as i64);
        paused(&mut c, "CLIENT PAUSE 60000 WRITE");
        let_pass(&mut c, 300);
        assert_eq!((dbsize(&mut c), backlog(&mut c)), (MANY + 21, MANY as i64));
        assert_eq!(valid_and_missing(&mut c, "dead", MANY), (0, MANY));
        c.must("CLIENT UNPAUSE");
        assert_reclaimed(&primary);
        if replicas == 1 {
            assert_agree(&primary, &replica);
        }
        assert_never_crashed(&primary);
    }
}

#[test]
fn a_failover_in_the_middle_of_a_reclaim_loses_nothing() {
    let a = Server::builder().setting("reclaim-budget-us", "10").start();
    let b = Server::builder().setting("reclaim-budget-us", "10").start();
    b.replicate(&a);
    let (mut primary, mut replica) = (&a, &b);
    for round in 0..4 {
        let mut c = primary.client();
        fill_group(&mut c, "dead", 2000);
        fill_group(&mut c, "live", 20);
        replica.in_sync_with(primary);
        // The replica is late, so that the primary pauses its clients until it has caught up.
        let mut slow = replica.client();
        slow.send(["DEBUG", "SLEEP", "0.3"]).expect("send");
        assert_eq!(c.invalidate("dead"), 2000);
        c.must(&format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 10000", replica.port));
        assert!(backlog(&mut c) > 0, "round {round}: it is in the middle");
        assert_eq!(slow.read().expect("a reply"), ok());
        let role = |c: &mut Client| c.info("replication", "role").expect("a line");
        let mut theirs = replica.client();
        eventually("the roles are exchanged", || {
            role(&mut theirs) == "master" && role(&mut c) == "slave"
        });
        (primary, replica) = (replica, primary);
        reclaimed(&mut theirs);
        assert_eq!(dbsize(&mut theirs), 20);
        assert_eq!(valid_and_missing(&mut theirs, "live", 20), (20, 0));
        assert_agree(primary, replica);
        assert_eq!(backlog(&mut c), 0);
    }
    for server in [primary, replica] {
        assert_never_crashed(server);
    }
    // No resync was a full one but the first.
    let full = |s: &Server| s.client().info("stats", "sync_full").expect("a line");
    assert_eq!((full(&a), full(&b)), ("1".into(), "0".into()));
}

#[test]
fn a_failover_of_a_cluster_in_the_middle_of_a_reclaim_loses_nothing() {
    let cluster = Cluster::of(1, 1, |_, builder| builder.setting("reclaim-budget-us", "10"));
    let (a, b) = (&cluster.primaries[0], &cluster.replicas[0][0]);
    let (mut c, mut theirs) = (a.client(), b.client());
    let is_up = |c: &mut Client| c.must("CLUSTER INFO").text().contains("cluster_state:ok");
    c.must("READONLY");
    theirs.must("READONLY");

    let check = |c: &mut Client| c.must("APIKEY.CHECK").get("found").clone();
    let (mut primary, mut replica) = (a, b);
    for round in 0..2 {
        eventually("the primary knows its replica", || {
            c.must("CLUSTER NODES").text().contains("slave")
        });
        fill_group(&mut c, "dead", 3000);
        fill_group(&mut c, "live", 20);
        replica.in_sync_with(primary);
        assert_eq!(c.invalidate("dead"), 3000);
        eventually("the replica may take over", || theirs.run("CLUSTER FAILOVER") == ok());
        assert!(backlog(&mut c) > 0, "round {round}: it is in the middle");
        let role = |c: &mut Client| c.info("replication", "role").expect("a line");
        eventually("the roles are exchanged", || {
            role(&mut theirs) == "master" && role(&mut c) == "slave"
        });
        (primary, replica) = (replica, primary);
        (c, theirs) = (theirs, c);
        reclaimed(&mut c);
        replica.in_sync_with(primary);
        for c in [&mut c, &mut theirs] {
            eventually("it is in the cluster", || is_up(c));
            assert_eq!((dbsize(c), backlog(c)), (20, 0));
            assert_eq!(valid_and_missing(c, "live", 20), (20, 0));
            assert_eq!(check(c), array([]));
        }
        assert_eq!(replica.digest(), primary.digest());
    }
    for server in [primary, replica] {
        assert_never_crashed(server);
        assert_nothing_was_refused(server);
    }
}

#[test]
fn a_shutdown_that_waits_for_a_replica_in_the_middle_of_a_reclaim_loses_nothing() {
    // 6.2 does not wait.
    let timeout = if kind() == Kind::Redis62 { "save \"\"" } else { "shutdown-timeout 10" };
    for save in [Stop::Save, Stop::NoSave] {
        let mut primary = Server::builder()
            .config(timeout)
            .setting("reclaim-budget-us", "10")
            .setting("trust-loaded", "yes")
            .start();
        let replica = Server::start();
        replica.replicate(&primary);
        let mut c = primary.client();
        fill_group(&mut c, "dead", 2000);
        fill_group(&mut c, "live", 20);
        replica.in_sync_with(&primary);
        // It lags: what is written now reaches it only after a while, and the primary waits for that.
        let mut slow = replica.client();
        slow.send(["DEBUG", "SLEEP", "0.4"]).expect("send");
        assert_eq!(c.invalidate("dead"), 2000);
        assert!(backlog(&mut c) > 0, "it is in the middle");
        primary.stop(save);
        assert_eq!(slow.read().expect("a reply"), ok());
        assert_never_crashed(&primary);
        let mut theirs = replica.client();
        eventually("the replica has seen it", || {
            theirs.info("replication", "master_link_status").as_deref() == Some("down")
        });
        assert_eq!(valid_and_missing(&mut theirs, "live", 20), (20, 0));
        if kind() != Kind::Redis62 {
            assert_eq!(valid_and_missing(&mut theirs, "dead", 2000), (0, 2000));
        }
        assert_exact(&replica);
        replica.promote();
        if kind() != Kind::Redis62 {
            reclaimed(&mut theirs);
            assert_eq!(dbsize(&mut theirs), 20);
        }
        assert_exact(&replica);
        if save == Stop::Save {
            primary.start_again();
            let mut c = primary.client();
            assert_eq!(valid_and_missing(&mut c, "dead", 2000), (0, 2000));
            reclaimed(&mut c);
            assert_eq!(dbsize(&mut c), 20);
            assert_eq!(valid_and_missing(&mut c, "live", 20), (20, 0));
            assert_exact(&primary);
        }
    }
}

#[test]
fn a_promoted_replica_that_is_not_to_be_trusted_misses_everything() {
    let primary = Server::start();
    let replica = Server::builder().setting("trust-promoted", "no").start();
    let last = Server::start();
    replica.replicate(&primary);
    last.replicate(&replica);
    let mut c = primary.client();
    if !fill_and_invalidate(&mut c) {
        return;
    }
    populate(&primary);
    fill_group(&mut c, "live", 600);
    replica.in_sync_with(&primary);
    let mut theirs = replica.client();
    assert_eq!(theirs.codes(["plain", "two", "live0"]), ["VALID"; 3], "while it is a replica");
    hold(&mut theirs);
    replica.promote();
    // At once, in every database; and counted as nothing.
    assert_eq!(valid_and_missing(&mut theirs, "live", 600), (0, 600));
    assert_eq!(valid_and_missing(&mut theirs, "dead", MANY), (0, MANY));
    assert_eq!(theirs.codes(["plain", "two", "off", "past"]), ["MISS"; 4]);
    assert_eq!(theirs.run("APIKEY.TAGS plain"), array([]));
    assert_eq!(theirs.run("APIKEY.INVAL plain"), int(0));
    assert!(backlog(&mut theirs) > 0);
    assert_exact(&replica);
    // New ones live, also under the old names, also where the old tag had been invalidated.
    theirs.fill("two", &["shared"]);
    theirs.fill("new", &["dead", "shared"]);
    assert_eq!(theirs.codes(["two", "new"]), ["VALID", "VALID"]);
    // A dead one stays dead over a rename, SWAPDB, save and load.
    theirs.must("SWAPDB 0 2");
    theirs.select(2);
    assert_eq!(theirs.codes(["live1", "two", "new"]), ["MISS", "VALID", "VALID"]);
    theirs.must("SWAPDB 0 2");
    theirs.select(0);
    assert_exact(&replica);
    release(&mut theirs);
    reclaimed(&mut theirs);
    assert_exact(&replica);
    assert_eq!(theirs.codes(["two", "new"]), ["VALID", "VALID"]);
    assert_eq!(theirs.usage("pending"), (10, 10));
    assert_eq!(theirs.usage("settled"), (0, 3));
    assert_eq!(theirs.usage("both"), (i64::MAX - 7, i64::MAX));
    assert_eq!(theirs.counts("leased"), (0, 4, 4));
    assert_eq!(dbsize(&mut theirs), 6, "two entries, four counters");
    theirs.select(1);
    assert_eq!((theirs.code("plain"), theirs.usage("pending")), ("MISS".into(), (1, 1)));
    assert_eq!(dbsize(&mut theirs), 1);
    // Its own replica has it all, by what was reclaimed.
    assert_agree(&replica, &last);
    theirs.select(0);
    assert_eq!(theirs.invalidate("shared"), 2);
    assert_agree(&replica, &last);
}

#[test]
fn a_node_that_was_not_to_be_trusted_when_promoted_saves_and_loads_the_dead_as_dead() {
    let primary = Server::start();
    let mut replica =
        Server::builder().setting("trust-promoted", "no").setting("trust-loaded", "yes").start();
    replica.replicate(&primary);
    let mut c = primary.client();
    fill_group(&mut c, "old", 300);
    replica.in_sync_with(&primary);
    let mut theirs = replica.client();
    if !hold(&mut theirs) {
        return;
    }
    replica.promote();
    fill_group(&mut theirs, "new", 30);
    fill_some(&mut theirs, "old", 0..5);
    theirs.must("DEBUG RELOAD");
    assert_eq!(valid_and_missing(&mut theirs, "old", 300), (5, 295));
    assert_eq!(dbsize(&mut theirs), 330, "held");
    assert_exact(&replica);
    replica.restart(Stop::Save);
    let mut theirs = replica.client();
    assert_eq!(valid_and_missing(&mut theirs, "old", 300), (5, 295));
    assert_eq!(valid_and_missing(&mut theirs, "new", 30), (30, 0));
    reclaimed(&mut theirs);
    assert_eq!(dbsize(&mut theirs), 35);
    assert_exact(&replica);
    // Promoted again, all that it has is dropped again.
    replica.client().must(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    replica.in_sync_with(&primary);
    assert_eq!(valid_and_missing(&mut theirs, "old", 300), (300, 0));
    replica.promote();
    assert_eq!(valid_and_missing(&mut theirs, "old", 300), (0, 300));
    reclaimed(&mut theirs);
    assert_eq!(dbsize(&mut theirs), 0);
    assert_exact(&replica);
}

#[test]
fn a_trusted_promotion_keeps_what_lives_and_only_that() {
    let primary = Server::start();
    let replica = Server::builder().setting("trust-promoted", "yes").start();
    replica.replicate(&primary);
    if !fill_and_invalidate(&mut primary.client()) {
        return;
    }
    replica.in_sync_with(&primary);
    // A primary that is a primary already is not promoted.
    primary.promote();
    assert_eq!(valid_and_missing(&mut primary.client(), "live", 20), (20, 0));
    replica.promote();
    assert_eq!(valid_and_missing(&mut replica.client(), "live", 20), (20, 0));
    assert_reclaimed(&replica);
}
