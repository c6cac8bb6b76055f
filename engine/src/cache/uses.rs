//! When the items of a database's index were used last, and how often, for eviction: 4 bytes for each.
//!
//! **Representation.** A word of an item has the tick of its last use (24 bits) and how often it is used (8 bits, a
//! logarithmic counter after R. Morris, 1978, with the factor and the first value of the server's own LFU). Words
//! stand by place, in segments of [`SEGMENT`] that are allocated with their first word and freed with their last,
//! so that growing moves nothing and records of API keys cost next to nothing here. 0 is no word: one that
//! was written has been used.
//!
//! **The clock** is a region's own, and no clock: a tick is 16 uses of entries of the region. So what is idle in a
//! quiet region is idle by the same measure as in a busy one, and nothing depends on the time. It wraps after
//! 268 million uses; an entry that was not used for longer looks newer than it is. A counter decays by one
//! for as many ticks as the region has entries: 16 uses of each, on average.

use crate::tags::segments::{Place, Segments};

/// Words in one segment.
pub const SEGMENT: usize = 64;

/// Uses in one tick, as a power of two.
const TICK_BITS: u32 = 4;

const TICKS: u32 = 1 << 24;

/// How often a new entry counts as used.
const FIRST_FREQUENCY: u8 = 5;

/// How much less likely each step of the counter is than the one before.
const LOG_FACTOR: u64 = 10;

/// Counts the uses of a region.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    uses: u64,
}

impl Clock {
    /// Another use, in a region of so many entries.
    pub fn advance(&mut self, entries: usize) -> Tick {
        self.uses = self.uses.wrapping_add(1);
        self.now(entries)
    }

    pub fn now(&self, entries: usize) -> Tick {
        let at = (self.uses >> TICK_BITS) as u32 % TICKS;
        Tick { at, period: u32::try_from(entries).unwrap_or(u32::MAX).max(1) }
    }
}

/// What time it is in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    at: u32,
    /// Ticks in which a counter decays by one.
    period: u32,
}

/// The word of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    at: u32,
    frequency: u8,
}

impl Use {
    fn of_word(word: u32) -> Option<Self> {
        let [frequency, ..] = word.to_le_bytes();
        (word != 0).then_some(Self { at: word >> 8, frequency })
    }

    fn word(self) -> u32 {
        self.at << 8 | u32::from(self.frequency)
    }

    fn idle(self, now: Tick) -> u32 {
        now.at.wrapping_sub(self.at) % TICKS
    }

    fn decayed(self, now: Tick) -> u8 {
        let periods = self.idle(now).checked_div(now.period).unwrap_or(0);
        self.frequency.saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }

    /// After another use.
    fn again(self, now: Tick, random: u32) -> Self {
        let frequency = self.decayed(now);
        let above = u64::from(frequency.saturating_sub(FIRST_FREQUENCY));
        let is_counted = u64::from(random) * (above * LOG_FACTOR + 1) <= u64::from(u32::MAX);
        Self { at: now.at, frequency: frequency.saturating_add(is_counted.into()) }
    }
}

#[derive(Debug)]
struct Segment {
    words: [u32; SEGMENT],
    /// Words that are not 0.
    used: u32,
}

/// See the top of this file.
#[derive(Debug, Default)]
pub struct Uses {
    segments: Segments<Option<Box<Segment>>>,
    allocated: usize,
}

impl Uses {
    /// An item was stored or used. `random` has to be spread evenly.
    pub fn touch(&mut self, place: Place, now: Tick, random: u32) {
        let (nth, at) = split(place);
        while self.segments.len() <= nth {
            self.segments.push(None);
        }
        let Some(segment) = self.segments.get_mut(nth) else { return };
        let segment = segment.get_or_insert_with(|| {
            self.allocated += 1;
            Box::new(Segment { words: [0; SEGMENT], used: 0 })
        });
        let Some(word) = segment.words.get_mut(at) else { return };
        *word = match Use::of_word(*word) {
            Some(last) => last.again(now, random).word(),
            None => {
                segment.used += 1;
                Use { at: now.at, frequency: FIRST_FREQUENCY }.word()
            }
        };
    }

    fn get(&self, place: Place) -> Option<Use> {
        let (nth, at) = split(place);
        Use::of_word(*self.segments.get(nth)?.as_ref()?.words.get(at)?)
    }

    /// For how many ticks an item was not used; as many as there are for one that never was.
    pub fn idle(&self, place: Place, now: Tick) -> u32 {
        self.get(place).map_or(TICKS - 1, |last| last.idle(now))
    }

    /// How often an item is used, on a logarithmic scale; 0 for one that never was.
    pub fn frequency(&self, place: Place, now: Tick) -> u8 {
        self.get(place).map_or(0, |last| last.decayed(now))
    }

    /// How seldom an item is used: of those that are used as often, the one that is idle for longer counts
    /// for more.
    pub fn rarity(&self, place: Place, now: Tick) -> u32 {
        u32::from(u8::MAX - self.frequency(place, now)) << 24 | self.idle(place, now)
    }

    /// An item has gone.
    pub fn forget(&mut self, place: Place) {
        let (nth, at) = split(place);
        let Some(slot) = self.segments.get_mut(nth) else { return };
        let Some(segment) = slot else { return };
        let Some(word) = segment.words.get_mut(at) else { return };
        if std::mem::take(word) == 0 {
            return;
        }
        segment.used -= 1;
        if segment.used == 0 {
            *slot = None;
            self.allocated -= 1;
            self.take_off();
        }
    }

    /// Takes what is empty off the end, some at a time.
    fn take_off(&mut self) {
        for _ in 0..1024 {
            match self.segments.len().checked_sub(1).and_then(|last| self.segments.get(last)) {
                Some(None) => self.segments.pop(),
                _ => return,
            };
        }
    }

    pub fn bytes(&self) -> usize {
        self.segments.bytes() + self.allocated * size_of::<Segment>()
    }
}

fn split(place: Place) -> (usize, usize) {
    (place as usize / SEGMENT, place as usize % SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::trace::Random;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn tick(at: u32, period: u32) -> Tick {
        Tick { at, period }
    }

    #[test]
    fn a_tick_is_16_uses() {
        let mut clock = Clock::default();
        let ticks: Vec<u32> = (0..33).map(|_| clock.advance(1).at).collect();
        assert_eq!((ticks[14], ticks[15], ticks[30], ticks[31]), (0, 1, 1, 2));
        assert_eq!(clock.now(0).period, 1);
        assert_eq!(clock.now(7).period, 7);
    }

    #[test]
    fn idle_is_the_difference_of_ticks_across_the_wrap() {
        let mut uses = Uses::default();
        uses.touch(3, tick(TICKS - 2, 9), 0);
        assert_eq!(uses.idle(3, tick(TICKS - 2, 9)), 0);
        assert_eq!(uses.idle(3, tick(5, 9)), 7);
        assert_eq!(uses.idle(4, tick(5, 9)), TICKS - 1);
        let clock = Clock { uses: u64::from(TICKS) << TICK_BITS };
        assert_eq!(clock.now(1).at, 0);
    }

    #[test]
    fn a_counter_begins_at_5_grows_by_chance_and_decays_by_ticks() {
        let mut uses = Uses::default();
        let now = tick(100, 10);
        assert_eq!(uses.frequency(0, now), 0);
        uses.touch(0, now, u32::MAX);
        assert_eq!(uses.frequency(0, now), 5);
        // The first step is certain, the second one in 11.
        uses.touch(0, now, u32::MAX);
        assert_eq!(uses.frequency(0, now), 6);
        uses.touch(0, now, u32::MAX / 10);
        assert_eq!(uses.frequency(0, now), 6);
        uses.touch(0, now, u32::MAX / 12);
        assert_eq!(uses.frequency(0, now), 7);
        let later = |ticks: u32| tick(100 + ticks, 10);
        assert_eq!([9, 10, 29, 70, 9_999].map(|it| uses.frequency(0, later(it))), [7, 6, 5, 0, 0]);
        uses.touch(0, later(9_999), u32::MAX);
        assert_eq!(uses.frequency(0, later(9_999)), 1);
    }

    /// The figures that the server's redis.conf gives for a factor of 10.
    #[test]
    fn a_counter_grows_as_the_servers() {
        let mut random = Random(1);
        for (touches, least, most) in [(100, 8, 13), (1_000, 15, 23), (100_000, 130, 156)] {
            let mut uses = Uses::default();
            for _ in 0..touches {
                uses.touch(0, tick(0, 1), random.draw());
            }
            let frequency = uses.frequency(0, tick(0, 1));
            assert!((least..=most).contains(&frequency), "{touches} uses: {frequency}");
        }
    }

    #[test]
    fn of_two_that_are_used_as_often_the_idle_one_is_rarer() {
        let mut uses = Uses::default();
        let now = tick(9, 1_000);
        uses.touch(0, tick(1, 1_000), 0);
        uses.touch(1, tick(2, 1_000), 0);
        uses.touch(2, tick(1, 1_000), 0);
        uses.touch(2, tick(1, 1_000), 0);
        let rarity = |place| uses.rarity(place, now);
        assert!(rarity(3) > rarity(0) && rarity(0) > rarity(1) && rarity(1) > rarity(2));
    }

    #[test]
    fn memory_follows_what_is_used() {
        let mut uses = Uses::default();
        uses.touch(1_000_000, tick(0, 1), 0);
        // Pointers alone for all that stand before it.
        assert!(uses.bytes() < 1_000_000 / SEGMENT * 8 + 20_000, "{} bytes", uses.bytes());
        for place in 0..20_000 {
            uses.touch(place, tick(0, 1), 0);
        }
        uses.forget(1_000_000);
        for place in 0..20_000 {
            uses.forget(place);
        }
        uses.touch(0, tick(0, 1), 0);
        uses.forget(0);
        for _ in 0..100 {
            uses.touch(0, tick(0, 1), 0);
            uses.forget(0);
        }
        assert_eq!(uses.bytes(), 0);
    }

    proptest! {
        #[test]
        fn any_uses_are_as_in_a_map(
            steps in proptest::collection::vec((0..300u32, any::<bool>(), any::<u32>()), 0..400),
        ) {
            let mut uses = Uses::default();
            let mut model: HashMap<Place, u32> = HashMap::new();
            let end = tick(steps.len() as u32, 1_000);
            for ((place, is_use, random), at) in steps.into_iter().zip(0u32..) {
                let now = tick(at, 1_000);
                if is_use {
                    uses.touch(place, now, random);
                    model.insert(place, at);
                } else {
                    uses.forget(place);
                    model.remove(&place);
                }
            }
            for place in 0..300 {
                let idle = model.get(&place).map_or(TICKS - 1, |last| end.at - last);
                prop_assert_eq!(uses.idle(place, end), idle);
                prop_assert_eq!(uses.frequency(place, end) >= 5, model.contains_key(&place));
            }
            for place in 0..300 {
                uses.forget(place);
            }
            prop_assert_eq!(uses.allocated, 0);
        }
    }
}
