use std::process::Command;

use super::page::Page;
use crate::harness::*;
use crate::postgres::schema;

/// How long a record lives that nobody holds, in seconds.
const TTL: u64 = 8;

/// What the application's database says to this, if it is there.
fn ask(postgres: &Postgres, sql: &str) -> Option<String> {
    let mut psql = Command::new("psql");
    psql.args(["-d", "billing", "-qAtc", sql]).envs(postgres.environment());
    let output = psql.output().expect("psql");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// As the application does: cached, or read and stored under the token.
fn verify(c: &mut Client, postgres: &Postgres, id: &str) -> Option<String> {
    let validate = format!("APIKEY.VALIDATE apikey:{{{id}}} SECRET {SECRET}");
    let said = c.must(&validate);
    if said.items()[0] != bulk("MISS") {
        return Some(said.items()[0].text());
    }
    let is_active = ask(postgres, &format!("SELECT is_active FROM api_keys WHERE id = '{id}'"))?;
    let is_active = is_active == "t";
    let token = said.items()[1].text();
    let row = format!(r#"{{"id":"{id}","user_id":"u","is_active":{is_active}}}"#);
    let fill =
        format!("APIKEY.SETVAL apikey:{{{id}}} {row} SECRET {SECRET} EX {TTL} TOKEN {token}");
    assert_eq!(c.run(&fill), ok());
    Some(c.must(&validate).items()[0].text())
}

#[test]
fn what_is_cached_is_held_until_the_database_is_back() {
    let mut postgres = Postgres::start();
    postgres.sql("CREATE DATABASE billing");
    let told = ask(&postgres, &schema()).and_then(|_| {
        ask(&postgres, "CREATE TABLE api_keys AS SELECT 'k' || n AS id, true AS is_active FROM generate_series(1, 300) n")
    });
    assert!(told.is_some());
    let server = Server::builder()
        .with_aof(true)
        .config("maxmemory 100mb")
        .config("maxmemory-policy volatile-ttl")
        .start();
    let mut c = server.client();
    for n in 1..=4 {
        c.count(&format!("apikey:{{k{n}}}:usage"), 10);
    }
    let fills: Vec<String> = (1..=300)
        .map(|n| {
            let row = record(&format!("k{n}"), "u");
            format!("APIKEY.SETVAL apikey:{{k{n}}} {row} SECRET {SECRET} EX {TTL}")
        })
        .collect();
    assert!(c.pipeline(&fills).iter().all(|said| said == &ok()));
    // One that is held by nobody.
    let mut other = server.client();
    other.select(1);
    other.must(&format!("APIKEY.SETVAL k {} SECRET {SECRET} EX {TTL}", record("k", "u")));
    postgres.stop();

    let mut page = Page::open("database-down");
    for (name, value) in postgres.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&server);
    page.step(1);
    eventually("what nobody holds ends", || other.code("k") == "MISS");
    for n in 1..=300 {
        let said = verify(&mut c, &postgres, &format!("k{n}"));
        assert_eq!(said.as_deref(), Some("VALID"), "k{n}");
    }
    assert_eq!(verify(&mut c, &postgres, "k301"), None, "nobody knows it");
    page.step(2);
    page.step(3);
    assert_eq!(verify(&mut c, &postgres, "k7"), None, "it is dead, and nobody can read it");
    page.step(4);

    postgres.start_again();
    ask(&postgres, "UPDATE api_keys SET is_active = false WHERE id = 'k7'").expect("PostgreSQL");
    page.step(6);
    for n in (1..=300).filter(|n| *n != 7) {
        let left = c.must(&format!("TTL apikey:{{k{n}}}")).int();
        // Some have gone already.
        assert!(left <= 300 && left != -1, "{left}");
    }
    assert_eq!(verify(&mut c, &postgres, "k7").as_deref(), Some("DISABLED"));
    assert_eq!(verify(&mut c, &postgres, "k8").as_deref(), Some("VALID"));
    page.step(7);
    page.end();
    let total = ask(&postgres, "SELECT sum(total) FROM usage_total");
    assert_eq!(total.as_deref(), Some("40"));
    assert_eq!(c.counts("apikey:{k1}:usage"), (0, 0, 10));
}
