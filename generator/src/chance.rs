//! Chance as a function: the same coordinates always give the same draw, whatever was drawn before.
//!
//! splitmix64's finaliser over a running mix of the coordinates: enough for noise, not for secrets.

/// What a draw is for, so that draws with the same coordinates are independent.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Lane {
    Jitter = 1,
    Disorder,
    Duplicate,
    Malformed,
    Anomaly,
    SensorOffset,
    SensorGain,
    Closeness,
    Noise,
    Course,
    Event,
    StandIn,
}

/// Share of heavy draws, their deviation, and that of the others, so that all of them together have 1.
const HEAVY: (f64, f64, f64) = (0.125, 2.0, 0.755_928_946_018_454_5);

/// The chance of one reading, sensor, zone or event.
#[derive(Debug, Clone, Copy)]
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

    /// The chance of something that this one has, as of one event among a sensor's.
    pub(crate) fn within(self, lane: Lane, index: u64) -> Chance {
        Chance(mix(self.0 ^ (lane as u64).rotate_left(40) ^ index.wrapping_mul(0x9fb2_1c65_1e98_df25)))
    }

    /// Even in 0 ≤ x < 1.
    pub(crate) fn unit(self, lane: Lane, index: usize) -> f64 {
        unit(self.bits(lane, index))
    }

    /// Mean 0, standard deviation 1, within ±3.5: the sum of four even draws.
    pub(crate) fn normal(self, lane: Lane, index: usize) -> f64 {
        normal(self.bits(lane, index))
    }

    /// Mean 0, standard deviation 1, within ±7: one draw of eight is from a wider bell, so that the tails are heavier
    /// than Gaussian (kurtosis 6).
    pub(crate) fn heavy(self, lane: Lane, index: usize) -> f64 {
        let bits = self.bits(lane, index);
        let is_heavy = unit(bits.wrapping_mul(0x9fb2_1c65_1e98_df25)) < HEAVY.0;
        normal(bits) * if is_heavy { HEAVY.1 } else { HEAVY.2 }
    }
}

/// The upper 53 bits as 0 ≤ x < 1.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The sum of four even draws as mean 0 and standard deviation 1.
pub(crate) fn normal(bits: u64) -> f64 {
    let pairs = (bits & 0x0000_ffff_0000_ffff) + (bits >> 16 & 0x0000_ffff_0000_ffff);
    let sum = (pairs & 0xffff_ffff) + (pairs >> 32);
    (sum as f64 - 131_070.0) * (1.732_050_807_568_877_2 / 65_536.0)
}

/// splitmix64.
pub(crate) fn mix(value: u64) -> u64 {
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
        let heavy: Vec<f64> = chances().map(|chance| chance.heavy(Lane::Noise, 2)).collect();
        let moment = |power| heavy.iter().map(|draw| draw.powi(power)).sum::<f64>() / count as f64;
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.05, "{} {}", moment(1), moment(2));
        assert!(moment(4) > 4.5, "{}", moment(4));
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
