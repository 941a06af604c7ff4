//! Chance as a function: the same coordinates always give the same draw, whatever was drawn before.
//!
//! splitmix64's finaliser over a running mix of the coordinates: enough for noise, not for secrets.

/// What a draw is for, so that draws with the same coordinates are independent.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Lane {
    Jitter = 1,
    Disorder = 2,
    Anomaly = 3,
    SensorOffset = 4,
    Noise = 5,
}

/// The chance of one reading or one sensor.
#[derive(Clone, Copy)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The chance that belongs to `(seed, a, b)`.
    pub(crate) fn of(seed: u64, a: u64, b: u64) -> Chance {
        Chance(mix(mix(mix(seed).wrapping_add(a)).wrapping_add(b)))
    }

    /// 64 even bits; `index` tells draws of one lane apart.
    pub(crate) fn bits(self, lane: Lane, index: usize) -> u64 {
        mix(self.0 ^ ((lane as u64) << 32 | index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// Even in 0 ≤ x < 1.
    pub(crate) fn unit(self, lane: Lane, index: usize) -> f64 {
        unit(self.bits(lane, index))
    }

    /// Mean 0, standard deviation 1, within ±3.5: the sum of four even draws.
    pub(crate) fn normal(self, lane: Lane, index: usize) -> f64 {
        let bits = self.bits(lane, index);
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * 3f64.sqrt()
    }
}

/// The upper 53 bits as 0 ≤ x < 1.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Chance, Lane};

    #[test]
    fn draws_are_even_and_normal_ones_have_mean_zero_and_deviation_one() {
        let count = 20_000;
        let chances = || (0..count).map(|b| Chance::of(7, 3, b));
        let mean = chances().map(|chance| chance.unit(Lane::Jitter, 0)).sum::<f64>() / count as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let normals: Vec<f64> = chances().map(|chance| chance.normal(Lane::Noise, 2)).collect();
        let mean = normals.iter().sum::<f64>() / count as f64;
        let variance = normals.iter().map(|draw| draw * draw).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn lanes_and_coordinates_are_independent() {
        let mut draws: Vec<u64> = Vec::new();
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for lane in [Lane::Jitter, Lane::Disorder, Lane::Anomaly, Lane::SensorOffset, Lane::Noise] {
                draws.extend((0..3).map(|index| Chance::of(1, a, b).bits(lane, index)));
            }
        }
        let distinct: std::collections::HashSet<u64> = draws.iter().copied().collect();
        assert_eq!(distinct.len(), 4 * 5 * 3);
    }
}
