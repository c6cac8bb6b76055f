//! What ADMIT answers, takes and counts.

use super::calls::*;
use crate::harness::server::Kind;
use crate::harness::*;

#[test]
fn a_request_is_admitted_with_how_its_limits_stand_and_counted() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 3), quota("year", 10)]);
    let record = c.must(&format!("APIKEY.VALIDATE k DIGEST {DIGEST}")).items()[1].clone();
    let reply = admit(&mut c, "SCOPE a");
    let [code, json, left, limits] = reply.items() else { panic!("{reply:?}") };
    assert_eq!((code, json), (&bulk("VALID"), &record));
    assert!((290_000..=300_000).contains(&left.int()), "{left:?}");
    let [second, year] = limits.items() else { panic!("{limits:?}") };
    assert_eq!(second.items()[..3], [bulk("second"), int(3), int(2)]);
    assert!((31_622_390_000..=31_622_400_000).contains(&second.items()[3].int()), "{second:?}");
    assert_eq!(second.items()[4], int(0));
    assert_eq!(year.items()[..3], [bulk("year"), int(10), int(9)]);
    assert!((1..=31_622_400_000).contains(&year.items()[3].int()), "{year:?}");
    assert_eq!(c.usage("use"), (1, 1));
    assert_eq!(remaining(&admit(&mut c, "COST 2")), [0, 7]);
    assert_eq!(c.usage("use"), (3, 3));
    assert_eq!(levels(&mut c, "use"), [("second".into(), 0), ("year".into(), 7)]);
    let kinds = c.must("APIKEY.LIMITS use");
    let kinds: Vec<Reply> = kinds.items().iter().map(|limit| limit.items()[1].clone()).collect();
    assert_eq!(kinds, [bulk("rate"), bulk("quota")]);
    assert_eq!(c.must("APIKEY.LIMITS none"), array([]));
    assert_exact(&server);
}

#[test]
fn a_denied_request_takes_from_none_and_counts_nothing() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[quota("year", 10), bucket("second", 2), bucket("minute", 5)]);
    admit(&mut c, "COST 2");
    let before = (server.digest(), levels(&mut c, "use"));
    for _ in 0..5 {
        let denied = admit(&mut c, "");
        let [code, name, wait, limits] = denied.items() else { panic!("{denied:?}") };
        assert_eq!((code, name), (&bulk("RATE_LIMITED"), &bulk("second")));
        assert!(wait.int() > 1_000_000, "{denied:?}");
        assert_eq!(limits.items()[1].items()[4], *wait);
        assert_eq!(remaining(&denied), [8, 0, 3]);
        // More than any burst: it never will be.
        let denied = admit(&mut c, "COST 6");
        assert_eq!(denied.items()[..3], [bulk("RATE_LIMITED"), bulk("second"), int(-1)]);
        // A quota before any rate.
        let denied = admit(&mut c, "COST 9");
        assert_eq!(denied.items()[..2], [bulk("USAGE_EXCEEDED"), bulk("year")]);
        assert!(denied.items()[2].int() > 0, "until the year is over");
        let denied = admit(&mut c, "COST 11");
        assert_eq!(denied.items()[..3], [bulk("USAGE_EXCEEDED"), bulk("year"), int(-1)]);
    }
    assert_eq!((server.digest(), levels(&mut c, "use")), before);
    assert_eq!(c.usage("use"), (2, 2));
    assert_eq!(
        ["admitted", "rate_limited", "usage_exceeded"].map(|name| figure(&mut c, name)),
        [1, 10, 10]
    );
    let log = c.must("APIKEY.LOG COUNT 1");
    let entry = &log.items()[0];
    assert_eq!(entry.get("code"), &bulk("USAGE_EXCEEDED"));
    assert_eq!(entry.get("reason"), &bulk("nothing is left of the limit: year"));
    assert_exact(&server);
}

#[test]
fn what_validate_refuses_is_refused_with_its_code_and_costs_nothing() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 3)]);
    store(&mut c, "off", r#""is_active":false"#, &format!("SECRET {SECRET}"));
    for key in ["k", "off", "none"] {
        for options in [
            "",
            "SECRET wrong",
            &format!("DIGEST {DIGEST}"),
            "SCOPE b",
            &format!("DIGEST {DIGEST} SCOPE b"),
        ] {
            let judged = c.must(format!("APIKEY.VALIDATE {key} {options}").trim_end());
            let admitted = c.must(format!("APIKEY.ADMIT {key} 1 use {options}").trim_end());
            if code_of(&judged) == "VALID" {
                continue;
            }
            // Tokens and what is left differ from call to call.
            assert_eq!(admitted.items().len(), judged.items().len(), "{key} {options}");
            assert_eq!(code_of(&admitted), code_of(&judged), "{key} {options}");
            if code_of(&judged) == "UNVERIFIED" {
                assert!(is_token(&admitted.items()[2]), "{admitted:?}");
            }
        }
    }
    assert_eq!(c.usage("use"), (1, 1), "the one that is right");
    assert_eq!(levels(&mut c, "use"), [("second".into(), 2)]);
    assert_exact(&server);
}

#[test]
fn peek_and_a_cost_of_nothing_take_nothing() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 3), quota("year", 5)]);
    for options in ["PEEK", "COST 0", "PEEK COST 3", "PEEK ID a", "COST 0"] {
        let before = server.digest();
        assert_eq!(remaining(&admit(&mut c, options)), [3, 5], "{options}");
        assert_eq!(server.digest(), before, "{options}");
    }
    assert!(!c.exists("use"));
    assert_eq!(code_of(&admit(&mut c, "PEEK COST 4")), "RATE_LIMITED");
    admit(&mut c, "COST 3");
    assert_eq!(code_of(&admit(&mut c, "PEEK")), "RATE_LIMITED");
    assert_eq!(code_of(&admit(&mut c, "COST 0")), "VALID");
    assert_exact(&server);
}

#[test]
fn a_limit_of_the_call_stands_in_for_the_records_of_its_name() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 3), quota("year", 5)]);
    let more = "LIMIT 1 second RATE 1 31622400000 BURST 10 LIMIT 1 route QUOTA 7 YEAR WEIGHT 2";
    let reply = admit(&mut c, more);
    let names: Vec<String> =
        reply.items()[3].items().iter().map(|limit| limit.items()[0].text()).collect();
    assert_eq!(names, ["year", "second", "route"]);
    assert_eq!(remaining(&reply), [4, 9, 5]);
    // What was taken stays so, whoever names the limit.
    assert_eq!(remaining(&admit(&mut c, "PEEK")), [2, 4]);
    assert_exact(&server);
}

#[test]
fn a_limit_in_the_shadow_is_shown_and_never_denies() {
    let server = Server::start();
    let mut c = server.client();
    let shadow = r#"{"name":"try","units":1,"per":31622400000,"burst":2,"shadow":true}"#;
    limited(&mut c, "k", &[shadow.into(), quota("year", 5)]);
    assert_eq!(remaining(&admit(&mut c, "COST 1")), [1, 4]);
    let reply = admit(&mut c, "COST 3");
    assert_eq!((code_of(&reply).as_str(), remaining(&reply)), ("VALID", vec![0, 1]));
    assert_eq!(reply.items()[3].items()[0].items()[4], int(-1), "it would never admit that");
    assert_exact(&server);
}

#[test]
fn several_counters_each_have_their_limits_and_the_first_counts() {
    let server = Server::start();
    let mut c = server.client();
    let company = r#"{"name":"company","units":1,"per":31622400000,"burst":3,"counter":2}"#;
    limited(&mut c, "k", &[bucket("own", 5), company.into()]);
    assert_eq!(remaining(&admit_in(&mut c, "2 use all", "")), [4, 2]);
    assert_eq!(remaining(&admit_in(&mut c, "2 use2 all", "COST 2")), [3, 0]);
    assert_eq!(code_of(&admit_in(&mut c, "2 use all", "")), "RATE_LIMITED");
    assert_eq!((c.usage("use"), c.usage("use2"), c.usage("all")), ((1, 1), (2, 2), (0, 0)));
    assert_eq!(levels(&mut c, "use"), [("own".into(), 4)]);
    assert_eq!(levels(&mut c, "use2"), [("own".into(), 3)]);
    assert_eq!(levels(&mut c, "all"), [("company".into(), 0)]);
    assert_exact(&server);
}

#[test]
fn credits_are_what_credit_has_given() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[r#"{"name":"credits","credits":true,"cost":3}"#.into()]);
    let none = admit(&mut c, "");
    assert_eq!(none.items()[..3], [bulk("USAGE_EXCEEDED"), bulk("credits"), int(-1)]);
    assert_eq!(none.items()[3].items()[0].items()[1..], [int(-1), int(0), int(-1), int(-1)]);
    assert_eq!(c.must("APIKEY.CREDIT use credits BY 10"), int(10));
    assert_eq!(remaining(&admit(&mut c, "COST 2")), [4]);
    assert_eq!(code_of(&admit(&mut c, "COST 2")), "USAGE_EXCEEDED");
    assert_eq!(c.must("APIKEY.CREDIT use credits BY -4"), int(0));
    let below = "ERR BY must not take the balance below 0";
    assert_eq!(c.run("APIKEY.CREDIT use credits BY -1"), error(below));
    assert_eq!(c.must("APIKEY.CREDIT use credits SET 7"), int(7));
    let beyond = "ERR BY must not take the balance beyond 1000000000000000";
    assert_eq!(c.run("APIKEY.CREDIT use credits BY 1000000000000000"), error(beyond));
    assert_eq!(levels(&mut c, "use"), [("credits".into(), 7)]);
    assert_eq!(c.usage("use"), (2, 2), "credits are no uses");
    assert_exact(&server);
}

#[test]
fn a_limit_that_changes_keeps_what_was_taken() {
    let server = Server::start();
    let mut c = server.client();
    let with = |limit: &str| format!("LIMIT 1 a {limit} PEEK");
    let peek = |c: &mut Client, limit: &str| remaining(&admit(c, &with(limit)))[0];
    limited(&mut c, "k", &[]);
    admit(&mut c, "COST 8 LIMIT 1 a RATE 1 31622400000 BURST 10");
    for (limit, left) in [
        ("RATE 1 31622400000 BURST 10", 2),
        ("RATE 1 31622400000 BURST 100", 92),
        ("RATE 1 31622400000 BURST 5", 0),
        ("RATE 1 86400000 BURST 10", 2),
        ("QUOTA 10 YEAR", 10),
        ("CREDITS SHADOW", 0),
    ] {
        assert_eq!(peek(&mut c, limit), left, "{limit}");
    }
    admit(&mut c, "COST 8 LIMIT 1 b QUOTA 10 DAY");
    for (limit, left) in [("QUOTA 10 MONTH", 2), ("QUOTA 100 YEAR", 92), ("QUOTA 5 DAY", 0)] {
        let reply = admit(&mut c, &format!("LIMIT 1 b {limit} SHADOW PEEK"));
        assert_eq!(remaining(&reply), [left], "{limit}");
    }
    assert_exact(&server);
}

#[test]
fn a_name_of_another_kind_is_another_limit_and_bought_credits_stay() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[]);
    c.must("APIKEY.CREDIT use a SET 1000");
    admit(&mut c, "LIMIT 1 a QUOTA 5 YEAR SHADOW");
    admit(&mut c, "LIMIT 1 a RATE 1 31622400000 BURST 9 COST 4");
    assert_eq!(remaining(&admit(&mut c, "LIMIT 1 a CREDITS")), [999]);
    // What was a quota is sold as credits.
    admit(&mut c, "LIMIT 1 b QUOTA 5 YEAR");
    assert_eq!(code_of(&admit(&mut c, "LIMIT 1 b CREDITS")), "USAGE_EXCEEDED");
    assert_eq!(c.must("APIKEY.CREDIT use b BY 3"), int(3));
    assert_eq!(remaining(&admit(&mut c, "LIMIT 1 b CREDITS")), [2]);
    assert_eq!(remaining(&admit(&mut c, "LIMIT 1 b QUOTA 5 YEAR PEEK")), [4]);
    let kinds = [("a", 4), ("a", 5), ("a", 999), ("b", 2), ("b", 4)];
    let kinds = kinds.map(|(name, left)| (name.to_string(), left));
    assert_eq!(levels(&mut c, "use"), kinds);
    assert_exact(&server);
}

#[test]
fn a_rate_gives_back_as_time_goes_by() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[r#"{"name":"second","units":100,"per":1000,"burst":1}"#.into()]);
    let mut admitted = 0;
    let begun = std::time::Instant::now();
    // Without a rest, so that no moment is missed in which one too many would be.
    while admitted < 10 && begun.elapsed().as_secs() < 60 {
        let reply = admit(&mut c, "");
        if code_of(&reply) == "VALID" {
            admitted += 1;
        } else {
            let wait = reply.items()[2].int();
            assert!((1..=10).contains(&wait), "{reply:?}");
        }
    }
    // At most one at once and one each 10 ms.
    assert!(begun.elapsed().as_millis() >= 89, "{:?}", begun.elapsed());
    assert_eq!(c.usage("use"), (10, 10));
}

#[test]
fn resp3_and_scripts_are_answered_alike() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 5)]);
    if server::kind() != Kind::Redis62 {
        c.resp3();
        assert_eq!(remaining(&admit(&mut c, "")), [4]);
    }
    let script = "return redis.call('APIKEY.ADMIT', KEYS[1], 1, KEYS[2], 'DIGEST', ARGV[1])";
    let reply = c.cmd(["EVAL", script, "2", "k", "use", DIGEST]);
    assert_eq!(code_of(&reply), "VALID");
    c.must("MULTI");
    admit(&mut c, "");
    let done = c.must("EXEC");
    assert_eq!(code_of(&done.items()[0]), "VALID");
    assert_exact(&server);
}

#[test]
fn a_counter_holds_64_limits_of_which_something_was_taken() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[]);
    for n in 0..64 {
        assert_eq!(code_of(&admit(&mut c, &format!("LIMIT 1 a{n} QUOTA 5 YEAR"))), "VALID");
    }
    let before = server.digest();
    let refused = error("ERR counter 1 must have at most 64 limits of which something was taken");
    let one_more = format!("APIKEY.ADMIT k 1 use DIGEST {DIGEST} LIMIT 1 b QUOTA 5 YEAR");
    assert_eq!(c.run(&one_more), refused);
    assert_eq!(c.run("APIKEY.CREDIT use c BY 1"), refused);
    assert_eq!(server.digest(), before);
    // One that is full again makes room.
    assert_eq!(code_of(&admit(&mut c, "LIMIT 1 a0 QUOTA 5 YEAR")), "VALID");
    let other = "APIKEY.ADMIT k 1 use2";
    for n in 0..64 {
        c.must(&format!("{other} DIGEST {DIGEST} LIMIT 1 a{n} RATE 1000000 1"));
    }
    eventually("one has come back", || {
        !c.run(&format!("{other} DIGEST {DIGEST} LIMIT 1 b QUOTA 5 YEAR")).is_error()
    });
    assert_exact(&server);
}

#[test]
fn the_user_needs_every_key_and_a_full_server_refuses() {
    let server = Server::start();
    let mut c = server.client();
    limited(&mut c, "k", &[bucket("second", 50)]);
    c.must("ACL SETUSER app on nopass ~k ~use -@all +apikey.admit +apikey.credit +apikey.settle +apikey.limits +apikey.usage.incr");
    let mut app = server.client();
    app.must("AUTH app x");
    assert_eq!(code_of(&admit(&mut app, "ID a")), "VALID");
    app.must("APIKEY.SETTLE use a 2");
    for call in [
        format!("APIKEY.ADMIT k 1 other DIGEST {DIGEST}"),
        format!("APIKEY.ADMIT k 2 use other DIGEST {DIGEST}"),
        format!("APIKEY.ADMIT other 1 use DIGEST {DIGEST}"),
        "APIKEY.CREDIT other a BY 1".into(),
        "APIKEY.SETTLE other a 1".into(),
        "APIKEY.LIMITS other".into(),
    ] {
        assert!(app.run(&call).text_of_error().starts_with("NOPERM"), "{call}");
    }
    if server::kind() != Kind::Redis62 {
        c.must("ACL SETUSER app resetkeys %R~k %R~use");
        let read_only = app.run(&format!("APIKEY.ADMIT k 1 use DIGEST {DIGEST}"));
        assert!(read_only.text_of_error().starts_with("NOPERM"), "{read_only:?}");
    }
    let before = server.digest();
    c.must("CONFIG SET maxmemory 1");
    for call in [format!("APIKEY.ADMIT k 1 use DIGEST {DIGEST}"), "APIKEY.CREDIT use c BY 1".into()]
    {
        assert!(c.run(&call).text_of_error().starts_with("OOM"), "{call}");
    }
    c.must("CONFIG SET maxmemory 0");
    assert_eq!(server.digest(), before);
}

/// The text of an error.
trait ErrorText {
    fn text_of_error(&self) -> String;
}

impl ErrorText for Reply {
    fn text_of_error(&self) -> String {
        match self {
            Reply::Error(text) => text.clone(),
            other => format!("no error: {other:?}"),
        }
    }
}
