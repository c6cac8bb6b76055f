//! `apikeyctl export` and `import`: what is cached, written and stored again.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{json, Value as Json};
use tempfile::TempDir;

use super::program::{bare, url};
use super::Ran;
use crate::harness::*;

/// The lines by their keys.
#[track_caller]
fn lines(ran: &Ran) -> BTreeMap<String, Json> {
    let line = |line: &str| {
        let line: Json = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        (line["key"].as_str().expect("a key").to_string(), line)
    };
    ran.out.lines().map(line).collect()
}

fn keys(ran: &Ran) -> Vec<String> {
    lines(ran).into_keys().collect()
}

/// A record long enough to be compressed in a dump, with namespace, tags and two digests.
fn fill_whole(c: &mut Client) -> String {
    let scopes = (0..20).map(|n| format!("\"orders:read:{n}\"")).collect::<Vec<_>>().join(",");
    let record = format!(
        r#"{{"id":"k-1","user_id":42,"scopes":[{scopes}],"is_active":false,"expires_at":null,"allowed_ips":["10.0.0.0/8"]}}"#
    );
    let other = "0".repeat(64);
    let call = format!(
        "APIKEY.SETVAL apikey:{{k1}} {record} DIGEST {DIGEST} DIGEST {other} UNTIL 4102444800123 NS acme: TAGS 2 mine yours PX 600000"
    );
    assert_eq!(c.run(&call), ok());
    record
}

#[test]
fn what_is_cached_is_written_whole_and_digests_where_they_are_asked_for() {
    let server = Server::start();
    let mut c = server.client();
    let record = fill_whole(&mut c);
    let token = c.must("APIKEY.TOKEN k").text();
    c.must(&format!("APIKEY.SETABSENT absent TOKEN {token} TAGS 1 a"));
    c.decide("scopes", "orders read ALLOW", "");
    c.list("list", &[super::super::harness::record("id", "u1")], "");
    c.count("usage", 7);
    c.must("SET other text");
    let ran = Ran::at(&server, "export", &[]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    let told = lines(&ran);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["absent", "apikey:{k1}", "list", "scopes"]);
    let line = &told["apikey:{k1}"];
    let left = line["expires"].as_i64().expect("expires")
        - c.must("TIME").items()[0].text().parse::<i64>().expect("seconds") * 1000;
    assert!((500_000..=601_000).contains(&left), "{left}");
    let expected: Json = serde_json::from_str(&record).expect("JSON");
    assert_eq!((&line["kind"], &line["record"]), (&json!("record"), &expected));
    assert_eq!((&line["namespace"], &line["tags"]), (&json!("acme:"), &json!(["mine", "yours"])));
    assert!(!ran.out.contains(DIGEST) && line.get("digests").is_none(), "{}", ran.out);
    assert_eq!(
        (&told["absent"]["kind"], &told["absent"]["tags"]),
        (&json!("absent"), &json!(["a"]))
    );
    assert_eq!(told["list"]["records"][0]["id"], json!("id"));
    let decision = &told["scopes"]["decisions"][0];
    assert_eq!((&decision["action"], &decision["allow"]), (&json!("read"), &json!(true)));

    let with = lines(&Ran::at(&server, "export", &["--digests"]));
    let mut digests: Vec<&Json> =
        with["apikey:{k1}"]["digests"].as_array().expect("two").iter().collect();
    digests.sort_by_key(|digest| digest["until"].is_null());
    assert_eq!(*digests[0], json!({"digest": "0".repeat(64), "until": 4_102_444_800_123_i64}));
    assert_eq!(*digests[1], json!({"digest": DIGEST, "until": null}));
}

#[test]
fn a_tag_a_pattern_and_a_database_choose_and_the_dead_are_left_out() {
    let server = Server::start();
    let mut c = server.client();
    for number in 0..500 {
        c.must(&format!(
            "APIKEY.SETVAL a{number} {} TAGS 1 mine",
            record(&number.to_string(), "u1")
        ));
    }
    c.must(&format!("APIKEY.SETVAL b {}", record("b", "u2")));
    assert_eq!(keys(&Ran::at(&server, "export", &[])).len(), 501);
    assert_eq!(keys(&Ran::at(&server, "export", &["--tag", "mine"])).len(), 500);
    assert_eq!(keys(&Ran::at(&server, "export", &["--tag", "apikey:user:u2"])), ["b"]);
    assert_eq!(keys(&Ran::at(&server, "export", &["--match", "a1?"])).len(), 10);
    let held = hold(&mut c);
    c.invalidate("mine");
    assert_eq!(keys(&Ran::at(&server, "export", &[])), ["b"]);
    if held {
        release(&mut c);
    }
    let two = format!("{}/2", url(&server));
    let other = Ran::of(bare(&["export", "--url", &two]));
    assert_eq!((other.status, other.out.as_str()), (Some(0), ""));
    Ran::at(&server, "export", &["--tag", "a", "--match", "b"])
        .fails_with(2, "cannot be used with");
}

#[test]
fn an_export_is_stored_again_as_it_was() {
    let (from, to) = (Server::start(), Server::start());
    let mut c = from.client();
    fill_whole(&mut c);
    c.fill("k2", &["t"]);
    c.count("usage", 7);
    let token = c.must("APIKEY.TOKEN k").text();
    c.must(&format!("APIKEY.SETABSENT absent TOKEN {token}"));
    let program = bare(&[]).get_program().to_string_lossy().into_owned();
    let (old, new) = (url(&from), url(&to));
    let ran = Ran::of(bare(&[
        "import",
        "--json",
        "--url",
        &new,
        "--",
        &program,
        "export",
        "--digests",
        "--url",
        &old,
    ]));
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let told = ran.json();
    assert_eq!(
        (&told["stored"], &told["passed_over"], &told["bad"]),
        (&json!(2), &json!(1), &json!(0))
    );
    let mut c = to.client();
    assert_eq!(c.codes(["apikey:{k1}", "k2", "absent"]), ["DISABLED", "VALID", "MISS"]);
    assert_eq!(c.must("DBSIZE"), int(2));
    let all = |server: &Server| {
        let mut all = lines(&Ran::at(server, "export", &["--digests"]));
        all.remove("absent");
        // To the millisecond as the clock of the one and the other had it.
        all.values_mut().for_each(|line| {
            let expires = line["expires"].as_i64().expect("expires");
            line["expires"] = json!((expires + 1000) / 2000);
        });
        all
    };
    let (before, after) = (all(&from), all(&to));
    for (key, line) in &before {
        let mut other = after[key].clone();
        let near =
            line["expires"].as_i64().expect("n").abs_diff(other["expires"].as_i64().expect("n"));
        assert!(near <= 1, "{line} {other}");
        other["expires"] = line["expires"].clone();
        assert_eq!(line, &other);
    }
    assert_eq!(c.invalidate("acme:apikey:user:42"), 1);
    assert_eq!(c.invalidate("t"), 1);
}

#[test]
fn a_file_is_warned_of_and_bad_lines_are_told() {
    let server = Server::start();
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("entries.ndjson");
    let good = json!({"key": "k", "kind": "record", "expires": null, "record": {"id": "a", "user_id": "b", "is_active": true}});
    let text =
        format!("{good}\n{{\"id\":1}}\n{{\"key\":\"x\",\"kind\":\"record\",\"expires\":1}}\n");
    fs::write(&path, text).expect("a file");
    let ran = Ran::at(&server, "import", &[&path.display().to_string()]);
    assert_eq!((ran.status, ran.counts()), (Some(1), [1, 0, 0, 2]), "{}{}", ran.out, ran.err);
    for told in
        ["`import .. -- COMMAND`", "line 2: it is no line of an export", "line 3: it has no record"]
    {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    assert_eq!(server.client().code("k"), "UNVERIFIED");
    assert_eq!(server.client().must("TTL k"), int(300));
    Ran::at(&server, "import", &["/no/such"]).fails_with(2, "/no/such");
}

#[test]
fn an_import_refuses_what_was_revoked_while_the_export_ran() {
    let (from, to) = (Server::start(), Server::start());
    from.client().fill("k1", &["t"]);
    let program = bare(&[]).get_program().to_string_lossy().into_owned();
    let script = format!(
        "{program} export --digests --url {}; redis-cli -p {} APIKEY.TAGINVAL t >&2",
        url(&from),
        to.port
    );
    // It is stored, or refused, as it comes; never valid behind the invalidation.
    let held = format!("redis-cli -p {} APIKEY.TAGINVAL t >&2; {script}", to.port);
    let ran = Ran::of(bare(&["import", "--url", &url(&to), "--", "sh", "-c", &held]));
    assert_eq!((ran.status, ran.counts()), (Some(0), [0, 0, 1, 0]), "{}{}", ran.out, ran.err);
    assert_eq!(to.client().code("k1"), "MISS");
}

#[test]
fn a_cluster_is_exported_and_imported_as_a_whole() {
    let cluster = Cluster::start(3, 0);
    let from = Server::start();
    let mut c = from.client();
    for number in 0..60 {
        c.must(&format!(
            "APIKEY.SETVAL {{k{number}}} {} TAGS 1 mine",
            record(&number.to_string(), "u1")
        ));
    }
    let program = bare(&[]).get_program().to_string_lossy().into_owned();
    let (seed, old) = (url(&cluster.primaries[0]), url(&from));
    let ran = Ran::of(bare(&[
        "import",
        "--cluster",
        "--url",
        &seed,
        "--",
        &program,
        "export",
        "--url",
        &old,
    ]));
    assert_eq!((ran.status, ran.counts()), (Some(0), [60, 0, 0, 0]), "{}{}", ran.out, ran.err);
    let back = Ran::of(bare(&["export", "--cluster", "--url", &seed, "--tag", "mine"]));
    assert_eq!((back.status, keys(&back)), (Some(0), keys(&Ran::at(&from, "export", &[]))));
}

/// Values of two regions, of which one is no UTF-8, one is stale, one softened, one says that there is none.
fn fill_regions(c: &mut Client) {
    c.must("CACHE.SET p1 products text PX 600000 GRACE 5000 LABEL json TAGS 2 mine yours");
    c.cmd([
        &b"CACHE.SET"[..],
        b"p2",
        b"products",
        b"\xff\x00\n",
        b"NS",
        b"acme:",
        b"PX",
        b"600000",
    ]);
    c.must("CACHE.SET p3 products old PX 1 GRACE 600000");
    c.must("CACHE.SET p4 products soft PX 300000 GRACE 300000 TAGS 1 softened");
    c.must("CACHE.TAGINVAL SOFT softened");
    let token = c.must("CACHE.GET p5 products").items()[1].text();
    c.must(&format!("CACHE.SETABSENT p5 products TOKEN {token}"));
    c.must("CACHE.SET s1 search result");
    eventually("it is stale", || c.must("CACHE.GET p3 products").items()[0] == bulk("STALE"));
}

#[test]
fn values_of_regions_are_written_and_stored_again_each_in_its_region() {
    let (from, to) = (Server::start(), Server::start());
    let mut c = from.client();
    c.fill("k", &[]);
    fill_regions(&mut c);
    let told = lines(&Ran::at(&from, "export", &[]));
    assert_eq!(told.len(), 7);
    let p1 = &told["p1"];
    assert_eq!((&p1["kind"], &p1["region"]), (&json!("cache"), &json!("products")));
    assert_eq!((&p1["value"], &p1["label"]), (&json!("text"), &json!("json")));
    assert_eq!((&p1["grace"], &p1["tags"]), (&json!(5000), &json!(["mine", "yours"])));
    let fresh_for = p1["expires"].as_i64().expect("expires") - p1["stored_at"].as_i64().expect("n");
    assert!((604_990..=605_010).contains(&fresh_for), "{p1}");
    let bytes = json!("/wAK");
    assert_eq!((&told["p2"]["value_base64"], told["p2"].get("value")), (&bytes, None));
    assert_eq!(told["p2"]["namespace"], json!("acme:"));
    assert!(told["p5"].get("value").is_none() && told["p5"].get("value_base64").is_none());

    let of = |options: &[&str]| keys(&Ran::at(&from, "export", options));
    assert_eq!(of(&["--region", "products"]), ["p1", "p3", "p4", "p5"]);
    assert_eq!(of(&["--region", "products", "--ns", "acme:"]), ["p2"]);
    assert_eq!(of(&["--tag", "mine"]), ["p1"]);
    Ran::at(&from, "export", &["--ns", "acme:"]).fails_with(2, "--region");

    let program = bare(&[]).get_program().to_string_lossy().into_owned();
    let (old, new) = (url(&from), url(&to));
    let import = |options: &[&str]| {
        let with = ["import", "--json", "--url", &new];
        let export = ["--", &program, "export", "--url", &old];
        let ran = Ran::of(bare(&[&with, options, &export].concat()));
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
        let told = ran.json();
        ["stored", "there_already", "passed_over"].map(|name| told[name].as_u64().expect("n"))
    };
    assert_eq!(import(&["--region", "search"]), [1, 0, 6]);
    assert_eq!(import(&["--region", "products", "--region", "search", "--ns", "acme:"]), [1, 0, 6]);
    // What is there already is: one of search, one of acme:products.
    assert_eq!(import(&["--if-absent"]), [4, 2, 1]);

    let mut c = to.client();
    let mut get = |line: &str| {
        let told = c.must(&format!("CACHE.GET {line}"));
        (told.items()[0].text(), told.items()[1].clone())
    };
    let hit = |value: &[u8]| ("HIT".to_string(), bulk(value));
    assert_eq!(get("p1 products"), hit(b"text"));
    assert_eq!(get("p2 products NS acme:"), hit(b"\xff\x00\n"));
    assert_eq!(get("p3 products"), ("STALE".into(), bulk("old")));
    assert_eq!(get("p4 products"), ("STALE".into(), bulk("soft")));
    assert_eq!(get("p5 products").0, "MISS");
    assert_eq!(get("s1 search"), hit(b"result"));
    assert_eq!(c.must("CACHE.GET p1 products").items()[2], bulk("json"));
    let left = |c: &mut Client, key: &str| c.must(&format!("PTTL {key}")).int();
    let mut old = from.client();
    for key in ["p1", "p2", "p3", "p4"] {
        assert!(left(&mut c, key).abs_diff(left(&mut old, key)) < 5_000, "{key}");
    }
    assert_eq!(c.invalidate("mine"), 1);
    assert_eq!(c.must("CACHE.CLEAR search"), int(1));
}

#[test]
fn values_that_were_invalidated_while_the_export_ran_are_refused() {
    let (from, to) = (Server::start(), Server::start());
    let mut c = from.client();
    c.must("CACHE.SET k1 products text TAGS 1 t");
    c.must("CACHE.SET k2 search text");
    c.must("CACHE.SET k3 others text");
    let program = bare(&[]).get_program().to_string_lossy().into_owned();
    let cli = format!("redis-cli -p {}", to.port);
    let script = format!(
        "{cli} CACHE.TAGINVAL t >&2; {cli} CACHE.CLEAR search >&2; {program} export --url {}",
        url(&from)
    );
    let ran = Ran::of(bare(&["import", "--url", &url(&to), "--", "sh", "-c", &script]));
    assert_eq!((ran.status, ran.counts()), (Some(0), [1, 0, 2, 0]), "{}{}", ran.out, ran.err);
    let mut c = to.client();
    assert!(!c.exists("k1") && !c.exists("k2") && c.exists("k3"));
}

#[test]
fn a_bad_line_of_a_region_is_told_and_a_long_one_is_stored() {
    let server = Server::start();
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("entries.ndjson");
    let line = |value: Json| {
        let mut line = json!({"key": "k", "kind": "cache", "expires": null, "region": "products",
            "grace": 0, "stored_at": 1});
        let fields = value.as_object().expect("fields").clone();
        line.as_object_mut().expect("an object").extend(fields);
        line.to_string()
    };
    let lines = [
        line(json!({"value": "x".repeat(6 << 20)})),
        line(json!({"value": "a", "value_base64": "YQ=="})),
        line(json!({"value_base64": "?"})),
        json!({"key": "k", "kind": "cache", "expires": null}).to_string(),
    ];
    fs::write(&path, lines.join("\n")).expect("a file");
    let ran = Ran::at(&server, "import", &[&path.display().to_string()]);
    assert_eq!((ran.status, ran.counts()), (Some(1), [1, 0, 0, 3]), "{}{}", ran.out, ran.err);
    for told in
        ["line 2: it has a value twice", "line 3: value_base64 is no", "line 4: it has no region"]
    {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let told = server.client().must("CACHE.GET k products");
    assert_eq!(told.items()[1].bytes().len(), 6 << 20);
}
