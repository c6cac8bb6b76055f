//! What is set of regions: by REGION, by CONFIG SET, as an argument; and who is told.

use super::calls::*;
use crate::harness::server::Stop;
use crate::harness::*;

fn regions(c: &mut Client) -> String {
    c.must("CONFIG GET apikey.regions").get("apikey.regions").text()
}

#[test]
fn set_changes_what_it_names_and_del_forgets_all_of_it() {
    let server = Server::start();
    let mut c = server.client();
    region(&mut c, "r TTL 5000 JITTER 10 GRACE 7 EAGER 20 LEASE 8 ABSENTTTL 9 MAXBYTES 1000 MAXENTRIES 11 EVICT lfu");
    let is = |c: &mut Client, line: &str| -> Vec<String> {
        let reply = c.must(&format!("CACHE.REGION GET {line}"));
        reply.names().iter().map(|name| format!("{name}={:?}", reply.get(name))).collect()
    };
    let all = [
        "ttl=5000",
        "jitter=10",
        "grace=7",
        "eager=20",
        "lease=8",
        "absent_ttl=9",
        "max_bytes=1000",
        "max_entries=11",
        "evict=\"lfu\"",
    ];
    assert_eq!(is(&mut c, "r"), all);
    region(&mut c, "r TTL 6000");
    assert_eq!(is(&mut c, "r")[0], "ttl=6000");
    assert_eq!(is(&mut c, "r")[1..], all[1..]);
    // Another namespace's is another, and one without words is set too.
    region(&mut c, "r NS n: EVICT TTL");
    region(&mut c, "plain");
    assert_eq!(is(&mut c, "r")[8], "evict=\"lfu\"");
    assert_eq!(is(&mut c, "r NS n:")[8], "evict=\"ttl\"");
    // A name may look like the namespace and the name of another.
    region(&mut c, "n:r");
    assert_eq!(sorted(&c.must("CACHE.REGION LIST")), ["n:r", "plain", "r", "r ns=n:"]);
    assert_eq!(c.must("CACHE.REGION DEL n:r"), int(1));
    set(&mut c, "k r v");
    assert_eq!(c.must("CACHE.REGION DEL r"), int(1));
    assert_eq!(c.must("CACHE.REGION DEL r"), int(0));
    assert_eq!(is(&mut c, "r")[0], "ttl=3600000");
    assert_eq!(says(&mut c, "k r"), "HIT", "entries stay");
    assert_eq!(sorted(&c.must("CACHE.REGION LIST")), ["plain", "r ns=n:"]);
    assert_eq!(c.must("CACHE.REGION DEL r NS n:"), int(1));
}

#[test]
fn it_is_a_setting_that_config_knows_and_writes_to_its_file() {
    if !server::kind().has_module_config() {
        return;
    }
    let mut server = Server::start();
    let mut c = server.client();
    assert_eq!(regions(&mut c), "");
    let text =
        "products ttl=7200000 max-bytes=64mb evict=lru; search TTL=900000 ns=acme: evict=LFU";
    assert_eq!(c.cmd(["CONFIG", "SET", "apikey.regions", text]), ok());
    let shown = "products ttl=7200000 max-bytes=64mb; search ns=acme: ttl=900000 evict=lfu";
    assert_eq!(regions(&mut c), shown);
    assert_eq!(c.must("CACHE.REGION GET products").get("max_bytes"), &int(64 << 20));
    region(&mut c, "products LEASE 500");
    let shown = shown.replace("max-bytes", "lease=500 max-bytes");
    assert_eq!(regions(&mut c), shown);
    for (wrong, what) in [
        ("r ttl=0", "region r: ttl must be between 1 and 31536000000"),
        ("r foo=1", "region r: there is no foo"),
        ("r ttl", "region r: ttl is not of the form key=value"),
        ("r; r", "region r is there twice"),
        ("r evict=fifo", "region r: evict must be lru, lfu or ttl"),
    ] {
        let reply = c.cmd(["CONFIG", "SET", "apikey.regions", wrong]);
        assert!(reply.text().contains(what), "{wrong}: {reply:?}");
        assert_eq!(regions(&mut c), shown);
    }
    c.must("CONFIG REWRITE");
    server.stop(Stop::NoSave);
    server.start_as_rewritten();
    let mut c = server.client();
    assert_eq!(regions(&mut c), shown);
    assert_eq!(c.must("CACHE.REGION GET search NS acme:").get("evict"), &bulk("lfu"));
    assert_eq!(c.cmd(["CONFIG", "SET", "apikey.regions", ""]), ok());
    assert_eq!(c.must("CACHE.REGION LIST"), array([]));
}

#[test]
fn it_can_be_an_argument_of_the_module() {
    for text in
        ["r,ttl=5000,max-bytes=1kb;s,ns=n:,lease=7", "r ttl=5000 max-bytes=1kb; s ns=n: lease=7"]
    {
        let server = Server::builder().setting("regions", text).start();
        let mut c = server.client();
        assert_eq!(c.must("CACHE.REGION GET r").get("ttl"), &int(5000), "{text}");
        assert_eq!(c.must("CACHE.REGION GET r").get("max_bytes"), &int(1024), "{text}");
        assert_eq!(c.must("CACHE.REGION GET s NS n:").get("lease"), &int(7), "{text}");
        assert_eq!(sorted(&c.must("CACHE.REGION LIST")), ["r", "s ns=n:"]);
    }
    let failed = Server::builder().setting("regions", "r,ttl=0").try_start();
    let log = failed.err().map(|failed| failed.log).expect("it does not start");
    assert!(log.contains("region r: ttl must be between 1 and 31536000000"), "{log}");
}

/// Waits until a server has this TTL for region `r`.
#[track_caller]
fn has_ttl(server: &Server, ttl: i64) {
    let mut c = server.client();
    eventually("the replica is told", || c.must("CACHE.REGION GET r").get("ttl") == &int(ttl));
}

#[test]
fn replicas_have_what_their_primary_says_whenever_they_come() {
    let primary = Server::start();
    let early = Server::builder().replica_of(&primary).start();
    early.in_sync_with(&primary);
    let mut c = primary.client();
    region(&mut c, "r TTL 5000");
    has_ttl(&early, 5000);
    let late = Server::builder().replica_of(&primary).start();
    late.in_sync_with(&primary);
    has_ttl(&late, 5000);
    if server::kind().has_module_config() {
        fine(&mut c, "CONFIG SET apikey.regions r,ttl=7000");
        has_ttl(&early, 7000);
        has_ttl(&late, 7000);
    }
    let reply = early.client().run("CACHE.REGION SET r TTL 1");
    assert!(reply.text().starts_with("READONLY"), "{reply:?}");
    let reply = early.client().run("CACHE.REGION DEL r");
    assert!(reply.text().starts_with("READONLY"), "{reply:?}");
    assert_eq!(c.must("CACHE.REGION DEL r"), int(1));
    has_ttl(&early, 3_600_000);
    has_ttl(&late, 3_600_000);
    // A promoted one has it, and what it says holds.
    region(&mut c, "r TTL 9000");
    has_ttl(&early, 9000);
    has_ttl(&late, 9000);
    early.promote();
    late.replicate(&early);
    has_ttl(&late, 9000);
    region(&mut early.client(), "r TTL 4000");
    has_ttl(&late, 4000);
    assert_nothing_was_refused(&late);
    assert_nothing_was_refused(&early);
}

#[test]
fn a_replica_that_had_settings_of_its_own_has_its_primarys() {
    let replica = Server::builder().setting("regions", "r,ttl=77;own").start();
    has_ttl(&replica, 77);
    let primary = Server::builder().setting("regions", "r,ttl=55").start();
    replica.replicate(&primary);
    has_ttl(&replica, 55);
    assert_eq!(replica.client().must("CACHE.REGION LIST"), array([bulk("r")]));
    // Also where that is nothing.
    assert_eq!(primary.client().must("CACHE.REGION DEL r"), int(1));
    has_ttl(&replica, 3_600_000);
    // And never was anything.
    let plain = Server::start();
    let replica = Server::builder().setting("regions", "r,ttl=77").replica_of(&plain).start();
    has_ttl(&replica, 3_600_000);
    assert_eq!(replica.client().must("CACHE.REGION LIST"), array([]));
    assert_nothing_was_refused(&replica);
}
