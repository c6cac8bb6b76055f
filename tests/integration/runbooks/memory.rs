use super::page::Page;
use crate::harness::*;

#[test]
fn a_full_server_takes_fills_and_counts_again_and_loses_no_count() {
    let server = Server::builder().with_aof(true).config("appendfsync everysec").start();
    let mut c = server.client();
    for i in 0..20 {
        c.count(&format!("apikey:{{k{i}}}:usage"), 3);
    }
    let used: u64 = c.info("memory", "used_memory").expect("memory").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used + (5 << 20)));
    let mut stored = 0;
    let mut fill = |c: &mut Client| {
        let lines: Vec<String> = (stored..stored + 1000)
            .map(|i| format!("APIKEY.SETVAL apikey:{{k{i}}} {} SECRET {SECRET}", record("k", "u")))
            .collect();
        stored += 1000;
        c.pipeline(&lines)
    };
    eventually("memory is full", || fill(&mut c).iter().any(Reply::is_error));
    // Full as well without what clients took for a moment.
    let used: u64 = c.info("memory", "used_memory").expect("memory").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used - (1 << 20)));
    let refused = c.run("APIKEY.USAGE.INCR apikey:{k1}:usage");
    assert!(matches!(&refused, Reply::Error(why) if why.starts_with("OOM ")), "{refused:?}");
    eventually("HEALTH knows", || c.must("APIKEY.HEALTH").get("status") == &bulk("unhealthy"));
    assert_eq!(c.code("apikey:{k1}"), "VALID", "what is there is served");

    let mut page = Page::open("memory").at(&server);
    page.step(1);
    page.step(2);
    assert!(fill(&mut c).iter().all(|reply| *reply == ok()), "it makes room");
    assert_eq!(c.count("apikey:{k1}:usage", 1), 4);
    page.step(3);
    page.step(4);
    page.step(5);
    page.end();
    let evicted = |c: &mut Client| c.must("APIKEY.HEALTH").get("evicted_entries").int();
    let before = evicted(&mut c);
    assert!(before > 0);
    assert!(fill(&mut c).iter().all(|reply| *reply == ok()));
    assert_eq!(evicted(&mut c), before, "nothing has to go any more");
    for i in 0..20 {
        let pending = if i == 1 { 4 } else { 3 };
        assert_eq!(c.usage(&format!("apikey:{{k{i}}}:usage")).0, pending);
    }
}
