//! Sequences that grow and shrink a segment at a time.
//!
//! A `Vec` of two million elements stalls the server for 40 ms when it grows, because it moves all
//! of them. [`Segments`] keeps its elements in segments of [`SEGMENT`]: growing allocates one
//! segment and moves nothing (only the first segment grows by a half of itself, so that a short sequence
//! is small). [`Slab`] hands out places whose number stays the same until they are freed, in blocks of a
//! few, and frees a block with its last value, so that memory follows what lives. What is left of millions of
//! freed blocks, a few bytes for each, goes in steps, and no call walks over all of it.

use crate::defrag::Defrag;

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

    /// Hands over a segment, and with the first what holds the others. False where there is no such segment.
    pub fn defrag_segment(&mut self, nth: usize, to: &mut impl Defrag) -> bool {
        let Some(nth) = nth.checked_sub(1) else {
            to.vec(&mut self.first);
            if let Some(rest) = &mut self.rest {
                to.boxed(rest);
                to.vec(&mut rest.segments);
            }
            return true;
        };
        let segment = self.rest.as_mut().and_then(|rest| rest.segments.get_mut(nth));
        segment.map(|segment| to.vec(segment)).is_some()
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
pub const BLOCK: usize = 64;

/// Freed blocks at the end of a [`Slab`] that one removal takes off.
const TAKEN_OFF: usize = 4096;

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
    /// Its neighbours in the list of those that are not full, if it is in there; [`NOWHERE`] at its ends.
    before: u32,
    after: u32,
}

impl<T> Block<T> {
    const EMPTY: Self =
        Self { slots: Vec::new(), used: 0, free: NOWHERE, before: NOWHERE, after: NOWHERE };

    fn is_full(&self) -> bool {
        self.free == NOWHERE && self.slots.len() == BLOCK
    }
}

/// Places for values, each with a number that holds as long as the value stays. A block is allocated
/// with its first value and freed with its last.
#[derive(Debug)]
pub struct Slab<T> {
    blocks: Segments<Block<T>>,
    /// The first and the last block that is not full. The first is to be filled next; those that have no value
    /// are behind all others.
    open: [u32; 2],
    len: usize,
    /// Blocks that have a value.
    allocated: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { blocks: Segments::default(), open: [NOWHERE; 2], len: 0, allocated: 0 }
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
            self.close(number);
        }
        Some(place)
    }

    /// The first block that is not full, made where there is none.
    fn block_with_room(&mut self) -> Option<u32> {
        let [first, _] = self.open;
        if first != NOWHERE {
            return Some(first);
        }
        let number = u32::try_from(self.blocks.len()).ok()?;
        self.blocks.push(Block::EMPTY);
        self.open_first(number);
        Some(number)
    }

    /// A block that is not full comes to the beginning of the list.
    fn open_first(&mut self, number: u32) {
        let [first, _] = self.open;
        self.link(NOWHERE, number);
        self.link(number, first);
    }

    /// A block comes to the end of the list.
    fn open_last(&mut self, number: u32) {
        let [_, last] = self.open;
        self.link(last, number);
        self.link(number, NOWHERE);
    }

    /// A block leaves the list.
    fn close(&mut self, number: u32) {
        if let Some(&Block { before, after, .. }) = self.blocks.get(number as usize) {
            self.link(before, after);
        }
    }

    /// Puts one block of the list right behind another; [`NOWHERE`] is its beginning and its end.
    fn link(&mut self, before: u32, after: u32) {
        match self.blocks.get_mut(before as usize) {
            Some(block) => block.after = after,
            None => self.open[0] = after,
        }
        match self.blocks.get_mut(after as usize) {
            Some(block) => block.before = before,
            None => self.open[1] = before,
        }
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
        let is_empty = block.used == 0;
        if is_empty {
            block.slots = Vec::new();
            block.free = NOWHERE;
            self.allocated -= 1;
        }
        match (was_full, is_empty) {
            (true, _) => self.open_first(number as u32),
            (false, true) => {
                self.close(number as u32);
                self.open_last(number as u32);
            }
            (false, false) => {}
        }
        self.take_off();
        Some(value)
    }

    /// Takes freed blocks off the end, some at a time.
    fn take_off(&mut self) {
        for _ in 0..TAKEN_OFF {
            if !self.last_block_is_empty() {
                return;
            }
            self.close(self.blocks.len() as u32 - 1);
            self.blocks.pop();
        }
    }

    fn last_block_is_empty(&self) -> bool {
        let last = self.blocks.len().checked_sub(1).and_then(|at| self.blocks.get(at));
        last.is_some_and(|block| block.used == 0)
    }

    /// Blocks, the last of which has a value; for walks.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Hands over a block, and of what holds the blocks as much as makes all of it with all blocks.
    pub fn defrag_block(&mut self, nth: usize, to: &mut impl Defrag) {
        self.blocks.defrag_segment(nth, to);
        if let Some(block) = self.blocks.get_mut(nth) {
            to.vec(&mut block.slots);
        }
    }

    /// The values of a block.
    pub fn of_block_mut(&mut self, nth: usize) -> impl Iterator<Item = &mut T> {
        let slots = self.blocks.get_mut(nth).into_iter().flat_map(|block| &mut block.slots);
        slots.filter_map(|slot| match slot {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        })
    }

    /// Bytes of the blocks themselves, without what the values own.
    pub fn bytes(&self) -> usize {
        self.allocated * BLOCK * size_of::<Slot<T>>() + self.blocks.bytes()
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

    #[test]
    fn a_removal_takes_few_freed_blocks_off_and_others_the_rest() {
        let mut slab = Slab::default();
        const BLOCKS: usize = 3 * TAKEN_OFF;
        let places: Vec<_> = (0..BLOCKS * BLOCK).map(|n| slab.insert(n).unwrap()).collect();
        // All but the last block.
        let (freed, last) = places.split_at((BLOCKS - 1) * BLOCK);
        for &place in freed {
            slab.remove(place);
        }
        assert_eq!((slab.end(), slab.len()), (BLOCKS * BLOCK, BLOCK));
        let mut steps = Vec::new();
        for &place in last {
            let before = slab.end();
            slab.remove(place);
            steps.push((before - slab.end()) / BLOCK);
        }
        assert_eq!((steps.pop(), steps.iter().max()), (Some(4096), Some(&0)));
        // What comes takes the places that were freed first, so that it does not keep those at the end.
        for n in 0..BLOCK {
            assert_eq!(slab.insert(n), Some(n as Place));
        }
        slab.remove(3);
        assert_eq!(slab.insert(7), Some(3));
        slab.remove(3);
        slab.remove(4);
        assert_eq!(slab.end(), BLOCK);
        for place in 0..BLOCK as Place {
            slab.remove(place);
        }
        assert_eq!((slab.bytes(), slab.len(), slab.open), (0, 0, [NOWHERE; 2]));
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
