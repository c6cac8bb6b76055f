//! Databases that are emptied while clients are paused: nothing may be published or replicated then, on
//! pain of an assertion failure, and those who follow the channel learn of it from the next number.

use crate::channel::{next, next_of, run_of, start};
use crate::harness::server::kind;
use crate::harness::*;
use serde_json::json;

/// Longer than any test.
const PAUSE: &str = "CLIENT PAUSE 100000 WRITE";

/// What the reload of a paused server does: it lives, nobody is told, and a number is taken.
#[track_caller]
fn reload_while_paused(builder: Builder, replicas: usize) {
    let (mut server, mut listener) = start(builder);
    let replicas: Vec<Server> =
        (0..replicas).map(|_| Server::builder().replica_of(&server).start()).collect();
    replicas.iter().for_each(|replica| replica.in_sync_with(&server));
    let mut c = server.client();
    let run = run_of(&mut c);
    c.fill("k", &["t"]);
    c.must("APIKEY.TAGINVAL before");
    for number in [1, 2] {
        assert_eq!(next_of(&mut listener, &run)["number"], number);
    }
    c.must(PAUSE);
    assert_eq!(server.client().run("DEBUG RELOAD"), ok());
    assert_eq!(server.client().run("PING"), simple("PONG"));
    c.must("CLIENT UNPAUSE");
    c.must("APIKEY.TAGINVAL after");
    let message = next_of(&mut listener, &run);
    assert_eq!(message["tags"], json!(["after"]), "nothing was published in between");
    let number = message["number"].as_u64().expect("a number");
    assert!(number > 3, "and yet a number was taken: {message}");
    // From here on each is told again.
    c.must("FLUSHALL");
    let flushed = json!({"number": number + 1, "database": null, "flushed": true});
    assert_eq!(next_of(&mut listener, &run), flushed);
    assert!(server.is_alive());
    assert_exact(&server);
    replicas.iter().for_each(|replica| replica.in_sync_with(&server));
}

#[test]
fn a_reload_while_clients_are_paused_is_told_by_a_gap_in_the_numbers() {
    reload_while_paused(Server::builder(), 0);
}

#[test]
fn so_it_is_where_an_aof_is_written() {
    reload_while_paused(Server::builder().with_aof(false), 0);
}

#[test]
fn so_it_is_where_a_replica_listens() {
    reload_while_paused(Server::builder(), 1);
}

#[test]
fn a_replica_of_a_cluster_that_is_reset_while_clients_are_paused_lives_on() {
    let builder = || {
        Server::builder()
            .config("cluster-enabled yes")
            .config("cluster-node-timeout 2000")
            .config("databases 1")
    };
    let (primary, _) = start(builder());
    let (mut replica, mut listener) = start(builder());
    let mut c = primary.client();
    c.must(&all_slots());
    let mut r = replica.client();
    r.must(&format!("CLUSTER MEET 127.0.0.1 {}", primary.port));
    let id = c.must("CLUSTER MYID").text();
    eventually("it knows the primary", || r.run(&format!("CLUSTER REPLICATE {id}")) == ok());
    eventually("the cluster is up", || {
        [&mut c, &mut r].into_iter().all(|c| c.must("CLUSTER INFO").text().contains("state:ok"))
    });
    replica.in_sync_with(&primary);
    let run = run_of(&mut c);
    if kind() != Kind::Valkey91 {
        // An assertion of its own ends it, module or not, where such a replica has any key.
        c.fill("k", &["t"]);
        replica.in_sync_with(&primary);
        // The primary's own word reaches the replica's clients.
        assert_eq!(next_of(&mut listener, &run)["number"], 1);
    }

    r.must(PAUSE);
    let mut admin = replica.client();
    assert_eq!(admin.run("CLUSTER RESET"), ok());
    assert_eq!(admin.run("PING"), simple("PONG"));
    assert_eq!(admin.must("DBSIZE"), int(0));
    admin.must("CLIENT UNPAUSE");
    assert!(replica.is_alive());
    // A primary now, which tells what it invalidates under its own run.
    assert_eq!(r.must("APIKEY.TAGINVALNODE after"), int(0));
    let mut message = next(&mut listener);
    if message["flushed"] == true {
        // Some servers have made it a primary, and allow that to be told, before they empty it.
        message = next(&mut listener);
    }
    assert_eq!(message["tags"], json!(["after"]), "{message}");
    assert_ne!(message["run"], run.as_str());
}

/// CLUSTER ADDSLOTS of all of them.
fn all_slots() -> String {
    let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
    format!("CLUSTER ADDSLOTS {}", slots.join(" "))
}
