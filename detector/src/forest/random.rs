//! SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): 64 bits of state, any seed
//! will do, integers only. Forests are grown from it on every machine alike; a library's generator may change.

/// A generator of repeatable numbers.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to below 1, in steps of 2⁻⁵³.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `count`, evenly but for a bias of `count` · 2⁻⁶⁴.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// Evenly from `least` to below `most`, which is greater.
    pub(super) fn between(&mut self, least: f64, most: f64) -> f64 {
        // Rounding could reach `most` where the two are close.
        (least + (most - least) * self.unit()).min(most.next_down())
    }

    /// A direction in the plane, each as likely, of a length up to 1; no coordinate is 0.
    pub(super) fn direction(&mut self) -> [f64; 2] {
        // A point of the square that lies in the disc: no root, no sine, whose last bits differ between machines.
        loop {
            let [a, b] = std::array::from_fn(|_| self.between(-1.0, 1.0));
            if a != 0.0 && b != 0.0 && a * a + b * b < 1.0 {
                return [a, b];
            }
        }
    }

    /// Moves `count` of the items to the front, each choice and order as likely.
    pub(super) fn choose<T>(&mut self, items: &mut [T], count: usize) {
        for at in 0..count {
            items.swap(at, at + self.below(items.len() - at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_numbers_are_those_of_the_published_generator() {
        let mut random = SplitMix64::new(1_234_567);
        let first: [u64; 5] = std::array::from_fn(|_| random.next());
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn what_is_between_stays_below_the_upper_end_however_close_they_are() {
        let mut random = SplitMix64::new(1);
        let least = f64::from(16_777_216.0f32);
        for most in [least.next_up(), least.next_up().next_up(), f64::from(16_777_216.0f32.next_up())] {
            for _ in 0..1_000 {
                let drawn = random.between(least, most);
                assert!((least..most).contains(&drawn), "{drawn}");
            }
        }
    }

    #[test]
    fn directions_are_spread_evenly_and_so_are_choices() {
        let mut random = SplitMix64::new(2);
        let (mut octants, mut firsts) = ([0; 8], [0; 5]);
        for _ in 0..40_000 {
            let [a, b] = random.direction();
            octants[usize::from(a > 0.0) * 4 + usize::from(b > 0.0) * 2 + usize::from(a.abs() > b.abs())] +=
                1;
            let mut items = [0, 1, 2, 3, 4];
            random.choose(&mut items, 2);
            assert_ne!(items[0], items[1]);
            items[..2].iter().for_each(|item| firsts[*item] += 1);
        }
        assert!(octants.iter().all(|count| (4_700..5_300).contains(count)), "{octants:?}");
        assert!(firsts.iter().all(|count| (15_500..16_500).contains(count)), "{firsts:?}");
    }
}
