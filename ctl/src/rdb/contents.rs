//! What a file has: counters with what is open of them, entries, other keys.

use std::collections::BTreeSet;
use std::io::{self, Read};

use apikey_engine::codec::value::{decode, Origin, Value};
use apikey_engine::codec::version;
use apikey_engine::limits::account::Account;
use apikey_engine::usage::counter::Counter;
use apikey_engine::usage::id::Id;
use apikey_engine::usage::lease::Leases;
use serde::{Deserialize, Serialize};

use super::items::{Item, Items};
use super::payload;
use super::reader::bad;
use crate::reading::keys;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub counters: u64,
    /// Uses that are not handed over.
    pub pending: i64,
    /// Uses that are handed over and not settled.
    pub leased: i64,
    pub open_batches: u64,
    /// Records, absent keys, decisions, lists and values of regions, dead ones too.
    pub entries: u64,
    /// Keys that are not the module's.
    pub other_keys: u64,
    /// Libraries of functions.
    pub functions: u64,
}

/// What a key is to who restores it.
pub enum Kind {
    Entry,
    Usage(Counter, Leases, Account),
    Other,
}

/// An error: a counter that this program can't read.
pub fn kind(item: &Item) -> io::Result<Kind> {
    let Some(module) = &item.module else { return Ok(Kind::Other) };
    if keys::ENTRIES.contains(&module.name.as_str()) {
        return Ok(Kind::Entry);
    }
    if module.name != keys::COUNTER {
        return Ok(Kind::Other);
    }
    if let Some(why) = version::unread(module.encoding.into()) {
        return Err(bad(&format!("a counter can't be read by this program: its {why}")));
    }
    let bytes = payload::bytes(&item.value).ok_or_else(|| bad("a counter of another form"))?;
    match decode(&bytes, Origin::Anyone) {
        Ok(Value::Usage(counter, leases, account)) => Ok(Kind::Usage(counter, leases, account)),
        Ok(_) => Err(bad("a counter that is none")),
        Err(why) => Err(bad(&format!("a counter that can't be read: {}", why.0))),
    }
}

impl Contents {
    /// Goes over a whole file, and shows each key. An error says at which byte.
    pub fn read(
        from: impl Read,
        mut each: impl FnMut(&Item, &Kind) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut items = Items::begin(from)?;
        Self::go(&mut items, &mut each).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                bad(&format!("it ends at byte {}, in the middle of a key", items.at()))
            }
            io::ErrorKind::InvalidData => bad(&format!("{error}, before byte {}", items.at())),
            _ => error,
        })
    }

    fn go<R: Read>(
        items: &mut Items<R>,
        each: &mut impl FnMut(&Item, &Kind) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut found = Self::default();
        let mut batches: BTreeSet<(u32, Id)> = BTreeSet::new();
        while let Some(item) = items.next()? {
            let kind = kind(&item)?;
            match &kind {
                Kind::Entry => found.entries += 1,
                Kind::Other => found.other_keys += 1,
                Kind::Usage(counter, leases, _) => {
                    found.counters += 1;
                    found.pending = found.pending.saturating_add(counter.pending());
                    found.leased = found.leased.saturating_add(leases.count());
                    batches.extend(leases.lines().iter().map(|line| (item.database, line.batch)));
                }
            }
            each(&item, &kind)?;
        }
        found.open_batches = batches.len() as u64;
        found.functions = items.functions();
        Ok(found)
    }

    pub fn add(&mut self, other: &Self) {
        self.counters += other.counters;
        self.pending = self.pending.saturating_add(other.pending);
        self.leased = self.leased.saturating_add(other.leased);
        self.open_batches += other.open_batches;
        self.entries += other.entries;
        self.other_keys += other.other_keys;
        self.functions += other.functions;
    }
}
