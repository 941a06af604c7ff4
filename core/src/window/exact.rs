//! Exact sums: the same bits in any order, over any number of workers.
//!
//! A value is counted in units of 2⁻⁶⁰ in an `i128`. Every sensor value of |v| ≥ 2⁻⁸ is a whole number of units
//! (a double has 53 significant bits), a smaller one is rounded to the nearest unit, an error of at most 2⁻⁶¹.
//! With |v| ≤ 10¹² < 2⁴⁰ a sum has room for 2²⁷ of the largest values. The average is rounded once, at the end.

use serde::{Deserialize, Serialize};

const UNITS: f64 = (1_u64 << 60) as f64;

/// A sum of doubles without rounding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactSum(i128);

impl ExactSum {
    /// The sum of nothing.
    pub const ZERO: ExactSum = ExactSum(0);

    /// Adds a finite value of |v| ≤ 10¹².
    #[inline]
    pub fn add(&mut self, value: f64) {
        // Scaling by a power of two is exact; only what lies below one unit is rounded.
        self.0 += (value * UNITS).round_ties_even() as i128;
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: ExactSum) {
        self.0 += other.0;
    }

    /// The sum divided by `count`, correctly rounded to the nearest double.
    pub fn average(self, count: u64) -> f64 {
        assert!(count > 0, "an average needs a value");
        let sum = self.0.unsigned_abs();
        if sum == 0 {
            return 0.0;
        }
        // Long division with all 128 bits in play, so that the quotient keeps more than 64 of them; what is cut
        // off below the 64 that are kept is remembered in the lowest one, which decides ties.
        let shift = sum.leading_zeros();
        let dividend = sum << shift;
        let quotient = dividend / u128::from(count);
        let mut inexact = !dividend.is_multiple_of(u128::from(count));
        let cut = 64 - quotient.leading_zeros().min(64);
        let mut kept = (quotient >> cut) as u64;
        inexact |= quotient & ((1_u128 << cut) - 1) != 0;
        kept |= u64::from(inexact);
        let magnitude = kept as f64 * 2_f64.powi(cut as i32 - shift as i32 - 60);
        if self.0 < 0 { -magnitude } else { magnitude }
    }

    /// The sum in units of 2⁻⁶⁰.
    pub fn units(self) -> i128 {
        self.0
    }

    /// The sum of so many units of 2⁻⁶⁰.
    pub fn from_units(units: i128) -> ExactSum {
        ExactSum(units)
    }

    /// The units as 16 bytes, big endian, as the panes table holds them.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// What [`ExactSum::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> ExactSum {
        ExactSum(i128::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    #[test]
    fn the_average_of_a_cancelling_sum_is_exact() {
        assert_eq!(sum(&[1e12, 0.1, -1e12]).average(1), 0.1);
        assert_eq!(sum(&[0.1, 0.2, 0.3]).average(3), 0.2);
        assert_eq!(sum(&[-5.5, -6.5]).average(2), -6.0);
    }

    proptest! {
        #[test]
        fn the_average_of_equal_values_is_the_value(value in -1e12..1e12_f64, count in 1_u64..2000) {
            prop_assume!(value == 0.0 || value.abs() >= 1.0 / 256.0);
            let mut total = ExactSum::default();
            (0..count).for_each(|_| total.add(value));
            prop_assert_eq!(total.average(count).to_bits(), value.to_bits());
        }

        #[test]
        fn any_order_and_any_split_give_the_same_bits(values in prop::collection::vec(-1e12..1e12_f64, 1..200), cut in 0_usize..200) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut split = sum(right);
            split.merge(sum(left));
            let mut backwards = values.clone();
            backwards.reverse();
            prop_assert_eq!(sum(&values), split);
            prop_assert_eq!(sum(&values), sum(&backwards));
        }

        #[test]
        fn the_average_is_correctly_rounded(values in prop::collection::vec(-1_000_000_000_i64..1_000_000_000, 1..50), low in 1_u32..20) {
            // Integers scaled by a power of two: the true average is a rational that i128 arithmetic can judge.
            let scale = f64::from(1_u32 << low);
            let doubles: Vec<f64> = values.iter().map(|value| *value as f64 / scale).collect();
            let count = values.len() as i128;
            let total: i128 = values.iter().map(|value| i128::from(*value)).sum();
            let average = sum(&doubles).average(count as u64);
            // |average − total/(count·scale)| compared for the average and its neighbours, in units of 2^-140.
            let error = |candidate: f64| {
                let (mantissa, exponent) = decompose(candidate * scale);
                let shift = 60 + exponent;
                prop_assume!((0..=70).contains(&shift));
                Ok((mantissa * (1_i128 << shift) * count - (total << 60)).abs())
            };
            prop_assume!(average != 0.0);
            let own = error(average)?;
            prop_assert!(own <= error(f64::from_bits(average.to_bits() + 1))?);
            prop_assert!(own <= error(f64::from_bits(average.to_bits() - 1))?);
        }
    }

    fn decompose(value: f64) -> (i128, i32) {
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
        let mantissa = i128::from((bits & ((1 << 52) - 1)) | (1 << 52));
        (if value < 0.0 { -mantissa } else { mantissa }, exponent)
    }
}
