//! `apikeyctl exporter`, scraped as Prometheus does it: every figure of HEALTH, servers that are away, and who may have
//! it ask whom.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::program::{bare, url};
use super::Ran;
use crate::harness::http::{self, ask, escaped, get};
use crate::harness::server::{kind, Kind, Stop};
use crate::harness::*;
use crate::roles::{self, Users};

/// An exporter on a port of its own. It is killed when this is dropped.
pub struct Exporter {
    child: Child,
    pub port: u16,
}

impl Exporter {
    #[track_caller]
    pub fn start(server: &Server, options: &[&str]) -> Self {
        Self::as_user(server, options, "")
    }

    /// The same, with a password for `--user`.
    #[track_caller]
    pub fn as_user(server: &Server, options: &[&str], password: &str) -> Self {
        let url = url(server);
        let with = ["exporter", "--json", "--listen", "127.0.0.1:0", "--url", &url];
        let mut command = bare(&[&with, options].concat());
        let mut child = command.env("REDISCLI_AUTH", password).spawn().expect("apikeyctl");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let told: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let address = told["listening"].as_str().expect("an address");
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        Self { child, port: port.expect("a port") }
    }

    /// All that it says now.
    #[track_caller]
    pub fn scrape(&self) -> Scrape {
        self.scrape_at("/metrics")
    }

    #[track_caller]
    fn scrape_at(&self, path: &str) -> Scrape {
        let page = get(self.port, path).expect("a page");
        assert_eq!(page.status, 200, "{}", page.body);
        Scrape::of(&page.body)
    }

    pub fn terminate(&self) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid");
        // SAFETY: a signal to a child that was not waited for, so that the id is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    }

    /// What it has said on the standard error, after SIGTERM, and how it ended.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        self.terminate();
        eventually("it ends", || self.child.try_wait().expect("wait").is_some());
        let mut said = String::new();
        let err = self.child.stderr.as_mut().expect("its errors");
        err.read_to_string(&mut said).expect("what it said");
        (self.child.wait().expect("its status").code(), said)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Series and their values.
#[derive(Debug)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    #[track_caller]
    fn of(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_string(), value.parse().expect("a number"))
        });
        Self(series.collect())
    }

    /// Of a node: `labels` are those behind its own.
    fn get(&self, metric: &str, server: &Server, labels: &str) -> Option<f64> {
        let more = if labels.is_empty() { String::new() } else { format!(",{labels}") };
        self.0.get(&format!("{metric}{{node=\"127.0.0.1:{}\"{more}}}", server.port)).copied()
    }

    fn up(&self, server: &Server) -> Option<f64> {
        self.get("apikey_up", server, "")
    }

    /// Names of the series that a node has.
    fn names(&self, server: &Server) -> Vec<&str> {
        let node = format!("node=\"127.0.0.1:{}\"", server.port);
        let names = self.0.keys().filter(|name| name.contains(&node));
        let mut names: Vec<&str> = names.filter_map(|name| name.split('{').next()).collect();
        names.dedup();
        names
    }

    fn role(&self, server: &Server) -> Option<&'static str> {
        let of = |role: &&str| {
            let labels = format!("node=\"127.0.0.1:{}\",role=\"{role}\"", server.port);
            self.0
                .keys()
                .any(|name| name.starts_with("apikey_node_info{") && name.contains(&labels))
        };
        ["primary", "replica"].into_iter().find(of)
    }
}

/// Fields of HEALTH, and the series that each is.
const SERIES: &[(&str, &str, &str)] = &[
    ("enabled", "apikey_enabled", ""),
    ("writes_enabled", "apikey_writes_enabled", ""),
    ("vouches", "apikey_vouches", ""),
    ("hits", "apikey_lookups_total", r#"result="hit""#),
    ("misses", "apikey_lookups_total", r#"result="miss""#),
    ("valid", "apikey_answers_total", r#"code="VALID""#),
    ("mismatches", "apikey_answers_total", r#"code="MISMATCH""#),
    ("disabled", "apikey_answers_total", r#"code="DISABLED""#),
    ("expired", "apikey_answers_total", r#"code="EXPIRED""#),
    ("forbidden", "apikey_answers_total", r#"code="FORBIDDEN""#),
    ("forbidden_ip", "apikey_answers_total", r#"code="FORBIDDEN_IP""#),
    ("unverified", "apikey_answers_total", r#"code="UNVERIFIED""#),
    ("absent_answers", "apikey_answers_total", r#"code="ABSENT""#),
    ("stored_entries", "apikey_fills_total", r#"result="stored""#),
    ("stale_fills_refused", "apikey_fills_total", r#"result="stale""#),
    ("absent_refused", "apikey_fills_total", r#"result="too_many_absent""#),
    ("invalidated_tags", "apikey_invalidations_total", r#"by="tag""#),
    ("invalidated_keys", "apikey_invalidations_total", r#"by="key""#),
    ("written_keys", "apikey_invalidations_total", r#"by="write""#),
    ("invalidated_patterns", "apikey_invalidations_total", r#"by="pattern""#),
    ("flushes", "apikey_invalidations_total", r#"by="flush""#),
    ("killed_entries", "apikey_killed_entries_total", ""),
    ("evicted_entries", "apikey_evicted_entries_total", ""),
    ("records", "apikey_entries", r#"kind="record""#),
    ("absent", "apikey_entries", r#"kind="absent""#),
    ("scopes", "apikey_entries", r#"kind="scopes""#),
    ("lists", "apikey_entries", r#"kind="list""#),
    ("cached_values", "apikey_entries", r#"kind="cache""#),
    ("cached_bytes", "apikey_cached_bytes", ""),
    ("regions", "apikey_regions", ""),
    ("usage_counters", "apikey_usage_counters", ""),
    ("tags", "apikey_tags", ""),
    ("reclaim_backlog", "apikey_reclaim_backlog_entries", ""),
    ("index_bytes", "apikey_index_bytes", ""),
    ("maxmemory", "apikey_server_memory_limit_bytes", ""),
    ("usage_pending", "apikey_usage_pending", ""),
    ("usage_leased", "apikey_usage_leased", ""),
    ("pending_counters", "apikey_usage_pending_counters", ""),
    ("open_batches", "apikey_usage_open_batches", ""),
    ("redeliveries", "apikey_usage_redeliveries_total", ""),
    ("counted_uses", "apikey_usage_counted_total", ""),
    ("settled_uses", "apikey_usage_settled_total", ""),
    ("taken_uses", "apikey_usage_taken_total", ""),
    ("admitted", "apikey_admitted_total", ""),
    ("rate_limited", "apikey_rate_limited_total", ""),
    ("usage_exceeded", "apikey_usage_exceeded_total", ""),
    ("repeated_ids", "apikey_repeated_ids_total", ""),
    ("ids_dropped_early", "apikey_ids_dropped_early_total", ""),
];

/// Those of which the test says elsewhere what they are, since they change by themselves, or are texts that labels have.
const ELSEWHERE: &[&str] = &["status", "version", "used_memory", "oldest_lease_ms"];

/// Those that are to have none: percentages, and texts that would be labels without end.
const NONE: &[&str] = &["reasons", "hit_rate", "hit_rate_1m", "eviction_policy"];

/// Has each of the module's counters count, each another number.
fn traffic(c: &mut Client) {
    let key = |n: usize| format!("apikey:{{k{n}}}");
    let repeated = |c: &mut Client, times: usize, line: &str| {
        (0..times).for_each(|_| {
            c.must(line);
        });
    };
    c.fill(&key(1), &["t"]);
    let record = |fields: &str| format!(r#"{{"id":"i","user_id":"u2",{fields}}}"#);
    c.must(&format!("APIKEY.SETVAL {} {}", key(2), record(r#""is_active":false"#)));
    c.must(&format!(
        "APIKEY.SETVAL {} {}",
        key(3),
        record(r#""is_active":true,"expires_at":1000000000000"#)
    ));
    let with_ip = record(r#""is_active":true,"allowed_ips":["10.0.0.1"]"#);
    c.must(&format!("APIKEY.SETVAL {} {with_ip}", key(4)));
    let token = c.must(&format!("APIKEY.TOKEN {}", key(5))).text();
    c.must(&format!("APIKEY.SETABSENT {} TOKEN {token}", key(5)));
    c.decide("apikey:{s}", "users read ALLOW", "");
    c.list("apikey:{l}", &[harness_record()], "");
    let valid = format!("APIKEY.VALIDATE {} SECRET {SECRET}", key(1));
    repeated(c, 11, &valid);
    repeated(c, 2, &format!("APIKEY.VALIDATE {} SECRET wrong", key(1)));
    repeated(c, 3, &format!("APIKEY.VALIDATE {}", key(2)));
    repeated(c, 4, &format!("APIKEY.VALIDATE {}", key(3)));
    repeated(c, 5, &format!("{valid} SCOPE orders:read"));
    repeated(c, 6, &format!("APIKEY.VALIDATE {} IP 10.0.0.2", key(4)));
    repeated(c, 7, &format!("APIKEY.VALIDATE {}", key(1)));
    repeated(c, 8, &format!("APIKEY.VALIDATE {}", key(5)));
    repeated(c, 9, &format!("APIKEY.VALIDATE {}", key(6)));
    let token = c.must(&format!("APIKEY.TOKEN {}", key(7))).text();
    c.must(&format!("APIKEY.INVAL {}", key(7)));
    repeated(c, 3, &format!("APIKEY.SETVAL {} {} TOKEN {token}", key(7), harness_record()));
    c.fill(&key(8), &["gone"]);
    c.must("APIKEY.TAGINVAL gone other another");
    c.must("CACHE.SET p1 products text");
    c.must("CACHE.SET p2 products text");
    c.must("CACHE.SET q1 search text");
    c.must("CACHE.PATINVAL p2");
    c.count("apikey:{k1}:usage", 70);
    c.must("APIKEY.USAGE.TAKE apikey:{k1}:usage");
    c.count("apikey:{k1}:usage", 30);
    let batch = c.lease();
    c.ack(&batch);
    c.count("apikey:{k1}:usage", 20);
    c.lease();
    c.count("apikey:{k1}:usage", 5);
    admissions(c, &key(1));
    c.select(3);
    c.must("FLUSHDB");
    c.select(0);
}

/// The same of limits.
fn admissions(c: &mut Client, key: &str) {
    let answers = |c: &mut Client, requests: Vec<String>, code: &str| {
        let counter = "apikey:{k1}:requests";
        let admit =
            |more: &String| format!("APIKEY.ADMIT {key} 1 {counter} SECRET {SECRET} {more}");
        for reply in c.pipeline(&requests.iter().map(admit).collect::<Vec<_>>()) {
            assert_eq!(reply.items()[0].text(), code, "{reply:?}");
        }
    };
    // Three more than a counter keeps.
    answers(c, (0..4099).map(|id| format!("COST 0 ID {id}")).collect(), "VALID");
    answers(c, vec!["COST 0 ID 4098".into(); 7], "VALID");
    answers(c, vec!["COST 2 LIMIT 1 rate RATE 1 1000".into(); 4], "RATE_LIMITED");
    answers(c, vec!["COST 2 LIMIT 1 quota QUOTA 1 DAY".into(); 5], "USAGE_EXCEEDED");
}

/// How many errors a server has replied.
fn errors_of(c: &mut Client) -> f64 {
    let told = c.info("stats", "total_error_replies").expect("a number");
    told.parse().expect("a number")
}

fn harness_record() -> String {
    record("id", "u1")
}

#[test]
fn every_figure_of_health_is_a_metric_or_deliberately_none() {
    let server = Server::start();
    let mut c = server.client();
    traffic(&mut c);
    let exporter = Exporter::start(&server, &[]);
    (0..7).for_each(|_| drop(c.cmd(["NOCOMMAND"])));
    let errors = errors_of(&mut c);
    assert!(errors > 6.0, "{errors}");
    let before = c.must("APIKEY.HEALTH");
    let scrape = exporter.scrape();
    let after = c.must("APIKEY.HEALTH");

    let known: Vec<&str> = SERIES.iter().map(|(field, ..)| *field).collect();
    let known = [&known[..], ELSEWHERE, NONE].concat();
    let fields = before.names();
    let unknown: Vec<_> = fields.iter().filter(|field| !known.contains(&field.as_str())).collect();
    assert!(
        unknown.is_empty(),
        "HEALTH has fields of which the exporter says nothing: {unknown:?}"
    );
    for (field, metric, labels) in SERIES {
        let health = before.get(field).int() as f64;
        assert_eq!(scrape.get(metric, &server, labels), Some(health), "{field}");
    }
    // Else a metric of another field could pass for it.
    for field in [
        "misses",
        "disabled",
        "expired",
        "forbidden",
        "forbidden_ip",
        "settled_uses",
        "ids_dropped_early",
    ] {
        assert!(before.get(field).int() > 2, "{field}: {before:?}");
    }
    let lease = scrape.get("apikey_usage_oldest_lease_seconds", &server, "").expect("an age");
    let age = |health: &Reply| health.get("oldest_lease_ms").int() as f64 / 1000.0;
    assert!((age(&before)..=age(&after)).contains(&lease), "{lease}");
    let memory = scrape.get("apikey_server_memory_used_bytes", &server, "");
    assert!(memory.is_some_and(|bytes| bytes > 500_000.0), "{memory:?}");
    for (status, is) in [("healthy", 1.0), ("degraded", 0.0), ("unhealthy", 0.0)] {
        let labels = format!("status=\"{status}\"");
        assert_eq!(scrape.get("apikey_health_status", &server, &labels), Some(is), "{status}");
    }
    let limit = c.info("clients", "maxclients").and_then(|text| text.parse().ok());
    assert_eq!(scrape.get("apikey_server_connections_limit", &server, ""), limit);
    // It asks 6.2 for LATENCY HISTOGRAM, which is an error there.
    let replied = scrape.get("apikey_server_error_replies_total", &server, "");
    assert!((errors..=errors_of(&mut c)).contains(&replied.expect("a number")), "{replied:?}");
    let others: Vec<_> = (0..5).map(|_| server.client()).collect();
    let connections = exporter.scrape().get("apikey_server_connections", &server, "");
    // With this client, and the exporter's own.
    assert!(connections.is_some_and(|all| (7.0..9.0).contains(&all)), "{connections:?}");
    drop(others);
    let commands = scrape.get("apikey_server_commands_total", &server, "");
    assert!(commands.is_some_and(|commands| commands > 70.0), "{commands:?}");
    let version = format!("version=\"{}\"", before.get("version").text());
    assert_eq!(scrape.get("apikey_build_info", &server, &version), Some(1.0));
    assert_eq!((scrape.up(&server), scrape.role(&server)), (Some(1.0), Some("primary")));
    let took = scrape.0.get("apikey_scrape_duration_seconds").copied();
    assert!(took.is_some_and(|took| took > 0.0 && took < 9.5), "{took:?}");

    // Each stands in the reference.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md"));
    let page = page.expect("docs/operating.md");
    for series in scrape.0.keys() {
        let name = series.split('{').next().unwrap_or_default();
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(page.contains(&format!("`{name}")), "docs/operating.md says nothing of {name}");
    }
    // No key, no user, no tag.
    for word in ["k1", "u1", "\"t\"", "gone"] {
        assert!(!scrape.0.keys().any(|name| name.contains(word)), "{word}");
    }
}

#[test]
fn commands_have_histograms_of_what_they_took() {
    let server = Server::start();
    let mut c = server.client();
    c.fill("apikey:{k}", &[]);
    (0..200).for_each(|_| assert_eq!(c.code("apikey:{k}"), "VALID"));
    let exporter = Exporter::start(&server, &[]);
    let scrape = exporter.scrape();
    let of = |suffix: &str, more: &str| {
        let metric = format!("apikey_command_duration_seconds{suffix}");
        scrape.get(&metric, &server, &format!("command=\"apikey.validate\"{more}"))
    };
    assert_eq!((of("_count", ""), of("_bucket", ",le=\"+Inf\"")), (Some(200.0), Some(200.0)));
    let sum = c.info("commandstats", "cmdstat_apikey.validate").expect("its calls");
    let usec = sum.split(',').find_map(|part| part.strip_prefix("usec=")).expect("microseconds");
    let seconds = usec.parse::<f64>().expect("a number") / 1e6;
    assert!(of("_sum", "").is_some_and(|sum| (sum - seconds).abs() < 1e-9), "{usec}");

    let bounds = scrape.0.iter().filter(|(name, _)| {
        name.starts_with("apikey_command_duration_seconds_bucket")
            && name.contains("apikey.validate")
    });
    let bound = |name: &str| -> f64 {
        let text = name.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
        text.and_then(|text| text.parse().ok()).expect("a bound")
    };
    let mut buckets: Vec<(f64, f64)> = bounds.map(|(name, calls)| (bound(name), *calls)).collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
    if kind() == Kind::Redis62 {
        assert_eq!(buckets, [(f64::INFINITY, 200.0)], "it has no LATENCY HISTOGRAM");
        return;
    }
    assert_eq!(buckets.len(), 20, "{buckets:?}");
    // As the server says it, of the bounds that it names.
    let told = c.must("LATENCY HISTOGRAM apikey.validate");
    let told = told.get("apikey.validate").get("histogram_usec").items();
    assert!(!told.is_empty());
    for pair in told.chunks_exact(2) {
        let (micros, calls) = (pair[0].int() as f64, pair[1].int() as f64);
        let found = buckets.iter().find(|(bound, _)| (bound * 1e6 - micros).abs() < 0.5);
        if (4.0..1e6).contains(&micros) {
            assert_eq!(found.map(|(_, calls)| *calls), Some(calls), "{micros}: {buckets:?}");
        }
    }
}

#[test]
fn a_server_that_is_down_is_up_0_and_comes_back() {
    let mut server = Server::start();
    let exporter = Exporter::start(&server, &[]);
    assert_eq!(exporter.scrape().up(&server), Some(1.0));
    server.stop(Stop::Kill);
    for _ in 0..3 {
        let scrape = exporter.scrape();
        assert_eq!((scrape.up(&server), scrape.names(&server)), (Some(0.0), vec!["apikey_up"]));
        assert_eq!(scrape.0["apikey_discovery_up"], 0.0);
    }
    server.start_again();
    let scrape = exporter.scrape();
    assert_eq!((scrape.up(&server), scrape.0["apikey_discovery_up"]), (Some(1.0), 1.0));
    let (status, said) = exporter.end();
    assert_eq!(status, Some(0));
    assert_eq!(said.lines().count(), 2, "each is said once: {said}");
    assert!(said.contains("could not reach") && said.contains("there again"), "{said}");
}

#[test]
fn replicas_are_found_and_not_forgotten() {
    let mut primary = Server::start();
    let mut replica = Server::start();
    replica.replicate(&primary);
    let exporter = Exporter::start(&primary, &[]);
    let scrape = exporter.scrape();
    assert_eq!((scrape.role(&primary), scrape.role(&replica)), (Some("primary"), Some("replica")));
    assert_eq!((scrape.up(&primary), scrape.up(&replica)), (Some(1.0), Some(1.0)));

    replica.stop(Stop::Kill);
    let mut c = primary.client();
    eventually("the primary forgets it", || {
        c.info("replication", "connected_slaves").as_deref() == Some("0")
    });
    let scrape = exporter.scrape();
    assert_eq!((scrape.up(&primary), scrape.up(&replica)), (Some(1.0), Some(0.0)));
    replica.start_again();
    primary.stop(Stop::Kill);
    let scrape = exporter.scrape();
    assert_eq!((scrape.up(&primary), scrape.up(&replica)), (Some(0.0), Some(1.0)));

    let alone = Exporter::start(&replica, &["--alone"]);
    assert_eq!(alone.scrape().names(&primary), Vec::<&str>::new());
}

#[test]
fn a_server_that_stands_still_holds_up_no_scrape() {
    let primary = Server::start();
    let replica = Server::start();
    replica.replicate(&primary);
    let exporter = Exporter::start(&primary, &[]);
    exporter.scrape();
    for frozen in [&replica, &primary] {
        frozen.freeze();
        let began = Instant::now();
        let scrape = exporter.scrape();
        let took = began.elapsed();
        frozen.wake();
        assert!(took < Duration::from_millis(9500), "{took:?}");
        assert_eq!(scrape.up(frozen), Some(0.0));
        let other = if frozen.port == primary.port { &replica } else { &primary };
        assert_eq!(scrape.up(other), Some(1.0));
    }
}

#[test]
fn all_nodes_of_a_cluster_are_on_one_page() {
    let mut cluster = Cluster::start(3, 1);
    let exporter = Exporter::start(&cluster.primaries[0], &["--cluster"]);
    let scrape = exporter.scrape();
    for (servers, role) in [
        (cluster.primaries.iter().collect::<Vec<_>>(), "primary"),
        (cluster.replicas.iter().flatten().collect(), "replica"),
    ] {
        for server in servers {
            assert_eq!((scrape.up(server), scrape.role(server)), (Some(1.0), Some(role)));
            assert_eq!(scrape.get("apikey_vouches", server, ""), Some(1.0));
        }
    }
    cluster.primaries[1].stop(Stop::Kill);
    let gone = &cluster.primaries[1];
    let scrape = exporter.scrape();
    assert_eq!((scrape.up(gone), scrape.names(gone)), (Some(0.0), vec!["apikey_up"]));
    assert_eq!(scrape.up(&cluster.primaries[2]), Some(1.0));
}

#[test]
fn a_server_without_the_module_or_the_permission_is_told_of() {
    let server = Server::builder().without_module().start();
    let exporter = Exporter::start(&server, &[]);
    let scrape = exporter.scrape();
    assert_eq!(scrape.up(&server), Some(0.0));
    assert_eq!(scrape.get("apikey_module_loaded", &server, ""), Some(0.0));
    assert_eq!(scrape.role(&server), Some("primary"));
    let (_, said) = exporter.end();
    assert!(said.contains("start it with --loadmodule"), "{said}");

    let server = Server::start();
    server.client().must("ACL SETUSER someone on >pass -@all +info");
    let exporter = Exporter::as_user(&server, &["--user", "someone"], "pass");
    let scrape = exporter.scrape();
    assert_eq!(scrape.up(&server), Some(0.0));
    assert_eq!(scrape.get("apikey_module_loaded", &server, ""), Some(1.0));
    let (_, said) = exporter.end();
    assert!(said.contains("the user needs APIKEY.HEALTH"), "{said}");
}

#[test]
fn the_monitoring_user_of_the_reference_is_enough() {
    for users in roles::lists() {
        let users = Users::new(users);
        let server = users.on(Server::builder()).start();
        let password = users.password("monitoring").to_string();
        let exporter = Exporter::as_user(&server, &["--user", "monitoring"], &password);
        let scrape = exporter.scrape();
        assert_eq!(scrape.up(&server), Some(1.0));
        let calls = scrape.get(
            "apikey_command_duration_seconds_count",
            &server,
            "command=\"apikey.health\"",
        );
        assert!(calls.is_some());
        let (_, said) = exporter.end();
        assert_eq!(said, "");
    }
}

#[test]
fn only_targets_of_the_command_line_are_asked_and_see_the_password() {
    let one = Server::start();
    let other = Server::start();
    for server in [&one, &other] {
        server.client().must("CONFIG SET requirepass s3cret");
    }
    let named = format!("redis://127.0.0.1:{}", other.port);
    let exporter = Exporter::as_user(&one, &["--target", &named], "s3cret");
    for target in [named.clone(), format!("127.0.0.1:{}", other.port), escaped(&named)] {
        let scrape = exporter.scrape_at(&format!("/metrics?target={target}"));
        assert_eq!((scrape.up(&other), scrape.up(&one)), (Some(1.0), None));
    }
    let scrape = exporter.scrape();
    assert_eq!((scrape.up(&other), scrape.up(&one)), (None, Some(1.0)));

    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    stranger.set_nonblocking(true).expect("nonblocking");
    let at = stranger.local_addr().expect("an address").to_string();
    for (target, status) in [
        (format!("redis://{at}"), 403),
        (at.clone(), 403),
        (format!("redis://u:p@{at}"), 400),
        (format!("http://{at}/"), 400),
        (String::new(), 400),
    ] {
        let page = get(exporter.port, &format!("/metrics?target={target}")).expect("a page");
        assert_eq!(page.status, status, "{target}: {}", page.body);
        assert!(!page.body.contains("s3cret"), "{}", page.body);
    }
    let came = stranger.accept().map(|(_, from)| from);
    assert!(came.is_err(), "a stranger was connected to: {came:?}");
    let with = ["exporter", "--target", "rediss://h:1"];
    Ran::of(bare(&with)).fails_with(2, "--target rediss://h:1: TLS is for all of them or none");
    Ran::of(bare(&["exporter", "--target", "h"])).fails_with(2, "must be host:port");
}

#[test]
fn pages_are_http_and_in_the_form_that_is_asked_for() {
    let server = Server::start();
    let exporter = Exporter::start(&server, &[]);
    let port = exporter.port;
    let status = |line: &str| ask(port, line, &[]).expect("a page").status;
    assert_eq!(status("GET /healthz HTTP/1.0"), 200);
    assert_eq!(status("GET / HTTP/1.0"), 200);
    assert_eq!(status("GET /other HTTP/1.0"), 404);
    assert_eq!(status("POST /metrics HTTP/1.0"), 405);
    let plain = get(port, "/metrics").expect("a page");
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(!plain.body.contains("# EOF"));
    let accept = ["Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"];
    let open: http::Page = ask(port, "GET /metrics HTTP/1.0", &accept).expect("a page");
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    assert!(open.body.contains("# TYPE apikey_lookups counter\n"), "{}", open.body);
    assert!(open.body.contains("# UNIT apikey_index_bytes bytes\n"), "{}", open.body);

    let taken = format!("127.0.0.1:{port}");
    Ran::at(&server, "exporter", &["--listen", &taken]).fails_with(2, "--listen 127.0.0.1:");
    Ran::at(&server, "exporter", &["--listen", "nowhere"]).fails_with(2, "--listen");
    assert_eq!(exporter.end(), (Some(0), String::new()));
}

#[test]
fn regions_have_series_of_their_own_and_too_many_are_left_out() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CACHE.REGION SET products NS acme: MAXBYTES 5000 MAXENTRIES 50");
    for number in 0..3 {
        c.must(&format!("CACHE.SET p{number} products text NS acme:"));
    }
    for number in 0..60 {
        c.must(&format!("CACHE.SET x{number} products text NS acme:"));
    }
    (0..7).for_each(|_| drop(c.must("CACHE.GET x59 products NS acme:")));
    (0..4).for_each(|_| drop(c.must("CACHE.GET none products NS acme:")));
    let token = c.must("APIKEY.TOKEN k").text();
    c.must("CACHE.CLEAR products");
    c.must("CACHE.CLEAR products NS acme:");
    let refused = c.must(&format!("CACHE.SET k products text NS acme: TOKEN {token}"));
    assert_eq!(refused, nil());
    c.must("CACHE.SET k products text NS acme:");
    c.select(3);
    c.must("CACHE.SET k search text");
    c.select(0);
    let told = c.must("CACHE.STATS products NS acme:");
    let exporter = Exporter::start(&server, &[]);
    let scrape = exporter.scrape();
    let of = |metric: &str, more: &str| {
        let labels = format!(r#"database="0",namespace="acme:",region="products"{more}"#);
        scrape.get(metric, &server, &labels)
    };
    let number = |name: &str| Some(told.get(name).int() as f64);
    for (name, metric, more) in [
        ("entries", "apikey_region_entries", ""),
        ("bytes", "apikey_region_bytes", ""),
        ("hits", "apikey_region_answers_total", r#",answer="hit""#),
        ("misses", "apikey_region_answers_total", r#",answer="miss""#),
        ("evicted", "apikey_region_evicted_entries_total", ""),
        ("refused_fills", "apikey_region_refused_fills_total", ""),
        ("max_bytes", "apikey_region_limit_bytes", ""),
        ("max_entries", "apikey_region_limit_entries", ""),
    ] {
        assert_eq!(of(metric, more), number(name), "{name}");
        assert!(number(name) > Some(0.0), "{name}: {told:?}");
    }
    for (name, metric) in
        [("dead", "apikey_region_dead_entries"), ("leases", "apikey_region_leases_total")]
    {
        assert_eq!(of(metric, ""), number(name), "{name}");
    }
    assert!(of("apikey_region_oldest_seconds", "").is_some_and(|age| (0.0..60.0).contains(&age)));
    let other = r#"database="3",namespace="",region="search""#;
    assert_eq!(scrape.get("apikey_region_entries", &server, other), Some(1.0));
    assert_eq!(scrape.get("apikey_regions_left_out", &server, ""), Some(0.0));

    // Those that are asked most stay.
    for number in 0..250 {
        c.must(&format!("CACHE.SET y{number} many{number} text"));
    }
    let scrape = exporter.scrape();
    let left_out = scrape.get("apikey_regions_left_out", &server, "");
    let series = scrape.0.keys().filter(|name| name.starts_with("apikey_region_entries{")).count();
    assert_eq!(series, 200);
    assert_eq!(scrape.get("apikey_regions", &server, "").map(|all| all - 200.0), left_out);
    let labels = r#"database="0",namespace="acme:",region="products""#;
    assert!(scrape.get("apikey_region_entries", &server, labels).is_some());

    // Who may not ask gets the rest.
    c.must("ACL SETUSER someone on >pass ~* +@all -cache.stats");
    let exporter = Exporter::as_user(&server, &["--user", "someone"], "pass");
    let scrape = exporter.scrape();
    assert_eq!(
        (scrape.up(&server), scrape.get("apikey_regions_left_out", &server, "")),
        (Some(1.0), None)
    );
}
