//! Digests with an end of their own: an old secret is good until then, and nobody has to come back for it.

use crate::codes::{left, now};
use crate::harness::server::Stop;
use crate::harness::*;

/// Later than any test runs.
const FUTURE: i64 = 4_102_444_800_123;
const PAST: i64 = 1_700_000_000_000;

/// SHA-256 of `old`.
const OLD_DIGEST: &str = "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4";

/// VALIDATE's codes for the new secret and for the old one.
#[track_caller]
fn both(c: &mut Client, key: &str) -> [String; 2] {
    [SECRET, "old"]
        .map(|secret| code_of(&c.must(&format!("APIKEY.VALIDATE {key} SECRET {secret}"))))
}

const BOTH: [&str; 2] = ["VALID", "VALID"];
const NEW_ALONE: [&str; 2] = ["VALID", "MISMATCH"];

/// A rotation whose grace ends at a time.
fn rotation(until: i64) -> String {
    format!("DIGEST {DIGEST} DIGEST {OLD_DIGEST} UNTIL {until}")
}

#[track_caller]
fn rotate(c: &mut Client, key: &str, until: i64) {
    assert_eq!(
        c.run(&format!("APIKEY.SETVAL {key} {} {}", record("k", "u"), rotation(until))),
        ok()
    );
}

#[track_caller]
fn until(c: &mut Client, key: &str) -> Reply {
    c.must(&format!("APIKEY.DESCRIBE {key}")).get("digests_until").clone()
}

#[test]
fn an_old_secret_ends_at_its_millisecond_and_the_new_one_goes_on() {
    let server = Server::start();
    let mut c = server.client();
    let mut clock = server.client();
    let line = "APIKEY.VALIDATE k SECRET old";
    // Rounds in which both were seen; a slow machine may miss the time before.
    let mut rounds = 0;
    for _ in 0..100 {
        let at = now(&mut clock) + 25;
        rotate(&mut c, "k", at);
        let (mut valid, mut over) = (0, 0);
        // By the server's own clock, read before and after each answer.
        while over < 20 {
            let before = now(&mut clock);
            let reply = c.run(line);
            let after = now(&mut clock);
            if reply == array([bulk("MISMATCH"), nil()]) {
                assert!(after >= at, "over at {after}, before {at}");
                over += 1;
            } else {
                assert_eq!(code_of(&reply), "VALID");
                let left = left(&reply);
                assert!((at - after..=at - before).contains(&left), "{left} at {before}");
                assert!(before < at, "valid at {before}, after {at}");
                valid += 1;
            }
        }
        assert_eq!(both(&mut c, "k"), NEW_ALONE);
        // What ends is the answer for the old secret: the entry lives on.
        let reply = c.must(&format!("APIKEY.VALIDATE k SECRET {SECRET}"));
        assert!((290_000..=300_000).contains(&left(&reply)), "{reply:?}");
        rounds += usize::from(valid > 0);
        if rounds == 5 {
            assert_exact(&server);
            return;
        }
    }
    panic!("{rounds} rounds in which it was valid first");
}

#[test]
fn a_record_all_of_whose_digests_have_ended_takes_no_secret() {
    let server = Server::start();
    let mut c = server.client();
    let json = record("k", "u");
    c.must(&format!("APIKEY.SETVAL k {json} DIGEST {OLD_DIGEST} UNTIL {PAST}"));
    assert_eq!(both(&mut c, "k"), ["MISMATCH", "MISMATCH"]);
    assert_eq!(c.code("k"), "MISMATCH");
    assert_eq!(code_of(&c.must("APIKEY.VALIDATE k")), "UNVERIFIED");
    // Whoever presents a secret that has ended learns nothing of the key.
    let disabled = json.replace("true", "false");
    c.must(&format!("APIKEY.SETVAL k {disabled} {}", rotation(PAST)));
    assert_eq!(both(&mut c, "k"), ["DISABLED", "MISMATCH"]);
    // The same digest twice ends with the later.
    let twice = format!("DIGEST {OLD_DIGEST} UNTIL {PAST} DIGEST {OLD_DIGEST} UNTIL {FUTURE}");
    c.must(&format!("APIKEY.SETVAL k {json} {twice}"));
    assert_eq!(both(&mut c, "k"), ["MISMATCH", "VALID"]);
    assert_exact(&server);
}

#[test]
fn describe_says_how_many_and_until_when_and_never_which() {
    let server = Server::start();
    let mut c = server.client();
    rotate(&mut c, "k", FUTURE);
    let told = c.must("APIKEY.DESCRIBE k");
    assert_eq!(told.get("digests"), &int(2));
    assert_eq!(told.get("digests_until"), &array([int(FUTURE), nil()]));
    assert!(!format!("{told:?}").contains(&OLD_DIGEST[..8]), "{told:?}");
    // Their order does not say which of them ends.
    let options = format!("DIGEST {OLD_DIGEST} UNTIL {FUTURE} DIGEST {DIGEST}");
    c.must(&format!("APIKEY.SETVAL l {} {options}", record("k", "u")));
    assert_eq!(c.must("APIKEY.DESCRIBE l").get("digests_until"), told.get("digests_until"));
    c.count("use", 1);
    c.decide("decided", "r a ALLOW", "EX 100");
    for key in ["use", "decided"] {
        assert_eq!(until(&mut c, key), array([]));
    }
}

#[test]
fn an_end_comes_from_the_digest_field_as_well() {
    let server = Server::builder().setting("digest-field", "hashes").start();
    let mut c = server.client();
    let row = |hashes: &str| format!(r#"{{"id":"k","is_active":true,"hashes":{hashes}}}"#);
    let store = |c: &mut Client, hashes: &str| {
        c.must("DEL k");
        let token = c.must("APIKEY.TOKEN k").text();
        c.cmd(["APIKEY.MSETVAL", "1", "k", &row(hashes), "TOKEN", &token])
    };
    let old =
        |until: &str| format!(r#"["{DIGEST}",{{"digest":"\\x{OLD_DIGEST}","until":{until}}}]"#);
    for (hashes, says) in [
        (old("\"2099-01-01 00:00:00+00\""), BOTH),
        (old(&FUTURE.to_string()), BOTH),
        (old("null"), BOTH),
        (old("\"infinity\""), BOTH),
        (old(&PAST.to_string()), NEW_ALONE),
        (old("\"2023-11-14T22:13:20.5+01:00\""), NEW_ALONE),
        (old("\"-infinity\""), NEW_ALONE),
        (format!(r#"["{DIGEST}",{{"digest":null,"until":null}}]"#), NEW_ALONE),
    ] {
        assert_eq!(store(&mut c, &hashes), int(1), "{hashes}");
        assert_eq!(both(&mut c, "k"), says, "{hashes}");
        assert!(!c.must("APIKEY.VALIDATE k").items()[1].text().contains("hashes"));
    }
    for (until, error) in [
        ("1700000000", "in milliseconds, of 1990 to 9999; it looks like seconds; null is never"),
        ("0", "in milliseconds, of 1990 to 9999; null is never"),
    ] {
        let error = format!("BADRECORD record 1: until of hashes must be {error}");
        assert_eq!(store(&mut c, &old(until)), Reply::Error(error));
    }
    let reply = store(&mut c, &format!(r#"[{{"digest":"{DIGEST}","expires_at":null}}]"#));
    assert!(reply.text().contains("of {\"digest\": .., \"until\": ..}"), "{reply:?}");
    assert!(!c.exists("k"));
    assert_exact(&server);
}

#[test]
fn an_end_without_a_zone_is_taken_for_what_naive_times_says() {
    let server =
        Server::builder().setting("digest-field", "hashes").setting("naive-times", "utc").start();
    let mut c = server.client();
    let row = format!(
        r#"{{"id":"k","is_active":true,"hashes":[{{"digest":"{DIGEST}","until":"2099-01-01 00:00:00"}}]}}"#
    );
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &row]), ok());
    assert_eq!(until(&mut c, "k"), array([int(4_070_908_800_000)]));
}

#[test]
fn wrong_ends_are_refused_and_nothing_is_stored() {
    let server = Server::start();
    let mut c = server.client();
    let between = "UNTIL must be between 631152000000 and 253402300799999";
    let seconds = format!("{between}; it looks like seconds");
    for (options, error) in [
        (format!("DIGEST {DIGEST} UNTIL"), "UNTIL has no value"),
        (format!("DIGEST {DIGEST} UNTIL 1700000000"), &*seconds),
        (format!("DIGEST {DIGEST} UNTIL 1700000000123456"), between),
        (format!("DIGEST {DIGEST} UNTIL -1"), between),
        (format!("DIGEST {DIGEST} UNTIL soon"), between),
        (format!("DIGEST {DIGEST} UNTIL 1.7e12"), between),
        (format!("DIGEST {DIGEST} UNTIL {FUTURE} UNTIL {FUTURE}"), "unknown option at argument 7"),
        (format!("UNTIL {FUTURE} DIGEST {DIGEST}"), "unknown option at argument 3"),
        (format!("SECRET x UNTIL {FUTURE}"), "unknown option at argument 5"),
        (format!("DIGEST {DIGEST} EX 9 UNTIL {FUTURE}"), "unknown option at argument 7"),
        (
            format!("DIGEST {DIGEST} DIGEST {DIGEST} UNTIL {FUTURE} DIGEST {DIGEST}"),
            "DIGEST is given more than twice",
        ),
    ] {
        let reply = c.run(&format!("APIKEY.SETVAL k {} {options}", record("k", "u")));
        assert_eq!(reply, Reply::Error(format!("ERR {error}")), "{options}");
        assert!(!c.exists("k"));
    }
    rotate(&mut c, "k", FUTURE);
    let reply = c.run(&format!("APIKEY.VALIDATE k DIGEST {DIGEST} UNTIL {FUTURE}"));
    assert_eq!(reply, Reply::Error("ERR unknown option at argument 4".into()));
}

#[test]
fn ends_are_replicated_saved_loaded_and_dumped() {
    let mut server = Server::builder().setting("trust-loaded", "yes").with_aof(false).start();
    let replica = Server::builder().replica_of(&server).start();
    let mut c = server.client();
    rotate(&mut c, "grace", FUTURE);
    rotate(&mut c, "over", PAST);
    let ends = |c: &mut Client| {
        let ends = ["grace", "over"].map(|key| until(c, key));
        assert_eq!(ends, [array([int(FUTURE), nil()]), array([int(PAST), nil()])]);
    };
    let check = |c: &mut Client| {
        ends(c);
        assert_eq!(both(c, "grace"), BOTH);
        assert_eq!(both(c, "over"), NEW_ALONE);
    };
    check(&mut c);
    replica.in_sync_with(&server);
    check(&mut replica.client());
    assert_eq!(replica.digest(), server.digest());

    for rewrites in [false, true] {
        if rewrites {
            server.rewrite_aof();
        }
        server.restart(Stop::Save);
        check(&mut server.client());
    }
    // From its own RDB, and from a payload, which comes dead.
    let mut server = Server::builder().setting("trust-loaded", "yes").start();
    let mut c = server.client();
    rotate(&mut c, "grace", FUTURE);
    rotate(&mut c, "over", PAST);
    server.restart(Stop::Save);
    let mut c = server.client();
    check(&mut c);
    hold(&mut c);
    for key in ["grace", "over"] {
        let payload = c.must(&format!("DUMP {key}"));
        c.must(&format!("DEL {key}"));
        assert_eq!(c.cmd([b"RESTORE", key.as_bytes(), b"0", payload.bytes()]), ok());
    }
    ends(&mut c);
    assert_exact(&server);
}
