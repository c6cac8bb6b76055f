use super::application::{Application, Keys};
use super::page::Page;
use crate::harness::server::kind;
use crate::harness::*;

const KEYS: [&str; 4] =
    ["apikey:{ak_live_1}", "apikey:{ak_live_2}", "apikey:{ak_live_3}", "apikey:{ak_live_4}"];
const USAGE: &str = "apikey:{ak_live_1}:usage";

#[test]
fn a_cache_that_says_what_the_database_does_not_is_emptied_and_counts_stay() {
    let keys = Keys::of(&[("k-1", 42, 1), ("k-2", 42, 1), ("k-3", 43, 1), ("k-4", 44, 1)]);
    let server = || {
        Server::builder()
            .with_aof(true)
            .config("maxmemory 256mb")
            .config("maxmemory-policy volatile-ttl")
            .setting("digest-field", "key_hash")
            .start()
    };
    let (primary, replica) = (server(), server());
    replica.replicate(&primary);
    let mut c = primary.client();
    if !has_debug_command(&mut c) {
        return;
    }
    c.count(USAGE, 7);
    let batch = c.lease();
    c.count(USAGE, 5);
    {
        let asked = KEYS.iter().map(|key| key.to_string()).collect();
        let _application = Application::start(&primary, asked, keys.reader());
        eventually("all are cached", || c.codes(KEYS) == ["VALID"; 4]);
    }
    replica.in_sync_with(&primary);
    // A change that nobody told, and an index that has lost an entry.
    keys.0.sql("UPDATE api_keys SET is_active = false WHERE id IN ('k-1', 'k-2')");
    c.must(&format!("APIKEY.DEBUG FORGET {}", KEYS[1]));
    assert_eq!(c.codes(KEYS), ["VALID"; 4]);

    let backups = tempfile::tempdir().expect("a folder");
    let mut page = Page::open("suspect-cache")
        .with("-d app", "-d postgres")
        .with("/var/backups/redis-apikey", backups.path().display());
    for (name, value) in keys.0.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&primary);
    let has_switch = kind().has_module_config();
    if has_switch {
        page.step(1);
        assert_eq!(c.codes(KEYS), ["MISS"; 4]);
    } else {
        page.passed_over(1);
    }
    page.step(2);
    page.step(3);
    page.step(4);
    page.step(5);
    page.step(6);
    if has_switch {
        page.step(7);
    } else {
        page.passed_over(7);
    }
    for server in [&primary, &replica] {
        assert_eq!(server.client().codes(KEYS), ["MISS"; 4]);
        let usage = server.client().must(&format!("APIKEY.USAGE.GET {USAGE}"));
        let number = |name: &str| usage.get(name).int();
        assert_eq!((number("pending"), number("leased"), number("total")), (5, 7, 12));
    }
    page.step(8);
    page.end();
    assert_eq!(c.codes(KEYS), ["DISABLED", "DISABLED", "VALID", "VALID"]);
    assert_eq!(c.ack(&batch), 1);
    assert_exact(&primary);
    assert_exact(&replica);
}
