//! The guides of a query cache and of a caching service, played through by regions: the calls and procedures of
//! `docs/migrating-cache.md`, with what a crash between two steps costs. What the document claims stands here.

use crate::acl::user;
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The name of an entry, which a cluster puts beside what else has this id.
fn key(region: &str, id: &str) -> String {
    format!("cache:{region}:{{{id}}}")
}

/// The application's source: values by id, and notes of changes that were committed with them.
#[derive(Default)]
struct Database {
    values: RefCell<BTreeMap<String, String>>,
    outbox: RefCell<Vec<String>>,
    reads: Cell<usize>,
}

impl Database {
    fn commit(&self, id: &str, value: &str) {
        self.values.borrow_mut().insert(id.into(), value.into());
        self.outbox.borrow_mut().push(id.into());
    }

    fn read(&self, id: &str) -> Option<String> {
        self.reads.set(self.reads.get() + 1);
        self.values.borrow().get(id).cloned()
    }
}

/// One process of the application, with one connection.
struct App<'a> {
    database: &'a Database,
    redis: Client,
}

impl<'a> App<'a> {
    fn new(server: &Server, database: &'a Database) -> Self {
        Self { database, redis: server.client() }
    }

    /// `get`, and on a miss the source, what a library calls `get_or_set`.
    #[track_caller]
    fn product(&mut self, id: &str) -> Option<String> {
        let reply = get(&mut self.redis, "products", id);
        match code_of(&reply).as_str() {
            "HIT" | "STALE" => Some(reply.items()[1].text()),
            "ABSENT" => None,
            "MISS" => {
                let token = reply.items()[1].text();
                let value = self.database.read(id);
                match &value {
                    Some(value) => fill(&mut self.redis, "products", id, value, &token),
                    None => self.redis.must(&format!(
                        "CACHE.SETABSENT {} products TOKEN {token}",
                        key("products", id)
                    )),
                };
                value
            }
            other => panic!("{other}"),
        }
    }

    /// Tells what was committed; what is told is no longer in the outbox.
    #[track_caller]
    fn deliver(&mut self) {
        for id in self.database.outbox.take() {
            self.redis.must(&format!("APIKEY.INVAL {}", key("products", &id)));
        }
    }
}

#[track_caller]
fn get(c: &mut Client, region: &str, id: &str) -> Reply {
    c.must(&format!("CACHE.GET {} {region}", key(region, id)))
}

#[track_caller]
fn code(c: &mut Client, region: &str, id: &str) -> String {
    code_of(&get(c, region, id))
}

/// The token of a miss.
#[track_caller]
fn miss(c: &mut Client, region: &str, id: &str) -> String {
    let reply = get(c, region, id);
    assert_eq!(code_of(&reply), "MISS");
    reply.items()[1].text()
}

/// What a reader stores.
#[track_caller]
fn fill(c: &mut Client, region: &str, id: &str, value: &str, token: &str) -> Reply {
    c.must(&format!("CACHE.SET {} {region} {value} TOKEN {token}", key(region, id)))
}

/// What a writer stores.
#[track_caller]
fn set(c: &mut Client, region: &str, id: &str, value: &str, options: &str) {
    let line = format!("CACHE.SET {} {region} {value}{options}", key(region, id));
    assert_eq!(c.must(&line), ok(), "{line}");
}

/// For how many ms more an entry is fresh.
#[track_caller]
fn fresh(c: &mut Client, region: &str, id: &str) -> i64 {
    get(c, region, id).items()[4].int()
}

const HOUR: i64 = 3_600_000;

fn is_about(ms: i64, expected: i64) -> bool {
    (expected - 60_000..=expected).contains(&ms)
}

// Entries.

#[test]
fn an_entry_is_got_set_deleted_and_asked_for() {
    let server = Server::start();
    let mut c = server.client();
    let name = key("products", "123");
    let token = miss(&mut c, "products", "123");
    assert_eq!(c.must(&format!("EXISTS {name}")), int(0));
    assert_eq!(fill(&mut c, "products", "123", "lamp", &token), ok());
    let reply = get(&mut c, "products", "123");
    assert_eq!(reply.items()[..3], [bulk("HIT"), bulk("lamp"), nil()]);
    assert_eq!(c.must(&format!("EXISTS {name}")), int(1));
    assert_eq!(c.must(&format!("TYPE {name}")), simple("cache-val"));
    assert!(is_about(fresh(&mut c, "products", "123"), HOUR), "the region's, where none is named");
    set(&mut c, "products", "456", "desk", " EX 14400");
    assert!(is_about(fresh(&mut c, "products", "456"), 4 * HOUR));
    // Deleted by INVAL: who looked before can't put it back. After a DEL he can.
    for (line, stored) in [("APIKEY.INVAL", nil()), ("DEL", ok())] {
        let token = c.must(&format!("APIKEY.TOKEN {name}")).text();
        set(&mut c, "products", "123", "lamp", "");
        let token =
            if line == "DEL" { c.must(&format!("APIKEY.TOKEN {name}")).text() } else { token };
        assert_eq!(c.must(&format!("{line} {name}")), int(1));
        assert_eq!(c.must(&format!("EXISTS {name}")), int(0));
        assert_eq!(fill(&mut c, "products", "123", "old", &token), stored, "{line}");
    }
    // GET of the server is not for it, nor GET of a region for what is the server's.
    c.must("SET plain 1");
    for line in [format!("GET {name}"), "CACHE.GET plain products".into()] {
        let reply = c.run(&line);
        assert!(reply.text().starts_with("WRONGTYPE "), "{reply:?}");
    }
    // The source has no such thing: an answer of its own, for 30 s.
    let token = miss(&mut c, "products", "none");
    let none = key("products", "none");
    assert_eq!(c.must(&format!("CACHE.SETABSENT {none} products TOKEN {token}")), ok());
    assert_eq!(get(&mut c, "products", "none"), array([bulk("ABSENT"), nil()]));
    assert_eq!(c.must(&format!("TTL {none}")), int(30));
}

#[test]
fn many_entries_are_got_and_set_at_once() {
    let server = Server::start();
    let mut c = server.client();
    let names = ["123", "456", "789"].map(|id| key("products", id));
    let mget = format!("CACHE.MGET products {}", names.join(" "));
    set(&mut c, "products", "456", "desk", "");
    let all = c.must(&mget);
    let codes = |all: &Reply| all.items().iter().map(code_of).collect::<Vec<_>>();
    assert_eq!(codes(&all), ["MISS", "HIT", "MISS"]);
    let token = all.items()[0].items()[1].text();
    // What was invalidated meanwhile is left out, and NX leaves what is there.
    c.must(&format!("APIKEY.INVAL {}", names[2]));
    let pairs = names.map(|name| format!("{name} v")).join(" ");
    let mset = format!("CACHE.MSET products 3 {pairs} TOKEN {token} NX");
    assert_eq!(c.must(&mset), int(1));
    assert_eq!(codes(&c.must(&mget)), ["HIT", "HIT", "MISS"]);
    assert_eq!(get(&mut c, "products", "456").items()[1], bulk("desk"));
}

// Invalidation.

#[test]
fn a_region_is_cleared() {
    let server = Server::start();
    let mut c = server.client();
    for id in 0..500 {
        set(&mut c, "products", &id.to_string(), "v", "");
    }
    set(&mut c, "users", "1", "v", "");
    let late = miss(&mut c, "products", "late");
    let is_held = hold(&mut c);
    assert_eq!(c.must("CACHE.CLEAR products"), int(500));
    assert_eq!(code(&mut c, "products", "7"), "MISS");
    if is_held {
        let dead = format!("EXISTS {}", key("products", "8"));
        assert_eq!(c.must(&dead), int(1), "until it is removed");
        release(&mut c);
        eventually("it is removed", || c.must(&dead) == int(0));
    }
    assert_eq!(code(&mut c, "users", "1"), "HIT");
    assert_eq!(fill(&mut c, "products", "late", "v", &late), nil(), "it was read before");
    assert_exact(&server);
}

#[test]
fn what_fits_a_pattern_is_invalidated_in_the_regions_that_are_named() {
    let server = Server::start();
    let mut c = server.client();
    for region in ["users", "sessions", "other"] {
        for id in ["user:1:preferences", "user:2:preferences", "user:1:cart"] {
            set(&mut c, region, id, "v", "");
        }
    }
    let late = miss(&mut c, "users", "user:3:preferences");
    for region in ["users", "sessions"] {
        let line = format!("CACHE.PATINVAL *user:*:preferences* REGION {region}");
        assert_eq!(c.must(&line), int(2), "{line}");
    }
    assert_eq!(code(&mut c, "users", "user:1:preferences"), "MISS");
    assert_eq!(code(&mut c, "users", "user:1:cart"), "HIT");
    assert_eq!(code(&mut c, "other", "user:1:preferences"), "HIT");
    assert_eq!(fill(&mut c, "users", "user:3:preferences", "v", &late), nil());
    // It waits, which a transaction does not.
    c.must("MULTI");
    c.must("CACHE.PATINVAL *");
    assert!(c.must("EXEC").items()[0].is_error());
    assert_exact(&server);
}

#[test]
fn what_carries_one_of_several_tags_is_invalidated() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "products", "1", "v", " TAGS 2 category:electronics products:brand:apple");
    set(&mut c, "products", "2", "v", " TAGS 1 products:brand:apple");
    set(&mut c, "products", "3", "v", " TAGS 1 category:garden");
    set(&mut c, "search", "tv", "v", " TAGS 1 category:electronics");
    let all = |c: &mut Client| {
        let of = ["1", "2", "3"].map(|id| code(c, "products", id));
        (of, code(c, "search", "tv"))
    };
    // A tag is of all regions; one that is to be of one has its name in it.
    assert_eq!(c.must("CACHE.TAGINVAL category:electronics products:brand:apple"), int(3));
    let hit_and_misses = ["MISS", "MISS", "HIT"].map(String::from);
    assert_eq!(all(&mut c), (hit_and_misses, "MISS".into()));
    // It kills records of API keys that carry it as well.
    c.must(r#"APIKEY.SETVAL k {"id":"k","user_id":"u","is_active":true} TAGS 1 category:garden"#);
    assert_eq!(c.must("CACHE.TAGINVAL category:garden"), int(2));
    assert_exact(&server);
}

#[test]
fn invalidations_of_several_kinds_are_sent_together() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "products", "123", "v", "");
    set(&mut c, "users", "user:7:cart", "v", "");
    let replies = c.pipeline(&[
        format!("APIKEY.INVAL {}", key("products", "123")),
        "CACHE.PATINVAL cache:users:{user:*:cart} REGION users".into(),
    ]);
    assert_eq!(replies, [int(1), int(1)]);
    // All regions, one by one: by a pattern.
    set(&mut c, "products", "123", "v", "");
    set(&mut c, "users", "user:7:cart", "v", "");
    assert_eq!(c.must("CACHE.PATINVAL *"), int(2));
}

#[test]
fn a_file_or_a_project_is_a_tag() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "search", "q1", "v", " TAGS 2 project:shop file:src/main.rs");
    set(&mut c, "embedding", "e1", "v", " TAGS 2 project:shop file:src/lib.rs");
    set(&mut c, "search", "q2", "v", " TAGS 1 project:blog");
    assert_eq!(c.must("APIKEY.TAGCARD project:shop"), int(2));
    assert_eq!(c.must("CACHE.TAGINVAL file:src/main.rs"), int(1));
    assert_eq!(c.must("CACHE.TAGINVAL project:shop"), int(1));
    assert_eq!(code(&mut c, "search", "q2"), "HIT");
}

#[test]
fn a_soft_invalidation_has_one_reader_refresh_what_the_others_are_given() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CACHE.REGION SET products GRACE 60000 LEASE 5000");
    set(&mut c, "products", "1", "old", " TAGS 1 brand:7");
    assert_eq!(c.must("CACHE.TAGINVAL SOFT brand:7"), int(1));
    let first = get(&mut c, "products", "1");
    let second = get(&mut c, "products", "1");
    assert_eq!([code_of(&first), code_of(&second)], ["STALE", "STALE"]);
    assert!(is_token(&first.items()[4]));
    assert_eq!(second.items()[4], nil());
    // The hard one has no grace, and ends the lease: who is at work can store nothing, and another loads.
    assert_eq!(c.must("CACHE.TAGINVAL brand:7"), int(1));
    assert_eq!(code(&mut c, "products", "1"), "MISS");
    let late = format!("CACHE.SET {} products old TAGS 1 brand:7", key("products", "1"));
    let late = c.must(&format!("{late} TOKEN {}", first.items()[4].text()));
    assert_eq!(late, nil());
    assert_eq!(code(&mut c, "products", "1"), "WAIT", "for the other");
}

// Regions.

#[test]
fn times_sizes_and_policies_are_changed_while_it_runs() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "products", "before", "v", "");
    let change = "CACHE.REGION SET products TTL 7200000 MAXENTRIES 150000 EVICT LRU";
    assert_eq!(c.must(change), ok());
    set(&mut c, "products", "after", "v", "");
    assert!(is_about(fresh(&mut c, "products", "before"), HOUR), "what is there keeps its time");
    assert!(is_about(fresh(&mut c, "products", "after"), 2 * HOUR));
    // What is not named stays.
    assert_eq!(c.must("CACHE.REGION SET products EVICT LFU"), ok());
    let set_of = c.must("CACHE.REGION GET products");
    assert_eq!((set_of.get("ttl"), set_of.get("max_entries")), (&int(7_200_000), &int(150_000)));
    assert_eq!(set_of.get("evict"), &bulk("lfu"));
    c.must("CACHE.REGION SET search-results TTL 900000 MAXENTRIES 25000 EVICT LFU");
    let mut names: Vec<String> =
        c.must("CACHE.REGION LIST").items().iter().map(Reply::text).collect();
    names.sort();
    assert_eq!(names, ["products", "search-results"]);

    // A smaller size evicts what is too many, and no value is larger than its region.
    for id in 0..400 {
        set(&mut c, "products", &id.to_string(), "v", "");
    }
    assert_eq!(c.must("CACHE.REGION SET products MAXENTRIES 50 EVICT LRU"), ok());
    let stats = |c: &mut Client, name: &str| c.must("CACHE.STATS products").get(name).int();
    eventually("the region has shrunk", || stats(&mut c, "entries") == 50);
    assert_eq!(stats(&mut c, "evicted"), 352);
    c.must("CACHE.REGION SET products MAXBYTES 10000");
    let large = "x".repeat(20_000);
    assert!(c.run(&format!("CACHE.SET {} products {large}", key("products", "large"))).is_error());

    // DEL forgets what was set, and CLEAR what is there.
    assert_eq!(c.must("CACHE.REGION DEL products"), int(1));
    assert_eq!(c.must("CACHE.REGION GET products").get("ttl"), &int(HOUR));
    assert_eq!(stats(&mut c, "entries"), 50);
    assert_eq!(c.must("CACHE.CLEAR products"), int(50));
}

#[test]
fn what_is_set_of_regions_is_kept_and_reaches_replicas() {
    if !kind().has_module_config() {
        return;
    }
    let (mut server, replica) = (Server::start(), Server::start());
    replica.replicate(&server);
    let mut c = server.client();
    c.must("CACHE.REGION SET products TTL 7200000 MAXENTRIES 150000 EVICT LFU");
    let ttl = |c: &mut Client| c.must("CACHE.REGION GET products").get("ttl").int();
    let mut r = replica.client();
    eventually("the replica has it", || ttl(&mut r) == 7_200_000);
    let refused = r.run("CACHE.REGION SET products TTL 1000");
    assert!(refused.text().starts_with("READONLY "), "{refused:?}");
    // All at once, as a file of settings has them.
    let all = [
        "CONFIG",
        "SET",
        "apikey.regions",
        "products ttl=10800000; search ttl=900000 max-bytes=1mb",
    ];
    assert_eq!(c.cmd(all), ok());
    c.must("CONFIG REWRITE");
    server.stop(Stop::NoSave);
    server.start_as_rewritten();
    let mut c = server.client();
    assert_eq!(ttl(&mut c), 10_800_000);
    assert_eq!(c.must("CACHE.REGION GET search").get("max_bytes"), &int(1 << 20));
}

#[test]
fn figures_of_a_region_and_its_top_keys() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "products", "unread", "v", "");
    for (id, times) in [("hot", 30), ("warm", 10), ("cold", 1)] {
        let token = miss(&mut c, "products", id);
        assert_eq!(fill(&mut c, "products", id, "v", &token), ok());
        (0..times).for_each(|_| assert_eq!(code(&mut c, "products", id), "HIT"));
    }
    let stats = c.must("CACHE.STATS products");
    for (name, number) in [
        ("entries", 4),
        ("hits", 41),
        ("misses", 3),
        ("stale", 0),
        ("evicted", 0),
        ("refused_fills", 0),
        ("hit_rate_1m", 93),
        ("ttl", HOUR),
        ("max_entries", 0),
    ] {
        assert_eq!(stats.get(name), &int(number), "{name}");
    }
    assert!(stats.get("bytes").int() > 0 && stats.get("oldest").int() >= 0);
    // All regions, with which takes the most.
    set(&mut c, "search", "q", &"x".repeat(5000), "");
    let all = c.must("CACHE.STATS");
    let largest = all.items().iter().max_by_key(|stats| stats.get("bytes").int());
    assert_eq!(largest.expect("a region").get("region"), &bulk("search"));
    // Keys that are read most.
    let top = c.must("CACHE.TOP products COUNT 2");
    let names: Vec<String> = top.items().iter().map(|one| one.items()[0].text()).collect();
    assert_eq!(names, [key("products", "hot"), key("products", "warm")]);
    // What a key has, and takes; the names of a region.
    let names = c.must("APIKEY.TAGSCAN cache:region:products 0 COUNT 100");
    assert_eq!(names.items()[1].items().len(), 4);
    let description = c.must(&format!("APIKEY.DESCRIBE {}", key("products", "hot")));
    assert_eq!(description.get("kind"), &bulk("cache"));
    assert!(c.must(&format!("MEMORY USAGE {}", key("products", "hot"))).int() > 0);
    assert_exact(&server);
}

#[test]
fn one_reader_loads_and_a_load_that_failed_is_given_back() {
    let server = Server::start();
    let (mut a, mut b) = (server.client(), server.client());
    a.must("CACHE.REGION SET products LEASE 10000");
    let token = miss(&mut a, "products", "1");
    assert_eq!(code(&mut b, "products", "1"), "WAIT");
    let fail = format!("CACHE.FAIL {} products TOKEN {token}", key("products", "1"));
    assert_eq!(a.must(&fail), ok());
    let token = miss(&mut b, "products", "1");
    assert_eq!(code(&mut a, "products", "1"), "WAIT");
    assert_eq!(fill(&mut b, "products", "1", "v", &token), ok());
    assert_eq!(code(&mut a, "products", "1"), "HIT");
}

#[test]
fn refresh_ahead_is_for_one_reader_before_the_end() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CACHE.REGION SET products TTL 600000 EAGER 50 LEASE 10000");
    set(&mut c, "products", "1", "v", "");
    assert_eq!(get(&mut c, "products", "1").items().len(), 5, "not yet");
    c.must("CACHE.REGION SET products TTL 1000");
    set(&mut c, "products", "1", "v", "");
    let mut last = nil();
    eventually("it is due", || {
        last = get(&mut c, "products", "1");
        assert_eq!(code_of(&last), "HIT");
        last.items().len() == 6
    });
    assert_eq!(get(&mut c, "products", "1").items().len(), 5, "another reader");
    let token = last.items()[5].text();
    assert_eq!(fill(&mut c, "products", "1", "new", &token), ok());
    assert_eq!(get(&mut c, "products", "1").items()[1], bulk("new"));
}

// Warming.

#[test]
fn a_region_is_warmed_from_the_source() {
    let server = Server::start();
    let mut c = server.client();
    let ids = ["1", "2", "3"];
    // The token first, then the query.
    let token = c.must("APIKEY.TOKEN cache:products:{any}").text();
    // One row is changed after the query, another was asked for by somebody.
    c.must(&format!("APIKEY.INVAL {}", key("products", "1")));
    set(&mut c, "products", "2", "newer", "");
    let pairs = ids.map(|id| format!("{} v", key("products", id))).join(" ");
    let mset = format!("CACHE.MSET products 3 {pairs} TOKEN {token} NX TAGS 1 category:7");
    assert_eq!(c.must(&mset), int(1));
    assert_eq!(ids.map(|id| code(&mut c, "products", id)), ["MISS", "HIT", "HIT"]);
    assert_eq!(get(&mut c, "products", "2").items()[1], bulk("newer"));
    assert_eq!(c.must("APIKEY.TAGCARD category:7"), int(1), "what was warmed has its tags");
    // Begun again, it stores what is missing.
    let token = c.must("APIKEY.TOKEN cache:products:{any}").text();
    let mset = format!("CACHE.MSET products 3 {pairs} TOKEN {token} NX");
    assert_eq!(c.must(&mset), int(1));
}

#[test]
fn popular_items_are_known_also_after_their_region_was_cleared() {
    let server = Server::start();
    let mut c = server.client();
    for (id, times) in [("a", 20), ("b", 5), ("c", 1)] {
        set(&mut c, "products", id, "v", "");
        (0..times).for_each(|_| assert_eq!(code(&mut c, "products", id), "HIT"));
    }
    c.must("CACHE.CLEAR products");
    let token = c.must("APIKEY.TOKEN cache:products:{any}").text();
    let top = c.must("CACHE.TOP products COUNT 2");
    let pairs: Vec<String> =
        top.items().iter().map(|one| format!("{} v", one.items()[0].text())).collect();
    let mset = format!("CACHE.MSET products 2 {} TOKEN {token} NX", pairs.join(" "));
    assert_eq!(c.must(&mset), int(2));
    assert_eq!(["a", "b", "c"].map(|id| code(&mut c, "products", id)), ["HIT", "HIT", "MISS"]);
}

// Consistency.

#[test]
fn a_crash_between_commit_and_invalidation() {
    let server = Server::start();
    let database = Database::default();
    database.commit("1", "old");
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    app.deliver();
    assert_eq!(app.product("1").as_deref(), Some("old"));
    database.commit("1", "new");
    // Its sender died here: what was is answered, for the region's TTL at most.
    assert_eq!(app.product("1").as_deref(), Some("old"));
    assert!(fresh(&mut app.redis, "products", "1") <= HOUR);
    // The note was committed with the row, and anybody tells it; told twice, it costs a miss.
    other.deliver();
    assert_eq!(app.product("1").as_deref(), Some("new"));
    // What had no row then is known as absent until it is told.
    assert_eq!(app.product("2"), None);
    database.commit("2", "here");
    assert_eq!(app.product("2"), None);
    other.deliver();
    assert_eq!(app.product("2").as_deref(), Some("here"));

    // A reader that read before the commit, and stores after it was told.
    app.redis.must(&format!("APIKEY.INVAL {}", key("products", "1")));
    let token = miss(&mut app.redis, "products", "1");
    let row = database.read("1").expect("a row");
    database.commit("1", "newest");
    other.deliver();
    assert_eq!(fill(&mut app.redis, "products", "1", &row, &token), nil());
    assert_eq!(app.product("1").as_deref(), Some("newest"));
    let reads = database.reads.get();
    assert_eq!(app.product("1").as_deref(), Some("newest"));
    assert_eq!(database.reads.get(), reads, "from the cache");
}

#[test]
fn write_through() {
    let server = Server::start();
    let database = Database::default();
    database.commit("1", "old");
    let (mut app, mut other) = (App::new(&server, &database), App::new(&server, &database));
    let late = miss(&mut other.redis, "products", "1");
    let row = database.read("1").expect("a row");
    // Commit, then set without a token, under the lock of the row.
    database.commit("1", "new");
    set(&mut app.redis, "products", "1", "new", "");
    let reads = database.reads.get();
    assert_eq!(other.product("1").as_deref(), Some("new"));
    assert_eq!(database.reads.get(), reads, "without a miss");
    // Who read before it does not put that back.
    assert_eq!(fill(&mut other.redis, "products", "1", &row, &late), nil());
    // A crash between the two: what was, until the note is told.
    database.commit("1", "newest");
    assert_eq!(other.product("1").as_deref(), Some("new"));
    other.deliver();
    assert_eq!(other.product("1").as_deref(), Some("newest"));
}

#[test]
fn a_restart_forgets_values_and_a_backup_brings_none_back() {
    let mut server = Server::builder().with_aof(true).start();
    let database = Database::default();
    database.commit("1", "old");
    let mut app = App::new(&server, &database);
    app.product("1");
    let token = miss(&mut app.redis, "products", "2");
    app.redis.must("CACHE.REGION SET products TTL 7200000");
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert_eq!(code(&mut c, "products", "1"), "MISS");
    assert_eq!(fill(&mut c, "products", "2", "v", &token), nil(), "a token of before");
    let ttl = c.must("CACHE.REGION GET products").get("ttl").int();
    assert_eq!(ttl, HOUR, "what was set is not in the AOF");
    // With trust-loaded they are served, and with them what was invalidated since the file was written.
    set(&mut c, "products", "3", "v", "");
    server.restart_with(Stop::Kill, |builder| builder.setting("trust-loaded", "yes"));
    assert_eq!(code(&mut server.client(), "products", "3"), "HIT");
}

// Security.

#[test]
fn an_encryption_key_is_rotated_by_its_tag() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "users", "1", "cipher3", " TAGS 1 kid:3 LABEL json+aes;kid=3");
    set(&mut c, "users", "2", "cipher4", " TAGS 1 kid:4 LABEL json+aes;kid=4");
    set(&mut c, "sessions", "3", "cipher3", " TAGS 1 kid:3 LABEL json+aes;kid=3");
    // The label comes back as it was: which key opens the value.
    assert_eq!(get(&mut c, "users", "1").items()[2], bulk("json+aes;kid=3"));
    // How much there is yet under the old key; then none is.
    assert_eq!(c.must("APIKEY.TAGCARD kid:3"), int(2));
    assert_eq!(c.must("CACHE.TAGINVAL kid:3"), int(2));
    assert_eq!(code(&mut c, "users", "1"), "MISS");
    assert_eq!(code(&mut c, "sessions", "3"), "MISS");
    assert_eq!(code(&mut c, "users", "2"), "HIT");
}

#[test]
fn projects_are_kept_apart() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = Server::builder().setting("check-fill-tags", "yes").start();
    let page = page();
    let rules = page.lines().find_map(|line| line.strip_prefix("    user acme on >change-me "));
    let mut admin = server.client();
    admin.must("CACHE.SET acme:1 products v NS acme:");
    admin.must("CACHE.SET beta:1 products v NS beta: TAGS 1 beta:t");
    let mut c = user(&server, rules.expect("the user of the page"));
    for (line, reply) in [
        ("CACHE.GET acme:1 products NS acme:", "HIT"),
        ("CACHE.GET acme:2 products NS acme:", "MISS"),
    ] {
        assert_eq!(code_of(&c.must(line)), reply, "{line}");
    }
    assert_eq!(c.must("CACHE.SET acme:2 products v NS acme: TAGS 1 acme:t"), ok());
    for line in [
        "CACHE.GET beta:1 products NS beta:",
        "CACHE.SET beta:2 products v NS beta:",
        "CACHE.SET acme:3 products v NS beta:",
        "CACHE.SET acme:3 products v NS acme: TAGS 1 beta:t",
        "CACHE.TAGINVAL beta:t",
        "CACHE.CLEAR products NS beta:",
        "CACHE.CLEAR products",
        "CACHE.PATINVAL *",
        "CACHE.PATINVAL beta:*",
        "CACHE.STATS products NS beta:",
        "CACHE.TOP products NS beta:",
        "CACHE.REGION SET products MAXENTRIES 1",
    ] {
        let reply = c.run(line);
        assert!(reply.is_error() && reply.text().starts_with("NOPERM "), "{line}: {reply:?}");
    }
    // What it is told of regions is its own.
    let all = c.must("CACHE.STATS");
    let shown: Vec<_> = all.items().iter().map(|one| one.get("namespace").text()).collect();
    assert_eq!(shown, ["acme:"]);
    assert_eq!(c.must("CACHE.PATINVAL acme:* REGION products NS acme:"), int(2));
    assert_eq!(code_of(&admin.must("CACHE.GET beta:1 products NS beta:")), "HIT");
}

// When something is wrong.

#[test]
fn memory_is_short() {
    let server = Server::start();
    let mut c = server.client();
    for id in 0..200 {
        set(&mut c, "search", &id.to_string(), &"x".repeat(2000), "");
    }
    set(&mut c, "products", "1", "v", " TAGS 1 t");
    let of = |c: &mut Client, name: &str| c.must("CACHE.STATS search").get(name).int();
    let before = of(&mut c, "bytes");
    // What takes the most, smaller for a while: it gives memory back.
    c.must(&format!("CACHE.REGION SET search MAXBYTES {}", before / 4));
    eventually("the region has shrunk", || of(&mut c, "bytes") <= before / 4);
    assert!(of(&mut c, "evicted") >= 140);
    // What matters least, away.
    assert!(c.must("CACHE.CLEAR search").int() > 0);
    reclaimed(&mut c);
    assert_eq!(of(&mut c, "bytes"), 0);
    // With no room at all nothing is stored; what is there is read, and invalidated.
    c.must("CONFIG SET maxmemory 1");
    let reply = c.run(&format!("CACHE.SET {} products v", key("products", "2")));
    assert!(reply.text().starts_with("OOM "), "{reply:?}");
    assert_eq!(code(&mut c, "products", "1"), "HIT");
    assert_eq!(c.must("CACHE.TAGINVAL t"), int(1));
    assert_eq!(code(&mut c, "products", "1"), "MISS");
    assert_exact(&server);
}

#[test]
fn what_the_server_evicts_is_counted_to_its_region() {
    let server = Server::builder().config("maxmemory-policy volatile-ttl").start();
    let mut c = server.client();
    let used: i64 = c.info("memory", "used_memory").expect("a line").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used + 2_000_000));
    for id in 0..1000 {
        set(&mut c, "products", &id.to_string(), &"x".repeat(5000), "");
    }
    let stats = c.must("CACHE.STATS products");
    assert!(stats.get("evicted").int() > 100, "{stats:?}");
    assert_eq!(stats.get("evicted").int() + stats.get("entries").int(), 1000);
}

#[test]
fn the_cache_is_switched_off_and_on() {
    if !kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "products", "1", "v", "");
    c.must("CONFIG SET apikey.enabled no");
    let token = miss(&mut c, "products", "1");
    assert_eq!(fill(&mut c, "products", "1", "v", &token), nil());
    assert_eq!(c.must("CACHE.PATINVAL *"), int(1), "invalidations go on");
    c.must("CONFIG SET apikey.enabled yes");
    assert_eq!(code(&mut c, "products", "1"), "MISS");
    set(&mut c, "products", "1", "v", "");
    assert_eq!(code(&mut c, "products", "1"), "HIT");
}

#[test]
fn names_of_before_and_of_now_live_side_by_side() {
    let server = Server::start();
    let mut c = server.client();
    c.must("SETEX codebase_rag:search:q1 300 v");
    set(&mut c, "search", "q1", "v", "");
    assert_eq!(c.must("CACHE.PATINVAL *"), int(1), "strings are no entries of a region");
    assert_eq!(c.must("GET codebase_rag:search:q1"), bulk("v"));
}

// The document.

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating-cache.md");
    fs::read_to_string(path).expect("docs/migrating-cache.md")
}

#[test]
fn the_document_names_what_the_guides_have_and_no_command_that_does_not_exist() {
    let text = page();
    let missing: Vec<&str> =
        NAMES.iter().copied().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let server = Server::start();
    let mut c = server.client();
    let is_of_name = |c: char| c.is_ascii_uppercase() || c == '.';
    let names: BTreeSet<&str> = ["CACHE.", "APIKEY."]
        .into_iter()
        .flat_map(|prefix| text.match_indices(prefix))
        .map(|(at, _)| text[at..].split(|c| !is_of_name(c)).next().unwrap_or_default())
        .map(|name| name.trim_end_matches('.'))
        .filter(|name| name.contains('.'))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    let unknown = |name: &&str| c.must(&format!("COMMAND INFO {name}")) == array([nil()]);
    assert_eq!(names.into_iter().filter(unknown).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// What the guides call their methods, settings and paths.
const NAMES: &[&str] = &[
    "get_cache_service",
    "get",
    "set",
    "delete",
    "get_health",
    "get_stats",
    "get_tier_stats",
    "cleanup_expired",
    "warm_project_cache",
    "check_cache_coherency",
    "_flush_dirty_keys",
    "l1_cache.clear",
    "invalidate_file_cache",
    "invalidate_project_cache",
    "invalidate_all_caches",
    "FileMonitoringService",
    "CacheMemoryLeakDetector",
    "CacheHealthMonitor",
    "ProjectIsolationManager",
    "generate_project_key",
    "SessionSecurityManager",
    "AESEncryption",
    "KeyManager",
    "scan_iter",
    "redis_manager.get_health_info",
    "CACHE_WRITE_STRATEGY",
    "CACHE_COHERENCY_CHECK_ENABLED",
    "CACHE_COMPRESSION_ENABLED",
    "CACHE_COMPRESSION_THRESHOLD",
    "CACHE_COMPRESSION_ALGORITHM",
    "CACHE_CONNECTION_POOL_SIZE",
    "CACHE_ENCRYPTION_ENABLED",
    "CACHE_ENCRYPTION_KEY",
    "CACHE_EXPIRED_CLEANUP_ENABLED",
    "CACHE_MEMORY_PRESSURE_ENABLED",
    "CACHE_MEMORY_WARNING_THRESHOLD",
    "CACHE_MEMORY_CRITICAL_THRESHOLD",
    "CACHE_PROJECT_ISOLATION",
    "EMBEDDING_CACHE_TTL",
    "PROJECT_CACHE_TTL",
    "SEARCH_CACHE_TTL",
    "MEMORY_CACHE_MAX_SIZE",
    "MEMORY_CACHE_MAX_MEMORY_MB",
    "MEMORY_CACHE_EVICTION_POLICY",
    "MEMORY_CACHE_CLEANUP_INTERVAL",
    "REDIS_MAXMEMORY",
    "REDIS_MAXMEMORY_POLICY",
    "REDIS_MAX_CONNECTIONS",
    "REDIS_SSL_ENABLED",
    "defaultTtl",
    "maxSize",
    "evictionPolicy",
    "enableCompression",
    "enableEncryption",
    "regions/{region}/stats",
    "regions/{region}/keys/{key}",
    "keys/batch",
    "regions/{region}/clear",
    "invalidate/pattern",
    "invalidate/tags",
    "invalidate/bulk",
    "warm/{region}",
    "warm/status",
    "warm/schedule",
    "popular-items",
    "all-items",
    "refresh-ahead",
    "write-through",
    "write-behind",
    "cache-aside",
    "flush-and-shutdown",
    "cleanup-expired",
    "emergency/local-cache-mode",
    "memory/optimize",
    "optimize-patterns",
    "analytics/top-regions",
    "analytics/recommendations",
    "analytics/hit-rate-by-region",
    "analytics/access-patterns",
    "security/encryption-status",
];
