//! Logarithm and power of two that give the same bits on every machine. The C library's differ by processor, and a
//! reading must get the same verdict on any. Without branches, they are also faster.

/// The natural logarithm of a positive, finite, normal number, to 10⁻¹³.
#[inline]
pub(crate) fn ln(x: f64) -> f64 {
    const ROOT_HALF: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    // x = m · 2ᵏ with m from √½ to √2, ln m = 2 · artanh s with s = (m − 1) / (m + 1).
    let above = x.to_bits().wrapping_sub(ROOT_HALF);
    let k = (above as i64) >> MANTISSA;
    let m = f64::from_bits(x.to_bits().wrapping_sub((k << MANTISSA) as u64));
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let mut sum = 1.0 / 17.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * q + 1.0 / odd;
    }
    k as f64 * std::f64::consts::LN_2 + 2.0 * s * sum
}

/// 2ˣ for x from −126 to 0, lower ones as −126, to 10⁻⁷ of it.
#[inline]
pub(crate) fn exp2(x: f32) -> f32 {
    let x = x.clamp(-126.0, 0.0);
    // x = whole − part with part from 0 to 1; 2⁻ᵖ by Taylor, its argument halved.
    let whole = x as i32;
    let half = (x - whole as f32) * (0.5 * std::f32::consts::LN_2);
    let mut sum = 1.0;
    for below in [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + sum * half * (1.0 / below);
    }
    sum * sum * f32::from_bits(((whole + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_c_library() {
        for step in 0..200_000 {
            let x = f64::from(step) * 0.37 + 1e-3;
            assert!((ln(x) - x.ln()).abs() < 1e-13 * x.ln().abs().max(1.0), "{x}");
            assert!((ln(1.0 / x) + x.ln()).abs() < 1e-12 * x.ln().abs().max(1.0), "{x}");
            let x = -(step as f32) * 0.0007;
            let exact = f64::from(x).max(-126.0).exp2();
            assert!((f64::from(exp2(x)) / exact - 1.0).abs() < 1e-6, "{x}");
        }
        assert_eq!((exp2(0.0), ln(1.0)), (1.0, 0.0));
    }
}
