//! Whether a certificate ends soon: nobody who connects anew is let in then.

use std::time::{Duration, SystemTime};

use crate::doctor::finding::Finding;
use crate::doctor::looking::Seen;

const DAY: u64 = 24 * 3600;

/// For how long before its end a certificate is told.
const SOON: Duration = Duration::from_secs(14 * DAY);

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let now = SystemTime::now();
    all.iter().filter_map(|seen| of_node(seen, now)).collect()
}

fn of_node(seen: &Seen, now: SystemTime) -> Option<Finding> {
    // One that has ended lets nobody in who looks at it.
    let left = seen.certificate_ends?.duration_since(now).unwrap_or_default();
    if left > SOON {
        return None;
    }
    let what = format!("its certificate ends in {} days", left.as_secs() / DAY);
    let todo =
        "make a new one and have it taken, which stops nobody (docs/runbooks/certificate.md)";
    Some(Finding::warn("certificate-ends", what, todo).at(seen.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_two_weeks_before_it_ends() {
        let now = SystemTime::now();
        let told = |days: Option<u64>| {
            let ends = days.map(|days| now + Duration::from_secs(days * DAY));
            let seen = Seen { certificate_ends: ends, ..Seen::saying(1, "") };
            of_node(&seen, now).map(|found| (found.finding, found.what))
        };
        assert_eq!(told(None), None);
        assert_eq!(told(Some(15)), None);
        let ends = |days: u64| format!("its certificate ends in {days} days");
        assert_eq!(told(Some(14)), Some(("certificate-ends", ends(14))));
        assert_eq!(told(Some(0)), Some(("certificate-ends", ends(0))));
        let seen = Seen { certificate_ends: Some(now - SOON), ..Seen::saying(1, "") };
        assert!(of_node(&seen, now).is_some());
    }
}
