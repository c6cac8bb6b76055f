//! The developer guide of the service that this module replaces, played through: an application whose
//! methods have that guide's names, its database, and each flow of `docs/migrating.md` with what a crash
//! between two of its steps costs. What the document claims stands here.

mod application;

use crate::harness::server::{kind, Stop};
use crate::harness::*;
use application::*;
use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use Answer::*;

/// A server that takes the digests from the field of the row that has them.
fn builder() -> Builder {
    Server::builder().setting("digest-field", "key_hash")
}

const K: &str = "ak_live_1";

// The methods, one by one.

#[test]
fn a_cached_validation_is_got_set_and_invalidated() {
    let server = builder().start();
    let row = Row::new(1, "42");
    let database = Database::with([]);
    let mut app = App::new(&server, &database);
    let token = app.miss(K);
    assert_eq!(app.set_cached_validation(&row, &token), Some(ok()));
    let reply = app.get_cached_validation(K, SECRET, "users:read").expect("a reply");
    let record: Value = serde_json::from_str(&reply.items()[1].text()).expect("JSON");
    assert_eq!(code_of(&reply), "VALID");
    // The nine fields of the guide's sanitiser, and not the hash.
    assert_eq!(
        record,
        json!({
            "id": "k-1", "user_id": "42", "name": "a key", "key_prefix": K, "scopes": ["users:read"],
            "is_active": true, "expires_at": null,
            "created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z",
        })
    );
    assert_eq!(app.say(&format!("TTL {}", record_key(K))), Some(int(300)));
    assert_eq!(app.invalidate_validation(K), Some(int(1)));
    assert_eq!(app.cached(K), "MISS");
    assert_eq!(app.invalidate_validation(K), Some(int(0)));
}

#[test]
fn a_cached_scope_decision_is_got_and_set() {
    let server = builder().start();
    let row = Row::new(1, "42");
    let database = Database::default();
    let mut app = App::new(&server, &database);
    for (resource, action, allowed, code) in
        [("reports", "export", true, "ALLOW"), ("reports", "delete", false, "DENY")]
    {
        let reply = app.get_cached_scope_validation(K, resource, action).expect("a reply");
        assert_eq!(code_of(&reply), "MISS");
        let token = reply.items()[1].text();
        let set = app.set_cached_scope_validation(&row, resource, action, allowed, &token);
        assert_eq!(set, Some(ok()));
        let reply = app.get_cached_scope_validation(K, resource, action);
        assert_eq!(reply, Some(array([bulk(code), nil()])));
    }
    // Both under one name, which the service spread over one each.
    let key = scopes_key(K);
    assert_eq!(app.say("DBSIZE"), Some(int(1)));
    assert_eq!(app.say(&format!("TTL {key}")), Some(int(600)));
    assert_eq!(app.say(&format!("TYPE {key}")), Some(simple("apikeyscp")));
    assert_eq!(tags(&mut app, &key), ["apikey:id:k-1", "apikey:kind:scopes", "apikey:user:42"]);
    let health = app.get_cache_health().expect("a reply");
    assert_eq!((health.get("scopes"), health.get("records")), (&int(1), &int(0)));
    assert_eq!(app.say("APIKEY.TAGINVAL apikey:kind:scopes"), Some(int(1)));
}

#[test]
fn a_cached_list_of_keys_is_got_and_set() {
    let server = builder().start();
    let rows: Vec<Row> = (1..=25).map(|n| Row::new(n, "42")).collect();
    let database = Database::default();
    let mut app = App::new(&server, &database);
    let reply = app.get_cached_user_keys("42", 0, 10).expect("a reply");
    assert_eq!(code_of(&reply), "MISS");
    let token = reply.items()[1].text();
    assert_eq!(app.set_cached_user_keys("42", &rows, &token), Some(ok()));
    let reply = app.get_cached_user_keys("42", 20, 10).expect("a reply");
    let [total, page] = reply.items()[1].items() else { panic!("{reply:?}") };
    assert_eq!((total, page.items().len()), (&int(25), 5));
    assert!(!format!("{reply:?}").contains("key_hash"));
    let key = list_key("42");
    assert_eq!(app.say(&format!("TTL {key}")), Some(int(1800)));
    assert_eq!(app.say(&format!("TYPE {key}")), Some(simple("apikeylst")));
    let health = app.get_cache_health().expect("a reply");
    assert_eq!((health.get("lists"), health.get("records")), (&int(1), &int(0)));
    assert_eq!(tags(&mut app, &key), ["apikey:kind:list", "apikey:user:42"]);
}

/// The tags of an entry, sorted.
#[track_caller]
fn tags(app: &mut App, key: &str) -> Vec<String> {
    let reply = app.say(&format!("APIKEY.TAGS {key}")).expect("a reply");
    let mut tags: Vec<String> = reply.items().iter().map(Reply::text).collect();
    tags.sort();
    tags
}

#[test]
fn usage_is_incremented_got_and_reset() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let mut app = App::new(&server, &database);
    for n in 1..=50 {
        assert_eq!(app.increment_usage(K), Some(int(n)));
    }
    assert_eq!(app.say(&format!("TTL {}", usage_key(K))), Some(int(-1)), "no batching window");
    assert_eq!(app.get_and_reset_usage(K), Some(array([int(50)])));
    assert_eq!(app.get_and_reset_usage(K), Some(array([int(0)])));
    // What a consumer that dies here had is gone, as it was with GETSET.
    assert_eq!(app.drain_usage(LONG), 0);
    assert_eq!(database.total(K), 0);
}

#[test]
fn a_key_a_user_and_many_keys_are_invalidated() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42"), Row::new(3, "7")]);
    let mut app = App::new(&server, &database);
    // What each was, and then all are cached.
    let all = |app: &mut App| {
        ["ak_live_1", "ak_live_2", "ak_live_3"].map(|prefix| {
            let code = app.cached(prefix);
            assert_eq!(app.ask(prefix), Valid);
            code
        })
    };
    all(&mut app);
    // The other keys of the user stay cached, which with the service they did not.
    assert_eq!(app.invalidate_key_data(K, "k-1", "42"), Some([1, 0, 0]));
    assert_eq!(all(&mut app), ["MISS", "VALID", "VALID"]);
    assert_eq!(app.invalidate_user_keys("42"), Some(2));
    assert_eq!(all(&mut app), ["MISS", "MISS", "VALID"]);
    assert_eq!(app.batch_invalidate_keys(&["k-2", "k-3", "none"]), Some(2));
    assert_eq!(all(&mut app), ["VALID", "MISS", "MISS"]);
    // All validations at once: the service's tag apikey-validation.
    assert_eq!(app.say("APIKEY.TAGINVAL apikey:kind:record"), Some(int(3)));
    assert_eq!(all(&mut app), ["MISS", "MISS", "MISS"]);
    // An id can't be mistaken for a user, as apikey-user-42 can.
    database.insert(Row { id: "user:42".into(), ..Row::new(4, "7") });
    app.ask("ak_live_4");
    assert_eq!(app.invalidate_user_keys("42"), Some(2));
    assert_eq!(app.cached("ak_live_4"), "VALID");
    assert_exact(&server);
}

#[test]
fn what_is_cached_is_counted_without_a_walk() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let mut app = App::new(&server, &database);
    for prefix in [K, K, K, "ak_none"] {
        app.ask(prefix);
    }
    app.record_usage(K);
    let health = app.get_cache_health().expect("a reply");
    for (name, number) in [
        ("hits", 2),
        ("misses", 2),
        ("hit_rate", 50),
        ("records", 1),
        ("absent", 1),
        ("usage_counters", 1),
        ("usage_pending", 1),
        ("enabled", 1),
    ] {
        assert_eq!(health.get(name), &int(number), "{name}");
    }
    assert_eq!(health.get("status"), &bulk("healthy"), "too few lookups to judge the rate");
}

#[test]
fn many_validations_are_set_at_once() {
    let server = builder().start();
    let rows: Vec<Row> = (1..=50).map(|n| Row::new(n, "42")).collect();
    let database = Database::default();
    let mut app = App::new(&server, &database);
    let token = app.miss(K);
    assert_eq!(app.warm_cache(&rows, &token), Some(int(50)));
    assert_eq!(app.cached("ak_live_50"), "VALID");
    assert_eq!(app.say(&format!("TTL {}", record_key(K))), Some(int(300)));
    // They carry their tags, which the service's did not.
    assert_eq!(app.invalidate_user_keys("42"), Some(50));
}

#[test]
fn what_is_cached_can_be_looked_at() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42")]);
    let mut app = App::new(&server, &database);
    app.ask(K);
    app.ask("ak_live_2");
    assert_eq!(app.say("APIKEY.TAGCARD apikey:user:42"), Some(int(2)));
    let page = app.say("APIKEY.TAGSCAN apikey:user:42 0 COUNT 100").expect("a reply");
    let mut keys: Vec<String> = page.items()[1].items().iter().map(Reply::text).collect();
    keys.sort();
    assert_eq!(keys, [record_key(K), record_key("ak_live_2")]);
    let description = app.say(&format!("APIKEY.DESCRIBE {}", record_key(K))).expect("a reply");
    assert_eq!(description.get("kind"), &bulk("record"));
    assert_eq!((description.get("digests"), description.get("live")), (&int(1), &int(1)));
    // Who was refused, and how often.
    for _ in 0..3 {
        app.validate_api_key(K, WRONG, "users:read");
    }
    let log = app.say("APIKEY.LOG COUNT 1").expect("a reply");
    let refusal = &log.items()[0];
    assert_eq!(refusal.get("code"), &bulk("MISMATCH"));
    assert_eq!(refusal.get("key"), &bulk(record_key(K)));
    assert_eq!(refusal.get("count"), &int(3));
    let shown = format!("{log:?}");
    assert!(!shown.contains(digest(WRONG)) && !shown.contains(DIGEST), "{shown}");
}

#[test]
fn the_cache_is_switched_off_without_a_restart_of_the_application() {
    let database = Database::with([Row::new(1, "42")]);
    for (setting, cached) in [("enabled", "MISS"), ("writes-enabled", "MISS")] {
        let server = builder().setting(setting, "no").start();
        let mut app = App::new(&server, &database);
        assert_eq!(app.ask(K), Valid, "by the database");
        assert_eq!(app.cached(K), cached);
        // Revoking and counting go on.
        assert_eq!(app.invalidate_key_data(K, "k-1", "42"), Some([0, 0, 0]));
        assert_eq!(app.increment_usage(K), Some(int(1)));
    }
    if !kind().has_module_config() {
        return;
    }
    let server = builder().start();
    let mut app = App::new(&server, &database);
    app.ask(K);
    app.say("CONFIG SET apikey.writes-enabled no");
    assert_eq!(app.cached(K), "VALID", "what is cached is read on");
    app.say("CONFIG SET apikey.enabled no");
    assert_eq!(app.ask(K), Valid, "by the database");
    assert_eq!(app.cached(K), "MISS");
    let health = app.get_cache_health().expect("a reply");
    assert_eq!(health.get("status"), &bulk("unhealthy"));
}

#[test]
fn invalidations_can_be_followed() {
    let server = builder().setting("invalidation-channel", "inval").start();
    let mut listener = server.client();
    listener.must("SUBSCRIBE inval");
    let database = Database::default();
    let mut app = App::new(&server, &database);
    app.invalidate_key_data(K, "k-1", "42");
    for expected in [
        json!({"keys": [record_key(K), scopes_key(K)]}),
        json!({"keys": [list_key("42")]}),
        json!({"tags": ["apikey:id:k-1"]}),
    ] {
        let message = listener.read().expect("a message");
        let (Reply::Push(items) | Reply::Array(items)) = &message else { panic!("{message:?}") };
        let message: Value = serde_json::from_str(&items[2].text()).expect("JSON");
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&message[name], value);
        }
    }
}

#[test]
fn a_database_of_slow_hashes_teaches_the_digest_at_the_first_match() {
    // bcrypt gives no digest: the row's field is not one that the module is told of.
    let server = Server::start();
    let mut c = server.client();
    let (key, row) =
        (record_key(K), r#"{"id":"k-1","user_id":42,"is_active":true,"key_hash":"$2b$"}"#);
    let validate = |c: &mut Client, secret| {
        let reply = c.must(&format!("APIKEY.VALIDATE {key} DIGEST {}", digest(secret)));
        let token = reply.items().get(2).or(reply.items().get(1)).cloned();
        (code_of(&reply), token)
    };
    // Whoever asks with a wrong secret may store the record, and only without a digest.
    let (code, token) = validate(&mut c, WRONG);
    assert_eq!(code, "MISS");
    let token = token.expect("a token").text();
    assert_eq!(c.must(&format!("APIKEY.SETVAL {key} {row} TOKEN {token}")), ok());
    // Nobody is let in by that: the application compares the slow hash, from its database.
    assert_eq!(validate(&mut c, WRONG).0, "UNVERIFIED");
    let (code, token) = validate(&mut c, SECRET);
    assert_eq!(code, "UNVERIFIED");
    let token = token.expect("a token").text();
    let fill = format!("APIKEY.SETVAL {key} {row} DIGEST {DIGEST} TOKEN {token}");
    assert_eq!(c.must(&fill), ok());
    assert_eq!(validate(&mut c, SECRET).0, "VALID");
    assert_eq!(validate(&mut c, WRONG).0, "MISMATCH");
    // The price: of two good secrets it knows the one that came first.
    assert_eq!(validate(&mut c, ROTATED).0, "MISMATCH");
}

#[test]
fn names_of_before_and_of_now_live_side_by_side() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let mut app = App::new(&server, &database);
    let before = format!("cache:apikeys:apikey:validation:{K}");
    app.call(&["SETEX", &before, "300", "{}"]);
    app.ask(K);
    app.record_usage(K);
    assert_eq!(app.say(&format!("TYPE {}", record_key(K))), Some(simple("apikeyrec")));
    assert_eq!(app.say(&format!("TYPE {}", usage_key(K))), Some(simple("apikeyuse")));
    let expected = ["apikey:id:k-1", "apikey:kind:record", "apikey:user:42"];
    assert_eq!(tags(&mut app, &record_key(K)), expected);
    let mut c = server.client();
    for line in ["APIKEY.VALIDATE", "APIKEY.INVAL", "APIKEY.USAGE.INCR"] {
        let reply = c.run(&format!("{line} {before}"));
        assert!(reply.text().starts_with("WRONGTYPE "), "{reply:?}");
    }
    // What a runbook did by FLUSHALL, without the counts.
    let all = "APIKEY.TAGINVAL apikey:kind:record apikey:kind:scopes apikey:kind:list";
    assert_eq!(app.say(all), Some(int(1)));
    assert_eq!(c.usage(&usage_key(K)), (1, 1));
    assert_eq!(c.must(&format!("GET {before}")), bulk("{}"));
    assert!(c.run(&format!("GET {}", usage_key(K))).text().starts_with("WRONGTYPE "));
    let bytes = c.must(&format!("MEMORY USAGE {}", usage_key(K))).int();
    assert!(bytes < 500, "{bytes}");
}

// The flows.

#[test]
fn valid_key() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let mut app = App::new(&server, &database);
    app.ask(K);
    let mut admin = server.client();
    let calls = |c: &mut Client| -> i64 {
        let number = c.info("stats", "total_commands_processed").expect("a line");
        number.parse().expect("a number")
    };
    let (reads, before) = (database.reads.get(), calls(&mut admin));
    assert_eq!(app.ask(K), Valid);
    assert_eq!(calls(&mut admin) - before - 1, 1, "one call, beside the INFO");
    assert_eq!(database.reads.get() - reads, 0);
    assert_eq!(app.validate_api_key(K, SECRET, "users:write"), Forbidden);
    // The use is counted once the key is known to be valid. A process that dies in between has served
    // nothing yet, and counted nothing.
    app.record_usage(K);
    assert_eq!(admin.usage(&usage_key(K)), (1, 1));
    database.update(K, |row| row.expires_at = Some(now() - 1));
    app.deliver(0);
    for _ in 0..2 {
        assert_eq!(app.ask(K), Expired);
    }
    assert_eq!(app.cached(K), "EXPIRED");
}

#[test]
fn first_miss() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    // A reader that dies after its MISS, or after its read, leaves nothing behind.
    app.miss(K);
    assert_eq!(database.reads.get(), 0);
    assert_eq!(app.ask(K), Valid);
    assert_eq!(app.ask(K), Valid);
    assert_eq!(database.reads.get(), 1);

    // Two at once: both may store.
    app.invalidate_validation(K);
    let (token, second) = (app.miss(K), other.miss(K));
    let row = database.find_by_prefix(K).expect("a row");
    assert_eq!(app.set_cached_validation(&row, &token), Some(ok()));
    assert_eq!(other.set_cached_validation(&row, &second), Some(ok()));

    // A revocation between the read and the fill.
    app.invalidate_validation(K);
    let token = app.miss(K);
    let row = database.find_by_prefix(K).expect("a row");
    database.update(K, |row| row.is_active = false);
    assert_eq!(other.deliver(0), 0);
    assert_eq!(app.set_cached_validation(&row, &token), Some(nil()));
    assert_eq!(app.cached(K), "MISS");
    assert_eq!(app.ask(K), Disabled);
    // A revocation between the read and its own announcement: the fill is stored, and killed.
    database.update(K, |row| row.is_active = true);
    other.deliver(0);
    let token = app.miss(K);
    let row = database.find_by_prefix(K).expect("a row");
    database.update(K, |row| row.is_active = false);
    assert_eq!(app.set_cached_validation(&row, &token), Some(ok()));
    assert_eq!(app.cached(K), "VALID", "until it is told");
    other.deliver(0);
    assert_eq!(app.ask(K), Disabled);

    // A reader that took longer than token-ttl-ms.
    let server = builder().setting("token-ttl-ms", "1").start();
    let mut app = App::new(&server, &database);
    let token = app.miss(K);
    let start = now();
    eventually("the token is old", || now() > start + 5);
    assert_eq!(app.set_cached_validation(&row, &token), Some(nil()));
}

#[test]
fn wrong_secret() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let mut app = App::new(&server, &database);
    let guess = |app: &mut App, prefix| app.validate_api_key(prefix, WRONG, "users:read");
    // The first guess fills the cache for all that follow.
    for _ in 0..10 {
        assert_eq!(guess(&mut app, K), WrongSecret);
    }
    assert_eq!(database.reads.get(), 1);
    assert_eq!(app.ask(K), Valid, "the owner is not disturbed");
    // A key that does not exist costs one read in 30 s.
    for _ in 0..10 {
        assert_eq!(guess(&mut app, "ak_none"), NotFound);
    }
    assert_eq!(database.reads.get(), 2);
    assert_eq!(app.say(&format!("TTL {}", record_key("ak_none"))), Some(int(30)));
    // Who has not the secret learns nothing of the key's state.
    database.update(K, |row| row.is_active = false);
    app.deliver(0);
    assert_eq!(app.ask(K), Disabled);
    assert_eq!(app.cached(K), "DISABLED");
    assert_eq!(guess(&mut app, K), WrongSecret);
    let health = app.get_cache_health().expect("a reply");
    assert_eq!(health.get("mismatches"), &int(10));
    assert!(health.get("disabled").int() > 0);
}

#[test]
fn key_created() {
    let server = builder().start();
    let database = Database::default();
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    assert_eq!(app.ask(K), NotFound);
    // Before the INVAL, or where its sender died: it is unknown for up to absent-ttl.
    database.insert(Row::new(1, "42"));
    assert_eq!(app.ask(K), NotFound);
    assert!(app.say(&format!("TTL {}", record_key(K))).expect("a reply").int() <= 30);
    assert_eq!(other.deliver(0), 0);
    assert_eq!(app.ask(K), Valid);

    // A reader that looked before the row was there can't hide it after.
    let late = app.miss("ak_live_2");
    assert!(database.find_by_prefix("ak_live_2").is_none());
    database.insert(Row::new(2, "42"));
    other.deliver(0);
    assert_eq!(app.set_cached_absence("ak_live_2", &late), Some(nil()));
    assert_eq!(app.ask("ak_live_2"), Valid);
    // Nor can it where the writer stored the row itself, after its commit.
    let late = app.miss("ak_live_3");
    let row = Row::new(3, "42");
    database.insert(row.clone());
    let words = ["APIKEY.SETVAL".to_string(), record_key(&row.prefix), row.json()];
    assert_eq!(other.call(&words), Some(ok()));
    assert_eq!(app.set_cached_absence("ak_live_3", &late), Some(nil()));
    assert_eq!(app.cached("ak_live_3"), "VALID", "without a miss");
}

#[test]
fn rotated_with_grace() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let mut app = App::new(&server, &database);
    let both = |app: &mut App| {
        [SECRET, ROTATED].map(|secret| app.validate_api_key(K, secret, "users:read"))
    };
    assert_eq!(both(&mut app), [Valid, WrongSecret]);
    database.update(K, |row| {
        row.secret = ROTATED;
        row.before = Some((SECRET, now() + 3_600_000));
    });
    // Not told yet: the new secret is refused for as long as the old record lives.
    assert_eq!(both(&mut app), [Valid, WrongSecret]);
    app.deliver(0);
    assert_eq!(both(&mut app), [Valid, Valid]);
    let reads = database.reads.get();
    assert_eq!(both(&mut app), [Valid, Valid], "from the cache");
    assert_eq!(database.reads.get(), reads);
    assert_eq!(app.say(&format!("TTL {}", record_key(K))), Some(int(300)));

    // The end of the grace needs nobody: the old digest ends, and what is cached goes on.
    database.update(K, |row| row.before = Some((SECRET, now() + 200)));
    app.deliver(0);
    both(&mut app);
    let reads = database.reads.get();
    eventually("the grace is over", || both(&mut app) == [WrongSecret, Valid]);
    assert_eq!(database.reads.get(), reads, "without the database");
}

#[test]
fn scope_changed() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42")]);
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    let row = database.find_by_prefix(K).expect("a row");
    let answers = |app: &mut App| {
        let may_write = app.validate_api_key(K, SECRET, "users:write");
        (may_write, app.validate_scope(K, "reports", "export"))
    };
    assert_eq!(answers(&mut app), (Forbidden, false));
    assert_eq!(app.ask("ak_live_2"), Valid);
    let reads = database.reads.get();
    assert_eq!(answers(&mut app), (Forbidden, false));
    assert_eq!(database.reads.get(), reads, "all of it from the cache");

    database.allow(&row, "reports", "export");
    database.update(K, |row| row.scopes.push("users:write"));
    // Not told: as before, the record for validation-ttl, the decision for scope-ttl.
    assert_eq!(answers(&mut app), (Forbidden, false));
    assert_eq!(other.deliver(0), 0);
    assert_eq!(answers(&mut app), (Valid, true));
    assert_eq!(app.cached("ak_live_2"), "VALID", "the user's other key stays cached");

    // A decision made before the change is refused after it, whichever of the calls came.
    for line in [
        format!("APIKEY.INVAL {}", scopes_key(K)),
        "APIKEY.TAGINVAL apikey:id:k-1".into(),
        "APIKEY.TAGINVAL apikey:user:42".into(),
    ] {
        let reply = app.get_cached_scope_validation(K, "reports", "late").expect("a reply");
        assert_eq!(code_of(&reply), "MISS");
        let token = reply.items()[1].text();
        assert!(other.say(&line).is_some());
        let late = app.set_cached_scope_validation(&row, "reports", "late", true, &token);
        assert_eq!(late, Some(nil()), "{line}");
    }
}

#[test]
fn list_of_keys() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42")]);
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    let both = (2, vec!["k-1".to_string(), "k-2".into()]);
    let code = |app: &mut App| app.get_cached_user_keys("42", 0, 10).map(|reply| code_of(&reply));
    assert_eq!(app.list_keys("42", 0, 10), both);
    let reads = database.reads.get();
    assert_eq!(app.list_keys("42", 1, 10), (2, vec!["k-2".into()]));
    assert_eq!(database.reads.get(), reads, "from the cache");

    // It carries the user's tag and not those of its keys: their changes name it.
    app.say("APIKEY.TAGINVAL apikey:id:k-1");
    assert_eq!(code(&mut app).as_deref(), Some("HIT"));
    database.insert(Row::new(3, "42"));
    assert_eq!(app.list_keys("42", 0, 1).0, 2, "not told: as before, for list-ttl");
    assert_eq!(other.deliver(0), 0);
    assert_eq!(code(&mut app).as_deref(), Some("MISS"));
    assert_eq!(app.list_keys("42", 0, 1).0, 3);
    assert_eq!(app.invalidate_user_keys("42"), Some(1));
    assert_eq!(code(&mut app).as_deref(), Some("MISS"));

    // A list that was read before a change is refused after it.
    let reply = app.get_cached_user_keys("42", 0, 10).expect("a reply");
    let token = reply.items()[1].text();
    let rows = database.keys_of("42");
    database.update(K, |row| row.is_active = false);
    other.deliver(0);
    assert_eq!(app.set_cached_user_keys("42", &rows, &token), Some(nil()));
}

#[test]
fn revoked() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42")]);
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    for prefix in [K, "ak_live_2"] {
        assert_eq!(app.ask(prefix), Valid);
    }
    database.update(K, |row| row.is_active = false);
    // Its sender died after the commit: valid until told, or for at most validation-ttl.
    assert_eq!(app.ask(K), Valid);
    assert!(app.say(&format!("TTL {}", record_key(K))).expect("a reply").int() <= 300);
    assert_eq!(other.deliver(0), 0);
    assert_eq!(app.ask(K), Disabled);
    assert_eq!(app.ask("ak_live_2"), Valid);
    // Told before the commit instead, a reader stores the old row again in between.
    database.update(K, |row| row.is_active = true);
    app.deliver(0);
    assert_eq!(other.invalidate_key_data(K, "k-1", "42"), Some([0, 0, 0]));
    assert_eq!(app.ask(K), Valid);
    database.update(K, |row| row.is_active = false);
    assert_eq!(app.cached(K), "VALID", "and it stays");
    // Told twice, it costs a miss.
    app.deliver(0);
    assert_eq!(app.ask(K), Disabled);
    assert_eq!(app.invalidate_key_data(K, "k-1", "42"), Some([1, 0, 0]));
    assert_eq!(app.ask(K), Disabled);

    // When memory is full nothing is stored, and revoking goes on.
    app.ask("ak_live_2");
    app.say("CONFIG SET maxmemory 1");
    database.update("ak_live_2", |row| row.is_active = false);
    assert_eq!(app.deliver(0), 0);
    assert_eq!(app.ask("ak_live_2"), Disabled, "by the database");
    assert_eq!(app.cached("ak_live_2"), "MISS");
    assert_eq!(app.increment_usage(K), None, "what stores is refused");
}

#[test]
fn user_deleted() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42"), Row::new(3, "7")]);
    let mut app = App::new(&server, &database);
    for prefix in ["ak_live_1", "ak_live_2", "ak_live_3"] {
        assert_eq!(app.ask(prefix), Valid);
        app.record_usage(prefix);
        app.validate_scope(prefix, "reports", "export");
    }
    let late = app.miss("ak_live_9");
    let row = Row { prefix: "ak_live_9".into(), ..Row::new(9, "42") };

    database.delete_user("42");
    assert_eq!(app.ask(K), Valid, "not told yet");
    // Two records, and the decisions of two keys.
    assert_eq!(app.invalidate_user_keys("42"), Some(4));
    assert_eq!(app.deliver(0), 0);
    assert_eq!(
        [app.ask(K), app.ask("ak_live_2"), app.ask("ak_live_3")],
        [NotFound, NotFound, Valid]
    );
    // A fill of a key of theirs, of which nothing was cached.
    assert_eq!(app.set_cached_validation(&row, &late), Some(nil()));

    // Their counts are still there to be drained; then the counters may go.
    assert_eq!(app.drain_usage(LONG), 3);
    assert_eq!(database.total(K), 1);
    assert_eq!(server.client().counts(&usage_key(K)), (0, 0, 1));
    let keys = format!("DEL {} {}", usage_key(K), usage_key("ak_live_2"));
    assert_eq!(app.say(&keys), Some(int(2)));
    assert_eq!(app.drain_usage(LONG), 0);
    assert_exact(&server);
}

#[test]
fn warm_up() {
    let server = builder().start();
    let rows: Vec<Row> = (1..=3).map(|n| Row::new(n, "42")).collect();
    let database = Database::with(rows);
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    let codes = |app: &mut App| [1, 2, 3].map(|n| app.cached(&format!("ak_live_{n}")));
    // The token first, then the export.
    let token = app.say("APIKEY.TOKEN apikey:{any}").expect("a reply").text();
    let export = database.keys_of("42");
    // Revoked after the export: the export's row is not stored.
    database.update(K, |row| row.is_active = false);
    other.deliver(0);
    // And what somebody has cached since is not overwritten.
    assert_eq!(other.ask("ak_live_2"), Valid);
    assert_eq!(app.warm_cache(&export, &token), Some(int(1)));
    assert_eq!(codes(&mut app), ["MISS", "VALID", "VALID"]);
    // Whoever dies in the middle begins anew: a second time it stores what is missing.
    let token = app.say("APIKEY.TOKEN apikey:{any}").expect("a reply").text();
    let export = database.keys_of("42");
    assert_eq!(app.warm_cache(&export, &token), Some(int(1)));
    assert_eq!(codes(&mut app), ["DISABLED", "VALID", "VALID"]);
    // A row in its grace has two digests, of which one ends by itself.
    let mut row = Row::new(4, "42");
    row.before = Some((ROTATED, now() + 200));
    assert_eq!(app.warm_cache(&[row], &token), Some(int(1)));
    let key = record_key("ak_live_4");
    let digest = digest(ROTATED);
    let old = |app: &mut App| {
        code_of(&app.say(&format!("APIKEY.VALIDATE {key} DIGEST {digest}")).expect("a reply"))
    };
    eventually("the grace is over", || old(&mut app) == "MISMATCH");
    assert_eq!(app.cached("ak_live_4"), "VALID");
    // A bad row: nothing of its call is stored.
    app.invalidate_user_keys("42");
    let token = app.say("APIKEY.TOKEN apikey:{any}").expect("a reply").text();
    let words = ["APIKEY.MSETVAL", "2", "a", &export[0].json(), "b", "{}", "TOKEN", &token];
    let reply = server.client().cmd(words);
    assert!(reply.is_error() && reply.text().starts_with("BADRECORD "), "{reply:?}");
    assert_eq!(app.say("EXISTS a b"), Some(int(0)));
}

#[test]
fn nightly_usage_drain() {
    let server = builder().with_aof(true).start();
    let database = Database::default();
    let mut app = App::new(&server, &database);
    let mut c = server.client();
    let overdue = |app: &mut App| {
        eventually("the lease is over", || {
            let health = app.get_cache_health().expect("a reply");
            health.get("status") == &bulk("degraded")
        });
    };
    c.count(&usage_key(K), 5);
    // A consumer that died after its LEASE.
    let reply = app.say("APIKEY.USAGE.LEASE 1").expect("a reply");
    let first = batches(&reply).remove(0);
    c.count(&usage_key(K), 2);
    overdue(&mut app);
    // One that died after its COMMIT: the same batch, whole, and what came since is not in it.
    let again = batches(&app.say("APIKEY.USAGE.LEASE 1").expect("a reply"));
    assert_eq!(again, [first]);
    assert_eq!(database.write(&again[0]), 1);
    assert_eq!(database.total(K), 5);
    overdue(&mut app);
    // One that lives.
    assert_eq!(app.drain_usage(LONG), 1, "the line of before is not new");
    assert_eq!(database.total(K), 7);
    assert_eq!(c.counts(&usage_key(K)), (0, 0, 7));
    // One that died after its ACK, or did not get the reply.
    assert_eq!(c.ack(&again[0]), 0);
    assert_eq!(app.drain_usage(LONG), 0);
    assert_eq!(database.total(K), 7);
}

#[test]
fn redis_down() {
    let mut server = builder().with_aof(true).start();
    let database = Database::with([Row::new(1, "42"), Row::new(2, "42")]);
    let mut app = App::new(&server, &database);
    assert_eq!([app.ask(K), app.ask("ak_live_2")], [Valid, Valid]);
    app.record_usage(K);
    let before = app.miss("ak_live_3");
    server.stop(Stop::Kill);

    // Its database answers, and takes the counts.
    assert_eq!([app.ask(K), app.ask("ak_live_2")], [Valid, Valid]);
    assert_eq!(app.validate_api_key(K, WRONG, "users:read"), WrongSecret);
    app.record_usage(K);
    database.update(K, |row| row.is_active = false);
    assert_eq!(app.deliver(0), 1, "it stays in the outbox");
    assert_eq!(app.ask(K), Disabled);
    database.insert(Row::new(3, "42"));

    // Back, with the AOF of before and before the outbox is told.
    server.start_again();
    assert_eq!(app.ask(K), Disabled);
    let row = database.find_by_prefix("ak_live_3").expect("a row");
    assert_eq!(app.set_cached_validation(&row, &before), Some(nil()), "a token of before");
    assert_eq!(app.ask("ak_live_3"), Valid);
    assert_eq!(app.deliver(0), 0);
    assert_eq!([app.ask(K), app.ask("ak_live_2")], [Disabled, Valid]);
    app.drain_usage(LONG);
    assert_eq!(database.total(K), 2, "one of each");
    assert_exact(&server);
}

#[test]
fn redis_out_of_reach_of_the_process_that_revokes() {
    let server = builder().start();
    let database = Database::with([Row::new(1, "42")]);
    let (mut app, mut cut_off) = (App::new(&server, &database), App::new(&server, &database));
    assert_eq!(app.ask(K), Valid);
    cut_off.port = 1;
    database.update(K, |row| row.is_active = false);
    assert_eq!(cut_off.deliver(0), 1);
    assert_eq!(cut_off.ask(K), Disabled);
    assert_eq!(app.ask(K), Valid, "for at most validation-ttl, or until somebody tells it");
    assert_eq!(app.deliver(0), 0, "and anybody can");
    assert_eq!(app.ask(K), Disabled);
}

#[test]
fn failover() {
    for trust in ["yes", "no"] {
        let primary = builder().start();
        let replica = builder().setting("trust-promoted", trust).start();
        replica.replicate(&primary);
        let database = Database::with([Row::new(1, "42"), Row::new(2, "42"), Row::new(3, "42")]);
        let mut app = App::new(&primary, &database);
        assert_eq!([app.ask(K), app.ask("ak_live_2")], [Valid, Valid]);
        let token = app.miss("ak_live_3");
        let row = database.find_by_prefix("ak_live_3").expect("a row");
        app.record_usage(K);
        let lease = format!("APIKEY.USAGE.LEASE {LONG}");
        let batch = batches(&app.say(&lease).expect("a reply")).remove(0);
        app.record_usage(K);
        // A revocation that the replica has: WAIT has said so.
        database.update("ak_live_2", |row| row.is_active = false);
        eventually("the replica has it", || app.deliver(1) == 0);

        // A client that reads from the replica gets the answers, and no token that is good for a fill.
        replica.in_sync_with(&primary);
        let mut reader = App::new(&replica, &database);
        assert_eq!(reader.cached(K), "VALID");
        let of_replica = reader.miss("ak_live_3");
        assert_eq!(app.set_cached_validation(&row, &of_replica), Some(nil()));

        replica.promote();
        // A revocation that only the former primary has: WAIT says that no replica got it.
        database.update(K, |row| row.is_active = false);
        assert_eq!(app.deliver(1), 1, "it stays in the outbox");
        app = App::new(&replica, &database);
        let kept = if trust == "yes" { "VALID" } else { "MISS" };
        assert_eq!(app.cached(K), kept);
        assert_eq!(app.ask("ak_live_2"), Disabled);
        app.deliver(0);
        assert_eq!(app.ask(K), Disabled);
        // A fill that began at the former primary.
        assert_eq!(app.set_cached_validation(&row, &token), Some(nil()));
        assert_eq!(app.ask("ak_live_3"), Valid);

        // Counts and leases came along.
        assert_eq!(database.write(&batch), 1);
        let ack = format!("APIKEY.USAGE.ACK {}", batch.id);
        assert_eq!(app.say(&ack), Some(int(1)));
        assert_eq!(app.drain_usage(LONG), 1);
        assert_eq!(database.total(K), 2);
        assert_exact(&replica);
    }
}

// The document.

#[test]
fn the_document_names_every_method_and_no_command_that_does_not_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating.md");
    let text = fs::read_to_string(path).expect("docs/migrating.md");
    let missing: Vec<&str> =
        METHODS.iter().copied().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let server = Server::start();
    let mut c = server.client();
    let is_of_name = |c: char| c.is_ascii_uppercase() || c == '.';
    let names: BTreeSet<&str> = text
        .match_indices("APIKEY.")
        .map(|(at, _)| text[at..].split(|c| !is_of_name(c)).next().unwrap_or_default())
        .map(|name| name.trim_end_matches('.'))
        .filter(|name| *name != "APIKEY")
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let unknown = |name: &&str| c.must(&format!("COMMAND INFO {name}")) == array([nil()]);
    assert_eq!(names.into_iter().filter(unknown).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// What the guides of the service call its methods.
const METHODS: &[&str] = &[
    "getCachedValidation",
    "setCachedValidation",
    "invalidateValidation",
    "getCachedScopeValidation",
    "setCachedScopeValidation",
    "getCachedUserKeys",
    "setCachedUserKeys",
    "incrementUsage",
    "getAndResetUsage",
    "invalidateKeyData",
    "invalidateUserKeys",
    "batchInvalidateKeys",
    "invalidateByTags",
    "warmCache",
    "getCacheHealth",
    "getStats",
    "monitorCacheSize",
    "cleanupExpiredKeys",
    "debugCachePerformance",
    "detectMemoryLeaks",
    "auditCacheInvalidations",
    "sanitizeApiKeyData",
    "buildSecureCacheKey",
    "validateApiKey",
    "validateApiKeyWithCache",
    "validateScope",
    "recordUsage",
    "flushUsageBatch",
    "onServiceStartup",
    "create",
    "update",
    "rotateKey",
    "listKeys",
    "warmCacheOnStartup",
    "warmScopeCache",
    "warmUserListCache",
    "batchSetValidations",
    "checkMemoryUsage",
    "cleanupExpiredUsageStats",
    "optimizeKeySize",
    "verifyCacheConsistency",
    "updateApiKeyWithCache",
];
