//! Agreement: a replica holds what its primary holds, however it got it, and so it does when promoted.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::server::{kind, Stop};
use crate::harness::streams::{find, Tap};
use crate::harness::*;
use crate::model::{Model, Reclaim};
use crate::persistence::{fill_up_to_the_limits, switched_off, with_small_limits};
use crate::reclaim::{fill_group, valid_and_missing};

/// The replica gives the answers that the primary gives, has the same digest and an exact index.
#[track_caller]
pub fn assert_agree(primary: &Server, replica: &Server) {
    replica.in_sync_with(primary);
    assert_eq!(answers(replica), answers(primary));
    assert_eq!(replica.digest(), primary.digest());
    assert_nothing_was_refused(replica);
    assert_exact(primary);
    assert_exact(replica);
}

/// A full resync of a replica that had data of its own, and then of one that writes go on for.
#[track_caller]
fn full_resync(primary: &[&str], replica: &[&str]) {
    let with = |lines: &[&str]| lines.iter().fold(Server::builder(), |b, line| b.config(line));
    let primary = with(primary).start();
    let replica = with(replica).start();
    populate(&primary);
    let mut theirs = primary.client();
    if !hold(&mut theirs) {
        return;
    }
    theirs.must("COPY plain dead");
    // What the replica had is not what it will have, under the same names and tags.
    let mut old = replica.client();
    for db in [0, 1, 2] {
        old.select(db);
        for key in ["plain", "both", "old"] {
            old.fill(key, &["shared", "old"]);
        }
        old.count("pending", 1000);
        old.count("only-here", 1);
    }
    replica.replicate(&primary);
    assert_agree(&primary, &replica);
    theirs.fill("later", &["shared", "later"]);
    theirs.count("pending", 1);
    assert_eq!(theirs.invalidate("plain"), 1);
    assert_agree(&primary, &replica);

    replica.promote();
    assert_exact(&replica);
    for server in [&primary, &replica] {
        let mut c = server.client();
        assert_eq!(c.invalidate("old"), 0);
        assert_eq!(c.invalidate("kinds"), 4); // decided, decided-ns, listed, no-keys
        assert_eq!(c.invalidate("shared"), 5); // rich, none, binary, persisted, later
        assert_eq!(
            c.flush_usage(),
            [("both".to_string(), i64::MAX - 7), ("pending".to_string(), 6)]
        );
        assert_exact(server);
    }
    release(&mut theirs);
    reclaimed(&mut theirs);
    reclaimed(&mut replica.client());
    assert_eq!(replica.digest(), primary.digest());
}

#[test]
fn a_replica_agrees_after_a_resync_from_disk() {
    full_resync(&["repl-diskless-sync no"], &["repl-diskless-load disabled"]);
}

#[test]
fn a_replica_agrees_after_a_diskless_resync() {
    full_resync(&["repl-diskless-sync yes"], &["repl-diskless-load disabled"]);
}

#[test]
fn a_replica_agrees_after_a_resync_that_swaps_the_databases() {
    full_resync(&["repl-diskless-sync yes"], &["repl-diskless-load swapdb"]);
}

#[test]
fn a_replica_agrees_after_a_resync_over_two_connections() {
    let line = match kind() {
        Kind::Redis82 => "repl-rdb-channel yes",
        Kind::Valkey91 => "dual-channel-replication-enabled yes",
        _ => return, // they have none
    };
    full_resync(&[line, "repl-diskless-sync yes"], &[line]);
}

/// Lets the primary die in the middle of a full resync. What the replica then has is the server's
/// affair: nothing, or what it had before. The index has to be that of it.
#[track_caller]
fn broken_resync(load: &str, has_data: bool) {
    let mut primary = Server::builder()
        .config("repl-diskless-sync yes")
        .config("rdb-key-save-delay 5000")
        .config("rdbcompression no")
        .start();
    let mut replica = Server::builder().config(&format!("repl-diskless-load {load}"));
    if kind() != Kind::Redis62 {
        // While it loads it answers, on 6.2 every 2 MB.
        replica = replica.config("loading-process-events-interval-bytes 1024");
    }
    let replica = replica.start();
    let mut theirs = primary.client();
    let lines: Vec<String> = (0..400)
        .map(|i| {
            // Large enough not to wait in the buffers in between.
            let scopes = vec![format!("\"{}\"", "s".repeat(200)); 40];
            let record = format!(
                r#"{{"id":"{i}","user_id":"u","is_active":true,"scopes":[{}]}}"#,
                scopes.join(",")
            );
            format!("APIKEY.SETVAL e{i} {record} SECRET {SECRET} TAGS 1 shared")
        })
        .collect();
    assert_eq!(theirs.pipeline(&lines), vec![ok(); 400]);
    let mut c = replica.client();
    if has_data {
        populate(&replica);
        // And some that are dead and wait.
        hold(&mut c);
        fill_group(&mut c, "gone", 300);
        assert_eq!(c.invalidate("gone"), 300);
    }
    c.must(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    eventually("the replica receives or loads", || {
        let log = replica.log();
        if log.contains("EOF to disk") {
            return true;
        }
        let loaded = c.info("persistence", "loading_loaded_bytes");
        loaded.is_some_and(|bytes| bytes.parse::<u64>().expect("a number") > 100_000)
    });
    primary.stop(Stop::Kill);
    eventually("the replica has given up", || c.run("PING") == simple("PONG"));
    c.must("REPLICAOF NO ONE");
    assert_exact(&replica);
    // What shows the tag is what TAGINVAL kills.
    let mut alive = 0;
    for key in c.must("KEYS *").items() {
        match c.cmd([b"APIKEY.TAGS".as_slice(), key.bytes()]) {
            Reply::Array(tags) => alive += i64::from(tags.contains(&bulk("shared"))),
            other => assert!(other.is_error(), "{other:?}"), // a counter
        }
    }
    assert_eq!(c.invalidate("shared"), alive);
    assert_exact(&replica);
    assert_eq!(valid_and_missing(&mut c, "gone", 300), (0, 300));
    if has_debug_command(&mut c) {
        release(&mut c);
    }
    reclaimed(&mut c);
    assert_eq!(c.must("KEYS gone*"), array([]));
    assert_exact(&replica);
    c.must("FLUSHALL");
    populate(&replica);
    assert_exact(&replica);
    assert_eq!(c.invalidate("shared"), 5);
    assert_exact(&replica);
    // And the next one comes whole.
    let other = Server::start();
    populate(&other);
    fill_group(&mut other.client(), "many", 300);
    replica.replicate(&other);
    assert_agree(&other, &replica);
    assert_eq!(valid_and_missing(&mut c, "many", 300), (300, 0));
}

#[test]
fn a_resync_that_breaks_off_leaves_an_exact_index() {
    broken_resync("disabled", true);
}

#[test]
fn a_resync_into_an_empty_replica_that_breaks_off_leaves_an_exact_index() {
    broken_resync("on-empty-db", false);
}

#[test]
fn a_resync_that_swaps_the_databases_and_breaks_off_leaves_an_exact_index() {
    broken_resync("swapdb", true);
}

#[test]
fn writes_arrive_resolved_and_independent_of_the_settings_of_the_replica() {
    let primary = Server::builder().setting("extra-fields", "plan").start();
    let replica = with_small_limits(Server::builder()).start();
    let mut c = primary.client();
    if !hold(&mut c) {
        return;
    }
    replica.replicate(&primary);
    populate(&primary);
    fill_up_to_the_limits(&primary);
    assert_agree(&primary, &replica);

    let set =
        |how: &str| format!("APIKEY.SETVAL plain {} SECRET {SECRET} {how}", record("new", "u9"));
    // Refused ones do nothing there either.
    assert_eq!(c.run(&set("NX EX 10")), nil());
    assert!(c.run(&set("EX 0")).is_error());
    assert_agree(&primary, &replica);
    for how in ["XX", "XX KEEPTTL", "EX 77", "TAGS 1 t", "NS other:", "KEEPTTL"] {
        assert_eq!(c.run(&set(how)), ok(), "{how}");
        assert_agree(&primary, &replica);
    }
    c.must("COPY plain twin");
    c.must("MOVE two 2");
    c.must("SWAPDB 1 3");
    assert_agree(&primary, &replica);
    c.must("APIKEY.TAGINVAL shared rich nothing");
    c.must("APIKEY.USAGE.TAKE both none pending");
    c.count("pending", 4);
    assert_agree(&primary, &replica);
    c.select(3);
    c.must("APIKEY.USAGE.FLUSH COUNT 1");
    c.must("FLUSHDB");
    assert_agree(&primary, &replica);
    // As much survives a resync: the value holds it all.
    replica.promote();
    replica.client().must("FLUSHALL");
    replica.replicate(&primary);
    assert_agree(&primary, &replica);
}

#[test]
fn a_replica_stores_what_arrives_also_where_clients_may_not() {
    let primary = Server::start();
    let replica = switched_off(Server::builder()).start();
    replica.replicate(&primary);
    populate(&primary);
    replica.in_sync_with(&primary);
    assert_eq!(replica.client().code("plain"), "MISS");
    assert_eq!(replica.digest(), primary.digest());
    assert_exact(&replica);
    if kind().has_module_config() {
        replica.client().must("CONFIG SET apikey.enabled yes");
        assert_agree(&primary, &replica);
    }
    assert_nothing_was_refused(&replica);
}

#[test]
fn an_expiry_that_no_option_could_give_arrives_with_keepttl() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    let set = format!("APIKEY.SETVAL k {} SECRET {SECRET} TAGS 1 new KEEPTTL", record("new", "u9"));
    // Later than PXAT and EX may say.
    for at in [900_000_000_000_000_i64, 9_000_000_000_000_000, i64::MAX] {
        c.fill("k", &["old"]);
        assert_eq!(c.run(&format!("PEXPIREAT k {at}")), int(1));
        assert_eq!(c.run(&set), ok());
        assert!(c.must("PTTL k").int() > 800_000_000_000_000);
        assert_agree(&primary, &replica);
        assert_eq!(replica.client().code("k"), "VALID");
        assert_eq!(replica.client().run("APIKEY.TAGS k").items().len(), 4);
    }
    assert_eq!(c.invalidate("old"), 0);
    assert_eq!(c.invalidate("new"), 1);
    assert_agree(&primary, &replica);
}

#[test]
fn transactions_and_scripts_arrive_as_they_ran() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    populate(&primary);
    let mut c = primary.client();
    let set = format!("APIKEY.SETVAL m {} SECRET {SECRET} EX 50 TAGS 1 t", record("m", "u1"));
    c.must("MULTI");
    for line in [&set, "APIKEY.USAGE.INCR pending", "APIKEY.USAGE.FLUSH", "APIKEY.TAGINVAL rich"] {
        c.must(line);
    }
    c.must("EXEC");
    assert_agree(&primary, &replica);
    let script = r#"
        redis.call('APIKEY.SETVAL', KEYS[1], ARGV[1], 'SECRET', ARGV[2], 'TAGS', 1, 't')
        redis.call('APIKEY.USAGE.INCR', KEYS[2])
        redis.call('APIKEY.USAGE.FLUSH')
        return redis.call('APIKEY.TAGINVAL', 'plain')
    "#;
    let reply = c.cmd(["EVAL", script, "2", "s", "pending", &record("s", "u1"), SECRET]);
    assert_eq!(reply, int(1));
    assert_agree(&primary, &replica);
    assert_eq!(replica.client().codes(["m", "s"]), ["VALID", "VALID"]);
}

#[test]
fn the_stream_names_times_and_digests_and_no_secret() {
    let server = Server::start();
    let mut stream = Tap::replication(server.port);
    let mut c = server.client();
    let set = |how: &str| format!("APIKEY.SETVAL k {} {how}", record("id", "u1"));
    for how in [
        format!("EX 1000 SECRET {SECRET}"),
        format!("SECRET {SECRET} TAGS 1 mine NS acme:"),
        format!("KEEPTTL XX SECRET {SECRET}"),
    ] {
        stream.clear();
        c.must(&set(&how));
        c.must("PUBLISH end of-the-command");
        let sent = stream.until(b"of-the-command").to_vec();
        let text = sent.to_ascii_lowercase();
        let has = |part: &str| find(&text, part.to_lowercase().as_bytes()).is_some();
        let digest: Vec<u8> = (0..DIGEST.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&DIGEST[at..at + 2], 16).expect("hex digits"))
            .collect();
        let before = b"\r\napikey.stored\r\n$1\r\nk\r\n";
        let at = find(&text, before).unwrap_or_else(|| panic!("{how}: {}", stream.text()));
        // The value behind its length begins with the time.
        let value = &sent[at + before.len()..];
        let value = &value[find(value, b"\n").expect("a length") + 1..];
        let time = u64::from_le_bytes(value[..8].try_into().expect("8 bytes")).into();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        assert!((now..=now + 1_000_000).contains(&time), "{how}: {}", stream.text());
        assert!(find(&text, &digest.to_ascii_lowercase()).is_some(), "{how}: {}", stream.text());
        for never in [SECRET, "\r\nSECRET\r\n", "\r\nEX\r\n", "\r\nKEEPTTL\r\n", "\r\nXX\r\n"] {
            assert!(!has(never), "{how} has {never}: {}", stream.text());
        }
        assert_eq!(has("mine"), how.contains("mine"), "{}", stream.text());
    }
    // The one without a digest, and one without a time.
    c.must("PERSIST k");
    stream.clear();
    c.must(&set("KEEPTTL"));
    c.count("counter", 5);
    c.must("APIKEY.USAGE.FLUSH COUNT 10");
    c.count("counter", 5);
    let batch = c.lease();
    c.nack(&batch);
    c.ack(&batch);
    c.must("APIKEY.TAGINVAL apikey:user:u1");
    c.must("PUBLISH end of-it-all");
    let text = stream.until(b"of-it-all").to_ascii_lowercase();
    let has = |part: &[u8]| find(&text, part).is_some();
    assert!(!has(b"\r\npxat\r\n"), "{}", stream.text());
    assert!(!has(b"flush"), "{}", stream.text());
    assert!(has(b"\r\napikey.usage.take\r\n"), "{}", stream.text());
    assert!(has(b"\r\napikey.killed\r\n$1\r\n1\r\n$14\r\napikey:user:u1\r\n$1\r\nk\r\n"));
    assert!(!has(b"\r\napikey.usage.lease\r\n"), "{}", stream.text());
    for command in ["leased", "nack", "ack"] {
        let named = format!("\r\napikey.usage.{command}\r\n$32\r\n{}\r\n", batch.id);
        assert!(has(named.as_bytes()), "{named}: {}", stream.text());
    }
    let line = format!("\r\ncounter\r\n$32\r\n{}\r\n", batch.lines[0].id);
    assert!(has(line.as_bytes()), "{}", stream.text());
}

#[test]
fn a_replica_tells_its_listeners_of_every_record_that_arrives() {
    let (primary, replica) = (Server::start(), Server::start());
    replica.replicate(&primary);
    let (mut c, mut listener) = (primary.client(), replica.client());
    listener.must("CONFIG SET notify-keyspace-events KEA");
    listener.must("PSUBSCRIBE __keyspace@0__:k");
    let mut events = |count| -> Vec<String> {
        (0..count).map(|_| listener.read().expect("a message").items()[3].text()).collect()
    };
    let set = |how: &str| format!("APIKEY.SETVAL k {} {how}", record("id", "u1"));
    c.must(&set("EX 100"));
    assert_eq!(events(2), ["apikey.setval", "expire"]);
    c.must("PERSIST k");
    assert_eq!(events(1), ["persist"]);
    // Without a time.
    c.must(&set("KEEPTTL"));
    assert_eq!(events(1), ["apikey.setval"]);
    assert_agree(&primary, &replica);
    assert_eq!(replica.client().must("PTTL k"), int(-1));
}

#[test]
fn what_did_nothing_is_not_replicated() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &["t"]);
    c.count("u", 1);
    c.must("APIKEY.USAGE.FLUSH");
    c.count("leased", 1);
    let (open, settled) = (c.lease(), "1".repeat(32));
    let mut stream = Tap::replication(server.port);
    stream.clear();
    let set = format!("APIKEY.SETVAL k {} SECRET {SECRET}", record("id", "u1"));
    for line in [
        &format!("{set} NX"),
        &format!("{set} TOKEN 0"),
        "APIKEY.TOKEN k",
        "APIKEY.USAGE.FLUSH",
        "APIKEY.USAGE.LEASE 1000",
        &format!("APIKEY.USAGE.ACK {settled}"),
        &format!("APIKEY.USAGE.NACK {settled}"),
        "APIKEY.USAGE.GET u",
        "APIKEY.USAGE.GET none",
        "APIKEY.VALIDATE k",
        "APIKEY.TAGS k",
        "APIKEY.TAGCARD apikey:kind:record",
        "APIKEY.TAGSCAN apikey:kind:record 0",
        "APIKEY.DESCRIBE k",
        "APIKEY.VALIDATE k SECRET wrong",
        "APIKEY.LOG",
        "APIKEY.LOG RESET",
        "APIKEY.CHECK",
        "APIKEY.HEALTH",
    ] {
        c.must(line);
    }
    assert!(c.run(&format!("{set} NO")).is_error());
    assert!(c.run("APIKEY.USAGE.INCR k").is_error());
    assert!(c.run("APIKEY.INVAL k u").is_error());
    assert!(c.run(&format!("APIKEY.USAGE.ACK {} x", open.id)).is_error());
    c.must("PUBLISH end of-it-all");
    stream.until(b"of-it-all");
    let text = stream.seen().to_ascii_lowercase();
    assert_eq!(find(&text, b"apikey"), None, "{}", stream.text());
}

#[test]
fn a_replica_answers_reads_and_refuses_writes() {
    let primary = Server::start();
    let replica = Server::start();
    populate(&primary);
    replica.replicate(&primary);
    let mut c = replica.client();
    assert_eq!(c.code("plain"), "VALID");
    assert_eq!(c.code("nothing"), "MISS");
    assert_eq!(c.usage("pending"), (5, 5));
    for line in [
        &format!("APIKEY.SETVAL k {}", record("id", "u")),
        "APIKEY.INVAL plain",
        "APIKEY.TAGINVAL shared",
        "APIKEY.USAGE.INCR pending",
        "APIKEY.USAGE.TAKE pending",
        "APIKEY.USAGE.FLUSH",
        "APIKEY.USAGE.LEASE 1000",
        "APIKEY.USAGE.ACK 11111111111111111111111111111111",
        "APIKEY.USAGE.NACK 11111111111111111111111111111111",
    ] {
        let reply = c.run(line);
        assert!(reply.is_error() && reply.text().starts_with("READONLY"), "{line}: {reply:?}");
    }
    assert_agree(&primary, &replica);
}

#[test]
fn what_expired_is_a_miss_on_a_replica_before_the_primary_says_so() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut theirs = primary.client();
    theirs.must("DEBUG SET-ACTIVE-EXPIRE 0");
    theirs.fill("short", &["t"]);
    theirs.fill("long", &["t"]);
    theirs.must("PEXPIRE short 50");
    let mut c = replica.client();
    replica.in_sync_with(&primary);
    eventually("it has expired", || c.code("short") == "MISS");
    assert_exact(&replica);
    assert_exact(&primary);
    assert_eq!(theirs.invalidate("t"), 1);
    assert_agree(&primary, &replica);
    assert_eq!(c.run("DBSIZE"), theirs.run("DBSIZE"));
}

#[test]
fn a_promoted_replica_keeps_entries_and_counters_and_goes_on() {
    let primary = Server::start();
    let replica = Server::start();
    populate(&primary);
    replica.replicate(&primary);
    let before = answers(&primary);
    replica.promote();
    assert_eq!(answers(&replica), before);
    assert_exact(&replica);
    let mut c = replica.client();
    c.fill("new", &["shared"]);
    c.count("pending", 1);
    assert_eq!(c.invalidate("shared"), 6);
    assert_exact(&replica);
    // The former primary follows it now.
    primary.replicate(&replica);
    assert_agree(&replica, &primary);
    c.fill("again", &["shared"]);
    assert_agree(&replica, &primary);
    // And once more the other way round, with the primary's link cut in between.
    primary.promote();
    assert_eq!(primary.client().invalidate("shared"), 1);
    assert_exact(&primary);
}

#[test]
fn a_replica_whose_link_broke_goes_on_where_it_was() {
    let primary = Server::start();
    let replica = Server::start();
    populate(&primary);
    replica.replicate(&primary);
    let mut c = primary.client();
    for i in 0..2 {
        c.must("CLIENT KILL TYPE replica");
        c.fill(&format!("k{i}"), &["t", "shared"]);
        c.count("pending", 1);
        c.must("APIKEY.TAGINVAL rich plain");
        assert_agree(&primary, &replica);
    }
    assert_eq!(c.info("stats", "sync_full").as_deref(), Some("1"));
}

#[test]
fn a_server_that_starts_as_a_replica_trusts_what_it_loads() {
    let mut primary = Server::start();
    populate(&primary);
    let mut replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let before = answers(&primary);
    primary.stop(Stop::Kill);
    // Nobody else may come to live at its port.
    let _held = TcpListener::bind(("127.0.0.1", primary.port)).expect("the port");
    replica.restart(Stop::Save);
    assert_eq!(answers(&replica), before);
    assert_exact(&replica);
    replica.promote();
    assert_eq!(answers(&replica), before);
    assert_exact(&replica);
    assert_eq!(replica.client().invalidate("shared"), 5);
    assert_exact(&replica);
}

#[test]
fn a_replica_in_a_cluster_trusts_what_it_loads() {
    let builder = || {
        Server::builder()
            .config("cluster-enabled yes")
            .config("cluster-node-timeout 2000")
            .config("databases 1")
    };
    let primary = builder().start();
    let mut replica = builder().start();
    let mut theirs = primary.client();
    if !hold(&mut theirs) {
        return;
    }
    let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
    theirs.must(&format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
    let mut ours = replica.client();
    ours.must(&format!("CLUSTER MEET 127.0.0.1 {}", primary.port));
    let id = theirs.must("CLUSTER MYID").text();
    eventually("it knows the primary", || ours.run(&format!("CLUSTER REPLICATE {id}")) == ok());
    let is_up = |c: &mut Client| c.must("CLUSTER INFO").text().contains("cluster_state:ok");
    eventually("the cluster is up", || is_up(&mut theirs) && is_up(&mut ours));
    replica.in_sync_with(&primary);

    for key in ["a", "b", "c"] {
        theirs.fill(key, &["shared", key]);
    }
    theirs.fill("{a}c", &["shared"]);
    theirs.must("RENAME {a}c {a}d");
    theirs.count("pending", 5);
    let seen = |server: &Server| {
        let mut c = server.client();
        c.must("READONLY");
        let tags = c.must("APIKEY.TAGS a");
        (c.codes(["a", "b", "c", "{a}d"]), tags, c.usage("pending"), server.digest())
    };
    let assert_same = |primary: &Server, replica: &Server| {
        replica.in_sync_with(primary);
        assert_eq!(seen(replica), seen(primary));
        for server in [primary, replica] {
            let mut c = server.client();
            assert_eq!(c.must("APIKEY.CHECK").get("found"), &array([]));
        }
        assert_nothing_was_refused(replica);
    };
    assert_same(&primary, &replica);
    replica.restart(Stop::Save);
    let mut ours = replica.client();
    eventually("it is in the cluster again", || is_up(&mut ours));
    assert_same(&primary, &replica);
    assert_eq!(seen(&replica).0, ["VALID", "VALID", "VALID", "MISS"]);
    assert_eq!(theirs.info("stats", "sync_full").as_deref(), Some("1"));
    theirs.fill("later", &["shared"]);
    assert_eq!(theirs.invalidate("a"), 1);
    assert_same(&primary, &replica);
}

#[test]
fn a_replica_of_a_replica_agrees() {
    let primary = Server::start();
    let middle = Server::start();
    let last = Server::start();
    middle.replicate(&primary);
    last.replicate(&middle);
    populate(&primary);
    primary.client().must("APIKEY.TAGINVAL rich");
    primary.client().must("APIKEY.USAGE.FLUSH");
    assert_agree(&primary, &middle);
    assert_agree(&middle, &last);
}

#[test]
fn any_mix_of_commands_arrives() {
    for round in 0..4 {
        let reclaim = Reclaim::ALL[round % Reclaim::ALL.len()];
        let primary = reclaim.builder().start();
        let replica = Server::builder().config("repl-diskless-load swapdb").start();
        let mut model = Model::new(&primary, Rng::from_env(11 + round as u64), reclaim);
        let mut theirs = replica.client();
        model.steps(300);
        replica.replicate(&primary);
        for _ in 0..3 {
            model.steps(300);
            model.settle();
            assert_agree(&primary, &replica);
            model.compare(&mut theirs);
        }
        // It goes on where the primary was.
        replica.promote();
        model.compare_the_living(&mut theirs);
        reclaimed(&mut theirs);
        assert_exact(&replica);
        model.compare_the_living(&mut theirs);
    }
}
