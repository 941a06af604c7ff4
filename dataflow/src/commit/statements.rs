//! The statements of an epoch's transaction: their SQL, and a plan's rows as arrays.
//!
//! Each table takes one statement, `insert … select from unnest(arrays) on conflict do update`, whatever the number of
//! rows. What `revision` becomes is decided by the row that is there: one more if it was final, else what it was.

mod detector;

use citytide_domain::Domain;
use tokio_postgres::types::ToSql;

pub use detector::{
    ADD_DISAGREEMENTS, DELETE_REQUESTS, INSERT_MINUTES, INSERT_MODEL_CHANGES, UPDATE_MODELS,
    disagreement_arrays, minute_arrays, model_change_arrays, model_in_force, request_arrays,
};

use super::plan::Plan;
use citytide_store::panes::pane_columns;
use citytide_store::schema::quoted;
use citytide_store::time::Timestamp;

/// A statement's arguments, one array per column.
pub type Arrays = Vec<Box<dyn ToSql + Sync + Send>>;

fn array<T, I>(values: I) -> Box<dyn ToSql + Sync + Send>
where
    I: Iterator<Item = T>,
    Vec<T>: ToSql + Sync + Send + 'static,
{
    Box::new(values.collect::<Vec<T>>())
}

/// `insert into <table> (…) select … from unnest(…)`: columns of constant value, then those that arrays bring.
fn insert(table: &str, constants: &[(&str, &str)], columns: &[(String, &str)]) -> String {
    let names = constants.iter().map(|(name, _)| *name).chain(columns.iter().map(|(name, _)| name.as_str()));
    let values = constants.iter().map(|(_, value)| *value).chain(["*"]);
    let arrays = columns.iter().enumerate().map(|(index, (_, ty))| format!("${}::{ty}[]", index + 1));
    format!(
        "insert into {table} ({}) select {} from unnest({})",
        names.collect::<Vec<_>>().join(", "),
        values.collect::<Vec<_>>().join(", "),
        arrays.collect::<Vec<_>>().join(", ")
    )
}

/// `on conflict (keys) do update set` every other column, after `extra` assignments.
fn or_update(keys: &str, columns: &[(String, &str)], extra: &[&str]) -> String {
    let keyed: Vec<&str> = keys.split(", ").collect();
    let mut set: Vec<String> = extra.iter().map(|assignment| (*assignment).to_owned()).collect();
    let changing = columns.iter().filter(|(name, _)| !keyed.contains(&name.as_str()));
    set.extend(changing.map(|(name, _)| format!("{name} = excluded.{name}")));
    format!(" on conflict ({keys}) do update set {}", set.join(", "))
}

fn column(name: &str, ty: &'static str) -> (String, &'static str) {
    (name.to_owned(), ty)
}

/// SQL of the upsert into the table of one of the domain's windows.
pub fn upsert_window(domain: &Domain, window: usize) -> String {
    let mut columns = vec![
        column("zone", "text"),
        column("window_start", "timestamptz"),
        column("window_end", "timestamptz"),
        column("reading_count", "bigint"),
        column("anomaly_count", "bigint"),
        column("is_final", "boolean"),
    ];
    for metric in &domain.metrics {
        for figure in ["avg", "min", "max"] {
            columns.push((quoted(&format!("{figure}_{}", metric.name)), "double precision"));
        }
    }
    let table = format!("{} as kept", quoted(&domain.windows[window].table()));
    let update = or_update(
        "zone, window_start",
        &columns,
        &["revision = kept.revision + kept.is_final::integer", "updated_at = excluded.updated_at"],
    );
    insert(&table, &[("revision", "0"), ("updated_at", "now()")], &columns) + &update
}

/// Arguments of [`upsert_window`], or `None` when the plan has no row for it.
pub fn window_arrays(plan: &Plan, window: usize, metrics: usize) -> Option<Arrays> {
    let rows: Vec<_> = plan.windows.values().filter(|row| row.window == window).collect();
    if rows.is_empty() {
        return None;
    }
    let mut arrays: Arrays = vec![
        array(rows.iter().map(|row| row.zone.to_string())),
        array(rows.iter().map(|row| Timestamp(row.start_us))),
        array(rows.iter().map(|row| Timestamp(row.end_us))),
        array(rows.iter().map(|row| row.readings as i64)),
        array(rows.iter().map(|row| row.anomalies as i64)),
        array(rows.iter().map(|row| row.is_final)),
    ];
    for metric in 0..metrics {
        arrays.push(array(rows.iter().map(|row| row.figures[metric].map(|(average, _, _)| average))));
        arrays.push(array(rows.iter().map(|row| row.figures[metric].map(|(_, least, _)| least))));
        arrays.push(array(rows.iter().map(|row| row.figures[metric].map(|(_, _, greatest)| greatest))));
    }
    Some(arrays)
}

/// SQL of the upsert into `panes`.
pub fn upsert_panes(domain: &Domain) -> String {
    let columns = pane_columns(domain);
    insert("panes", &[], &columns) + &or_update("zone, pane_start", &columns, &[])
}

/// Arguments of [`upsert_panes`].
pub fn pane_arrays(plan: &Plan, metrics: usize) -> Option<Arrays> {
    let panes: Vec<_> = plan.panes.values().collect();
    if panes.is_empty() {
        return None;
    }
    let mut arrays: Arrays = vec![
        array(panes.iter().map(|pane| pane.zone.to_string())),
        array(panes.iter().map(|pane| Timestamp(pane.start_us))),
        array(panes.iter().map(|pane| pane.sums.readings as i64)),
        array(panes.iter().map(|pane| pane.sums.anomalies as i64)),
        array(panes.iter().map(|pane| pane.first_epoch as i64)),
        array(panes.iter().map(|pane| pane.last_epoch as i64)),
    ];
    for metric in 0..metrics {
        let sums = || panes.iter().map(move |pane| &pane.sums.metrics[metric]);
        let some = |count: u64| count > 0;
        arrays.push(array(sums().map(|sums| sums.count as i64)));
        arrays.push(array(sums().map(|sums| some(sums.count).then(|| sums.sum.to_bytes().to_vec()))));
        arrays.push(array(sums().map(|sums| some(sums.count).then_some(sums.min))));
        arrays.push(array(sums().map(|sums| some(sums.count).then_some(sums.max))));
    }
    Some(arrays)
}

/// SQL of the upsert into `ingest_progress`.
pub fn upsert_progress() -> String {
    let columns = [
        column("kafka_partition", "integer"),
        column("source", "text"),
        column("first_offset", "bigint"),
        column("next_offset", "bigint"),
        column("accepted", "bigint"),
        column("late", "bigint"),
        column("dead", "bigint"),
        column("lost", "bigint"),
        column("gaps", "bigint"),
        column("watermark", "timestamptz"),
        column("is_idle", "boolean"),
        column("cursor", "text"),
    ];
    insert("ingest_progress", &[], &columns) + &or_update("kafka_partition", &columns, &[])
}

/// Arguments of [`upsert_progress`]; `source` names a partition.
pub fn progress_arrays(plan: &Plan, source: impl Fn(i32) -> String) -> Option<Arrays> {
    if plan.marks.is_empty() {
        return None;
    }
    let marks = || plan.marks.values();
    let positions = || marks().map(|mark| &mark.position);
    let counts = || positions().map(|position| &position.counts);
    Some(vec![
        array(marks().map(|mark| mark.partition)),
        array(marks().map(|mark| source(mark.partition))),
        array(positions().map(|position| position.first_offset)),
        array(positions().map(|position| position.next_offset)),
        array(counts().map(|counts| counts.accepted)),
        array(counts().map(|counts| counts.late)),
        array(counts().map(|counts| counts.dead)),
        array(counts().map(|counts| counts.lost)),
        array(counts().map(|counts| counts.gaps)),
        array(positions().map(|position| Timestamp::watermark(position.watermark_us))),
        array(marks().map(|mark| mark.reach.activity.is_at_rest())),
        array(positions().map(|position| position.cursor.as_deref().map(str::to_owned))),
    ])
}

/// SQL that remembers which zones a partition has brought.
pub const INSERT_ZONES: &str = "insert into partition_zones (kafka_partition, zone) \
     select * from unnest($1::integer[], $2::text[]) on conflict do nothing";

/// Arguments of [`INSERT_ZONES`].
pub fn zone_arrays(plan: &Plan) -> Option<Arrays> {
    let zones: Vec<(i32, String)> = plan
        .marks
        .values()
        .flat_map(|mark| mark.new_zones.iter().map(|zone| (mark.partition, zone.clone())))
        .collect();
    (!zones.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(zones.iter().map(|(partition, _)| *partition)),
            array(zones.iter().map(|(_, zone)| zone.clone())),
        ];
        arrays
    })
}

/// SQL that deletes rows of `hot_sensors`.
pub const DELETE_HOT: &str = "delete from hot_sensors using unnest($1::text[], $2::integer[]) as gone (zone, rank) \
     where hot_sensors.zone = gone.zone and hot_sensors.rank = gone.rank";

/// Arguments of [`DELETE_HOT`].
pub fn gone_hot_arrays(plan: &Plan) -> Option<Arrays> {
    let gone: Vec<_> = plan.hot.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| key).collect();
    (!gone.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(gone.iter().map(|(zone, _)| zone.clone())),
            array(gone.iter().map(|(_, rank)| *rank as i32)),
        ];
        arrays
    })
}

/// SQL of the upsert into `hot_sensors`.
pub fn upsert_hot() -> String {
    let columns = [
        column("zone", "text"),
        column("rank", "integer"),
        column("sensor_id", "text"),
        column("anomaly_count", "bigint"),
        column("last_anomaly_at", "timestamptz"),
    ];
    insert("hot_sensors", &[], &columns) + &or_update("zone, rank", &columns, &[])
}

/// Arguments of [`upsert_hot`].
pub fn hot_arrays(plan: &Plan) -> Option<Arrays> {
    let rows: Vec<_> = plan.hot.values().flatten().collect();
    (!rows.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(rows.iter().map(|row| row.zone.clone())),
            array(rows.iter().map(|row| row.rank as i32)),
            array(rows.iter().map(|row| row.sensor.clone())),
            array(rows.iter().map(|row| row.anomalies as i64)),
            array(rows.iter().map(|row| Timestamp(row.last_us))),
        ];
        arrays
    })
}

/// SQL that deletes rows of `zone_status`.
pub const DELETE_STATUS: &str = "delete from zone_status where zone = any($1::text[])";

/// Arguments of [`DELETE_STATUS`].
pub fn gone_status_arrays(plan: &Plan) -> Option<Arrays> {
    let gone: Vec<_> =
        plan.status.iter().filter(|(_, row)| row.is_none()).map(|(zone, _)| zone.clone()).collect();
    (!gone.is_empty()).then(|| vec![array(gone.into_iter())])
}

/// SQL of the upsert into `zone_status`.
pub fn upsert_status(domain: &Domain) -> String {
    let mut columns = vec![
        column("zone", "text"),
        column("window_start", "timestamptz"),
        column("reading_count", "bigint"),
        column("anomaly_count", "bigint"),
        column("anomalies_5min", "bigint"),
        column("last_recorded_at", "timestamptz"),
    ];
    for metric in &domain.metrics {
        columns.push((quoted(&format!("avg_{}", metric.name)), "double precision"));
    }
    insert("zone_status", &[], &columns) + &or_update("zone", &columns, &[])
}

/// Arguments of [`upsert_status`].
pub fn status_arrays(plan: &Plan, metrics: usize) -> Option<Arrays> {
    let rows: Vec<_> = plan.status.values().flatten().collect();
    if rows.is_empty() {
        return None;
    }
    let last_final = || rows.iter().map(|row| row.last_final.as_ref());
    let mut arrays: Arrays = vec![
        array(rows.iter().map(|row| row.zone.clone())),
        array(last_final().map(|row| row.map(|row| Timestamp(row.0)))),
        array(last_final().map(|row| row.map(|row| row.1 as i64))),
        array(last_final().map(|row| row.map(|row| row.2 as i64))),
        array(rows.iter().map(|row| row.recent_anomalies as i64)),
        array(rows.iter().map(|row| Timestamp(row.last_recorded_us))),
    ];
    for metric in 0..metrics {
        arrays.push(array(last_final().map(|row| row.and_then(|row| row.3[metric].map(f64::from_bits)))));
    }
    Some(arrays)
}

#[cfg(test)]
mod tests;
