//! Whether settings are the same on all nodes, and those that are seldom meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

/// Settings of the server that are compared: a node that is promoted should be what the one before was.
const COMPARED: [&str; 8] = [
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "stop-writes-on-bgsave-error",
    "replica-serve-stale-data",
];

/// Of the module: what each node watches for itself, and the switches, which stand below or in HEALTH.
const MAY_DIFFER: [&str; 6] = [
    "apikey.log-max-len",
    "apikey.min-hit-rate",
    "apikey.max-memory-percent",
    "apikey.reclaim-budget-us",
    "apikey.enabled",
    "apikey.writes-enabled",
];

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let mut found = differing(all);
    for seen in all {
        found.extend(of_node(seen).into_iter().map(|finding| finding.at(seen.address())));
    }
    found
}

fn differing(all: &[Seen]) -> Vec<Finding> {
    let known: Vec<(&Seen, BTreeMap<&str, &str>)> = all
        .iter()
        .filter_map(|seen| Some((seen, seen.settings.as_ref()?.all().collect())))
        .collect();
    let is_compared = |name: &&str| {
        COMPARED.contains(name) || (name.starts_with("apikey.") && !MAY_DIFFER.contains(name))
    };
    let names: BTreeSet<&str> = known
        .iter()
        .flat_map(|(_, settings)| settings.keys().copied())
        .filter(is_compared)
        .collect();
    let mut found = Vec::new();
    for name in names {
        // One that a node does not have is another version's, which is told elsewhere.
        let values: Vec<(&Seen, &str)> = known
            .iter()
            .filter_map(|(seen, settings)| Some((*seen, *settings.get(name)?)))
            .collect();
        let distinct: BTreeSet<&str> = values.iter().map(|(_, value)| *value).collect();
        if distinct.len() < 2 {
            continue;
        }
        let value = |(seen, value): &(&Seen, &str)| {
            format!("{} at {}", if value.is_empty() { "\"\"" } else { value }, seen.address())
        };
        let values: Vec<String> = values.iter().map(value).collect();
        let what = format!("{name} differs: {}", values.join(", "));
        let todo = format!("CONFIG SET {name} to the same everywhere, and CONFIG REWRITE");
        found.push(match name.starts_with("apikey.") {
            true => Finding::wrong("settings-differ", what, todo),
            false => Finding::warn("settings-differ", what, todo),
        });
    }
    found
}

fn of_node(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    let is = |name: &str, value: &str| seen.setting(name) == Some(value);
    if is("apikey.writes-enabled", "no") {
        let what = "apikey.writes-enabled is no: nothing new is stored";
        found.push(Finding::warn(
            "writes-disabled",
            what,
            "CONFIG SET apikey.writes-enabled yes when you mean to",
        ));
    }
    if is("repl-diskless-load", "swapdb") {
        let what = "repl-diskless-load is swapdb, which this module does not allow: the server says so in its log over and over";
        found.push(Finding::warn(
            "diskless-swapdb",
            what,
            "CONFIG SET repl-diskless-load on-empty-db",
        ));
    }
    if is("replica-read-only", "no") {
        let what = "replica-read-only is no: what is written at it as a replica its primary does not know, nor what is revoked there";
        found.push(Finding::warn("replica-writable", what, "CONFIG SET replica-read-only yes"));
    }
    if seen.settings.is_some() && seen.has_module() && seen.setting("apikey.enabled").is_none() {
        let what = "this server tells no settings of modules (Redis 6.2): those were not looked at";
        found.push(Finding::note(
            "settings-untold",
            what,
            "compare the arguments of loadmodule by hand",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    const GOOD: [(&str, &str); 3] =
        [("apikey.enabled", "yes"), ("apikey.list-ttl", "7"), ("maxmemory", "1")];

    #[test]
    fn what_is_compared_is_read() {
        assert!(COMPARED.iter().all(|name| crate::doctor::looking::node::SETTINGS.contains(name)));
    }

    #[test]
    fn a_setting_that_differs_is_told_with_its_values() {
        let of = |port, more: &[(&str, &str)]| {
            Seen::saying(port, "role:master\n").with_settings(&[&GOOD[..], more].concat())
        };
        assert_eq!(check(&[of(1, &[]), of(2, &[("apikey.log-max-len", "9")])]), []);
        let found = check(&[
            of(1, &[]),
            of(2, &[("apikey.list-ttl", "8"), ("maxmemory", "2")]),
            of(3, &[]),
        ]);
        assert_eq!(names(&found), [("settings-differ", None); 2]);
        let told: Vec<&str> = found.iter().map(|found| found.what.as_str()).collect();
        assert_eq!(
            told,
            [
                "apikey.list-ttl differs: 7 at a:1, 8 at a:2, 7 at a:3",
                "maxmemory differs: 1 at a:1, 2 at a:2, 1 at a:3"
            ]
        );
    }

    #[test]
    fn what_is_seldom_meant_is_told() {
        let of = |name, value| {
            let seen = Seen::saying(1, "role:master\n")
                .with_settings(&[&GOOD[..], &[(name, value)]].concat());
            names(&check(&[seen])).iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        assert_eq!(of("apikey.writes-enabled", "no"), ["writes-disabled"]);
        assert_eq!(of("repl-diskless-load", "swapdb"), ["diskless-swapdb"]);
        assert_eq!(of("replica-read-only", "no"), ["replica-writable"]);
        let old = Seen::saying(1, "").with_settings(&[("maxmemory", "1")]);
        assert_eq!(names(&check(&[old])), [("settings-untold", Some("a:1"))]);
    }
}
