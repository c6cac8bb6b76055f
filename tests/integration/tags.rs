//! TAGS, TAGINVAL and INVAL: what an entry carries, and what is killed by it.

use crate::harness::*;

#[test]
fn tags_names_the_automatic_tags_and_the_callers() {
    let server = Server::start();
    let mut c = server.client();
    let tags = |c: &mut Client| -> Vec<String> {
        let reply = c.must("APIKEY.TAGS k");
        let mut tags: Vec<String> = reply.items().iter().map(Reply::text).collect();
        tags.sort();
        tags
    };
    assert_eq!(c.must("APIKEY.TAGS k"), array([]));
    c.fill("k", &[]);
    assert_eq!(tags(&mut c), ["apikey:id:id", "apikey:kind:record", "apikey:user:u1"]);
    c.fill("k", &["b", "a", "b", "apikey:id:id"]);
    assert_eq!(tags(&mut c), ["a", "apikey:id:id", "apikey:kind:record", "apikey:user:u1", "b"]);
    let json = r#"{"id":7,"user_id":"a\u00e9","is_active":true}"#;
    c.cmd(["APIKEY.SETVAL", "k", json, "NS", "acme:", "TAGS", "1", "x"]);
    assert_eq!(
        tags(&mut c),
        ["acme:apikey:id:7", "acme:apikey:kind:record", "acme:apikey:user:aé", "x"]
    );
    c.must("RENAME k other");
    assert_eq!(c.must("APIKEY.TAGS other"), array([]), "a dead entry carries nothing");
    let binary = [b"APIKEY.SETVAL".as_slice(), b"k", json.as_bytes(), b"TAGS", b"1", b"\0\xff"];
    assert_eq!(c.cmd(binary), ok());
    assert!(c.must("APIKEY.TAGS k").items().contains(&bulk(b"\0\xff")));
}

#[test]
fn taginval_kills_what_carries_a_tag_and_counts_each_entry_once() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.TAGINVAL none"), int(0));
    for (key, tags) in [("a", &["x", "y"]), ("b", &["x", "z"]), ("c", &["y", "z"])] {
        c.fill(key, tags);
    }
    assert_eq!(c.must("APIKEY.TAGINVAL x"), int(2));
    assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "MISS", "VALID"]);
    assert!(!c.exists("a"));
    assert_eq!(c.must("APIKEY.TAGINVAL x"), int(0));
    c.fill("a", &["x", "y"]);
    c.fill("b", &["x"]);
    assert_eq!(c.must("APIKEY.TAGINVAL x y x none"), int(3), "shared tags count an entry once");
    assert_eq!(c.must("DBSIZE"), int(0));
    for (key, tag, killed) in [
        ("a", "apikey:id:id", 1),
        ("a", "apikey:user:u1", 1),
        ("a", "apikey:kind:record", 1),
        ("a", "apikey:user:u", 0),
        ("a", "Apikey:user:u1", 0),
    ] {
        c.fill(key, &[]);
        assert_eq!(c.invalidate(tag), killed, "{tag}");
    }
    // Tags live in the database of the entry.
    c.select(1);
    assert_eq!(c.invalidate("apikey:id:id"), 0);
    c.select(0);
    assert_eq!(c.code("a"), "VALID");
    assert_exact(&server);
}

#[test]
fn inval_removes_entries_by_key_and_counts_the_live_ones() {
    let server = Server::start();
    let mut c = server.client();
    assert_eq!(c.must("APIKEY.INVAL none"), int(0));
    hold(&mut c);
    for key in ["a", "b", "c", "from"] {
        c.fill(key, &["t"]);
    }
    c.must("RENAME from dead");
    assert_eq!(c.must("APIKEY.INVAL a none b a dead"), int(2), "each once, and no dead one");
    assert_eq!(c.codes(["a", "b", "c"]), ["MISS", "MISS", "VALID"]);
    assert_eq!(c.must("KEYS *"), array([bulk("c")]));
    // The key of the selected database alone.
    c.select(1);
    c.fill("c", &["t"]);
    c.select(0);
    assert_eq!(c.must("apikey.inval c"), int(1));
    c.select(1);
    assert_eq!(c.code("c"), "VALID");
    assert_eq!(c.invalidate("t"), 1);
    let binary = b"\0\xff\r\n".as_slice();
    let json = record("k", "u");
    assert_eq!(c.cmd([b"APIKEY.SETVAL".as_slice(), binary, json.as_bytes()]), ok());
    assert_eq!(c.cmd([b"APIKEY.INVAL".as_slice(), binary]), int(1));
    assert_eq!(c.must("DBSIZE"), int(0));
    assert_exact(&server);
}
