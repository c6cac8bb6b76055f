//! Several limits in several counters: all are taken from, or none.

use crate::history::{small_rate, History, Rate};
use crate::node::{bytes, Call, Node, Said};
use crate::quotas::{begin, calendar};
use apikey_engine::limits::limit::{Limit, Rule, MAX_LIMITS};
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;
const COUNTERS: usize = 3;

/// What a limit has admitted.
#[derive(Clone)]
enum Model {
    Rate(Rate, History),
    /// Each with the time that it was taken at.
    Quota(Vec<(i64, i64)>),
    Credits(i64),
}

impl Model {
    fn remaining(&self, rule: &Rule, now: i64) -> i64 {
        match (self, rule) {
            (Self::Rate(rate, history), _) => history.remaining(*rate, now),
            (Self::Quota(taken), Rule::Quota { units, calendar }) => {
                let period = begin(*calendar, now);
                let taken = taken.iter().filter(|(at, _)| begin(*calendar, *at) == period);
                units - taken.map(|(_, units)| units).sum::<i64>()
            }
            (Self::Credits(balance), _) => *balance,
            _ => unreachable!("of its kind"),
        }
    }

    fn take(&mut self, units: i64, now: i64) {
        match self {
            Self::Rate(_, history) => history.take(units, now),
            Self::Quota(taken) => taken.push((now, units)),
            Self::Credits(balance) => *balance -= units,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Rate(Rate),
    Other(Rule),
}

fn kind() -> impl Strategy<Value = Kind> {
    let quota =
        (0i64..60, calendar()).prop_map(|(units, calendar)| Rule::Quota { units, calendar });
    prop_oneof![
        4 => small_rate().prop_map(|rate| Kind::Rate(Rate { burst: rate.burst * 3, ..rate })),
        2 => quota.prop_map(Kind::Other),
        1 => Just(Kind::Other(Rule::Credits)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_request_takes_from_all_of_its_limits_or_from_none(
        limits in proptest::collection::vec(
            (kind(), 0..COUNTERS, 0i64..4, proptest::bool::weighted(0.2)),
            0..=MAX_LIMITS,
        ),
        steps in proptest::collection::vec((0i64..200, 0i64..7, 0i64..30), 1..40),
    ) {
        let mut node = Node::new(COUNTERS);
        let mut models = Vec::new();
        let all: Vec<(usize, Limit)> = limits
            .iter()
            .enumerate()
            .map(|(nth, &(kind, counter, unit, shadow))| {
                let (rule, model) = match kind {
                    Kind::Rate(rate) => (rate.rule(), Model::Rate(rate, History::default())),
                    Kind::Other(Rule::Credits) => (Rule::Credits, Model::Credits(0)),
                    Kind::Other(rule) => (rule, Model::Quota(Vec::new())),
                };
                models.push(model);
                // Of credits each has its own, in the first counter.
                let counter = if rule == Rule::Credits { 0 } else { counter };
                (counter, Limit::new(format!("l{nth}").as_bytes(), rule, unit, shadow).unwrap())
            })
            .collect();
        let (mut now, mut counted) = (START, 0);
        for (wait, cost, credits) in steps {
            now += wait;
            for (nth, model) in models.iter_mut().enumerate() {
                if let Model::Credits(balance) = model {
                    *balance += credits;
                    node.credit(&format!("l{nth}"), credits, now);
                }
            }
            let remaining: Vec<i64> = all
                .iter()
                .zip(&models)
                .map(|((_, limit), model)| model.remaining(limit.rule(), now))
                .collect();
            let denies = |((_, limit), has): (&(usize, Limit), &i64)| {
                limit.cost() * cost > *has && !limit.is_shadow()
            };
            let may = !all.iter().zip(&remaining).any(denies);
            let before: Vec<_> = node.counters.iter().map(|one| bytes(one, now)).collect();
            let call = Call { limits: &all, cost, id: None, now };
            let said = match node.admit(&call) {
                Said::Admitted(said) => {
                    prop_assert!(may);
                    for (((_, limit), model), has) in all.iter().zip(&mut models).zip(&remaining) {
                        model.take((limit.cost() * cost).min(*has), now);
                    }
                    counted += cost;
                    said
                }
                Said::Denied(said) => {
                    prop_assert!(!may);
                    let after: Vec<_> =
                        node.counters.iter().map(|one| bytes(one, now)).collect();
                    prop_assert_eq!(after, before);
                    said
                }
                Said::Repeated => unreachable!("it has no id"),
            };
            for (((_, limit), model), standing) in all.iter().zip(&models).zip(said) {
                prop_assert_eq!(standing.remaining, model.remaining(limit.rule(), now));
            }
            prop_assert_eq!(node.counters[0].0.pending(), counted);
            prop_assert!(node.counters[1..].iter().all(|(counter, _)| counter.total() == 0));
        }
    }
}
