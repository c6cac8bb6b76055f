//! What VALIDATE answers.

use crate::harness::*;
use serde_json::{json, Value as Json};

const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const UPPER: &str = "B7C1F9E1E2C3BD5313BCB6788AA70379084A0113F6CACF465358B863E3FA472B";

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

/// How long VALID or UNVERIFIED says that it holds.
#[track_caller]
pub fn left(reply: &Reply) -> i64 {
    reply.items().last().expect("an element").int()
}

/// The server's clock, in epoch milliseconds.
pub fn now(clock: &mut Client) -> i64 {
    let time = clock.must("TIME");
    let part = |i: usize| -> i64 { time.items()[i].text().parse().expect("a number") };
    part(0) * 1000 + part(1) / 1000
}

#[track_caller]
fn assert_says(reply: &Reply, says: Says, record: &str, what: &str) {
    let expected = match says {
        Mismatch => array([bulk("MISMATCH"), nil()]),
        Disabled => array([bulk("DISABLED"), nil()]),
        Expired => array([bulk("EXPIRED"), nil()]),
        Forbidden(scope) => array([bulk("FORBIDDEN"), bulk(scope)]),
        Valid => array([bulk("VALID"), bulk(record), int(left(reply))]),
        Unverified => {
            let token = &reply.items()[2];
            assert!(is_token(token), "{what}: {reply:?}");
            array([bulk("UNVERIFIED"), bulk(record), token.clone(), int(left(reply))])
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
    let off_past = r#""is_active":false,"expires_at":1000000000000"#;
    let past = r#""expires_at":1000000000000"#;
    let narrow = r#""scopes":["a:b"]"#;
    let past_narrow = r#""expires_at":1000000000000,"scopes":["a:b"]"#;
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
        (r#""expires_at":631152000000"#, right(), right(), Expired),
        (r#""expires_at":"-infinity""#, right(), right(), Expired),
        (r#""expires_at":"infinity""#, right(), right(), Valid),
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
        (r#"[{"actions":["x"],"resource":"y"}]"#, "y:x", GRANTED),
        (r#"[{"actions":["x"],"resource":"y"}]"#, "z:x", REFUSED),
        (r#"["no",{"resource":"a","actions":["b"]},"yes"]"#, "yes", GRANTED),
        ("[]", "read", REFUSED),
    ] {
        let record =
            store(&mut c, "k", &format!("\"scopes\":{scopes}"), &format!("SECRET {SECRET}"));
        let reply = c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET, "SCOPE", request]);
        let expected = match granted {
            true => array([bulk("VALID"), bulk(record), int(left(&reply))]),
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
    let mut now = || now(&mut clock);
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
                let left = left(&reply);
                assert_eq!(reply, array([bulk("VALID"), bulk(&record), int(left)]));
                assert!((at - after..=at - before).contains(&left), "{left} at {before}");
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
        "scopes": ["users:read", {"resource": "files", "actions": ["read"]}],
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
    c.must("PERSIST k");
    let alone = c.must(&format!("APIKEY.VALIDATE k SECRET {SECRET}"));
    c.must("MULTI");
    c.must(&format!("APIKEY.VALIDATE k SECRET {SECRET}"));
    assert_eq!(c.must("EXEC"), array([alone.clone()]));
    let script = "return redis.call('APIKEY.VALIDATE',KEYS[1],'SECRET',ARGV[1])";
    assert_eq!(c.cmd(["EVAL", script, "1", "k", SECRET]), alone);
}

#[test]
fn an_answer_says_when_it_ends_by_itself() {
    let server = Server::start();
    let mut c = server.client();
    let mut clock = server.client();
    let (near, far) = (100_000, 200_000);
    let proof = format!("SECRET {SECRET}");
    for (expires_in, key_expires_in) in [
        (None, None),
        (None, Some(near)),
        (Some(near), None),
        (Some(near), Some(far)),
        (Some(far), Some(near)),
        (Some(near), Some(near)),
    ] {
        let start = now(&mut clock);
        let at = |left: Option<i64>| left.map(|left| start + left);
        let field = at(expires_in).map_or("null".into(), |at| at.to_string());
        let options = at(key_expires_in).map_or(proof.clone(), |at| format!("{proof} PXAT {at}"));
        store(&mut c, "k", &format!("\"expires_at\":{field}"), &options);
        if key_expires_in.is_none() {
            c.must("PERSIST k");
        }
        let end = at(expires_in.into_iter().chain(key_expires_in).min());
        for (line, code, elements) in [
            (format!("APIKEY.VALIDATE k {proof}"), "VALID", 3),
            ("APIKEY.VALIDATE k".into(), "UNVERIFIED", 4),
        ] {
            for in_multi in [false, true] {
                let before = now(&mut clock);
                let reply = match in_multi {
                    false => c.must(&line),
                    true => {
                        c.must("MULTI");
                        c.must(&line);
                        c.must("EXEC").items()[0].clone()
                    }
                };
                let after = now(&mut clock);
                assert_eq!((code_of(&reply).as_str(), reply.items().len()), (code, elements));
                let left = left(&reply);
                match end {
                    None => assert_eq!(left, -1, "{reply:?}"),
                    Some(end) => assert!((end - after..=end - before).contains(&left), "{left}"),
                }
            }
        }
    }
    // The key's time can be changed, and a script may outlive it: the key is there until it is done.
    store(&mut c, "k", "", &proof);
    c.must("PEXPIRE k 150000");
    let reply = c.must(&format!("APIKEY.VALIDATE k {proof}"));
    assert!((1..=150_000).contains(&left(&reply)), "{reply:?}");
    let script = "redis.call('PEXPIRE', KEYS[1], 20)
                  local reply
                  repeat reply = redis.call('APIKEY.VALIDATE', KEYS[1], 'SECRET', ARGV[1])
                  until reply[3] <= 0
                  return {reply[1], reply[3]}";
    assert_eq!(c.cmd(["EVAL", script, "1", "k", SECRET]), array([bulk("VALID"), int(0)]));
}

// SETVAL
