//! How the tests of limits call.

use crate::harness::*;

/// A rate that gives so many at once and next to nothing more while a test runs.
pub fn bucket(name: &str, burst: i64) -> String {
    format!(r#"{{"name":"{name}","units":1,"per":31622400000,"burst":{burst}}}"#)
}

pub fn quota(name: &str, units: i64) -> String {
    format!(r#"{{"name":"{name}","quota":{units},"period":"year"}}"#)
}

/// A record with these limits, of the secret that all have.
#[track_caller]
pub fn limited(c: &mut Client, key: &str, limits: &[String]) {
    let fields = format!(r#""scopes":["a"],"limits":[{}]"#, limits.join(","));
    store(c, key, &fields, &format!("SECRET {SECRET}"));
}

/// Admits the key `k`, whose counter is `use`.
#[track_caller]
pub fn admit(c: &mut Client, options: &str) -> Reply {
    admit_in(c, "1 use", options)
}

#[track_caller]
pub fn admit_in(c: &mut Client, counters: &str, options: &str) -> Reply {
    let call = format!("APIKEY.ADMIT k {counters} DIGEST {DIGEST} {options}");
    c.must(call.trim_end())
}

/// Of each limit what remains.
#[track_caller]
pub fn remaining(reply: &Reply) -> Vec<i64> {
    reply.items()[3].items().iter().map(|limit| limit.items()[2].int()).collect()
}

/// Of each limit of a counter its name and what remains.
#[track_caller]
pub fn levels(c: &mut Client, counter: &str) -> Vec<(String, i64)> {
    let limits = c.must(&format!("APIKEY.LIMITS {counter}"));
    let mut all: Vec<(String, i64)> = limits
        .items()
        .iter()
        .map(|limit| (limit.items()[0].text(), limit.items()[3].int()))
        .collect();
    all.sort();
    all
}

#[track_caller]
pub fn figure(c: &mut Client, name: &str) -> i64 {
    c.must("APIKEY.HEALTH").get(name).int()
}
