//! Rates.

use crate::history::{any_rate, limit, small_rate, History, Rate};
use crate::node::{Call, Node, Said};
use apikey_engine::limits::level::{Level, NEVER};
use apikey_engine::limits::limit::{Rule, MAX_COST, MAX_UNIT_COST};
use proptest::prelude::*;

const START: i64 = 1 << 40;

/// Asks at these times, and compares all that is said with the history.
fn compare(rate: Rate, steps: &[(i64, i64)]) {
    let limits = [(0, rate.limit())];
    let (mut node, mut history, mut now) = (Node::new(1), History::default(), START);
    for &(wait, cost) in steps {
        now += wait;
        let call = Call { limits: &limits, cost, id: None, now };
        let judged = node.judge(&call)[0].1.standing;
        assert_eq!(judged.limit, rate.burst);
        assert_eq!(judged.remaining, history.remaining(rate, now));
        // The times are the first that do.
        let first = |wait: i64, cost: i64| {
            assert!(history.admits(rate, cost, now + wait), "{cost} after {wait} of {rate:?}");
            assert!(wait == 0 || !history.admits(rate, cost, now + wait - 1));
        };
        first(judged.reset_ms, rate.burst);
        match judged.retry_ms {
            NEVER => assert!(cost > rate.burst),
            wait => first(wait, cost),
        }
        let may = history.admits(rate, cost, now);
        assert_eq!(matches!(node.admit(&call), Said::Admitted(_)), may);
        if may {
            history.take(cost, now);
        }
    }
    history.assert_bounded(rate);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_rate_admits_what_its_bound_over_every_interval_allows_and_no_less(
        rate in small_rate(),
        steps in proptest::collection::vec((0i64..40, 0i64..22), 0..60),
    ) {
        compare(rate, &steps);
    }

    #[test]
    fn the_largest_rates_and_costs_are_exact_as_well(
        rate in any_rate(),
        steps in proptest::collection::vec(
            (
                prop_oneof![Just(0), 0i64..100, 0i64..1 << 36, 0i64..1 << 50],
                prop_oneof![Just(0), Just(1), 0..=1000i64, 0..=MAX_COST, Just(MAX_COST)],
            ),
            0..12,
        ),
    ) {
        compare(rate, &steps);
    }

    /// Where the bucket is not full when it is asked: a wait is whole milliseconds, and what comes back in the last of them
    /// has to find room, which it does where `(burst - cost) * per >= units - 1`.
    #[test]
    fn who_asks_whenever_retry_ms_has_passed_gets_exactly_units_per_per(
        rate in prop_oneof![small_rate(), any_rate()],
        part in 1i64..1000,
    ) {
        let most = (rate.burst - (rate.units - 1) / rate.per - 1).min(MAX_COST);
        prop_assume!(most >= 1);
        let cost = (i128::from(most) * i128::from(part) / 1000).max(1) as i64;
        let limits = [(0, rate.limit())];
        let (mut node, mut now, mut nth) = (Node::new(1), START, 0);
        for _ in 0..200 {
            match node.admit(&Call { limits: &limits, cost, id: None, now }) {
                Said::Admitted(_) => {
                    nth += 1;
                    let lacks = (i128::from(cost) * nth - i128::from(rate.burst))
                        * i128::from(rate.per);
                    let units = i128::from(rate.units);
                    let due = (lacks.max(0) + units - 1) / units;
                    prop_assert_eq!(i128::from(now - START), due);
                }
                Said::Denied(said) => {
                    prop_assert!(said[0].retry_ms > 0);
                    if said[0].retry_ms > 1 << 50 {
                        break;
                    }
                    now += said[0].retry_ms;
                    let again = node.judge(&Call { limits: &limits, cost, id: None, now });
                    prop_assert_eq!(again[0].1.standing.retry_ms, 0);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Times and numbers that nobody has are no panic either.
    #[test]
    fn no_time_overflows(
        rate in any_rate(),
        noted in prop_oneof![Just(0), Just(i64::MAX), any::<i64>()],
        now in prop_oneof![Just(i64::MIN), Just(0), Just(i64::MAX), any::<i64>()],
        part in 0i128..=100,
    ) {
        let most = i128::from(rate.burst) * i128::from(rate.per);
        let amount = (most * part / 100) as i64;
        let level = Level { amount, at: noted.max(0) };
        let rule = rate.rule();
        prop_assert!(level.is_of(&rule));
        let mut later = level.at(&rule, now);
        let standing = later.standing(&rule, MAX_COST * MAX_UNIT_COST);
        prop_assert!((0..=rate.burst).contains(&standing.remaining) && standing.reset_ms >= 0);
        let taken = later.take(&rule, MAX_COST * MAX_UNIT_COST);
        prop_assert!((0..=standing.remaining).contains(&taken));
        prop_assert!((0..=most).contains(&i128::from(later.amount)));
        let other = Rule::Rate { units: 1, per: 31_622_400_000, burst: 1 };
        prop_assert!(level.of_changed(&rule, &other, now).amount <= 31_622_400_000);
    }
}

#[test]
fn a_burst_below_what_comes_back_in_a_millisecond_is_what_a_millisecond_gives() {
    let limits = [(0, limit("rate", Rule::Rate { units: 10, per: 1, burst: 1 }))];
    let mut node = Node::new(1);
    for now in START..START + 50 {
        let call = Call { limits: &limits, cost: 1, id: None, now };
        assert!(matches!(node.admit(&call), Said::Admitted(_)));
        let Said::Denied(said) = node.admit(&call) else { panic!("ten in a millisecond") };
        assert_eq!(said[0].retry_ms, 1);
    }
}
