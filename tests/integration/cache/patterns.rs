//! CLEAR, and PATINVAL: all of a region, and all whose name fits.

use super::calls::*;
use crate::harness::server::{kind, Kind};
use crate::harness::streams::Tap;
use crate::harness::*;
use std::time::{Duration, Instant};

const MANY: usize = 100_000;

#[test]
fn clear_kills_all_of_a_region_and_nothing_else() {
    let server = Server::start();
    let mut c = server.client();
    const MANY: usize = 50_000;
    store_many(&mut c, "k", MANY, "r v");
    store_many(&mut c, "n", 100, "r v NS n:");
    store_many(&mut c, "s", 100, "s v");
    let token = miss(&mut c, "new r");
    let began = Instant::now();
    assert_eq!(c.must("CACHE.CLEAR r"), int(MANY as i64));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    for n in [0, 1, 77, MANY - 1] {
        assert_eq!(says(&mut c, &format!("k{n} r")), "MISS");
    }
    assert_eq!(c.run(&format!("CACHE.SET new r v TOKEN {token}")), nil());
    assert_eq!([says(&mut c, "n5 r NS n:"), says(&mut c, "s5 s")], ["HIT", "HIT"]);
    assert_eq!(c.must("CACHE.CLEAR r"), int(0));
    assert_eq!(c.must("CACHE.CLEAR none"), int(0));
    reclaimed(&mut c);
    assert_eq!(c.must("DBSIZE"), int(200));
    assert_eq!((stat(&mut c, "r", "entries"), stat(&mut c, "r", "bytes")), (0, 0));
    assert_eq!(c.must("CACHE.CLEAR r NS n:"), int(100));
    assert_exact(&server);
    // In transactions and scripts as well: it does not wait.
    store_many(&mut c, "k", 10, "r v");
    assert_eq!(c.cmd(["EVAL", "return redis.call('CACHE.CLEAR', 'r')", "0"]), int(10));
    store_many(&mut c, "k", 10, "r v");
    c.must("MULTI");
    c.must("CACHE.CLEAR r");
    assert_eq!(c.must("EXEC"), array([int(10)]));
}

#[test]
fn of_a_hundred_thousand_keys_those_are_killed_that_fit_while_others_are_answered() {
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "a:", MANY / 2, "r v");
    store_many(&mut c, "b:", MANY / 2, "s v");
    store_many(&mut c, "n:", 1_000, "r v NS n:");
    c.fill("a:rec", &[]);
    c.must("SET a:str x");
    let mut asks = server.client();
    asks.send(["CACHE.PATINVAL", "?:*[13579]"]).expect("sent");
    let mut other = server.client();
    let pings = pings(&server, || stat(&mut other, "s", "entries") <= MANY as i64 / 4);
    assert_eq!(asks.read().expect("a reply"), int(MANY as i64 / 2 + 500));
    // In one piece it would be between two of them.
    assert!(pings.answered >= 100, "{pings:?}");
    assert!(pings.most_work < Duration::from_millis(50), "{pings:?}");
    let codes = ["a:2 r", "a:1 r", "b:44440 s", "b:44441 s", "n:2 r NS n:", "n:3 r NS n:"]
        .map(|key| says(&mut c, key));
    assert_eq!(codes, ["HIT", "MISS", "HIT", "MISS", "HIT", "MISS"]);
    // Of a region, and of that of a namespace.
    assert_eq!(c.must("CACHE.PATINVAL *[02]"), int(MANY as i64 / 5 + 200));
    assert_eq!(c.must("CACHE.PATINVAL *4 REGION r"), int(MANY as i64 / 20));
    assert_eq!(c.must("CACHE.PATINVAL *4 NS n: REGION r"), int(100));
    assert_eq!(c.must("CACHE.PATINVAL *4 REGION none"), int(0));
    assert_eq!(c.must("CACHE.PATINVAL b:*4"), int(MANY as i64 / 20));
    assert_eq!(c.code("a:rec"), "VALID");
    assert!(c.exists("a:str"));
    assert_eq!(c.must("CACHE.PATINVAL *"), int(2 * (MANY as i64 / 10) + 200));
    assert_eq!(c.must("DBSIZE"), int(2));
    assert_exact(&server);
}

/// Each slice is told by itself.
#[test]
fn its_slices_are_as_long_as_the_setting_says() {
    let [short, long] = ["10", "100000"].map(|budget| {
        let server = Server::builder().setting("reclaim-budget-us", budget).start();
        let mut c = server.client();
        store_many(&mut c, "a:", 1_000, "r v");
        let mut stream = Tap::replication(server.port);
        stream.clear();
        assert_eq!(c.must("CACHE.PATINVAL a:*"), int(1_000));
        c.must("PUBLISH end of-it-all");
        stream.until(b"of-it-all");
        stream.text().matches("apikey.gone").count()
    });
    // Of sixteen places at least, and of all names that a word may hold.
    assert!(short >= 20 && long <= 5, "{short} and {long} slices");
}

#[test]
fn a_name_that_takes_long_to_compare_keeps_nobody_waiting() {
    let server = Server::start();
    let mut c = server.client();
    // At each of its bytes the pattern fits for 500 more.
    let long = "a".repeat(1 << 20);
    let pattern = |last: usize| format!("*{}{last}", "a".repeat(500));
    store_many(&mut c, "k", 1_000, "r v");
    set(&mut c, &format!("{long}x r v"));
    set(&mut c, &format!("{long}y r v"));
    let token = c.must("APIKEY.TOKEN k").text();
    let mut asks = server.client();
    asks.send(["CACHE.PATINVAL", &pattern(0)]).expect("sent");
    let mut other = server.client();
    let pings = pings(&server, || stat(&mut other, "r", "entries") <= 1_000);
    assert!(pings.most_work < Duration::from_millis(250), "{pings:?}");
    assert_eq!(asks.read().expect("a reply"), int(2), "as if they did fit");
    // As many patterns as are kept, for a fill.
    for last in 1..60 {
        assert_eq!(c.must(&format!("CACHE.PATINVAL {}", pattern(last))), int(0));
    }
    c.must("CONFIG RESETSTAT");
    assert_eq!(c.run(&format!("CACHE.SET {long} r v TOKEN {token}")), nil());
    let spent = c.info("commandstats", "cmdstat_cache.set").expect("it was called");
    let usec = spent.split(',').find_map(|part| part.strip_prefix("usec="));
    let usec: u64 = usec.and_then(|usec| usec.parse().ok()).expect("microseconds");
    assert!(usec < 250_000, "{spent}");
    assert_exact(&server);
}

#[test]
fn a_pattern_means_what_keys_means_by_it() {
    let server = Server::start();
    let mut c = server.client();
    let names: [&[u8]; 14] = [
        b"a", b"ab", b"abc", b"a*c", b"a[b]c", b"a?c", b"axc", b"a\\c", b"\0\xff", b"a-c", b"A",
        b"^", b"a]c", b"aXXc",
    ];
    let patterns: [&[u8]; 22] = [
        b"*",
        b"a*",
        b"?",
        b"??",
        b"a?c",
        b"a\\*c",
        b"a\\?c",
        b"a[bx]c",
        b"a[^x]c",
        b"a[a-z]c",
        b"a[z-a]c",
        b"a\\[b\\]c",
        b"[",
        b"a[",
        b"a\\",
        b"*c",
        b"a**c",
        b"[^a]*",
        b"[\\^]",
        b"a[]]c",
        b"\0?",
        b"a[x\\]]c",
    ];
    for pattern in patterns {
        for name in names {
            assert_eq!(c.cmd([b"CACHE.SET".as_slice(), name, b"r", b"v"]), ok());
        }
        let mut fit: Vec<Vec<u8>> = c
            .cmd([b"KEYS".as_slice(), pattern])
            .items()
            .iter()
            .map(|key| key.bytes().to_vec())
            .collect();
        fit.sort();
        let shown = pattern.escape_ascii().to_string();
        let killed = c.cmd([b"CACHE.PATINVAL".as_slice(), pattern]);
        assert_eq!(killed, int(fit.len() as i64), "{shown}");
        for name in names {
            let is_there = c.cmd([b"EXISTS".as_slice(), name]) == int(1);
            assert_eq!(is_there, !fit.contains(&name.to_vec()), "{shown} {}", name.escape_ascii());
        }
    }
    assert_exact(&server);
}

#[test]
fn a_fill_that_began_before_is_refused_where_its_name_and_region_fit() {
    let server = Server::start();
    let mut c = server.client();
    let fill = |c: &mut Client, key: &str, of: &str, token: &str| {
        c.run(&format!("CACHE.SET {key} {of} v TOKEN {token}"))
    };
    let token = miss(&mut c, "a:1 r");
    assert_eq!(c.must("CACHE.PATINVAL a:* REGION r"), int(0));
    assert_eq!(fill(&mut c, "a:1", "r", &token), nil());
    assert_eq!(c.run(&format!("CACHE.SETABSENT a:1 r TOKEN {token}")), nil());
    assert_eq!(c.run(&format!("CACHE.MSET r 2 a:1 v b:1 v TOKEN {token}")), int(1));
    assert_eq!(fill(&mut c, "a:1", "s", &token), ok(), "of another region");
    assert_eq!(fill(&mut c, "c:1", "r", &token), ok(), "of another name");
    let other = format!("CACHE.SET a:2 r v NS n: TOKEN {token}");
    assert_eq!(c.run(&other), ok(), "of another namespace");
    let token = c.must("APIKEY.TOKEN a:1").text();
    assert_eq!(fill(&mut c, "a:1", "r", &token), ok(), "one that began after it");
    set(&mut c, "a:1 r writer");
    // More patterns than are kept: what is older is refused, whatever it is of.
    let token = miss(&mut c, "other r");
    for n in 0..100 {
        c.must(&format!("CACHE.PATINVAL z{n}"));
    }
    assert_eq!(fill(&mut c, "z0", "r", &token), nil());
    let token = miss(&mut c, "other r");
    assert_eq!(fill(&mut c, "other", "r", &token), ok());
    assert_exact(&server);
}

#[test]
fn a_fill_of_a_walk_that_goes_on_is_refused_or_was_loaded_after_it_began() {
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "k", MANY, "r v");
    let old = c.must("APIKEY.TOKEN k").text();
    let mut asks = server.client();
    asks.send(["CACHE.PATINVAL", "k*1"]).expect("sent");
    eventually("it has begun", || stat(&mut c, "r", "entries") < MANY as i64);
    for n in [1, 50_001, MANY - 9] {
        assert_eq!(c.run(&format!("CACHE.SET k{n} r old TOKEN {old}")), nil());
    }
    assert_eq!(asks.read().expect("a reply"), int(MANY as i64 / 10));
    assert_exact(&server);
}

#[test]
fn nothing_that_fits_is_left_whatever_comes_and_goes_meanwhile() {
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "k", MANY, "r v");
    let mut asks = server.client();
    asks.send(["CACHE.PATINVAL", "k*7"]).expect("sent");
    // The index has holes, and fills them, while the walk goes on.
    let mut rng = Rng::new(5);
    for round in 0..40 {
        let mut lines: Vec<String> = (0..250)
            .map(|_| format!("DEL k{}", rng.below(MANY / 10) * 10 + rng.below(7)))
            .collect();
        lines.extend((0..250).map(|n| format!("CACHE.SET new{round}-{n}x s v")));
        all(&mut c, &lines);
    }
    assert_eq!(asks.read().expect("a reply"), int(MANY as i64 / 10));
    let left = (0..MANY / 10).filter(|n| c.exists(&format!("k{}7", n))).count();
    assert_eq!(left, 0);
    assert_eq!(stat(&mut c, "s", "entries"), 10_000);
    assert_exact(&server);
}

#[test]
fn several_walk_at_once_and_each_is_told_its_own() {
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "k", MANY / 2, "r v");
    let mut asks: Vec<Client> = (0..8).map(|_| server.client()).collect();
    for (n, asks) in asks.iter_mut().enumerate() {
        asks.send(["CACHE.PATINVAL", &format!("k*{n}")]).expect("sent");
    }
    let killed: Vec<i64> =
        asks.iter_mut().map(|asks| asks.read().expect("a reply").int()).collect();
    assert_eq!(killed, [MANY as i64 / 20; 8]);
    assert_eq!(c.must("DBSIZE"), int(MANY as i64 / 10));
    assert_exact(&server);
}

#[test]
fn it_is_refused_in_transactions_and_scripts_and_changes_nothing() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "k r v");
    let token = c.must("APIKEY.TOKEN k").text();
    let refused = error("ERR cache.patinval can't run in MULTI or in a script: it waits");
    c.must("MULTI");
    c.must("CACHE.PATINVAL *");
    assert_eq!(c.must("EXEC"), array([refused.clone()]));
    let script = "return redis.pcall('CACHE.PATINVAL', '*')['err']";
    assert_eq!(c.cmd(["EVAL", script, "0"]), bulk(refused.text()));
    assert_eq!(says(&mut c, "k r"), "HIT");
    assert_eq!(c.run(&format!("CACHE.SET k r w TOKEN {token}")), ok());
}

#[test]
fn swapdb_and_flushdb_take_their_database_from_under_a_walk() {
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "k", MANY / 2, "r v");
    c.select(1);
    store_many(&mut c, "k", 100, "r v");
    c.select(0);
    let mut asks = server.client();
    asks.send(["CACHE.PATINVAL", "k*"]).expect("sent");
    eventually("it has begun", || stat(&mut c, "r", "entries") < MANY as i64 / 2);
    c.must("SWAPDB 0 1");
    assert_eq!(
        asks.read().expect("a reply"),
        int(MANY as i64 / 2),
        "it goes where its database goes"
    );
    assert_eq!(c.must("DBSIZE"), int(100));
    c.select(1);
    assert_eq!(c.must("DBSIZE"), int(0));
    assert_eq!(stat(&mut c, "r", "entries"), 0);
    store_many(&mut c, "k", MANY / 2, "r v");
    asks.select(1);
    asks.send(["CACHE.PATINVAL", "k*"]).expect("sent");
    eventually("it has begun", || stat(&mut c, "r", "entries") < MANY as i64 / 2);
    c.must("FLUSHDB");
    store_many(&mut c, "k", 10, "r v");
    assert!(asks.read().expect("a reply").int() <= MANY as i64 / 2);
    assert_eq!(c.must("DBSIZE"), int(10), "what came later is not of it");
    assert_exact(&server);
}

#[test]
fn a_client_that_hangs_up_leaves_a_server_that_works() {
    let server = Server::start();
    let mut c = server.client();
    store_many(&mut c, "k", MANY, "r v");
    for n in 0..4 {
        let mut asks = server.client();
        asks.send(["CACHE.PATINVAL", &format!("k*{n}")]).expect("sent");
        eventually("it is asked", || c.info("clients", "blocked_clients") != Some("0".into()));
        drop(asks);
    }
    eventually("none waits", || c.info("clients", "blocked_clients") == Some("0".into()));
    assert_eq!(c.must("CACHE.PATINVAL k*9"), int(MANY as i64 / 10));
    let left = c.must("DBSIZE").int();
    assert!((MANY as i64 / 2..=MANY as i64 * 9 / 10).contains(&left), "{left}");
    assert_exact(&server);
}

#[test]
fn what_a_walk_kills_is_gone_on_replicas_and_in_the_aof() {
    let mut primary = Server::builder().with_aof(false).setting("trust-loaded", "yes").start();
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    store_many(&mut c, "k", 5_000, "r v");
    assert_eq!(c.must("CACHE.PATINVAL k*[3-5]"), int(1_500));
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest());
    assert_eq!(replica.client().must("DBSIZE"), int(3_500));
    assert_exact(&replica);
    assert_nothing_was_refused(&replica);
    let digest = primary.digest();
    primary.restart(crate::harness::server::Stop::Kill);
    assert_eq!(primary.digest(), digest);
    assert_exact(&primary);
}

#[test]
fn a_user_kills_by_a_pattern_what_is_its_own() {
    if kind() == Kind::Redis62 {
        return;
    }
    let server = Server::start();
    let mut admin = server.client();
    store_many(&mut admin, "acme:", 100, "r v");
    store_many(&mut admin, "acme:s:", 100, "r v");
    store_many(&mut admin, "beta:", 100, "r v");
    let mut c = crate::acl::user(&server, "resetkeys ~acme:* %R~beta:* +@all");
    let refused = error(
        "NOPERM No permissions to invalidate by the pattern, by what it begins with: it has to match a key pattern with write permission",
    );
    for pattern in ["*", "beta:*", "acm*", "[a]cme:*", "?cme:*"] {
        assert_eq!(c.run(&format!("CACHE.PATINVAL {pattern}")), refused, "{pattern}");
    }
    assert_eq!(admin.must("DBSIZE"), int(300));
    assert_eq!(c.run("CACHE.PATINVAL acme:s*"), int(100));
    assert_eq!(c.run("CACHE.PATINVAL acme:*"), int(100));
    assert_eq!(admin.must("DBSIZE"), int(100));
    assert_exact(&server);
}
