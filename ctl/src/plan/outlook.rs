//! What a primary will take, month by month, and when that is more than it should have.

use serde::Serialize;

use super::growth::Growth;
use super::memory::{by_name, Counts, Look, Rates};
use super::tables::Tables;
use crate::sample::Kind;

/// Of `maxmemory`, in percent: what one aims at, is warned of and woken by; and all of it.
pub const MARKS: [f64; 4] = [80.0, 85.0, 95.0, 100.0];
/// Beyond which nobody plans.
const MOST_MONTHS: f64 = 240.0;
const MOST_RECORDS: f64 = 1e11;

/// Keys, and what `used_memory` would be.
#[derive(Clone, Debug, Serialize)]
pub struct Then {
    pub month: Option<f64>,
    #[serde(serialize_with = "by_name")]
    pub keys: Counts,
    pub bytes: f64,
    /// As the server's tables double.
    pub at_most: f64,
}

/// How far it is to a mark.
#[derive(Clone, Debug, Serialize)]
pub struct Room {
    pub percent: f64,
    /// Of this primary, when it is reached.
    pub records: f64,
    /// None where it is not within twenty years, or no growth is known.
    pub months: Option<f64>,
}

/// A primary as it is, and how to reckon from there.
pub struct Outlook<'a> {
    pub look: &'a Look,
    pub rates: &'a Rates,
    pub tables: Tables,
    /// What of the deployment's growth is its own.
    pub part: f64,
}

impl Outlook<'_> {
    pub fn with(&self, keys: Counts, month: Option<f64>) -> Then {
        let (bytes, at_most) = self.rates.growth(&self.look.counts, &keys, self.tables);
        Then { month, keys, bytes: self.look.used + bytes, at_most: self.look.used + at_most }
    }

    pub fn after(&self, months: f64, growth: &Growth) -> Then {
        self.with(growth.after(months, &self.look.counts, self.part), Some(months))
    }

    /// How far it is to each mark of a limit.
    pub fn rooms(
        &self,
        limit: f64,
        growth: Option<&Growth>,
        of_records: impl Fn(f64) -> Counts,
    ) -> Vec<Room> {
        let room = |percent: f64| {
            let bytes = limit * percent / 100.0;
            let records =
                least(MOST_RECORDS, |records| self.with(of_records(records), None).bytes >= bytes);
            let months = growth.and_then(|growth| {
                let reached = |months: f64| self.after(months, growth).bytes >= bytes;
                reached(MOST_MONTHS).then(|| least(MOST_MONTHS, reached))
            });
            Room { percent, records: records.floor(), months }
        };
        MARKS.into_iter().map(room).collect()
    }
}

/// The least number up to this of which it is so; what it is so of, it is of all above.
fn least(most: f64, is_so: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, most);
    if is_so(low) {
        return low;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if is_so(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// Records of a primary.
pub fn records(keys: &Counts) -> f64 {
    keys.get(&Kind::Record).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::growth::scaled;
    use crate::reading::{Facts, Info};

    #[test]
    fn months_and_records_to_a_mark_are_found() {
        let look = Look {
            used: 1e6,
            fixed: 0.0,
            index: 0.0,
            counts: [(Kind::Record, 1000.0)].into(),
            tables: 0.0,
        };
        let rates = Rates {
            bytes_of_key: [(Kind::Record, 900.0)].into(),
            index_bytes_of_entry: 100.0,
            by_scratch: false,
            sampled: 0,
        };
        let tables =
            Tables::of(&Facts::of(Info::parse("redis_version:8.0.0\ncluster_enabled:1\n")));
        let outlook = Outlook { look: &look, rates: &rates, tables, part: 1.0 };
        let growth = Growth::Records(1000.0);
        let rooms = outlook.rooms(1e7, Some(&growth), |records| scaled(&look.counts, records));
        // 1,000 bytes a record, and 23 of tables.
        let all = &rooms[3];
        assert_eq!(all.percent, 100.0);
        assert!((all.records - 9797.0).abs() < 2.0, "{all:?}");
        assert!(all.months.is_some_and(|months| (months - 8.797).abs() < 0.01), "{all:?}");
        let none = Growth::Records(0.0);
        let rooms = outlook.rooms(1e7, Some(&none), |records| scaled(&look.counts, records));
        assert_eq!(rooms[0].months, None);
        assert_eq!(outlook.rooms(1e5, Some(&none), |_| look.counts.clone())[0].months, Some(0.0));
    }
}
