//! The heads of a hash table's chains, which grows by one bucket at a time.
//!
//! Linear hashing (W. Litwin, "Linear Hashing: A New Tool for File and Table Addressing", 1980): to
//! grow, one bucket is added at the end and one other bucket, its buddy, is split into it; to
//! shrink, the last one is joined to its buddy. So no insertion ever moves more than one chain,
//! however large the table is. The chains themselves belong to the owner of the elements.

use crate::segments::{Place, Segments, NOWHERE};

/// Heads of chains, by hash.
#[derive(Debug, Default)]
pub struct Buckets {
    heads: Segments<Place>,
}

impl Buckets {
    pub fn count(&self) -> usize {
        self.heads.len()
    }

    /// The bucket of a hash. With no bucket at all it is 0, whose head is [`NOWHERE`].
    pub fn of(&self, hash: u32) -> usize {
        let len = self.heads.len().max(1);
        let mask = len.next_power_of_two() - 1;
        let bucket = hash as usize & mask;
        if bucket < len {
            bucket
        } else {
            bucket & (mask >> 1)
        }
    }

    pub fn head(&self, bucket: usize) -> Place {
        self.heads.get(bucket).copied().unwrap_or(NOWHERE)
    }

    pub fn set_head(&mut self, bucket: usize, place: Place) {
        if let Some(head) = self.heads.get_mut(bucket) {
            *head = place;
        }
    }

    /// Adds an empty bucket and returns its buddy, whose chain has to be divided between both by
    /// [`Buckets::of`]; `None` for the first one.
    pub fn grow(&mut self) -> Option<usize> {
        let added = self.heads.len();
        self.heads.push(NOWHERE);
        buddy(added)
    }

    /// Takes the last bucket away and returns the head of its chain with the buddy that has to take
    /// it; `None` when one bucket or none is left.
    pub fn shrink(&mut self) -> Option<(Place, usize)> {
        let buddy = buddy(self.heads.len().checked_sub(1)?)?;
        Some((self.heads.pop()?, buddy))
    }

    pub fn bytes(&self) -> usize {
        self.heads.bytes()
    }
}

/// The bucket without its highest bit.
fn buddy(bucket: usize) -> Option<usize> {
    Some(bucket ^ (1 << bucket.checked_ilog2()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_moves_hashes_from_the_buddy_to_the_new_bucket_and_nowhere_else() {
        let mut buckets = Buckets::default();
        assert_eq!(buckets.of(77), 0);
        buckets.grow();
        for added in 1..100 {
            let before: Vec<_> = (0..1000).map(|hash| buckets.of(hash)).collect();
            let buddy = buckets.grow().unwrap();
            for hash in 0..1000 {
                let bucket = buckets.of(hash);
                let was = before[hash as usize];
                assert!(bucket == was || (bucket == added && was == buddy), "hash {hash}");
                assert!(bucket < buckets.count());
            }
        }
    }
}
