use std::fs;

use super::page::Page;
use crate::harness::server::{kind, Stop};
use crate::harness::*;

const REVOKED: &str = "apikey:{ak_live_7Qm2}";
const OTHER: &str = "apikey:{ak_live_Tk9x}";

#[test]
fn what_could_not_be_revoked_while_writes_were_refused_is_never_valid_again() {
    let has_switch = kind().has_module_config();
    let good = |builder: Builder| {
        builder
            .config("maxmemory 256mb")
            .config("maxmemory-policy volatile-ttl")
            .config("save 3600 1000000")
            .start()
    };
    let primary = good(Server::builder().config("min-replicas-to-write 1"));
    let mut replica = good(Server::builder().replica_of(&primary));
    replica.in_sync_with(&primary);
    let mut c = primary.client();
    let fill = |c: &mut Client, key: &str, id: &str| {
        c.run(&format!("APIKEY.SETVAL {key} {} SECRET {SECRET}", record(id, "42")))
    };
    eventually("writes are taken", || fill(&mut c, REVOKED, "k-1") == ok());
    assert_eq!(fill(&mut c, OTHER, "k-2"), ok());
    let refuses = |c: &mut Client, code: &str| {
        let is_it = |told: &Reply| matches!(told, Reply::Error(why) if why.starts_with(code));
        eventually(code, || is_it(&c.run("APIKEY.INVAL none")));
        let told = c.run("APIKEY.TAGINVAL apikey:id:k-1");
        assert!(is_it(&told), "{told:?}");
        eventually("nothing is valid", || c.codes([REVOKED, OTHER]) == ["MISS", "MISS"]);
    };
    replica.stop(Stop::Kill);
    refuses(&mut c, "NOREPLICAS ");
    let mut page = Page::open("refused-writes").at(&primary);
    page.step(1);
    if has_switch {
        page.step(2);
    } else {
        page.passed_over(2);
    }
    page.step(3);
    eventually("writes are taken", || c.run("APIKEY.INVAL none") == int(0));
    // Until somebody tells it again.
    let waits = |c: &mut Client| {
        eventually("it vouches", || c.must("APIKEY.HEALTH").get("vouches") == &int(1));
        assert_eq!(c.code(REVOKED), if has_switch { "MISS" } else { "VALID" });
    };
    waits(&mut c);
    replica.start_again();
    replica.in_sync_with(&primary);

    let name = primary.dir().join("dump.rdb");
    let _ = fs::remove_file(&name);
    fs::create_dir_all(name.join("in the way")).expect("a directory");
    eventually("a save fails", || {
        c.run("BGSAVE");
        c.info("persistence", "rdb_last_bgsave_status").as_deref() == Some("err")
    });
    eventually("no other is under way", || {
        c.info("persistence", "rdb_bgsave_in_progress").as_deref() == Some("0")
    });
    refuses(&mut c, "MISCONF ");
    page.step(4);
    fs::remove_dir_all(&name).expect("it goes");
    page.step(5);
    eventually("writes are taken", || c.run("APIKEY.INVAL none") == int(0));
    waits(&mut c);

    if has_switch {
        c.must("CONFIG SET apikey.writes-enabled no");
        page.step(6);
    } else {
        page.passed_over(6);
    }
    page.step(7);
    if has_switch {
        page.step(8);
    } else {
        page.passed_over(8);
    }
    eventually("what was not revoked is served", || c.code(OTHER) == "VALID");
    assert_eq!(c.code(REVOKED), "MISS");
    replica.in_sync_with(&primary);
    assert_eq!(replica.client().codes([REVOKED, OTHER]), ["MISS", "VALID"]);
    page.step(9);
    page.end();
    assert_eq!(fill(&mut c, "apikey:{new}", "k-3"), ok());
    replica.stop(Stop::Kill);
    refuses(&mut c, "NOREPLICAS ");
}
