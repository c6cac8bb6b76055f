//! `apikeyctl report`: its figures are those of what was asked in the period, judged by its thresholds; and the page of
//! it, in a browser, has them and loads nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{json, Value as Json};

use super::Ran;
use crate::harness::server::{die_with_parent, kind, Kind};
use crate::harness::*;

/// Where each figure stands, with its thresholds.
const PAGE: &str = include_str!("../../../docs/operating.md");

/// A server with `hits` and `misses`, and some counts.
fn asked(hits: usize, misses: usize) -> (Server, Client) {
    let server =
        Server::builder().config("maxmemory 256mb").config("maxmemory-policy volatile-ttl").start();
    let mut c = server.client();
    for n in 0..30 {
        c.fill(
            &format!("apikey:{{k{n}}}"),
            &[if n < 20 { "tenant:large" } else { "tenant:small" }],
        );
        c.count(&format!("apikey:{{k{n}}}:usage"), n + 1);
    }
    lookups(&mut c, hits, misses);
    (server, c)
}

fn lookups(c: &mut Client, hits: usize, misses: usize) {
    for n in 0..hits {
        assert_eq!(c.code(&format!("apikey:{{k{}}}", n % 30)), "VALID");
    }
    for n in 0..misses {
        assert_eq!(c.code(&format!("apikey:{{none{n}}}")), "MISS");
    }
}

#[track_caller]
fn report(server: &Server, status: i32, options: &[&str]) -> Json {
    let ran = Ran::at(server, "report", &[&["--json"], options].concat());
    assert_eq!(ran.status, Some(status), "{}{}", ran.out, ran.err);
    ran.json()
}

#[track_caller]
fn kpi<'a>(told: &'a Json, name: &str) -> &'a Json {
    let all = told["kpis"].as_array().expect("kpis");
    all.iter().find(|kpi| kpi["kpi"] == json!(name)).unwrap_or_else(|| panic!("no {name}: {told}"))
}

/// Which figures are less than good.
fn bad(told: &Json) -> Vec<(String, String)> {
    let all = told["kpis"].as_array().expect("kpis").iter();
    let text = |kpi: &Json, name: &str| kpi[name].as_str().expect("a text").to_string();
    all.map(|kpi| (text(kpi, "kpi"), text(kpi, "level")))
        .filter(|(_, level)| level != "good" && level != "unknown")
        .collect()
}

#[test]
fn a_good_period_has_its_figures_and_ends_with_0() {
    let (server, _c) = asked(190, 10);
    let told = report(&server, 0, &[]);
    assert_eq!((&told["level"], bad(&told)), (&json!("good"), vec![]), "{told}");
    assert_eq!(told["period"]["since"], json!("start"));
    for kpi in told["kpis"].as_array().expect("kpis") {
        let name = format!("`{}`", kpi["kpi"].as_str().expect("a name"));
        let row = PAGE.lines().find(|line| line.starts_with("| `") && line.contains(&name));
        let marks = format!("{}, {}, {} |", kpi["target"], kpi["warning"], kpi["critical"]);
        let marks = marks.replace(".0", "");
        assert!(row.is_some_and(|row| row.ends_with(&marks)), "{name} {marks}: {row:?}");
    }
    assert_eq!(kpi(&told, "hit_rate")["value"], json!(95.0));
    assert_eq!(kpi(&told, "refusals")["of"], json!("0 of 190 answers"));
    assert_eq!(told["counted"]["stored_entries"], json!(30.0));
    let command = |name: &str| {
        told["commands"]
            .as_array()
            .expect("commands")
            .iter()
            .find(|one| one["command"] == json!(name))
    };
    let validate = command("apikey.validate").expect("VALIDATE");
    assert_eq!(validate["calls"], json!(200));
    assert_eq!(validate["p99_us"].is_u64(), kind() != Kind::Redis62, "{validate}");
    let p99 = kpi(&told, "response_time_p99");
    assert_eq!(p99["value"].is_number(), kind() != Kind::Redis62, "{p99}");

    let tags = told["top"]["tags"].as_array().expect("tags");
    let tag = |name: &str| {
        tags.iter().find(|tag| tag["tag"] == json!(name)).map(|tag| tag["entries"].clone())
    };
    assert_eq!(tag("tenant:large"), Some(json!(20)), "{tags:?}");
    let counter = &told["top"]["counters"][0];
    assert_eq!((&counter["key"], &counter["total"]), (&json!("apikey:{k29}:usage"), &json!(30)));
    let none = report(&server, 0, &["--top", "0"]);
    assert_eq!((&none["top"]["tags"], &none["top"]["counters"]), (&json!([]), &json!([])));
}

#[test]
fn what_is_less_than_good_is_recommended_something_for_and_critical_ends_with_1() {
    let (server, mut c) = asked(82, 18);
    let fair = report(&server, 0, &[]);
    assert_eq!(bad(&fair), [("hit_rate".to_string(), "fair".to_string())]);
    lookups(&mut c, 0, 20);
    let told = report(&server, 1, &[]);
    assert_eq!(bad(&told), [("hit_rate".to_string(), "critical".to_string())]);
    let recommended = told["recommendations"].as_array().expect("recommendations");
    let about = recommended.iter().find(|one| one["about"] == json!("hit_rate")).expect("one");
    assert!(about["why"].as_str().is_some_and(|why| why.contains("82 of 120 lookups")), "{about}");
    let person = Ran::at(&server, "report", &[]);
    assert_eq!(person.status, Some(1));
    for text in [
        "# redis-apikey: critical",
        "| Hit rate | 68.3 % | critical | ≥ 85 | 80 | 70 |",
        "- **critical** Hit rate: 68.3 %",
        "Of a sample of 60 keys",
    ] {
        assert!(person.out.contains(text), "{text}: {}", person.out);
    }
    // By other thresholds it is good.
    let other = report(&server, 0, &["--threshold", "hit_rate=60,50,40"]);
    assert_eq!(bad(&other), []);
    // What is given back by a consumer that never settles it is late.
    c.lease();
    let late = report(
        &server,
        1,
        &["--threshold", "hit_rate=60,50,40", "--threshold", "usage_lag=-3,-2,-1"],
    );
    assert_eq!(bad(&late), [("usage_lag".to_string(), "critical".to_string())]);
}

#[test]
fn an_earlier_report_is_where_the_period_begins() {
    let (server, mut c) = asked(50, 150);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("report.json");
    let first = Ran::at(&server, "report", &["--json"]);
    assert_eq!(first.status, Some(1));
    fs::write(&path, &first.out).expect("a file");
    let path = path.to_str().expect("UTF-8");
    lookups(&mut c, 200, 0);
    let told = report(&server, 0, &["--from", path]);
    let rate = kpi(&told, "hit_rate");
    assert_eq!((&rate["value"], &rate["before"]), (&json!(100.0), &json!(25.0)));
    assert_eq!(rate["of"], json!("200 of 200 lookups"));
    assert_eq!(told["period"]["since"], json!("report"));
    // It is too young to plan by, and says so.
    let plan = Ran::at(&server, "plan", &["--since", path]);
    plan.fails_with(2, "not an hour old");
    fs::write(path, "{}").expect("a file");
    Ran::at(&server, "report", &["--from", path]).fails_with(2, "is no report of");
}

#[test]
fn a_node_that_is_away_is_told_and_a_wrong_call_says_what_is_wrong() {
    let (server, mut c) = asked(100, 0);
    let replica = Server::start();
    replica.replicate(&server);
    replica.in_sync_with(&server);
    for n in 0..5 {
        c.fill(&format!("apikey:{{more{n}}}"), &[]);
    }
    replica.in_sync_with(&server);
    let told = report(&server, 0, &[]);
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(2));
    // Both count what is stored, and it is told once.
    assert_eq!(told["nodes"][1]["health"]["stored_entries"], json!(5));
    assert_eq!(told["counted"]["stored_entries"], json!(35.0));
    c.must("ACL SETUSER someone on >pass ~* +@all -apikey.tags");
    let url = format!("redis://someone:pass@127.0.0.1:{}", server.port);
    let ran = Ran::of(super::program::bare(&["report", "--json", "--alone", "--url", &url]));
    assert_eq!(ran.status, Some(0), "{}{}", ran.out, ran.err);
    let untold = ran.json()["top"]["untold"].as_str().map(str::to_string);
    assert!(untold.is_some_and(|why| why.contains("the user needs APIKEY.TAGS")), "{}", ran.out);
    for (options, told) in [
        (&["--for", "1s", "--every", "2s"][..], "--for must be between"),
        (&["--for", "soon"], "--for"),
        (&["--threshold", "hit_rate=1,2,3"], "the target must be better"),
        (&["--html", "/none/page.html"], "--html /none/page.html"),
    ] {
        Ran::at(&server, "report", options).fails_with(2, told);
    }
}

#[test]
fn a_cluster_is_told_as_a_whole() {
    let cluster = Cluster::start(3, 0);
    let mut stored = 0;
    for (number, c) in cluster.clients().iter_mut().enumerate() {
        let mut its = (0..)
            .map(|n| format!("k{number}:{n}"))
            .filter(|key| !c.run(&format!("APIKEY.TOKEN {key}")).is_error());
        for key in its.by_ref().take(4).collect::<Vec<_>>() {
            c.fill(&key, &["tenant"]);
            stored += 1;
        }
    }
    let told = report(&cluster.primaries[0], 0, &["--cluster"]);
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(told["counted"]["stored_entries"], json!(f64::from(stored)));
    let tags = told["top"]["tags"].as_array().expect("tags");
    let tag = tags.iter().find(|tag| tag["tag"] == json!("tenant")).expect("the tag");
    assert_eq!((&tag["entries"], &tag["in_sample"]), (&json!(12), &json!(12)));
}

/// What a browser makes of a page.
fn dom(page: &Path) -> String {
    let program = std::env::var_os("APIKEY_CHROMIUM").unwrap_or_else(|| "chromium".into());
    let profile = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(&program);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("file://{}", page.display()));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    die_with_parent(&mut command, libc::SIGKILL);
    let ran = command.output().unwrap_or_else(|e| {
        panic!(
            "{e}: no {}: apt-get install chromium, or say in APIKEY_CHROMIUM where it is",
            program.display()
        )
    });
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn the_page_has_the_figures_and_charts_of_its_run_and_loads_nothing() {
    let (server, mut c) = asked(120, 30);
    c.fill("apikey:{<script>alert(1)</script>}", &["<b>&"]);
    c.fill("apikey:{other}", &["<b>&"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("page.html");
    let options = ["--for", "2s", "--every", "200ms", "--html", path.to_str().expect("UTF-8")];
    let is_done = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let _stop = StopOthers(&is_done);
            let mut c = server.client();
            while !is_done.load(Ordering::SeqCst) {
                lookups(&mut c, 9, 1);
            }
        });
        let told = report(&server, 0, &options);
        is_done.store(true, Ordering::SeqCst);
        load.join().expect("the load");
        told
    });
    let samples = told["samples"].as_array().expect("samples");
    assert!((3..=11).contains(&samples.len()), "{samples:?}");
    let hits: f64 =
        samples.iter().map(|sample| sample["hits_per_second"].as_f64().expect("hits")).sum();
    assert!(
        hits > 0.0 && told["counted"]["misses"].as_f64().is_some_and(|misses| misses > 0.0),
        "{told}"
    );

    let source = fs::read_to_string(&path).expect("a page");
    assert!(!source.contains("<script") && !source.contains("http-equiv=\"refresh"), "{source}");
    // The name of SVG is an address that nothing is loaded from.
    let rest = source.replace("http://www.w3.org/2000/svg", "");
    for text in ["http://", "https://", "src=", "href=", "url(", "@import"] {
        assert!(!rest.contains(text), "{text}: {source}");
    }
    let dom = dom(&path);
    let mut charts =
        vec!["hit-rate", "lookups", "durations", "memory", "answers", "entries", "nodes"];
    if kind() != Kind::Redis62 {
        charts.push("histogram");
    }
    for id in charts {
        let figure = dom
            .split(&format!("<figure id=\"{id}\""))
            .nth(1)
            .unwrap_or_else(|| panic!("no {id}: {dom}"));
        let figure = figure.split("</figure>").next().unwrap_or_default();
        assert!(figure.contains("<svg ") && figure.contains("<text "), "{id}: {figure}");
    }
    let lookups =
        dom.split("<figure id=\"lookups\"").nth(1).and_then(|rest| rest.split("</figure>").next());
    let lookups = lookups.expect("a chart");
    for colour in ["#0072B2", "#D55E00"] {
        let fill = format!("fill=\"{colour}\"");
        let circles = lookups.split("<circle ").filter(|circle| circle.contains(&fill));
        assert_eq!(circles.count(), samples.len(), "a point for each sample: {lookups}");
    }
    for kpi in told["kpis"].as_array().expect("kpis") {
        let name = kpi["kpi"].as_str().expect("a name");
        let card = dom
            .split(&format!("data-kpi=\"{name}\""))
            .nth(1)
            .and_then(|rest| rest.split("</div>").next());
        let card = card.unwrap_or_else(|| panic!("no {name}: {dom}"));
        let value = match kpi["value"].as_f64() {
            Some(value) if value.abs() < 10.0 => format!("{value:.2} "),
            Some(value) => format!("{value:.1} "),
            None => "-".into(),
        };
        let level = kpi["level"].as_str().expect("a level");
        assert!(
            card.contains(&format!(">{value}"))
                && card.contains(&format!("data-level=\"{level}\"")),
            "{name}: {card}"
        );
    }
    assert!(dom.contains("&lt;b&gt;&amp;") && dom.contains("prefers-color-scheme: dark"), "{dom}");
}

#[test]
fn regions_are_judged_with_their_keys_and_since_an_earlier_report() {
    let server = Server::start();
    let mut c = server.client();
    c.must("CACHE.REGION SET products MAXBYTES 100000");
    c.must("CACHE.SET often products text");
    c.must("CACHE.SET seldom products text");
    c.must("CACHE.SET some search text NS acme:");
    let asks = |c: &mut Client, times: usize, line: &str| {
        c.pipeline(&vec![line.to_string(); times]);
    };
    asks(&mut c, 120, "CACHE.GET often products");
    asks(&mut c, 30, "CACHE.GET seldom products");
    asks(&mut c, 50, "CACHE.GET none products");
    asks(&mut c, 10, "CACHE.GET some search NS acme:");
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("report.html").display().to_string();
    let ran = Ran::at(&server, "report", &["--json", "--html", &page]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    let told = ran.json();
    let [products, search] = told["regions"].as_array().expect("regions").as_slice() else {
        panic!("{told}")
    };
    assert_eq!((&products["region"], &products["lookups"]), (&"products".into(), &200.into()));
    assert_eq!(products["hit_rate"]["value"].as_f64(), Some(75.0));
    assert_eq!(products["hit_rate"]["level"], "warning");
    assert_eq!(products["miss_rate"]["level"], "warning");
    assert_eq!(products["top"][0]["key"], "often");
    assert!(products["memory"].as_f64().is_some_and(|memory| memory > 0.0 && memory < 1.0));
    assert_eq!(
        (&search["namespace"], &search["hit_rate"]["level"]),
        (&"acme:".into(), &"unknown".into())
    );
    assert_eq!(told["level"], "warning");
    let why = "region products: 75.0 % of 200 lookups found something";
    let recommended = told["recommendations"].as_array().expect("some");
    assert!(recommended.iter().any(|one| one["why"] == why), "{recommended:?}");
    let html = fs::read_to_string(&page).expect("a page");
    assert!(
        html.contains("<h2>Regions</h2>") && html.contains("<td class=\"\">often</td>"),
        "{html}"
    );

    // What came since is all misses.
    let earlier = dir.path().join("last.json").display().to_string();
    fs::write(&earlier, &ran.out).expect("a file");
    asks(&mut c, 150, "CACHE.GET none products");
    let since = Ran::at(&server, "report", &["--from", &earlier, "--top", "0"]);
    assert_eq!(since.status, Some(1), "{}{}", since.out, since.err);
    assert!(since.out.contains("| products | critical | 0.00 % | 100.0 % |"), "{}", since.out);
    assert!(!since.out.contains("often"), "{}", since.out);
}
