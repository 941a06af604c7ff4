//! Smooth chance over time: value noise over hashed knots, several octaves, of mean 0 and standard deviation 1.
//!
//! Weather, the local bustle of a street and the slow part of a sensor's noise are such courses. A value at a time is
//! found from the two knots around it, in each octave, without knowing any other.

use crate::chance::{Chance, Lane, mix, normal, unit};

/// Distance of the knots as a multiple of the memory, and share of the variance, for each octave.
const OCTAVES: [(f64, f64); 3] = [(2.0, 0.60), (0.55, 0.28), (0.15, 0.12)];

/// How fast a course changes.
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
    /// A course that is much the same after a tenth of `memory_us` and another one after three of them.
    pub(crate) fn new(memory_us: i64) -> Smooth {
        Smooth::of(&OCTAVES, memory_us)
    }

    /// A course without the finest octave, for what has other noise on top.
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

    /// The value of the course called (`chance`, `index`) at a time.
    pub(crate) fn at(&self, chance: Chance, index: usize, at_us: i64) -> f64 {
        let mut key = chance.bits(Lane::Course, index);
        let mut sum = 0.0;
        for octave in &self.octaves {
            // Each course has knots of its own: not all sensors turn at the same moment.
            let place = at_us as f64 * octave.per_us + unit(key);
            // Not `floor`, which is a call on processors without SSE 4.1.
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

/// 1 / √(before² + after²), which is 1 / √(1 - 2 · before · after): its series, to half a percent. Without it a course
/// would be flatter between its knots than at them.
fn evened(product: f64) -> f64 {
    let terms = [1.0, 1.0, 1.5, 2.5, 4.375, 7.875];
    terms.iter().rev().fold(0.0, |sum, term| sum * product + term)
}

fn draw(key: u64, knot: i64) -> f64 {
    normal(mix(key ^ (knot as u64).wrapping_mul(0x9fb2_1c65_1e98_df25)))
}

#[cfg(test)]
mod tests {
    use super::Smooth;
    use crate::chance::Chance;

    const MINUTE_US: i64 = 60_000_000;

    #[test]
    fn a_course_is_much_the_same_soon_after_and_another_one_long_after() {
        let smooth = Smooth::new(60 * MINUTE_US);
        let chance = Chance::of(1, 2, 3);
        let course: Vec<f64> = (0..40_000).map(|minute| smooth.at(chance, 0, minute * MINUTE_US)).collect();
        let count = course.len() as f64;
        let mean = course.iter().sum::<f64>() / count;
        let variance = course.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.15 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
        let correlation = |lag: usize| {
            let pairs = course.iter().zip(&course[lag..]);
            pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / (count - lag as f64) / variance
        };
        assert!(correlation(6) > 0.85, "{}", correlation(6));
        assert!((0.15..0.7).contains(&correlation(60)), "{}", correlation(60));
        assert!(correlation(300).abs() < 0.2, "{}", correlation(300));
    }
}
