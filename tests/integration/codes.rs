//! What VALIDATE answers, what SETVAL stores, and the replies of every other command.

use crate::harness::server::Kind;
use crate::harness::*;
use serde_json::{json, Value as Json};

const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const UPPER: &str = "B7C1F9E1E2C3BD5313BCB6788AA70379084A0113F6CACF465358B863E3FA472B";

/// A token that MISS and UNVERIFIED carry: opaque, and never empty.
fn is_token(reply: &Reply) -> bool {
    matches!(reply, Reply::Bulk(token) if !token.is_empty())
}

fn args(line: &str) -> Vec<String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_string).collect()
}

/// Stores a record with these fields beside those that it must have.
#[track_caller]
fn store(c: &mut Client, key: &str, fields: &str, options: &str) -> String {
    let record = match fields {
        "" => r#"{"id":"k","user_id":"u","is_active":true}"#.to_string(),
        fields if fields.contains("is_active") => format!(r#"{{"id":"k","user_id":"u",{fields}}}"#),
        fields => format!(r#"{{"id":"k","user_id":"u","is_active":true,{fields}}}"#),
    };
    let mut call = vec!["APIKEY.SETVAL".to_string(), key.into(), record.clone()];
    call.extend(args(options));
    assert_eq!(c.cmd(&call), ok(), "{record} {options}");
    record
}

/// What VALIDATE is expected to say.
#[derive(Clone, Copy, Debug)]
enum Says {
    Mismatch,
    Disabled,
    Expired,
    Forbidden(&'static str),
    Unverified,
    Valid,
}
use Says::*;

#[track_caller]
fn assert_says(reply: &Reply, says: Says, record: &str, what: &str) {
    let expected = match says {
        Mismatch => array([bulk("MISMATCH"), nil()]),
        Disabled => array([bulk("DISABLED"), nil()]),
        Expired => array([bulk("EXPIRED"), nil()]),
        Forbidden(scope) => array([bulk("FORBIDDEN"), bulk(scope)]),
        Valid => array([bulk("VALID"), bulk(record)]),
        Unverified => {
            let items = reply.items();
            assert!(items.len() == 3 && is_token(&items[2]), "{what}: {reply:?}");
            array([bulk("UNVERIFIED"), bulk(record), items[2].clone()])
        }
    };
    assert_eq!(reply, &expected, "{what}");
}

/// (fields of the record, options of SETVAL, options of VALIDATE, what it says)
type Case = (&'static str, String, String, Says);

/// Each case in RESP2 and in RESP3.
fn check_cases(cases: Vec<Case>) {
    let server = Server::start();
    let mut resp2 = server.client();
    let mut resp3 = server.client();
    resp3.resp3();
    for (fields, stored, asked, says) in cases {
        let what = format!("{{{fields}}} {stored} / {asked}");
        let record = store(&mut resp2, "k", fields, &stored);
        let mut call = args("APIKEY.VALIDATE k");
        call.extend(args(&asked));
        let reply = resp2.cmd(&call);
        assert_says(&reply, says, &record, &what);
        // Not the same reply: the token of a later moment is another.
        assert_says(&resp3.cmd(&call), says, &record, &what);
    }
    assert_exact(&server);
}

#[test]
fn a_secret_is_compared_with_any_digest_that_was_stored() {
    let secret = || format!("SECRET {SECRET}");
    let digest = |digest: &str| format!("DIGEST {digest}");
    let two = || format!("DIGEST {OTHER} DIGEST {DIGEST}");
    check_cases(vec![
        ("", secret(), secret(), Valid),
        ("", secret(), format!("secret {SECRET}"), Valid),
        ("", secret(), digest(DIGEST), Valid),
        ("", secret(), digest(UPPER), Valid),
        ("", digest(DIGEST), secret(), Valid),
        ("", digest(UPPER), digest(DIGEST), Valid),
        ("", secret(), "SECRET wrong".into(), Mismatch),
        ("", secret(), format!("SECRET {SECRET}x"), Mismatch),
        ("", secret(), format!("SECRET {}", &SECRET[1..]), Mismatch),
        ("", secret(), digest(OTHER), Mismatch),
        ("", secret(), format!("SECRET {DIGEST}"), Mismatch),
        // Either of two, in a rotation, whichever was given first.
        ("", two(), secret(), Valid),
        ("", two(), digest(OTHER), Valid),
        ("", two(), "SECRET wrong".into(), Mismatch),
        ("", format!("DIGEST {DIGEST} DIGEST {OTHER}"), secret(), Valid),
        ("", format!("DIGEST {DIGEST} EX 60 DIGEST {OTHER}"), digest(OTHER), Valid),
        // No digest: nothing was compared.
        ("", "".into(), secret(), Unverified),
        ("", "".into(), digest(DIGEST), Unverified),
        ("", "".into(), "".into(), Unverified),
        // No secret: nothing was compared.
        ("", secret(), "".into(), Unverified),
        ("", two(), "".into(), Unverified),
        ("\"scopes\":[\"a\"]", secret(), "SCOPE a".into(), Unverified),
    ]);
}

#[test]
fn a_secret_is_any_bytes_up_to_1024() {
    let server = Server::start();
    let mut c = server.client();
    let json = record("k", "u");
    for secret in [vec![0], vec![0xff; 1024], b"\0\r\n \xc3".to_vec(), b"SECRET".to_vec()] {
        c.cmd([b"APIKEY.SETVAL".as_slice(), b"k", json.as_bytes(), b"SECRET", &secret]);
        let mut wrong = secret.clone();
        wrong[0] ^= 1;
        for (secret, code) in [(&secret, "VALID"), (&wrong, "MISMATCH")] {
            let reply = c.cmd([b"APIKEY.VALIDATE".as_slice(), b"k", b"SECRET", secret]);
            assert_eq!(code_of(&reply), code, "{}", secret.escape_ascii());
        }
    }
}

#[test]
fn the_codes_are_decided_in_their_order() {
    let right = || format!("SECRET {SECRET}");
    let wrong = || "SECRET wrong".to_string();
    let off = r#""is_active":false"#;
    let off_past = r#""is_active":false,"expires_at":1"#;
    let past = r#""expires_at":1"#;
    let narrow = r#""scopes":["a:b"]"#;
    let past_narrow = r#""expires_at":1,"scopes":["a:b"]"#;
    let scope = |proof: String| format!("{proof} SCOPE x");
    check_cases(vec![
        // Who has a wrong secret learns nothing else.
        (off, right(), wrong(), Mismatch),
        (past, right(), wrong(), Mismatch),
        (narrow, right(), scope(wrong()), Mismatch),
        (off_past, right(), scope(wrong()), Mismatch),
        (off, right(), right(), Disabled),
        (off_past, right(), scope(right()), Disabled),
        (past, right(), right(), Expired),
        (past_narrow, right(), scope(right()), Expired),
        (narrow, right(), scope(right()), Forbidden("x")),
        (narrow, right(), right(), Valid),
        // The same without a comparison: UNVERIFIED is said only where all of that holds.
        (off, "".into(), wrong(), Disabled),
        (off_past, right(), scope("".into()), Disabled),
        (past_narrow, "".into(), scope(right()), Expired),
        (past, right(), "".into(), Expired),
        (narrow, "".into(), scope(wrong()), Forbidden("x")),
        (narrow, right(), scope("".into()), Forbidden("x")),
        (narrow, "".into(), right(), Unverified),
        // A time that has not come, and none.
        (r#""expires_at":"2099-01-01T00:00:00Z""#, right(), right(), Valid),
        (r#""expires_at":4102444800000"#, right(), right(), Valid),
        (r#""expires_at":null"#, right(), right(), Valid),
        (r#""expires_at":0"#, right(), right(), Expired),
        (r#""expires_at":-1"#, right(), right(), Expired),
        (r#""expires_at":9223372036854775807"#, right(), right(), Valid),
        (r#""expires_at":"1999-12-31T23:59:59-08:00""#, right(), right(), Expired),
    ]);
}

#[test]
fn a_scope_grants_what_it_equals_and_what_its_stars_cover() {
    const GRANTED: bool = true;
    const REFUSED: bool = false;
    let server = Server::start();
    let mut c = server.client();
    for (scopes, request, granted) in [
        (r#"["users:read"]"#, "users:read", GRANTED),
        (r#"["users:read"]"#, "users:write", REFUSED),
        (r#"["users:read"]"#, "users", REFUSED),
        (r#"["users:read"]"#, "Users:read", REFUSED),
        (r#"["users:read"]"#, "users:read:all", REFUSED),
        (r#"["users:read"]"#, "users:*", REFUSED),
        (r#"["orders:*"]"#, "orders:write", GRANTED),
        (r#"["orders:*"]"#, "orders:a:b", GRANTED),
        (r#"["orders:*"]"#, "orders:", GRANTED),
        (r#"["orders:*"]"#, "orders:*", GRANTED),
        (r#"["orders:*"]"#, "orders", REFUSED),
        (r#"["orders:*"]"#, "order:write", REFUSED),
        (r#"["orders:w*"]"#, "orders:write", REFUSED),
        (r#"["*:read"]"#, "users:read", GRANTED),
        (r#"["*:read"]"#, "users:write", REFUSED),
        (r#"["*:read"]"#, "read", REFUSED),
        (r#"["*:*"]"#, "users:read", GRANTED),
        (r#"["*:*"]"#, "read", REFUSED),
        (r#"["*"]"#, "read", GRANTED),
        (r#"["*"]"#, "users:read", GRANTED),
        (r#"["*"]"#, "*", GRANTED),
        (r#"["read"]"#, "read", GRANTED),
        (r#"["read"]"#, "read:x", REFUSED),
        (r#"["read"]"#, "*", REFUSED),
        (r#"["a:b:c"]"#, "a:b:c", GRANTED),
        (r#"["a:b:c"]"#, "a:b", REFUSED),
        (r#"["users\u003aread"]"#, "users:read", GRANTED),
        (r#"["é:ß"]"#, "é:ß", GRANTED),
        (r#"["a","b:c"]"#, "b:c", GRANTED),
        (r#"[{"resource":"users","actions":["read","list"]}]"#, "users:list", GRANTED),
        (r#"[{"resource":"users","actions":["read","list"]}]"#, "users:write", REFUSED),
        (r#"[{"resource":"users","actions":["read"]}]"#, "users", REFUSED),
        (r#"[{"resource":"users","actions":["read"]}]"#, "read", REFUSED),
        (r#"[{"resource":"users","actions":["*"]}]"#, "users:any", GRANTED),
        (r#"[{"resource":"*","actions":["read"]}]"#, "users:read", GRANTED),
        (r#"[{"resource":"*","actions":["read"]}]"#, "users:write", REFUSED),
        (r#"[{"resource":"*","actions":["*"]}]"#, "users:any", GRANTED),
        (r#"[{"resource":"*","actions":["*"]}]"#, "any", REFUSED),
        (r#"[{"resource":"users","actions":[]}]"#, "users:read", REFUSED),
        (r#"[{"resource":"a","actions":["b:c"]}]"#, "a:b:c", GRANTED),
        (r#"[{"actions":["x"],"note":{"resource":"z"},"resource":"y"}]"#, "y:x", GRANTED),
        (r#"[{"actions":["x"],"note":{"resource":"z"},"resource":"y"}]"#, "z:x", REFUSED),
        (r#"["no",{"resource":"a","actions":["b"]},"yes"]"#, "yes", GRANTED),
        ("[]", "read", REFUSED),
    ] {
        let record =
            store(&mut c, "k", &format!("\"scopes\":{scopes}"), &format!("SECRET {SECRET}"));
        let reply = c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET, "SCOPE", request]);
        let expected = match granted {
            true => array([bulk("VALID"), bulk(record)]),
            false => array([bulk("FORBIDDEN"), bulk(request)]),
        };
        assert_eq!(reply, expected, "{scopes} / {request}");
    }
    // A record without scopes grants none.
    store(&mut c, "k", "", &format!("SECRET {SECRET}"));
    let reply = c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET, "SCOPE", "read"]);
    assert_eq!(reply, array([bulk("FORBIDDEN"), bulk("read")]));
}

#[test]
fn all_scopes_must_hold_and_the_first_that_does_not_is_named() {
    let stored = || format!("SECRET {SECRET}");
    let asked = |scopes: &str| format!("SCOPE {} SECRET {SECRET}", scopes.replace(' ', " SCOPE "));
    let scopes = r#""scopes":["users:read","orders:*"]"#;
    check_cases(vec![
        (scopes, stored(), asked("users:read"), Valid),
        (scopes, stored(), asked("users:read orders:write"), Valid),
        (scopes, stored(), asked("users:read users:read"), Valid),
        (scopes, stored(), asked("users:read users:write x"), Forbidden("users:write")),
        (scopes, stored(), asked("x users:write"), Forbidden("x")),
        (scopes, stored(), asked("orders:a orders:b y"), Forbidden("y")),
        (scopes, stored(), format!("SCOPE orders:a SECRET {SECRET} scope z"), Forbidden("z")),
    ]);
    // The payload is the scope's bytes, whatever they are.
    let server = Server::start();
    let mut c = server.client();
    store(&mut c, "k", "", "");
    let reply = c.cmd([b"APIKEY.VALIDATE".as_slice(), b"k", b"SCOPE", b"\0\xff\r\n"]);
    assert_eq!(reply, array([bulk("FORBIDDEN"), bulk(b"\0\xff\r\n")]));
}

#[test]
fn up_to_64_scopes_are_asked_for_at_once() {
    let scopes = r#""scopes":["r:*"]"#;
    let stored = || format!("SECRET {SECRET}");
    let asked = |last: &str| {
        let scopes: String = (0..63).map(|n| format!("SCOPE r:{n} ")).collect();
        format!("{scopes}SCOPE {last} SECRET {SECRET}")
    };
    check_cases(vec![
        (scopes, stored(), asked("r:63"), Valid),
        (scopes, stored(), asked("x"), Forbidden("x")),
    ]);
}

#[test]
fn a_key_that_is_not_cached_is_a_miss_with_a_token() {
    let server = Server::start();
    let mut resp2 = server.client();
    let mut resp3 = server.client();
    resp3.resp3();
    resp2.fill("gone", &[]);
    resp2.must("DEL gone");
    for line in [
        "APIKEY.VALIDATE none".to_string(),
        format!("APIKEY.VALIDATE none SECRET {SECRET} SCOPE a"),
        format!("APIKEY.VALIDATE gone DIGEST {DIGEST}"),
    ] {
        for c in [&mut resp2, &mut resp3] {
            let reply = c.run(&line);
            let items = reply.items();
            assert!(
                items.len() == 2 && items[0] == bulk("MISS") && is_token(&items[1]),
                "{reply:?}"
            );
        }
    }
}

#[test]
fn a_key_expires_at_the_millisecond_of_expires_at() {
    let server = Server::start();
    let mut c = server.client();
    let mut clock = server.client();
    let mut now = || {
        let time = clock.must("TIME");
        let part = |i: usize| -> i64 { time.items()[i].text().parse().expect("a number") };
        part(0) * 1000 + part(1) / 1000
    };
    let line = format!("APIKEY.VALIDATE k SECRET {SECRET}");
    // Rounds in which both were seen; a slow machine may miss the time before.
    let mut rounds = 0;
    for _ in 0..100 {
        let at = now() + 25;
        let options = format!("SECRET {SECRET}");
        let record = store(&mut c, "k", &format!("\"expires_at\":{at}"), &options);
        let (mut valid, mut expired) = (0, 0);
        // By the server's own clock, read before and after each answer.
        while expired < 20 {
            let before = now();
            let reply = c.run(&line);
            let after = now();
            if reply == array([bulk("EXPIRED"), nil()]) {
                assert!(after >= at, "expired at {after}, before {at}");
                expired += 1;
            } else {
                assert_eq!(reply, array([bulk("VALID"), bulk(&record)]));
                assert!(before < at, "valid at {before}, after {at}");
                valid += 1;
            }
        }
        rounds += usize::from(valid > 0);
        if rounds == 5 {
            return;
        }
    }
    panic!("{rounds} rounds in which it was valid first");
}

#[test]
fn expires_at_as_a_text_is_the_same_moment_as_in_milliseconds() {
    let server = Server::start();
    let mut c = server.client();
    let now = c.must("TIME").items()[0].text().parse::<i64>().expect("a number");
    // An hour from now in a zone behind, an hour ago in a zone ahead.
    for (seconds, code) in [(now + 3600, "VALID"), (now - 3600, "EXPIRED")] {
        for (zone, shift) in [("Z", 0), ("+05:30", 19800), ("-08:00", -28800)] {
            let text = rfc3339(seconds + shift) + zone;
            let fields = format!("\"expires_at\":\"{text}\"");
            store(&mut c, "k", &fields, &format!("SECRET {SECRET}"));
            assert_eq!(c.code("k"), code, "{text}");
        }
    }
}

/// Seconds since 1970 as date and time, without a zone.
fn rfc3339(seconds: i64) -> String {
    let (mut days, rest) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let mut year = 1970;
    let is_leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}", month + 1, days + 1)
}

#[test]
fn the_payload_is_the_sanitised_record() {
    let server = Server::start();
    let mut c = server.client();
    let json = json!({
        "id": "k1", "user_id": 42, "name": "Zoë's \"key\" 😀", "key_prefix": "ak_live",
        "key_hash": "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "scopes": ["users:read", {"resource": "files", "actions": ["read"], "note": [1, null]}],
        "is_active": true, "expires_at": null, "created_at": "2024-01-01T00:00:00Z",
        "updated_at": 9007199254740993_i64, "metadata": {"plan": "pro"}, "secret": "no",
    });
    let text = serde_json::to_string_pretty(&json).expect("JSON");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &text, "SECRET", SECRET]), ok());
    let valid = c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET]);
    let payload: Json = serde_json::from_slice(valid.items()[1].bytes()).expect("JSON");
    let mut expected = json;
    for dropped in ["key_hash", "metadata", "secret"] {
        expected.as_object_mut().expect("an object").remove(dropped);
    }
    assert_eq!(payload, expected);
    assert_eq!(c.must("APIKEY.VALIDATE k").items()[1], valid.items()[1]);
}

#[test]
fn validate_works_alike_in_a_transaction_and_in_a_script() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    let alone = c.must(&format!("APIKEY.VALIDATE k SECRET {SECRET}"));
    c.must("MULTI");
    c.must(&format!("APIKEY.VALIDATE k SECRET {SECRET}"));
    assert_eq!(c.must("EXEC"), array([alone.clone()]));
    let script =
        "local r=redis.call('APIKEY.VALIDATE',KEYS[1],'SECRET',ARGV[1]) return {r[1],r[2]}";
    assert_eq!(c.cmd(["EVAL", script, "1", "k", SECRET]), alone);
}

// SETVAL

#[test]
fn nx_stores_only_where_nothing_is_and_xx_only_where_something_is() {
    let server = Server::start();
    let mut c = server.client();
    let (one, two) = (record("one", "u"), record("two", "u"));
    let holds = |c: &mut Client| c.must("APIKEY.VALIDATE k").items()[1].clone();
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "XX"]), nil());
    assert_eq!(c.code("k"), "MISS");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "NX"]), ok());
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &two, "NX", "EX", "5"]), nil());
    assert_eq!(holds(&mut c), bulk(&one));
    assert!(c.must("TTL k").int() > 5, "a refused call changes no TTL");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &two, "XX"]), ok());
    assert_eq!(holds(&mut c), bulk(&two));
    c.must("DEL k");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "xx"]), nil());
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "nx"]), ok());
}

#[test]
fn a_dead_entry_is_nothing_for_nx_xx_and_keepttl() {
    let server = Server::start();
    let mut c = server.client();
    let one = record("one", "u");
    let make_dead = |c: &mut Client| {
        c.fill("from", &[]);
        c.must("EXPIRE from 5000");
        c.must("RENAME from k");
        assert_eq!(c.code("k"), "MISS");
    };
    make_dead(&mut c);
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "XX"]), nil());
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "NX"]), ok());
    make_dead(&mut c);
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &one, "KEEPTTL"]), ok());
    assert!((1..=300).contains(&c.must("TTL k").int()), "the default, not the dead entry's");
    assert_exact(&server);
}

#[test]
fn a_ttl_is_what_the_option_says() {
    let server = Server::start();
    let mut c = server.client();
    let json = record("k", "u");
    let at: i64 = c.must("TIME").items()[0].text().parse::<i64>().expect("a number") + 1000;
    let at_ms = at * 1000 + 567;
    let (exat, pxat) = (at.to_string(), at_ms.to_string());
    for (option, value, least, most) in [
        ("EX", "1000", 990_000, 1_000_000),
        ("PX", "1234567", 1_224_000, 1_234_567),
        ("EXAT", exat.as_str(), 980_000, 1_000_000),
        ("PXAT", &pxat, 980_000, 1_000_567),
        ("ex", "100000000000", 99_999_999_990_000, 100_000_000_000_000),
    ] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &json, option, value]), ok());
        let ttl = c.must("PTTL k").int();
        assert!((least..=most).contains(&ttl), "{option} {value}: {ttl}");
    }
    if server::kind() != Kind::Redis62 {
        c.cmd(["APIKEY.SETVAL", "k", &json, "EXAT", &exat]);
        assert_eq!(c.must("PEXPIRETIME k"), int(at * 1000));
        c.cmd(["APIKEY.SETVAL", "k", &json, "PXAT", &pxat]);
        assert_eq!(c.must("PEXPIRETIME k"), int(at_ms));
        c.cmd(["APIKEY.SETVAL", "k", &json, "KEEPTTL"]);
        assert_eq!(c.must("PEXPIRETIME k"), int(at_ms));
    }
}

#[test]
fn the_default_ttl_is_validation_ttl() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    assert!((290_000..=300_000).contains(&c.must("PTTL k").int()));
    let server = Server::builder().setting("validation-ttl", "7000").start();
    let mut c = server.client();
    c.fill("k", &[]);
    assert!((6_990_000..=7_000_000).contains(&c.must("PTTL k").int()));
    c.must("EXPIRE k 5");
    c.fill("k", &[]);
    assert!((6_990_000..=7_000_000).contains(&c.must("PTTL k").int()), "each fill renews it");
}

#[test]
fn keepttl_keeps_the_expiry_of_what_it_replaces() {
    let server = Server::start();
    let mut c = server.client();
    let json = record("k", "u");
    c.fill("k", &[]);
    c.must("PEXPIRE k 5000000");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &json, "KEEPTTL"]), ok());
    assert!((4_990_000..=5_000_000).contains(&c.must("PTTL k").int()));
    c.must("PERSIST k");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &json, "keepttl", "XX"]), ok());
    assert_eq!(c.must("PTTL k"), int(-1));
    // Where nothing is, there is nothing to keep.
    assert_eq!(c.cmd(["APIKEY.SETVAL", "new", &json, "KEEPTTL"]), ok());
    assert!((290_000..=300_000).contains(&c.must("PTTL new").int()));
}

#[test]
fn an_entry_that_was_stored_with_a_time_in_the_past_is_a_miss() {
    let server = Server::start();
    let mut c = server.client();
    let json = record("k", "u");
    for (option, value) in [("EXAT", "1"), ("PXAT", "1")] {
        c.fill("k", &["tag"]);
        let line =
            ["APIKEY.SETVAL", "k", &json, option, value, "TAGS", "1", "new", "SECRET", SECRET];
        assert_eq!(c.cmd(line), ok());
        if server::kind() == Kind::Redis62 {
            // It takes no time that is past: there the entry has the rest of this millisecond.
            eventually("the millisecond is over", || c.code("k") == "MISS");
        }
        assert_eq!(c.code("k"), "MISS");
        assert!(!c.exists("k"));
        assert_eq!(c.invalidate("new"), 0);
    }
    assert_exact(&server);
}

#[test]
fn an_entry_is_a_miss_when_its_ttl_is_over() {
    let server = Server::start();
    let mut c = server.client();
    c.cmd(["APIKEY.SETVAL", "k", &record("k", "u"), "PX", "30", "SECRET", SECRET]);
    eventually("it has expired", || c.code("k") == "MISS");
    assert_exact(&server);
}

// Switches

#[test]
fn while_it_is_not_enabled_every_read_is_a_miss_and_every_fill_nil() {
    for switch in ["argument", "setting"] {
        if switch == "setting" && !server::kind().has_module_config() {
            continue;
        }
        let builder = Server::builder();
        let server = match switch {
            "argument" => builder.setting("enabled", "no").start(),
            _ => builder.start(),
        };
        let mut c = server.client();
        if switch == "setting" {
            c.fill("k", &["tag"]);
            c.must("CONFIG SET apikey.enabled no");
        }
        let reply = c.must(&format!("APIKEY.VALIDATE k SECRET {SECRET}"));
        assert_eq!(reply.items()[0], bulk("MISS"));
        assert!(is_token(&reply.items()[1]) && reply.items().len() == 2, "{reply:?}");
        for options in ["", " NX", " XX", " EX 5 TAGS 1 a"] {
            let line = format!("APIKEY.SETVAL other {}{options}", record("k", "u"));
            assert_eq!(c.run(&line), nil(), "{line}");
        }
        // What is wrong is wrong all the same.
        assert_eq!(c.run("APIKEY.SETVAL other {}"), error("BADRECORD id is missing"));
        // There is no token to give, so it is the one that every fill refuses.
        assert_eq!(reply.items()[1], bulk("0"));
        assert_eq!(c.must("APIKEY.TOKEN k"), bulk("0"));
        // Usage and invalidation go on.
        assert_eq!(c.must("APIKEY.INVAL other"), int(0));
        assert_eq!(c.count("use", 5), 5);
        assert_eq!(c.must("APIKEY.USAGE.TAKE use"), array([int(5)]));
        if switch == "setting" {
            c.must("CONFIG SET apikey.enabled yes");
            assert_eq!(c.code("k"), "VALID", "what was cached is there again");
            c.must("CONFIG SET apikey.enabled no");
            assert_eq!(c.invalidate("tag"), 1);
            c.must("CONFIG SET apikey.enabled yes");
            assert_eq!(c.code("k"), "MISS");
            c.fill("k", &["tag"]);
            c.must("CONFIG SET apikey.enabled no");
            assert_eq!(c.must("APIKEY.INVAL k"), int(1));
            c.must("CONFIG SET apikey.enabled yes");
            assert_eq!(c.code("k"), "MISS");
        }
        assert_exact(&server);
    }
}

#[test]
fn while_writes_are_not_enabled_fills_are_nil_and_reads_go_on() {
    let server = Server::builder().setting("writes-enabled", "no").start();
    let mut c = server.client();
    assert_eq!(c.run(&format!("APIKEY.SETVAL k {}", record("k", "u"))), nil());
    assert_eq!(c.code("k"), "MISS");
    assert_eq!(c.count("use", 5), 5);
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([bulk("use"), int(5)]));
    if !server::kind().has_module_config() {
        return;
    }
    c.must("CONFIG SET apikey.writes-enabled yes");
    c.fill("k", &["tag"]);
    c.must("CONFIG SET apikey.writes-enabled no");
    assert_eq!(c.run(&format!("APIKEY.SETVAL k {}", record("new", "u"))), nil());
    assert_eq!(c.code("k"), "VALID");
    assert_eq!(c.invalidate("tag"), 1);
    assert_eq!(c.code("k"), "MISS");
}

// The other commands

#[test]
fn tags_names_the_automatic_tags_and_the_callers() {
    let server = Server::start();
    let mut c = server.client();
    let tags = |c: &mut Client| -> Vec<String> {
        let reply = c.must("APIKEY.TAGS k");
        let mut tags: Vec<String> = reply.items().iter().map(Reply::text).collect();
        tags.sort();
        tags
    };
    assert_eq!(c.must("APIKEY.TAGS k"), array([]));
    c.fill("k", &[]);
    assert_eq!(tags(&mut c), ["apikey:id:id", "apikey:kind:record", "apikey:user:u1"]);
    c.fill("k", &["b", "a", "b", "apikey:id:id"]);
    assert_eq!(tags(&mut c), ["a", "apikey:id:id", "apikey:kind:record", "apikey:user:u1", "b"]);
    let json = r#"{"id":7,"user_id":"a\u00e9","is_active":true}"#;
    c.cmd(["APIKEY.SETVAL", "k", json, "NS", "acme:", "TAGS", "1", "x"]);
    assert_eq!(
        tags(&mut c),
        ["acme:apikey:id:7", "acme:apikey:kind:record", "acme:apikey:user:aé", "x"]
    );
    c.must("RENAME k other");
    assert_eq!(c.must("APIKEY.TAGS other"), array([]), "a dead entry carries nothing");
    let binary = [b"APIKEY.SETVAL".as_slice(), b"k", json.as_bytes(), b"TAGS", b"1", b"\0\xff"];
    assert_eq!(c.cmd(binary), ok());
    assert!(c.must("APIKEY.TAGS k").items().contains(&bulk(b"\0\xff")));
}

#[test]
fn taginval_kills_what_carries_a_tag_and_counts_each_entry_once() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.TAGINVAL none"), int(0));
    for (key, tags) in [("a", &["x", "y"]), ("b", &["x", "z"]), ("c", &["y", "z"])] {
        c.fill(key, tags);
    }
    assert_eq!(c.must("APIKEY.TAGINVAL x"), int(2));
    assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "MISS", "VALID"]);
    assert!(!c.exists("a"));
    assert_eq!(c.must("APIKEY.TAGINVAL x"), int(0));
    c.fill("a", &["x", "y"]);
    c.fill("b", &["x"]);
    assert_eq!(c.must("APIKEY.TAGINVAL x y x none"), int(3), "shared tags count an entry once");
    assert_eq!(c.must("DBSIZE"), int(0));
    for (key, tag, killed) in [
        ("a", "apikey:id:id", 1),
        ("a", "apikey:user:u1", 1),
        ("a", "apikey:kind:record", 1),
        ("a", "apikey:user:u", 0),
        ("a", "Apikey:user:u1", 0),
    ] {
        c.fill(key, &[]);
        assert_eq!(c.invalidate(tag), killed, "{tag}");
    }
    // Tags live in the database of the entry.
    c.select(1);
    assert_eq!(c.invalidate("apikey:id:id"), 0);
    c.select(0);
    assert_eq!(c.code("a"), "VALID");
    assert_exact(&server);
}

#[test]
fn inval_removes_entries_by_key_and_counts_the_live_ones() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.INVAL none"), int(0));
    for key in ["a", "b", "c", "from"] {
        c.fill(key, &["t"]);
    }
    c.must("RENAME from dead");
    assert_eq!(c.must("APIKEY.INVAL a none b a dead"), int(2), "each once, and no dead one");
    assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "MISS", "VALID"]);
    assert_eq!(c.must("KEYS *"), array([bulk("c")]));
    // The key of the selected database alone.
    c.select(1);
    c.fill("c", &["t"]);
    c.select(0);
    assert_eq!(c.must("apikey.inval c"), int(1));
    c.select(1);
    assert_eq!(c.code("c"), "VALID");
    assert_eq!(c.invalidate("t"), 1);
    let binary = b"\0\xff\r\n".as_slice();
    let json = record("k", "u");
    assert_eq!(c.cmd([b"APIKEY.SETVAL".as_slice(), binary, json.as_bytes()]), ok());
    assert_eq!(c.cmd([b"APIKEY.INVAL".as_slice(), binary]), int(1));
    assert_eq!(c.must("DBSIZE"), int(0));
    assert_exact(&server);
}

#[test]
fn usage_is_counted_by_incr_under_both_names() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.USAGE.INCR u"), int(1));
    assert_eq!(c.must("APIKEY.USAGE.INCR u BY 10"), int(11));
    assert_eq!(c.must("apikey.usageincr u by 100"), int(111));
    assert_eq!(c.must("APIKEY.USAGEINCR u"), int(112));
    assert_eq!(c.must("APIKEY.USAGE.INCR big BY 9223372036854775807"), int(i64::MAX));
    assert_eq!(c.usage("u"), (112, 112));
    assert_eq!(c.must("PTTL u"), int(-1), "counters have no TTL");
    assert_exact(&server);
}

#[test]
fn usage_get_is_a_map_of_counts_and_times() {
    let server = Server::start();
    let mut c = server.client();
    let names = ["pending", "total", "first_used_at", "last_used_at"];
    let none = array([
        bulk("pending"),
        int(0),
        bulk("total"),
        int(0),
        bulk("first_used_at"),
        nil(),
        bulk("last_used_at"),
        nil(),
    ]);
    assert_eq!(c.must("APIKEY.USAGE.GET none"), none);
    assert_eq!(c.must("APIKEY.USAGEGET none"), none);
    let now = |c: &mut Client| {
        let time = c.must("TIME");
        let part = |i: usize| -> i64 { time.items()[i].text().parse().expect("a number") };
        part(0) * 1000 + part(1) / 1000
    };
    let before = now(&mut c);
    c.count("u", 5);
    let between = now(&mut c);
    eventually("a later millisecond", || now(&mut c) > between);
    c.count("u", 2);
    c.must("APIKEY.USAGE.TAKE u");
    c.count("u", 1);
    let after = now(&mut c);
    let usage = c.must("APIKEY.USAGE.GET u");
    assert_eq!(usage.names(), names);
    assert_eq!((usage.get("pending"), usage.get("total")), (&int(1), &int(8)));
    let (first, last) = (usage.get("first_used_at").int(), usage.get("last_used_at").int());
    assert!((before..=between).contains(&first), "{before} {first} {between}");
    assert!((between + 1..=after).contains(&last), "{between} {last} {after}");
    assert_eq!(c.must("APIKEY.USAGEGET u"), usage);
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.USAGE.GET u");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(as_map.names(), names);
        assert_eq!(as_map.get("total"), &int(8));
    }
}

#[test]
fn usage_take_returns_and_resets_what_is_pending_key_by_key() {
    let server = Server::start();
    let mut c = server.client();
    c.count("a", 5);
    c.count("b", 7);
    assert_eq!(c.must("APIKEY.USAGE.TAKE none"), array([int(0)]));
    assert_eq!(c.must("APIKEY.USAGE.TAKE a none b a"), array([int(5), int(0), int(7), int(0)]));
    assert_eq!(c.usage("a"), (0, 5));
    c.count("a", 2);
    assert_eq!(c.must("APIKEY.USAGETAKE a b"), array([int(2), int(0)]));
    assert_eq!(c.usage("a"), (0, 7));
    assert!(!c.exists("none"));
    assert_exact(&server);
}

#[test]
fn usage_flush_takes_whatever_is_pending_up_to_its_count() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([]));
    for n in 1..=1200 {
        c.count(&format!("u{n}"), n);
    }
    c.count("settled", 1);
    c.must("APIKEY.USAGE.TAKE settled");
    let pairs = |reply: &Reply| -> Vec<(String, i64)> {
        reply.items().chunks(2).map(|pair| (pair[0].text(), pair[1].int())).collect()
    };
    let mut all = pairs(&c.must("APIKEY.USAGE.FLUSH COUNT 3"));
    assert_eq!(all.len(), 3);
    let by_default = pairs(&c.must("APIKEY.USAGE.FLUSH"));
    assert_eq!(by_default.len(), 1000);
    all.extend(by_default);
    all.extend(pairs(&c.must("APIKEY.USAGEFLUSH count 1000000")));
    all.sort_by_key(|(_, count)| *count);
    let expected: Vec<(String, i64)> = (1..=1200).map(|n| (format!("u{n}"), n)).collect();
    assert_eq!(all, expected);
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([]));
    assert_eq!(c.usage("u7"), (0, 7));
    // Of the selected database alone.
    c.count("u7", 1);
    c.select(1);
    assert_eq!(c.must("APIKEY.USAGE.FLUSH"), array([]));
    assert_exact(&server);
}

#[test]
fn check_is_a_map_of_what_was_compared() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("a", &["x"]);
    c.count("pending", 1);
    c.count("settled", 1);
    c.must("APIKEY.USAGE.TAKE settled");
    c.must("SET str value");
    let expected = array([
        bulk("keys"),
        int(4),
        bulk("entries"),
        int(2),
        bulk("differences"),
        int(0),
        bulk("found"),
        array([]),
    ]);
    assert_eq!(c.must("APIKEY.CHECK"), expected);
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.CHECK");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(as_map.names(), ["keys", "entries", "differences", "found"]);
    }
}

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

/// An entry, a dead one, counters with and without something pending and one that is full, and a string.
#[track_caller]
fn set_up_every_kind(c: &mut Client) {
    c.must("FLUSHALL");
    c.fill("rec", &["tag"]);
    c.fill("source", &["dead"]);
    c.must("RENAME source dead");
    c.count("use", 5);
    c.count("taken", 5);
    c.must("APIKEY.USAGE.TAKE taken");
    c.count("full", i64::MAX);
    c.must("SET str x");
}

#[test]
fn what_is_refused_or_does_nothing_touches_no_key() {
    let server = Server::start();
    let mut c = server.client();
    let set = |key: &str, how: &str| format!("APIKEY.SETVAL {key} {} {how}", record("k", "u"));
    let (valid, wrong) =
        (format!("APIKEY.VALIDATE rec SECRET {SECRET}"), "APIKEY.VALIDATE rec SECRET x");
    let too_long = format!("APIKEY.TAGINVAL tag {}", "x".repeat(257));
    set_up_every_kind(&mut c);
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
    ] {
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
    ] {
        set_up_every_kind(&mut c);
        let line = &line.replace("<>", &c.must("APIKEY.TOKEN rec").text());
        let (said, touched) = run_while_watched(&server, key, line);
        assert!(!said.is_error(), "{line}: {said:?}");
        assert_eq!(touched, (true, true), "{key}: {line}");
    }
    assert_exact(&server);
}

// Health

const HEALTH: [&str; 23] = [
    "status",
    "reasons",
    "version",
    "enabled",
    "writes_enabled",
    "hits",
    "misses",
    "hit_rate",
    "hit_rate_1m",
    "mismatches",
    "disabled",
    "expired",
    "forbidden",
    "stale_fills_refused",
    "evicted_entries",
    "records",
    "usage_counters",
    "tags",
    "index_bytes",
    "used_memory",
    "maxmemory",
    "eviction_policy",
    "usage_pending",
];

/// Status and reasons.
#[track_caller]
fn status(c: &mut Client) -> (String, Vec<String>) {
    let health = c.must("APIKEY.HEALTH");
    let reasons = health.get("reasons").items().iter().map(Reply::text).collect();
    (health.get("status").text(), reasons)
}

fn healthy() -> (String, Vec<String>) {
    ("healthy".into(), Vec::new())
}

#[test]
fn health_is_a_map_of_the_figures() {
    let server = Server::start();
    let mut c = server.client();
    let health = c.must("APIKEY.HEALTH");
    assert_eq!(health.names(), HEALTH);
    for (name, value) in [
        ("status", bulk("healthy")),
        ("reasons", array([])),
        ("version", bulk(env!("CARGO_PKG_VERSION"))),
        ("enabled", int(1)),
        ("writes_enabled", int(1)),
        ("maxmemory", int(0)),
        ("eviction_policy", bulk("noeviction")),
    ] {
        assert_eq!(health.get(name), &value, "{name}");
    }
    for name in &HEALTH[5..19] {
        if *name != "index_bytes" {
            assert_eq!(health.get(name), &int(0), "{name}");
        }
    }
    if server::kind() != Kind::Redis62 {
        c.resp3();
        let as_map = c.must("APIKEY.HEALTH");
        assert!(matches!(as_map, Reply::Map(_)), "{as_map:?}");
        assert_eq!(as_map.names(), HEALTH);
    }
}

#[test]
fn health_and_info_count_answers_and_contents_alike() {
    let server = Server::start();
    let mut c = server.client();
    let secret = format!("SECRET {SECRET}");
    store(&mut c, "on", r#""scopes":["a"]"#, &format!("{secret} TAGS 2 x y"));
    store(&mut c, "off", r#""is_active":false"#, &secret);
    store(&mut c, "past", r#""expires_at":1"#, "TAGS 1 x");
    c.select(1);
    store(&mut c, "on", "", "TAGS 1 x");
    c.select(0);
    for line in [
        "on SECRET wrong",
        "off SECRET wrong",
        &format!("off {secret}"),
        "past",
        "on SCOPE b",
        &format!("on {secret} SCOPE a"),
        "on",
        "none",
    ] {
        c.must(&format!("APIKEY.VALIDATE {line}"));
    }
    // These are no lookups.
    c.run("APIKEY.VALIDATE on FOO");
    c.must("APIKEY.TAGS on");
    c.must("APIKEY.TOKEN none");
    c.must("APIKEY.INVAL none");
    for key in ["on", "none"] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", key, &record("k", "u"), "TOKEN", "0"]), nil());
    }
    c.count("use", 5);
    c.count("use2", 7);
    c.count("settled", 7);
    c.must("APIKEY.USAGE.TAKE settled");
    let health = c.must("APIKEY.HEALTH");
    for (section, name, value) in [
        ("service", "enabled", 1),
        ("service", "writes_enabled", 1),
        ("answers", "hits", 7),
        ("answers", "misses", 1),
        ("answers", "hit_rate", 87),
        ("answers", "hit_rate_1m", 87),
        ("answers", "mismatches", 2),
        ("answers", "disabled", 1),
        ("answers", "expired", 1),
        ("answers", "forbidden", 1),
        ("answers", "stale_fills_refused", 2),
        ("answers", "evicted_entries", 0),
        ("contents", "records", 4),
        ("contents", "usage_counters", 3),
        // In database 0 x, y and three automatic ones; in database 1 x and the same three.
        ("contents", "tags", 9),
        ("usage", "usage_pending", 12),
    ] {
        assert_eq!(health.get(name), &int(value), "{name}");
        let line = c.info(&format!("apikey_{section}"), &format!("apikey_{name}"));
        assert_eq!(line, Some(value.to_string()), "{name}");
        let line = c.info("everything", &format!("apikey_{name}"));
        assert_eq!(line, Some(value.to_string()), "{name}");
    }
    let bytes = health.get("index_bytes").int();
    assert!(bytes > 0);
    assert_eq!(c.info("apikey_contents", "apikey_index_bytes"), Some(bytes.to_string()));
    assert!(health.get("used_memory").int() > bytes);
}

#[test]
fn the_latency_of_commands_is_the_servers_own() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("k", &[]);
    c.code("k");
    let stats = c.info("commandstats", "cmdstat_apikey.validate").expect("a line");
    assert!(stats.starts_with("calls=1,"), "{stats}");
    if server::kind() != Kind::Redis62 {
        let histogram = c.must("LATENCY HISTOGRAM apikey.validate");
        assert_eq!(histogram.get("apikey.validate").get("calls"), &int(1));
    }
}

#[test]
fn a_low_hit_rate_is_degraded_after_100_lookups() {
    let server = Server::builder().setting("min-hit-rate", "50").start();
    let mut c = server.client();
    for _ in 0..99 {
        c.must("APIKEY.VALIDATE none");
    }
    assert_eq!(status(&mut c), healthy());
    c.must("APIKEY.VALIDATE none");
    let told = "hit rate of the last minute is 0 percent, under min-hit-rate 50";
    assert_eq!(status(&mut c), ("degraded".into(), vec![told.into()]));
    c.fill("k", &[]);
    for _ in 0..100 {
        c.must("APIKEY.VALIDATE k SECRET wrong");
    }
    assert_eq!(status(&mut c), healthy(), "a wrong secret is a hit: the record was there");
}

#[test]
fn full_memory_is_degraded_and_unhealthy_where_nothing_can_be_evicted() {
    let server = Server::start();
    let mut c = server.client();
    // So much that what connections take does not matter.
    c.must("SETRANGE filler 30000000 x");
    let used: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    let limit = |c: &mut Client, percent: i64| {
        c.must(&format!("CONFIG SET maxmemory {}", used * 100 / percent));
    };
    limit(&mut c, 80);
    assert_eq!(status(&mut c), healthy());
    limit(&mut c, 95);
    let (named, reasons) = status(&mut c);
    assert_eq!((named.as_str(), reasons.len()), ("degraded", 1), "{reasons:?}");
    assert!(reasons[0].starts_with("memory is at 9"), "{reasons:?}");
    assert!(reasons[0].ends_with(" percent, above max-memory-percent 90"), "{reasons:?}");
    limit(&mut c, 110);
    let full = "memory is full and the policy evicts nothing";
    assert_eq!(status(&mut c), ("unhealthy".into(), vec![full.into()]));
    assert_eq!(c.must("APIKEY.HEALTH").get("maxmemory"), &int(used * 100 / 110));
    c.must("CONFIG SET maxmemory 0");
    assert_eq!(status(&mut c), healthy());
}

#[test]
fn counters_that_may_be_evicted_are_degraded() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CONFIG SET maxmemory-policy allkeys-lru");
    assert_eq!(status(&mut c), healthy(), "no counter yet");
    c.count("use", 1);
    let told = "maxmemory-policy allkeys-lru can evict usage counters";
    assert_eq!(status(&mut c), ("degraded".into(), vec![told.into()]));
    assert_eq!(c.must("APIKEY.HEALTH").get("eviction_policy"), &bulk("allkeys-lru"));
    c.must("CONFIG SET maxmemory-policy volatile-lru");
    assert_eq!(status(&mut c), healthy());
}

#[test]
fn what_is_not_enabled_is_unhealthy_and_the_switches_are_told() {
    let server = Server::builder().setting("enabled", "no").setting("writes-enabled", "no").start();
    let mut c = server.client();
    assert_eq!(status(&mut c), ("unhealthy".into(), vec!["apikey.enabled is no".into()]));
    let health = c.must("APIKEY.HEALTH");
    assert_eq!((health.get("enabled"), health.get("writes_enabled")), (&int(0), &int(0)));
    assert_eq!(c.info("apikey_service", "apikey_enabled").as_deref(), Some("0"));
    assert_eq!(c.info("apikey_service", "apikey_writes_enabled").as_deref(), Some("0"));
    c.must("APIKEY.VALIDATE none");
    assert_eq!(c.must("APIKEY.HEALTH").get("misses"), &int(0), "a switch is no miss of the cache");
}

#[test]
fn evicted_entries_are_counted() {
    let server = Server::start();
    let mut c = server.client();
    for n in 0..100 {
        c.fill(&format!("k{n}"), &["tag"]);
    }
    c.count("use", 1);
    c.must("CONFIG SET maxmemory-policy volatile-random");
    c.must("CONFIG SET maxmemory 1");
    eventually("all are evicted", || c.must("APIKEY.HEALTH").get("records") == &int(0));
    assert_eq!(c.must("APIKEY.HEALTH").get("evicted_entries"), &int(100));
    assert_eq!(c.must("DBSIZE"), int(1), "counters have no TTL, so this policy spares them");
    c.must("CONFIG SET maxmemory 0");
    assert_exact(&server);
}

// Keyspace notifications

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
