//! The axis of a metric: its range and ticks.

/// Margin above and below the values, as a share of their range.
const MARGIN: f64 = 0.12;
/// Most ticks of an axis.
const TICKS_MAX: f64 = 4.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    pub least: f64,
    pub greatest: f64,
    /// Round numbers, ascending.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// An axis for these values; from 0 to 1 if there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Scale {
        let (least, greatest) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |range, value| {
            (range.0.min(value), range.1.max(value))
        });
        let (least, greatest) = match greatest - least {
            range if range > 0.0 => (least - range * MARGIN, greatest + range * MARGIN),
            0.0 => (least - 1.0, greatest + 1.0),
            _ => (0.0, 1.0),
        };
        let step = round_step((greatest - least) / TICKS_MAX);
        let first = (least / step).ceil() as i64;
        let ticks = (first..).map(|tick| tick as f64 * step).take_while(|tick| *tick <= greatest).collect();
        Scale { least, greatest, ticks }
    }

    /// The position of a value: 0 at the bottom, 1 at the top; values beyond the axis lie outside 0 … 1.
    pub fn place(&self, value: f64) -> f64 {
        (value - self.least) / (self.greatest - self.least)
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= step)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::{Scale, round_step};

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!([0.3, 1.0, 3.0, 7.0, 120.0].map(round_step), [0.5, 1.0, 5.0, 10.0, 200.0]);
        let scale = Scale::of([14.2, 29.9, 21.0].into_iter());
        assert_eq!(scale.ticks, [15.0, 20.0, 25.0, 30.0]);
        assert!(scale.ticks.iter().all(|tick| (0.0..=1.0).contains(&scale.place(*tick))));
    }

    #[test]
    fn a_constant_and_nothing_at_all_have_axes_too() {
        assert_eq!(Scale::of([5.0].into_iter()).place(5.0), 0.5);
        assert_eq!(Scale::of([].into_iter()).greatest, 1.0);
    }
}
