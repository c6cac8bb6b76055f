//! Whether every server answers.

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let mut found = Vec::new();
    for seen in all {
        if let Some(why) = &seen.unreachable {
            let todo = "see that it runs, that this machine reaches it at that address, and that the user is known there (users are not replicated)";
            found.push(Finding::wrong("unreachable", why, todo).at(seen.address()));
        } else if seen.is_loading {
            let todo = "wait until it has its data, and look again";
            found
                .push(Finding::wrong("loading", "it is loading its data", todo).at(seen.address()));
        }
    }
    let are_replicas = all.iter().all(|seen| seen.facts.is_some() && !seen.is_primary());
    if let (true, Some(seen)) = (are_replicas, all.first()) {
        let what = "it is a replica, and its primary was not looked at";
        let todo = "say the primary's URL, or --sentinel";
        found.push(Finding::warn("replica-alone", what, todo).at(seen.address()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn who_does_not_answer_or_is_not_ready_is_told() {
        let up = Seen::saying(1, "role:master\n");
        let replica = Seen::saying(2, "role:slave\n");
        assert_eq!(names(&check(&[up.clone(), replica.clone()])), []);
        assert_eq!(names(&check(std::slice::from_ref(&replica))), [("replica-alone", Some("a:2"))]);
        let away = Seen { facts: None, unreachable: Some("why".into()), ..replica.clone() };
        assert_eq!(names(&check(&[up.clone(), away])), [("unreachable", Some("a:2"))]);
        let loading = Seen { is_loading: true, ..replica };
        assert_eq!(names(&check(&[up, loading])), [("loading", Some("a:2"))]);
    }
}
