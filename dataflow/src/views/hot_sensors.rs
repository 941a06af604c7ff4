//! hot_sensors: the sensors of each zone with the most anomalies in the five minutes before W.
//!
//! Nothing of it is restored: it follows from the recent anomalies, which are read from `sensor_data`.

use std::cmp::Reverse;

use citytide_domain::Domain;
use citytide_store::compare::{AsOf, Comparison, differences, exactly};
use citytide_store::row::{Row, Value};
use citytide_store::schema::{LiveTable, ROOM_FOR_UPDATES, Table, column, table};
use differential_dataflow::VecCollection;

use super::recent::{is_shown, readings};
use super::{Inputs, View};
use crate::operators::Epoch;

/// Sensors of a zone.
const RANKS: usize = 10;

pub(super) const VIEW: View =
    View { stored: &[LiveTable::new(hot_sensors, comparison)], define: |inputs| vec![define(inputs)] };

fn hot_sensors(_: &Domain) -> Table {
    let columns = vec![
        column("zone", "text not null", "The zone"),
        column("rank", "integer not null", "1 … 10, ties by sensor_id"),
        column("sensor_id", "text not null", "The sensor"),
        column("anomaly_count", "bigint not null", "Its accepted anomalies in the five minutes before W"),
        column("last_anomaly_at", "timestamptz not null", "The latest of them, event time"),
    ];
    Table {
        key: "zone, rank",
        storage: ROOM_FOR_UPDATES,
        ..table(
            "hot_sensors",
            "The sensors with the most anomalies in the five minutes before W, by zone",
            columns,
        )
    }
}

fn define<'scope>(inputs: &Inputs<'scope>) -> VecCollection<'scope, Epoch, Row, isize> {
    // A sensor may send to partitions of several workers.
    let sensors = inputs
        .recent
        .clone()
        .map(|one| ((one.zone, one.sensor), (one.last_us, one.count as i64)))
        .reduce_named("anomalies of a sensor", |_, parts, figures| {
            let count: i64 = parts.iter().map(|((_, count), times)| count * *times as i64).sum();
            let last_us = parts.last().expect("reduce is called with what is there").0.0;
            figures.push(((count, last_us), 1));
        });
    sensors
        .map(|((zone, sensor), (count, last_us))| (zone, (Reverse(count), sensor, last_us)))
        .reduce_named("hottest sensors of a zone", |_, sensors, hottest| {
            // Values come sorted: the most anomalies first, then by sensor.
            for (rank, ((Reverse(count), sensor, last_us), _)) in (1..).zip(sensors.iter().take(RANKS)) {
                hottest.push(((rank, sensor.clone(), *count, *last_us), 1));
            }
        })
        .map(|(zone, (rank, sensor, anomalies, last_us))| {
            vec![
                Value::Text(zone),
                Value::Integer(rank),
                Value::Text(sensor),
                Value::Integer(anomalies),
                Value::Time(last_us),
            ]
        })
}

fn comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
    let columns = ["sensor_id", "anomaly_count", "last_anomaly_at"].map(exactly);
    let given = format!(
        "ranked as (\n  select zone, sensor_id, count(*) as anomaly_count, max(recorded_at) as last_anomaly_at,\n    \
         row_number() over (partition by zone order by count(*) desc, sensor_id collate \"C\")::integer as rank\n  \
         from {} group by zone, sensor_id\n),\nexpected as (select * from ranked where rank <= {RANKS})",
        readings(as_of)
    );
    let shown = is_shown(as_of, domain, "coalesce(actual.zone, expected.zone)");
    Comparison {
        name: "hot_sensors".to_owned(),
        rows: "ranks",
        given,
        compared: format!(
            "  select zone || ', rank ' || to_char(rank, 'FM00'),\n    {}\n  \
             from hot_sensors as actual full join expected using (zone, rank) where {shown}",
            differences("sensor_id", &columns)
        ),
    }
}
