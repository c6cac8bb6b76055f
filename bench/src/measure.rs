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

    /// This over another that was not measured in the same rounds: the range is the widest that the
    /// two allow.
    pub fn over(self, other: Stat) -> Stat {
        Stat {
            median: self.median / other.median,
            least: self.least / other.most,
            most: self.most / other.least,
        }
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
pub struct Turn<S = Which> {
    pub round: usize,
    pub which: S,
    pub calls: Range<u64>,
}

impl<S> Turn<S> {
    /// Other calls in each round, `calls` of them in a whole one.
    pub fn fresh(&self, calls: u64) -> Range<u64> {
        let first = self.round as u64 * calls;
        first + self.calls.start..first + self.calls.end
    }
}

/// How many times the sides change within a round: what disturbs the machine for a while then
/// disturbs all.
const TURNS: u64 = 24;

/// Several sides, round by round: `costs[round][side]`.
pub struct Sides<const N: usize>(Vec<[Cost; N]>);

impl<const N: usize> Sides<N> {
    /// Measures the same `calls` of all sides, which are numbered, `rounds` times, in turns, after a
    /// round that does not count (round 0).
    pub fn run(
        rounds: usize,
        calls: u64,
        mut measure: impl FnMut(Turn<usize>) -> Result<Cost>,
    ) -> Result<Sides<N>> {
        let mut kept = Vec::with_capacity(rounds);
        for round in 0..=rounds {
            let mut costs = [Cost::default(); N];
            for turn in 0..TURNS {
                let calls = calls * turn / TURNS..calls * (turn + 1) / TURNS;
                for which in order::<N>(turn as usize) {
                    costs[which] += measure(Turn { round, which, calls: calls.clone() })?;
                }
            }
            if round > 0 {
                kept.push(costs);
            }
        }
        Ok(Sides(kept))
    }

    /// Microseconds of one side per call.
    pub fn micros(&self, side: usize) -> Stat {
        Stat::of(self.0.iter().map(|costs| costs[side].micros()).collect())
    }

    /// Two of the sides: ours, the alternative's.
    pub fn pair(&self, ours: usize, alternative: usize) -> Rounds {
        Rounds(self.0.iter().map(|costs| (costs[ours], costs[alternative])).collect())
    }
}

/// In which order the sides take a turn: each is as often the first as any other, and runs as often
/// before another as after it.
fn order<const N: usize>(turn: usize) -> [usize; N] {
    let mut order = std::array::from_fn(|at| (turn + at) % N);
    if turn / N % 2 == 1 {
        order.reverse();
    }
    order
}

/// Both sides, round by round.
pub struct Rounds(Vec<(Cost, Cost)>);

impl Rounds {
    /// [`Sides::run`] of two.
    pub fn run(
        rounds: usize,
        calls: u64,
        mut measure: impl FnMut(Turn) -> Result<Cost>,
    ) -> Result<Rounds> {
        let sides = Sides::<2>::run(rounds, calls, |Turn { round, which, calls }| {
            let which = [Which::Ours, Which::Alternative][which];
            measure(Turn { round, which, calls })
        })?;
        Ok(sides.pair(0, 1))
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
    fn every_side_is_as_often_the_first_and_before_another() {
        let orders: Vec<[usize; 3]> = (0..6).map(order).collect();
        for side in 0..3 {
            assert_eq!(orders.iter().filter(|order| order[0] == side).count(), 2);
        }
        let before = |order: &[usize; 3]| {
            order.iter().position(|&side| side == 0) < order.iter().position(|&side| side == 1)
        };
        assert_eq!(orders.iter().filter(|order| before(order)).count(), 3);
        assert_eq!([order(0), order(1), order(2), order(3)], [[0, 1], [1, 0], [1, 0], [0, 1]]);
    }

    #[test]
    fn the_range_of_a_quotient_is_the_widest() {
        let (a, b) = (Stat::of(vec![2.0, 4.0, 6.0]), Stat::of(vec![1.0, 2.0, 4.0]));
        assert_eq!(a.over(b), Stat { median: 2.0, least: 0.5, most: 6.0 });
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Stat::of(vec![4.0, 1.0, 2.0, 8.0]), Stat { median: 3.0, least: 1.0, most: 8.0 });
    }

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Stat::of(vec![9.0, 1.0, 2.0]), Stat { median: 2.0, least: 1.0, most: 9.0 });
    }
}
