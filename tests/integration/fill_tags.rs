//! `check-fill-tags`: with `yes` an entry carries only tags that who stores it may write.

use crate::acl::user;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;

fn checking() -> Builder {
    Server::builder().setting("check-fill-tags", "yes")
}

/// What is said of a tag that the user may not write, by its number among those of the entry.
fn no_tag(what: &str) -> Reply {
    error(&format!(
        "NOPERM No permissions to store tag {what}: it has to match a key pattern with write permission"
    ))
}

/// Fills of `acme:` keys with these options, each with the number of its automatic tags.
fn fills(token: &str, options: &str) -> [(String, usize); 6] {
    let json = record("id", "u");
    [
        (format!("APIKEY.SETVAL acme:k {json}"), 3),
        (format!("APIKEY.SETVAL acme:k {json} TOKEN {token}"), 3),
        (format!("APIKEY.MSETVAL 2 acme:k {json} acme:k2 {json} TOKEN {token}"), 3),
        (format!("APIKEY.SETSCOPE acme:s id u r a ALLOW TOKEN {token}"), 3),
        (format!("APIKEY.SETLIST acme:l u [{json}] TOKEN {token}"), 2),
        (format!("APIKEY.SETABSENT acme:a TOKEN {token}"), 1),
    ]
    .map(|(line, automatic)| (format!("{line}{options}"), automatic))
}

#[test]
fn a_fill_carries_only_tags_that_its_user_may_write() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = checking().start();
    let mut admin = server.client();
    let mut c = user(&server, "resetkeys ~acme:* %R~read:* +@all");
    let token = admin.must("APIKEY.TOKEN k").text();
    let before = (server.digest(), admin.must("APIKEY.HEALTH").get("stale_fills_refused").int());
    let is = |line: &str, number: usize| match line.contains("MSETVAL") {
        true => no_tag(&format!("{number} of record 1")),
        false => no_tag(&number.to_string()),
    };
    for (options, at) in [
        // Those that it brings itself, without its namespace, or with another's.
        ("", Some(1)),
        (" NS beta:", Some(1)),
        // Its caller's.
        (" NS acme: TAGS 1 beta:t", None),
        (" NS acme: TAGS 1 read:t", None),
    ] {
        for (line, automatic) in fills(&token, options) {
            let refused = is(&line, at.unwrap_or(automatic + 1));
            assert_eq!(c.run(&line), refused, "{line}");
            c.must("MULTI");
            c.must(&line);
            assert_eq!(c.must("EXEC"), array([refused.clone()]), "{line}");
            let script = ["EVAL", "return redis.pcall(unpack(ARGV))['err']", "0"];
            let script = script.into_iter().chain(line.split(' '));
            assert_eq!(c.cmd(script), bulk(refused.text()), "{line}");
        }
    }
    let absent = format!("APIKEY.SETABSENT acme:a TOKEN {token} NS acme:");
    assert_eq!(c.run(&format!("{absent} TAGS 2 acme:t other")), no_tag("3"));
    let log = admin.must("ACL LOG");
    let last = &log.items()[0];
    assert_eq!((last.get("object"), last.get("reason")), (&bulk("other"), &bulk("key")));
    let after = (server.digest(), admin.must("APIKEY.HEALTH").get("stale_fills_refused").int());
    assert_eq!(after, before, "nothing was stored, or refused for its token");

    // No writer has fenced its key: a token of before is still good.
    admin.must("ACL LOG RESET");
    for (line, _) in fills(&token, " NS acme: TAGS 1 acme:t").into_iter().skip(1) {
        assert!([ok(), int(2)].contains(&c.run(&line)), "{line}");
    }
    assert_eq!(admin.must("ACL LOG"), array([]));
    // Who may do all may.
    for (line, _) in fills(&token, " TAGS 1 other").into_iter().skip(1) {
        assert!([ok(), int(2)].contains(&admin.run(&line)), "{line}");
    }
    assert_exact(&server);
}

#[test]
fn of_many_records_the_first_that_is_not_allowed_is_named() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = checking().start();
    let mut c = user(&server, "resetkeys ~k* ~apikey:id:a ~apikey:user:u ~apikey:kind:* +@all");
    let token = c.must("APIKEY.TOKEN k").text();
    let [a, b, other] = [("a", "u"), ("b", "u"), ("a", "x")].map(|(id, user)| record(id, user));
    let three =
        |one, two, three| format!("APIKEY.MSETVAL 3 k1 {one} k2 {two} k3 {three} TOKEN {token}");
    assert_eq!(c.run(&three(&a, &b, &other)), no_tag("1 of record 2"));
    assert_eq!(c.run(&three(&a, &a, &other)), no_tag("2 of record 3"));
    assert_eq!(c.must("DBSIZE"), int(0));
    assert_eq!(c.run(&three(&a, &a, &a)), int(3));
}

#[test]
fn a_decision_is_stored_with_the_tags_that_are_there_so_they_are_checked_too() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = checking().start();
    let mut admin = server.client();
    let mut c = user(&server, "resetkeys ~acme:* +@all");
    admin.decide("acme:s", "r a ALLOW", "NS acme: TAGS 1 policy");
    let before = server.digest();
    let token = c.must("APIKEY.TOKEN acme:s").text();
    let line = format!("APIKEY.SETSCOPE acme:s id u1 r b ALLOW TOKEN {token} NS acme:");
    assert_eq!(c.run(&line), no_tag("4"));
    assert_eq!(server.digest(), before);
    assert_eq!(admin.invalidate("policy"), 1);
    let token = c.must("APIKEY.TOKEN acme:s").text();
    let line = format!("APIKEY.SETSCOPE acme:s id u1 r b ALLOW TOKEN {token} NS acme:");
    assert_eq!(c.run(&line), ok());
}

#[test]
fn it_is_switched_while_the_server_runs() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = user(&server, "resetkeys ~mine:* +@all");
    c.fill("mine:k", &["theirs"]);
    c.must("CONFIG SET apikey.check-fill-tags yes");
    let line = format!("APIKEY.SETVAL mine:k {}", record("id", "u"));
    assert_eq!(c.run(&line), no_tag("1"));
    assert_eq!(c.code("mine:k"), "VALID", "what is there stays");
    c.must("CONFIG SET apikey.check-fill-tags no");
    assert_eq!(c.run(&line), ok());
}

#[test]
fn what_is_replicated_or_loaded_is_not_checked() {
    let primary = Server::builder().start();
    let restricted = |builder: Builder| {
        builder
            .setting("check-fill-tags", "yes")
            .setting("trust-loaded", "yes")
            .with_aof(false)
            .config("user admin on >pw ~* &* +@all")
            .config("user default on nopass resetkeys ~public:* &* +@all")
    };
    let mut replica = restricted(Server::builder().replica_of(&primary)).start();
    replica.in_sync_with(&primary);
    populate(&primary);
    replica.in_sync_with(&primary);
    replica.aof_is_rewritten();
    assert_nothing_was_refused(&replica);
    assert_eq!(replica.digest(), primary.digest());
    drop(primary);
    let before = replica.digest();
    replica.restart(Stop::Kill);
    assert_nothing_was_refused(&replica);
    assert_eq!(replica.digest(), before);
}

#[test]
fn before_7_0_nothing_can_be_checked() {
    if kind() != Kind::Redis62 {
        return;
    }
    let server = checking().start();
    let mut c = user(&server, "resetkeys ~mine:* +@all");
    c.fill("mine:k", &["theirs"]);
    assert_eq!(c.code("mine:k"), "VALID");
}
