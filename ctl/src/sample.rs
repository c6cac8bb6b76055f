//! Some of a node's keys, found by a bounded walk: of what kind they are, what they take, which tags they carry.
//!
//! A server's tables are in the order of a hash, so the first keys that SCAN gives are as good as any. What is said of
//! all keys by them is an estimate, and whoever tells it has to say so.

use std::collections::BTreeMap;

use anyhow::Result;
use redis::{Cmd, Value};

use crate::connect::Link;
use crate::deployment::Node;
use crate::reading::{keys, reply};

/// Keys that one call looks at.
const STEP: u64 = 200;

/// What a key holds: the module's by the names that HEALTH has for their numbers, and what is not the module's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Record,
    Absent,
    Scopes,
    List,
    /// A value of a region's.
    Cached,
    Counter,
    Other,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Record,
        Self::Absent,
        Self::Scopes,
        Self::List,
        Self::Cached,
        Self::Counter,
        Self::Other,
    ];

    /// Its field of HEALTH, by which results name it too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "records",
            Self::Absent => "absent",
            Self::Scopes => "scopes",
            Self::List => "lists",
            Self::Cached => "cached_values",
            Self::Counter => "usage_counters",
            Self::Other => "other",
        }
    }

    /// What carries tags, and has a TTL.
    pub fn is_entry(self) -> bool {
        !matches!(self, Self::Counter | Self::Other)
    }
}

/// A key that was looked at.
pub struct Key {
    pub database: u32,
    pub name: Vec<u8>,
    pub kind: Kind,
    /// By MEMORY USAGE.
    pub bytes: u64,
    /// Of an entry that lives.
    pub tags: Vec<Vec<u8>>,
}

/// Keys of all databases of a node, at most so many of each.
pub fn keys(node: &Node, most: u64) -> Result<Vec<Key>> {
    let databases = node.facts().map(|facts| facts.databases()).unwrap_or_default();
    let mut keys = Vec::new();
    for database in databases {
        let mut link = node.connect(database)?;
        let mut cursor = b"0".to_vec();
        let mut looked = 0;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("COUNT").arg(STEP);
            let (next, names): (Vec<u8>, Vec<Vec<u8>>) = link.ask(&scan)?;
            looked += names.len() as u64;
            look(&mut link, database, names, &mut keys)?;
            if next == b"0" || looked >= most {
                break;
            }
            cursor = next;
        }
    }
    Ok(keys)
}

fn look(link: &mut Link, database: u32, names: Vec<Vec<u8>>, keys: &mut Vec<Key>) -> Result<()> {
    let each = |command: &[&str], name: &[u8]| {
        let mut asked = Cmd::new();
        asked.arg(command).arg(name);
        asked
    };
    let commands: Vec<Cmd> = names
        .iter()
        .flat_map(|name| [each(&["TYPE"], name), each(&["MEMORY", "USAGE"], name)])
        .collect();
    let replies = all(link, &commands)?;
    let mut entries = Vec::new();
    for (name, replies) in names.into_iter().zip(replies.chunks_exact(2)) {
        let [is, bytes] = replies else { continue };
        // None where it is gone by now.
        let Some(bytes) = reply::number(bytes).and_then(|bytes| u64::try_from(bytes).ok()) else {
            continue;
        };
        let kind = match reply::text(is).as_deref() {
            Some("apikeyrec") => Kind::Record,
            Some("apikeyscp") => Kind::Scopes,
            Some("apikeylst") => Kind::List,
            Some(keys::CACHED) => Kind::Cached,
            Some("apikeyuse") => Kind::Counter,
            _ => Kind::Other,
        };
        let key = Key { database, name, kind, bytes, tags: Vec::new() };
        if kind.is_entry() { &mut entries } else { &mut *keys }.push(key);
    }
    let commands: Vec<Cmd> = entries.iter().map(|key| each(&["APIKEY.TAGS"], &key.name)).collect();
    for (mut key, tags) in entries.into_iter().zip(all(link, &commands)?) {
        let tags = reply::items(&tags).unwrap_or_default();
        key.tags = tags.iter().filter_map(reply::bytes).map(<[u8]>::to_vec).collect();
        // An absent key is a record of another form; its tag tells. Behind a namespace, as all tags of its kind.
        if key.tags.iter().any(|tag| tag.ends_with(b"apikey:kind:absent")) {
            key.kind = Kind::Absent;
        }
        keys.push(key);
    }
    Ok(())
}

/// Replies of which none may be a refusal, but for a key that is of another type by now.
fn all(link: &mut Link, commands: &[Cmd]) -> Result<Vec<Value>> {
    let replies = link.ask_all(commands)?;
    commands
        .iter()
        .zip(replies)
        .map(|(command, reply)| match reply {
            Ok(value) => Ok(value),
            Err(refusal) if refusal.code == "WRONGTYPE" => Ok(Value::Nil),
            Err(refusal) => Err(link.refused(command, &refusal)),
        })
        .collect()
}

/// The bytes of a key of each kind, on average.
pub fn bytes_by_kind(keys: &[Key]) -> BTreeMap<Kind, f64> {
    let mut sums: BTreeMap<Kind, (u64, f64)> = BTreeMap::new();
    for key in keys {
        let (number, bytes) = sums.entry(key.kind).or_default();
        *number += 1;
        *bytes += key.bytes as f64;
    }
    sums.into_iter().map(|(kind, (number, bytes))| (kind, bytes / number as f64)).collect()
}
