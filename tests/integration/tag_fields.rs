//! `tag-fields`: tags that records and lists carry by their own fields, whoever fills them.

use crate::acl::user;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;

fn tagging() -> Builder {
    Server::builder().setting("tag-fields", "org_id,plan").setting("trust-loaded", "yes")
}

/// A record of a key with these fields.
fn with(fields: &str) -> String {
    format!(r#"{{"id":"k","user_id":"u1","is_active":true,{fields}}}"#)
}

/// What SETVAL says to a record with these fields.
#[track_caller]
fn stored(c: &mut Client, key: &str, fields: &str, options: &str) -> Reply {
    let record = with(fields);
    let mut call =
        vec!["APIKEY.SETVAL".to_string(), key.into(), record, "SECRET".into(), SECRET.into()];
    call.extend(args(options));
    c.cmd(&call)
}

#[track_caller]
fn tags(c: &mut Client, key: &str) -> Vec<String> {
    c.cmd(["APIKEY.TAGS", key]).items().iter().map(Reply::text).collect()
}

/// The tags of a record with these fields, but for those of its ids and its kind.
#[track_caller]
fn made(c: &mut Client, fields: &str, options: &str) -> Vec<String> {
    assert_eq!(stored(c, "k", fields, options), ok(), "{fields} {options}");
    tags(c, "k").split_off(3)
}

const BOUND: &str =
    "must be a string of 1 to 256 bytes, an integer or null: apikey.tag-fields makes a tag of it";

#[test]
fn a_record_carries_the_tags_of_its_fields_whoever_fills_it() {
    let server = tagging().start();
    let mut c = server.client();
    let long = "x".repeat(256);
    for (fields, tags) in [
        (r#""org_id":7"#, vec!["apikey:org_id:7"]),
        (r#""org_id":"7""#, vec!["apikey:org_id:7"]),
        (r#""plan":"pro","org_id":-7"#, vec!["apikey:org_id:-7", "apikey:plan:pro"]),
        (r#""org_id":"a\u00e9\t\/""#, vec!["apikey:org_id:aé\t/"]),
        (r#""org\u005fid":"b""#, vec!["apikey:org_id:b"]),
        (&format!(r#""org_id":"{long}""#), vec![&format!("apikey:org_id:{long}")]),
        (r#""org_id":null"#, vec![]),
        (r#""plans":1,"Org_id":2,"metadata":{"plan":"no"}"#, vec![]),
    ] {
        assert_eq!(made(&mut c, fields, ""), tags, "{fields}");
    }
    // They are none of the record's own.
    assert_eq!(
        c.must("APIKEY.VALIDATE k").items()[1],
        bulk(r#"{"id":"k","user_id":"u1","is_active":true}"#)
    );
    // Behind the namespace, before the caller's, each once.
    assert_eq!(
        made(&mut c, r#""org_id":7"#, "NS acme: TAGS 2 x acme:apikey:org_id:7"),
        ["acme:apikey:org_id:7", "x"]
    );
    assert_eq!(c.must("APIKEY.DESCRIBE k").get("tags").items().len(), 5);
    let (ns, given) = ("n".repeat(100), "x".repeat(250));
    let long = format!(r#""org_id":"{}""#, "v".repeat(256));
    assert_eq!(c.cmd(["CONFIG", "SET", "apikey.max-tags", "64"]).is_error(), !has_config());
    let most = if has_config() { 64 } else { 16 };
    let many: Vec<String> = (0..most).map(|n| format!("{given}{n}")).collect();
    let all = made(&mut c, &long, &format!("NS {ns} TAGS {most} {}", many.join(" ")));
    assert_eq!((all.len(), all[0].len()), (1 + most, 100 + 14 + 256));
    assert_eq!(c.cmd(["APIKEY.TAGINVAL", &all[0]]), int(1));
    assert_eq!(c.code("k"), "MISS");
    // The caller's bounds are what they were.
    let many = [many, vec!["more".into()]].concat().join(" ");
    assert_eq!(
        stored(&mut c, "k", r#""org_id":7"#, &format!("TAGS {} {many}", most + 1)),
        error(&format!("ERR TAGS count must be between 1 and {most}"))
    );
    assert_eq!(
        stored(&mut c, "k", r#""org_id":7"#, &format!("TAGS 1 {}", "x".repeat(257))),
        error("ERR a tag of TAGS must be between 1 and 256 bytes")
    );
    reclaimed(&mut c);
    assert_exact(&server);
}

fn has_config() -> bool {
    kind().has_module_config()
}

#[test]
fn one_call_kills_all_records_and_lists_of_an_organisation() {
    let server = tagging().setting("sync-reclaim", "0").start();
    let mut c = server.client();
    for (key, org, options) in [
        ("a", "7", ""),
        ("b", "\"7\"", "TAGS 1 x"),
        ("c", "8", ""),
        ("d", "7", "NS acme:"),
        ("e", "null", ""),
    ] {
        assert_eq!(stored(&mut c, key, &format!(r#""org_id":{org}"#), options), ok());
    }
    let record = |org: u32| format!(r#"{{"id":"k","is_active":true,"org_id":{org}}}"#);
    c.list("l78", &[record(7), record(8), record(7)], "TAGS 1 x");
    c.list("l8", &[record(8)], "NS acme:");
    let token = c.must("APIKEY.TOKEN m").text();
    let warmed = ["APIKEY.MSETVAL", "2", "m7", &record(7), "m8", &record(8), "TOKEN", &token];
    assert_eq!(c.cmd(warmed), int(2));
    assert_eq!(
        tags(&mut c, "l78"),
        ["apikey:user:u1", "apikey:kind:list", "apikey:org_id:7", "apikey:org_id:8", "x"]
    );
    assert_eq!(
        tags(&mut c, "l8"),
        ["acme:apikey:user:u1", "acme:apikey:kind:list", "acme:apikey:org_id:8"]
    );
    // A decision and an absent key have no record.
    c.decide("s", "r a ALLOW", "");
    let token = c.must("APIKEY.TOKEN none").text();
    assert_eq!(c.must(&format!("APIKEY.SETABSENT none TOKEN {token}")), ok());
    assert_eq!(tags(&mut c, "s").len(), 3);
    assert_eq!(tags(&mut c, "none").len(), 1);

    assert_eq!(c.must("APIKEY.TAGCARD apikey:org_id:7"), int(4));
    assert_exact(&server);
    assert_eq!(c.invalidate("apikey:org_id:7"), 4);
    assert_eq!(c.codes(["a", "b", "c", "d", "e"]), ["MISS", "MISS", "VALID", "VALID", "VALID"]);
    assert_eq!(c.codes(["m7", "m8"]), ["MISS", "UNVERIFIED"]);
    let hit = |c: &mut Client, key: &str| code_of(&c.must(&format!("APIKEY.GETLIST {key}")));
    assert_eq!((hit(&mut c, "l78"), hit(&mut c, "l8")), ("MISS".into(), "HIT".into()));
    assert_eq!(c.invalidate("acme:apikey:org_id:8"), 1);
    assert_eq!(hit(&mut c, "l8"), "MISS");
    assert_eq!(c.invalidate("acme:apikey:org_id:7"), 1);
    reclaimed(&mut c);
    assert_exact(&server);
}

#[test]
fn what_can_be_no_tag_is_refused_with_the_field_and_the_bound() {
    let server = tagging().setting("digest-field", "hash").start();
    let mut c = server.client();
    let long = format!("\"{}\"", "x".repeat(257));
    for value in ["\"\"", "1.5", "1e3", "true", "false", "{}", "[7]", "\"\\ud800\"", &long] {
        for field in ["org_id", "plan"] {
            assert_eq!(
                stored(&mut c, "k", &format!(r#""{field}":{value}"#), ""),
                error(&format!("BADRECORD {field} {BOUND}")),
                "{value}"
            );
        }
    }
    assert_eq!(
        stored(&mut c, "k", r#""org_id":null,"org\u005fid":7"#, ""),
        error("BADRECORD org_id is given twice")
    );
    let (good, bad) = (with(r#""org_id":7"#), with(r#""org_id":true"#));
    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(
        c.cmd(["APIKEY.MSETVAL", "2", "a", &good, "b", &bad, "TOKEN", &token]),
        error(&format!("BADRECORD record 2: org_id {BOUND}"))
    );
    assert_eq!(
        c.cmd(["APIKEY.SETLIST", "l", "u", &format!("[{good},{bad}]"), "TOKEN", &token]),
        error(&format!("BADRECORD element 2 of records: org_id {BOUND}"))
    );
    let setlist = |c: &mut Client, orgs: u32| {
        let records: Vec<String> =
            (0..200).map(|n| with(&format!(r#""org_id":{}"#, n % orgs))).collect();
        let records = format!("[{}]", records.join(","));
        c.cmd(["APIKEY.SETLIST", "l", "u", &records, "TOKEN", &token])
    };
    assert_eq!(
        setlist(&mut c, 65),
        error(
            "BADRECORD records must make at most 64 different tags of the fields that \
             apikey.tag-fields names"
        )
    );
    assert_eq!(c.must("DBSIZE"), int(0), "nothing was stored");
    assert_eq!(setlist(&mut c, 64), ok());
    assert_eq!(tags(&mut c, "l").len(), 66);
    assert_exact(&server);
    if has_config() {
        c.must("CONFIG SET apikey.digest-field plan");
        assert_eq!(
            stored(&mut c, "k", r#""plan":null"#, ""),
            error(
                "BADRECORD plan must not be both apikey.digest-field and one of apikey.tag-fields"
            )
        );
    }
}

#[test]
fn what_becomes_of_a_field_is_another_matter_than_its_tag() {
    let server = Server::builder()
        .setting("tag-fields", "owner,status,gone,expiresAt,name")
        .setting("field-names", "user_id=owner,name=label")
        .setting("dropped-fields", "status")
        .setting("inactive-fields", "gone")
        .setting("max-name-length", "3")
        .start();
    let mut c = server.client();
    let set = |c: &mut Client, fields: &str| {
        let record = format!(r#"{{"id":"k","is_active":true,{fields}}}"#);
        c.cmd(["APIKEY.SETVAL", "k", &record, "SECRET", SECRET])
    };
    // By the name that stands in the record, and not by the one that it is mapped to.
    assert_eq!(set(&mut c, r#""owner":7,"label":"long","status":"on""#), ok());
    assert_eq!(
        tags(&mut c, "k"),
        [
            "apikey:id:k",
            "apikey:user:7",
            "apikey:kind:record",
            "apikey:owner:7",
            "apikey:status:on"
        ]
    );
    assert_eq!(
        c.must("APIKEY.VALIDATE k").items()[1],
        bulk(r#"{"id":"k","is_active":true,"user_id":7,"name":"lon"}"#)
    );
    assert_eq!(set(&mut c, r#""gone":1"#), ok());
    assert_eq!(c.code("k"), "DISABLED");
    assert_eq!(c.must("APIKEY.TAGCARD apikey:gone:1"), int(1));
    let refused = set(&mut c, r#""expiresAt":null"#).text();
    assert!(refused.starts_with("BADRECORD expiresAt is not kept"), "{refused}");
    assert_eq!(set(&mut c, r#""expiresAt":{}"#), error(&format!("BADRECORD expiresAt {BOUND}")));
}

#[test]
fn a_fill_that_looked_before_the_organisation_was_invalidated_is_refused() {
    let server = tagging().start();
    let mut c = server.client();
    let fills = |token: &str, org: u32, ns: &str| {
        let record = with(&format!(r#""org_id":{org}"#));
        [
            vec!["APIKEY.SETVAL".to_string(), "k".into(), record.clone()],
            ["APIKEY.MSETVAL", "1", "m", &record].map(String::from).to_vec(),
            vec!["APIKEY.SETLIST".to_string(), "l".into(), "u".into(), format!("[{record}]")],
        ]
        .map(|call| [call, args(&format!("TOKEN {token} {ns}"))].concat())
    };
    let token = c.must("APIKEY.TOKEN any").text();
    assert_eq!(c.invalidate("apikey:org_id:7"), 0);
    for call in fills(&token, 7, "") {
        assert!([nil(), int(0)].contains(&c.cmd(&call)), "{call:?}");
    }
    assert_eq!(c.must("DBSIZE"), int(0));
    for call in fills(&token, 8, "").iter().chain(&fills(&token, 7, "NS acme:")) {
        assert!([ok(), int(1)].contains(&c.cmd(call)), "{call:?}");
    }
    let token = c.must("APIKEY.TOKEN any").text();
    for call in fills(&token, 7, "") {
        assert!([ok(), int(1)].contains(&c.cmd(&call)), "{call:?}");
    }
    assert_exact(&server);
}

/// Records, and lists, with every form of such a tag; more of them, and longer ones, than a caller may give.
#[track_caller]
fn populate_with_tags(c: &mut Client) -> Vec<String> {
    let (long, ns) = ("v".repeat(256), "n".repeat(100));
    assert_eq!(stored(c, "a", r#""org_id":7"#, "TAGS 1 x"), ok());
    assert_eq!(
        stored(c, "b", &format!(r#""org_id":"{long}","plan":"\u0000""#), &format!("NS {ns}")),
        ok()
    );
    let token = c.must("APIKEY.TOKEN m").text();
    let record = with(r#""org_id":7"#);
    assert_eq!(c.cmd(["APIKEY.MSETVAL", "1", "m", &record, "TOKEN", &token]), int(1));
    let orgs = |n: u32| with(&format!(r#""org_id":"{}{n}""#, "v".repeat(250)));
    let records: Vec<String> = (0..64).map(orgs).collect();
    let most: Vec<String> = (0..16).map(|n| format!("{}{n}", "t".repeat(250))).collect();
    c.list("l", &records, &format!("NS {ns} TAGS 16 {}", most.join(" ")));
    c.list("plain", &[record], "");
    carried(c)
}

/// Each key of [`populate_with_tags`] with its tags.
#[track_caller]
fn carried(c: &mut Client) -> Vec<String> {
    ["a", "b", "m", "l", "plain"].map(|key| format!("{key}: {:?}", tags(c, key))).to_vec()
}

#[test]
fn a_replica_has_the_tags_that_its_primary_has_made_whatever_its_own_setting_says() {
    let primary = tagging().start();
    let replica = Server::builder().setting("tag-fields", "name,id2,is_active").start();
    let late = Server::start();
    replica.replicate(&primary);
    let mut c = primary.client();
    let all = populate_with_tags(&mut c);
    // Where the replica would make tags of its own.
    assert_eq!(stored(&mut c, "named", r#""name":"n","org_id":7"#, ""), ok());
    c.list("names", &[with(r#""name":"n","org_id":9"#)], "");
    late.replicate(&primary);
    for node in [&replica, &late] {
        node.in_sync_with(&primary);
        assert_nothing_was_refused(node);
        assert_eq!(node.digest(), primary.digest());
        let mut r = node.client();
        assert_eq!(carried(&mut r), all);
        assert_eq!(tags(&mut r, "named").split_off(3), ["apikey:org_id:7"]);
        assert_eq!(tags(&mut r, "names").split_off(2), ["apikey:org_id:9"]);
        assert_exact(node);
    }
    assert_eq!(c.invalidate("apikey:org_id:7"), 4);
    for node in [&replica, &late] {
        node.in_sync_with(&primary);
        let mut r = node.client();
        assert_eq!(r.codes(["a", "b", "m", "named"]), ["MISS", "VALID", "MISS", "MISS"]);
        assert_eq!(node.digest(), primary.digest());
        assert_exact(node);
    }
}

#[test]
fn what_is_loaded_has_the_tags_that_it_was_stored_with() {
    let mut server = tagging().start();
    let all = populate_with_tags(&mut server.client());
    let other = |builder: Builder| builder.setting("tag-fields", "is_active");
    server.restart_with(Stop::Save, other);
    assert_eq!(carried(&mut server.client()), all, "an RDB");
    assert_exact(&server);
    server.client().must("DEBUG RELOAD");
    assert_eq!(carried(&mut server.client()), all);
    assert_exact(&server);
    for preamble in [false, true] {
        let mut server = tagging().with_aof(preamble).start();
        let all = populate_with_tags(&mut server.client());
        let digest = server.digest();
        server.restart_with(Stop::Kill, other);
        assert_nothing_was_refused(&server);
        assert_eq!(carried(&mut server.client()), all, "an AOF as it was written");
        assert_eq!(server.digest(), digest);
        server.rewrite_aof();
        server.restart(Stop::Kill);
        assert_nothing_was_refused(&server);
        assert_eq!(carried(&mut server.client()), all, "an AOF that was rewritten");
        assert_eq!(server.digest(), digest);
        assert_eq!(server.client().invalidate("apikey:org_id:7"), 3);
        assert_exact(&server);
    }
}

/// What comes by RESTORE is dead; DESCRIBE shows its tags, and whoever makes an RDB of it keeps them.
#[test]
fn a_dump_carries_them() {
    let (server, other) = (tagging().start(), Server::start());
    let (mut c, mut o) = (server.client(), other.client());
    populate_with_tags(&mut c);
    hold(&mut o);
    for key in ["a", "b", "m", "l", "plain"] {
        let dump = c.cmd(["DUMP", key]);
        let restore = [b"RESTORE".as_slice(), key.as_bytes(), b"0", dump.bytes(), b"REPLACE"];
        assert_eq!(o.cmd(restore), ok(), "{key}");
        let described = o.cmd(["APIKEY.DESCRIBE", key]);
        assert_eq!(described.get("live"), &int(0));
        let tags: Vec<String> = described.get("tags").items().iter().map(Reply::text).collect();
        assert_eq!(tags, self::tags(&mut c, key), "{key}");
    }
    assert_exact(&other);
}

#[test]
fn what_is_stored_stays_as_it_is_when_the_setting_changes() {
    if !has_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    let fields = r#""org_id":7,"plan":"pro""#;
    assert_eq!(stored(&mut c, "before", fields, ""), ok());
    c.must("CONFIG SET apikey.tag-fields org_id");
    assert_eq!(tags(&mut c, "before").len(), 3);
    assert_eq!(made(&mut c, fields, ""), ["apikey:org_id:7"]);
    c.must("CONFIG SET apikey.tag-fields plan");
    assert_eq!(tags(&mut c, "k").split_off(3), ["apikey:org_id:7"]);
    assert_eq!(stored(&mut c, "after", fields, ""), ok());
    assert_eq!(tags(&mut c, "after").split_off(3), ["apikey:plan:pro"]);
    assert_eq!(c.cmd(["CONFIG", "SET", "apikey.tag-fields", ""]), ok());
    assert_exact(&server);
    assert_eq!(c.invalidate("apikey:org_id:7"), 1);
    assert_eq!(c.codes(["before", "k", "after"]), ["VALID", "MISS", "VALID"]);
    assert_eq!(made(&mut c, fields, ""), [""; 0]);
    assert_exact(&server);
}

#[test]
fn where_fills_are_checked_they_are_as_the_other_automatic_tags() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = tagging().setting("check-fill-tags", "yes").start();
    let mut c = user(&server, "resetkeys ~acme:* ~apikey:id:* ~apikey:user:* ~apikey:kind:* +@all");
    let no_tag = |what: &str| {
        error(&format!(
            "NOPERM No permissions to store tag {what}: it has to match a key pattern with write permission"
        ))
    };
    let org = r#""org_id":7"#;
    assert_eq!(stored(&mut c, "acme:k", org, ""), no_tag("4"));
    assert_eq!(stored(&mut c, "acme:k", org, "TAGS 1 acme:x"), no_tag("4"));
    let token = c.must("APIKEY.TOKEN acme:k").text();
    let (record, list) = (with(org), format!("[{}]", with(org)));
    let plain = with(r#""org_id":null"#);
    let two = ["APIKEY.MSETVAL", "2", "acme:a", &plain, "acme:b", &record, "TOKEN", &token];
    assert_eq!(c.cmd(two), no_tag("4 of record 2"));
    let setlist = ["APIKEY.SETLIST", "acme:l", "u", &list, "TOKEN", &token];
    assert_eq!(c.cmd(setlist), no_tag("3"));
    assert_eq!(c.cmd([&two[..], &["NS", "acme:"]].concat()), int(2));
    assert_eq!(c.cmd([&setlist[..], &["NS", "acme:"]].concat()), ok());
    assert_eq!(stored(&mut c, "acme:k", org, "NS acme:"), ok());
    assert_eq!(c.invalidate("acme:apikey:org_id:7"), 3);
    assert!(c.run("APIKEY.TAGINVAL apikey:org_id:7").is_error());
}
