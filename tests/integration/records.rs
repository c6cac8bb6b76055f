//! A record over a real connection: what is kept comes out equal, what is not kept is gone, and the
//! limits are those that are configured.

use crate::harness::*;
use serde_json::{json, Value as Json};

/// Stores a record and gives what VALIDATE shows of it, as text.
#[track_caller]
fn through(c: &mut Client, record: &str) -> String {
    assert_eq!(c.cmd(["APIKEY.SETVAL", "k", record]), ok(), "{record}");
    let reply = c.must("APIKEY.VALIDATE k");
    String::from_utf8(reply.items()[1].bytes().to_vec()).expect("UTF-8")
}

#[track_caller]
fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn with(field: &str) -> String {
    format!(r#"{{"id":"k","user_id":"u","is_active":true,{field}}}"#)
}

#[test]
fn the_text_of_a_kept_field_comes_out_as_it_went_in() {
    let server = Server::start();
    let mut c = server.client();
    for field in [
        // Integers beyond 2^53, and beyond 64 bits.
        r#""created_at":9007199254740993"#,
        r#""created_at":-9007199254740993"#,
        r#""created_at":18446744073709551616"#,
        r#""updated_at":123456789012345678901234567890123456789012345678901234567890"#,
        // Numbers that a double can't say, or says in another way.
        r#""created_at":0.1"#,
        r#""created_at":1.10"#,
        r#""created_at":1E+2"#,
        r#""created_at":-0"#,
        r#""created_at":3.141592653589793238462643383279"#,
        // Escapes of every kind.
        r#""name":"\" \\ \/ \b \f \n \r \t \u0000 \u001f \u007f""#,
        r#""name":"\u00e9\u4e2d\ud83d\ude00""#,
        // Characters of one to four bytes, unescaped.
        "\"name\":\"aé中😀 \u{7f} \u{2028}\u{2029} \u{200d}\u{feff}\u{10ffff}\"",
        "\"key_prefix\":\"e\u{301} \u{202e}abc\"",
        r#""name":"""#,
        r#""name":null"#,
        r#""key_prefix":null"#,
        r#""scopes":["a",{"actions":[],"resource":""},"\u0061"]"#,
        r#""scopes":[]"#,
        r#""expires_at":"2099-01-01T00:00:00.123456+01:00""#,
        r#""expires_at":4102444800000"#,
        r#""created_at":{"any":["shape",{"deep":true}]},"updated_at":[]"#,
    ] {
        let record = with(field);
        assert_eq!(through(&mut c, &record), record);
    }
    for ids in [
        r#""id":9007199254740993,"user_id":-1"#,
        r#""id":"\u006b\"","user_id":"é😀""#,
        r#""id":18446744073709551616,"user_id":0"#,
    ] {
        let record = format!(r#"{{{ids},"is_active":true}}"#);
        assert_eq!(through(&mut c, &record), record);
    }
    assert_exact(&server);
}

#[test]
fn space_between_fields_goes_and_their_order_stays() {
    let server = Server::start();
    let mut c = server.client();
    let record = " {\r\n\t\"user_id\" : \"u\" , \"scopes\" : [ \"a\" ,\n\"b\" ] ,\"is_active\":true,\"id\": 1 }\n";
    assert_eq!(
        through(&mut c, record),
        "{\"user_id\":\"u\",\"scopes\":[ \"a\" ,\n\"b\" ],\"is_active\":true,\"id\":1}"
    );
    // The name of a field is the same however it is escaped.
    let escaped = r#"{"\u0069d":"k","user_id":"u","is_active":true}"#;
    assert_eq!(through(&mut c, escaped), record_of("k"));
}

fn record_of(id: &str) -> String {
    record(id, "u")
}

#[test]
fn any_text_comes_out_equal() {
    let server = Server::start();
    let mut c = server.client();
    let mut rng = Rng::from_env(7);
    for _ in 0..300 {
        let mut text = || -> String {
            let length = rng.below(20);
            (0..length)
                .map(|_| {
                    // Most code points, and many that JSON escapes.
                    let most = [0x20, 0x80, 0x800, 0x1_0000, 0x11_0000][rng.below(5)];
                    char::from_u32(rng.below(most) as u32).unwrap_or('"')
                })
                .collect()
        };
        let value = json!({
            "id": format!("k{}", text()).chars().take(30).collect::<String>(),
            "user_id": 42, "is_active": true, "name": text(), "key_prefix": text(),
            "scopes": [format!("s{}", text()), {"resource": "r", "actions": [format!("a{}", text())]}],
            "created_at": [text(), {text(): text()}],
        });
        assert_eq!(parsed(&through(&mut c, &value.to_string())), value);
    }
}

#[test]
fn what_is_not_kept_is_gone() {
    let server = Server::start();
    let mut c = server.client();
    let dropped = [
        r#""key_hash":"5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8""#,
        r#""KEY_HASH":"x""#,
        r#""secret":"s""#,
        r#""metadata":{"id":"other","user_id":1}"#,
        r#""Name":"n""#,
        r#""id ":"x""#,
        r#""":null"#,
        r#""twice":1,"twice":2"#,
        // Not even looked at, other than for being JSON.
        r#""half":"\ud800""#,
        r#""huge":1e999"#,
    ];
    for field in dropped {
        assert_eq!(through(&mut c, &with(field)), record_of("k"), "{field}");
    }
    assert_eq!(through(&mut c, &with(&dropped.join(","))), record_of("k"));
    let deep = format!(r#""deep":{}{}"#, "[".repeat(7000), "]".repeat(7000));
    assert_eq!(through(&mut c, &with(&deep)), record_of("k"));
    // Nowhere in what is saved either.
    let dump = c.must("DUMP k");
    assert_eq!(streams::find(dump.bytes(), b"deep"), None);
}

#[test]
fn fields_that_are_configured_are_kept_too() {
    let server = Server::builder().setting("extra-fields", "rate_limit tenant").start();
    let mut c = server.client();
    let record = with(r#""rate_limit":{"rpm":9007199254740993},"tenant":"a\u0000b""#);
    assert_eq!(through(&mut c, &record), record);
    assert_eq!(through(&mut c, &with(r#""tenant":1,"other":2"#)), with(r#""tenant":1"#));
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &with(r#""tenant":1,"tenant":2"#)]),
        error("BADRECORD tenant is given twice")
    );
    let nested =
        |levels| with(&format!(r#""tenant":{}{}"#, "[".repeat(levels), "]".repeat(levels)));
    assert_eq!(through(&mut c, &nested(32)), nested(32));
    let too_deep = [r#"{"a":["#.repeat(17), "]}".repeat(17)].concat();
    let too_deep = format!(r#""tenant":{too_deep}"#);
    for field in [r#""tenant":1e999"#, r#""tenant":"\udc00""#, &too_deep] {
        assert_eq!(
            c.cmd(["APIKEY.SETVAL", "k", &with(field)]),
            error(
                "BADRECORD tenant must be JSON that any parser takes: at most 32 levels, whole \
                 characters, numbers in the range of a double"
            )
        );
    }
    if server::kind().has_module_config() {
        c.must("CONFIG SET apikey.extra-fields other");
        assert_eq!(through(&mut c, &record), record_of("k"));
        assert_eq!(through(&mut c, &with(r#""other":[1]"#)), with(r#""other":[1]"#));
        c.cmd(["CONFIG", "SET", "apikey.extra-fields", ""]);
        assert_eq!(through(&mut c, &with(r#""other":[1]"#)), record_of("k"));
    }
}

#[test]
fn the_digest_field_gives_the_digest_and_is_dropped() {
    let server = Server::builder().setting("digest-field", "key_hash").start();
    let mut c = server.client();
    let other = "00".repeat(32);
    let upper = DIGEST.to_uppercase();
    for (value, code, of_other) in [
        (format!("\"{DIGEST}\""), "VALID", "MISMATCH"),
        (format!("\"{upper}\""), "VALID", "MISMATCH"),
        (format!("[\"{DIGEST}\"]"), "VALID", "MISMATCH"),
        (format!("[\"{other}\",\"{DIGEST}\"]"), "VALID", "VALID"),
        (format!("\"{other}\""), "MISMATCH", "VALID"),
        ("null".into(), "UNVERIFIED", "UNVERIFIED"),
    ] {
        assert_eq!(through(&mut c, &with(&format!("\"key_hash\":{value}"))), record_of("k"));
        assert_eq!(c.code("k"), code, "{value}");
        let reply = c.run(&format!("APIKEY.VALIDATE k DIGEST {other}"));
        assert_eq!(code_of(&reply), of_other, "{value}");
    }
    // Without the field, or with none in it, the options say.
    for record in [record_of("k"), with("\"key_hash\":null")] {
        assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &record, "SECRET", SECRET]), ok());
        assert_eq!(c.code("k"), "VALID");
    }
    let set = [&format!("{{\"key_hash\":\"{DIGEST}\","), &record_of("k")[1..]].concat();
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &set, "SECRET", SECRET]),
        error("ERR SECRET and DIGEST can't stand beside the record's own digest field")
    );
}

#[test]
fn a_name_is_cut_at_a_character_boundary() {
    let server = Server::builder().setting("max-name-length", "10").start();
    let mut c = server.client();
    for (name, kept) in [
        ("0123456789", "0123456789"),
        ("0123456789x", "0123456789"),
        ("012345678é", "012345678"),
        ("01234567é", "01234567é"),
        ("😀😀😀", "😀😀"),
        ("\"\\\n\t\r\u{0}\u{1}\u{2}\"\"\"\"", "\"\\\n\t\r\u{0}\u{1}\u{2}\"\""),
    ] {
        let record = json!({"id": "k", "user_id": "u", "is_active": true, "name": name});
        let mut expected = record.clone();
        expected["name"] = json!(kept);
        assert_eq!(parsed(&through(&mut c, &record.to_string())), expected);
    }
    // The default is 100 bytes.
    let server = Server::start();
    let mut c = server.client();
    let name = |length: usize| with(&format!("\"name\":\"{}\"", "n".repeat(length)));
    assert_eq!(through(&mut c, &name(100)), name(100));
    assert_eq!(through(&mut c, &name(101)), name(100));
}

#[test]
fn the_largest_record_is_kept_and_one_byte_more_is_refused() {
    for (limit, refused) in [
        (None, "BADRECORD record must be at most 16384 bytes"),
        (Some(64), "BADRECORD record must be at most 64 bytes"),
        (Some(1_048_576), "BADRECORD record must be at most 1048576 bytes"),
    ] {
        let mut builder = Server::builder();
        if let Some(limit) = limit {
            builder = builder.setting("max-record-bytes", &limit.to_string());
        }
        let server = builder.start();
        let mut c = server.client();
        let length = limit.unwrap_or(16384);
        let record = |length: usize| {
            let short = r#"{"id":"k","user_id":"u","is_active":true,"key_prefix":""}"#;
            short.replace("\"\"", &format!("\"{}\"", "p".repeat(length - short.len())))
        };
        assert_eq!(record(length).len(), length);
        assert_eq!(through(&mut c, &record(length)), record(length));
        assert_eq!(c.cmd(["APIKEY.SETVAL", "k", &record(length + 1)]), error(refused));
        assert_eq!(c.code("k"), "UNVERIFIED", "what was there is there");
    }
}

#[test]
fn the_most_scopes_are_kept_and_one_more_is_refused() {
    for (limit, most) in [(None, 64), (Some("3"), 3), (Some("0"), 0)] {
        let mut builder = Server::builder();
        if let Some(limit) = limit {
            builder = builder.setting("max-scopes", limit);
        }
        let server = builder.start();
        let mut c = server.client();
        let scopes = |count: usize| {
            let all: Vec<String> = (0..count).map(|n| format!("\"s{n}\"")).collect();
            with(&format!("\"scopes\":[{}]", all.join(",")))
        };
        assert_eq!(through(&mut c, &scopes(most)), scopes(most));
        for n in 0..most {
            let reply = c.must(&format!("APIKEY.VALIDATE k SCOPE s{n}"));
            assert_eq!(code_of(&reply), "UNVERIFIED");
        }
        assert_eq!(
            c.cmd(["APIKEY.SETVAL", "k", &scopes(most + 1)]),
            error(&format!("BADRECORD scopes must have at most {most} elements, each action of an object counted"))
        );
    }
}

#[test]
fn an_id_has_up_to_256_bytes_and_is_part_of_the_tags() {
    let server = Server::start();
    let mut c = server.client();
    let longest = "é".repeat(128);
    for (id, tag) in [
        (format!("\"{longest}\""), format!("apikey:id:{longest}")),
        ("1".repeat(256), format!("apikey:id:{}", "1".repeat(256))),
        ("0".into(), "apikey:id:0".into()),
        ("-7".into(), "apikey:id:-7".into()),
        (r#""\u0061""#.into(), "apikey:id:a".into()),
        (r#""a b""#.into(), "apikey:id:a b".into()),
    ] {
        let record = format!(r#"{{"id":{id},"user_id":"u","is_active":true}}"#);
        assert_eq!(through(&mut c, &record), record);
        assert_eq!(c.cmd(["APIKEY.TAGINVAL", &tag]), int(1), "{id}");
    }
}

#[test]
fn the_most_tags_are_carried() {
    for (limit, most) in [(None, 16), (Some("64"), 64), (Some("1"), 1)] {
        let mut builder = Server::builder();
        if let Some(limit) = limit {
            builder = builder.setting("max-tags", limit);
        }
        let server = builder.start();
        let mut c = server.client();
        let tags: Vec<String> = (0..most).map(|n| format!("{n:0>256}")).collect();
        let line = |tags: &[String]| {
            format!("APIKEY.SETVAL k {} TAGS {} {}", record_of("k"), tags.len(), tags.join(" "))
        };
        assert_eq!(c.run(&line(&tags)), ok());
        assert_eq!(c.must("APIKEY.TAGS k").items().len(), most + 3);
        let more = [tags.clone(), vec!["more".into()]].concat();
        assert_eq!(
            c.run(&line(&more)),
            error(&format!("ERR TAGS count must be between 1 and {most}"))
        );
        assert_eq!(c.cmd(["APIKEY.TAGINVAL", &tags[most - 1]]), int(1));
        assert_exact(&server);
    }
}
