//! Counter-based random numbers: the same coordinates always give the same draw, whatever was drawn before.
//!
//! The finaliser of splitmix64 over a running mix of the coordinates. Not for secrets.

/// What a draw is for: draws of two streams with the same coordinates are independent.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Stream {
    Jitter = 1,
    Disorder,
    Duplicate,
    Malformed,
    Anomaly,
    SensorOffset,
    SensorGain,
    Closeness,
    Noise,
    Smooth,
    Event,
    StandIn,
}

/// Share of draws from the wider bell, its standard deviation, and that of the other draws: together they have 1.
const HEAVY: (f64, f64, f64) = (0.125, 2.0, 0.755_928_946_018_454_5);

/// The random numbers of one reading, sensor, zone or event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Random(u64);

impl Random {
    /// Those of the coordinates `(seed, a, b)`.
    pub(crate) fn of(seed: u64, a: u64, b: u64) -> Random {
        Random(mix(mix(mix(seed).wrapping_add(a)).wrapping_add(b)))
    }

    /// 64 uniform bits; `index` distinguishes draws of one stream.
    pub(crate) fn bits(self, stream: Stream, index: usize) -> u64 {
        mix(self.0 ^ ((stream as u64) << 32 | index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// Those of a part, such as one event of a sensor.
    pub(crate) fn within(self, stream: Stream, index: u64) -> Random {
        Random(mix(self.0 ^ (stream as u64).rotate_left(40) ^ index.wrapping_mul(0x9fb2_1c65_1e98_df25)))
    }

    /// Uniform in 0 ≤ x < 1.
    pub(crate) fn unit(self, stream: Stream, index: usize) -> f64 {
        unit(self.bits(stream, index))
    }

    /// Mean 0, standard deviation 1, within ±3.5: the sum of four uniform draws.
    pub(crate) fn normal(self, stream: Stream, index: usize) -> f64 {
        normal(self.bits(stream, index))
    }

    /// Mean 0, standard deviation 1, within ±7: one draw in eight comes from a wider bell, so the tails are heavier
    /// than Gaussian (kurtosis 6).
    pub(crate) fn heavy(self, stream: Stream, index: usize) -> f64 {
        let bits = self.bits(stream, index);
        let is_heavy = unit(bits.wrapping_mul(0x9fb2_1c65_1e98_df25)) < HEAVY.0;
        normal(bits) * if is_heavy { HEAVY.1 } else { HEAVY.2 }
    }
}

/// The upper 53 bits as 0 ≤ x < 1.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// The sum of four uniform draws, scaled to mean 0 and standard deviation 1.
pub(crate) fn normal(bits: u64) -> f64 {
    let pairs = (bits & 0x0000_ffff_0000_ffff) + (bits >> 16 & 0x0000_ffff_0000_ffff);
    let sum = (pairs & 0xffff_ffff) + (pairs >> 32);
    (sum as f64 - 131_070.0) * (1.732_050_807_568_877_2 / 65_536.0)
}

pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Random, Stream};

    #[test]
    fn draws_are_even_and_normal_ones_have_mean_zero_and_deviation_one() {
        let count = 20_000;
        let randoms = || (0..count).map(|b| Random::of(7, 3, b));
        let mean = randoms().map(|random| random.unit(Stream::Jitter, 0)).sum::<f64>() / count as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let normals: Vec<f64> = randoms().map(|random| random.normal(Stream::Noise, 2)).collect();
        let mean = normals.iter().sum::<f64>() / count as f64;
        let variance = normals.iter().map(|draw| draw * draw).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let heavy: Vec<f64> = randoms().map(|random| random.heavy(Stream::Noise, 2)).collect();
        let moment = |power| heavy.iter().map(|draw| draw.powi(power)).sum::<f64>() / count as f64;
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.05, "{} {}", moment(1), moment(2));
        assert!(moment(4) > 4.5, "{}", moment(4));
    }

    #[test]
    fn lanes_and_coordinates_are_independent() {
        let mut draws: Vec<u64> = Vec::new();
        for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for stream in
                [Stream::Jitter, Stream::Disorder, Stream::Anomaly, Stream::SensorOffset, Stream::Noise]
            {
                draws.extend((0..3).map(|index| Random::of(1, a, b).bits(stream, index)));
            }
        }
        let distinct: std::collections::HashSet<u64> = draws.iter().copied().collect();
        assert_eq!(distinct.len(), 4 * 5 * 3);
    }
}
