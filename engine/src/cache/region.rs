//! A region: what was asked of it and answered, how much it holds, and what of it is used most.
//!
//! How many entries it has the index knows, as the members of its tag.

use crate::cache::eviction::Pool;
use crate::cache::top::Top;
use crate::cache::uses::Clock;
use crate::entry::region_tag::RegionTag;
use crate::minute::{LastMinute, Minute};
use crate::tags::fingerprint::Fingerprint;

/// Names whose uses are counted.
const TOP_NAMES: usize = 512;

/// What is read of the region between two names that are noted for it: each stands for so many bytes. Of what is read
/// more often more is noted.
const BYTES_A_NOTE: u64 = 16 << 10;

/// How long a use counts as one; then it is half of one, and so on.
const HALVED_AFTER_MS: i64 = 3_600_000;

/// What was answered and done since the region came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub hits: u64,
    pub stale: u64,
    pub misses: u64,
    /// Readers that were told to wait for another.
    pub waits: u64,
    /// Answers that the source has no such thing.
    pub absent: u64,
    /// Entries that went since there were too many, or since memory was short.
    pub evicted: u64,
    /// Values, and that there are none, that were stored.
    pub stored: u64,
    pub refused_fills: u64,
    /// Leases that were given.
    pub leases: u64,
}

/// What an answer is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Hit,
    Stale,
    Absent,
    Miss,
    Wait,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Region {
    tag: RegionTag,
    /// Its tag, as the index knows it.
    pub print: Fingerprint,
    /// Of all its entries, with their names.
    pub bytes: u64,
    pub counts: Counts,
    minute: Minute,
    tops: Option<Box<Tops>>,
    /// By which entries are idle.
    pub clock: Clock,
    /// Those that are to be evicted next.
    pub pool: Pool,
    /// State of a generator of numbers.
    random: u64,
}

#[derive(Debug)]
struct Tops {
    hits: Top,
    bytes: Top,
    /// Bytes that were read since the last note.
    since_note: u64,
    halved_at: i64,
}

/// By what the names of a region are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// How often they were read.
    Hits,
    /// How many bytes were.
    Bytes,
}

impl Region {
    pub fn new(tag: RegionTag, print: Fingerprint) -> Self {
        Self {
            tag,
            print,
            bytes: 0,
            counts: Counts::default(),
            minute: Minute::default(),
            tops: None,
            clock: Clock::default(),
            pool: Pool::default(),
            random: u64::from(print.hash()) << 32 | 1,
        }
    }

    pub fn tag(&self) -> &RegionTag {
        &self.tag
    }

    /// An answer was given.
    pub fn count(&mut self, answer: Answer, now: i64) {
        let counts = &mut self.counts;
        match answer {
            Answer::Hit => counts.hits += 1,
            Answer::Stale => counts.stale += 1,
            Answer::Absent => counts.absent += 1,
            Answer::Miss => counts.misses += 1,
            Answer::Wait => counts.waits += 1,
        }
        match answer {
            Answer::Hit | Answer::Stale | Answer::Absent => self.minute.count_hit(now),
            Answer::Miss => self.minute.count_miss(now),
            // The reader asks again, and is counted then.
            Answer::Wait => {}
        }
    }

    /// A value of so many bytes was read under this name.
    pub fn note_read(&mut self, name: &[u8], bytes: usize, now: i64) {
        let tops = self.tops.get_or_insert_with(|| {
            Box::new(Tops {
                hits: Top::new(TOP_NAMES),
                bytes: Top::new(TOP_NAMES),
                since_note: 0,
                halved_at: now,
            })
        });
        // A clock that was set back begins anew.
        if now.saturating_sub(tops.halved_at).unsigned_abs() >= HALVED_AFTER_MS.unsigned_abs() {
            tops.halved_at = now;
            tops.hits.age();
            tops.bytes.age();
        }
        tops.hits.add(name, 1);
        tops.since_note += bytes as u64;
        if tops.since_note >= BYTES_A_NOTE {
            tops.bytes.add(name, std::mem::take(&mut tops.since_note));
        }
    }

    /// The names that were read most, the first before the others, each with an estimate of how much.
    pub fn top(&self, by: By, count: usize) -> Vec<(Vec<u8>, u64)> {
        self.tops.as_ref().map_or_else(Vec::new, |tops| match by {
            By::Hits => tops.hits.top(count),
            By::Bytes => tops.bytes.top(count),
        })
    }

    pub fn last_minute(&self, now: i64) -> LastMinute {
        self.minute.at(now)
    }

    /// A number that nobody can tell before: splitmix64 (Steele, Lea, Flood 2014).
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Whether nothing is known of it but its name.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}
