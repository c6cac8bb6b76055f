//! What a rate has admitted, and nothing else.

use apikey_engine::limits::limit::{Limit, Rule, MAX_PER_MS, MAX_UNITS};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub units: i64,
    pub per: i64,
    pub burst: i64,
}

impl Rate {
    pub fn rule(self) -> Rule {
        Rule::Rate { units: self.units, per: self.per, burst: self.burst }
    }

    pub fn limit(self) -> Limit {
        limit("rate", self.rule())
    }
}

pub fn limit(name: &str, rule: Rule) -> Limit {
    Limit::new(name.as_bytes(), rule, 1, false).unwrap()
}

/// Rates of which a few requests make a difference.
pub fn small_rate() -> impl Strategy<Value = Rate> {
    (1i64..30, 1i64..100, 1i64..20).prop_map(|(units, per, burst)| Rate { units, per, burst })
}

/// Any that is legal, the largest among them.
pub fn any_rate() -> impl Strategy<Value = Rate> {
    let edge = |most: i64| prop_oneof![Just(1), Just(most), 1..=most, 1..=most.min(1000)];
    (edge(MAX_UNITS), edge(MAX_PER_MS), edge(MAX_UNITS)).prop_map(|(units, per, burst)| {
        let burst = burst.min(i64::MAX / per);
        Rate { units, per, burst }
    })
}

/// When what was taken, in its order.
#[derive(Clone, Debug, Default)]
pub struct History(pub Vec<(i64, i64)>);

impl History {
    /// Whether the rate's bound holds over each interval that ends with another request.
    pub fn admits(&self, rate: Rate, cost: i64, now: i64) -> bool {
        let Rate { units, per, burst } = rate;
        let (units, per, burst) = (i128::from(units), i128::from(per), i128::from(burst));
        let mut sum = i128::from(cost);
        cost == 0
            || sum <= burst
                && self.0.iter().rev().all(|&(at, cost)| {
                    sum += i128::from(cost);
                    sum * per <= burst * per + units * i128::from(now - at)
                })
    }

    pub fn take(&mut self, cost: i64, now: i64) {
        if cost > 0 {
            self.0.push((now, cost));
        }
    }

    /// The most that it admits.
    pub fn remaining(&self, rate: Rate, now: i64) -> i64 {
        let (mut least, mut most) = (0, rate.burst);
        while least < most {
            let middle = least + (most - least + 1) / 2;
            match self.admits(rate, middle, now) {
                true => least = middle,
                false => most = middle - 1,
            }
        }
        least
    }

    /// Over any interval between two of its requests.
    #[track_caller]
    pub fn assert_bounded(&self, rate: Rate) {
        let Rate { units, per, burst } = rate;
        for (nth, &(from, _)) in self.0.iter().enumerate() {
            let mut sum = 0;
            for &(to, cost) in &self.0[nth..] {
                sum += i128::from(cost);
                let most =
                    i128::from(burst) * i128::from(per) + i128::from(units) * i128::from(to - from);
                assert!(sum * i128::from(per) <= most, "{sum} from {from} to {to} of {rate:?}");
            }
        }
    }
}
