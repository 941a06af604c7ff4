//! Arithmetic over the eight lanes of a block, without branches.

use crate::layout::{BLOCK, Lanes};

// The standard library's `max`, `min` and `clamp` handle NaN, which costs three more instructions.
#[inline]
pub(super) fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline]
pub(super) fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline]
pub(super) fn choose(which: bool, a: f32, b: f32) -> f32 {
    if which { a } else { b }
}

#[inline]
pub(super) fn bits(flags: &[bool; BLOCK]) -> u8 {
    // All eight at once: a bool is a byte of 0 or 1.
    let bytes = u64::from_le_bytes(flags.map(u8::from));
    (bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// The greatest of the lanes, at least 0.
#[inline]
pub(crate) fn greatest(lanes: Lanes) -> f32 {
    let half: [f32; BLOCK / 2] = std::array::from_fn(|lane| greater(lanes[lane], lanes[lane + BLOCK / 2]));
    greater(greater(greater(half[0], half[2]), greater(half[1], half[3])), 0.0)
}

#[inline]
pub(super) fn times(matrix: &[Lanes; BLOCK], vector: &Lanes) -> Lanes {
    let mut product = [0.0; BLOCK];
    // The matrix is symmetric: taken by columns, each step multiplies eight lanes by one factor.
    for (row, &factor) in matrix.iter().zip(vector) {
        for lane in 0..BLOCK {
            product[lane] += row[lane] * factor;
        }
    }
    product
}

#[inline]
pub(super) fn dot(a: &Lanes, b: &Lanes) -> f32 {
    let half: [f32; BLOCK / 2] = std::array::from_fn(|lane| a[lane] * b[lane] + a[lane + 4] * b[lane + 4]);
    (half[0] + half[2]) + (half[1] + half[3])
}

/// A level in whole quanta, clamped to ±2⁴³ so that no sum overflows. Rounds to the nearest by adding a number whose
/// last bit is worth 1.
#[inline]
pub(super) fn quanta(level: f64) -> i64 {
    const MOST: f64 = (1i64 << 43) as f64;
    const LARGE: f64 = (3i64 << 51) as f64;
    let level = if level < MOST { level } else { MOST };
    let level = if level > -MOST { level } else { -MOST };
    (level + LARGE).to_bits().wrapping_sub(LARGE.to_bits()) as i64
}

/// An average, or 0 where it has decayed below 10⁻¹²: subnormal numbers cost a hundred cycles each.
#[inline]
pub(super) fn settled(average: f32) -> f32 {
    choose(average.abs() < 1e-12, 0.0, average)
}
