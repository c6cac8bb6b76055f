//! Servers whose operator has taken commands away by `rename-command`: what the module needs of the
//! server's own commands, it must do without.

use crate::harness::server::Stop;
use crate::harness::*;
use crate::reclaim::{dbsize, fill_group};

/// Entries of a tag; more than sync-reclaim, so that they are reclaimed in slices.
const MANY: usize = 1_000;

/// A server without this command.
fn without(command: &str) -> Builder {
    Server::builder().config(&format!("rename-command {command} \"\""))
}

/// Fills and invalidates a large tag, and waits until the primary has no keys.
#[track_caller]
fn reclaim_all(c: &mut Client) {
    fill_group(c, "g", MANY);
    assert_eq!(c.invalidate("g"), MANY as i64);
    reclaimed(c);
    assert_eq!(dbsize(c), 0);
}

#[test]
fn without_unlink_a_replica_loses_what_its_primary_reclaims() {
    let primary = without("UNLINK").start();
    let replica = without("UNLINK").start();
    replica.replicate(&primary);
    let mut c = primary.client();
    assert!(c.run("UNLINK k").text().contains("unknown command"));
    reclaim_all(&mut c);
    c.fill("live", &[]);
    replica.in_sync_with(&primary);
    assert_eq!(dbsize(&mut replica.client()), 1);
    assert_eq!(replica.digest(), primary.digest());
    assert_nothing_was_refused(&replica);
    assert_exact(&replica);
}

#[test]
fn without_unlink_an_aof_ends_without_what_was_reclaimed() {
    let mut server = without("UNLINK").setting("trust-loaded", "yes").with_aof(false).start();
    reclaim_all(&mut server.client());
    server.restart(Stop::NoSave);
    let mut c = server.client();
    eventually("it is empty", || dbsize(&mut c) == 0);
    c.fill("live", &[]);
    // A replica reclaims nothing itself: it has what the AOF says. Nobody answers at that port.
    server.restart_with(Stop::NoSave, |b| b.config("replicaof 127.0.0.1 1"));
    let mut c = server.client();
    assert_eq!((dbsize(&mut c), c.exists("live")), (1, true));
    assert_nothing_was_refused(&server);
}

/// Whether one of HEALTH's reasons speaks of the channel.
#[track_caller]
fn health_names_the_channel(c: &mut Client) -> bool {
    let health = c.must("APIKEY.HEALTH");
    let reasons = health.get("reasons").items();
    reasons.iter().any(|reason| reason.text().contains("invalidation-channel"))
}

#[test]
fn without_publish_invalidation_goes_on_and_health_tells_that_the_channel_is_silent() {
    let server = without("PUBLISH").setting("invalidation-channel", "inval").start();
    let mut c = server.client();
    for _ in 0..3 {
        c.fill("k", &["t"]);
        assert_eq!(c.invalidate("t"), 1);
        assert_eq!(c.code("k"), "MISS");
        c.fill("k", &["t"]);
        assert_eq!(c.must("APIKEY.INVAL k"), int(1));
        c.must("FLUSHALL");
    }
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("PUBLISH")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("degraded"));
    assert!(health_names_the_channel(&mut c));
    assert_exact(&server);
}

#[test]
fn with_publish_or_without_a_channel_health_has_nothing_to_say_of_it() {
    for builder in [Server::builder().setting("invalidation-channel", "inval"), without("PUBLISH")]
    {
        let server = builder.start();
        let mut c = server.client();
        c.fill("k", &["t"]);
        assert_eq!(c.invalidate("t"), 1);
        assert_eq!(c.must("APIKEY.HEALTH").get("status"), &bulk("healthy"));
        assert!(!health_names_the_channel(&mut c));
    }
}
