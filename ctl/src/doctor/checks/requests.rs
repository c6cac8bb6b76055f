//! Whether requests are known by their ids for as long as they are meant to be.

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

const WINDOW: &str = "apikey.request-id-window-ms";
const MOST: &str = "apikey.max-request-ids";

pub fn check(all: &[Seen]) -> Vec<Finding> {
    all.iter().filter_map(|seen| Some(of_node(seen)?.at(seen.address()))).collect()
}

fn of_node(seen: &Seen) -> Option<Finding> {
    let early = seen.health.as_ref()?.number("ids_dropped_early").filter(|&early| early > 0)?;
    // Redis 6.2 tells no settings of modules.
    let with = |name: &str| match seen.setting(name) {
        Some(value) => format!("{name} ({value})"),
        None => name.into(),
    };
    let what = format!(
        "since its start {early} ids of requests went before {} had passed, since a counter keeps {} at most: such a request counts once more when it comes again",
        with(WINDOW),
        with(MOST)
    );
    let todo = format!(
        "CONFIG SET {MOST} to more than a counter is given in that time, or {WINDOW} to no more than clients go on trying (docs/runbooks/limits.md)"
    );
    Some(Finding::warn("ids-dropped-early", what, todo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn ids_that_went_before_their_time_are_told_with_what_bounds_them() {
        let seen = |early| Seen::saying(1, "").with_health(&[("ids_dropped_early", early)], &[]);
        assert_eq!(check(&[seen(0)]), []);
        // A version without limits.
        assert_eq!(check(&[Seen::saying(1, "").with_health(&[], &[])]), []);
        let found = check(&[seen(7).with_settings(&[(WINDOW, "60000"), (MOST, "4096")])]);
        assert_eq!(names(&found), [("ids-dropped-early", Some("a:1"))]);
        for told in ["7 ids", "request-id-window-ms (60000)", "max-request-ids (4096)"] {
            assert!(found.iter().all(|one| one.what.contains(told)), "{told}: {found:?}");
        }
        let untold = check(&[seen(7)]);
        assert!(
            untold.iter().all(|one| one.what.contains("max-request-ids at most")),
            "{untold:?}"
        );
    }
}
