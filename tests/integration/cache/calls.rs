//! Calls that the tests of regions share.

use crate::harness::*;
use std::fs;
use std::time::{Duration, Instant};

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

/// What PINGs were answered while something went on.
#[derive(Debug)]
pub struct Pings {
    pub answered: usize,
    /// The longest that one took, with whatever else the machine did meanwhile.
    pub longest: Duration,
    /// The most that the server's main thread ran from the sending of one to its answer: a bound for this holds on a busy
    /// machine too.
    pub most_work: Duration,
}

/// Asks PING again and again while `done` is not yet so, and prints what came of it.
#[track_caller]
pub fn pings(server: &Server, mut done: impl FnMut() -> bool) -> Pings {
    let mut c = server.client();
    let began = Instant::now();
    let mut pings = Pings { answered: 0, longest: Duration::ZERO, most_work: Duration::ZERO };
    while !done() {
        for _ in 0..10 {
            let (asked, worked) = (Instant::now(), worked(server));
            c.must("PING");
            pings.longest = pings.longest.max(asked.elapsed());
            pings.most_work = pings.most_work.max(self::worked(server) - worked);
            pings.answered += 1;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
    }
    println!("{pings:?}");
    pings
}

/// For how long a server's main thread has run.
fn worked(server: &Server) -> Duration {
    let pid = server.pid();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat")).expect("it runs");
    let ran = text.split(' ').next().and_then(|ran| ran.parse().ok());
    Duration::from_nanos(ran.expect("nanoseconds"))
}
