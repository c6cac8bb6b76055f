//! What requests have really cost: counted is the sum of that, and giving back lets no limit admit more than its bound for
//! the real costs.
//!
//! The model plays the history again, each request with what it is known to have cost: a settled one with that, one whose
//! client died with what it was thought to. What a request has cost beyond that is taken when it is settled, as far as
//! there is.

use crate::history::{limit, History, Rate};
use crate::node::{kept_of, Call, Node, Said};
use crate::quotas::begin;
use apikey_engine::clock::CLOCKS_DIFFER_MS;
use apikey_engine::limits::calendar::{Calendar, Unit};
use apikey_engine::limits::limit::{Limit, Rule};
use proptest::prelude::*;

const START: i64 = 1_796_083_199_700;

/// What is in a bucket, in parts, by its history alone.
fn replayed(rate: Rate, taken: &[(i64, i64)], now: i64) -> i128 {
    let (mut amount, mut at) = (0, 0);
    let mut drain = |to: i64, cost: i64| {
        amount = (amount - i128::from(rate.units) * i128::from(to - at)).max(0)
            + i128::from(cost) * i128::from(rate.per);
        at = to;
        amount
    };
    taken.iter().for_each(|&(to, cost)| _ = drain(to, cost));
    drain(now, 0)
}

/// A request that was admitted: where its take stands in the history, the run that this is of, and its cost.
#[derive(Clone, Copy)]
struct Admitted {
    nth: usize,
    run: usize,
    cost: i64,
    is_settled: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit { cost: i64, has_id: bool },
    Settle { nth: usize, cost: i64 },
    Wait { ms: i64 },
    HandOver,
    Restart,
    Change { to: usize },
}

fn step(wait: impl Strategy<Value = i64>, changes: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0i64..16, proptest::bool::weighted(0.8))
            .prop_map(|(cost, has_id)| Step::Admit { cost, has_id }),
        8 => (0usize..8, prop_oneof![Just(0), 0i64..24])
            .prop_map(|(nth, cost)| Step::Settle { nth, cost }),
        8 => wait.prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::HandOver),
        1 => Just(Step::Restart),
        changes => (0usize..3).prop_map(|to| Step::Change { to }),
    ]
}

fn rate() -> impl Strategy<Value = Rate> {
    (1i64..12, 1i64..12, 1i64..60).prop_map(|(units, per, burst)| Rate { units, per, burst })
}

/// Runs steps on a rate that becomes another at times, and asserts the bound of each for the real costs, and that what was
/// counted is what was used.
fn run(rates: [Rate; 3], shadow: bool, steps: &[Step]) {
    let (mut node, mut now) = (Node::new(1), START);
    let (mut rate, mut current, mut handed) = (rates[0], 0, 0);
    let mut runs: Vec<(Rate, History)> = vec![(rate, History::default())];
    let mut requests: Vec<Admitted> = Vec::new();
    let (mut unnamed, mut gone_at) = (0, i64::MIN);
    for &step in steps {
        let of = |rate: Rate| Limit::new(b"rate", rate.rule(), 1, shadow).unwrap();
        let before = kept_of(&node.counters[0].1, b"rate").map(|kept| kept.level);
        // What was set back far begins anew; and what was set back at all, where a level had gone that said nothing.
        if before.is_some_and(|level| now < level.at - CLOCKS_DIFFER_MS) || now < gone_at {
            gone_at = i64::MIN;
            runs.push((rate, History::default()));
            current = runs.len() - 1;
        }
        let noted = |node: &Node, now: i64| {
            let kept = kept_of(&node.counters[0].1, b"rate");
            kept.map_or(now, |kept| kept.level.at)
        };
        match step {
            Step::Wait { ms } => now += ms,
            Step::HandOver => {
                handed += node.counters[0].0.take();
                node.replica[0].0.take();
            }
            Step::Restart => {
                node.restart(now);
                if kept_of(&node.counters[0].1, b"rate").is_none() {
                    gone_at = before.map_or(gone_at, |level| now.max(level.at));
                }
            }
            Step::Change { to } => {
                rate = rates[to];
                runs.push((rate, History::default()));
                current = runs.len() - 1;
            }
            Step::Admit { cost, has_id } => {
                let id = has_id.then(|| requests.len().to_le_bytes());
                let id = id.as_ref().map(|id| &id[..]);
                let limits = [(0, of(rate))];
                let call = Call { limits: &limits, cost, id, now };
                let taken = cost.min(node.judge(&call)[0].1.standing.remaining);
                if let Said::Admitted(_) = node.admit(&call) {
                    let history = &mut runs[current].1;
                    // What takes nothing is not noted.
                    let latest = history.0.last().map_or(0, |(at, _)| *at);
                    let at = if taken > 0 { noted(&node, now) } else { latest };
                    history.0.push((at, taken));
                    let nth = history.0.len() - 1;
                    match has_id {
                        true => {
                            requests.push(Admitted { nth, run: current, cost, is_settled: false })
                        }
                        false => unnamed += cost,
                    }
                }
            }
            Step::Settle { nth, cost } => {
                // The latest of them.
                let Some(id) = requests.len().checked_sub(1 + nth) else { continue };
                let kept = kept_of(&node.counters[0].1, b"rate").cloned();
                let has = kept.as_ref().map_or(0, |kept| {
                    let rule = kept.limit.rule();
                    kept.level.at(rule, now).standing(rule, 0).remaining
                });
                let said = node.settle(0, &id.to_le_bytes(), cost, now);
                let request = &mut requests[id];
                assert_eq!(said.unwrap_or(request.cost), request.cost);
                if said.is_none() || request.is_settled {
                    continue;
                }
                (request.cost, request.is_settled) = (cost, true);
                let taken = &mut runs[request.run].1 .0[request.nth].1;
                let more = cost - *taken;
                *taken = cost.min(*taken);
                if let (1.., Some(kept)) = (more, kept) {
                    // By the limit that the counter knows, which may be one that was asked for before.
                    if *kept.limit.rule() == rate.rule() {
                        runs[current].1 .0.push((noted(&node, now), more.min(has)));
                    }
                }
            }
        }
        if let Some(kept) = kept_of(&node.counters[0].1, b"rate") {
            if *kept.limit.rule() == rate.rule() && now >= kept.level.at - CLOCKS_DIFFER_MS {
                let level = kept.level.at(kept.limit.rule(), now);
                let least = replayed(rate, &runs[current].1 .0, level.at);
                assert!(i128::from(level.amount) >= least, "{} < {least}", level.amount);
            }
        }
        let counted: i64 = requests.iter().map(|request| request.cost).sum();
        let counter = &node.counters[0].0;
        assert_eq!(counter.total(), counted + unnamed);
        assert_eq!(counter.pending() + handed, counted + unnamed);
    }
    for (rate, history) in runs {
        history.assert_bounded(rate);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn giving_back_lets_no_rate_admit_more_than_its_bound_for_the_real_costs(
        rate in rate(),
        shadow: bool,
        steps in proptest::collection::vec(step(0i64..20, 0), 0..50),
    ) {
        run([rate; 3], shadow, &steps);
    }

    #[test]
    fn nor_where_the_rate_becomes_another_and_the_clock_is_set(
        rates in [rate(), rate(), rate()],
        shadow: bool,
        steps in proptest::collection::vec(
            step(
                prop_oneof![
                    6 => 0i64..20,
                    1 => -CLOCKS_DIFFER_MS / 2..CLOCKS_DIFFER_MS / 2,
                    1 => -10 * CLOCKS_DIFFER_MS..10 * CLOCKS_DIFFER_MS,
                ],
                2,
            ),
            0..50,
        ),
    ) {
        run(rates, shadow, &steps);
    }
}

fn quota(unit: Unit, units: i64) -> Rule {
    Rule::Quota { units, calendar: Calendar { unit, offset: 0 } }
}

/// What was taken from a quota and from credits is what was used, as far as a period is not over and there was as much.
#[derive(Default)]
struct Used {
    /// When, and how much.
    quota: Vec<(i64, i64)>,
    credits: Vec<i64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_quota_and_credits_have_lost_what_was_used_and_no_more(
        steps in proptest::collection::vec(
            step(prop_oneof![0i64..100, Just(3_600_000 - 1), 0i64..60_000], 0),
            0..60,
        ),
        units in 0i64..80,
        credits in 0i64..150,
    ) {
        // The quota in the second counter.
        let limits =
            [(1, limit("hour", quota(Unit::Hour, units))), (0, limit("credits", Rule::Credits))];
        let Rule::Quota { calendar, .. } = *limits[0].1.rule() else { panic!("a quota") };
        let (mut node, mut now, mut used) = (Node::new(2), START, Used::default());
        node.credit("credits", credits, now);
        // When, and what it cost; the position of each in what is used.
        let mut requests: Vec<(i64, i64, usize)> = Vec::new();
        let mut settled = Vec::new();
        for step in steps {
            let sum = |used: &Used, now: i64| -> i64 {
                let of = |at: i64| begin(calendar, at) == begin(calendar, now);
                used.quota.iter().filter(|(at, _)| of(*at)).map(|(_, units)| units).sum()
            };
            match step {
                Step::Admit { cost, .. } => {
                    let id = requests.len().to_le_bytes();
                    let call = Call { limits: &limits, cost, id: Some(&id), now };
                    let left = credits - used.credits.iter().sum::<i64>();
                    let may = sum(&used, now) + cost <= units && cost <= left;
                    prop_assert_eq!(matches!(node.admit(&call), Said::Admitted(_)), may);
                    if may {
                        requests.push((now, cost, used.quota.len()));
                        used.quota.push((now, cost));
                        used.credits.push(cost);
                    }
                }
                Step::Settle { nth, cost } => {
                    let Some(id) = requests.len().checked_sub(1 + nth) else { continue };
                    let (at, before, place) = requests[id];
                    let done = (node.settle(0, &id.to_le_bytes(), cost, now),
                        node.settle(1, &id.to_le_bytes(), cost, now));
                    let is_known = at >= now - node.window.ms;
                    if !is_known {
                        prop_assert_eq!(done, (None, None));
                        continue;
                    }
                    prop_assert_eq!(done, (Some(before), Some(before)));
                    if settled.contains(&id) {
                        continue;
                    }
                    settled.push(id);
                    requests[id].1 = cost;
                    let more = cost - before;
                    let left = credits - used.credits.iter().sum::<i64>();
                    let (of_quota, of_credits) =
                        (more.min(units - sum(&used, now)), more.min(left));
                    match more {
                        0.. => used.quota.push((now, of_quota)),
                        _ => used.quota[place].1 = cost,
                    }
                    used.credits.push(of_credits);
                }
                Step::Wait { ms } => now += ms,
                Step::Restart => node.restart(now),
                _ => {}
            }
            let [(counter, first), (_, second)] = &node.counters[..] else { panic!("two") };
            let balance = kept_of(first, b"credits").map_or(0, |kept| kept.level.amount);
            prop_assert_eq!(balance, credits - used.credits.iter().sum::<i64>());
            let taken = kept_of(second, b"hour").map_or(0, |kept| {
                kept.level.at(kept.limit.rule(), now).amount
            });
            prop_assert_eq!(taken, sum(&used, now));
            prop_assert_eq!(counter.total(), requests.iter().map(|(_, cost, _)| cost).sum::<i64>());
        }
    }

    /// A request that failed at once, or that was alone, has never been.
    #[test]
    fn a_rate_gets_back_all_that_has_not_come_back_by_itself(
        rate in rate(),
        before in 0i64..60,
        cost in 0i64..60,
        real in 0i64..60,
        waits in (0i64..40, 0i64..40),
        alone: bool,
    ) {
        let limits = [(0, rate.limit())];
        let (mut node, mut now) = (Node::new(1), START);
        let before = if alone { 0 } else { before.min(rate.burst) };
        node.admit(&Call { limits: &limits, cost: before, id: None, now });
        now += waits.0;
        let mut taken = vec![(START, before), (now, real.min(cost))];
        let call = Call { limits: &limits, cost, id: Some(b"one"), now };
        if let Said::Denied(_) = node.admit(&call) {
            return Ok(());
        }
        now += if alone { waits.1 } else { 0 };
        let kept = kept_of(&node.counters[0].1, b"rate").cloned();
        let left = kept.map_or(rate.burst, |kept| {
            kept.level.at(&rate.rule(), now).standing(&rate.rule(), 0).remaining
        });
        taken.push((now, (real - cost).max(0).min(left)));
        prop_assert_eq!(node.settle(0, b"one", real, now), Some(cost));
        let amount = kept_of(&node.counters[0].1, b"rate").map_or(0, |kept| kept.level.amount);
        prop_assert_eq!(i128::from(amount), replayed(rate, &taken, now));
    }
}

/// By each change it would be measured in another way, and by the last one as if it had stayed.
#[test]
fn what_was_taken_before_a_limit_was_another_is_not_given_back_after() {
    let rate = |units, per, burst| Rule::Rate { units, per, burst };
    for (one, other) in
        [(rate(1, 1000, 10), rate(1000, 1, 10)), (quota(Unit::Hour, 10), quota(Unit::Day, 10))]
    {
        let mut node = Node::new(1);
        for (rule, id, wait) in [(one, b"a", 0), (other, b"b", 100), (one, b"c", 200)] {
            let limits = [(0, limit("one", rule))];
            let call = Call { limits: &limits, cost: 3, id: Some(id), now: START + wait };
            assert!(matches!(node.admit(&call), Said::Admitted(_)));
        }
        let amount = |node: &Node| kept_of(&node.counters[0].1, b"one").unwrap().level.amount;
        let before = amount(&node);
        node.settle(0, b"a", 0, START + 200);
        assert_eq!(amount(&node), before);
        node.settle(0, b"c", 0, START + 200);
        assert!(amount(&node) < before);
    }
}

/// A limit of another kind is another one, whatever their name: what was taken from the one is there again with it.
#[test]
fn a_limit_of_another_kind_takes_nothing_from_the_one_of_its_name() {
    let rate = Rule::Rate { units: 1, per: 60_000, burst: 10 };
    let mut node = Node::new(1);
    node.credit("one", 10, START);
    for (rule, id) in [(Rule::Credits, b"a"), (quota(Unit::Day, 10), b"b"), (rate, b"c")] {
        let limits = [(0, limit("one", rule))];
        let call = Call { limits: &limits, cost: 3, id: Some(id), now: START };
        assert!(matches!(node.admit(&call), Said::Admitted(_)));
    }
    let left = |node: &Node| -> Vec<(&str, i64)> {
        let levels = node.counters[0].1.levels().iter();
        levels
            .map(|kept| {
                let rule = kept.limit.rule();
                (rule.kind(), kept.level.at(rule, START).standing(rule, 0).remaining)
            })
            .collect()
    };
    assert_eq!(left(&node), [("credits", 7), ("quota", 7), ("rate", 7)]);
    node.settle(0, b"b", 1, START);
    assert_eq!(left(&node), [("credits", 7), ("quota", 9), ("rate", 7)]);
}
