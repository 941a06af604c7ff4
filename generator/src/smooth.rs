//! Smooth noise over time: value noise over hashed knots, in several octaves, of mean 0 and standard deviation 1.
//!
//! Used for the weather, the activity of a street and the slow part of a sensor's noise. A value depends only on the
//! two knots around it in each octave.

use crate::random::{Random, Stream, mix, normal, unit};

/// Distance of the knots as a multiple of the memory, and share of the variance, for each octave.
const OCTAVES: [(f64, f64); 3] = [(2.0, 0.60), (0.55, 0.28), (0.15, 0.12)];

/// A noise function of time.
#[derive(Debug, Clone)]
pub(crate) struct Smooth {
    octaves: Vec<Octave>,
}

#[derive(Debug, Clone, Copy)]
struct Octave {
    per_us: f64,
    deviation: f64,
}

impl Smooth {
    /// Noise that hardly changes within a tenth of `memory_us` and is independent after three times that.
    pub(crate) fn new(memory_us: i64) -> Smooth {
        Smooth::of(&OCTAVES, memory_us)
    }

    /// Without the finest octave: for signals that have other noise on top.
    pub(crate) fn coarse(memory_us: i64) -> Smooth {
        Smooth::of(&OCTAVES[..OCTAVES.len() - 1], memory_us)
    }

    fn of(octaves: &[(f64, f64)], memory_us: i64) -> Smooth {
        let all: f64 = octaves.iter().map(|(_, share)| share).sum();
        let octave = |(distance, share): &(f64, f64)| Octave {
            per_us: 1.0 / (distance * memory_us as f64),
            deviation: (share / all).sqrt(),
        };
        Smooth { octaves: octaves.iter().map(octave).collect() }
    }

    /// The value at a time of the function with the key (`random`, `index`).
    pub(crate) fn at(&self, random: Random, index: usize, at_us: i64) -> f64 {
        let mut key = random.bits(Stream::Smooth, index);
        let mut sum = 0.0;
        for octave in &self.octaves {
            // Each function has knots of its own, so that sensors do not change direction together.
            let place = at_us as f64 * octave.per_us + unit(key);
            // `floor` is a library call on processors without SSE 4.1.
            let whole = place as i64;
            let knot = whole - i64::from(place < whole as f64);
            let part = place - knot as f64;
            let after = part * part * (3.0 - 2.0 * part);
            let before = 1.0 - after;
            let value = before * draw(key, knot) + after * draw(key, knot + 1);
            sum += octave.deviation * value * evened(before * after);
            key = key.wrapping_mul(0xd1b5_4a32_d192_ed03).wrapping_add(1);
        }
        sum
    }
}

/// 1 / √(before² + after²) = 1 / √(1 - 2 · before · after), as a series, to half a percent. Without this factor the
/// variance would be lower between knots than at them.
fn evened(product: f64) -> f64 {
    let terms = [1.0, 1.0, 1.5, 2.5, 4.375, 7.875];
    terms.iter().rev().fold(0.0, |sum, term| sum * product + term)
}

fn draw(key: u64, knot: i64) -> f64 {
    normal(mix(key ^ (knot as u64).wrapping_mul(0x9fb2_1c65_1e98_df25)))
}

#[cfg(test)]
mod tests {
    use citytide_domain::MINUTE_US;

    use super::Smooth;
    use crate::random::Random;

    #[test]
    fn a_course_is_much_the_same_soon_after_and_another_one_long_after() {
        let smooth = Smooth::new(60 * MINUTE_US);
        let random = Random::of(1, 2, 3);
        let profile: Vec<f64> = (0..40_000).map(|minute| smooth.at(random, 0, minute * MINUTE_US)).collect();
        let count = profile.len() as f64;
        let mean = profile.iter().sum::<f64>() / count;
        let variance = profile.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.15 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
        let correlation = |lag: usize| {
            let pairs = profile.iter().zip(&profile[lag..]);
            pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / (count - lag as f64) / variance
        };
        assert!(correlation(6) > 0.85, "{}", correlation(6));
        assert!((0.15..0.7).contains(&correlation(60)), "{}", correlation(60));
        assert!(correlation(300).abs() < 0.2, "{}", correlation(300));
    }
}
