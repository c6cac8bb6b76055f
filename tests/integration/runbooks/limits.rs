use super::page::Page;
use crate::harness::server::kind;
use crate::harness::*;

#[test]
fn who_is_refused_gets_what_is_due_and_ids_are_kept_for_long_enough() {
    let has_settings = kind().has_module_config();
    let server = Server::builder()
        .config("maxmemory 100mb")
        .config("maxmemory-policy volatile-ttl")
        .setting("max-request-ids", "10")
        .start();
    let (key, counter) = ("apikey:{ak_live_7Qm2}", "apikey:{ak_live_7Qm2}:usage");
    let mut c = server.client();
    let limits =
        r#"[{"name":"month","quota":1000,"period":"month"},{"name":"credits","credits":true}]"#;
    let record = format!(r#"{{"id":"i","user_id":"u","is_active":true,"limits":{limits}}}"#);
    let fill = format!("APIKEY.SETVAL {key} {record} SECRET {SECRET}");
    c.must(&fill);
    c.must(&format!("APIKEY.CREDIT {counter} credits SET 1003"));
    let admit = |c: &mut Client, more: &str| {
        let line = format!("APIKEY.ADMIT {key} 1 {counter} SECRET {SECRET} {more}");
        c.must(&line).items()[0].text()
    };
    assert_eq!(admit(&mut c, "COST 1000"), "VALID");
    (0..7).for_each(|_| assert_eq!(admit(&mut c, "COST 1"), "USAGE_EXCEEDED"));

    let mut page = Page::open("limits").at(&server);
    page.step(1);
    page.step(2);
    page.step(3);
    // The quota is raised, and the credits reach for it.
    c.must(&fill.replace("1000", "1100"));
    assert_eq!(admit(&mut c, "COST 100"), "VALID");
    assert_eq!(admit(&mut c, "COST 4"), "USAGE_EXCEEDED");

    let mut ids = 0..;
    let mut requests = |c: &mut Client, count: usize| {
        let ids = ids.by_ref().take(count);
        ids.for_each(|id| assert_eq!(admit(c, &format!("COST 0 ID {id}")), "VALID"));
    };
    let early = |c: &mut Client| c.must("APIKEY.HEALTH").get("ids_dropped_early").int();
    // The credits' id is one of those that went.
    requests(&mut c, 15);
    assert_eq!(early(&mut c), 6);
    page.step(4);
    if has_settings {
        page.step(5);
        requests(&mut c, 30);
        assert_eq!(early(&mut c), 6);
    } else {
        page.passed_over(5);
    }
    page.end();
}
