//! COMMAND INFO, DOCS and GETKEYS, and `ACL CAT`: what the server says of each command, compared with
//! what the design says, and with the page that people read.

use crate::harness::server::Kind;
use crate::harness::*;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// What a command is.
struct Is {
    name: &'static str,
    /// The same with one dot.
    alias: Option<&'static str>,
    arity: i64,
    /// Those that differ from server to server are left out: `admin`, and how secrets are kept.
    flags: &'static [&'static str],
    keys: Keys,
    secret: bool,
    /// An operator's: in @dangerous where the server has that for modules.
    dangerous: bool,
    tips: &'static [&'static str],
    /// What COMMAND DOCS says of its arguments, written as redis-cli shows it, with the types.
    args: &'static str,
    complexity: &'static str,
}

#[derive(Clone, Copy)]
enum Keys {
    None,
    /// The first argument, with the flags of its key spec.
    One(&'static [&'static str]),
    /// All arguments.
    All(&'static [&'static str]),
    /// All arguments from this one on.
    From(i64, &'static [&'static str]),
    /// Every second argument from this one on.
    EverySecond(i64, &'static [&'static str]),
    /// Every second argument behind the one at this position, their number.
    Counted(i64, &'static [&'static str]),
    /// The first; and those behind a number at the second place.
    OneAndCounted(&'static [&'static str], &'static [&'static str]),
}

const READS: &[&str] = &["RO", "access"];
const OVERWRITES: &[&str] = &["OW", "update"];
const MERGES: &[&str] = &["RW", "update"];
const UPDATES: &[&str] = &["RW", "access", "update"];
const DELETES: &[&str] = &["RM", "delete"];

const COMMANDS: [Is; 55] = [
    Is {
        name: "apikey.admit",
        alias: None,
        arity: -4,
        flags: &["write", "denyoom", "fast"],
        keys: Keys::OneAndCounted(READS, UPDATES),
        secret: true,
        dangerous: false,
        tips: &[],
        args: "key:key numcounters:integer counter:key [counter:key ...] \
               [SECRET secret:string|DIGEST digest:string] [IP address:string] \
               [SCOPE scope:string [SCOPE scope:string ...]] [COST cost:integer] [ID id:string] [PEEK] \
               [LIMIT counter:integer name:string \
               (RATE units:integer milliseconds:integer [BURST burst:integer]|\
               QUOTA units:integer HOUR|DAY|WEEK|MONTH|YEAR [DAY day-of-month:integer] \
               [OFFSET minutes:integer]|CREDITS) [WEIGHT units-per-cost:integer] [SHADOW] \
               [LIMIT counter:integer name:string \
               (RATE units:integer milliseconds:integer [BURST burst:integer]|\
               QUOTA units:integer HOUR|DAY|WEEK|MONTH|YEAR [DAY day-of-month:integer] \
               [OFFSET minutes:integer]|CREDITS) [WEIGHT units-per-cost:integer] [SHADOW] ...]]",
        complexity: "O(N*M+L)",
    },
    Is {
        name: "apikey.credit",
        alias: None,
        arity: -5,
        flags: &["write", "denyoom", "fast"],
        keys: Keys::One(UPDATES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "counter:key name:string (BY credits:integer|SET balance:integer) [ID id:string]",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.settle",
        alias: None,
        arity: 4,
        flags: &["write", "fast"],
        keys: Keys::One(UPDATES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "counter:key id:string cost:integer",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.limits",
        alias: None,
        arity: 2,
        flags: &["readonly", "fast"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "counter:key",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.changed",
        alias: None,
        arity: -3,
        flags: &["write"],
        keys: Keys::EverySecond(1, UPDATES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "key:key change:string [key:key change:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.setval",
        alias: None,
        arity: -3,
        flags: &["write", "denyoom"],
        keys: Keys::One(OVERWRITES),
        secret: true,
        dangerous: false,
        tips: &[],
        args: "key:key record:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time|KEEPTTL] \
               [SECRET secret:string|DIGEST digest:string [UNTIL unix-time-milliseconds:unix-time] [DIGEST digest:string [UNTIL unix-time-milliseconds:unix-time] ...]] \
               [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string] \
               [TOKEN token:string] [NX|XX]",
        complexity: "O(N+M)",
    },
    Is {
        name: "apikey.setabsent",
        alias: None,
        arity: -4,
        flags: &["write", "denyoom"],
        keys: Keys::One(OVERWRITES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key TOKEN token:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time] \
               [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.msetval",
        alias: None,
        arity: -6,
        flags: &["write", "denyoom"],
        keys: Keys::Counted(1, OVERWRITES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "numkeys:integer key:key record:string [key:key record:string ...] \
               TOKEN token:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time] \
               [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string] [NX]",
        complexity: "O(N*M)",
    },
    Is {
        name: "apikey.stored",
        alias: None,
        arity: -3,
        flags: &["write"],
        keys: Keys::EverySecond(1, OVERWRITES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "key:key value:string [key:key value:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.validate",
        alias: None,
        arity: -2,
        flags: &["readonly", "fast"],
        keys: Keys::One(READS),
        secret: true,
        dangerous: false,
        tips: &[],
        args: "key:key [SECRET secret:string|DIGEST digest:string] [IP address:string] \
               [SCOPE scope:string [SCOPE scope:string ...]]",
        complexity: "O(N*M)",
    },
    Is {
        name: "apikey.setscope",
        alias: None,
        arity: -9,
        flags: &["write", "denyoom"],
        keys: Keys::One(MERGES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key id:string user_id:string resource:string action:string ALLOW|DENY \
               TOKEN token:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time] \
               [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string]",
        complexity: "O(N+M)",
    },
    Is {
        name: "apikey.checkscope",
        alias: None,
        arity: 4,
        flags: &["readonly", "fast"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key resource:string action:string",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.setlist",
        alias: None,
        arity: -6,
        flags: &["write", "denyoom"],
        keys: Keys::One(OVERWRITES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key user_id:string records:string TOKEN token:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time] \
               [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string]",
        complexity: "O(N+M)",
    },
    Is {
        name: "apikey.getlist",
        alias: None,
        arity: -2,
        flags: &["readonly"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key [OFFSET offset:integer] [LIMIT limit:integer]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.token",
        alias: None,
        arity: 2,
        flags: &["write", "fast"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.inval",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::All(DELETES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key [key:key ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.taginval",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "tag:string [tag:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.taginvalnode",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        args: "tag:string [tag:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.tags",
        alias: None,
        arity: 2,
        flags: &["readonly"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.tagcard",
        alias: None,
        arity: 2,
        flags: &["readonly", "fast"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "tag:string",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.tagscan",
        alias: None,
        arity: -3,
        flags: &["readonly"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "tag:string cursor:integer [COUNT count:integer]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.describe",
        alias: None,
        arity: 2,
        flags: &["readonly"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.log",
        alias: None,
        arity: -1,
        flags: &[],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &["request_policy:all_shards"],
        args: "[COUNT count:integer|RESET]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.incr",
        alias: Some("apikey.usageincr"),
        arity: -2,
        flags: &["write", "denyoom", "fast"],
        keys: Keys::One(UPDATES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key [BY increment:integer] [ID id:string]",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.usage.get",
        alias: Some("apikey.usageget"),
        arity: 2,
        flags: &["readonly", "fast"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.usage.take",
        alias: Some("apikey.usagetake"),
        arity: -2,
        flags: &["write"],
        keys: Keys::All(UPDATES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key [key:key ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.flush",
        alias: Some("apikey.usageflush"),
        arity: -1,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &["request_policy:all_shards"],
        args: "[COUNT count:integer]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.lease",
        alias: Some("apikey.usagelease"),
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &["request_policy:all_shards"],
        args: "milliseconds:integer [COUNT count:integer]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.ack",
        alias: Some("apikey.usageack"),
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "batch:string [batch:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.nack",
        alias: Some("apikey.usagenack"),
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "batch:string [batch:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.leased",
        alias: None,
        arity: -4,
        flags: &["write"],
        keys: Keys::EverySecond(4, UPDATES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "batch:string leased-at:unix-time deadline:unix-time [key:key id:string [key:key id:string ...]]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.usage.settled",
        alias: None,
        arity: -3,
        flags: &["write"],
        keys: Keys::EverySecond(1, UPDATES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "key:key batch:string [key:key batch:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.health",
        alias: None,
        arity: 1,
        flags: &["readonly"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &["request_policy:all_shards"],
        args: "",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.check",
        alias: None,
        arity: 1,
        flags: &["readonly"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &["request_policy:all_shards"],
        args: "",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.killed",
        alias: None,
        arity: -3,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "numtags:integer tag:string [tag:string ...] [key:string [key:string ...]]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.gone",
        alias: None,
        arity: 2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "names:string",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.reclaimed",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::All(DELETES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "key:key [key:key ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.stream",
        alias: None,
        arity: 2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "version:integer",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.dropped",
        alias: None,
        arity: 1,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.apply",
        alias: None,
        arity: 3,
        flags: &["write"],
        keys: Keys::One(OVERWRITES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "key:key value:string",
        complexity: "O(N)",
    },
    Is {
        name: "cache.get",
        alias: None,
        arity: -3,
        flags: &["readonly", "fast"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key region:string [NS namespace:string]",
        complexity: "O(1)",
    },
    Is {
        name: "cache.mget",
        alias: None,
        arity: -3,
        flags: &["readonly", "fast"],
        keys: Keys::From(2, READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "region:string key:key [key:key ...]",
        complexity: "O(N)",
    },
    Is {
        name: "cache.set",
        alias: None,
        arity: -4,
        flags: &["write", "denyoom"],
        keys: Keys::One(OVERWRITES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key region:string value:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time|KEEPTTL] \
               [GRACE grace:integer] [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string] \
               [LABEL label:string] [TOKEN token:string] [NX|XX]",
        complexity: "O(N+M)",
    },
    Is {
        name: "cache.mset",
        alias: None,
        arity: -7,
        flags: &["write", "denyoom"],
        keys: Keys::Counted(2, OVERWRITES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "region:string numkeys:integer key:key value:string [key:key value:string ...] \
               TOKEN token:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time] \
               [GRACE grace:integer] [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string] \
               [LABEL label:string] [NX]",
        complexity: "O(N*M)",
    },
    Is {
        name: "cache.setabsent",
        alias: None,
        arity: -5,
        flags: &["write", "denyoom"],
        keys: Keys::One(OVERWRITES),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key region:string TOKEN token:string \
               [EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|\
               PXAT unix-time-milliseconds:unix-time] \
               [TAGS count:integer tag:string [tag:string ...]] [NS namespace:string]",
        complexity: "O(N)",
    },
    Is {
        name: "cache.fail",
        alias: None,
        arity: -5,
        flags: &["write", "fast"],
        keys: Keys::One(READS),
        secret: false,
        dangerous: false,
        tips: &[],
        args: "key:key region:string TOKEN token:string [BACKOFF milliseconds:integer] [NS namespace:string]",
        complexity: "O(1)",
    },
    Is {
        name: "cache.taginval",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "[SOFT] tag:string [tag:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "cache.clear",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "region:string [NS namespace:string]",
        complexity: "O(1)",
    },
    Is {
        name: "cache.patinval",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "pattern:pattern [REGION region:string] [NS namespace:string]",
        complexity: "O(N)",
    },
    Is {
        name: "cache.region",
        alias: None,
        arity: -2,
        flags: &[],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "SET|GET|LIST|DEL [region:string] [NS namespace:string] [TTL milliseconds:integer] \
               [JITTER percent:integer] [GRACE milliseconds:integer] [EAGER percent:integer] \
               [LEASE milliseconds:integer] [ABSENTTTL milliseconds:integer] \
               [MAXBYTES bytes:integer] [MAXENTRIES entries:integer] [EVICT policy:string]",
        complexity: "O(N)",
    },
    Is {
        name: "cache.stats",
        alias: None,
        arity: -1,
        flags: &["readonly"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "[region:string] [NS namespace:string]",
        complexity: "O(1)",
    },
    Is {
        name: "cache.top",
        alias: None,
        arity: -2,
        flags: &["readonly"],
        keys: Keys::None,
        secret: false,
        dangerous: false,
        tips: &[],
        args: "region:string [COUNT count:integer] [BY order:string] [NS namespace:string]",
        complexity: "O(1)",
    },
    Is {
        name: "apikey.replaced",
        alias: None,
        arity: 4,
        flags: &["write"],
        keys: Keys::One(OVERWRITES),
        secret: false,
        dangerous: true,
        tips: &[],
        args: "key:key value:string names:string",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.softened",
        alias: None,
        arity: -2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "tag:string [tag:string ...]",
        complexity: "O(N)",
    },
    Is {
        name: "apikey.regions",
        alias: None,
        arity: 2,
        flags: &["write"],
        keys: Keys::None,
        secret: false,
        dangerous: true,
        tips: &[],
        args: "text:string",
        complexity: "O(1)",
    },
];

/// Each command under each of its names.
fn named() -> impl Iterator<Item = (&'static str, &'static Is)> {
    COMMANDS
        .iter()
        .flat_map(|is| [Some(is.name), is.alias].into_iter().flatten().map(move |n| (n, is)))
}

/// What `named` has, and what a debug build has more.
fn all_names(c: &mut Client) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = named().map(|(name, _)| name.to_string()).collect();
    if has_debug_command(c) {
        names.insert("apikey.debug".into());
    }
    names
}

fn texts(reply: &Reply) -> BTreeSet<String> {
    reply.items().iter().map(Reply::text).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

/// COMMAND INFO of one command, element by element.
#[track_caller]
fn info(c: &mut Client, name: &str) -> Vec<Reply> {
    let reply = c.must(&format!("COMMAND INFO {name}"));
    reply.items()[0].items().to_vec()
}

#[test]
fn every_command_of_the_module_is_in_the_table() {
    let server = Server::start();
    let mut c = server.client();
    let expected = all_names(&mut c);
    let all = c.must("COMMAND");
    let seen: BTreeSet<String> = all
        .items()
        .iter()
        .map(|info| info.items()[0].text())
        .filter(|name| name.starts_with("apikey.") || name.starts_with("cache."))
        .collect();
    assert_eq!(seen, expected);
    if server::kind() != Kind::Redis62 {
        assert_eq!(texts(&c.must("COMMAND LIST FILTERBY MODULE apikey")), expected);
    }
}

#[test]
fn command_info_tells_arity_flags_and_keys() {
    let server = Server::start();
    let mut c = server.client();
    let kind = server::kind();
    for (name, is) in named() {
        let info = info(&mut c, name);
        assert_eq!(info[0].text(), name);
        // 6.2 isn't told; the module checks.
        let arity = if kind == Kind::Redis62 { -1 } else { is.arity };
        assert_eq!(info[1], int(arity), "{name}");

        let mut flags = set(is.flags);
        if kind == Kind::Redis62 {
            // What it can't redact it hides whole: rows may have plain secrets.
            let rows = ["apikey.msetval", "apikey.setlist", "cache.set", "cache.mset"];
            if is.secret || rows.contains(&is.name) {
                flags.extend(set(&["skip_monitor", "skip_slowlog"]));
            }
        } else {
            flags.insert("module".into());
        }
        if matches!(is.name, "apikey.check" | "apikey.log" | "cache.region") {
            flags.insert("admin".into());
        }
        if matches!(is.keys, Keys::Counted(..) | Keys::OneAndCounted(..)) {
            flags.insert("movablekeys".into());
        }
        assert_eq!(texts(&info[2]), flags, "{name}");

        let (first, last, step) = match is.keys {
            Keys::None | Keys::Counted(..) => (0, 0, 0),
            Keys::One(_) | Keys::OneAndCounted(..) => (1, 1, 1),
            Keys::All(_) => (1, -1, 1),
            Keys::From(first, _) => (first, -1, 1),
            Keys::EverySecond(first, _) => (first, -1, 2),
        };
        assert_eq!(info[3..6], [int(first), int(last), int(step)], "{name}");
    }
}

#[test]
fn command_info_tells_key_specs_and_tips() {
    if server::kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    for (name, is) in named() {
        let info = info(&mut c, name);
        assert_eq!(texts(&info[7]), set(is.tips), "{name}");
        assert_eq!(info[9], array([]), "{name}: subcommands");
        let specs = info[8].items();
        let (flags, first, last, step) = match is.keys {
            Keys::None => {
                assert_eq!(specs, [], "{name}");
                continue;
            }
            Keys::One(flags) => (flags, 1, 0, 1),
            Keys::All(flags) => (flags, 1, -1, 1),
            Keys::From(first, flags) => (flags, first, -1, 1),
            Keys::EverySecond(first, flags) => (flags, first, -1, 2),
            Keys::Counted(at, flags) => (flags, at, -1, 2),
            Keys::OneAndCounted(_, flags) => (flags, 2, -1, 1),
        };
        let spec = specs.last().expect("one");
        if let Keys::OneAndCounted(flags, _) = is.keys {
            assert_eq!((specs.len(), texts(specs[0].get("flags"))), (2, set(flags)), "{name}");
            let begin = specs[0].get("begin_search").get("spec");
            assert_eq!(begin.get("index"), &int(1), "{name}");
        } else {
            assert_eq!(specs.len(), 1, "{name}");
        }
        let mut flags = set(flags);
        if matches!(is.keys, Keys::Counted(..) | Keys::OneAndCounted(..)) {
            // The server is to ask the module, since it takes numkeys for a number of arguments.
            flags.insert("incomplete".into());
        }
        assert_eq!(texts(spec.get("flags")), flags, "{name}");
        let begin = spec.get("begin_search");
        assert_eq!(begin.get("type").text(), "index", "{name}");
        assert_eq!(begin.get("spec").get("index"), &int(first), "{name}");
        let find = spec.get("find_keys");
        if matches!(is.keys, Keys::Counted(..) | Keys::OneAndCounted(..)) {
            assert_eq!(find.get("type").text(), "keynum", "{name}");
            for (field, value) in [("keynumidx", 0), ("firstkey", 1), ("keystep", step)] {
                assert_eq!(find.get("spec").get(field), &int(value), "{name} {field}");
            }
            continue;
        }
        assert_eq!(find.get("type").text(), "range", "{name}");
        for (field, value) in [("lastkey", last), ("keystep", step), ("limit", 0)] {
            assert_eq!(find.get("spec").get(field), &int(value), "{name} {field}");
        }
    }
}

#[test]
fn command_getkeys_finds_the_keys() {
    let server = Server::start();
    let mut c = server.client();
    for (call, keys, flags) in [
        ("APIKEY.SETVAL k {} EX 5 TAGS 1 t", &["k"][..], OVERWRITES),
        ("APIKEY.SETVAL k {} TOKEN 0 NX", &["k"], OVERWRITES),
        ("APIKEY.MSETVAL 1 k {} TOKEN 0", &["k"], OVERWRITES),
        ("APIKEY.MSETVAL 2 a {} b {} TOKEN 0 TAGS 1 t", &["a", "b"], OVERWRITES),
        ("APIKEY.STORED a v b v", &["a", "b"], OVERWRITES),
        ("APIKEY.VALIDATE k SECRET s SCOPE x", &["k"], READS),
        ("APIKEY.TOKEN k", &["k"], READS),
        ("APIKEY.SETSCOPE k i u r a ALLOW TOKEN 0", &["k"], MERGES),
        ("APIKEY.CHECKSCOPE k r a", &["k"], READS),
        ("APIKEY.SETLIST k u [] TOKEN 0", &["k"], OVERWRITES),
        ("APIKEY.GETLIST k OFFSET 5", &["k"], READS),
        ("APIKEY.INVAL a", &["a"], DELETES),
        ("APIKEY.INVAL a b c", &["a", "b", "c"], DELETES),
        ("APIKEY.TAGS k", &["k"], READS),
        ("APIKEY.DESCRIBE k", &["k"], READS),
        ("APIKEY.USAGE.INCR k BY 5", &["k"], UPDATES),
        ("APIKEY.USAGEINCR k", &["k"], UPDATES),
        ("APIKEY.USAGE.GET k", &["k"], READS),
        ("APIKEY.USAGEGET k", &["k"], READS),
        ("APIKEY.USAGE.TAKE a b c", &["a", "b", "c"], UPDATES),
        ("APIKEY.USAGETAKE a", &["a"], UPDATES),
        ("APIKEY.APPLY k value", &["k"], OVERWRITES),
        ("APIKEY.RECLAIMED a b", &["a", "b"], DELETES),
        ("APIKEY.USAGE.LEASED id 1 2 a id b id", &["a", "b"], UPDATES),
        ("CACHE.GET k r NS n", &["k"], READS),
        ("CACHE.MGET r a b c", &["a", "b", "c"], READS),
        ("CACHE.SET k r v TAGS 1 t", &["k"], OVERWRITES),
        ("CACHE.MSET r 2 a v b v TOKEN 0 TAGS 1 t", &["a", "b"], OVERWRITES),
        ("CACHE.SETABSENT k r TOKEN 0", &["k"], OVERWRITES),
        ("CACHE.FAIL k r TOKEN 0", &["k"], READS),
        ("APIKEY.REPLACED k value names", &["k"], OVERWRITES),
        ("APIKEY.USAGE.SETTLED a id b id", &["a", "b"], UPDATES),
        ("APIKEY.USAGE.CHANGED a x b x", &["a", "b"], UPDATES),
        ("APIKEY.CREDIT k credits BY 5", &["k"], UPDATES),
        ("APIKEY.SETTLE k id 5", &["k"], UPDATES),
        ("APIKEY.LIMITS k", &["k"], READS),
    ] {
        let keys: Vec<Reply> = keys.iter().map(bulk).collect();
        assert_eq!(c.run(&format!("COMMAND GETKEYS {call}")), array(keys.clone()), "{call}");
        if server::kind() != Kind::Redis62 {
            let with_flags = c.must(&format!("COMMAND GETKEYSANDFLAGS {call}"));
            for (found, key) in with_flags.items().iter().zip(keys) {
                assert_eq!(found.items()[0], key, "{call}");
                assert_eq!(texts(&found.items()[1]), set(flags), "{call}");
            }
        }
    }
    let call = "APIKEY.ADMIT k 2 a b SECRET s COST 5";
    assert_eq!(c.run(&format!("COMMAND GETKEYS {call}")), array(["k", "a", "b"].map(bulk)));
    if server::kind() != Kind::Redis62 {
        let found = c.must(&format!("COMMAND GETKEYSANDFLAGS {call}"));
        let flags = found.items().iter().map(|key| texts(&key.items()[1]));
        assert!(flags.eq([READS, UPDATES, UPDATES].map(set)), "{found:?}");
    }
    for call in [
        "APIKEY.TAGINVAL t",
        "APIKEY.TAGCARD t",
        "APIKEY.TAGSCAN t 0",
        "APIKEY.LOG RESET",
        "APIKEY.USAGE.FLUSH",
        "APIKEY.USAGE.LEASE 5",
        "APIKEY.USAGE.ACK b",
        "APIKEY.USAGE.NACK b",
        "APIKEY.HEALTH",
        "APIKEY.CHECK",
        "CACHE.TAGINVAL SOFT t",
        "CACHE.CLEAR r",
        "CACHE.PATINVAL k*",
        "CACHE.REGION LIST",
        "CACHE.STATS r",
        "CACHE.TOP r",
    ] {
        // Some servers count the arguments before they see that there is no key.
        assert!(c.run(&format!("COMMAND GETKEYS {call}")).is_error(), "{call}");
    }
}

/// Arguments as redis-cli hints at them, each with its type.
fn hint(args: &[Reply]) -> String {
    let all: Vec<String> = args.iter().map(hint_one).collect();
    all.join(" ")
}

fn hint_one(arg: &Reply) -> String {
    let has = |name: &str| arg.names().iter().any(|known| known == name);
    let text = |name: &str| has(name).then(|| arg.get(name).text());
    let flags = if has("flags") { texts(arg.get("flags")) } else { BTreeSet::new() };
    let kind = arg.get("type").text();
    let value = match kind.as_str() {
        "pure-token" => String::new(),
        "oneof" => {
            let all: Vec<String> = arg.get("arguments").items().iter().map(hint_one).collect();
            let is_long = all.iter().any(|one| one.contains(' ')) && !flags.contains("optional");
            let all = all.join("|");
            if is_long {
                format!("({all})")
            } else {
                all
            }
        }
        "block" => hint(arg.get("arguments").items()),
        kind => format!("{}:{kind}", arg.get("name").text()),
    };
    let token = text("token").unwrap_or_default();
    let with_token = format!("{token} {value}").trim().to_string();
    let mut hint = with_token.clone();
    if flags.contains("multiple") {
        let again = if flags.contains("multiple_token") { &with_token } else { &value };
        hint += &format!(" [{again} ...]");
    }
    if flags.contains("optional") {
        hint = format!("[{hint}]");
    }
    hint
}

#[test]
fn command_docs_tells_summary_complexity_and_arguments() {
    if server::kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    for (name, is) in named() {
        let docs = c.must(&format!("COMMAND DOCS {name}"));
        let docs = docs.get(name);
        let summary = docs.get("summary").text();
        assert!(summary.ends_with('.') && (20..200).contains(&summary.len()), "{name}: {summary}");
        let later = [
            "apikey.taginvalnode",
            "apikey.replaced",
            "apikey.softened",
            "apikey.regions",
            "apikey.admit",
            "apikey.credit",
            "apikey.settle",
            "apikey.limits",
            "apikey.usage.changed",
        ];
        let is_later = name.starts_with("cache.") || later.contains(&name);
        let since = if is_later { "0.2.0" } else { "0.1.0" };
        assert_eq!(docs.get("since"), &bulk(since), "{name}");
        assert_eq!(docs.get("group"), &bulk("module"), "{name}");
        assert_eq!(docs.get("module"), &bulk("apikey"), "{name}");
        let complexity = docs.get("complexity").text();
        let (order, rest) = complexity.split_once([' ', ':']).unwrap_or((&complexity, ""));
        assert_eq!(order, is.complexity, "{name}");
        // What N and M are is said.
        assert_eq!(order.contains('N'), rest.starts_with("where N is the "), "{complexity}");
        assert_eq!(order.contains('M'), rest.contains(" and M "), "{complexity}");
        let args = match docs.names().iter().any(|field| field == "arguments") {
            true => docs.get("arguments").items().to_vec(),
            false => Vec::new(),
        };
        assert_eq!(hint(&args), is.args, "{name}");
        let keys = args.iter().filter(|arg| arg.get("type").text() == "key");
        for (spec, arg) in (0..).zip(keys) {
            assert_eq!(arg.get("key_spec_index"), &int(spec), "{name}");
        }
    }
}

#[test]
fn the_docs_of_what_takes_a_secret_recommend_the_digest() {
    if server::kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    for (name, is) in named() {
        let docs = c.must(&format!("COMMAND DOCS {name}"));
        let summary = docs.get(name).get("summary").text();
        let recommends =
            summary.contains("by DIGEST, so that the secret never leaves your process");
        assert_eq!(recommends, is.secret, "{name}: {summary}");
        // Whoever takes a secret takes the digest as well.
        assert_eq!(is.args.contains("SECRET "), is.secret, "{name}");
        assert_eq!(is.args.contains("DIGEST "), is.secret, "{name}");
    }
}

#[test]
fn each_command_is_in_the_category_of_its_name_and_operators_commands_are_dangerous() {
    let server = Server::start();
    let mut c = server.client();
    if matches!(server::kind(), Kind::Redis62 | Kind::Redis70) {
        // No module can add a category there, nor put a command into one.
        assert_eq!(c.run("ACL CAT apikey"), error("ERR Unknown category 'apikey'"));
        return;
    }
    let [mut own, cache] =
        ["apikey", "cache"].map(|name| texts(&c.must(&format!("ACL CAT {name}"))));
    own.extend(cache);
    assert_eq!(own, all_names(&mut c));
    let dangerous = texts(&c.must("ACL CAT dangerous"));
    for (name, is) in named() {
        assert_eq!(dangerous.contains(name), is.dangerous, "{name}");
        let categories = texts(&info(&mut c, name)[6]);
        let own = format!("@{}", name.split('.').next().unwrap_or_default());
        assert!(categories.contains(&own), "{name}: {categories:?}");
        assert_eq!(categories.contains("@dangerous"), is.dangerous, "{name}: {categories:?}");
    }
}

/// The pages that have a section for each public command, headed by how it is called, and what the commands of each
/// begin with; commands that are told together share a section: `### APIKEY.A key [COUNT n], APIKEY.B key`.
const PAGES: [(&str, &str); 2] = [("docs/commands.md", "APIKEY."), ("docs/regions.md", "CACHE.")];

/// The pages' commands, in lower case, and their arguments as they stand there.
fn sections() -> Vec<(String, String)> {
    let of_page = |(page, begins): (&str, &str)| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let headings = text.lines().filter_map(|line| line.strip_prefix("### "));
        let calls = headings.flat_map(|heading| heading.split(", ")).filter_map(|call| {
            let (name, args) = call.split_once(' ').unwrap_or((call, ""));
            name.starts_with(begins).then(|| (name.to_lowercase(), args.to_string()))
        });
        calls.collect::<Vec<_>>()
    };
    PAGES.into_iter().flat_map(of_page).collect()
}

/// A part of how a command is called.
#[derive(Clone, PartialEq)]
enum Part {
    /// A word to be given as it is, in capitals.
    Word(String),
    /// An argument, by its name, which is the page's own.
    Value(String),
    /// What may be left out.
    Optional(Vec<Part>),
    OneOf(Vec<Vec<Part>>),
    /// Once or more often.
    Repeated(Vec<Part>),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Word(word) => write!(f, "{word}"),
            Part::Value(_) => write!(f, "_"),
            Part::Optional(parts) => write!(f, "[{}]", form(parts)),
            Part::OneOf(all) => {
                let all: Vec<String> = all.iter().map(|parts| form(parts)).collect();
                write!(f, "{}", all.join("|"))
            }
            Part::Repeated(parts) => write!(f, "({})+", form(parts)),
        }
    }
}

fn form(parts: &[Part]) -> String {
    let all: Vec<String> = parts.iter().map(Part::to_string).collect();
    all.join(" ")
}

fn part_of(word: &str) -> Part {
    let name = word.split(':').next().unwrap_or_default();
    match name.bytes().all(|b| b.is_ascii_uppercase()) {
        true => Part::Word(name.into()),
        false => Part::Value(name.into()),
    }
}

/// A call from a heading, or as [`hint`] writes it, in a form that is the same for both: the names of
/// values are left out, and what may be repeated is so in one way.
#[track_caller]
fn form_of(call: &str) -> String {
    let mut spaced = call.to_string();
    for mark in ["[", "]", "(", ")", "|"] {
        spaced = spaced.replace(mark, &format!(" {mark} "));
    }
    form(&parse(&mut spaced.split_whitespace(), false))
}

/// Reads up to the bracket that closes, or to the end.
#[track_caller]
fn parse<'a>(words: &mut impl Iterator<Item = &'a str>, in_brackets: bool) -> Vec<Part> {
    // In brackets a bar divides all that they hold; elsewhere it stands between two words.
    let mut choices = Vec::new();
    let mut parts = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "]" | ")" => break,
            "(" => parts.extend(parse(words, true)),
            "[" => {
                let inner = parse(words, true);
                let once = match inner.split_last() {
                    Some((Part::Repeated(last), before)) => [before, last].concat(),
                    Some((Part::Optional(last), before)) => match last.as_slice() {
                        [Part::Repeated(last)] => {
                            [before, &[Part::Optional(last.clone())]].concat()
                        }
                        _ => inner.clone(),
                    },
                    _ => inner.clone(),
                };
                if parts.ends_with(&once) {
                    // `a b [a b ...]`; COMMAND DOCS says so of `a [a]` too, which is twice at most.
                    parts.truncate(parts.len() - once.len());
                    parts.push(Part::Repeated(once));
                } else {
                    parts.push(Part::Optional(inner));
                }
            }
            "..." => match parts.pop().expect("something to repeat") {
                Part::Optional(inner) => parts.push(Part::Optional(vec![Part::Repeated(inner)])),
                part => parts.push(Part::Repeated(vec![part])),
            },
            "|" if in_brackets => choices.push(std::mem::take(&mut parts)),
            "|" => {
                let one = vec![parts.pop().expect("a word before the bar")];
                let other = vec![part_of(words.next().expect("a word behind the bar"))];
                parts.push(Part::OneOf(vec![one, other]));
            }
            word => parts.push(part_of(word)),
        }
    }
    if choices.is_empty() {
        return parts;
    }
    choices.push(parts);
    vec![Part::OneOf(choices)]
}

#[test]
fn the_form_of_a_call_is_the_same_however_it_is_written() {
    for (heading, docs, expected) in [
        ("", "", ""),
        ("tag [tag ...]", "tag:string [tag:string ...]", "(_)+"),
        (
            "n k r [k r ...] T t",
            "n:integer key:key r:string [key:key r:string ...] T t:x",
            "_ (_ _)+ T _",
        ),
        (
            "k [SCOPE s] ...",
            "key:key [SCOPE scope:string [SCOPE scope:string ...]]",
            "_ [(SCOPE _)+]",
        ),
        (
            "[D h [U t] [D h [U t]]]",
            "[D h:string [U t:unix-time] [D h:string [U t:unix-time] ...]]",
            "[(D _ [U _])+]",
        ),
        ("[TAGS n tag ...]", "[TAGS count:integer tag:string [tag:string ...]]", "[TAGS _ (_)+]"),
        ("a ALLOW | DENY T t", "a:string ALLOW|DENY T t:string", "_ ALLOW|DENY T _"),
        ("[COUNT n | RESET]", "[COUNT count:integer|RESET]", "[COUNT _|RESET]"),
        ("[S s | D h [D h]]", "[S s:string|D d:string [D d:string ...]]", "[S _|(D _)+]"),
        (
            "k (BY n | SET m [X]) [ID id]",
            "k:key (BY n:integer|SET m:integer [X]) [ID id:string]",
            "_ BY _|SET _ [X] [ID _]",
        ),
        ("key [a [b]]", "key:key [a:string [b:string]]", "_ [_ [_]]"),
    ] {
        assert_eq!(form_of(heading), expected, "{heading}");
        assert_eq!(form_of(docs), expected, "{docs}");
    }
    for (one, other) in [
        ("k [EX s]", "k EX s"),
        ("[NX | XX]", "[NX] [XX]"),
        ("[NX] [EX s]", "[EX s] [NX]"),
        ("tag [tag ...]", "tag"),
        ("[EX s | PX ms]", "[EX s | KEEPTTL]"),
    ] {
        assert_ne!(form_of(one), form_of(other));
    }
}

#[test]
fn the_page_of_the_commands_has_each_of_them_once_and_as_the_server_tells_it() {
    if server::kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    let mut told = sections();
    told.sort();
    let mut named = Vec::new();
    for is in &COMMANDS {
        let docs = c.must(&format!("COMMAND DOCS {}", is.name));
        let docs = docs.get(is.name);
        if docs.get("summary").text().starts_with("Internal: ") {
            continue;
        }
        named.push(is.name);
        let args = match docs.names().iter().any(|field| field == "arguments") {
            true => hint(docs.get("arguments").items()),
            false => String::new(),
        };
        for (_, heading) in told.iter().filter(|(name, _)| name == is.name) {
            assert_eq!(form_of(heading), form_of(&args), "{}: {heading}", is.name);
        }
    }
    named.sort_unstable();
    let told: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(told, named);
}
