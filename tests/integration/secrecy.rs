//! Secrecy: a secret that SETVAL or VALIDATE was given is in nothing that the server tells or keeps.
//!
//! A recognisable secret is planted and then searched for in all that can be seen from outside. Each
//! search is made once more for a text that was planted where it must be found.

use crate::harness::server::Kind;
use crate::harness::streams::{find, Tap};
use crate::harness::*;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the control is found, and a secret never. `replies` are those of the calls that had it.
const PLACES: [&str; 10] = [
    "AOF",
    "MONITOR",
    "MONITOR of the replica",
    "RDB",
    "SLOWLOG",
    "SLOWLOG of the replica",
    "log",
    "questions",
    "replication stream",
    "replies",
];

/// A text that occurs nowhere by chance, other for each call.
fn needle() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let mut rng = Rng::new(now.as_nanos() as u64);
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    (0..40).map(|_| letters[rng.below(letters.len())]).collect()
}

/// A primary and its replica, with all that they tell and keep switched on.
struct Watched {
    server: Server,
    replica: Server,
    monitor: Tap,
    replica_monitor: Tap,
    stream: Tap,
    events: Client,
    /// The caller.
    c: Client,
    /// The caller at the replica.
    r: Client,
}

impl Watched {
    fn new() -> Self {
        let builder = || {
            Server::builder()
                .with_aof(false)
                .config("loglevel debug")
                .config("rdbcompression no")
                .config("slowlog-log-slower-than 0")
                .config("slowlog-max-len 100000")
                .config("latency-monitor-threshold 1")
                .config("notify-keyspace-events KEA")
        };
        let server = builder().start();
        let replica = builder().start();
        let mut c = server.client();
        c.must("SET str value");
        c.count("use", 1);
        replica.replicate(&server);
        for server in [&server, &replica] {
            let mut c = server.client();
            if server::kind() == Kind::Valkey91 {
                for of in ["request", "reply"] {
                    c.must(&format!("CONFIG SET commandlog-{of}-larger-than 0"));
                    c.must(&format!("CONFIG SET commandlog-large-{of}-max-len 100000"));
                }
            }
        }
        let mut events = server.client();
        events.keep_bytes();
        events.must("PSUBSCRIBE *");
        let mut r = replica.client();
        c.keep_bytes();
        r.keep_bytes();
        Self {
            monitor: Tap::monitor(server.port),
            replica_monitor: Tap::monitor(replica.port),
            stream: Tap::replication(server.port),
            server,
            replica,
            events,
            c,
            r,
        }
    }

    /// Asserts that the secret is nowhere, and that the search finds what was put everywhere.
    #[track_caller]
    fn assert_nowhere(mut self, secret: &str) {
        // What was planted is to have passed all the places.
        let end = needle();
        self.c.must(&format!("SET marker {end}"));
        assert_eq!(self.found(secret, &end), Vec::<String>::new());

        let control = needle();
        self.c.must(&format!("ECHO {control}"));
        self.c.must(&format!("SET control {control}"));
        self.r.must(&format!("GET {control}"));
        self.c.must(&format!("DEBUG LOG {control}"));
        let end = needle();
        self.c.must(&format!("SET marker {end}"));
        let mut found = self.found(&control, &end);
        found.dedup();
        let mut places: Vec<&str> = PLACES.to_vec();
        if server::kind() == Kind::Valkey91 {
            places.insert(1, "COMMANDLOG");
        }
        assert_eq!(found, places, "the search works");
    }

    /// The places that have the text, sorted. `end` was written last.
    #[track_caller]
    fn found(&mut self, text: &str, end: &str) -> Vec<String> {
        let end = end.as_bytes();
        // Half of it is too much already, and so is another spelling.
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&text[..20], &text[20..], &hex];
        let mut found: Vec<String> = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            if parts.iter().any(|part| find(bytes, part.as_bytes()).is_some()) {
                found.push(place.into());
            }
        };
        self.replica.in_sync_with(&self.server);
        look("MONITOR", self.monitor.until(end));
        look("MONITOR of the replica", self.replica_monitor.until(end));
        look("replication stream", self.stream.until(end));
        look("replies", self.c.kept_bytes());
        look("replies", self.r.kept_bytes());

        self.server.client().must("PUBLISH events end");
        while find(self.events.kept_bytes(), b"events\r\n$3\r\nend").is_none() {
            self.events.read().expect("an event");
        }
        look("events", self.events.kept_bytes());

        for (server, of) in [(&self.server, ""), (&self.replica, " of the replica")] {
            let mut c = server.client();
            c.keep_bytes();
            c.must("SLOWLOG GET 100000");
            look(&format!("SLOWLOG{of}"), c.kept_bytes());

            if server::kind() == Kind::Valkey91 {
                let mut c = server.client();
                c.keep_bytes();
                for of in ["slow", "large-request", "large-reply"] {
                    c.must(&format!("COMMANDLOG GET -1 {of}"));
                }
                look("COMMANDLOG", c.kept_bytes());
            }

            let mut c = server.client();
            c.keep_bytes();
            for question in [
                "INFO everything",
                "CLIENT LIST",
                "LATENCY LATEST",
                "LATENCY DOCTOR",
                "LATENCY HISTORY command",
                "ACL LOG",
                "CONFIG GET *",
                "COMMAND",
                "MODULE LIST",
                "APIKEY.HEALTH",
                "APIKEY.CHECK",
                "APIKEY.LOG COUNT 10000",
                "MEMORY STATS",
                "PUBSUB CHANNELS",
            ] {
                c.must(question);
            }
            let keys = c.must("KEYS *");
            for key in keys.items() {
                let key = key.bytes();
                c.cmd([b"DUMP".as_slice(), key]);
                c.cmd([b"OBJECT".as_slice(), b"ENCODING", key]);
                c.cmd([b"DEBUG".as_slice(), b"OBJECT", key]);
                c.cmd([b"APIKEY.TAGS".as_slice(), key]);
                c.cmd([b"APIKEY.DESCRIBE".as_slice(), key]);
                c.cmd([b"APIKEY.VALIDATE".as_slice(), key]);
                c.cmd([b"APIKEY.USAGE.GET".as_slice(), key]);
            }
            look("questions", c.kept_bytes());

            for_each_file(server.dir(), &mut look);
            server.client().must("SAVE");
            server.rewrite_aof();
            for_each_file(server.dir(), &mut look);
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Calls that are right.
fn right_calls(secret: &str) -> Vec<Vec<String>> {
    let json = record("k", "u");
    [
        format!("APIKEY.SETVAL k {json} SECRET {secret}"),
        format!("apikey.setval k {json} secret {secret} EX 100 TAGS 2 a b NS n:"),
        format!("APIKEY.SETVAL k {json} NX SECRET {secret}"),
        format!("APIKEY.SETVAL none {json} XX SeCrEt {secret}"),
        format!("APIKEY.SETVAL k {json} KEEPTTL SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET {secret}"),
        format!("APIKEY.VALIDATE k secret {secret} SCOPE a:b"),
        format!("APIKEY.VALIDATE k SCOPE a:b SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET {secret}x"),
        format!("APIKEY.VALIDATE k SECRET x{secret}"),
        format!("APIKEY.VALIDATE none SECRET {secret}"),
    ]
    .map(|line| line.split(' ').map(str::to_string).collect())
    .into()
}

/// Calls that are wrong, though the option's name is spelt rightly.
fn wrong_calls(secret: &str) -> Vec<Vec<String>> {
    let json = record("k", "u");
    let long = format!("{secret}{}", "x".repeat(1024));
    let mut calls = vec![
        format!("APIKEY.SETVAL k {json} SECRET {secret} SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} SECRET {secret} DIGEST {DIGEST}"),
        format!("APIKEY.SETVAL k {json} DIGEST {DIGEST} SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} DIGEST SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} SECRET {secret} FOO"),
        format!("APIKEY.SETVAL k {json} FOO SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} SECRET {secret} EX 0"),
        format!("APIKEY.SETVAL k {json} EX SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} EX 5 EX 5 SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} NX XX SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} TAGS 9 a SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} TAGS SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} NS SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} SECRET SECRET {secret}"),
        format!("APIKEY.SETVAL k {json} SECRET {long}"),
        format!("APIKEY.SETVAL k {{}} SECRET {secret}"),
        format!("APIKEY.SETVAL k notjson SECRET {secret}"),
        format!("APIKEY.SETVAL k SECRET {secret}"),
        format!("APIKEY.SETVAL k SECRET {secret} {json}"),
        format!("APIKEY.SETVAL SECRET {secret}"),
        format!("APIKEY.SETVAL SECRET {secret} {json}"),
        format!("APIKEY.SETVAL str {json} SECRET {secret}"),
        format!("APIKEY.SETVAL use {json} SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET {secret} SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET {secret} DIGEST {DIGEST}"),
        format!("APIKEY.VALIDATE k DIGEST {DIGEST} SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET {secret} SCOPE"),
        format!("APIKEY.VALIDATE k SECRET {secret} FOO"),
        format!("APIKEY.VALIDATE k FOO SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET SECRET {secret}"),
        format!("APIKEY.VALIDATE k SCOPE SECRET {secret}"),
        format!("APIKEY.VALIDATE k DIGEST SECRET {secret}"),
        format!("APIKEY.VALIDATE k SECRET {long}"),
        format!("APIKEY.VALIDATE SECRET {secret}"),
        format!("APIKEY.VALIDATE SECRET {secret} k"),
        format!("APIKEY.VALIDATE str SECRET {secret}"),
        format!("APIKEY.VALIDATE use SECRET {secret}"),
    ];
    for with in [
        "{secret}",
        "SECRET correct {secret}",
        "SECRETS {secret}",
        "PASSWORD {secret}",
        "SECRET={secret}",
        "secret: {secret}",
        "SECRET x {secret} SCOPE a",
        "SCOPE a {secret}",
        "DIGEST {secret}",
        "IP {secret}",
    ] {
        let with = with.replace("{secret}", secret);
        calls.push(format!("APIKEY.VALIDATE k {with}"));
        calls.push(format!("APIKEY.ADMIT k 1 use {with}"));
        if !with.starts_with("SCOPE") && !with.starts_with("IP") {
            calls.push(format!("APIKEY.SETVAL k {json} {with}"));
        }
    }
    calls.push(format!("APIKEY.SETVAL k {json} EX {secret}"));
    calls.push(format!("APIKEY.SETVAL k {json} NX {secret}"));
    calls.push(format!("APIKEY.SETVAL k {{\"key\":\"{secret}\"}}"));
    // They take no secret; 6.2, which can't redact, shows what they are given all the same.
    if server::kind() != Kind::Redis62 {
        for with in ["{secret}", "SECRET {secret}", "SECRET correct {secret}", "PASSWORD={secret}"]
        {
            let with = with.replace("{secret}", secret);
            calls.push(format!("APIKEY.SETABSENT k TOKEN 0 {with}"));
            calls.push(format!("APIKEY.SETLIST l u [] TOKEN 0 {with}"));
            calls.push(format!("APIKEY.SETSCOPE s i u r a ALLOW TOKEN 0 {with}"));
            calls.push(format!("APIKEY.GETLIST l {with}"));
            calls.push(format!("APIKEY.TAGSCAN t 0 {with}"));
            calls.push(format!("APIKEY.USAGE.INCR use {with}"));
            calls.push(format!("APIKEY.USAGE.LEASE 1000 {with}"));
            calls.push(format!("APIKEY.USAGE.FLUSH {with}"));
            calls.push(format!("APIKEY.LOG {with}"));
            calls.push(format!("APIKEY.USAGE.INCR use BY {with}"));
            calls.push(format!("APIKEY.USAGE.INCR use ID a {with}"));
            calls.push(format!("APIKEY.CREDIT use c BY 1 {with}"));
            calls.push(format!("APIKEY.MSETVAL 1 k {json} TOKEN 0 {with}"));
            calls.push(format!("CACHE.GET c r {with}"));
            calls.push(format!("CACHE.SET c r v {with}"));
            calls.push(format!("CACHE.MSET r 1 c v TOKEN 0 {with}"));
            calls.push(format!("CACHE.SETABSENT c r TOKEN 0 {with}"));
            calls.push(format!("CACHE.FAIL c r TOKEN 0 {with}"));
            calls.push(format!("CACHE.CLEAR r {with}"));
            calls.push(format!("CACHE.PATINVAL c* {with}"));
            calls.push(format!("CACHE.REGION SET r {with}"));
            calls.push(format!("CACHE.STATS r {with}"));
            calls.push(format!("CACHE.TOP r {with}"));
        }
        calls.push(format!("APIKEY.SETLIST l u [{{\"secret\":\"{secret}\"}}] TOKEN 0"));
        calls.push(format!("APIKEY.MSETVAL 1 k {json} TOKEN 0 SECRET {secret}"));
        calls.push(format!("APIKEY.MSETVAL 9 k {json} SECRET {secret}"));
        calls.push(format!("APIKEY.SETTLE use id {secret}"));
    }
    calls.iter().map(|line| line.split(' ').map(str::to_string).collect()).collect()
}

fn for_each_file(dir: &Path, look: &mut impl FnMut(&str, &[u8])) {
    for entry in std::fs::read_dir(dir).expect("directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            for_each_file(&path, look);
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = match name.as_str() {
            "log" => "log",
            "dump.rdb" => "RDB",
            name if name.contains("appendonly") => "AOF",
            other => other,
        };
        // A temporary file may be gone again.
        if let Ok(bytes) = std::fs::read(&path) {
            look(place, &bytes);
        }
    }
}

#[test]
fn a_secret_of_a_right_call_is_nowhere() {
    let secret = needle();
    let mut w = Watched::new();
    for call in right_calls(&secret) {
        let reply = w.c.cmd(&call);
        assert!(!reply.is_error(), "{reply:?}");
    }
    // It was the secret, all the same.
    let reply = w.c.cmd(["APIKEY.VALIDATE", "k", "SECRET", &secret]);
    assert_eq!(code_of(&reply), "VALID");
    w.replica.in_sync_with(&w.server);
    let reply = w.r.cmd(["APIKEY.VALIDATE", "k", "SECRET", &secret]);
    assert_eq!(code_of(&reply), "VALID");
    // What the wrong secrets left in LOG is looked at with the other questions.
    assert_eq!(w.c.must("APIKEY.LOG").items()[0].get("code"), &bulk("MISMATCH"));
    w.assert_nowhere(&secret);
}

/// So many take longer than what is slow by default.
const ROWS: usize = 500;

/// A row that has its secret in plain, in a column that is not kept.
#[test]
fn a_secret_in_a_record_is_nowhere() {
    for slower_than in ["0", "10000"] {
        let secret = needle();
        let mut w = Watched::new();
        for server in [&w.server, &w.replica] {
            server.client().must(&format!("CONFIG SET slowlog-log-slower-than {slower_than}"));
        }
        let row = |id: usize| {
            format!(
                r#"{{"id":{id},"user_id":"u","is_active":true,"key":"{secret}","secret":"{secret}"}}"#
            )
        };
        let token = w.c.must("APIKEY.TOKEN k").text();
        let rows: Vec<String> = (0..ROWS).map(row).collect();
        let keys: Vec<String> = (0..ROWS).map(|n| format!("k{n}")).collect();
        let count = ROWS.to_string();
        let mut call = vec!["APIKEY.MSETVAL", &count];
        for (key, row) in keys.iter().zip(&rows) {
            call.extend([key.as_str(), row.as_str()]);
        }
        call.extend(["TOKEN", &token]);
        assert_eq!(w.c.cmd(&call), int(ROWS as i64));
        assert_eq!(w.c.cmd(["APIKEY.SETVAL", "k", &row(1), "DIGEST", DIGEST]), ok());
        let list = format!("[{}]", rows.join(","));
        assert_eq!(w.c.cmd(["APIKEY.SETLIST", "l", "u", &list, "TOKEN", &token]), ok());
        w.c.must("MULTI");
        w.c.cmd(["APIKEY.SETVAL", "k", &row(1), "TAGS", "1", "a"]);
        w.c.cmd(["APIKEY.SETLIST", "l", "u", &list, "TOKEN", &token]);
        assert_eq!(w.c.must("EXEC"), array([ok(), ok()]));
        // Each key that is left is asked a dozen questions.
        for key in &keys[3..] {
            w.c.must(&format!("UNLINK {key}"));
        }
        if slower_than == "0" {
            w.assert_nowhere(&secret);
        } else {
            // A quick ECHO is not slow: what is to be found there is not looked for.
            let end = needle();
            w.c.must(&format!("SET marker {end}"));
            assert_eq!(w.found(&secret, &end), Vec::<String>::new());
        }
    }
}

#[test]
fn a_secret_of_a_wrong_call_is_nowhere() {
    let secret = needle();
    let mut w = Watched::new();
    w.c.fill("k", &[]);
    let calls = wrong_calls(&secret);
    assert!(calls.len() > 30);
    for call in calls {
        let reply = w.c.cmd(&call);
        assert!(reply.is_error(), "{call:?}: {reply:?}");
    }
    w.assert_nowhere(&secret);
}

#[test]
fn a_secret_of_a_transaction_is_nowhere() {
    let secret = needle();
    let mut w = Watched::new();
    let calls = [right_calls(&secret), wrong_calls(&secret)].concat();
    // Together, each alone, and given up.
    w.c.must("MULTI");
    for call in &calls {
        assert_eq!(w.c.cmd(call), simple("QUEUED"));
    }
    assert_eq!(w.c.must("EXEC").items().len(), calls.len());
    for call in &calls {
        w.c.must("MULTI");
        w.c.cmd(call);
        w.c.must("EXEC");
    }
    w.c.must("MULTI");
    for call in &calls {
        w.c.cmd(call);
    }
    w.c.must("DISCARD");
    w.c.must("MULTI");
    w.c.cmd(&calls[0]);
    assert!(w.c.run("NO-SUCH-COMMAND").is_error());
    w.c.cmd(&calls[0]);
    assert!(w.c.run("EXEC").text().starts_with("EXECABORT"));
    w.assert_nowhere(&secret);
}

#[test]
fn a_secret_of_a_call_that_the_server_refuses_is_nowhere() {
    let secret = needle();
    let mut w = Watched::new();
    let calls = [right_calls(&secret), wrong_calls(&secret)].concat();
    let mut starts = std::collections::BTreeSet::new();
    let mut seen = |reply: Reply| {
        if let Reply::Error(text) = reply {
            starts.insert(text.split(' ').next().unwrap_or_default().to_string());
        }
    };
    // Full memory.
    w.c.must("CONFIG SET maxmemory 1");
    calls.iter().for_each(|call| seen(w.c.cmd(call)));
    w.c.must("CONFIG SET maxmemory 0");
    // A replica.
    calls.iter().for_each(|call| seen(w.r.cmd(call)));
    // A primary without enough replicas.
    w.c.must("CONFIG SET min-replicas-to-write 9");
    calls.iter().for_each(|call| seen(w.c.cmd(call)));
    w.c.must("CONFIG SET min-replicas-to-write 0");
    // Users without the command, and without the key.
    w.c.must("ACL SETUSER nocommand on nopass ~* +multi +exec");
    w.c.must("ACL SETUSER nokey on nopass ~other +@all");
    w.c.must("ACL SETUSER nobody off");
    for user in ["nocommand", "nokey"] {
        let mut caller = w.server.client();
        caller.keep_bytes();
        caller.must(&format!("AUTH {user} x"));
        calls.iter().for_each(|call| seen(caller.cmd(call)));
        caller.must("MULTI");
        calls.iter().for_each(|call| seen(caller.cmd(call)));
        seen(caller.run("EXEC"));
        assert_eq!(find(caller.kept_bytes(), secret.as_bytes()), None);
    }
    // The module itself, switched off.
    if server::kind().has_module_config() {
        for switch in ["enabled", "writes-enabled"] {
            w.c.must(&format!("CONFIG SET apikey.{switch} no"));
            calls.iter().for_each(|call| seen(w.c.cmd(call)));
            w.c.must(&format!("CONFIG SET apikey.{switch} yes"));
        }
    }
    for start in ["ERR", "EXECABORT", "NOPERM", "NOREPLICAS", "OOM", "READONLY", "WRONGTYPE"] {
        assert!(starts.contains(start), "{start} of {starts:?}");
    }
    w.assert_nowhere(&secret);
}

#[test]
fn a_secret_of_a_script_is_nowhere_but_in_its_own_arguments() {
    let secret = needle();
    let backwards: String = secret.chars().rev().collect();
    let mut w = Watched::new();
    let calls = [right_calls(&secret), wrong_calls(&secret)].concat();
    for call in &calls {
        // The script gets the secret spelt backwards, so that what its call does with it can be told from what
        // the server does with the arguments of the script.
        let mut script = String::from("local s=string.reverse(ARGV[1]) return redis.CALL(");
        for (at, word) in call.iter().enumerate() {
            let quoted = format!("[==[{word}]==]").replace(&secret, "]==]..s..[==[");
            script += &format!("{}{quoted}", if at == 0 { "" } else { "," });
        }
        script.push(')');
        for how in ["call", "pcall"] {
            w.c.cmd(["EVAL", &script.replace("CALL", how), "0", &backwards]);
        }
    }
    let valid = "return redis.call('APIKEY.VALIDATE','k','SECRET',string.reverse(ARGV[1]))[1]";
    let reply = w.c.cmd(["EVAL", valid, "0", &backwards]);
    assert_eq!(reply, bulk("VALID"));
    w.assert_nowhere(&secret);
}
