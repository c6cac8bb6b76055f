//! `deploy/monitoring`: the rules by promtool, and in a real Prometheus that scrapes the real exporter, where alerts are
//! made to fire by their causes; the script in a real redis_exporter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use super::exporter::Exporter;
use crate::harness::http::{escaped, get};
use crate::harness::server::{die_with_parent, free_port, kind, Kind, Stop};
use crate::harness::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> PathBuf {
    root().join("deploy/monitoring").join(name)
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A program of Debian's packages `prometheus` and `prometheus-redis-exporter`.
fn program(name: &str) -> Command {
    let dir = std::env::var_os("APIKEY_PROMETHEUS_BIN").map_or("/usr/bin".into(), PathBuf::from);
    let path = dir.join(name);
    assert!(
        path.exists(),
        "no {}: apt-get install prometheus prometheus-redis-exporter, or say in APIKEY_PROMETHEUS_BIN where they are",
        path.display()
    );
    let mut command = Command::new(path);
    die_with_parent(&mut command, libc::SIGKILL);
    command
}

#[track_caller]
fn promtool(args: &[&str], name: &str) {
    let ran = program("promtool").args(args).arg(file(name)).output().expect("promtool");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said));
}

/// A process that is killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that is given its port, and waits until it answers at a path. Another may be given the port first.
#[track_caller]
fn listening(path: &str, command: impl Fn(u16) -> Command) -> (Process, u16) {
    for _ in 0..20 {
        let port = free_port();
        let mut command = command(port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process(command.spawn().expect("a program"));
        let mut has_ended = false;
        eventually("it answers", || {
            has_ended = process.0.try_wait().expect("wait").is_some();
            has_ended || get(port, path).is_ok_and(|page| page.status == 200)
        });
        if !has_ended {
            return (process, port);
        }
    }
    panic!("it ended each time")
}

/// Names and runbooks of the alerts.
fn alerts() -> Vec<(String, String)> {
    let text = read(&file("alerts.yml"));
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(name));
        lines.map(|value| value.trim().to_string()).collect::<Vec<_>>()
    };
    let (names, runbooks) = (value("- alert:"), value("runbook_url:"));
    assert_eq!(names.len(), runbooks.len(), "each has a runbook");
    names.into_iter().zip(runbooks).collect()
}

/// Those of docs/monitoring.md.
fn queries() -> Vec<String> {
    let page = read(&root().join("docs/monitoring.md"));
    let section = page.split("\n## ").find(|section| section.starts_with("Queries\n"));
    let lines = section.expect("a section").lines().filter_map(|line| line.strip_prefix("    "));
    let queries: Vec<String> =
        lines.filter(|line| !line.starts_with('#')).map(Into::into).collect();
    assert!(queries.len() > 2, "{queries:?}");
    queries
        .into_iter()
        .filter(|query| !(kind() == Kind::Redis62 && query.contains("_bucket")))
        .collect()
}

#[test]
fn the_rules_are_well_formed_and_fire_when_they_should() {
    promtool(&["check", "config"], "prometheus.yml");
    promtool(&["check", "rules"], "alerts.yml");
    promtool(&["test", "rules"], "alerts_test.yml");
    let tests = read(&file("alerts_test.yml"));
    let fires: Vec<&str> =
        tests.split("alertname: ").filter(|part| part.contains("exp_alerts")).collect();
    for (name, runbook) in alerts() {
        let is_shown = fires.iter().any(|part| part.starts_with(&format!("{name}\n")));
        assert!(is_shown, "alerts_test.yml never has {name} fire");
        let (page, section) = runbook.split_once('#').expect("a section");
        let page = read(&root().join(page));
        let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
        let mut slugs = headings.map(|heading| heading.to_lowercase().replace(' ', "-"));
        assert!(slugs.any(|slug| slug == section), "{name}: no section {runbook}");
    }
}

/// A Prometheus with the configuration of the repository, in a hurry: it looks twice a second, alerts wait for nothing,
/// and a lease is old at once.
struct Prometheus {
    _process: Process,
    port: u16,
    _dir: TempDir,
}

impl Prometheus {
    #[track_caller]
    fn start(exporter: &Exporter) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = read(&file("prometheus.yml"))
            .replace("127.0.0.1:9121", &format!("127.0.0.1:{}", exporter.port))
            .replace("15s", "500ms");
        let rules = read(&file("alerts.yml"));
        let hurried: Vec<&str> = rules
            .lines()
            .map(|line| if line.trim().starts_with("for: ") { "        for: 0s" } else { line })
            .collect();
        let hurried = hurried.join("\n").replace("_lease_seconds > 900", "_lease_seconds > 0.1");
        assert!(
            hurried.contains("> 0.1") && config.contains("500ms"),
            "the files are as they were"
        );
        fs::write(dir.path().join("prometheus.yml"), config).expect("configuration");
        fs::write(dir.path().join("alerts.yml"), hurried).expect("rules");
        let (process, port) = listening("/-/ready", |port| {
            let mut command = program("prometheus");
            let at = |name: &str| dir.path().join(name).display().to_string();
            command.args([
                format!("--config.file={}", at("prometheus.yml")),
                format!("--storage.tsdb.path={}", at("data")),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ]);
            command
        });
        Self { _process: process, port, _dir: dir }
    }

    /// What its API has as data.
    #[track_caller]
    fn api(&self, path: &str) -> Json {
        let page = get(self.port, &format!("/api/v1/{path}")).expect("a page");
        let told: Json =
            serde_json::from_str(&page.body).unwrap_or_else(|e| panic!("{e}: {}", page.body));
        assert_eq!(told["status"], "success", "{path}: {}", page.body);
        told["data"].clone()
    }

    /// The series that a query has.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<Json> {
        let told = self.api(&format!("query?query={}", escaped(query)));
        told["result"].as_array().expect("a result").clone()
    }

    /// Alerts that fire, with the port of the node that they are about; none where they are about the exporter.
    #[track_caller]
    fn firing(&self) -> BTreeSet<(String, Option<u16>)> {
        let of = |series: &Json| {
            let label = |name: &str| series["metric"][name].as_str().map(str::to_string);
            let port = label("node").and_then(|node| node.rsplit(':').next()?.parse().ok());
            (label("alertname").expect("a name"), port)
        };
        self.query(r#"ALERTS{alertstate="firing"}"#).iter().map(of).collect()
    }

    #[track_caller]
    fn fires(&self, alert: &str, node: Option<&Server>) {
        let wanted = (alert.to_string(), node.map(|server| server.port));
        eventually(alert, || self.firing().contains(&wanted));
    }
}

#[test]
fn a_real_prometheus_answers_every_query_and_alerts_fire_by_their_causes() {
    let mut primary = Server::start();
    let mut replica = Server::start();
    replica.replicate(&primary);
    let exporter = Exporter::start(&primary, &[]);
    let prometheus = Prometheus::start(&exporter);
    let mut c = primary.client();
    c.fill("apikey:{k}", &[]);
    let reads = |key: &str| vec![format!("APIKEY.VALIDATE {key} SECRET {SECRET}"); 200];
    eventually("both are scraped, more than once", || {
        c.pipeline(&reads("apikey:{k}"));
        let hits = r#"rate(apikey_lookups_total{result="hit"}[5m]) > 0"#;
        prometheus.query("apikey_up == 1").len() == 2 && !prometheus.query(hits).is_empty()
    });

    // Every rule is evaluated without error, of metrics that are there.
    let names = prometheus.api("label/__name__/values");
    let names: BTreeSet<&str> =
        names.as_array().expect("names").iter().filter_map(Json::as_str).collect();
    let told = prometheus.api("rules");
    let rules = told["groups"][0]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        let query = rule["query"].as_str().expect("a query");
        prometheus.query(query);
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for metric in words.filter(|word| word.starts_with("apikey_")) {
            assert!(names.contains(metric), "{}: there is no {metric}", rule["name"]);
        }
    }
    for query in queries() {
        let found = prometheus.query(&query);
        assert!(!found.is_empty(), "docs/monitoring.md: {query} finds nothing");
    }
    let is_ok = |rule: &Json| rule["health"] == "ok";
    eventually("all rules are evaluated", || {
        let told = prometheus.api("rules");
        told["groups"][0]["rules"].as_array().is_some_and(|rules| rules.iter().all(is_ok))
    });
    assert_eq!(prometheus.firing(), BTreeSet::new(), "all is well");

    c.count("apikey:{k}:usage", 7);
    let batch = c.lease();
    prometheus.fires("ApikeyLeaseOld", Some(&primary));
    c.ack(&batch);

    let token = c.must("APIKEY.TOKEN apikey:{late}").text();
    c.must("APIKEY.INVAL apikey:{late}");
    let fill = format!("APIKEY.SETVAL apikey:{{late}} {} TOKEN {token}", record("id", "u1"));
    c.pipeline(&vec![fill; 1000]);
    prometheus.fires("ApikeyFillsStale", Some(&primary));

    let found = c.must("APIKEY.HEALTH").get("hits").int();
    let misses = usize::try_from(found / 200 + 5).expect("a number");
    (0..misses).for_each(|_| drop(c.pipeline(&reads("apikey:{none}"))));
    prometheus.fires("ApikeyHitRateLow", Some(&primary));

    let used: i64 = c.info("memory", "used_memory").expect("memory").parse().expect("a number");
    c.must(&format!("CONFIG SET maxmemory {}", used + used / 50));
    prometheus.fires("ApikeyMemoryHigh", Some(&primary));
    prometheus.fires("ApikeyDegraded", Some(&primary));
    c.must("CONFIG SET maxmemory 0");

    c.must("CONFIG SET min-replicas-to-write 5");
    prometheus.fires("ApikeyWritesRefused", Some(&primary));
    c.must("CONFIG SET min-replicas-to-write 0");
    if kind() != Kind::Redis62 {
        let before = "apikey_health_status{status=\"unhealthy\"} == 1";
        eventually("it is well again", || prometheus.query(before).is_empty());
        c.must("CONFIG SET apikey.enabled no");
        prometheus.fires("ApikeyUnhealthy", Some(&primary));
        c.must("CONFIG SET apikey.enabled yes");
    }

    // It starts as a server of its own, where the exporter knows it.
    replica.restart_with(Stop::Kill, Builder::without_module);
    prometheus.fires("ApikeyModuleMissing", Some(&replica));
    assert!(!prometheus.firing().contains(&("ApikeyDown".into(), Some(replica.port))));
    replica.stop(Stop::Kill);
    prometheus.fires("ApikeyDown", Some(&replica));
    primary.stop(Stop::Kill);
    prometheus.fires("ApikeyDown", Some(&primary));
    prometheus.fires("ApikeyServersNotFound", None);
    exporter.terminate();
    prometheus.fires("ApikeyExporterDown", None);
}

#[test]
fn redis_exporter_has_the_numbers_by_the_script() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("apikey:{k}", &[]);
    (0..7).for_each(|_| assert_eq!(c.code("apikey:{k}"), "VALID"));
    let (_process, port) = listening("/health", |port| {
        let mut command = program("prometheus-redis-exporter");
        command.args([
            format!("-redis.addr=redis://127.0.0.1:{}", server.port),
            format!("-script={}", file("redis_exporter.lua").display()),
            format!("-web.listen-address=127.0.0.1:{port}"),
        ]);
        command
    });
    let page = get(port, "/metrics").expect("a page");
    let health = c.must("APIKEY.HEALTH");
    let texts = ["status", "reasons", "version", "eviction_policy", "used_memory"];
    for name in health.names().iter().filter(|name| !texts.contains(&name.as_str())) {
        let Reply::Int(number) = health.get(name) else { continue };
        let line = format!("redis_script_values{{key=\"apikey_{name}\"}} ");
        let told = page.body.lines().find_map(|told| told.strip_prefix(&line));
        let told = told.and_then(|told| told.parse::<f64>().ok());
        assert_eq!(told, Some(*number as f64), "{name}: {}", page.body);
    }
    assert!(page.body.contains("{key=\"apikey_hits\"} 7\n"), "{}", page.body);
    assert!(page.body.contains("{key=\"apikey_status\"} 0\n"), "{}", page.body);
}
