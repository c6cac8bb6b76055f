use std::time::Duration;

use super::application::{Application, Keys};
use super::page::Page;
use crate::harness::*;

const KEYS: [&str; 5] =
    ["apikey:{ak_live_1}", "apikey:{ak_live_2}", "apikey:{ak_live_3}", "apikey:{ak_live_4}", NS];
const NS: &str = "acme:{ak_live_5}";

#[test]
fn one_key_those_of_a_user_of_a_tenant_and_of_all_die_everywhere() {
    let keys = Keys::of(&[("k-1", 42, 1), ("k-2", 42, 1), ("k-3", 43, 7), ("k-4", 44, 8)]);
    let server = || {
        Server::builder()
            .setting("digest-field", "key_hash")
            .setting("tag-fields", "org_id")
            .setting("invalidation-channel", "apikey-invalidations")
            .start()
    };
    let (primary, replica) = (server(), server());
    replica.replicate(&primary);
    let mut c = primary.client();
    c.count("apikey:{ak_live_1}:usage", 3);
    c.must(&format!("APIKEY.SETVAL {NS} {} NS acme:", hashed("k-5", "45")));
    let mut at_replica = replica.client();
    // A process that keeps answers itself.
    let mut local = replica.client().patient_for(Duration::from_secs(10)).expect("a socket");
    local.must("SUBSCRIBE apikey-invalidations");
    let asked = KEYS[..4].iter().map(|key| key.to_string()).collect();
    let _application = Application::start(&primary, asked, keys.reader());
    eventually("all are cached", || c.codes(KEYS) == ["VALID"; 5]);
    replica.in_sync_with(&primary);
    assert_eq!(at_replica.codes(KEYS), ["VALID"; 5]);

    let mut page = Page::open("leaked-key")
        .with("-d app", "-d postgres")
        .with("-h 10.0.0.2", format!("-p {}", replica.port));
    for (name, value) in keys.0.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&primary);
    // Which are still valid: at both, at once, and later too, when the application has asked again.
    let mut are_valid = |valid: [bool; 5]| {
        let now = |c: &mut Client| c.codes(KEYS).map(|code| code == "VALID");
        let of_dead =
            |now: [bool; 5]| now.iter().zip(valid).filter(|(now, valid)| **now && !valid).count();
        assert_eq!((of_dead(now(&mut c)), of_dead(now(&mut at_replica))), (0, 0), "{valid:?}");
        eventually("the application has filled what is valid", || {
            now(&mut c)[..4] == valid[..4] && c.codes(KEYS)[..4].iter().all(|code| code != "MISS")
        });
        replica.in_sync_with(&primary);
        assert_eq!((now(&mut c), now(&mut at_replica)), (valid, valid));
    };
    page.step(1);
    page.step(2);
    are_valid([false, true, true, true, true]);
    page.step(3);
    are_valid([false, false, true, true, true]);
    page.step(4);
    are_valid([false, false, false, true, false]);
    // By hand, and nobody tells the cache.
    keys.0.sql("UPDATE api_keys SET is_active = false WHERE id = 'k-4'");
    are_valid([false, false, false, true, false]);
    page.step(5);
    are_valid([false; 5]);
    page.step(6);
    page.step(7);
    page.end();

    let mut told = String::new();
    while !told.contains("\"apikey:kind:record\"") {
        told += &format!("{:?}", local.read().expect("a message")).replace('\\', "");
    }
    for tag in ["apikey:id:k-1", "apikey:user:42", "apikey:org_id:7", "acme:apikey:kind:record"] {
        assert!(told.contains(&format!("\"{tag}\"")), "{tag}: {told}");
    }
    assert_exact(&primary);
}
