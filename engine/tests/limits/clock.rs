//! A clock that is set either way.

use crate::history::{limit, small_rate, History, Rate};
use crate::node::{Call, Node, Said};
use crate::quotas::{begin, calendar};
use apikey_engine::clock::CLOCKS_DIFFER_MS;
use apikey_engine::limits::calendar::{Calendar, Unit};
use apikey_engine::limits::level::NEVER;
use apikey_engine::limits::limit::Rule;
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: i64 = 1_700_000_000_000;

/// How the clock goes on from one request to the next.
fn steps() -> impl Strategy<Value = Vec<(i64, i64, bool)>> {
    let day = 86_400_000_i64;
    let wait = prop_oneof![
        6 => 0i64..30,
        2 => -CLOCKS_DIFFER_MS..CLOCKS_DIFFER_MS,
        1 => -30i64..=0,
        1 => -10 * CLOCKS_DIFFER_MS..10 * CLOCKS_DIFFER_MS,
        1 => -40 * day..40 * day,
    ];
    proptest::collection::vec((wait, 0i64..12, any::<bool>()), 1..60)
}

/// Requests while the clock was not set back by more than clocks may differ: when each counts, and what it took.
type Span = Vec<(i64, i64)>;

/// Asks, and returns what was admitted, in spans. A wait ends when it was said to, whatever the clock did before.
fn ask(rule: Rule, steps: &[(i64, i64, bool)]) -> Vec<Span> {
    let limits = [(0, limit("one", rule))];
    let (mut node, mut now) = (Node::new(1), START);
    let (mut spans, mut latest, mut set_back) = (vec![Span::new()], now, 0);
    for &(wait, cost, waits) in steps {
        now += wait;
        let call = |now| Call { limits: &limits, cost, id: None, now };
        let mut said = node.admit(&call(now));
        if let Said::Denied(standings) = &said {
            let retry = standings[0].retry_ms;
            if waits && retry != NEVER {
                now += retry;
                said = node.admit(&call(now));
                assert!(matches!(said, Said::Admitted(_)), "denied after {retry} ms");
            }
        }
        if now < latest - CLOCKS_DIFFER_MS {
            set_back += 1;
            latest = now;
        }
        latest = latest.max(now);
        if matches!(said, Said::Admitted(_)) && cost > 0 {
            let noted = spans.last().and_then(|span| span.last()).map_or(now, |(at, _)| *at);
            if now < noted - CLOCKS_DIFFER_MS {
                spans.push(vec![(now, cost)]);
            } else {
                spans.last_mut().unwrap().push((now.max(noted), cost));
            }
        }
    }
    assert!(spans.len() <= 1 + set_back, "{} spans, set back {set_back} times", spans.len());
    spans
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_rate_keeps_its_bound_but_where_the_clock_is_set_back_far(
        rate in small_rate(),
        steps in steps(),
    ) {
        for span in ask(rate.rule(), &steps) {
            History(span).assert_bounded(rate);
        }
    }

    #[test]
    fn a_quota_keeps_its_units_but_where_the_clock_is_set_back_far(
        calendar in calendar(),
        units in 0i64..20,
        steps in steps(),
    ) {
        for span in ask(Rule::Quota { units, calendar }, &steps) {
            let mut sums = BTreeMap::<_, i64>::new();
            for (at, cost) in span {
                *sums.entry(begin(calendar, at)).or_default() += cost;
            }
            prop_assert!(sums.values().all(|sum| *sum <= units));
        }
    }

    /// As after a failover.
    #[test]
    fn a_clock_that_is_a_little_behind_counts_as_standing_still(
        rate in small_rate(),
        taken in 1i64..20,
        behind in 1..=CLOCKS_DIFFER_MS,
        cost in 0i64..20,
    ) {
        let limits = [(0, rate.limit())];
        let mut node = Node::new(1);
        let taken = taken.min(rate.burst);
        node.admit(&Call { limits: &limits, cost: taken, id: None, now: START });
        let mut judge = |now| {
            let call = Call { limits: &limits, cost, id: None, now };
            node.judge(&call)[0].1.standing
        };
        let (then, now) = (judge(START), judge(START - behind));
        prop_assert_eq!(now.remaining, then.remaining);
        let later = |ms: i64| if ms > 0 { ms + behind } else { ms };
        prop_assert_eq!(now.reset_ms, later(then.reset_ms));
        prop_assert_eq!(now.retry_ms, later(then.retry_ms));
    }
}

/// Nobody waits for a day that was only a mistake of the clock.
#[test]
fn what_was_noted_far_ahead_holds_nobody_up() {
    let day = 86_400_000;
    let quota = |units| Rule::Quota { units, calendar: DAYS };
    for rule in [Rate { units: 1, per: 1000, burst: 1 }.rule(), quota(1)] {
        let taken = (365 * day, 1, false);
        let spans = ask(rule, &[taken, (-365 * day, 1, false), (0, 1, false)]);
        assert_eq!(spans, [[(START + 365 * day, 1)], [(START, 1)]]);
    }
}

const DAYS: Calendar = Calendar { unit: Unit::Day, offset: 0 };
