//! From a statistic to its surprise: −log₁₀ of the chance that a normal reading has one as large or larger.
//!
//! A [`Tail`] keeps an exponentially decayed histogram of a statistic and, refitted every 60 ticks, a table of
//! surprises. The fit uses the body of the histogram only (median, upper fifth, upper tenth), so that up to a tenth of
//! anomalies does not change it; beyond the body the distribution is assumed: see [`Shape`].

use crate::bytes::{StateError, Walk};

/// Bins of a histogram; statistics beyond the last are counted in it.
pub(crate) const BINS: usize = 256;
/// Bins for one unit of a statistic.
const BINS_PER_UNIT: f32 = 8.0;
/// Greatest surprise of a statistic.
pub const SURPRISE_MAX: f32 = 30.0;
/// Rows below which a tail is not fitted, and gives no surprise.
pub(crate) const ROWS_MIN: f64 = 200.0;

/// The width of the far body is measured at the quantile that the reference exceeds with this chance.
const WIDE_CHANCE: f64 = 0.03;
/// Rows of a greater surprise than this are anomalous. Their share times `FAR_TIMES`, at most `FAR_MOST`, is left out
/// when the far body is measured.
const FAR_SURPRISE: f64 = 8.0;
const FAR_TIMES: f64 = 1.3;
const FAR_MOST: f64 = 0.15;
/// Widest stretch of a tail: the least power of the statistic.
const STRETCH_LEAST: f64 = 0.5;

/// The distribution that the tail of a statistic is assumed to have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// The root of a χ² of so many degrees of freedom: Mahalanobis distances.
    Chi(usize),
    /// The largest of so many absolute normals.
    LargestOf(usize),
    /// Weibull through the median and the upper tenth.
    Weibull,
}

/// The histogram of a statistic, and its table of surprises by bin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tail {
    histogram: Vec<f64>,
    total: f64,
    table: Vec<f32>,
}

/// The bin of a statistic.
#[inline]
pub(crate) fn bin(statistic: f32) -> usize {
    // Casts from float saturate and turn NaN into 0; a cast to 32 bits is one instruction.
    ((statistic * BINS_PER_UNIT) as i32).clamp(0, BINS as i32 - 1) as usize
}

impl Tail {
    pub(crate) fn new() -> Tail {
        Tail { histogram: vec![0.0; BINS], total: 0.0, table: Vec::new() }
    }

    /// The surprise of a statistic; 0 before the first fit.
    #[inline]
    pub(crate) fn surprise(&self, statistic: f32) -> f32 {
        let Some(table) = self.table.first_chunk::<{ BINS + 1 }>() else { return 0.0 };
        let at = statistic * BINS_PER_UNIT;
        let at = if at < (BINS - 1) as f32 { at } else { (BINS - 1) as f32 };
        let at = if at > 0.0 { at } else { 0.0 };
        let below = at as i32;
        let (a, b) = (table[below as usize % BINS], table[below as usize % BINS + 1]);
        a + (b - a) * (at - below as f32)
    }

    /// Adds counts by bin, each weighing `weight`.
    pub(crate) fn add(&mut self, counts: &[u32], weight: f64) {
        for (sum, &count) in self.histogram.iter_mut().zip(counts) {
            *sum += f64::from(count) * weight;
            self.total += f64::from(count) * weight;
        }
    }

    /// Adds one value to a bin.
    pub(crate) fn count(&mut self, bin: usize, weight: f64) {
        self.histogram[bin] += weight;
        self.total += weight;
    }

    /// Writes or reads all parts.
    pub(crate) fn walk(&mut self, walk: &mut impl Walk) -> Result<(), StateError> {
        walk.doubles(&mut self.histogram)?;
        walk.doubles(std::slice::from_mut(&mut self.total))?;
        walk.length(&mut self.table, BINS + 1, 0.0)?;
        walk.floats(&mut self.table)
    }

    /// Multiplies all weights.
    pub(crate) fn scale(&mut self, by: f64) {
        self.histogram.iter_mut().for_each(|sum| *sum *= by);
        self.total *= by;
    }

    /// The statistic below which this share of the weight lies.
    fn quantile(&self, share: f64) -> f64 {
        let mut left = share * self.total;
        for (bin, weight) in self.histogram.iter().enumerate() {
            if *weight > 0.0 && left <= *weight {
                return (bin as f64 + left / weight) / f64::from(BINS_PER_UNIT);
            }
            left -= weight;
        }
        BINS as f64 / f64::from(BINS_PER_UNIT)
    }

    /// A reference distribution scaled to the upper fifth, stretched if the far body is wider than the reference's.
    ///
    /// Anomalies must not widen it: the weight far beyond chance, and a little more, is left out when the far body is
    /// measured.
    fn scaled(&self, reference: impl Fn(f64) -> f64 + 'static) -> Box<dyn Fn(f64) -> f64> {
        let at = |chance: f64| solve(-chance.log10(), &reference);
        let fifth = self.quantile(0.8).max(1e-3);
        let far = solve(FAR_SURPRISE, &reference) * fifth / at(0.2);
        let off = (FAR_TIMES * self.share_above(far)).min(FAR_MOST);
        let body = |share: f64| self.quantile(share * (1.0 - off)).max(1e-3);
        let (near, wide) = (body(0.8), body(1.0 - WIDE_CHANCE));
        let stretch = (at(WIDE_CHANCE) / at(0.2)).ln() / (wide / near).max(1.001).ln();
        let (stretch, anchor) = (stretch.clamp(STRETCH_LEAST, 1.0), at(0.2));
        Box::new(move |x| reference(anchor * (x / fifth).powf(stretch)))
    }

    /// Share of the weight above a statistic.
    fn share_above(&self, statistic: f64) -> f64 {
        let above: f64 = self.histogram[bin(statistic as f32)..].iter().sum();
        above / self.total
    }

    /// Fits the table; `unit` is the weight of one row now. Too few rows leave it as it was.
    pub(crate) fn fit(&mut self, shape: Shape, unit: f64) {
        if self.total < ROWS_MIN * unit {
            return;
        }
        let at = |bin: usize| bin as f64 / f64::from(BINS_PER_UNIT);
        let surprise: Box<dyn Fn(f64) -> f64> = match shape {
            Shape::Chi(freedom) => self.scaled(move |x| chi_surprise(freedom, x)),
            Shape::LargestOf(count) => self.scaled(move |x| largest_surprise(count, x)),
            Shape::Weibull => {
                let (median, tenth) = (self.quantile(0.5).max(1e-3), self.quantile(0.9));
                let tenth = tenth.max(median * 1.05);
                let (ln_median, ln_tenth) = (-(0.5f64.ln()), -(0.1f64.ln()));
                let power = (ln_tenth / ln_median).ln() / (tenth / median).ln();
                let scale = median / ln_median.powf(1.0 / power);
                Box::new(move |x| (x / scale).powf(power) / std::f64::consts::LN_10)
            }
        };
        self.table = (0..=BINS).map(|bin| (surprise(at(bin)) as f32).min(SURPRISE_MAX)).collect();
    }
}

/// −log₁₀ of the chance that the root of a χ² exceeds `x`.
pub(crate) fn chi_surprise(freedom: usize, x: f64) -> f64 {
    let half = x * x / 2.0;
    // Q(a + 1, h) = Q(a, h) + hᵃ e⁻ʰ / Γ(a + 1), from Q(1/2, h) = erfc(√h) or Q(1, h) = e⁻ʰ; e⁻ʰ is taken out.
    let (mut a, mut scaled) = if freedom % 2 == 1 { (0.5, scaled_erfc(half.sqrt())) } else { (1.0, 1.0) };
    let mut term = if freedom % 2 == 1 { half.sqrt() / (std::f64::consts::PI.sqrt() / 2.0) } else { half };
    while a + 0.75 < freedom as f64 / 2.0 {
        scaled += term;
        a += 1.0;
        term *= half / a;
    }
    ((half - scaled.ln()) / std::f64::consts::LN_10).max(0.0)
}

/// eˣ² · erfc(x) for x ≥ 0: Abramowitz and Stegun 7.1.26 near 0 is too rough in the tail, so a continued fraction
/// beyond 2 (their 7.1.14) and the series of erf below.
fn scaled_erfc(x: f64) -> f64 {
    if x < 2.0 {
        // erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1))
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return (x * x).exp() - 2.0 / std::f64::consts::PI.sqrt() * sum;
    }
    let mut fraction = 0.0;
    for k in (1..=60).rev() {
        fraction = f64::from(k) / 2.0 / (x + fraction);
    }
    1.0 / (std::f64::consts::PI.sqrt() * (x + fraction))
}

/// −log₁₀ of the chance that the largest of `count` absolute normals exceeds `x`.
pub(crate) fn largest_surprise(count: usize, x: f64) -> f64 {
    let one = 10f64.powf(-chi_surprise(1, x));
    let any = -(count as f64 * (-one).ln_1p()).exp_m1();
    if any > 1e-250 { -any.log10() } else { SURPRISE_MAX.into() }
}

/// The `x` that the root of a χ² exceeds with this chance.
pub(crate) fn chi_quantile(freedom: usize, chance: f64) -> f64 {
    solve(-chance.log10(), |x| chi_surprise(freedom, x))
}

/// Where an increasing function reaches a value, by halving.
fn solve(value: f64, increasing: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 64.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if increasing(middle) < value { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: [(usize, f64, f64); 8] = [
        (1, 1.0, 0.498515546),
        (1, 2.5, 1.905901810),
        (2, 3.0, 1.954325169),
        (3, 5.0, 4.811338688),
        (4, 0.5, 0.003134288),
        (5, 4.0, 2.164685308),
        (5, 9.0, 15.285396750),
        (8, 6.0, 4.755471367),
    ];

    #[test]
    fn surprises_are_those_of_the_exact_distributions() {
        // scipy 1.16: -chi2.logsf(x*x, k)/ln 10, and of the largest of five absolute normals.
        for (freedom, x, expected) in EXACT {
            assert!((chi_surprise(freedom, x) - expected).abs() < 1e-6 * expected, "{freedom} {x}");
        }
        assert!((largest_surprise(5, 3.0) - 1.872_044_0).abs() < 1e-5);
        assert!((chi_quantile(5, 0.2) - 2.699_7).abs() < 1e-3);
    }

    #[test]
    fn a_tail_scales_with_the_body_and_ignores_a_tenth_of_outliers() {
        let mut tail = Tail::new();
        let mut counts = vec![0u32; BINS];
        for step in 0..9_000 {
            let chance = (f64::from(step) + 0.5) / 9_000.0;
            counts[bin((chi_quantile(5, 1.0 - chance) * 2.0) as f32)] += 1;
        }
        counts[200] = 500;
        tail.add(&counts, 1.0);
        tail.fit(Shape::Chi(5), 1.0);
        let exact = chi_surprise(5, 4.5) as f32;
        assert!((tail.surprise(9.0) / exact - 1.0).abs() < 0.12, "{} {exact}", tail.surprise(9.0));
        assert!(tail.surprise(3.0) < 1.0);
    }

    #[test]
    fn a_tail_of_too_few_rows_says_nothing() {
        let mut tail = Tail::new();
        tail.add(&[50], 1.0);
        tail.fit(Shape::Weibull, 1.0);
        assert_eq!(tail.surprise(9.0), 0.0);
    }
}
