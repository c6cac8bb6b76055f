//! The cases by which a library shows that it judges a row as the server does, given to the server itself.

use crate::clock::Clock;
use crate::harness::*;
use chrono::DateTime;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file of cases, in a directory that is gone with this.
pub struct Verdicts {
    pub path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Verdicts {
    pub fn write() -> Self {
        let program = super::examples().join("verdicts");
        let output = Command::new(&program).output().unwrap_or_else(|e| {
            let build = "cargo build -p apikey-engine --examples";
            panic!("{}: {e}; run {build}", program.display())
        });
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("verdict.json");
        std::fs::write(&path, &output.stdout).expect("the cases are written");
        Self { path, _dir: dir }
    }
}

fn cases(file: &Path) -> Vec<Value> {
    let text = std::fs::read(file).expect("the cases");
    let all: Value = serde_json::from_slice(&text).expect("they are JSON");
    assert_eq!(all["version"], 1);
    all["cases"].as_array().expect("a list").clone()
}

const HOUR: i64 = 3_600_000;

/// Whether something of a case ends between when it is asked and the server's time, or soon.
fn ends_meanwhile(case: &Value, time: i64) -> bool {
    let now = case["now"].as_i64().expect("a time");
    let record = case["record"].as_str().unwrap_or("{}");
    let record: Value = serde_json::from_str(record).expect("a record");
    let expires_at = match &record["expires_at"] {
        Value::String(text) => {
            DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis())
        }
        at => at.as_i64(),
    };
    let digests = case["digests"].as_array().expect("a list");
    let mut ends = digests.iter().filter_map(|digest| digest["until"].as_i64()).chain(expires_at);
    ends.any(|end| (end <= now) != (end <= time) || end.abs_diff(time) < HOUR as u64 / 12)
}

/// What the server says of a case under a key of its own: in the form of the file, without when it ends; and that.
fn asked(c: &mut Client, key: &str, case: &Value) -> (Value, Option<i64>) {
    let wrong = (serde_json::json!({"error": true}), None);
    match case["row"].as_str() {
        Some(row) => match c.cmd(["APIKEY.SETVAL", key, row]) {
            Reply::Error(text) => {
                assert!(text.starts_with("BADRECORD "), "{text} {case}");
                return wrong;
            }
            // Its own end is not to be the first.
            _ => assert_eq!(c.must(&format!("PERSIST {key}")), int(1)),
        },
        None => {
            let token = c.must(&format!("APIKEY.TOKEN {key}")).text();
            assert_eq!(c.must(&format!("APIKEY.SETABSENT {key} TOKEN {token}")), ok());
        }
    }
    let texts = |name: &str| -> Vec<&str> {
        case[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let digest = case["presented_digest"].as_str().expect("a digest");
    let mut call = vec!["APIKEY.VALIDATE", key, "DIGEST", digest];
    call.extend(case["address"].as_str().iter().flat_map(|address| ["IP", address]));
    call.extend(texts("scopes").into_iter().flat_map(|scope| ["SCOPE", scope]));
    let reply = c.cmd(call);
    if matches!(&reply, Reply::Error(text) if text.starts_with("ERR ")) {
        return wrong;
    }
    let items = reply.items();
    let code = items[0].text();
    let is_granted = code == "VALID" || code == "UNVERIFIED";
    let scope = (!is_granted && items[1] != nil()).then(|| items[1].text());
    if is_granted {
        assert_eq!(items[1].text(), case["record"].as_str().expect("a record"), "{case}");
    }
    let left = is_granted.then(|| items.last().expect("when it ends").int());
    (serde_json::json!({"code": code, "scope": scope}), left)
}

#[test]
fn the_server_answers_as_the_cases_for_libraries_say() {
    let verdicts = Verdicts::write();
    let clock = Clock::new();
    let server =
        clock.server().setting("digest-field", "key_hash").setting("max-absent", "1000").start();
    let mut c = server.client();
    let cases = cases(&verdicts.path);
    let then = cases[0]["now"].as_i64().expect("a time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as i64;
    clock.set(then - now, &[&server]);
    let mut count = 0;
    for (number, case) in cases.iter().enumerate().filter(|(_, case)| !ends_meanwhile(case, then)) {
        count += 1;
        let (said, left) = asked(&mut c, &format!("k{number}"), case);
        let mut expected = case["expected"].clone();
        let ends_at = expected.as_object_mut().and_then(|fields| fields.remove("ends_at"));
        assert_eq!(said, expected, "case {number}: {case}");
        match (left, ends_at.as_ref().and_then(Value::as_i64)) {
            (Some(-1) | None, None) => {}
            // No end is nearer.
            (Some(left), Some(end)) => {
                let at = case["now"].as_i64().expect("a time") + left;
                assert!(at.abs_diff(end) < 2 * HOUR as u64, "case {number}: {left} {case}");
            }
            other => panic!("case {number}: {other:?} {case}"),
        }
    }
    assert!(count > 5000, "{count} of {}", cases.len());
}
