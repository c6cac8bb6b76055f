//! Wrong calls and the exact error of each. After each of them nothing has changed.

use super::calls::*;
use crate::harness::server::{kind, Kind};
use crate::harness::*;

/// A server that has something, and what must stay as it is.
struct Table {
    server: Server,
    c: Client,
    before: Vec<String>,
    /// One that is accepted.
    token: String,
}

impl Table {
    fn new() -> Self {
        let server = Server::start();
        let mut c = server.client();
        region(&mut c, "r LEASE 100000 MAXBYTES 1000000 GRACE 5");
        set(&mut c, "k r v TAGS 1 t PX 5000000");
        c.must("SET str x");
        let token = miss(&mut c, "lease r");
        let before = state(&mut c);
        Self { server, c, before, token }
    }

    #[track_caller]
    fn wrong(&mut self, line: &str, text: &str) {
        let words: Vec<Vec<u8>> = line
            .replace("<t>", &self.token)
            .split(' ')
            .map(|word| match word.strip_prefix('<').and_then(|word| word.strip_suffix('>')) {
                Some("") => Vec::new(),
                Some(count) => vec![b'x'; count.parse().expect("a count of bytes")],
                None => word.into(),
            })
            .collect();
        assert_eq!(self.c.cmd(&words), error(text), "{line:.100}");
        assert_eq!(state(&mut self.c), self.before, "{line:.100}");
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // The token is still good, and the lease still its own.
            assert_eq!(says(&mut self.c, "lease r"), "WAIT");
            assert_eq!(self.c.run(&format!("CACHE.SET lease r v TOKEN {}", self.token)), ok());
            assert_exact(&self.server);
        }
    }
}

fn state(c: &mut Client) -> Vec<String> {
    let stats = c.must("CACHE.STATS");
    // They get older while the test runs.
    let stats: Vec<String> = stats
        .items()
        .iter()
        .map(|of| {
            let names = of.names().into_iter().filter(|name| name != "oldest");
            names.map(|name| format!("{name}={:?} ", of.get(&name))).collect()
        })
        .collect();
    let list = c.must("CACHE.REGION LIST");
    vec![c.must("DEBUG DIGEST").text(), format!("{stats:?}"), format!("{list:?}")]
}

#[test]
fn a_wrong_number_of_arguments_is_told_with_the_commands_name() {
    let mut t = Table::new();
    for (name, wrong) in [
        ("get", vec!["", " k"]),
        ("mget", vec!["", " r"]),
        ("set", vec!["", " k", " k r"]),
        ("mset", vec!["", " r 1 k", " r 1 k v TOKEN"]),
        ("setabsent", vec!["", " k r", " k r TOKEN"]),
        ("fail", vec!["", " k r", " k r TOKEN"]),
        ("taginval", vec![""]),
        ("clear", vec![""]),
        ("patinval", vec![""]),
        ("region", vec![""]),
        ("top", vec![""]),
    ] {
        for rest in wrong {
            let text = format!("ERR wrong number of arguments for 'cache.{name}' command");
            t.wrong(&format!("cache.{name}{rest}"), &text);
        }
    }
}

#[test]
fn a_region_a_namespace_and_a_label_have_bounds() {
    let mut t = Table::new();
    let text = "ERR region must be between 1 and 64 bytes";
    for name in ["<>", "<65>"] {
        for line in [
            "CACHE.GET k @",
            "CACHE.MGET @ k",
            "CACHE.SET k @ v",
            "CACHE.MSET @ 1 k v TOKEN <t>",
            "CACHE.SETABSENT k @ TOKEN <t>",
            "CACHE.FAIL k @ TOKEN <t>",
            "CACHE.CLEAR @",
            "CACHE.REGION SET @",
            "CACHE.REGION GET @",
            "CACHE.REGION DEL @",
            "CACHE.STATS @",
            "CACHE.TOP @",
        ] {
            t.wrong(&line.replace('@', name), text);
        }
        let text = "ERR REGION must be between 1 and 64 bytes";
        t.wrong(&format!("CACHE.PATINVAL k REGION {name}"), text);
    }
    for line in [
        "CACHE.GET k r",
        "CACHE.SET k r v",
        "CACHE.CLEAR r",
        "CACHE.STATS r",
        "CACHE.TOP r",
        "CACHE.REGION GET r",
    ] {
        for ns in ["<>", "<101>"] {
            t.wrong(&format!("{line} NS {ns}"), "ERR NS must be between 1 and 100 bytes");
        }
        t.wrong(&format!("{line} NS"), "ERR NS has no value");
        t.wrong(&format!("{line} NS a NS b"), "ERR NS is given twice");
    }
    for label in ["<>", "<65>"] {
        let text = "ERR LABEL must be between 1 and 64 bytes";
        t.wrong(&format!("CACHE.SET k r v LABEL {label}"), text);
        t.wrong(&format!("CACHE.MSET r 1 k v TOKEN <t> LABEL {label}"), text);
    }
    // The longest are right.
    let (name, ns, label) = ("x".repeat(64), "n".repeat(100), "l".repeat(64));
    set(&mut t.c, &format!("long {name} v NS {ns} LABEL {label}"));
    assert_eq!(t.c.must(&format!("CACHE.CLEAR {name} NS {ns}")), int(1));
}

#[test]
fn options_are_told_by_their_name_and_bound() {
    let mut t = Table::new();
    for (rest, text) in [
        ("GRACE -1", "ERR GRACE must be between 0 and 31536000000"),
        ("GRACE 31536000001", "ERR GRACE must be between 0 and 31536000000"),
        ("GRACE x", "ERR GRACE must be between 0 and 31536000000"),
        ("EX 0", "ERR EX must be between 1 and 100000000000"),
        ("PX 100000000000001", "ERR PX must be between 1 and 100000000000000"),
        ("EXAT 0", "ERR EXAT must be between 1 and 100000000000"),
        ("PXAT x", "ERR PXAT must be between 1 and 100000000000000"),
        ("EX 1 PX 1", "ERR EX and PX exclude each other"),
        ("TAGS 0", "ERR TAGS count must be between 1 and 16"),
        ("TAGS 17", "ERR TAGS count must be between 1 and 16"),
        ("TAGS 2 a", "ERR TAGS has fewer tags than its count"),
        ("TAGS 1 <>", "ERR a tag of TAGS must be between 1 and 256 bytes"),
        ("EX 5 EX 5", "ERR EX is given twice"),
    ] {
        t.wrong(&format!("CACHE.SET k r v {rest}"), text);
        t.wrong(&format!("CACHE.MSET r 1 k v TOKEN <t> {rest}"), text);
        if !rest.starts_with("GRACE") {
            t.wrong(&format!("CACHE.SETABSENT k r TOKEN <t> {rest}"), text);
        }
    }
    for (line, text) in [
        ("CACHE.SET k r v NX XX", "ERR NX and XX exclude each other"),
        ("CACHE.SET k r v KEEPTTL EX 1", "ERR KEEPTTL and EX exclude each other"),
        ("CACHE.SET k r v FOO", "ERR unknown option at argument 4"),
        ("CACHE.GET k r FOO", "ERR unknown option at argument 3"),
        ("CACHE.MSET r 1 k v TOKEN <t> XX", "ERR unknown option at argument 7"),
        ("CACHE.MSET r 1 k v TOKEN <t> KEEPTTL", "ERR unknown option at argument 7"),
        ("CACHE.SETABSENT k r TOKEN <t> LABEL l", "ERR unknown option at argument 5"),
        ("CACHE.SETABSENT k r TOKEN <t> GRACE 5", "ERR unknown option at argument 5"),
        ("CACHE.FAIL k r TOKEN <t> BACKOFF -1", "ERR BACKOFF must be between 0 and 600000"),
        ("CACHE.FAIL k r TOKEN <t> BACKOFF 600001", "ERR BACKOFF must be between 0 and 600000"),
        ("CACHE.TOP r COUNT 0", "ERR COUNT must be between 1 and 512"),
        ("CACHE.TOP r COUNT 513", "ERR COUNT must be between 1 and 512"),
        ("CACHE.TOP r BY SIZE", "ERR BY must be HITS or BYTES"),
        ("CACHE.PATINVAL <>", "ERR pattern must be between 1 and 512 bytes"),
        ("CACHE.PATINVAL <513>", "ERR pattern must be between 1 and 512 bytes"),
        ("CACHE.PATINVAL k NS n:", "ERR NS without REGION says nothing: it is a region's"),
        ("CACHE.TAGINVAL <>", "ERR a tag must be between 1 and 512 bytes"),
        ("CACHE.TAGINVAL SOFT a <>", "ERR a tag must be between 1 and 512 bytes"),
    ] {
        t.wrong(line, text);
    }
}

#[test]
fn a_token_is_required_where_a_writer_has_no_word_and_is_checked_everywhere() {
    let mut t = Table::new();
    let text = "ERR TOKEN must be one that a MISS or apikey.token gave";
    for token in ["<>", "x", "1-2-3-"] {
        for line in
            ["CACHE.SET k r v", "CACHE.MSET r 1 k v", "CACHE.SETABSENT k r", "CACHE.FAIL k r"]
        {
            t.wrong(&format!("{line} TOKEN {token}"), text);
        }
    }
    let missing = "ERR TOKEN is required: what a reader did not find may have come since it looked";
    t.wrong("CACHE.SETABSENT k r PX 5", missing);
    let missing = "ERR TOKEN is required: what a reader loaded may have changed since";
    t.wrong("CACHE.MSET r 1 k v PX 5 NX", missing);
    let missing = "ERR TOKEN is required: it is the lease of the token that is given back";
    t.wrong("CACHE.FAIL lease r BACKOFF 5", missing);
}

#[test]
fn how_many_keys_and_tags_a_call_may_name_is_bounded() {
    let mut t = Table::new();
    let keys = |n: usize| (0..n).map(|n| format!(" none{n}")).collect::<String>();
    t.wrong(
        &format!("CACHE.MGET r{}", keys(1001)),
        "ERR the number of keys must be between 1 and 1000",
    );
    for soft in ["", " SOFT"] {
        t.wrong(
            &format!("CACHE.TAGINVAL{soft}{}", keys(1001)),
            "ERR the number of tags must be between 1 and 1000",
        );
    }
    for (line, text) in [
        ("CACHE.MSET r 0 k v TOKEN <t>", "ERR numkeys must be between 1 and 10000"),
        ("CACHE.MSET r x k v TOKEN <t>", "ERR numkeys must be between 1 and 10000"),
        (
            "CACHE.MSET r 4 k v TOKEN <t>",
            "ERR numkeys is more than the keys and values that follow",
        ),
    ] {
        t.wrong(line, text);
    }
    assert!(t.c.run("CACHE.MSET r 2 k v k w TOKEN 0").is_error(), "a key that is named twice");
    let read = t.c.must(&format!("CACHE.MGET other{}", keys(1000)));
    assert_eq!(read.items().len(), 1000);
}

#[test]
fn what_is_set_of_a_region_has_bounds() {
    let mut t = Table::new();
    for (word, most) in [
        ("TTL", "1 and 31536000000"),
        ("JITTER", "0 and 50"),
        ("GRACE", "0 and 31536000000"),
        ("EAGER", "0 and 50"),
        ("LEASE", "0 and 600000"),
        ("ABSENTTTL", "1 and 31536000000"),
        ("MAXBYTES", "0 and 1125899906842624"),
        ("MAXENTRIES", "0 and 2147483648"),
    ] {
        let (least, highest) = most.split_once(" and ").expect("two");
        let below = (least.parse::<i64>().expect("a number") - 1).to_string();
        let above = (highest.parse::<i64>().expect("a number") + 1).to_string();
        for wrong in [&below, &above, "x", "1.5"] {
            let text = format!("ERR {word} must be between {most}");
            t.wrong(&format!("CACHE.REGION SET r {word} {wrong} EVICT LFU"), &text);
        }
    }
    t.wrong("CACHE.REGION SET r EVICT FIFO", "ERR EVICT must be LRU, LFU or TTL");
    t.wrong("CACHE.REGION SET r FOO 1", "ERR unknown option at argument 3");
    t.wrong("CACHE.REGION GET r TTL 5", "ERR unknown option at argument 3");
    let usage = "ERR cache.region takes SET region .., GET region, LIST or DEL region";
    for line in ["SET", "GET", "DEL", "LIST r", "FOO", "FOO r"] {
        t.wrong(&format!("CACHE.REGION {line}"), usage);
    }
    // Its name has to stand in a setting.
    for name in ["a;b", "a,b", "a=b", "a\"b", "a'b", "ä"] {
        let reply = t.c.run(&format!("CACHE.REGION SET {name} TTL 5"));
        assert!(reply.text().starts_with("ERR a region's name in settings must be"), "{reply:?}");
        let reply = t.c.run(&format!("CACHE.REGION SET r NS {name} TTL 5"));
        assert!(reply.text().starts_with("ERR a namespace in settings must be"), "{reply:?}");
    }
}

#[test]
fn a_value_larger_than_its_region_may_hold_is_an_error_to_the_byte() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, &format!("k r {} TAGS 1 t", "x".repeat(300)));
    let bytes = stat(&mut c, "r", "bytes");
    c.must("CACHE.CLEAR r");
    region(&mut c, &format!("r MAXBYTES {bytes}"));
    set(&mut c, &format!("k r {} TAGS 1 t", "x".repeat(300)));
    assert_eq!(says(&mut c, "k r"), "HIT");
    region(&mut c, &format!("r MAXBYTES {}", bytes - 1));
    let text = format!(
        "ERR the entry, with its key, must be at most what its region may hold: {} bytes (MAXBYTES)",
        bytes - 1
    );
    let (value, token) = ("x".repeat(300), c.must("APIKEY.TOKEN k").text());
    for line in [
        format!("CACHE.SET k r {value} TAGS 1 t"),
        format!("CACHE.SET k r {value} TAGS 1 t TOKEN {token}"),
        format!("CACHE.MSET r 1 k {value} TOKEN {token} TAGS 1 t"),
    ] {
        assert_eq!(c.run(&line), error(&text), "{line:.60}");
    }
    set(&mut c, &format!("small r {}", "x".repeat(200)));
    assert_exact(&server);
}

#[test]
fn without_memory_nothing_is_stored_and_all_else_works() {
    let server = Server::builder().config("maxmemory-policy noeviction").start();
    let mut c = server.client();
    set(&mut c, "k r v TAGS 1 t");
    set(&mut c, "j r v");
    let token = c.must("APIKEY.TOKEN x").text();
    c.must("CONFIG SET maxmemory 1");
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    for line in [
        "CACHE.SET a r v".to_string(),
        format!("CACHE.MSET r 1 a v TOKEN {token}"),
        format!("CACHE.SETABSENT a r TOKEN {token}"),
    ] {
        assert_eq!(c.run(&line), error(oom), "{line}");
    }
    assert_eq!([says(&mut c, "k r"), says(&mut c, "a r")], ["HIT", "MISS"]);
    assert_eq!(c.must("CACHE.TAGINVAL t"), int(1));
    assert_eq!(c.must("CACHE.PATINVAL j"), int(1));
    assert_eq!(c.must("CACHE.CLEAR r"), int(0));
    c.must("CONFIG SET maxmemory 0");
    assert_exact(&server);
}

#[test]
fn users_of_one_command_can_call_no_other() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = crate::acl::user(&server, "allkeys -@all +cache.get");
    assert_eq!(says(&mut c, "k r"), "MISS");
    for line in ["CACHE.SET k r v", "CACHE.CLEAR r", "CACHE.REGION LIST", "CACHE.STATS"] {
        assert!(c.run(line).text().starts_with("NOPERM"), "{line}");
    }
    if kind() == Kind::Redis70 {
        return;
    }
    // What changes settings is an operator's, which a module can say from 7.2 on.
    let mut c = crate::acl::user(&server, "allkeys +@all -@dangerous");
    assert!(c.run("CACHE.REGION SET r TTL 5").text().starts_with("NOPERM"));
    set(&mut c, "k r v");
}

#[test]
fn the_tag_of_a_region_is_carried_by_its_entries_alone() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "k b v");
    let text = "ERR a tag of TAGS must not have cache:region: in it";
    let token = c.must("APIKEY.TOKEN k").text();
    for tag in ["cache:region:b", "acme:cache:region:b"] {
        for line in [
            format!("CACHE.SET other a v TAGS 1 {tag}"),
            format!("CACHE.MSET a 1 other v TOKEN {token} TAGS 1 {tag}"),
            format!("APIKEY.SETABSENT other TOKEN {token} TAGS 1 {tag}"),
        ] {
            assert_eq!(c.run(&line), error(text), "{line}");
        }
    }
    assert_eq!(c.run("CACHE.TAGINVAL SOFT"), error("ERR SOFT has no tags behind it"));
    assert_eq!(stat(&mut c, "b", "entries"), 1);
    assert_exact(&server);
}
