//! How many keys there will be: a share or a number a month, or as many as came since an earlier report.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{bail, Context, Result};

use super::memory::Counts;
use crate::sample::Kind;

/// Days of a month.
const MONTH: f64 = 365.25 / 12.0;

/// By how much a deployment's keys grow in a month.
#[derive(Clone, Debug, PartialEq)]
pub enum Growth {
    /// By this part of what is there: 0.1 for 10 %.
    Share(f64),
    /// By so many records, and of the other kinds in proportion.
    Records(f64),
    /// By so many of each kind.
    Kinds(BTreeMap<Kind, f64>),
}

const FORM: &str = "--growth must be like 10%/month or 5000/week: a share of what is there, or records; a day, week, month or year";

impl FromStr for Growth {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (amount, period) = text.split_once('/').unwrap_or((text, "month"));
        let months = match period {
            "day" => 1.0 / MONTH,
            "week" => 7.0 / MONTH,
            "month" => 1.0,
            "year" => 12.0,
            _ => bail!(FORM),
        };
        let number = |text: &str| {
            let number: f64 = text.trim().parse().ok().context(FORM)?;
            anyhow::ensure!(number.is_finite() && (0.0..=1e12).contains(&number), FORM);
            Ok::<f64, anyhow::Error>(number)
        };
        Ok(match amount.strip_suffix('%') {
            // Of a share comes a share: 10 % a week are 51 % a month.
            Some(share) => Self::Share((1.0 + number(share)? / 100.0).powf(1.0 / months) - 1.0),
            None => Self::Records(number(amount)? / months),
        })
    }
}

impl Growth {
    /// The growth between two counts of all kinds.
    pub fn between(then: &Counts, now: &Counts, days: f64) -> Self {
        let of = |kind: &Kind| {
            let before = then.get(kind).copied().unwrap_or(0.0);
            (now.get(kind).copied().unwrap_or(0.0) - before) / days * MONTH
        };
        Self::Kinds(now.keys().map(|kind| (*kind, of(kind))).collect())
    }

    /// A node's keys after so many months; `part` of the deployment's growth is its own.
    pub fn after(&self, months: f64, now: &Counts, part: f64) -> Counts {
        let records = now.get(&Kind::Record).copied().unwrap_or(0.0);
        let grown = |(kind, number): (&Kind, &f64)| {
            let grown = match self {
                // What is not the module's is not known to grow, nor does what regions hold with the records.
                _ if *kind == Kind::Other => *number,
                Self::Records(_) if *kind == Kind::Cached => *number,
                Self::Share(share) => number * (1.0 + share).powf(months),
                Self::Records(_) if records < 1.0 => *number,
                Self::Records(more) => number * (1.0 + more * part * months / records),
                Self::Kinds(more) => {
                    number + more.get(kind).copied().unwrap_or(0.0) * part * months
                }
            };
            (*kind, grown.max(0.0))
        };
        now.iter().map(grown).collect()
    }
}

/// The same keys in such a number that there are so many records.
pub fn scaled(now: &Counts, records: f64) -> Counts {
    let have = now.get(&Kind::Record).copied().unwrap_or(0.0);
    if have < 1.0 {
        return now
            .iter()
            .map(|(kind, n)| (*kind, if *kind == Kind::Record { records } else { *n }))
            .collect();
    }
    let scale = |(kind, number): (&Kind, &f64)| match kind {
        Kind::Other | Kind::Cached => (*kind, *number),
        _ => (*kind, number * records / have),
    };
    now.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(records: f64, counters: f64) -> Counts {
        [(Kind::Record, records), (Kind::Counter, counters), (Kind::Other, 7.0)].into()
    }

    #[test]
    fn growth_is_read_and_compounds_where_it_is_a_share() {
        let growth: Growth = "10%/month".parse().expect("a growth");
        let after = growth.after(2.0, &counts(1000.0, 500.0), 1.0);
        let expected: Counts = counts(1210.0, 605.0);
        for (kind, number) in expected {
            assert!((after[&kind] - number).abs() < 1e-6, "{kind:?}: {after:?}");
        }
        let Ok(Growth::Records(more)) = "7000/week".parse() else { panic!("records") };
        assert!((more - 30_437.5).abs() < 0.1, "{more}");
        assert_eq!(
            Growth::Records(100.0).after(2.0, &counts(100.0, 10.0), 0.5),
            counts(200.0, 20.0)
        );
        for wrong in ["", "x", "-5%/month", "5%/hour", "inf", "nan%"] {
            assert!(wrong.parse::<Growth>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn growth_is_what_came_between_two_reports() {
        let growth = Growth::between(&counts(100.0, 50.0), &counts(200.0, 40.0), MONTH);
        assert_eq!(growth.after(1.0, &counts(200.0, 40.0), 1.0), counts(300.0, 30.0));
    }

    #[test]
    fn what_is_there_is_scaled_to_so_many_records() {
        assert_eq!(scaled(&counts(100.0, 50.0), 1000.0), counts(1000.0, 500.0));
        assert_eq!(scaled(&counts(0.0, 0.0), 1000.0), counts(1000.0, 0.0));
    }
}
