//! `apikeyctl plan`: what it says that keys will take is what they take, on each server; and when that is too much.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::{json, Value as Json};
use tempfile::TempDir;

use super::Ran;
use crate::harness::*;

/// Records of the same shape, five to a user, as an export has them.
struct Rows(TempDir);

impl Rows {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self, numbers: std::ops::Range<u64>) -> PathBuf {
        let mut lines = String::new();
        for n in numbers {
            let user = n / 5;
            writeln!(
                lines,
                r#"{{"id":"{n:08x}-0000-4000-8000-{n:012x}","user_id":"{user:08}","name":"a key","key_prefix":"ak_live_{n:08}","key_hash":"{n:064x}","scopes":["orders:read","orders:write"],"is_active":true,"expires_at":null}}"#,
            )
            .expect("memory");
        }
        let path = self.0.path().join("rows.ndjson");
        fs::write(&path, lines).expect("a file");
        path
    }

    fn warm(&self, server: &Server, numbers: std::ops::Range<u64>) {
        let number = numbers.end - numbers.start;
        let path = self.file(numbers);
        let options = ["--digest-field", "key_hash", "--ttl", "100000", "--json"];
        let ran =
            Ran::at(server, "warm", &[&options[..], &[path.to_str().expect("UTF-8")]].concat());
        assert_eq!(ran.json()["stored"], json!(number), "{}{}", ran.out, ran.err);
    }
}

/// Counts a use of each key.
fn count(c: &mut Client, from: u64, to: u64) {
    let script = "for n = ARGV[1], ARGV[2] - 1 do redis.call('APIKEY.USAGE.INCR', string.format('apikey:{ak_live_%08d}:usage', n)) end";
    let (from, to) = (from.to_string(), to.to_string());
    let reply = c.cmd(["EVAL", script, "0", from.as_str(), to.as_str()]);
    assert!(!reply.is_error(), "{reply:?}");
}

/// `used_memory` once it has come to rest.
fn settled(c: &mut Client) -> f64 {
    let mut used = || {
        let info = c.must("INFO memory").text();
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|number| number.trim().parse::<f64>().ok()).expect("used_memory")
    };
    let (mut last, mut same) = (used(), 0);
    eventually("memory is at rest", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let now = used();
        same = if (now - last).abs() < 16_384.0 { same + 1 } else { 0 };
        last = now;
        same >= 6
    });
    last
}

fn plan(server: &Server, status: i32, options: &[&str]) -> Json {
    let ran = Ran::at(server, "plan", &[&["--json"], options].concat());
    assert_eq!(ran.status, Some(status), "{}{}", ran.out, ran.err);
    ran.json()
}

fn number(told: &Json) -> f64 {
    told.as_f64().unwrap_or_else(|| panic!("{told} is no number"))
}

#[track_caller]
fn is_within_ten_percent(planned: f64, real: f64) {
    let off = (planned / real - 1.0) * 100.0;
    println!("planned {planned:.0}, took {real:.0}: {off:+.1} %");
    assert!(off.abs() < 10.0, "planned {planned:.0} and took {real:.0}: {off:+.1} %");
}

#[test]
fn what_is_planned_for_five_times_the_keys_is_what_they_take() {
    const NOW: u64 = 5_000;
    const THEN: u64 = 25_000;
    let server = Server::builder().setting("token-ttl-ms", "600000").start();
    let mut c = server.client();
    let rows = Rows::new();
    rows.warm(&server, 0..NOW);
    count(&mut c, 0, NOW);
    settled(&mut c);
    let told = plan(&server, 0, &["--keys", &THEN.to_string()]);
    let primary = &told["primaries"][0];
    assert_eq!(primary["keys"]["records"], json!(5_000.0));
    assert_eq!(primary["keys"]["usage_counters"], json!(5_000.0));
    let target = &primary["target"];
    assert_eq!(target["keys"]["usage_counters"], json!(25_000.0));
    let before = number(&primary["used_memory"]);
    rows.warm(&server, NOW..THEN);
    count(&mut c, NOW, THEN);
    is_within_ten_percent(number(&target["bytes"]) - before, settled(&mut c) - before);
    assert!(number(&target["at_most"]) > number(&target["bytes"]));
}

#[test]
fn scratch_records_tell_what_an_empty_server_will_take_and_are_gone_then() {
    const THEN: u64 = 20_000;
    let server = Server::builder().setting("token-ttl-ms", "600000").start();
    let mut c = server.client();
    let rows = Rows::new();
    let file = rows.file(0..10);
    let file = file.to_str().expect("UTF-8");
    let keys = THEN.to_string();
    let few = Ran::at(&server, "plan", &["--keys", &keys]);
    few.fails_with(2, "0 keys, too few to measure by: --scratch");
    let unasked = Ran::at(&server, "plan", &["--keys", &keys, "--scratch"]);
    unasked.fails_with(2, "Nobody is there to be asked: say --yes");
    assert_eq!(c.must("DBSIZE").int(), 0);
    let options =
        ["--scratch", "--yes", "--record", file, "--digest-field", "key_hash", "--users", "4000"];
    let told = plan(&server, 0, &[&["--keys", &keys], &options[..]].concat());
    assert_eq!(c.must("DBSIZE").int(), 0, "scratch records are left");
    let primary = &told["primaries"][0];
    let planned = number(&primary["target"]["bytes"]) - number(&primary["used_memory"]);
    let before = settled(&mut c);
    rows.warm(&server, 0..THEN);
    is_within_ten_percent(planned, settled(&mut c) - before);
}

#[test]
fn growth_out_of_maxmemory_is_told_with_its_month_and_ends_with_1() {
    let server = Server::builder().setting("token-ttl-ms", "600000").start();
    let mut c = server.client();
    Rows::new().warm(&server, 0..5_000);
    count(&mut c, 0, 5_000);
    settled(&mut c);
    let told = plan(&server, 0, &["--growth", "10%/month"]);
    let primary = &told["primaries"][0];
    let outlook = primary["outlook"].as_array().expect("months");
    assert_eq!((outlook.len(), &primary["room"]), (13, &json!([])));
    assert_eq!(outlook[1]["keys"]["records"], json!(5_500.0));
    assert!(told["advice"][0]["what"]
        .as_str()
        .is_some_and(|what| what.contains("has no maxmemory")));

    let half_a_year = number(&outlook[6]["bytes"]);
    let limit = format!("{half_a_year:.0}");
    let told = plan(&server, 1, &["--growth", "10%/month", "--maxmemory", &limit]);
    let room = &told["primaries"][0]["room"][3];
    assert_eq!(room["percent"], json!(100.0));
    let months = number(&room["months"]);
    // What connections take is another at each look.
    assert!((5.0..=7.0).contains(&months), "{room}");
    plan(&server, 0, &["--growth", "10%/month", "--maxmemory", &limit, "--months", "5"]);
    // What one primary should not have is split.
    let told = plan(&server, 0, &["--growth", "10%/month", "--shard-above", &limit]);
    let advice = told["advice"].as_array().expect("advice");
    let split = advice
        .iter()
        .find(|advice| advice["what"].as_str().is_some_and(|what| what.contains("in month")));
    assert!(
        split.is_some_and(|advice| advice["do"]
            .as_str()
            .is_some_and(|todo| todo.contains("primaries of a cluster"))),
        "{advice:?}"
    );
    let person = Ran::at(&server, "plan", &["--growth", "10%/month", "--maxmemory", &limit]);
    for text in ["index, by entry", "month 12", "100 % of maxmemory: ", "machine: ", "do: "] {
        assert!(person.out.contains(text), "{text}: {}", person.out);
    }
}

#[test]
fn growth_is_what_came_since_an_earlier_report() {
    let server = Server::start();
    let mut c = server.client();
    Rows::new().warm(&server, 0..5_000);
    count(&mut c, 0, 5_000);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("report.json");
    let mut then = Ran::at(&server, "report", &["--json"]).json();
    // Two months ago there were half as many records, and as many counters.
    let months = 2.0 * 365.25 / 12.0 * 86_400.0;
    then["time"] = json!((number(&then["time"]) - months) as u64);
    then["nodes"][0]["health"]["records"] = json!(2_500);
    fs::write(&path, then.to_string()).expect("a file");
    let told = plan(&server, 0, &["--since", path.to_str().expect("UTF-8")]);
    let month = &told["primaries"][0]["outlook"][4]["keys"];
    assert!((number(&month["records"]) - 10_000.0).abs() < 10.0, "{month}");
    assert_eq!(month["usage_counters"], json!(5_000.0));
}

#[test]
fn each_primary_of_a_cluster_has_its_part() {
    let cluster = Cluster::start(3, 0);
    let options = ["--cluster", "--scratch", "--yes", "--keys", "30000"];
    let told = plan(&cluster.primaries[0], 0, &options);
    let primaries = told["primaries"].as_array().expect("primaries");
    assert_eq!(primaries.len(), 3);
    for primary in primaries {
        assert_eq!(primary["target"]["keys"]["records"], json!(10_000.0), "{primary}");
        assert!(number(&primary["target"]["bytes"]) > number(&primary["used_memory"]), "{primary}");
    }
    for c in &mut cluster.clients() {
        assert_eq!(c.must("DBSIZE").int(), 0);
    }
}

#[test]
fn a_wrong_call_says_what_is_wrong() {
    let server = Server::start();
    for (options, told) in [
        (&["--growth", "fast"][..], "--growth must be like 10%/month"),
        (&["--maxmemory", "4xb"], "must be a number of bytes"),
        (&["--since", "/none"], "/none"),
        (&["--users", "7"], "--keys"),
        (&["--scratch", "--key", "apikey:x"], "--key inserts no field"),
        (&["--scratch", "--record", "/none"], "--record /none"),
    ] {
        Ran::at(&server, "plan", options).fails_with(2, told);
    }
}
