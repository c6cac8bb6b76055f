//! Rows whose columns have other names and forms: what restricts a key is judged, or the row is refused.

use crate::harness::server::Stop;
use crate::harness::*;

/// What SETVAL says to a record with these fields beside an id, and VALIDATE of what was stored.
#[track_caller]
fn said(c: &mut Client, fields: &str) -> String {
    c.must("DEL k");
    let record = format!(r#"{{"id":"k",{fields}}}"#);
    match c.cmd(["APIKEY.SETVAL", "k", &record, "SECRET", SECRET]) {
        reply if reply == ok() => {
            c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET]).items()[0].text()
        }
        reply => reply.text(),
    }
}

#[test]
fn a_field_that_looks_like_a_restriction_is_refused_until_somebody_says_what_it_is() {
    let server = Server::start();
    let mut c = server.client();
    for name in [
        "expiresAt",
        "EXPIRES_AT",
        "expiry_date",
        "enabled",
        "status",
        "ip_whitelist",
        "permissions",
    ] {
        assert_eq!(
            said(&mut c, &format!(r#""is_active":true,"{name}":null"#)),
            format!(
                "BADRECORD {name} is not kept: map it by apikey.field-names or name it in apikey.dropped-fields"
            )
        );
    }
    assert_eq!(
        said(&mut c, r#""is_active":true,"metadata":{"a":[{"expires_at":1}]}"#),
        "BADRECORD expires_at in metadata is not judged: give it as a field of the record, or name metadata in \
         apikey.dropped-fields"
    );
    for (name, advice) in [
        ("invalidated", "name it in apikey.inactive-fields"),
        ("revocation_date", "name it in apikey.inactive-fields"),
        ("not_before", "let the query judge it"),
        ("locked_until", "let the query judge it"),
        ("policies", "let the query judge it"),
        ("accountNonLocked", "map it by apikey.field-names"),
        ("authorizedIPs", "map it by apikey.field-names"),
    ] {
        assert_eq!(
            said(&mut c, &format!(r#""is_active":true,"{name}":true"#)),
            format!("BADRECORD {name} is not kept: {advice} or name it in apikey.dropped-fields")
        );
    }
    for text in [
        r#""{\u0022expires_at\u0022:1,\u0022x\u0022:\u0022\ud800\u0022}""#,
        r#""{\"e\\u0078pires_at\":1,\"x\":\"\ud800\"}""#,
        r#""5\" wide {\"expires_at\":1}""#,
        r#"[{"key":"expires_at","value":1}]"#,
    ] {
        assert_eq!(
            said(&mut c, &format!(r#""is_active":true,"m":{text}"#)),
            "BADRECORD expires_at in m is not judged: give it as a field of the record, or name m in \
             apikey.dropped-fields",
            "{text}"
        );
    }
    assert_eq!(
        said(&mut c, r#""is_active":true,"last_used_at":1,"metadata":{"plan":"pro"}"#),
        "VALID"
    );
    let many = r#"{"id":"k","is_active":true}"#;
    let token = c.must("APIKEY.TOKEN a").text();
    let bad = r#"{"id":"l","is_active":true,"expires":1}"#;
    let reply = c.cmd(["APIKEY.MSETVAL", "2", "a", many, "b", bad, "TOKEN", &token]);
    assert!(reply.text().starts_with("BADRECORD record 2: expires is not kept"), "{reply:?}");
    assert!(!c.exists("a"));
    let token = c.must("APIKEY.TOKEN l").text();
    let reply = c.cmd(["APIKEY.SETLIST", "l", "u", &format!("[{many},{bad}]"), "TOKEN", &token]);
    assert!(
        reply.text().starts_with("BADRECORD element 2 of records: expires is not kept"),
        "{reply:?}"
    );
    assert_exact(&server);
}

#[test]
fn fields_of_other_names_are_judged_once_they_are_mapped() {
    let server = Server::builder()
        .setting("field-names", "expires_at=expiresAt,is_active=enabled,user_id=ownerId")
        .setting("dropped-fields", "status")
        .start();
    let mut c = server.client();
    for (fields, says) in [
        (r#""enabled":true,"ownerId":7,"expiresAt":null,"status":"gone""#, "VALID"),
        (r#""enabled":1,"expiresAt":"2099-01-01T00:00:00Z""#, "VALID"),
        (r#""enabled":0,"expiresAt":null"#, "DISABLED"),
        (r#""enabled":"t","expiresAt":1700000000000"#, "EXPIRED"),
        (
            r#""enabled":true,"is_active":true"#,
            "BADRECORD is_active is given twice: apikey.field-names maps a field to it",
        ),
    ] {
        assert_eq!(said(&mut c, fields), says, "{fields}");
    }
    assert_eq!(said(&mut c, r#""enabled":"f","ownerId":7,"expiresAt":1700000000000"#), "DISABLED");
    assert_eq!(c.must("APIKEY.TAGS k").items()[1], bulk("apikey:user:7"));
    c.must("DEL k");
    let row = r#"[{"id":"k","enabled":true,"ownerId":7,"expiresAt":null}]"#;
    let token = c.must("APIKEY.TOKEN l").text();
    assert_eq!(c.cmd(["APIKEY.SETLIST", "l", "7", row, "TOKEN", &token]), ok());
    assert_eq!(
        c.must("APIKEY.GETLIST l").items()[1].items()[1].items()[0],
        bulk(r#"{"id":"k","is_active":true,"user_id":7,"expires_at":null}"#)
    );
    assert_exact(&server);
}

#[test]
fn no_field_is_mapped_to_its_opposite() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    let mut refused = |setting: &str, value: &str, why: &str| {
        let reply = c.cmd(["CONFIG", "SET", &format!("apikey.{setting}"), value]).text();
        assert!(reply.contains(why), "{setting} {value}: {reply}");
    };
    let all = [
        "paused",
        "is_expired",
        "expired",
        "invalid",
        "denied",
        "forbidden",
        "restricted",
        "blacklisted",
        "voided",
        "retired",
        "lockout",
    ];
    for name in all {
        refused(
            "field-names",
            &format!("is_active={name}"),
            "says the opposite: name it in apikey.inactive-fields",
        );
    }
    refused("field-names", "is_active=expiresAt", "says when the key ends: map expires_at to it");
    for name in ["not_before", "valid_from", "locked_until"] {
        refused(
            "field-names",
            &format!("expires_at={name}"),
            "from when on the key may be used: let the query judge it",
        );
    }
    refused("field-names", "allowed_ips=denied_ips", "from where the key may not be used");
    refused("field-names", "scopes=denied_scopes", "what the key may not do");
    for name in ["enabled", "active", "valid", "account_non_locked"] {
        refused(
            "inactive-fields",
            name,
            "says that a key is active: map is_active to it by apikey.field-names",
        );
    }
    for name in ["is_active", "expires_at", "scopes"] {
        refused("dropped-fields", name, "a record keeps that field");
    }
    let good = "expires_at=valid_until,is_active=accountNonLocked,scopes=abilities,allowed_ips=ip_whitelist";
    assert_eq!(c.cmd(["CONFIG", "SET", "apikey.field-names", good]), ok());
    assert_eq!(
        c.cmd(["CONFIG", "SET", "apikey.inactive-fields", "is_expired,paused,blocked"]),
        ok()
    );
    assert_eq!(said(&mut c, r#""accountNonLocked":false,"valid_until":null"#), "DISABLED");
    assert_eq!(said(&mut c, r#""accountNonLocked":true,"is_expired":true"#), "DISABLED");
    assert_eq!(said(&mut c, r#""accountNonLocked":true,"is_expired":false"#), "VALID");
}

#[test]
fn a_key_that_was_taken_back_is_disabled_however_the_table_says_so() {
    let server = Server::start();
    let mut c = server.client();
    for (fields, says) in [
        (r#""revoked":false"#, "VALID"),
        (r#""is_active":true,"revoked_at":null,"deleted_at":"","disabled":0"#, "VALID"),
        (r#""is_active":true,"revoked_at":"2024-01-01T00:00:00Z""#, "DISABLED"),
        (r#""archived_at":1,"is_active":true"#, "DISABLED"),
        (r#""is_active":false,"revoked":false"#, "DISABLED"),
        (r#""name":"n""#, "BADRECORD is_active is missing"),
    ] {
        assert_eq!(said(&mut c, fields), says, "{fields}");
    }
    let reply = c.run(r#"APIKEY.SETVAL k {"id":"k","revoked":true,"is_active":true}"#);
    assert_eq!(reply, ok());
    let reply = c.must("APIKEY.TAGS k");
    assert_eq!(reply, array([bulk("apikey:id:k"), bulk("apikey:kind:record")]));
}

/// VALIDATE's code for the key from an address, or from none.
#[track_caller]
fn from(c: &mut Client, key: &str, address: &str) -> String {
    let mut call = vec!["APIKEY.VALIDATE", key, "SECRET", SECRET];
    if !address.is_empty() {
        call.extend(["IP", address]);
    }
    let reply = c.cmd(&call);
    match reply.is_error() {
        true => reply.text(),
        false => reply.items()[0].text(),
    }
}

#[test]
fn a_key_is_used_from_the_addresses_that_its_record_allows() {
    let (mut server, replica) =
        (Server::builder().setting("trust-loaded", "yes").start(), Server::start());
    replica.replicate(&server);
    let mut c = server.client();
    let record = r#"{"id":"k","is_active":true,"allowed_ips":["10.0.0.0/8","2001:db8::/32"],"scopes":["a"]}"#;
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", record, "SECRET", SECRET]), ok());
    assert_eq!(
        c.cmd([
            "APIKEY.SETVAL",
            "none",
            r#"{"id":"n","is_active":true,"allowed_ips":[]}"#,
            "SECRET",
            SECRET
        ]),
        ok()
    );
    assert_eq!(
        c.cmd([
            "APIKEY.SETVAL",
            "any",
            r#"{"id":"a","is_active":true,"allowed_ips":null}"#,
            "SECRET",
            SECRET
        ]),
        ok()
    );
    let cases = [
        ("k", "10.1.2.3", "VALID"),
        ("k", "::ffff:10.1.2.3", "VALID"),
        ("k", "2001:db8::1", "VALID"),
        ("k", "2001:db8::1%eth0", "VALID"),
        ("k", "11.1.2.3", "FORBIDDEN_IP"),
        ("k", "", "FORBIDDEN_IP"),
        ("none", "10.1.2.3", "FORBIDDEN_IP"),
        ("any", "10.1.2.3", "VALID"),
        ("any", "", "VALID"),
        ("any", "10.1.2", "ERR IP must be an IPv4 or IPv6 address"),
        ("any", "10.0.0.0/8", "ERR IP must be an IPv4 or IPv6 address"),
    ];
    let all = |c: &mut Client| {
        for (key, address, says) in cases {
            assert_eq!(from(c, key, address), says, "{key} {address}");
        }
    };
    all(&mut c);
    replica.in_sync_with(&server);
    all(&mut replica.client());
    let wrong = c.cmd(["APIKEY.VALIDATE", "k", "SECRET", "x", "IP", "11.1.2.3"]);
    assert_eq!(wrong.items()[0], bulk("MISMATCH"));
    let forbidden =
        c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET, "IP", "11.1.2.3", "SCOPE", "b"]);
    assert_eq!(forbidden, array([bulk("FORBIDDEN_IP"), nil()]));
    let forbidden =
        c.cmd(["APIKEY.VALIDATE", "k", "SECRET", SECRET, "IP", "10.1.2.3", "SCOPE", "b"]);
    assert_eq!(forbidden.items()[0], bulk("FORBIDDEN"));
    assert_eq!(c.must("APIKEY.LOG COUNT 2").items()[1].get("code"), &bulk("FORBIDDEN_IP"));
    assert_eq!(c.must("APIKEY.HEALTH").get("forbidden_ip"), &int(4));
    assert_exact(&server);
    server.restart(Stop::Save);
    all(&mut server.client());
}

#[test]
fn a_digest_is_taken_as_databases_write_it() {
    let server = Server::builder().setting("digest-field", "hash").start();
    let mut c = server.client();
    let hex = "fb".repeat(32);
    let base64 = "+/v7".repeat(10) + "+/s=";
    let url = base64.replace('+', "-").replace('/', "_").replace('=', "");
    let record = r#"{"id":"k","is_active":true}"#;
    for digest in [&hex, &hex.to_uppercase(), &format!("\\x{hex}"), &base64, &url] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", "k", record, "DIGEST", digest]), ok());
        assert_eq!(c.cmd(["APIKEY.VALIDATE", "k", "DIGEST", &hex]).items()[0], bulk("VALID"));
        assert_eq!(c.cmd(["APIKEY.VALIDATE", "k", "DIGEST", digest]).items()[0], bulk("VALID"));
        let json = digest.replace('\\', "\\\\");
        for field in [
            format!("\"{json}\""),
            format!("[null,\"{json}\"]"),
            format!("[\"{json}\",\"{hex}\",null]"),
        ] {
            let record = format!(r#"{{"id":"k","is_active":true,"hash":{field}}}"#);
            assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &record]), ok(), "{record}");
            assert_eq!(c.cmd(["APIKEY.VALIDATE", "k", "DIGEST", &hex]).items()[0], bulk("VALID"));
            assert_eq!(c.cmd(["APIKEY.VALIDATE", "k", "SECRET", "x"]).items()[0], bulk("MISMATCH"));
        }
    }
}

#[test]
fn ids_and_their_tags_are_as_long_as_databases_have_them() {
    let server = Server::start();
    let mut c = server.client();
    let (id, user, ns) = ("i".repeat(256), "u".repeat(256), "n".repeat(100));
    let record = format!(r#"{{"id":"{id}","user_id":"{user}","is_active":true}}"#);
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &record, "SECRET", SECRET, "NS", &ns]), ok());
    let token = c.must("APIKEY.TOKEN s").text();
    assert_eq!(
        c.cmd(["APIKEY.SETSCOPE", "s", &id, &user, "r", "a", "ALLOW", "TOKEN", &token]),
        ok()
    );
    assert_eq!(
        c.cmd(["APIKEY.SETLIST", "l", &user, &format!("[{record}]"), "TOKEN", &token]),
        ok()
    );
    assert_eq!(c.cmd(["APIKEY.TAGCARD", &format!("{ns}apikey:id:{id}")]), int(1));
    assert_eq!(c.cmd(["APIKEY.TAGINVAL", &format!("{ns}apikey:user:{user}")]), int(1));
    assert_eq!(c.cmd(["APIKEY.TAGINVAL", &format!("apikey:user:{user}")]), int(2));
    reclaimed(&mut c);
    assert_exact(&server);
}
