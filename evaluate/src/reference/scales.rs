//! Robust location and scale of each metric in each zone.

use crate::Table;

/// Factor from a median absolute deviation to a standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// Median and scale (from the median absolute deviation) by zone, then metric.
#[derive(Debug)]
pub struct Scales {
    by_zone: Vec<Vec<(f64, f64)>>,
}

impl Scales {
    /// From the first `rows` rows.
    pub fn fit(table: &Table, rows: usize) -> Scales {
        let mut by_zone = vec![Vec::new(); table.zone_names.len()];
        for column in &table.metrics {
            let mut values: Vec<Vec<f64>> = vec![Vec::new(); table.zone_names.len()];
            let present = table.zones[..rows].iter().zip(column).filter(|(_, value)| !value.is_nan());
            present.for_each(|(zone, value)| values[*zone as usize].push(*value));
            for (zone, mut values) in by_zone.iter_mut().zip(values) {
                let middle = median(&mut values);
                values.iter_mut().for_each(|value| *value = (*value - middle).abs());
                let scale = median(&mut values) * MAD_TO_DEVIATION;
                zone.push((middle, if scale > 0.0 { scale } else { 1.0 }));
            }
        }
        Scales { by_zone }
    }

    /// The median of a metric in the zone of a row; NaN if there was no value.
    pub fn median(&self, table: &Table, metric: usize, row: usize) -> f64 {
        self.by_zone[table.zones[row] as usize][metric].0
    }

    /// A value in standard deviations from the median of its zone; 0 if missing.
    pub fn standardised(&self, table: &Table, metric: usize, row: usize) -> f64 {
        let (middle, scale) = self.by_zone[table.zones[row] as usize][metric];
        let value = table.metrics[metric][row];
        if value.is_nan() || middle.is_nan() { 0.0 } else { (value - middle) / scale }
    }

    /// For each row, the largest absolute standardised value.
    pub fn largest(&self, table: &Table) -> Vec<f32> {
        let largest = |row: usize| {
            let all = (0..table.metrics.len()).map(|metric| self.standardised(table, metric, row).abs());
            all.fold(0.0, f64::max) as f32
        };
        (0..table.rows()).map(largest).collect()
    }
}

fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let at = values.len() / 2;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}
