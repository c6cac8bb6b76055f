//! LOG: the latest refused validations.

use crate::harness::*;

/// Code, key and count of all entries, the latest first.
#[track_caller]
fn entries(c: &mut Client) -> Vec<(String, String, i64)> {
    let log = c.must("APIKEY.LOG COUNT 10000");
    let entry = |e: &Reply| (e.get("code").text(), e.get("key").text(), e.get("count").int());
    log.items().iter().map(entry).collect()
}

fn entry(code: &str, key: &str, count: i64) -> (String, String, i64) {
    (code.into(), key.into(), count)
}

/// Where the server says that a client's connection comes from.
#[track_caller]
pub fn address(c: &mut Client) -> String {
    let id = c.must("CLIENT ID").int();
    let list = c.must("CLIENT LIST").text();
    let line = list.lines().find(|line| line.starts_with(&format!("id={id} "))).expect("a line");
    let found = line.split(' ').find_map(|word| word.strip_prefix("addr="));
    found.expect("an address").to_string()
}

#[test]
fn each_refusal_is_told_with_its_reason_and_its_client() {
    let server = Server::start();
    let mut c = server.client();
    let secret = format!("SECRET {SECRET}");
    store(&mut c, "on", r#""scopes":["a"]"#, &secret);
    store(&mut c, "off", r#""is_active":false"#, &secret);
    store(&mut c, "past", r#""expires_at":1000000000000"#, &secret);
    let token = c.must("APIKEY.TOKEN nobody").text();
    c.must(&format!("APIKEY.SETABSENT nobody TOKEN {token}"));
    assert_eq!(c.must("APIKEY.LOG"), array([]));
    for line in [
        "nobody SECRET x",
        "on SECRET wrong",
        &format!("off {secret}"),
        &format!("past {secret}"),
        &format!("on {secret} SCOPE a SCOPE b:c SCOPE d"),
        // No refusals.
        &format!("on {secret} SCOPE a"),
        "on",
        "none SECRET x",
    ] {
        c.must(&format!("APIKEY.VALIDATE {line}"));
    }
    assert!(c.run("APIKEY.VALIDATE on FOO").is_error());
    let log = c.must("APIKEY.LOG");
    let address = address(&mut c);
    let expected = [
        ("FORBIDDEN", "the record does not grant the scope: b:c", "on"),
        ("EXPIRED", "expires_at has passed", "past"),
        ("DISABLED", "is_active is false", "off"),
        ("MISMATCH", "the secret is wrong, or its time is over", "on"),
        ("ABSENT", "there is no such key", "nobody"),
    ];
    assert_eq!(log.items().len(), expected.len());
    for (entry, (code, reason, key)) in log.items().iter().zip(expected) {
        let names = ["count", "code", "reason", "key", "client", "username", "age"];
        assert_eq!(entry.names(), names);
        assert_eq!(entry.get("count"), &int(1));
        for (name, value) in [
            ("code", code),
            ("reason", reason),
            ("key", key),
            ("client", &address),
            ("username", "default"),
        ] {
            assert_eq!(entry.get(name), &bulk(value), "{entry:?}");
        }
        assert!((0..10_000).contains(&entry.get("age").int()), "{entry:?}");
    }
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let log = c.must("APIKEY.LOG COUNT 1");
        assert!(matches!(log.items(), [Reply::Map(_)]), "{log:?}");
    }
}

#[test]
fn repeats_are_counted_and_come_to_the_front() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("a", &[]);
    c.fill("b", &[]);
    for key in ["a", "b", "a", "a"] {
        c.must(&format!("APIKEY.VALIDATE {key} SECRET wrong"));
    }
    c.must("APIKEY.VALIDATE a SCOPE x");
    let expected =
        [entry("FORBIDDEN", "a", 1), entry("MISMATCH", "a", 3), entry("MISMATCH", "b", 1)];
    assert_eq!(entries(&mut c), expected);
    // Another connection from the same host, and another user.
    server.client().must("APIKEY.VALIDATE b SECRET wrong");
    c.must("ACL SETUSER app on nopass ~* +@all");
    let mut app = server.client();
    app.must("AUTH app x");
    app.must("APIKEY.VALIDATE b SECRET wrong");
    let log = c.must("APIKEY.LOG COUNT 2");
    assert_eq!(
        (log.items()[0].get("username"), log.items()[0].get("count")),
        (&bulk("app"), &int(1))
    );
    assert_eq!(log.items()[0].get("client"), &bulk(address(&mut app)));
    assert_eq!(log.items()[1].get("count"), &int(2));
    assert_eq!(c.must("APIKEY.LOG COUNT 1").items().len(), 1);
    assert_eq!(c.must("apikey.log reset"), ok());
    assert_eq!(c.must("APIKEY.LOG"), array([]));
}

#[test]
fn the_log_is_bounded_by_its_setting_and_shows_ten_by_default() {
    let server = Server::builder().setting("log-max-len", "20").start();
    let mut c = server.client();
    for n in 0..30 {
        c.fill(&format!("k{n}"), &[]);
        c.must(&format!("APIKEY.VALIDATE k{n} SECRET wrong"));
    }
    assert_eq!(c.must("APIKEY.LOG").items().len(), 10);
    let all = entries(&mut c);
    assert_eq!(
        (all.len(), &all[0], &all[19]),
        (20, &entry("MISMATCH", "k29", 1), &entry("MISMATCH", "k10", 1))
    );
    if server::kind().has_module_config() {
        // One of several settings that can't be set: none is, and nothing is lost.
        assert!(c.run("CONFIG SET apikey.log-max-len 1 apikey.max-tags 99").is_error());
        assert_eq!(entries(&mut c).len(), 20);
        c.must("CONFIG SET apikey.log-max-len 3");
        c.must("CONFIG SET apikey.log-max-len 100");
        assert_eq!(entries(&mut c).len(), 3, "trimmed at once");
        c.must("CONFIG SET apikey.log-max-len 0");
        c.must("APIKEY.VALIDATE k1 SECRET wrong");
        c.must("CONFIG SET apikey.log-max-len 100");
        assert_eq!(entries(&mut c), []);
    }
    let server = Server::builder().setting("log-max-len", "0").start();
    let mut c = server.client();
    c.fill("k", &[]);
    c.must("APIKEY.VALIDATE k SECRET wrong");
    assert_eq!(c.must("APIKEY.LOG"), array([]));
    assert_eq!(c.must("APIKEY.HEALTH").get("mismatches"), &int(1));
}

#[test]
fn what_is_long_is_cut_and_what_is_binary_is_kept() {
    let server = Server::start();
    let mut c = server.client();
    let (key, scope) = ("k".repeat(100_000), "s".repeat(1024));
    c.fill(&key, &[]);
    c.must(&format!("APIKEY.VALIDATE {key} SCOPE {scope}"));
    let log = c.must("APIKEY.LOG");
    assert_eq!(log.items()[0].get("key"), &bulk("k".repeat(256)));
    let reason = format!("the record does not grant the scope: {}", "s".repeat(256));
    assert_eq!(log.items()[0].get("reason"), &bulk(reason));
    let json = record("k", "u");
    c.cmd([b"APIKEY.SETVAL".as_slice(), b"\0\xff\r\n", json.as_bytes()]);
    c.cmd([b"APIKEY.VALIDATE".as_slice(), b"\0\xff\r\n", b"SCOPE", b"\xfe%s\0"]);
    let log = c.must("APIKEY.LOG");
    assert_eq!(log.items()[0].get("key"), &bulk(b"\0\xff\r\n"));
    let reason = [b"the record does not grant the scope: ".as_slice(), b"\xfe%s\0"].concat();
    assert_eq!(log.items()[0].get("reason"), &bulk(reason));
}

#[test]
fn in_a_transaction_the_client_is_known_and_in_a_script_its_user() {
    let server = Server::start();
    let mut c = server.client();
    c.must("ACL SETUSER app on nopass ~* +@all");
    c.must("AUTH app x");
    c.fill("k", &[]);
    c.must("MULTI");
    c.must("APIKEY.VALIDATE k SECRET wrong");
    c.must("APIKEY.LOG");
    let log = c.must("EXEC").items()[1].clone();
    assert_eq!(log.items()[0].get("client"), &bulk(address(&mut c)));
    let script = "return redis.call('APIKEY.VALIDATE',KEYS[1],'SECRET','wrong')[1]";
    for _ in 0..2 {
        assert_eq!(c.cmd(["EVAL", script, "1", "k"]), bulk("MISMATCH"));
    }
    let mut count = 2;
    if server::kind() != Kind::Redis62 {
        let library = format!(
            "#!lua name=l\nredis.register_function('v', function(KEYS, ARGV) {script} end)"
        );
        c.cmd(["FUNCTION", "LOAD", &library]);
        assert_eq!(c.must("FCALL v 1 k"), bulk("MISMATCH"));
        // A script in a transaction.
        c.must("MULTI");
        c.must("FCALL v 1 k");
        assert_eq!(c.must("EXEC"), array([bulk("MISMATCH")]));
        count += 2;
    }
    let log = c.must("APIKEY.LOG");
    let latest = &log.items()[0];
    assert_eq!((latest.get("client"), latest.get("count")), (&nil(), &int(count)));
    let user = match server::kind() {
        Kind::Redis62 => nil(),
        _ => bulk("app"),
    };
    assert_eq!(latest.get("username"), &user);
}

#[test]
fn the_log_is_each_nodes_own_and_outlives_a_flush() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    let replica = Server::start();
    replica.replicate(&server);
    let mut r = replica.client();
    r.must("APIKEY.VALIDATE k SECRET wrong");
    r.must("APIKEY.VALIDATE k SECRET wrong");
    assert_eq!(entries(&mut r), [entry("MISMATCH", "k", 2)]);
    assert_eq!(entries(&mut c), []);
    c.must("APIKEY.VALIDATE k SECRET wrong");
    c.must("FLUSHALL");
    assert_eq!(entries(&mut c), [entry("MISMATCH", "k", 1)]);
    assert_eq!(r.must("APIKEY.LOG RESET"), ok());
    assert_eq!(entries(&mut c).len(), 1);
}
