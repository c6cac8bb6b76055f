//! A failover by Sentinel, which libraries follow by themselves.

use super::adapter::programs;
use super::scenario::Way;
use super::Library;
use crate::harness::*;
use crate::roles::{ask, says};
use serde_json::{json, Value};
use std::time::Duration;

/// How long a failover may take on a machine that is busy.
const FAILOVER: Duration = Duration::from_secs(150);

fn row(id: &str, is_active: bool) -> Value {
    json!({"id": id, "user_id": "u", "is_active": is_active, "key_hash": "sha256:s"})
}

fn follow(library: &Library, way: &Way) {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let sentinel = Server::builder()
        .sentinel()
        .config(&format!("sentinel monitor mymaster 127.0.0.1 {} 1", primary.port))
        .config("sentinel down-after-milliseconds mymaster 1000")
        .config("sentinel failover-timeout mymaster 5000")
        .start();
    eventually_within(FAILOVER, "Sentinel knows the replica", || {
        let replicas = sentinel.client().must("SENTINEL REPLICAS mymaster");
        replicas.items().iter().any(|known| known.get("master-link-status") == &bulk("ok"))
    });

    let name = format!("sentinel-{}-{}", way.client, way.protocol);
    let adapter = &library.adapters[0];
    library.database.clear();
    for id in ["kept", "revoked"] {
        library.database.set(id, &row(id, true));
    }
    adapter.must(&json!({
        "do": "open", "name": name, "client": way.client, "protocol": way.protocol,
        "nodes": [format!("127.0.0.1:{}", sentinel.port)], "sentinel": "mymaster",
        "options": {"parse": "plain", "timeout": 1000, "breaker": {"failures": 5, "ms": 100}},
    }));
    let verify = |id: &str| {
        adapter.must(
            &json!({"do": "verify", "name": name, "presented": format!("{id}.s"), "scopes": []}),
        )
    };
    for id in ["kept", "revoked"] {
        assert_eq!(verify(id)["source"], "database", "{name}");
        eventually("it is cached", || verify(id)["source"] == "cache");
    }
    replica.in_sync_with(&primary);

    // It keeps its connections, and its port.
    primary.freeze();
    assert_eq!(verify("kept")["kind"], "valid", "{name}: the database answers");
    eventually_within(FAILOVER, "the replica is promoted", || says(&replica, "role:master"));
    library.database.set("revoked", &row("revoked", false));
    let change = json!({"do": "changed", "name": name, "key_id": "revoked", "prefix": "revoked", "user": "u"});
    eventually_within(FAILOVER, "the change is told to the new one", || {
        adapter.call(&change).is_ok()
    });
    assert_eq!(ask(&replica, "APIKEY.TAGCARD apikey:id:revoked"), int(0), "{name}");
    assert_eq!(verify("revoked")["code"], "DISABLED", "{name}");
    eventually("the new one answers", || verify("kept")["source"] == "cache");

    // The former one comes back as it was, and does not know yet.
    primary.wake();
    for _ in 0..10 {
        assert_eq!(verify("revoked")["code"], "DISABLED", "{name}");
        assert_eq!(verify("kept")["kind"], "valid", "{name}");
    }
    adapter.must(&json!({"do": "close", "name": name}));
}

#[test]
fn libraries_follow_a_failover_by_sentinel() {
    for program in programs() {
        let library = Library::start(&program, 1);
        let found = library.described["sentinel"].as_array().cloned().unwrap_or_default();
        // Which protocol is spoken matters not.
        for way in library.ways() {
            if way.protocol == 2 && found.iter().any(|client| *client == way.client) {
                follow(&library, &way);
            }
        }
    }
}
