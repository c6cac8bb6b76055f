//! Medians, spreads, and rounds in which both sides take turns.

use std::ops::Range;

use anyhow::Result;

use crate::pipeline::Cost;

/// The middle of several measurements, and their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stat {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Stat {
    /// Of at least one number.
    pub fn of(mut values: Vec<f64>) -> Stat {
        values.sort_by(f64::total_cmp);
        let (n, middle) = (values.len(), values.len() / 2);
        let median = match n % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Stat { median, least: values[0], most: values[n - 1] }
    }

    /// Of a thing that was measured once, because it comes out the same every time.
    pub fn one(value: f64) -> Stat {
        Stat { median: value, least: value, most: value }
    }
}

/// Which side of a row a round measures.
#[derive(Clone, Copy, PartialEq)]
pub enum Which {
    Ours,
    Alternative,
}

/// A piece of a round: which part of `calls` to measure, and of which side.
pub struct Turn {
    pub round: usize,
    pub which: Which,
    pub calls: Range<u64>,
}

/// How many times the sides change within a round: what disturbs the machine for a while then
/// disturbs both.
const TURNS: u64 = 25;

/// Both sides, round by round.
pub struct Rounds(Vec<(Cost, Cost)>);

impl Rounds {
    /// Measures the same `calls` of both sides `rounds` times, in turns, after a round that does not
    /// count (round 0).
    pub fn run(
        rounds: usize,
        calls: u64,
        mut measure: impl FnMut(Turn) -> Result<Cost>,
    ) -> Result<Rounds> {
        let mut kept = Vec::with_capacity(rounds);
        for round in 0..=rounds {
            let (mut ours, mut alternative) = (Cost::default(), Cost::default());
            for turn in 0..TURNS {
                let calls = calls * turn / TURNS..calls * (turn + 1) / TURNS;
                let mut order = [Which::Ours, Which::Alternative];
                if turn % 2 == 1 {
                    order.reverse();
                }
                for which in order {
                    let cost = measure(Turn { round, which, calls: calls.clone() })?;
                    match which {
                        Which::Ours => ours += cost,
                        Which::Alternative => alternative += cost,
                    }
                }
            }
            if round > 0 {
                kept.push((ours, alternative));
            }
        }
        Ok(Rounds(kept))
    }

    /// Measures both sides `rounds` times, each as a whole, after a round that does not count.
    pub fn whole(rounds: usize, mut measure: impl FnMut(Which) -> Result<Cost>) -> Result<Rounds> {
        let mut kept = Vec::with_capacity(rounds);
        for round in 0..=rounds {
            let costs = (measure(Which::Ours)?, measure(Which::Alternative)?);
            if round > 0 {
                kept.push(costs);
            }
        }
        Ok(Rounds(kept))
    }

    /// Microseconds of our side per call.
    pub fn ours(&self) -> Stat {
        self.stat(|ours, _| ours.micros())
    }

    pub fn alternative(&self) -> Stat {
        self.stat(|_, alternative| alternative.micros())
    }

    /// Calls per second: ours, the alternative's.
    pub fn per_second(&self) -> (f64, f64) {
        let ours = self.stat(|ours, _| ours.per_second());
        (ours.median, self.stat(|_, alternative| alternative.per_second()).median)
    }

    /// What ours costs over what the alternative costs, judged within each round.
    pub fn ratio(&self) -> Stat {
        self.stat(|ours, alternative| ours.micros() / alternative.micros())
    }

    fn stat(&self, of: impl Fn(&Cost, &Cost) -> f64) -> Stat {
        Stat::of(self.0.iter().map(|(ours, alternative)| of(ours, alternative)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Stat::of(vec![4.0, 1.0, 2.0, 8.0]), Stat { median: 3.0, least: 1.0, most: 8.0 });
    }

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Stat::of(vec![9.0, 1.0, 2.0]), Stat { median: 2.0, least: 1.0, most: 9.0 });
    }
}
