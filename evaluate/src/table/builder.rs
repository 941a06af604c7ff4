//! From rows in the order of the input to a [`Table`].

use std::collections::HashMap;
use std::sync::Arc;

use citytide_detector::BLOCK;

use super::Table;
use crate::TableError;

/// Largest magnitude of a value; larger ones are clipped to it. In a stream such a reading is a dead letter.
pub const VALUE_MAX: f64 = 1e12;
/// Most different labels; a column with more is not a column of labels.
const KINDS_MAX: usize = 1_000;
/// Most zones times blocks of metrics: each takes about 70 KB.
const ZONE_BLOCKS_MAX: usize = 4_000;

/// A row of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Its line in the input, from 1.
    pub line: usize,
    /// The partition in whose log it comes next; `None`: the input is no log.
    pub partition: Option<i32>,
    pub event_time_us: i64,
    pub zone: &'a str,
    pub sensor: &'a str,
    /// The kind of anomaly; `None` is normal.
    pub kind: Option<&'a str>,
}

/// Collects rows in the order of the input.
#[derive(Debug, Default)]
pub struct TableBuilder {
    rows: Vec<InternedRow>,
    /// Values by column, then row.
    values: Vec<Vec<f64>>,
    zones: Interner,
    sensors: Interner,
    series: HashMap<(u32, u32), u32>,
    kinds: Interner,
    events: HashMap<u64, u32>,
    clipped: usize,
}

#[derive(Debug, Clone, Copy)]
struct InternedRow {
    event_time_us: i64,
    line: usize,
    partition: Option<i32>,
    zone: u32,
    sensor: u32,
    series: u32,
    kind: Option<u16>,
    event: Option<u32>,
}

impl TableBuilder {
    pub fn new(columns: usize) -> TableBuilder {
        TableBuilder { values: vec![Vec::new(); columns], ..TableBuilder::default() }
    }

    /// Adds a row with a value for each column, NaN where missing.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyKinds`].
    pub fn push(&mut self, row: Row<'_>, values: impl Iterator<Item = f64>) -> Result<(), TableError> {
        for (column, value) in self.values.iter_mut().zip(values) {
            self.clipped += usize::from(value.abs() > VALUE_MAX);
            column.push(value.clamp(-VALUE_MAX, VALUE_MAX));
        }
        let kind = row.kind.map(|kind| self.intern_kind(kind, row.line)).transpose()?;
        let (zone, sensor) = (self.zones.intern(row.zone), self.sensors.intern(row.sensor));
        let next = self.series.len() as u32;
        let series = *self.series.entry((zone, sensor)).or_insert(next);
        let Row { event_time_us, line, partition, .. } = row;
        self.rows.push(InternedRow {
            event_time_us,
            line,
            partition,
            zone,
            sensor,
            series,
            kind,
            event: None,
        });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Labels a row afterwards, with the number of the event that it belongs to. If no row is given an event, each run
    /// of one kind in a series is an event.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyKinds`].
    pub fn label(&mut self, row: usize, kind: &str, event: u64) -> Result<(), TableError> {
        let kind = self.intern_kind(kind, self.rows[row].line)?;
        let next = self.events.len() as u32;
        let event = *self.events.entry(event).or_insert(next);
        (self.rows[row].kind, self.rows[row].event) = (Some(kind), Some(event));
        Ok(())
    }

    fn intern_kind(&mut self, kind: &str, line: usize) -> Result<u16, TableError> {
        match self.kinds.intern(kind) as usize {
            number if number < KINDS_MAX => Ok(number as u16),
            _ => Err(TableError::TooManyKinds { line, found: kind.to_owned(), max: KINDS_MAX }),
        }
    }

    /// Orders the rows by time; `names` has a name for each column that is a metric.
    ///
    /// # Errors
    ///
    /// [`TableError::Empty`], [`TableError::TooManyZones`].
    pub fn build(self, names: Vec<Option<String>>) -> Result<Table, TableError> {
        let metrics = names.iter().flatten().count();
        if self.rows.is_empty() || metrics == 0 {
            return Err(TableError::Empty);
        }
        let (found, max) = (self.zones.names.len(), ZONE_BLOCKS_MAX / metrics.div_ceil(BLOCK));
        if found > max {
            return Err(TableError::TooManyZones { found, max });
        }
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by_key(|position| self.rows[*position as usize].event_time_us);
        let mut table = Table::default();
        for (name, column) in names.into_iter().zip(self.values) {
            let Some(name) = name else { continue };
            table.names.push(name);
            table.metrics.push(order.iter().map(|position| column[*position as usize]).collect());
        }
        let mut events = Vec::with_capacity(order.len());
        for row in order.iter().map(|position| self.rows[*position as usize]) {
            table.event_times_us.push(row.event_time_us);
            table.lines.push(row.line);
            table.partitions.push(row.partition);
            table.zones.push(row.zone);
            table.sensors.extend_from_slice(self.sensors.names[row.sensor as usize].as_bytes());
            table.sensor_ends.push(table.sensors.len() as u32);
            table.series.push(row.series);
            table.kinds.push(row.kind);
            events.push(row.event);
        }
        table.positions = order;
        table.zone_names = self.zones.names.iter().map(|name| Arc::from(name.as_str())).collect();
        table.kind_names = self.kinds.names;
        table.clipped = self.clipped;
        table.events = if self.events.is_empty() { runs(&table) } else { events };
        Ok(table)
    }
}

/// An event for each run of anomalous rows of one kind in one series.
fn runs(table: &Table) -> Vec<Option<u32>> {
    let mut open: Vec<Option<(u16, u32)>> = vec![None; table.series_count()];
    let mut count = 0;
    let event = |(series, kind): (&u32, &Option<u16>)| {
        let open = &mut open[*series as usize];
        *open = match (*open, *kind) {
            (_, None) => None,
            (Some((of, event)), Some(kind)) if of == kind => Some((kind, event)),
            (_, Some(kind)) => {
                count += 1;
                Some((kind, count - 1))
            }
        };
        open.map(|(_, event)| event)
    };
    table.series.iter().zip(&table.kinds).map(event).collect()
}

/// Names by number, in the order of their first appearance.
#[derive(Debug, Default)]
struct Interner {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Interner {
    fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() as u32 - 1);
        self.names.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::one_metric;

    #[test]
    fn rows_are_ordered_by_time_and_keep_their_position() {
        let table = one_metric(&[(60, "a", Some("spike")), (0, "b", None), (60, "b", None)]);
        assert_eq!(table.metrics[0], [1.0, 0.0, 2.0]);
        assert_eq!((table.lines, table.positions), (vec![3, 2, 4], vec![1, 0, 2]));
    }

    #[test]
    fn an_event_is_a_run_of_one_kind_in_one_series() {
        let (spike, drift) = (Some("spike"), Some("drift"));
        let rows = [(0, "a", spike), (1, "a", drift), (1, "b", drift), (2, "a", drift), (3, "a", None)];
        let table = one_metric(&[&rows[..], &[(4, "a", drift)]].concat());
        assert_eq!(table.events, [Some(0), Some(1), Some(2), Some(1), None, Some(3)]);
    }

    #[test]
    fn values_beyond_what_a_reading_may_have_are_clipped_and_counted() {
        let mut builder = TableBuilder::new(1);
        let row = Row { line: 2, partition: None, event_time_us: 0, zone: "all", sensor: "all", kind: None };
        builder.push(row, [f64::INFINITY].into_iter()).expect("few kinds");
        let table = builder.build(vec![Some("heat".to_owned())]).expect("a row");
        assert_eq!((table.metrics[0][0], table.clipped), (VALUE_MAX, 1));
    }
}
