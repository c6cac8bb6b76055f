use super::page::Page;
use crate::harness::server::{module, Builder, Stop};
use crate::harness::*;
use crate::postgres::schema;

#[test]
fn servers_go_on_without_the_module_and_with_all_else() {
    let postgres = Postgres::start();
    postgres.sql("CREATE DATABASE billing");
    let billing = |sql: &str| {
        let mut psql = std::process::Command::new("psql");
        psql.args(["-d", "billing", "-qAtc", sql]).envs(postgres.environment());
        let output = psql.output().expect("psql");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    billing(&schema());
    let mut primary = Server::builder().with_aof(true).start();
    let mut replica = Server::builder().with_aof(true).start();
    // Without the page it does not start.
    primary.client().count("apikey:{k0}:usage", 1);
    let failed = primary.try_restart_with(Stop::Kill, Builder::without_module);
    assert!(failed.is_err(), "it starts without the module all the same");
    primary.start_again_with_module();
    replica.replicate(&primary);
    let mut c = primary.client();
    c.flush_usage();
    for n in 0..300 {
        c.fill(&format!("apikey:{{k{n}}}"), &[]);
    }
    for n in 0..4 {
        c.count(&format!("apikey:{{k{n}}}:usage"), 10);
    }
    c.must("SET other text");
    c.must("ACL SETUSER application on >pass ~apikey:* -@all +apikey.validate");
    drop(c);

    let backups = tempfile::tempdir().expect("a folder");
    let mut page = Page::open("uninstall")
        .with("/var/backups/redis-apikey", backups.path().display())
        .with("/etc/redis/redis.conf", primary.config_path().display())
        .with("/usr/lib/redis/modules/libapikey.so", module().display());
    for (name, value) in postgres.environment() {
        page = page.env(name, value);
    }
    let mut page = page.at(&primary);
    page.step(1);
    page.step(2);
    page.step(3);
    page.step(4);
    page.step(5);
    primary.restart_with(Stop::Kill, Builder::without_module);
    let line = format!("replicaof 127.0.0.1 {}", primary.port);
    replica.restart_with(Stop::Kill, |builder| builder.without_module().config(&line));
    replica.in_sync_with(&primary);
    page.step(7);
    page.end();
    for server in [&primary, &replica] {
        assert_eq!(server.client().must("GET other"), bulk("text"));
        assert!(server.client().run("APIKEY.HEALTH").is_error());
    }
    primary.client().must("SET more text");
    replica.in_sync_with(&primary);
    assert_eq!(replica.client().must("GET more"), bulk("text"));
    assert_eq!(billing("SELECT sum(total) FROM usage_total"), "40");
}
