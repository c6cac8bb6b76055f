//! A clock that is set while the server runs, or while it is down: back or ahead, by seconds or by years.

use crate::callers::built;
use crate::harness::server::Stop;
use crate::harness::*;
use crate::leases::{figure, OVERDUE};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const AHEAD: &str = "a lease of usage counts was given out at a time that is still to come";

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;

/// The clock of one server or several; see `caller/clock.c`.
pub struct Clock {
    file: PathBuf,
    _dir: TempDir,
}

impl Clock {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Self { file: dir.path().join("ahead"), _dir: dir };
        clock.set(0, &[]);
        clock
    }

    /// A server that goes by it. The link to a replica is not cut as it is set, since what the stream says would
    /// be replaced by what a full resync brings.
    pub fn server(&self) -> Builder {
        let server = Server::builder().config("repl-timeout 2147483647");
        server.env("LD_PRELOAD", &built("clock")).env("APIKEY_CLOCK", &self.file)
    }

    /// From now on it is ahead by so many milliseconds, for these servers: Valkey looks at it every millisecond.
    #[track_caller]
    pub fn set(&self, ahead: i64, servers: &[&Server]) {
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &ahead.to_ne_bytes()))
            .expect("the clock is set");
        for server in servers {
            let mut c = server.client();
            eventually("the server goes by the clock", || {
                let ours = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
                let theirs = c.must("TIME").items()[0].text().parse::<i64>().expect("a number");
                (theirs - ours as i64 - ahead / 1000).abs() < 10
            });
        }
    }
}

#[track_caller]
fn reasons(c: &mut Client) -> Vec<String> {
    c.must("APIKEY.HEALTH").get("reasons").items().iter().map(Reply::text).collect()
}

#[test]
fn a_lease_that_was_given_out_while_the_clock_was_ahead_comes_again_once_it_is_set_back() {
    for ahead in [HOUR, 30 * YEAR] {
        let clock = Clock::new();
        let mut server = clock.server().start();
        let mut c = server.client();
        clock.set(ahead, &[&server]);
        c.count("a", 5);
        let batch = c.leases(&HOUR.to_string()).remove(0);
        assert_eq!((c.leases("1000"), reasons(&mut c)), (vec![], vec![]));
        for restarts in [false, true] {
            clock.set(ahead, &[&server]);
            if restarts {
                // It was given out again meanwhile, by the right clock, which is then set back by a year.
                server.restart(Stop::Save);
                clock.set(-YEAR, &[&server]);
                c = server.client();
            } else {
                clock.set(0, &[&server]);
            }
            assert_eq!(reasons(&mut c), [OVERDUE, AHEAD]);
            assert_eq!(figure(&mut c, "oldest_lease_ms"), 0);
            assert_eq!(c.leases(&HOUR.to_string()), std::slice::from_ref(&batch));
            assert_eq!((c.leases("1000"), reasons(&mut c)), (vec![], vec![]), "once");
            assert!((0..MINUTE).contains(&figure(&mut c, "oldest_lease_ms")));
        }
        assert_eq!(c.ack(&batch), 1);
        assert_exact(&server);
    }
}

#[test]
fn one_that_was_given_out_again_while_it_was_ahead_does_too() {
    let clock = Clock::new();
    let primary = clock.server().start();
    let replica = clock.server().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    c.count("a", 5);
    let batch = c.lease();
    c.nack(&batch);
    clock.set(HOUR, &[&primary, &replica]);
    assert_eq!(c.leases("30000"), std::slice::from_ref(&batch));
    replica.in_sync_with(&primary);
    clock.set(0, &[&primary, &replica]);
    for server in [&primary, &replica] {
        assert_eq!(reasons(&mut server.client()), [OVERDUE, AHEAD]);
    }
    assert_eq!(c.leases("30000"), std::slice::from_ref(&batch));
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest());
    for server in [&primary, &replica] {
        assert_eq!(reasons(&mut server.client()), [""; 0]);
    }
    assert_exact(&primary);
}

#[test]
fn a_clock_that_is_set_back_by_seconds_ends_no_lease() {
    let clock = Clock::new();
    let server = clock.server().start();
    let mut c = server.client();
    c.count("a", 5);
    c.lease();
    clock.set(-30_000, &[&server]);
    assert_eq!((c.leases("1000"), reasons(&mut c)), (vec![], vec![]));
}

#[test]
fn work_in_slices_goes_on_after_the_clock_was_set_back() {
    let clock = Clock::new();
    let server = clock.server().start();
    let mut c = server.client();
    if !hold(&mut c) {
        return;
    }
    for n in 0..300 {
        c.fill(&format!("k{n}"), &["t"]);
    }
    assert_eq!(c.invalidate("t"), 300);
    // Its timer is set for a time that the clock does not come to any more.
    clock.set(-YEAR, &[&server]);
    release(&mut c);
    reclaimed(&mut c);
    assert_eq!(c.must("DBSIZE"), int(0));
    assert_exact(&server);
}

#[test]
fn what_was_counted_by_a_clock_that_was_never_set_is_read_again() {
    // Before 1970 they write where they may not, at each turn of their cron that falls into some seconds of
    // eight, and forget commands.
    if matches!(server::kind(), Kind::Redis62 | Kind::Redis70) {
        return;
    }
    let clock = Clock::new();
    let server = clock.server().start();
    let mut c = server.client();
    clock.set(-100 * YEAR, &[&server]);
    c.count("u", 1);
    assert_eq!(c.lease().counts(), [("u".into(), 1)]);
    c.count("u", 1);
    c.must("DEBUG RELOAD");
    assert_eq!(c.usage("u"), (1, 2));
    assert_exact(&server);
}

#[test]
fn what_is_told_of_times_is_by_the_clock_as_it_is() {
    let clock = Clock::new();
    let primary = clock.server().start();
    let replica = clock.server().replica_of(&primary).start();
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    let used = |c: &mut Client, what: &str| c.must("APIKEY.USAGE.GET u").get(what).int();
    clock.set(YEAR, &[&primary]);
    c.count("u", 1);
    let (first, token) = (used(&mut c, "first_used_at"), c.must("APIKEY.TOKEN k").text());
    clock.set(0, &[&primary]);
    c.count("u", 1);
    assert_eq!(used(&mut c, "first_used_at"), first);
    assert!(used(&mut c, "last_used_at") < first - YEAR + HOUR);
    assert_eq!(c.must("APIKEY.DESCRIBE u").get("age"), &int(0));
    // A token of before is late; the next one is not.
    let fill = |token: &str| format!("APIKEY.SETABSENT k TOKEN {token}");
    assert_eq!(c.run(&fill(&token)), nil());
    let token = c.must("APIKEY.TOKEN k").text();
    assert_eq!(c.run(&fill(&token)), ok());
    // As early as there is a time: before 1970 the servers themselves write where they may not.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as i64;
    clock.set(HOUR - now, &[&primary]);
    c.count("early", 1);
    c.count("early", 1);
    assert_eq!(c.lease().counts(), [("early".into(), 2), ("u".into(), 2)]);
    let early = c.must("APIKEY.USAGE.GET early").get("first_used_at").int();
    assert!((HOUR..2 * HOUR).contains(&early), "{early}");
    replica.in_sync_with(&primary);
    assert_eq!(replica.digest(), primary.digest());
    assert_eq!(primary.client().info("stats", "sync_full").as_deref(), Some("1"));
    assert_nothing_was_refused(&replica);
    assert_exact(&primary);
}
