use std::time::{Duration, Instant};

use super::page::Page;
use crate::ctl::command;
use crate::harness::*;
use crate::postgres::{schema, Killed};

#[test]
fn batches_of_a_dead_consumer_are_taken_over_and_counted_once() {
    let postgres = Postgres::start();
    postgres.sql("CREATE DATABASE billing");
    let dsn = postgres.url().replace("/postgres?", "/billing?");
    let billing = |sql: &str| {
        let mut psql = std::process::Command::new("psql");
        psql.args(["-d", "billing", "-qAtc", sql]).envs(postgres.environment());
        let output = psql.output().expect("psql");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    billing(&schema());
    billing("ALTER TABLE usage_line ADD CONSTRAINT no_thirteen CHECK (count <> 13)");
    let server = Server::builder()
        .with_aof(true)
        .config("maxmemory 100mb")
        .config("maxmemory-policy volatile-ttl")
        .start();
    let mut c = server.client();
    let mut count = |numbers: std::ops::Range<i64>| {
        for n in numbers {
            c.count(&format!("apikey:{{k{n}}}:usage"), 10);
        }
    };

    // It wrote one batch and died before its ACK, and died with another.
    let mut consumer = server.client();
    count(0..10);
    let written = consumer.leases("2000");
    count(10..20);
    let of_another = consumer.leases("2000 COUNT 10");
    let leased_at = Instant::now();
    assert_eq!((written[0].lines.len(), of_another[0].lines.len()), (10, 10));
    let sql = written[0].lines.iter().map(|line| {
        format!(
            "INSERT INTO usage_line (line, batch, key, count) VALUES ('{0}', 'its', '{1}', {2});
             INSERT INTO usage_total VALUES ('{1}', {2}, now());",
            line.id, line.key, line.count
        )
    });
    billing(&sql.collect::<String>());
    count(20..40);
    consumer.count("apikey:{bad}:usage", 13);
    drop(consumer);
    let mut c = server.client();
    eventually("its leases are over", || {
        let reasons = c.must("APIKEY.HEALTH").get("reasons").items().to_vec();
        let is_told = reasons.iter().any(|reason| reason.text().contains("overdue"));
        is_told && leased_at.elapsed() > Duration::from_secs(2)
    });

    let mut page = Page::open("consumer-dead");
    for (name, value) in postgres.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&server);
    page.step(1);
    page.step(2);
    assert_eq!(c.counts("apikey:{bad}:usage"), (0, 13, 13), "it is kept");
    page.step(3);
    c.count("apikey:{k1}:usage", 100);
    let service = command(&server, "drain", &["--postgres", &dsn, "--every", "0.05"]).spawn();
    let _service = Killed(service.expect("apikeyctl"));
    eventually("it is at work", || c.counts("apikey:{k1}:usage") == (0, 0, 110));
    page.step(5);
    page.end();
    let total = |key: &str| {
        billing(&format!("SELECT total FROM usage_total WHERE key = 'apikey:{{{key}}}:usage'"))
    };
    assert_eq!(["k0", "k1", "k11", "k39", "bad"].map(total), ["10", "110", "10", "10", "13"]);
    assert_eq!(billing("SELECT sum(total) FROM usage_total"), "513");
}
