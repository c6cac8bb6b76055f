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

#[test]
fn a_record_is_replicated_before_it_is_told_of() {
    let Some(mut pair) = Notified::start() else { return };
    pair.on("apikey.setval", "DEL @");
    pair.c.fill("k", &[]);
    assert!(!pair.c.exists("k"));
    pair.agree();
}
