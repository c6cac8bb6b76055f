//! Limits that change at any moment: what was taken stays so, and from then on the limit is what it is now.

use crate::history::{limit, History, Rate};
use crate::node::{kept_of, Call, Node, Said};
use crate::quotas::begin;
use apikey_engine::limits::calendar::{Calendar, Unit};
use apikey_engine::limits::level::NEVER;
use apikey_engine::limits::limit::{Limit, Rule};
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: i64 = 1_700_000_000_000;

fn rule() -> impl Strategy<Value = Rule> {
    let few = |all: &'static [i64]| proptest::sample::select(all);
    let rate = (few(&[1, 2, 7, 50]), few(&[1, 10, 33, 1000]), few(&[1, 3, 10, 40]))
        .prop_map(|(units, per, burst)| Rule::Rate { units, per, burst });
    let quota = (few(&[0, 3, 10, 40]), proptest::sample::select(&[Unit::Hour, Unit::Day][..]))
        .prop_map(|(units, unit)| Rule::Quota { units, calendar: Calendar { unit, offset: 0 } });
    prop_oneof![6 => rate, 3 => quota, 1 => Just(Rule::Credits)]
}

/// What a run of requests under one rule has been admitted.
struct Run {
    rule: Rule,
    history: History,
}

impl Run {
    #[track_caller]
    fn assert_bounded(&self) {
        match self.rule {
            Rule::Rate { units, per, burst } => {
                self.history.assert_bounded(Rate { units, per, burst })
            }
            Rule::Quota { units, calendar } => {
                let mut sums = BTreeMap::<_, i64>::new();
                for &(at, cost) in &self.history.0 {
                    *sums.entry(begin(calendar, at)).or_default() += cost;
                }
                assert!(sums.values().all(|sum| *sum <= units));
            }
            Rule::Credits => assert_eq!(self.history.0.len(), 0, "nobody has given any"),
        }
    }
}

/// What remains of `after` where `before` had this amount a moment ago.
fn carried(before: &Rule, amount: i64, after: &Rule) -> i64 {
    match (*before, *after) {
        (Rule::Rate { per: old, .. }, Rule::Rate { per, burst, .. }) => {
            // burst - amount / old, in units of `per`, from below.
            let (amount, old) = (i128::from(amount), i128::from(old));
            let per = i128::from(per);
            let parts = (amount * per + old - 1) / old;
            ((i128::from(burst) * per - parts).max(0) / per) as i64
        }
        (Rule::Quota { .. }, Rule::Quota { units, .. }) => (units - amount).max(0),
        (Rule::Credits, Rule::Credits) => amount,
        (_, Rule::Rate { burst: full, .. } | Rule::Quota { units: full, .. }) => full,
        (_, Rule::Credits) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn each_run_under_one_rule_is_bounded_by_it_and_a_wait_ends_when_it_was_said_to(
        steps in proptest::collection::vec(
            (
                prop_oneof![4 => Just(None), 2 => rule().prop_map(Some)],
                prop_oneof![0i64..60, 0i64..5000, Just(3_600_000)],
                0i64..12,
                any::<bool>(),
                prop_oneof![4 => Just((1, false)), 1 => (0i64..3, any::<bool>())],
            ),
            1..60,
        ),
        first in rule(),
    ) {
        let (mut node, mut now) = (Node::new(1), START);
        let mut run = Run { rule: first, history: History::default() };
        for (change, wait, cost, waits, (unit, shadow)) in steps {
            now += wait;
            if let Some(rule) = change {
                run.assert_bounded();
                run = Run { rule, history: History::default() };
            }
            let limits = [(0, Limit::new(b"one", run.rule, unit, shadow).unwrap())];
            if let Some(kept) = kept_of(&node.counters[0].1, b"one") {
                let before = kept.limit.rule();
                if kept.level.at == now && before != &run.rule {
                    let expected = carried(before, kept.level.amount, &run.rule);
                    let call = Call { limits: &limits, cost, id: None, now };
                    prop_assert_eq!(node.judge(&call)[0].1.standing.remaining, expected);
                }
            }
            let mut again = 0;
            loop {
                let call = Call { limits: &limits, cost, id: None, now };
                let judged = node.judge(&call)[0].1.standing;
                match node.admit(&call) {
                    Said::Admitted(_) => {
                        run.history.take(judged.remaining.min(unit * cost), now);
                        break;
                    }
                    Said::Denied(said) => {
                        prop_assert_eq!(again, 0, "it was said how long to wait: {:?}", said);
                        again += 1;
                        if !waits || said[0].retry_ms == NEVER {
                            break;
                        }
                        now += said[0].retry_ms;
                    }
                    Said::Repeated => unreachable!("it has no id"),
                }
            }
        }
        run.assert_bounded();
    }
}

fn ask(node: &mut Node, rule: Rule, cost: i64, now: i64) -> Option<i64> {
    let limits = [(0, limit("one", rule))];
    match node.admit(&Call { limits: &limits, cost, id: None, now }) {
        Said::Admitted(_) => None,
        Said::Denied(said) => Some(said[0].retry_ms),
        other => panic!("{other:?}"),
    }
}

fn rate(units: i64, per: i64, burst: i64) -> Rule {
    Rule::Rate { units, per, burst }
}

/// Nothing is noted of who is refused, so that the wait is counted from what was noted last.
#[test]
fn a_rate_that_is_raised_or_has_a_lower_burst_denies_nobody_until_its_old_time_has_passed() {
    for (before, cost, after, wait) in [
        (rate(1, 3_600_000, 1), 1, rate(1000, 1000, 1), 1),
        (rate(1, 1000, 1000), 1000, rate(1, 1000, 10), 1000),
        (rate(1, 1000, 1000), 1000, rate(10, 1000, 10), 100),
    ] {
        let mut node = Node::new(1);
        assert_eq!(ask(&mut node, before, cost, START), None);
        assert_eq!(ask(&mut node, after, 1, START), Some(wait));
        assert_eq!(ask(&mut node, after, 1, START + wait), None);
    }
}

/// What came back while the rate was faster has come back.
#[test]
fn a_rate_that_is_lowered_keeps_what_has_come_back() {
    let mut node = Node::new(1);
    assert_eq!(ask(&mut node, rate(100, 1000, 100), 100, START), None);
    assert_eq!(ask(&mut node, rate(1, 60_000, 100), 50, START + 500), None);
    assert_eq!(ask(&mut node, rate(1, 60_000, 100), 1, START + 500), Some(60_000));
}
