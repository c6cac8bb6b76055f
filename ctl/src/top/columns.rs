//! The columns of the table of nodes: what each shows, and how rows are sorted by it.

use std::cmp::Ordering;

use super::figures::{bytes, duration, percent, short};
use super::sample::Row;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Node,
    Role,
    Status,
    Lookups,
    HitRate,
    Fills,
    Counted,
    Evicted,
    Entries,
    Memory,
    Backlog,
    Pending,
    Leased,
    OldestLease,
}

use Column::*;

pub const COLUMNS: [Column; 14] = [
    Node,
    Role,
    Status,
    Lookups,
    HitRate,
    Fills,
    Counted,
    Evicted,
    Entries,
    Memory,
    Backlog,
    Pending,
    Leased,
    OldestLease,
];

impl Column {
    pub fn heading(self) -> &'static str {
        match self {
            Node => "NODE",
            Role => "ROLE",
            Status => "STATUS",
            Lookups => "LOOKUP/s",
            HitRate => "HIT%",
            Fills => "FILL/s",
            Counted => "COUNT/s",
            Evicted => "EVICT/s",
            Entries => "ENTRIES",
            Memory => "MEM",
            Backlog => "BACKLOG",
            Pending => "PENDING",
            Leased => "LEASED",
            OldestLease => "OLDEST",
        }
    }

    pub fn is_text(self) -> bool {
        matches!(self, Node | Role | Status)
    }

    /// The first to go where the window is small has the highest.
    pub fn rank(self) -> u8 {
        match self {
            Node => 0,
            Status => 1,
            Lookups => 2,
            HitRate => 3,
            Role => 4,
            Entries => 5,
            Memory => 6,
            Pending => 7,
            Fills => 8,
            Counted => 9,
            Leased => 10,
            Backlog => 11,
            Evicted => 12,
            OldestLease => 13,
        }
    }

    pub fn text(self, row: &Row) -> String {
        let rate = |of: fn(&super::sample::Rates) -> f64| {
            row.rates.as_ref().map_or_else(|| "-".into(), |rates| short(of(rates)))
        };
        match self {
            Node => row.node.clone(),
            Role => row.role.into(),
            Status => row.status.clone(),
            _ if row.is_away() => "-".into(),
            Lookups => rate(|rates| rates.lookups),
            HitRate => row.hit_rate().map_or_else(|| "-".into(), percent),
            Fills => rate(|rates| rates.fills),
            Counted => rate(|rates| rates.counted),
            Evicted => rate(|rates| rates.evicted),
            Entries => short(row.entries as f64),
            Memory => bytes(row.used_memory),
            Backlog => short(row.backlog as f64),
            Pending => short(row.usage_pending as f64),
            Leased => short(row.usage_leased as f64),
            OldestLease => match row.oldest_lease_ms {
                0 => "-".into(),
                ms => duration(ms as f64 * 1e3),
            },
        }
    }

    /// The largest number first, names by the alphabet; those that have none are last.
    pub fn compare(self, a: &Row, b: &Row) -> Ordering {
        let severity = |row: &Row| match row.status.as_str() {
            "healthy" => 3,
            "degraded" => 2,
            "unhealthy" => 1,
            _ => 0,
        };
        match self {
            Node => a.node.cmp(&b.node),
            Role => a.role.cmp(b.role),
            Status => severity(a).cmp(&severity(b)),
            _ => self.number(b).total_cmp(&self.number(a)),
        }
    }

    fn number(self, row: &Row) -> f64 {
        const NONE: f64 = -1.0;
        let rate = |of: fn(&super::sample::Rates) -> f64| row.rates.as_ref().map_or(NONE, of);
        match self {
            Node | Role | Status => NONE,
            _ if row.is_away() => NONE,
            Lookups => rate(|rates| rates.lookups),
            HitRate => row.hit_rate().unwrap_or(NONE),
            Fills => rate(|rates| rates.fills),
            Counted => rate(|rates| rates.counted),
            Evicted => rate(|rates| rates.evicted),
            Entries => row.entries as f64,
            Memory => row.used_memory as f64,
            Backlog => row.backlog as f64,
            Pending => row.usage_pending as f64,
            Leased => row.usage_leased as f64,
            OldestLease => row.oldest_lease_ms as f64,
        }
    }
}
