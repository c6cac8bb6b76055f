use super::page::Page;
use super::upgrade::{ended, has_all_counts, is_primary, Pair};
use crate::harness::eventually;
use crate::harness::server::{kind, module, other_module, Kind, Stop};

/// Waits until all that was killed has been removed.
fn counts_alone_are_left(pair: &Pair) {
    for server in [&pair.primary, &pair.replica] {
        eventually("it is removed", || server.client().must("DBSIZE").int() == 40);
    }
}

#[test]
fn two_nodes_go_back_to_the_module_of_before_with_all_counts() {
    if kind() == Kind::Redis62 {
        // It can't switch the cache off while it runs: the page has another way, in words.
        return;
    }
    let mut pair = Pair::start(module());
    let mut page = pair.page(Page::open("rollback"), &pair.replica, &pair.primary);
    page.step(1);
    page.step(2);
    page.step_doing(3, "reset", || counts_alone_are_left(&pair));
    // By the same command as on the other page.
    std::fs::remove_file(pair.installed()).expect("the newer");
    std::fs::copy(other_module(), pair.installed()).expect("the older");
    page.now_stands_for("/var/lib/redis", pair.replica.dir().display());
    page.step_doing(4, "rm -rf", || {
        ended(&mut pair.replica);
        pair.replica.start_as_rewritten();
        pair.replica.in_sync_with(&pair.primary);
        eventually("it was told what it can't read", || {
            let health = pair.replica.client().must("APIKEY.HEALTH");
            health.get("reasons").items().iter().any(|why| why.text().contains("is not read"))
        });
    });
    page.step_doing(5, "FAILOVER", || is_primary(&pair.replica));
    page.step(6);
    page.now_stands_for("/var/lib/redis", pair.primary.dir().display());
    page.step(7);
    ended(&mut pair.primary);
    pair.primary.start_as_rewritten();
    pair.primary.in_sync_with(&pair.replica);
    page.step(8);
    page.passed_over(9);
    page.end();
    has_all_counts(&pair);
    let mut c = pair.replica.client();
    assert_eq!(c.code("k7"), "MISS");
    c.fill("k7", &["t"]);
    assert_eq!(c.code("k7"), "VALID");
    for server in [&pair.primary, &pair.replica] {
        assert_eq!(server.client().must("APIKEY.HEALTH").get("version").text(), "0.1.0");
    }
}

#[test]
fn a_server_alone_goes_back_with_all_counts() {
    if kind() == Kind::Redis62 {
        return;
    }
    let mut pair = Pair::start(module());
    let mut page = pair.page(Page::open("rollback"), &pair.replica, &pair.primary);
    page.step(1);
    page.step(2);
    page.step_doing(3, "reset", || counts_alone_are_left(&pair));
    pair.replica.stop(Stop::NoSave);
    for step in 4..9 {
        page.passed_over(step);
    }
    page.step_doing(9, "BGREWRITEAOF", || pair.primary.aof_is_rewritten());
    page.end();
    ended(&mut pair.primary);
    pair.primary.start_again_with(|builder| builder.module(other_module()));
    let mut c = pair.primary.client();
    assert_eq!((0..40).map(|i| c.usage(&format!("usage{i}")).0).sum::<i64>(), 40 * 7);
    assert_eq!(c.code("k7"), "MISS");
    c.fill("k7", &["t"]);
    assert_eq!(c.code("k7"), "VALID");
}
