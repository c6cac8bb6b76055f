use super::application::{Application, Keys};
use super::page::Page;
use crate::harness::server::kind;
use crate::harness::*;

#[test]
fn a_cache_that_misses_finds_its_keys_again() {
    const KEYS: [(&str, i64, i64); 4] =
        [("k-1", 42, 1), ("k-2", 42, 1), ("k-3", 43, 1), ("k-4", 44, 1)];
    let names: Vec<String> = (1..=4).map(|i| format!("apikey:{{ak_live_{i}}}")).collect();
    let keys = Keys::of(&KEYS);
    let builder = Server::builder()
        .config("maxmemory 256mb")
        .config("maxmemory-policy volatile-ttl")
        .setting("digest-field", "key_hash");
    let has_settings = kind().has_module_config();
    let ttl = if has_settings { "1" } else { "300" };
    let server = builder.setting("validation-ttl", ttl).start();
    let mut c = server.client();
    // The database is faster than psql is to start.
    let rows: Vec<(String, String)> =
        names.iter().map(|name| (name.clone(), keys.reader()(name).expect("a row"))).collect();
    let row = move |key: &str| rows.iter().find(|(name, _)| name == key).map(|row| row.1.clone());
    let _application = Application::start(&server, names.clone(), row);
    c.must("ACL SETUSER importer on >pass ~* -@all +apikey.taginval +client|setname");
    let mut importer = server.client();
    importer.must("AUTH importer pass");
    let flood = Application::repeat(move || {
        importer.must("APIKEY.TAGINVAL apikey:kind:record");
    });
    let rate = |c: &mut Client| c.must("APIKEY.HEALTH").get("hit_rate_1m").clone();
    eventually("hardly anything is found", || match rate(&mut c) {
        Reply::Bulk(rate) => String::from_utf8_lossy(&rate).parse().is_ok_and(|r: f64| r < 70.0),
        Reply::Int(rate) => rate < 70,
        _ => false,
    });
    let mut page = Page::open("miss-rate").with("-d app", "-d postgres");
    for (name, value) in keys.0.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&server);
    page.step(1);
    page.step(2);
    // Its owner ends it.
    drop(flood);
    if has_settings {
        page.step(3);
    } else {
        page.passed_over(3);
    }
    c.must("APIKEY.TAGINVAL apikey:kind:record");
    page.step(4);
    for name in &names {
        assert_eq!(c.code(name), "VALID");
        let left = c.must(&format!("APIKEY.DESCRIBE {name}")).get("ttl").int();
        assert!(left > 100_000, "{left}");
    }
    page.step(5);
    page.end();
}
