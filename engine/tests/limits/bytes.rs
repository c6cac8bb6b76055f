//! The bytes of accounts and of changes: read as they were written; damaged ones are an error, or an account like any other.

use crate::history::any_rate;
use crate::node::read;
use crate::quotas::calendar;
use apikey_engine::codec::counter::{decode_change, encode_change};
use apikey_engine::codec::value::{decode, encode_usage, Origin, Value};
use apikey_engine::limits::account::{Account, Kept, MAX_LEVELS};
use apikey_engine::limits::known::Known;
use apikey_engine::limits::level::Level;
use apikey_engine::limits::limit::{Limit, Rule, MAX_COST, MAX_LIMITS, MAX_UNITS, MAX_UNIT_COST};
use apikey_engine::limits::requests::{Print, Request, Take, Window, MAX_REQUESTS};
use apikey_engine::usage::change::Change;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;
use proptest::prelude::*;
use std::sync::Arc;

fn rule() -> impl Strategy<Value = Rule> {
    let quota =
        (0..=MAX_UNITS, calendar()).prop_map(|(units, calendar)| Rule::Quota { units, calendar });
    prop_oneof![any_rate().prop_map(|rate| rate.rule()), quota, Just(Rule::Credits)]
}

/// An amount of it, a part of 100 of the most.
fn amount(rule: &Rule, part: i64) -> i64 {
    let most = match rule {
        Rule::Rate { per, burst, .. } => burst * per,
        Rule::Quota { .. } | Rule::Credits => MAX_UNITS,
    };
    (i128::from(most) * i128::from(part) / 100) as i64
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![0i64..1 << 41, Just(0), Just(i64::MAX)]
}

fn counter() -> impl Strategy<Value = Counter> {
    let number = || prop_oneof![0i64..300, Just(i64::MAX), 0..i64::MAX];
    (any::<i64>(), number(), number(), number()).prop_map(|(pending, total, first, last)| {
        Counter::from_parts(pending.min(total), total, first, last).unwrap()
    })
}

type Parts = (Vec<Kept>, Vec<Request>);

/// Levels and requests that a counter can have; takes are of any limits, also of such as are not kept.
fn parts(most: usize) -> impl Strategy<Value = Parts> {
    let limits = proptest::collection::vec((rule(), 0..=MAX_UNIT_COST, any::<bool>()), 1..5);
    let limits = limits.prop_map(|all| {
        let limit = |(nth, (rule, cost, shadow))| {
            Arc::new(Limit::new(format!("limit-{nth}").as_bytes(), rule, cost, shadow).unwrap())
        };
        all.into_iter().enumerate().map(limit).collect::<Vec<_>>()
    });
    let take = (0..=MAX_UNITS, 0i64..=100);
    let request =
        (time(), 0..=MAX_COST, any::<(bool, bool)>(), proptest::collection::vec(take, 0..4));
    let levels = proptest::collection::vec((0i64..=100, time()), 0..5);
    (limits, levels, proptest::collection::vec(request, 0..=most)).prop_map(
        |(limits, levels, requests)| {
            let kept = |(limit, (part, at)): (&Arc<Limit>, (i64, i64))| Kept {
                limit: Arc::clone(limit),
                level: Level { amount: amount(limit.rule(), part), at },
            };
            let levels = limits.iter().zip(levels).map(kept).collect();
            let request = |(nth, (at, cost, (is_counted, is_settled), takes)): (usize, _)| {
                let takes: Vec<(i64, i64)> = takes;
                let take = |(limit, (units, part)): (&Arc<Limit>, (i64, i64))| Take {
                    limit: Arc::clone(limit),
                    units,
                    after: amount(limit.rule(), part),
                };
                let takes = limits.iter().rev().zip(takes).map(take).collect();
                let print = Print::of_use(&nth.to_le_bytes());
                Request { print, at, cost, is_counted, is_settled, takes }
            };
            (levels, requests.into_iter().enumerate().map(request).collect())
        },
    )
}

/// All that an account says.
fn told(account: &Account) -> String {
    format!("{:?} {:?}", account.levels(), account.requests().iter().collect::<Vec<_>>())
}

/// All of it, also what says nothing by now.
fn bytes(counter: &Counter, account: &Account) -> Vec<u8> {
    encode_usage(counter, Leases::NONE, account, 0)
}

/// Nothing that is read is a danger to who uses it.
fn use_it(counter: &Counter, account: &Account) {
    let mut known = Known::default();
    for now in [0, 1 << 40, i64::MAX] {
        for Kept { limit, .. } in account.levels() {
            let mut judged = account.judge(limit.bytes(), &mut known, MAX_COST, now).unwrap();
            judged.take();
        }
        let window = Window { ms: i64::MAX, most: MAX_REQUESTS };
        for request in account.requests().iter() {
            for cost in [0, MAX_COST] {
                let done = Change::settle(account, counter, &request.print, cost, window, now);
                if let Some(Ok((_, Some(change)))) = done {
                    assert!(decode_change(&encode_change(&change)).is_ok());
                    change.put(&mut account.clone());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_account_is_read_as_it_was_written(counter in counter(), parts in parts(6)) {
        let account = Account::from_parts(parts.0, parts.1).unwrap();
        let written = bytes(&counter, &account);
        let (read_counter, read_account) = read(&written);
        prop_assert_eq!(read_counter, counter);
        // A level that is full is not written.
        let lasting = Account::from_parts(
            account.lasting(0).cloned().collect(),
            account.requests().iter().cloned().collect(),
        );
        prop_assert_eq!(told(&read_account), told(&lasting.unwrap()));
        prop_assert_eq!(bytes(&read_counter, &read_account), written);
        use_it(&read_counter, &read_account);
    }

    #[test]
    fn a_change_is_read_as_it_was_written(counter in counter(), parts in parts(1), gone: u32) {
        let request = parts.1.into_iter().next();
        let change = Change { counter, levels: parts.0.into(), request, gone };
        let written = encode_change(&change);
        let read = decode_change(&written).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{change:?}"));
        prop_assert_eq!(encode_change(&read), written.clone());
        for end in 0..written.len() {
            prop_assert!(decode_change(&written[..end]).is_err(), "{}", end);
        }
        let more = [&written[..], b"\0"].concat();
        prop_assert!(decode_change(&more).is_err());
    }

    #[test]
    fn damaged_bytes_are_an_error_or_an_account_like_any_other(
        counter in counter(),
        parts in parts(1),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..4),
    ) {
        let request = parts.1.first().cloned();
        let account = Account::from_parts(parts.0.clone(), parts.1).unwrap();
        let change = Change { counter, levels: parts.0.into(), request, gone: 0 };
        for (is_change, mut written) in
            [(true, encode_change(&change)), (false, bytes(&counter, &account))]
        {
            for (at, byte, how) in &damage {
                let at = at.index(written.len().max(1));
                match how {
                    0 if !written.is_empty() => _ = written.remove(at),
                    1 => written.insert(at.min(written.len()), *byte),
                    _ => written.get_mut(at).into_iter().for_each(|old| *old = *byte),
                }
            }
            if is_change {
                if let Ok(read) = decode_change(&written) {
                    let again = decode_change(&encode_change(&read)).unwrap();
                    prop_assert_eq!(format!("{again:?}"), format!("{read:?}"));
                    let (counter, mut account) = (read.counter, Account::default());
                    read.put(&mut account);
                    use_it(&counter, &account);
                }
            } else if let Ok(Value::Usage(counter, _, account)) = decode(&written, Origin::Anyone) {
                let again = read(&bytes(&counter, &account));
                prop_assert_eq!(again.0, counter);
                use_it(&counter, &account);
            }
        }
    }
}

/// It would be settled twice, and no replica would read that.
#[test]
fn a_request_takes_from_a_limit_once() {
    let limit = Arc::new(Limit::new(b"one", Rule::Credits, 1, false).unwrap());
    let take = Take { limit, units: 1, after: 0 };
    let request = |takes: Box<[Take]>| Request { takes, ..Request::plain(Print([1; 16]), 1, 1) };
    assert!(Account::from_parts(Vec::new(), vec![request([take.clone()].into())]).is_some());
    assert!(Account::from_parts(Vec::new(), vec![request([take.clone(), take].into())]).is_none());
}

/// What a counter may keep, it can be saved and loaded with.
#[test]
fn the_largest_account_is_read() {
    let limit = |nth: usize| {
        let rule = Rule::Rate { units: MAX_UNITS, per: 9000, burst: MAX_UNITS };
        Arc::new(Limit::new(format!("{nth:064}").as_bytes(), rule, 1, false).unwrap())
    };
    let limits: Vec<_> = (0..MAX_LEVELS).map(limit).collect();
    let level = Level { amount: MAX_UNITS * 9000, at: i64::MAX };
    let levels = limits.iter().map(|limit| Kept { limit: Arc::clone(limit), level }).collect();
    let takes: Box<[Take]> = limits[..MAX_LIMITS]
        .iter()
        .map(|limit| Take { limit: Arc::clone(limit), units: MAX_UNITS, after: level.amount })
        .collect();
    let request = |nth: usize| Request {
        takes: takes.clone(),
        ..Request::plain(Print::of_use(&nth.to_le_bytes()), i64::MAX, MAX_COST)
    };
    let account = Account::from_parts(levels, (0..MAX_REQUESTS).map(request).collect()).unwrap();
    let written = encode_usage(&Counter::default(), Leases::NONE, &account, i64::MAX);
    let (_, read) = read(&written);
    assert_eq!((read.levels().len(), read.requests().len()), (MAX_LEVELS, MAX_REQUESTS));
    assert_eq!(encode_usage(&Counter::default(), Leases::NONE, &read, i64::MAX), written);
}
