//! Entries and counters are ordinary keys: what the server's own commands, WATCH, CLIENT TRACKING and
//! keyspace notifications make of them.

use crate::harness::*;

#[test]
fn the_servers_own_commands_work_on_entries_and_counters() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &["tag"]);
    c.count("u", 5);
    let kinds = ["k", "u"].map(|key| c.must(&format!("TYPE {key}")).text());
    assert_ne!(kinds[0], kinds[1]);
    for (key, kind) in ["k", "u"].iter().zip(&kinds) {
        let found = c.must(&format!("SCAN 0 COUNT 100 TYPE {kind}"));
        assert_eq!(found.items()[1], array([bulk(key)]));
        assert!(c.must(&format!("MEMORY USAGE {key}")).int() > 40, "{key}");
        c.must(&format!("OBJECT IDLETIME {key}"));
        c.must(&format!("DUMP {key}"));
    }
    let small = c.must("MEMORY USAGE k").int();
    store(&mut c, "k", &format!("\"name\":\"{}\"", "n".repeat(100)), "");
    assert!(c.must("MEMORY USAGE k").int() > small, "a larger record takes more");
    assert_eq!(c.must("UNLINK k u"), int(2));
    assert_exact(&server);
}

#[test]
fn client_tracking_tells_of_entries_that_change_or_are_killed() {
    let server = Server::start();
    let mut c = server.client();
    let mut cache = server.client();
    cache.resp3();
    cache.must("CLIENT TRACKING ON");
    let told = Reply::Push(vec![array([bulk("k")])]);
    c.fill("k", &["tag"]);
    for change in [
        format!("APIKEY.SETVAL k {} TAGS 1 tag", record("k", "u")),
        "APIKEY.TAGINVAL tag".into(),
        format!("APIKEY.SETVAL k {}", record("k", "u")),
        "APIKEY.INVAL none k".into(),
        "APIKEY.USAGE.INCR k".into(),
    ] {
        cache.must("APIKEY.VALIDATE k");
        c.must(&change);
        assert_eq!(cache.read().expect("a message"), told, "{change}");
    }
    cache.must("APIKEY.USAGE.GET k");
    c.must("APIKEY.USAGE.TAKE k");
    assert_eq!(cache.read().expect("a message"), told);
}

#[test]
fn a_large_tag_breaks_a_transaction_only_as_its_keys_are_reclaimed_and_validate_in_it_says_so() {
    let server = Server::builder().setting("sync-reclaim", "1").start();
    let mut c = server.client();
    if !hold(&mut c) {
        return; // the dead ones have to stay
    }
    let mut watcher = server.client();
    let watch = |watcher: &mut Client, key: &str| {
        watcher.must(&format!("WATCH {key}"));
        watcher.must("MULTI");
        watcher.must(&format!("APIKEY.VALIDATE {key} SECRET {SECRET}"));
    };
    c.fill("small", &["few"]);
    watch(&mut watcher, "small");
    assert_eq!(c.invalidate("few"), 1);
    assert_eq!(watcher.must("EXEC"), nil(), "at once");

    for key in ["a", "b"] {
        c.fill(key, &["many"]);
    }
    watch(&mut watcher, "a");
    assert_eq!(c.invalidate("many"), 2);
    let replies = watcher.must("EXEC");
    let [validated] = replies.items() else { panic!("it ran: {replies:?}") };
    assert_eq!(code_of(validated), "MISS");
    watch(&mut watcher, "a");
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(watcher.must("EXEC"), nil(), "as it is reclaimed");
}

/// Runs a line while one client watches the key and another caches it. Its reply; whether it broke the
/// transaction of the one, and whether the other was told.
#[track_caller]
fn run_while_watched(server: &Server, key: &str, line: &str) -> (Reply, (bool, bool)) {
    let [mut c, mut watcher, mut cache] = [(); 3].map(|()| server.client());
    watcher.must(&format!("WATCH {key}"));
    watcher.must("MULTI");
    watcher.must("PING");
    cache.resp3();
    cache.must("CLIENT TRACKING ON");
    cache.must(&format!("TYPE {key}"));
    cache.must("TYPE end");
    let reply = c.run(line);
    c.must("SET end x");
    let broken = watcher.must("EXEC");
    assert!(broken == nil() || broken == array([simple("PONG")]), "{line}: {broken:?}");
    let told = cache.read().expect("a message");
    if told == Reply::Push(vec![array([bulk("end")])]) {
        return (reply, (broken == nil(), false));
    }
    assert_eq!(told, Reply::Push(vec![array([bulk(key)])]), "{line}");
    (reply, (broken == nil(), true))
}

/// An entry, a dead one, counters with and without something pending, one that is full and one that is
/// leased, and a string. Gives the batch.
#[track_caller]
fn set_up_every_kind(c: &mut Client) -> String {
    c.must("FLUSHALL");
    c.fill("rec", &["tag"]);
    c.fill("source", &["dead"]);
    c.must("RENAME source dead");
    c.count("leased", 5);
    let batch = c.lease();
    c.count("use", 5);
    c.count("taken", 5);
    c.must("APIKEY.USAGE.TAKE taken");
    c.count("full", i64::MAX);
    c.must("SET str x");
    batch.id
}

#[test]
fn what_is_refused_or_does_nothing_touches_no_key() {
    let server = Server::start();
    let mut c = server.client();
    if !hold(&mut c) {
        return; // the dead one has to stay
    }
    let set = |key: &str, how: &str| format!("APIKEY.SETVAL {key} {} {how}", record("k", "u"));
    let (valid, wrong) =
        (format!("APIKEY.VALIDATE rec SECRET {SECRET}"), "APIKEY.VALIDATE rec SECRET x");
    let too_long = format!("APIKEY.TAGINVAL tag {}", "x".repeat(513));
    let batch = set_up_every_kind(&mut c);
    for (key, line, reply) in [
        ("rec", &*set("rec", "NX"), "nil"),
        ("rec", &set("rec", "EX 0"), "-ERR EX must be"),
        ("rec", &set("rec", "FOO"), "-ERR unknown option"),
        ("rec", &set("rec", "TOKEN 0"), "nil"),
        ("rec", &set("rec", "TOKEN 00"), "-ERR TOKEN must be"),
        ("rec", "APIKEY.INVAL rec str", "-WRONGTYPE"),
        ("rec", "APIKEY.INVAL none dead", "0"),
        ("rec", "APIKEY.TOKEN rec", "\""),
        ("rec", "APIKEY.SETVAL rec {}", "-BADRECORD"),
        ("rec", "APIKEY.TAGINVAL other", "0"),
        ("rec", &too_long, "-ERR a tag must be"),
        ("rec", "APIKEY.USAGE.INCR rec", "-WRONGTYPE"),
        ("rec", "APIKEY.USAGE.TAKE rec", "-WRONGTYPE"),
        ("rec", &valid, "["),
        ("rec", wrong, "["),
        ("rec", "APIKEY.TAGS rec", "["),
        ("rec", "APIKEY.CHECK", "["),
        ("dead", &set("dead", "XX"), "nil"),
        ("dead", "APIKEY.TAGINVAL dead", "0"),
        ("none", &set("none", "XX"), "nil"),
        ("none", &set("none", "TOKEN 0"), "nil"),
        ("none", "APIKEY.INVAL none", "0"),
        ("none", "APIKEY.TOKEN none", "\""),
        ("none", "APIKEY.VALIDATE none", "["),
        ("none", "APIKEY.USAGE.TAKE none", "[0]"),
        ("none", "APIKEY.USAGE.INCR none BY 0", "-ERR BY must be"),
        ("str", &set("str", "EX 9"), "-WRONGTYPE"),
        ("str", "APIKEY.INVAL str", "-WRONGTYPE"),
        ("str", "APIKEY.USAGE.INCR str", "-WRONGTYPE"),
        ("str", "APIKEY.USAGE.TAKE str", "-WRONGTYPE"),
        ("use", &set("use", "EX 9"), "-WRONGTYPE"),
        ("use", "APIKEY.INVAL rec use", "-WRONGTYPE"),
        ("use", "APIKEY.USAGE.TAKE use str", "-WRONGTYPE"),
        ("use", "APIKEY.USAGE.INCR use BY -1", "-ERR BY must be"),
        ("use", "APIKEY.USAGE.GET use", "["),
        ("full", "APIKEY.USAGE.INCR full", "-ERR BY must not take the total"),
        ("taken", "APIKEY.USAGE.TAKE taken", "[0]"),
        ("taken", "APIKEY.USAGE.TAKE taken use", "[0, 5]"),
        ("taken", "APIKEY.USAGE.FLUSH", "["),
        ("use", "APIKEY.USAGE.FLUSH", "[]"),
        ("leased", "APIKEY.USAGE.TAKE leased", "[0]"),
        ("leased", "APIKEY.USAGE.LEASE 1000", "[]"),
        ("leased", "APIKEY.USAGE.LEASE 0", "-ERR milliseconds must be"),
        ("leased", "APIKEY.USAGE.ACK 11111111111111111111111111111111", "0"),
        ("leased", "APIKEY.USAGE.ACK <batch> x", "-ERR batch must be"),
        ("leased", "APIKEY.USAGE.NACK <batch>", "1"),
        ("leased", "APIKEY.USAGE.LEASE 1000", "["),
    ] {
        let line = &line.replace("<batch>", &batch);
        let (said, touched) = run_while_watched(&server, key, line);
        assert!(format!("{said:?}").starts_with(reply), "{line}: {said:?}");
        assert_eq!(touched, (false, false), "{key}: {line}");
    }
    assert_exact(&server);
}

#[test]
fn what_changes_a_key_touches_it() {
    let server = Server::start();
    let mut c = server.client();
    if !hold(&mut c) {
        return; // the dead one has to stay
    }
    let set = |key: &str, how: &str| format!("APIKEY.SETVAL {key} {} {how}", record("k", "u"));
    for (key, line) in [
        ("rec", &*set("rec", "EX 9")),
        ("rec", &set("rec", "TOKEN <>")),
        ("none", &set("none", "TOKEN <>")),
        ("rec", "APIKEY.INVAL rec"),
        ("rec", "APIKEY.INVAL none rec rec"),
        ("dead", "APIKEY.INVAL dead rec"),
        ("rec", &set("rec", "XX KEEPTTL")),
        ("rec", "APIKEY.TAGINVAL tag"),
        ("rec", "APIKEY.TAGINVAL other apikey:id:id"),
        ("dead", &set("dead", "NX")),
        ("none", &set("none", "NX")),
        ("none", "APIKEY.USAGE.INCR none"),
        ("use", "APIKEY.USAGE.INCR use"),
        ("use", "APIKEY.USAGE.TAKE none use"),
        ("use", "APIKEY.USAGE.FLUSH"),
        ("taken", "APIKEY.USAGE.INCR taken BY 2"),
        ("full", "APIKEY.USAGE.TAKE full"),
        ("use", "APIKEY.USAGE.LEASE 1000"),
        ("leased", "APIKEY.USAGE.INCR leased"),
        ("leased", "APIKEY.USAGE.ACK <batch>"),
    ] {
        let batch = set_up_every_kind(&mut c);
        let token = c.must("APIKEY.TOKEN rec").text();
        let line = &line.replace("<>", &token).replace("<batch>", &batch);
        let (said, touched) = run_while_watched(&server, key, line);
        assert!(!said.is_error(), "{line}: {said:?}");
        assert_eq!(touched, (true, true), "{key}: {line}");
    }
    assert_exact(&server);
}

// Health

/// The keyspace events that the lines cause in database 0: (event, key).
fn events(server: &Server, classes: &str, lines: &[String]) -> Vec<(String, String)> {
    let mut c = server.client();
    c.must(&format!("CONFIG SET notify-keyspace-events {classes}"));
    let mut listener = server.client();
    listener.must("PSUBSCRIBE *");
    for line in lines {
        c.run(line);
    }
    c.must("PUBLISH end end");
    let mut all = Vec::new();
    loop {
        let message = listener.read().expect("a message");
        let (channel, payload) = (message.items()[2].text(), message.items()[3].text());
        if channel == "end" {
            return all;
        }
        let event = channel.strip_prefix("__keyevent@0__:").expect("an event of database 0");
        all.push((event.to_string(), payload));
    }
}

#[test]
fn what_the_commands_do_to_keys_is_notified() {
    let server = Server::start();
    let json = record("k", "u");
    let lines: Vec<String> = [
        format!("APIKEY.SETVAL k {json} TAGS 1 tag"),
        format!("APIKEY.SETVAL k {json} NX"),
        format!("APIKEY.SETVAL k {json} XX"),
        "PERSIST k".into(),
        format!("APIKEY.SETVAL k {json} KEEPTTL TAGS 1 tag"),
        "APIKEY.SETVAL k {}".into(),
        "APIKEY.VALIDATE k".into(),
        "APIKEY.TAGS k".into(),
        "APIKEY.USAGE.INCR u".into(),
        "APIKEY.USAGEINCR u".into(),
        "APIKEY.USAGE.INCR u BY 0".into(),
        "APIKEY.USAGE.GET u".into(),
        "APIKEY.USAGE.TAKE u none u".into(),
        "APIKEY.USAGE.INCR u".into(),
        "APIKEY.USAGE.FLUSH".into(),
        "APIKEY.USAGE.FLUSH".into(),
        "APIKEY.USAGE.INCR u".into(),
        "APIKEY.USAGE.LEASE 1000".into(),
        "APIKEY.USAGE.LEASE 1000".into(),
        "APIKEY.TAGINVAL tag none".into(),
        "APIKEY.TOKEN k".into(),
        format!("APIKEY.SETVAL k {json} TOKEN 0"),
        "APIKEY.INVAL k".into(),
        format!("APIKEY.SETVAL k {json}"),
        "APIKEY.INVAL none k u".into(),
        "APIKEY.INVAL none k k".into(),
    ]
    .into();
    let pair = |event: &str, key: &str| (event.to_string(), key.to_string());
    assert_eq!(
        events(&server, "EA", &lines),
        [
            pair("apikey.setval", "k"),
            pair("expire", "k"),
            pair("apikey.setval", "k"),
            pair("expire", "k"),
            pair("persist", "k"),
            pair("apikey.setval", "k"),
            pair("apikey.usage.incr", "u"),
            pair("apikey.usage.incr", "u"),
            pair("apikey.usage.take", "u"),
            pair("apikey.usage.incr", "u"),
            pair("apikey.usage.take", "u"),
            pair("apikey.usage.incr", "u"),
            pair("apikey.usage.lease", "u"),
            pair("del", "k"),
            pair("apikey.setval", "k"),
            pair("expire", "k"),
            pair("del", "k"),
        ]
    );
}

#[test]
fn the_modules_events_are_of_the_class_for_modules() {
    let server = Server::start();
    let lines = [format!("APIKEY.SETVAL k {}", record("k", "u")), "APIKEY.USAGE.INCR u".into()];
    let names = |classes: &str| -> Vec<String> {
        events(&server, classes, &lines).into_iter().map(|(event, _)| event).collect()
    };
    assert_eq!(names("Ed"), ["apikey.setval", "apikey.usage.incr"]);
    assert_eq!(names("Eg"), ["expire"]);
    assert_eq!(names("E$"), Vec::<String>::new());
}
