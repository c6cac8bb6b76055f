//! Whether every node has the module, of one version; and what else of a server was taken away by `rename-command`.

use std::collections::BTreeMap;

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in all {
        found.extend(of_node(seen).into_iter().map(|finding| finding.at(seen.address())));
    }
    found.extend(versions(all));
    found
}

fn of_node(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    if !seen.has_module() {
        let what = match seen.is_primary() {
            true => "it has no module redis-apikey",
            false => "it has no module redis-apikey: what its primary sends it does not know, and it ends with the first entry of a full resync",
        };
        let todo = "start it with --loadmodule /path/to/libapikey.so, or that line in redis.conf";
        found.push(Finding::wrong("no-module", what, todo));
    }
    let is_without = |name: &&&str| seen.without.contains(name);
    let expiring: Vec<&str> = ["DEL", "UNLINK"].iter().filter(is_without).copied().collect();
    if !expiring.is_empty() {
        let what = format!("{} was renamed: what expires is told by it to replicas and to the AOF, which then keep it or do not load", expiring.join(", "));
        found.push(Finding::wrong(
            "renamed-expiry",
            what,
            "take rename-command out of redis.conf, and the command from users by ACL",
        ));
    }
    if seen.without.contains(&"CONFIG") {
        let what = "CONFIG was renamed: settings can't be read or changed here, and a failed BGSAVE is taken to stop writes";
        found.push(Finding::warn(
            "renamed-config",
            what,
            "take rename-command out of redis.conf, and CONFIG from users by ACL",
        ));
    }
    let has_channel =
        seen.setting("apikey.invalidation-channel").is_none_or(|name| !name.is_empty());
    if seen.without.contains(&"PUBLISH") && has_channel {
        let what =
            "PUBLISH was renamed: no invalidation is published to apikey.invalidation-channel";
        found.push(Finding::warn(
            "renamed-publish",
            what,
            "take rename-command out of redis.conf, or clear the setting",
        ));
    }
    found
}

fn versions(all: &[Seen]) -> Option<Finding> {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for seen in all {
        let Some(health) = &seen.health else { continue };
        nodes.entry(health.version()).or_default().push(seen.address().to_string());
    }
    if nodes.len() < 2 {
        return None;
    }
    let of =
        |(version, nodes): (&String, &Vec<String>)| format!("{version} at {}", nodes.join(", "));
    let what = format!(
        "nodes have the module in several versions: {}",
        nodes.iter().map(of).collect::<Vec<_>>().join("; ")
    );
    Some(Finding::wrong(
        "module-versions",
        what,
        "give all the same, replicas first, then the primary",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn what_a_node_lacks_is_told() {
        let has = |without: &[&'static str]| {
            let seen = Seen::saying(1, "role:master\n")
                .with_settings(&[("apikey.invalidation-channel", "")]);
            names(&check(&[Seen { without: without.to_vec(), ..seen }]))
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
        };
        assert_eq!(has(&[]), [""; 0]);
        assert_eq!(has(&["PUBLISH"]), [""; 0], "nobody publishes");
        assert_eq!(has(&["APIKEY.VALIDATE"]), ["no-module"]);
        assert_eq!(has(&["CONFIG", "UNLINK"]), ["renamed-expiry", "renamed-config"]);
        let told = Seen { without: vec!["PUBLISH"], ..Seen::saying(1, "") };
        assert_eq!(
            names(&check(&[told.with_settings(&[("apikey.invalidation-channel", "x")])])),
            [("renamed-publish", Some("a:1"))]
        );
    }

    #[test]
    fn versions_that_differ_are_told_with_their_nodes() {
        let one = Seen::saying(1, "").with_health(&[], &[]);
        let same = Seen::saying(2, "").with_health(&[], &[]);
        assert_eq!(check(&[one.clone(), same.clone()]), []);
        let mut other = same;
        other.health = crate::reading::Health::of(&redis::Value::Array(vec![
            redis::Value::BulkString("version".into()),
            redis::Value::BulkString("0.0.9".into()),
        ]));
        let found = check(&[one, other]);
        assert_eq!(names(&found), [("module-versions", None)]);
        assert!(found.iter().all(|found| found.what.ends_with("0.0.9 at a:2; 0.1.0 at a:1")));
    }
}
