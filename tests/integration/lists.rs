//! SETLIST and GETLIST: a user's keys, whole or page by page, and when they go.

use crate::harness::server::{self, Stop};
use crate::harness::streams::{find, Tap};
use crate::harness::*;

#[track_caller]
fn token(c: &mut Client, key: &str) -> String {
    c.must(&format!("APIKEY.TOKEN {key}")).text()
}

/// Calls SETLIST of user `u1` with JSON and options.
#[track_caller]
fn set(c: &mut Client, key: &str, json: &str, options: &str) -> Reply {
    let mut call = vec!["APIKEY.SETLIST".to_string(), key.into(), "u1".into(), json.into()];
    call.extend(args(options));
    c.cmd(call)
}

/// The total and the records that GETLIST tells.
#[track_caller]
fn page(c: &mut Client, line: &str) -> (i64, Vec<String>) {
    let reply = c.must(&format!("APIKEY.GETLIST {line}"));
    assert_eq!(reply.items()[0], bulk("HIT"), "{line}");
    let [total, records] = reply.items()[1].items() else { panic!("{reply:?}") };
    (total.int(), records.items().iter().map(Reply::text).collect())
}

#[track_caller]
fn code(c: &mut Client, key: &str) -> String {
    code_of(&c.run(&format!("APIKEY.GETLIST {key}")))
}

fn records(number: usize) -> Vec<String> {
    (0..number).map(|n| record(&format!("k{n}"), "u1")).collect()
}

#[test]
fn a_list_is_told_page_by_page() {
    let server = Server::start();
    let mut c = server.client();
    let miss = c.must("APIKEY.GETLIST l OFFSET 1");
    assert_eq!(miss.items()[0], bulk("MISS"));
    let all = records(5);
    let json = format!("[{}]", all.join(", "));
    assert_eq!(set(&mut c, "l", &json, &format!("TOKEN {}", miss.items()[1].text())), ok());
    assert_eq!(page(&mut c, "l"), (5, all.clone()));
    for (options, shown) in [
        ("OFFSET 0 LIMIT 2", 0..2),
        ("limit 2 offset 2", 2..4),
        ("OFFSET 4 LIMIT 2", 4..5),
        ("OFFSET 3", 3..5),
        ("LIMIT 9223372036854775807", 0..5),
        ("OFFSET 1 LIMIT 9223372036854775807", 1..5),
        ("LIMIT 0", 0..0),
        ("OFFSET 5", 0..0),
        ("OFFSET 9223372036854775807", 0..0),
    ] {
        assert_eq!(page(&mut c, &format!("l {options}")), (5, all[shown].to_vec()), "{options}");
    }
    c.list("l", &[], "");
    assert_eq!(page(&mut c, "l"), (0, vec![]), "a user without keys is known as well");
    assert_eq!(c.run("TYPE l"), simple("apikeylst"));
    assert_exact(&server);
}

#[test]
fn a_list_lives_for_its_time() {
    let server = Server::start();
    let mut c = server.client();
    c.list("l", &records(1), "");
    assert_eq!(c.must("TTL l"), int(1800), "list-ttl");
    c.list("l", &records(1), "EX 100");
    assert!((90..=100).contains(&c.must("TTL l").int()));
    c.list("l", &records(1), "PX 1");
    eventually("it expires", || code(&mut c, "l") == "MISS");
}

#[test]
fn each_record_is_sanitised_as_setval_does_it() {
    let server = Server::builder()
        .setting("max-name-length", "5")
        .setting("extra-fields", "plan")
        .setting("digest-field", "key_digest")
        .start();
    let mut c = server.client();
    let json = format!(
        r#"[{{"id":1,"user_id":"u1","is_active":true,"key_hash":"x","plan":"pro","name":"abcdefg","key_digest":"{DIGEST}"}}]"#
    );
    let token = token(&mut c, "l");
    assert_eq!(set(&mut c, "l", &json, &format!("TOKEN {token}")), ok());
    let stored = r#"{"id":1,"user_id":"u1","is_active":true,"plan":"pro","name":"abcde"}"#;
    assert_eq!(page(&mut c, "l"), (1, vec![stored.to_string()]));
    let dump = c.must("DUMP l");
    assert!(find(dump.bytes(), DIGEST.as_bytes()).is_none());
}

#[test]
fn what_is_wrong_with_a_record_is_told_with_its_number_and_changes_nothing() {
    let server = Server::start();
    let mut c = server.client();
    c.list("l", &records(2), "");
    let before = server.digest();
    let good = record("k", "u");
    let large =
        format!(r#"{{"id":"k","user_id":"u","is_active":true,"x":"{}"}}"#, "x".repeat(16_384));
    let many = format!("[{}]", vec![good.as_str(); 10_001].join(","));
    for (json, text) in [
        ("", "records is not JSON (line 1 column 0)"),
        ("[", "records is not JSON (line 1 column 1)"),
        (&good, "records must be a JSON array"),
        ("1", "records must be a JSON array"),
        ("[1]", "element 1 of records: record must be a JSON object"),
        (&format!("[{good},{good},{{}}]"), "element 3 of records: id is missing"),
        (&format!("[{good},{large}]"), "element 2 of records: record must be at most 16384 bytes"),
        (&many, "records must have at most 10000 elements"),
        (&format!("[{}]", " ".repeat(16 << 20)), "records must be at most 16777216 bytes"),
    ] {
        let token = token(&mut c, "l");
        let reply = set(&mut c, "l", json, &format!("TOKEN {token}"));
        assert_eq!(reply, error(&format!("BADRECORD {text}")));
        assert_eq!(set(&mut c, "l", json, "TOKEN 0"), reply, "also where it would be refused");
    }
    assert_eq!(server.digest(), before);
    assert_exact(&server);
}

#[test]
fn a_list_dies_with_its_user_its_kind_and_its_tags() {
    let server = Server::start();
    let mut c = server.client();
    for tag in ["acme:apikey:user:u1", "acme:apikey:kind:list", "mine"] {
        c.list("l", &records(2), "TAGS 1 mine NS acme:");
        assert_eq!(c.must("APIKEY.TAGS l").items().len(), 3);
        assert_eq!(c.invalidate(tag), 1, "{tag}");
        assert_eq!(code(&mut c, "l"), "MISS", "{tag}");
    }
    c.list("l", &records(2), "");
    assert_eq!(c.invalidate("apikey:id:k0"), 0, "it is of no single key");
    assert_eq!(c.must("APIKEY.INVAL l"), int(1));
    assert_eq!(code(&mut c, "l"), "MISS");
    for how in ["RENAME l moved", "COPY l moved REPLACE"] {
        c.list("l", &records(2), "");
        c.must(how);
        assert_eq!(code(&mut c, "moved"), "MISS", "{how}");
    }
    assert_exact(&server);
}

#[test]
fn a_list_that_raced_with_an_invalidation_is_refused() {
    let server = Server::start();
    let mut c = server.client();
    for invalidation in [
        "APIKEY.TAGINVAL apikey:user:u1",
        "APIKEY.TAGINVAL apikey:kind:list",
        "APIKEY.TAGINVAL mine",
        "APIKEY.INVAL l",
        "FLUSHALL",
    ] {
        let late = format!("TOKEN {} TAGS 1 mine", token(&mut c, "l"));
        c.must(invalidation);
        assert_eq!(set(&mut c, "l", "[]", &late), nil(), "{invalidation}");
        assert_eq!(code(&mut c, "l"), "MISS", "{invalidation}");
    }
    assert_eq!(c.must("APIKEY.HEALTH").get("stale_fills_refused"), &int(5));
}

#[test]
fn what_is_switched_off_is_a_miss_and_stores_nothing() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    c.list("l", &records(1), "");
    let token = format!("TOKEN {}", token(&mut c, "l"));
    c.must("CONFIG SET apikey.writes-enabled no");
    assert_eq!(set(&mut c, "l", "[]", &token), nil());
    assert_eq!(page(&mut c, "l").0, 1);
    c.must("CONFIG SET apikey.writes-enabled yes");
    c.must("CONFIG SET apikey.enabled no");
    assert_eq!(c.must("APIKEY.GETLIST l"), array([bulk("MISS"), bulk("0")]));
    assert_eq!(set(&mut c, "l", "[]", &token), nil());
}

#[test]
fn health_counts_lists_and_what_was_asked() {
    let server = Server::start();
    let mut c = server.client();
    c.list("l", &records(1), "");
    page(&mut c, "l");
    code(&mut c, "none");
    let health = c.must("APIKEY.HEALTH");
    for (name, count) in [("lists", 1), ("records", 0), ("hits", 1), ("misses", 1)] {
        assert_eq!(health.get(name), &int(count), "{name}");
    }
    assert_eq!(c.info("apikey_contents", "apikey_lists").as_deref(), Some("1"));
}

/// A page costs what it is long, wherever it stands: CPU time of the command, of a list of 10,000 keys.
#[test]
fn the_time_of_a_page_depends_on_the_page() {
    let server = Server::start();
    let mut c = server.client();
    c.list("long", &records(10_000), "");
    c.list("short", &records(50), "");
    assert_eq!(page(&mut c, "long OFFSET 9999"), (10_000, vec![record("k9999", "u1")]));
    let mut usec = |line: &str| {
        c.must("CONFIG RESETSTAT");
        let lines = vec![format!("APIKEY.GETLIST {line}"); 300];
        c.pipeline(&lines);
        let stat = c.info("commandstats", "cmdstat_apikey.getlist").expect("figures");
        let usec = stat.split(',').find_map(|f| f.strip_prefix("usec=")).expect("usec");
        usec.parse::<u64>().expect("a number")
    };
    // The least of several, since others use the machine too.
    let mut least = |line: &str| (0..5).map(|_| usec(line)).min().expect("several");
    let of_short = least("short OFFSET 0 LIMIT 50");
    for offset in [0, 5_000, 9_950] {
        let of_long = least(&format!("long OFFSET {offset} LIMIT 50"));
        assert!(of_long < 5 * of_short, "at {offset}: {of_long} us, of a short list {of_short} us");
    }
}

#[test]
fn the_longest_list_survives_a_restart_and_agrees_on_a_replica() {
    for aof in [false, true] {
        let builder = Server::builder().setting("trust-loaded", "yes");
        let mut server = if aof { builder.with_aof(false).start() } else { builder.start() };
        let replica = Server::builder().setting("list-ttl", "1").start();
        replica.replicate(&server);
        let mut c = server.client();
        c.list("l", &records(10_000), "EX 5000 TAGS 1 t");
        replica.in_sync_with(&server);
        let before = (answers(&server), server.digest());
        assert_eq!((answers(&replica), replica.digest()), before);
        assert_exact(&replica);
        if aof {
            server.restart(Stop::Kill);
            assert_eq!((answers(&server), server.digest()), before);
            server.rewrite_aof();
        }
        server.restart(if aof { Stop::Kill } else { Stop::Save });
        assert_eq!((answers(&server), server.digest()), before);
        assert_nothing_was_refused(&server);
        assert_eq!(server.client().invalidate("t"), 1);
        assert_exact(&server);
    }
}

#[test]
fn what_is_replicated_is_resolved() {
    let server = Server::start();
    let mut c = server.client();
    let mut stream = Tap::replication(server.port);
    let json = r#" [ {"id":1,"user_id":2,"is_active":true,"key_hash":"x"} ] "#;
    let options = format!("TOKEN {} PXAT 4102444800123 TAGS 1 t NS n:", token(&mut c, "l"));
    assert_eq!(set(&mut c, "l", json, &options), ok());
    c.must("SET end x");
    stream.until(b"end");
    let text = stream.text().replace("\\r\\n", " ").replace("\\\"", "\"");
    let line = r#"apikey.setlist $1 l $2 u1 $39 [{"id":1,"user_id":2,"is_active":true}] $5 TOKEN $1 0 $4 PXAT $13 4102444800123 $4 TAGS $1 1 $1 t $2 NS $2 n:"#;
    assert!(text.contains(line), "{text}");
}
