//! For tests: what is asked of a cache, as it is asked of real ones: a few names often, most of them seldom.

/// Random numbers (SplitMix64) that are the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u64::from(self.draw()) * end as u64) >> 32) as usize
    }
}

/// Keys from 0 on, of which the nth is drawn with a chance in proportion to n to the power of -0.99.
pub struct Zipf {
    /// The chance of a key and all before it.
    up_to: Vec<f64>,
    random: Random,
}

impl Zipf {
    pub fn new(keys: usize, seed: u64) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=keys)
            .map(|n| {
                sum += (n as f64).powf(-0.99);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|part| *part /= sum);
        Self { up_to, random: Random(seed) }
    }

    pub fn draw(&mut self) -> usize {
        let at = f64::from(self.random.draw()) / 4_294_967_296.0;
        self.up_to.partition_point(|part| *part <= at).min(self.up_to.len() - 1)
    }
}
