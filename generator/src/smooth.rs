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
    octaves: [Octave; OCTAVES.len()],
}

#[derive(Debug, Clone, Copy)]
struct Octave {
    per_us: f64,
    deviation: f64,
}

impl Smooth {
    /// A course that is much the same after a tenth of `memory_us` and another one after three of them.
    pub(crate) fn new(memory_us: i64) -> Smooth {
        Smooth {
            octaves: OCTAVES.map(|(distance, share)| Octave {
                per_us: 1.0 / (distance * memory_us as f64),
                deviation: share.sqrt(),
            }),
        }
    }

    /// The value of the course called (`chance`, `index`) at a time.
    pub(crate) fn at(&self, chance: Chance, index: usize, at_us: i64) -> f64 {
        let mut key = chance.bits(Lane::Course, index);
        let mut sum = 0.0;
        for octave in &self.octaves {
            // Each course has knots of its own: not all sensors turn at the same moment.
            let place = at_us as f64 * octave.per_us + unit(key);
            let knot = place.floor();
            let part = place - knot;
            let after = part * part * (3.0 - 2.0 * part);
            let before = 1.0 - after;
            let value = before * draw(key, knot as i64) + after * draw(key, knot as i64 + 1);
            sum += octave.deviation * value / (before * before + after * after).sqrt();
            key = key.wrapping_mul(0xd1b5_4a32_d192_ed03).wrapping_add(1);
        }
        sum
    }
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
