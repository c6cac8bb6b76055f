use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::page::{Opened, Page};
use crate::harness::server::{module, other_module};
use crate::harness::*;

/// Two servers that load their module from the same place, and what the pages call them.
pub struct Pair {
    pub primary: Server,
    pub replica: Server,
    /// Where the module and backups are.
    place: TempDir,
}

impl Pair {
    pub fn start(with: &Path) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let installed = place.path().join("libapikey.so");
        fs::copy(with, &installed).expect("a copy");
        let builder = || {
            Server::builder()
                .module(&installed)
                .config("maxmemory 100mb")
                .config("maxmemory-policy volatile-ttl")
                .with_aof(true)
        };
        let primary = builder().start();
        let replica = builder().replica_of(&primary).start();
        let mut c = primary.client();
        for i in 0..300 {
            c.fill(&format!("k{i}"), &["t"]);
        }
        for i in 0..40 {
            c.count(&format!("usage{i}"), 7);
        }
        replica.in_sync_with(&primary);
        Self { primary, replica, place }
    }

    pub fn installed(&self) -> PathBuf {
        self.place.path().join("libapikey.so")
    }

    /// The page, in which `first` is 10.0.0.1.
    pub fn page(&self, opened: Opened, first: &Server, second: &Server) -> Page {
        let server = first.client().must("INFO server").text();
        let of = |name: &str| {
            let line = server.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_string())
        };
        let software = of("server_name").unwrap_or_else(|| "redis".into());
        let version = of("valkey_version").or_else(|| of("redis_version")).expect("its version");
        let mut opened = opened
            .with("/var/backups/redis-apikey", self.place.path().join("backups").display())
            .with("/usr/lib/redis/modules", self.place.path().display())
            .with("redis 7.0.15", format!("{software} {version}"));
        for (host, server) in [("10.0.0.1", first), ("10.0.0.2", second)] {
            let port = server.port;
            opened = opened
                .with(&format!("redis-cli -h {host}"), format!("redis-cli -p {port}"))
                .with(&format!("redis://{host}"), format!("redis://127.0.0.1:{port}"))
                .with(&format!("{host} 6379"), format!("127.0.0.1 {port}"));
        }
        fs::create_dir(self.place.path().join("backups")).expect("a folder");
        opened.at(&self.primary)
    }
}

/// Waits for a server that was told to end.
#[track_caller]
pub fn ended(server: &mut Server) {
    eventually("it ends", || !server.is_alive());
}

/// Waits for who is to take the other's place.
#[track_caller]
pub fn is_primary(server: &Server) {
    let role = || server.client().must("ROLE").items()[0].text();
    eventually("it is the primary", || role() == "master");
}

/// All that was counted is there, on both.
#[track_caller]
pub fn has_all_counts(pair: &Pair) {
    for server in [&pair.primary, &pair.replica] {
        let mut c = server.client();
        let counts = (0..40).map(|i| c.usage(&format!("usage{i}")).0);
        assert_eq!(counts.sum::<i64>(), 40 * 7);
    }
}

#[test]
fn two_nodes_get_the_new_module_and_lose_nothing() {
    let mut pair = Pair::start(other_module());
    let opened = Page::open("upgrade").with("target/release/libapikey.so", module().display());
    let mut page = pair.page(opened, &pair.primary, &pair.replica);
    page.step(1);
    page.step(2);
    assert_eq!(fs::read(pair.installed()).expect("it"), fs::read(module()).expect("it"));
    page.step_doing(3, "SHUTDOWN", || {
        ended(&mut pair.replica);
        pair.replica.start_again();
        pair.replica.in_sync_with(&pair.primary);
    });
    page.step_doing(4, "FAILOVER", || is_primary(&pair.replica));
    page.now_stands_for("/var/lib/redis", pair.primary.dir().display());
    page.step(5);
    ended(&mut pair.primary);
    assert!(!pair.primary.dir().join("dump.rdb").exists());
    pair.primary.start_as_rewritten();
    pair.primary.in_sync_with(&pair.replica);
    page.step(6);
    page.end();
    has_all_counts(&pair);
    let mut c = pair.replica.client();
    assert_eq!(c.code("k7"), "VALID");
    assert_eq!(c.invalidate("t"), 300);
    reclaimed(&mut c);
    pair.primary.in_sync_with(&pair.replica);
    assert_eq!(pair.primary.digest(), pair.replica.digest());
    for server in [&pair.primary, &pair.replica] {
        let version = server.client().must("APIKEY.HEALTH").get("version").text();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
    }
}
