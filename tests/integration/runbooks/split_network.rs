use super::page::Page;
use super::replicated::Replicated;
use crate::harness::*;

#[test]
fn a_primary_that_is_cut_off_vouches_for_nothing_and_follows_the_new_one() {
    let servers = Replicated::start("min-replicas-to-write 0");
    let sentinels = servers.sentinels();
    servers.cut_off();
    let (primary, replica) = servers.agreed(&sentinels);
    // Each is told something that the other does not hear of.
    let (former, c) = (&mut servers.former.client(), &mut primary.client());
    assert_eq!(c.invalidate("apikey:id:42"), 1);
    c.must(&format!("APIKEY.SETVAL there {} SECRET {SECRET}", record("there", "u2")));
    assert_eq!(former.invalidate("apikey:user:u2"), 0);
    former.count("use", 2);
    assert_eq!(former.code("revoked"), "VALID", "it does not know");

    let backups = tempfile::tempdir().expect("a folder");
    let page = servers.page(Page::open("split-network"), primary, replica, &sentinels);
    let mut page = page.with("/var/backups/split", backups.path().display()).at(primary);
    page.step(1);
    eventually("it vouches for nothing", || {
        former.codes(["k1", "revoked"]).iter().all(|code| code == "MISS")
    });
    page.step(2);
    page.step(3);
    drop(sentinels);
    page.step(4);
    servers.gate.heal();
    page.step(5);
    servers.assert_well(primary, replica);
    page.step(6);
    assert_eq!(c.code("there"), "VALID");
    page.step(7);
    assert_eq!(c.code("there"), "MISS");
    page.step(8);
    page.end();
    servers.assert_whole(primary, replica);
    for node in [&servers.former, primary, replica] {
        let kept = std::fs::read_to_string(node.config_path()).expect("redis.conf");
        assert!(kept.contains("min-replicas-to-write 1"), "{kept}");
    }
}
