//! What SETVAL stores and when: its conditions, expiries and the switches that turn it off.

use crate::harness::server::Kind;
use crate::harness::*;

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
    hold(&mut c);
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
