//! What users may do whom the server restricts, to keys and tags by pattern and to commands by category
//! (7.0 and later).

use crate::harness::server::Kind;
use crate::harness::*;

/// What is said of a tag that the user may not invalidate, by its number in the call.
pub fn no_tag(number: usize) -> Reply {
    error(&format!(
        "NOPERM No permissions to invalidate tag {number}: it has to match a key pattern with write permission"
    ))
}

/// What is said of a tag that the user may not look at.
fn no_read() -> Reply {
    error(
        "NOPERM No permissions to read the tag: it has to match a key pattern with read permission",
    )
}

/// What the server says of a key that the user may not use so.
fn no_key() -> Reply {
    error(match server::kind() {
        Kind::Redis70 => {
            "NOPERM this user has no permissions to access one of the keys used as arguments"
        }
        _ => "NOPERM No permissions to access a key",
    })
}

/// Whether the server has permissions that a module can ask for.
fn has_key_permissions() -> bool {
    server::kind() != Kind::Redis62
}

/// A connection of a new user with these rules.
#[track_caller]
pub fn user(server: &Server, rules: &str) -> Client {
    let mut c = server.client();
    c.must("ACL DELUSER someone");
    c.must(&format!("ACL SETUSER someone on nopass {rules}"));
    let mut c = server.client();
    c.must("AUTH someone x");
    c
}

#[test]
fn a_tag_is_invalidated_only_by_whom_may_write_keys_of_its_name() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    for tag in ["r:x", "w:x", "rw:x", "other"] {
        admin.fill(&format!("k-{tag}"), &[tag]);
    }
    let mut c = user(&server, "resetkeys %R~r:* %W~w:* ~rw:* +@all");
    let before = server.digest();
    for (tags, number) in [
        ("r:x", 1),
        ("other", 1),
        ("w", 1),
        ("W:x", 1),
        ("xw:x", 1),
        ("w:x r:x", 2),
        ("w:x rw:x other", 3),
        ("r:x w:x", 1),
    ] {
        assert_eq!(c.run(&format!("APIKEY.TAGINVAL {tags}")), no_tag(number), "{tags}");
    }
    assert_eq!(server.digest(), before, "also where one of several tags is refused");
    assert_eq!(c.run("APIKEY.TAGINVAL w:x"), int(1));
    assert_eq!(c.run("APIKEY.TAGINVAL rw:x w:none"), int(1));
    assert_eq!(admin.codes(["k-r:x", "k-other"]), ["VALID", "VALID"]);

    assert_eq!(user(&server, "resetkeys +@all").run("APIKEY.TAGINVAL w:x"), no_tag(1));
    assert_eq!(user(&server, "allkeys +@all").run("APIKEY.TAGINVAL other"), int(1));
    assert_eq!(admin.run("APIKEY.TAGINVAL r:x"), int(1));
    assert_exact(&server);
}

#[test]
fn a_tag_is_counted_and_scanned_only_by_whom_may_read_keys_of_its_name() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    for tag in ["r:x", "w:x", "rw:x", "other"] {
        admin.fill(&format!("k-{tag}"), &[tag]);
    }
    let mut c = user(&server, "resetkeys %R~r:* %W~w:* ~rw:* +@all");
    for tag in ["w:x", "other", "r", "R:x", "xr:x"] {
        assert_eq!(c.run(&format!("APIKEY.TAGCARD {tag}")), no_read(), "{tag}");
        assert_eq!(c.run(&format!("APIKEY.TAGSCAN {tag} 0")), no_read(), "{tag}");
    }
    for tag in ["r:x", "rw:x"] {
        assert_eq!(c.run(&format!("APIKEY.TAGCARD {tag}")), int(1));
        let found = array([bulk("0"), array([bulk(format!("k-{tag}"))])]);
        assert_eq!(c.run(&format!("APIKEY.TAGSCAN {tag} 0")), found);
    }
    let script = "return redis.pcall('APIKEY.TAGCARD',ARGV[1])['err']";
    assert_eq!(c.cmd(["EVAL", script, "0", "other"]), bulk(no_read().text()));
    assert_eq!(user(&server, "resetkeys +@all").run("APIKEY.TAGCARD r:x"), no_read());
    assert_eq!(user(&server, "allkeys +@all").run("APIKEY.TAGCARD other"), int(1));
}

#[test]
fn a_tag_is_refused_in_transactions_scripts_and_functions_too() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    admin.fill("k", &["secret-tag"]);
    admin.fill("w", &["w:x"]);
    let library = "#!lua name=l\nredis.register_function('inval', function(k, a) \
                   return redis.pcall('APIKEY.TAGINVAL', a[1])['err'] end)";
    admin.cmd(["FUNCTION", "LOAD", library]);
    let mut c = user(&server, "resetkeys ~w:* +@all");
    c.must("MULTI");
    c.must("APIKEY.TAGINVAL secret-tag");
    c.must("APIKEY.TAGINVAL w:x");
    assert_eq!(c.must("EXEC"), array([no_tag(1), int(1)]));
    let refusal = bulk(no_tag(1).text());
    let script = "return redis.pcall('APIKEY.TAGINVAL',ARGV[1])['err']";
    assert_eq!(c.cmd(["EVAL", script, "0", "secret-tag"]), refusal);
    assert_eq!(c.cmd(["FCALL", "inval", "0", "secret-tag"]), refusal);
    assert_eq!(admin.code("k"), "VALID");
}

/// What ACL LOG says of each of its entries: so often, why, in which context, of what and whom.
fn denials(admin: &mut Client) -> Vec<(i64, [String; 4])> {
    let log = admin.must("ACL LOG");
    let fields = ["reason", "context", "object", "username"];
    let entries = log.items().iter();
    entries
        .map(|entry| (entry.get("count").int(), fields.map(|name| entry.get(name).text())))
        .collect()
}

#[test]
fn a_tag_that_is_refused_is_in_acl_log_and_one_that_is_not_is_not() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    let mut c = user(&server, "resetkeys %R~r:* %W~w:* ~rw:* +@all");
    let denied =
        |count, object: &str| (count, ["key", "module", object, "someone"].map(str::to_string));
    let script = |call: &str| format!("return redis.pcall('{}')", call.replace(' ', "','"));
    for (call, tag) in [
        ("APIKEY.TAGINVAL other", "other"),
        ("APIKEY.TAGINVAL w:x rw:x r:x other", "r:x"),
        ("APIKEY.TAGCARD w:x", "w:x"),
        ("APIKEY.TAGSCAN other 0", "other"),
    ] {
        admin.must("ACL LOG RESET");
        assert!(c.run(call).is_error(), "{call}");
        assert_eq!(denials(&mut admin), [denied(1, tag)], "{call}");
        c.must("MULTI");
        c.must(call);
        c.must("EXEC");
        assert!(c.cmd(["EVAL", &script(call), "0"]).is_error(), "{call}");
        assert_eq!(denials(&mut admin), [denied(3, tag)], "{call}");
    }
    // A key is told of likewise, but for what has seen it, and the same client.
    assert!(c.run("GET w:x").is_error());
    let log = admin.must("ACL LOG");
    let [key, tag] = log.items() else { panic!("{log:?}") };
    assert_eq!(key.get("reason"), tag.get("reason"));
    assert_eq!(key.get("username"), tag.get("username"));
    let id = |entry: &Reply| entry.get("client-info").text().split(' ').next().map(String::from);
    assert_eq!(id(key), id(tag));

    admin.must("ACL LOG RESET");
    for call in ["APIKEY.TAGINVAL w:x rw:x", "APIKEY.TAGCARD r:x", "APIKEY.TAGSCAN rw:x 0"] {
        c.must(call);
        c.cmd(["EVAL", &script(call), "0"]);
    }
    assert_eq!(denials(&mut admin), []);
}

#[test]
fn one_pattern_covers_a_tenants_keys_and_its_automatic_tags() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut c = user(&server, "resetkeys ~apikey:* +@all");
    c.fill("apikey:{k}", &[]);
    assert_eq!(c.run("APIKEY.TAGINVAL apikey:user:u1"), int(1));

    let mut acme = user(&server, "resetkeys ~acme:* +@all");
    let line = format!("APIKEY.SETVAL acme:k {} NS acme: SECRET {SECRET}", record("1", "42"));
    assert_eq!(acme.run(&line), ok());
    let mut admin = server.client();
    admin.cmd(["APIKEY.SETVAL", "k", &record("2", "42"), "SECRET", SECRET]);
    assert_eq!(acme.run("APIKEY.TAGINVAL apikey:user:42"), no_tag(1));
    assert_eq!(acme.run("APIKEY.TAGINVAL acme:apikey:user:42"), int(1));
    assert_eq!(admin.codes(["acme:k", "k"]), ["MISS", "VALID"]);
}

#[test]
fn two_tenants_cannot_invalidate_each_others_keys() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut tenants = ["acme", "beta"].map(|name| {
        let rules = format!("ACL SETUSER {name} on nopass resetkeys ~{name}:* +@all");
        server.client().must(&rules);
        let mut c = server.client();
        c.must(&format!("AUTH {name} x"));
        (name, c)
    });
    // The same user and id with both: only the namespace tells them apart.
    let tags =
        |ns: &str| ["id:7", "user:42", "kind:record"].map(|tag| format!("{ns}:apikey:{tag}"));
    for _ in 0..2 {
        for (name, c) in &mut tenants {
            let json = record("7", "42");
            let line =
                format!("APIKEY.SETVAL {name}:k {json} NS {name}: SECRET {SECRET} TAGS 1 {name}:t");
            assert_eq!(c.run(&line), ok());
        }
        let [(one, mine), (other, theirs)] = &mut tenants;
        for tag in tags(other).iter().chain(&[format!("{other}:t"), "apikey:user:42".into()]) {
            assert_eq!(mine.run(&format!("APIKEY.TAGINVAL {tag}")), no_tag(1), "{tag}");
            assert_eq!(mine.run(&format!("APIKEY.TAGCARD {tag}")), no_read(), "{tag}");
            assert_eq!(mine.run(&format!("APIKEY.TAGSCAN {tag} 0")), no_read(), "{tag}");
            let both = format!("APIKEY.TAGINVAL {one}:t {tag}");
            assert_eq!(mine.run(&both), no_tag(2), "and nothing of its own goes with it: {tag}");
        }
        assert!(mine.run(&format!("APIKEY.INVAL {other}:k")).is_error());
        assert_eq!(mine.run(&format!("APIKEY.DESCRIBE {other}:k")), no_key());
        for tag in tags(one).iter().chain(&[format!("{one}:t")]) {
            assert_eq!(mine.run(&format!("APIKEY.TAGCARD {tag}")), int(1), "{tag}");
            let found = array([bulk("0"), array([bulk(format!("{one}:k"))])]);
            assert_eq!(mine.run(&format!("APIKEY.TAGSCAN {tag} 0")), found, "{tag}");
        }
        assert_eq!(theirs.code(&format!("{other}:k")), "VALID");
        for tag in tags(one) {
            assert_eq!(mine.code(&format!("{one}:k")), "VALID");
            assert_eq!(mine.invalidate(&tag), 1, "{tag}");
            let json = record("7", "42");
            mine.must(&format!("APIKEY.SETVAL {one}:k {json} NS {one}: SECRET {SECRET}"));
        }
        assert_eq!(theirs.code(&format!("{other}:k")), "VALID");
        tenants.reverse();
    }
}

#[test]
fn carrying_a_tag_takes_no_permission() {
    let server = Server::start();
    let mut c = user(&server, "resetkeys ~mine:* +@all");
    c.fill("mine:k", &["theirs"]);
    assert_eq!(c.code("mine:k"), "VALID");
    let mut admin = server.client();
    assert_eq!(admin.invalidate("theirs"), 1);
    assert_eq!(c.code("mine:k"), "MISS");
}

#[test]
fn a_key_takes_the_permission_for_what_the_command_does_to_it() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    for prefix in ["r", "w", "rw"] {
        admin.fill(&format!("{prefix}:k"), &[]);
        admin.count(&format!("{prefix}:u"), 1);
        admin.decide(&format!("{prefix}:s"), "r a ALLOW", "");
        admin.list(&format!("{prefix}:l"), &[], "");
    }
    let mut c = user(&server, "resetkeys %R~r:* %W~w:* %RW~rw:* +@all");
    const YES: bool = true;
    const NO: bool = false;
    let json = record("id", "u1");
    for (call, on_r, on_w) in [
        (format!("APIKEY.VALIDATE <>:k SECRET {SECRET}"), YES, NO),
        ("APIKEY.TAGS <>:k".into(), YES, NO),
        ("APIKEY.DESCRIBE <>:k".into(), YES, NO),
        ("APIKEY.TOKEN <>:k".into(), YES, NO),
        (format!("APIKEY.SETVAL <>:k {json} SECRET {SECRET}"), NO, YES),
        (format!("APIKEY.SETVAL <>:k {json} NX"), NO, YES),
        (format!("APIKEY.SETVAL <>:k {json} TOKEN 0"), NO, YES),
        ("APIKEY.SETSCOPE <>:s i u r a ALLOW TOKEN 0".into(), NO, YES),
        ("APIKEY.CHECKSCOPE <>:s r a".into(), YES, NO),
        ("APIKEY.SETLIST <>:l u [] TOKEN 0".into(), NO, YES),
        ("APIKEY.GETLIST <>:l".into(), YES, NO),
        ("APIKEY.INVAL <>:k".into(), NO, YES),
        ("APIKEY.INVAL rw:none <>:k".into(), NO, YES),
        ("APIKEY.USAGE.GET <>:u".into(), YES, NO),
        ("APIKEY.USAGEGET <>:u".into(), YES, NO),
        // It tells the count as well.
        ("APIKEY.USAGE.INCR <>:u".into(), NO, NO),
        ("APIKEY.USAGEINCR <>:u BY 5".into(), NO, NO),
        ("APIKEY.USAGE.TAKE <>:u".into(), NO, NO),
        ("APIKEY.USAGETAKE rw:u <>:u".into(), NO, NO),
    ] {
        for (prefix, allowed) in [("r", on_r), ("w", on_w), ("rw", YES), ("other", NO)] {
            let line = call.replace("<>", prefix);
            let reply = c.run(&line);
            match allowed {
                YES => assert!(!reply.is_error(), "{line}: {reply:?}"),
                NO => assert_eq!(reply, no_key(), "{line}"),
            }
        }
    }
    assert_eq!(admin.codes(["r:k", "w:k", "rw:k"]), ["VALID", "MISS", "MISS"]);
    assert_eq!(admin.usage("r:u"), (1, 1));
    assert_eq!(admin.usage("w:u"), (1, 1));
}

#[test]
fn before_7_0_a_tag_takes_no_permission_and_a_key_its_pattern() {
    if has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut c = user(&server, "resetkeys ~mine:* +@all");
    c.fill("mine:k", &["theirs"]);
    assert_eq!(
        c.run("APIKEY.VALIDATE other"),
        error("NOPERM this user has no permissions to access one of the keys used as arguments")
    );
    assert_eq!(c.run("APIKEY.INVAL mine:k other"), c.run("APIKEY.VALIDATE other"));
    assert_eq!(c.run("APIKEY.TAGCARD theirs"), int(1));
    let found = array([bulk("0"), array([bulk("mine:k")])]);
    assert_eq!(c.run("APIKEY.TAGSCAN theirs 0"), found);
    assert_eq!(c.run("APIKEY.TAGINVAL theirs"), int(1));
}

#[test]
fn the_category_apikey_without_dangerous_is_what_an_application_needs() {
    if matches!(server::kind(), Kind::Redis62 | Kind::Redis70) {
        return;
    }
    let server = Server::start();
    let mut c = user(&server, "allkeys -@all +@apikey -@dangerous");
    c.fill("k", &["tag"]);
    assert_eq!(c.code("k"), "VALID");
    assert_eq!(c.must("APIKEY.TAGS k").items().len(), 4);
    assert_eq!(c.must("APIKEY.TAGCARD tag"), int(1));
    assert_eq!(c.must("APIKEY.TAGSCAN tag 0"), array([bulk("0"), array([bulk("k")])]));
    assert_eq!(c.must("APIKEY.DESCRIBE k").get("kind"), &bulk("record"));
    assert_eq!(c.invalidate("tag"), 1);
    c.decide("s", "r a ALLOW", "");
    c.must("APIKEY.CHECKSCOPE s r a");
    c.list("l", &[], "");
    c.must("APIKEY.GETLIST l");
    let token = c.must("APIKEY.TOKEN k").text();
    let json = record("k", "u");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &json, "TOKEN", &token]), ok());
    assert_eq!(c.must("APIKEY.INVAL k"), int(1));
    assert_eq!(c.count("u", 5), 5);
    assert_eq!(c.usage("u"), (5, 5));
    assert_eq!(c.must("APIKEY.USAGE.TAKE u"), array([int(5)]));
    for line in [
        "APIKEY.USAGE.FLUSH",
        "APIKEY.USAGEFLUSH",
        "APIKEY.USAGE.LEASE 5",
        "APIKEY.USAGELEASE 5",
        "APIKEY.USAGE.ACK b",
        "APIKEY.USAGEACK b",
        "APIKEY.USAGE.NACK b",
        "APIKEY.USAGENACK b",
        "APIKEY.LOG",
        "APIKEY.LOG RESET",
        "APIKEY.HEALTH",
        "APIKEY.CHECK",
        "APIKEY.APPLY k v",
        "APIKEY.GONE names",
        "APIKEY.RECLAIMED k",
    ] {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        let told = format!("NOPERM User someone has no permissions to run the '{name}' command");
        assert_eq!(c.run(line), error(&told));
    }
    assert!(c.run("GET k").text().starts_with("NOPERM"));
}

#[test]
fn a_user_may_be_given_one_command_on_every_server() {
    let server = Server::start();
    server.client().fill("k", &[]);
    let mut c = user(&server, "allkeys -@all +apikey.validate");
    assert_eq!(c.code("k"), "VALID");
    for line in [
        "APIKEY.TAGS k",
        "APIKEY.TOKEN k",
        "APIKEY.INVAL k",
        "APIKEY.TAGINVAL tag",
        "APIKEY.TAGCARD tag",
        "APIKEY.TAGSCAN tag 0",
        "APIKEY.DESCRIBE k",
        "APIKEY.LOG",
        "APIKEY.USAGE.FLUSH",
        "APIKEY.CHECK",
    ] {
        assert!(c.run(line).text().starts_with("NOPERM"), "{line}");
    }
}

#[test]
fn who_calls_is_not_found_out_by_a_command_that_is_refused_to_them() {
    if !has_key_permissions() {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    admin.fill("k", &["a", "b", "c"]);
    let script = "for _, tag in ipairs(ARGV) do redis.call('APIKEY.TAGINVAL', tag) end
                  redis.call('APIKEY.TAGCARD', 'a')
                  redis.call('APIKEY.TAGSCAN', 'a', '0')
                  return redis.call('APIKEY.VALIDATE', KEYS[1], 'SECRET', 'wrong')";
    for rules in [
        "+@all -ping",
        // What it calls, and no more.
        "+eval +multi +exec +apikey.validate +apikey.taginval +apikey.tagcard +apikey.tagscan",
    ] {
        let mut c = user(&server, &format!("~* &* {rules}"));
        admin.must("ACL LOG RESET");
        admin.must("APIKEY.LOG RESET");
        assert_eq!(code_of(&c.cmd(["EVAL", script, "1", "k", "x", "y", "z"])), "MISMATCH");
        c.must("MULTI");
        c.cmd(["EVAL", script, "1", "k", "x", "y", "z"]);
        assert_eq!(code_of(&c.must("EXEC").items()[0]), "MISMATCH");
        // Nothing was refused, so nothing is told, of PING or else.
        assert_eq!(admin.must("ACL LOG"), array([]), "{rules}");
        let log = admin.must("APIKEY.LOG");
        assert_eq!(log.items()[0].get("username"), &bulk("someone"));
        // What the user is refused is told.
        assert!(c.run("PING").text().starts_with("NOPERM"));
        let log = admin.must("ACL LOG");
        assert_eq!((log.items().len(), log.items()[0].get("object")), (1, &bulk("ping")));
    }
}
