use super::page::Page;
use crate::ctl::{command, Ran};
use crate::harness::server::Stop;
use crate::harness::*;

#[test]
fn a_server_that_lost_its_data_has_each_count_once() {
    let postgres = Postgres::start();
    postgres.sql("CREATE DATABASE billing");
    let dsn = postgres.url().replace("/postgres?", "/billing?");
    let backups = tempfile::tempdir().expect("a folder");
    let place = backups.path().to_str().expect("UTF-8");
    let mut lost = Server::start();
    let mut c = lost.client();
    for i in 0..300 {
        c.fill(&format!("k{i}"), &["t"]);
    }
    for key in ["a", "b", "c"] {
        c.must(&format!("SET {key} other"));
    }
    for i in 0..40 {
        c.count(&format!("written{i}"), 10);
    }
    let drain = |server: &Server, options: &[&str]| {
        let ran = Ran::at(server, "drain", &[&["--postgres", &dsn, "--once"], options].concat());
        assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    };
    drain(&lost, &["--create-tables"]);
    let total = || {
        let mut psql = std::process::Command::new("psql");
        psql.args(["-d", "billing", "-Atc", "SELECT sum(total) FROM usage_total"]);
        let output = psql.envs(postgres.environment()).output().expect("psql");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    // Leased by a consumer that died.
    c.count("written2", 10);
    c.lease();
    // Written after the backup: the database has them, and the backup not that it has.
    c.count("written0", 10);
    c.count("written1", 5);
    assert_eq!(Ran::of(command(&lost, "backup", &[place])).status, Some(0));
    drain(&lost, &[]);
    assert_eq!(total(), "415");
    lost.stop(Stop::Kill);

    let server = Server::builder()
        .config("maxmemory 100mb")
        .config("maxmemory-policy volatile-ttl")
        .with_aof(true)
        .start();
    let mut page = Page::open("restore").with("/var/backups/redis-apikey", place);
    for (name, value) in postgres.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&server);
    page.step(2);
    page.step(3);
    page.step(4);
    page.step(5);
    page.end();
    let mut c = server.client();
    assert_eq!(c.must("GET a"), bulk("other"));
    drain(&server, &[]);
    assert_eq!(total(), "425");
}
