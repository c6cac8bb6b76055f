//! Wrong calls of every command and the exact error of each. After each of them nothing has changed.

use crate::harness::server::{kind, Kind};
use crate::harness::*;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// A server with entries and counters, and what must stay as it is.
struct Table {
    server: Server,
    c: Client,
    before: (String, Reply, Vec<Reply>),
}

impl Table {
    fn new() -> Self {
        Self::of(Server::start())
    }

    fn of(server: Server) -> Self {
        let mut c = server.client();
        c.fill("rec", &["shared", "tag"]);
        c.fill("other", &["shared"]);
        c.decide("scp", "r a ALLOW", "TAGS 1 kinds");
        c.list("lst", &[record("k", "u1")], "TAGS 1 kinds");
        c.count("use", 5);
        c.count("full", i64::MAX);
        c.must("SET str value");
        c.must("RPUSH list 1");
        let before = state(&mut c);
        Self { server, c, before }
    }

    /// A line is wrong with this text.
    #[track_caller]
    fn wrong(&mut self, line: &str, text: &str) {
        let words: Vec<Vec<u8>> = line.split(' ').map(word).collect();
        self.wrong_args(&words, text);
    }

    #[track_caller]
    fn wrong_args<A: AsRef<[u8]>>(&mut self, args: &[A], text: &str) {
        let shown: Vec<String> =
            args.iter().map(|a| format!("{:.60}", a.as_ref().escape_ascii().to_string())).collect();
        let reply = self.c.cmd(args.iter().map(AsRef::as_ref));
        assert_eq!(reply, error(text), "{}", shown.join(" "));
        assert_eq!(state(&mut self.c), self.before, "{}", shown.join(" "));
    }

    /// A record is wrong with this text.
    #[track_caller]
    fn bad_record(&mut self, record: impl AsRef<[u8]>, text: &str) {
        for key in ["new", "rec"] {
            let args = [b"APIKEY.SETVAL".as_slice(), key.as_bytes(), record.as_ref()];
            self.wrong_args(&args, &format!("BADRECORD {text}"));
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_exact(&self.server);
        }
    }
}

/// All keys, and what the module counts.
fn state(c: &mut Client) -> (String, Reply, Vec<Reply>) {
    let digest = c.must("DEBUG DIGEST").text();
    let size = c.must("DBSIZE");
    let health = c.must("APIKEY.HEALTH");
    let counts = [
        "records",
        "scopes",
        "lists",
        "usage_counters",
        "tags",
        "usage_pending",
        "usage_leased",
        "open_batches",
        "hits",
        "misses",
        "stale_fills_refused",
    ];
    (digest, size, counts.map(|name| health.get(name).clone()).to_vec())
}

/// Words that a line can't hold as they are: `<record>`, `<digest>`, `<257>` (so many bytes) and `<>`
/// (none).
fn word(word: &str) -> Vec<u8> {
    match word.strip_prefix('<').and_then(|w| w.strip_suffix('>')) {
        Some("record") => record("id", "u1").into_bytes(),
        Some("digest") => DIGEST.into(),
        Some("") => Vec::new(),
        Some(count) => vec![b'x'; count.parse().expect("a count of bytes")],
        None => word.into(),
    }
}

fn arity(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

/// Numbers that are none, or not in the form that Redis takes, or beyond 64 bits.
const NO_NUMBERS: [&str; 9] =
    ["x", "<>", "1.5", "1e3", "+1", "01", "0x10", "9223372036854775808", "-9223372036854775809"];

#[test]
fn a_wrong_number_of_arguments_is_told_with_the_commands_name() {
    let mut t = Table::new();
    for (name, wrong) in [
        ("setval", vec!["", " k"]),
        ("msetval", vec!["", " 1", " 1 k {} TOKEN"]),
        ("stored", vec!["", " k"]),
        ("gone", vec!["", " names more"]),
        ("reclaimed", vec![""]),
        ("validate", vec![""]),
        ("token", vec!["", " k more"]),
        ("setscope", vec!["", " k i u r a ALLOW TOKEN"]),
        ("setlist", vec!["", " k u [] TOKEN"]),
        ("getlist", vec![""]),
        ("checkscope", vec!["", " k r", " k r a more"]),
        ("inval", vec![""]),
        ("taginval", vec![""]),
        ("tags", vec!["", " k more"]),
        ("tagcard", vec!["", " tag more"]),
        ("tagscan", vec!["", " tag"]),
        ("describe", vec!["", " k more"]),
        ("admit", vec!["", " k", " k 1"]),
        ("credit", vec!["", " use", " use c", " use c BY"]),
        ("settle", vec!["", " use", " use id", " use id 1 more"]),
        ("limits", vec!["", " use more"]),
        ("usage.changed", vec!["", " use"]),
        ("usage.incr", vec![""]),
        ("usage.get", vec!["", " k more"]),
        ("usage.take", vec![""]),
        ("usage.lease", vec![""]),
        ("usage.ack", vec![""]),
        ("usage.nack", vec![""]),
        ("usage.leased", vec!["", " batch", " batch 1"]),
        ("usage.settled", vec!["", " k"]),
        ("health", vec![" more"]),
        ("check", vec![" more"]),
        ("apply", vec!["", " k", " k value more"]),
    ] {
        for more in wrong {
            t.wrong(&format!("APIKEY.{name}{more}"), &arity(&format!("apikey.{name}")));
        }
    }
    for (name, wrong) in [
        ("get", vec!["", " k"]),
        ("mget", vec!["", " r"]),
        ("set", vec!["", " k r"]),
        ("mset", vec!["", " r 1 k v TOKEN"]),
        ("setabsent", vec!["", " k r TOKEN"]),
        ("fail", vec!["", " k r TOKEN"]),
        ("taginval", vec![""]),
        ("clear", vec![""]),
        ("patinval", vec![""]),
        ("region", vec![""]),
        ("top", vec![""]),
    ] {
        for more in wrong {
            t.wrong(&format!("CACHE.{name}{more}"), &arity(&format!("cache.{name}")));
        }
    }
    for alias in ["usageincr", "usageget", "usagetake", "usagelease", "usageack", "usagenack"] {
        t.wrong(&format!("APIKEY.{alias}"), &arity(&format!("apikey.{alias}")));
    }
}

#[test]
fn an_unknown_option_is_told_by_its_place_and_not_repeated() {
    let mut t = Table::new();
    for (line, place) in [
        ("CACHE.GET k r FOO", 3),
        ("CACHE.SET k r v FOO", 4),
        ("CACHE.SET k r v TOKEN 0 0", 6),
        ("CACHE.SET k r v GRACE 5 SECRET s", 6),
        ("CACHE.MSET r 1 k v TOKEN 0 FOO", 7),
        ("CACHE.MSET r 1 k v TOKEN 0 KEEPTTL", 7),
        ("CACHE.MSET r 1 k v TOKEN 0 XX", 7),
        ("CACHE.SETABSENT k r TOKEN 0 GRACE 5", 5),
        ("CACHE.SETABSENT k r TOKEN 0 NX", 5),
        ("CACHE.FAIL k r TOKEN 0 FOO", 5),
        ("CACHE.CLEAR r FOO", 2),
        ("CACHE.PATINVAL k* FOO", 2),
        ("CACHE.TOP r FOO", 2),
        ("CACHE.STATS r FOO", 2),
        ("APIKEY.SETVAL rec <record> FOO", 3),
        ("APIKEY.SETVAL rec <record> <>", 3),
        ("APIKEY.SETVAL rec <record> EX 5 NX FOO 7", 6),
        ("APIKEY.SETVAL rec <record> TAGS 1 a b", 6),
        ("APIKEY.SETVAL rec <record> DIGEST <digest> <digest>", 5),
        ("APIKEY.SETVAL rec <record> SECRETS x", 3),
        ("APIKEY.SETVAL rec <record> TOKEN 0 0", 5),
        ("APIKEY.SETVAL rec <record> TOKENS 0", 3),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 FOO", 6),
        ("APIKEY.MSETVAL 1 rec <record> rec2 <record> TOKEN 0", 4),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 KEEPTTL", 6),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 XX", 6),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 SECRET x", 6),
        ("APIKEY.MSETVAL 2 rec <record> new <record> DIGEST <digest> TOKEN 0", 6),
        ("APIKEY.SETSCOPE scp i u r a ALLOW TOKEN 0 KEEPTTL", 9),
        ("APIKEY.SETSCOPE scp i u r a ALLOW NX TOKEN 0", 7),
        ("APIKEY.SETSCOPE scp i u r a ALLOW TRIM 1 1 TOKEN 0", 7),
        ("APIKEY.SETLIST lst u [] TOKEN 0 XX", 6),
        ("APIKEY.GETLIST lst 5", 2),
        ("APIKEY.GETLIST lst OFFSET 1 2", 4),
        ("APIKEY.VALIDATE rec FOO", 2),
        ("APIKEY.VALIDATE rec the-secret", 2),
        ("APIKEY.VALIDATE rec SECRET s x", 4),
        ("APIKEY.VALIDATE rec SCOPE a b", 4),
        ("APIKEY.ADMIT rec 1 use FOO", 4),
        ("APIKEY.ADMIT rec 1 use the-secret", 4),
        ("APIKEY.ADMIT rec 1 use use2 SECRET s", 4),
        ("APIKEY.ADMIT rec 1 use LIMIT 1 a CREDITS BURST 5", 8),
        ("APIKEY.ADMIT rec 1 use LIMIT 1 a QUOTA 5 DAY BURST 5", 10),
        ("APIKEY.ADMIT rec 1 use LIMIT 1 a RATE 5 1000 OFFSET 5", 10),
        ("APIKEY.CREDIT use c BY 5 FOO", 5),
        ("APIKEY.CREDIT use c 5 BY", 3),
        ("APIKEY.USAGE.INCR use 5", 2),
        ("APIKEY.USAGE.INCR use BY 5 6", 4),
        ("APIKEY.USAGEINCR use 5", 2),
        ("APIKEY.USAGE.FLUSH 5", 1),
        ("APIKEY.USAGE.FLUSH COUNT 5 6", 3),
        ("APIKEY.USAGEFLUSH 5", 1),
        ("APIKEY.TAGSCAN tag 0 10", 3),
        ("APIKEY.TAGSCAN tag 0 COUNT 10 MATCH *", 5),
        ("APIKEY.LOG 5", 1),
        ("APIKEY.LOG COUNT 5 RESET", 3),
        ("APIKEY.LOG RESET COUNT 5", 1),
        ("APIKEY.LOG <>", 1),
        ("APIKEY.SETABSENT new TOKEN 0 FOO", 4),
        ("APIKEY.SETABSENT new NX TOKEN 0", 2),
        ("APIKEY.SETABSENT new TOKEN 0 NS n: NX", 6),
        ("APIKEY.SETABSENT new TOKEN 0 KEEPTTL", 4),
        ("APIKEY.SETLIST lst u [] KEEPTTL TOKEN 0", 4),
        ("APIKEY.SETLIST lst u [] TOKEN 0 SECRET s", 6),
        ("APIKEY.VALIDATE rec SCOPE a TOKEN 0", 4),
        ("APIKEY.GETLIST lst COUNT 5", 2),
        ("APIKEY.USAGE.FLUSH COUNT 5 LIMIT 6", 3),
        ("APIKEY.USAGE.LEASE 1000 5", 2),
        ("APIKEY.USAGE.LEASE 1000 COUNT 5 6", 4),
        ("APIKEY.USAGELEASE 1000 BY 5", 2),
    ] {
        t.wrong(line, &format!("ERR unknown option at argument {place}"));
    }
    t.wrong_args(
        &[b"APIKEY.VALIDATE".as_slice(), b"rec", b"SECRET\0", b"s"],
        "ERR unknown option at argument 2",
    );
}

#[test]
fn an_option_that_is_given_twice_is_refused() {
    let mut t = Table::new();
    for (line, name) in [
        ("APIKEY.SETVAL rec <record> EX 5 EX 6", "EX"),
        ("APIKEY.SETVAL rec <record> PX 5 px 5", "PX"),
        ("APIKEY.SETVAL rec <record> EXAT 4102444800 EXAT 4102444800", "EXAT"),
        ("APIKEY.SETVAL rec <record> PXAT 4102444800000 PXAT 4102444800000", "PXAT"),
        ("APIKEY.SETVAL rec <record> KEEPTTL KEEPTTL", "KEEPTTL"),
        ("APIKEY.SETVAL rec <record> SECRET a SECRET a", "SECRET"),
        ("APIKEY.SETVAL rec <record> TAGS 1 a NX TAGS 1 b", "TAGS"),
        ("APIKEY.SETVAL rec <record> NS a: NS b:", "NS"),
        ("APIKEY.SETVAL rec <record> TOKEN 0 NX token 0", "TOKEN"),
        ("APIKEY.SETVAL new <record> NX nx", "NX"),
        ("APIKEY.SETVAL rec <record> XX XX", "XX"),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 TOKEN 0", "TOKEN"),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 NX NX", "NX"),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 EX 5 EX 5", "EX"),
        ("APIKEY.SETSCOPE scp i u r a ALLOW TOKEN 0 TOKEN 0", "TOKEN"),
        ("APIKEY.SETSCOPE scp i u r a DENY NS a NS b TOKEN 0", "NS"),
        ("APIKEY.GETLIST lst LIMIT 1 limit 1", "LIMIT"),
        ("APIKEY.GETLIST lst OFFSET 1 OFFSET 1", "OFFSET"),
        ("APIKEY.VALIDATE rec SECRET a secret a", "SECRET"),
        ("APIKEY.VALIDATE rec DIGEST <digest> DIGEST <digest>", "DIGEST"),
        ("APIKEY.ADMIT rec 1 use PEEK peek", "PEEK"),
        ("APIKEY.ADMIT rec 1 use COST 1 COST 1", "COST"),
        ("APIKEY.ADMIT rec 1 use ID a ID a", "ID"),
        ("APIKEY.ADMIT rec 1 use LIMIT 1 a CREDITS LIMIT 1 a CREDITS", "LIMIT a"),
        ("APIKEY.CREDIT use c BY 1 BY 1", "BY"),
        ("APIKEY.USAGE.INCR use ID a id b", "ID"),
        ("APIKEY.USAGE.INCR use BY 1 BY 1", "BY"),
        ("APIKEY.USAGE.FLUSH COUNT 1 COUNT 1", "COUNT"),
        ("APIKEY.TAGSCAN tag 0 COUNT 1 count 1", "COUNT"),
        ("APIKEY.LOG COUNT 1 COUNT 1", "COUNT"),
        ("APIKEY.SETABSENT new TOKEN 0 token 0", "TOKEN"),
        ("APIKEY.SETABSENT new TOKEN 0 TAGS 1 a Tags 1 b", "TAGS"),
        ("APIKEY.SETABSENT new PX 5 TOKEN 0 PX 5", "PX"),
        ("APIKEY.MSETVAL 1 rec <record> TAGS 1 a TOKEN 0 tags 1 b", "TAGS"),
        ("APIKEY.MSETVAL 1 rec <record> NS a: NS b: TOKEN 0", "NS"),
        ("APIKEY.SETSCOPE scp i u r a ALLOW TAGS 1 a TAGS 1 a TOKEN 0", "TAGS"),
        ("APIKEY.SETSCOPE scp i u r a ALLOW EX 5 TOKEN 0 ex 5", "EX"),
        ("APIKEY.SETLIST lst u [] TOKEN 0 TOKEN 0", "TOKEN"),
        ("APIKEY.SETLIST lst u [] TAGS 1 a TOKEN 0 TAGS 1 a", "TAGS"),
        ("APIKEY.SETLIST lst u [] TOKEN 0 NS a: ns b:", "NS"),
        ("APIKEY.SETLIST lst u [] PXAT 4102444800000 TOKEN 0 PXAT 1", "PXAT"),
        ("APIKEY.VALIDATE rec SECRET a SCOPE x SECRET b", "SECRET"),
        ("APIKEY.USAGEINCR use BY 1 by 1", "BY"),
        ("APIKEY.USAGEFLUSH COUNT 1 count 2", "COUNT"),
        ("APIKEY.USAGE.LEASE 1000 COUNT 1 COUNT 1", "COUNT"),
        ("APIKEY.USAGELEASE 1000 count 1 COUNT 1", "COUNT"),
    ] {
        t.wrong(line, &format!("ERR {name} is given twice"));
    }
    t.wrong(
        "APIKEY.SETVAL rec <record> DIGEST <digest> DIGEST <digest> DIGEST <digest>",
        "ERR DIGEST is given more than twice",
    );
}

#[test]
fn more_than_64_scopes_are_refused() {
    let mut t = Table::new();
    for (before, after) in [("", ""), (" SECRET s", ""), ("", " SCOPE b SECRET s")] {
        t.wrong(
            &format!("APIKEY.VALIDATE rec{before}{}{after}", " SCOPE a".repeat(65)),
            "ERR SCOPE is given more than 64 times",
        );
    }
}

#[test]
fn options_that_exclude_each_other_are_named() {
    let mut t = Table::new();
    let times = ["EX 5", "PX 5", "EXAT 4102444800", "PXAT 4102444800000", "KEEPTTL"];
    for one in times {
        for other in times.into_iter().filter(|other| *other != one) {
            let name = |option: &str| option.split(' ').next().expect("a word").to_string();
            t.wrong(
                &format!("APIKEY.SETVAL rec <record> {one} {other}"),
                &format!("ERR {} and {} exclude each other", name(one), name(other)),
            );
        }
    }
    for fill in [
        "APIKEY.SETABSENT new",
        "APIKEY.MSETVAL 1 rec <record>",
        "APIKEY.SETSCOPE scp i u r a ALLOW",
        "APIKEY.SETLIST lst u []",
    ] {
        let times = times.into_iter().filter(|time| *time != "KEEPTTL");
        for one in times.clone() {
            for other in times.clone().filter(|other| *other != one) {
                let name = |option: &str| option.split(' ').next().expect("a word").to_string();
                let text = format!("ERR {} and {} exclude each other", name(one), name(other));
                t.wrong(&format!("{fill} {one} TOKEN 0 {other}"), &text);
            }
        }
    }
    // In the order in which they were given.
    t.wrong("APIKEY.SETVAL rec <record> NX XX", "ERR NX and XX exclude each other");
    t.wrong("APIKEY.SETVAL rec <record> XX EX 5 NX", "ERR XX and NX exclude each other");
    for (line, text) in [
        ("SETVAL rec <record> SECRET a DIGEST <digest>", "SECRET and DIGEST"),
        ("SETVAL rec <record> DIGEST <digest> SECRET a", "DIGEST and SECRET"),
        ("VALIDATE rec SECRET a DIGEST <digest>", "SECRET and DIGEST"),
        ("VALIDATE rec DIGEST <digest> SCOPE x SECRET a", "DIGEST and SECRET"),
    ] {
        t.wrong(&format!("APIKEY.{line}"), &format!("ERR {text} exclude each other"));
    }
}

#[test]
fn an_option_without_its_value_is_named() {
    let mut t = Table::new();
    for name in ["EX", "PX", "EXAT", "PXAT", "SECRET", "DIGEST", "TAGS", "NS", "TOKEN"] {
        let line = format!("APIKEY.SETVAL rec <record> {}", name.to_lowercase());
        t.wrong(&line, &format!("ERR {name} has no value"));
    }
    for name in ["EX", "TAGS", "NS", "TOKEN"] {
        let line = format!("APIKEY.MSETVAL 1 rec <record> NX {name}");
        t.wrong(&line, &format!("ERR {name} has no value"));
    }
    for name in ["SECRET", "DIGEST", "SCOPE"] {
        t.wrong(&format!("APIKEY.VALIDATE rec {name}"), &format!("ERR {name} has no value"));
    }
    for fill in ["SETABSENT new", "SETSCOPE scp i u r a DENY", "SETLIST lst u []"] {
        for name in ["EX", "PX", "EXAT", "PXAT", "TAGS"] {
            let line = format!("APIKEY.{fill} TOKEN 0 {name}");
            t.wrong(&line, &format!("ERR {name} has no value"));
        }
        t.wrong(&format!("APIKEY.{fill} EX 5 TOKEN"), "ERR TOKEN has no value");
    }
    for fill in ["SETSCOPE scp i u r a DENY", "SETLIST lst u []"] {
        t.wrong(&format!("APIKEY.{fill} TOKEN 0 NS"), "ERR NS has no value");
    }
    for name in ["OFFSET", "LIMIT"] {
        t.wrong(&format!("APIKEY.GETLIST lst {name}"), &format!("ERR {name} has no value"));
    }
    t.wrong("APIKEY.USAGEINCR use BY", "ERR BY has no value");
    t.wrong("APIKEY.USAGE.INCR use BY", "ERR BY has no value");
    for call in
        ["USAGE.FLUSH", "USAGEFLUSH", "USAGE.LEASE 5", "USAGELEASE 5", "TAGSCAN tag 0", "LOG"]
    {
        t.wrong(&format!("APIKEY.{call} COUNT"), "ERR COUNT has no value");
    }
    for line in ["TAGS 1", "TAGS 2 a", "TAGS 16 a b c NX"] {
        let line = format!("APIKEY.SETVAL rec <record> {line}");
        t.wrong(&line, "ERR TAGS has fewer tags than its count");
    }
    for fill in ["SETABSENT new", "MSETVAL 1 rec <record>", "SETLIST lst u []"] {
        let line = format!("APIKEY.{fill} TOKEN 0 TAGS 3 a b");
        t.wrong(&line, "ERR TAGS has fewer tags than its count");
    }
}

#[test]
fn a_number_that_is_none_or_out_of_range_gets_the_range() {
    let mut t = Table::new();
    for (call, name, least, most) in [
        ("APIKEY.SETVAL rec <record> EX", "EX", 1, 100_000_000_000),
        ("APIKEY.SETVAL rec <record> PX", "PX", 1, 100_000_000_000_000),
        ("APIKEY.SETVAL rec <record> EXAT", "EXAT", 1, 100_000_000_000),
        ("APIKEY.SETVAL rec <record> PXAT", "PXAT", 1, 100_000_000_000_000),
        ("APIKEY.SETVAL rec <record> TAGS", "TAGS count", 1, 16),
        ("APIKEY.MSETVAL 1 rec <record> TOKEN 0 EX", "EX", 1, 100_000_000_000),
        ("APIKEY.GETLIST lst OFFSET", "OFFSET", 0, i64::MAX),
        ("APIKEY.GETLIST lst LIMIT", "LIMIT", 0, i64::MAX),
        ("APIKEY.USAGE.INCR use BY", "BY", 1, i64::MAX),
        ("APIKEY.USAGEINCR new BY", "BY", 1, i64::MAX),
        ("APIKEY.USAGE.FLUSH COUNT", "COUNT", 1, 1_000_000),
        ("APIKEY.USAGEFLUSH COUNT", "COUNT", 1, 1_000_000),
        ("APIKEY.USAGE.LEASE", "milliseconds", 1, 86_400_000),
        ("APIKEY.USAGELEASE", "milliseconds", 1, 86_400_000),
        ("APIKEY.USAGE.LEASE 1000 COUNT", "COUNT", 1, 1_000_000),
        ("APIKEY.USAGELEASE 1 COUNT", "COUNT", 1, 1_000_000),
        ("APIKEY.TAGSCAN tag 0 COUNT", "COUNT", 1, 10_000),
        ("APIKEY.LOG COUNT", "COUNT", 1, 10_000),
    ] {
        let text = format!("ERR {name} must be between {least} and {most}");
        let mut numbers: Vec<String> = NO_NUMBERS.map(str::to_string).into();
        numbers.extend([least - 1, -1, i64::MIN].map(|n| n.to_string()));
        numbers.extend(i64::checked_add(most, 1).map(|n| n.to_string()));
        for number in numbers {
            t.wrong(&format!("{call} {number}"), &text);
        }
        let mut nul: Vec<Vec<u8>> = call.split(' ').map(word).collect();
        nul.push(b"1\0".to_vec());
        t.wrong_args(&nul, &text);
    }
}

#[test]
fn numkeys_is_the_number_of_keys_that_follow() {
    let mut t = Table::new();
    for number in NO_NUMBERS.iter().copied().chain(["0", "-1", "10001", "9223372036854775807"]) {
        t.wrong(
            &format!("APIKEY.MSETVAL {number} rec <record> TOKEN 0"),
            "ERR numkeys must be between 1 and 10000",
        );
    }
    for number in [3, 4, 10_000] {
        t.wrong(
            &format!("APIKEY.MSETVAL {number} rec <record> TOKEN 0"),
            "ERR numkeys is more than the keys and values that follow",
        );
    }
    t.wrong(
        "APIKEY.MSETVAL 1 rec <record> NX EX 5",
        "ERR TOKEN is required: a row may have changed since it was read for the cache",
    );
    t.wrong("APIKEY.MSETVAL 2 rec <record> rec <record> TOKEN 0", "ERR key 2 is the same as key 1");
}

#[test]
fn texts_that_are_empty_or_too_long_get_the_bounds() {
    let mut t = Table::new();
    for (line, text) in [
        ("APIKEY.SETVAL rec <record> SECRET <>", "SECRET must be between 1 and 1024 bytes"),
        ("APIKEY.SETVAL rec <record> SECRET <1025>", "SECRET must be between 1 and 1024 bytes"),
        ("APIKEY.VALIDATE rec SECRET <>", "SECRET must be between 1 and 1024 bytes"),
        ("APIKEY.VALIDATE rec SECRET <1025>", "SECRET must be between 1 and 1024 bytes"),
        ("APIKEY.VALIDATE rec SCOPE <>", "SCOPE must be between 1 and 1024 bytes"),
        ("APIKEY.VALIDATE rec SCOPE a SCOPE <1025>", "SCOPE must be between 1 and 1024 bytes"),
        ("APIKEY.SETVAL rec <record> NS <>", "NS must be between 1 and 100 bytes"),
        ("APIKEY.SETVAL rec <record> NS <101>", "NS must be between 1 and 100 bytes"),
        ("APIKEY.SETVAL rec <record> TAGS 1 <>", "a tag of TAGS must be between 1 and 256 bytes"),
        (
            "APIKEY.SETVAL rec <record> TAGS 2 a <257>",
            "a tag of TAGS must be between 1 and 256 bytes",
        ),
        ("APIKEY.SETSCOPE scp <> u r a ALLOW TOKEN 0", "id must be between 1 and 256 bytes"),
        ("APIKEY.SETSCOPE scp <257> u r a ALLOW TOKEN 0", "id must be between 1 and 256 bytes"),
        ("APIKEY.SETSCOPE scp i <> r a ALLOW TOKEN 0", "user_id must be between 1 and 256 bytes"),
        (
            "APIKEY.SETSCOPE scp i <257> r a ALLOW TOKEN 0",
            "user_id must be between 1 and 256 bytes",
        ),
        ("APIKEY.SETSCOPE scp i u <> a ALLOW TOKEN 0", "resource must be between 1 and 128 bytes"),
        ("APIKEY.SETSCOPE scp i u r <129> ALLOW TOKEN 0", "action must be between 1 and 128 bytes"),
        ("APIKEY.SETSCOPE scp i u r a MAYBE TOKEN 0", "the decision must be ALLOW or DENY"),
        (
            "APIKEY.SETSCOPE scp i u r a ALLOW EX 5",
            "TOKEN is required: what a reader did not find may have come since it looked",
        ),
        ("APIKEY.CHECKSCOPE scp <> a", "resource must be between 1 and 128 bytes"),
        ("APIKEY.CHECKSCOPE scp r <129>", "action must be between 1 and 128 bytes"),
        ("APIKEY.SETLIST lst <> [] TOKEN 0", "user_id must be between 1 and 256 bytes"),
        ("APIKEY.SETLIST lst <257> [] TOKEN 0", "user_id must be between 1 and 256 bytes"),
        (
            "APIKEY.SETLIST lst u [] EX 5",
            "TOKEN is required: what a reader did not find may have come since it looked",
        ),
        ("APIKEY.TAGINVAL <>", "a tag must be between 1 and 512 bytes"),
        ("APIKEY.TAGINVAL shared <513>", "a tag must be between 1 and 512 bytes"),
        ("APIKEY.TAGCARD <>", "tag must be between 1 and 512 bytes"),
        ("APIKEY.TAGCARD <513>", "tag must be between 1 and 512 bytes"),
        ("APIKEY.TAGSCAN <> 0", "tag must be between 1 and 512 bytes"),
        ("APIKEY.TAGSCAN <513> 0", "tag must be between 1 and 512 bytes"),
    ] {
        t.wrong(line, &format!("ERR {text}"));
    }
}

#[test]
fn a_cursor_is_a_number_of_64_bits() {
    let mut t = Table::new();
    for cursor in [
        "<>",
        "x",
        "-1",
        "+1",
        "01",
        "00",
        "1.0",
        "1e3",
        "0x1",
        "0 ",
        "18446744073709551616",
        "<300>",
    ] {
        let line = [b"APIKEY.TAGSCAN".as_slice(), b"shared", &word(cursor)];
        t.wrong_args(&line, "ERR cursor must be between 0 and 18446744073709551615");
    }
    let bytes = [b"APIKEY.TAGSCAN".as_slice(), b"shared", b"1\0\xff"];
    t.wrong_args(&bytes, "ERR cursor must be between 0 and 18446744073709551615");
    // One that was never given is clamped, or is the end.
    assert_eq!(t.c.must("APIKEY.TAGSCAN shared 18446744073709551615").items()[1].items().len(), 2);
    assert_eq!(t.c.must("APIKEY.TAGSCAN none 7"), array([bulk("0"), array([])]));
}

#[test]
fn a_digest_is_64_hex_digits() {
    let mut t = Table::new();
    let with_nul = [&DIGEST.as_bytes()[..63], b"\0"].concat();
    let too_long = format!("{DIGEST}0");
    let letter = format!("{}g", &DIGEST[..63]);
    let prefixed = format!("0x{}", &DIGEST[..62]);
    let spaced = format!("{} ", &DIGEST[..63]);
    let digests: [&[u8]; 8] = [
        b"",
        b"abc",
        &DIGEST.as_bytes()[..63],
        too_long.as_bytes(),
        letter.as_bytes(),
        prefixed.as_bytes(),
        spaced.as_bytes(),
        &with_nul,
    ];
    let json = record("id", "u1");
    for digest in digests {
        let text = "ERR DIGEST must be 64 hex digits, \\x and those, or base64 of 32 bytes";
        let setval = [b"APIKEY.SETVAL".as_slice(), b"rec", json.as_bytes(), b"DIGEST"];
        t.wrong_args(&[&setval[..], &[digest]].concat(), text);
        t.wrong_args(&[&setval[..], &[DIGEST.as_bytes(), b"DIGEST", digest]].concat(), text);
        t.wrong_args(&[b"APIKEY.VALIDATE".as_slice(), b"rec", b"DIGEST", digest], text);
    }
}

#[test]
fn a_token_is_one_that_was_given() {
    let mut t = Table::new();
    let given = t.c.must("APIKEY.TOKEN rec").text();
    let mut tokens: Vec<String> = [
        "",
        "x",
        "1",
        "00",
        "-0",
        "0 ",
        "0\0",
        "nil",
        "-",
        "--",
        "1-2-3",
        "0000000000000000-0-0",
        "ffffffffffffffff-+f-1",
        "ffffffffffffffff-ff--1",
        "ffffffffffffffff-FF-1",
        "ffffffffffffffff-0ff-1",
        "ffffffffffffffff-ff",
        "ffffffffffffffff-10000000000000000-1",
        "ffffffffffffffff-1-8000000000000000",
    ]
    .map(str::to_string)
    .into();
    tokens.extend([
        format!("{given} "),
        format!(" {given}"),
        format!("{given}\n"),
        format!("{given}\0"),
        format!("{given}-1"),
        format!("0{given}"),
        format!("{given},{given}"),
        given.repeat(1000),
        given[1..].to_string(),
        given.rsplit_once('-').expect("parts").0.to_string(),
    ]);
    let json = record("id", "u1");
    let text = "ERR TOKEN must be one that a MISS or apikey.token gave";
    for key in ["rec", "new", "str", "use"] {
        for token in &tokens {
            t.wrong_args(&["APIKEY.SETVAL", key, &json, "TOKEN", token], text);
        }
        let bytes =
            [b"APIKEY.SETVAL".as_slice(), key.as_bytes(), json.as_bytes(), b"TOKEN", b"\xff"];
        t.wrong_args(&bytes, text);
    }
    t.wrong(&format!("APIKEY.SETVAL rec <record> TOKEN {given} TOKEN {given}x"), text);
    // It is the token that was wrong.
    assert_eq!(t.c.cmd(["APIKEY.SETVAL", "new", &json, "TOKEN", &given]), ok());
    t.c.must("DEL new");
    assert_eq!(state(&mut t.c), t.before);
}

#[test]
fn what_is_wrong_fences_nothing() {
    let mut t = Table::new();
    let token = t.c.must("APIKEY.TOKEN rec").text();
    t.wrong("APIKEY.INVAL rec str", WRONG_TYPE);
    t.wrong("APIKEY.INVAL rec use", WRONG_TYPE);
    t.wrong("APIKEY.TAGINVAL tag <513>", "ERR a tag must be between 1 and 512 bytes");
    t.wrong("APIKEY.SETVAL rec <record> EX 0", "ERR EX must be between 1 and 100000000000");
    t.bad_record("{}", "id is missing");
    let json = record("id", "u1");
    let fill = ["APIKEY.SETVAL", "rec", &json, "TAGS", "1", "tag", "TOKEN", &token];
    assert_eq!(t.c.cmd(fill), ok());
}

#[test]
fn what_is_no_json_object_is_no_record() {
    let mut t = Table::new();
    for (record, line, column) in [
        ("", 1, 0),
        ("{", 1, 1),
        ("{}x", 1, 3),
        (r#"{"id":}"#, 1, 7),
        (r#"{"id":1,}"#, 1, 9),
        (r#"{'id':1}"#, 1, 2),
        ("{\n\"id\"\n}", 3, 1),
        (r#"{"id":01}"#, 1, 8),
        (r#"{"id":NaN}"#, 1, 7),
        (r#"{"id":1}{"id":1}"#, 1, 9),
    ] {
        t.bad_record(record, &format!("record is not JSON (line {line} column {column})"));
    }
    t.bad_record("\u{feff}{}", "record is not JSON (line 1 column 1)");
    t.bad_record("{\"id\":\"a\0b\"}", "record is not JSON (line 1 column 8)");
    t.bad_record("{}\0", "record is not JSON (line 1 column 3)");
    for record in ["[]", "\"text\"", "1", "true", "null", "[{}]"] {
        t.bad_record(record, "record must be a JSON object");
    }
    for record in
        [b"{\"id\":\"\xff\"}".as_slice(), b"\xff", b"{}\xc3", b"{\"id\":\"\xed\xa0\x80\"}"]
    {
        t.bad_record(record, "record must be UTF-8");
    }
}

#[test]
fn a_record_without_what_it_must_have_is_refused() {
    let mut t = Table::new();
    for (record, text) in [
        ("{}", "id is missing"),
        (r#"{"user_id":"u","is_active":true}"#, "id is missing"),
        (r#"{"Id":"k","user_id":"u","is_active":true}"#, "id is missing"),
        (r#"{"id":"k"}"#, "is_active is missing"),
        (r#"{"id":"k","user_id":"u"}"#, "is_active is missing"),
    ] {
        t.bad_record(record, text);
    }
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_what_it_must_be() {
    let mut t = Table::new();
    let with = |field: &str| format!(r#"{{"id":"k","user_id":"u","is_active":true,{field}}}"#);

    for name in ["id", "user_id"] {
        let text = format!("{name} must be a string of 1 to 256 bytes or an integer");
        for value in [
            r#""""#,
            "null",
            "true",
            "1.5",
            "1e3",
            "1E3",
            "-0.0",
            "[]",
            "{}",
            "[1]",
            r#""\ud800""#,
            &format!("\"{}\"", "x".repeat(257)),
            &format!("\"{}\"", "é".repeat(129)),
            &"1".repeat(257),
        ] {
            if value == "null" && name == "user_id" {
                continue; // it is nobody's
            }
            let record = match name {
                "id" => format!(r#"{{"id":{value},"user_id":"u","is_active":true}}"#),
                _ => format!(r#"{{"id":"k","user_id":{value},"is_active":true}}"#),
            };
            t.bad_record(record, &text);
        }
    }
    for value in ["null", "2", "-1", "1.0", r#""yes""#, r#""1""#, "[]", "{}"] {
        let record = format!(r#"{{"id":"k","user_id":"u","is_active":{value}}}"#);
        let text = "is_active must be true or false (or 1, 0, \"t\", \"f\")";
        t.bad_record(record, text);
    }
    for value in [
        "true",
        "1.5",
        "1e3",
        "9223372036854775808",
        "[]",
        "{}",
        r#""""#,
        r#""tomorrow""#,
        r#""2024-01-01""#,
        r#""2024-13-01T00:00:00Z""#,
    ] {
        let text =
            "expires_at must be null, an RFC 3339 time, \"infinity\", or epoch milliseconds of \
                    1990 to 9999";
        t.bad_record(with(&format!(r#""expires_at":{value}"#)), text);
    }
    for value in [
        "{}",
        r#""a""#,
        "1",
        "[1]",
        "[null]",
        "[[]]",
        r#"[{"resource":"a"}]"#,
        r#"[{"actions":["a"]}]"#,
        r#"[{"resource":1,"actions":[]}]"#,
        r#"[{"resource":"a","actions":"b"}]"#,
        r#"[{"resource":"a","actions":[1]}]"#,
        r#"[{"resource":"a","resource":"b","actions":[]}]"#,
    ] {
        t.bad_record(
            with(&format!(r#""scopes":{value}"#)),
            "scopes must be an array of strings or of objects with a resource and an array of actions",
        );
    }
    for name in ["name", "key_prefix"] {
        for value in ["1", "true", "[]", "{}", r#""\ud800""#] {
            t.bad_record(
                with(&format!(r#""{name}":{value}"#)),
                &format!("{name} must be a string or null"),
            );
        }
    }
    for name in ["created_at", "updated_at"] {
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        for value in ["1e999", r#""\ud800""#, &deep] {
            t.bad_record(
                with(&format!(r#""{name}":{value}"#)),
                &format!(
                    "{name} must be JSON that any parser takes: at most 32 levels, whole \
                     characters, numbers in the range of a double"
                ),
            );
        }
    }
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    let mut t = Table::new();
    for (name, value) in [
        ("id", r#""k""#),
        ("user_id", "1"),
        ("is_active", "true"),
        ("name", "null"),
        ("key_prefix", r#""p""#),
        ("scopes", "[]"),
        ("expires_at", "null"),
        ("created_at", "1"),
        ("updated_at", "2"),
    ] {
        let record = format!(
            r#"{{"{name}":{value},"{name}":{value},"id":"k","user_id":"u","is_active":true}}"#
        );
        t.bad_record(record, &format!("{name} is given twice"));
    }
    // The same name, though not the same bytes.
    let escaped = r#"{"id":"k","\u0069d":"l","user_id":"u","is_active":true}"#;
    t.bad_record(escaped, "id is given twice");
}

#[test]
fn a_record_beyond_a_limit_gets_the_limit() {
    let mut t = Table::new();
    let with = |field: &str| format!(r#"{{"id":"k","user_id":"u","is_active":true,{field}}}"#);
    t.bad_record(
        with(&format!(r#""x":"{}""#, "x".repeat(16384))),
        "record must be at most 16384 bytes",
    );
    t.bad_record(
        with(&format!(r#""scopes":[{}]"#, vec![r#""a""#; 65].join(","))),
        "scopes must have at most 64 elements, each action of an object counted",
    );
    // As many as stand in one object.
    t.bad_record(
        with(&format!(
            r#""scopes":[{{"resource":"r","actions":[{}]}}]"#,
            vec![r#""a""#; 65].join(",")
        )),
        "scopes must have at most 64 elements, each action of an object counted",
    );
    let long = "x".repeat(1025);
    for scope in [
        format!("\"{long}\""),
        format!(r#"{{"resource":"{long}","actions":[]}}"#),
        format!(r#"{{"resource":"a","actions":["{long}"]}}"#),
    ] {
        t.bad_record(
            with(&format!(r#""scopes":[{scope}]"#)),
            "a text of scopes must have at most 1024 bytes",
        );
    }
    // As deep as 16 KiB allow: neither the stack nor the reply suffers.
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    t.bad_record(
        with(&format!(r#""scopes":[{{"resource":"r","actions":[],"x":{}}}]"#, deep(8000))),
        "scopes must be JSON that any parser takes: at most 32 levels, whole characters, \
         numbers in the range of a double",
    );
    let unclosed = format!(r#"{{"id":{}"#, "[".repeat(16000));
    t.bad_record(unclosed, "record is not JSON (line 1 column 16006)");
}

#[test]
fn limits_that_are_set_lower_are_told_as_they_are() {
    let server = Server::builder()
        .setting("max-record-bytes", "64")
        .setting("max-scopes", "0")
        .setting("max-tags", "2")
        .start();
    let mut c = server.client();
    let record = format!(r#"{{"id":"{}","user_id":"u","is_active":true}}"#, "k".repeat(60));
    assert_eq!(
        c.cmd(["APIKEY.SETVAL", "k", &record]),
        error("BADRECORD record must be at most 64 bytes")
    );
    assert_eq!(
        c.run(r#"APIKEY.SETVAL k {"id":1,"user_id":1,"is_active":true,"scopes":["a"]}"#),
        error("BADRECORD scopes must have at most 0 elements, each action of an object counted")
    );
    assert_eq!(
        c.run(r#"APIKEY.SETVAL k {"id":1,"user_id":1,"is_active":true} TAGS 3 a b c"#),
        error("ERR TAGS count must be between 1 and 2")
    );
    assert_eq!(c.must("DBSIZE"), int(0));

    let server = Server::builder().setting("max-tags", "0").start();
    assert_eq!(
        server.client().run(r#"APIKEY.SETVAL k {"id":1,"user_id":1,"is_active":true} TAGS 1 a"#),
        error("ERR TAGS is not allowed while apikey.max-tags is 0")
    );
}

#[test]
fn a_digest_field_is_64_hex_digits_and_stands_alone() {
    let mut t = Table::of(Server::builder().setting("digest-field", "hash").start());
    let with =
        |value: &str| format!(r#"{{"id":"k","user_id":"u","is_active":true,"hash":{value}}}"#);
    let three = format!(r#"["{DIGEST}","{DIGEST}","{DIGEST}"]"#);
    for value in ["1", r#""""#, r#""abc""#, "[]", "{}", r#"["abc"]"#, "true", &three] {
        t.bad_record(with(value), "hash must be 64 hex digits, \\x and those, or base64 of 32 bytes, null, or an array of one or two of those, or of {\"digest\": .., \"until\": ..}");
    }
    let twice = format!(r#""{DIGEST}","hash":"{DIGEST}""#);
    t.bad_record(with(&twice), "hash is given twice");
    let record = with(&format!("\"{DIGEST}\""));
    for proof in ["SECRET s", "DIGEST <digest>", "DIGEST <digest> DIGEST <digest>"] {
        t.wrong(
            &format!("APIKEY.SETVAL rec {record} {proof}"),
            "ERR SECRET and DIGEST can't stand beside the record's own digest field",
        );
    }
}

#[test]
fn a_key_of_another_type_or_kind_is_refused() {
    let mut t = Table::new();
    for key in ["str", "list", "use"] {
        for call in [
            format!("APIKEY.SETVAL {key} <record>"),
            format!("APIKEY.SETVAL {key} <record> NX"),
            format!("APIKEY.SETVAL {key} <record> XX KEEPTTL TAGS 1 a"),
            format!("APIKEY.SETVAL {key} <record> TOKEN 0"),
            format!("APIKEY.MSETVAL 1 {key} <record> TOKEN 0"),
            format!("APIKEY.MSETVAL 2 new <record> {key} <record> TOKEN 0 NX"),
            format!("APIKEY.INVAL {key}"),
            format!("APIKEY.INVAL rec {key}"),
            format!("APIKEY.INVAL {key} other"),
            format!("APIKEY.INVAL rec none {key} other"),
            format!("APIKEY.VALIDATE {key}"),
            format!("APIKEY.VALIDATE {key} SECRET s SCOPE x"),
            format!("APIKEY.TAGS {key}"),
        ] {
            t.wrong(&call, WRONG_TYPE);
        }
    }
    // Another kind is another type. A token that is refused does not hide that.
    for key in ["str", "list", "use", "rec", "scp", "lst"] {
        for (of, call) in [
            ("rec", "SETVAL KEY <record>"),
            ("rec", "SETVAL KEY <record> TOKEN 0 NX"),
            ("rec", "SETABSENT KEY TOKEN 0"),
            ("rec", "VALIDATE KEY SCOPE x"),
            ("scp", "SETSCOPE KEY i u r a ALLOW TOKEN 0"),
            ("scp", "CHECKSCOPE KEY r a"),
            ("lst", "SETLIST KEY u [] TOKEN 0"),
            ("lst", "GETLIST KEY"),
        ] {
            if of != key {
                t.wrong(&format!("APIKEY.{}", call.replace("KEY", key)), WRONG_TYPE);
            }
        }
    }
    for key in ["str", "list", "use", "rec", "scp", "lst"] {
        for call in [
            "GET KEY r",
            "SET KEY r v",
            "SET KEY r v TOKEN 0 NX",
            "MSET r 2 new v KEY v TOKEN 0",
            "SETABSENT KEY r TOKEN 0",
        ] {
            t.wrong(&format!("CACHE.{}", call.replace("KEY", key)), WRONG_TYPE);
        }
    }
    for key in ["str", "list", "rec", "scp", "lst"] {
        for call in ["INCR", "GET", "TAKE"] {
            t.wrong(&format!("APIKEY.USAGE.{call} {key}"), WRONG_TYPE);
            t.wrong(&format!("APIKEY.USAGE{call} {key}"), WRONG_TYPE);
        }
        t.wrong(&format!("APIKEY.USAGE.TAKE use {key} full"), WRONG_TYPE);
    }
    for key in ["str", "list"] {
        t.wrong(&format!("APIKEY.DESCRIBE {key}"), WRONG_TYPE);
    }
    for (key, name) in [
        ("rec", "GET"),
        ("scp", "GET"),
        ("lst", "LLEN"),
        ("use", "GET"),
        ("rec", "LLEN"),
        ("use", "INCR"),
    ] {
        t.wrong(&format!("{name} {key}"), WRONG_TYPE);
    }
}

#[test]
fn a_count_that_would_overflow_is_refused() {
    let mut t = Table::new();
    let text = "ERR BY must not take the total beyond 9223372036854775807";
    t.wrong("APIKEY.USAGE.INCR full", text);
    t.wrong("APIKEY.USAGE.INCR full BY 9223372036854775807", text);
    t.wrong("APIKEY.USAGE.INCR use BY 9223372036854775803", text);
    t.wrong("APIKEY.USAGEINCR full BY 1", text);
    assert_eq!(t.c.count("use", 9_223_372_036_854_775_802), i64::MAX);
    t.before = state(&mut t.c);
}

#[test]
fn what_is_internal_is_refused_to_every_client() {
    let mut t = Table::new();
    let text = "ERR apikey.apply is internal: only for replication and loading";
    let dump = t.c.must("DUMP rec");
    t.wrong("APIKEY.APPLY rec value", text);
    t.wrong("APIKEY.APPLY new value", text);
    t.wrong_args(&[b"APIKEY.APPLY".as_slice(), b"new", dump.bytes()], text);
    t.c.must("MULTI");
    t.c.must("APIKEY.APPLY rec value");
    assert_eq!(t.c.must("EXEC"), array([error(text)]));
    for line in [
        "APIKEY.KILLED 1 tag rec",
        "APIKEY.DROPPED",
        "APIKEY.GONE names",
        "APIKEY.RECLAIMED rec",
        "APIKEY.STORED rec value",
        "APIKEY.REPLACED rec value names",
        "APIKEY.SOFTENED tag",
        "APIKEY.REGIONS text",
        "APIKEY.USAGE.SETTLED use 11111111111111111111111111111111",
    ] {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        t.wrong(line, &format!("ERR {name} is internal: only for replication and loading"));
    }
    let script = "return redis.pcall('APIKEY.APPLY',KEYS[1],'value')['err']";
    assert_eq!(t.c.cmd(["EVAL", script, "1", "rec"]), bulk(text));
    assert_eq!(state(&mut t.c), t.before);
}

#[test]
fn leased_is_refused_to_every_client() {
    let mut t = Table::new();
    let text = "ERR apikey.usage.leased is internal: only for replication and loading";
    let id = "1".repeat(32);
    let line = format!("APIKEY.USAGE.LEASED {id} 1 2 use {id}");
    t.wrong(&line, text);
    t.wrong("APIKEY.USAGE.LEASED x y z", text);
    t.c.must("MULTI");
    t.c.must(&line);
    assert_eq!(t.c.must("EXEC"), array([error(text)]));
    let script = "return redis.pcall('APIKEY.USAGE.LEASED','x','1','2')['err']";
    assert_eq!(t.c.cmd(["EVAL", script, "0"]), bulk(text));
    assert_eq!(state(&mut t.c), t.before);
}

#[test]
fn a_batch_is_named_by_an_id_that_was_given() {
    let mut t = Table::new();
    let text = "ERR batch must be an id that apikey.usage.lease gave: 32 hex digits";
    t.c.count("other-use", 3);
    let batch = t.c.leases("1000 COUNT 1").remove(0);
    t.before = state(&mut t.c);
    let good = batch.id;
    for wrong in [
        "<>".to_string(),
        "0".into(),
        "x".into(),
        "0".repeat(32),
        "g".repeat(32),
        format!("{good}0"),
        format!("0x{good}"),
        good[1..].into(),
        format!("0x{}", &good[2..]),
    ] {
        for command in ["ACK", "NACK"] {
            t.wrong(&format!("APIKEY.USAGE.{command} {wrong}"), text);
            t.wrong(&format!("APIKEY.USAGE{command} {good} {wrong}"), text);
        }
    }
}

#[test]
fn check_is_refused_in_a_transaction_and_in_a_script() {
    let mut t = Table::new();
    let text = "ERR apikey.check can't run in MULTI or in a script: it waits";
    t.c.must("MULTI");
    t.c.must("APIKEY.CHECK");
    t.c.must("PING");
    assert_eq!(t.c.must("EXEC"), array([error(text), simple("PONG")]));
    let script = "return redis.pcall('APIKEY.CHECK')['err']";
    assert_eq!(t.c.cmd(["EVAL", script, "0"]), bulk(text));
    assert_eq!(state(&mut t.c), t.before);
    assert_eq!(t.c.must("APIKEY.CHECK").get("differences"), &int(0));
}

#[test]
fn a_call_names_no_more_than_1000_tags_or_keys() {
    let mut t = Table::new();
    for (call, of) in [
        ("APIKEY.TAGINVAL", "tags"),
        ("APIKEY.INVAL", "keys"),
        ("APIKEY.USAGE.TAKE", "keys"),
        ("APIKEY.USAGETAKE", "keys"),
    ] {
        let first = if call.contains("USAGE") { "use" } else { "rec" };
        let mut args: Vec<String> = vec![call.into(), first.into(), "shared".into()];
        args.extend((3..=1001).map(|n| format!("none{n}")));
        let text = format!("ERR the number of {of} must be between 1 and 1000");
        t.wrong_args(&args, &text);
        // In a transaction and a script too.
        t.c.must("MULTI");
        t.c.cmd(&args);
        assert_eq!(t.c.must("EXEC"), array([error(&text)]));
        let script = ["EVAL", "return redis.pcall(unpack(ARGV))['err']", "0"];
        let script = script.map(String::from).into_iter().chain(args.iter().cloned());
        assert_eq!(t.c.cmd(script), bulk(&text));
        assert_eq!(state(&mut t.c), t.before);
        args.pop();
        assert!(!t.c.cmd(&args).is_error(), "{call} of 1000");
        t.before = state(&mut t.c);
    }
    assert_eq!(t.c.codes(["rec", "other"]), ["MISS", "MISS"]);
    assert_eq!(t.c.usage("use"), (0, 5));
}

#[test]
fn with_full_memory_nothing_is_stored_and_settling_and_revoking_go_on() {
    let mut t = Table::new();
    t.c.count("last", 2);
    t.before = state(&mut t.c);
    t.c.must("CONFIG SET maxmemory 1");
    let text = "OOM command not allowed when used memory > 'maxmemory'.";
    t.wrong("APIKEY.SETVAL rec <record>", text);
    t.wrong("APIKEY.SETVAL new <record> NX", text);
    t.wrong("APIKEY.SETVAL new <record> TOKEN 0", text);
    t.wrong("APIKEY.MSETVAL 1 new <record> TOKEN 0", text);
    t.wrong("APIKEY.SETSCOPE scp i u r a ALLOW TOKEN 0", text);
    t.wrong("APIKEY.SETLIST lst u [] TOKEN 0", text);
    t.wrong("APIKEY.USAGE.INCR use", text);
    t.wrong("APIKEY.USAGEINCR new", text);
    assert_eq!(t.c.code("rec"), "VALID");
    t.c.must("APIKEY.TOKEN rec");
    assert_eq!(t.c.invalidate("tag"), 1);
    assert_eq!(t.c.must("APIKEY.INVAL rec other none"), int(1));
    let batch = t.c.leases("1000 COUNT 1").remove(0);
    assert_eq!(batch.counts(), [("last".to_string(), 2)]);
    assert_eq!((t.c.nack(&batch), t.c.lease()), (1, batch.clone()));
    assert_eq!(t.c.ack(&batch), 1);
    assert_eq!(t.c.must("APIKEY.USAGE.TAKE use"), array([int(5)]));
    assert_eq!(t.c.must("APIKEY.USAGE.FLUSH"), array([bulk("full"), int(i64::MAX)]));
}

#[test]
fn with_full_memory_a_script_that_declares_flags_revokes_if_it_allows_oom() {
    if kind() == Kind::Redis62 {
        return;
    }
    let mut t = Table::new();
    let call = "return redis.call('APIKEY.TAGINVAL', ARGV[1])";
    let library = |flags: &str| {
        format!(
            "#!lua name=l\nredis.register_function{{function_name='revoke', callback=function(keys, args) \
             return redis.call('APIKEY.TAGINVAL', args[1]) end{flags}}}"
        )
    };
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    let refused = |reply: Reply| reply.text().contains(oom);
    t.c.cmd(["FUNCTION", "LOAD", &library("")]);
    t.c.must("CONFIG SET maxmemory 1");
    assert!(refused(t.c.cmd(["EVAL", &format!("#!lua\n{call}"), "0", "shared"])));
    assert!(refused(t.c.cmd(["FCALL", "revoke", "0", "shared"])));
    assert_eq!(state(&mut t.c), t.before);

    // One that declares nothing is judged by what it calls, as a call by itself.
    assert_eq!(t.c.cmd(["EVAL", call, "0", "kinds"]), int(2));
    let allowing = format!("#!lua flags=allow-oom\n{call}");
    assert_eq!(t.c.cmd(["EVAL", &allowing, "0", "tag"]), int(1));
    t.c.must("CONFIG SET maxmemory 0");
    t.c.cmd(["FUNCTION", "LOAD", "REPLACE", &library(", flags={'allow-oom'}")]);
    t.c.must("CONFIG SET maxmemory 1");
    assert_eq!(t.c.cmd(["FCALL", "revoke", "0", "shared"]), int(1));
    // The flag lets what stores pass as well.
    let store = format!(
        "#!lua flags=allow-oom\nreturn redis.call('APIKEY.SETVAL', 'new', '{}')",
        record("k", "u")
    );
    assert_eq!(t.c.cmd(["EVAL", &store, "0"]), ok());
}

#[test]
fn a_replica_refuses_what_writes() {
    let t = Table::new();
    let replica = Server::start();
    replica.replicate(&t.server);
    let before = replica.digest();
    let mut c = replica.client();
    for line in [
        "APIKEY.SETVAL rec <record>",
        "APIKEY.SETVAL rec <record> TOKEN 0",
        "APIKEY.MSETVAL 1 rec <record> TOKEN 0",
        "APIKEY.SETSCOPE scp i u r a ALLOW TOKEN 0",
        "APIKEY.SETLIST lst u [] TOKEN 0",
        "APIKEY.INVAL rec",
        "APIKEY.TAGINVAL shared",
        "APIKEY.USAGE.INCR use",
        "APIKEY.USAGE.TAKE use",
        "APIKEY.USAGE.FLUSH",
        "APIKEY.USAGE.LEASE 1000",
        "APIKEY.USAGE.ACK 11111111111111111111111111111111",
        "APIKEY.USAGE.NACK 11111111111111111111111111111111",
        "APIKEY.USAGE.LEASED 11111111111111111111111111111111 1 2",
        "APIKEY.USAGE.SETTLED use 11111111111111111111111111111111",
        "APIKEY.APPLY rec value",
        "APIKEY.GONE names",
        "APIKEY.RECLAIMED rec",
    ] {
        let words: Vec<Vec<u8>> = line.split(' ').map(word).collect();
        let reply = c.cmd(words);
        assert_eq!(reply, error("READONLY You can't write against a read only replica."), "{line}");
    }
    assert_eq!(c.code("rec"), "VALID");
    assert_eq!(c.usage("use"), (5, 5));
    assert_eq!(replica.digest(), before);
    assert_exact(&replica);
}

#[test]
fn a_wrong_call_in_a_transaction_is_an_error_beside_the_others_replies() {
    let mut t = Table::new();
    t.c.must("MULTI");
    t.c.must("APIKEY.SETVAL rec {}");
    t.c.must("APIKEY.USAGE.INCR use BY 0");
    t.c.must("APIKEY.TAGS str");
    t.c.must("APIKEY.INVAL rec use");
    assert_eq!(
        t.c.must("EXEC"),
        array([
            error("BADRECORD id is missing"),
            error("ERR BY must be between 1 and 9223372036854775807"),
            error(WRONG_TYPE),
            error(WRONG_TYPE),
        ])
    );
    assert_eq!(state(&mut t.c), t.before);
}

#[test]
fn the_debug_command_of_debug_builds_takes_its_own_subcommands_alone() {
    let mut t = Table::new();
    if !has_debug_command(&mut t.c) {
        return;
    }
    t.wrong("APIKEY.DEBUG", &arity("apikey.debug"));
    t.wrong("APIKEY.DEBUG FOO", "ERR syntax error");
    t.wrong("APIKEY.DEBUG FORGET", "ERR syntax error");
    t.wrong("APIKEY.DEBUG FORGET none", "ERR no such entry");
    t.wrong("APIKEY.DEBUG PANIC", "ERR internal error; the log has its place");
}

#[test]
fn what_is_wrong_with_limits_is_named() {
    let mut t = Table::new();
    let admit = |more: &str| format!("APIKEY.ADMIT rec 1 use SECRET s {more}");
    let units = "between 1 and 1000000000000000";
    for (call, text) in [
        ("APIKEY.ADMIT rec 0 use".into(), "numcounters must be between 1 and 16"),
        ("APIKEY.ADMIT rec 17 use".into(), "numcounters must be between 1 and 16"),
        ("APIKEY.ADMIT rec x use".into(), "numcounters must be between 1 and 16"),
        ("APIKEY.ADMIT rec 2 use".into(), "numcounters is more than the counters that follow"),
        ("APIKEY.ADMIT rec 2 use use".into(), "counter 2 is given twice"),
        (admit("COST -1"), "COST must be between 0 and 1000000000"),
        (admit("COST 1000000001"), "COST must be between 0 and 1000000000"),
        (admit("COST"), "COST has no value"),
        (admit("ID"), "ID has no value"),
        (admit("ID <>"), "ID must be between 1 and 64 bytes"),
        (admit("ID <65>"), "ID must be between 1 and 64 bytes"),
        (admit("IP x"), "IP must be an IPv4 or IPv6 address"),
        (admit("LIMIT"), "LIMIT is not whole"),
        (admit("LIMIT 0 a CREDITS"), "the counter of LIMIT must be between 1 and 16"),
        (admit("LIMIT 17 a CREDITS"), "the counter of LIMIT must be between 1 and 16"),
        (admit("LIMIT 1 a"), "LIMIT is not whole"),
        (admit("LIMIT 1 a 5"), "LIMIT must be RATE, QUOTA or CREDITS behind its name"),
        (
            admit("LIMIT 1 a/b CREDITS"),
            "LIMIT name must be 1 to 64 letters, digits or any of _ - . :",
        ),
        (
            admit("LIMIT 1 <65> CREDITS"),
            "LIMIT name must be 1 to 64 letters, digits or any of _ - . :",
        ),
        (admit("LIMIT 1 a RATE 5"), "LIMIT is not whole"),
        (admit("LIMIT 1 a RATE x 5"), "units of LIMIT must be a whole number"),
        (admit("LIMIT 1 a RATE 5 x"), "milliseconds of LIMIT must be a whole number"),
        (admit("LIMIT 1 a RATE 5 5 BURST"), "LIMIT is not whole"),
        (admit("LIMIT 1 a RATE 5 5 BURST x"), "BURST of LIMIT must be a whole number"),
        (admit("LIMIT 1 a RATE 0 5"), &format!("LIMIT units must be {units}")),
        (admit("LIMIT 1 a RATE 1 1 BURST 0"), &format!("LIMIT burst must be {units}")),
        (admit("LIMIT 1 a RATE 1 0"), "LIMIT per must be between 1 and 31622400000"),
        (
            admit("LIMIT 1 a RATE 1000000000000 86400000"),
            "LIMIT burst must be at most 106751991167 with this per",
        ),
        (admit("LIMIT 1 a QUOTA 5"), "LIMIT is not whole"),
        (admit("LIMIT 1 a QUOTA -1 DAY"), "LIMIT quota must be between 0 and 1000000000000000"),
        (
            admit("LIMIT 1 a QUOTA 5 FORTNIGHT"),
            "LIMIT period must be one of hour, day, week, month, year",
        ),
        (admit("LIMIT 1 a QUOTA 5 DAY DAY 5"), "LIMIT day is for a period of months alone"),
        (admit("LIMIT 1 a QUOTA 5 MONTH DAY 32"), "LIMIT day must be between 1 and 31"),
        (
            admit("LIMIT 1 a QUOTA 5 MONTH OFFSET 1441"),
            "LIMIT offset must be between -1440 and 1440",
        ),
        (admit("LIMIT 1 a CREDITS WEIGHT 1000001"), "LIMIT cost must be between 0 and 1000000"),
        (
            "APIKEY.CREDIT use a/b BY 5".into(),
            "name must be 1 to 64 letters, digits or any of _ - . :",
        ),
        (
            "APIKEY.CREDIT use a ID id".into(),
            "an option is required: BY or SET says how many credits",
        ),
        ("APIKEY.CREDIT use a BY 1 SET 1".into(), "BY and SET exclude each other"),
        (
            "APIKEY.CREDIT use a BY x".into(),
            "BY must be between -1000000000000000 and 1000000000000000",
        ),
        ("APIKEY.CREDIT use a SET -1".into(), "SET must be between 0 and 1000000000000000"),
        ("APIKEY.CREDIT use a BY -1".into(), "BY must not take the balance below 0"),
        ("APIKEY.SETTLE use <> 1".into(), "id must be between 1 and 64 bytes"),
        ("APIKEY.SETTLE use <65> 1".into(), "id must be between 1 and 64 bytes"),
        ("APIKEY.SETTLE use id -1".into(), "cost must be between 0 and 1000000000"),
        ("APIKEY.SETTLE use id x".into(), "cost must be between 0 and 1000000000"),
        ("APIKEY.USAGE.INCR use ID <>".into(), "ID must be between 1 and 64 bytes"),
        (
            "APIKEY.USAGE.INCR use BY 1000000001 ID a".into(),
            "BY must be at most 1000000000 with ID",
        ),
        (
            "APIKEY.USAGE.INCR full BY 1 ID a".into(),
            "BY must not take the total beyond 9223372036854775807",
        ),
        (
            "APIKEY.USAGE.CHANGED use x".into(),
            "apikey.usage.changed is internal: only for replication and loading",
        ),
    ] {
        t.wrong(&call, &format!("ERR {text}"));
    }
    for call in [
        "APIKEY.ADMIT str 1 use",
        "APIKEY.ADMIT lst 1 use",
        "APIKEY.CREDIT str a BY 5",
        "APIKEY.CREDIT rec a BY 5",
        "APIKEY.SETTLE str id 5",
        "APIKEY.LIMITS rec",
        "APIKEY.USAGE.INCR rec ID a",
    ] {
        t.wrong(call, WRONG_TYPE);
    }
}

#[test]
fn what_is_wrong_with_a_call_of_a_valid_key_is_found_before_anything_is_taken() {
    let server = Server::start();
    let mut c = server.client();
    let second = r#"{"name":"second","units":5,"per":1000,"counter":2}"#;
    store(&mut c, "k", &format!(r#""limits":[{second}]"#), &format!("SECRET {SECRET}"));
    c.must("SET str value");
    c.count("full", i64::MAX);
    c.must("APIKEY.CREDIT use money SET 5");
    let many: Vec<String> = (0..16).map(|n| format!("LIMIT 1 a{n} CREDITS SHADOW")).collect();
    let before = c.must("DEBUG DIGEST");
    for (call, text) in [
        ("1 use", "ERR numcounters must be at least 2: a limit is of that counter".to_string()),
        ("2 str use", WRONG_TYPE.into()),
        ("2 use str", WRONG_TYPE.into()),
        ("2 use k", WRONG_TYPE.into()),
        ("2 full use", format!("ERR COST must not take the total beyond {}", i64::MAX)),
        (
            &format!("2 use use2 {}", many.join(" ")),
            "ERR LIMIT: the record and the call must have at most 16 limits in all".into(),
        ),
    ] {
        let call = format!("APIKEY.ADMIT k {call} SECRET {SECRET}");
        assert_eq!(c.run(&call), error(&text), "{call}");
        assert_eq!(c.must("DEBUG DIGEST"), before, "{call}");
    }
    assert_exact(&server);
}

#[test]
fn what_is_wrong_with_the_limits_of_a_record_is_named() {
    let mut t = Table::new();
    let one = r#"{"name":"a","credits":true}"#;
    for (limits, why) in [
        ("{}", "limits must be null or an array of objects"),
        (r#""[]""#, "limits must be null or an array of objects"),
        ("[1]", "limits: limit 1 must be an object"),
        (&format!("[{one},{one}]"), "limits: limit 2 must have a name of its own"),
        (
            r#"[{"name":"a","units":1,"per":1,"limit":1}]"#,
            "limits: limit 1 has a field that no limit has (number 4)",
        ),
        (r#"[{"name":"a","units":1}]"#, "limits: limit 1 is a rate, and must have per"),
        (
            r#"[{"name":"a","units":1,"per":0}]"#,
            "limits: limit 1 per must be between 1 and 31622400000",
        ),
        (
            r#"[{"name":"a","quota":1,"period":"x"}]"#,
            "limits: limit 1 period must be one of hour, day, week, month, year",
        ),
        (
            r#"[{"name":"a","credits":true,"counter":17}]"#,
            "limits: limit 1 counter must be between 1 and 16",
        ),
    ] {
        let json = format!(r#"{{"id":"k","is_active":true,"limits":{limits}}}"#);
        t.bad_record(json, why);
    }
}
