//! Fingerprints: what the index knows a tag by.
//!
//! The index does not keep the names of tags: nobody asks it for them, entries know their own. It knows a
//! tag by 128 bits of SipHash under a key that is drawn at each start and never leaves the process. Two
//! tags of one database share a fingerprint with a chance of about n^2 / 2^129; were it ever to happen,
//! invalidating one would invalidate the other as well, which costs a miss and never a stale answer.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// A tag, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub(super) [u32; 4]);

impl Fingerprint {
    /// A fingerprint that stands for something that is no tag; `number` tells them apart.
    pub const fn reserved(number: u32) -> Self {
        Self([number, 0, 0, 0])
    }

    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.0, [_, 0, 0, 0])
    }

    /// Another part that is spread evenly, of more bits.
    pub fn wide_hash(&self) -> u64 {
        u64::from(self.0[2]) << 32 | u64::from(self.0[3])
    }

    /// A part that is spread evenly.
    pub(crate) fn hash(&self) -> u32 {
        self.0[1]
    }
}

/// Makes fingerprints. All databases of a server share one, since SWAPDB exchanges their indexes.
#[derive(Clone)]
pub struct Fingerprints {
    key: [u8; 16],
}

impl Fingerprints {
    /// `key` has to be random and to stay secret.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    pub fn of(&self, tag: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(tag);
        let hash = hasher.finish128();
        Fingerprint([
            hash.h1 as u32,
            (hash.h1 >> 32) as u32,
            hash.h2 as u32,
            (hash.h2 >> 32) as u32,
        ])
    }
}
