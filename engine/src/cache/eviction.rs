//! Which entry of a region goes next: the best of a few that are looked at by chance, and of the best that were seen
//! before.
//!
//! This is how the server chooses, with two differences: what was seen before is scored again each time, so that
//! one that was used meanwhile stays, and it is there once only.

use crate::tags::segments::Place;

/// Members that are looked at for one victim.
pub const SAMPLES: usize = 5;

/// Candidates that are kept between two.
pub const POOL: usize = 16;

/// The best candidates so far; for one region.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// With their scores, the best last.
    candidates: Vec<(u64, Place)>,
}

impl Pool {
    /// The place of who should go, which leaves the pool. `sample` gives a random member. `score` is higher for who
    /// should go first, and `None` for who is no member any more. `None` where no member was found.
    pub fn victim(
        &mut self,
        mut sample: impl FnMut() -> Option<Place>,
        mut score: impl FnMut(Place) -> Option<u64>,
    ) -> Option<Place> {
        self.candidates.retain_mut(|(last, place)| {
            let now = score(*place);
            *last = now.unwrap_or(0);
            now.is_some()
        });
        for _ in 0..SAMPLES {
            let Some(place) = sample() else { break };
            if self.candidates.iter().any(|(_, known)| *known == place) {
                continue;
            }
            if let Some(score) = score(place) {
                self.candidates.push((score, place));
            }
        }
        self.candidates.sort_unstable();
        let victim = self.candidates.pop();
        let too_many = self.candidates.len().saturating_sub(POOL);
        self.candidates.drain(..too_many);
        victim.map(|(_, place)| place)
    }

    /// Forgets all candidates: what a score means has changed.
    pub fn clear(&mut self) {
        self.candidates = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::trace::{Random, Zipf};
    use crate::cache::uses::{Clock, Uses};
    use proptest::prelude::*;

    #[test]
    fn the_best_of_the_samples_goes_and_the_next_best_is_kept() {
        let mut pool = Pool::default();
        let mut members = (10..).take(SAMPLES).chain([100; SAMPLES]);
        assert_eq!(pool.victim(|| members.next(), |place| Some(place.into())), Some(14));
        // The second call samples 100 alone, which has the least score.
        let score = |place: Place| Some(if place == 100 { 0 } else { place.into() });
        assert_eq!(pool.victim(|| members.next(), score), Some(13));
        // 12 was used meanwhile, 11 has gone.
        let score = |place: Place| match place {
            12 => Some(0),
            11 => None,
            _ => Some(u64::from(place)),
        };
        assert_eq!(pool.victim(|| None, score), Some(100));
        assert_eq!(pool.victim(|| None, score), Some(10));
        assert_eq!(pool.candidates.len(), 1);
        pool.clear();
        assert_eq!(pool.victim(|| None, |_| Some(1)), None);
    }

    proptest! {
        #[test]
        fn a_victim_is_a_member_and_better_than_all_that_is_kept(
            calls in proptest::collection::vec(proptest::collection::vec(0..40u32, 0..20), 1..20),
            scores in proptest::collection::vec(proptest::option::of(0..9u64), 40),
        ) {
            let mut pool = Pool::default();
            for samples in calls {
                let mut samples = samples.into_iter();
                let score = |place: Place| scores[place as usize];
                let victim = pool.victim(|| samples.next(), score);
                prop_assert!(pool.candidates.len() <= POOL);
                let best = pool.candidates.iter().map(|(score, _)| *score).max();
                match victim {
                    Some(victim) => prop_assert!(score(victim).is_some() && score(victim) >= best),
                    None => prop_assert_eq!(best, None),
                }
            }
        }
    }

    /// Who goes from a full cache, told of what comes and what is used. Places are numbers below its room.
    trait Evicts {
        fn filled(&mut self, place: usize, key: usize);
        fn used(&mut self, place: usize, key: usize);
        /// `place_of` says where a key is.
        fn victim(&mut self, place_of: &[usize]) -> usize;
    }

    const NONE: usize = usize::MAX;

    /// The share of hits in the last third of a trace.
    fn hit_rate(keys: usize, room: usize, draws: usize, evicts: &mut dyn Evicts) -> f64 {
        let mut zipf = Zipf::new(keys, 1);
        let mut place_of = vec![NONE; keys];
        let mut key_of = Vec::new();
        let mut hits = 0;
        for nth in 0..draws {
            let key = zipf.draw();
            let place = place_of[key];
            if place != NONE {
                evicts.used(place, key);
                hits += usize::from(nth >= draws / 3 * 2);
                continue;
            }
            let place = if key_of.len() < room {
                key_of.push(key);
                key_of.len() - 1
            } else {
                let place = evicts.victim(&place_of);
                place_of[key_of[place]] = NONE;
                key_of[place] = key;
                place
            };
            place_of[key] = place;
            evicts.filled(place, key);
        }
        hits as f64 / (draws - draws / 3 * 2) as f64 * 100.0
    }

    struct Ours {
        uses: Uses,
        clock: Clock,
        pool: Pool,
        random: Random,
        room: usize,
        is_lfu: bool,
    }

    impl Ours {
        fn new(room: usize, is_lfu: bool) -> Self {
            let (uses, clock, pool) = Default::default();
            Self { uses, clock, pool, random: Random(2), room, is_lfu }
        }
    }

    impl Evicts for Ours {
        fn filled(&mut self, place: usize, key: usize) {
            self.uses.forget(place as Place);
            self.used(place, key);
        }

        fn used(&mut self, place: usize, _: usize) {
            let now = self.clock.advance(self.room);
            self.uses.touch(place as Place, now, self.random.draw());
        }

        fn victim(&mut self, _: &[usize]) -> usize {
            let now = self.clock.now(self.room);
            let (uses, random) = (&self.uses, &mut self.random);
            let sample = || Some(random.below(self.room) as Place);
            let score = |place| match self.is_lfu {
                true => Some(uses.rarity(place, now).into()),
                false => Some(uses.idle(place, now).into()),
            };
            self.pool.victim(sample, score).unwrap() as usize
        }
    }

    /// What the server does: 5 samples, a pool of 16 keys with the scores that they had, each use a tick of the
    /// clock. Its LFU decays by minutes: not within a trace.
    struct Server {
        key_of: Vec<usize>,
        last: Vec<u64>,
        counter: Vec<u8>,
        now: u64,
        pool: Vec<(u64, usize)>,
        random: Random,
        is_lfu: bool,
    }

    impl Server {
        fn new(room: usize, is_lfu: bool) -> Self {
            let (key_of, last, counter) = (vec![0; room], vec![0; room], vec![0; room]);
            Self { key_of, last, counter, now: 0, pool: vec![], random: Random(2), is_lfu }
        }
    }

    impl Evicts for Server {
        fn filled(&mut self, place: usize, key: usize) {
            self.now += 1;
            (self.key_of[place], self.last[place], self.counter[place]) = (key, self.now, 5);
        }

        fn used(&mut self, place: usize, _: usize) {
            self.now += 1;
            self.last[place] = self.now;
            let above = f64::from(self.counter[place].saturating_sub(5));
            if f64::from(self.random.draw()) / 4_294_967_296.0 < 1.0 / (above * 10.0 + 1.0) {
                self.counter[place] = self.counter[place].saturating_add(1);
            }
        }

        fn victim(&mut self, place_of: &[usize]) -> usize {
            loop {
                for _ in 0..5 {
                    let place = self.random.below(self.key_of.len());
                    let score = match self.is_lfu {
                        true => u64::from(255 - self.counter[place]),
                        false => self.now - self.last[place],
                    };
                    if self.pool.len() == 16 {
                        if score <= self.pool[0].0 {
                            continue;
                        }
                        self.pool.remove(0);
                    }
                    let at = self.pool.partition_point(|(other, _)| *other < score);
                    self.pool.insert(at, (score, self.key_of[place]));
                }
                while let Some((_, key)) = self.pool.pop() {
                    if place_of[key] != NONE {
                        return place_of[key];
                    }
                }
            }
        }
    }

    /// No worse than the server by more than a point.
    fn compare(keys: usize, room: usize, draws: usize) {
        for (name, is_lfu) in [("LRU", false), ("LFU", true)] {
            let ours = hit_rate(keys, room, draws, &mut Ours::new(room, is_lfu));
            let servers = hit_rate(keys, room, draws, &mut Server::new(room, is_lfu));
            println!("{name}: {ours:.2}% of hits, the server {servers:.2}%");
            assert!(ours > servers - 1.0, "{name}: {ours:.2}% of hits, the server {servers:.2}%");
        }
    }

    #[test]
    fn hits_are_as_many_as_the_servers() {
        compare(50_000, 5_000, 30_000);
    }

    /// `cargo test --release -p apikey-engine hits_of_a_long -- --ignored --nocapture`
    #[test]
    #[ignore = "takes long; in release"]
    fn hits_of_a_long_trace_are_as_many_as_the_servers() {
        compare(1_000_000, 100_000, 3_000_000);
    }

    /// `cargo test --release -p apikey-engine nanoseconds -- --ignored --nocapture`
    #[test]
    #[ignore = "measures; in release only"]
    fn nanoseconds_of_a_victim() {
        const ROOM: usize = 1_000_000;
        let mut ours = Ours::new(ROOM, true);
        let mut zipf = Zipf::new(ROOM, 1);
        let places: Vec<usize> = (0..ROOM).chain((0..ROOM).map(|_| zipf.draw())).collect();
        let start = std::time::Instant::now();
        places.iter().for_each(|place| ours.used(*place, 0));
        println!("a use: {:.0} ns", start.elapsed().as_nanos() as f64 / places.len() as f64);
        let start = std::time::Instant::now();
        for _ in 0..100_000 {
            let place = ours.victim(&[]);
            ours.filled(place, 0);
        }
        println!("a victim: {:.0} ns", start.elapsed().as_nanos() as f64 / 100_000.0);
    }
}
