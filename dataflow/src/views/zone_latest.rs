//! zone_latest: per zone the newest accepted value of each metric, and when it was recorded.
//!
//! Newest is what was recorded last; of several values of one moment it is the greatest. So it follows from the
//! readings alone, whatever partitions brought them in whatever order, and the table's own row is all that a restart
//! needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_domain::Domain;
use citytide_store::compare::{AsOf, Comparison, differences, unless};
use citytide_store::row::{Row, Value};
use citytide_store::schema::{Column, LiveTable, ROOM_FOR_UPDATES, Table, column, table};
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Inputs, View};
use crate::operators::{Epoch, OpenEpochs, Rows};
use crate::share::route;

pub(super) const VIEW: View =
    View { stored: &[LiveTable::new(zone_latest, comparison)], define: |inputs| vec![define(inputs)] };

fn zone_latest(domain: &Domain) -> Table {
    let mut columns = vec![column("zone", "text primary key", "The zone")];
    columns.extend(domain.metrics.iter().flat_map(|metric| -> [Column; 2] {
        let (name, unit) = (&metric.name, &metric.unit);
        [
            column(
                name,
                "double precision",
                format!("Its newest accepted {name} in {unit}; null before the first"),
            ),
            column(format!("{name}_at"), "timestamptz", "When that was recorded"),
        ]
    }));
    Table {
        storage: ROOM_FOR_UPDATES,
        came_later: true,
        ..table("zone_latest", "The newest accepted value of each metric, by zone", columns)
    }
}

/// When a value was recorded, microseconds, and the value.
type At = (i64, f64);

/// The newest value of a metric in a zone among some readings.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Newest {
    zone: Arc<str>,
    metric: usize,
    at: At,
}

/// The newest values among the accepted readings of a batch. The work is that of its readings and of the zones that it
/// has, not of all zones that the worker knows by name.
fn newest_of(batch: &Batch, newest: &mut Vec<Newest>) {
    const NONE: usize = usize::MAX;
    let metrics = batch.metrics.len();
    let mut slots = vec![NONE; batch.zone_names.len()];
    let (mut zones, mut latest): (Vec<u32>, Vec<Option<At>>) = (Vec::new(), Vec::new());
    for row in (0..batch.rows()).filter(|row| !batch.late[*row]) {
        let slot = &mut slots[batch.zones[row] as usize];
        if *slot == NONE {
            *slot = latest.len();
            zones.push(batch.zones[row]);
            latest.resize(latest.len() + metrics, None);
        }
        for (column, latest) in batch.metrics.iter().zip(&mut latest[*slot..]) {
            let at = (batch.event_times_us[row], column[row]);
            if !column[row].is_nan() && latest.is_none_or(|latest| at > latest) {
                *latest = Some(at);
            }
        }
    }
    for (slot, latest) in latest.into_iter().enumerate() {
        let zone = || batch.zone_names[zones[slot / metrics] as usize].clone();
        newest.extend(latest.map(|at| Newest { zone: zone(), metric: slot % metrics, at }));
    }
}

/// The rows of some zones.
struct Latest {
    metrics: usize,
    zones: HashMap<Arc<str>, Vec<Option<At>>>,
}

impl Latest {
    fn restored(metrics: usize, rows: &[Row]) -> Latest {
        let at = |pair: &[Value]| match pair {
            [Value::Float(bits), Value::Time(at_us)] => Some((*at_us, f64::from_bits(*bits))),
            _ => None,
        };
        let zone = |row: &Row| match &row[..] {
            [Value::Text(zone), values @ ..] => (zone.clone(), values.chunks(2).map(at).collect()),
            _ => panic!("{row:?} is no row of zone_latest"),
        };
        Latest { metrics, zones: rows.iter().map(zone).collect() }
    }

    fn row(&self, zone: &Arc<str>) -> Option<Row> {
        let mut row = vec![Value::from(zone)];
        for latest in self.zones.get(zone)? {
            row.push(latest.map(|(_, value)| Value::Float(value.to_bits())).into());
            row.push(latest.map(|(at_us, _)| Value::Time(at_us)).into());
        }
        Some(row)
    }

    /// Takes in what an epoch brings; the rows that appear and disappear with it.
    fn apply(&mut self, brought: Vec<Newest>) -> Vec<(Row, isize)> {
        let mut before: BTreeMap<Arc<str>, Option<Row>> = BTreeMap::new();
        for Newest { zone, metric, at } in brought {
            if !before.contains_key(&zone) {
                before.insert(zone.clone(), self.row(&zone));
            }
            let latest = self.zones.entry(zone).or_insert_with(|| vec![None; self.metrics]);
            if latest[metric].is_none_or(|latest| at > latest) {
                latest[metric] = Some(at);
            }
        }
        let mut changes = Vec::new();
        for (zone, before) in before {
            let after = self.row(&zone);
            if before != after {
                changes.extend(before.map(|row| (row, -1)));
                changes.extend(after.map(|row| (row, 1)));
            }
        }
        changes
    }
}

fn define<'scope>(inputs: &Inputs<'scope>) -> VecCollection<'scope, Epoch, Row, isize> {
    let restored = inputs.restored.get("zone_latest").map_or(&[][..], |rows| rows);
    let latest = Latest::restored(inputs.domain.metrics.len(), restored);
    keep_newest(inputs.batches.summaries("newest values of a batch", newest_of), latest)
}

/// Keeps the rows of the zones routed here, an epoch at a time, in order.
fn keep_newest<'scope>(
    newest: StreamVec<'scope, Epoch, Newest>,
    mut latest: Latest,
) -> VecCollection<'scope, Epoch, Row, isize> {
    let mut builder = OperatorBuilder::new("newest values of a zone".to_owned(), newest.scope());
    let mut input = builder.new_input(newest, Exchange::new(|newest: &Newest| route(&newest.zone)));
    let (output, rows) = builder.new_output::<Vec<(Row, Epoch, isize)>>();
    let mut output = OutputBuilder::<_, Rows<(Row, Epoch, isize)>>::from(output);
    builder.build(move |mut capabilities| {
        let mut start = Some(capabilities.remove(0));
        let mut epochs: OpenEpochs<Vec<Newest>, 1> = OpenEpochs::new(0);
        move |frontiers| {
            let mut output = output.activate();
            if let Some(capability) = start.take() {
                let rows = latest.zones.keys().filter_map(|zone| latest.row(zone));
                output.session(&capability).give_iterator(rows.map(|row| (row, 0, 1)));
            }
            input.for_each(|capability, newest| epochs.of(&capability).append(newest));
            while let Some((epoch, brought, [capability])) = epochs.pop_complete(frontiers) {
                let changes = latest.apply(brought).into_iter();
                output.session(&capability).give_iterator(changes.map(|(row, diff)| (row, epoch, diff)));
            }
        }
    });
    rows.as_collection()
}

fn comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
    let names = || domain.metrics.iter().map(|metric| metric.name.as_str());
    // A pair of doubles: 2⁵³ microseconds reach into the year 2255.
    let newest = names().map(|name| {
        format!("max(array[\"recorded us\", {name}]) filter (where {name} is not null) as of_{name}")
    });
    let values = names().map(|name| {
        format!("of_{name}[2] as {name}, timestamptz 'epoch' + of_{name}[1] * interval '1 microsecond' as {name}_at")
    });
    let given = format!(
        "newest as (\n  select zone, {}\n  from (select *, (extract(epoch from recorded_at) * 1000000)::double precision \
         as \"recorded us\" from sensor_data where not is_late) as readings group by zone\n),\n\
         expected as (\n  select zone, {}\n  from newest\n)",
        newest.collect::<Vec<_>>().join(",\n    "),
        values.collect::<Vec<_>>().join(",\n    ")
    );
    let mut columns = Vec::new();
    for name in names() {
        // Behind the horizon may lie a newer one.
        let hidden = match as_of.horizon {
            0 => "false".to_owned(),
            _ => format!(
                "coalesce((actual.{name}_at, actual.{name}) > (expected.{name}_at, expected.{name}), \
                 expected.{name} is null)"
            ),
        };
        for column in [name.to_owned(), format!("{name}_at")] {
            let agrees = format!("{hidden} or actual.{column} is not distinct from expected.{column}");
            columns.push(unless(&agrees, &column));
        }
    }
    let seen = if as_of.horizon == 0 { "" } else { " where expected.zone is not null" };
    Comparison {
        name: "zone_latest".to_owned(),
        rows: "zones",
        given,
        compared: format!(
            "  select zone,\n    {}\n  from zone_latest as actual full join expected using (zone){seen}",
            differences("zone", &columns)
        ),
    }
}

#[cfg(test)]
mod tests;
