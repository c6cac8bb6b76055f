//! Settings: CONFIG SET and GET, CONFIG REWRITE, arguments of the module, lines of redis.conf.

use crate::harness::server::Stop;
use crate::harness::*;

/// A setting that only the load of the module sets.
const FIXED: &str = "fence-slots";

/// Whether only the load of the module sets it.
fn is_fixed(name: &str) -> bool {
    name == FIXED || name == "lease-slots"
}

/// (name, default, least, most)
const NUMBERS: [(&str, i64, i64, i64); 22] = [
    ("request-id-window-ms", 60_000, 1, 86_400_000),
    ("max-request-ids", 4096, 1, 16_384),
    ("max-value-bytes", 8_388_608, 1, 67_108_864),
    ("lease-slots", 16_384, 4, 4_194_304),
    ("validation-ttl", 300, 1, 31_536_000),
    ("absent-ttl", 30, 1, 31_536_000),
    ("scope-ttl", 600, 1, 31_536_000),
    ("list-ttl", 1800, 1, 31_536_000),
    ("max-absent", -1, -1, 1_000_000_000),
    ("max-decisions", 1024, 1, 4096),
    ("max-name-length", 100, 1, 65_536),
    ("max-record-bytes", 16_384, 64, 1_048_576),
    ("max-scopes", 64, 0, 4096),
    ("max-tags", 16, 0, 64),
    (FIXED, 65_536, 1, 16_777_216),
    ("token-ttl-ms", 30_000, 1, 86_400_000),
    ("cluster-timeout-ms", 1000, 200, 60_000),
    ("sync-reclaim", 256, 0, 100_000),
    ("reclaim-budget-us", 500, 10, 100_000),
    ("log-max-len", 128, 0, 10_000),
    ("min-hit-rate", 80, 0, 100),
    ("max-memory-percent", 90, 1, 100),
];
const SWITCHES: [(&str, &str); 6] = [
    ("check-fill-tags", "no"),
    ("trust-loaded", "no"),
    ("trust-promoted", "yes"),
    ("enabled", "yes"),
    ("writes-enabled", "yes"),
    ("serve-when-writes-refused", "no"),
];
const NAMES: [(&str, &str); 10] = [
    ("regions", ""),
    ("extra-fields", ""),
    ("digest-field", ""),
    ("field-names", ""),
    ("dropped-fields", ""),
    ("inactive-fields", "revoked,revoked_at,deleted_at,disabled,disabled_at,archived_at"),
    ("scope-fields", ""),
    ("tag-fields", ""),
    ("naive-times", "refuse"),
    ("invalidation-channel", ""),
];

/// Every setting and a value that is not its default. One name alone as `extra-fields`: CONFIG REWRITE
/// writes the module's arguments without quotes.
const OTHERS: [(&str, &str); 38] = [
    ("request-id-window-ms", "1000"),
    ("max-request-ids", "16"),
    ("max-value-bytes", "1000"),
    ("lease-slots", "8"),
    ("regions", "products"),
    ("validation-ttl", "77"),
    ("absent-ttl", "7"),
    ("scope-ttl", "8"),
    ("list-ttl", "9"),
    ("max-absent", "1"),
    ("max-decisions", "2"),
    ("max-name-length", "5"),
    ("max-record-bytes", "200"),
    ("max-scopes", "2"),
    ("max-tags", "3"),
    ("check-fill-tags", "yes"),
    (FIXED, "1"),
    ("token-ttl-ms", "1000"),
    ("cluster-timeout-ms", "500"),
    ("sync-reclaim", "1"),
    ("reclaim-budget-us", "10"),
    ("log-max-len", "3"),
    ("min-hit-rate", "33"),
    ("max-memory-percent", "55"),
    ("trust-loaded", "yes"),
    ("trust-promoted", "no"),
    ("enabled", "no"),
    ("writes-enabled", "no"),
    ("serve-when-writes-refused", "yes"),
    ("extra-fields", "plan"),
    ("digest-field", "hash"),
    ("field-names", "expires_at=expiresAt"),
    ("dropped-fields", "status"),
    ("inactive-fields", "gone"),
    ("scope-fields", "note"),
    ("tag-fields", "org"),
    ("naive-times", "utc"),
    ("invalidation-channel", "told"),
];

#[track_caller]
fn get(c: &mut Client, name: &str) -> String {
    let reply = c.must(&format!("CONFIG GET apikey.{name}"));
    assert_eq!(reply.items().len(), 2, "{name}");
    reply.items()[1].text()
}

fn set(c: &mut Client, name: &str, value: &str) -> Reply {
    c.cmd(["CONFIG", "SET", &format!("apikey.{name}"), value])
}

fn refused(name: &str, why: &str) -> Reply {
    error(&format!("ERR CONFIG SET failed (possibly related to argument 'apikey.{name}') - {why}"))
}

/// All settings of the module, sorted.
#[track_caller]
fn all(c: &mut Client) -> Vec<(String, String)> {
    let reply = c.must("CONFIG GET apikey.*");
    let mut all: Vec<(String, String)> =
        reply.items().chunks(2).map(|pair| (pair[0].text(), pair[1].text())).collect();
    all.sort();
    all
}

fn sorted(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = settings
        .iter()
        .map(|(name, value)| (format!("apikey.{name}"), value.to_string()))
        .collect();
    all.sort();
    all
}

#[test]
fn the_settings_are_these_with_these_defaults() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let numbers: Vec<(&str, String)> =
        NUMBERS.iter().map(|(name, default, ..)| (*name, default.to_string())).collect();
    let mut defaults: Vec<(&str, &str)> =
        numbers.iter().map(|(name, default)| (*name, default.as_str())).collect();
    defaults.extend(SWITCHES);
    defaults.extend(NAMES);
    assert_eq!(all(&mut server.client()), sorted(&defaults));
}

#[test]
fn a_number_is_set_within_its_bounds_and_refused_beyond_them() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    for (name, default, least, most) in NUMBERS.into_iter().filter(|(name, ..)| !is_fixed(name)) {
        for value in [least, most, default] {
            assert_eq!(set(&mut c, name, &value.to_string()), ok(), "{name} {value}");
            assert_eq!(get(&mut c, name), value.to_string());
        }
        let range = format!("argument must be between {least} and {most} inclusive");
        for value in [least - 1, most + 1, i64::MAX, i64::MIN] {
            assert_eq!(set(&mut c, name, &value.to_string()), refused(name, &range), "{value}");
        }
        let no_number = "argument couldn't be parsed into an integer";
        for value in ["x", "", "1.5", "1e2", "9223372036854775808", "1 2"] {
            assert_eq!(set(&mut c, name, value), refused(name, no_number), "{value}");
        }
        assert_eq!(get(&mut c, name), default.to_string(), "what is refused changes nothing");
    }
}

#[test]
fn what_only_the_load_sets_is_refused_by_config_set() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    for value in ["65536", "1", "0", "x", ""] {
        assert_eq!(set(&mut c, FIXED, value), refused(FIXED, "can't set immutable config"));
        assert_eq!(get(&mut c, FIXED), "65536");
    }
    let both = format!("CONFIG SET apikey.max-tags 5 apikey.{FIXED} 1");
    assert!(c.run(&both).is_error());
    assert_eq!((get(&mut c, "max-tags"), get(&mut c, FIXED)), ("16".into(), "65536".into()));
}

#[test]
fn any_number_of_slots_within_the_bounds_can_be_loaded() {
    for slots in ["1", "2", "16777216"] {
        let mut servers = vec![Server::builder().setting(FIXED, slots).start()];
        if server::kind().has_module_config() {
            let line = format!("apikey.{FIXED} {slots}");
            servers.push(Server::builder().config(&line).start());
        }
        for server in servers {
            let mut c = server.client();
            if server::kind().has_module_config() {
                assert_eq!(get(&mut c, FIXED), slots);
            }
            let token = c.must("APIKEY.TOKEN k").text();
            assert_eq!(fill(&mut c, &token), ok());
            c.must("APIKEY.INVAL other");
            match slots {
                "1" => assert_eq!(fill(&mut c, &token), nil(), "all names share the slot"),
                "16777216" => assert_eq!(fill(&mut c, &token), ok()),
                _ => {}
            }
            c.must("APIKEY.INVAL k");
            assert_eq!(fill(&mut c, &token), nil());
            let token = c.must("APIKEY.TOKEN k").text();
            assert_eq!(fill(&mut c, &token), ok());
        }
    }
}

/// Fills the key k under a token.
fn fill(c: &mut Client, token: &str) -> Reply {
    c.cmd(["APIKEY.SETVAL", "k", &record("k", "u"), "TOKEN", token])
}

#[test]
fn a_switch_is_yes_or_no() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    for (name, default) in SWITCHES {
        for value in ["yes", "no", default] {
            assert_eq!(set(&mut c, name, value), ok());
            assert_eq!(get(&mut c, name), value);
        }
        for value in ["", "1", "true", "maybe"] {
            assert_eq!(
                set(&mut c, name, value),
                refused(name, "argument must be 'yes' or 'no'"),
                "{value}"
            );
        }
        assert_eq!(get(&mut c, name), default);
    }
}

#[test]
fn names_of_fields_are_separated_by_spaces_or_commas_and_bounded() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    let name = "extra-fields";
    let many: Vec<String> = (0..33).map(|n| format!("f{n}")).collect();
    let longest = "f".repeat(128);
    for (value, shown) in [
        ("plan", "plan"),
        ("plan,tenant", "plan,tenant"),
        (" plan \t tenant ", "plan,tenant"),
        ("plan tenant, zone", "plan,tenant,zone"),
        ("größe", "größe"),
        (&many[..32].join(" "), &many[..32].join(",")),
        (&longest, &longest),
        ("", ""),
    ] {
        assert_eq!(set(&mut c, name, value), ok(), "{value}");
        assert_eq!(get(&mut c, name), shown);
    }
    for (value, why) in [
        (many.join(" "), "must be at most 32 names of fields"),
        ("f".repeat(129), "must be names of at most 128 bytes"),
        ("key_hash".into(), "must not be key_hash: a secret's hash is not kept in a record"),
        ("a key_hash b".into(), "must not be key_hash: a secret's hash is not kept in a record"),
    ] {
        assert_eq!(set(&mut c, name, &value), refused(name, why), "{value}");
    }
    let nine = "a b c d e f g h i";
    let own = |name| format!("must not be {name}: that tag is the module's own");
    for (value, why) in [
        (nine, "must be at most 8 names of fields".to_string()),
        ("id", own("id")),
        ("org,user_id", own("user_id")),
        ("user", own("user")),
        ("kind", own("kind")),
        ("key_hash", "must not be key_hash: a secret's hash is in no tag".into()),
        ("org:unit", "must be names without a colon, which ends the name in a tag".into()),
    ] {
        assert_eq!(set(&mut c, "tag-fields", value), refused("tag-fields", &why), "{value}");
    }
    assert_eq!(set(&mut c, "tag-fields", &nine[..15]), ok());
    assert_eq!(get(&mut c, "tag-fields"), "a,b,c,d,e,f,g,h");
    let invalid = c.cmd([b"CONFIG".as_slice(), b"SET", b"apikey.extra-fields", b"\xff"]);
    assert_eq!(invalid, refused(name, "must be UTF-8"));
    assert_eq!(get(&mut c, name), "");

    let name = "digest-field";
    for value in ["key_hash", "hash", ""] {
        assert_eq!(set(&mut c, name, value), ok());
        assert_eq!(get(&mut c, name), value);
    }
    assert_eq!(set(&mut c, name, "a b"), refused(name, "must be the name of one field"));
    let opposite = "which says the opposite: name it in apikey.inactive-fields";
    let looks = "which looks as if it restricted the key";
    for (pair, why) in [
        ("is_active=blocked", format!("must not map is_active to blocked, {opposite}")),
        ("is_active=revoked", format!("must not map is_active to revoked, {opposite}")),
        ("name=expiresAt", format!("must not map name to expiresAt, {looks}")),
        (
            "id=uuid,updated_at=deleted_at",
            format!("must not map updated_at to deleted_at, {looks}"),
        ),
    ] {
        assert_eq!(set(&mut c, "field-names", pair), refused("field-names", &why), "{pair}");
    }
    assert_eq!(set(&mut c, name, "id"), refused(name, "must not be id: a record keeps that field"));
}

#[test]
fn a_setting_that_does_not_exist_is_unknown() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(
        c.run("CONFIG SET apikey.nothing 1"),
        error("ERR Unknown option or number of arguments for CONFIG SET - 'apikey.nothing'")
    );
    // One wrong setting of several: none is set.
    assert!(c.run("CONFIG SET apikey.max-tags 5 apikey.max-scopes 5000").is_error());
    assert_eq!((get(&mut c, "max-tags"), get(&mut c, "max-scopes")), ("16".into(), "64".into()));
}

#[test]
fn what_is_set_holds_at_once() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::builder().setting(FIXED, "1").start();
    let mut c = server.client();
    for (name, value) in OTHERS {
        // The two that would refuse all fills are seen in `codes`.
        if !name.ends_with("enabled") && !is_fixed(name) {
            assert_eq!(set(&mut c, name, value), ok());
        }
    }
    assert_settings_hold(&mut c);
}

#[test]
fn a_rewritten_configuration_keeps_what_was_set() {
    if !server::kind().has_module_config() {
        return;
    }
    let mut server = Server::builder().config(&format!("apikey.{FIXED} 1")).start();
    let mut c = server.client();
    let mut others = OTHERS;
    others.iter_mut().find(|(name, _)| *name == "extra-fields").expect("it is there").1 = "a b \"c";
    for (name, value) in others.into_iter().filter(|(name, _)| !is_fixed(name)) {
        assert_eq!(set(&mut c, name, value), ok());
    }
    c.must("CONFIG REWRITE");
    server.stop(Stop::NoSave);
    server.start_as_rewritten();
    others.iter_mut().find(|(name, _)| *name == "extra-fields").expect("it is there").1 = "a,b,\"c";
    // At load only, and so as it was.
    others.iter_mut().find(|(name, _)| *name == "lease-slots").expect("it is there").1 = "16384";
    assert_eq!(all(&mut server.client()), sorted(&others));
    // Once more, without a change between.
    server.client().must("CONFIG REWRITE");
    server.stop(Stop::NoSave);
    server.start_as_rewritten();
    assert_eq!(all(&mut server.client()), sorted(&others));
}

#[test]
fn a_rewritten_configuration_keeps_the_defaults_where_arguments_say_otherwise() {
    if !server::kind().has_module_config() {
        return;
    }
    let mut builder = Server::builder();
    for (name, value) in OTHERS {
        builder = builder.setting(name, value);
    }
    let mut server = builder.start();
    let mut c = server.client();
    assert_eq!(all(&mut c), sorted(&OTHERS));
    let defaults = [
        ("validation-ttl", "300"),
        ("absent-ttl", "30"),
        ("scope-ttl", "600"),
        ("list-ttl", "1800"),
        ("max-absent", "-1"),
        ("max-decisions", "1024"),
        ("max-name-length", "100"),
        ("max-record-bytes", "16384"),
        ("max-scopes", "64"),
        ("max-tags", "16"),
        ("check-fill-tags", "no"),
        ("token-ttl-ms", "30000"),
        ("cluster-timeout-ms", "1000"),
        ("sync-reclaim", "256"),
        ("reclaim-budget-us", "500"),
        ("log-max-len", "128"),
        ("min-hit-rate", "80"),
        ("max-memory-percent", "90"),
        ("trust-loaded", "no"),
        ("trust-promoted", "yes"),
        ("enabled", "yes"),
        ("writes-enabled", "yes"),
        ("serve-when-writes-refused", "no"),
        ("extra-fields", ""),
        ("digest-field", ""),
        ("field-names", ""),
        ("dropped-fields", ""),
        ("inactive-fields", ""),
        ("scope-fields", ""),
        ("tag-fields", ""),
        ("naive-times", "refuse"),
        ("invalidation-channel", ""),
        ("request-id-window-ms", "60000"),
        ("max-request-ids", "4096"),
        ("max-value-bytes", "8388608"),
        ("regions", ""),
    ];
    for (name, value) in defaults {
        assert_eq!(set(&mut c, name, value), ok());
    }
    c.must("CONFIG REWRITE");
    server.stop(Stop::NoSave);
    server.start_as_rewritten();
    // What could not be set stays as the argument says.
    let expected = [&defaults[..], &[(FIXED, "1"), ("lease-slots", "8")]].concat();
    assert_eq!(all(&mut server.client()), sorted(&expected));
}

#[test]
fn a_rewritten_configuration_keeps_arguments_that_nobody_changed() {
    let mut builder = Server::builder();
    for (name, value) in OTHERS {
        if !name.ends_with("enabled") {
            builder = builder.setting(name, value);
        }
    }
    let mut server = builder.start();
    server.client().must("CONFIG REWRITE");
    server.stop(Stop::NoSave);
    server.start_as_rewritten();
    assert_settings_hold(&mut server.client());
}

#[test]
fn every_setting_can_be_an_argument_on_every_server() {
    let mut builder = Server::builder();
    for (name, value) in OTHERS {
        if !name.ends_with("enabled") {
            builder = builder.setting(name, value);
        }
    }
    let mut server = builder.start();
    let mut c = server.client();
    assert_settings_hold(&mut c);
    // trust-loaded: what was cached is cached after a restart.
    c.must("FLUSHALL");
    c.fill("k", &[]);
    server.restart(Stop::Save);
    assert_eq!(server.client().code("k"), "VALID");
    let server = Server::builder().setting("enabled", "no").setting("writes-enabled", "NO").start();
    let health = server.client().must("APIKEY.HEALTH");
    assert_eq!((health.get("enabled"), health.get("writes_enabled")), (&int(0), &int(0)));
}

/// All of `OTHERS` but the two that refuse fills, by what they do.
#[track_caller]
fn assert_settings_hold(c: &mut Client) {
    let with = |field: &str| format!(r#"{{"id":"k","user_id":"u","is_active":true,{field}}}"#);
    c.fill("k", &[]);
    let ttl = c.must("TTL k").int();
    assert!((70..=77).contains(&ttl), "validation-ttl: {ttl}");
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &with(r#""name":"0123456789","plan":1,"other":3"#)]),
        ok()
    );
    assert_eq!(
        c.must("APIKEY.VALIDATE k").items()[1],
        bulk(with(r#""name":"01234","plan":1"#)),
        "max-name-length, extra-fields"
    );
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &with(&format!("\"x\":\"{}\"", "x".repeat(200)))]),
        error("BADRECORD record must be at most 200 bytes")
    );
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &with(r#""scopes":["a","b","c"]"#)]),
        error("BADRECORD scopes must have at most 2 elements, each action of an object counted")
    );
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &with(r#""name":null"#), "TAGS", "4", "a", "b", "c", "d"]),
        error("ERR TAGS count must be between 1 and 3")
    );
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &with(&format!("\"hash\":\"{DIGEST}\""))]), ok());
    assert_eq!(c.code("k"), "VALID", "digest-field");

    for (field, kept, setting) in [
        (r#""expiresAt":4102444800000"#, r#","expires_at":4102444800000"#, "field-names"),
        (r#""status":"off""#, "", "dropped-fields"),
        (
            r#""scopes":[{"resource":"a","actions":[],"note":1}]"#,
            r#","scopes":[{"resource":"a","actions":[],"note":1}]"#,
            "scope-fields",
        ),
        (
            r#""expires_at":"2100-01-01 00:00:00""#,
            r#","expires_at":"2100-01-01T00:00:00Z""#,
            "naive-times",
        ),
    ] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &with(field)]), ok(), "{setting}");
        let kept = format!(r#"{{"id":"k","user_id":"u","is_active":true{kept}}}"#);
        assert_eq!(c.must("APIKEY.VALIDATE k").items()[1], bulk(kept), "{setting}");
    }
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &with(r#""gone":1"#)]), ok());
    assert_eq!(c.code("k"), "DISABLED", "inactive-fields");
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &with(r#""org":7"#)]), ok());
    assert_eq!(c.must("APIKEY.TAGCARD apikey:org:7"), int(1), "tag-fields");

    for (key, reply) in [("nobody", ok()), ("noone", nil())] {
        let token = c.must("APIKEY.TOKEN any").text();
        let line = format!("APIKEY.SETABSENT {key} TOKEN {token}");
        assert_eq!(c.must(&line), reply, "max-absent: {key}");
    }
    c.must("DEL nobody");

    // fence-slots: all names share one slot. token-ttl-ms: within a second the token is too old.
    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(fill(c, &token), ok());
    c.must("APIKEY.INVAL other");
    assert_eq!(fill(c, &token), nil(), "fence-slots");
    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(fill(c, &token), ok());
    eventually("token-ttl-ms", || fill(c, &token) == nil());
    c.fill("k", &[]);

    // sync-reclaim: one goes at once, of two neither.
    if has_debug_command(c) {
        c.must("APIKEY.DEBUG HOLD yes");
        c.fill("r1", &["r"]);
        assert_eq!(c.invalidate("r"), 1);
        assert!(!c.exists("r1"), "sync-reclaim");
        c.fill("r1", &["r"]);
        c.fill("r2", &["r"]);
        assert_eq!(c.invalidate("r"), 2);
        assert_eq!(c.run("EXISTS r1 r2"), int(2), "sync-reclaim");
        c.must("APIKEY.DEBUG HOLD no");
        reclaimed(c);
    }

    for n in 0..5 {
        c.must(&format!("APIKEY.VALIDATE k SCOPE s{n}"));
    }
    assert_eq!(c.must("APIKEY.LOG").items().len(), 3, "log-max-len");

    // min-hit-rate: with 33 of 100 it is met, with 32 it is not. The lookups above are hits, and some
    // more misses make up for them.
    let hits = c.must("APIKEY.HEALTH").get("hits").int();
    for _ in hits..33 {
        c.must("APIKEY.VALIDATE k");
    }
    for _ in 0..67 {
        c.must("APIKEY.VALIDATE none");
    }
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));
    for _ in 0..4 {
        c.must("APIKEY.VALIDATE none");
    }
    let told = "hit rate of the last minute is 31 percent, under min-hit-rate 33";
    assert_eq!(c.must("APIKEY.HEALTH").get("reasons"), &array([bulk(told)]));
    // max-memory-percent.
    c.must("SETRANGE filler 30000000 x");
    let used: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used * 100 / 65));
    let health = c.must("APIKEY.HEALTH");
    let reason = health.get("reasons").items()[0].text();
    assert!(reason.ends_with(" percent, above max-memory-percent 55"), "{reason}");
    c.must("CONFIG SET maxmemory 0");
}

#[test]
fn a_line_of_the_configuration_wins_over_an_argument() {
    if !server::kind().has_module_config() {
        return;
    }
    let mut builder = Server::builder().setting("validation-ttl", "1").setting("max-tags", "9");
    for (name, value) in OTHERS {
        if name != "max-tags" {
            builder = builder.config(&format!("apikey.{name} {value}"));
        }
    }
    let mut expected = OTHERS;
    expected.iter_mut().find(|(name, _)| *name == "max-tags").expect("it is there").1 = "9";
    assert_eq!(all(&mut builder.start().client()), sorted(&expected));
}

#[test]
fn a_server_with_a_wrong_argument_does_not_start_and_its_log_says_why() {
    let mut cases: Vec<(&str, String, String)> = Vec::new();
    for (name, _, least, most) in NUMBERS {
        let told = format!("{name} must be between {least} and {most}");
        for value in [&(least - 1).to_string(), &(most + 1).to_string(), "x", "1.5"] {
            cases.push((name, value.into(), told.clone()));
        }
    }
    for (name, _) in SWITCHES {
        cases.push((name, "maybe".into(), format!("{name} must be yes or no")));
    }
    let many = vec!["f"; 33].join(" ");
    for (name, value, told) in [
        ("extra-fields", many.as_str(), "extra-fields must be at most 32 names of fields"),
        (
            "extra-fields",
            "key_hash",
            "extra-fields must not be key_hash: a secret's hash is not kept in a record",
        ),
        ("digest-field", "a b", "digest-field must be the name of one field"),
        (
            "tag-fields",
            "a:b",
            "tag-fields must be names without a colon, which ends the name in a tag",
        ),
        ("nothing", "1", "unknown argument nothing"),
        ("apikey.max-tags", "1", "unknown argument apikey.max-tags"),
        ("100%s%n", "1", "unknown argument 100%s%n"),
    ] {
        cases.push((name, value.into(), told.into()));
    }
    for (name, value, told) in cases {
        let failed = Server::builder().setting(name, &value).try_start();
        let log = failed.err().unwrap_or_else(|| panic!("{name} {value} was taken")).log;
        assert!(log.contains(&format!("<module> apikey: not loaded: ERR {told}\n")), "{log}");
        assert!(log.contains("server aborting"), "{log}");
    }
    let line = format!("loadmodule {} enabled yes max-tags", server::module().display());
    let failed = Server::builder().without_module().config(&line).try_start();
    let log = failed.err().expect("a value is missing").log;
    assert!(log.contains("not loaded: ERR argument max-tags has no value\n"), "{log}");
}

#[test]
fn a_server_with_a_wrong_line_in_its_configuration_does_not_start_and_its_log_says_why() {
    if !server::kind().has_module_config() {
        return;
    }
    for (line, told) in [
        (
            "apikey.validation-ttl 0",
            "apikey.validation-ttl : argument must be between 1 and 31536000 inclusive",
        ),
        (
            "apikey.fence-slots 0",
            "apikey.fence-slots : argument must be between 1 and 16777216 inclusive",
        ),
        (
            "apikey.fence-slots 16777217",
            "apikey.fence-slots : argument must be between 1 and 16777216 inclusive",
        ),
        (
            "apikey.token-ttl-ms 86400001",
            "apikey.token-ttl-ms : argument must be between 1 and 86400000 inclusive",
        ),
        ("apikey.enabled maybe", "apikey.enabled : argument must be 'yes' or 'no'"),
        (
            "apikey.extra-fields key_hash",
            "apikey.extra-fields : must not be key_hash: a secret's hash is not kept in a record",
        ),
        ("apikey.nothing 1", "Module Configuration detected without loadmodule directive"),
    ] {
        let log = Server::builder().config(line).try_start().err().expect(line).log;
        assert!(log.contains(told), "{log}");
    }
}

#[test]
fn a_running_server_refuses_to_load_the_module_with_a_wrong_argument_and_lives() {
    let mut server = Server::builder().without_module().start();
    let mut c = server.client();
    let path = server::module().display().to_string();
    let told = "ERR Error loading the extension. Please check the server logs.";
    for args in [&["max-tags", "-1"][..], &["nothing", "1"], &["max-tags"]] {
        let mut load = vec!["MODULE", "LOAD", &path];
        load.extend(args);
        assert_eq!(c.cmd(load), error(told), "{args:?}");
    }
    if server::kind().has_module_config() {
        let load = ["MODULE", "LOADEX", &path, "CONFIG", "apikey.max-tags", "-1"];
        assert_eq!(c.cmd(load), error(told));
        // A name that the module does not have: Redis 8.2 loads it, and unloads it again. (7.0 keeps it, and
        // Valkey 9.1 does not survive that of any module with data types.)
        if server::kind() == Kind::Redis82 {
            let load = [
                "MODULE",
                "LOADEX",
                &path,
                "CONFIG",
                "apikey.max-tags",
                "3",
                "CONFIG",
                "apikey.no",
                "1",
            ];
            for _ in 0..2 {
                assert_eq!(c.cmd(load), error(told));
                assert!(c.run("APIKEY.HEALTH").is_error());
            }
        }
        let load =
            ["MODULE", "LOADEX", &path, "CONFIG", "apikey.max-tags", "2", "ARGS", "enabled", "no"];
        assert_eq!(c.cmd(load), ok());
        assert_eq!((get(&mut c, "max-tags"), get(&mut c, "enabled")), ("2".into(), "no".into()));
        set(&mut c, "enabled", "yes");
    } else {
        assert_eq!(c.cmd(["MODULE", "LOAD", &path, "validation-ttl", "77"]), ok());
    }
    c.fill("k", &["tag"]);
    assert_eq!(c.code("k"), "VALID");
    assert!(c.must("INFO apikey_contents").text().contains("apikey_records:1"));
    assert_exact(&server);
    if matches!(server::kind(), Kind::Redis82 | Kind::Valkey91) {
        let all = c.must("COMMAND LIST FILTERBY MODULE apikey").items().len();
        let named = |c: &mut Client, name| c.must(&format!("ACL CAT {name}")).items().len();
        assert_eq!(named(&mut c, "apikey") + named(&mut c, "cache"), all);
        c.must("ACL SETUSER reader on nopass ~* +@apikey");
        c.must("AUTH reader any");
        assert_eq!(c.code("k"), "VALID");
        assert!(c.run("GET k").text().contains("NOPERM"));
        c.must("AUTH default any");
    }
    assert!(server.is_alive());
    // It has values: it stays.
    assert!(c.run("MODULE UNLOAD apikey").is_error());
    assert_eq!(c.code("k"), "VALID");
}
