//! `deploy/monitoring`: the rules by promtool, and in a real Prometheus that scrapes the real exporter, where the
//! dashboard's queries find something, and alerts are made to fire by their causes; the script in a real redis_exporter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use super::dashboard::{metrics, Dashboard};
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

/// An alert of alerts.yml.
pub struct Alert {
    pub name: String,
    runbook: String,
    expr: String,
}

impl Alert {
    /// Numbers that its expression compares with, and others in it.
    pub fn bounds(&self) -> Vec<f64> {
        let words = self.expr.split(|c: char| c.is_whitespace() || "()".contains(c));
        words.filter_map(|word| word.parse().ok()).collect()
    }
}

pub fn alerts() -> Vec<Alert> {
    let text = read(&file("alerts.yml"));
    let of = |part: &str| {
        let (name, rest) = part.split_once('\n').expect("a name");
        let (_, rest) = rest.split_once("expr:").expect("an expression");
        let (expr, rest) = rest.split_once(" for: ").expect("how long");
        let mut lines = rest.lines();
        let runbook = lines.find_map(|line| line.trim().strip_prefix("runbook_url: "));
        let runbook = runbook.unwrap_or_else(|| panic!("{name} has no runbook"));
        Alert { name: name.into(), runbook: runbook.into(), expr: expr.into() }
    };
    text.split("- alert: ").skip(1).map(of).collect()
}

/// That `page.md#section` is in this repository.
#[track_caller]
pub fn assert_is_a_section(what: &str, page: &str) {
    let (path, section) = page.split_once('#').unwrap_or((page, ""));
    let text = read(&root().join(path));
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    let mut slugs = headings.map(|heading| heading.to_lowercase().replace(' ', "-"));
    let is_there = section.is_empty() || slugs.any(|slug| slug == section);
    assert!(is_there, "{what}: no section {page}");
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
}

/// Redis 6.2 has no LATENCY HISTOGRAM, so of buckets `+Inf` alone, and no percentile.
fn is_told(query: &str) -> bool {
    !(kind() == Kind::Redis62 && query.contains("_bucket"))
}

#[test]
fn the_rules_are_well_formed_and_fire_when_they_should() {
    promtool(&["check", "config"], "prometheus.yml");
    promtool(&["check", "rules"], "alerts.yml");
    promtool(&["test", "rules"], "alerts_test.yml");
    let tests = read(&file("alerts_test.yml"));
    let fires: Vec<&str> =
        tests.split("alertname: ").filter(|part| part.contains("exp_alerts")).collect();
    for Alert { name, runbook, .. } in alerts() {
        let is_shown = fires.iter().any(|part| part.starts_with(&format!("{name}\n")));
        assert!(is_shown, "alerts_test.yml never has {name} fire");
        assert_is_a_section(&name, &runbook);
    }
}

/// A Prometheus with the configuration of the repository, in a hurry: it looks twice a second, alerts wait for nothing,
/// a lease is old at once, and a read slow from a millisecond on.
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
        let hurried = hurried.replace("[5m]) > 0.01\n", "[5m]) > 0.0003\n");
        let are_there =
            ["_lease_seconds > 0.1\n", "[5m]) > 0.0003\n"].map(|bound| hurried.contains(bound));
        assert!(are_there == [true; 2] && config.contains("500ms"), "the files are as they were");
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

    /// Whether a query has a number as its answer: NaN is of what did not happen.
    #[track_caller]
    fn finds(&self, query: &str) -> bool {
        let is_number = |series: &Json| series["value"][1].as_str().is_some_and(|v| v != "NaN");
        self.query(query).iter().any(is_number)
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
        self.fires_while(alert, node, || ());
    }

    /// The same, of what has to go on for it.
    #[track_caller]
    fn fires_while(&self, alert: &str, node: Option<&Server>, mut cause: impl FnMut()) {
        let wanted = (alert.to_string(), node.map(|server| server.port));
        eventually(alert, || {
            cause();
            self.firing().contains(&wanted)
        });
    }
}

/// Panels of the dashboard that are empty then.
const NONE_WHILE_ALL_IS_WELL: [&str; 1] = ["Alerts that fire"];

#[test]
fn a_real_prometheus_answers_every_query_and_alerts_fire_by_their_causes() {
    let mut primary = Server::start();
    let mut replica = Server::start();
    replica.replicate(&primary);
    let exporter = Exporter::start(&primary, &[]);
    let prometheus = Prometheus::start(&exporter);
    let mut c = primary.client();
    // A share of no limit there is none.
    c.must("CONFIG SET maxmemory 1gb");
    c.must("CACHE.REGION SET products MAXENTRIES 1000 MAXBYTES 1000000");
    let found = vec!["CACHE.GET found products".to_string(); 100];
    let reads = |key: &str| vec![format!("APIKEY.VALIDATE {key} SECRET {SECRET}"); 200];
    let admit = |more: &str| {
        format!("APIKEY.ADMIT apikey:{{k}} 1 apikey:{{k}}:usage SECRET {SECRET} {more}")
    };
    let admitted = vec![admit("COST 0"); 10];
    eventually("both are scraped, more than once", || {
        c.fill("apikey:{k}", &[]);
        c.pipeline(&reads("apikey:{k}"));
        c.must("CACHE.SET found products text");
        c.pipeline(&found);
        c.pipeline(&admitted);
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
        for metric in metrics(query) {
            assert!(names.contains(metric), "{}: there is no {metric}", rule["name"]);
        }
    }
    for query in queries().iter().filter(|query| is_told(query)) {
        assert!(prometheus.finds(query), "docs/monitoring.md: {query} finds nothing");
    }

    // So is each query of the dashboard, and each metric is in one of them.
    let dashboard = Dashboard::printed(&[]);
    let asked = dashboard.queries();
    let mut shown: BTreeSet<&str> = asked.iter().flat_map(|(_, query)| metrics(query)).collect();
    for name in &names {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let of_histogram = |base| shown.iter().any(|other| other.starts_with(base));
        let is_shown = shown.contains(name) || base.is_some_and(of_histogram);
        assert!(is_shown || !name.starts_with("apikey_"), "the dashboard has nothing of {name}");
    }
    shown.retain(|name| !names.contains(name));
    assert!(shown.is_empty(), "the dashboard wants what there is not: {shown:?}");
    for (title, query) in asked.iter().filter(|(_, query)| is_told(query)) {
        // Nothing fires yet.
        if !NONE_WHILE_ALL_IS_WELL.contains(title) {
            eventually(&format!("{title}: {query} finds something"), || prometheus.finds(query));
        }
    }
    for (series, label) in dashboard.labels() {
        let path = format!("label/{label}/values?match[]={}", escaped(&series));
        let values = prometheus.api(&path);
        assert!(values[0].is_string(), "the variable {label} has no value of {series}");
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
    for (title, query) in asked.iter().filter(|(title, _)| NONE_WHILE_ALL_IS_WELL.contains(title)) {
        eventually(title, || prometheus.finds(query));
    }
    c.ack(&batch);

    let refused = vec![admit("COST 2 LIMIT 1 limit RATE 1 1000"); 200];
    prometheus.fires_while("ApikeyRequestsLimited", Some(&primary), || drop(c.pipeline(&refused)));
    let mut ids = 0..;
    prometheus.fires_while("ApikeyIdsDroppedEarly", Some(&primary), || {
        let with_id = |id| admit(&format!("COST 0 ID {id}"));
        c.pipeline(&ids.by_ref().take(4200).map(with_id).collect::<Vec<_>>());
    });

    let token = c.must("APIKEY.TOKEN apikey:{late}").text();
    c.must("APIKEY.INVAL apikey:{late}");
    let fill = format!("APIKEY.SETVAL apikey:{{late}} {} TOKEN {token}", record("id", "u1"));
    c.pipeline(&vec![fill; 1000]);
    prometheus.fires("ApikeyFillsStale", Some(&primary));

    let found = c.must("APIKEY.HEALTH").get("hits").int();
    let misses = usize::try_from(found / 200 + 5).expect("a number");
    (0..misses).for_each(|_| drop(c.pipeline(&reads("apikey:{none}"))));
    prometheus.fires("ApikeyHitRateLow", Some(&primary));

    let used = |c: &mut Client| -> i64 {
        c.info("memory", "used_memory").expect("memory").parse().expect("a number")
    };
    let missed = vec!["CACHE.GET none products".to_string(); 200];
    for alert in ["ApikeyRegionHitRateLow", "ApikeyRegionHitRateCritical"] {
        prometheus.fires_while(alert, Some(&primary), || drop(c.pipeline(&missed)));
    }
    c.must("CACHE.REGION SET products MAXENTRIES 20");
    let mut keys = 0..;
    for alert in ["ApikeyRegionFull", "ApikeyRegionEvictionsHigh", "ApikeyRegionEvictionsCritical"]
    {
        prometheus.fires_while(alert, Some(&primary), || {
            let fill = |n| format!("CACHE.SET {n} products text");
            c.pipeline(&keys.by_ref().take(50).map(fill).collect::<Vec<_>>());
        });
    }

    let now = used(&mut c);
    c.must(&format!("CONFIG SET maxmemory {}", now + now / 50));
    prometheus.fires("ApikeyMemoryHigh", Some(&primary));
    prometheus.fires("ApikeyDegraded", Some(&primary));
    // There has to be room for something that can be evicted.
    let more = used(&mut c) + (1 << 20);
    c.must(&format!("CONFIG SET maxmemory {more}"));
    c.must("CONFIG SET maxmemory-policy volatile-ttl");
    let mut keys = 0..;
    prometheus.fires_while("ApikeyEvictionsHigh", Some(&primary), || {
        let fill = |n| format!("APIKEY.SETVAL apikey:{{{n}}} {}", record("id", "u1"));
        c.pipeline(&keys.by_ref().take(200).map(fill).collect::<Vec<_>>());
    });
    c.must("CONFIG SET maxmemory 0");

    let long =
        format!(r#"{{"id":"id","user_id":"u1","is_active":true,"name":"{}"}}"#, "x".repeat(500));
    let records = vec![long; 10_000];
    c.list("apikey:{list}", &records, "");
    prometheus.fires_while("ApikeyReadsSlow", Some(&primary), || {
        c.must("APIKEY.GETLIST apikey:{list}");
    });
    c.must("APIKEY.INVAL apikey:{list}");

    c.must("CONFIG SET maxclients 100");
    let connected: Vec<_> = (0..80).map(|_| primary.client()).collect();
    prometheus.fires("ApikeyConnectionsHigh", Some(&primary));
    drop(connected);

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
