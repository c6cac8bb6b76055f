//! Many databases: what is summed over all of them, and that each has its turn.

use crate::harness::*;
use crate::reclaim::{dbsize, let_pass};
use std::time::Instant;

const DATABASES: usize = 100_000;

/// Databases of a server that has many, from the first to the last.
const USED: [usize; 40] = {
    let mut used = [0; 40];
    let mut nth = 1;
    while nth < used.len() {
        used[nth] = DATABASES - 1 - (used.len() - 1 - nth) * 2500;
        nth += 1;
    }
    used
};

fn with_many() -> Builder {
    Server::builder().config(&format!("databases {DATABASES}"))
}

/// In each used database `EACH` entries with the tag `t`, and a counter of `1 +` its position.
const EACH: usize = 3;

#[track_caller]
fn fill_all(c: &mut Client) {
    for (nth, &db) in USED.iter().enumerate() {
        c.select(db);
        (0..EACH).for_each(|n| c.fill(&format!("k{n}"), &["t"]));
        c.count("use", 1 + nth as i64);
    }
}

#[track_caller]
fn figure(c: &mut Client, name: &str) -> i64 {
    c.must("APIKEY.HEALTH").get(name).int()
}

#[test]
fn health_sums_up_what_comes_to_each_of_many_databases_and_goes() {
    let server = with_many().start();
    let mut c = server.client();
    fill_all(&mut c);
    let all = USED.len() as i64;
    let counted: i64 = (1..=all).sum();
    let figures = ["records", "usage_counters", "usage_pending", "pending_counters"];
    let health = |c: &mut Client| figures.map(|name| figure(c, name));
    assert_eq!(health(&mut c), [3 * all, all, counted, all]);
    // Each has t, and those that every entry carries.
    assert_eq!(figure(&mut c, "tags") % all, 0);
    let tags = figure(&mut c, "tags") / all;

    // The last is emptied, and becomes the first.
    let (first, last) = (USED[0], USED[USED.len() - 1]);
    c.select(last);
    assert_eq!(c.run("FLUSHDB"), ok());
    assert_eq!(health(&mut c), [3 * (all - 1), all - 1, counted - all, all - 1]);
    assert_eq!(c.run(&format!("SWAPDB {first} {last}")), ok());
    assert_eq!((dbsize(&mut c), c.code("k0").as_str()), (EACH + 1, "VALID"));
    c.select(first);
    assert_eq!((dbsize(&mut c), c.code("k0").as_str()), (0, "MISS"));
    c.select(last);
    assert_eq!(c.invalidate("t"), 3);
    c.must("APIKEY.USAGE.TAKE use");
    assert_eq!(health(&mut c), [3 * (all - 2), all - 1, counted - all - 1, all - 2]);
    assert_eq!(figure(&mut c, "tags"), tags * (all - 2));
    assert_exact_in(&mut c, &[first, last, USED[20]]);

    assert_eq!(c.run("FLUSHALL"), ok());
    assert_eq!(health(&mut c), [0; 4]);
    assert_eq!((figure(&mut c, "index_bytes"), figure(&mut c, "tags")), (0, 0));
    fill_all(&mut c);
    assert_eq!(health(&mut c), [3 * all, all, counted, all]);
}

/// The mean of some calls in microseconds, where nothing came in between.
#[track_caller]
fn microseconds(c: &mut Client, line: &str, name: &str) -> f64 {
    let lines = vec![line.to_string(); 100];
    let rounds = (0..10).map(|_| {
        c.must("CONFIG RESETSTAT");
        c.pipeline(&lines);
        let stats = c.info("commandstats", &format!("cmdstat_{name}")).expect("a line");
        let mean = stats.split("usec_per_call=").nth(1).and_then(|rest| rest.split(',').next());
        mean.and_then(|mean| mean.parse().ok()).expect("a number")
    });
    rounds.fold(f64::MAX, f64::min)
}

#[test]
fn what_is_done_in_the_last_of_many_databases_takes_as_long_as_in_the_first() {
    let server = with_many().start();
    let mut c = server.client();
    for (line, name) in [
        (format!("APIKEY.VALIDATE k SECRET {SECRET}"), "apikey.validate"),
        ("APIKEY.USAGE.INCR use".to_string(), "apikey.usage.incr"),
    ] {
        let [first, last] = [USED[0], USED[USED.len() - 1]].map(|db| {
            c.select(db);
            c.fill("k", &["t"]);
            microseconds(&mut c, &line, name)
        });
        // A walk over all of them took a hundred times as long and more.
        assert!(last < 20.0 * first, "{name}: {first} and {last} us");
    }
}

#[track_caller]
fn assert_exact_in(c: &mut Client, databases: &[usize]) {
    for &db in databases {
        c.select(db);
        let check = c.must("APIKEY.CHECK");
        assert_eq!(check.get("differences"), &int(0), "{db}: {check:?}");
    }
}

#[test]
fn the_oldest_lease_and_an_overdue_one_are_those_of_any_database() {
    let server = with_many().start();
    let mut c = server.client();
    fill_all(&mut c);
    let mut batches = Vec::new();
    for &db in USED.iter().rev() {
        c.select(db);
        let asked = Instant::now();
        batches.push((db, c.leases("50000").remove(0), asked, Instant::now()));
        let_pass(&mut c, 5);
    }
    assert_eq!(figure(&mut c, "open_batches"), USED.len() as i64);
    assert_eq!(figure(&mut c, "usage_pending"), 0);
    for (db, batch, asked, given) in batches.iter().take(USED.len() - 1) {
        // To a millisecond, of two clocks.
        let at_least = given.elapsed().as_millis() as i64 - 2;
        let age = figure(&mut c, "oldest_lease_ms");
        let at_most = asked.elapsed().as_millis() as i64 + 2;
        assert!((at_least..=at_most).contains(&age), "{age} of {at_least} to {at_most}");
        c.select(*db);
        assert_eq!(c.ack(batch), 1);
    }
    let (db, batch, ..) = &batches[USED.len() - 1];
    assert_eq!(*db, USED[0]);
    assert_eq!(figure(&mut c, "open_batches"), 1);
    c.select(*db);
    assert_eq!(c.nack(batch), 1);
    c.select(USED[7]);
    let health = c.must("APIKEY.HEALTH");
    assert_eq!(health.get("reasons"), &array([bulk("a lease of usage counts is overdue")]));
    c.select(*db);
    let again = c.lease();
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));
    assert_eq!(c.ack(&again), 1);
    assert_eq!(figure(&mut c, "oldest_lease_ms"), 0);
}

#[test]
fn reclaim_comes_to_each_database() {
    let server = with_many().setting("sync-reclaim", "0").start();
    let mut c = server.client();
    fill_all(&mut c);
    let held = hold(&mut c);
    for &db in &USED {
        c.select(db);
        assert_eq!(c.invalidate("t"), EACH as i64);
    }
    if held {
        assert_eq!(backlog(&mut c), (EACH * USED.len()) as i64);
        release(&mut c);
    }
    reclaimed(&mut c);
    assert_eq!(figure(&mut c, "records"), 0);
    assert_exact_in(&mut c, &[USED[0], USED[1], USED[USED.len() - 1]]);
}

#[test]
fn where_all_die_at_once_they_do_so_in_each_database_and_go() {
    let primary = with_many().start();
    let mut c = primary.client();
    fill_all(&mut c);
    let replica = with_many().setting("trust-promoted", "no").replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = replica.client();
    c.select(USED[3]);
    assert_eq!(c.code("k0"), "VALID");
    replica.promote();
    for &db in &USED {
        c.select(db);
        assert_eq!(c.code("k0"), "MISS", "{db}");
    }
    reclaimed(&mut c);
    assert_eq!(figure(&mut c, "records"), 0);
    assert_eq!(figure(&mut c, "pending_counters"), USED.len() as i64);
    c.select(USED[9]);
    assert_eq!(dbsize(&mut c), 1);
    c.fill("k0", &["t"]);
    assert_eq!(c.code("k0"), "VALID");
    assert_exact_in(&mut c, &[USED[0], USED[9], USED[USED.len() - 1]]);
}
