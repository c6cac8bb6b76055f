//! Calendar periods: hours, days, weeks that begin on Monday, months from a day of theirs, years; in UTC plus an offset.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate};

/// The offsets, in minutes, that a period may have.
pub const MOST_OFFSET: i16 = 1440;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
    Week,
    /// From its day of this number on; from its last where it is shorter.
    Month(u8),
    Year,
}

impl Unit {
    /// Their names, as records and options have them in any case.
    pub const NAMES: [&'static str; 5] = ["hour", "day", "week", "month", "year"];

    /// The unit of this name, a month beginning with its first day.
    pub fn of(name: &str) -> Option<Self> {
        let number = Self::NAMES.iter().position(|own| own.eq_ignore_ascii_case(name))?;
        Self::from_parts(u8::try_from(number).ok()?, 1)
    }

    pub(super) fn from_parts(number: u8, day: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Hour,
            1 => Self::Day,
            2 => Self::Week,
            3 => Self::Month(day),
            4 => Self::Year,
            _ => return None,
        })
    }

    /// Its number among the [names](Self::NAMES), and the day with which it begins.
    pub(super) fn parts(self) -> (u8, u8) {
        match self {
            Self::Hour => (0, 1),
            Self::Day => (1, 1),
            Self::Week => (2, 1),
            Self::Month(day) => (3, day),
            Self::Year => (4, 1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    pub unit: Unit,
    /// Minutes by which its clock is ahead of UTC.
    pub offset: i16,
}

impl Calendar {
    /// The period of a time, both in epoch milliseconds: when it has begun, and when the next one begins. All times,
    /// where the calendar does not reach.
    pub fn period(&self, now: i64) -> (i64, i64) {
        self.within(now).unwrap_or((i64::MIN, i64::MAX))
    }

    /// Whether the period of a time has another one as well.
    pub fn has(&self, now: i64, other: i64) -> bool {
        let (from, to) = self.period(now);
        (from..to).contains(&other)
    }

    fn within(&self, now: i64) -> Option<(i64, i64)> {
        const HOUR: i64 = 3_600_000;
        const DAY: i64 = 24 * HOUR;
        let ahead = i64::from(self.offset) * 60_000;
        let local = now.checked_add(ahead)?;
        let whole = |ms: i64, phase: i64| {
            let from = local.checked_sub((local.checked_add(phase)?).rem_euclid(ms))?;
            Some((from, from.checked_add(ms)?))
        };
        let (from, to) = match self.unit {
            Unit::Hour => whole(HOUR, 0)?,
            Unit::Day => whole(DAY, 0)?,
            // The epoch was a Thursday.
            Unit::Week => whole(7 * DAY, 3 * DAY)?,
            Unit::Month(day) => {
                let date = DateTime::from_timestamp_millis(local)?.date_naive();
                let first = date.with_day(1)?;
                let own = nth(first, day)?;
                let (from, to) = if date < own {
                    (nth(first.checked_sub_months(Months::new(1))?, day)?, own)
                } else {
                    (own, nth(first.checked_add_months(Months::new(1))?, day)?)
                };
                (midnight(from), midnight(to))
            }
            Unit::Year => {
                let year = DateTime::from_timestamp_millis(local)?.year();
                let first = |year| NaiveDate::from_ymd_opt(year, 1, 1).map(midnight);
                (first(year)?, first(year.checked_add(1)?)?)
            }
        };
        Some((from.checked_sub(ahead)?, to.checked_sub(ahead)?))
    }
}

/// The day of a month with this number, or its last.
fn nth(first: NaiveDate, day: u8) -> Option<NaiveDate> {
    let last = first.checked_add_months(Months::new(1))?.checked_sub_days(Days::new(1))?;
    first.with_day(u32::from(day).clamp(1, last.day()))
}

fn midnight(date: NaiveDate) -> i64 {
    date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn ms(text: &str) -> i64 {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M")
            .unwrap()
            .and_utc()
            .timestamp_millis()
    }

    #[test]
    fn periods_begin_and_end_where_the_calendar_says() {
        let month = Unit::Month;
        for (unit, offset, now, from, to) in [
            (Unit::Hour, 0, "2026-11-30 06:59", "2026-11-30 06:00", "2026-11-30 07:00"),
            (Unit::Hour, 30, "2026-11-30 06:29", "2026-11-30 05:30", "2026-11-30 06:30"),
            (Unit::Day, 0, "2026-11-30 00:00", "2026-11-30 00:00", "2026-12-01 00:00"),
            (Unit::Day, 540, "2026-11-30 15:00", "2026-11-30 15:00", "2026-12-01 15:00"),
            (Unit::Day, -300, "2026-11-30 04:59", "2026-11-29 05:00", "2026-11-30 05:00"),
            (Unit::Week, 0, "2026-11-29 23:59", "2026-11-23 00:00", "2026-11-30 00:00"),
            (Unit::Week, 0, "2026-11-30 00:00", "2026-11-30 00:00", "2026-12-07 00:00"),
            (Unit::Week, 0, "1969-12-30 12:00", "1969-12-29 00:00", "1970-01-05 00:00"),
            (month(1), 0, "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
            (month(15), 0, "2026-01-14 23:59", "2025-12-15 00:00", "2026-01-15 00:00"),
            (month(31), 0, "2026-02-27 10:00", "2026-01-31 00:00", "2026-02-28 00:00"),
            (month(31), 0, "2026-02-28 00:00", "2026-02-28 00:00", "2026-03-31 00:00"),
            (month(30), 0, "2028-02-29 00:00", "2028-02-29 00:00", "2028-03-30 00:00"),
            (month(29), 0, "2027-02-28 00:00", "2027-02-28 00:00", "2027-03-29 00:00"),
            (month(1), 540, "2026-11-30 15:00", "2026-11-30 15:00", "2026-12-31 15:00"),
            (Unit::Year, 0, "2028-12-31 23:59", "2028-01-01 00:00", "2029-01-01 00:00"),
            (Unit::Year, -1440, "2029-01-01 23:59", "2028-01-02 00:00", "2029-01-02 00:00"),
        ] {
            let period = Calendar { unit, offset }.period(ms(now));
            assert_eq!(period, (ms(from), ms(to)), "{unit:?} {offset} {now}");
        }
        for now in [i64::MIN, i64::MAX] {
            for unit in [Unit::Hour, Unit::Week, month(31), Unit::Year] {
                for offset in [-MOST_OFFSET, MOST_OFFSET] {
                    let (from, to) = Calendar { unit, offset }.period(now);
                    assert!(from <= now && now <= to);
                }
            }
        }
    }

    proptest! {
        /// Periods have no holes and do not overlap, and each day of a month's is its day or its month's last.
        #[test]
        fn each_period_ends_where_the_next_begins(
            now in 0_i64..4_102_444_800_000,
            number in 0_u8..5,
            day in 1_u8..=31,
            offset in -MOST_OFFSET..=MOST_OFFSET,
        ) {
            let calendar = Calendar { unit: Unit::from_parts(number, day).unwrap(), offset };
            let (from, to) = calendar.period(now);
            prop_assert!(from <= now && now < to);
            prop_assert_eq!(calendar.period(from), (from, to));
            prop_assert_eq!(calendar.period(to - 1), (from, to));
            prop_assert_eq!(calendar.period(to).0, to);
            if let Unit::Month(day) = calendar.unit {
                let local = DateTime::from_timestamp_millis(from).unwrap() + TimeDelta::minutes(offset.into());
                let is_last = (local + TimeDelta::days(1)).month() != local.month();
                prop_assert!(local.day() == u32::from(day) || is_last && local.day() < day.into());
            }
        }
    }
}
