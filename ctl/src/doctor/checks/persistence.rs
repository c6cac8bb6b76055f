//! Whether what is stored outlives the process as it should: counts exist only here, entries must not be trusted too far.

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    all.iter()
        .flat_map(|seen| of_node(seen).into_iter().map(|found| found.at(seen.address())))
        .collect()
}

fn of_node(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    if let (Some(aof), Some(fsync), Some(save)) =
        (seen.setting("appendonly"), seen.setting("appendfsync"), seen.setting("save"))
    {
        let has_aof = aof == "yes";
        found.extend(of_counts(seen, has_aof, fsync, !save.is_empty()));
        if seen.setting("apikey.trust-loaded") == Some("yes") && !(has_aof && fsync == "always") {
            let what = format!("apikey.trust-loaded is yes, with appendonly {aof} and appendfsync {fsync}: what was revoked just before a crash is valid again after it");
            found.push(Finding::wrong(
                "trust-loaded-unsafe",
                what,
                "CONFIG SET apikey.trust-loaded no, or appendonly yes with appendfsync always",
            ));
        }
    }
    let failed = |name: &str| seen.info(name).is_some_and(|status| status != "ok");
    // With stop-writes-on-bgsave-error HEALTH says it, as writes that are refused.
    if failed("rdb_last_bgsave_status") && seen.setting("stop-writes-on-bgsave-error") == Some("no")
    {
        let what = "the last BGSAVE failed, and writes go on (stop-writes-on-bgsave-error no)";
        found.push(Finding::warn(
            "save-failed",
            what,
            "the server's log says why: a full disk, or a directory that is gone",
        ));
    }
    if failed("aof_last_bgrewrite_status") {
        let what = "the last rewrite of the AOF failed: it grows on";
        found.push(Finding::warn(
            "aof-rewrite-failed",
            what,
            "the server's log says why; then BGREWRITEAOF",
        ));
    }
    found
}

fn of_counts(seen: &Seen, has_aof: bool, fsync: &str, has_snapshots: bool) -> Option<Finding> {
    let todo = "CONFIG SET appendonly yes, with appendfsync everysec or always, and CONFIG REWRITE";
    match (seen.has_counters(), has_aof, has_snapshots) {
        (true, false, false) => {
            let what = "there are usage counts, and neither AOF nor snapshots: they are lost when it stops";
            Some(Finding::wrong("counts-not-kept", what, todo))
        }
        (true, false, true) => {
            let what = "there are usage counts, and no AOF: those since the last snapshot are lost when it stops";
            Some(Finding::warn("counts-in-snapshots", what, todo))
        }
        (true, true, _) if fsync == "no" => {
            let what = "there are usage counts, and appendfsync is no: the system decides how many are lost when the machine stops";
            Some(Finding::warn("appendfsync-no", what, "CONFIG SET appendfsync everysec"))
        }
        (false, false, false) => {
            let what = "nothing is written to disk, which is well as long as no usage is counted";
            Some(Finding::note("no-persistence", what, ""))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn what_is_stored_is_kept_as_it_should() {
        for (counters, aof, fsync, save, trust, expected) in [
            (1, "yes", "everysec", "", "no", ""),
            (1, "yes", "always", "", "yes", ""),
            (0, "no", "everysec", "60 1", "no", ""),
            (0, "no", "everysec", "", "no", "no-persistence"),
            (1, "no", "always", "", "no", "counts-not-kept"),
            (1, "no", "always", "60 1", "no", "counts-in-snapshots"),
            (1, "yes", "no", "60 1", "no", "appendfsync-no"),
            (0, "yes", "everysec", "", "yes", "trust-loaded-unsafe"),
            (0, "no", "always", "60 1", "yes", "trust-loaded-unsafe"),
        ] {
            let settings = [
                ("appendonly", aof),
                ("appendfsync", fsync),
                ("save", save),
                ("apikey.trust-loaded", trust),
            ];
            let seen = Seen::saying(1, "")
                .with_settings(&settings)
                .with_health(&[("usage_counters", counters)], &[]);
            let expected: Vec<_> = [expected]
                .iter()
                .filter(|name| !name.is_empty())
                .map(|&name| (name, Some("a:1")))
                .collect();
            assert_eq!(names(&check(&[seen])), expected, "{settings:?}");
        }
    }

    #[test]
    fn a_disk_that_fails_is_told_where_writes_go_on() {
        let failed = "rdb_last_bgsave_status:err\naof_last_bgrewrite_status:err\n";
        let seen =
            |stop| Seen::saying(1, failed).with_settings(&[("stop-writes-on-bgsave-error", stop)]);
        assert_eq!(names(&check(&[seen("yes")])), [("aof-rewrite-failed", Some("a:1"))]);
        assert_eq!(
            names(&check(&[seen("no")])),
            [("save-failed", Some("a:1")), ("aof-rewrite-failed", Some("a:1"))]
        );
    }
}
