//! Sequences that grow and shrink a segment at a time.
//!
//! A `Vec` of two million elements stalls the server for 40 ms when it grows, because it moves all
//! of them. [`Segments`] keeps its elements in segments of [`SEGMENT`]: growing allocates one
//! segment and moves nothing (only the first segment grows by a half of itself, so that a short sequence
//! is small). [`Slab`] hands out places whose number stays the same until they are freed, in blocks of a
//! few, and frees a block with its last value, so that memory follows what lives.

/// Elements in one segment.
pub const SEGMENT: usize = 1024;

/// The least by which a first segment grows: what fills the least allocation with numbers of 4 bytes.
const MIN_STEP: usize = 4;

/// A vector in segments: push, pop and access by position in constant time. A short one is a single
/// allocation.
#[derive(Debug)]
pub struct Segments<T> {
    first: Vec<T>,
    /// What follows a first one that is full; none of them is empty.
    rest: Option<Box<Rest<T>>>,
}

#[derive(Debug)]
struct Rest<T> {
    segments: Vec<Vec<T>>,
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Self { first: Vec::new(), rest: None }
    }
}

impl<T> Segments<T> {
    pub fn len(&self) -> usize {
        match self.rest.as_ref().and_then(|rest| Some((rest.segments.len(), rest.segments.last()?)))
        {
            None => self.first.len(),
            Some((count, last)) => count * SEGMENT + last.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        match (at / SEGMENT).checked_sub(1) {
            None => self.first.get(at),
            Some(nth) => self.rest.as_ref()?.segments.get(nth)?.get(at % SEGMENT),
        }
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match (at / SEGMENT).checked_sub(1) {
            None => self.first.get_mut(at),
            Some(nth) => self.rest.as_mut()?.segments.get_mut(nth)?.get_mut(at % SEGMENT),
        }
    }

    pub fn push(&mut self, value: T) {
        if self.first.len() < SEGMENT {
            if self.first.len() == self.first.capacity() {
                let more = (self.first.len() / 2).max(MIN_STEP);
                self.first.reserve_exact(more.min(SEGMENT - self.first.len()));
            }
            self.first.push(value);
            return;
        }
        let rest = self.rest.get_or_insert_with(|| Box::new(Rest { segments: Vec::new() }));
        match rest.segments.last_mut() {
            Some(last) if last.len() < SEGMENT => last.push(value),
            _ => {
                let mut segment = Vec::with_capacity(SEGMENT);
                segment.push(value);
                rest.segments.push(segment);
            }
        }
    }

    pub fn pop(&mut self) -> Option<T> {
        if let Some(rest) = &mut self.rest {
            let last = rest.segments.last_mut()?;
            let value = last.pop();
            if last.is_empty() {
                rest.segments.pop();
            }
            if rest.segments.is_empty() {
                self.rest = None;
            }
            return value;
        }
        let value = self.first.pop();
        if self.first.is_empty() {
            self.first = Vec::new();
        } else if self.first.len() <= self.first.capacity() / 4 {
            self.first.shrink_to(self.first.capacity() / 2);
        }
        value
    }

    /// Bytes of the segments themselves, without what the elements own.
    pub fn bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| {
            size_of::<Rest<T>>()
                + rest.segments.len() * SEGMENT * size_of::<T>()
                + rest.segments.capacity() * size_of::<Vec<T>>()
        });
        self.first.capacity() * size_of::<T>() + rest
    }
}

/// The number of a place in a [`Slab`].
pub type Place = u32;

/// No place: the end of a chain.
pub const NOWHERE: Place = Place::MAX;

/// Places in one block of a [`Slab`]: few, so that a block soon has none in use.
const BLOCK: usize = 64;

#[derive(Debug)]
enum Slot<T> {
    Used(T),
    /// The next free place of the same block.
    Free(Place),
}

#[derive(Debug)]
struct Block<T> {
    slots: Vec<Slot<T>>,
    used: u32,
    /// The first free place among `slots`, as a number of the slab.
    free: Place,
}

impl<T> Block<T> {
    const EMPTY: Self = Self { slots: Vec::new(), used: 0, free: NOWHERE };

    fn is_full(&self) -> bool {
        self.free == NOWHERE && self.slots.len() == BLOCK
    }
}

/// Places for values, each with a number that holds as long as the value stays. A block is allocated
/// with its first value and freed with its last.
#[derive(Debug)]
pub struct Slab<T> {
    blocks: Segments<Block<T>>,
    /// Blocks that are not full, the one to fill next at the end; among them may be numbers of blocks
    /// that have been taken off the end of `blocks` since.
    open: Segments<u32>,
    len: usize,
    /// Blocks that have a value.
    allocated: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { blocks: Segments::default(), open: Segments::default(), len: 0, allocated: 0 }
    }
}

impl<T> Slab<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the highest number in use; for walks.
    pub fn end(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    /// Whether another value finds a number.
    pub fn has_room(&self) -> bool {
        self.end() + BLOCK < NOWHERE as usize
    }

    pub fn get(&self, place: Place) -> Option<&T> {
        match self.blocks.get(place as usize / BLOCK)?.slots.get(place as usize % BLOCK)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        let block = self.blocks.get_mut(place as usize / BLOCK)?;
        match block.slots.get_mut(place as usize % BLOCK)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Puts a value into a free place and returns its number; `None` when there is none left
    /// ([`Slab::has_room`]).
    pub fn insert(&mut self, value: T) -> Option<Place> {
        if !self.has_room() {
            return None;
        }
        let number = self.block_with_room()?;
        let base = number as usize * BLOCK;
        let block = self.blocks.get_mut(number as usize)?;
        if block.used == 0 {
            block.slots.reserve_exact(BLOCK);
            self.allocated += 1;
        }
        let place = match block.free {
            NOWHERE => {
                block.slots.push(Slot::Used(value));
                Place::try_from(base + block.slots.len() - 1).ok()?
            }
            place => {
                let slot = block.slots.get_mut(place as usize % BLOCK)?;
                if let Slot::Free(next) = std::mem::replace(slot, Slot::Used(value)) {
                    block.free = next;
                }
                place
            }
        };
        block.used += 1;
        self.len += 1;
        if block.is_full() {
            self.open.pop();
        }
        Some(place)
    }

    /// The block at the end of `open`, made where there is none.
    fn block_with_room(&mut self) -> Option<u32> {
        while let Some(&number) = self.open.len().checked_sub(1).and_then(|at| self.open.get(at)) {
            if (number as usize) < self.blocks.len() {
                return Some(number);
            }
            self.open.pop();
        }
        let number = u32::try_from(self.blocks.len()).ok()?;
        self.blocks.push(Block::EMPTY);
        self.open.push(number);
        Some(number)
    }

    /// Frees a place and returns what stood there.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        let number = place as usize / BLOCK;
        let block = self.blocks.get_mut(number)?;
        let was_full = block.is_full();
        let slot = block.slots.get_mut(place as usize % BLOCK)?;
        if matches!(slot, Slot::Free(_)) {
            return None;
        }
        let Slot::Used(value) = std::mem::replace(slot, Slot::Free(block.free)) else {
            return None;
        };
        block.free = place;
        block.used -= 1;
        self.len -= 1;
        if was_full {
            self.open.push(number as u32);
        }
        if block.used == 0 {
            *block = Block::EMPTY;
            self.allocated -= 1;
            while self.last_block_is_empty() {
                self.blocks.pop();
            }
        }
        if self.len == 0 {
            *self = Self::default();
        }
        Some(value)
    }

    fn last_block_is_empty(&self) -> bool {
        let last = self.blocks.len().checked_sub(1).and_then(|at| self.blocks.get(at));
        last.is_some_and(|block| block.used == 0)
    }

    /// Bytes of the blocks themselves, without what the values own.
    pub fn bytes(&self) -> usize {
        self.allocated * BLOCK * size_of::<Slot<T>>() + self.blocks.bytes() + self.open.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn segments_keep_their_order_over_many_segments() {
        let mut segments = Segments::default();
        for n in 0..5 * SEGMENT {
            segments.push(n);
        }
        assert_eq!(segments.len(), 5 * SEGMENT);
        assert_eq!(segments.get(3 * SEGMENT + 7), Some(&(3 * SEGMENT + 7)));
        assert_eq!(segments.get(5 * SEGMENT), None);
        for n in (0..5 * SEGMENT).rev() {
            assert_eq!(segments.pop(), Some(n));
        }
        assert_eq!(segments.pop(), None);
        assert!(segments.is_empty());
    }

    #[test]
    fn a_slab_gives_its_memory_back() {
        let mut slab = Slab::default();
        let places: Vec<_> = (0..100_000).map(|n| slab.insert(n).unwrap()).collect();
        let full = slab.bytes();
        // The worst case: what is left is spread over all blocks' range.
        for (n, &place) in places.iter().enumerate() {
            if n % 1000 != 0 {
                slab.remove(place);
            }
        }
        assert!(slab.bytes() < full / 5, "{} of {full} bytes are left", slab.bytes());
        for &place in places.iter().step_by(1000) {
            slab.remove(place);
        }
        assert_eq!(slab.bytes(), 0);
    }

    proptest! {
        #[test]
        fn a_slab_is_a_map_from_numbers_it_chose(
            steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..6000)
        ) {
            let mut slab = Slab::default();
            let mut model: HashMap<Place, u16> = HashMap::new();
            for (insert, n) in steps {
                if insert || model.is_empty() {
                    let place = slab.insert(n).unwrap();
                    prop_assert_eq!(model.insert(place, n), None);
                } else {
                    let nth = usize::from(n) % model.len();
                    let place = *model.keys().nth(nth).unwrap();
                    prop_assert_eq!(slab.remove(place), model.remove(&place));
                    prop_assert_eq!(slab.remove(place), None);
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            for (&place, n) in &model {
                prop_assert_eq!(slab.get(place), Some(n));
            }
        }
    }
}
