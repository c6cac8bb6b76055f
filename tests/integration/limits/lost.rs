//! What a failover loses is admitted again, and no more than that.

use super::calls::*;
use crate::harness::server::Stop;
use crate::harness::*;

#[test]
fn a_failover_admits_again_what_was_not_replicated_and_no_more() {
    const BURST: i64 = 400;
    let mut primary = Server::start();
    let replica = Server::builder().replica_of(&primary).start();
    let mut c = primary.client();
    limited(&mut c, "k", &[bucket("second", BURST)]);
    let mut admitted = 0;
    for _ in 0..100 {
        admitted += i64::from(code_of(&admit(&mut c, "")) == "VALID");
    }
    replica.in_sync_with(&primary);
    // From here on the replica hears nothing.
    replica.freeze();
    let mut unheard = 0;
    for _ in 0..50 {
        unheard += i64::from(code_of(&admit(&mut c, "")) == "VALID");
    }
    assert_eq!((admitted, unheard), (100, 50));
    primary.stop(Stop::Kill);
    replica.wake();
    replica.promote();
    let mut r = replica.client();
    let known = BURST - levels(&mut r, "use")[0].1;
    assert!((100..=150).contains(&known), "{known}");
    while code_of(&admit(&mut r, "")) == "VALID" {
        admitted += 1;
    }
    let over = admitted + unheard - BURST;
    assert!((0..=unheard).contains(&over), "{over} more than {BURST}");
    assert_eq!(over, 150 - known, "what was not heard");
    assert_exact(&replica);
}
