//! What becomes of a counter of a backup, so that no use is written twice.
//!
//! In a backup uses are *pending*, without a line's id, *leased* under ids, or settled. What was pending may have been
//! leased and written since, under ids that the backup never knew; so it can't simply be pending again. What is right
//! the database knows: its total of a key, since the counter began, has all that was settled by the time of the backup,
//! and what was written since. The counter is then pending by what is missing there, and no more than was open.

use std::io;

use apikey_engine::codec::value::encode_usage;
use apikey_engine::limits::account::Account;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::lease::Leases;
use clap::ValueEnum;

use super::written::Written;
use crate::rdb::payload;
use crate::rdb::Item;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The database has all of them: totals come back, and nothing is pending
    Settled,
    /// Nothing was written since the backup: all is open as it was, leased lines under their ids
    Open,
    /// No counter comes back
    Drop,
}

pub enum Counts {
    Said(Choice),
    Written(Written),
}

/// A counter as it is restored.
pub struct Restored {
    pub counter: Counter,
    pub leases: Leases,
}

impl Restored {
    /// What RESTORE takes, with what was taken from its limits and has not come back by now.
    pub fn payload(&self, id: u64, account: &Account, now: i64) -> Vec<u8> {
        payload::of_bytes(id, &encode_usage(&self.counter, &self.leases, account, now))
    }
}

impl Counts {
    /// None where the counter does not come back. An error: what the database has can't be of this counter.
    pub fn restored(
        &self,
        item: &Item,
        counter: &Counter,
        leases: &Leases,
    ) -> io::Result<Option<Restored>> {
        // Less than nothing where requests turned out to cost less than was handed over: what is used next makes it up.
        let open = counter.pending().saturating_add(leases.count());
        let parts = match self {
            Self::Said(Choice::Drop) => return Ok(None),
            Self::Said(Choice::Open) => {
                return Ok(Some(Restored { counter: *counter, leases: leases.clone() }));
            }
            Self::Said(Choice::Settled) => (open.min(0), counter.total()),
            Self::Written(written) => {
                let settled = counter.total().saturating_sub(open);
                let has = written.of(item.database, &item.key);
                if has < settled {
                    let key = item.key.escape_ascii();
                    return Err(io::Error::other(format!(
                        "--written has {has} uses of {key}, of which {settled} were settled when the backup was taken: \
                         it must have all that was written since the counter began"
                    )));
                }
                match has == settled {
                    true => (open, counter.total()),
                    false => {
                        let missing = counter.total().saturating_sub(has).max(0);
                        (missing, counter.total().max(has))
                    }
                }
            }
        };
        let (pending, total) = parts;
        let counter =
            Counter::from_parts(pending, total, counter.first_used_at(), counter.last_used_at());
        let counter = counter.ok_or_else(|| io::Error::other("a counter of more than it has"))?;
        Ok(Some(Restored { counter, leases: Leases::NONE.clone() }))
    }
}
