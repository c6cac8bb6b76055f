//! How caches outside the server learn of invalidations: CLIENT TRACKING, and the channel.

use crate::harness::server::{self, Kind, Stop};
use crate::harness::*;
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server that publishes to the channel `inval`, and a client that listens.
pub fn start(builder: Builder) -> (Server, Client) {
    let server = builder.setting("invalidation-channel", "inval").start();
    let listener = subscribed(&server);
    (server, listener)
}

fn subscribed(server: &Server) -> Client {
    let mut listener = server.client();
    listener.must("SUBSCRIBE inval");
    listener
}

#[track_caller]
pub fn next(listener: &mut Client) -> Value {
    let reply = listener.read().expect("a message");
    let text = match &reply {
        Reply::Push(items) | Reply::Array(items) => items[2].text(),
        other => panic!("{other:?}"),
    };
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The next message without its run, which every message of `run` has.
#[track_caller]
pub fn next_of(listener: &mut Client, run: &str) -> Value {
    let mut message = next(listener);
    assert_eq!(message["run"], run, "{message}");
    message.as_object_mut().expect("an object").remove("run");
    message
}

/// The run of a server: a token begins with it.
pub fn run_of(c: &mut Client) -> String {
    c.must("APIKEY.TOKEN k").text().split('-').next().unwrap_or_default().to_string()
}

#[test]
fn every_invalidation_is_published_with_the_next_number() {
    let (server, mut listener) = start(Server::builder());
    let mut c = server.client();
    let run = run_of(&mut c);
    let setval = format!("APIKEY.SETVAL k {}", record("id", "u"));
    let token = c.must("APIKEY.TOKEN k").text();
    c.must(&format!("{setval} TOKEN {token}"));
    c.must("APIKEY.TAGINVAL apikey:user:u other");
    c.must("APIKEY.INVAL k k2");
    c.must(&setval);
    c.must("SELECT 2");
    c.must(&setval);
    c.must(&format!("{setval} NX"));
    c.must("RENAME k other");
    c.must("DEL other");
    c.cmd([b"APIKEY.TAGINVAL".as_slice(), b"\xff\0", "Zo\u{eb}\n".as_bytes()]);
    c.must("FLUSHDB");
    c.must("FLUSHALL");
    let expected = [
        json!({"number": 1, "database": 0, "tags": ["apikey:user:u", "other"]}),
        json!({"number": 2, "database": 0, "keys": ["k", "k2"]}),
        json!({"number": 3, "database": 0, "keys": ["k"]}),
        json!({"number": 4, "database": 2, "keys": ["k"]}),
        json!({"number": 5, "database": 2, "keys": ["k"]}),
        json!({"number": 6, "database": 2, "tags": [{"hex": "ff00"}, "Zo\u{eb}\n"]}),
        json!({"number": 7, "database": 2, "flushed": true}),
        json!({"number": 8, "database": null, "flushed": true}),
    ];
    for message in expected {
        assert_eq!(next_of(&mut listener, &run), message);
    }
}

#[test]
fn what_fails_or_was_refused_by_its_token_is_not_published() {
    let (server, mut listener) = start(Server::builder());
    let mut c = server.client();
    c.must("SET s x");
    for bad in ["APIKEY.INVAL k s", "APIKEY.TAGINVAL", "APIKEY.SETVAL k {}"] {
        assert!(c.run(bad).is_error(), "{bad}");
    }
    assert!(c.run(&format!("APIKEY.SETVAL s {}", record("id", "u"))).is_error());
    assert_eq!(c.run(&format!("APIKEY.SETVAL k {} TOKEN 0", record("id", "u"))), nil());
    c.must("APIKEY.TAGINVAL t");
    assert_eq!(next(&mut listener)["number"], 1);
}

#[test]
fn a_message_with_no_room_for_its_names_says_that_all_is_to_be_dropped() {
    let (server, mut listener) = start(Server::builder());
    let mut c = server.client();
    let run = run_of(&mut c);
    c.must("SELECT 3");
    // A name of 200 bytes that JSON writes as 1,200.
    let tag = |n: usize| format!("{n:04}{}", "\u{1}".repeat(196));
    let inval = |c: &mut Client, tags: usize| {
        let words = std::iter::once("APIKEY.TAGINVAL".to_string()).chain((0..tags).map(tag));
        assert_eq!(c.cmd(words), int(0));
    };
    inval(&mut c, 50);
    inval(&mut c, 1000);
    c.must(&format!("APIKEY.INVAL {}", "x".repeat(70_000)));
    c.must("APIKEY.INVAL k");
    let named: Vec<String> = (0..50).map(tag).collect();
    for message in [
        json!({"number": 1, "database": 3, "tags": named}),
        json!({"number": 2, "database": 3, "flushed": true, "unnamed": 1000}),
        json!({"number": 3, "database": 3, "flushed": true, "unnamed": 1}),
        json!({"number": 4, "database": 3, "keys": ["k"]}),
    ] {
        assert_eq!(next_of(&mut listener, &run), message);
    }
}

#[test]
fn in_a_transaction_and_in_a_script_it_is_published_too() {
    let (server, mut listener) = start(Server::builder());
    let mut c = server.client();
    c.must("MULTI");
    c.must("APIKEY.TAGINVAL a");
    c.must("APIKEY.INVAL b");
    c.must("EXEC");
    c.cmd(["EVAL", "return redis.call('APIKEY.TAGINVAL', 'c')", "0"]);
    assert_eq!(next(&mut listener)["tags"], json!(["a"]));
    assert_eq!(next(&mut listener)["keys"], json!(["b"]));
    assert_eq!(next(&mut listener)["tags"], json!(["c"]));
}

#[test]
fn who_listens_at_a_replica_hears_each_message_once_and_a_new_run_after_promotion() {
    let (primary, mut at_primary) = start(Server::builder());
    let (replica, mut at_replica) = start(Server::builder().replica_of(&primary));
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    let run = run_of(&mut c);
    // The full resync has flushed the replica, which is no invalidation there.
    for number in 1..4 {
        c.must("APIKEY.TAGINVAL t");
        for listener in [&mut at_primary, &mut at_replica] {
            let message = json!({"number": number, "database": 0, "tags": ["t"]});
            assert_eq!(next_of(listener, &run), message);
        }
    }
    replica.promote();
    let mut c = replica.client();
    let new_run = run_of(&mut c);
    assert_ne!(run, new_run);
    c.must("APIKEY.TAGINVAL t");
    assert_eq!(next(&mut at_replica)["run"], new_run.as_str());
}

#[test]
fn without_a_channel_nothing_is_published() {
    let server = Server::start();
    let mut listener = server.client();
    listener.must("PSUBSCRIBE *");
    let mut c = server.client();
    c.must("APIKEY.TAGINVAL t");
    c.must("PUBLISH x end");
    let message = listener.read().expect("a message");
    assert!(format!("{message:?}").contains("end"), "{message:?}");
    assert_eq!(
        c.info("commandstats", "cmdstat_publish").map(|s| s.contains("calls=1,")),
        Some(true)
    );
}

/// Everything that the server has pushed to a tracking client so far: keys, in their order.
fn told(cache: &mut Client, c: &mut Client) -> Vec<String> {
    c.must("SET end-of-test x");
    let mut keys = Vec::new();
    loop {
        let Ok(Reply::Push(items)) = cache.read() else { panic!("no message") };
        // With `push` kinds the first item says invalidate.
        for item in items {
            if let Reply::Array(names) = item {
                keys.extend(names.iter().map(Reply::text));
            }
        }
        if keys.iter().any(|key| key == "end-of-test") {
            keys.retain(|key| key != "end-of-test");
            keys.sort();
            return keys;
        }
    }
}

#[test]
fn client_tracking_tells_of_small_tags_at_once_and_of_large_ones_as_they_are_reclaimed() {
    const MANY: usize = 2_000;
    for bcast in [false, true] {
        let server = Server::start();
        let mut c = server.client();
        c.fill("small", &["few"]);
        let fills: Vec<String> = (0..MANY)
            .map(|n| format!("APIKEY.SETVAL large{n} {} TAGS 1 many", record("id", "u")))
            .collect();
        c.pipeline(&fills);
        let mut cache = server.client();
        cache.resp3();
        cache.must(if bcast { "CLIENT TRACKING ON BCAST" } else { "CLIENT TRACKING ON" });
        let reads: Vec<String> = (0..MANY).map(|n| format!("APIKEY.VALIDATE large{n}")).collect();
        cache.pipeline(&reads);
        cache.must("APIKEY.VALIDATE small");
        cache.must("GET end-of-test");

        c.must("APIKEY.TAGINVAL few");
        assert_eq!(told(&mut cache, &mut c), ["small"], "at once, bcast: {bcast}");
        cache.must("GET end-of-test");

        assert_eq!(c.invalidate("many"), MANY as i64);
        assert_eq!(c.code("large7"), "MISS", "dead, whether told or not");
        eventually("the backlog is gone", || {
            c.must("APIKEY.HEALTH").get("reclaim_backlog").int() == 0
        });
        let mut all: Vec<String> = (0..MANY).map(|n| format!("large{n}")).collect();
        all.sort();
        assert_eq!(told(&mut cache, &mut c), all, "bcast: {bcast}");
    }
}

/// `examples/local_cache.py`, which answers a line with a line.
struct LocalCache {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl LocalCache {
    fn start(server: &Server) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/local_cache.py");
        let python = std::env::var_os("APIKEY_PYTHON").unwrap_or_else(|| "python3".into());
        let mut child = Command::new(python)
            .arg(script)
            .args(["--port", &server.port.to_string(), "--channel", "inval", "--ttl", "600"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let input = child.stdin.take().expect("stdin");
        let output = BufReader::new(child.stdout.take().expect("stdout"));
        Self { child, input, output }
    }

    fn ask(&mut self, key: &str) -> String {
        writeln!(self.input, "{key} {DIGEST}").expect("a question");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        line.trim().to_string()
    }

    /// Waits until it keeps what it is told, which it does only while it follows the channel.
    #[track_caller]
    fn remembers(&mut self, key: &str) {
        eventually("the cache follows", || self.ask(key) == "VALID local");
    }
}

impl Drop for LocalCache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_example_of_a_local_cache_forgets_what_is_invalidated_or_may_be() {
    let (mut server, mut listener) = start(Server::builder().setting("trust-loaded", "yes"));
    let mut c = server.client();
    for key in ["k", "other", "third"] {
        c.must(&format!(
            "APIKEY.SETVAL {key} {} DIGEST {DIGEST} TAGS 1 of-{key} EX 1000",
            record(key, "u")
        ));
    }
    let mut cache = LocalCache::start(&server);
    let both = |cache: &mut LocalCache| [cache.ask("k"), cache.ask("other")];
    cache.remembers("k");
    cache.remembers("other");

    // What is killed is forgotten, and nothing else. The first message shows it the run.
    c.must("APIKEY.TAGINVAL nothing");
    eventually("the first message", || cache.ask("k") == "VALID server");
    for key in ["k", "other", "third"] {
        cache.remembers(key);
    }
    c.must("APIKEY.TAGINVAL of-third");
    eventually("its own is forgotten", || cache.ask("third") == "MISS server");
    assert_eq!(both(&mut cache), ["VALID local"; 2]);
    c.must("APIKEY.INVAL other");
    eventually("a key is forgotten", || cache.ask("other") == "MISS server");
    assert_eq!(cache.ask("k"), "VALID local");
    // What has no room for names is everything.
    c.must(&format!("APIKEY.INVAL {}", "x".repeat(70_000)));
    eventually("all is forgotten", || cache.ask("k") == "VALID server");
    cache.remembers("k");
    for _ in 0..7 {
        next(&mut listener);
    }

    // A number that it did not see: everything is forgotten.
    if server::kind() != Kind::Redis62 {
        c.must("DEL k");
        assert_eq!(cache.ask("k"), "VALID local", "DEL is no revocation");
        c.must("CONFIG SET apikey.invalidation-channel elsewhere");
        c.must("APIKEY.TAGINVAL unseen");
        c.must("CONFIG SET apikey.invalidation-channel inval");
        assert_eq!(cache.ask("k"), "VALID local");
        c.must("APIKEY.TAGINVAL nothing");
        eventually("all is forgotten", || cache.ask("k") == "MISS server");
    }

    // Gone and back: everything is forgotten, and it follows again.
    c.must(&format!("APIKEY.SETVAL k {} DIGEST {DIGEST} EX 1000", record("k", "u")));
    cache.remembers("k");
    let port = server.port;
    server.restart(Stop::Save);
    assert_eq!(server.port, port);
    eventually("it asks again", || cache.ask("k") == "VALID server");
    cache.remembers("k");

    // While memory is full some servers take no transaction.
    let mut c = server.client();
    c.must(&format!("APIKEY.SETVAL full {} DIGEST {DIGEST} EX 1000", record("full", "u")));
    c.must("CONFIG SET maxmemory 1");
    assert_eq!(cache.ask("full"), "VALID server");
    c.must("CONFIG SET maxmemory 0");

    // It is told when an answer ends by itself, and says VALID no longer. On a slow machine that may have come
    // before it kept the answer.
    let mut c = server.client();
    let mut store = || {
        let seconds: i64 = c.must("TIME").items()[0].text().parse().expect("seconds");
        let expires_at = (seconds + 3) * 1000;
        c.must(&format!(
            r#"APIKEY.SETVAL k {{"id":"k","user_id":"u","is_active":true,"expires_at":{expires_at}}} DIGEST {DIGEST} EX 1000"#
        ));
    };
    store();
    eventually("it keeps an answer that will end", || match cache.ask("k").as_str() {
        "VALID local" => true,
        "EXPIRED server" => {
            store();
            false
        }
        _ => false,
    });
    eventually("its expires_at has come", || cache.ask("k") == "EXPIRED server");
}
