//! `apikeyctl uninstall`: after it the same data directories start in servers without the module, and no count is lost
//! that nobody has given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{json, Value as Json};

use super::program::bare;
use super::Ran;
use crate::harness::server::Stop;
use crate::harness::*;

/// In two databases entries with namespace and without, a dead one, a counter that is settled, and a key of others'.
fn fill(server: &Server) {
    let mut c = server.client();
    for database in [0, 3] {
        c.select(database);
        c.fill("k", &["mine"]);
        c.fill("dead", &["old"]);
        c.invalidate("old");
        c.must(&format!("APIKEY.SETVAL n {} NS acme:", record("id", "u1")));
        c.decide("scopes", "orders read ALLOW", "");
        c.list("list", &[record("id", "u1")], "");
        c.count("usage", 7);
        c.must("APIKEY.USAGE.TAKE usage");
        c.must("SET other text");
    }
}

/// What the servers without the module have.
fn assert_only_others(c: &mut Client) {
    for database in [0, 3] {
        c.select(database);
        assert_eq!((c.must("DBSIZE"), c.must("GET other")), (int(1), bulk("text")));
    }
    assert!(c.run("APIKEY.HEALTH").is_error());
}

#[track_caller]
fn uninstalled(server: &Server, options: &[&str]) -> Json {
    let ran = Ran::at(server, "uninstall", &[&["--yes", "--json"], options].concat());
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    ran.json()
}

#[test]
fn the_same_directory_starts_without_the_module() {
    for builder in [
        Server::builder().with_aof(true),
        Server::builder().with_aof(false),
        Server::builder().config("save 3600 1"),
    ] {
        let mut server = builder.start();
        fill(&server);
        server.client().must("SAVE");
        // What it is for.
        let failed = server.try_restart_with(Stop::Kill, Builder::without_module);
        assert!(failed.is_err(), "it starts without the module all the same");
        server.start_again_with_module();
        let told = uninstalled(&server, &[]);
        assert_eq!((&told["counters"], &told["given_up"]), (&json!(2), &json!(0)), "{told}");
        assert_eq!(told["undone"], json!([]));
        server.restart_with(Stop::Kill, Builder::without_module);
        assert_only_others(&mut server.client());
    }
}

#[test]
fn replicas_are_prepared_too_and_may_go_before_their_primary_or_after_it() {
    for replica_first in [true, false] {
        let mut primary = Server::builder().with_aof(true).start();
        let mut replica = Server::builder().with_aof(true).start();
        replica.replicate(&primary);
        fill(&primary);
        let told = uninstalled(&primary, &[]);
        let ready =
            |node: usize| (told["ready"][node]["role"].clone(), told["ready"][node]["aof"].clone());
        let expected = ["primary", "replica"].map(|role| (json!(role), json!(true)));
        assert_eq!([ready(0), ready(1)], expected);
        if !replica_first {
            primary.restart_with(Stop::Kill, Builder::without_module);
            replica.in_sync_with(&primary);
        }
        // A primary that still has the module says so to it.
        replica.restart_with(Stop::Kill, |builder| builder.without_module().replica_of(&primary));
        replica.in_sync_with(&primary);
        if replica_first {
            primary.restart_with(Stop::Kill, Builder::without_module);
            replica.in_sync_with(&primary);
        }
        replica.restart_with(Stop::Kill, Builder::without_module);
        for server in [&primary, &replica] {
            assert_only_others(&mut server.client());
        }
    }
}

#[test]
fn in_a_cluster_all_nodes_are_prepared() {
    let cluster = Cluster::of(3, 0, |_, builder| builder.with_aof(true));
    for c in &mut cluster.clients() {
        for number in 0..60 {
            let key = format!("{{k{number}}}");
            // Two of three say MOVED.
            c.run(&format!("APIKEY.SETVAL {key} {}", record("id", "u1")));
            c.run(&format!("APIKEY.USAGE.INCR {key}:usage"));
            c.run(&format!("APIKEY.USAGE.TAKE {key}:usage"));
        }
    }
    let told = uninstalled(&cluster.primaries[2], &["--cluster"]);
    assert_eq!((&told["entries"], &told["counters"]), (&json!(60), &json!(60)), "{told}");
    let mut primaries = cluster.primaries;
    for server in &mut primaries {
        server.restart_with(Stop::Kill, Builder::without_module);
        assert_eq!(server.client().must("DBSIZE"), int(0));
    }
}

#[test]
fn counts_that_nobody_has_settled_are_in_the_way() {
    let mut server = Server::builder().with_aof(true).start();
    let mut c = server.client();
    c.fill("k", &[]);
    c.count("usage", 7);
    let refused = || Ran::at(&server, "uninstall", &["--yes"]);
    refused().fails_with(1, "nothing was changed: 7 counted uses are not settled");
    let batch = c.lease();
    refused().fails_with(1, "7 counted uses are not settled");
    assert_eq!((c.code("k").as_str(), c.counts("usage")), ("VALID", (0, 7, 7)));
    c.ack(&batch);
    c.count("usage", 5);
    let told = uninstalled(&server, &["--give-up-counts"]);
    assert_eq!((&told["given_up"], &told["counters"]), (&json!(5), &json!(1)));
    server.restart_with(Stop::Kill, Builder::without_module);
    assert_eq!(server.client().must("DBSIZE"), int(0));
}

#[test]
fn a_count_that_comes_meanwhile_is_not_removed() {
    let server = Server::start();
    let mut c = server.client();
    // So many that the walk over them takes some calls.
    for number in 0..3000 {
        c.count(&format!("u{number}"), 1);
    }
    c.flush_usage();
    let ran = thread::scope(|scope| {
        let uninstalling = scope.spawn(|| Ran::at(&server, "uninstall", &["--yes", "--json"]));
        let mut c = server.client();
        eventually("the cache is being taken away", || {
            c.must("DBSIZE").int() < 3000 || uninstalling.is_finished()
        });
        for number in 0..3000 {
            c.count(&format!("u{number}"), 1);
        }
        uninstalling.join().expect("a run")
    });
    let pending: i64 = (0..3000).map(|number| c.usage(&format!("u{number}")).0).sum();
    assert_eq!(pending, 3000, "{}", ran.out);
    assert_eq!(ran.status, Some(1), "{}{}", ran.out, ran.err);
}

#[test]
fn a_server_that_is_still_called_is_not_ready() {
    let server = Server::builder().with_aof(true).start();
    server.client().fill("k", &[]);
    let stop = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let _others = StopOthers(&stop);
            let mut c = server.client();
            while !stop.load(Ordering::SeqCst) {
                c.must("APIKEY.INVAL k");
            }
        });
        let ran = Ran::at(&server, "uninstall", &["--yes", "--json"]);
        stop.store(true, Ordering::SeqCst);
        calling.join().expect("the caller");
        ran
    });
    assert_eq!(ran.status, Some(1), "{}{}", ran.out, ran.err);
    let told = ran.json();
    let why = told["undone"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("it is still called (invalidated_keys have risen)"), "{told}");
    assert_eq!(told["ready"], json!([]));
    // Nobody calls it any more.
    let again = uninstalled(&server, &[]);
    assert_eq!(again["ready"].as_array().map(Vec::len), Some(1), "{again}");
}

#[test]
fn nothing_is_done_that_nobody_has_said_yes_to_or_while_a_node_is_away() {
    let primary = Server::start();
    let mut replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    c.fill("k", &[]);
    Ran::at(&primary, "uninstall", &[]).fails_with(2, "No application may call it any more.");
    let mut sentinel = Server::builder()
        .sentinel()
        .config(&format!("sentinel monitor mymaster 127.0.0.1 {} 1", primary.port))
        .start();
    let at = format!("mymaster@127.0.0.1:{}", sentinel.port);
    let mut watching = sentinel.client();
    eventually("the Sentinel knows the replica", || {
        watching.must("SENTINEL REPLICAS mymaster").items().len() == 1
    });
    replica.stop(Stop::Kill);
    Ran::of(bare(&["uninstall", "--yes", "--sentinel", &at]))
        .fails_with(2, "nothing was changed: all nodes have to be prepared at once");
    assert_eq!(c.code("k"), "VALID");
    sentinel.stop(Stop::Kill);
}

#[test]
fn what_is_left_to_a_person_is_told() {
    let server = Server::start();
    let mut c = server.client();
    c.must("ACL SETUSER application on >pass ~apikey:* -@all +apikey.validate");
    let ran = Ran::at(&server, "uninstall", &["--yes"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let conf = server.config_path().display().to_string();
    let lines = [
        format!("each `apikey.` setting out of {conf} and what that includes\n"),
        format!("out of the rules of these users in {conf}: application\n"),
    ];
    for line in &lines {
        assert!(ran.out.contains(line), "{line}{}", ran.out);
    }
    assert!(ran.out.contains("0 entries and 0 counters are gone"), "{}", ran.out);
}

#[test]
fn a_server_without_the_module_has_nothing_to_do() {
    let server = Server::builder().without_module().start();
    Ran::at(&server, "uninstall", &["--yes"]).fails_with(2, "no node has the module");
}
