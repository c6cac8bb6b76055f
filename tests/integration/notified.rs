//! Another module that writes in a keyspace notification: what a command tells of is replicated before, so that
//! a replica gets both in the order in which they happened.

use crate::callers::built;
use crate::harness::server::kind;
use crate::harness::*;

/// A primary with `caller/notified.c`, and its replica.
pub struct Notified {
    pub primary: Server,
    pub replica: Server,
    pub c: Client,
}

impl Notified {
    /// None on 6.2, which sends what a module calls before what it replicates, whatever their order.
    #[track_caller]
    pub fn start() -> Option<Self> {
        if kind() == Kind::Redis62 {
            return None;
        }
        let module = format!("loadmodule {}", built("notified").display());
        let primary = Server::builder().config(&module).start();
        let replica = Server::builder().replica_of(&primary).start();
        replica.in_sync_with(&primary);
        let c = primary.client();
        Some(Self { primary, replica, c })
    }

    /// From now on the other module does this when it is told of the event; `@` is the key that it is told of.
    #[track_caller]
    pub fn on(&mut self, event: &str, does: &str) {
        self.c.must(&format!("NOTIFIED.ON {event} {does}"));
    }

    /// The replica has what the primary has.
    #[track_caller]
    pub fn agree(&self) {
        self.replica.in_sync_with(&self.primary);
        assert_eq!(self.replica.digest(), self.primary.digest());
        assert_nothing_was_refused(&self.replica);
        assert_exact(&self.primary);
        assert_exact(&self.replica);
    }
}

/// What the other module does to a counter when it is told of it: it counts another use.
const COUNTS: &str = "APIKEY.USAGE.INCR @";

#[test]
fn counts_are_handed_over_before_that_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    // Each is told of `a`, and then of `b`, which is counted when `a` is told of.
    for (event, line) in [
        ("apikey.usage.lease", format!("APIKEY.USAGE.LEASE {LONG}")),
        ("apikey.usage.take", "APIKEY.USAGE.TAKE a b".into()),
        ("apikey.usage.take", "APIKEY.USAGE.FLUSH".into()),
    ] {
        for does in [COUNTS, "APIKEY.USAGE.INCR a", "APIKEY.USAGE.INCR b", "DEL b"] {
            pair.c.must("FLUSHDB");
            pair.c.count("a", 1);
            pair.c.count("b", 2);
            pair.on(event, does);
            pair.c.must(&line);
            pair.agree();
            pair.c.must("NOTIFIED.OFF");
        }
    }
}

#[test]
fn lines_are_settled_before_that_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    for does in ["RENAME b c", "DEL b", COUNTS] {
        pair.c.must("FLUSHDB");
        pair.c.count("a", 1);
        pair.c.count("b", 2);
        let batch = pair.c.lease();
        pair.on("apikey.usage.ack", does);
        assert_eq!(pair.c.ack(&batch), 2);
        assert_eq!(pair.c.must("APIKEY.HEALTH").get("usage_leased"), &int(0), "{does}");
        pair.agree();
        pair.c.must("NOTIFIED.OFF");
    }
}

#[test]
fn a_use_is_counted_before_it_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    pair.on("apikey.usage.incr", "APIKEY.USAGE.TAKE @");
    pair.c.count("a", 1);
    pair.c.count("a", 2);
    assert_eq!(pair.c.counts("a"), (0, 0, 3));
    pair.agree();
}

#[test]
fn a_record_is_replicated_before_it_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    pair.on("apikey.setval", "DEL @");
    pair.c.fill("k", &[]);
    assert!(!pair.c.exists("k"));
    pair.agree();
}
