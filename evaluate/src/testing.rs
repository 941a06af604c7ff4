//! Tables and repeatable numbers for unit tests.

use crate::{Row, Table, TableBuilder};

/// Repeatable random numbers: splitmix64.
pub struct Numbers(pub u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Approximately standard normal.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A table of one zone from rows of (microseconds, sensor, kind, values).
pub fn build<'a, V: AsRef<[f64]>>(
    metrics: &[&str],
    rows: impl IntoIterator<Item = (i64, &'a str, Option<&'a str>, V)>,
) -> Table {
    let mut builder = TableBuilder::new(metrics.len());
    for (position, (event_time_us, sensor, kind, values)) in rows.into_iter().enumerate() {
        let row = Row { line: position + 2, partition: None, event_time_us, zone: "all", sensor, kind };
        builder.push(row, values.as_ref().iter().copied()).expect("few kinds");
    }
    let names = metrics.iter().map(|name| Some((*name).to_owned())).collect();
    builder.build(names).expect("rows")
}

/// A table of one metric, whose value is the row's position, from rows of (seconds, sensor, kind).
pub fn one_metric(rows: &[(i64, &str, Option<&str>)]) -> Table {
    let rows = rows.iter().enumerate();
    build(
        &["heat"],
        rows.map(|(position, (seconds, sensor, kind))| {
            (seconds * 1_000_000, *sensor, *kind, [position as f64])
        }),
    )
}
