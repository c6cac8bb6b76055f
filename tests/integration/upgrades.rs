//! From the release before to this version, and back: as docs/runbooks/upgrade.md and rollback.md have it, under load.
//!
//! The other module is that of the last release in CHANGELOG.md, or, by `scripts/test --with REVISION`, another's, which
//! may write what this one writes.

use std::fs;
use std::time::Duration;

use apikey_engine::codec::version::VERSION;

use crate::chaos::clients::Clients;
use crate::chaos::load::{Load, Promise, Service};
use crate::ctl::program::Ran;
use crate::harness::server::{kind, module, other_module, Failed, Stop};
use crate::harness::streams::Tap;
use crate::harness::*;

/// With the other module.
fn other() -> Builder {
    Server::builder().module(other_module())
}

/// What the other module writes, and reads.
fn version_of_other() -> u16 {
    Tap::replication(other().start().port).version()
}

/// Why a module that writes `version` does not read what this one writes.
fn unread(version: u16) -> Option<String> {
    (version < VERSION)
        .then(|| format!("version {VERSION} is newer than what this module reads (1 to {version})"))
}

/// Two nodes give the same answers. What they hold has the same digest where they have the same module: bytes of another
/// version are others.
#[track_caller]
fn assert_agree(primary: &Server, replica: &Server, alike: bool) {
    replica.in_sync_with(primary);
    assert_eq!(answers(replica), answers(primary));
    if alike {
        assert_eq!(replica.digest(), primary.digest());
    }
    assert_exact(primary);
    assert_exact(replica);
}

/// Keys and values on disk are taken away: what the server starts with then is empty.
fn take_files_away(server: &Server) {
    for name in ["dump.rdb", "appendonly.aof"] {
        let path = server.dir().join(name);
        if path.exists() {
            fs::remove_file(path).expect("a file of the server's");
        }
    }
    let path = server.dir().join("appendonlydir");
    if path.exists() {
        fs::remove_dir_all(path).expect("the directory of its AOF");
    }
}

// One server.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Rdb,
    Aof { preamble: bool },
}

const DISKS: [Disk; 3] = [Disk::Rdb, Disk::Aof { preamble: true }, Disk::Aof { preamble: false }];

impl Disk {
    fn of(self, builder: Builder) -> Builder {
        // What an AOF is trusted for it is on disk for.
        let builder = builder.setting("trust-loaded", "yes");
        match self {
            Disk::Rdb => builder,
            Disk::Aof { preamble } => builder.with_aof(preamble),
        }
    }

    fn is_read_as_an_rdb(self) -> bool {
        self != Disk::Aof { preamble: false }
    }

    fn stop(self) -> Stop {
        match self {
            Disk::Rdb => Stop::Save,
            Disk::Aof { .. } => Stop::NoSave,
        }
    }
}

#[test]
fn what_the_release_before_has_on_disk_is_read() {
    for disk in DISKS {
        let mut server = disk.of(other()).start();
        populate(&server);
        let mut c = server.client();
        if disk != Disk::Rdb {
            // A part of it is in what the AOF was rewritten to, the rest in words.
            server.rewrite_aof();
        }
        c.fill("later", &["shared", "later"]);
        c.fill("revoked", &["revoked"]);
        for i in 0..300 {
            c.fill(&format!("many{i}"), &["many"]);
        }
        c.count("leased", 3);
        let batch = c.lease();
        assert_eq!(c.invalidate("revoked"), 1);
        assert_eq!(c.invalidate("many"), 300);
        reclaimed(&mut c);
        let before = answers(&server);

        server.restart_with(disk.stop(), |builder| builder.module(module()));
        assert_eq!(answers(&server), before, "{disk:?}");
        assert_nothing_was_refused(&server);
        assert_exact(&server);
        let mut c = server.client();
        assert_eq!(c.codes(["later", "revoked", "many7"]), ["VALID", "MISS", "MISS"]);
        assert_eq!(c.invalidate("shared"), 6);
        assert_eq!(c.ack(&batch), batch.lines.len() as i64);
        // What it writes it reads.
        server.restart(disk.stop());
        assert_exact(&server);
    }
}

/// Or, where it is understood, is read.
#[test]
fn what_the_release_before_can_not_read_it_takes_for_nothing() {
    let unread = unread(version_of_other());
    for disk in DISKS {
        let mut server = disk.of(Server::builder()).start();
        let mut c = server.client();
        c.fill("entry", &["t"]);
        c.count("counter", 7);
        if disk != Disk::Rdb {
            server.rewrite_aof();
        }
        let back = server.try_restart_with(disk.stop(), |builder| builder.module(other_module()));
        match (back, &unread) {
            (Ok(()), None) => {
                assert_eq!(server.client().code("entry"), "VALID");
                continue;
            }
            (Err(Failed { log, .. }), Some(why)) if disk.is_read_as_an_rdb() => {
                let said = format!("a value of the type apikeyrec can't be loaded: its {why}");
                assert!(log.contains(&said), "{disk:?}: {log}");
            }
            // It is a command there, and one that fails ends no load.
            (Ok(()), Some(_)) if !disk.is_read_as_an_rdb() => {
                let mut c = server.client();
                assert_eq!((c.code("entry"), c.usage("counter")), ("MISS".into(), (7, 7)));
                let health = c.must("APIKEY.HEALTH");
                let told = "1 changes of the primary or the AOF could not be replayed";
                assert_eq!(health.get("reasons"), &array([bulk(told)]));
                continue;
            }
            (back, _) => panic!("{disk:?}: {back:?}"),
        }
        // Nothing of it was changed.
        server.start_again_with(|builder| builder.module(module()));
        let mut c = server.client();
        assert_eq!((c.code("entry"), c.usage("counter")), ("VALID".into(), (7, 7)), "{disk:?}");
    }
}

/// The cache is switched off, and emptied: what is left are counts.
fn empty(server: &mut Server) {
    if kind().has_module_config() {
        let ran = Ran::at(server, "reset", &["--database-only", "on", "--yes"]);
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    }
    let ran = Ran::at(server, "reset", &["--yes"]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    eventually("only counts are left", || {
        let told = Ran::at(server, "nodes", &["--json"]).json();
        let nodes = told["nodes"].as_array().expect("nodes");
        nodes.iter().all(|node| node["entries"] == 0)
    });
}

#[test]
fn a_server_goes_back_with_all_its_counts() {
    for disk in DISKS {
        let mut server = disk.of(Server::builder()).start();
        populate(&server);
        let mut c = server.client();
        let batch = c.lease();
        c.count("pending", 5);
        let counts = || ["pending", "both", "settled"].map(|key| key.to_string());
        if !kind().has_module_config() {
            // Redis 6.2 changes no setting of a module while it runs.
            server.restart_with(disk.stop(), |builder| builder.setting("enabled", "no"));
        }
        empty(&mut server);
        let mut c = server.client();
        let before = counts().map(|key| c.counts(&key));
        if disk != Disk::Rdb {
            server.rewrite_aof();
        }
        server.restart_with(disk.stop(), |builder| {
            builder.module(other_module()).setting("enabled", "yes")
        });
        let mut c = server.client();
        assert_eq!(counts().map(|key| c.counts(&key)), before, "{disk:?}");
        assert_eq!(c.ack(&batch), batch.lines.len() as i64, "{disk:?}");
        c.fill("anew", &["t"]);
        assert_eq!(c.code("anew"), "VALID", "{disk:?}");
        assert_exact(&server);
    }
}

/// Of a backup the counts come back into the release before.
#[test]
fn the_counts_of_a_backup_are_restored_into_the_release_before() {
    let (from, to) = (Server::start(), other().start());
    populate(&from);
    let mut c = from.client();
    c.lease();
    c.count("pending", 5);
    let folder = from.dir().join("backups");
    fs::create_dir(&folder).expect("a folder for backups");
    let folder = folder.to_str().expect("a path");
    let ran = Ran::at(&from, "backup", &[folder]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let newest = fs::read_dir(folder).expect("backups").next().expect("one").expect("its name");
    let newest = newest.path();
    let options = [newest.to_str().expect("a path"), "--counts", "open", "--yes"];
    let ran = Ran::at(&to, "restore", &options);
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let mut theirs = to.client();
    for key in ["pending", "both", "settled"] {
        assert_eq!(theirs.counts(key), c.counts(key), "{key}");
    }
    assert_exact(&to);
}

#[test]
fn a_setting_that_the_release_before_does_not_know_is_named() {
    if unread(version_of_other()).is_none() {
        return;
    }
    let failed = other().setting("tag-fields", "org_id").try_start().err().expect("it must not");
    assert!(failed.log.contains("tag-fields"), "{failed}");
}

// A primary and its replica.

/// Clients that ask each node whether it is the primary.
struct Asked;

impl Service for Asked {
    fn guess(&self, clients: &mut Clients) -> Option<usize> {
        (0..2).find(|node| clients.primary(*node).is_some())
    }

    fn witness(&self, _: &mut Clients) -> usize {
        0
    }

    fn primaries_seen_by(&self, clients: &mut Clients, _: usize) -> Option<Vec<usize>> {
        self.guess(clients).map(|node| vec![node])
    }

    fn primaries_told_by(&self, _: &mut Clients, node: usize) -> Option<Vec<usize>> {
        Some(vec![node])
    }

    /// 0.1.0 has TAGINVAL alone, which does the same where there is no cluster.
    fn inval_of_one(&self) -> &'static str {
        "APIKEY.TAGINVAL"
    }
}

struct Pair {
    nodes: [Server; 2],
    primary: usize,
}

impl Pair {
    fn start(builder: impl Fn() -> Builder) -> Self {
        // A replica that has not yet caught up answers nobody.
        let start = || builder().config("replica-serve-stale-data no").start();
        let pair = Self { nodes: [start(), start()], primary: 0 };
        pair.nodes[1].replicate(&pair.nodes[0]);
        pair
    }

    fn primary(&self) -> &Server {
        &self.nodes[self.primary]
    }

    fn replica(&self) -> &Server {
        &self.nodes[1 - self.primary]
    }

    /// The replica is started as another.
    fn restart_replica(&mut self, how: Stop, change: impl FnOnce(Builder) -> Builder) {
        let [a, b] = &mut self.nodes;
        let (primary, replica) = if self.primary == 0 { (a, b) } else { (b, a) };
        replica.stop(how);
        if how == Stop::NoSave {
            take_files_away(replica);
        }
        replica.start_again_with(|builder| change(builder).replica_of(primary));
        let mut c = replica.client();
        eventually("it has caught up", || {
            c.info("replication", "master_link_status").as_deref() == Some("up")
        });
    }

    /// Its replica takes the primary's place, and has all that it had.
    fn fail_over(&mut self) {
        let to = self.replica().port;
        // With `no` Redis 6.2 aborts it, or makes a full resync of it: it says MASTERDOWN to its new replica.
        let serve_stale = |serves: &str| {
            for node in self.nodes.iter().filter(|_| kind() == Kind::Redis62) {
                node.client().must(&format!("CONFIG SET replica-serve-stale-data {serves}"));
            }
        };
        serve_stale("yes");
        let mut c = self.primary().client();
        c.must(&format!("FAILOVER TO 127.0.0.1 {to} TIMEOUT 20000"));
        eventually("it is done", || {
            c.info("replication", "master_failover_state").as_deref() == Some("no-failover")
        });
        self.primary = 1 - self.primary;
        assert_eq!(self.primary().client().info("replication", "role").as_deref(), Some("master"));
        eventually("the link is up", || {
            let mut c = self.replica().client();
            c.info("replication", "master_link_status").as_deref() == Some("up")
        });
        serve_stale("no");
    }

    /// What a replica of the other module says of this one's stream: it refuses it, or reads it.
    fn expect_refusal(&self, unread: &Option<String>) {
        let expected: Vec<String> =
            unread.iter().map(|why| format!("the primary's stream is not read: {why}")).collect();
        eventually("the replica says so", || {
            let health = self.replica().client().must("APIKEY.HEALTH");
            let told: Vec<String> = health.get("reasons").items().iter().map(Reply::text).collect();
            let told: Vec<_> = told.into_iter().filter(|why| why.contains("stream")).collect();
            told == expected
        });
    }

    fn assert_version(&self, ours: bool) {
        for node in &self.nodes {
            let told = node.client().must("APIKEY.HEALTH").get("version").text();
            let is_ours = told == env!("CARGO_PKG_VERSION");
            assert!(is_ours == ours || other_is_alike(), "{told}");
        }
    }
}

/// By `--with`, of a revision that has the same version.
fn other_is_alike() -> bool {
    let told = other().start().client().must("APIKEY.HEALTH").get("version").text();
    told == env!("CARGO_PKG_VERSION")
}

/// The load runs while `procedure` changes the pair, step by step; then all has to be as it was promised.
fn under_load(pair: &mut Pair, procedure: impl FnOnce(&mut Pair, &Load)) {
    let ports = [pair.nodes[0].port, pair.nodes[1].port];
    let tags: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    let (some, others) = tags.split_at(6);
    let promise = Promise { replicas: 1, bound: Some(Duration::from_secs(8)) };
    let load = Load::new(&Asked, &ports, promise, some, others, Rng::from_env(17).next());
    load.begin();
    std::thread::scope(|scope| {
        let _stop = StopOthers(&load.failed);
        load.spawn(scope);
        some_work(&load);
        procedure(pair, &load);
        load.goes_on_with("VALID", 50);
        load.end();
    });
    load.settle(&Default::default());
    assert_agree(pair.primary(), pair.replica(), true);
}

/// Some of all that clients do is done.
fn some_work(load: &Load) {
    for name in ["told safely", "told by key", "told by tag", "counted", "batches acknowledged"] {
        load.goes_on_with(name, 10);
    }
}

#[test]
fn two_nodes_are_upgraded_under_load_and_nothing_is_lost_or_stale() {
    let unread = unread(version_of_other());
    let mut pair = Pair::start(other);
    pair.assert_version(false);
    under_load(&mut pair, |pair, load| {
        pair.restart_replica(Stop::Save, |builder| builder.module(module()));
        some_work(load);
        pair.fail_over();
        pair.expect_refusal(&unread);
        some_work(load);
        // Halfway there is still a way back.
        pair.fail_over();
        some_work(load);
        pair.fail_over();
        pair.primary().client().fill("nobody's", &[]);
        some_work(load);
        pair.restart_replica(Stop::NoSave, |builder| builder.module(module()));
        some_work(load);
    });
    // What the other module could not read.
    assert_eq!(pair.replica().client().code("nobody's"), "VALID");
    pair.assert_version(true);
}

#[test]
fn two_nodes_go_back_under_load_and_no_count_is_lost_and_nothing_is_stale() {
    let unread = unread(version_of_other());
    let mut pair = Pair::start(Server::builder);
    under_load(&mut pair, |pair, load| {
        if !kind().has_module_config() {
            // Redis 6.2 changes no setting of a module while it runs.
            pair.restart_replica(Stop::Save, |builder| builder.setting("enabled", "no"));
            pair.fail_over();
        }
        let primary = pair.primary;
        empty(&mut pair.nodes[primary]);
        load.goes_on_with("counted", 10);
        let back = |builder: Builder| builder.module(other_module()).setting("enabled", "yes");
        pair.restart_replica(Stop::NoSave, back);
        pair.expect_refusal(&unread);
        load.goes_on_with("counted", 10);
        pair.fail_over();
        if kind().has_module_config() {
            let off = Ran::at(pair.primary(), "reset", &["--database-only", "off", "--yes"]);
            assert_eq!(off.status, Some(0), "{}{}", off.out, off.err);
        }
        some_work(load);
        pair.restart_replica(Stop::NoSave, back);
        some_work(load);
    });
    pair.assert_version(false);
}

/// Every word that the release before says is read, whichever way it comes.
#[test]
fn a_primary_of_the_release_before_feeds_a_replica() {
    let mut primary = other().start();
    let mut replica = Server::builder().setting("trust-loaded", "yes").start();
    populate(&primary);
    replica.replicate(&primary);
    assert_agree(&primary, &replica, false);
    assert_nothing_was_refused(&replica);
    let mut c = primary.client();
    c.fill("later", &["shared", "later"]);
    for i in 0..300 {
        c.fill(&format!("many{i}"), &["many"]);
    }
    c.must("APIKEY.USAGE.LEASE 100000");
    assert_eq!(c.invalidate("shared"), 6); // later too
    assert_eq!(c.invalidate("many"), 300);
    reclaimed(&mut c);
    c.must("FLUSHALL");
    populate(&primary);
    assert_agree(&primary, &replica, false);
    assert_nothing_was_refused(&replica);

    // It takes its place, and goes on from what it has saved.
    replica.promote();
    primary.stop(Stop::NoSave);
    take_files_away(&primary);
    primary.start_again_with(|builder| builder.module(module()).replica_of(&replica));
    assert_agree(&replica, &primary, true);
    let mut c = replica.client();
    assert_eq!(c.invalidate("shared"), 5);
    c.fill("latest", &["shared"]);
    assert_agree(&replica, &primary, true);
    replica.restart(Stop::Save);
    assert_eq!(replica.client().code("latest"), "VALID");
    assert_exact(&replica);
}
