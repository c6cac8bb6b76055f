//! Whether clocks are right: times to live and leases are told by each server's own.

use crate::doctor::finding::Finding;
use crate::doctor::looking::{Clock, Seen};

/// Milliseconds that a node may be off.
const OFF: i64 = 2_000;
/// Milliseconds from which leases and entries end at a wrong time.
const FAR: i64 = 30_000;

/// This machine's own.
const HERE: Clock = Clock { least: 0, most: 0 };

pub fn check(all: &[Seen]) -> Vec<Finding> {
    let clocks: Vec<(&Seen, Clock)> =
        all.iter().filter_map(|seen| Some((seen, seen.clock?))).collect();
    let mut found = Vec::new();
    for (seen, clock) in &clocks {
        let off = clock.ahead_of(HERE);
        if off.abs() > OFF {
            let what = format!("its clock is {} this machine's", told(off));
            let todo = "see that both follow the time by NTP; a clock that is set back delays what leases and entries wait for";
            let severe = off.abs() > FAR;
            let finding = if severe { Finding::wrong } else { Finding::warn };
            found.push(finding("clock-off", what.as_str(), todo).at(seen.address()));
        }
    }
    let ahead = clocks.iter().max_by_key(|(_, clock)| clock.least);
    let behind = clocks.iter().min_by_key(|(_, clock)| clock.most);
    if let (Some((first, ahead)), Some((last, behind))) = (ahead, behind) {
        let off = ahead.ahead_of(*behind);
        if off > OFF {
            let what = format!(
                "the clock of {} is {} that of {}",
                first.address(),
                told(off),
                last.address()
            );
            let todo = "see that all follow the time by NTP: after a failover entries and leases end at another time";
            found.push(Finding::warn("clocks-differ", what, todo));
        }
    }
    found
}

fn told(off: i64) -> String {
    let seconds = off.unsigned_abs() as f64 / 1000.0;
    format!("{seconds:.1} s {}", if off > 0 { "ahead of" } else { "behind" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::names;

    #[test]
    fn a_clock_that_is_off_is_told_and_a_slow_answer_is_not() {
        let node = |port, least, most| Seen {
            clock: Some(Clock { least, most }),
            ..Seen::saying(port, "")
        };
        assert_eq!(Clock::of(1000, 1500, 1200), Clock { least: 300, most: 500 });
        assert_eq!(
            check(&[node(1, -3, 4), node(2, -9000, 10)]),
            [],
            "an answer that took nine seconds"
        );
        let found = check(&[node(1, 0, 1), node(2, 90_000, 90_050)]);
        assert_eq!(names(&found), [("clock-off", Some("a:2")), ("clocks-differ", None)]);
        let told: Vec<_> =
            found.iter().map(|found| (found.severity, found.what.as_str())).collect();
        use crate::doctor::finding::Severity::*;
        assert_eq!(
            told,
            [
                (Wrong, "its clock is 90.0 s ahead of this machine's"),
                (Warn, "the clock of a:2 is 90.0 s ahead of that of a:1")
            ]
        );
        let both = check(&[node(1, -5000, -4000), node(2, -5000, -4000)]);
        assert_eq!(names(&both), [("clock-off", Some("a:1")), ("clock-off", Some("a:2"))]);
        assert!(both
            .iter()
            .all(|found| found.severity == Warn && found.what.contains("4.0 s behind")));
    }
}
