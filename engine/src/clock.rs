//! What a time that was noted says by a clock that was set since, or by another node's.

/// By how much the clocks of two nodes may differ, or one be set back: what was noted later than that from now was so by
/// a clock that was set back since.
pub const CLOCKS_DIFFER_MS: i64 = 60_000;

/// The time by which what was noted at `noted` is judged: not before that, so that a clock that is a little behind gives
/// nothing twice; but now, where the clock was set back by more, or it would hold everything up until it is there again.
pub fn not_before(noted: i64, now: i64) -> i64 {
    if noted > now && noted.saturating_sub(now) <= CLOCKS_DIFFER_MS {
        noted
    } else {
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_a_little_behind_stands_still_and_one_that_was_set_back_begins_anew() {
        let noted = 1_000_000;
        for (now, is) in [
            (noted + 1, noted + 1),
            (noted, noted),
            (noted - 1, noted),
            (noted - CLOCKS_DIFFER_MS, noted),
            (noted - CLOCKS_DIFFER_MS - 1, noted - CLOCKS_DIFFER_MS - 1),
        ] {
            assert_eq!(not_before(noted, now), is, "{now}");
        }
        assert_eq!(not_before(i64::MAX, i64::MIN), i64::MIN);
    }
}
