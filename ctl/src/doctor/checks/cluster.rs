//! Whether a cluster is whole: each slot has an owner, and no node is taken for failed.

use crate::deployment::slots::SLOTS;

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let mut found = Vec::new();
    if all.iter().all(|seen| seen.place.member.is_none()) {
        return found;
    }
    let owned: usize =
        all.iter().flat_map(|seen| seen.place.slots()).map(|range| range.len()).sum();
    let lacking = usize::from(SLOTS).saturating_sub(owned);
    if lacking > 0 {
        let what = format!("{lacking} slots have no owner: their keys can't be stored or verified");
        found.push(Finding::wrong(
            "slots-without-owner",
            what,
            "redis-cli --cluster fix HOST:PORT, or CLUSTER ADDSLOTS at a primary",
        ));
    }
    for seen in all {
        if seen.place.member.as_ref().is_some_and(|member| member.is_failing) {
            let what = "the cluster takes it for failed, or suspects it";
            found.push(
                Finding::wrong(
                    "node-failing",
                    what,
                    "see that it is up, and that the nodes reach its bus (its port + 10,000)",
                )
                .at(seen.address()),
            );
        }
        let state = seen.cluster.as_ref().and_then(|info| info.text("cluster_state"));
        if let Some(state) = state.filter(|&state| state != "ok") {
            let what = format!("for it cluster_state is {state}: it answers nobody");
            let todo = "see which slots have no owner, and whether it reaches the other primaries";
            found.push(Finding::wrong("cluster-down", what, todo).at(seen.address()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::place::Member;
    use crate::doctor::finding::names;
    use crate::reading::Info;

    #[test]
    fn a_cluster_that_is_not_whole_is_told() {
        let node = |port, slots: std::ops::RangeInclusive<u16>, is_failing, state: &str| {
            let mut seen = Seen::saying(port, "role:master\n");
            seen.place.member =
                Some(Member { id: "x".into(), primary: None, slots: vec![slots], is_failing });
            seen.cluster = Some(Info::parse(&format!("cluster_state:{state}\n")));
            seen
        };
        assert_eq!(
            check(&[node(1, 0..=9999, false, "ok"), node(2, 10_000..=16_383, false, "ok")]),
            []
        );
        let found =
            check(&[node(1, 0..=9999, false, "fail"), node(2, 10_001..=16_383, true, "ok")]);
        assert_eq!(
            names(&found),
            [
                ("slots-without-owner", None),
                ("cluster-down", Some("a:1")),
                ("node-failing", Some("a:2"))
            ]
        );
        assert!(found.iter().any(|found| found.what.starts_with("1 slots ")));
        assert_eq!(check(&[Seen::saying(1, "")]), []);
    }
}
