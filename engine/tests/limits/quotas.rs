//! Quotas, against a calendar that walks from day to day.

use crate::history::limit;
use crate::node::{Call, Node, Said};
use apikey_engine::limits::calendar::{Calendar, Unit, MOST_OFFSET};
use apikey_engine::limits::level::NEVER;
use apikey_engine::limits::limit::Rule;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Weekday};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// When a period has begun, by its own clock.
pub fn begin(calendar: Calendar, now: i64) -> NaiveDateTime {
    let local = DateTime::from_timestamp_millis(now + i64::from(calendar.offset) * 60_000);
    let local = local.unwrap().naive_utc();
    let is_first = |date: NaiveDate| match calendar.unit {
        Unit::Hour | Unit::Day => true,
        Unit::Week => date.weekday() == Weekday::Mon,
        Unit::Month(day) => {
            let is_last = date.succ_opt().unwrap().month() != date.month();
            date.day() == u32::from(day) || is_last && date.day() < u32::from(day)
        }
        Unit::Year => date.ordinal() == 1,
    };
    let mut date = local.date();
    while !is_first(date) {
        date = date.pred_opt().unwrap();
    }
    let hour = if calendar.unit == Unit::Hour { local.hour() } else { 0 };
    date.and_hms_opt(hour, 0, 0).unwrap()
}

pub fn calendar() -> impl Strategy<Value = Calendar> {
    let day = prop_oneof![1u8..=31, Just(1), Just(28), Just(29), Just(30), Just(31)];
    let unit = prop_oneof![
        Just(Unit::Hour),
        Just(Unit::Day),
        Just(Unit::Week),
        Just(Unit::Year),
        day.prop_map(Unit::Month),
    ];
    let offset = prop_oneof![Just(0), Just(-MOST_OFFSET), Just(MOST_OFFSET), -1440i16..=1440];
    (unit, offset).prop_map(|(unit, offset)| Calendar { unit, offset })
}

/// Requests of more than a year, some of them in the first and the last moments of days.
fn requests() -> impl Strategy<Value = Vec<(i64, i64)>> {
    const DAY: i64 = 86_400_000;
    let time = (0i64..400, prop_oneof![0..DAY, Just(0), Just(DAY - 1)], -1440i64..=1440)
        .prop_map(|(day, ms, offset)| day * DAY + ms - offset * 60_000);
    let time = prop_oneof![time, (0i64..400 * 24).prop_map(|hour| hour * 3_600_000)];
    proptest::collection::vec((time, 0i64..9), 1..100).prop_map(|mut all| {
        all.sort_unstable();
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_quota_admits_its_units_in_each_period_of_a_year(
        calendar in calendar(),
        units in 0i64..20,
        year in 1999i32..2105,
        requests in requests(),
    ) {
        let start = NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap();
        let start = start.and_utc().timestamp_millis();
        let limits = [(0, limit("quota", Rule::Quota { units, calendar }))];
        let (mut node, mut taken) = (Node::new(1), BTreeMap::<NaiveDateTime, i64>::new());
        for (time, cost) in requests {
            let now = start + time;
            let call = Call { limits: &limits, cost, id: None, now };
            let said = node.judge(&call)[0].1.standing;
            let period = begin(calendar, now);
            let sum = taken.entry(period).or_default();
            prop_assert_eq!((said.limit, said.remaining), (units, units - *sum));
            prop_assert_eq!(begin(calendar, now + said.reset_ms - 1), period);
            prop_assert!(begin(calendar, now + said.reset_ms) > period);
            let may = *sum + cost <= units;
            let retry = if may { 0 } else if cost > units { NEVER } else { said.reset_ms };
            prop_assert_eq!(said.retry_ms, retry);
            prop_assert_eq!(matches!(node.admit(&call), Said::Admitted(_)), may);
            *sum += if may { cost } else { 0 };
        }
        prop_assert!(taken.values().all(|sum| *sum <= units));
    }
}
