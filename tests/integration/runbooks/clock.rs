use super::page::Page;
use crate::clock::Clock;
use crate::harness::server::kind;
use crate::harness::*;

const HOUR: i64 = 3_600_000;
const KEY: &str = "apikey:{k}";
const USAGE: &str = "apikey:{k}:usage";

#[test]
fn a_clock_that_was_an_hour_ahead_leaves_nothing_behind() {
    let clock = Clock::new();
    let server = clock
        .server()
        .with_aof(true)
        .config("maxmemory 256mb")
        .config("maxmemory-policy volatile-ttl")
        .start();
    let mut c = server.client();
    c.count(USAGE, 5);
    clock.set(HOUR, &[&server]);
    c.fill(KEY, &[]);
    let batch = c.leases("60000").remove(0);
    // Good for half an hour more.
    let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(1800);
    let ends = ends.duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis();
    store(&mut c, "apikey:{ends}", &format!(r#""expires_at":{ends}"#), &format!("SECRET {SECRET}"));
    assert_eq!(c.codes([KEY, "apikey:{ends}"]), ["VALID", "EXPIRED"]);

    let mut page = Page::open("clock").at(&server);
    page.step(1);
    let has_switch = kind().has_module_config();
    if has_switch {
        page.step(2);
        assert_eq!(c.code(KEY), "MISS");
    } else {
        page.passed_over(2);
    }
    clock.set(0, &[&server]);
    page.step(4);
    // By validation-ttl it would have ended after 300 seconds.
    let left = c.must(&format!("PTTL {KEY}")).int();
    assert!(left > HOUR, "{left}");
    page.step(5);
    if has_switch {
        page.step(6);
    } else {
        page.passed_over(6);
    }
    assert_eq!(c.codes([KEY, "apikey:{ends}"]), ["MISS", "MISS"]);
    store(&mut c, "apikey:{ends}", &format!(r#""expires_at":{ends}"#), &format!("SECRET {SECRET}"));
    assert_eq!(c.code("apikey:{ends}"), "VALID");
    // The consumer that asks next has it, under its id.
    assert_eq!(c.leases("60000"), std::slice::from_ref(&batch));
    assert_eq!(c.ack(&batch), 1);
    page.step(7);
    page.end();
    assert_eq!(c.usage(USAGE), (0, 5));
    assert_exact(&server);
}
