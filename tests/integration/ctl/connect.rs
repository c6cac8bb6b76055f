//! How it finds servers: one, its replicas, a cluster, by Sentinels, by TLS, as a user; and what it says where there is
//! none. `nodes` tells what was found.

use serde_json::{json, Value as Json};

use super::program::{bare, command, url};
use super::Ran;
use crate::harness::server::Stop;
use crate::harness::*;
use crate::roles::{self, Users};
use crate::tls::{has_tls, Certificates};

/// Address and role of each node, by address.
#[track_caller]
fn found(ran: &Ran) -> Vec<(String, String)> {
    let told = ran.json();
    let text = |node: &Json, name: &str| node[name].as_str().expect("a text").to_string();
    let nodes = told["nodes"].as_array().expect("nodes").iter();
    let mut found: Vec<_> = nodes.map(|node| (text(node, "address"), text(node, "role"))).collect();
    found.sort();
    found
}

fn at(server: &Server, role: &str) -> (String, String) {
    (format!("127.0.0.1:{}", server.port), role.to_string())
}

#[track_caller]
fn assert_found(ran: &Ran, expected: &[(&Server, &str)]) {
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let mut expected: Vec<_> = expected.iter().map(|(server, role)| at(server, role)).collect();
    expected.sort();
    assert_eq!(found(ran), expected);
}

#[test]
fn a_server_is_told_with_its_replicas_for_a_person_and_as_json() {
    let primary = Server::start();
    let mut c = primary.client();
    c.select(2);
    c.fill("apikey:{k}", &[]);
    let replica = Server::start();
    replica.replicate(&primary);
    let ran = Ran::at(&primary, "nodes", &["--json"]);
    assert_found(&ran, &[(&primary, "primary"), (&replica, "replica")]);
    let told = ran.json();
    assert_eq!((&told["primaries"], &told["replicas"]), (&json!(1), &json!(1)));
    for node in told["nodes"].as_array().expect("nodes") {
        assert_eq!((&node["status"], &node["entries"]), (&json!("healthy"), &json!(1)));
        assert_eq!((&node["keys"], &node["health"]["records"]), (&json!({"2": 1}), &json!(1)));
    }
    let person = Ran::at(&primary, "nodes", &[]);
    assert_eq!((person.status, person.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = person.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", person.out);
    assert!(lines[0].starts_with("node ") && lines[0].ends_with("keys"), "{}", person.out);
    assert!(
        lines[1].contains(" primary ") && lines[1].ends_with("healthy        1  db2 1"),
        "{}",
        person.out
    );
    assert_eq!(lines[3], "primaries: 1, replicas: 1");
    assert!(!person.out.contains('\x1b'), "a pipe has no colours");
    assert_found(&Ran::at(&primary, "nodes", &["--json", "--alone"]), &[(&primary, "primary")]);
    assert_found(&Ran::at(&replica, "nodes", &["--json"]), &[(&replica, "replica")]);
}

#[test]
fn the_url_and_the_password_may_stand_in_the_environment_and_are_never_repeated() {
    let server = Server::start();
    let mut c = server.client();
    c.must("ACL SETUSER someone on >secr3t ~* +@all");
    c.must("CONFIG SET requirepass other");
    let mut command = bare(&["nodes", "--json", "--user", "someone"]);
    command.env("APIKEYCTL_URL", url(&server)).env("REDISCLI_AUTH", "secr3t");
    // What is empty is not there, as compose files have it.
    for name in ["SENTINEL", "SENTINEL_USER", "CACERT", "CERT", "CERT_KEY"] {
        command.env(format!("APIKEYCTL_{name}"), "");
    }
    assert_found(&Ran::of(command), &[(&server, "primary")]);
    for (user, password) in [("someone", "wr0ng"), ("nobody", "wr0ng")] {
        let with = format!("redis://{user}:{password}@127.0.0.1:{}", server.port);
        let ran = Ran::of(bare(&["nodes", "--url", &with]));
        ran.fails_with(2, "REDISCLI_AUTH");
        assert!(!format!("{}{}", ran.out, ran.err).contains("wr0ng"), "{}", ran.err);
    }
    Ran::at(&server, "nodes", &[]).fails_with(2, "give the user by --user");
    c.must("ACL SETUSER someone -info");
    let with = format!("redis://someone:secr3t@127.0.0.1:{}", server.port);
    Ran::of(bare(&["nodes", "--url", &with])).fails_with(2, "the user needs INFO");
}

#[test]
fn a_wrong_call_is_told_and_ends_with_2() {
    let server = Server::start();
    for (options, told) in [
        (&["--url", "redis://:s3cret@x:0x"][..], "--url must be redis[s]://"),
        (&["--user", "someone"], "--user has no password"),
        (&["--sentinel-user", "someone"], "APIKEYCTL_SENTINEL_AUTH"),
        (&["--sentinel", "mymaster"], "--sentinel must be NAME@HOST:PORT"),
        (&["--sentinel", "m@host"], "--sentinel must be NAME@HOST:PORT"),
        (&["--sentinel", "m@h:1", "--cluster"], "exclude each other"),
        (&["--cluster", "--alone"], "exclude each other"),
        (&["--cluster", "--url", "redis://h/1"], "database 0 alone"),
        (&["--cert", "x.crt"], "--cert and --cert-key belong together"),
        (&["--cacert", "/no/such.crt"], "/no/such.crt"),
        (&["--cacert", "/dev/null", "--insecure"], "leave one out"),
        (&["--timeout", "0"], "--timeout"),
        (&["--no-such"], "--no-such"),
    ] {
        let ran = Ran::of(bare(&[&["nodes"], options].concat()));
        ran.fails_with(2, told);
        assert!(ran.out.is_empty() && !ran.err.contains("s3cret"), "{}", ran.err);
    }
    Ran::of(bare(&["nonsense"])).fails_with(2, "nonsense");
    Ran::of(bare(&[])).fails_with(2, "Usage: apikeyctl");
    for args in [&["--help"][..], &["nodes", "--help"], &["check", "-h"]] {
        let help = Ran::of(bare(args));
        assert_eq!(help.status, Some(0));
        assert!(help.out.contains("--sentinel"), "{}", help.out);
    }
    Ran::at(&server, "nodes", &["--cluster"]).fails_with(2, "CLUSTER NODES");
}

#[test]
fn who_can_not_be_reached_is_told_in_time() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut gone = Server::start();
    gone.stop(Stop::Kill);
    Ran::at(&gone, "nodes", &[]).fails_with(2, "is the server running there?");
    Ran::at(&gone, "check", &["--json"]).fails_with(2, "is the server running there?");

    // A replica that does not answer is told beside the others.
    replica.freeze();
    let ran = Ran::at(&primary, "nodes", &["--json", "--timeout", "1"]);
    replica.wake();
    assert_eq!(ran.status, Some(2), "{}{}", ran.out, ran.err);
    assert_eq!(found(&ran), [at(&primary, "primary")]);
    let away = &ran.json()["away"][0];
    assert_eq!(away["address"], json!(at(&replica, "").0));
    assert!(away["why"].as_str().is_some_and(|why| why.contains(&at(&replica, "").0)), "{away}");

    // One that listens and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let mut command = bare(&["nodes", "--timeout", "1"]);
    command.env("APIKEYCTL_URL", format!("redis://127.0.0.1:{port}"));
    Ran::of(command).fails_with(2, "gave no answer within 1s: is it up");
    let tls = Ran::at(&primary, "nodes", &["--tls", "--timeout", "1"]);
    tls.fails_with(2, "with TLS or without as it was asked");
}

#[test]
fn a_server_without_the_module_is_wrong() {
    let server = Server::builder().without_module().start();
    let ran = Ran::at(&server, "nodes", &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.out.contains("it has no module redis-apikey: start it with"), "{}", ran.out);
    let ran = Ran::at(&server, "check", &[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.out.contains("not looked at: ") && ran.out.contains("no module"), "{}", ran.out);
}

#[test]
fn all_nodes_of_a_cluster_are_found_by_one_of_them() {
    let cluster = Cluster::start(3, 1);
    let ran = Ran::at(&cluster.replicas[1][0], "nodes", &["--cluster", "--json"]);
    let primaries = cluster.primaries.iter().map(|server| (server, "primary"));
    let replicas = cluster.replicas.iter().flatten().map(|server| (server, "replica"));
    assert_found(&ran, &primaries.chain(replicas).collect::<Vec<_>>());
    let told = ran.json();
    let slots = |node: &Json| -> u64 {
        let ranges = node["slots"].as_array().expect("slots").iter();
        ranges.map(|r| r[1].as_u64().expect("last") - r[0].as_u64().expect("first") + 1).sum()
    };
    let all: u64 = told["nodes"].as_array().expect("nodes").iter().map(slots).sum();
    assert_eq!(all, 16_384);
    Ran::at(&cluster.primaries[0], "nodes", &[]).fails_with(2, "say --cluster");
    let alone = Ran::at(&cluster.primaries[0], "nodes", &["--alone", "--json"]);
    assert_found(&alone, &[(&cluster.primaries[0], "primary")]);
}

#[test]
fn sentinels_tell_of_the_primary_and_its_replica_as_users_by_name() {
    let users = Users::new(roles::lists().remove(0));
    let primary = users.on(Server::builder()).start();
    let replica = users.on(Server::builder()).start();
    replica.replicate(&primary);
    let sentinels = roles::sentinels(&users, primary.port, |builder| builder);
    roles::know_each_other(&sentinels);
    let mut gone = Server::start();
    gone.stop(Stop::Kill);
    let ask = |options: &[&str]| {
        let at = format!("mymaster@127.0.0.1:{},127.0.0.1:{}", gone.port, sentinels[1].port);
        let mut command = bare(&[&["nodes", "--json", "--sentinel", &at], options].concat());
        command.env("REDISCLI_AUTH", users.password("operator"));
        command.env("APIKEYCTL_SENTINEL_AUTH", roles::sentinels_password("application"));
        Ran::of(command)
    };
    let both = ["--user", "operator", "--sentinel-user", "application"];
    assert_found(&ask(&both), &[(&primary, "primary"), (&replica, "replica")]);
    ask(&both[..2]).fails_with(2, "--sentinel: none of them tells where mymaster is");
    let other = format!("other@127.0.0.1:{}", sentinels[0].port);
    let mut command = bare(&["nodes", "--sentinel", &other, "--sentinel-user", "application"]);
    command.env("APIKEYCTL_SENTINEL_AUTH", roles::sentinels_password("application"));
    Ran::of(command).fails_with(2, "watches no other");
}

#[test]
fn all_is_asked_by_tls_where_that_is_spoken() {
    if !has_tls() {
        return;
    }
    let tls = Certificates::new();
    let users = Users::new(roles::lists().remove(0));
    let primary = tls.on(users.on(Server::builder())).start();
    let replica = tls.on(users.on(Server::builder())).start();
    replica.replicate(&primary);
    let sentinels = roles::sentinels(&users, primary.port, |builder| tls.on(builder));
    roles::know_each_other(&sentinels);
    let (ca, cert, key) = (tls.path("ca.crt"), tls.path("node.crt"), tls.path("node.key"));
    let ask = |options: &[&str]| {
        let mut command = bare(&[&["nodes", "--json", "--user", "operator"], options].concat());
        command.env("REDISCLI_AUTH", users.password("operator"));
        command.env("APIKEYCTL_SENTINEL_AUTH", roles::sentinels_password("application"));
        Ran::of(command)
    };
    let secure = format!("rediss://127.0.0.1:{}", primary.port);
    let plain = url(&primary);
    let certified = ["--cacert", &ca, "--cert", &cert, "--cert-key", &key];
    let both = [(&primary, "primary"), (&replica, "replica")];
    assert_found(&ask(&[&["--url", &secure], &certified[..]].concat()), &both);
    let unchecked = ["--url", &secure, "--insecure", "--cert", &cert, "--cert-key", &key];
    assert_found(&ask(&unchecked), &both);
    let at = format!("mymaster@127.0.0.1:{}", sentinels[0].port);
    let by_name = ["--sentinel", &at, "--sentinel-user", "application"];
    assert_found(&ask(&[&by_name[..], &certified].concat()), &both);

    ask(&["--url", &secure, "--cacert", &ca]).fails_with(2, "--cert");
    ask(&["--url", &secure, "--cert", &cert, "--cert-key", &key])
        .fails_with(2, "--cacert names the CA");
    ask(&["--url", &plain]).fails_with(2, "TLS");
    ask(&["--url", &secure, "--cacert", &key, "--cert", &cert, "--cert-key", &key])
        .fails_with(2, "certificate");
}

#[test]
fn a_cluster_is_found_by_tls_too() {
    if !has_tls() {
        return;
    }
    let tls = Certificates::new();
    let cluster = Cluster::of(3, 0, |_, builder| tls.on(builder));
    let secure = format!("rediss://127.0.0.1:{}", cluster.primaries[2].port);
    let (ca, cert, key) = (tls.path("ca.crt"), tls.path("node.crt"), tls.path("node.key"));
    let ran = Ran::of(bare(&[
        "nodes",
        "--json",
        "--cluster",
        "--url",
        &secure,
        "--cacert",
        &ca,
        "--cert",
        &cert,
        "--cert-key",
        &key,
    ]));
    let all: Vec<_> = cluster.primaries.iter().map(|server| (server, "primary")).collect();
    assert_found(&ran, &all);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let server = Server::start();
    // `script` gives it a terminal.
    let program = command(&server, "nodes", &[]);
    let line = format!("{} nodes --url {}", program.get_program().to_string_lossy(), url(&server));
    let run = |no_color: &str| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null());
        script.env("NO_COLOR", no_color).env("TERM", "xterm");
        Ran::of(script)
    };
    assert!(run("").out.contains("\x1b[32mhealthy"), "{}", run("").out);
    let plain = run("1").out;
    assert!(plain.contains("healthy") && !plain.contains("\x1b[32m"), "{plain}");
}

#[test]
fn a_replica_that_answers_nothing_is_named_once() {
    let mut primary = Server::start();
    let replica = Server::builder().config("replica-serve-stale-data no").start();
    replica.replicate(&primary);
    primary.stop(Stop::Kill);
    let address = format!("127.0.0.1:{}", replica.port);
    let expected = format!("\n{address}: APIKEY.HEALTH: MASTERDOWN ");
    eventually("it is told", || {
        let ran = Ran::at(&replica, "nodes", &["--alone"]);
        ran.status == Some(1) && ran.out.contains(&expected)
    });
}
