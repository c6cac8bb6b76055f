//! A server that refuses writes, or may have been replaced while it was stopped, does not vouch: what can't be
//! revoked is not VALID.

use crate::harness::server::kind;
use crate::harness::*;
use std::time::{Duration, Instant};

/// How long a look at the server is good.
const LEASE: Duration = Duration::from_millis(1000);

const MISSES: &str =
    "every read is a miss, since what is here may be revoked (serve-when-writes-refused is no)";
const GOES_ON: &str =
    "nothing can be revoked here, and reads go on (serve-when-writes-refused is yes)";
const STOPPED: &str =
    "this server was stopped for a while, and too few replicas have answered since";
const SAVE_FAILED: &str =
    "writes are refused: the last BGSAVE failed (stop-writes-on-bgsave-error)";
const AOF_FAILED: &str = "writes are refused: the AOF can't be written";
const NO_REPLICAS: &str =
    "writes are refused: min-replicas-to-write is 1, and replicas in touch are 0";

/// A key of each kind that can be read.
fn fill(server: &Server) -> Client {
    let mut c = server.client();
    c.fill("k", &["t"]);
    c.decide("scopes", "users read ALLOW", "");
    c.list("list", &[record("id", "u1")], "");
    c
}

const READS: [&str; 3] =
    ["APIKEY.VALIDATE k", "APIKEY.CHECKSCOPE scopes users read", "APIKEY.GETLIST list"];

/// Each read finds what was stored; whoever reads.
#[track_caller]
fn assert_serves(c: &mut Client) {
    assert_eq!(c.code("k"), "VALID");
    assert_eq!(READS.map(|read| code_of(&c.run(read))), ["UNVERIFIED", "ALLOW", "HIT"]);
    assert_eq!(c.must("APIKEY.HEALTH").get("vouches"), &int(1));
    assert_eq!(c.info("apikey_service", "apikey_vouches").as_deref(), Some("1"));
}

/// Each read is a miss with a token that no fill takes, in a transaction and in a script too.
#[track_caller]
fn assert_misses(c: &mut Client) {
    let miss = array([bulk("MISS"), bulk("0")]);
    for read in READS {
        assert_eq!(c.run(read), miss, "{read}");
        c.must("MULTI");
        c.must(read);
        assert_eq!(c.must("EXEC"), array([miss.clone()]), "{read}");
        let words: Vec<String> = args(read).iter().map(|word| format!("'{word}'")).collect();
        let script = format!("return redis.call({})", words.join(","));
        assert_eq!(c.cmd(["EVAL", &script, "0"]), miss, "{read}");
    }
    match c.run("APIKEY.TOKEN other") {
        // As every write, where the server itself refuses them.
        Reply::Error(why) => {
            assert!(why.starts_with("MISCONF ") || why.starts_with("NOREPLICAS "), "{why}");
        }
        token => assert_eq!(token, bulk("0")),
    }
    assert_eq!(c.must("APIKEY.HEALTH").get("vouches"), &int(0));
    assert_eq!(c.info("apikey_service", "apikey_vouches").as_deref(), Some("0"));
}

fn gives_tokens(c: &mut Client) -> bool {
    let token = c.run("APIKEY.TOKEN k");
    is_token(&token) && token != bulk("0")
}

#[track_caller]
fn reasons(c: &mut Client) -> Vec<String> {
    c.must("APIKEY.HEALTH").get("reasons").items().iter().map(Reply::text).collect()
}

/// The server refuses writes by this code, and VALIDATE, which has said VALID until then, says MISS from a look
/// later on.
#[track_caller]
fn becomes_silent(c: &mut Client, code: &str) {
    eventually(
        "writes are refused",
        || matches!(c.run("APIKEY.INVAL none"), Reply::Error(text) if text.starts_with(code)),
    );
    let refused = Instant::now();
    eventually("nothing is valid", || c.code("k") == "MISS");
    // A tenth of a second, and what a machine that is busy may add.
    assert!(refused.elapsed() < Duration::from_secs(1), "{:?}", refused.elapsed());
    assert_misses(c);
}

/// It takes writes again, and vouches for what it had, by itself.
#[track_caller]
fn recovers(c: &mut Client) {
    eventually("writes are taken", || c.run("APIKEY.INVAL none") == int(0));
    eventually("what was stored is valid", || c.code("k") == "VALID");
    assert_serves(c);
    assert_eq!(reasons(c), Vec::<String>::new());
}

#[track_caller]
fn save(c: &mut Client, status: &str) {
    eventually("a save ends so", || {
        c.run("BGSAVE");
        c.info("persistence", "rdb_last_bgsave_status").as_deref() == Some(status)
    });
}

/// A primary that wants a replica, which it has, with keys of each kind that both have.
fn pair() -> (Server, Server, Client) {
    // The lag is the default, 10 s: until it has passed the server itself finds nothing wrong, unless it sees
    // that the link was cut.
    let primary = Server::builder()
        .config("min-replicas-to-write 1")
        // Of itself it says nothing in its stream.
        .config("repl-ping-replica-period 3600")
        .start();
    let replica = Server::builder().replica_of(&primary).start();
    let mut c = primary.client();
    eventually("a replica is in touch", || c.run("APIKEY.INVAL none") == int(0));
    eventually("tokens are given", || gives_tokens(&mut c));
    let mut c = fill(&primary);
    assert_serves(&mut c);
    replica.in_sync_with(&primary);
    (primary, replica, c)
}

/// Passes time, which is what is tested.
fn pass(time: Duration) {
    let start = Instant::now();
    eventually("time passes", || start.elapsed() > time);
}

#[test]
fn while_a_failed_save_stops_writes_every_read_is_a_miss() {
    let server = Server::builder().config("save 3600 1000000").start();
    let mut c = fill(&server);
    assert_serves(&mut c);
    // The file can't come to its name, which root can't do either.
    let name = server.dir().join("dump.rdb");
    std::fs::create_dir_all(name.join("in the way")).expect("a directory");
    save(&mut c, "err");
    becomes_silent(&mut c, "MISCONF ");
    assert_eq!(reasons(&mut c), [SAVE_FAILED, MISSES]);
    let misses = c.must("APIKEY.HEALTH").get("misses").int();
    assert_eq!(c.code("k"), "MISS");
    assert_eq!(c.must("APIKEY.HEALTH").get("misses"), &int(misses), "no miss of the cache");
    // Where it does not stop them, nothing is amiss.
    for (setting, without, with) in
        [("stop-writes-on-bgsave-error", "no", "yes"), ("save", "", "3600 1000000")]
    {
        assert_eq!(c.cmd(["CONFIG", "SET", setting, without]), ok());
        recovers(&mut c);
        assert_eq!(c.cmd(["CONFIG", "SET", setting, with]), ok());
        becomes_silent(&mut c, "MISCONF ");
    }
    std::fs::remove_dir_all(name).expect("it goes");
    save(&mut c, "ok");
    recovers(&mut c);
    assert_exact(&server);
}

#[test]
fn where_config_cannot_be_asked_a_failed_save_is_taken_to_stop_writes() {
    let server =
        Server::builder().config("save 3600 1000000").config("rename-command CONFIG \"\"").start();
    let mut c = fill(&server);
    let name = server.dir().join("dump.rdb");
    std::fs::create_dir_all(name.join("in the way")).expect("a directory");
    save(&mut c, "err");
    becomes_silent(&mut c, "MISCONF ");
    assert_eq!(reasons(&mut c), [SAVE_FAILED, MISSES]);
    std::fs::remove_dir_all(name).expect("it goes");
    save(&mut c, "ok");
    recovers(&mut c);
}

#[test]
fn while_the_aof_cannot_be_written_every_read_is_a_miss() {
    let server = Server::builder().config("appendonly yes").start();
    let mut c = fill(&server);
    assert_serves(&mut c);
    for _ in 0..2 {
        server.bound_files(Some(0));
        // This one was taken, and is what can't be written.
        c.must("SET some write");
        becomes_silent(&mut c, "MISCONF ");
        assert_eq!(reasons(&mut c), [AOF_FAILED, MISSES]);
        server.bound_files(None);
        recovers(&mut c);
    }
    // What can't be written no longer matters where nothing is.
    server.bound_files(Some(0));
    c.must("SET some write");
    becomes_silent(&mut c, "MISCONF ");
    c.must("CONFIG SET appendonly no");
    recovers(&mut c);
}

#[test]
fn while_replicas_are_wanting_every_read_is_a_miss() {
    let primary = Server::builder()
        .config("min-replicas-to-write 1")
        .config("min-replicas-max-lag 1")
        .start();
    let mut c = primary.client();
    assert_eq!(c.run("APIKEY.VALIDATE k"), array([bulk("MISS"), bulk("0")]), "from its start on");
    let mut replica = Server::builder().replica_of(&primary).start();
    eventually("a replica is in touch", || c.run("APIKEY.INVAL none") == int(0));
    eventually("tokens are given", || gives_tokens(&mut c));
    fill(&primary);
    assert_serves(&mut c);

    // It is silent, and its link is there.
    replica.freeze();
    becomes_silent(&mut c, "NOREPLICAS ");
    assert_eq!(reasons(&mut c), [NO_REPLICAS, MISSES]);
    replica.wake();
    recovers(&mut c);

    replica.stop(server::Stop::Kill);
    becomes_silent(&mut c, "NOREPLICAS ");
    replica.start_again();
    recovers(&mut c);

    // A number that is not met, and none.
    c.must("CONFIG SET min-replicas-to-write 2");
    becomes_silent(&mut c, "NOREPLICAS ");
    c.must("CONFIG SET min-replicas-to-write 0");
    recovers(&mut c);
    assert_exact(&primary);
}

#[test]
fn a_primary_that_wakes_after_its_replica_was_promoted_says_valid_to_nobody() {
    let (primary, replica, mut c) = pair();

    let mut others: Vec<Client> = (0..20).map(|_| primary.client()).collect();
    others.iter_mut().for_each(|c| assert_eq!(c.code("k"), "VALID"));
    primary.freeze();
    let frozen = Instant::now();
    replica.promote();
    let mut theirs = replica.client();
    assert_eq!(theirs.code("k"), "VALID");
    assert_eq!(theirs.invalidate("t"), 1);
    pass((LEASE + LEASE / 5).saturating_sub(frozen.elapsed()));
    // They wait in its connections, and come to it before anything else does.
    for c in &mut others {
        for _ in 0..20 {
            c.send(["APIKEY.VALIDATE", "k", "SECRET", SECRET]).expect("it is sent");
        }
    }
    primary.wake();
    for mut c in others {
        for _ in 0..20 {
            assert_eq!(code_of(&c.read().expect("an answer")), "MISS");
        }
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(c.code("k"), "MISS");
    }
    becomes_silent(&mut c, "NOREPLICAS ");
    assert!(reasons(&mut c).contains(&NO_REPLICAS.into()));

    // The new primary is asked for its word: what was here goes, and it is a replica like any other.
    primary.replicate(&replica);
    assert_eq!(c.code("k"), "MISS");
    theirs.fill("new", &[]);
    primary.in_sync_with(&replica);
    eventually("it is served", || c.code("new") == "VALID");
}

#[test]
fn what_replicas_have_said_before_a_primary_wakes_does_not_count() {
    let (primary, replica, mut c) = pair();

    // The replica goes on for a while, so that its words wait for the primary; then nobody hears of it: as one
    // that was promoted behind a cut of the network.
    primary.freeze();
    pass(LEASE * 5 / 2);
    replica.freeze();
    primary.wake();
    for _ in 0..100 {
        assert_eq!(c.code("k"), "MISS");
    }
    assert_misses(&mut c);
    assert_eq!(reasons(&mut c), [STOPPED, MISSES]);
    assert_eq!(c.run("APIKEY.INVAL none"), int(0), "the server itself has seen nothing");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(c.code("k"), "MISS");
    }
    assert_eq!(reasons(&mut c), [STOPPED, MISSES]);
    // It was there all the time.
    replica.wake();
    recovers(&mut c);
}

#[test]
fn a_primary_that_was_stopped_and_was_not_replaced_vouches_again_by_itself() {
    let (primary, replica, mut c) = pair();
    for _ in 0..2 {
        primary.freeze();
        pass(LEASE + LEASE / 5);
        primary.wake();
        assert_eq!(c.code("k"), "MISS");
        // With nobody writing.
        eventually("it vouches", || c.code("k") == "VALID");
        recovers(&mut c);
    }
    // A long command is no different.
    if has_debug_command(&mut c) {
        c.must("DEBUG SLEEP 1.2");
        assert_eq!(c.code("k"), "MISS");
        recovers(&mut c);
    }
    // The word that it says is one that replicas know.
    replica.in_sync_with(&primary);
    assert_nothing_was_refused(&replica);
    assert_eq!(reasons(&mut replica.client()), Vec::<String>::new());
    assert_eq!(replica.client().code("k"), "VALID");
}

#[test]
fn where_no_replicas_are_wanted_a_stop_is_not_noticed() {
    let primary = Server::start();
    let mut c = fill(&primary);
    primary.freeze();
    pass(LEASE + LEASE / 5);
    primary.wake();
    assert_eq!(c.code("k"), "VALID");
}

#[test]
fn a_replica_says_what_its_primary_says_whatever_its_own_disk_and_replicas_are() {
    let primary = Server::start();
    let replica = Server::builder()
        .config("save 3600 1000000")
        .config("min-replicas-to-write 1")
        .replica_of(&primary)
        .start();
    let mut c = replica.client();
    fill(&primary);
    replica.in_sync_with(&primary);
    let name = replica.dir().join("dump.rdb");
    let _ = std::fs::remove_file(&name);
    std::fs::create_dir_all(name.join("in the way")).expect("a directory");
    save(&mut c, "err");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        assert_eq!(c.code("k"), "VALID");
    }
    assert_eq!(reasons(&mut c), Vec::<String>::new());
    // As a primary it can't be told of a revocation.
    replica.promote();
    becomes_silent(&mut c, "");
    assert_eq!(reasons(&mut c), [SAVE_FAILED, NO_REPLICAS, MISSES]);
}

#[test]
fn a_former_primary_that_is_a_replica_without_data_yet_answers_nobody_where_it_is_told_so() {
    let server = Server::builder().config("replica-serve-stale-data no").start();
    let mut c = fill(&server);
    c.must("REPLICAOF 127.0.0.1 1");
    assert!(c.code("k").starts_with("MASTERDOWN "));
}

#[test]
fn with_serve_when_writes_refused_reads_go_on_and_health_says_so() {
    let primary = Server::builder().setting("serve-when-writes-refused", "yes").start();
    let mut c = fill(&primary);
    c.must("CONFIG SET min-replicas-to-write 1");
    assert!(c.run("APIKEY.INVAL none").text().starts_with("NOREPLICAS "));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        assert_eq!(c.code("k"), "VALID");
    }
    assert_serves(&mut c);
    assert_eq!(reasons(&mut c), [NO_REPLICAS, GOES_ON]);
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("unhealthy"));
    if kind().has_module_config() {
        c.must("CONFIG SET apikey.serve-when-writes-refused no");
        assert_misses(&mut c);
        c.must("CONFIG SET apikey.serve-when-writes-refused yes");
        assert_serves(&mut c);
    }
}

/// Whatever it is refused for: who waits for what its reader was to load may try.
#[test]
fn a_fill_of_a_region_that_is_refused_leaves_nobody_waiting() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    c.must("CACHE.REGION SET r LEASE 600000");
    let ask = |c: &mut Client, key: &str| c.must(&format!("CACHE.GET {key} r"));
    let lease = |c: &mut Client, key: &str| {
        let reply = ask(c, key);
        assert_eq!(code_of(&reply), "MISS", "{key}");
        assert_eq!(code_of(&ask(c, key)), "WAIT", "{key}");
        reply.items()[1].text()
    };
    let token = lease(&mut c, "tag");
    c.must("APIKEY.TAGINVAL t");
    assert_eq!(c.run(&format!("CACHE.SET tag r v TOKEN {token} TAGS 1 t")), nil());
    lease(&mut c, "tag");

    let token = lease(&mut c, "xx");
    assert_eq!(c.run(&format!("CACHE.SET xx r v TOKEN {token} XX")), nil());
    lease(&mut c, "xx");

    for setting in ["enabled", "writes-enabled"] {
        let token = lease(&mut c, setting);
        c.must(&format!("CONFIG SET apikey.{setting} no"));
        assert_eq!(c.run(&format!("CACHE.SET {setting} r v TOKEN {token}")), nil());
        c.must(&format!("CONFIG SET apikey.{setting} yes"));
        lease(&mut c, setting);
    }
}
