//! `apikeyctl reset`: all entries die, in every database and under every namespace, and no count changes.

use serde_json::json;

use super::program::bare;
use super::Ran;
use crate::harness::server::kind;
use crate::harness::*;

/// Live entries of the selected database: each kind, with namespace and without, and a count.
fn fill_all(c: &mut Client) {
    for (suffix, options) in [("", ""), ("a", " NS acme:"), ("b", " NS b: TAGS 1 mine")] {
        let fill =
            format!("APIKEY.SETVAL k{suffix} {} SECRET {SECRET}{options}", record("id", "u1"));
        assert_eq!(c.run(&fill), ok());
        let token = c.must("APIKEY.TOKEN k").text();
        let absent = format!("APIKEY.SETABSENT absent{suffix} TOKEN {token}{options}");
        assert_eq!(c.run(&absent), ok());
        c.decide(&format!("scopes{suffix}"), "orders read ALLOW", options.trim());
        c.list(&format!("list{suffix}"), &[record("id", "u1")], options.trim());
        assert_eq!(c.run(&format!("CACHE.SET value{suffix} products text{options}")), ok());
    }
    c.count("usage", 7);
}

/// How many of the keys that [`fill_all`] stores a client still gets something of.
fn alive(c: &mut Client) -> usize {
    let keys = ["k", "absent", "scopes", "list", "value"]
        .iter()
        .flat_map(|name| ["", "a", "b"].map(|suffix| format!("{name}{suffix}")));
    keys.filter(|key| !c.must(&format!("APIKEY.TAGS {key}")).items().is_empty()).count()
}

#[test]
fn all_that_is_cached_dies_and_counts_stay() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    let databases = [0, 1, 3];
    for database in databases {
        c.select(database);
        fill_all(&mut c);
        assert_eq!(alive(&mut c), 15);
        c.must("SET other text");
    }
    let batch = c.lease();
    c.count("usage", 5);
    let ran = Ran::at(&primary, "reset", &["--yes", "--json"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let told = ran.json();
    assert_eq!((&told["killed"], &told["replicas_behind"]), (&json!(45), &json!(0)));
    assert_eq!(told["databases"][2]["database"], json!(3));
    assert_eq!(told["databases"][2]["namespaces"], json!(["acme:", "b:"]));
    let regions = json!(["acme:products", "b:products", "products"]);
    assert_eq!(told["databases"][2]["regions"], regions);
    for server in [&primary, &replica] {
        let mut c = server.client();
        for database in databases {
            c.select(database);
            assert_eq!((alive(&mut c), c.exists("other")), (0, true));
            let pending = if database == 3 { 5 } else { 7 };
            assert_eq!(c.usage("usage").0, pending);
        }
    }
    assert_eq!(c.ack(&batch), 1);
    reclaimed(&mut c);
    assert_exact(&primary);
    let again = Ran::at(&primary, "reset", &["--yes"]);
    assert_eq!(again.status, Some(0), "{}", again.err);
    assert!(again.out.ends_with("0 entries are dead; counts are as they were.\n"), "{}", again.out);
}

#[test]
fn what_a_broken_index_has_lost_dies_too() {
    let server = Server::start();
    let mut c = server.client();
    if !has_debug_command(&mut c) {
        return;
    }
    fill_all(&mut c);
    for key in ["k", "ka", "absentb", "scopes", "listb", "valuea"] {
        assert_eq!(c.must(&format!("APIKEY.DEBUG FORGET {key}")), ok());
    }
    let ran = Ran::at(&server, "reset", &["--yes", "--json"]);
    assert_eq!((ran.status, &ran.json()["killed"]), (Some(0), &json!(15)), "{}", ran.err);
    assert_eq!((alive(&mut c), c.usage("usage").0), (0, 7));
    reclaimed(&mut c);
    assert_exact(&server);
}

#[test]
fn fills_that_looked_before_come_too_late() {
    let server = Server::start();
    let mut c = server.client();
    c.must(&format!("APIKEY.SETVAL there {} NS acme:", record("id", "u1")));
    for options in ["", " NS acme:"] {
        c.must(&format!("CACHE.SET there{} products text{options}", options.len()));
    }
    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(Ran::at(&server, "reset", &["--yes"]).status, Some(0));
    for options in ["", " NS acme:"] {
        let fill = format!("APIKEY.SETVAL k {} TOKEN {token}{options}", record("id", "u1"));
        assert_eq!(c.run(&fill), nil(), "{options}");
        let value = format!("CACHE.SET value products text TOKEN {token}{options}");
        assert_eq!(c.run(&value), nil(), "{options}");
    }
}

#[test]
fn in_a_cluster_all_primaries_are_emptied() {
    let cluster = Cluster::start(3, 0);
    let mut clients = cluster.clients();
    for number in 0..60 {
        let key = format!("{{k{number}}}");
        let options = if number % 2 == 0 { "" } else { " NS acme:" };
        let fill = format!("APIKEY.SETVAL {key} {}{options}", record(&number.to_string(), "u1"));
        // The two others say MOVED.
        let stored =
            clients.iter_mut().map(|c| c.run(&fill)).filter(|reply| *reply == ok()).count();
        assert_eq!(stored, 1);
    }
    let ran = Ran::at(&cluster.primaries[1], "reset", &["--cluster", "--yes", "--json"]);
    assert_eq!((ran.status, &ran.json()["killed"]), (Some(0), &json!(60)), "{}", ran.err);
    assert_eq!(clients[0].must("APIKEY.TAGCARD apikey:user:u1"), int(0));
    assert_eq!(clients[0].must("APIKEY.TAGCARD acme:apikey:user:u1"), int(0));
}

#[test]
fn nothing_is_done_that_nobody_has_said_yes_to() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    Ran::at(&server, "reset", &[]).fails_with(2, "Kill all 1 cached entries of 127.0.0.1:");
    Ran::at(&server, "reset", &["--database-only", "on"]).fails_with(2, "say --yes");
    Ran::at(&server, "reset", &["--database-only", "maybe", "--yes"]).fails_with(2, "maybe");
    assert_eq!(c.code("k"), "VALID");
    // On a terminal it asks.
    let program = bare(&[]).get_program().to_string_lossy().into_owned();
    let line = format!("{program} reset --url redis://127.0.0.1:{}", server.port);
    for (answer, status, code) in [("n", 1, "VALID"), ("y", 0, "MISS")] {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &format!("stty -echo; {line}"), "/dev/null"]);
        script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = script.spawn().expect("script");
        let mut input = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut input, format!("{answer}\n").as_bytes()).expect("answer");
        let output = child.wait_with_output().expect("script");
        drop(input);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("[y/N]"), "{said}");
        assert_eq!((output.status.code(), c.code("k").as_str()), (Some(status), code), "{said}");
    }
}

#[test]
fn what_could_not_be_emptied_is_told_and_ends_with_1() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    c.must("ACL SETUSER someone on >pass ~* +@all -apikey.taginvalnode");
    let url = format!("redis://someone:pass@127.0.0.1:{}", server.port);
    let ran = Ran::of(bare(&["reset", "--yes", "--url", &url]));
    assert_eq!(ran.status, Some(1), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("not emptied: ") && ran.out.contains("needs APIKEY.TAGINVALNODE"),
        "{}",
        ran.out
    );
    assert_eq!(c.code("k"), "VALID");
}

#[test]
fn a_replica_is_not_emptied_alone() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    Ran::at(&replica, "reset", &["--yes"]).fails_with(2, "say the primary's URL");
}

#[test]
fn the_cache_is_switched_off_and_on_at_every_node() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    primary.client().fill("k", &[]);
    replica.in_sync_with(&primary);
    let codes = || [&primary, &replica].map(|server| server.client().code("k"));
    let off = Ran::at(&primary, "reset", &["--database-only", "on", "--yes", "--json"]);
    if !kind().has_module_config() {
        assert_eq!(off.status, Some(1), "{}{}", off.out, off.err);
        let why = off.json()["away"][0]["why"].as_str().expect("why").to_string();
        assert!(why.contains("it has no setting apikey.enabled"), "{why}");
        return;
    }
    assert_eq!(off.status, Some(0), "{}{}", off.out, off.err);
    assert_eq!(codes(), ["MISS", "MISS"]);
    let on = Ran::at(&primary, "reset", &["--database-only", "off", "--yes"]);
    assert_eq!(on.status, Some(0), "{}{}", on.out, on.err);
    assert_eq!(on.out.matches("  yes\n").count(), 2, "{}", on.out);
    assert_eq!(codes(), ["VALID", "VALID"]);
}
