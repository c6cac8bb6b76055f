//! The reasons that HEALTH has, with what to do for each.

use crate::doctor::finding::{Finding, Severity};
use crate::doctor::looking::Seen;

/// How a reason is told from the others, its finding, and what to do. Those that are not here are bad, and new.
const KNOWN: [(&str, &str, Severity, &str); 14] = [
    ("apikey.enabled is no", "disabled", Severity::Wrong, "applications go to their database: CONFIG SET apikey.enabled yes when you mean to"),
    ("memory is full", "memory-full", Severity::Wrong, "no fill is stored and no use is counted: raise maxmemory, or choose a policy that evicts"),
    ("writes are refused", "writes-refused", Severity::Wrong, "until that is mended no key can be revoked: for a disk the server's log says why, for replicas see why they are away"),
    ("every read is a miss", "reads-missed", Severity::Wrong, "applications ask their database until the reason beside it is mended"),
    ("this server was stopped", "was-stopped", Severity::Wrong, "if it is not the primary any more make it a replica of the new one; else it goes by itself"),
    ("nothing can be revoked here", "vouches-unrevocable", Severity::Wrong, "revoked keys stay VALID for up to their TTL: mend the reason beside it"),
    ("the primary's stream is not read", "stream-version", Severity::Wrong, "give both nodes the same version of the module"),
    ("could not be replayed", "not-replayed", Severity::Wrong, "the log names the command; on a replica a full resync mends it"),
    ("memory is at", "memory-high", Severity::Warn, "raise maxmemory before it is full"),
    ("hit rate of", "hit-rate", Severity::Warn, "after a start it rises by itself; else see evictions, stale fills, and readers that do not fill"),
    ("a lease of usage counts is overdue", "lease-overdue", Severity::Warn, "no consumer is at work, or its lease is too short"),
    ("a lease of usage counts was given out at a time", "lease-ahead", Severity::Warn, "the clock was set back: see that it is right"),
    ("PUBLISH can't be called", "renamed-publish", Severity::Warn, "give PUBLISH back, or clear apikey.invalidation-channel"),
    ("could not be replicated", "not-replicated", Severity::Warn, "a bug, please report it; a full resync and BGREWRITEAOF mend it"),
];

/// Told by [`super::memory`], with or without counters.
const TOLD_ELSEWHERE: &str = "can evict usage counters";

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let of_node = |seen: &Seen| {
        let reasons = seen.health.as_ref().map(|health| health.reasons()).unwrap_or_default();
        let told = reasons.into_iter().filter(|reason| !reason.contains(TOLD_ELSEWHERE));
        told.map(|reason| of(&reason).at(seen.address())).collect::<Vec<_>>()
    };
    all.iter().flat_map(of_node).collect()
}

fn of(reason: &str) -> Finding {
    let known = KNOWN.iter().find(|(part, ..)| reason.contains(part));
    let (finding, severity, todo) = known.map_or(
        ("unhealthy", Severity::Wrong, "docs/operations.md says what each reason of HEALTH is"),
        |&(_, finding, severity, todo)| (finding, severity, todo),
    );
    Finding { severity, finding, node: None, what: reason.into(), todo: todo.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn every_reason_of_the_page_is_known() {
        let page = include_str!("../../../../docs/operations.md");
        let rows = page.lines().skip_while(|line| !line.starts_with("| status | reason")).skip(2);
        let reasons: Vec<&str> = rows
            .take_while(|line| line.starts_with('|'))
            .filter_map(|row| row.split('|').nth(2)?.trim().strip_prefix('`')?.strip_suffix('`'))
            .collect();
        assert!(reasons.len() >= 15, "{reasons:?}");
        for reason in reasons {
            let found = check(&[Seen::saying(1, "").with_health(&[], &[reason])]);
            let expected = if reason.contains(TOLD_ELSEWHERE) { 0 } else { 1 };
            assert_eq!(found.len(), expected, "{reason}");
            assert!(found.iter().all(|found| found.finding != "unhealthy"), "{reason}");
        }
        let new = check(&[Seen::saying(1, "").with_health(&[], &["something new"])]);
        assert_eq!(names(&new), [("unhealthy", Some("a:1"))]);
    }
}
