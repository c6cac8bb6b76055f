//! `apikeyctl check`: every database of every node, and what it says of a difference.

use serde_json::{json, Value as Json};

use super::Ran;
use crate::harness::*;

/// Role, database and entries of each that was looked at.
fn looked_at(told: &Json) -> Vec<(String, u64, u64)> {
    let databases = told["databases"].as_array().expect("databases").iter();
    let one = |at: &Json| {
        let number = |name: &str| at[name].as_u64().expect("a number");
        (at["role"].as_str().expect("a role").to_string(), number("database"), number("entries"))
    };
    let mut all: Vec<_> = databases.map(one).collect();
    all.sort();
    all
}

#[test]
fn every_database_of_every_node_is_compared() {
    let primary = Server::start();
    let mut c = primary.client();
    for database in [0, 3] {
        c.select(database);
        c.fill("apikey:{k}", &["t"]);
        c.count("apikey:{k}:usage", 7);
    }
    let replica = Server::start();
    replica.replicate(&primary);
    let ran = Ran::at(&primary, "check", &["--json"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let told = ran.json();
    assert_eq!((&told["differences"], &told["away"]), (&json!(0), &json!([])));
    let of = |role: &str, database| (role.to_string(), database, 2);
    let all = [of("primary", 0), of("primary", 3), of("replica", 0), of("replica", 3)];
    assert_eq!(looked_at(&told), all);
    let person = Ran::at(&primary, "check", &[]);
    assert_eq!((person.status, person.err.as_str()), (Some(0), ""));
    assert_eq!(person.out.lines().count(), 5, "{}", person.out);
    assert!(person.out.starts_with("node "), "{}", person.out);
}

#[test]
fn a_difference_is_told_in_words_and_ends_with_1() {
    let server = Server::start();
    let mut c = server.client();
    if !has_debug_command(&mut c) {
        return;
    }
    c.select(2);
    c.fill("apikey:{k}", &[]);
    c.must("APIKEY.DEBUG FORGET apikey:{k}");
    let ran = Ran::at(&server, "check", &["--json"]);
    assert_eq!((ran.status, &ran.json()["differences"]), (Some(1), &json!(1)), "{}", ran.out);
    let person = Ran::at(&server, "check", &[]);
    assert_eq!(person.status, Some(1));
    assert!(
        person.out.contains("database 2: ") && person.out.contains("apikey:{k}"),
        "{}",
        person.out
    );
    assert!(person.out.contains("please report it"), "{}", person.out);
}

#[test]
fn what_could_not_be_compared_is_told_and_ends_with_2() {
    let server = Server::start();
    let mut c = server.client();
    c.must("ACL SETUSER someone on >pass ~* +@all -apikey.check");
    let url = format!("redis://someone:pass@127.0.0.1:{}", server.port);
    let ran = Ran::of(super::program::bare(&["check", "--json", "--url", &url]));
    assert_eq!(ran.status, Some(2), "{}{}", ran.out, ran.err);
    let why = ran.json()["away"][0]["why"].as_str().expect("why").to_string();
    assert!(why.contains("the user needs APIKEY.CHECK") && why.contains("database 0"), "{why}");
}

#[test]
fn a_cluster_is_compared_on_all_its_nodes() {
    let cluster = Cluster::start(3, 1);
    for (number, c) in cluster.clients().iter_mut().enumerate() {
        let key = (0..).map(|n| format!("k{n}")).find(|key| {
            let token = c.run(&format!("APIKEY.TOKEN {key}"));
            !token.is_error()
        });
        c.fill(&key.expect("a key"), &[&format!("t{number}")]);
    }
    for (primary, replicas) in cluster.primaries.iter().zip(&cluster.replicas) {
        replicas[0].in_sync_with(primary);
    }
    let ran = Ran::at(&cluster.primaries[0], "check", &["--cluster", "--json"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let of = |role: &str| (role.to_string(), 0, 1);
    let all = [vec![of("primary"); 3], vec![of("replica"); 3]].concat();
    assert_eq!(looked_at(&ran.json()), all);
}
