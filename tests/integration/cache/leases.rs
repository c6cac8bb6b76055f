//! Of several readers that miss a key one loads it.

use super::calls::*;
use crate::harness::server::Stop;
use crate::harness::*;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// A lease that no test outlives.
const LONG: &str = "r LEASE 600000";

#[test]
fn of_sixty_four_readers_one_loads_and_all_get_what_it_loaded() {
    const CONNECTIONS: usize = 8;
    const READERS: usize = 8;
    let server = Server::start();
    region(&mut server.client(), LONG);
    let (loads, hits, waits) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let all_ask = Barrier::new(CONNECTIONS);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut c = server.client();
                let lines = vec!["CACHE.GET k r".to_string(); READERS];
                all_ask.wait();
                let began = Instant::now();
                loop {
                    let replies = c.pipeline(&lines);
                    let codes: Vec<String> = replies.iter().map(code_of).collect();
                    assert!(began.elapsed() < Duration::from_secs(20), "{codes:?}");
                    if let Some(miss) = replies.iter().find(|reply| code_of(reply) == "MISS") {
                        loads.fetch_add(1, SeqCst);
                        let token = miss.items()[1].text();
                        // All others have asked at least once meanwhile.
                        eventually("others wait", || {
                            waits.load(SeqCst) >= CONNECTIONS * READERS - 1
                        });
                        assert_eq!(c.run(&format!("CACHE.SET k r loaded TOKEN {token}")), ok());
                    }
                    waits.fetch_add(codes.iter().filter(|code| *code == "WAIT").count(), SeqCst);
                    if codes.iter().all(|code| code == "HIT") {
                        assert!(replies.iter().all(|reply| reply.items()[1] == bulk("loaded")));
                        hits.fetch_add(READERS, SeqCst);
                        return;
                    }
                    // As a client does that is told to.
                    if let Some(wait) = replies.iter().find(|reply| code_of(reply) == "WAIT") {
                        let ms = wait.items()[2].int().clamp(1, 20);
                        std::thread::sleep(Duration::from_millis(ms.unsigned_abs()));
                    }
                }
            });
        }
    });
    assert_eq!((loads.into_inner(), hits.into_inner()), (1, CONNECTIONS * READERS));
    let mut c = server.client();
    assert_eq!(stat(&mut c, "r", "leases"), 1);
    assert_eq!(stat(&mut c, "r", "misses"), 1);
    assert_exact(&server);
}

/// The port of the server of whose readers a process is.
const READERS_OF: &str = "APIKEY_TEST_READERS_OF";

const PROCESSES: usize = 8;
const READERS: usize = 8;

#[test]
fn of_sixty_four_readers_in_eight_processes_one_loads() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    let mut readers: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            let mut process = Command::new(std::env::current_exe().expect("this program"));
            process.args(["--exact", "cache::leases::readers_of_one_process", "--ignored"]);
            process.env(READERS_OF, server.port.to_string()).stdout(Stdio::null());
            process.spawn().expect("a process")
        })
        .collect();
    let began = Instant::now();
    let mut outcomes = Vec::new();
    while let Some(reader) = readers.last_mut() {
        match reader.try_wait().expect("a child") {
            Some(status) => {
                outcomes.push(status.success());
                readers.pop();
            }
            None if began.elapsed() > Duration::from_secs(30) => break,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    for reader in &mut readers {
        reader.kill().and_then(|()| reader.wait()).expect("ended");
    }
    assert_eq!(c.must("MGET loads got"), array([bulk("1"), bulk("64")]));
    assert_eq!(outcomes, [true; PROCESSES]);
    assert_eq!((stat(&mut c, "r", "leases"), stat(&mut c, "r", "misses")), (1, 1));
    assert!(stat(&mut c, "r", "waits") >= (PROCESSES * READERS - 1) as i64);
}

#[test]
#[ignore = "a process of the test above"]
fn readers_of_one_process() {
    let Ok(port) = std::env::var(READERS_OF) else { return };
    let port: u16 = port.parse().expect("a port");
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut c = Client::connect(port).expect("connect");
                let all = |c: &mut Client, name: &str, number: usize| {
                    eventually(name, || c.must(&format!("GET {name}")) == bulk(number.to_string()));
                };
                c.must("INCR ready");
                all(&mut c, "ready", PROCESSES * READERS);
                let mut reply = get(&mut c, "k r");
                if code_of(&reply) == "MISS" {
                    c.must("INCR loads");
                    all(&mut c, "asked", PROCESSES * READERS - 1);
                    let token = reply.items()[1].text();
                    fine(&mut c, &format!("CACHE.SET k r loaded TOKEN {token}"));
                    reply = get(&mut c, "k r");
                } else {
                    c.must("INCR asked");
                }
                while code_of(&reply) == "WAIT" {
                    let ms = reply.items()[2].int().clamp(1, 1000);
                    std::thread::sleep(Duration::from_millis(ms.unsigned_abs()));
                    reply = get(&mut c, "k r");
                }
                assert_eq!(reply.items()[..2], [bulk("HIT"), bulk("loaded")]);
                c.must("INCR got");
            });
        }
    });
}

#[test]
fn who_waits_is_told_when_to_ask_again_the_later_the_older_the_lease() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r LEASE 1000");
    let began = Instant::now();
    miss(&mut c, "k r");
    let first = get(&mut c, "k r");
    assert_eq!(first.items()[..2], [bulk("WAIT"), nil()]);
    let mut last = first.items()[2].int();
    assert!((1..=1000).contains(&last));
    let mut most = last;
    eventually("the lease is over", || {
        let reply = get(&mut c, "k r");
        if code_of(&reply) == "MISS" {
            return true;
        }
        last = reply.items()[2].int();
        most = most.max(last);
        assert!((1..=1000).contains(&last), "{last}");
        false
    });
    assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
    assert!(most > 200, "it grew: {most}");
    assert!(last < most, "and is at most what is left: {last} of {most}");
}

#[test]
fn a_lease_whose_holder_dies_ends_by_its_time_and_the_next_one_loads() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r LEASE 60");
    let first = miss(&mut server.client(), "k r");
    assert_eq!(says(&mut c, "k r"), "WAIT");
    let mut second = String::new();
    eventually("another loads", || {
        let reply = get(&mut c, "k r");
        second = reply.items().last().map(|last| format!("{last:?}")).unwrap_or_default();
        code_of(&reply) == "MISS"
    });
    assert_ne!(second, format!("{:?}", bulk(&first)));
    // Who comes late stores all the same: nothing was invalidated.
    assert_eq!(c.run(&format!("CACHE.SET k r v TOKEN {first}")), ok());
}

#[test]
fn who_fails_gives_the_lease_back_and_others_may_try_after_a_pause() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    let token = miss(&mut c, "k r");
    let foreign = miss(&mut c, "other r");
    c.must("APIKEY.INVAL nothing");
    let newer = miss(&mut c, "third r");
    for wrong in [newer.as_str(), "0"] {
        assert_eq!(c.run(&format!("CACHE.FAIL k r TOKEN {wrong}")), nil(), "{wrong}");
    }
    assert_eq!(c.run(&format!("CACHE.FAIL none r TOKEN {foreign}")), nil());
    assert_eq!(says(&mut c, "k r"), "WAIT");
    fine(&mut c, &format!("CACHE.FAIL k r TOKEN {token}"));
    assert_eq!(c.run(&format!("CACHE.FAIL k r TOKEN {token}")), nil(), "it is given back");
    let token = miss(&mut c, "k r");
    let began = Instant::now();
    fine(&mut c, &format!("CACHE.FAIL k r TOKEN {token} BACKOFF 100"));
    assert_eq!(c.run(&format!("CACHE.FAIL k r TOKEN {token}")), nil());
    assert_eq!(says(&mut c, "k r"), "WAIT");
    eventually("the pause is over", || says(&mut c, "k r") == "MISS");
    assert!(began.elapsed() >= Duration::from_millis(95), "{:?}", began.elapsed());
    // Of a lease that is over nothing can be given back.
    region(&mut c, "s LEASE 20");
    let token = miss(&mut c, "late s");
    let given = Instant::now();
    eventually("it is over", || given.elapsed() > Duration::from_millis(40));
    assert_eq!(c.run(&format!("CACHE.FAIL late s TOKEN {token} BACKOFF 1000")), nil());
    assert_eq!(says(&mut c, "late s"), "MISS");
}

#[test]
fn a_lease_ends_with_what_is_stored_and_with_an_invalidation_of_its_key_or_region() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    let ns = "NS n:";
    region(&mut c, &format!("r {ns} LEASE 600000"));
    for end in [
        "APIKEY.INVAL k",
        "APIKEY.TAGINVAL n:cache:region:r",
        "CACHE.TAGINVAL n:cache:region:r",
        "CACHE.TAGINVAL SOFT n:cache:region:r",
        "CACHE.CLEAR r NS n:",
        "CACHE.PATINVAL k",
        "CACHE.PATINVAL k* REGION r NS n:",
        "FLUSHDB",
        "CACHE.SET k other v",
        "CACHE.SET k r v XX NS n:",
    ] {
        let token = miss(&mut c, &format!("k r {ns}"));
        assert_eq!(says(&mut c, &format!("k r {ns}")), "WAIT");
        c.must(end);
        let next = miss(&mut c, &format!("k r {ns}"));
        assert_eq!(says(&mut c, &format!("k r {ns}")), "WAIT", "{end}");
        let late = c.run(&format!("CACHE.SET k r v TOKEN {token} {ns}"));
        assert_eq!(late, nil(), "{end}: the token of before");
        assert_eq!(says(&mut c, &format!("k r {ns}")), "WAIT", "{end}: the lease is not its own");
        assert_eq!(c.run(&format!("CACHE.SET k r v TOKEN {next} {ns}")), ok(), "{end}");
        c.must("DEL k");
    }
    // What has nothing to do with it.
    miss(&mut c, "k r");
    for other in [
        "APIKEY.INVAL j",
        "CACHE.CLEAR s",
        "CACHE.CLEAR r NS n:",
        "CACHE.PATINVAL j",
        "CACHE.PATINVAL k REGION s",
    ] {
        c.must(other);
        assert_eq!(says(&mut c, "k r"), "WAIT", "{other}");
    }
}

#[test]
fn a_lease_that_an_invalidation_has_ended_is_nobodys_to_give_back() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    for end in ["APIKEY.INVAL k", "CACHE.CLEAR r", "CACHE.PATINVAL k"] {
        let token = miss(&mut c, "k r");
        c.must(end);
        let reply = c.run(&format!("CACHE.FAIL k r TOKEN {token} BACKOFF 600000"));
        assert_eq!(reply, nil(), "{end}");
        let next = miss(&mut c, "k r");
        assert_eq!(c.run(&format!("CACHE.FAIL k r TOKEN {token} BACKOFF 600000")), nil(), "{end}");
        fine(&mut c, &format!("CACHE.FAIL k r TOKEN {next}"));
    }
}

#[test]
fn a_fill_that_is_refused_ends_its_lease() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    for store in [
        "CACHE.SET k r v TAGS 1 t TOKEN @",
        "CACHE.SETABSENT k r TAGS 1 t TOKEN @",
        "CACHE.MSET r 1 k v TAGS 1 t TOKEN @",
    ] {
        let token = miss(&mut c, "k r");
        c.must("CACHE.TAGINVAL t");
        // Its tag is known to the fill alone.
        assert_eq!(says(&mut c, "k r"), "WAIT");
        let reply = c.run(&store.replace('@', &token));
        assert!(reply == nil() || reply == int(0), "{store}");
        let next = miss(&mut c, "k r");
        fine(&mut c, &format!("CACHE.FAIL k r TOKEN {next}"));
    }
    for stored in
        ["CACHE.SET k r v TOKEN @", "CACHE.SETABSENT k r TOKEN @", "CACHE.MSET r 1 k v TOKEN @"]
    {
        let token = miss(&mut c, "k r");
        c.must(&stored.replace('@', &token));
        c.must("DEL k");
        let next = miss(&mut c, "k r");
        fine(&mut c, &format!("CACHE.FAIL k r TOKEN {next}"));
    }
    assert_eq!(stat(&mut c, "r", "refused_fills"), 3);
}

#[test]
fn while_no_fill_is_stored_nobody_waits_for_one_that_came() {
    if !server::kind().has_module_config() {
        return;
    }
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    c.must("CONFIG SET apikey.writes-enabled no");
    for store in
        ["CACHE.SET k r v TOKEN @", "CACHE.SETABSENT k r TOKEN @", "CACHE.MSET r 1 k v TOKEN @"]
    {
        let token = miss(&mut c, "k r");
        let reply = c.run(&store.replace('@', &token));
        assert!(reply == nil() || reply == int(0), "{store}");
        let next = miss(&mut c, "k r");
        fine(&mut c, &format!("CACHE.FAIL k r TOKEN {next}"));
    }
}

#[test]
fn a_table_that_is_too_small_costs_readers_and_no_waits_without_an_end() {
    let server = Server::builder().setting("lease-slots", "4").start();
    let mut c = server.client();
    region(&mut c, "r LEASE 300");
    let began = Instant::now();
    // Of many keys at once some have two holders: each asks twice.
    let mut doubled = 0;
    for n in 0..100 {
        miss(&mut c, &format!("k{n} r"));
    }
    for n in 0..100 {
        doubled += usize::from(says(&mut c, &format!("k{n} r")) == "MISS");
    }
    assert!(doubled >= 90, "{doubled}");
    // One whose lease was not taken by others waits.
    miss(&mut c, "last r");
    assert_eq!(says(&mut c, "last r"), "WAIT");
    eventually("no wait is left", || {
        (0..100).all(|n| {
            let reply = get(&mut c, &format!("k{n} r"));
            code_of(&reply) == "MISS" || reply.items()[2].int() <= 300
        })
    });
    // All can be loaded, whoever does.
    for n in 0..100 {
        let mut token = String::new();
        eventually("it may be loaded", || {
            let reply = get(&mut c, &format!("k{n} r"));
            token = reply.items()[1..]
                .last()
                .filter(|_| code_of(&reply) == "MISS")
                .map_or_else(String::new, Reply::text);
            !token.is_empty()
        });
        assert_eq!(c.run(&format!("CACHE.SET k{n} r v TOKEN {token}")), ok());
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_exact(&server);
}

#[test]
fn a_stale_value_is_everybodys_and_one_refreshes_it() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r LEASE 100 GRACE 600000");
    set(&mut c, "k r old PX 1");
    let mut tokens = BTreeSet::new();
    let (mut reads, began) = (0, Instant::now());
    eventually("it is stale", || says(&mut c, "k r") == "STALE");
    while began.elapsed() < Duration::from_millis(350) {
        let reply = get(&mut c, "k r");
        let [code, found, label, age, token] = reply.items() else { panic!("{reply:?}") };
        assert_eq!((code, found, label), (&bulk("STALE"), &bulk("old"), &nil()));
        assert!(age.int() >= 0);
        reads += 1;
        if token != &nil() {
            tokens.insert(token.text());
        }
    }
    assert!((1..=4).contains(&tokens.len()), "one for each LEASE: {tokens:?} of {reads} reads");
    let token = tokens.last().expect("a token");
    assert_eq!(c.run(&format!("CACHE.SET k r new TOKEN {token} PX 100000")), ok());
    assert_eq!(value(&mut c, "k r"), "new");
}

#[test]
fn without_a_lease_one_refreshes_in_a_second() {
    let server = Server::start();
    let mut c = server.client();
    set(&mut c, "k r old PX 1 GRACE 600000");
    let mut token = nil();
    eventually("a token", || {
        let reply = get(&mut c, "k r");
        if code_of(&reply) == "STALE" {
            token = reply.items()[4].clone();
        }
        is_token(&token)
    });
    assert_eq!(get(&mut c, "k r").items()[4], nil());
    // Who fails has others try.
    fine(&mut c, &format!("CACHE.FAIL k r TOKEN {}", token.text()));
    assert!(is_token(&get(&mut c, "k r").items()[4]));
    let began = Instant::now();
    eventually("another one", || is_token(&get(&mut c, "k r").items()[4]));
    assert!(began.elapsed() > Duration::from_millis(800), "{:?}", began.elapsed());
}

#[test]
fn leases_are_gone_with_a_restart_and_tokens_with_them() {
    let mut server = Server::builder().setting("regions", "r,lease=600000").with_aof(true).start();
    let mut c = server.client();
    let token = miss(&mut c, "k r");
    server.restart(Stop::Kill);
    let mut c = server.client();
    assert_eq!(c.run(&format!("CACHE.FAIL k r TOKEN {token}")), nil());
    assert_eq!(c.run(&format!("CACHE.SET k r v TOKEN {token}")), nil());
    miss(&mut c, "k r");
    assert_eq!(says(&mut c, "k r"), "WAIT");
}

#[test]
fn a_replica_gives_no_lease_no_token_and_never_says_wait() {
    let primary = Server::start();
    let mut c = primary.client();
    region(&mut c, "r LEASE 600000 EAGER 50");
    let replica = Server::builder().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    set(&mut c, "stale r old PX 1 GRACE 600000");
    let token = miss(&mut c, "a r");
    fine(&mut c, &format!("CACHE.SETABSENT a r TOKEN {token}"));
    set(&mut c, "k r v");
    miss(&mut c, "none r");
    replica.in_sync_with(&primary);
    let mut r = replica.client();
    eventually("it is told of the lease", || {
        r.must("CACHE.REGION GET r").get("lease") == &int(600_000)
    });
    for _ in 0..2 {
        assert_eq!(get(&mut r, "none r"), array([bulk("MISS"), bulk("0")]));
        eventually("it is stale", || says(&mut r, "stale r") == "STALE");
        assert_eq!(get(&mut r, "stale r").items()[4], nil());
        assert_eq!(get(&mut r, "a r"), array([bulk("ABSENT"), nil()]));
        assert_eq!((says(&mut r, "k r"), get(&mut r, "k r").items().len()), ("HIT".into(), 5));
    }
    for line in [
        "CACHE.SET k r v",
        "CACHE.FAIL k r TOKEN 0",
        "CACHE.CLEAR r",
        "CACHE.PATINVAL *",
        "CACHE.TAGINVAL SOFT t",
    ] {
        assert!(r.run(line).text().starts_with("READONLY"), "{line}");
    }
    assert_eq!(c.run("CACHE.SET none r v TOKEN 0"), nil());
    // Promoted it gives its own.
    replica.promote();
    let own = miss(&mut r, "none r");
    assert_eq!(says(&mut r, "none r"), "WAIT");
    assert_eq!(r.run(&format!("CACHE.SET none r v TOKEN {own}")), ok());
    assert_exact(&replica);
    assert_nothing_was_refused(&replica);
}

#[test]
fn a_hard_invalidation_by_a_tag_ends_the_lease_of_what_it_removes() {
    for sync_reclaim in ["256", "0"] {
        let server = Server::builder().setting("sync-reclaim", sync_reclaim).start();
        let mut c = server.client();
        region(&mut c, "r LEASE 600000 GRACE 600000");
        set(&mut c, "k r v TAGS 1 t");
        c.must("CACHE.TAGINVAL SOFT t");
        assert_ne!(c.must("CACHE.GET k r").items()[4], nil(), "who refreshes it");
        assert_eq!(says(&mut c, "k r"), "STALE");
        c.must("CACHE.TAGINVAL t");
        eventually("it is removed", || c.must("EXISTS k") == int(0));
        assert_eq!(says(&mut c, "k r"), "MISS", "{sync_reclaim}");
    }
}

#[test]
fn an_invalidation_ends_the_pause_after_a_failure() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r LEASE 600000");
    for invalidation in ["APIKEY.INVAL k", "CACHE.CLEAR r", "CACHE.PATINVAL k*"] {
        let token = miss(&mut c, "k r");
        assert_eq!(c.must(&format!("CACHE.FAIL k r TOKEN {token} BACKOFF 600000")), ok());
        assert_eq!(says(&mut c, "k r"), "WAIT");
        c.must(invalidation);
        let token = miss(&mut c, "k r");
        assert_eq!(c.must(&format!("CACHE.FAIL k r TOKEN {token}")), ok(), "{invalidation}");
    }
}

#[test]
fn swapdb_takes_leases_along() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    let token = miss(&mut c, "k r");
    c.must("SWAPDB 0 1");
    miss(&mut c, "k r");
    c.select(1);
    assert_eq!(says(&mut c, "k r"), "WAIT");
    fine(&mut c, &format!("CACHE.FAIL k r TOKEN {token}"));
    miss(&mut c, "k r");
    c.must("FLUSHDB");
    miss(&mut c, "k r");
}

#[test]
fn who_fails_after_a_tag_of_what_is_there_was_invalidated_has_no_lease_any_more() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, LONG);
    hold(&mut c);
    store_many(&mut c, "k", 300, "r v TAGS 1 t GRACE 600000");
    c.must("CACHE.TAGINVAL SOFT t");
    let token = get(&mut c, "k0 r").items()[4].text();
    c.must("CACHE.TAGINVAL t");
    assert_eq!(c.must("EXISTS k0"), int(1), "it waits for reclaim");
    assert_eq!(c.run(&format!("CACHE.FAIL k0 r TOKEN {token} BACKOFF 600000")), nil());
    miss(&mut c, "k0 r");
    release(&mut c);
}
