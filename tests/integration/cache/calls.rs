//! Calls that the tests of regions share.

use crate::harness::*;

/// What GET replies to `key region`, behind which options may stand.
#[track_caller]
pub fn get(c: &mut Client, line: &str) -> Reply {
    c.must(&format!("CACHE.GET {line}"))
}

/// The code of what GET replies, or the error.
#[track_caller]
pub fn says(c: &mut Client, line: &str) -> String {
    code_of(&c.run(&format!("CACHE.GET {line}")))
}

/// The token of a MISS.
#[track_caller]
pub fn miss(c: &mut Client, line: &str) -> String {
    let reply = get(c, line);
    assert_eq!((reply.items().len(), code_of(&reply).as_str()), (2, "MISS"), "{line}: {reply:?}");
    assert!(is_token(&reply.items()[1]), "{reply:?}");
    reply.items()[1].text()
}

/// The value of a HIT, or of what is STALE.
#[track_caller]
pub fn value(c: &mut Client, line: &str) -> String {
    get(c, line).items()[1].text()
}

/// How long a HIT is fresh.
#[track_caller]
pub fn left(c: &mut Client, line: &str) -> i64 {
    let reply = get(c, line);
    assert_eq!(code_of(&reply), "HIT", "{line}: {reply:?}");
    reply.items()[4].int()
}

/// A call that has to be right.
#[track_caller]
pub fn fine(c: &mut Client, line: &str) {
    assert_eq!(c.run(line), ok(), "{line:.100}");
}

/// `key region value`, and options.
#[track_caller]
pub fn set(c: &mut Client, line: &str) {
    fine(c, &format!("CACHE.SET {line}"));
}

/// Sets of a region what stands behind its name.
#[track_caller]
pub fn region(c: &mut Client, line: &str) {
    fine(c, &format!("CACHE.REGION SET {line}"));
}

/// A number of STATS of a region, behind which NS may stand.
#[track_caller]
pub fn stat(c: &mut Client, region: &str, name: &str) -> i64 {
    c.must(&format!("CACHE.STATS {region}")).get(name).int()
}

/// The texts of an array, sorted.
#[track_caller]
pub fn sorted(reply: &Reply) -> Vec<String> {
    let mut texts: Vec<String> = reply.items().iter().map(Reply::text).collect();
    texts.sort();
    texts
}

/// Sends the lines at once; none may fail.
#[track_caller]
pub fn all(c: &mut Client, lines: &[String]) {
    for part in lines.chunks(10_000) {
        for (line, reply) in part.iter().zip(c.pipeline(part)) {
            assert!(!reply.is_error(), "{line:.100}: {reply:?}");
        }
    }
}

/// Stores so many entries `key:0` and so on, of a region, with options.
#[track_caller]
pub fn store_many(c: &mut Client, keys: &str, count: usize, rest: &str) {
    let lines: Vec<String> = (0..count).map(|n| format!("CACHE.SET {keys}{n} {rest}")).collect();
    all(c, &lines);
}
