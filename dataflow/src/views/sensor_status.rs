//! sensor_states: the last reading of each sensor, and in which minutes of its last two hours it had some. The view
//! `sensor_status` shows it with what follows from it: how often it sends, whether it is silent, and since when.
//!
//! ```text
//!  batches ─▶ gather, per worker ─ once in a second of epochs ─▶ parts of rows ─▶ merged by the server
//! ```
//!
//! Invariants:
//! 1. `as_of` says up to which epoch a row counts its sensor's readings: all of them and no others. It lies less than
//!    [`ROUND_MS`] before the newest commit, or nothing came since;
//! 2. no sensor is kept in memory: the server merges a part with the row that is there, in any order, so a restart reads
//!    only what committed readings have still to bring, those of the last second;
//! 3. rows move only forward: a reading is never taken away;
//! 4. parts wait for the next commit. A round after the last accepted reading they are due, and so is a commit that shows
//!    that nothing is on its way: one in each pause of a second.

mod sql;
mod tables;

use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::sensors::{At, ROUND_MS, Sensor, TURNS, Turn, gather, turns_of};
use citytide_store::row::{Row, Value};
use citytide_store::schema::LiveTable;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Inputs, View};
use crate::operators::{Epoch, OpenEpochs, Rows};

pub(super) const STATES: &str = "sensor_states";

pub(super) const VIEW: View = View {
    stored: &[LiveTable {
        is_restored: false,
        overdue: Some(sql::overdue),
        views: tables::views,
        ..LiveTable::new(tables::states, sql::comparison)
    }],
    define: |inputs| vec![define(inputs)],
};

fn row(id: Arc<str>, sensor: &Sensor, latest: impl Iterator<Item = Option<At>>, as_of: Epoch) -> Row {
    let mut row = vec![Value::Text(id), Value::from(&sensor.zone), Value::Time(sensor.last_us)];
    for latest in latest {
        row.push(latest.map(|(_, value)| Value::Float(value.to_bits())).into());
        row.push(latest.map(|(at_us, _)| Value::Time(at_us)).into());
    }
    row.extend([sensor.offset_ms.map(Value::Integer).into(), Value::Time(sensor.hour_us)]);
    for hour in [sensor.hour, sensor.before] {
        row.extend([Value::Integer(hour.minutes), Value::Integer(hour.readings)]);
    }
    row.push(Value::Integer(as_of as i64));
    row
}

fn define<'scope>(inputs: &Inputs<'scope>) -> VecCollection<'scope, Epoch, Row, isize> {
    let overdue = inputs.restored.get(STATES).cloned().unwrap_or_default();
    let begins = inputs.committed_epoch + 1;
    inputs.batches.pass(|batches| {
        let mut builder = OperatorBuilder::new("sensors of batches".to_owned(), batches.scope());
        let mut input = builder.new_input(batches, Pipeline);
        let (output, passed_on) = builder.new_output::<Vec<Batch>>();
        let mut to_next = OutputBuilder::<_, Rows<Batch>>::from(output);
        let (output, parts) = builder.new_output();
        let mut to_parts = OutputBuilder::<_, Rows<(Row, Epoch, isize)>>::from(output);
        builder.build(move |mut capabilities| {
            let mut start = Some((capabilities.remove(1), overdue));
            drop(capabilities);
            let mut turns: OpenEpochs<Turn, 1> = OpenEpochs::new(1);
            let mut last_epoch: Epoch = 0;
            move |frontiers| {
                let mut to_parts = to_parts.activate();
                if let Some((capability, overdue)) = start.take().filter(|(_, overdue)| !overdue.is_empty()) {
                    let rows = overdue.into_iter().chain([NOTHING_MORE]);
                    to_parts
                        .session(&capability.delayed(&begins))
                        .give_iterator(rows.map(|row| (row, begins, 1)));
                }
                let mut to_next = to_next.activate();
                input.for_each(|capability, batches| {
                    // Those without accepted readings only let time pass.
                    if batches.iter().any(|batch| batch.late.contains(&false)) {
                        let epoch = *capability.time();
                        last_epoch = last_epoch.max(epoch);
                        let due = turns_of(epoch);
                        let mut open: [Turn; TURNS] =
                            std::array::from_fn(|turn| std::mem::take(turns.at(&capability, due[turn])));
                        batches.iter().for_each(|batch| gather(batch, &mut open));
                        for (due, turn) in due.into_iter().zip(open) {
                            *turns.at(&capability, due) = turn;
                        }
                        turns.at(&capability, epoch + ROUND_MS);
                    }
                    to_next.session(&capability.retain(0)).give_container(batches);
                });
                while let Some((epoch, turn, [capability])) = turns.pop_complete(frontiers) {
                    let rows = turn.sensors().map(|(id, sensor, latest)| row(id, sensor, latest, epoch));
                    let is_last = epoch >= last_epoch + ROUND_MS;
                    let rows = rows.chain(is_last.then_some(NOTHING_MORE));
                    to_parts.session(&capability).give_iterator(rows.map(|row| (row, epoch, 1)));
                }
            }
        });
        (passed_on, parts.as_collection())
    })
}

/// Says that parts wait no longer: a row without columns.
const NOTHING_MORE: Row = Row::new();
